//! The members in; what they ask of load balancers and listeners by AWS's attributes, and the proxy does otherwise, told.

use portcullis_model::{Code, Port, Problem};

use super::annotations::attributes::Of;
use super::member::{Part, Wire, has_socket, standard};
use super::settings::{Merge, Settings};

/// Once for each member, whatever its rules. Where each group is a load balancer, its provider has them.
pub(super) fn tell(parts: &[Part<'_>], settings: &Settings, problems: &mut Vec<Problem>) {
    match settings.merge {
        Merge::ByGroup => return,
        Merge::OneLoadBalancer => {}
    }
    for part in parts {
        let whole = part.whole();
        let name = "load-balancer-attributes";
        for written in [whole.own(name), whole.class(name)].into_iter().flatten() {
            whole.tell_unheeded(Of::LoadBalancer, written, problems);
        }
        for (_, written) in part.annotations.family("listener-attributes.") {
            part.annotations.tell_unheeded(Of::Listener, written, problems);
        }
        tell_ports(part, settings, problems);
    }
}

/// An unusual port may have been chosen because only some networks reach it. Where it has no socket of its own and none of
/// the member's others has, all do who reach the proxy.
fn tell_ports(part: &Part<'_>, settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(written) = part.annotations.get("listen-ports") else {
        return;
    };
    for (wire, name) in [(Wire::Http, "HTTP"), (Wire::Https, "HTTPS")] {
        let others: Vec<Port> = part
            .asked
            .iter()
            .filter(|(port, asked)| **asked == wire && !has_socket(**port, wire, &settings.further))
            .map(|(port, _)| *port)
            .collect();
        let ports = match others.as_slice() {
            [] => continue,
            [port] => format!("port {port}"),
            [first, .., last] => format!("{} ports of {first} to {last}", others.len()),
        };
        let flag = format!("--also-{}", name.to_lowercase());
        let at = others.first().and_then(|port| part.served.get(port));
        let instead = match at.filter(|at| **at != standard(wire)) {
            Some(at) => format!("it is served at port {at} in its place"),
            None => format!(
                "it is served at the proxy's port for {name}, to all who reach that; inbound-cidrs bounds who they are"
            ),
        };
        let message = format!(
            "{name} at {ports} has no effect here: {instead}. {flag} of `portcullis serve` gives a port a listener of its own"
        );
        let at = part.annotations.origin(written);
        problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
    }
}
