//! Backends in, target groups with their targets out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use ipnet::IpNet;
use portcullis_model::{
    Backend, BackendVersion, Code, HealthCheck, HealthPort, LoadBalancer, OwnTargets, Problem, Registrants,
    Target, TargetAddress, TargetKind, TargetState,
};

use super::conditions::Refusal;
use super::sharing::Group;
use super::{Context, with_tags};
use crate::limits;
use crate::names::{self, TargetGroupKey};
use crate::resource::{
    HealthCheckSpec, IpAddressType, Matcher, Pairs, ProtocolVersion, TargetDescription, TargetGroupSpec,
    TargetProtocol, TargetType,
};

/// Why requests cannot be forwarded to this backend, if they cannot.
pub(super) fn usable(backend: &Backend, balancer: &LoadBalancer) -> Result<(), Refusal> {
    let dualstack = super::load_balancer::address_type(balancer) != IpAddressType::Ipv4;
    if backend.ipv6 && !dualstack {
        let message = format!(
            "backend {} has IPv6 targets, which a load balancer of IPv4 alone cannot reach: set ip-address-type to dualstack",
            backend.id
        );
        return Err(Refusal::new(Code::BackendUnsupported, message));
    }
    // Whoever asks for it must not be served without.
    if let Some(verification) = backend.protocol.tls.verification() {
        let message = format!(
            "backend {}: an ALB verifies no certificates of targets: what leads there answers 503",
            backend.id
        );
        return Err(Refusal {
            at: Some(verification.origin.clone()),
            ..Refusal::new(Code::BackendUnsupported, message)
        });
    }
    Ok(())
}

/// The target groups of these backends.
pub(super) fn compile(
    context: &Context<'_>,
    wanted: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, TargetGroupSpec> {
    let mut room = context.account.quotas.targets;
    let mut out = BTreeMap::new();
    for (id, shared) in &context.sharing.groups {
        if !wanted.contains(id) {
            continue;
        }
        let backend = shared.backend;
        let mut group = target_group(context, id, shared);
        for message in mend(&mut group.health) {
            let message = format!("backend {id}: {message}");
            problems.push(Problem::new(
                Code::BackendUnsupported,
                backend.origin.clone(),
                message,
            ));
        }
        if backend.timeout_seconds.is_some() || !backend.waits.are_default() {
            let message = format!(
                "backend {id}: an ALB has no time limit per backend; set the idle timeout of the load balancer"
            );
            problems.push(Problem::new(
                Code::BackendUnsupported,
                backend.origin.clone(),
                message,
            ));
        }
        if backend.proxy_protocol {
            let message = format!("backend {id}: an ALB does not speak the PROXY protocol to targets");
            problems.push(Problem::new(
                Code::BackendUnsupported,
                backend.origin.clone(),
                message,
            ));
        }
        if backend.affinity.is_some() {
            let message = format!(
                "backend {id}: an ALB keeps clients at a target by cookies alone: stickiness.enabled"
            );
            problems.push(Problem::new(
                Code::BackendUnsupported,
                backend.origin.clone(),
                message,
            ));
        }
        without_cross_zone(backend, &mut group.attributes, problems);
        let all = targets(context, backend, problems);
        let cap = context.settings.most_targets.unwrap_or(usize::MAX);
        let most = room.min(context.account.quotas.targets_per_group).min(cap);
        if all.len() > most {
            let message = format!(
                "backend {id} has {} targets, and there is room for {most}",
                all.len()
            );
            problems.push(Problem::new(Code::LimitExceeded, backend.origin.clone(), message));
        }
        // Those that are registered already stay.
        let registered = context.registered(id);
        let (had, new): (Vec<_>, Vec<_>) = all.into_iter().partition(|target| registered.contains(target));
        group.targets = had.into_iter().chain(new).take(most).collect();
        room -= group.targets.len();
        out.insert(id.clone(), group);
    }
    out
}

/// What AWS would refuse, and the group with it, becomes the nearest it takes; says what that was.
pub(super) fn mend(health: &mut HealthCheckSpec) -> Vec<String> {
    let mut out = Vec::new();
    let (timeout, interval) = (health.timeout_seconds, health.interval_seconds);
    // ELBv2 refuses CreateTargetGroup: "Health check interval must be greater than the timeout."
    if timeout >= interval {
        health.timeout_seconds = interval.saturating_sub(1);
        let most = health.timeout_seconds;
        out.push(format!("a health check that may take {timeout} s every {interval} s is refused by AWS; it may take {most} s"));
    }
    // ELBv2 API, CreateTargetGroup.HealthCheckPath: 1 to 1,024 characters.
    let path = &health.path;
    let plain = path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic());
    if !plain || path.len() > limits::HEALTH_PATH_LENGTH {
        out.push(format!(
            "health check path {path:?} is refused by AWS; \"/\" is asked for instead"
        ));
        health.path = "/".into();
    }
    out
}

