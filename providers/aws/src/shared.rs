//! What all load balancers need of nodes in, the backend security group and who lets it in out.
//!
//! An ALB reaches a pod or node port only if a security group of the network interface there lets it in. The groups of
//! nodes are not ours: on them we touch only permissions that carry our mark and let in our own group.

mod endpoints;
mod layout;
mod round;
mod shown;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{LoadBalancer, LoadBalancerId, Opening, Origin, Problem, Semantics};

pub use round::plan_shared;
pub use shown::resources;

use crate::account::Account;
use crate::compile::stands_behind_given;
use crate::kept;
use crate::names;
use crate::observed::{Observed, Owned, Owner, Shared};
use crate::resource::{Id, Permission, SecurityGroupId, Source};
use crate::settings::{BackendGroup, Settings};

/// First and last port.
pub type Ports = (u16, u16);

/// What one load balancer needs of what spans them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub semantics: Semantics,
    /// Through which group nodes are to let it in.
    pub through: Through,
    /// Its own group; none where it does not exist.
    pub own_group: Option<SecurityGroupId>,
    /// The groups that what stands of it is a member of. Traffic comes through them, whatever is asked for.
    pub standing: BTreeSet<SecurityGroupId>,
    /// By the group that guards the targets: the ports they serve on, with whose targets those are.
    pub opened: BTreeMap<SecurityGroupId, BTreeMap<Ports, Origin>>,
    /// Ports of targets whose group is not known: nobody is shut out from them, whichever group they are behind.
    pub unresolved: BTreeSet<Ports>,
    /// By the group that is let in: ports that somebody else asked for. They stay open where they are, and are opened
    /// nowhere.
    pub stays_open: BTreeMap<SecurityGroupId, BTreeMap<Ports, Origin>>,
    pub problems: Vec<Problem>,
}

/// Through which group of a load balancer nodes let it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// The one that all load balancers are members of.
    Backend,
    /// Its own.
    Own,
    /// One that somebody else opens nodes to.
    Given,
}

impl Demand {
    /// The groups that nodes let in for it: the one asked for, and until it is used the one that is.
    fn sources(&self, settings: &Settings, shared: &Shared) -> BTreeSet<SecurityGroupId> {
        let managed = shared.backend.as_ref().map(|owned| &owned.get().id);
        let given = match &settings.backend_group {
            BackendGroup::Given(id) => Some(id),
            BackendGroup::Managed | BackendGroup::Off => None,
        };
        let asked = match self.through {
            Through::Backend => given.or(managed),
            Through::Own => self.own_group.as_ref(),
            Through::Given => None,
        };
        let stands = |group: &&SecurityGroupId| self.standing.contains(*group);
        // It always stands in its own, which nodes let in only where there is no other.
        let own = self.own_group.as_ref().filter(|group| shared.lets_in(group));
        let used = given
            .filter(stands)
            .or(managed.filter(stands))
            .or(own.filter(stands));
        asked.into_iter().chain(used).cloned().collect()
    }

    /// Which of the ports that a permission opens somebody else asked for.
    fn asked_for<'a>(&'a self, permission: &Permission) -> impl Iterator<Item = (Ports, &'a Origin)> {
        let (first, last) = permission.ports.unwrap_or((0, u16::MAX));
        let of_source = match &permission.source {
            Source::Group(source) => self.stays_open.get(source),
            Source::Range(_) | Source::PrefixList(_) => None,
        };
        let all = of_source.into_iter().flatten();
        let both = all.map(move |(ports, origin)| ((ports.0.max(first), ports.1.min(last)), origin));
        both.filter(|(ports, _)| ports.0 <= ports.1)
    }

    /// Whether a target whose group is not known may be reached through this permission.
    fn may_need(&self, permission: &Permission) -> bool {
        let (first, last) = permission.ports.unwrap_or((0, u16::MAX));
        self.unresolved
            .iter()
            .any(|ports| ports.0 <= last && first <= ports.1)
    }
}

