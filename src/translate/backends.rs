//! The backends that Ingresses name in, backends with their settings and targets out, or what answers in their place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use portcullis_model::{
    Action, Backend, BackendId, BackendProtocol, BackendVersion, Code, FixedResponse, Forward, HealthCheck,
    HealthPort, ObjectName, Origin, Port, Problem, ServiceRef, TargetKind, TargetState, WeightedBackend,
};

use super::actions::{self, Wanted};
use super::annotations::{Annotations, Setting, value};
use super::endpoints::{Endpoints, Found};
use super::member::Part;
use super::references::is_action;
use super::settings::{Settings, Targets};
use crate::cluster::object::{IngressBackend, IpFamily, PortRef, Service, ServicePort, ServiceType};
use crate::cluster::snapshot::Snapshot;

/// What answers instead of a backend that cannot be resolved. The first two are the incumbent's words.
const NO_SERVICE: &str = "Backend service does not exist";
const NO_ACTION: &str = "Backend action does not exist";
const NO_PORT: &str = "Backend service port does not exist";
const NOT_SERVED: &str = "Backend is not served";

/// Resolves backends, each once.
#[derive(Debug)]
pub(super) struct Backends<'a> {
    snapshot: &'a Snapshot,
    settings: &'a Settings,
    endpoints: Endpoints<'a>,
    pub(super) resolved: BTreeMap<BackendId, Backend>,
    pods: HashMap<(ObjectName, usize), Found>,
    nodes: HashMap<Port, Found>,
}

