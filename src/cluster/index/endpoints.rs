//! Services, EndpointSlices and Pods in; the Services an event concerns, and what serves a Service, out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_model::ObjectName;

use crate::cluster::object::{EndpointSlice, Pod, Service};

/// Objects of one kind by name, within a namespace.
type Named<T> = HashMap<Arc<str>, BTreeMap<Arc<str>, Arc<T>>>;

/// Names of others in the same namespace, by object.
type Links = HashMap<ObjectName, BTreeSet<Arc<str>>>;

/// What Services there are and what serves them.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    services: HashMap<ObjectName, Arc<Service>>,
    slices: HashMap<ObjectName, Arc<EndpointSlice>>,
    pods: Named<Pod>,
    /// Slices of a Service.
    slices_of: Links,
    /// Slices that name a Pod.
    slices_with: Links,
    /// Services with a selector but without slices, by namespace: few in a cluster, all in a folder of manifests.
    unsliced: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Pods that wait for a load balancer: few at any time.
    gated: BTreeSet<ObjectName>,
}

/// What serves one Service.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) service: Arc<Service>,
    /// By name.
    pub(super) slices: Vec<Arc<EndpointSlice>>,
    pub(super) pods: Vec<Arc<Pod>>,
}

impl Endpoints {
    pub(super) fn services(&self) -> Vec<ObjectName> {
        self.services.keys().cloned().collect()
    }

    pub(super) fn slices(&self) -> Vec<ObjectName> {
        self.slices.keys().cloned().collect()
    }

    pub(super) fn pods(&self) -> Vec<ObjectName> {
        self.pods
            .values()
            .flat_map(|pods| pods.values().map(|pod| pod.meta.name.clone()))
            .collect()
    }

    /// Pods that wait for a load balancer.
    pub(super) fn gated(&self) -> impl Iterator<Item = &Arc<Pod>> {
        let pod = |name: &ObjectName| self.pods.get(&name.namespace)?.get(&name.name);
        self.gated.iter().filter_map(pod)
    }

