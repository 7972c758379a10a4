//! Which load balancer an Ingress belongs to and what it names: asked here, answered by `translate`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use portcullis_model::{LoadBalancerId, ObjectName, Problem};

use super::object::{ClassParameters, Ingress, IngressClass, Namespace, Service};

/// What the answer may depend on. A change of any class, parameters or namespace asks again for every Ingress.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub ingress: &'a Ingress,
    pub classes: &'a BTreeMap<Arc<str>, Arc<IngressClass>>,
    /// By [`ClassParameters::key`].
    pub parameters: &'a BTreeMap<Arc<str>, Arc<ClassParameters>>,
    pub namespaces: &'a BTreeMap<Arc<str>, Arc<Namespace>>,
}

/// Where an Ingress belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Another controller's, or nobody's.
    Foreign,
    /// Ours, and part of this load balancer, by this class if it has one.
    Member {
        id: LoadBalancerId,
        class: Option<Arc<str>>,
    },
    /// Ours, but part of no load balancer, and why.
    Refused(Vec<Problem>),
}

/// Answers for one Ingress; pure.
pub type Decide = Box<dyn Fn(Candidate<'_>) -> Membership + Send + Sync>;

/// What an Ingress names, whether it exists or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub services: BTreeSet<ObjectName>,
    pub secrets: BTreeSet<ObjectName>,
    pub search: CertificateSearch,
}

/// Where certificates are looked for that an Ingress needs and does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateSearch {
    /// It names all it needs.
    #[default]
    None,
    /// Among all Secrets of its namespace, where Secrets are read.
    Namespace,
}

/// The names that one object needs; pure.
type NamesOf<O, N> = Box<dyn Fn(&O) -> N + Send + Sync>;

/// Who is asked for names.
pub struct References {
    pub of_ingress: NamesOf<Ingress, Names>,
    /// The Secrets that a Service needs for whoever leads to it.
    pub of_service: NamesOf<Service, BTreeSet<ObjectName>>,
}

impl fmt::Debug for References {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("References").finish_non_exhaustive()
    }
}
