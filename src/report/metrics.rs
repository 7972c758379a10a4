//! Outcomes in, Prometheus text out. Labels come from enums alone: no name, path or message ever makes a series.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_model::{ChangeSummary, Code, LoadBalancerId, ObjectName, Problem};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::reconcile::outcome::{End, Outcome};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    call: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    call: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

/// What has problems of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    LoadBalancer(LoadBalancerId),
    /// An Ingress that is refused.
    Refused(ObjectName),
}

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<PassLabels, Counter>,
    seconds: Histogram,
    changes: Family<ChangeLabels, Counter>,
    repairs: Family<CallLabels, Counter>,
    calls: Family<ChangeLabels, Counter>,
    problems: Family<CodeLabels, Gauge>,
    waiting: Gauge,
    running: Gauge,
    leading: Gauge,
    balancers: Gauge,
    events_dropped: Counter,
    /// Problems of each, so that those of one can be taken back.
    known: Mutex<BTreeMap<Whose, BTreeMap<Code, i64>>>,
    last_pass: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let passes = Family::default();
        // 1 ms to 65 s: a pass that changes nothing, to one that creates everything.
        let seconds = Histogram::new(exponential_buckets(0.001, 4.0, 9));
        let changes = Family::default();
        let repairs = Family::default();
        let calls = Family::default();
        let problems = Family::default();
        let (waiting, running, leading, balancers) = (
            Gauge::default(),
            Gauge::default(),
            Gauge::default(),
            Gauge::default(),
        );
        let events_dropped = Counter::default();
        let last_pass = Gauge::default();
        registry.register("passes", "Passes by how they ended", passes.clone());
        registry.register_with_unit("pass", "Time a pass took", Unit::Seconds, seconds.clone());
        registry.register(
            "changes",
            "Calls that change the provider's side, by outcome or error code",
            changes.clone(),
        );
        registry.register(
            "repairs",
            "Those of them that put back what somebody else had changed",
            repairs.clone(),
        );
        registry.register(
            "calls",
            "All calls of the provider's API, by operation and how they ended",
            calls.clone(),
        );
        registry.register(
            "problems",
            "Problems there are now, by stable code",
            problems.clone(),
        );
        registry.register(
            "queue_waiting",
            "Load balancers that wait for a pass or another try",
            waiting.clone(),
        );
        registry.register("queue_running", "Passes under way", running.clone());
        registry.register(
            "leading",
            "1 where this process may change things, else 0",
            leading.clone(),
        );
        registry.register(
            "load_balancers",
            "Load balancers that have a record",
            balancers.clone(),
        );
        registry.register(
            "events_dropped",
            "Events not written because there were too many",
            events_dropped.clone(),
        );
        registry.register(
            "last_pass_timestamp",
            "When a pass last ended, in seconds since 1970",
            last_pass.clone(),
        );
        Self {
            registry,
            passes,
            seconds,
            changes,
            repairs,
            calls,
            problems,
            waiting,
            running,
            leading,
            balancers,
            events_dropped,
            known: Mutex::default(),
            last_pass,
        }
    }
}

/// How often an operation of a provider ended in one way, since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallCount {
    /// Service and operation, such as `elbv2:CreateRule`.
    pub call: &'static str,
    /// One of few words.
    pub outcome: &'static str,
    pub count: u64,
}

/// How the queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub waiting: usize,
    pub running: usize,
    pub balancers: usize,
    pub leading: bool,
}