fn target_group(context: &Context<'_>, id: &str, shared: &Group<'_>) -> TargetGroupSpec {
    let backend = shared.backend;
    let protocol = if backend.protocol.tls.is_on() {
        TargetProtocol::Https
    } else {
        TargetProtocol::Http
    };
    let protocol_version = match backend.protocol.version {
        BackendVersion::Http1 => ProtocolVersion::Http1,
        BackendVersion::Http2 => ProtocolVersion::Http2,
        BackendVersion::Grpc => ProtocolVersion::Grpc,
    };
    let target_type = match backend.target_kind {
        TargetKind::Pod => TargetType::Ip,
        TargetKind::Node => TargetType::Instance,
    };
    // The incumbent's number where each target has a port of its own.
    let port = backend.port.map_or(1, portcullis_model::Port::get);
    let key = TargetGroupKey {
        port,
        target_type,
        protocol,
        version: protocol_version,
        control_port: backend.control_port.map(portcullis_model::Port::get),
    };
    let mut attributes = backend.attributes.clone();
    if let Some(seconds) = backend.drain_seconds {
        attributes
            .entry("deregistration_delay.timeout_seconds".into())
            .or_insert_with(|| seconds.to_string());
    }
    let cluster = &context.settings.cluster;
    TargetGroupSpec {
        name: names::target_group(
            cluster,
            &context.balancer.id,
            &shared.owner,
            &backend.service,
            key,
        ),
        protocol,
        protocol_version,
        target_type,
        ip_address_type: if backend.ipv6 {
            IpAddressType::Ipv6
        } else {
            IpAddressType::Ipv4
        },
        port,
        target_control_port: key.control_port,
        vpc_id: context.account.vpc.clone(),
        health: health_check(&backend.health, backend.protocol.version),
        tags: with_tags(context, &names::with_role(id, context.role), &backend.tags),
        attributes: Pairs(attributes),
        targets: BTreeSet::new(),
    }
}

pub(crate) fn health_check(check: &HealthCheck, version: BackendVersion) -> HealthCheckSpec {
    let codes = check.success_codes.clone();
    HealthCheckSpec {
        enabled: true,
        protocol: if check.tls {
            TargetProtocol::Https
        } else {
            TargetProtocol::Http
        },
        port: match check.port {
            HealthPort::Traffic => "traffic-port".into(),
            HealthPort::Fixed(port) => port.to_string(),
        },
        path: check.path.clone(),
        interval_seconds: check.interval_seconds,
        timeout_seconds: check.timeout_seconds,
        healthy_threshold: check.healthy_threshold,
        unhealthy_threshold: check.unhealthy_threshold,
        matcher: match version {
            BackendVersion::Grpc => Matcher::GrpcCode(codes),
            BackendVersion::Http1 | BackendVersion::Http2 => Matcher::HttpCode(codes),
        },
    }
}

/// Whether each zone's load balancer node sends only to targets of its own zone.
fn is_zonal(attributes: &BTreeMap<String, String>) -> bool {
    attributes.get(CROSS_ZONE).is_some_and(|value| value == "false")
}

