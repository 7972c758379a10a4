//! What one load balancer is made of: the members of a group and all they name, taken at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{LoadBalancerId, ObjectName, Port};

use super::object::{ClassParameters, EndpointSlice, Ingress, Namespace, Node, Pod, Secret, Service};
use crate::crd::load_balancer::Wire;

/// A consistent view for one load balancer. Made by the index alone, and not before every watch has synced once.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub id: LoadBalancerId,
    /// Not being deleted, by name. Empty: nothing should exist.
    pub members: Vec<Member>,
    /// Services that members name and that exist.
    pub services: BTreeMap<ObjectName, Arc<Service>>,
    /// By Service, sorted by name.
    pub slices: BTreeMap<ObjectName, Vec<Arc<EndpointSlice>>>,
    /// Pods that slices name, or that the selector of a Service without slices finds.
    pub pods: BTreeMap<ObjectName, Arc<Pod>>,
    pub secrets: Secrets,
    /// Secrets that were asked for by name, and what came of it.
    pub asked: BTreeMap<ObjectName, Answered>,
    /// What is spoken at the ports that exist, as far as that is known.
    pub spoken: BTreeMap<Port, Wire>,
    /// All of the cluster; shared by all snapshots.
    pub nodes: Arc<BTreeMap<Arc<str>, Arc<Node>>>,
}

/// An Ingress as it was admitted, and what decides how it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub ingress: Arc<Ingress>,
    /// Of its class; none where it is ours without an IngressClass: by the legacy annotation, or in a folder that has
    /// none.
    pub parameters: Parameters,
    /// None where namespaces are not known, as in a folder without them.
    pub namespace: Option<Arc<Namespace>>,
}

/// The parameters of a class.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameters {
    /// The class names none.
    None,
    Found(Arc<ClassParameters>),
    /// The class names some, but there are none: nothing of the class may be served.
    Missing,
    /// The class names parameters of a kind that is not read.
    Foreign,
}

/// Whether Secrets were looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Secrets {
    /// The provider ends TLS with certificates of its own; no right to read Secrets is needed.
    NotRead,
    /// Those that members name and that exist; where one looks for certificates, all key pairs of its namespace.
    Read(BTreeMap<ObjectName, Arc<Secret>>),
}

/// What came of asking for a Secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    Found(Arc<Secret>),
    Missing,
    /// It may not be read, and why.
    Refused(Arc<str>),
}

impl Snapshot {
    /// What is known of a Secret; none where nobody was asked, as in a plan from files.
    pub fn secret(&self, name: &ObjectName) -> Option<Answered> {
        let read = match &self.secrets {
            Secrets::NotRead => None,
            Secrets::Read(secrets) => secrets.get(name),
        };
        self.asked
            .get(name)
            .cloned()
            .or_else(|| read.map(|secret| Answered::Found(secret.clone())))
    }
}