impl Metrics {
    /// A pass ended, after this time, at this second since 1970.
    pub fn pass(&self, outcome: &Outcome, took: Duration, at: f64) {
        let labels = PassLabels {
            outcome: outcome.end.as_str(),
        };
        self.passes.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
        self.last_pass.set(at);
        for change in &outcome.made {
            self.change(change.call, "ok");
        }
        self.repaired(&outcome.repaired);
        match &outcome.end {
            End::Failed(error) => self.change(error.call, error.code.as_str()),
            End::Incomplete(errors) => {
                for error in errors {
                    self.change(error.call, error.code.as_str());
                }
            }
            End::Resting | End::Waiting | End::Settled { .. } | End::Held(_) | End::Gone => {}
        }
        let whose = || Whose::LoadBalancer(outcome.id.clone());
        match &outcome.end {
            // A pass that rests has not looked for problems: those known still stand, at first as they are recorded.
            End::Resting | End::Waiting => {
                if !self.known().contains_key(&whose()) {
                    self.problems(whose(), &outcome.recorded);
                }
            }
            End::Gone => {
                self.problems(whose(), &[]);
                self.known().remove(&whose());
            }
            End::Settled { .. } | End::Held(_) | End::Incomplete(_) | End::Failed(_) => {
                // Who is refused is counted for itself, served or not.
                let refused: BTreeSet<&Problem> = outcome.standing.values().flatten().collect();
                let problems = outcome
                    .problems
                    .iter()
                    .filter(|problem| !refused.contains(problem));
                let codes: Vec<Code> = problems.map(|problem| problem.code).collect();
                self.problems(whose(), &codes);
            }
        }
    }

    /// These changes put back what somebody else had changed.
    pub fn repaired(&self, changes: &[ChangeSummary]) {
        for change in changes {
            let labels = CallLabels { call: change.call };
            self.repairs.get_or_create(&labels).inc();
        }
    }

    /// An Ingress is refused for these problems; with none, not any more.
    pub fn refused(&self, ingress: &ObjectName, problems: &[Problem]) {
        let whose = Whose::Refused(ingress.clone());
        let codes: Vec<Code> = problems.iter().map(|problem| problem.code).collect();
        self.problems(whose.clone(), &codes);
        if codes.is_empty() {
            self.known().remove(&whose);
        }
    }

    /// A pass could not even begin, or its outcome not be written.
    pub fn pass_lost(&self) {
        self.passes.get_or_create(&PassLabels { outcome: "lost" }).inc();
    }

    pub fn load(&self, load: Load) {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.waiting.set(number(load.waiting));
        self.running.set(number(load.running));
        self.balancers.set(number(load.balancers));
        self.leading.set(i64::from(load.leading));
    }

    /// How often each operation of the provider was called so far.
    pub fn calls(&self, counts: &[CallCount]) {
        for CallCount { call, outcome, count } in counts {
            let counter = self.calls.get_or_create(&ChangeLabels { call, outcome });
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }

    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }

    fn change(&self, call: &'static str, outcome: &'static str) {
        self.changes.get_or_create(&ChangeLabels { call, outcome }).inc();
    }

