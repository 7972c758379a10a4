//! Calls about to be made in, how long each waits for its turn out: token buckets like those AWS keeps, by operation.
//!
//! AWS throttles an account as a whole, so half of what it grants is left to others. Where it throttles nevertheless, we
//! learn: half of the rate until then, which grows back slowly. `now` is a value; who calls sleeps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often calls may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In thousandths of a call a second.
    pub milli_per_second: u32,
    /// Calls at once after a pause.
    pub burst: u32,
}

/// The rate of operations whose names begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// `elbv2`, as in the names of calls.
    pub service: &'static str,
    /// Empty for all; `Describe` for those that begin so, `CreateRule$` for one.
    pub operations: Vec<String>,
    pub rate: Rate,
}

const fn rate(milli_per_second: u32, burst: u32) -> Rate {
    Rate {
        milli_per_second,
        burst,
    }
}

// Half of each bucket that AWS publishes. Elastic Load Balancing: User Guide, "Request throttling for the Elastic Load
// Balancing API", "Request token bucket sizes and refill rates"; a bucket is shared by all operations of its category,
// and all of them together share one more.

/// Of 40, refilled at 10 a second: all operations together; and those that read, which is the same figure again.
const ELB_ALL: Rate = rate(5_000, 20);
/// Of 20, refilled at 3 a second: "mutating" ones.
const ELB_WRITES: Rate = rate(1_500, 10);
/// Of 20, refilled at 4 a second: `RegisterTargets` and `DeregisterTargets`.
const ELB_TARGETS: Rate = rate(2_000, 10);
/// Of 10, refilled at 0.2 a second: `CreateLoadBalancer` and `SetSubnets`, "resource-intensive".
const ELB_HEAVY: Rate = rate(100, 5);

// Amazon EC2: Developer Guide, "Request throttling for the Amazon EC2 API", request token limits; each operation has a
// bucket of its own. Our lists are filtered or paged, or not among those that must be.

/// Of 100, refilled at 20 a second.
const EC2_READS: Rate = rate(10_000, 50);
/// Of 50, refilled at 5 a second: "mutating" ones, and `AuthorizeSecurityGroupIngress` and
/// `RevokeSecurityGroupIngress`, "resource-intensive".
const EC2_WRITES: Rate = rate(2_500, 25);
/// Of 100, refilled at 10 a second: `CreateTags` and `DeleteTags`.
const EC2_TAGS: Rate = rate(5_000, 50);

// Without bursts, AWS Certificate Manager User Guide, "Quotas", API rate quotas; and AWS WAF Developer Guide, "AWS WAF
// quotas", calls per account and Region. What is allowed in two seconds may be called at once here.

/// Of 8 a second.
const ACM_LIST: Rate = rate(4_000, 8);
/// Of 10 a second.
const ACM_DESCRIBE: Rate = rate(5_000, 10);
/// Of 1 a second.
const ACM_IMPORT: Rate = rate(500, 1);
/// Of 5 a second: tags, and the least of what else it has.
const ACM_OTHERS: Rate = rate(2_500, 5);
/// Of one in 2 seconds: `AssociateWebACL` and `DisassociateWebACL`.
const WAF_ASSOCIATE: Rate = rate(250, 1);
/// Of 1 a second: `GetWebACLForResource`.
const WAF_OF_RESOURCE: Rate = rate(500, 1);
/// Of 5 a second: `Get` and `List` else.
const WAF_READS: Rate = rate(2_500, 5);
/// AWS publishes no figure for the rest.
const OTHERS: Rate = rate(2_000, 10);

/// Calls that nobody waits for: at most a fifth of what all reads of load balancers are.
const LEISURE: Rate = rate(1_000, 5);
/// Bucket of [`Throttle::leisure`]; no operation has that name.
const LEISURE_BUCKET: &str = "leisure";

