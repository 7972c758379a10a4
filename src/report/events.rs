//! Outcomes in, Kubernetes Events out: each problem once, on the object that has it, until it changes.
//!
//! What to tell is pure; how often is bounded by a bucket of tokens. The name of an Event is a digest of what it says,
//! so a restart does not say it again while the first one is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use portcullis_model::{ChangeSummary, LoadBalancerId, ObjectName, Problem};
use sha2::{Digest, Sha256};

use crate::cluster::object::Ingress;
use crate::reconcile::outcome::{Outcome, shows, text_of};

/// The reason of what is told at a record of another controller; it is logged, too.
pub const LEFT_ALONE: &str = "LeftAlone";
/// Longest note the API server takes, in bytes.
pub const NOTE: usize = 1024;
/// Events at once, at most.
const BURST: u32 = 50;
/// Time until one more may be written.
const REFILL: Duration = Duration::from_secs(2);

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Regarding {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub name: ObjectName,
    pub uid: String,
}

impl Regarding {
    pub fn ingress(ingress: &Ingress) -> Self {
        Self {
            api_version: "networking.k8s.io/v1",
            kind: "Ingress",
            name: ingress.meta.name.clone(),
            uid: ingress.meta.uid.to_string(),
        }
    }

    /// A TargetGroupBinding.
    pub fn binding(name: &ObjectName, uid: &str) -> Self {
        Self {
            api_version: "elbv2.k8s.aws/v1beta1",
            kind: "TargetGroupBinding",
            name: name.clone(),
            uid: uid.to_owned(),
        }
    }
}

/// How it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    Normal,
    Warning,
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    pub regarding: Regarding,
    pub tone: Tone,
    /// A stable code where something is wrong.
    pub reason: &'static str,
    pub text: String,
}

impl Note {
    /// Name of the Event: the same for the same note on the same object.
    pub fn name(&self) -> String {
        let mut digest = Sha256::new();
        for part in [
            self.regarding.kind,
            &*self.regarding.uid,
            self.reason,
            &*self.text,
        ] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        let digest: String = digest
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        // A name has 253 bytes at most; an object's own is all ASCII.
        let object: String = self.regarding.name.name.chars().take(253 - 17).collect();
        format!("{object}.{digest}")
    }
}

/// What a pass has to tell: problems at the Ingress that has them, all others at the record, if there is one.
pub fn notes(outcome: &Outcome, record: Option<&Regarding>) -> Vec<Note> {
    let mut notes = Vec::new();
    // Who is refused is told for itself, served or not.
    let told: BTreeSet<&Problem> = outcome.standing.values().flatten().collect();
    for problem in outcome.problems.iter().filter(|problem| !told.contains(problem)) {
        let member = outcome
            .members
            .iter()
            .find(|member| problem.at.kind == "ingress" && problem.at.object == member.meta.name);
        let regarding = match member {
            Some(member) => Regarding::ingress(member),
            None => match record {
                Some(record) => record.clone(),
                None => continue,
            },
        };
        notes.push(warning(regarding, problem));
    }
    let seen = outcome.seen.iter();
    let addresses: Vec<String> = seen
        .flat_map(|seen| seen.address.iter().chain(&seen.further))
        .map(text_of)
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    if !addresses.is_empty() {
        let address = addresses.join(" and ");
        for member in outcome.members.iter().filter(|member| !shows(member, &addresses)) {
            notes.push(Note {
                regarding: Regarding::ingress(member),
                tone: Tone::Normal,
                reason: "Served",
                text: format!("load balancer {} serves it at {address}", outcome.id),
            });
        }
    }
    notes
}

/// What a refused Ingress is told.
pub fn refused(ingress: &Ingress, problems: &[Problem]) -> Vec<Note> {
    problems
        .iter()
        .map(|problem| warning(Regarding::ingress(ingress), problem))
        .collect()
}

