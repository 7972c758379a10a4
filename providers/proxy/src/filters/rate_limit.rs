//! Clients' addresses in, whether one may have another answer, and when, out.
//!
//! All workers count in one table without a lock. Of a client only the instant is kept at which all that it has used
//! is back (the *theoretical arrival time* of the generic cell rate algorithm, ITU-T I.371), so an entry is one word.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis_model as model;
use tokio::time::Instant;

use crate::answer::Failure;
use crate::compile::mark;

/// Clients of which something is known are looked for among so many entries: a cache line.
const WAYS: usize = 8;
/// 128 Ki clients at once, in 1 MiB.
const BUCKETS: usize = 1 << 14;
/// Low bits of an entry that hold an instant; the others tell clients of a bucket apart.
const TIME_BITS: u32 = 44;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// Ticks of 4 µs: they begin anew every two years, and a limit reaches a day ahead at most.
const MICROS_PER_TICK: u64 = 4;
const TICKS_PER_SECOND: u64 = 1_000_000 / MICROS_PER_TICK;

/// What a client may have, in ticks.
#[derive(Debug)]
pub(crate) struct RateLimit {
    /// Tells limits apart: the same for all rules of an object, and from one configuration to the next.
    mark: u64,
    /// Until one request is back.
    each: u64,
    /// Until all are.
    all: u64,
}

impl RateLimit {
    pub(crate) fn new(limit: &model::RateLimit) -> Self {
        let each = u64::from(limit.period().seconds()) * TICKS_PER_SECOND / u64::from(limit.requests());
        Self {
            mark: mark(&(
                &limit.origin.kind,
                &limit.origin.object,
                limit.requests(),
                limit.period(),
                limit.burst(),
            )),
            each,
            all: each * u64::from(limit.burst()),
        }
    }

    /// Counts a request. Where nothing counts, nothing is let through.
    pub(crate) fn admit(&self, rates: Option<&Rates>, client: IpAddr) -> Result<(), Failure> {
        let wait = rates.map_or(Err(TICKS_PER_SECOND), |rates| {
            rates.admit(self, client, rates.now())
        });
        wait.map_err(|ticks| {
            let seconds = ticks.div_ceil(TICKS_PER_SECOND);
            Failure::too_many(u32::try_from(seconds).unwrap_or(u32::MAX))
        })
    }
}

/// What clients have used of their limits, for all workers and from one configuration to the next.
pub(crate) struct Rates {
    buckets: Box<[Bucket]>,
    /// Keyed anew in each process, so that nobody can look for addresses that share an entry.
    hasher: RandomState,
    began: Instant,
}

#[repr(align(64))]
#[derive(Default)]
struct Bucket([AtomicU64; WAYS]);

impl std::fmt::Debug for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rates").finish_non_exhaustive()
    }
}

impl Rates {
    pub(crate) fn new() -> Arc<Self> {
        let mut buckets = Vec::new();
        buckets.resize_with(BUCKETS, Bucket::default);
        Arc::new(Self {
            buckets: buckets.into(),
            hasher: RandomState::new(),
            began: Instant::now(),
        })
    }

    fn now(&self) -> u64 {
        let micros = self.began.elapsed().as_micros() / u128::from(MICROS_PER_TICK);
        u64::try_from(micros & u128::from(TIME)).unwrap_or_default()
    }

    /// Counts a request at an instant; the error is how long it has to wait.
    fn admit(&self, limit: &RateLimit, client: IpAddr, now: u64) -> Result<(), u64> {
        let hash = self.hasher.hash_one((limit.mark, whose(client)));
        let place = usize::try_from(hash).unwrap_or_default() % self.buckets.len();
        let Some(Bucket(entries)) = self.buckets.get(place) else {
            return Err(limit.each);
        };
        // Never 0, which is an entry of nobody.
        let who = (hash >> TIME_BITS).max(1) << TIME_BITS;
        loop {
            let (entry, before) = find(entries, who, now);
            let used = match before & !TIME == who {
                true => ahead(before, now),
                false => 0,
            };
            // More than can be used is left from two years ago.
            let used = if used > limit.all { 0 } else { used };
            let then = used + limit.each;
            if then > limit.all {
                return Err(then - limit.all);
            }
            let after = who | ((now + then) & TIME);
            if entry
                .compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
            {
                return Ok(());
            }
        }
    }
}

