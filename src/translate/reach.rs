//! The members in, from where their load balancer can be reached out.
//!
//! Of members that differ the first in order counts. Another that asked to be reached from fewer places is not served
//! from more: its rules answer 503. The incumbent, which refuses members that differ, serves them; there what exists
//! stays.

use std::collections::BTreeSet;

use portcullis_model::{Kept, ObjectName, Problem, Scheme, Semantics};

use super::annotations::Setting;
use super::member::{Part, Refusal};
use super::options::{agreed, names, scheme};
use super::settings::{Merge, Settings};

/// What decides who finds a way to the load balancer, before any rule is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) scheme: Scheme,
    pub(super) security_groups: Vec<String>,
    /// Which of both is not known.
    pub(super) kept: BTreeSet<Kept>,
    /// Who asks to be reached from within alone, and is not to be served where the world reaches it.
    pub(super) internal: BTreeSet<ObjectName>,
}

/// Reads it for all members, and refuses those that would be reached from where they said they were not.
pub(super) fn decide(parts: &mut [Part<'_>], settings: &Settings, problems: &mut Vec<Problem>) -> Reach {
    let mut kept = BTreeSet::new();
    let asks = |part: &&Part<'_>| {
        let written = part.annotations.get("scheme");
        let internal = written.is_some_and(|written| scheme(written.value) == Ok(Scheme::Internal));
        internal && part.semantics == Semantics::Kubernetes
    };
    let internal = parts
        .iter()
        .filter(asks)
        .map(|part| part.ingress.meta.name.clone());
    let internal: BTreeSet<ObjectName> = internal.collect();
    let asked = agreed(&*parts, "scheme", scheme, problems).noted(Kept::Scheme, &mut kept);
    let reach = Reach {
        scheme: match asked {
            // What takes an unreadable one's place must not be wider than anybody asked for.
            Setting::Given(_) if kept.contains(&Kept::Scheme) && !internal.is_empty() => Scheme::Internal,
            Setting::Given(scheme) => scheme,
            Setting::Absent => settings.scheme,
            // An unreadable scheme must not become the wider one.
            Setting::Invalid => Scheme::Internal,
        },
        security_groups: agreed(&*parts, "security-groups", names, problems)
            .noted(Kept::SecurityGroups, &mut kept)
            .given()
            .unwrap_or_default(),
        kept,
        internal,
    };
    if settings.merge == Merge::ByGroup {
        for part in parts {
            if part.semantics == Semantics::Kubernetes {
                part.refusal = part
                    .refusal
                    .or_else(|| widened(part, &reach).map(Refusal::Annotation));
            }
        }
    }
    reach
}

/// The annotation by which a member asked for less than it would have.
fn widened(part: &Part<'_>, reach: &Reach) -> Option<&'static str> {
    let asked = |name| part.annotations.get(name).map(|written| written.value);
    let internal = asked("scheme").is_some_and(|text| scheme(text) == Ok(Scheme::Internal));
    if internal && reach.scheme == Scheme::InternetFacing {
        return Some("scheme");
    }
    let groups = asked("security-groups").and_then(|text| names(text).ok())?;
    let mut sorted = (groups, reach.security_groups.clone());
    sorted.0.sort();
    sorted.1.sort();
    (!sorted.0.is_empty() && sorted.0 != sorted.1).then_some("security-groups")
}
