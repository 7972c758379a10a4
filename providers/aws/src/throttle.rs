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

/// Half of the 40, refilled at 10 a second, that all reads of an account and Region share. Source: Elastic Load
/// Balancing User Guide, "Request throttling for the Elastic Load Balancing API".
const ELB_READS: Rate = rate(5_000, 20);
/// For writes AWS publishes no figure: each operation as seldom as all reads together.
const ELB_WRITES: Rate = rate(5_000, 20);
/// Half of the 100, refilled at 20 a second, of each operation. Source: Amazon EC2 Developer Guide, "Request throttling
/// for the Amazon EC2 API", request rate limiting.
const EC2_READS: Rate = rate(10_000, 50);
/// Half of a quarter of that: writes are granted less.
const EC2_WRITES: Rate = rate(2_500, 25);
/// Of all other services, whose figures differ from operation to operation and account to account.
const OTHERS: Rate = rate(2_000, 10);

/// Slowest that a rate is learned down to: a sixteenth of what it is at best.
const SLOWEST: f64 = 1.0 / 16.0;
/// Time in which a rate grows from nothing to what it is at best.
const RECOVERY: Duration = Duration::from_secs(300);

/// The buckets of all operations.
#[derive(Debug, Default)]
pub struct Throttle {
    limits: Vec<Limit>,
    buckets: BTreeMap<String, Bucket>,
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
            buckets: BTreeMap::new(),
        }
    }

    /// Time until the call may be made, whose turn is then taken; or, where that is more than `most`, how long it would
    /// be, and no turn is taken. `call` is named as `elbv2:CreateRule`.
    pub fn turn(&mut self, call: &str, most: Duration, now: Instant) -> Result<Duration, Duration> {
        let bucket = self.bucket(call, now);
        bucket.refill(now);
        let lacking = (1.0 - bucket.tokens).max(0.0);
        let wait = Duration::from_secs_f64(lacking / bucket.rate);
        if wait > most {
            return Err(wait);
        }
        bucket.tokens -= 1.0;
        Ok(wait)
    }

    /// AWS throttled this call: it is made less often from now on.
    pub fn throttled(&mut self, call: &str, now: Instant) {
        let bucket = self.bucket(call, now);
        bucket.refill(now);
        bucket.rate = (bucket.rate / 2.0).max(bucket.best * SLOWEST);
        bucket.tokens = bucket.tokens.min(0.0);
    }

    fn bucket(&mut self, call: &str, now: Instant) -> &mut Bucket {
        let (name, rate) = self.limit(call);
        self.buckets.entry(name).or_insert_with(|| {
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

    /// The bucket of a call, and how it is filled.
    fn limit(&self, call: &str) -> (String, Rate) {
        let (service, operation) = call.split_once(':').unwrap_or(("", call));
        for (number, limit) in self.limits.iter().enumerate() {
            if limit.service == service && limit.takes(operation) {
                return (format!("{number}"), limit.rate);
            }
        }
        let reads = ["Describe", "List", "Get"]
            .iter()
            .any(|verb| operation.starts_with(verb));
        match (service, reads) {
            ("elbv2", true) => ("elbv2:Describe".to_owned(), ELB_READS),
            ("elbv2", false) => (call.to_owned(), ELB_WRITES),
            ("ec2", true) => (call.to_owned(), EC2_READS),
            ("ec2", false) => (call.to_owned(), EC2_WRITES),
            (_, _) => (call.to_owned(), OTHERS),
        }
    }
}

impl Bucket {
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
        std::iter::repeat_with(|| throttle.turn(call, Duration::ZERO, now))
            .take_while(Result::is_ok)
            .count()
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        for (call, burst, after_a_second) in [
            ("elbv2:DescribeRules", 20, 5),
            ("elbv2:CreateRule", 20, 5),
            ("ec2:DescribeSubnets", 50, 10),
            ("ec2:CreateSecurityGroup", 25, 2),
            ("acm:ListCertificates", 10, 2),
            ("wafv2:AssociateWebACL", 10, 2),
        ] {
            let mut throttle = Throttle::default();
            assert_eq!(at_once(&mut throttle, call, start), burst, "{call}");
            let later = start + Duration::from_millis(1001);
            assert_eq!(at_once(&mut throttle, call, later), after_a_second, "{call}");
            let much_later = start + Duration::from_secs(1000);
            assert_eq!(
                at_once(&mut throttle, call, much_later),
                burst,
                "{call}: no more than the burst"
            );
        }
    }

    #[test]
    fn reads_of_load_balancers_share_a_bucket_and_writes_have_their_own() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(at_once(&mut throttle, "elbv2:DescribeRules", now), 20);
        assert_eq!(at_once(&mut throttle, "elbv2:DescribeTags", now), 0);
        assert_eq!(at_once(&mut throttle, "elbv2:CreateRule", now), 20);
        assert_eq!(at_once(&mut throttle, "elbv2:DeleteRule", now), 20);
    }

    #[test]
    fn who_waits_has_a_turn_of_its_own() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        at_once(&mut throttle, "elbv2:CreateRule", now);
        let waits: Vec<u128> = std::iter::repeat_with(|| throttle.turn("elbv2:CreateRule", LONG, now))
            .take(3)
            .map(|wait| wait.unwrap().as_millis())
            .collect();
        assert_eq!(waits, [200, 400, 600]);
        let refused = throttle.turn("elbv2:CreateRule", Duration::from_millis(500), now);
        assert_eq!(refused.map_err(|wait| wait.as_millis()), Err(800));
        let next = throttle.turn("elbv2:CreateRule", LONG, now).unwrap();
        assert_eq!(next.as_millis(), 800, "no turn was taken");
    }

    #[test]
    fn throttling_is_learned_at_once_and_forgotten_slowly() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let call = "elbv2:CreateRule";
        let rate = |throttle: &mut Throttle, at: Instant| {
            throttle.bucket(call, at).refill(at);
            throttle.bucket(call, at).rate
        };
        throttle.throttled(call, start);
        assert_eq!(
            at_once(&mut throttle, call, start),
            0,
            "what was saved up is gone"
        );
        assert!((rate(&mut throttle, start) - 2.5).abs() < 0.01);
        for _ in 0..10 {
            throttle.throttled(call, start);
        }
        assert!(
            (rate(&mut throttle, start) - 5.0 / 16.0).abs() < 0.01,
            "never nothing"
        );
        let later = start + Duration::from_secs(60);
        assert!((rate(&mut throttle, later) - (5.0 / 16.0 + 1.0)).abs() < 0.01);
        let whole = start + Duration::from_secs(600);
        assert!(
            (rate(&mut throttle, whole) - 5.0).abs() < 0.01,
            "never more than before"
        );
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
        assert_eq!(at_once(&mut throttle, "ec2:CreateTags", now), 25);
    }
}
