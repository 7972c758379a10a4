//! The annotations of a Service and of the Ingress that names it in, how its targets are spoken to and checked out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    AffinityKey, BackendProtocol, BackendTls, BackendVersion, Code, HealthCheck, HealthPort, KeptHealth,
    KeptTargets, Port, Problem, Registrants, Semantics, TargetKind, Verification, Waits,
};

use super::verification;
use crate::cluster::object::{PortRef, Service, ServicePort};
use crate::translate::admission;
use crate::translate::annotations::attributes::{Of, at_odds};
use crate::translate::annotations::{Annotations, Setting, gke, value};
use crate::translate::member::Part;
use crate::translate::moved::backends;
use crate::translate::settings::{Merge, Settings, Targets};

const ATTRIBUTES: &str = "target-group-attributes";
/// What attributes that keep a client at its target start with.
const STICKINESS: &str = "stickiness.";
const ALGORITHM: &str = "load_balancing.algorithm.type";

/// The annotations that concern a backend: the Service's own, else the Ingress's.
#[derive(Debug)]
pub(super) struct TargetSettings<'a> {
    own: Annotations<'a>,
    ingress: &'a Annotations<'a>,
    pub(super) kind: TargetKind,
    pub(super) protocol: BackendProtocol,
    /// Of the nodes that are targets.
    pub(super) node_labels: BTreeMap<String, String>,
    pub(super) control_port: Option<Port>,
    pub(super) registrants: Registrants,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
    /// Some of them could not be read.
    pub(super) keeps_tags: bool,
    pub(super) drain_seconds: Option<u32>,
    pub(super) timeout_seconds: Option<u32>,
    pub(super) waits: Waits,
    pub(super) proxy_protocol: bool,
    pub(super) is_checked: bool,
    pub(super) affinity: Option<AffinityKey>,
    /// How targets are spoken to, or which they are, cannot be told: a guess could send in the clear what was to be
    /// encrypted, or to nodes that were not meant. What exists stays, else nothing is served.
    pub(super) unread: BTreeSet<KeptTargets>,
    /// Nothing is served. Everything else is read all the same, so that it is told.
    pub(super) is_refused: bool,
    kind_is_known: bool,
    version_is_known: bool,
}

