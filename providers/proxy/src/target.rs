//! What becomes of connections and requests in, whether a target may have another out.
//!
//! A target that takes no connection rests: 1 s, then twice as long each time it fails again, up to 30 s. Only
//! connections count. What a client sends could make a target fail a request, but not refuse a connection: nobody can
//! take targets away from others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::compile::mark;

/// The least share of its requests that a target has while it warms up, in thousandths: without any it stays cold.
const LEAST_SHARE: u32 = 100;
/// The first rest, and the longest.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A target, what is under way to it, and how it fares.
#[derive(Debug)]
pub(crate) struct LiveTarget {
    pub(crate) address: SocketAddr,
    /// What a cookie says for it: the same as long as its address is, in every replica.
    pub(crate) mark: u64,
    outstanding: AtomicU32,
    /// Connections that have changed protocol.
    tunnels: AtomicU32,
    since: Instant,
    /// Whether it came later than others that serve.
    is_new: bool,
    /// Connections that failed, one after the other.
    failures: AtomicU32,
    /// Milliseconds after `since` until which it rests; 0 where it does not.
    rests_until: AtomicU64,
    /// Checks that find it ill.
    ill: AtomicU32,
}

impl LiveTarget {
    pub(crate) fn new(address: SocketAddr, is_new: bool) -> Self {
        Self {
            address,
            mark: mark(&address),
            outstanding: AtomicU32::new(0),
            tunnels: AtomicU32::new(0),
            since: Instant::now(),
            is_new,
            failures: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
            ill: AtomicU32::new(0),
        }
    }

    /// Requests and tunnels under way, over all workers.
    pub(crate) fn outstanding(&self) -> u32 {
        let tunnels = self.tunnels.load(Ordering::Relaxed);
        self.outstanding.load(Ordering::Relaxed).saturating_add(tunnels)
    }

    /// Whether it has as many requests under way as it may. Workers that ask at the same time may each add one more.
    pub(crate) fn is_full(&self, most: u32) -> bool {
        self.outstanding.load(Ordering::Relaxed) >= most
    }

    /// Whether it is passed over while another is not.
    pub(crate) fn rests(&self) -> bool {
        if self.is_ill() {
            return true;
        }
        let until = self.rests_until.load(Ordering::Relaxed);
        // The clock is read only after a failure.
        until > 0 && milliseconds(self.since.elapsed()) < until
    }

    /// Whether any check finds it ill.
    pub(crate) fn is_ill(&self) -> bool {
        self.ill.load(Ordering::Relaxed) > 0
    }

    /// It took no connection.
    pub(crate) fn failed(&self) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        let until = milliseconds(self.since.elapsed() + rest_after(before));
        self.rests_until.store(until, Ordering::Relaxed);
    }

    /// It took a connection.
    pub(crate) fn connected(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.rests_until.store(0, Ordering::Relaxed);
        }
    }

    /// Its share while it warms up, in thousandths; none where it has its full one.
    pub(crate) fn share(&self, over: Duration) -> Option<u32> {
        self.is_new.then(|| share(self.since.elapsed(), over)).flatten()
    }
}

/// How long a target rests that failed so many times before.
fn rest_after(failures: u32) -> Duration {
    let (first, longest) = REST;
    first.saturating_mul(1 << failures.min(5)).min(longest)
}

fn share(passed: Duration, over: Duration) -> Option<u32> {
    let share = milliseconds(passed).saturating_mul(1000) / milliseconds(over).max(1);
    let share = u32::try_from(share).ok().filter(|share| *share < 1000)?;
    Some(share.max(LEAST_SHARE))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// That a check finds a target ill, until this is dropped.
#[derive(Debug)]
pub(crate) struct Ill(Arc<LiveTarget>);

impl Ill {
    pub(crate) fn of(target: Arc<LiveTarget>) -> Self {
        target.ill.fetch_add(1, Ordering::Relaxed);
        Self(target)
    }
}

impl Drop for Ill {
    fn drop(&mut self) {
        self.0.ill.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request under way to a target, or what it has become; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    target: Arc<LiveTarget>,
    is_tunnel: bool,
}

impl UnderWay {
    pub(crate) fn to(target: Arc<LiveTarget>) -> Self {
        target.outstanding.fetch_add(1, Ordering::Relaxed);
        Self {
            target,
            is_tunnel: false,
        }
    }

    /// The same, now that the protocol has changed.
    pub(crate) fn tunnelled(mut self) -> Self {
        if !self.is_tunnel {
            self.target.tunnels.fetch_add(1, Ordering::Relaxed);
            self.target.outstanding.fetch_sub(1, Ordering::Relaxed);
            self.is_tunnel = true;
        }
        self
    }

    pub(crate) fn target(&self) -> &LiveTarget {
        &self.target
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let count = match self.is_tunnel {
            true => &self.target.tunnels,
            false => &self.target.outstanding,
        };
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_rests_twice_as_long_each_time_and_no_longer_than_half_a_minute() {
        for (failures, seconds) in [
            (0, 1),
            (1, 2),
            (2, 4),
            (3, 8),
            (4, 16),
            (5, 30),
            (6, 30),
            (u32::MAX, 30),
        ] {
            assert_eq!(rest_after(failures), Duration::from_secs(seconds), "{failures}");
        }
        let target = LiveTarget::new("10.0.0.1:80".parse().unwrap(), false);
        assert!(!target.rests());
        target.failed();
        assert!(target.rests());
        target.connected();
        assert!(!target.rests(), "once it took a connection it is as good as new");
    }

    #[test]
    fn a_new_target_comes_to_its_share_by_and_by() {
        let over = Duration::from_secs(100);
        for (seconds, want) in [
            (0, Some(100)),
            (5, Some(100)),
            (50, Some(500)),
            (99, Some(990)),
            (100, None),
            (u64::MAX, None),
        ] {
            assert_eq!(share(Duration::from_secs(seconds), over), want, "{seconds}");
        }
        let target = |is_new| LiveTarget::new("10.0.0.1:80".parse().unwrap(), is_new);
        assert_eq!(target(true).share(over), Some(LEAST_SHARE));
        assert_eq!(target(false).share(over), None);
    }

    #[test]
    fn a_tunnel_counts_as_load_but_takes_no_request_s_place() {
        let target = Arc::new(LiveTarget::new("10.0.0.1:80".parse().unwrap(), false));
        let request = UnderWay::to(target.clone());
        assert!(target.is_full(1));
        let tunnel = request.tunnelled();
        assert_eq!((target.is_full(1), target.outstanding()), (false, 1));
        let request = UnderWay::to(target.clone());
        assert_eq!((target.is_full(1), target.outstanding()), (true, 2));
        drop((tunnel, request));
        assert_eq!((target.is_full(1), target.outstanding()), (false, 0));
    }
}