    fn problems(&self, whose: Whose, codes: &[Code]) {
        let mut counts: BTreeMap<Code, i64> = BTreeMap::new();
        for code in codes {
            *counts.entry(*code).or_default() += 1;
        }
        let mut known = self.known();
        let before = known.remove(&whose).unwrap_or_default();
        for (sign, counts) in [(-1, &before), (1, &counts)] {
            for (code, count) in counts {
                self.problems
                    .get_or_create(&CodeLabels { code: code.as_str() })
                    .inc_by(sign * count);
            }
        }
        known.insert(whose, counts);
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Whose, BTreeMap<Code, i64>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::Origin;

    use super::*;

    fn outcome(end: End, codes: &[Code]) -> Outcome {
        Outcome {
            id: LoadBalancerId::parse("shop/secret-name"),
            end,
            members: Vec::new(),
            left: Vec::new(),
            let_go: Vec::new(),
            ports: BTreeMap::new(),
            secrets: Default::default(),
            seen: None,
            made: Vec::new(),
            repaired: Vec::new(),
            pending: Vec::new(),
            problems: codes
                .iter()
                .map(|code| Problem::new(*code, Origin::new("ingress", ObjectName::new("a", "b"), ""), "m"))
                .collect(),
            standing: Default::default(),
            refused: Vec::new(),
            recorded: Vec::new(),
            admitted: Default::default(),
            own_targets: None,
            left_over: false,
        }
    }

    fn settled() -> End {
        End::Settled {
            fingerprint: String::new(),
        }
    }

    #[test]
    fn problems_are_those_there_are_now() {
        let metrics = Metrics::default();
        let line = |text: &str| {
            text.lines()
                .find(|l| l.starts_with("portcullis_problems{"))
                .map(str::to_owned)
        };
        for (name, end, codes, want) in [
            (
                "two appear",
                settled(),
                vec![Code::HostInvalid; 2],
                "portcullis_problems{code=\"HostInvalid\"} 2",
            ),
            (
                "a pass that rests keeps them",
                End::Resting,
                vec![],
                "portcullis_problems{code=\"HostInvalid\"} 2",
            ),
            (
                "one is mended",
                settled(),
                vec![Code::HostInvalid],
                "portcullis_problems{code=\"HostInvalid\"} 1",
            ),
            (
                "the load balancer goes",
                End::Gone,
                vec![],
                "portcullis_problems{code=\"HostInvalid\"} 0",
            ),
        ] {
            metrics.pass(&outcome(end, &codes), Duration::ZERO, 0.0);
            assert_eq!(line(&metrics.text()).as_deref(), Some(want), "{name}");
        }
    }

    #[test]
    fn a_process_that_rests_from_its_start_counts_what_is_recorded() {
        let metrics = Metrics::default();
        for (name, end, recorded, want) in [
            ("at first", End::Resting, vec![Code::HostInvalid; 2], 2),
            (
                "once known, the record is no news",
                End::Resting,
                vec![Code::HostInvalid],
                2,
            ),
            ("it looked", settled(), vec![Code::HostInvalid], 0),
            ("and rests", End::Resting, vec![Code::HostInvalid], 0),
        ] {
            let outcome = Outcome {
                recorded,
                ..outcome(end, &[])
            };
            metrics.pass(&outcome, Duration::ZERO, 0.0);
            let line = format!("portcullis_problems{{code=\"HostInvalid\"}} {want}\n");
            assert!(metrics.text().contains(&line), "{name}: {}", metrics.text());
        }
    }

    #[test]
    fn one_that_is_refused_and_served_is_counted_once() {
        let metrics = Metrics::default();
        let mut outcome = outcome(settled(), &[Code::ClassNotFound, Code::HostInvalid]);
        let refused = vec![outcome.problems[0].clone()];
        metrics.refused(&ObjectName::new("a", "b"), &refused);
        outcome.standing.insert(ObjectName::new("a", "b"), refused);
        metrics.pass(&outcome, Duration::ZERO, 0.0);
        for code in ["ClassNotFound", "HostInvalid"] {
            let line = format!("portcullis_problems{{code=\"{code}\"}} 1\n");
            assert!(metrics.text().contains(&line), "{}", metrics.text());
        }
    }

    #[test]
    fn an_ingress_that_is_refused_counts_until_it_is_mended() {
        let metrics = Metrics::default();
        let name = ObjectName::new("shop", "web");
        let missing = Problem::new(Code::ClassNotFound, Origin::new("ingress", name.clone(), ""), "m");
        for (problems, want) in [(vec![missing.clone()], 1), (vec![missing], 1), (vec![], 0)] {
            metrics.refused(&name, &problems);
            let line = format!("portcullis_problems{{code=\"ClassNotFound\"}} {want}\n");
            assert!(metrics.text().contains(&line), "{want}: {}", metrics.text());
        }
    }

    #[test]
    fn no_name_makes_a_series() {
        let metrics = Metrics::default();
        metrics.pass(&outcome(settled(), &[Code::HostInvalid]), Duration::ZERO, 0.0);
        assert!(!metrics.text().contains("secret-name"), "{}", metrics.text());
    }
}