impl<'a> TargetSettings<'a> {
    /// `port` as the Ingress names it, and the same as the Service has it.
    pub(super) fn read(
        part: &'a Part<'_>,
        service: &'a Service,
        (port, service_port): (&str, &ServicePort),
        settings: &Settings,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut this = Self {
            own: Annotations::of("service", &service.meta),
            ingress: &part.annotations,
            kind: TargetKind::Pod,
            protocol: BackendProtocol::default(),
            node_labels: BTreeMap::new(),
            control_port: None,
            registrants: Registrants::Alone,
            attributes: BTreeMap::new(),
            tags: BTreeMap::new(),
            keeps_tags: false,
            drain_seconds: None,
            timeout_seconds: None,
            waits: Waits::default(),
            proxy_protocol: false,
            is_checked: false,
            affinity: None,
            unread: BTreeSet::new(),
            is_refused: false,
            kind_is_known: true,
            version_is_known: true,
        };
        let withheld = admission::withhold(&mut this.own, part.parameters, part.semantics, problems);
        let refused = this.own.review(problems).is_some() || withheld.is_some();
        if part.semantics == Semantics::Kubernetes {
            gke::review(&this.own, problems);
        }
        let kind = this.setting("target-type", target_kind, problems);
        let protocol = this.setting(
            "backend-protocol",
            |text| scheme(text).map(|s| s == "HTTPS"),
            problems,
        );
        let version = this.setting("backend-protocol-version", version, problems);
        let labels = this.setting("target-node-labels", node_labels, problems);
        // Ours of either object win.
        let is_led_to = backends::leads_to(part, &service.meta.name.name);
        let mut wait = |ours: &str, theirs: &str| {
            let seconds = match this.setting(ours, backends::seconds, problems) {
                Setting::Absent if is_led_to => backends::wait(part, theirs, problems),
                seconds @ (Setting::Absent | Setting::Given(_) | Setting::Invalid) => seconds,
            };
            seconds.given()
        };
        let timeout = wait("response-timeout-seconds", "proxy-read-timeout");
        let waits = Waits {
            connect_seconds: wait("connect-timeout-seconds", "proxy-connect-timeout"),
            request_body_seconds: wait("request-body-timeout-seconds", "proxy-send-timeout"),
            response_body_seconds: wait("response-body-timeout-seconds", "proxy-read-timeout"),
        };
        // Of others a Service's word for its port is before the Ingress's.
        let mut told = Vec::new();
        let of_port = match part.semantics {
            Semantics::Kubernetes => gke::protocol(&this.own, service, service_port, &mut told),
            Semantics::AwsLoadBalancerController => Setting::Absent,
        };
        let is_unread = of_port.is_invalid() && protocol == Setting::Absent;
        let moved = |told: &mut Vec<Problem>| match of_port {
            Setting::Absent if is_led_to => backends::protocol(part, told),
            of_port @ (Setting::Absent | Setting::Given(_) | Setting::Invalid) => of_port,
        };
        let moved = match (&protocol, &version) {
            (Setting::Absent, _) => {
                let moved = moved(&mut told);
                problems.append(&mut told);
                moved
            }
            // Ours stand in its place: of what cannot be read nothing is lost.
            (Setting::Given(_), Setting::Absent) => {
                moved(&mut told).given().map_or(Setting::Absent, Setting::Given)
            }
            (_, _) => Setting::Absent,
        };
        (this.timeout_seconds, this.waits) = (timeout, waits);
        let checked = this.setting("active-health-checks", value::boolean, problems);
        this.is_checked = checked.given().unwrap_or(false);
        let affinity = |text: &str| AffinityKey::parse(text).map_err(|why| why.to_string());
        let affinity = match this.setting("affinity-hash", affinity, problems) {
            Setting::Absent if is_led_to => backends::affinity(part, problems),
            affinity @ (Setting::Absent | Setting::Given(_) | Setting::Invalid) => affinity,
        };
        this.affinity = affinity.given();
        let introduced = this.setting("send-proxy-protocol", proxy_protocol, problems);
        let shared = this.setting("multi-cluster-target-group", value::boolean, problems);
        this.kind_is_known = !kind.is_invalid();
        let lacks_version = version.is_invalid() || is_unread && version == Setting::Absent;
        this.version_is_known = !lacks_version;
        this.is_refused = refused || moved.is_invalid() && !is_unread || introduced.is_invalid();
        let unread = [
            (kind.is_invalid(), KeptTargets::Kind),
            (labels.is_invalid(), KeptTargets::Nodes),
            (protocol.is_invalid() || is_unread, KeptTargets::Tls),
            (lacks_version, KeptTargets::Version),
        ];
        let unread = unread
            .into_iter()
            .filter_map(|(unread, what)| unread.then_some(what));
        this.unread.extend(unread);
        this.kind = match (settings.targets, kind.given()) {
            (Targets::Pods, _) => TargetKind::Pod,
            (Targets::Default(_), Some(kind)) => kind,
            (Targets::Default(kind), None) => kind,
        };
        let is_known = !protocol.is_invalid() && !moved.is_invalid();
        let theirs = moved.given().unwrap_or_default();
        this.protocol = BackendProtocol {
            version: version.given().unwrap_or(theirs.version),
            tls: match protocol {
                Setting::Given(true) => BackendTls::Unverified,
                Setting::Absent => theirs.tls,
                Setting::Given(false) | Setting::Invalid => BackendTls::Off,
            },
        };
        let asked = verification::read(&this, part, &service.meta.name, problems);
        this.verify(asked, is_known, problems);
        this.proxy_protocol = introduced.given().unwrap_or(false);
        let control_port = this.control_port(service, port, problems);
        if control_port.is_invalid() {
            this.unread.insert(KeptTargets::ControlPort);
        }
        this.control_port = control_port.given();
        if this.kind == TargetKind::Node || !this.kind_is_known {
            this.node_labels = labels.given().unwrap_or_default();
        }
        // Where it cannot be read, others may register targets: theirs must not be taken for nobody's.
        this.registrants = match shared {
            Setting::Absent | Setting::Given(false) => Registrants::Alone,
            Setting::Given(true) | Setting::Invalid => Registrants::OthersToo,
        };
        // The Service's list stands for the Ingress's as a whole.
        let source = this.source(ATTRIBUTES);
        let mut attributes = source.read_attributes(Of::TargetGroup, [source.get(ATTRIBUTES)], problems);
        let is_said = source
            .get(ATTRIBUTES)
            .is_some_and(|written| written.value.contains(STICKINESS));
        if is_led_to && !is_said {
            attributes.extend(backends::stickiness(part, problems));
        }
        let mut odd = at_odds(Of::TargetGroup, &mut attributes);
        // "If you have enabled target optimizer, the routing algorithm can only be round robin."
        let algorithm = attributes
            .get(ALGORITHM)
            .filter(|algorithm| *algorithm != "round_robin");
        if let (Some(_), Some(algorithm)) = (this.control_port, algorithm) {
            let why =
                format!("{ALGORITHM} is {algorithm}, which does not go with a control port; it is left out");
            odd.insert(ALGORITHM.to_owned(), why);
            attributes.remove(ALGORITHM);
        }
        source.tell_at_odds(ATTRIBUTES, odd.into_values(), problems);
        if let (Merge::OneLoadBalancer, Some(written)) = (settings.merge, source.get(ATTRIBUTES)) {
            source.tell_unheeded(Of::TargetGroup, written, problems);
        }
        this.attributes = attributes;
        (this.tags, this.keeps_tags) = this.tags(problems);
        this.drain_seconds = this
            .attributes
            .get("deregistration_delay.timeout_seconds")
            .and_then(|text| text.parse().ok());
        this
    }

