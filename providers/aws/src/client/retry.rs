//! A read that failed in, whether and when it is made again out: few times, at random moments, and never all at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use portcullis_model::{Code, ProviderError, Retry};

/// Times that one read is made again.
const MOST_RETRIES: u32 = 3;
/// The first wait is from nothing to this; each further one to twice as much. Source for waits at random from nothing:
/// Amazon Builders' Library, "Timeouts, retries, and backoff with jitter".
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest time that AWS may ask for; a pass is worth no longer wait.
const LONGEST_ASKED: Duration = Duration::from_secs(8);

/// How often one read was made again.
#[derive(Debug, Default)]
pub(super) struct Retries(u32);

impl Retries {
    /// How long to wait until it is made again; none where that is no use. `chance` is from 0 to 1.
    pub(super) fn again(&mut self, error: &ProviderError, chance: f64) -> Option<Duration> {
        // Throttled, an error inside AWS, no answer, no connection: what passes by itself.
        if !matches!(error.code, Code::Throttled | Code::Unavailable) || self.0 >= MOST_RETRIES {
            return None;
        }
        let jitter = FIRST_WAIT.saturating_mul(1 << self.0).mul_f64(chance);
        self.0 += 1;
        match error.retry {
            Retry::After(asked) if asked > LONGEST_ASKED => None,
            Retry::After(asked) => Some(asked + jitter),
            Retry::Backoff | Retry::Later(_) | Retry::Observe | Retry::Never => Some(jitter),
        }
    }
}

/// Retries that may be made, of all reads together: when AWS is out of reach, each read made four times would be
/// three too many. A retry takes one; ten reads that succeed give one.
#[derive(Debug)]
pub(super) struct Budget {
    tenths: u32,
}

/// Most that are saved up.
const FULL: u32 = 200;

impl Default for Budget {
    fn default() -> Self {
        Self { tenths: FULL }
    }
}

impl Budget {
    pub(super) fn succeeded(&mut self) {
        self.tenths = (self.tenths + 1).min(FULL);
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let left = self.tenths.checked_sub(10);
        self.tenths = left.unwrap_or(self.tenths);
        left.is_some()
    }
}

/// From 0 to 1. A new state of the standard hasher is random.
pub(super) fn chance() -> f64 {
    let random = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(random).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: Code, retry: Retry) -> ProviderError {
        ProviderError {
            code,
            call: "elbv2:DescribeTags",
            message: "a test says so".into(),
            retry,
        }
    }

    #[test]
    fn what_passes_by_itself_is_read_again_three_times() {
        let seconds = |asked| Retry::After(Duration::from_secs(asked));
        let none: &[u128] = &[];
        for (code, retry, want) in [
            (Code::Throttled, Retry::Backoff, &[500, 1000, 2000][..]),
            (Code::Unavailable, Retry::Backoff, &[500, 1000, 2000]),
            (Code::Throttled, seconds(7), &[7500, 8000, 9000]),
            (Code::Throttled, seconds(9), none),
            (Code::AccessDenied, Retry::Backoff, none),
            (Code::RequestRefused, Retry::Never, none),
        ] {
            let mut retries = Retries::default();
            let error = error(code, retry);
            let waits: Vec<u128> = std::iter::from_fn(|| retries.again(&error, 1.0))
                .map(|wait| wait.as_millis())
                .collect();
            assert_eq!(waits, want, "{code:?} {retry:?}");
        }
        let first = Retries::default().again(&error(Code::Throttled, Retry::Backoff), 0.0);
        assert_eq!(first, Some(Duration::ZERO), "anything from nothing");
    }

    #[test]
    fn retries_are_few_beside_what_succeeds() {
        let mut budget = Budget::default();
        let at_once = |budget: &mut Budget| {
            std::iter::repeat_with(|| budget.take())
                .take_while(|taken| *taken)
                .count()
        };
        assert_eq!(at_once(&mut budget), 20);
        (0..50).for_each(|_| budget.succeeded());
        assert_eq!(at_once(&mut budget), 5);
        (0..5000).for_each(|_| budget.succeeded());
        assert_eq!(at_once(&mut budget), 20, "no more than at first");
    }
}
