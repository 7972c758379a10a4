//! What exists of a load balancer that nobody wants in, the calls that delete all of it out.

use portcullis_model::{Code, LoadBalancerId, Plan, Problem};

use super::{certificates, change, front, protection, refused};
use crate::change::{Call, Change};
use crate::names;
use crate::observed::{Observed, Shared};
use crate::resource::kind;

/// Load balancers first: listeners and rules go with them, and target groups and security groups are free only then.
pub(super) fn everything(
    id: &LoadBalancerId,
    observed: &Observed,
    shared: &Shared,
) -> (Plan<Change>, Vec<Problem>) {
    let why = format!("nothing asks for {id} any more");
    let protected = observed
        .load_balancers
        .iter()
        .find(|owned| owned.get().spec.attributes.get("deletion_protection.enabled") == Some("true"));
    if let Some(owned) = protected {
        let name = &owned.get().spec.name;
        let message = format!(
            "load balancer {name} of {id} is protected against deletion (deletion_protection.enabled)"
        );
        let problem = Problem::new(Code::DeletionProtected, refused::whole(id), message);
        return (Plan::default(), vec![problem]);
    }
    let problems = refused::problems(id, None, &observed.refused);
    // A load balancer uses all the others.
    if refused::any(&observed.refused, |call| {
        matches!(call, Call::DeleteLoadBalancer { .. })
    }) {
        return (Plan::default(), problems);
    }
    let mut changes = Vec::new();
    // AWS deletes no load balancer that another one has for a target.
    front::delete_all(observed, &why, &mut changes);
    for owned in &observed.load_balancers {
        if owned.resource() == names::FRONT {
            continue;
        }
        changes.extend(protection::unprotect(owned.get(), &why));
        let call = Call::DeleteLoadBalancer {
            arn: owned.get().arn.clone(),
        };
        changes.push(change::<kind::LoadBalancer>(owned.resource(), call, &why));
    }
    for owned in &observed.target_groups {
        if names::is_front_target_group(owned.resource()) {
            continue;
        }
        let call = Call::DeleteTargetGroup {
            arn: owned.get().arn.clone(),
        };
        changes.push(change::<kind::TargetGroup>(owned.resource(), call, &why));
    }
    for owned in &observed.security_groups {
        if shared.lets_in(&owned.get().id) {
            continue;
        }
        let call = Call::DeleteSecurityGroup {
            group: owned.get().id.clone(),
        };
        changes.push(change::<kind::SecurityGroup>(owned.resource(), call, &why));
    }
    for owned in &observed.certificates {
        changes.push(certificates::delete(owned, &why));
    }
    changes.retain(|change| !refused::holds(&observed.refused, &change.call));
    (Plan { changes }, problems)
}