/// What this load balancer needs of what spans them all. Where nothing was observed of it yet, the account's listing
/// says what stands.
pub fn demand(
    settings: &Settings,
    balancer: &LoadBalancer,
    observed: Option<&Observed>,
    account: &Account,
) -> Demand {
    let listed;
    let observed = match observed {
        Some(observed) => observed,
        None => {
            listed = self::listed(settings, &balancer.id, account);
            &listed
        }
    };
    let backend = kept::backend_group(settings, None, account);
    let balancer = &*kept::settled(settings, balancer, observed, backend);
    let options = &balancer.options;
    let given = !options.open_nodes
        && !options.security_groups.is_empty()
        && stands_behind_given(settings, balancer, account, observed);
    let mut out = Demand {
        semantics: balancer.semantics,
        through: match &settings.backend_group {
            _ if given => Through::Given,
            BackendGroup::Off => Through::Own,
            BackendGroup::Managed | BackendGroup::Given(_) => Through::Backend,
        },
        own_group: None,
        standing: BTreeSet::new(),
        opened: BTreeMap::new(),
        unresolved: BTreeSet::new(),
        stays_open: BTreeMap::new(),
        problems: Vec::new(),
    };
    stands(observed, &mut out);
    endpoints::open(settings, balancer, account, &mut out);
    if given {
        out.problems.clear(); // who gives the groups opens the nodes
    }
    out
}

/// What a load balancer that nobody asks for any more uses while it stands. Which groups its targets are behind is not
/// asked: nobody is shut out from their ports.
pub fn uses(observed: &Observed) -> Demand {
    let specs = observed.target_groups.iter().map(|owned| &owned.get().spec);
    let ports = specs.flat_map(|spec| {
        let traffic = spec.targets.iter().map(|target| target.port);
        let health = spec.health.port.parse().ok();
        traffic.chain(health).chain(spec.target_control_port)
    });
    let mut out = Demand {
        // Of no account where nothing is opened.
        semantics: Semantics::Kubernetes,
        through: Through::Given,
        own_group: None,
        standing: BTreeSet::new(),
        opened: BTreeMap::new(),
        unresolved: ports.map(|port| (port, port)).collect(),
        stays_open: BTreeMap::new(),
        problems: Vec::new(),
    };
    stands(observed, &mut out);
    out
}

/// What it takes that these stay open. A group that is let in so is kept.
pub fn keeps_open(openings: &[Opening], semantics: Semantics) -> Demand {
    let mut stays_open = BTreeMap::<SecurityGroupId, BTreeMap<Ports, Origin>>::new();
    for opening in openings {
        let of_source = stays_open.entry(Id::new(opening.source.as_str())).or_default();
        of_source.insert(opening.ports, opening.origin.clone());
    }
    Demand {
        semantics,
        through: Through::Given,
        own_group: None,
        standing: stays_open.keys().cloned().collect(),
        opened: BTreeMap::new(),
        unresolved: BTreeSet::new(),
        stays_open,
        problems: Vec::new(),
    }
}

/// The groups of what stands.
fn stands(observed: &Observed, out: &mut Demand) {
    let own = observed.security_groups.iter();
    let mut own = own.filter(|owned| owned.resource() == names::MANAGED_SECURITY_GROUP);
    out.own_group = own.next().map(|owned| owned.get().id.clone());
    let all = observed.load_balancers.iter();
    // What stands in front reaches no node.
    let behind = all.filter(|owned| owned.resource() != names::FRONT);
    out.standing = behind
        .flat_map(|owned| owned.get().spec.security_groups.clone())
        .collect();
}

/// What the account's listing shows of it.
fn listed(settings: &Settings, id: &LoadBalancerId, account: &Account) -> Observed {
    let owner = Owner::load_balancer(&settings.cluster, id);
    let mut out = Observed::nothing(owner);
    let groups = account.listing.security_groups.iter();
    let groups = groups.filter_map(|state| Owned::read(&out.owner, &state.spec.tags, state.clone()));
    out.security_groups = groups.collect();
    let balancers = account.listing.load_balancers.iter();
    let balancers = balancers.filter_map(|state| Owned::read(&out.owner, &state.spec.tags, state.clone()));
    out.load_balancers = balancers.collect();
    let groups = account.listing.target_groups.iter();
    let groups = groups.filter_map(|state| Owned::read(&out.owner, &state.spec.tags, state.clone()));
    out.target_groups = groups.collect();
    out
}

/// A symbolic id names its logical one: `${SecurityGroup/nodes}` is `nodes`.
fn logical(group: &SecurityGroupId) -> &str {
    let inner = group.as_str().strip_prefix("${SecurityGroup/");
    inner
        .and_then(|rest| rest.strip_suffix('}'))
        .unwrap_or(group.as_str())
}