/// Slowest that a rate is learned down to: a sixteenth of what it is at best.
const SLOWEST: f64 = 1.0 / 16.0;
/// Time in which a rate grows from nothing to what it is at best.
const RECOVERY: Duration = Duration::from_secs(300);
/// Time after its turn in which a call that was put off is expected to be made; then its place goes.
const FORGOTTEN: Duration = Duration::from_secs(120);

/// The buckets of all operations.
#[derive(Debug, Default)]
pub struct Throttle {
    limits: Vec<Limit>,
    buckets: BTreeMap<String, Bucket>,
    /// When the turn of calls that were put off is, by what tells each from others.
    places: BTreeMap<String, Instant>,
}

#[derive(Debug)]
struct Bucket {
    best: f64,
    burst: f64,
    /// Tokens a second, as learned.
    rate: f64,
    tokens: f64,
    at: Instant,
}

impl Throttle {
    /// With the operator's own limits before ours; the first that fits counts.
    pub fn new(limits: Vec<Limit>) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Time until the call may be made, whose turn is then taken; or, where that is more than `most`, how long it would
    /// be. `call` is named as `elbv2:CreateRule`. A call with a `place`, a text that tells it from all others, then
    /// keeps its place in the row: who asks again with it has not lost by going away.
    pub fn turn(
        &mut self,
        call: &str,
        place: Option<&str>,
        most: Duration,
        now: Instant,
    ) -> Result<Duration, Duration> {
        self.places.retain(|_, due| now < *due + FORGOTTEN);
        if let Some(due) = place.and_then(|place| self.places.get(place)).copied() {
            let wait = due.saturating_duration_since(now);
            if wait > most {
                return Err(wait);
            }
            self.places.remove(place.unwrap_or_default());
            return Ok(wait);
        }
        let of = self.limits(call);
        let waits = of
            .iter()
            .map(|(name, rate)| self.bucket(name, *rate, now).wait(now));
        let wait = waits.max().unwrap_or_default();
        if wait > most && place.is_none() {
            return Err(wait);
        }
        for (name, rate) in of {
            self.bucket(&name, rate, now).tokens -= 1.0;
        }
        match place {
            Some(place) if wait > most => {
                self.places.insert(place.to_owned(), now + wait);
                Err(wait)
            }
            Some(_) | None => Ok(wait),
        }
    }

    /// Time until a call may be made that nobody waits for, beside its turn.
    pub fn leisure(&mut self, now: Instant) -> Duration {
        let bucket = self.bucket(LEISURE_BUCKET, LEISURE, now);
        let wait = bucket.wait(now);
        bucket.tokens -= 1.0;
        wait
    }

    /// AWS throttled this call: it is made less often from now on, and so are those it shares its bucket with.
    pub fn throttled(&mut self, call: &str, now: Instant) {
        // The first is the narrowest.
        let Some((name, rate)) = self.limits(call).into_iter().next() else {
            return;
        };
        let bucket = self.bucket(&name, rate, now);
        bucket.refill(now);
        bucket.rate = (bucket.rate / 2.0).max(bucket.best * SLOWEST);
        bucket.tokens = bucket.tokens.min(0.0);
    }

    fn bucket(&mut self, name: &str, rate: Rate, now: Instant) -> &mut Bucket {
        self.buckets.entry(name.to_owned()).or_insert_with(|| {
            let best = f64::from(rate.milli_per_second.max(1)) / 1000.0;
            let burst = f64::from(rate.burst.max(1));
            Bucket {
                best,
                burst,
                rate: best,
                tokens: burst,
                at: now,
            }
        })
    }