/// The entry of a client, else the one whose loss says least: of nobody, or of who has all back soonest.
fn find(entries: &[AtomicU64; WAYS], who: u64, now: u64) -> (&AtomicU64, u64) {
    let mut least = (&entries[0], entries[0].load(Ordering::Relaxed));
    for entry in entries {
        let word = entry.load(Ordering::Relaxed);
        if word & !TIME == who {
            return (entry, word);
        }
        if ahead(word, now) < ahead(least.1, now) {
            least = (entry, word);
        }
    }
    least
}

/// How far an entry's instant lies ahead; 0 where it has passed.
fn ahead(word: u64, now: u64) -> u64 {
    let ticks = word.wrapping_sub(now) & TIME;
    if ticks > TIME / 2 { 0 } else { ticks }
}

/// Whom an address stands for: a network of IPv6 is one client's, who has all addresses of it. Source: RFC 6177 §2.
fn whose(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6) >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use model::{ObjectName, Origin, Period};

    use super::*;

    fn limit(requests: u32, period: Period, burst: u32) -> RateLimit {
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        RateLimit::new(&model::RateLimit::new(requests, period, Some(burst), origin).unwrap())
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_its_burst_at_once_and_then_its_rate() {
        let rates = Rates::new();
        let limit = limit(2, Period::Second, 3);
        for (tick, want) in [
            (0, Ok(())),
            (0, Ok(())),
            (0, Ok(())),
            (0, Err(125_000)),
            (25_000, Err(100_000)),
            (125_000, Ok(())),
            (125_000, Err(125_000)),
            (10_000_000, Ok(())),
            (10_000_000, Ok(())),
            (10_000_000, Ok(())),
            (10_000_000, Err(125_000)),
        ] {
            let got = rates.admit(&limit, address("192.0.2.1"), tick);
            assert_eq!(got, want, "at tick {tick}");
        }
    }

    #[test]
    fn a_client_is_an_address_or_a_network_of_ipv6() {
        for (first, second, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::2:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let rates = Rates::new();
            let limit = limit(1, Period::Minute, 1);
            assert!(rates.admit(&limit, address(first), 0).is_ok());
            let got = rates.admit(&limit, address(second), 0).is_err();
            assert_eq!(got, same, "{first} and {second}");
        }
    }

    #[test]
    fn limits_count_apart_and_through_the_end_of_time() {
        let rates = Rates::new();
        let (slow, fast) = (limit(1, Period::Minute, 1), limit(1, Period::Second, 1));
        let client = address("192.0.2.1");
        assert!(rates.admit(&slow, client, TIME).is_ok());
        assert!(rates.admit(&fast, client, TIME).is_ok());
        // A tick later time has begun anew.
        assert!(rates.admit(&slow, client, 0).is_err());
        assert!(rates.admit(&fast, client, 0).is_err());
        assert!(rates.admit(&fast, client, TICKS_PER_SECOND).is_ok());
        assert!(rates.admit(&slow, client, TICKS_PER_SECOND).is_err());
    }

    #[test]
    fn many_clients_push_out_those_who_have_used_least() {
        let rates = Rates::new();
        let (heavy, light) = (limit(100, Period::Hour, 100), limit(1, Period::Second, 1));
        let client = address("192.0.2.1");
        for _ in 0..100 {
            assert!(rates.admit(&heavy, client, 0).is_ok());
        }
        for number in 0..400_000_u32 {
            let other = IpAddr::from(number.to_be_bytes());
            // One whose entry is taken for another's may be refused; nobody counts on it.
            let _ = rates.admit(&light, other, 0);
        }
        assert!(rates.admit(&heavy, client, 0).is_err());
    }
}
