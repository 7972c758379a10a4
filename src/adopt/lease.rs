//! Another controller's lease as read twice in, whether its holder still renews it out.
//!
//! Only the local clock counts: whether the holder's clock is right does not matter, because its times are compared
//! with each other alone.

use std::time::Duration;

use serde::Serialize;

/// Time between two readings.
const PAUSE: Duration = Duration::from_secs(2);

/// A lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// None where it was released.
    pub holder: Option<String>,
    /// As its holder wrote it.
    pub duration: Duration,
    /// Changes whenever it is written.
    pub version: String,
}

/// What is known of the holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
pub enum State {
    /// There is no such lease.
    Absent,
    /// Its last holder gave it back.
    Released,
    /// Somebody renewed it while we looked.
    Renewed { holder: String },
    /// It was not renewed for its whole duration.
    Expired { holder: String },
}

/// Whether that is known by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Known(State),
    /// Read it again after this time.
    LookAgain(Duration),
}

/// Pure: `first` was read this much time before `last`.
pub fn judge(first: Option<&Reading>, last: Option<&Reading>, passed: Duration) -> Verdict {
    let Some(last) = last else {
        return Verdict::Known(State::Absent);
    };
    let Some(holder) = last.holder.clone() else {
        return Verdict::Known(State::Released);
    };
    if first != Some(last) {
        return Verdict::Known(State::Renewed { holder });
    }
    match last.duration.checked_sub(passed) {
        Some(left) if !left.is_zero() => Verdict::LookAgain(left.min(PAUSE)),
        _ => Verdict::Known(State::Expired { holder }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_gone_when_it_did_not_renew_for_the_whole_duration() {
        let seconds = Duration::from_secs;
        let held = |version: &str, duration| Reading {
            holder: Some("pod-1".into()),
            duration: seconds(duration),
            version: version.into(),
        };
        let released = Reading {
            holder: None,
            ..held("1", 15)
        };
        let holder = || "pod-1".to_owned();
        for (what, first, last, passed, want) in [
            ("none", None, None, 0, Verdict::Known(State::Absent)),
            (
                "deleted meanwhile",
                Some(held("1", 15)),
                None,
                4,
                Verdict::Known(State::Absent),
            ),
            (
                "released",
                Some(released.clone()),
                Some(released),
                0,
                Verdict::Known(State::Released),
            ),
            (
                "just seen",
                Some(held("1", 15)),
                Some(held("1", 15)),
                0,
                Verdict::LookAgain(seconds(2)),
            ),
            (
                "almost over",
                Some(held("1", 15)),
                Some(held("1", 15)),
                14,
                Verdict::LookAgain(seconds(1)),
            ),
            (
                "renewed",
                Some(held("1", 15)),
                Some(held("2", 15)),
                4,
                Verdict::Known(State::Renewed { holder: holder() }),
            ),
            (
                "taken while we looked",
                None,
                Some(held("2", 15)),
                4,
                Verdict::Known(State::Renewed { holder: holder() }),
            ),
            (
                "not renewed",
                Some(held("1", 15)),
                Some(held("1", 15)),
                15,
                Verdict::Known(State::Expired { holder: holder() }),
            ),
        ] {
            assert_eq!(
                judge(first.as_ref(), last.as_ref(), seconds(passed)),
                want,
                "{what}"
            );
        }
    }
}
