//! Keys whose turn failed in, the delay until each is tried again out: growing per key, forgotten at the first success.

use std::collections::BTreeMap;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use portcullis_model::Retry;

/// Delay after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest delay, before jitter.
const LONGEST: Duration = Duration::from_secs(300);
/// What only a change in the cluster can mend is looked at this seldom: the cloud may have been changed by hand.
const SELDOM: Duration = Duration::from_secs(600);

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// After this much time, or when something changes.
    Soft(Duration),
    /// After this much time, whatever changes.
    Hard(Duration),
}

/// The delays of all keys that failed.
#[derive(Debug)]
pub struct Backoff<K> {
    builder: ExponentialBuilder,
    failed: BTreeMap<K, ExponentialBackoff>,
}

impl<K: Ord + Clone> Default for Backoff<K> {
    fn default() -> Self {
        Self {
            // With jitter: load balancers that failed together are not tried together.
            builder: ExponentialBuilder::new()
                .with_min_delay(FIRST)
                .with_max_delay(LONGEST)
                .with_jitter()
                .without_max_times(),
            failed: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Backoff<K> {
    pub fn succeeded(&mut self, key: &K) {
        self.failed.remove(key);
    }

    pub fn failed(&mut self, key: &K, retry: Retry) -> Delay {
        if let Retry::Later(asked) = retry {
            // Put off, by us or by the provider: that it was asked about too early, also often, makes it no later.
            return Delay::Soft(asked.max(FIRST));
        }
        let delays = self
            .failed
            .entry(key.clone())
            .or_insert_with(|| self.builder.build());
        let delay = delays.next().unwrap_or(LONGEST);
        match retry {
            Retry::Backoff | Retry::Observe | Retry::Later(_) => Delay::Soft(delay),
            // At least what was asked for, and not all at the same moment.
            Retry::After(asked) => Delay::Hard(asked.max(delay)),
            Retry::Never => Delay::Soft(delay.max(SELDOM)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(delay: Delay) -> f64 {
        match delay {
            Delay::Soft(delay) | Delay::Hard(delay) => delay.as_secs_f64(),
        }
    }

    #[test]
    fn delays_grow_to_a_bound_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        for (failures, least, most) in [(1, 1.0, 2.0), (2, 2.0, 4.0), (3, 4.0, 8.0), (4, 8.0, 16.0)] {
            let delay = seconds(backoff.failed(&"a", Retry::Backoff));
            assert!((least..=most).contains(&delay), "failure {failures}: {delay}");
        }
        for _ in 0..20 {
            let delay = seconds(backoff.failed(&"a", Retry::Backoff));
            assert!(delay <= 2.0 * LONGEST.as_secs_f64(), "{delay}");
        }
        assert!(
            seconds(backoff.failed(&"b", Retry::Backoff)) <= 2.0,
            "another key has its own delay"
        );
        backoff.succeeded(&"a");
        assert!(
            seconds(backoff.failed(&"a", Retry::Backoff)) <= 2.0,
            "after a success"
        );
    }

    #[test]
    fn quiet_that_was_asked_for_is_kept() {
        let asked = Duration::from_secs(30);
        let mut backoff = Backoff::default();
        assert_eq!(backoff.failed(&"a", Retry::After(asked)), Delay::Hard(asked));
        assert_eq!(
            backoff.failed(&"b", Retry::Later(asked)),
            Delay::Soft(asked),
            "what changes is looked at before"
        );
        for _ in 0..20 {
            assert_eq!(
                backoff.failed(&"c", Retry::Later(asked)),
                Delay::Soft(asked),
                "what was put off is not tried more and more seldom"
            );
        }
        let never = backoff.failed(&"a", Retry::Never);
        assert!(
            matches!(never, Delay::Soft(delay) if delay >= SELDOM),
            "{never:?}"
        );
    }
}
