//! Changes of listener rules in, ELBv2's calls out.

use aws_sdk_elasticloadbalancingv2::types::RulePriorityPair;
use portcullis_model::ProviderError;

use super::Writer;
use crate::change::Answer;
use crate::client::incomplete;
use crate::resource::{
    ListenerArn, RuleAction, RuleArn, RuleCondition, RuleSpec, RuleTransform, TargetGroupArn,
};
use crate::wire::{actions_to, conditions_to, number_to, tags_to, transforms_to};

pub(super) async fn create(
    to: &Writer<'_>,
    listener: &ListenerArn,
    spec: &RuleSpec<TargetGroupArn>,
) -> Result<Answer, ProviderError> {
    let transforms = Some(transforms_to(&spec.transforms)).filter(|list| !list.is_empty());
    let request = to
        .client
        .elb
        .create_rule()
        .listener_arn(listener.as_str())
        .priority(number_to(spec.priority))
        .set_conditions(Some(conditions_to(&spec.conditions)))
        .set_actions(Some(actions_to(&spec.actions)))
        .set_transforms(transforms)
        .set_tags(Some(tags_to(&spec.tags)));
    let answer = to.send(request.send()).await?;
    let created = answer.rules.unwrap_or_default().pop();
    let arn = created.and_then(|created| created.rule_arn);
    Ok(Answer::Rule {
        arn: RuleArn::new(arn.ok_or_else(|| incomplete(to.call, "RuleArn"))?),
    })
}

pub(super) async fn modify(
    to: &Writer<'_>,
    arn: &RuleArn,
    conditions: &[RuleCondition],
    actions: &[RuleAction<TargetGroupArn>],
    transforms: &[RuleTransform],
) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .modify_rule()
        .rule_arn(arn.as_str())
        .set_conditions(Some(conditions_to(conditions)))
        .set_actions(Some(actions_to(actions)));
    // An empty list keeps what there is. Source: ELBv2 API, ModifyRule.ResetTransforms.
    let request = match transforms {
        [] => request.reset_transforms(true),
        [..] => request.set_transforms(Some(transforms_to(transforms))),
    };
    to.done(request.send()).await
}

pub(super) async fn set_priorities(
    to: &Writer<'_>,
    priorities: &[(RuleArn, u32)],
) -> Result<Answer, ProviderError> {
    let pair = |(arn, priority): &(RuleArn, u32)| {
        let pair = RulePriorityPair::builder().rule_arn(arn.as_str());
        pair.priority(number_to(*priority)).build()
    };
    let pairs = priorities.iter().map(pair).collect();
    let request = to.client.elb.set_rule_priorities();
    to.done(request.set_rule_priorities(Some(pairs)).send()).await
}

pub(super) async fn delete(to: &Writer<'_>, arn: &RuleArn) -> Result<Answer, ProviderError> {
    let request = to.client.elb.delete_rule().rule_arn(arn.as_str());
    to.delete(request.send()).await
}
