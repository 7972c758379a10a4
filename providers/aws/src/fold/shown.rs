//! What is observed in, what a status shows of it out.

use portcullis_model::Address;

use crate::names;
use crate::observed::{LoadBalancerState, Observed};
use crate::resource::{Kind, kind};

/// Where clients find it, once it exists.
pub fn address(observed: &Observed) -> Option<Address> {
    observed.load_balancer().map(host_name)
}

/// Of the load balancer in front of it.
pub fn further_addresses(observed: &Observed) -> Vec<Address> {
    observed.front().map(host_name).into_iter().collect()
}

fn host_name(state: &LoadBalancerState) -> Address {
    Address::Hostname(state.dns_name.to_ascii_lowercase())
}

/// Kind, logical id and ARN or id of each resource that exists, in the order in which they are made.
pub fn inventory(observed: &Observed) -> Vec<(&'static str, String, String)> {
    let mut out = Vec::new();
    for owned in &observed.security_groups {
        out.push((
            kind::SecurityGroup::NAME,
            owned.resource().to_owned(),
            owned.get().id.to_string(),
        ));
    }
    for owned in &observed.target_groups {
        out.push((
            kind::TargetGroup::NAME,
            owned.resource().to_owned(),
            owned.get().arn.to_string(),
        ));
    }
    for owned in &observed.load_balancers {
        let state = owned.get();
        out.push((
            kind::LoadBalancer::NAME,
            owned.resource().to_owned(),
            state.arn.to_string(),
        ));
        for (port, listener) in &state.listeners {
            let name = match owned.resource() {
                names::FRONT => names::front_listener_id(*port),
                _ => port.to_string(),
            };
            out.push((kind::Listener::NAME, name, listener.arn.to_string()));
            for rule in &listener.rules {
                let id = format!("{port}:{}", rule.spec.priority);
                out.push((kind::ListenerRule::NAME, id, rule.arn.to_string()));
            }
        }
    }
    out
}
