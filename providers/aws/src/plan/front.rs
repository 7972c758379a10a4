//! The Network Load Balancer in front as desired and as it is in, calls that bring both together out.
//!
//! It comes last: what it leads to must stand, and AWS takes a load balancer as a target only when it is set up, which
//! may be some minutes after it was made.

use std::collections::BTreeSet;

use super::{Round, attributes, change, field, listeners, refused, tags};
use crate::change::{Call, Change};
use crate::names;
use crate::observed::{LoadBalancerState, Observed, Stage, TargetGroupState};
use crate::resource::{LoadBalancerSpec, Ref, SecurityGroupId, TargetGroupArn, kind};

/// What exists of it, in the order in which AWS lets it go.
pub(super) fn delete_all(observed: &Observed, why: &str, changes: &mut Vec<Change>) {
    for owned in &observed.load_balancers {
        if owned.resource() == names::FRONT {
            let arn = owned.get().arn.clone();
            let call = Call::DeleteLoadBalancer { arn };
            changes.push(change::<kind::LoadBalancer>(owned.resource(), call, why));
        }
    }
    for owned in &observed.target_groups {
        if names::is_front_target_group(owned.resource()) {
            let arn = owned.get().arn.clone();
            let call = Call::DeleteTargetGroup { arn };
            changes.push(change::<kind::TargetGroup>(owned.resource(), call, why));
        }
    }
}

/// One round for it.
pub(super) fn arrange(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(desired) = &round.desired.front else {
        delete_all(
            round.observed,
            "nobody asks for a load balancer in front",
            changes,
        );
        return;
    };
    delete_surplus(round, changes);
    let behind = round.observed.load_balancer();
    let being_set_up = behind.is_some_and(|state| state.stage == Stage::Provisioning);
    let mut waiting = false;
    for (id, wanted) in &desired.target_groups {
        let Some(state) = kept(round, id) else {
            let call = Call::CreateTargetGroup { spec: wanted.clone() };
            changes.push(change::<kind::TargetGroup>(
                id,
                call,
                "a port in front leads to it",
            ));
            continue;
        };
        let new: BTreeSet<_> = wanted.targets.difference(&state.spec.targets).cloned().collect();
        let gone: BTreeSet<_> = state.spec.targets.difference(&wanted.targets).cloned().collect();
        let arn = &state.arn;
        if !new.is_empty() && being_set_up {
            waiting = true;
        } else if !new.is_empty() {
            let (arn, targets) = (arn.clone(), new);
            let call = Call::RegisterTargets { arn, targets };
            changes.push(change::<kind::TargetGroup>(
                id,
                call,
                "the port in front leads to it",
            ));
        }
        // One that leads nowhere would be worse than one that leads where it led.
        let instead = refused::any(
            &round.observed.refused,
            |call| matches!(call, Call::RegisterTargets { arn: refused, .. } if refused == arn),
        );
        if !gone.is_empty() && !instead {
            let (arn, targets) = (arn.clone(), gone);
            let call = Call::DeregisterTargets { arn, targets };
            changes.push(change::<kind::TargetGroup>(
                id,
                call,
                "the port in front leads elsewhere",
            ));
        }
        if let Some(field) = field("HealthCheck", &state.spec.health, &wanted.health) {
            let (arn, health) = (arn.clone(), wanted.health.clone());
            let call = Call::ModifyTargetGroup { arn, health };
            let change = change::<kind::TargetGroup>(id, call, "its health check differs");
            changes.push(Change {
                fields: vec![field],
                ..change
            });
        }
        let tags = (&wanted.tags, &state.spec.tags);
        tags::compare::<kind::TargetGroup>(arn.as_str(), id, tags, round.surplus(), changes);
    }
    balancer(round, &desired.load_balancer, changes);
    if let Some(state) = round.observed.front() {
        listeners_of(round, state, changes);
    }
    if let Some(state) = behind.filter(|_| waiting) {
        let call = Call::AwaitLoadBalancer {
            arn: state.arn.clone(),
        };
        let reason = "what stands in front leads to it once it is set up";
        changes.push(change::<kind::LoadBalancer>(names::LOAD_BALANCER, call, reason));
    }
}

fn kept<'a>(round: &'a Round<'_>, id: &str) -> Option<&'a TargetGroupState> {
    let wanted = round.desired.front.as_ref()?.target_groups.get(id)?;
    let mut all = round.observed.target_groups.iter();
    let owned = all.find(|owned| owned.resource() == id && !wanted.replaces(&owned.get().spec))?;
    Some(owned.get())
}

