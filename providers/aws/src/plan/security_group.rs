//! The managed security group as desired and as it is in, calls that let in before calls that shut out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{Code, Refusals};

use super::refused::One;
use super::{Round, change, rules};
use crate::change::{Call, Change};
use crate::names;
use crate::resource::{Permission, SecurityGroupId, Source, kind};

/// What makes two permissions the same to EC2, which does not look at descriptions.
type Key<'a> = (&'a str, Option<(u16, u16)>, &'a Source);

fn key(permission: &Permission) -> Key<'_> {
    (&permission.protocol, permission.ports, &permission.source)
}

/// Those of `left` that are not in `right`.
pub(crate) fn without<'a>(
    left: impl IntoIterator<Item = &'a Permission>,
    right: impl IntoIterator<Item = &'a Permission>,
) -> BTreeSet<Permission> {
    let had: BTreeSet<Key<'_>> = right.into_iter().map(key).collect();
    left.into_iter()
        .filter(|permission| !had.contains(&key(permission)))
        .cloned()
        .collect()
}

/// Whether a group keeps what it lets in, because what replaces it was refused; unless for want of room, which is made
/// by taking away.
pub(crate) fn waits_for_others(refused: &Refusals<Change>, group: &SecurityGroupId) -> bool {
    refused.iter().any(|one| {
        let same =
            matches!(&one.change.call, Call::AuthorizeSecurityGroupIngress { group: of, .. } if of == group);
        same && one.error.code != Code::QuotaExceeded
    })
}

pub(super) fn create(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(desired) = &round.desired.security_group else {
        return;
    };
    let id = names::MANAGED_SECURITY_GROUP;
    let Some(state) = round.managed_group() else {
        let call = Call::CreateSecurityGroup {
            spec: desired.clone(),
        };
        changes.push(change::<kind::SecurityGroup>(
            id,
            call,
            format!("{} needs a load balancer", round.id),
        ));
        return;
    };
    let mut missing = without(&desired.permissions, &state.spec.permissions);
    missing.retain(|permission| !awaits_guards(round, permission));
    for permissions in parts(&round.observed.refused, &state.id, missing) {
        let call = Call::AuthorizeSecurityGroupIngress {
            group: state.id.clone(),
            permissions,
        };
        changes.push(change::<kind::SecurityGroup>(
            id,
            call,
            "clients are admitted to the ports listened on",
        ));
    }
}

/// Whether rules would let in whom this permission lets in, and are not to.
fn awaits_guards(round: &Round<'_>, permission: &Permission) -> bool {
    permission
        .ports
        .is_some_and(|(port, _)| rules::awaits_guards(round, port))
}

/// What is let in by one call each: EC2 takes all permissions of a call or none. Where it refused one for the sake of
/// what it names, ranges do not wait for lists, nor lists for each other.
fn parts(
    refused: &Refusals<Change>,
    group: &SecurityGroupId,
    missing: BTreeSet<Permission>,
) -> Vec<BTreeSet<Permission>> {
    let mut told = refused.iter();
    let is_split = told.any(|one| {
        matches!(
            one.error.code,
            Code::ResourceNotFound | Code::RequestRefused | Code::OptionUnsupported
        ) && authorized(one, group).is_some()
    });
    let mut parts: BTreeMap<Option<String>, BTreeSet<Permission>> = BTreeMap::new();
    for permission in missing {
        let part = match &permission.source {
            Source::PrefixList(list) if is_split => Some(list.clone()),
            Source::PrefixList(_) | Source::Range(_) | Source::Group(_) => None,
        };
        parts.entry(part).or_default().insert(permission);
    }
    parts.into_values().collect()
}

/// What a call was to let in to a group.
fn authorized<'a>(one: &'a One, group: &SecurityGroupId) -> Option<&'a BTreeSet<Permission>> {
    if let Call::AuthorizeSecurityGroupIngress {
        group: of,
        permissions,
    } = &one.change.call
    {
        return (of == group).then_some(permissions);
    }
    None
}

/// Whether other calls tell what is wrong with this one: it was asked for again in parts, and some were refused.
pub(super) fn is_told_by_parts(one: &One, all: &Refusals<Change>) -> bool {
    let Call::AuthorizeSecurityGroupIngress { group, permissions } = &one.change.call else {
        return false;
    };
    let mut others = all.iter().filter_map(|other| authorized(other, group));
    others.any(|part| part.len() < permissions.len() && part.is_subset(permissions))
}

/// Ports at which a group keeps what it lets in, because what replaces it was refused; unless for want of room, which is
/// made by taking away.
fn waiting_ports(
    refused: &Refusals<Change>,
    group: &SecurityGroupId,
    had: &BTreeSet<Permission>,
) -> BTreeSet<Option<(u16, u16)>> {
    let for_good = refused.iter().filter(|one| one.error.code != Code::QuotaExceeded);
    let asked = for_good
        .filter_map(|one| authorized(one, group))
        .flat_map(|permissions| without(permissions, had));
    asked.map(|permission| permission.ports).collect()
}

/// Shuts out who is not admitted, and deletes groups that nothing uses.
pub(super) fn revoke(round: &Round<'_>, changes: &mut Vec<Change>) {
    let kept = round.desired.security_group.as_ref().zip(round.managed_group());
    if let Some((desired, state)) = kept {
        let mut permissions = without(&state.spec.permissions, &desired.permissions);
        let had = &state.spec.permissions;
        let mut waiting = waiting_ports(&round.observed.refused, &state.id, had);
        let missing = without(&desired.permissions, had).into_iter();
        waiting.extend(missing.filter(|it| awaits_guards(round, it)).map(|it| it.ports));
        permissions.retain(|permission| !waiting.contains(&permission.ports));
        if !permissions.is_empty() {
            let call = Call::RevokeSecurityGroupIngress {
                group: state.id.clone(),
                permissions,
            };
            changes.push(change::<kind::SecurityGroup>(
                names::MANAGED_SECURITY_GROUP,
                call,
                "nobody else is admitted",
            ));
        }
    }
    for owned in &round.observed.security_groups {
        let id = &owned.get().id;
        let used = round
            .observed
            .load_balancers
            .iter()
            .any(|lb| lb.get().spec.security_groups.contains(id));
        if !used && !round.shared.lets_in(id) && kept.is_none_or(|(_, state)| state.id != *id) {
            let call = Call::DeleteSecurityGroup { group: id.clone() };
            changes.push(change::<kind::SecurityGroup>(
                owned.resource(),
                call,
                "no load balancer uses it",
            ));
        }
    }
}
