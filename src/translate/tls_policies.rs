//! The members in, which TLS policy counts where out: a listener's, or a member's own where all are served as one.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{Kept, LoadBalancerId, Origin, Port, Problem, TlsPolicy};

use super::member::{Part, Wire};
use super::options::{has_no_first, tell_conflict};
use super::settings::{Merge, Settings};

/// By port, and where they were said.
pub(super) type Policies = BTreeMap<Port, (String, Origin)>;

const NAME: &str = "ssl-policy";

/// Decides it for all members. Who serves all as one has a policy for each member's rules, and none for a listener: it
/// would be that of strangers, too.
pub(super) fn decide(
    parts: &mut [Part<'_>],
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> (Policies, Vec<Kept>) {
    let mut kept = Vec::new();
    let first = first(parts, settings, &mut kept, problems);
    let policy = |by: usize| {
        let at = parts[by].annotation(NAME);
        let written = parts[by].annotations.get(NAME);
        (written.map(|w| w.value.to_owned()).unwrap_or_default(), at)
    };
    match settings.merge {
        Merge::ByGroup => {
            let of_ports = first.into_iter().map(|((_, port), by)| (port, policy(by)));
            (of_ports.collect(), kept)
        }
        Merge::OneLoadBalancer => {
            let shared: BTreeMap<_, _> = first
                .into_iter()
                .map(|(place, by)| {
                    let (name, origin) = policy(by);
                    (place, Arc::new(TlsPolicy { name, origin }))
                })
                .collect();
            for part in parts {
                for place in places(part, settings) {
                    if let (Some(policy), Some(at)) = (shared.get(&place), part.secure_at(place.1)) {
                        part.tls_policies.entry(at).or_insert_with(|| policy.clone());
                    }
                }
            }
            (Policies::new(), kept)
        }
    }
}

/// A listener, and whose where all load balancers are served as one.
type Place = (Option<LoadBalancerId>, Port);

/// The HTTPS listeners of a member; those it would have alone, where all are served as one.
fn places(part: &Part<'_>, settings: &Settings) -> Vec<Place> {
    let (of, ports) = match settings.merge {
        Merge::ByGroup => (None, &part.ports),
        Merge::OneLoadBalancer => (Some(&part.group), &part.asked),
    };
    let secure = ports.iter().filter(|(_, wire)| **wire == Wire::Https);
    secure.map(|(port, _)| (of.cloned(), *port)).collect()
}

/// Who gives the first policy in order at each listener.
fn first(
    parts: &[Part<'_>],
    settings: &Settings,
    kept: &mut Vec<Kept>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Place, usize> {
    let mut first: BTreeMap<Place, usize> = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        for place in places(part, settings) {
            let Some(written) = part.secure_at(place.1).and_then(|at| part.of_listener(at, NAME)) else {
                continue;
            };
            let port = place.1;
            let by = &parts[*first.entry(place).or_insert(index)];
            if by.annotations.get(NAME).is_some_and(|w| w.value != written.value) {
                if has_no_first(part) {
                    kept.push(Kept::TlsPolicy(port));
                }
                tell_conflict(part, by, NAME, problems);
            }
        }
    }
    first
}
