//! What the AWS Load Balancer Controller left in a cluster and an account in; whose it becomes, what that changes and
//! what stands against it out. Pure: the command of the same name reads, and writes what is decided here.

pub mod lease;
pub mod webhooks;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_aws::preview::{Document, SharedPreview, Summary};
use portcullis_aws::{Observed, inventory};
use portcullis_model::{ChangeSummary, LoadBalancerId, ObjectName, Problem};
use serde::Serialize;

use self::lease::State;
use self::webhooks::Webhook;
use crate::cluster::incumbent::Binding;

/// What there is of the incumbent besides load balancers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Incumbent {
    /// `namespace/name` of its lease.
    pub lease: String,
    #[serde(flatten)]
    pub state: State,
    /// Those of its webhooks that shut out whoever writes, where nobody answers them.
    pub webhooks: Vec<Webhook>,
    /// Services whose Network Load Balancers are its own: they stay so.
    pub services: Vec<ObjectName>,
    pub bindings: Bindings,
}

/// How many TargetGroupBindings there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bindings {
    /// Made by the incumbent for Ingresses.
    pub of_ingresses: usize,
    /// Made by the incumbent for Services.
    pub of_services: usize,
    pub by_hand: usize,
}

impl Bindings {
    pub fn count(&mut self, binding: &Binding) {
        match binding {
            Binding::Ingress(_) => self.of_ingresses += 1,
            Binding::Service => self.of_services += 1,
            Binding::User => self.by_hand += 1,
        }
    }
}

/// Whose a load balancer is and becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Standing {
    /// It exists, Ingresses ask for it, and nobody has recorded it yet.
    Found,
    /// It is recorded as ours.
    Ours,
    /// It is recorded as ours, and no Ingress of this controller name asks for it: another one serves it.
    Elsewhere,
    /// It is recorded as ours under another controller name or ingress class, and Ingresses of this one ask for it.
    Moved,
    /// Ingresses ask for it, and nothing of it exists.
    New,
    /// All its Ingresses are being deleted and wait for it to go.
    Leaving,
    /// It exists, and the Ingresses that may be its own are of no class that is served here.
    Unserved,
    /// It exists, and no Ingress asks for it.
    Orphaned,
}

/// A load balancer, with what would be changed of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Balancer {
    pub id: LoadBalancerId,
    pub standing: Standing,
    pub members: Vec<ObjectName>,
    /// What exists under its tags.
    pub resources: Vec<Existing>,
    pub changes: Vec<ChangeSummary>,
    pub problems: Vec<Problem>,
}

/// A resource that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Existing {
    pub kind: &'static str,
    pub id: String,
    /// AWS's own name of it.
    pub name: String,
}

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub incumbent: Incumbent,
    /// By id.
    pub load_balancers: Vec<Balancer>,
    pub shared: SharedPreview,
    /// Of what belongs to no load balancer.
    pub problems: Vec<Problem>,
    pub summary: Summary,
    #[serde(flatten)]
    pub steps: Steps,
}

/// What a command did, as sentences without a full stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Steps {
    pub done: Vec<String>,
    /// What was not done, and should not have been.
    pub left: Vec<String>,
    /// Why something was not done that should have been.
    pub obstacles: Vec<String>,
}

/// Why a controller stands in the way, if it runs.
pub fn running(who: &str, lease: &str, state: &State) -> Option<String> {
    match state {
        State::Renewed { holder } => Some(format!(
            "{who} is running: {holder} renews its lease {lease}; scale it to zero first"
        )),
        State::Absent | State::Released | State::Expired { .. } => None,
    }
}

/// What was read, for [`report`].
#[derive(Debug)]
pub struct Read<'a> {
    pub incumbent: Incumbent,
    /// The plan of all load balancers that Ingresses ask for or wait for.
    pub plan: Document,
    pub observed: &'a BTreeMap<LoadBalancerId, Observed>,
    /// Load balancers whose Ingresses are all being deleted.
    pub leaving: &'a BTreeSet<LoadBalancerId>,
    /// Load balancers recorded as ours.
    pub recorded: &'a BTreeSet<LoadBalancerId>,
    /// Those of other controller names, with the Ingresses that they serve.
    pub elsewhere: &'a BTreeMap<LoadBalancerId, Vec<ObjectName>>,
    /// Those of others, with the Ingresses of whatever class that may own them.
    pub unserved: &'a BTreeMap<LoadBalancerId, Vec<ObjectName>>,
    /// Whether changes are taken for meant.
    pub accept_changes: bool,
}