/// Ports and target groups that nobody asks for.
fn delete_surplus(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(desired) = &round.desired.front else {
        return;
    };
    for (port, listener) in round.observed.front().iter().flat_map(|state| &state.listeners) {
        if !desired.listeners.contains_key(port) {
            let arn = listener.arn.clone();
            let id = names::front_listener_id(*port);
            let call = Call::DeleteListener { arn };
            changes.push(change::<kind::Listener>(id, call, "nobody asks for the port"));
        }
    }
    let used: BTreeSet<&TargetGroupArn> = round.used_target_groups().collect();
    for owned in &round.observed.target_groups {
        let (id, arn) = (owned.resource(), &owned.get().arn);
        let stays = kept(round, id).is_some_and(|kept| kept.arn == *arn);
        if names::is_front_target_group(id) && !stays && !used.contains(arn) {
            let call = Call::DeleteTargetGroup { arn: arn.clone() };
            changes.push(change::<kind::TargetGroup>(
                id,
                call,
                "no port in front leads to it",
            ));
        }
    }
}

fn balancer(
    round: &Round<'_>,
    desired: &LoadBalancerSpec<Ref<kind::SecurityGroup>>,
    changes: &mut Vec<Change>,
) {
    let groups = desired
        .security_groups
        .iter()
        .map(|group| round.security_group(group));
    let Some(groups) = groups.collect::<Option<Vec<SecurityGroupId>>>() else {
        return;
    };
    let id = names::FRONT;
    let Some(state) = round.observed.front() else {
        let spec = desired.with_groups(groups);
        let reason = format!("{} asks for a load balancer in front", round.id);
        changes.push(change::<kind::LoadBalancer>(
            id,
            Call::CreateLoadBalancer { spec },
            reason,
        ));
        return;
    };
    let (arn, spec) = (&state.arn, &state.spec);
    let mut set = |field, call, reason: &str| {
        let change = change::<kind::LoadBalancer>(id, call, reason);
        changes.push(Change {
            fields: Vec::from_iter(field),
            ..change
        });
    };
    // With given addresses its subnets stay: the call for subnets alone would take the addresses away.
    if spec.subnets != desired.subnets && desired.allocations.is_empty() {
        let field = field("Subnets", &spec.subnets, &desired.subnets);
        let (arn, subnets) = (arn.clone(), desired.subnets.clone());
        set(field, Call::SetSubnets { arn, subnets }, "its subnets differ");
    }
    if spec.ip_address_type != desired.ip_address_type {
        let field = field("IpAddressType", &spec.ip_address_type, &desired.ip_address_type);
        let (arn, ip_address_type) = (arn.clone(), desired.ip_address_type);
        set(
            field,
            Call::SetIpAddressType { arn, ip_address_type },
            "its address type differs",
        );
    }
    if spec.security_groups.iter().collect::<BTreeSet<_>>() != groups.iter().collect() {
        let field = field("SecurityGroups", &spec.security_groups, &groups);
        let arn = arn.clone();
        set(
            field,
            Call::SetSecurityGroups { arn, groups },
            "its security groups differ",
        );
    }
    attributes::set::<kind::LoadBalancer>(
        &round.observed.refused,
        id,
        (&desired.attributes, &spec.attributes),
        |attributes| Call::ModifyLoadBalancerAttributes {
            arn: arn.clone(),
            attributes,
        },
        changes,
    );
    let tags = (&desired.tags, &spec.tags);
    tags::compare::<kind::LoadBalancer>(arn.as_str(), id, tags, round.surplus(), changes);
}

fn listeners_of(round: &Round<'_>, state: &LoadBalancerState, changes: &mut Vec<Change>) {
    let Some(desired) = &round.desired.front else {
        return;
    };
    for (port, wanted) in &desired.listeners {
        let find = |reference: &Ref<kind::TargetGroup>| match reference {
            Ref::Known(arn) => Some(arn.clone()),
            Ref::Logical(id) => kept(round, id).map(|state| state.arn.clone()),
        };
        // A listener waits for its target group.
        let Some(spec) = listeners::with_target_groups(wanted, &find) else {
            continue;
        };
        let id = names::front_listener_id(*port);
        match state.listeners.get(port) {
            None => {
                let call = Call::CreateListener {
                    load_balancer: state.arn.clone(),
                    spec,
                };
                changes.push(change::<kind::Listener>(id, call, "clients come in at it"));
            }
            Some(had) => {
                let actions = field("DefaultActions", &had.spec.default_actions, &spec.default_actions);
                let protocol = field("Protocol", &had.spec.protocol, &spec.protocol);
                let (arn, tags) = (had.arn.clone(), spec.tags.clone());
                if actions.is_some() || protocol.is_some() {
                    let reason = "it differs from what is asked for";
                    let call = Call::ModifyListener {
                        arn: arn.clone(),
                        spec,
                    };
                    let change = change::<kind::Listener>(&id, call, reason);
                    changes.push(Change {
                        fields: actions.into_iter().chain(protocol).collect(),
                        ..change
                    });
                }
                let tags = (&tags, &had.spec.tags);
                tags::compare::<kind::Listener>(arn.as_str(), &id, tags, round.surplus(), changes);
            }
        }
    }
}
