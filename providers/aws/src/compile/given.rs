//! Target groups that exist by themselves in, their ARNs or why rules may not forward to them out.
//!
//! They are somebody else's: never made, changed or deleted here, and neither are their targets.

use portcullis_model::{Code, GivenBackend, Problem, Semantics};

use super::Context;
use super::conditions::Refusal;
use crate::account::{Fact, ListedTargetGroup};
use crate::names;
use crate::resource::TargetGroupArn;

/// The ARN to forward to.
pub(super) fn find(context: &Context<'_>, given: &GivenBackend) -> Result<TargetGroupArn, Refusal> {
    let name = &*given.name;
    let all = match &context.account.listing.every_target_group {
        Fact::Symbolic if name.starts_with("arn:") => return Ok(TargetGroupArn::new(name)),
        Fact::Symbolic => return Ok(TargetGroupArn::symbolic(name)),
        Fact::Read(all) => all,
    };
    let Some(listed) = all.iter().find(|it| it.arn.as_str() == name || it.name == name) else {
        // One that a rule forwards to exists, whatever an older listing says.
        let arn = TargetGroupArn::new(name);
        if context.balancer.semantics == Semantics::AwsLoadBalancerController && context.forwards_to(&arn) {
            return Ok(arn);
        }
        let message = format!("there is no target group {name} in this account and Region");
        return Err(Refusal::new(Code::TargetGroupNotFound, message));
    };
    if let Some(why) = unfit(context, listed) {
        let message = format!("target group {name} {why}, so an ALB here cannot forward to it");
        return Err(Refusal::new(Code::BackendUnsupported, message));
    }
    let own = |arn: &_| {
        let mut ours = context.observed.load_balancers.iter();
        ours.any(|owned| owned.get().arn == *arn)
    };
    if let Some(other) = listed.load_balancers.iter().find(|arn| !own(arn)) {
        let message = format!(
            "target group {name} is in use by another load balancer, {other}: AWS lets a target group serve one alone"
        );
        return Err(Refusal::new(Code::TargetGroupInUse, message));
    }
    match (admitted(context, given, listed), context.balancer.semantics) {
        (Err(message), Semantics::Kubernetes) => Err(Refusal::new(Code::TargetGroupNotAdmitted, message)),
        (Err(_), Semantics::AwsLoadBalancerController) | (Ok(()), _) => Ok(listed.arn.clone()),
    }
}

/// What the incumbent lets pass is told under its semantics.
pub(super) fn tell(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Fact::Read(all) = &context.account.listing.every_target_group else {
        return;
    };
    if context.balancer.semantics == Semantics::Kubernetes {
        return;
    }
    for given in context.balancer.given.values() {
        let name = &*given.name;
        let listed = all.iter().find(|it| it.arn.as_str() == name || it.name == name);
        if let Some(Err(message)) = listed.map(|listed| admitted(context, given, listed)) {
            let problem = Problem::new(Code::TargetGroupNotAdmitted, given.origin.clone(), message);
            problems.push(problem);
        }
    }
}

/// Whether its tags say that the namespace may have it: the account is the operator's, and so are they.
fn admitted(context: &Context<'_>, given: &GivenBackend, listed: &ListedTargetGroup) -> Result<(), String> {
    let (tag, namespace) = (names::NAMESPACE_TAG, &*given.namespace);
    let namespaces = listed.tags.get(tag).unwrap_or_default();
    let cluster = listed.tags.get(names::CLUSTER_TAG);
    if !namespaces.split_whitespace().any(|one| one == namespace) {
        return Err(format!(
            "target group {} is not tagged for namespace {namespace} (tag {tag}, names separated by spaces)",
            given.name
        ));
    }
    match cluster {
        Some(other) if other != context.settings.cluster => Err(format!(
            "target group {} is tagged for cluster {other}",
            given.name
        )),
        Some(_) | None => Ok(()),
    }
}

/// What keeps an ALB of this VPC from forwarding to it. Source: ELBv2, "Target groups for your Application Load
/// Balancers"; functions have neither a protocol nor a VPC.
fn unfit(context: &Context<'_>, listed: &ListedTargetGroup) -> Option<String> {
    if listed.kind == "lambda" {
        return None;
    }
    match (listed.protocol.as_deref(), &listed.vpc) {
        (Some("HTTP" | "HTTPS"), Some(vpc)) if *vpc == context.account.vpc => None,
        (Some("HTTP" | "HTTPS"), Some(vpc)) => Some(format!("is in {vpc}")),
        (Some("HTTP" | "HTTPS"), None) => Some("is in no VPC".to_owned()),
        (Some(other), _) => Some(format!("speaks {other}")),
        (None, _) => Some("has no protocol".to_owned()),
    }
}
