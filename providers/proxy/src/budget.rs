//! Requests in, whether another of them may be tried again out: of many that fail, few are repeated, so that what is ill
//! does not get twice the load.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A fifth of what is asked may be asked again.
const PARTS: u32 = 5;
/// So many tries are saved at most.
const FULL: u32 = 100;
/// How often another may be made, however little is asked.
const EACH: Duration = Duration::from_millis(100);

/// One backend's, over all workers: what is ill uses up no tries of others. Counted in parts of a try.
#[derive(Debug)]
pub(crate) struct Budget {
    parts: AtomicU32,
    since: Instant,
    /// Tries that time has brought until now, used or not.
    brought: AtomicU64,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            parts: AtomicU32::new(FULL * PARTS),
            since: now,
            brought: AtomicU64::new(0),
        }
    }

    /// A request is asked for the first time.
    pub(crate) fn asked(&self) {
        // While all goes well, workers do not write to what they share. A part too many by those at the same time is cut
        // off when one is spent.
        if self.parts.load(Ordering::Relaxed) < FULL * PARTS {
            self.parts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether one may be tried again.
    pub(crate) fn spends(&self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since).as_nanos() / EACH.as_nanos();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        let before = self.brought.fetch_max(passed, Ordering::Relaxed);
        let brought = u32::try_from(passed.saturating_sub(before)).unwrap_or(u32::MAX);
        let brought = brought.min(FULL) * PARTS;
        let spent = |parts: u32| (parts + brought).min(FULL * PARTS).checked_sub(PARTS);
        let updated = self
            .parts
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
        updated.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_what_is_asked_is_tried_again_and_ten_a_second() {
        let start = Instant::now();
        let budget = Budget::new(start);
        let spent = |seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            (0..200).filter(|_| budget.spends(now)).count()
        };
        assert_eq!(spent(0), 100, "what is saved at first");
        for _ in 0..50 {
            budget.asked();
        }
        assert_eq!(spent(0), 10, "a fifth of what was asked");
        assert_eq!(spent(2), 20, "what two seconds bring");
        assert_eq!(spent(3600), 100, "and no more than can be saved");
    }
}
