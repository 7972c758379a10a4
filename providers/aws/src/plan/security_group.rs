//! The managed security group as desired and as it is in, calls that let in before calls that shut out.

use std::collections::BTreeSet;

use portcullis_model::{Code, Refusals};

use super::{Round, change};
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
    let permissions = without(&desired.permissions, &state.spec.permissions);
    if !permissions.is_empty() {
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

/// Shuts out who is not admitted, and deletes groups that nothing uses.
pub(super) fn revoke(round: &Round<'_>, changes: &mut Vec<Change>) {
    let kept = round.desired.security_group.as_ref().zip(round.managed_group());
    if let Some((desired, state)) = kept {
        let permissions = without(&state.spec.permissions, &desired.permissions);
        if !permissions.is_empty() && !waits_for_others(&round.observed.refused, &state.id) {
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