    /// None where there is no such Service; its slices wait unread until there is one.
    pub(super) fn serving(&self, name: &ObjectName) -> Option<Serving> {
        let service = self.services.get(name)?.clone();
        let slices: Vec<_> = self
            .slices_of
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|slice| self.slices.get(&sibling(name, slice)).cloned())
            .collect();
        let in_namespace = self.pods.get(&name.namespace);
        let pods = if slices.is_empty() {
            in_namespace
                .into_iter()
                .flat_map(BTreeMap::values)
                .filter(|pod| selects(&service, pod))
                .cloned()
                .collect()
        } else {
            slices
                .iter()
                .flat_map(|slice| &slice.endpoints)
                .filter_map(|endpoint| in_namespace?.get(endpoint.pod.as_ref()?).cloned())
                .collect()
        };
        Some(Serving {
            service,
            slices,
            pods,
        })
    }

    pub(super) fn put_service(&mut self, service: Arc<Service>) -> Vec<ObjectName> {
        let name = service.meta.name.clone();
        if self.services.get(&name).is_some_and(|held| *held == service) {
            return Vec::new();
        }
        self.services.insert(name.clone(), service);
        self.note_unsliced(&name);
        vec![name]
    }

    pub(super) fn remove_service(&mut self, name: &ObjectName) -> Vec<ObjectName> {
        let held = self.services.remove(name);
        self.note_unsliced(name);
        held.map(|service| service.meta.name.clone())
            .into_iter()
            .collect()
    }

    pub(super) fn put_slice(&mut self, slice: Arc<EndpointSlice>) -> Vec<ObjectName> {
        let name = slice.meta.name.clone();
        if self.slices.get(&name).is_some_and(|held| *held == slice) {
            return Vec::new();
        }
        let mut services = self.remove_slice(&name);
        for pod in slice
            .endpoints
            .iter()
            .filter_map(|endpoint| endpoint.pod.as_ref())
        {
            self.slices_with
                .entry(sibling(&name, pod))
                .or_default()
                .insert(name.name.clone());
        }
        if let Some(service) = slice.service.as_ref().map(|service| sibling(&name, service)) {
            self.slices_of
                .entry(service.clone())
                .or_default()
                .insert(name.name.clone());
            self.note_unsliced(&service);
            services.push(service);
        }
        self.slices.insert(name, slice);
        services
    }

    pub(super) fn remove_slice(&mut self, name: &ObjectName) -> Vec<ObjectName> {
        let Some(slice) = self.slices.remove(name) else {
            return Vec::new();
        };
        for pod in slice
            .endpoints
            .iter()
            .filter_map(|endpoint| endpoint.pod.as_ref())
        {
            unlink(&mut self.slices_with, &sibling(name, pod), &name.name);
        }
        let Some(service) = slice.service.as_ref().map(|service| sibling(name, service)) else {
            return Vec::new();
        };
        unlink(&mut self.slices_of, &service, &name.name);
        self.note_unsliced(&service);
        vec![service]
    }

    pub(super) fn put_pod(&mut self, pod: &Arc<Pod>) -> Vec<ObjectName> {
        let name = pod.meta.name.clone();
        let pods = self.pods.entry(name.namespace.clone()).or_default();
        if pods.get(&name.name).is_some_and(|held| held == pod) {
            return Vec::new();
        }
        if pod.awaited_target_groups().next().is_some() {
            self.gated.insert(name.clone());
        } else {
            self.gated.remove(&name);
        }
        let held = pods.insert(name.name.clone(), pod.clone());
        let mut services = self.served_by(pod);
        if let Some(held) = held {
            services.extend(self.served_by(&held));
        }
        services
    }

    pub(super) fn remove_pod(&mut self, name: &ObjectName) -> Vec<ObjectName> {
        let Some(pods) = self.pods.get_mut(&name.namespace) else {
            return Vec::new();
        };
        let held = pods.remove(&name.name);
        self.gated.remove(name);
        if pods.is_empty() {
            self.pods.remove(&name.namespace);
        }
        held.map(|pod| self.served_by(&pod)).unwrap_or_default()
    }

    /// Services whose slices name the Pod, or which select it and have no slices.
    fn served_by(&self, pod: &Pod) -> Vec<ObjectName> {
        let name = &pod.meta.name;
        let sliced = self
            .slices_with
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|slice| {
                let slice = self.slices.get(&sibling(name, slice))?;
                Some(sibling(name, slice.service.as_ref()?))
            });
        let unsliced = self
            .unsliced
            .get(&name.namespace)
            .into_iter()
            .flatten()
            .map(|service| sibling(name, service))
            .filter(|service| {
                self.services
                    .get(service)
                    .is_some_and(|service| selects(service, pod))
            });
        sliced.chain(unsliced).collect()
    }

    fn note_unsliced(&mut self, name: &ObjectName) {
        let unsliced = !self.slices_of.contains_key(name)
            && self
                .services
                .get(name)
                .is_some_and(|service| !service.selector.is_empty());
        if unsliced {
            self.unsliced
                .entry(name.namespace.clone())
                .or_default()
                .insert(name.name.clone());
        } else if let Some(names) = self.unsliced.get_mut(&name.namespace) {
            names.remove(&name.name);
        }
    }
}

/// An empty selector selects nothing. Source: Kubernetes API, ServiceSpec.selector.
fn selects(service: &Service, pod: &Pod) -> bool {
    !service.selector.is_empty()
        && service
            .selector
            .iter()
            .all(|(key, value)| pod.labels.get(key) == Some(value))
}

fn sibling(object: &ObjectName, name: &Arc<str>) -> ObjectName {
    ObjectName::new(object.namespace.clone(), name.clone())
}

fn unlink(links: &mut Links, key: &ObjectName, name: &Arc<str>) {
    if let Some(names) = links.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            links.remove(key);
        }
    }
}
