//! A load balancer that no controller made and what is asked for in, the tags that make it ours out.
//!
//! Ownership is tags alone, so bringing one in is tagging it. What would come of it is planned beforehand: from an
//! account in which the tags are there already.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::LoadBalancerId;
use thiserror::Error;

use crate::account::{Account, Fact};
use crate::change::{Call, Change};
use crate::names;
use crate::observed::{LoadBalancerState, Observed, Owner};
use crate::plan::change;
use crate::resource::{Kind, Pairs, TargetDescription, TargetGroupArn, TargetGroupSpec, kind};

/// Why a load balancer cannot be brought in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    #[error("there is no load balancer {0} in the Region")]
    NotFound(String),
    #[error("load balancer {0} is no Application Load Balancer of the VPC")]
    Elsewhere(String),
    #[error("load balancer {name} is a controller's already: its tag {tag} says {value:?}")]
    Owned {
        name: String,
        tag: &'static str,
        value: String,
    },
    #[error("{id} has a load balancer already: {name}")]
    Occupied { id: LoadBalancerId, name: String },
}

/// Tags by which controllers own things.
const OWNERS: [&str; 3] = [names::CLUSTER_TAG, names::LEGACY_CLUSTER_TAG, names::STACK_TAG];

fn owner_of(tags: &Pairs) -> Option<(&'static str, String)> {
    let mut all = OWNERS.iter().chain(&names::INCUMBENTS_STACK_TAGS);
    all.find_map(|tag| Some((*tag, tags.get(tag)?.to_owned())))
}

/// Whether nobody owns it, and it can become the one of this id.
pub fn fits(account: &Account, cluster: &str, id: &LoadBalancerId, arn: &str) -> Result<(), Unfit> {
    let listed = &account.listing.load_balancers;
    let state = listed.iter().find(|state| state.arn.as_str() == arn);
    let state = state.ok_or_else(|| Unfit::NotFound(arn.to_owned()))?;
    let name = || state.spec.name.clone();
    let here = |state: &LoadBalancerState| match &account.subnets {
        Fact::Read(subnets) => state
            .spec
            .subnets
            .iter()
            .all(|id| subnets.iter().any(|subnet| subnet.id == *id)),
        Fact::Symbolic => true,
    };
    if state.spec.kind != "application" || !here(state) {
        return Err(Unfit::Elsewhere(name()));
    }
    if let Some((tag, value)) = owner_of(&state.spec.tags) {
        return Err(Unfit::Owned {
            name: name(),
            tag,
            value,
        });
    }
    let own = Owner::load_balancer(cluster, id).tags(names::LOAD_BALANCER);
    let owned = listed.iter().find(|other| {
        own.0
            .iter()
            .all(|(key, value)| other.spec.tags.get(key) == Some(value))
    });
    match owned {
        Some(other) => Err(Unfit::Occupied {
            id: id.clone(),
            name: other.spec.name.clone(),
        }),
        None => Ok(()),
    }
}

/// The account as it would be if this load balancer, and these target groups by logical id, were tagged.
pub fn tagged(
    account: &Account,
    cluster: &str,
    id: &LoadBalancerId,
    arn: &str,
    groups: &BTreeMap<TargetGroupArn, String>,
) -> Account {
    let owner = Owner::load_balancer(cluster, id);
    let mut account = account.clone();
    for state in account
        .listing
        .load_balancers
        .iter_mut()
        .filter(|state| state.arn.as_str() == arn)
    {
        state.spec.tags.0.extend(owner.tags(names::LOAD_BALANCER).0);
    }
    for state in &mut account.listing.target_groups {
        if let Some(resource) = groups.get(&state.arn) {
            state.spec.tags.0.extend(owner.tags(resource).0);
        }
    }
    account
}

/// Target groups that its rules and default actions forward to, and that nobody owns.
pub fn used(account: &Account, observed: &Observed) -> BTreeSet<TargetGroupArn> {
    let balancers = observed
        .load_balancers
        .iter()
        .flat_map(|owned| owned.get().listeners.values());
    let actions = balancers.flat_map(|listener| {
        let of_rules = listener.rules.iter().flat_map(|rule| &rule.spec.actions);
        listener.spec.default_actions.iter().chain(of_rules)
    });
    let named: BTreeSet<&TargetGroupArn> = actions.flat_map(|action| action.target_groups()).collect();
    let free = account
        .listing
        .target_groups
        .iter()
        .filter(|state| owner_of(&state.spec.tags).is_none());
    free.map(|state| state.arn.clone())
        .filter(|arn| named.contains(arn))
        .collect()
}

/// Which of the target groups there are is which that is asked for: of the same kind, and with targets in common; the
/// most first.
pub fn matches(
    desired: &BTreeMap<String, TargetGroupSpec>,
    existing: &BTreeMap<TargetGroupArn, TargetGroupSpec>,
) -> BTreeMap<TargetGroupArn, String> {
    let key = |target: &TargetDescription| (target.id.clone(), target.port);
    let keys = |spec: &TargetGroupSpec| spec.targets.iter().map(key).collect::<BTreeSet<_>>();
    let mut pairs = Vec::new();
    for (id, wanted) in desired {
        for (arn, had) in existing.iter().filter(|(_, had)| !wanted.replaces(had)) {
            let common = keys(wanted).intersection(&keys(had)).count();
            if common > 0 {
                pairs.push((std::cmp::Reverse(common), id, arn));
            }
        }
    }
    pairs.sort();
    let (mut out, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (_, id, arn) in pairs {
        if !taken.contains(id) && !out.contains_key(arn) {
            taken.insert(id);
            out.insert(arn.clone(), id.clone());
        }
    }
    out
}

/// The calls that tag what was observed in the tagged account. The tags themselves are not there yet.
pub fn tags(cluster: &str, id: &LoadBalancerId, observed: &Observed) -> Vec<Change> {
    fn tag<K: Kind>(owner: &Owner, arn: &str, resource: &str) -> Change {
        let call = Call::AddTags {
            arn: arn.to_owned(),
            tags: owner.tags(resource),
        };
        change::<K>(resource, call, "it becomes part of the load balancer")
    }
    let owner = Owner::load_balancer(cluster, id);
    let mut changes = Vec::new();
    for owned in &observed.target_groups {
        changes.push(tag::<kind::TargetGroup>(
            &owner,
            owned.get().arn.as_str(),
            owned.resource(),
        ));
    }
    for owned in &observed.load_balancers {
        let state = owned.get();
        for (port, listener) in &state.listeners {
            changes.push(tag::<kind::Listener>(
                &owner,
                listener.arn.as_str(),
                &port.to_string(),
            ));
            for rule in &listener.rules {
                let resource = format!("{port}:{}", rule.spec.priority);
                changes.push(tag::<kind::ListenerRule>(&owner, rule.arn.as_str(), &resource));
            }
        }
        // Last: whoever is broken off before it has changed nothing that anybody reads.
        changes.push(tag::<kind::LoadBalancer>(
            &owner,
            state.arn.as_str(),
            owned.resource(),
        ));
    }
    changes
}
