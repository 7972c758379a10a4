//! Requests as they begin and end in, how much is under way to a target, and what share of more it is due, out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::target::{LiveTarget, milliseconds};

/// The least share of its requests that a target has while it warms up, in thousandths: without any it stays cold.
const LEAST_SHARE: u32 = 100;

/// What is under way to an address, by all backends, and since when it is there.
#[derive(Debug)]
pub(crate) struct Load {
    outstanding: AtomicU32,
    /// Connections that have changed protocol.
    tunnels: AtomicU32,
    pub(crate) since: Instant,
    /// Whether it came later than others that serve.
    is_new: bool,
}

impl Load {
    pub(crate) fn new(is_new: bool) -> Self {
        Self {
            outstanding: AtomicU32::new(0),
            tunnels: AtomicU32::new(0),
            since: Instant::now(),
            is_new,
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

    /// Its share while it warms up, in thousandths; none where it has its full one.
    pub(crate) fn share(&self, over: Duration) -> Option<u32> {
        self.is_new.then(|| share(self.since.elapsed(), over)).flatten()
    }
}

fn share(passed: Duration, over: Duration) -> Option<u32> {
    let share = milliseconds(passed).saturating_mul(1000) / milliseconds(over).max(1);
    let share = u32::try_from(share).ok().filter(|share| *share < 1000)?;
    Some(share.max(LEAST_SHARE))
}

/// A request under way to a target, or what it has become; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    target: Arc<LiveTarget>,
    is_tunnel: bool,
}

impl UnderWay {
    pub(crate) fn to(target: Arc<LiveTarget>) -> Self {
        target.load.outstanding.fetch_add(1, Ordering::Relaxed);
        Self {
            target,
            is_tunnel: false,
        }
    }

    /// The same, now that the protocol has changed.
    pub(crate) fn tunnelled(mut self) -> Self {
        if !self.is_tunnel {
            self.target.load.tunnels.fetch_add(1, Ordering::Relaxed);
            self.target.load.outstanding.fetch_sub(1, Ordering::Relaxed);
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
            true => &self.target.load.tunnels,
            false => &self.target.load.outstanding,
        };
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(Load::new(true).share(over), Some(LEAST_SHARE));
        assert_eq!(Load::new(false).share(over), None);
    }

    #[test]
    fn a_tunnel_counts_as_load_but_takes_no_request_s_place() {
        let load = Arc::new(Load::new(false));
        let target = Arc::new(LiveTarget::new("10.0.0.1:80".parse().unwrap(), load.clone()));
        let request = UnderWay::to(target.clone());
        assert!(load.is_full(1));
        let tunnel = request.tunnelled();
        assert_eq!((load.is_full(1), load.outstanding()), (false, 1));
        let request = UnderWay::to(target.clone());
        assert_eq!((load.is_full(1), load.outstanding()), (true, 2));
        drop((tunnel, request));
        assert_eq!((load.is_full(1), load.outstanding()), (false, 0));
    }
}
