//! What becomes of connections in, whether a target may have another request out.
//!
//! A target that takes no connection rests: 1 s, then twice as long each time it fails again, up to 30 s. Only
//! connections count. What a client sends could make a target fail a request, but not refuse a connection: nobody can
//! take targets away from others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::compile::mark;
use crate::load::Load;

/// The first rest, and the longest.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A target, what is under way to it, and how it fares.
#[derive(Debug)]
pub(crate) struct LiveTarget {
    pub(crate) address: SocketAddr,
    /// What a cookie says for it: the same as long as its address is, in every replica.
    pub(crate) mark: u64,
    pub(crate) load: Load,
    /// Connections that failed, one after the other.
    failures: AtomicU32,
    /// Milliseconds after the `since` of its load until which it rests; 0 where it does not.
    rests_until: AtomicU64,
    /// Checks that find it ill.
    ill: AtomicU32,
}

impl LiveTarget {
    pub(crate) fn new(address: SocketAddr, is_new: bool) -> Self {
        Self {
            address,
            mark: mark(&address),
            load: Load::new(is_new),
            failures: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
            ill: AtomicU32::new(0),
        }
    }

    /// Whether it is passed over while another is not.
    pub(crate) fn rests(&self) -> bool {
        if self.is_ill() {
            return true;
        }
        let until = self.rests_until.load(Ordering::Relaxed);
        // The clock is read only after a failure.
        until > 0 && milliseconds(self.load.since.elapsed()) < until
    }

    /// Whether any check finds it ill.
    pub(crate) fn is_ill(&self) -> bool {
        self.ill.load(Ordering::Relaxed) > 0
    }

    /// It took no connection.
    pub(crate) fn failed(&self) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        let until = milliseconds(self.load.since.elapsed() + rest_after(before));
        self.rests_until.store(until, Ordering::Relaxed);
    }

    /// It took a connection.
    pub(crate) fn connected(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.rests_until.store(0, Ordering::Relaxed);
        }
    }
}

/// How long a target rests that failed so many times before.
fn rest_after(failures: u32) -> Duration {
    let (first, longest) = REST;
    first.saturating_mul(1 << failures.min(5)).min(longest)
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
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
}