    /// Has targets' certificates verified, if that is asked for. Where it cannot be, nothing is served: what exists at a
    /// provider verifies nothing either, so that it must not stay. `is_known` is whether it is how they are spoken to.
    fn verify(&mut self, asked: Setting<Verification>, is_known: bool, problems: &mut Vec<Problem>) {
        match (asked, &self.protocol.tls) {
            (Setting::Absent, _) => {}
            (Setting::Given(asked), BackendTls::Unverified) => {
                self.protocol.tls = BackendTls::Verified(asked);
            }
            (Setting::Given(asked), BackendTls::Off | BackendTls::Verified(_)) => {
                self.is_refused = true;
                if is_known {
                    let message = "targets are spoken to in clear text and show no certificate: backend-protocol must be HTTPS";
                    problems.push(Problem::new(Code::AnnotationInvalid, asked.origin, message));
                }
            }
            (Setting::Invalid, _) => self.is_refused = true,
        }
    }

    fn setting<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        problems: &mut Vec<Problem>,
    ) -> Setting<T> {
        self.source(name).read(name, parse, problems)
    }

    /// The annotations in which one counts.
    pub(super) fn source(&self, name: &str) -> &Annotations<'a> {
        if self.own.get(name).is_some() && self.ingress.class(name).is_none() {
            &self.own
        } else {
            self.ingress
        }
    }

    /// Source: ELBv2 API, CreateTargetGroup: "Health check interval must be greater than the timeout."
    fn tell_long_timeout(&self, health: &HealthCheck, problems: &mut Vec<Problem>) {
        let (timeout, interval) = (health.timeout_seconds, health.interval_seconds);
        let names = ["healthcheck-timeout-seconds", "healthcheck-interval-seconds"];
        let written = names.iter().find_map(|name| {
            let annotations = self.source(name);
            annotations.get(name).map(|written| (annotations, written))
        });
        if let Some((annotations, written)) = written {
            let why = format!("a check every {interval} s must take less than that, not up to {timeout} s");
            problems.push(annotations.invalid(written, why));
        }
    }

    /// Read from the Ingress alone.
    fn control_port(&self, service: &Service, port: &str, problems: &mut Vec<Problem>) -> Setting<Port> {
        let name = format!("target-control-port.{}.{port}", service.meta.name.name);
        let read = |text: &str| match self.kind {
            TargetKind::Node if self.kind_is_known => {
                Err("only target type ip has a control port".to_owned())
            }
            TargetKind::Pod | TargetKind::Node => {
                let number = value::integer(text, 1, 65_535)?;
                Port::new(number).map_err(|error| error.to_string())
            }
        };
        self.ingress.read(&name, read, problems)
    }

    /// All merged, and whether some could not be read; the class's values win over the Service's, and these over the
    /// Ingress's.
    fn tags(&self, problems: &mut Vec<Problem>) -> (BTreeMap<String, String>, bool) {
        let (mut all, mut unread) = (BTreeMap::new(), false);
        for (annotations, written) in [
            (self.ingress, self.ingress.own("tags")),
            (&self.own, self.own.own("tags")),
            (self.ingress, self.ingress.class("tags")),
        ] {
            let (tags, whole) = annotations.read_tags([written], problems);
            all.extend(tags);
            unread |= !whole;
        }
        (all, unread)
    }

    pub(super) fn health(
        &self,
        service: &Service,
        port: &ServicePort,
        problems: &mut Vec<Problem>,
    ) -> HealthCheck {
        let mut health = HealthCheck::for_protocol(&self.protocol);
        let mut kept = BTreeSet::new();
        let mut number = |of: KeptHealth, name: &str, least: i64, most: i64, into: &mut u32| {
            let read = self.setting(name, |text| value::integer(text, least, most), problems);
            note(&read, of, &mut kept);
            if let Some(number) = read.given().and_then(|number| u32::try_from(number).ok()) {
                *into = number;
            }
        };
        // Ranges: ELBv2 API, CreateTargetGroup.
        number(
            KeptHealth::Interval,
            "healthcheck-interval-seconds",
            5,
            300,
            &mut health.interval_seconds,
        );
        number(
            KeptHealth::Timeout,
            "healthcheck-timeout-seconds",
            2,
            120,
            &mut health.timeout_seconds,
        );
        number(
            KeptHealth::HealthyThreshold,
            "healthy-threshold-count",
            2,
            10,
            &mut health.healthy_threshold,
        );
        number(
            KeptHealth::UnhealthyThreshold,
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
        note(&tls, KeptHealth::Tls, &mut kept);
        health.tls = tls.given().unwrap_or(health.tls);
        let path = self.setting("healthcheck-path", health_path, problems);
        note(&path, KeptHealth::Path, &mut kept);
        health.path = path.given().unwrap_or(health.path);
        let codes = |text: &str| match self.protocol.version {
            // What is right for one of the versions may be right.
            _ if !self.version_is_known => success_codes(text, HTTP_CODES)
                .or_else(|why| success_codes(text, GRPC_CODES).map_err(|_| why)),
            BackendVersion::Http1 | BackendVersion::Http2 => success_codes(text, HTTP_CODES),
            BackendVersion::Grpc => success_codes(text, GRPC_CODES),
        };
        let codes = self.setting("success-codes", codes, problems);
        note(&codes, KeptHealth::SuccessCodes, &mut kept);
        health.success_codes = codes.given().unwrap_or(health.success_codes);
        let at = |text: &str| {
            let read = |kind| health_port(text, kind, service, port);
            match self.kind_is_known {
                true => read(self.kind),
                // What is right for one of the kinds may be right.
                false => read(TargetKind::Pod).or_else(|why| read(TargetKind::Node).map_err(|_| why)),
            }
        };
        let at = self.setting("healthcheck-port", at, problems);
        note(&at, KeptHealth::Port, &mut kept);
        health.port = at.given().unwrap_or_default();
        let both = [KeptHealth::Interval, KeptHealth::Timeout];
        // What could not be read is told already.
        if health.timeout_seconds >= health.interval_seconds && !both.iter().any(|of| kept.contains(of)) {
            self.tell_long_timeout(&health, problems);
            health.timeout_seconds = health.interval_seconds - 1;
            kept.extend(both);
        }
        health.kept = kept;
        health
    }
}

