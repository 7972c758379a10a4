//! Keys that something touched in, keys whose turn it is out: one turn at a time per key, so many at once in all.
//!
//! A state machine over values: `now` is a parameter, and whoever drives it sleeps and spawns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How turns are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Turns at once. Unbounded turns would hold every load balancer's state in memory at the same time.
    pub concurrency: usize,
    /// Time without a further touch before a turn: a rollout touches a key once per pod.
    pub debounce: Duration,
    /// Longest time from the first touch to the turn: a key that is touched all the time is not starved.
    pub longest_wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            concurrency: 8,
            debounce: Duration::from_millis(100),
            longest_wait: Duration::from_secs(1),
        }
    }
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<K> {
    /// Its turn begins now.
    Turn(K),
    /// Nothing before this instant.
    At(Instant),
    /// Nothing until a key is touched or a turn ends.
    Idle,
}

/// When a key whose turn ended is due again, were nobody to touch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    No,
    /// At this instant, or when it is touched.
    At(Instant),
    /// At this instant, and not before it whoever touches it: the other side asked for quiet.
    NotBefore(Instant),
}

/// Keys waiting for their turn, and those that have it.
#[derive(Debug)]
pub struct Queue<K> {
    pace: Pace,
    keys: BTreeMap<K, State>,
    /// Waiting keys by the instant they are due.
    due: BTreeSet<(Instant, K)>,
    running: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Waiting {
        due: Instant,
        /// First touch since the last turn began; none while it only waits to try again.
        touched: Option<Instant>,
        not_before: Option<Instant>,
    },
    Running {
        /// First and last touch since the turn began.
        touched: Option<(Instant, Instant)>,
    },
}