const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
const STICKY: &str = "stickiness.enabled";

/// Leaves stickiness out where requests stay in their zone: AWS refuses both together.
/// Source: "Edit target group attributes for your Application Load Balancer", cross-zone load balancing.
fn without_cross_zone(backend: &Backend, attributes: &mut Pairs, problems: &mut Vec<Problem>) {
    if is_zonal(&attributes.0) && attributes.get(STICKY) == Some("true") {
        attributes.0.retain(|key, _| !key.starts_with("stickiness."));
        let message = format!(
            "backend {}: without cross-zone load balancing AWS has no stickiness; it is left out",
            backend.id
        );
        problems.push(Problem::new(
            Code::BackendUnsupported,
            backend.origin.clone(),
            message,
        ));
    }
}

/// The groups in which other clusters register targets, too, and whose Service's these are.
pub(super) fn joint(context: &Context<'_>) -> BTreeMap<String, String> {
    let groups = context.sharing.groups.iter();
    groups
        .filter(|(_, group)| group.backend.registrants == Registrants::OthersToo)
        .map(|(id, group)| (id.clone(), group.backend.service.to_string()))
        .collect()
}

/// What this cluster registers where others register, too.
pub(super) fn own_targets(context: &Context<'_>) -> OwnTargets {
    let balancer = context.balancer;
    let unread = balancer.unread.values().flat_map(|unread| &unread.either);
    let backends = balancer.backends.values().map(Deref::deref).chain(unread);
    let mut out = OwnTargets::new();
    for backend in backends.filter(|backend| backend.registrants == Registrants::OthersToo) {
        let targets = targets(context, backend, &mut Vec::new());
        let known = out.entry(backend.service.to_string()).or_default();
        known.extend(targets.iter().map(TargetDescription::key));
    }
    out
}

/// Those that may have requests, as the API describes them.
fn targets(
    context: &Context<'_>,
    backend: &Backend,
    problems: &mut Vec<Problem>,
) -> BTreeSet<TargetDescription> {
    let mut out = BTreeSet::new();
    for target in backend.targets.iter() {
        match target.state {
            TargetState::Draining => continue,
            TargetState::Ready => {}
        }
        match description(target, backend.target_kind, &context.account.ranges) {
            // ELBv2 API, TargetDescription.AvailabilityZone: "this should be an Availability Zone inside the VPC".
            Ok(described) if described.availability_zone.is_some() && is_zonal(&backend.attributes) => {
                let message = format!(
                    "backend {}: {} is outside the VPC, where AWS reaches it only with cross-zone load balancing",
                    backend.id, described.id
                );
                problems.push(Problem::new(
                    Code::BackendUnsupported,
                    backend.origin.clone(),
                    message,
                ));
            }
            Ok(described) => {
                out.insert(described);
            }
            Err(message) => {
                let message = format!("backend {}: {message}", backend.id);
                problems.push(Problem::new(
                    Code::TargetUnresolvable,
                    backend.origin.clone(),
                    message,
                ));
            }
        }
    }
    out
}

fn description(target: &Target, kind: TargetKind, ranges: &[IpNet]) -> Result<TargetDescription, String> {
    let described = |id: String, zone: Option<String>| TargetDescription {
        id,
        port: target.port.get(),
        availability_zone: zone,
    };
    match (kind, &target.address) {
        (TargetKind::Pod, TargetAddress::Ip(ip)) => {
            let outside = !ranges.is_empty() && !ranges.iter().any(|range| range.contains(ip));
            Ok(described(ip.to_string(), outside.then(|| "all".into())))
        }
        (TargetKind::Node, TargetAddress::Instance(id)) => Ok(described(id.to_string(), None)),
        (TargetKind::Node, TargetAddress::Ip(ip)) => Err(format!(
            "the node at {ip} has no EC2 instance id (spec.providerID)"
        )),
        (TargetKind::Pod, TargetAddress::Instance(id)) => Err(format!("instance {id} is no pod's address")),
    }
}
