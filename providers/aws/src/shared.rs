//! What all load balancers need of nodes in, the backend security group and who lets it in out.
//!
//! An ALB reaches a pod or node port only if a security group of the network interface there lets it in. The groups of
//! nodes are not ours: on them we touch only permissions that carry our mark and let in our own group.

mod endpoints;
mod layout;
mod round;
mod shown;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{LoadBalancer, LoadBalancerId, Origin, Problem, Semantics};

pub use round::plan_shared;
pub use shown::resources;

use crate::account::Account;
use crate::names;
use crate::observed::Owner;
use crate::resource::{Permission, SecurityGroupId, SecurityGroupSpec};
use crate::settings::{BackendGroup, Settings};

/// First and last port.
pub type Ports = (u16, u16);

/// What one load balancer needs of what spans them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub semantics: Semantics,
    /// Whether it is a member of the backend security group.
    pub backend_group: bool,
    /// Its own group, which nodes let in where there is no backend group; none where it does not exist yet.
    pub own_group: Option<SecurityGroupId>,
    /// By the group that guards the targets: the ports they serve on, with whose targets those are.
    pub opened: BTreeMap<SecurityGroupId, BTreeMap<Ports, Origin>>,
    /// Ports of targets whose group is not known: nobody is shut out from them, whichever group they are behind.
    pub unresolved: BTreeSet<Ports>,
    pub problems: Vec<Problem>,
}

impl Demand {
    /// Whether a target whose group is not known may be reached through this permission.
    fn may_need(&self, permission: &Permission) -> bool {
        let (first, last) = permission.ports.unwrap_or((0, u16::MAX));
        self.unresolved
            .iter()
            .any(|ports| ports.0 <= last && first <= ports.1)
    }
}

/// What this load balancer needs of what spans them all.
pub fn demand(settings: &Settings, balancer: &LoadBalancer, account: &Account) -> Demand {
    let options = &balancer.options;
    let mut out = Demand {
        semantics: balancer.semantics,
        backend_group: false,
        own_group: None,
        opened: BTreeMap::new(),
        unresolved: BTreeSet::new(),
        problems: Vec::new(),
    };
    if !options.security_groups.is_empty() && !options.open_nodes {
        return out; // who gives the groups opens the nodes
    }
    out.backend_group = settings.backend_group != BackendGroup::Off;
    out.own_group = own_group(settings, &balancer.id, account);
    endpoints::open(settings, balancer, account, &mut out);
    out
}

fn own_group(settings: &Settings, id: &LoadBalancerId, account: &Account) -> Option<SecurityGroupId> {
    let tags = Owner::load_balancer(&settings.cluster, id).tags(names::MANAGED_SECURITY_GROUP);
    let listed = &account.listing.security_groups;
    let has_all = |spec: &SecurityGroupSpec| {
        tags.0
            .iter()
            .all(|(key, value)| spec.tags.get(key) == Some(value))
    };
    listed
        .iter()
        .find(|state| has_all(&state.spec))
        .map(|state| state.id.clone())
}

/// A symbolic id names its logical one: `${SecurityGroup/nodes}` is `nodes`.
fn logical(group: &SecurityGroupId) -> &str {
    let inner = group.as_str().strip_prefix("${SecurityGroup/");
    inner
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(group.as_str())
}