/// What was found, and what stands against taking it over.
pub fn report(read: Read<'_>) -> Report {
    let Read {
        incumbent,
        plan,
        observed,
        leaving,
        recorded,
        elsewhere,
        unserved,
        accept_changes,
    } = read;
    let mut balancers: BTreeMap<LoadBalancerId, Balancer> = BTreeMap::new();
    let mut split = Vec::new();
    for preview in plan.load_balancers {
        let exists = observed
            .get(&preview.id)
            .is_some_and(|observed| !observed.is_nothing());
        let standing = if let Some(members) = elsewhere.get(&preview.id) {
            let strangers = members.iter().filter(|name| !preview.members.contains(name));
            split.extend(strangers.map(|name| {
                format!(
                    "{} cannot move: its member {name} is still an Ingress of another controller name",
                    preview.id
                )
            }));
            Standing::Moved
        } else if leaving.contains(&preview.id) {
            Standing::Leaving
        } else if recorded.contains(&preview.id) {
            Standing::Ours
        } else if exists {
            Standing::Found
        } else {
            Standing::New
        };
        let balancer = Balancer {
            id: preview.id.clone(),
            standing,
            members: preview.members,
            resources: existing(observed.get(&preview.id)),
            changes: preview.changes,
            problems: preview.problems,
        };
        balancers.insert(preview.id, balancer);
    }
    for (id, found) in observed {
        balancers.entry(id.clone()).or_insert_with(|| Balancer {
            id: id.clone(),
            standing: if recorded.contains(id) || elsewhere.contains_key(id) {
                Standing::Elsewhere
            } else if unserved.contains_key(id) {
                Standing::Unserved
            } else {
                Standing::Orphaned
            },
            members: elsewhere
                .get(id)
                .or(unserved.get(id))
                .cloned()
                .unwrap_or_default(),
            resources: existing(Some(found)),
            changes: Vec::new(),
            problems: Vec::new(),
        });
    }
    let load_balancers: Vec<Balancer> = balancers.into_values().collect();
    let incumbent_runs = running(
        "the AWS Load Balancer Controller",
        &incumbent.lease,
        &incumbent.state,
    );
    let mut steps = Steps {
        obstacles: incumbent_runs.into_iter().chain(split).collect(),
        ..Steps::default()
    };
    if !accept_changes {
        steps.obstacles.extend(changed(&load_balancers, &plan.shared));
    }
    Report {
        incumbent,
        load_balancers,
        shared: plan.shared,
        problems: plan.problems,
        summary: plan.summary,
        steps,
    }
}

/// Load balancers that taking over would change, though it should not.
fn changed<'a>(balancers: &'a [Balancer], shared: &'a SharedPreview) -> impl Iterator<Item = String> + 'a {
    let of = |standing| {
        balancers
            .iter()
            .filter(move |balancer| balancer.standing == standing)
    };
    let found = of(Standing::Found)
        .chain(of(Standing::Moved))
        .filter(|balancer| !balancer.changes.is_empty());
    let found = found.map(|balancer| {
        format!(
            "taking over {} makes {} changes, see the plan; go on with --accept-changes if they are meant",
            balancer.id,
            balancer.changes.len()
        )
    });
    // What is new needs room of its own in what is shared, and what leaves gives up some.
    let only_found = of(Standing::New).chain(of(Standing::Leaving)).next().is_none();
    let across = (only_found && !shared.changes.is_empty()).then(|| {
        format!(
            "taking over makes {} changes to what load balancers share, see the plan; go on with --accept-changes if \
             they are meant",
            shared.changes.len()
        )
    });
    found.chain(across)
}

fn existing(observed: Option<&Observed>) -> Vec<Existing> {
    let all = observed.map(inventory).unwrap_or_default();
    all.into_iter()
        .map(|(kind, id, name)| Existing { kind, id, name })
        .collect()
}

#[cfg(test)]
mod tests {
    use portcullis_aws::{Owner, plan_offline};
    use portcullis_model::Verb;

    use super::*;

    #[test]
    fn only_what_the_incumbent_made_must_not_change() {
        let change = ChangeSummary {
            verb: Verb::Update,
            kind: "ListenerRule",
            id: "80:1".into(),
            call: "elbv2:ModifyRule",
            reason: "it differs".into(),
            fields: Vec::new(),
        };
        let balancer = |standing, changes: usize| Balancer {
            id: LoadBalancerId::parse("shop/web"),
            standing,
            members: Vec::new(),
            resources: Vec::new(),
            changes: vec![change.clone(); changes],
            problems: Vec::new(),
        };
        let shared = |changes: usize| SharedPreview {
            resources: Vec::new(),
            changes: vec![change.clone(); changes],
        };
        for (what, balancers, across, want) in [
            ("nothing changes", vec![balancer(Standing::Found, 0)], 0, 0),
            ("what it made changes", vec![balancer(Standing::Found, 2)], 0, 1),
            ("what is ours changes", vec![balancer(Standing::Ours, 2)], 0, 0),
            (
                "what was another's changes",
                vec![balancer(Standing::Moved, 2)],
                0,
                1,
            ),
            ("what is new is made", vec![balancer(Standing::New, 7)], 0, 0),
            (
                "what nobody asks for goes",
                vec![balancer(Standing::Leaving, 3)],
                0,
                0,
            ),
            ("what is shared changes", vec![balancer(Standing::Found, 0)], 1, 1),
            (
                "what is shared makes room for what is new",
                vec![balancer(Standing::Found, 0), balancer(Standing::New, 7)],
                1,
                0,
            ),
        ] {
            assert_eq!(changed(&balancers, &shared(across)).count(), want, "{what}");
        }
    }

    #[test]
    fn what_an_ingress_of_no_class_here_may_own_is_not_called_an_orphan() {
        let ingress = ObjectName::new("shop", "web");
        let id = LoadBalancerId::Lone(ingress.clone());
        let observed = Observed::nothing(Owner::load_balancer("demo", &id));
        for (unserved, want) in [
            ([].into(), Standing::Orphaned),
            ([(id.clone(), vec![ingress])].into(), Standing::Unserved),
        ] {
            let report = report(Read {
                incumbent: Incumbent {
                    lease: "kube-system/lease".into(),
                    state: State::Absent,
                    webhooks: Vec::new(),
                    services: Vec::new(),
                    bindings: Bindings::default(),
                },
                plan: plan_offline(&[], &portcullis_aws::Settings::default()),
                observed: &[(id.clone(), observed.clone())].into(),
                leaving: &BTreeSet::new(),
                recorded: &BTreeSet::new(),
                elsewhere: &BTreeMap::new(),
                unserved: &unserved,
                accept_changes: false,
            });
            let standing = report.load_balancers.iter().map(|balancer| balancer.standing);
            assert_eq!(standing.collect::<Vec<_>>(), [want]);
            assert_eq!(report.load_balancers[0].members.len(), unserved.len());
        }
    }
}
