//! What a pass found in, the status of its load balancer and of its Ingresses out. Pure; bounded in size.

use std::sync::Arc;

use portcullis_model::{Address, Problem, ProviderError, Verb};

use crate::cluster::object::{Ingress, IngressAddress, IngressAddressPort};
use crate::crd::load_balancer::{
    Bounded, Condition, ListenerRef, LoadBalancerStatus, PendingChange, ProblemRef, ResourceRef,
};
use crate::reconcile::outcome::{End, Outcome, text_of};

/// Most members named in a status.
pub const MEMBERS: usize = 500;
/// Most resources named in a status: an Application Load Balancer with its default quotas has about 320.
pub const RESOURCES: usize = 500;
/// Most pending changes named in a status.
pub const PENDING: usize = 200;
/// Most problems named in a status.
pub const PROBLEMS: usize = 200;
/// Longest text within a status, in bytes. All lists full of the longest texts stay below 1 MiB.
pub const TEXT: usize = 400;

/// The status of a load balancer after a pass; none where the pass changed nothing of it. Where it rests, its members
/// may have been edited all the same, and what they were admitted with is then what they say now.
///
/// `before` is what is recorded, `now` the time of conditions that changed, as RFC 3339.
pub fn load_balancer(
    outcome: &Outcome,
    before: &LoadBalancerStatus,
    now: &str,
) -> Option<LoadBalancerStatus> {
    let fingerprint = match &outcome.end {
        End::Gone => return None,
        End::Resting | End::Waiting => {
            let news = !outcome.admitted.is_empty() && outcome.admitted != before.admitted;
            return news.then(|| LoadBalancerStatus {
                admitted: outcome.admitted.clone(),
                ..before.clone()
            });
        }
        End::Settled { fingerprint } => Some(fingerprint.clone()),
        // Changes that were begun have taken it out of the record already.
        End::Held(_) | End::Incomplete(_) | End::Failed(_) => before.fingerprint.clone(),
    };
    let secrets = match &outcome.end {
        End::Settled { .. } => {
            let applied = outcome.secrets.iter();
            applied
                .map(|(name, version)| (name.to_string(), version.to_string()))
                .collect()
        }
        End::Held(_) | End::Incomplete(_) | End::Failed(_) | End::Resting | End::Waiting | End::Gone => {
            before.secrets.clone()
        }
    };
    let (address, resources) = match &outcome.seen {
        None => (before.address.clone(), before.resources.clone()),
        Some(seen) => (
            seen.address.as_ref().map(text_of),
            Bounded::new(
                seen.resources.iter().map(|(kind, id, name)| ResourceRef {
                    kind: short(kind),
                    id: short(id),
                    name: short(name),
                }),
                RESOURCES,
            ),
        ),
    };
    let further_addresses = match &outcome.seen {
        None => before.further_addresses.clone(),
        Some(seen) => seen.further.iter().map(text_of).collect(),
    };
    let conditions = conditions(outcome, address.as_deref());
    Some(LoadBalancerStatus {
        conditions: merge(conditions, &before.conditions, now),
        address,
        further_addresses,
        members: Bounded::new(
            outcome.members.iter().map(|member| member.meta.name.to_string()),
            MEMBERS,
        ),
        resources,
        pending: Bounded::new(
            outcome.pending.iter().map(|change| PendingChange {
                action: verb(change.verb).into(),
                kind: short(change.kind),
                id: short(&change.id),
                call: change.call.to_owned(),
                reason: short(&change.reason),
            }),
            PENDING,
        ),
        listeners: outcome.ports.iter().map(ListenerRef::from).collect(),
        problems: Bounded::new(
            outcome.problems.iter().map(|problem| ProblemRef {
                code: problem.code.as_str().into(),
                at: short(&problem.at.to_string()),
                message: short(&problem.message),
            }),
            PROBLEMS,
        ),
        fingerprint,
        own_targets: outcome
            .own_targets
            .clone()
            .unwrap_or_else(|| before.own_targets.clone()),
        secrets,
        // Of members that are all refused the last word is what is recorded.
        admitted: match outcome.admitted.is_empty() {
            true => before.admitted.clone(),
            false => outcome.admitted.clone(),
        },
    })
}