/// A setting that cannot be read is not known: what is checked where targets are checked already stays.
fn note<T>(read: &Setting<T>, of: KeptHealth, kept: &mut BTreeSet<KeptHealth>) {
    if read.is_invalid() {
        kept.insert(of);
    }
}

fn target_kind(text: &str) -> Result<TargetKind, String> {
    match text {
        "ip" => Ok(TargetKind::Pod),
        "instance" => Ok(TargetKind::Node),
        _ => Err("expected ip or instance".to_owned()),
    }
}

/// Labels that a node can have: others would be met by none, and nobody would know why.
/// Source: Kubernetes docs, "Labels and Selectors", syntax and character set.
fn node_labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let word = |text: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let outer = |c: char| c.is_ascii_alphanumeric();
        text.len() <= 63 && text.chars().all(inner) && text.starts_with(outer) && text.ends_with(outer)
    };
    let labels = value::map(text)?;
    for (key, value) in &labels {
        let (prefix, name) = key
            .split_once('/')
            .map_or((None, &**key), |(prefix, name)| (Some(prefix), name));
        let prefix_fits = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(word));
        if !prefix_fits || !word(name) || !(value.is_empty() || word(value)) {
            return Err(format!("{} is no label", value::shown(&format!("{key}={value}"))));
        }
    }
    Ok(labels)
}

