//! What a folder says and what changed in it in, the one load balancer that a process serves of it out.
//!
//! Where nothing but EndpointSlices and Pods changed, only the backends that lead to their Services are made anew.
//! Whatever else changed, all is translated anew, and what came out equal is taken from before: so both are what a
//! translation of everything makes, and share what did not change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{LoadBalancer, ObjectName, Problem};

use super::{Settings, Translation, index, translate};
use crate::cluster::index::{Index, SecretsMode};
use crate::cluster::object::{Kind, Object, ObjectKey, Secret};
use crate::cluster::snapshot::{Secrets, Snapshot};

/// A folder's objects, translated.
#[derive(Debug)]
pub struct Followed {
    index: Index,
    made: Option<Translation>,
    /// Of Ingresses that are ours but part of no load balancer.
    pub refused: Vec<Problem>,
    /// Those that are served from.
    pub secrets: BTreeMap<ObjectName, Arc<Secret>>,
}

impl Followed {
    pub fn of(objects: Vec<Object>, settings: &Settings) -> Self {
        let mut index = index(settings, SecretsMode::Read);
        index.reset_all(objects);
        let (mut made, mut refused, mut secrets) = (None, Vec::new(), BTreeMap::new());
        // A folder is read as a whole: there is nothing to wait for.
        if let Ok(synced) = index.synced() {
            let problems = synced.refused().flat_map(|(_, problems)| problems);
            refused.extend(problems.cloned());
            // All Ingresses of a folder are one load balancer here, so there is one at most.
            if let Some(id) = synced.ids().pop_first() {
                let snapshot = synced.snapshot(&id);
                made = Some(translate(&snapshot, settings));
                secrets = read(snapshot);
            }
        }
        Self {
            index,
            made,
            refused,
            secrets,
        }
    }

    /// After these changes, of which `all` is what there is now.
    pub fn follow(
        &mut self,
        changes: BTreeMap<ObjectKey, Option<Object>>,
        all: impl FnOnce() -> Vec<Object>,
        settings: &Settings,
    ) {
        let by_endpoints_alone = |key: &ObjectKey| match key.kind {
            Kind::EndpointSlice | Kind::Pod => true,
            Kind::Ingress
            | Kind::IngressClass
            | Kind::ClassParameters
            | Kind::IncumbentParameters
            | Kind::Service
            | Kind::Secret
            | Kind::Node
            | Kind::Namespace => false,
        };
        if !changes.keys().all(by_endpoints_alone) {
            let before = self.made.take().and_then(|before| before.balancer);
            // The index before goes first: there is never more than one.
            self.index = index(settings, SecretsMode::Read);
            *self = Self::of(all(), settings);
            let now = self.made.as_mut().and_then(|now| now.balancer.as_mut());
            if let (Some(now), Some(before)) = (now, &before) {
                now.share_with(before);
            }
            return;
        }
        let mut served = BTreeSet::new();
        for (key, object) in changes {
            let touched = match object {
                Some(object) => self.index.apply(object),
                None => self.index.delete(&key),
            };
            served.extend(touched.served);
        }
        let Some(id) = self.balancer().map(|balancer| balancer.id.clone()) else {
            return;
        };
        if let (Ok(synced), Some(before)) = (self.index.synced(), self.made.take()) {
            self.made = Some(before.follow(&synced.of_services(id, &served), settings));
        }
    }

    /// None where the folder has no Ingress of ours.
    pub fn balancer(&self) -> Option<&LoadBalancer> {
        self.made.as_ref()?.balancer.as_ref()
    }

    pub fn secret(&self, name: &ObjectName) -> Option<&Arc<Secret>> {
        self.index.secret(name)
    }

    /// What is wrong with the load balancer.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.made.iter().flat_map(|made| &made.problems)
    }
}

fn read(snapshot: Snapshot) -> BTreeMap<ObjectName, Arc<Secret>> {
    match snapshot.secrets {
        Secrets::NotRead => BTreeMap::new(),
        Secrets::Read(secrets) => secrets,
    }
}

#[cfg(test)]
mod tests;
