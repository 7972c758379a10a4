//! Backends of which not everything is known and the target groups that exist in, backends with what those have out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{Backend, HealthCheck, HealthPort, KeptHealth, LoadBalancer, Port, Semantics};

use super::of_users;
use crate::compile::{health_check, service_group_id};
use crate::names;
use crate::observed::{Observed, Owned, TargetGroupState};
use crate::resource::{HealthCheckSpec, Matcher, TargetGroupSpec, TargetProtocol};
use crate::settings::Settings;

pub(super) fn is_known(backend: &Backend) -> bool {
    backend.health.kept.is_empty() && !backend.keeps_tags
}

pub(super) fn unknown(backend: &Backend) -> (&BTreeSet<KeptHealth>, bool) {
    (&backend.health.kept, backend.keeps_tags)
}

/// What the target group of each backend has takes the place of what is not known of it.
pub(super) fn keep(settings: &Settings, observed: &Observed, out: &mut LoadBalancer) {
    let semantics = out.semantics;
    for backend in out.backends.values_mut().filter(|backend| !is_known(backend)) {
        if let Some(spec) = existing(settings, backend, semantics, observed) {
            *backend = as_it_is(settings, backend, spec).into();
        }
        // From here on it is like any other, and may share its target group.
        backend.health.kept.clear();
        backend.keeps_tags = false;
    }
}

fn as_it_is(settings: &Settings, backend: &Backend, spec: &TargetGroupSpec) -> Backend {
    let mut out = backend.clone();
    health(&mut out.health, &spec.health);
    if backend.keeps_tags {
        let mut tags: BTreeMap<_, _> = of_users(settings, &spec.tags).collect();
        tags.extend(backend.tags.clone());
        out.tags = tags;
    }
    out
}

/// The target group that a backend has: its own, else one of its Service's that is as the backend asks for as far as
/// that is known.
pub(super) fn existing<'a>(
    settings: &Settings,
    backend: &Backend,
    semantics: Semantics,
    observed: &'a Observed,
) -> Option<&'a TargetGroupSpec> {
    let all = || observed.target_groups.iter();
    let called = |owned: &&Owned<TargetGroupState>, id: &str| names::without_role(owned.resource()) == id;
    let own = all().find(|owned| called(owned, backend.id.as_str()));
    let shared = || {
        let number = backend.service.number.map(|number| number.to_string());
        let ports = [Some(&*backend.service.port), number.as_deref()];
        let ids: Vec<String> = ports
            .into_iter()
            .flatten()
            .map(|port| service_group_id(&backend.service.name, port))
            .collect();
        let of_service = move |owned: &&'a Owned<TargetGroupState>| {
            let resource = names::without_role(owned.resource());
            let kind = |id: &String| {
                let rest = resource.strip_prefix(id.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            ids.iter().any(kind)
        };
        all()
            .filter(of_service)
            .find(|owned| fits(settings, backend, &owned.get().spec))
    };
    let found = match (own, semantics) {
        (None, Semantics::Kubernetes) => shared(),
        (own, Semantics::Kubernetes | Semantics::AwsLoadBalancerController) => own,
    };
    found.map(|owned| &owned.get().spec)
}

/// Whether what is known of the backend is as the target group has it.
fn fits(settings: &Settings, backend: &Backend, spec: &TargetGroupSpec) -> bool {
    let settled = as_it_is(settings, backend, spec);
    let tags = || {
        settled
            .tags
            .iter()
            .all(|(key, value)| spec.tags.get(key) == Some(value))
    };
    health_check(&settled.health, settled.protocol.version) == spec.health && tags()
}

/// What is checked takes the place of what is not known.
pub(super) fn health(check: &mut HealthCheck, spec: &HealthCheckSpec) {
    for kept in std::mem::take(&mut check.kept) {
        match kept {
            KeptHealth::Tls => check.tls = spec.protocol == TargetProtocol::Https,
            KeptHealth::Port => check.port = port(&spec.port),
            KeptHealth::Path => check.path.clone_from(&spec.path),
            KeptHealth::Interval => check.interval_seconds = spec.interval_seconds,
            KeptHealth::Timeout => check.timeout_seconds = spec.timeout_seconds,
            KeptHealth::HealthyThreshold => check.healthy_threshold = spec.healthy_threshold,
            KeptHealth::UnhealthyThreshold => check.unhealthy_threshold = spec.unhealthy_threshold,
            KeptHealth::SuccessCodes => {
                let (Matcher::HttpCode(codes) | Matcher::GrpcCode(codes)) = &spec.matcher;
                check.success_codes.clone_from(codes);
            }
        }
    }
}

fn port(text: &str) -> HealthPort {
    let number = text.parse().ok().and_then(|number| Port::new(number).ok());
    number.map_or(HealthPort::Traffic, HealthPort::Fixed)
}
