//! An index that knows every kind in, snapshots of its load balancers out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{LoadBalancerId, ObjectName, Problem};
use thiserror::Error;

use super::admitted::Admitted;
use super::roster::Entry;
use super::{Index, SecretsMode};
use crate::cluster::membership::{CertificateSearch, Membership};
use crate::cluster::object::{Ingress, Kind, Pod};
use crate::cluster::snapshot::{Member, Parameters, Secrets, Snapshot};

/// Some kinds have not been listed yet.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("waiting for {}", .0.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "))]
pub struct NotSynced(pub BTreeSet<Kind>);

/// Proof that every kind has been listed once: only from here can a snapshot be taken.
#[derive(Clone, Copy, Debug)]
pub struct Synced<'a> {
    index: &'a Index,
}

impl<'a> Synced<'a> {
    pub(super) fn new(index: &'a Index) -> Result<Self, NotSynced> {
        if index.waiting.is_empty() {
            Ok(Self { index })
        } else {
            Err(NotSynced(index.waiting.clone()))
        }
    }

    /// Load balancers that have a member.
    pub fn ids(&self) -> BTreeSet<LoadBalancerId> {
        self.index.roster.ids()
    }

    /// Ingresses that are ours and refused, and why, by name.
    pub fn refused(&self) -> impl Iterator<Item = (&'a Arc<Ingress>, &'a [Problem])> {
        self.index
            .roster
            .refused()
            .filter_map(|entry| match &entry.membership {
                Membership::Refused(problems) => Some((&entry.ingress, problems.as_slice())),
                Membership::Foreign | Membership::Member { .. } => None,
            })
    }

    /// An Ingress, and where it belongs.
    pub fn ingress(&self, name: &ObjectName) -> Option<(&'a Arc<Ingress>, &'a Membership)> {
        let entry = self.index.roster.entry(name)?;
        Some((&entry.ingress, &entry.membership))
    }

    /// What is served of an Ingress; none where nothing is.
    pub fn admitted(&self, name: &ObjectName) -> Option<&'a Admitted> {
        self.index.roster.entry(name)?.admitted.as_ref()
    }

    /// Members of a load balancer that are refused by now, and served as they were admitted; and why.
    pub fn standing(&self, id: &LoadBalancerId) -> BTreeMap<ObjectName, Vec<Problem>> {
        let members = self.index.roster.members(id);
        let refused = members.filter_map(|entry| match &entry.membership {
            Membership::Refused(problems) => Some((entry.ingress.meta.name.clone(), problems.clone())),
            Membership::Foreign | Membership::Member { .. } => None,
        });
        refused.collect()
    }

    /// Ingresses being deleted that the AWS Load Balancer Controller holds for this load balancer, with the parameters
    /// of their class.
    pub fn leaving(&self, id: &LoadBalancerId) -> Vec<(Arc<Ingress>, Parameters)> {
        let index = self.index;
        let parameters = |ingress: &Ingress| {
            let class = ingress
                .class_name
                .as_ref()
                .and_then(|name| index.classes.get(name));
            index.parameters_of(class.map(|class| &**class))
        };
        let leaving = index.roster.leaving(id);
        leaving
            .map(|ingress| (ingress.clone(), parameters(ingress)))
            .collect()
    }

    /// What serves these Services, for who asks for nothing else.
    pub fn of_services<'n>(
        &self,
        id: LoadBalancerId,
        services: impl IntoIterator<Item = &'n ObjectName>,
    ) -> Snapshot {
        let mut snapshot = self.empty(id);
        for service in services {
            self.add_service(service, &mut snapshot);
        }
        snapshot
    }

    /// Pods that wait for a load balancer.
    pub fn gated_pods(&self) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.index.endpoints.gated()
    }

    /// What this load balancer is made of; without members where there is none of this id.
    pub fn snapshot(&self, id: &LoadBalancerId) -> Snapshot {
        let index = self.index;
        let mut snapshot = self.empty(id.clone());
        snapshot.asked = index.held.of(index.held.needs(id));
        let mut secrets = BTreeMap::new();
        for entry in index.roster.members(id) {
            snapshot.members.extend(self.member(entry));
            for name in &entry.names.services {
                if !snapshot.services.contains_key(name) {
                    self.add_service(name, &mut snapshot);
                }
            }
            snapshot.asked.extend(index.held.of(entry.names.secrets.iter()));
            let services = entry.names.services.iter();
            let of_services = services.flat_map(|service| index.naming.secrets_of(service));
            for name in entry.names.secrets.iter().chain(of_services) {
                if let Some(secret) = index.secret(name) {
                    secrets.insert(name.clone(), secret.clone());
                }
            }
            match entry.names.search {
                CertificateSearch::None => {}
                CertificateSearch::Namespace => {
                    let of_namespace = index.secrets.get(&entry.ingress.meta.name.namespace);
                    let pairs = of_namespace
                        .into_iter()
                        .flat_map(BTreeMap::values)
                        .filter(|secret| secret.certificate.is_some() && secret.key.is_some());
                    secrets.extend(pairs.map(|secret| (secret.meta.name.clone(), secret.clone())));
                }
            }
        }
        if index.secrets_mode == SecretsMode::Read {
            snapshot.secrets = Secrets::Read(secrets);
        }
        snapshot
    }

    fn empty(&self, id: LoadBalancerId) -> Snapshot {
        Snapshot {
            id,
            members: Vec::new(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            pods: BTreeMap::new(),
            secrets: Secrets::NotRead,
            asked: BTreeMap::new(),
            spoken: BTreeMap::new(),
            nodes: self.index.nodes.clone(),
        }
    }

    /// Adds a Service, if there is one of this name, and what serves it.
    fn add_service(&self, name: &ObjectName, snapshot: &mut Snapshot) {
        let Some(serving) = self.index.endpoints.serving(name) else {
            return;
        };
        snapshot.services.insert(name.clone(), serving.service);
        if !serving.slices.is_empty() {
            snapshot.slices.insert(name.clone(), serving.slices);
        }
        let pods = serving.pods.into_iter();
        snapshot.pods.extend(pods.map(|pod| (pod.meta.name.clone(), pod)));
    }

    fn member(&self, entry: &Entry) -> Option<Member> {
        let admitted = entry.admitted.as_ref()?;
        Some(Member {
            ingress: admitted.ingress.clone(),
            parameters: admitted.parameters.clone(),
            namespace: self
                .index
                .namespaces
                .get(&entry.ingress.meta.name.namespace)
                .cloned(),
        })
    }
}
