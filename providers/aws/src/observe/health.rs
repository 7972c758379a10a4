//! Targets of one target group in, what its health checks say of them out: one call.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    TargetDescription, TargetHealthDescription, TargetHealthStateEnum,
};
use portcullis_model::{Existing, Port, ProviderError, TargetAddress, TargetHealth, TargetHealthState};

use crate::client::Client;

pub(crate) async fn health(
    client: &Client,
    group: &Existing,
    targets: &BTreeSet<(TargetAddress, Port)>,
) -> Result<BTreeMap<(TargetAddress, Port), TargetHealth>, ProviderError> {
    let description = |(address, port): &(TargetAddress, Port)| {
        let id = address.to_string();
        TargetDescription::builder()
            .id(id)
            .port(port.get().into())
            .build()
    };
    let request = client
        .elb
        .describe_target_health()
        .target_group_arn(&group.handle)
        .set_targets(Some(targets.iter().map(description).collect()));
    let answer = client
        .read("elbv2:DescribeTargetHealth", move || request.clone().send())
        .await?;
    let all = answer.target_health_descriptions.unwrap_or_default();
    Ok(all
        .into_iter()
        .filter_map(|described| read(described, targets))
        .collect())
}

/// That of one of the targets that were asked for.
fn read(
    sdk: TargetHealthDescription,
    asked: &BTreeSet<(TargetAddress, Port)>,
) -> Option<((TargetAddress, Port), TargetHealth)> {
    let (target, health) = (sdk.target?, sdk.target_health?);
    let (id, port) = (target.id?, target.port?);
    let same = |(address, number): &&(TargetAddress, Port)| {
        address.to_string() == id && i32::from(number.get()) == port
    };
    let target = asked.iter().find(same)?.clone();
    let state = match health.state {
        Some(TargetHealthStateEnum::Healthy) => TargetHealthState::Healthy,
        Some(_) | None => TargetHealthState::Unhealthy,
    };
    let health = TargetHealth {
        state,
        reason: health
            .reason
            .map(|reason| reason.as_str().to_owned())
            .unwrap_or_default(),
        message: health.description.unwrap_or_default(),
    };
    Some((target, health))
}
