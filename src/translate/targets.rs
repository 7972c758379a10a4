//! Backends and the Services they lead to in; their targets, and what is wrong with these, out.
//!
//! Nothing else of a translation depends on EndpointSlices and Pods. Where only those of some Services changed, the
//! backends that lead to these are filled again, by the same function that fills all of them at first.

use std::collections::{BTreeMap, HashMap};

use portcullis_model::{
    Backend, BackendId, Code, LoadBalancer, ObjectName, Origin, Port, Problem, TargetKind, TargetState,
};

use super::endpoints::{Endpoints, Found};
use super::settings::Settings;
use crate::cluster::labels::LabelSelector;
use crate::cluster::object::{IpFamily, Service, ServicePort};
use crate::cluster::snapshot::Snapshot;

/// Which backends lead to which Services, and what is wrong with what serves these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leads {
    /// By Service, in the order in which they were found.
    by_service: BTreeMap<ObjectName, Vec<Lead>>,
    /// By Service.
    told: BTreeMap<ObjectName, Vec<Problem>>,
}

/// A backend that leads to a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) backend: BackendId,
    pub(super) kind: TargetKind,
    /// The one port of all targets, if there is one.
    pub(super) port: Option<Port>,
    /// Place of its port among those of the Service.
    pub(super) place: usize,
    /// Of the nodes that are targets.
    pub(super) node_labels: BTreeMap<String, String>,
    pub(super) purpose: Purpose,
}

/// What becomes of the targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Served(Asked),
    /// Not enough is known to make anything: one of the backends that it may be, by its place. Nothing is told.
    Unread(usize),
}

/// Who asks for a backend that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Where what is wrong is told.
    pub(super) at: Origin,
    /// The port as it is named there.
    pub(super) port: String,
    pub(super) drain_seconds: Option<u32>,
}

impl Leads {
    pub(super) fn add(&mut self, service: &ObjectName, lead: Lead) {
        self.by_service.entry(service.clone()).or_default().push(lead);
    }

    /// What is wrong with what serves the Services.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.told.values().flatten()
    }

    /// Gives the backends that lead to the Services of the snapshot their targets, and tells what is wrong with these.
    pub(super) fn fill(&mut self, snapshot: &Snapshot, settings: &Settings, balancer: &mut LoadBalancer) {
        let mut finder = Finder {
            endpoints: Endpoints::new(snapshot, settings.addresses, balancer.semantics),
            nodes: HashMap::new(),
        };
        for service in snapshot.services.values() {
            let name = &service.meta.name;
            let Some(leads) = self.by_service.get(name) else {
                continue;
            };
            let mut pods = HashMap::new();
            let mut problems = Vec::new();
            let mut is_hurried = false;
            for lead in leads {
                let Some(port) = service.ports.get(lead.place) else {
                    continue;
                };
                let found = finder.found(lead, service, port, &mut pods);
                match &lead.purpose {
                    Purpose::Served(asked) => {
                        tell(asked, lead.kind, service, &found, &mut problems);
                        if !is_hurried && lead.kind == TargetKind::Pod {
                            let hurried = finder.tell_hurried(asked, service);
                            is_hurried = hurried.is_some();
                            problems.extend(hurried);
                        }
                        // Absent where no rule leads to it.
                        if let Some(backend) = balancer.backends.get_mut(&lead.backend)
                            && !has(backend, &found, service)
                        {
                            give(backend, &found, service);
                        }
                    }
                    Purpose::Unread(place) => {
                        let unread = balancer.unread.get_mut(&lead.backend);
                        if let Some(backend) = unread.and_then(|unread| unread.either.get_mut(*place)) {
                            give(backend, &found, service);
                        }
                    }
                }
            }
            match problems.is_empty() {
                true => _ = self.told.remove(name),
                false => _ = self.told.insert(name.clone(), problems),
            }
        }
    }
}

fn is_ipv6(found: &Found, service: &Service) -> bool {
    found.family.as_ref().or(service.families.first()) == Some(&IpFamily::V6)
}

fn has(backend: &Backend, found: &Found, service: &Service) -> bool {
    backend.ipv6 == is_ipv6(found, service) && backend.targets == found.targets
}

fn give(backend: &mut Backend, found: &Found, service: &Service) {
    backend.ipv6 = is_ipv6(found, service);
    backend.targets = found.targets.clone();
}

fn tell(asked: &Asked, kind: TargetKind, service: &Service, found: &Found, problems: &mut Vec<Problem>) {
    let refused = found.refused.iter();
    problems.extend(
        refused.map(|refused| Problem::new(Code::TargetRefused, asked.at.clone(), refused.to_string())),
    );
    let mut targets = found.targets.iter();
    if !targets.any(|target| target.state == TargetState::Ready) {
        let message = format!(
            "Service {} has no ready {} for port {}",
            service.meta.name,
            match kind {
                TargetKind::Pod => "endpoint",
                TargetKind::Node => "node",
            },
            asked.port
        );
        problems.push(Problem::new(Code::EndpointsNotFound, asked.at.clone(), message));
    }
}

/// Looks targets up in one snapshot.
struct Finder<'a> {
    endpoints: Endpoints<'a>,
    /// By port and labels.
    nodes: HashMap<(Port, BTreeMap<String, String>), Found>,
}

impl Finder<'_> {
    /// The targets of a Service's port; `pods` are those of its ports so far, by their places.
    fn found(
        &mut self,
        lead: &Lead,
        service: &Service,
        port: &ServicePort,
        pods: &mut HashMap<usize, Found>,
    ) -> Found {
        let endpoints = &self.endpoints;
        match (lead.kind, lead.port) {
            (TargetKind::Node, Some(port)) => self
                .nodes
                .entry((port, lead.node_labels.clone()))
                .or_insert_with(|| {
                    let selector = LabelSelector {
                        match_labels: lead.node_labels.clone(),
                        match_expressions: Vec::new(),
                    };
                    endpoints.nodes(port, &selector)
                })
                .clone(),
            (TargetKind::Node | TargetKind::Pod, _) => pods
                .entry(lead.place)
                .or_insert_with(|| endpoints.pods(service, port))
                .clone(),
        }
    }

    /// Pods that end before their connections may. Nobody chose the provider's default delay; a delay that somebody chose
    /// is to mean what it says.
    fn tell_hurried(&self, asked: &Asked, service: &Service) -> Option<Problem> {
        let delay = asked.drain_seconds?;
        let (pod, grace) = self.endpoints.shortest_grace(service)?;
        if grace >= i64::from(delay) {
            return None;
        }
        let message = format!(
            "Service {}: a pod that is removed may finish requests for {delay} s, but {} is killed after {grace} s and no \
             preStop hook waits",
            service.meta.name, pod.meta.name.name
        );
        Some(Problem::new(Code::GracePeriodShort, asked.at.clone(), message))
    }
}
