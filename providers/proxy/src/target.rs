//! What becomes of a backend's connections in, whether a target of it may have another request out.
//!
//! Health is of one backend and one target: backends ask for different proofs, paths and codes, and what one of them meets
//! at an address is nothing to others that lead there. Load is of the address, whoever leads there.
//!
//! A target that takes no connection rests: 1 s, then twice as long each time it fails again, up to 30 s. So does one
//! that took five new connections, one after the other, and broke each off without a word. Nothing else counts: what a
//! client sends could make a target fail a request, and one that answers others in between is not taken away from them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::compile::mark;
use crate::load::Load;

/// The first rest, and the longest.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// New connections that break off without an answer, one after the other, before a target rests.
const BROKEN: u32 = 5;

/// A target of a backend, what is under way to its address, and how it fares with this backend.
#[derive(Debug)]
pub(crate) struct LiveTarget {
    pub(crate) address: SocketAddr,
    /// What a cookie says for it: the same as long as its address is, in every replica.
    pub(crate) mark: u64,
    /// Of all backends that have the address.
    pub(crate) load: Arc<Load>,
    /// Connections that failed, one after the other.
    failures: AtomicU32,
    /// New connections that broke off without an answer, one after the other.
    broken: AtomicU32,
    /// Milliseconds after the `since` of its load until which it rests; 0 where it does not.
    rests_until: AtomicU64,
    /// Checks that find it ill.
    ill: AtomicU32,
}

impl LiveTarget {
    pub(crate) fn new(address: SocketAddr, load: Arc<Load>) -> Self {
        Self {
            address,
            mark: mark(&address),
            load,
            failures: AtomicU32::new(0),
            broken: AtomicU32::new(0),
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
        self.rest(before);
    }

    /// It took a new connection and broke it off without an answer.
    pub(crate) fn broke(&self) {
        let before = self.broken.fetch_add(1, Ordering::Relaxed);
        if let Some(rests) = before.saturating_add(1).checked_sub(BROKEN) {
            self.rest(rests);
        }
    }

    fn rest(&self, before: u32) {
        let until = milliseconds(self.load.since.elapsed() + rest_after(before));
        self.rests_until.store(until, Ordering::Relaxed);
    }

    /// It took a connection.
    pub(crate) fn connected(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            if self.broken.load(Ordering::Relaxed) < BROKEN {
                self.rests_until.store(0, Ordering::Relaxed);
            }
        }
    }

    /// It answered.
    pub(crate) fn answered(&self) {
        // Workers do not write to what they share while all goes well.
        if self.broken.load(Ordering::Relaxed) > 0 && self.broken.swap(0, Ordering::Relaxed) >= BROKEN {
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
    use crate::load::UnderWay;

    fn target_with(load: &Arc<Load>) -> LiveTarget {
        LiveTarget::new("10.0.0.1:80".parse().unwrap(), load.clone())
    }

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
        let target = target_with(&Arc::new(Load::new(false)));
        assert!(!target.rests());
        target.failed();
        assert!(target.rests());
        target.connected();
        assert!(!target.rests(), "once it took a connection it is as good as new");
    }

    #[test]
    fn a_target_that_breaks_off_five_times_in_a_row_rests_until_it_answers() {
        let target = target_with(&Arc::new(Load::new(false)));
        for _ in 1..BROKEN {
            target.connected();
            target.broke();
            assert!(!target.rests());
        }
        target.answered();
        for _ in 1..BROKEN {
            target.broke();
        }
        assert!(!target.rests(), "it answered in between");
        target.broke();
        assert!(target.rests());
        target.connected();
        assert!(target.rests(), "to take a connection proves nothing of it");
        target.answered();
        assert!(!target.rests());
    }

    #[test]
    fn load_is_shared_where_health_is_not() {
        let load = Arc::new(Load::new(false));
        let (one, other) = (target_with(&load), target_with(&load));
        one.failed();
        assert_eq!((one.rests(), other.rests()), (true, false));
        let one = Arc::new(one);
        let ill = Ill::of(one.clone());
        assert_eq!((one.is_ill(), other.is_ill()), (true, false));
        one.connected();
        assert!(one.rests(), "it is ill still");
        drop(ill);
        assert!(!one.rests());
        let under_way = UnderWay::to(one);
        assert_eq!(other.load.outstanding(), 1);
        drop(under_way);
        assert_eq!(other.load.outstanding(), 0);
    }
}