impl<'a> Backends<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, settings: &'a Settings, endpoints: Endpoints<'a>) -> Self {
        Self {
            snapshot,
            settings,
            endpoints,
            resolved: BTreeMap::new(),
            pods: HashMap::new(),
            nodes: HashMap::new(),
        }
    }

    /// What answers for a backend that an Ingress names at a field.
    pub(super) fn action(
        &mut self,
        part: &Part<'a>,
        backend: &IngressBackend,
        at: &Origin,
        problems: &mut Vec<Problem>,
    ) -> Action {
        let unavailable = |why: &str| Action::Fixed(FixedResponse::unavailable(why));
        match backend {
            IngressBackend::Service { name, port } if is_action(port) => {
                self.annotated(part, name, at, problems)
            }
            IngressBackend::Service { name, port } => {
                let at = at.at(format!("{}.service", at.field));
                match self.backend(part, name, port, &at, problems) {
                    Ok(id) => Action::Forward(Forward::to(id)),
                    Err(why) => unavailable(why),
                }
            }
            IngressBackend::Resource { kind, name } => {
                let at = at.at(format!("{}.resource", at.field));
                let message = format!("{kind} {name} cannot be a backend");
                problems.push(Problem::new(Code::ResourceBackendUnsupported, at, message));
                unavailable(NOT_SERVED)
            }
            IngressBackend::Missing => {
                problems.push(Problem::new(
                    Code::BackendMissing,
                    at.clone(),
                    "the backend names no Service",
                ));
                unavailable(NO_SERVICE)
            }
        }
    }

    fn annotated(&mut self, part: &Part<'a>, name: &str, at: &Origin, problems: &mut Vec<Problem>) -> Action {
        let unavailable = |why: &str| Action::Fixed(FixedResponse::unavailable(why));
        let Some(written) = part.annotations.get(&format!("actions.{name}")) else {
            let at = at.at(format!("{}.service.name", at.field));
            let message = format!("there is no annotation actions.{name}");
            problems.push(Problem::new(Code::ActionNotFound, at, message));
            return unavailable(NO_ACTION);
        };
        let at = part.annotations.origin(written);
        match actions::parse(written.value) {
            Ok(Wanted::Fixed(fixed)) => Action::Fixed(fixed),
            Ok(Wanted::Redirect(redirect)) => Action::Redirect(redirect),
            Ok(Wanted::Foreign) => {
                let message = format!("action {name} forwards to target groups that are not made here");
                problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
                unavailable(NOT_SERVED)
            }
            Ok(Wanted::Forward { services, stickiness }) => {
                let mut backends = Vec::with_capacity(services.len());
                let mut failure = NO_SERVICE;
                for service in services {
                    match self.backend(part, &service.name, &service.port, &at, problems) {
                        Ok(backend) => backends.push(WeightedBackend {
                            backend,
                            weight: service.weight,
                        }),
                        Err(why) => failure = why,
                    }
                }
                if backends.is_empty() {
                    return unavailable(failure);
                }
                Action::Forward(Forward { backends, stickiness })
            }
            Err(why) => {
                problems.push(part.annotations.invalid(written, why));
                unavailable(NOT_SERVED)
            }
        }
    }

    /// The backend of a Service port for one Ingress; what is wrong is told at each field that names it.
    fn backend(
        &mut self,
        part: &Part<'a>,
        service: &str,
        port: &PortRef,
        at: &Origin,
        problems: &mut Vec<Problem>,
    ) -> Result<BackendId, &'static str> {
        let owner = &part.ingress.meta.name;
        let port_text: Arc<str> = match port {
            PortRef::Number(number) => number.to_string().into(),
            PortRef::Name(name) => name.clone(),
            PortRef::Missing => "".into(),
        };
        let id = BackendId::new(owner, service, &port_text);
        if self.resolved.contains_key(&id) {
            return Ok(id);
        }
        let backend = self.resolve(part, service, port, &port_text, &id, at, problems)?;
        self.resolved.insert(id.clone(), backend);
        Ok(id)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "called once; every one is a fact about the backend"
    )]
    fn resolve(
        &mut self,
        part: &Part<'a>,
        name: &str,
        port: &PortRef,
        port_text: &Arc<str>,
        id: &BackendId,
        at: &Origin,
        problems: &mut Vec<Problem>,
    ) -> Result<Backend, &'static str> {
        let owner = part.ingress.meta.name.clone();
        let service_name = ObjectName::new(owner.namespace.clone(), name);
        let mut fail = |code: Code, at: Origin, message: String, why: &'static str| {
            problems.push(Problem::new(code, at, message));
            Err(why)
        };
        let field = |name: &str| match at.field.ends_with("service") {
            true => at.at(format!("{}.{name}", at.field)),
            false => at.clone(),
        };
        let Some(service) = self.snapshot.services.get(&service_name) else {
            let message = format!("there is no Service {service_name}");
            return fail(Code::ServiceNotFound, field("name"), message, NO_SERVICE);
        };
        if service.kind == ServiceType::ExternalName {
            let message = format!("Service {service_name} is of type ExternalName");
            return fail(Code::ServiceTypeUnsupported, field("name"), message, NOT_SERVED);
        }
        let Some((index, service_port)) = find_port(service, port) else {
            let message = format!("Service {service_name} has no TCP port {}", shown_port(port));
            return fail(Code::ServicePortNotFound, field("port"), message, NO_PORT);
        };

        let read = BackendSettings::read(part, service, self.settings, problems);
        let Some(read) = read else { return Err(NOT_SERVED) };
        let port_number = match read.kind {
            TargetKind::Pod => match &service_port.target {
                PortRef::Number(number) => Port::new(*number).ok(),
                PortRef::Name(_) => None,
                PortRef::Missing => Port::new(service_port.port).ok(),
            },
            TargetKind::Node => match service_port.node_port.and_then(|number| Port::new(number).ok()) {
                Some(port) => Some(port),
                None => {
                    let message =
                        format!("Service {service_name} has no node port, which target type instance needs");
                    let problem = Problem::new(Code::ServiceHasNoNodePort, field("name"), message);
                    problems.push(problem);
                    return Err(NOT_SERVED);
                }
            },
        };
        let health = read.health(service, service_port, problems);
        let found = match (read.kind, port_number) {
            (TargetKind::Node, Some(port)) => self
                .nodes
                .entry(port)
                .or_insert_with(|| self.endpoints.nodes(port)),
            (TargetKind::Node | TargetKind::Pod, _) => self
                .pods
                .entry((service_name.clone(), index))
                .or_insert_with(|| self.endpoints.pods(service, service_port)),
        };
        for refused in &found.refused {
            let message = refused.to_string();
            problems.push(Problem::new(Code::TargetRefused, field("name"), message));
        }
        if !found
            .targets
            .iter()
            .any(|target| target.state == TargetState::Ready)
        {
            let message = format!(
                "Service {service_name} has no ready {} for port {}",
                match read.kind {
                    TargetKind::Pod => "endpoint",
                    TargetKind::Node => "node",
                },
                shown_port(port)
            );
            problems.push(Problem::new(Code::EndpointsNotFound, field("name"), message));
        }
        Ok(Backend {
            id: id.clone(),
            owner,
            service: ServiceRef {
                name: service_name,
                uid: service.meta.uid.clone(),
                port: port_text.clone(),
            },
            target_kind: read.kind,
            port: port_number,
            protocol: read.protocol,
            health,
            drain_seconds: read.drain_seconds,
            timeout_seconds: None,
            ipv6: read.kind == TargetKind::Pod && self.endpoints.family(service) == IpFamily::V6,
            attributes: read.attributes,
            tags: read.tags,
            targets: found.targets.clone(),
            origin: at.clone(),
        })
    }
}

