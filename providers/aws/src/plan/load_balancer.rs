//! The load balancer as desired and as it is in, calls that make or set it out.

use std::collections::BTreeSet;

use super::{Round, attributes, change, field, refused};
use crate::change::{Call, Change};
use crate::names;
use crate::observed::{Looked, Stage};
use crate::resource::{SecurityGroupId, kind};

pub(super) fn create(round: &Round<'_>, changes: &mut Vec<Change>) {
    let desired = &round.desired.load_balancer;
    let groups: Option<Vec<SecurityGroupId>> = desired
        .security_groups
        .iter()
        .map(|reference| round.security_group(reference))
        .collect();
    let id = names::LOAD_BALANCER;
    let Some(state) = round.observed.load_balancer() else {
        // Without all of its groups it would be reachable by the wrong ones, or reach no pod.
        if let Some(security_groups) = groups {
            let spec = desired.with_groups(security_groups);
            let reason = format!("{} needs a load balancer", round.id);
            changes.push(change::<kind::LoadBalancer>(
                id,
                Call::CreateLoadBalancer { spec },
                reason,
            ));
        }
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
    if spec.subnets.iter().collect::<BTreeSet<_>>() != desired.subnets.iter().collect() {
        let call = Call::SetSubnets {
            arn: arn.clone(),
            subnets: desired.subnets.clone(),
        };
        set(
            field("Subnets", &spec.subnets, &desired.subnets),
            call,
            "its subnets differ",
        );
    }
    if spec.ip_address_type != desired.ip_address_type {
        let call = Call::SetIpAddressType {
            arn: arn.clone(),
            ip_address_type: desired.ip_address_type,
        };
        set(
            field("IpAddressType", &spec.ip_address_type, &desired.ip_address_type),
            call,
            "its address type differs",
        );
    }
    // New groups that do not let clients in yet shut them out.
    let shut = |group: &SecurityGroupId| {
        refused::any(
            &round.observed.refused,
            |call| matches!(call, Call::AuthorizeSecurityGroupIngress { group: refused, .. } if refused == group),
        )
    };
    if let Some(groups) = groups
        && !groups.iter().any(shut)
        && spec.security_groups.iter().collect::<BTreeSet<_>>() != groups.iter().collect()
    {
        let field = field("SecurityGroups", &spec.security_groups, &groups);
        set(
            field,
            Call::SetSecurityGroups {
                arn: arn.clone(),
                groups,
            },
            "its security groups differ",
        );
    }
}

/// Sets what AWS may refuse and nobody's requests wait for: where addresses come from, and how many are kept ready.
pub(super) fn set_supply(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(state) = round.observed.load_balancer() else {
        return;
    };
    let (had, pools) = (&state.spec.ipam_pools, &round.desired.load_balancer.ipam_pools);
    let mut set = |field, call, reason: &str| {
        let change = change::<kind::LoadBalancer>(names::LOAD_BALANCER, call, reason);
        changes.push(Change {
            fields: Vec::from_iter(field),
            ..change
        });
    };
    if had != pools {
        let call = Call::ModifyIpPools {
            arn: state.arn.clone(),
            pools: pools.clone(),
        };
        set(field("IpamPools", had, pools), call, "its IPAM pool differs");
    }
    let Some(units) = round.desired.capacity else {
        return;
    };
    match (&state.capacity, state.stage) {
        (Looked::Failed(_), _) => {}
        (Looked::At(had), _) if *had == units => {}
        // AWS reserves nothing for one that it has not set up.
        (Looked::Never | Looked::At(_), Stage::Provisioning) => {
            let call = Call::AwaitLoadBalancer {
                arn: state.arn.clone(),
            };
            set(None, call, "capacity is reserved once it is set up");
        }
        (Looked::Never | Looked::At(_), Stage::SetUp) => {
            let call = Call::ModifyCapacityReservation {
                arn: state.arn.clone(),
                units,
            };
            let field = field("MinimumLoadBalancerCapacity", &state.capacity.at(), &units);
            set(field, call, "its reserved capacity differs");
        }
    }
}

/// Deletes a second load balancer with the same tags, which no address is published of.
pub(super) fn delete_surplus(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(kept) = round.observed.load_balancer() else {
        return;
    };
    for owned in &round.observed.load_balancers {
        if owned.resource() == names::LOAD_BALANCER && owned.get().arn != kept.arn {
            let call = Call::DeleteLoadBalancer {
                arn: owned.get().arn.clone(),
            };
            changes.push(change::<kind::LoadBalancer>(
                owned.resource(),
                call,
                "another one serves instead of it",
            ));
        }
    }
}

/// Sets the attributes that are asked for.
pub(super) fn set_attributes(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(state) = round.observed.load_balancer() else {
        return;
    };
    attributes::set::<kind::LoadBalancer>(
        &round.observed.refused,
        names::LOAD_BALANCER,
        (&round.desired.load_balancer.attributes, &state.spec.attributes),
        |attributes| Call::ModifyLoadBalancerAttributes {
            arn: state.arn.clone(),
            attributes,
        },
        changes,
    );
}
