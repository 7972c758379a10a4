//! Targets and the account's network interfaces in, the security groups that guard them and the ports to open out.

use std::collections::BTreeSet;

use portcullis_model::{
    Action, Backend, BackendId, Code, HealthPort, LoadBalancer, Problem, Target, TargetAddress, TargetState,
};

use super::{Demand, Ports};
use crate::account::{Account, Fact, Interface};
use crate::compile::reaches;
use crate::resource::SecurityGroupId;
use crate::settings::{NodePorts, Settings};

/// Adds what must be let in for a load balancer to reach its targets and their health checks.
pub(super) fn open(settings: &Settings, balancer: &LoadBalancer, account: &Account, demand: &mut Demand) {
    for id in used(balancer) {
        let Some(backend) = balancer
            .backends
            .get(id)
            .filter(|backend| reaches(balancer, backend))
        else {
            continue;
        };
        let (mut lost, mut unclear) = (BTreeSet::new(), BTreeSet::new());
        for target in backend
            .targets
            .iter()
            .filter(|target| target.state == TargetState::Ready)
        {
            let group = match &account.interfaces {
                Fact::Symbolic => SecurityGroupId::symbolic("nodes"),
                Fact::Read(interfaces) => {
                    let address = match &target.address {
                        TargetAddress::Ip(ip) => interfaces.with_address(*ip),
                        TargetAddress::Instance(id) => interfaces.of_instance(id),
                    };
                    let machine = || target.instance.as_ref().and_then(|id| interfaces.of_instance(id));
                    match address
                        .or_else(machine)
                        .map(|interface| guard(settings, account, interface))
                    {
                        Some(Guard::Only(group)) => group,
                        Some(Guard::OneOf(group)) => {
                            unclear.insert(group.clone());
                            group
                        }
                        Some(Guard::Missing) | None => {
                            lost.insert(target.address.to_string());
                            demand.unresolved.extend(needed(settings, backend, target));
                            continue;
                        }
                    }
                }
            };
            for ports in needed(settings, backend, target) {
                demand
                    .opened
                    .entry(group.clone())
                    .or_default()
                    .entry(ports)
                    .or_insert_with(|| backend.origin.clone());
            }
        }
        demand.problems.extend(told(backend, &lost, &unclear));
    }
}

fn told(backend: &Backend, lost: &BTreeSet<String>, unclear: &BTreeSet<SecurityGroupId>) -> Vec<Problem> {
    let mut out = Vec::new();
    let list = |texts: Vec<&str>| texts.join(", ");
    if !lost.is_empty() {
        let message = format!(
            "backend {}: no network interface of the VPC has {}, so nothing can let the load balancer in",
            backend.id,
            list(lost.iter().map(String::as_str).collect())
        );
        out.push(Problem::new(
            Code::TargetUnresolvable,
            backend.origin.clone(),
            message,
        ));
    }
    if !unclear.is_empty() {
        let message = format!(
            "backend {}: several security groups guard its targets and not exactly one is tagged for the cluster; {} is opened",
            backend.id,
            list(unclear.iter().map(SecurityGroupId::as_str).collect())
        );
        out.push(Problem::new(
            Code::SecurityGroupAmbiguous,
            backend.origin.clone(),
            message,
        ));
    }
    out
}

/// Backends that a rule or default action forwards to.
fn used(balancer: &LoadBalancer) -> BTreeSet<&BackendId> {
    let rules = balancer.rules.iter().map(|rule| &rule.action);
    let defaults = balancer
        .listeners
        .values()
        .map(|listener| &listener.default_action);
    let forwards = rules.chain(defaults).filter_map(|action| match action {
        Action::Forward(forward) => Some(&forward.backends),
        Action::Redirect(_) | Action::Fixed(_) => None,
    });
    forwards.flatten().map(|part| &part.backend).collect()
}

fn needed(settings: &Settings, backend: &Backend, target: &Target) -> Vec<Ports> {
    match settings.node_ports {
        NodePorts::Every => vec![(0, u16::MAX)],
        NodePorts::Needed => {
            let traffic = target.port.get();
            let health = match backend.health.port {
                HealthPort::Traffic => traffic,
                HealthPort::Fixed(port) => port.get(),
            };
            let control = backend.control_port.map(portcullis_model::Port::get);
            let all = [Some(traffic), Some(health), control];
            all.into_iter().flatten().map(|port| (port, port)).collect()
        }
    }
}

/// Which group of an interface is opened.
enum Guard {
    Only(SecurityGroupId),
    /// One of several, always the same.
    OneOf(SecurityGroupId),
    Missing,
}

fn guard(settings: &Settings, account: &Account, interface: &Interface) -> Guard {
    if let [only] = interface.groups.as_slice() {
        return Guard::Only(only.clone());
    }
    let tag = format!("kubernetes.io/cluster/{}", settings.cluster);
    let listed = &account.listing.security_groups;
    let tagged = |id: &&SecurityGroupId| {
        listed
            .iter()
            .any(|state| state.id == **id && state.spec.tags.get(&tag).is_some())
    };
    let of_cluster: Vec<&SecurityGroupId> = interface.groups.iter().filter(tagged).collect();
    match of_cluster.as_slice() {
        [only] => Guard::Only((*only).clone()),
        several => {
            let lowest = several
                .iter()
                .copied()
                .min()
                .or_else(|| interface.groups.iter().min());
            lowest.map_or(Guard::Missing, |group| Guard::OneOf(group.clone()))
        }
    }
}
