//! Changes of target groups in, ELBv2's calls out.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::TargetHealthStateEnum;
use portcullis_model::{Code, ProviderError, Retry};

use super::Writer;
use crate::change::{Answer, Until};
use crate::client::incomplete;
use crate::resource::{HealthCheckSpec, Pairs, TargetDescription, TargetGroupArn, TargetGroupSpec};
use crate::wire::{matcher_to, number_to, tags_to, target_group_attributes_to, targets_to};

pub(super) async fn create(to: &Writer<'_>, spec: &TargetGroupSpec) -> Result<Answer, ProviderError> {
    let health = &spec.health;
    let version = spec.protocol_version;
    let version = (!version.is_none()).then(|| version.as_str().to_owned());
    let request = to
        .client
        .elb
        .create_target_group()
        .name(&spec.name)
        .protocol(spec.protocol.as_str().into())
        .set_protocol_version(version)
        .port(spec.port.into())
        .set_target_control_port(spec.target_control_port.map(i32::from))
        .vpc_id(spec.vpc_id.as_str())
        .target_type(spec.target_type.as_str().into())
        .ip_address_type(spec.ip_address_type.as_str().into())
        .health_check_enabled(health.enabled)
        .health_check_protocol(health.protocol.as_str().into())
        .health_check_port(&health.port)
        .health_check_path(&health.path)
        .health_check_interval_seconds(number_to(health.interval_seconds))
        .health_check_timeout_seconds(number_to(health.timeout_seconds))
        .healthy_threshold_count(number_to(health.healthy_threshold))
        .unhealthy_threshold_count(number_to(health.unhealthy_threshold))
        .matcher(matcher_to(&health.matcher))
        .set_tags(Some(tags_to(&spec.tags)));
    let answer = to.send(request.send()).await?;
    let created = answer.target_groups.unwrap_or_default().pop();
    let arn = created.and_then(|created| created.target_group_arn);
    Ok(Answer::TargetGroup {
        arn: TargetGroupArn::new(arn.ok_or_else(|| incomplete(to.call, "TargetGroupArn"))?),
        tags: spec.tags.clone(),
    })
}

pub(super) async fn modify(
    to: &Writer<'_>,
    arn: &TargetGroupArn,
    health: &HealthCheckSpec,
) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .modify_target_group()
        .target_group_arn(arn.as_str())
        .health_check_enabled(health.enabled)
        .health_check_protocol(health.protocol.as_str().into())
        .health_check_port(&health.port)
        .health_check_path(&health.path)
        .health_check_interval_seconds(number_to(health.interval_seconds))
        .health_check_timeout_seconds(number_to(health.timeout_seconds))
        .healthy_threshold_count(number_to(health.healthy_threshold))
        .unhealthy_threshold_count(number_to(health.unhealthy_threshold))
        .matcher(matcher_to(&health.matcher));
    to.done(request.send()).await
}

pub(super) async fn modify_attributes(
    to: &Writer<'_>,
    arn: &TargetGroupArn,
    attributes: &Pairs,
) -> Result<Answer, ProviderError> {
    let request = to.client.elb.modify_target_group_attributes();
    let request = request.target_group_arn(arn.as_str());
    to.done(
        request
            .set_attributes(Some(target_group_attributes_to(attributes)))
            .send(),
    )
    .await
}

pub(super) async fn register(
    to: &Writer<'_>,
    arn: &TargetGroupArn,
    targets: &BTreeSet<TargetDescription>,
) -> Result<Answer, ProviderError> {
    let request = to.client.elb.register_targets().target_group_arn(arn.as_str());
    to.done(request.set_targets(Some(targets_to(targets))).send())
        .await
}

pub(super) async fn deregister(
    to: &Writer<'_>,
    arn: &TargetGroupArn,
    targets: &BTreeSet<TargetDescription>,
) -> Result<Answer, ProviderError> {
    let request = to.client.elb.deregister_targets().target_group_arn(arn.as_str());
    to.done(request.set_targets(Some(targets_to(targets))).send())
        .await
}

pub(super) async fn delete(to: &Writer<'_>, arn: &TargetGroupArn) -> Result<Answer, ProviderError> {
    let request = to.client.elb.delete_target_group().target_group_arn(arn.as_str());
    to.delete(request.send()).await
}

/// How long targets are given between two looks.
const HEALTH_DELAY: Duration = Duration::from_secs(30);

pub(super) async fn wait(
    to: &Writer<'_>,
    target_groups: &BTreeSet<TargetGroupArn>,
    until: Until,
) -> Result<Answer, ProviderError> {
    for arn in target_groups {
        let request = to.client.elb.describe_target_health();
        let answer = to.send(request.target_group_arn(arn.as_str()).send()).await?;
        let described = answer.target_health_descriptions.unwrap_or_default();
        let states: Vec<TargetHealthStateEnum> = described
            .into_iter()
            .filter_map(|target| target.target_health?.state)
            .collect();
        if !is_reached(until, &states) {
            return Err(ProviderError {
                code: Code::ConflictingChange,
                call: to.call,
                message: format!(
                    "target group {arn} has no healthy target yet, so what answered until now goes on"
                ),
                retry: Retry::After(HEALTH_DELAY),
            });
        }
    }
    Ok(Answer::Done)
}

/// A target is `unused` until AWS has taken note that a rule forwards to its group, and `initial` until it was checked.
/// Source: ELBv2 API, TargetHealth.State.
fn is_reached(until: Until, states: &[TargetHealthStateEnum]) -> bool {
    use TargetHealthStateEnum::{Healthy, Initial, Unused};
    let checked = || !states.contains(&Initial) && states.iter().any(|state| *state != Unused);
    states.contains(&Healthy) || (until == Until::Checked && checked())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_healthy_target_is_enough_and_failed_checks_end_a_wait_that_has_an_end() {
        use TargetHealthStateEnum::{Draining, Healthy, Initial, Unhealthy, Unused};
        for (states, healthy, checked) in [
            (&[][..], false, false),
            (&[Healthy, Initial, Unhealthy][..], true, true),
            (&[Unhealthy, Initial][..], false, false),
            (&[Unhealthy, Unhealthy][..], false, true),
            (&[Unused, Unused][..], false, false),
            (&[Unused, Unhealthy][..], false, true),
            (&[Initial, Draining][..], false, false),
        ] {
            assert_eq!(is_reached(Until::Healthy, states), healthy, "{states:?}");
            assert_eq!(is_reached(Until::Checked, states), checked, "{states:?}");
        }
    }
}
