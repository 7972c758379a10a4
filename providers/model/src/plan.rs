//! What would be changed and what would exist then: a provider's changes in, values people and tools can read out.

use serde::Serialize;

/// What a change does to its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Create,
    Update,
    Delete,
}

/// One round: changes that can be made now, in this order, each one call complete in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<C> {
    pub changes: Vec<C>,
}

impl<C> Plan<C> {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl<C> Default for Plan<C> {
    fn default() -> Self {
        Self { changes: Vec::new() }
    }
}

/// A field that a change sets to another value; values as JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    pub field: String,
    pub from: String,
    pub to: String,
}

/// A change as people and `plan -o json` see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeSummary {
    #[serde(rename = "action")]
    pub verb: Verb,
    /// Kind of the resource, such as `ListenerRule`.
    pub kind: &'static str,
    /// Which one, unique within kind and load balancer.
    pub id: String,
    /// Service and operation of the one call it costs, such as `elbv2:CreateRule`.
    pub call: &'static str,
    /// Why, in a few words.
    pub reason: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// A resource that should exist, or does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resource<S> {
    pub kind: &'static str,
    pub id: String,
    /// Fields named as in the provider's API; a reference to another resource is `${Kind/id}`.
    pub spec: S,
}

/// Where clients find a load balancer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Address {
    Hostname(String),
    Ip(std::net::IpAddr),
}