fn shown_port(port: &PortRef) -> String {
    match port {
        PortRef::Number(number) => number.to_string(),
        PortRef::Name(name) => value::shown(name),
        PortRef::Missing => "(none is named)".to_owned(),
    }
}

/// A TCP port by number or by name.
fn find_port<'a>(service: &'a Service, port: &PortRef) -> Option<(usize, &'a ServicePort)> {
    let tcp = service
        .ports
        .iter()
        .enumerate()
        .filter(|(_, p)| &*p.protocol == "TCP");
    match port {
        PortRef::Number(number) => tcp.into_iter().find(|(_, p)| p.port == *number),
        PortRef::Name(name) => tcp.into_iter().find(|(_, p)| p.name.as_ref() == Some(name)),
        PortRef::Missing => None,
    }
}

/// The annotations that concern a backend: the Service's own, else the Ingress's.
struct BackendSettings<'a> {
    own: Annotations<'a>,
    ingress: &'a Annotations<'a>,
    kind: TargetKind,
    protocol: BackendProtocol,
    attributes: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
    drain_seconds: Option<u32>,
}

impl<'a> BackendSettings<'a> {
    /// None where how targets are spoken to cannot be told: a guess could send in the clear what was to be encrypted.
    fn read(
        part: &'a Part<'_>,
        service: &'a Service,
        settings: &Settings,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let mut this = Self {
            own: Annotations::of("service", &service.meta),
            ingress: &part.annotations,
            kind: TargetKind::Pod,
            protocol: BackendProtocol::default(),
            attributes: BTreeMap::new(),
            tags: BTreeMap::new(),
            drain_seconds: None,
        };
        let refused = this.own.review(problems).is_some();
        let kind = this.setting("target-type", target_kind, problems);
        let protocol = this.setting(
            "backend-protocol",
            |text| scheme(text).map(|s| s == "HTTPS"),
            problems,
        );
        let version = this.setting("backend-protocol-version", version, problems);
        if refused || kind.is_invalid() || protocol.is_invalid() || version.is_invalid() {
            return None;
        }
        this.kind = match (settings.targets, kind.given()) {
            (Targets::Pods, _) => TargetKind::Pod,
            (Targets::Default(_), Some(kind)) => kind,
            (Targets::Default(kind), None) => kind,
        };
        this.protocol = BackendProtocol {
            version: version.given().unwrap_or_default(),
            tls: protocol.given().unwrap_or(false),
        };
        this.attributes = this.map("target-group-attributes", problems);
        this.tags = this.map("tags", problems);
        this.drain_seconds = this
            .attributes
            .get("deregistration_delay.timeout_seconds")
            .and_then(|text| text.parse().ok());
        Some(this)
    }

