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
    /// Of these, those whose answer has begun and is not over.
    answering: AtomicU32,
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
            answering: AtomicU32::new(0),
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

    /// Requests that wait for their answer to begin, over all workers.
    pub(crate) fn waiting(&self) -> u32 {
        let answering = self.answering.load(Ordering::Relaxed);
        self.outstanding.load(Ordering::Relaxed).saturating_sub(answering)
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
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Waiting,
    Answering,
    Tunnel,
}

impl UnderWay {
    pub(crate) fn to(target: Arc<LiveTarget>) -> Self {
        target.load.outstanding.fetch_add(1, Ordering::Relaxed);
        Self {
            target,
            stage: Stage::Waiting,
        }
    }

    /// The answer has begun, and more of it is to come.
    pub(crate) fn answers(&mut self) {
        if self.stage == Stage::Waiting {
            self.target.load.answering.fetch_add(1, Ordering::Relaxed);
            self.stage = Stage::Answering;
        }
    }

    /// The same, now that the protocol has changed.
    pub(crate) fn tunnelled(mut self) -> Self {
        self.target.load.tunnels.fetch_add(1, Ordering::Relaxed);
        self.leave();
        self.stage = Stage::Tunnel;
        self
    }

    /// It counts no longer as what it is.
    fn leave(&self) {
        let load = &self.target.load;
        let counts: &[&AtomicU32] = match self.stage {
            Stage::Waiting => &[&load.outstanding],
            Stage::Answering => &[&load.answering, &load.outstanding],
            Stage::Tunnel => &[&load.tunnels],
        };
        for count in counts {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn target(&self) -> &LiveTarget {
        &self.target
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.leave();
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
    fn what_is_under_way_counts_as_what_it_is() {
        let load = Arc::new(Load::new(false));
        let target = Arc::new(LiveTarget::new("10.0.0.1:80".parse().unwrap(), load.clone()));
        let counted = || (load.is_full(1), load.outstanding(), load.waiting());
        let mut request = UnderWay::to(target.clone());
        assert_eq!(counted(), (true, 1, 1));
        request.answers();
        request.answers();
        assert_eq!(
            counted(),
            (true, 1, 0),
            "an answer takes its place until it is over"
        );
        let tunnel = request.tunnelled();
        assert_eq!(counted(), (false, 1, 0), "a tunnel takes no place of requests");
        let request = UnderWay::to(target.clone());
        assert_eq!(counted(), (true, 2, 1));
        drop((tunnel, request));
        assert_eq!(counted(), (false, 0, 0));
        let mut answered = UnderWay::to(target.clone());
        answered.answers();
        drop(answered);
        assert_eq!(counted(), (false, 0, 0));
    }
}
