//! What a pass found and did, as values: what status, events and metrics are made from.

use std::sync::Arc;

use portcullis_model::{Address, ChangeSummary, LoadBalancerId, Port, Problem, ProviderError};

use crate::cluster::object::Ingress;

/// What a pass found and did.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub id: LoadBalancerId,
    pub end: End,
    /// Ingresses served.
    pub members: Vec<Arc<Ingress>>,
    /// Ingresses that are served no more by any load balancer, but still show the address of this one.
    pub left: Vec<Arc<Ingress>>,
    /// Ports it listens on.
    pub ports: Vec<Port>,
    /// Where clients find it.
    pub address: Option<Address>,
    /// Kind, id and the provider's name of what exists.
    pub resources: Vec<(&'static str, String, String)>,
    /// Changes made.
    pub made: Vec<ChangeSummary>,
    /// Changes computed and not made.
    pub pending: Vec<ChangeSummary>,
    /// Sorted, without duplicates.
    pub problems: Vec<Problem>,
}

/// How a pass ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// What is recorded still holds; nothing was asked or written.
    Resting,
    /// What exists is what should; the fingerprint says what that is.
    Settled { fingerprint: String },
    /// Changes are computed and not made.
    Held(Hold),
    /// A call failed; the pass is tried again.
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
    /// Too many load balancers would be deleted at once: see [`super::brake`].
    ManyDeletions,
    /// Nothing of the members can be served: what exists stays.
    NothingToServe,
}

/// Annotation of a `LoadBalancer`: `"true"` stops changes to it.
pub const PAUSED: &str = "portcullis.dev/paused";

impl End {
    /// The metric label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::Settled { .. } => "settled",
            Self::Held(_) => "held",
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
            Self::ManyDeletions => "ManyDeletions",
            Self::NothingToServe => "NothingToServe",
        }
    }

    pub fn explanation(self) -> &'static str {
        match self {
            Self::PlanOnly => "the class only plans: set mode to Apply to make the pending changes",
            Self::Paused => "changes are paused: remove the annotation portcullis.dev/paused to make them",
            Self::MembersRefused => {
                "its Ingresses are refused, not gone: correct what refuses them, or delete them"
            }
            Self::ManyDeletions => {
                "too many load balancers would be deleted at once: bring the Ingresses back, or confirm with the \
                 annotation portcullis.dev/confirm-deletion: \"true\""
            }
            Self::NothingToServe => "nothing of its Ingresses can be served: see the problems",
        }
    }
}