    fn setting<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        problems: &mut Vec<Problem>,
    ) -> Setting<T> {
        let source = if self.own.get(name).is_some() {
            &self.own
        } else {
            self.ingress
        };
        source.read(name, parse, problems)
    }

    /// Both merged; the Service's values win.
    fn map(&self, name: &str, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
        let mut all = self
            .ingress
            .read(name, value::map, problems)
            .given()
            .unwrap_or_default();
        all.extend(
            self.own
                .read(name, value::map, problems)
                .given()
                .unwrap_or_default(),
        );
        all
    }

    fn health(&self, service: &Service, port: &ServicePort, problems: &mut Vec<Problem>) -> HealthCheck {
        let mut health = HealthCheck::for_protocol(&self.protocol);
        let mut number = |name: &str, least: i64, most: i64, into: &mut u32| {
            let read = self.setting(name, |text| value::integer(text, least, most), problems);
            if let Some(number) = read.given().and_then(|number| u32::try_from(number).ok()) {
                *into = number;
            }
        };
        // Ranges: ELBv2 API, CreateTargetGroup.
        number(
            "healthcheck-interval-seconds",
            5,
            300,
            &mut health.interval_seconds,
        );
        number("healthcheck-timeout-seconds", 2, 120, &mut health.timeout_seconds);
        number("healthy-threshold-count", 2, 10, &mut health.healthy_threshold);
        number(
            "unhealthy-threshold-count",
            2,
            10,
            &mut health.unhealthy_threshold,
        );
        let tls = self.setting(
            "healthcheck-protocol",
            |text| scheme(text).map(|s| s == "HTTPS"),
            problems,
        );
        health.tls = tls.given().unwrap_or(health.tls);
        let path = self.setting("healthcheck-path", health_path, problems);
        health.path = path.given().unwrap_or(health.path);
        let codes = self.setting("success-codes", success_codes, problems);
        health.success_codes = codes.given().unwrap_or(health.success_codes);
        let at = self.setting(
            "healthcheck-port",
            |text| health_port(text, self.kind, service, port),
            problems,
        );
        health.port = at.given().unwrap_or_default();
        health
    }
}

fn target_kind(text: &str) -> Result<TargetKind, String> {
    match text {
        "ip" => Ok(TargetKind::Pod),
        "instance" => Ok(TargetKind::Node),
        _ => Err("expected ip or instance".to_owned()),
    }
}

fn scheme(text: &str) -> Result<&str, String> {
    match text {
        "HTTP" | "HTTPS" => Ok(text),
        _ => Err("expected HTTP or HTTPS".to_owned()),
    }
}

fn version(text: &str) -> Result<BackendVersion, String> {
    match text {
        "HTTP1" => Ok(BackendVersion::Http1),
        "HTTP2" => Ok(BackendVersion::Http2),
        "GRPC" => Ok(BackendVersion::Grpc),
        _ => Err("expected HTTP1, HTTP2 or GRPC".to_owned()),
    }
}

fn health_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.chars().any(|c| c.is_control() || c == ' ') {
        Ok(text.to_owned())
    } else {
        Err("expected a path that starts with '/'".to_owned())
    }
}

/// Numbers, lists and ranges of them: `200`, `200,202`, `200-299`.
fn success_codes(text: &str) -> Result<String, String> {
    let is_code = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let right = text.split(',').all(|item| match item.split_once('-') {
        Some((least, most)) => is_code(least) && is_code(most),
        None => is_code(item),
    });
    if right {
        Ok(text.to_owned())
    } else {
        Err("expected codes such as 200, 200,202 or 200-299".to_owned())
    }
}

/// A number, `traffic-port`, or the name of one of the Service's ports.
fn health_port(
    text: &str,
    kind: TargetKind,
    service: &Service,
    traffic: &ServicePort,
) -> Result<HealthPort, String> {
    if text == "traffic-port" {
        return Ok(HealthPort::Traffic);
    }
    let fixed = |number: i64| {
        Port::new(number)
            .map(HealthPort::Fixed)
            .map_err(|error| error.to_string())
    };
    if let Ok(number) = text.parse::<i64>() {
        return fixed(number);
    }
    let named = service.ports.iter().find(|p| p.name.as_deref() == Some(text));
    let Some(named) = named else {
        return Err(format!("Service {} has no port of this name", service.meta.name));
    };
    match (kind, &named.target, named.node_port) {
        (TargetKind::Node, _, Some(number)) => fixed(number),
        (TargetKind::Pod, PortRef::Number(number), _) => fixed(*number),
        (TargetKind::Pod, PortRef::Missing, _) => fixed(named.port),
        (TargetKind::Node, _, None) => Err("the Service has no node port for it".to_owned()),
        (TargetKind::Pod, PortRef::Name(_), _) if named.name == traffic.name => Ok(HealthPort::Traffic),
        (TargetKind::Pod, PortRef::Name(_), _) => Err("its target port is a name, not a number".to_owned()),
    }
}