fn scheme(text: &str) -> Result<&str, String> {
    match text {
        "HTTP" | "HTTPS" => Ok(text),
        _ => Err("expected HTTP or HTTPS".to_owned()),
    }
}

/// `v2`, or `none`.
fn proxy_protocol(text: &str) -> Result<bool, String> {
    match text {
        "v2" => Ok(true),
        "none" => Ok(false),
        _ => Err("expected v2 or none".to_owned()),
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

pub(in crate::translate) fn health_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.chars().any(|c| c.is_control() || c == ' ') {
        Ok(text.to_owned())
    } else {
        Err("expected a path that starts with '/'".to_owned())
    }
}

/// Codes of a healthy answer that AWS takes of targets of HTTP. Source: ELBv2 API, Matcher.HttpCode.
const HTTP_CODES: (u16, u16) = (200, 499);
/// The same of targets of gRPC. Source: ELBv2 API, Matcher.GrpcCode.
const GRPC_CODES: (u16, u16) = (0, 99);
/// The same of targets of a Network Load Balancer. Source: ELBv2 API, Matcher.HttpCode.
pub(in crate::translate) const FRONT_CODES: (u16, u16) = (200, 599);

/// Numbers, lists and ranges of them: `200`, `200,202`, `200-299`.
pub(in crate::translate) fn success_codes(text: &str, (first, last): (u16, u16)) -> Result<String, String> {
    let code = |text: &str| {
        let digits = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let code = text.parse::<u16>().ok().filter(|_| digits);
        code.filter(|code| (first..=last).contains(code))
    };
    let right = text.split(',').all(|item| match item.split_once('-') {
        Some((least, most)) => {
            matches!((code(least), code(most)), (Some(least), Some(most)) if least <= most)
        }
        None => code(item).is_some(),
    });
    if right {
        Ok(text.to_owned())
    } else {
        let (second, next) = (first + 2, first + 5);
        Err(format!(
            "expected codes from {first} to {last}, such as {first}, {first},{second} or {first}-{next}"
        ))
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