/// `status.loadBalancer.ingress` of a member. A problem of the Ingress stands at every port, by its stable code.
pub fn ingress(outcome: &Outcome, member: &Ingress) -> Vec<IngressAddress> {
    let Some((seen, address)) = outcome
        .seen
        .as_ref()
        .and_then(|seen| Some((seen, seen.address.as_ref()?)))
    else {
        return Vec::new();
    };
    let refused = outcome.standing.get(&member.meta.name);
    let first = refused.and_then(|problems| problems.first());
    let error = first.or_else(|| first_of(&outcome.problems, member)).map(code);
    let entry = |address: &Address, ports: Vec<IngressAddressPort>| {
        let (hostname, ip) = match address {
            Address::Hostname(_) => (Some(text_of(address).into()), None),
            Address::Ip(_) => (None, Some(text_of(address).into())),
        };
        IngressAddress { hostname, ip, ports }
    };
    let ports = outcome.ports.keys().map(|port| IngressAddressPort {
        port: i64::from(port.get()),
        protocol: "TCP".into(),
        error: error.clone(),
    });
    // Which ports stand in front is the provider's to say.
    let further = seen.further.iter().map(|address| entry(address, Vec::new()));
    std::iter::once(entry(address, ports.collect()))
        .chain(further)
        .collect()
}

/// The status of an Ingress that is refused, and of which nothing newer is known: the addresses it shows, each port with
/// the reason.
pub fn refused(ingress: &Ingress, problems: &[Problem]) -> Vec<IngressAddress> {
    let mut status = ingress.status.clone();
    for port in status.iter_mut().flat_map(|entry| &mut entry.ports) {
        port.error = problems.first().map(code);
    }
    status
}

/// A problem as the status of a port says it: with the prefix that the API asks of codes that are not Kubernetes' own.
fn code(problem: &Problem) -> Arc<str> {
    format!("portcullis.dev/{}", problem.code).into()
}

fn first_of<'a>(problems: &'a [Problem], member: &Ingress) -> Option<&'a Problem> {
    problems
        .iter()
        .find(|problem| problem.at.kind == "ingress" && problem.at.object == member.meta.name)
}

/// A condition without its time.
struct Stand {
    kind: &'static str,
    holds: bool,
    reason: String,
    message: String,
}

fn conditions(outcome: &Outcome, address: Option<&str>) -> [Stand; 3] {
    let (settled, reason, message) = match &outcome.end {
        End::Resting | End::Gone | End::Settled { .. } => {
            (true, "Settled".into(), "what exists is what should".into())
        }
        End::Waiting => (
            false,
            "Waiting".into(),
            "it is tried again when it is time".into(),
        ),
        End::Held(hold) => (false, hold.as_str().into(), hold.explanation().into()),
        End::Failed(error) => (false, error.code.as_str().into(), short(&error.words())),
        End::Incomplete(errors) => incomplete(errors),
    };
    let ready = match address {
        Some(address) => Stand {
            kind: "Ready",
            holds: true,
            reason: "Serving".into(),
            message: format!("clients find it at {address}"),
        },
        None => Stand {
            kind: "Ready",
            holds: false,
            reason: if settled {
                "NoAddress".into()
            } else {
                String::clone(&reason)
            },
            message: "it has no address yet".into(),
        },
    };
    let found = match outcome.problems.as_slice() {
        [] => Stand {
            kind: "ProblemsFound",
            holds: false,
            reason: "NoProblems".into(),
            message: "all that its members ask for is served".into(),
        },
        [first, rest @ ..] => Stand {
            kind: "ProblemsFound",
            holds: true,
            reason: first.code.as_str().into(),
            message: {
                let first = format!("{}. {}", short(&first.to_string()), first.code.advice());
                match rest.len() {
                    0 => first,
                    more => format!("{first} And {more} more: see the events of the Ingresses."),
                }
            },
        },
    };
    [
        ready,
        Stand {
            kind: "Settled",
            holds: settled,
            reason,
            message,
        },
        found,
    ]
}

