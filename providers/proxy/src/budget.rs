//! Requests in, whether another of them may be tried again out: of many that fail, few are repeated, so that what is ill
//! does not get twice the load.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// A fifth of what is asked may be asked again.
const PARTS: u32 = 5;
/// So many tries are saved at most.
const FULL: u32 = 100;
/// So many may be made each second, however little is asked.
const EACH_SECOND: u64 = 10;

/// One worker's. Counted in parts of a try.
#[derive(Debug)]
pub(crate) struct Budget {
    parts: Cell<u32>,
    since: Cell<Instant>,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            parts: Cell::new(FULL * PARTS),
            since: Cell::new(now),
        }
    }

    /// A request is asked for the first time.
    pub(crate) fn asked(&self) {
        self.parts.set((self.parts.get() + 1).min(FULL * PARTS));
    }

    /// Whether one may be tried again.
    pub(crate) fn spends(&self, now: Instant) -> bool {
        let tenth = Duration::from_secs(1) / u32::try_from(EACH_SECOND).unwrap_or(1);
        let tries = now.saturating_duration_since(self.since.get()).as_nanos() / tenth.as_nanos();
        let tries = u32::try_from(tries).unwrap_or(u32::MAX).min(FULL);
        if tries > 0 {
            self.since.set(now);
        }
        let parts = (self.parts.get() + tries * PARTS).min(FULL * PARTS);
        let left = parts.checked_sub(PARTS);
        self.parts.set(left.unwrap_or(parts));
        left.is_some()
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
