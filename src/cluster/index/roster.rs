//! Ingresses with where they belong and what they name in; who is concerned by a Service or a Secret out.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use portcullis_model::{LoadBalancerId, ObjectName};

use super::{Admitted, Touched};
use crate::cluster::membership::{CertificateSearch, Membership, Names};
use crate::cluster::object::Ingress;

/// An Ingress as the roster holds it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) ingress: Arc<Ingress>,
    pub(super) membership: Membership,
    /// What is served of it: of a member itself, of one that is refused what it was before.
    pub(super) admitted: Option<Admitted>,
    /// Named by what is served.
    pub(super) names: Names,
}

/// All Ingresses, and the way from what they name back to them.
#[derive(Debug, Default)]
pub(super) struct Roster {
    entries: HashMap<ObjectName, Entry>,
    members: HashMap<LoadBalancerId, BTreeSet<ObjectName>>,
    refused: BTreeSet<ObjectName>,
    by_service: HashMap<ObjectName, BTreeSet<ObjectName>>,
    by_secret: HashMap<ObjectName, BTreeSet<ObjectName>>,
    /// Ingresses being deleted that the AWS Load Balancer Controller holds for a load balancer.
    leaving: HashMap<LoadBalancerId, BTreeSet<ObjectName>>,
    /// Ingresses that look for certificates among all Secrets of a namespace.
    searching: HashMap<Arc<str>, BTreeSet<ObjectName>>,
}

impl Roster {
    pub(super) fn names(&self) -> Vec<ObjectName> {
        self.entries.keys().cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Ingress>> {
        self.entries.values().map(|entry| entry.ingress.clone()).collect()
    }

    pub(super) fn get(&self, name: &ObjectName) -> Option<&Arc<Ingress>> {
        self.entries.get(name).map(|entry| &entry.ingress)
    }

    pub(super) fn entry(&self, name: &ObjectName) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Load balancers that have a member, in order.
    pub(super) fn ids(&self) -> BTreeSet<LoadBalancerId> {
        self.members.keys().cloned().collect()
    }

    /// Members of a load balancer, by name.
    pub(super) fn members(&self, id: &LoadBalancerId) -> impl Iterator<Item = &Entry> {
        self.members
            .get(id)
            .into_iter()
            .flatten()
            .filter_map(|name| self.entries.get(name))
    }

    /// Ingresses being deleted that are held for this load balancer, by name.
    pub(super) fn leaving(&self, id: &LoadBalancerId) -> impl Iterator<Item = &Arc<Ingress>> {
        let names = self.leaving.get(id).into_iter().flatten();
        names.filter_map(|name| self.get(name))
    }

    /// Refused Ingresses, by name.
    pub(super) fn refused(&self) -> impl Iterator<Item = &Entry> {
        self.refused.iter().filter_map(|name| self.entries.get(name))
    }

    pub(super) fn put(&mut self, entry: Entry, touched: &mut Touched) {
        let ingress = &entry.ingress;
        let name = ingress.meta.name.clone();
        self.remove(&name, touched);
        touched.entry(&entry);
        if ingress.meta.deleting {
            for id in &ingress.held_for {
                touched.load_balancers.insert(id.clone());
                self.leaving.entry(id.clone()).or_default().insert(name.clone());
            }
        }
        if let Some(admitted) = &entry.admitted {
            let members = self.members.entry(admitted.id.clone()).or_default();
            members.insert(name.clone());
        }
        if let Membership::Refused(_) = entry.membership {
            self.refused.insert(name.clone());
        }
        let names = &entry.names;
        for service in &names.services {
            self.by_service
                .entry(service.clone())
                .or_default()
                .insert(name.clone());
        }
        for secret in &names.secrets {
            self.by_secret
                .entry(secret.clone())
                .or_default()
                .insert(name.clone());
        }
        match names.search {
            CertificateSearch::None => {}
            CertificateSearch::Namespace => {
                let searching = self.searching.entry(name.namespace.clone()).or_default();
                searching.insert(name.clone());
            }
        }
        self.entries.insert(name, entry);
    }

    pub(super) fn remove(&mut self, name: &ObjectName, touched: &mut Touched) {
        let Some(entry) = self.entries.remove(name) else {
            return;
        };
        touched.entry(&entry);
        if let Some(admitted) = &entry.admitted {
            unlink(&mut self.members, &admitted.id, name);
        }
        self.refused.remove(name);
        for id in &entry.ingress.held_for {
            unlink(&mut self.leaving, id, name);
        }
        for service in &entry.names.services {
            unlink(&mut self.by_service, service, name);
        }
        for secret in &entry.names.secrets {
            unlink(&mut self.by_secret, secret, name);
        }
        match entry.names.search {
            CertificateSearch::None => {}
            CertificateSearch::Namespace => unlink(&mut self.searching, &name.namespace, name),
        }
    }

    pub(super) fn touch_all(&self, touched: &mut Touched) {
        touched.load_balancers.extend(self.members.keys().cloned());
    }

    pub(super) fn touch_service(&self, service: &ObjectName, touched: &mut Touched) {
        self.touch(self.by_service.get(service), touched);
    }

    pub(super) fn touch_secret(&self, secret: &ObjectName, touched: &mut Touched) {
        self.touch(self.by_secret.get(secret), touched);
        self.touch(self.searching.get(&secret.namespace), touched);
    }

    fn touch(&self, ingresses: Option<&BTreeSet<ObjectName>>, touched: &mut Touched) {
        for name in ingresses.into_iter().flatten() {
            let served = self.entries.get(name).and_then(|entry| entry.admitted.as_ref());
            touched
                .load_balancers
                .extend(served.map(|admitted| admitted.id.clone()));
        }
    }
}

fn unlink<K: Eq + Hash, V: Ord>(map: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(values) = map.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}