/// What was refused, where all else was made.
fn incomplete(errors: &[ProviderError]) -> (bool, String, String) {
    let Some(first) = errors.first() else {
        return (false, "Incomplete".into(), "something was refused".into());
    };
    let words = first.words();
    let message = match errors.len() {
        1 => format!("all else is settled, but {words}"),
        many => format!("all else is settled, but {many} calls were refused; the first: {words}"),
    };
    (false, first.code.as_str().into(), short(&message))
}

/// The time moves only where the state does: else every pass would write, and every write would start a pass.
fn merge(stands: [Stand; 3], before: &[Condition], now: &str) -> Vec<Condition> {
    stands
        .into_iter()
        .map(|stand| {
            let status = if stand.holds { "True" } else { "False" };
            let known = before.iter().find(|condition| condition.kind == stand.kind);
            let since = known
                .filter(|known| known.status == status)
                .map(|known| known.last_transition_time.clone());
            Condition {
                kind: stand.kind.into(),
                status: status.into(),
                reason: stand.reason,
                message: stand.message,
                last_transition_time: since.unwrap_or_else(|| now.into()),
            }
        })
        .collect()
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "create",
        Verb::Update => "update",
        Verb::Delete => "delete",
    }
}

/// At most [`TEXT`] bytes of it.
pub(super) fn short(text: &str) -> String {
    if text.len() <= TEXT {
        return text.into();
    }
    let mut end = TEXT - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use portcullis_model::{ChangeSummary, Code, LoadBalancerId, ObjectName, Origin, Port, Retry};

    use super::*;
    use crate::cluster::object::Meta;
    use crate::crd::load_balancer::AdmittedMember;
    use crate::crd::load_balancer::Wire;
    use crate::reconcile::outcome::{Hold, Seen};

    fn member(name: &str) -> Arc<Ingress> {
        Arc::new(Ingress {
            meta: Meta {
                name: ObjectName::new("shop", name),
                uid: "".into(),
                created: 0,
                deleting: false,
                annotations: BTreeMap::new(),
            },
            generation: 0,
            class_name: None,
            default_backend: None,
            tls: Vec::new(),
            rules: Vec::new(),
            status: Vec::new(),
            held_for: BTreeSet::new(),
            refused: None,
        })
    }

    fn outcome(end: End) -> Outcome {
        Outcome {
            id: LoadBalancerId::parse("public"),
            end,
            members: vec![member("web"), member("api")],
            left: Vec::new(),
            let_go: Vec::new(),
            ports: [(Port::HTTP, Wire::Http), (Port::HTTPS, Wire::Https)].into(),
            secrets: Default::default(),
            seen: Some(Seen {
                address: Some(Address::Hostname("K8S-public-1.elb.amazonaws.com".into())),
                further: Vec::new(),
                resources: vec![("LoadBalancer", "LoadBalancer".into(), "arn:aws:x".into())],
            }),
            made: Vec::new(),
            repaired: Vec::new(),
            pending: Vec::new(),
            problems: Vec::new(),
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
            fingerprint: "f1".into(),
        }
    }

    fn failed(code: Code) -> End {
        End::Failed(ProviderError {
            code,
            call: "elbv2:CreateRule",
            message: "slow down".into(),
            retry: Retry::Backoff,
        })
    }

    fn problem(name: &str, code: Code) -> Problem {
        let at = Origin::new("ingress", ObjectName::new("shop", name), "spec.rules[0]");
        Problem::new(code, at, "it is wrong")
    }

    fn shown(status: &LoadBalancerStatus) -> String {
        let conditions: Vec<String> = status
            .conditions
            .iter()
            .map(|c| format!("{}={}:{}", c.kind, c.status, c.reason))
            .collect();
        conditions.join(" ")
    }

    #[test]
    fn conditions_say_how_it_stands() {
        let mut problems = outcome(settled());
        problems.problems = vec![
            problem("web", Code::ServiceNotFound),
            problem("api", Code::HostInvalid),
        ];
        let mut bare = outcome(failed(Code::QuotaExceeded));
        bare.seen = None;
        let mut nothing = outcome(settled());
        nothing.seen = Some(Seen::default());
        for (name, outcome, want) in [
            (
                "settled",
                outcome(settled()),
                "Ready=True:Serving Settled=True:Settled ProblemsFound=False:NoProblems",
            ),
            (
                "problems",
                problems,
                "Ready=True:Serving Settled=True:Settled ProblemsFound=True:ServiceNotFound",
            ),
            (
                "a call failed",
                outcome(failed(Code::Throttled)),
                "Ready=True:Serving Settled=False:Throttled ProblemsFound=False:NoProblems",
            ),
            (
                "a call failed before there was an address",
                bare,
                "Ready=False:QuotaExceeded Settled=False:QuotaExceeded ProblemsFound=False:NoProblems",
            ),
            (
                "no address",
                nothing,
                "Ready=False:NoAddress Settled=True:Settled ProblemsFound=False:NoProblems",
            ),
            (
                "the class only plans",
                outcome(End::Held(Hold::PlanOnly)),
                "Ready=True:Serving Settled=False:PlanOnly ProblemsFound=False:NoProblems",
            ),
        ] {
            let status = load_balancer(&outcome, &LoadBalancerStatus::default(), "now").unwrap();
            assert_eq!(shown(&status), want, "{name}");
            for Condition { reason, message, .. } in &status.conditions {
                let code = format!("[{reason}]");
                let allowed = usize::from(message.contains("spec.rules"));
                assert_eq!(message.matches(&code).count(), allowed, "{name}: {message}");
            }
        }
    }

    #[test]
    fn a_failed_call_is_told_with_its_code_once() {
        let error = ProviderError {
            code: Code::AccessDenied,
            call: "elbv2:CreateRule",
            message: "not yours".into(),
            retry: Retry::Backoff,
        };
        let mut outcome = outcome(settled());
        outcome.tell(&error);
        let told: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].matches("[AccessDenied]").count(), 1, "{}", told[0]);
    }

    #[test]
    fn no_time_moves_unless_the_state_did() {
        let first = load_balancer(&outcome(settled()), &LoadBalancerStatus::default(), "t1").unwrap();
        let again = load_balancer(&outcome(settled()), &first, "t2").unwrap();
        assert_eq!(again, first, "nothing changed, so not a byte of it does");

        let throttled = load_balancer(&outcome(failed(Code::Throttled)), &again, "t3").unwrap();
        let times: Vec<&str> = throttled
            .conditions
            .iter()
            .map(|c| c.last_transition_time.as_str())
            .collect();
        assert_eq!(times, ["t1", "t3", "t1"], "only Settled changed");

        let denied = load_balancer(&outcome(failed(Code::AccessDenied)), &throttled, "t4").unwrap();
        assert_eq!(
            denied.conditions[1].last_transition_time, "t3",
            "another reason is no transition"
        );
        assert_eq!(denied.conditions[1].reason, "AccessDenied");
    }

    #[test]
    fn what_failed_early_keeps_what_is_recorded() {
        let before = load_balancer(&outcome(settled()), &LoadBalancerStatus::default(), "t1").unwrap();
        let mut early = outcome(failed(Code::Unavailable));
        early.seen = None;
        let status = load_balancer(&early, &before, "t2").unwrap();
        assert_eq!(status.address, before.address);
        assert_eq!(status.resources, before.resources);
        assert_eq!(status.fingerprint, before.fingerprint);
    }

    #[test]
    fn passes_that_changed_nothing_have_nothing_to_report() {
        for end in [End::Resting, End::Waiting, End::Gone] {
            let name = end.as_str();
            assert_eq!(
                load_balancer(&outcome(end), &LoadBalancerStatus::default(), "t"),
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn an_edit_that_changes_nothing_of_what_is_served_is_recorded_as_admitted() {
        let before = load_balancer(&outcome(settled()), &LoadBalancerStatus::default(), "t").unwrap();
        for end in [End::Resting, End::Waiting] {
            let mut outcome = outcome(end);
            let edited = AdmittedMember {
                text: "2".into(),
                parameters: None,
            };
            outcome.admitted.members.insert("shop/web".into(), edited);
            let status = load_balancer(&outcome, &before, "t2").unwrap();
            assert_eq!(status.admitted, outcome.admitted);
            let unedited = LoadBalancerStatus {
                admitted: before.admitted.clone(),
                ..status.clone()
            };
            assert_eq!(unedited, before, "nothing else is said");
            assert_eq!(load_balancer(&outcome, &status, "t3"), None, "it is said once");
        }
    }

    #[test]
    fn an_ingress_shows_the_address_and_its_own_problem_alone() {
        let mut outcome = outcome(settled());
        outcome.problems = vec![problem("web", Code::ServiceNotFound)];
        for (name, error) in [("web", Some("portcullis.dev/ServiceNotFound")), ("api", None)] {
            let status = ingress(&outcome, &member(name));
            assert_eq!(
                status[0].hostname.as_deref(),
                Some("k8s-public-1.elb.amazonaws.com"),
                "{name}"
            );
            let ports: Vec<(i64, Option<&str>)> = status[0]
                .ports
                .iter()
                .map(|port| (port.port, port.error.as_deref()))
                .collect();
            assert_eq!(ports, [(80, error), (443, error)], "{name}");
        }
    }

    #[test]
    fn a_status_stays_far_below_what_the_api_server_stores() {
        let long = "é".repeat(1_000);
        let mut outcome = outcome(settled());
        outcome.members = (0..3000)
            .map(|n| member(&format!("{}{n}", "m".repeat(240))))
            .collect();
        outcome.seen = Some(Seen {
            address: None,
            further: Vec::new(),
            resources: (0..3000)
                .map(|_| ("TargetGroup", long.clone(), long.clone()))
                .collect(),
        });
        outcome.problems = (0..3000)
            .map(|_| {
                Problem::new(
                    Code::HostInvalid,
                    Origin::new("ingress", ObjectName::new("a", "b"), long.as_str()),
                    long.as_str(),
                )
            })
            .collect();
        outcome.pending = (0..3000)
            .map(|_| ChangeSummary {
                verb: Verb::Create,
                kind: "ListenerRule",
                id: long.clone(),
                call: "elbv2:CreateRule",
                reason: long.clone(),
                fields: Vec::new(),
            })
            .collect();
        let spec = serde_json::json!("p".repeat(crate::reconcile::standing::ROOM));
        outcome.admitted.parameters.insert("p".into(), spec);
        outcome.admitted.members.insert(
            "m".into(),
            AdmittedMember {
                text: String::new(),
                parameters: None,
            },
        );
        let status = load_balancer(&outcome, &LoadBalancerStatus::default(), "t").unwrap();
        let size = serde_json::to_string(&status).unwrap().len();
        assert!(size < 1 << 20, "{size} bytes");
        assert_eq!(
            (status.problems.total, status.problems.first.len()),
            (3000, PROBLEMS)
        );
    }

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, want) in [
            ("a".repeat(TEXT), "a".repeat(TEXT)),
            ("a".repeat(TEXT + 1), format!("{}…", "a".repeat(TEXT - 3))),
            ("é".repeat(TEXT), format!("{}…", "é".repeat(TEXT / 2 - 2))),
        ] {
            assert_eq!(short(&text), want);
        }
    }
}
