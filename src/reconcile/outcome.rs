//! What a pass found and did, as values: what status, events and metrics are made from.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{
    Address, ChangeSummary, Code, LoadBalancer, LoadBalancerId, ObjectName, Origin, OwnTargets, Port,
    Problem, Provider, ProviderError, Retry,
};

#[cfg(feature = "cluster")]
use super::standing;
use crate::cluster::object::Ingress;
use crate::crd::load_balancer::{Admitted, Wire, object_name};

/// What a pass found and did.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub id: LoadBalancerId,
    pub end: End,
    /// Ingresses served.
    pub members: Vec<Arc<Ingress>>,
    /// Those of them that are refused by now, and why; what is served is what they were admitted with.
    pub standing: BTreeMap<ObjectName, Vec<Problem>>,
    /// Members of before that are refused by now, and why: of these nobody knows what was admitted, and all stays.
    pub refused: Vec<(Arc<Ingress>, Vec<Problem>)>,
    /// Codes of the problems that were recorded before, but for those of refused members.
    pub recorded: Vec<Code>,
    /// What members were admitted with.
    pub admitted: Admitted,
    /// Ingresses that are served no more by any load balancer, but still show the address of this one.
    pub left: Vec<Arc<Ingress>>,
    /// Ingresses being deleted that the AWS Load Balancer Controller still holds for this one, and that it serves no
    /// more: they are let go.
    pub let_go: Vec<Arc<Ingress>>,
    /// Ports it listens on, and what is spoken there.
    pub ports: BTreeMap<Port, Wire>,
    /// The version of each Secret that it is made with.
    pub secrets: BTreeMap<ObjectName, Arc<str>>,
    /// None where the pass did not look: what is recorded is the best there is.
    pub seen: Option<Seen>,
    /// Changes made.
    pub made: Vec<ChangeSummary>,
    /// Those of them that put back what somebody else had changed.
    pub repaired: Vec<ChangeSummary>,
    /// Changes computed and not made.
    pub pending: Vec<ChangeSummary>,
    /// Sorted, without duplicates.
    pub problems: Vec<Problem>,
    /// What is to be recorded of targets registered beside those of other clusters; none where the pass came to no
    /// end that says it.
    pub own_targets: Option<OwnTargets>,
    /// Something that is not used any more could not be deleted yet; the pass is made again for it.
    pub left_over: bool,
}

#[cfg(feature = "cluster")]
impl Outcome {
    /// Before anything was found.
    pub fn begin(view: &super::view::View, desired: Option<&LoadBalancer>, problems: Vec<Problem>) -> Self {
        let mut outcome = Self {
            id: view.snapshot.id.clone(),
            end: End::Resting,
            members: view
                .snapshot
                .members
                .iter()
                .map(|member| member.ingress.clone())
                .collect(),
            standing: view.standing.clone(),
            refused: Vec::new(),
            recorded: Vec::new(),
            admitted: standing::record(&view.snapshot.members),
            left: view.left.clone(),
            let_go: Vec::new(),
            ports: desired.map(ports).unwrap_or_default(),
            secrets: desired.map(LoadBalancer::secrets).unwrap_or_default(),
            seen: None,
            made: Vec::new(),
            repaired: Vec::new(),
            pending: Vec::new(),
            problems,
            own_targets: None,
            left_over: false,
        };
        outcome.add(view.standing.values().flatten().cloned());
        outcome
    }
}

/// Ports of a load balancer, and what is spoken there.
pub fn ports(balancer: &LoadBalancer) -> BTreeMap<Port, Wire> {
    let listeners = balancer.listeners.iter();
    listeners
        .map(|(port, listener)| match listener.is_https() {
            true => (*port, Wire::Https),
            false => (*port, Wire::Http),
        })
        .collect()
}

impl Outcome {
    pub fn add(&mut self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.extend(problems);
        self.problems.sort();
        self.problems.dedup();
    }

    /// The changes made since so many were only put back what somebody else had changed, if that is so.
    pub fn put_back(&mut self, since: usize, is_so: bool) {
        if is_so {
            self.repaired.extend(self.made.iter().skip(since).cloned());
        }
    }

    /// Ends with a call that failed, which is a problem of the load balancer as a whole.
    pub fn fail(&mut self, error: ProviderError) {
        self.tell(&error);
        self.end = End::Failed(error);
    }

    /// Adds a failed call as a problem of the load balancer as a whole.
    pub fn tell(&mut self, error: &ProviderError) {
        let record = ObjectName::cluster(object_name(&self.id));
        self.add([Problem::new(
            error.code,
            Origin::new("loadbalancer", record, ""),
            error.words(),
        )]);
    }
}

/// What exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Where clients find it.
    pub address: Option<Address>,
    /// Where they find it, too.
    pub further: Vec<Address>,
    /// Kind, id and the provider's name of each resource.
    pub resources: Vec<(&'static str, String, String)>,
}