    /// The buckets that a call takes from, the narrowest first, and how each is filled.
    fn limits(&self, call: &str) -> Vec<(String, Rate)> {
        let (service, operation) = call.split_once(':').unwrap_or(("", call));
        for (number, limit) in self.limits.iter().enumerate() {
            if limit.service == service && limit.takes(operation) {
                return vec![(format!("{number}"), limit.rate)];
            }
        }
        let own = |rate| vec![(call.to_owned(), rate)];
        let reads = ["Describe", "List", "Get"]
            .iter()
            .any(|verb| operation.starts_with(verb));
        match (service, operation) {
            ("elbv2", _) => {
                let (category, rate) = match operation {
                    "CreateLoadBalancer" | "SetSubnets" => ("elbv2:resource-intensive", ELB_HEAVY),
                    "RegisterTargets" | "DeregisterTargets" => ("elbv2:registration", ELB_TARGETS),
                    _ if reads => ("elbv2:non-mutating", ELB_ALL),
                    _ => ("elbv2:mutating", ELB_WRITES),
                };
                vec![(category.to_owned(), rate), ("elbv2".to_owned(), ELB_ALL)]
            }
            ("ec2", "CreateTags" | "DeleteTags") => own(EC2_TAGS),
            ("ec2", _) if reads => own(EC2_READS),
            ("ec2", _) => own(EC2_WRITES),
            ("acm", "ListCertificates") => own(ACM_LIST),
            ("acm", "DescribeCertificate" | "DeleteCertificate" | "ListTagsForCertificate") => {
                own(ACM_DESCRIBE)
            }
            ("acm", "ImportCertificate") => own(ACM_IMPORT),
            ("acm", _) => own(ACM_OTHERS),
            ("wafv2", "AssociateWebACL" | "DisassociateWebACL") => own(WAF_ASSOCIATE),
            ("wafv2", "GetWebACLForResource") => own(WAF_OF_RESOURCE),
            ("wafv2", _) if reads => own(WAF_READS),
            (_, _) => own(OTHERS),
        }
    }
}

impl Bucket {
    /// Time until there is a token.
    fn wait(&mut self, now: Instant) -> Duration {
        self.refill(now);
        Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / self.rate)
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.rate = (self.rate + self.best * passed / RECOVERY.as_secs_f64()).min(self.best);
    }
}

impl Limit {
    fn takes(&self, operation: &str) -> bool {
        self.operations.is_empty()
            || self.operations.iter().any(|name| match name.strip_suffix('$') {
                Some(whole) => operation == whole,
                None => operation.starts_with(name.as_str()),
            })
    }

