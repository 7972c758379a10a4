//! What load balancers need of nodes and what is there in, the calls of one round out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{Code, LoadBalancerId, Plan, Problem};

use super::{Demand, Ports, Through, layout, logical};
use crate::account::Account;
use crate::change::{Call, Change};
use crate::names;
use crate::observed::{Owner, Shared};
use crate::plan::{change, refused, tags, waits_for_others, without};
use crate::resource::{Pairs, Permission, SecurityGroupId, SecurityGroupSpec, Source, kind};
use crate::settings::{BackendGroup, Settings};

/// The backend security group, where load balancers need one of ours.
pub(super) fn backend_group(
    settings: &Settings,
    demands: &BTreeMap<LoadBalancerId, Demand>,
    shared: &Shared,
    account: &Account,
) -> Option<SecurityGroupSpec> {
    let asks = |demand: &Demand| {
        settings.backend_group == BackendGroup::Managed && demand.through == Through::Backend
    };
    let stands = |demand: &Demand| {
        let group = shared.backend.as_ref().map(|owned| &owned.get().id);
        group.is_some_and(|group| demand.standing.contains(group))
    };
    let needed = demands.values().any(|demand| asks(demand) || stands(demand));
    needed.then(|| {
        let mut tags = settings.default_tags.clone();
        tags.extend(
            Owner::cluster(&settings.cluster)
                .tags(names::BACKEND_SECURITY_GROUP_TAG)
                .0,
        );
        SecurityGroupSpec {
            group_name: names::backend_security_group(&settings.cluster),
            description: names::BACKEND_SECURITY_GROUP_DESCRIPTION.into(),
            vpc_id: account.vpc.clone(),
            permissions: BTreeSet::new(),
            tags: Pairs(tags),
        }
    })
}

/// Permissions that the groups of nodes and pods should have, for each demand whose source is known.
pub(super) fn permissions(
    settings: &Settings,
    demands: &BTreeMap<LoadBalancerId, Demand>,
    shared: &Shared,
    account: &Account,
) -> (BTreeMap<SecurityGroupId, BTreeSet<Permission>>, Vec<Problem>) {
    let mut wishes: BTreeMap<(&SecurityGroupId, SecurityGroupId), Vec<layout::Wish<'_>>> = BTreeMap::new();
    let mark = if incumbent_stays(settings, account) {
        names::OWN_PERMISSION_MARK
    } else {
        names::NODE_PERMISSION_MARK
    };
    for demand in demands.values() {
        for source in demand.sources(settings, shared) {
            for (group, opened) in &demand.opened {
                let wish = opened
                    .iter()
                    .map(|(ports, origin)| (*ports, demand.semantics, origin));
                wishes.entry((group, source.clone())).or_default().extend(wish);
            }
        }
    }
    let ours = Ours::of(settings, demands, shared, account);
    for (group, marked) in &shared.marked {
        let marked = marked.iter().map(|marked| marked.permission());
        for permission in marked.filter(|permission| ours.has(group, permission) && is_range(permission)) {
            let Source::Group(source) = &permission.source else {
                continue;
            };
            for demand in demands.values() {
                let wish = demand
                    .asked_for(permission)
                    .map(|(ports, origin)| (ports, demand.semantics, origin));
                let mut wish = wish.peekable();
                if wish.peek().is_some() {
                    wishes.entry((group, source.clone())).or_default().extend(wish);
                }
            }
        }
    }
    let (mut out, mut problems) = (
        BTreeMap::<SecurityGroupId, BTreeSet<Permission>>::new(),
        Vec::new(),
    );
    for ((group, source), wishes) in wishes {
        let had = shared.marked.get(group);
        let permission = |ports: Ports| Permission {
            description: mark.into(),
            ..Permission::tcp(ports.0, ports.1, Source::Group(source.clone()))
        };
        let all = out.entry(group.clone()).or_default();
        let room = account
            .quotas
            .permissions
            .saturating_sub(others(account, group))
            .saturating_sub(all.len());
        let (existing, new): (Vec<_>, Vec<_>) =
            layout::ranges(&wishes).into_iter().partition(|(ports, _)| {
                had.is_some_and(|had| {
                    let wanted = permission(*ports);
                    had.iter().map(|marked| marked.permission()).any(|permission| {
                        (permission.ports, &permission.source) == (wanted.ports, &wanted.source)
                    })
                })
            });
        for (place, (ports, origin)) in existing.into_iter().chain(new).enumerate() {
            if place < room {
                all.insert(permission(ports));
            } else {
                let message = format!(
                    "security group {group} has room for {} permissions: port {} stays shut to the load balancer",
                    account.quotas.permissions, ports.0
                );
                problems.push(Problem::new(Code::LimitExceeded, origin.clone(), message));
            }
        }
    }
    (out, problems)
}