impl Seen {
    pub fn of<P: Provider>(observed: &P::Observed) -> Self {
        Self {
            address: P::address(observed),
            further: P::further_addresses(observed),
            resources: P::inventory(observed),
        }
    }
}

/// How a pass ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// What is recorded still holds; nothing was asked or written.
    Resting,
    /// Calls were refused before, and it is not yet time to try them again; nothing was asked or written.
    Waiting,
    /// What exists is what should; the fingerprint says what that is.
    Settled { fingerprint: String },
    /// Changes are computed and not made.
    Held(Hold),
    /// Calls were refused; all that does not rely on them is as it should be. They are tried again.
    Incomplete(Vec<ProviderError>),
    /// A call failed, and the rest waits for it; the pass is tried again.
    Failed(ProviderError),
    /// Nothing of it exists any more, and nothing should.
    Gone,
}

/// Why changes are not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The class says `mode: Plan`.
    PlanOnly,
    /// The record carries the annotation [`PAUSED`].
    Paused,
    /// All members are gone, but some only because they are refused: a mistake in a class deletes nothing.
    MembersRefused,
    /// No Ingress asks for it any more, and it is to stay.
    Retained,
    /// Too many load balancers would be deleted at once: see [`super::brake`].
    ManyDeletions,
    /// Too many rules would be deleted at once: see [`super::brake`]. Targets are followed all the same.
    ManyRuleDeletions,
    /// Nothing of the members can be served: what exists stays.
    NothingToServe,
    /// Another controller of this cluster made it. That is told at its record, and not written into it.
    AnotherController,
    /// An earlier version made it, and Ingresses that it served are none of this controller's.
    ControllerUnknown,
}

/// Annotation of a `LoadBalancer`: `"true"` stops changes to it.
pub const PAUSED: &str = "portcullis.dev/paused";

/// An address as status shows it: host names in lower case, as the incumbent writes them.
pub fn text_of(address: &Address) -> String {
    match address {
        Address::Hostname(name) => name.to_ascii_lowercase(),
        Address::Ip(ip) => ip.to_string(),
    }
}

/// Whether an Ingress already shows these addresses, whatever it shows of ports.
pub fn shows(member: &Ingress, addresses: &[&str]) -> bool {
    let entries = member.status.iter();
    let shown = entries.filter_map(|entry| entry.hostname.as_deref().or(entry.ip.as_deref()));
    shown.eq(addresses.iter().copied())
}

impl End {
    /// When the pass is tried again, were nothing to change; none where it need not be.
    pub fn retry(&self) -> Option<Retry> {
        match self {
            Self::Resting | Self::Waiting | Self::Settled { .. } | Self::Held(_) | Self::Gone => None,
            Self::Failed(error) => Some(error.retry),
            Self::Incomplete(errors) => {
                // What was believed may be wrong: that is looked at before all else.
                let mut again = errors.iter().map(|error| error.retry);
                let observe = again.find(|retry| *retry == Retry::Observe);
                observe.or(errors.iter().map(|error| error.retry).min())
            }
        }
    }

    /// The metric label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::Waiting => "waiting",
            Self::Settled { .. } => "settled",
            Self::Held(_) => "held",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
            Self::Gone => "gone",
        }
    }
}

impl Hold {
    /// The condition's reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PlanOnly => "PlanOnly",
            Self::Paused => "Paused",
            Self::MembersRefused => "MembersRefused",
            Self::Retained => "Retained",
            Self::ManyDeletions => "ManyDeletions",
            Self::ManyRuleDeletions => "ManyRuleDeletions",
            Self::NothingToServe => "NothingToServe",
            Self::AnotherController => "AnotherController",
            Self::ControllerUnknown => "ControllerUnknown",
        }
    }

    pub fn explanation(self) -> &'static str {
        match self {
            Self::PlanOnly => "the class only plans: set mode to Apply to make the pending changes",
            Self::Paused => "changes are paused: remove the annotation portcullis.dev/paused to make them",
            Self::MembersRefused => {
                "its Ingresses are refused, not gone, and were edited since they were admitted: correct what refuses them, or \
                 delete them"
            }
            Self::Retained => {
                "its Ingresses are gone and their deletion policy is Retain: it stays as it is, its targets included, until an \
                 Ingress asks for it again, or spec.deletionPolicy of this object says Delete"
            }
            Self::ManyDeletions => {
                "too many load balancers would be deleted at once: bring the Ingresses back, or confirm with the \
                 annotation portcullis.dev/confirm-deletion: \"true\""
            }
            Self::ManyRuleDeletions => {
                "too many of its rules would be deleted at once; only targets are changed: see the problems for how to \
                 confirm it"
            }
            Self::NothingToServe => "nothing of its Ingresses can be served: see the problems",
            Self::AnotherController => "another controller serves it",
            Self::ControllerUnknown => {
                "an earlier version made it, and an Ingress that it served is none of this controller's: start with the \
                 --controller-name, --ingress-class and --watch-namespace of then; or, if it is to go or to be served \
                 without that Ingress, write this controller's name to spec.controllerName"
            }
        }
    }
}
