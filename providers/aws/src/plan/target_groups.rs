//! Target groups as desired and as they are in, calls that bring both together out.
//!
//! A group that must be replaced is made first and deleted when no rule forwards to it any more. New targets are
//! registered before others leave.

use std::collections::{BTreeMap, BTreeSet};

use super::{Round, attributes, awaited, change, field, is_foreign, refused};
use crate::change::{Call, Change};
use crate::compile::{Desired, is_alias};
use crate::limits::TARGETS_PER_CALL;
use crate::names;
use crate::observed::{Observed, Owned, TargetGroupState};
use crate::resource::{Pairs, TargetDescription, TargetGroupArn, TargetGroupSpec, kind};

/// Of the groups that exist, the one to keep for each that is desired.
pub(super) fn kept<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
) -> BTreeMap<&'a str, &'a TargetGroupState> {
    let mut out: BTreeMap<&'a str, &'a TargetGroupState> = BTreeMap::new();
    for owned in &observed.target_groups {
        if let Some((id, wanted)) = desired.target_groups.get_key_value(owned.resource())
            && !wanted.replaces(&owned.get().spec)
            && !is_foreign(&observed.refused, owned.get().arn.as_str())
        {
            out.entry(id.as_str()).or_insert(owned.get());
        }
    }
    // Under another id: of two that could be kept, the one that need not change.
    for as_it_is in [true, false] {
        for (id, wanted) in &desired.target_groups {
            if out.contains_key(id.as_str()) {
                continue;
            }
            let fits = |owned: &&Owned<TargetGroupState>| {
                let spec = &owned.get().spec;
                // What this cluster alone registers does not become what others do, too.
                let equal = !desired.joint.contains_key(id)
                    && spec.health == wanted.health
                    && differing(&wanted.attributes, &spec.attributes).is_empty();
                !out.values().any(|kept| kept.arn == owned.get().arn)
                    && !desired.target_groups.contains_key(owned.resource())
                    && !wanted.replaces(spec)
                    && (equal || !as_it_is)
            };
            let aliases = desired.aliases.get(id).into_iter().flatten();
            let found = aliases.into_iter().find_map(|alias| {
                let mut all = observed.target_groups.iter();
                all.find(|owned| is_alias(owned.resource(), std::slice::from_ref(alias)) && fits(owned))
            });
            if let Some(owned) = found {
                out.insert(id.as_str(), owned.get());
            }
        }
    }
    out
}

/// Groups that nothing forwards to count against the quota and serve nobody.
pub(super) fn delete_surplus(round: &Round<'_>, changes: &mut Vec<Change>) {
    let used: BTreeSet<&TargetGroupArn> = round.used_target_groups().collect();
    for owned in &round.observed.target_groups {
        let arn = &owned.get().arn;
        let kept = round.target_groups.values().any(|state| state.arn == *arn);
        // Ids of backends hold a slash; others, such as those of a network load balancer in front, are not of rules.
        let of_rules = owned.resource().contains('/');
        let foreign = is_foreign(&round.observed.refused, arn.as_str());
        if of_rules && !kept && !foreign && !used.contains(arn) {
            let call = Call::DeleteTargetGroup { arn: arn.clone() };
            changes.push(change::<kind::TargetGroup>(
                owned.resource(),
                call,
                "no rule forwards to it",
            ));
        }
    }
}

/// Makes groups and registers targets.
pub(super) fn create(round: &Round<'_>, changes: &mut Vec<Change>) {
    for (id, desired) in &round.desired.target_groups {
        let Some(state) = round.target_groups.get(id.as_str()) else {
            if refused::lacks_target_group(&round.observed.refused, id) {
                continue;
            }
            // Names are given once: one that exists may have been this one's under another id.
            let mut spec = desired.clone();
            while round.names.contains(spec.name.as_str()) {
                spec.name = names::another(&spec.name);
            }
            let call = Call::CreateTargetGroup { spec };
            changes.push(change::<kind::TargetGroup>(id, call, "a rule forwards to it"));
            continue;
        };
        let (arn, spec) = (&state.arn, &state.spec);
        for targets in chunks(desired.targets.difference(&spec.targets)) {
            let reason = format!("{} may have requests", count(&targets));
            let call = Call::RegisterTargets {
                arn: arn.clone(),
                targets,
            };
            changes.push(change::<kind::TargetGroup>(id, call, reason));
        }
    }
}

/// Takes the targets that have gone out of groups that others replace, and that have requests until those can serve.
pub(super) fn desert(round: &Round<'_>, changes: &mut Vec<Change>) {
    let serving = awaited::serving(round);
    for owned in &round.observed.target_groups {
        let state = owned.get();
        let is_kept = round.target_groups.values().any(|kept| kept.arn == state.arn);
        if is_kept || !serving.contains(&state.arn) {
            continue;
        }
        for targets in chunks(
            state
                .spec
                .targets
                .iter()
                .filter(|target| !stays(round, owned, target)),
        ) {
            let reason = format!("{} may have no more requests", count(&targets));
            let call = Call::DeregisterTargets {
                arn: state.arn.clone(),
                targets,
            };
            changes.push(change::<kind::TargetGroup>(owned.resource(), call, reason));
        }
    }
}

