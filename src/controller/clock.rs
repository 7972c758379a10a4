//! The clock in, instants and seconds out: the one place of the controller's loop that asks for the time.

use std::time::{Instant, SystemTime};

#[expect(
    clippy::disallowed_methods,
    reason = "the controller's loop is where time is told"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the controller's loop is where time is told"
)]
pub(super) fn unix_time() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// The same, whole.
#[expect(
    clippy::disallowed_methods,
    reason = "the controller's loop is where time is told"
)]
pub(super) fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
