//! What is observed in, what a status shows of it out.

use portcullis_model::{Address, Existing, Listed, LoadBalancerId};

use crate::account::Account;
use crate::names;
use crate::observed::{LoadBalancerState, Observed, Owned, Owner, TargetGroupState};
use crate::plan::is_foreign;
use crate::resource::{Kind, kind};

/// Where clients find it, once it exists.
pub fn address(observed: &Observed) -> Option<Address> {
    // Clients must not be sent to one of that name that turned out to be somebody else's.
    let ours = |state: &&LoadBalancerState| !is_foreign(&observed.refused, state.arn.as_str());
    observed.load_balancer().filter(ours).map(host_name)
}

/// Of the load balancer in front of it.
pub fn further_addresses(observed: &Observed) -> Vec<Address> {
    observed.front().map(host_name).into_iter().collect()
}

fn host_name(state: &LoadBalancerState) -> Address {
    Address::Hostname(state.dns_name.to_ascii_lowercase())
}

/// The target groups that exist, by the logical ids of backends.
pub fn backends(observed: &Observed) -> Vec<Existing> {
    let groups = observed.target_groups.iter();
    groups
        .map(|owned| existing(owned.resource(), owned.get()))
        .collect()
}

/// Whose target group has this name: names are unique in a Region.
pub fn listed(cluster: &str, account: &Account, name: &str) -> Listed {
    let groups = &account.listing.target_groups;
    let Some(state) = groups.iter().find(|state| state.spec.name == name) else {
        return Listed::Nowhere;
    };
    let stack = state.spec.tags.get(names::STACK_TAG).map(LoadBalancerId::parse);
    let ours = stack.and_then(|id| {
        let owner = Owner::load_balancer(cluster, &id);
        let owned = Owned::read(&owner, &state.spec.tags, ())?;
        Some(Listed::Ours(id, existing(owned.resource(), state)))
    });
    ours.unwrap_or(Listed::Foreign)
}

fn existing(id: &str, state: &TargetGroupState) -> Existing {
    Existing {
        id: id.to_owned(),
        name: state.spec.name.clone(),
        handle: state.arn.to_string(),
    }
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
    for owned in &observed.certificates {
        out.push((
            kind::Certificate::NAME,
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