/// Whether a permission is of the kind that is laid out here.
fn is_range(permission: &Permission) -> bool {
    permission.protocol == "tcp" && permission.ports.is_some()
}

/// How many permissions of a group are not ours to count on.
fn others(account: &Account, group: &SecurityGroupId) -> usize {
    let state = account
        .listing
        .security_groups
        .iter()
        .find(|state| state.id == *group);
    let ours = |permission: &&Permission| names::is_marked(&permission.description);
    state.map_or(0, |state| {
        state.spec.permissions.iter().filter(|p| !ours(p)).count()
    })
}

/// One round for what spans load balancers.
pub fn plan_shared(
    settings: &Settings,
    demands: &BTreeMap<LoadBalancerId, Demand>,
    shared: &Shared,
    account: &Account,
) -> (Plan<Change>, Vec<Problem>) {
    let mut changes = Vec::new();
    let backend = backend_group(settings, demands, shared, account);
    match (&backend, &shared.backend) {
        (Some(spec), None) => {
            let call = Call::CreateSecurityGroup { spec: spec.clone() };
            let reason = "nodes let in the members of this group";
            changes.push(change::<kind::SecurityGroup>(
                names::BACKEND_SECURITY_GROUP,
                call,
                reason,
            ));
        }
        (Some(spec), Some(owned)) => {
            let (tags, _) = tags::difference(&spec.tags, &owned.get().spec.tags, tags::Surplus::Kept);
            if !tags.is_empty() {
                let call = Call::CreateTags {
                    group: owned.get().id.clone(),
                    tags,
                };
                changes.push(change::<kind::SecurityGroup>(
                    names::BACKEND_SECURITY_GROUP,
                    call,
                    "its tags differ",
                ));
            }
        }
        (None, _) => {}
    }

    let (desired, limits) = permissions(settings, demands, shared, account);
    let nothing = BTreeSet::new();
    let ours = Ours::of(settings, demands, shared, account);
    let groups: BTreeSet<&SecurityGroupId> = desired.keys().chain(shared.marked.keys()).collect();
    let beside_incumbent = incumbent_stays(settings, account);
    let mut left = beside_incumbent;
    for group in groups {
        let wanted = desired.get(group).unwrap_or(&nothing);
        let marked = shared
            .marked
            .get(group)
            .into_iter()
            .flatten()
            .map(|marked| marked.permission());
        let marked: Vec<&Permission> = marked.collect();
        let own = marked.iter().copied();
        let had: Vec<&Permission> = own.filter(|permission| ours.has(group, permission)).collect();
        left |= !had.is_empty();
        let by_others = let_in_by_others(account, group);
        let add = without(wanted, marked.iter().copied().chain(by_others));
        let mut revoke = without(had.iter().copied(), wanted);
        let blind = demands
            .values()
            .filter(|demand| !demand.sources(settings, shared).is_empty());
        revoke.retain(|permission| !blind.clone().any(|demand| demand.may_need(permission)));
        // What cannot be laid out anew stays as it is.
        revoke.retain(|permission| {
            let asks = |demand: &Demand| demand.asked_for(permission).next().is_some();
            is_range(permission) || !demands.values().any(asks)
        });
        // Which of those with its own mark the incumbent needs is for it to say.
        revoke.retain(|permission| !beside_incumbent || permission.description == names::OWN_PERMISSION_MARK);
        let full = others(account, group) + had.len() + add.len() > account.quotas.permissions;
        let authorize = (!add.is_empty()).then(|| {
            let call = Call::AuthorizeSecurityGroupIngress {
                group: group.clone(),
                permissions: add,
            };
            change::<kind::SecurityGroup>(
                logical(group),
                call,
                "targets serve load balancers on these ports",
            )
        });
        let revokes = !revoke.is_empty() && !waits_for_others(&shared.refused, group);
        let revoke = revokes.then(|| {
            let call = Call::RevokeSecurityGroupIngress {
                group: group.clone(),
                permissions: revoke,
            };
            change::<kind::SecurityGroup>(
                logical(group),
                call,
                "no target serves a load balancer on these ports",
            )
        });
        // Let in before shutting out, unless there is no room for both.
        changes.extend(
            if full {
                [revoke, authorize]
            } else {
                [authorize, revoke]
            }
            .into_iter()
            .flatten(),
        );
    }
    if let (None, Some(owned), false) = (&backend, &shared.backend, left) {
        let call = Call::DeleteSecurityGroup {
            group: owned.get().id.clone(),
        };
        let reason = "no load balancer is a member of it";
        changes.push(change::<kind::SecurityGroup>(
            names::BACKEND_SECURITY_GROUP,
            call,
            reason,
        ));
    }
    changes.retain(|change| !refused::holds(&shared.refused, &change.call));
    let problems = demands
        .values()
        .flat_map(|demand| demand.problems.clone())
        .chain(limits)
        .collect();
    (Plan { changes }, problems)
}

