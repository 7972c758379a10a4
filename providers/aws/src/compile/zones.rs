//! Targets and the subnets of their load balancer in, the targets that no request can reach out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{Code, Problem, Target, TargetAddress, TargetState};

use super::Context;
use crate::account::Fact;
use crate::resource::{SubnetId, TargetGroupSpec};

/// A target in a zone where the load balancer has no subnet gets no requests.
/// Source: "Target groups for your Application Load Balancers", reason code `Target.NotInUse`.
pub(super) fn uncovered(
    context: &Context<'_>,
    subnets: &[SubnetId],
    made: &BTreeMap<String, TargetGroupSpec>,
    problems: &mut Vec<Problem>,
) {
    let Fact::Read(known) = &context.account.subnets else {
        return;
    };
    let own = known.iter().filter(|subnet| subnets.contains(&subnet.id));
    let covered: BTreeSet<&str> = own.map(|subnet| subnet.zone.as_str()).collect();
    // Those outside the VPC are reached from every zone.
    let ranges = &context.account.ranges;
    let inside = |target: &Target| match &target.address {
        TargetAddress::Ip(ip) => ranges.is_empty() || ranges.iter().any(|range| range.contains(ip)),
        TargetAddress::Instance(_) => true,
    };
    if covered.is_empty() {
        return; // the subnets are none of those that were read
    }
    for backend in context
        .balancer
        .backends
        .values()
        .filter(|b| made.contains_key(b.id.as_str()))
    {
        let zones: BTreeSet<&str> = backend
            .targets
            .iter()
            .filter(|target| target.state == TargetState::Ready && inside(target))
            .filter_map(|target| target.zone.as_deref())
            .collect();
        let missing: Vec<&str> = zones.difference(&covered).copied().collect();
        if !missing.is_empty() {
            let message = format!(
                "backend {} has targets in {}, where the load balancer has no subnet: they get no requests",
                backend.id,
                missing.join(", ")
            );
            problems.push(Problem::new(
                Code::TargetZoneUncovered,
                backend.origin.clone(),
                message,
            ));
        }
    }
}