    /// Reads `Elastic Load Balancing v2:^Describe|^Modify=5:20`, as the AWS Load Balancer Controller's flag is written:
    /// the service's id, the operations, calls a second and calls at once. Of expressions, `|` and names with `^` in
    /// front, or `$` behind as well, are understood; `.*` takes all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("{text:?} {why}; write it as \"Elastic Load Balancing v2:^Describe=5:20\"");
        let (service, rest) = text.split_once(':').ok_or_else(|| wrong("names no service"))?;
        let (operations, rate) = rest.split_once('=').ok_or_else(|| wrong("has no rate"))?;
        let (per_second, burst) = rate.split_once(':').ok_or_else(|| wrong("has no burst"))?;
        let service = match service.trim() {
            "Elastic Load Balancing v2" => "elbv2",
            "EC2" => "ec2",
            "ACM" => "acm",
            "WAFV2" => "wafv2",
            "Shield" => "shield",
            _ => return Err(wrong("names a service that is not called")),
        };
        let mut names = Vec::new();
        for name in operations
            .split('|')
            .filter(|_| !matches!(operations, "" | ".*" | "^.*"))
        {
            let begins = name
                .strip_prefix('^')
                .ok_or_else(|| wrong("has an operation without ^ in front"))?;
            let plain = begins.strip_suffix('$').unwrap_or(begins);
            if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_alphanumeric()) {
                return Err(wrong("has an expression that is not understood"));
            }
            names.push(begins.to_owned());
        }
        let per_second: f64 = per_second
            .parse()
            .map_err(|_| wrong("has a rate that is no number"))?;
        let burst: u32 = burst
            .parse()
            .map_err(|_| wrong("has a burst that is no number"))?;
        if !(0.001..=1000.0).contains(&per_second) || !(1..=10_000).contains(&burst) {
            return Err(wrong(
                "has a rate not from 0.001 to 1000, or a burst not from 1 to 10000",
            ));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and a million"
        )]
        let milli_per_second = (per_second * 1000.0).round() as u32;
        Ok(Self {
            service,
            operations: names,
            rate: Rate {
                milli_per_second,
                burst,
            },
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an instant can only be had from the clock; all others are counted from it"
)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// How many calls may be made at once.
    fn at_once(throttle: &mut Throttle, call: &str, now: Instant) -> usize {
        std::iter::repeat_with(|| throttle.turn(call, None, Duration::ZERO, now))
            .take_while(Result::is_ok)
            .count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        for (call, burst, after_ten_seconds) in [
            ("elbv2:DescribeRules", 20, 20),
            ("elbv2:CreateRule", 10, 10),
            ("elbv2:RegisterTargets", 10, 10),
            ("elbv2:CreateLoadBalancer", 5, 1),
            ("elbv2:SetSubnets", 5, 1),
            ("ec2:DescribeSubnets", 50, 50),
            ("ec2:CreateSecurityGroup", 25, 25),
            ("ec2:RevokeSecurityGroupIngress", 25, 25),
            ("ec2:CreateTags", 50, 50),
            ("acm:ListCertificates", 8, 8),
            ("acm:DescribeCertificate", 10, 10),
            ("acm:ImportCertificate", 1, 1),
            ("wafv2:AssociateWebACL", 1, 1),
            ("wafv2:GetWebACLForResource", 1, 1),
            ("wafv2:ListWebACLs", 5, 5),
            ("shield:CreateProtection", 10, 10),
        ] {
            let mut throttle = Throttle::default();
            assert_eq!(at_once(&mut throttle, call, start), burst, "{call}");
            let later = start + Duration::from_millis(10_001);
            assert_eq!(at_once(&mut throttle, call, later), after_ten_seconds, "{call}");
            let much_later = start + Duration::from_secs(1000);
            assert_eq!(
                at_once(&mut throttle, call, much_later),
                burst,
                "{call}: no more than the burst"
            );
        }
    }

    #[test]
    fn operations_of_elastic_load_balancing_share_the_bucket_of_their_category_and_one_more() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for (call, want) in [
            ("elbv2:CreateRule", 10),
            ("elbv2:DeleteRule", 0),
            ("elbv2:RegisterTargets", 10),
            ("elbv2:DescribeTags", 0),
            ("elbv2:CreateLoadBalancer", 0),
            ("ec2:CreateSecurityGroup", 25),
            ("ec2:DeleteSecurityGroup", 25),
        ] {
            assert_eq!(at_once(&mut throttle, call, now), want, "{call}");
        }
    }

    #[test]
    fn who_waits_has_a_turn_of_its_own() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let call = "ec2:CreateSecurityGroup";
        at_once(&mut throttle, call, now);
        let waits: Vec<u128> = std::iter::repeat_with(|| throttle.turn(call, None, LONG, now))
            .take(3)
            .map(|wait| wait.unwrap().as_millis())
            .collect();
        assert_eq!(waits, [400, 800, 1200]);
        let refused = throttle.turn(call, None, Duration::from_millis(500), now);
        assert_eq!(refused.map_err(|wait| wait.as_millis()), Err(1600));
        let next = throttle.turn(call, None, LONG, now).unwrap();
        assert_eq!(next.as_millis(), 1600, "no turn was taken");
    }

    #[test]
    fn who_is_put_off_keeps_its_place() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let mut ask = |place: &'static str, at: u64| {
            let now = start + Duration::from_secs(at);
            let turn = throttle.turn("elbv2:CreateLoadBalancer", Some(place), Duration::ZERO, now);
            turn.map_err(|wait| wait.as_secs())
        };
        for place in ["1", "2", "3", "4", "5"] {
            assert_eq!(ask(place, 0), Ok(Duration::ZERO), "{place}");
        }
        assert_eq!(ask("a", 0), Err(10));
        assert_eq!(ask("b", 0), Err(20));
        assert_eq!(ask("a", 4), Err(6), "asking again takes no second turn");
        assert_eq!(ask("c", 10), Err(20), "who comes later is later");
        assert_eq!(ask("b", 20), Ok(Duration::ZERO), "in its turn");
        assert_eq!(ask("a", 20), Ok(Duration::ZERO), "also a little later");
        assert_eq!(ask("c", 29), Err(1));
        assert_eq!(ask("c", 151), Ok(Duration::ZERO), "a place is not kept for ever");
        assert_eq!(
            ask("d", 151),
            Ok(Duration::ZERO),
            "but the turn that was its is used up"
        );
    }

    #[test]
    fn what_nobody_waits_for_leaves_room() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let waits = std::iter::repeat_with(|| throttle.leisure(start).as_secs());
        assert_eq!(waits.take(8).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 2, 3]);
        assert_eq!(at_once(&mut throttle, "elbv2:DescribeRules", start), 20);
    }

    #[test]
    fn throttling_is_learned_at_once_and_forgotten_slowly() {
        for (call, best) in [("elbv2:CreateRule", 1.5), ("elbv2:DescribeRules", 5.0)] {
            let (mut throttle, start) = (Throttle::default(), Instant::now());
            let rate = |throttle: &mut Throttle, at: Instant| {
                let (name, rate) = throttle.limits(call).remove(0);
                let bucket = throttle.bucket(&name, rate, at);
                bucket.refill(at);
                bucket.rate
            };
            throttle.throttled(call, start);
            assert_eq!(
                at_once(&mut throttle, call, start),
                0,
                "what was saved up is gone"
            );
            assert!((rate(&mut throttle, start) - best / 2.0).abs() < 0.01);
            for _ in 0..10 {
                throttle.throttled(call, start);
            }
            assert!(
                (rate(&mut throttle, start) - best / 16.0).abs() < 0.01,
                "never nothing"
            );
            let later = start + Duration::from_secs(60);
            assert!((rate(&mut throttle, later) - (best / 16.0 + best / 5.0)).abs() < 0.01);
            let whole = start + Duration::from_secs(600);
            assert!(
                (rate(&mut throttle, whole) - best).abs() < 0.01,
                "never more than before"
            );
        }
    }

    #[test]
    fn a_limit_is_written_as_the_incumbent_writes_it() {
        let limit = Limit::parse("Elastic Load Balancing v2:^RegisterTargets$|^Describe=0.5:3").unwrap();
        assert_eq!(limit.rate, rate(500, 3));
        for (operation, want) in [
            ("DescribeTags", true),
            ("RegisterTargets", true),
            ("RegisterTargetsNow", false),
            ("CreateRule", false),
        ] {
            assert_eq!(limit.takes(operation), want, "{operation}");
        }
        assert!(Limit::parse("EC2:.*=1:1").unwrap().takes("Anything"));
        for wrong in [
            "",
            "EC2",
            "EC2:^Describe",
            "EC2:^Describe=1",
            "EC2:Describe=1:1",
            "EC2:^Desc[r]ibe=1:1",
            "EC2:^Describe=0:1",
            "EC2:^Describe=-1:1",
            "EC2:^Describe=NaN:1",
            "EC2:^Describe=1:0",
            "S3:^Get=1:1",
        ] {
            assert!(Limit::parse(wrong).is_err(), "{wrong:?}");
        }
        let mut throttle = Throttle::new(vec![Limit::parse("EC2:^Describe=1:2").unwrap()]);
        let now = Instant::now();
        assert_eq!(at_once(&mut throttle, "ec2:DescribeSubnets", now), 2);
        assert_eq!(
            at_once(&mut throttle, "ec2:DescribeVpcs", now),
            0,
            "they share it"
        );
        assert_eq!(at_once(&mut throttle, "ec2:CreateTags", now), 50);
    }
}
