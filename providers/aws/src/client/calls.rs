//! Calls and how they ended in, counts by operation and outcome out, for metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use portcullis_model::{Code, ProviderError};

/// How a call ended: a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Done,
    /// Too many calls; AWS did nothing.
    Throttled,
    /// AWS understood and did nothing.
    Refused,
    /// Not sent: by our own limits its turn was too far off.
    Postponed,
    /// No answer, or an internal error of AWS; nobody knows what was done.
    Unavailable,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
            Self::Postponed => "postponed",
            Self::Unavailable => "unavailable",
        }
    }

    pub(crate) fn of<T>(result: &Result<T, ProviderError>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) if error.code == Code::Throttled => Self::Throttled,
            Err(error) if error.code == Code::Unavailable => Self::Unavailable,
            Err(_) => Self::Refused,
        }
    }
}

/// How often an operation ended in one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallCount {
    /// Service and operation, such as `elbv2:CreateRule`.
    pub call: &'static str,
    pub outcome: Outcome,
    /// Since the process started.
    pub count: u64,
}

/// Counts every call that was sent, and those that had to be put off.
#[derive(Debug, Default)]
pub struct Calls {
    counts: Mutex<BTreeMap<(&'static str, Outcome), u64>>,
}

impl Calls {
    pub(crate) fn count(&self, call: &'static str, outcome: Outcome) {
        // Counts stay right whatever panicked while it held the lock.
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((call, outcome)).or_default() += 1;
    }

    /// By operation, then outcome.
    pub fn read(&self) -> Vec<CallCount> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|(&(call, outcome), &count)| CallCount { call, outcome, count })
            .collect()
    }
}