/// What is told at the record of a load balancer, or a binding, that somebody else changed. With the time: who changes it the same way
/// again is told of again.
pub fn repaired(record: Regarding, changes: &[ChangeSummary], time: &str) -> Note {
    let what = match record.kind {
        "TargetGroupBinding" => "what this binding keeps registered",
        _ => "what was made for this load balancer",
    };
    let mut text = format!("{time}: somebody else changed {what}, and it was put back: ");
    for (place, change) in changes.iter().enumerate() {
        let comma = if place == 0 { "" } else { "; " };
        text.push_str(&format!("{comma}{} {} ({})", change.kind, change.id, change.call));
        for field in &change.fields {
            text.push_str(&format!(", {} was {}", field.field, field.from));
        }
    }
    Note {
        regarding: record,
        tone: Tone::Warning,
        reason: "DriftRepaired",
        text: short(text),
    }
}

/// What is told at a record that somebody deletes though Ingresses ask for the load balancer.
pub fn kept(record: Regarding) -> Note {
    Note {
        regarding: record,
        tone: Tone::Normal,
        reason: "Kept",
        text: "Ingresses ask for this load balancer, so it goes on serving and this record stays or is written anew; \
               delete them, or take them out of the group, and it is deleted with all that was made for it"
            .to_owned(),
    }
}

/// What is told at the record of another controller of this cluster.
pub fn left_alone(record: Regarding, why: String) -> Note {
    Note {
        regarding: record,
        tone: Tone::Normal,
        reason: LEFT_ALONE,
        text: why,
    }
}

/// What a TargetGroupBinding is told.
pub fn binding(regarding: &Regarding, problems: &[Problem]) -> Vec<Note> {
    problems
        .iter()
        .map(|problem| warning(regarding.clone(), problem))
        .collect()
}

fn warning(regarding: Regarding, problem: &Problem) -> Note {
    Note {
        regarding,
        tone: Tone::Warning,
        reason: problem.code.as_str(),
        text: short(format!("{problem}. {}", problem.code.advice())),
    }
}