/// Whether a target of a group that is not kept may have requests until then, as what replaces the group says. That says
/// nothing where its targets have other names, or where other clusters register some, too.
pub(super) fn stays(round: &Round<'_>, owned: &Owned<TargetGroupState>, target: &TargetDescription) -> bool {
    let (resource, had) = (owned.resource(), &owned.get().spec);
    let aliases = |id: &String| {
        round
            .desired
            .aliases
            .get(id)
            .is_some_and(|all| is_alias(resource, all))
    };
    let mut replacing = round.desired.target_groups.iter();
    let replacing = replacing.find(|(id, _)| *id == resource || aliases(id));
    replacing.is_none_or(|(id, desired)| {
        let says = desired.target_type == had.target_type && desired.ip_address_type == had.ip_address_type;
        let joint = round.desired.joint.contains_key(id);
        !says || joint || desired.targets.iter().any(|stays| stays.id == target.id)
    })
}

/// Takes out the targets that may have no more requests; comes after those that replace them are in.
pub(super) fn deregister(round: &Round<'_>, changes: &mut Vec<Change>) {
    for (id, state) in &round.target_groups {
        let Some(desired) = round.desired.target_groups.get(*id) else {
            continue;
        };
        if waits_for_others(round, state, desired) {
            continue;
        }
        // Of what other clusters have registered, nobody here knows whether it still serves.
        let joint = round.desired.joint.get(*id);
        let ours =
            |target: &&TargetDescription| joint.is_none_or(|service| round.observed.is_own(service, target));
        for targets in chunks(state.spec.targets.difference(&desired.targets).filter(ours)) {
            let reason = format!("{} may have no more requests", count(&targets));
            let call = Call::DeregisterTargets {
                arn: state.arn.clone(),
                targets,
            };
            changes.push(change::<kind::TargetGroup>(*id, call, reason));
        }
    }
}

/// Whether all targets stay, because none of those that would replace them could be registered, or because all would be
/// on ports that nodes do not let in. Some of them going alone wait for nothing: no request must be sent to what is gone.
fn waits_for_others(round: &Round<'_>, state: &TargetGroupState, desired: &TargetGroupSpec) -> bool {
    if desired.targets.is_empty() {
        return false;
    }
    let (had, wanted) = (&state.spec.targets, &desired.targets);
    let unregistered = had.is_disjoint(wanted)
        && refused::any(
            &round.observed.refused,
            |call| matches!(call, Call::RegisterTargets { arn, .. } if *arn == state.arn),
        );
    let leaves = |port| had.difference(wanted).any(|target| target.port == port);
    let unreached = !had.intersection(wanted).any(|target| leaves(target.port))
        && refused::any(&round.shared.refused, |call| {
            matches!(call, Call::AuthorizeSecurityGroupIngress { .. })
        });
    unregistered || unreached
}

/// Sets health checks, and the attributes that are asked for.
pub(super) fn set(round: &Round<'_>, changes: &mut Vec<Change>) {
    for (id, state) in &round.target_groups {
        let Some(desired) = round.desired.target_groups.get(*id) else {
            continue;
        };
        let health = field("HealthCheck", &state.spec.health, &desired.health);
        if let Some(health) = health {
            let call = Call::ModifyTargetGroup {
                arn: state.arn.clone(),
                health: desired.health.clone(),
            };
            let change = change::<kind::TargetGroup>(*id, call, "its health check differs");
            changes.push(Change {
                fields: vec![health],
                ..change
            });
        }
        attributes::set::<kind::TargetGroup>(
            &round.observed.refused,
            id,
            (&desired.attributes, &state.spec.attributes),
            |attributes| Call::ModifyTargetGroupAttributes {
                arn: state.arn.clone(),
                attributes,
            },
            changes,
        );
    }
}

/// The desired pairs that are not observed; what nobody asked for is left as it is.
pub(super) fn differing(desired: &Pairs, observed: &Pairs) -> Pairs {
    let differs = |(key, value): &(&String, &String)| observed.get(key) != Some(value.as_str());
    desired
        .0
        .iter()
        .filter(differs)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn chunks<'a>(targets: impl Iterator<Item = &'a TargetDescription>) -> Vec<BTreeSet<TargetDescription>> {
    let all: Vec<&TargetDescription> = targets.collect();
    all.chunks(TARGETS_PER_CALL)
        .map(|part| part.iter().copied().cloned().collect())
        .collect()
}

fn count(targets: &BTreeSet<TargetDescription>) -> String {
    match targets.len() {
        1 => "1 target".into(),
        more => format!("{more} targets"),
    }
}