/// Whether the incumbent serves Services or Gateways of the cluster beside us: what it makes for them is a member of the
/// same backend group, and it revokes what carries its mark and is not its own. So ours has another mark, and nothing is
/// shut that it may need. Those that have security groups of their own are known by themselves alone.
fn incumbent_stays(settings: &Settings, account: &Account) -> bool {
    let listing = &account.listing;
    let groups = listing.security_groups.iter().map(|state| &state.spec.tags);
    let balancers = listing.load_balancers.iter().map(|state| &state.spec.tags);
    groups.chain(balancers).any(|tags| {
        let stack = names::INCUMBENTS_STACK_TAGS
            .iter()
            .any(|tag| tags.get(tag).is_some());
        stack && tags.get(names::CLUSTER_TAG) == Some(settings.cluster.as_str())
    })
}

/// Whether a marked permission is ours: it lets in a group of our cluster. Those that let in others belong to other
/// clusters.
struct Ours<'a> {
    settings: &'a Settings,
    account: &'a Account,
    groups: BTreeSet<&'a SecurityGroupId>,
}

impl<'a> Ours<'a> {
    fn of(
        settings: &'a Settings,
        demands: &'a BTreeMap<LoadBalancerId, Demand>,
        shared: &'a Shared,
        account: &'a Account,
    ) -> Self {
        let cluster = Some(settings.cluster.as_str());
        let listed = account.listing.security_groups.iter();
        let listed = listed.filter(|state| state.spec.tags.get(names::CLUSTER_TAG) == cluster);
        let backend = shared.backend.iter().map(|owned| &owned.get().id);
        let made_since = demands.values().filter_map(|demand| demand.own_group.as_ref());
        let groups = listed.map(|state| &state.id).chain(backend).chain(made_since);
        Self {
            settings,
            account,
            groups: groups.chain(&shared.let_in).collect(),
        }
    }

    fn has(&self, group: &SecurityGroupId, permission: &Permission) -> bool {
        let Source::Group(source) = &permission.source else {
            return false;
        };
        let given = matches!(&self.settings.backend_group, BackendGroup::Given(id) if id == source);
        self.groups.contains(source) || given && !self.is_of_another_cluster(group)
    }

    /// Clusters may have one given group in common, and then the permissions of each are on its own nodes.
    fn is_of_another_cluster(&self, group: &SecurityGroupId) -> bool {
        let mut listed = self.account.listing.security_groups.iter();
        let tags = listed
            .find(|state| state.id == *group)
            .map(|state| &state.spec.tags);
        let own = format!("{CLUSTER}{}", self.settings.cluster);
        tags.is_some_and(|tags| {
            let mut all = tags.0.keys().filter(|key| key.starts_with(CLUSTER)).peekable();
            all.peek().is_some() && !all.any(|key| *key == own)
        })
    }
}

/// Before the name of a cluster, the tag of what is the cluster's.
const CLUSTER: &str = "kubernetes.io/cluster/";

/// What is let in without our mark, as the account was last read: EC2 takes no second permission of the same kind.
fn let_in_by_others<'a>(
    account: &'a Account,
    group: &SecurityGroupId,
) -> impl Iterator<Item = &'a Permission> {
    let listed = account.listing.security_groups.iter();
    let state = listed.filter(move |state| state.id == *group);
    let all = state.flat_map(|state| &state.spec.permissions);
    all.filter(|permission| !names::is_marked(&permission.description))
}