/// As much of it as the API server takes.
fn short(mut text: String) -> String {
    if text.len() > NOTE {
        let mut end = NOTE - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Whose notes these are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    LoadBalancer(LoadBalancerId),
    /// Part of no load balancer.
    Refused(ObjectName),
    /// A TargetGroupBinding.
    Binding(ObjectName),
    /// One in whose target group somebody else changed targets.
    BindingRepair(ObjectName),
    /// A load balancer that somebody else changed.
    Repair(LoadBalancerId),
    /// A record that somebody deletes though Ingresses ask for the load balancer.
    Deletion(LoadBalancerId),
}

/// What was told already, and how much more may be.
#[derive(Debug)]
pub struct Told {
    told: BTreeMap<Source, BTreeSet<Note>>,
    tokens: u32,
    refilled: Instant,
}

impl Told {
    pub fn new(now: Instant) -> Self {
        Self {
            told: BTreeMap::new(),
            tokens: BURST,
            refilled: now,
        }
    }

    /// Of all there is to tell now, what was not told before; and how much of that has to wait.
    pub fn news(&mut self, source: Source, notes: Vec<Note>, now: Instant) -> (Vec<Note>, usize) {
        self.refill(now);
        let before = self.told.remove(&source).unwrap_or_default();
        let mut told = BTreeSet::new();
        let mut news = Vec::new();
        let mut dropped = 0;
        for note in notes {
            if before.contains(&note) {
                told.insert(note);
            } else if told.contains(&note) {
                // Twice the same.
            } else if self.tokens == 0 {
                // Not told: the next pass tries again.
                dropped += 1;
            } else {
                self.tokens -= 1;
                told.insert(note.clone());
                news.push(note);
            }
        }
        if !told.is_empty() {
            self.told.insert(source, told);
        }
        (news, dropped)
    }

    fn refill(&mut self, now: Instant) {
        while self.tokens < BURST && now.saturating_duration_since(self.refilled) >= REFILL {
            self.tokens += 1;
            self.refilled += REFILL;
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an instant can only be had from the clock; all others are counted from it"
)]
mod tests {
    use portcullis_model::{FieldChange, Verb};

    use super::*;

    fn note(text: &str) -> Note {
        Note {
            regarding: Regarding {
                api_version: "networking.k8s.io/v1",
                kind: "Ingress",
                name: ObjectName::new("shop", "web"),
                uid: "u1".into(),
            },
            tone: Tone::Warning,
            reason: "HostInvalid",
            text: text.into(),
        }
    }

    fn source() -> Source {
        Source::Refused(ObjectName::new("shop", "web"))
    }

    #[test]
    fn each_problem_is_told_once_until_it_changes() {
        let start = Instant::now();
        let mut told = Told::new(start);
        for (name, notes, want) in [
            ("new", vec!["a"], vec!["a"]),
            ("the same", vec!["a"], vec![]),
            ("one more", vec!["a", "b", "b"], vec!["b"]),
            ("changed", vec!["a", "c"], vec!["c"]),
            ("mended", vec![], vec![]),
            ("back again", vec!["a"], vec!["a"]),
        ] {
            let notes = notes.into_iter().map(note).collect();
            let (news, dropped) = told.news(source(), notes, start);
            let texts: Vec<&str> = news.iter().map(|note| note.text.as_str()).collect();
            assert_eq!((texts, dropped), (want, 0), "{name}");
        }
    }

    #[test]
    fn a_repair_says_what_was_put_back_and_when() {
        let change = |id: &str, fields: Vec<FieldChange>| ChangeSummary {
            verb: Verb::Update,
            kind: "Listener",
            id: id.into(),
            call: "elbv2:ModifyListener",
            reason: "it differs".into(),
            fields,
        };
        let field = FieldChange {
            field: "SslPolicy".into(),
            from: "\"old\"".into(),
            to: "\"new\"".into(),
        };
        let regarding = note("").regarding;
        let told = repaired(
            regarding.clone(),
            &[change("443", vec![field]), change("80", Vec::new())],
            "10:00",
        );
        assert_eq!(
            told.text,
            "10:00: somebody else changed what was made for this load balancer, and it was put back: Listener 443 \
             (elbv2:ModifyListener), SslPolicy was \"old\"; Listener 80 (elbv2:ModifyListener)"
        );
        let again = repaired(regarding.clone(), &[change("80", Vec::new())], "20:00");
        assert_ne!(
            again.name(),
            repaired(regarding.clone(), &[change("80", Vec::new())], "10:00").name()
        );
        let many: Vec<_> = (0..200)
            .map(|port| change(&port.to_string(), Vec::new()))
            .collect();
        assert!(repaired(regarding, &many, "10:00").text.len() <= NOTE);
    }

    #[test]
    fn a_flood_is_bounded_and_told_later() {
        let start = Instant::now();
        let mut told = Told::new(start);
        let flood = || (0..60).map(|n| note(&n.to_string())).collect::<Vec<_>>();
        for (seconds, want) in [(0, (50, 10)), (1, (0, 10)), (6, (3, 7)), (100, (7, 0))] {
            let (news, dropped) = told.news(source(), flood(), start + Duration::from_secs(seconds));
            assert_eq!((news.len(), dropped), want, "after {seconds} s");
        }
    }

    #[test]
    fn an_event_is_named_by_what_it_says() {
        let mut other = note("a");
        other.regarding.uid = "u2".into();
        assert_eq!(note("a").name(), note("a").name());
        assert_ne!(note("a").name(), note("b").name(), "another text");
        assert_ne!(note("a").name(), other.name(), "another object of the same name");
        let mut long = note("a");
        long.regarding.name = ObjectName::new("shop", "n".repeat(253));
        assert_eq!(long.name().len(), 253);
    }
}
