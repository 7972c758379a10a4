//! A lease as it was last seen in, whether to take or renew it out; and the claims that holding it gives.
//!
//! Only the local clock counts: another's record is expired once it has not changed for its whole duration *here*.
//! A lease is no fence: a write may still arrive after the lease has gone, so changes must also be safe when two
//! leaders overlap.

#[cfg(feature = "cluster")]
pub mod keep;
#[cfg(feature = "cluster")]
pub mod rival;

use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::Claim;
use tokio::sync::watch;

/// How long others leave a lease alone after its holder last renewed it. As client-go has it.
pub const DURATION: Duration = Duration::from_secs(15);
/// Longest time without a renewal that went through, until the holder gives up. The rest of [`DURATION`] is for calls
/// under way.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two tries to take or renew it.
pub const RETRY: Duration = Duration::from_secs(2);

/// What counts of a lease object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// None where it was released.
    pub holder: Option<Arc<str>>,
    /// As its holder wrote it.
    pub duration: Duration,
}

/// What to do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write this process in as the holder.
    Acquire,
    /// Write it again.
    Renew,
    /// Another holds it; look again at this instant.
    Wait(Instant),
}

/// Pure: `seen_at` is when the record was first seen as it is now; no record: there is no such object yet.
pub fn decide(record: Option<&Record>, seen_at: Instant, me: &str, now: Instant) -> Decision {
    let Some(record) = record else {
        return Decision::Acquire;
    };
    match &record.holder {
        None => Decision::Acquire,
        Some(holder) if &**holder == me => Decision::Renew,
        Some(_) => {
            let expires = seen_at + record.duration;
            if now >= expires {
                Decision::Acquire
            } else {
                Decision::Wait(expires.min(now + RETRY))
            }
        }
    }
}

/// How this process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Another may be leading.
    Waiting { holder: Option<Arc<str>> },
    /// This process leads; the last renewal that went through was sent at this instant.
    Leading { renewed: Instant },
    /// No lease is asked for: whoever runs it sees to it that there is one replica.
    Alone,
    /// It led, and may not any more.
    Lost,
}

impl Standing {
    /// The right to change things, if there is one now.
    pub fn claim(&self, now: Instant) -> Option<Claim> {
        match self {
            Self::Alone => Some(Claim::until(now + DURATION)),
            // Asked at every call: a keeper that is stuck or dead gives no more claims.
            Self::Leading { renewed } if now < *renewed + RENEW_DEADLINE => {
                Some(Claim::until(*renewed + DURATION))
            }
            Self::Leading { .. } | Self::Waiting { .. } | Self::Lost => None,
        }
    }

    /// Whether it ever led or may.
    pub fn leads(&self) -> bool {
        match self {
            Self::Alone | Self::Leading { .. } => true,
            Self::Waiting { .. } | Self::Lost => false,
        }
    }
}

/// Gives claims to whoever changes things; cheap to clone.
#[derive(Clone, Debug)]
pub struct Tenure(watch::Receiver<Standing>);

impl Tenure {
    /// Follows what a keeper says.
    pub fn follow(standing: watch::Receiver<Standing>) -> Self {
        Self(standing)
    }

    /// The right to change things, if there is one now.
    pub fn claim(&self, now: Instant) -> Option<Claim> {
        self.0.borrow().claim(now)
    }

    pub fn standing(&self) -> Standing {
        self.0.borrow().clone()
    }

    /// Waits until it stands otherwise.
    pub async fn changed(&mut self) {
        // The sender is gone only when the process ends, and then nobody should begin.
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an instant can only be had from the clock; all others are counted from it"
)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_lease_is_taken_only_when_nobody_holds_it_here() {
        let start = Instant::now();
        let held = |holder: &str, duration: u64| {
            Some(Record {
                holder: Some(holder.into()),
                duration: seconds(duration),
            })
        };
        let released = Some(Record {
            holder: None,
            duration: seconds(1),
        });
        for (name, record, now, want) in [
            ("there is none", None, 0, Decision::Acquire),
            ("released", released, 0, Decision::Acquire),
            ("mine", held("me", 15), 0, Decision::Renew),
            ("mine, long ago", held("me", 15), 100, Decision::Renew),
            (
                "another's, just seen",
                held("other", 15),
                0,
                Decision::Wait(start + seconds(2)),
            ),
            (
                "another's, about to expire",
                held("other", 15),
                14,
                Decision::Wait(start + seconds(15)),
            ),
            ("another's, expired", held("other", 15), 15, Decision::Acquire),
            (
                "another's, with a duration of its own",
                held("other", 60),
                15,
                Decision::Wait(start + seconds(17)),
            ),
        ] {
            assert_eq!(
                decide(record.as_ref(), start, "me", start + seconds(now)),
                want,
                "{name}"
            );
        }
    }

    #[test]
    fn a_claim_ends_before_another_may_lead() {
        let start = Instant::now();
        let leading = Standing::Leading { renewed: start };
        for (name, standing, now, timeout, covered) in [
            ("just renewed", leading.clone(), 0, 15, true),
            (
                "a call that would outlast the lease",
                leading.clone(),
                0,
                16,
                false,
            ),
            ("nine seconds later", leading.clone(), 9, 6, true),
            ("nine seconds later, a long call", leading.clone(), 9, 7, false),
            ("past the deadline for renewals", leading, 10, 1, false),
            ("not leading", Standing::Waiting { holder: None }, 0, 1, false),
            ("lost", Standing::Lost, 0, 1, false),
            ("alone", Standing::Alone, 1000, 15, true),
        ] {
            let now = start + seconds(now);
            let got = standing
                .claim(now)
                .is_some_and(|claim| claim.covers(now, seconds(timeout)));
            assert_eq!(got, covered, "{name}");
        }
    }

    #[test]
    fn two_that_see_the_same_writes_never_lead_together() {
        // A holder that stops renewing at any moment has no claim left when the other may first acquire.
        let start = Instant::now();
        let last = Standing::Leading { renewed: start };
        let record = Record {
            holder: Some("a".into()),
            duration: DURATION,
        };
        for ms in 0..20_000 {
            let now = start + Duration::from_millis(ms);
            let claimed = last.claim(now).is_some();
            // The other saw the write the moment it was sent, at the earliest.
            let acquires = decide(Some(&record), start, "b", now) == Decision::Acquire;
            assert!(!(claimed && acquires), "{ms} ms after the last renewal");
        }
    }
}