impl<K: Ord + Clone> Queue<K> {
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            keys: BTreeMap::new(),
            due: BTreeSet::new(),
            running: 0,
        }
    }

    /// Something changed that this key's turn looks at.
    pub fn touch(&mut self, key: &K, now: Instant) {
        match self.keys.get(key).copied() {
            None => self.wait(key, now, now, None),
            Some(State::Running { touched }) => {
                let first = touched.map_or(now, |(first, _)| first);
                self.keys.insert(
                    key.clone(),
                    State::Running {
                        touched: Some((first, now)),
                    },
                );
            }
            Some(State::Waiting {
                due,
                touched,
                not_before,
            }) => {
                self.due.remove(&(due, key.clone()));
                self.wait(key, touched.unwrap_or(now), now, not_before);
            }
        }
    }

    /// The key whose turn begins at `now`, or how long there is none.
    pub fn next(&mut self, now: Instant) -> Next<K> {
        if self.running >= self.pace.concurrency {
            return Next::Idle;
        }
        match self.due.first() {
            None => Next::Idle,
            Some((due, _)) if *due > now => Next::At(*due),
            Some((due, key)) => {
                let (due, key) = (*due, key.clone());
                self.due.remove(&(due, key.clone()));
                self.keys.insert(key.clone(), State::Running { touched: None });
                self.running += 1;
                Next::Turn(key)
            }
        }
    }

    /// The key's turn ended. What touched it meanwhile still counts.
    pub fn done(&mut self, key: &K, again: Again) {
        let Some(State::Running { touched }) = self.keys.get(key).copied() else {
            return;
        };
        self.running -= 1;
        let (retry, not_before) = match again {
            Again::No => (None, None),
            Again::At(at) => (Some(at), None),
            Again::NotBefore(at) => (Some(at), Some(at)),
        };
        match (touched, retry) {
            (Some((first, last)), _) => self.wait(key, first, last, not_before),
            (None, Some(due)) => {
                self.due.insert((due, key.clone()));
                self.keys.insert(
                    key.clone(),
                    State::Waiting {
                        due,
                        touched: None,
                        not_before,
                    },
                );
            }
            (None, None) => {
                self.keys.remove(key);
            }
        }
    }

    /// Keys waiting, now or for another try.
    pub fn waiting(&self) -> usize {
        self.due.len()
    }

    /// Turns under way.
    pub fn running(&self) -> usize {
        self.running
    }

    fn wait(&mut self, key: &K, first: Instant, last: Instant, not_before: Option<Instant>) {
        let due = (last + self.pace.debounce).min(first + self.pace.longest_wait);
        let due = not_before.map_or(due, |floor| due.max(floor));
        self.due.insert((due, key.clone()));
        self.keys.insert(
            key.clone(),
            State::Waiting {
                due,
                touched: Some(first),
                not_before,
            },
        );
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an instant can only be had from the clock; all others are counted from it"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace = Pace {
        concurrency: 2,
        debounce: Duration::from_millis(100),
        longest_wait: Duration::from_millis(1000),
    };

    /// Milliseconds since the start.
    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    /// Runs steps and tells when which key had its turn.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Touch(u64, &'static str),
        Done(u64, &'static str, Option<(u64, bool)>),
    }

    fn turns(steps: &[Step], end: u64) -> Vec<(u64, &'static str)> {
        let start = Instant::now();
        let mut queue = Queue::new(PACE);
        let mut turns = Vec::new();
        let mut steps = steps.iter().copied().peekable();
        for ms in 0..=end {
            let now = at(start, ms);
            while let Some(step) = steps.next_if(|step| match step {
                Step::Touch(at, _) | Step::Done(at, _, _) => *at == ms,
            }) {
                match step {
                    Step::Touch(_, key) => queue.touch(&key, now),
                    Step::Done(_, key, again) => queue.done(
                        &key,
                        match again {
                            None => Again::No,
                            Some((ms, false)) => Again::At(at(start, ms)),
                            Some((ms, true)) => Again::NotBefore(at(start, ms)),
                        },
                    ),
                }
            }
            while let Next::Turn(key) = queue.next(now) {
                turns.push((ms, key));
            }
        }
        assert!(steps.next().is_none(), "a step after the end");
        turns
    }

    #[test]
    fn turns_come_when_they_are_due() {
        use Step::{Done, Touch};
        let busy: Vec<Step> = (0..40).map(|n| Touch(n * 50, "a")).collect();
        let until_due: Vec<Step> = (0..=20)
            .map(|n| Touch(n * 50, "a"))
            .chain([Done(1100, "a", None)])
            .collect();
        for (name, steps, want) in [
            ("a touch waits for quiet", vec![Touch(0, "a")], vec![(100, "a")]),
            (
                "touches coalesce",
                vec![Touch(0, "a"), Touch(60, "a")],
                vec![(160, "a")],
            ),
            ("a busy key is not starved", busy, vec![(1000, "a")]),
            (
                "never two turns of one key",
                vec![Touch(0, "a"), Touch(150, "a"), Done(900, "a", None)],
                vec![(100, "a"), (900, "a")],
            ),
            (
                "no more turns at once than allowed",
                vec![Touch(0, "a"), Touch(1, "b"), Touch(2, "c"), Done(500, "b", None)],
                vec![(100, "a"), (101, "b"), (500, "c")],
            ),
            (
                "a failed turn comes again",
                vec![Touch(0, "a"), Done(200, "a", Some((700, false)))],
                vec![(100, "a"), (700, "a")],
            ),
            (
                "a touch cuts the wait of a failed turn short",
                vec![Touch(0, "a"), Done(200, "a", Some((700, false))), Touch(300, "a")],
                vec![(100, "a"), (400, "a")],
            ),
            (
                "a touch does not break the quiet that was asked for",
                vec![Touch(0, "a"), Done(200, "a", Some((700, true))), Touch(300, "a")],
                vec![(100, "a"), (700, "a")],
            ),
            (
                "nor does a touch during the turn",
                vec![Touch(0, "a"), Touch(150, "a"), Done(200, "a", Some((700, true)))],
                vec![(100, "a"), (700, "a")],
            ),
            (
                "a touch at the moment when a turn is due is part of it",
                until_due,
                vec![(1000, "a")],
            ),
            (
                "a turn that went well ends it",
                vec![Touch(0, "a"), Done(200, "a", None)],
                vec![(100, "a")],
            ),
        ] {
            let want: Vec<(u64, &str)> = want;
            let steps: Vec<Step> = steps;
            assert_eq!(turns(&steps, 2000), want, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_touch_is_followed_by_a_turn_and_none_overlap(
            touches in prop::collection::vec((0u64..3000, 0u8..5), 0..40),
            length in 1u64..400,
        ) {
            let start = Instant::now();
            let mut queue = Queue::new(PACE);
            let mut running: BTreeMap<u8, u64> = BTreeMap::new();
            // Counted in the order in which they come: a touch and the turn that it is part of may have one millisecond.
            let mut order = 0..;
            let mut last_touch: BTreeMap<u8, u64> = BTreeMap::new();
            let mut last_turn: BTreeMap<u8, u64> = BTreeMap::new();
            for ms in 0..9000 {
                let now = at(start, ms);
                for (_, key) in touches.iter().filter(|(t, _)| *t == ms) {
                    queue.touch(key, now);
                    last_touch.insert(*key, order.next().unwrap());
                }
                let over: Vec<u8> = running.iter().filter(|(_, since)| ms - **since >= length).map(|(k, _)| *k).collect();
                for key in over {
                    running.remove(&key);
                    queue.done(&key, Again::No);
                }
                while let Next::Turn(key) = queue.next(now) {
                    prop_assert!(running.insert(key, ms).is_none(), "{key} twice at once");
                    prop_assert!(running.len() <= PACE.concurrency);
                    last_turn.insert(key, order.next().unwrap());
                }
            }
            for (key, touched) in &last_touch {
                prop_assert!(last_turn.get(key).is_some_and(|turn| turn > touched), "{key}: {touches:?}");
            }
            prop_assert_eq!((queue.waiting(), queue.running()), (0, 0));
        }
    }
}
