//! A Service port that something besides an Ingress asks for in, the targets it leads to out.

use std::sync::Arc;

use portcullis_model::{Code, ObjectName, Origin, Port, Problem, Target};

use super::backends::find_port;
use super::endpoints::Endpoints;
use super::settings::Settings;
use crate::cluster::labels::LabelSelector;
use crate::cluster::object::{IpFamily, PortRef};
use crate::cluster::snapshot::Snapshot;

/// What a target group takes.
#[derive(Clone, Copy, Debug)]
pub enum TargetsOf<'a> {
    /// Their addresses of this family: it takes no others.
    Pods(IpFamily),
    /// Those that the labels choose.
    Nodes(&'a LabelSelector),
}

/// The targets of a Service port; none at all where the Service has gone. No answer where what is asked for is wrong:
/// what is registered stays. `at` says where a field of `serviceRef` stands.
pub fn service_targets(
    snapshot: &Snapshot,
    settings: &Settings,
    (service, port): (&ObjectName, &PortRef),
    kind: TargetsOf<'_>,
    at: impl Fn(&str) -> Origin,
) -> (Option<Arc<[Target]>>, Vec<Problem>) {
    let told = |code, field: &str, message: String| vec![Problem::new(code, at(field), message)];
    let Some(found) = snapshot.services.get(service) else {
        let message = format!("there is no Service {service}");
        return (Some([].into()), told(Code::ServiceNotFound, "name", message));
    };
    let Some((_, service_port)) = find_port(found, port) else {
        let message = format!("Service {service} has no such TCP port");
        return (None, told(Code::ServicePortNotFound, "port", message));
    };
    let endpoints = Endpoints::new(snapshot, settings.addresses, settings.controller.semantics());
    let found = match kind {
        TargetsOf::Pods(family) => endpoints.pods_of(found, service_port, &[family]),
        TargetsOf::Nodes(nodes) => match service_port.node_port.and_then(|port| Port::new(port).ok()) {
            Some(port) => endpoints.nodes(port, nodes),
            None => {
                let message = format!("Service {service} has no node port, which its target group needs");
                return (None, told(Code::ServiceHasNoNodePort, "name", message));
            }
        },
    };
    let refused = found.refused.iter();
    let problems = refused.map(|refused| Problem::new(Code::TargetRefused, at("name"), refused.to_string()));
    (Some(found.targets), problems.collect())
}
