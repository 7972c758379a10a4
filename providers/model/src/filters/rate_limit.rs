//! Requests, a period and how many may come at once in, a rate limit out.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::origin::Origin;

/// What requests are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Period {
    Second,
    Minute,
    Hour,
}

impl Period {
    pub fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }
}

/// How many requests of one client are answered, over all rules of the object that asks for it. A replica counts by
/// itself: with three of them a client may get three times as many.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RateLimit {
    requests: u32,
    period: Period,
    burst: u32,
    pub origin: Origin,
}

/// Most requests in a period, and at once.
const MOST: u32 = 10_000;
/// Longest time until a client that has used all has all again, in seconds: a day.
const LONGEST: u64 = 86_400;

/// Out of range.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotARateLimit {
    #[error("expected 1 to {MOST} requests, and as many at once")]
    Count,
    #[error("{0} requests at once take longer than a day to come back")]
    TooSlow(u32),
}

impl RateLimit {
    /// `burst` is how many may come at once; as many as in a period where absent.
    pub fn new(
        requests: u32,
        period: Period,
        burst: Option<u32>,
        origin: Origin,
    ) -> Result<Self, NotARateLimit> {
        let burst = burst.unwrap_or(requests);
        if ![requests, burst].iter().all(|count| (1..=MOST).contains(count)) {
            return Err(NotARateLimit::Count);
        }
        if u64::from(burst) * u64::from(period.seconds()) > LONGEST * u64::from(requests) {
            return Err(NotARateLimit::TooSlow(burst));
        }
        Ok(Self {
            requests,
            period,
            burst,
            origin,
        })
    }

    /// In each period, in the long run; 1–10,000.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    pub fn period(&self) -> Period {
        self.period
    }

    /// At once, by a client that has not come for long; 1–10,000.
    pub fn burst(&self) -> u32 {
        self.burst
    }
}

impl fmt::Display for RateLimit {
    /// `at most 10/s of a client, 20 at once`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.period {
            Period::Second => "s",
            Period::Minute => "m",
            Period::Hour => "h",
        };
        write!(
            f,
            "at most {}/{period} of a client, {} at once",
            self.requests, self.burst
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ObjectName;

    #[test]
    fn rates_have_ranges() {
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        for (requests, period, burst, want) in [
            (1, Period::Second, None, Some(1)),
            (10_000, Period::Second, Some(10_000), Some(10_000)),
            (0, Period::Second, None, None),
            (10_001, Period::Second, None, None),
            (1, Period::Second, Some(0), None),
            (1, Period::Hour, Some(24), Some(24)),
            (1, Period::Hour, Some(25), None),
            (2, Period::Hour, Some(48), Some(48)),
        ] {
            let got = RateLimit::new(requests, period, burst, origin.clone());
            assert_eq!(
                got.ok().map(|limit| limit.burst()),
                want,
                "{requests} {period:?} {burst:?}"
            );
        }
    }
}
