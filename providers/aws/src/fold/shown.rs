//! What is observed in, what a status shows of it out.

use portcullis_model::Address;

use crate::observed::Observed;
use crate::resource::{Kind, kind};

/// Where clients find it, once it exists.
pub fn address(observed: &Observed) -> Option<Address> {
    let first = observed.load_balancers.first()?;
    Some(Address::Hostname(first.get().dns_name.to_ascii_lowercase()))
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
            out.push((kind::Listener::NAME, port.to_string(), listener.arn.to_string()));
            for rule in &listener.rules {
                let id = format!("{port}:{}", rule.spec.priority);
                out.push((kind::ListenerRule::NAME, id, rule.arn.to_string()));
            }
        }
    }
    out
}
