//! Target groups in, the API's settings and targets out, and back.

use std::collections::BTreeSet;

use aws_sdk_elasticloadbalancingv2::types::{
    Matcher as SdkMatcher, TargetDescription as SdkTarget, TargetGroup, TargetHealthDescription,
};

use super::load_balancer::ip_address_type_from;
use crate::account::ListedTargetGroup;
use crate::observed::TargetGroupState;
use crate::resource::{
    HealthCheckSpec, LoadBalancerArn, Matcher, Pairs, ProtocolVersion, TargetDescription, TargetGroupArn,
    TargetGroupSpec, TargetProtocol, TargetType, VpcId,
};

/// Where the targets of addresses outside the VPC are. Source: ELBv2 API, TargetDescription.AvailabilityZone.
const EVERY_ZONE: &str = "all";

fn protocol_from(text: &str) -> Option<TargetProtocol> {
    [TargetProtocol::Http, TargetProtocol::Https, TargetProtocol::Tcp]
        .into_iter()
        .find(|known| known.as_str() == text)
}

fn version_from(text: &str) -> Option<ProtocolVersion> {
    [
        ProtocolVersion::Http1,
        ProtocolVersion::Http2,
        ProtocolVersion::Grpc,
    ]
    .into_iter()
    .find(|known| known.as_str() == text)
}

fn type_from(text: &str) -> Option<TargetType> {
    [TargetType::Instance, TargetType::Ip, TargetType::Alb]
        .into_iter()
        .find(|known| known.as_str() == text)
}

pub(crate) fn matcher_to(matcher: &Matcher) -> SdkMatcher {
    let sdk = SdkMatcher::builder();
    match matcher {
        Matcher::HttpCode(codes) => sdk.http_code(codes),
        Matcher::GrpcCode(codes) => sdk.grpc_code(codes),
    }
    .build()
}

fn matcher_from(sdk: SdkMatcher) -> Option<Matcher> {
    match (sdk.http_code, sdk.grpc_code) {
        (Some(codes), None) => Some(Matcher::HttpCode(codes)),
        (None, Some(codes)) => Some(Matcher::GrpcCode(codes)),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// The API's numbers are signed; ours are in their documented ranges, far below where that matters.
pub(crate) fn number_to(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn number(field: Option<i32>) -> Option<u32> {
    field.and_then(|number| u32::try_from(number).ok())
}

/// A target group for an Application Load Balancer without tags, attributes and targets; else the field that is not
/// understood.
pub(crate) fn target_group_from(sdk: TargetGroup) -> Result<TargetGroupState, &'static str> {
    let protocol = sdk
        .protocol
        .as_ref()
        .and_then(|protocol| protocol_from(protocol.as_str()));
    let health_protocol = sdk.health_check_protocol.as_ref();
    let health = HealthCheckSpec {
        enabled: sdk.health_check_enabled.unwrap_or(true),
        protocol: health_protocol
            .and_then(|protocol| protocol_from(protocol.as_str()))
            .ok_or("HealthCheckProtocol")?,
        port: sdk.health_check_port.ok_or("HealthCheckPort")?,
        path: sdk.health_check_path.ok_or("HealthCheckPath")?,
        interval_seconds: number(sdk.health_check_interval_seconds).ok_or("HealthCheckIntervalSeconds")?,
        timeout_seconds: number(sdk.health_check_timeout_seconds).ok_or("HealthCheckTimeoutSeconds")?,
        healthy_threshold: number(sdk.healthy_threshold_count).ok_or("HealthyThresholdCount")?,
        unhealthy_threshold: number(sdk.unhealthy_threshold_count).ok_or("UnhealthyThresholdCount")?,
        matcher: sdk.matcher.and_then(matcher_from).ok_or("Matcher")?,
    };
    let kind = sdk.target_type.as_ref().and_then(|kind| type_from(kind.as_str()));
    let family = sdk
        .ip_address_type
        .as_ref()
        .map_or("ipv4", |family| family.as_str());
    // Of Network Load Balancers only those in front of ours are.
    let in_front = kind == Some(TargetType::Alb);
    if in_front != (protocol == Some(TargetProtocol::Tcp)) {
        return Err("Protocol");
    }
    let version = match sdk.protocol_version.as_deref() {
        _ if in_front => Some(ProtocolVersion::None),
        version => version_from(version.unwrap_or("HTTP1")),
    };
    let port = sdk.port.and_then(|port| u16::try_from(port).ok());
    Ok(TargetGroupState {
        arn: TargetGroupArn::new(sdk.target_group_arn.ok_or("TargetGroupArn")?),
        spec: TargetGroupSpec {
            name: sdk.target_group_name.ok_or("TargetGroupName")?,
            protocol: protocol.ok_or("Protocol")?,
            protocol_version: version.ok_or("ProtocolVersion")?,
            target_type: kind.ok_or("TargetType")?,
            ip_address_type: ip_address_type_from(family).ok_or("IpAddressType")?,
            port: port.ok_or("Port")?,
            target_control_port: sdk.target_control_port.and_then(|port| u16::try_from(port).ok()),
            vpc_id: VpcId::new(sdk.vpc_id.ok_or("VpcId")?),
            health,
            tags: Pairs::default(),
            attributes: Pairs::default(),
            targets: BTreeSet::new(),
        },
    })
}

/// What `TargetType` says of functions.
pub(crate) const LAMBDA: &str = "lambda";

/// Any target group without its tags; none if the answer lacks what every target group has.
pub(crate) fn listed_target_group_from(sdk: &TargetGroup) -> Option<ListedTargetGroup> {
    Some(ListedTargetGroup {
        arn: TargetGroupArn::new(sdk.target_group_arn.as_deref()?),
        name: sdk.target_group_name.clone()?,
        protocol: sdk.protocol.as_ref().map(|protocol| protocol.as_str().to_owned()),
        kind: sdk.target_type.as_ref()?.as_str().to_owned(),
        vpc: sdk.vpc_id.as_deref().map(VpcId::new),
        tags: Pairs::default(),
        load_balancers: sdk
            .load_balancer_arns
            .iter()
            .flatten()
            .map(|arn| LoadBalancerArn::new(arn.as_str()))
            .collect(),
    })
}

pub(crate) fn targets_to(targets: &BTreeSet<TargetDescription>) -> Vec<SdkTarget> {
    let target = |target: &TargetDescription| {
        SdkTarget::builder()
            .id(&target.id)
            .port(target.port.into())
            .set_availability_zone(target.availability_zone.clone())
            .build()
    };
    targets.iter().map(target).collect()
}

/// A target that is registered and not draining. `port` is the target group's, for targets that name none.
pub(crate) fn target_from(sdk: TargetHealthDescription, port: u16) -> Option<TargetDescription> {
    let state = sdk.target_health.and_then(|health| health.state);
    if matches!(
        state.as_ref().map(|state| state.as_str()),
        Some("draining" | "unhealthy.draining")
    ) {
        return None;
    }
    let target = sdk.target?;
    Some(TargetDescription {
        id: target.id?,
        port: target
            .port
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(port),
        // AWS fills in the zone of addresses inside the VPC, which nobody asked for.
        availability_zone: target.availability_zone.filter(|zone| zone == EVERY_ZONE),
    })
}
