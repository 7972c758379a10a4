//! A few words in, model values out.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use portcullis_model::{
    Action, Backend, BackendId, BackendProtocol, Certificate, CertificateSource, Code, ExactPath,
    FixedResponse, Forward, Glob, HealthCheck, HostMatch, KeyAlgorithm, KeyPair, Listener, LoadBalancer,
    LoadBalancerId, ObjectName, Options, Origin, PathMatch, PathPrefix, Port, Problem, Protocol, Rule,
    Scheme, Sealed, Semantics, ServiceRef, Target, TargetAddress, TargetKind, TargetState, Tls, Waits,
};

use crate::settings::Settings;

pub(super) fn settings(cluster: &str) -> Settings {
    Settings {
        cluster: cluster.into(),
        ..Settings::default()
    }
}

pub(super) fn port(number: u16) -> Port {
    Port::new(number.into()).unwrap()
}

pub(super) fn object(text: &str) -> ObjectName {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectName::new(namespace, name)
}

pub(super) fn origin(object_name: &str, field: &str) -> Origin {
    Origin::new("ingress", object(object_name), field)
}

/// Internal, without listeners, rules and backends.
pub(super) fn balancer(id: &str, semantics: Semantics) -> LoadBalancer {
    let id = LoadBalancerId::parse(id);
    let owner = match &id {
        LoadBalancerId::Lone(owner) => owner.clone(),
        LoadBalancerId::Group(group) => ObjectName::new("default", group.clone()),
    };
    LoadBalancer {
        id,
        semantics,
        members: vec![owner.clone()],
        options: Options::new(Origin::new("ingress", owner, "")),
        listeners: Default::default(),
        rules: Vec::new().into(),
        backends: Default::default(),
        given: Default::default(),
        unread: Default::default(),
        key_pairs: Default::default(),
    }
}

pub(super) fn http(balancer: &mut LoadBalancer, number: u16, default_action: Action) {
    listen(balancer, number, Protocol::Http, default_action);
}

pub(super) fn https(balancer: &mut LoadBalancer, number: u16, certificates: Vec<Certificate>) {
    let protocol = Protocol::Https(Tls {
        certificates,
        ..Tls::default()
    });
    listen(balancer, number, protocol, not_found());
}

fn listen(balancer: &mut LoadBalancer, number: u16, protocol: Protocol, default_action: Action) {
    let port = port(number);
    let origin = balancer.options.origin.at(format!("port {number}"));
    balancer.listeners.insert(
        port,
        Listener {
            port,
            protocol,
            authenticate: None,
            default_action,
            origin,
        },
    );
}

pub(super) fn discovered(hosts: &[&str]) -> Certificate {
    Certificate {
        source: CertificateSource::Discovered,
        hosts: hosts.iter().map(|host| HostMatch::parse(host).unwrap()).collect(),
        origin: origin("shop/web", "spec.tls[0]"),
    }
}

/// Named by its ARN, by this member.
pub(super) fn named(owner: &str, arn: &str) -> Certificate {
    Certificate {
        source: CertificateSource::Given(arn.to_owned()),
        hosts: Default::default(),
        origin: origin(owner, "certificate-arn"),
    }
}

/// Lies in a Secret.
pub(super) fn stored(secret: &str, hosts: &[&str]) -> Certificate {
    Certificate {
        source: CertificateSource::Stored(object(secret)),
        ..discovered(hosts)
    }
}

/// What lies there: valid from a day of 2026 on for 90 days. No part of it is a real one.
pub(super) fn pair(uid: &str, algorithm: KeyAlgorithm, day: i64) -> KeyPair {
    let not_before = 1_767_225_600 + day * 86_400;
    KeyPair {
        uid: uid.into(),
        certificate: format!("certificate of day {day}").into(),
        chain: "".into(),
        key: Sealed::new("private-key-value"),
        algorithm,
        names: vec![HostMatch::parse("a.example.com").unwrap()],
        not_before,
        not_after: not_before + 90 * 86_400,
        fingerprint: format!("fingerprint of day {day}").into(),
        version: format!("version of {uid} of day {day}").into(),
    }
}

pub(super) fn not_found() -> Action {
    Action::Fixed(FixedResponse::not_found())
}

pub(super) fn forward(id: &BackendId) -> Action {
    Action::Forward(Forward::to(id.clone()))
}

/// `prefix:/a`, `exact:/a` or `glob:/a*`.
pub(super) fn path(text: &str) -> PathMatch {
    let (kind, value) = text.split_once(':').unwrap();
    match kind {
        "prefix" => PathMatch::Prefix(PathPrefix::parse(value).unwrap()),
        "exact" => PathMatch::Exact(ExactPath::parse(value).unwrap()),
        _ => PathMatch::Glob(Glob::parse(value).unwrap()),
    }
}

/// On these ports, for one host and one path; either may be empty for all.
pub(super) fn rule(owner: &str, ports: &[u16], host: &str, path_text: &str, action: Action) -> Rule {
    let hosts: Vec<HostMatch> = [host]
        .iter()
        .filter(|h| !h.is_empty())
        .map(|h| HostMatch::parse(h).unwrap())
        .collect();
    let paths: Vec<PathMatch> = [path_text]
        .iter()
        .filter(|p| !p.is_empty())
        .map(|p| path(p))
        .collect();
    Rule {
        ports: ports.iter().map(|number| port(*number)).collect(),
        hosts,
        paths,
        conditions: Vec::new(),
        authenticate: None,
        clients: Default::default(),
        tls_policy: None,
        filters: None,
        rewrites: Vec::new(),
        action,
        origin: origin(owner, &format!("{host} {path_text}")),
    }
}

/// Where a backend's targets are.
#[derive(Clone, Copy)]
pub(super) enum Where<'a> {
    Pods(&'a [&'a str]),
    Nodes(&'a [&'a str]),
}

fn port_number(service_port: &str) -> Option<portcullis_model::Port> {
    match service_port {
        "http" => Some(port(80)),
        text => text.parse().ok().map(port),
    }
}

/// Adds the backend that most tests are content with: one pod of Service `web`.
pub(super) fn web(balancer: &mut LoadBalancer) -> BackendId {
    backend(
        balancer,
        "shop/web",
        "web",
        "80",
        8080,
        Where::Pods(&["10.0.16.10"]),
    )
}

/// Adds a backend of a Service in the owner's namespace and answers its id.
pub(super) fn backend(
    balancer: &mut LoadBalancer,
    owner: &str,
    service: &str,
    service_port: &str,
    target_port: u16,
    targets: Where<'_>,
) -> BackendId {
    let owner_name = object(owner);
    let id = BackendId::new(&owner_name, service, service_port);
    let target = |address: TargetAddress| Target {
        address,
        port: port(target_port),
        zone: None,
        instance: None,
        state: TargetState::Ready,
    };
    let (target_kind, targets): (_, BTreeSet<Target>) = match targets {
        Where::Pods(ips) => {
            let ip = |text: &&str| target(TargetAddress::Ip(text.parse::<IpAddr>().unwrap()));
            (TargetKind::Pod, ips.iter().map(ip).collect())
        }
        Where::Nodes(ids) => {
            let node = |id: &&str| target(TargetAddress::Instance(Arc::from(*id)));
            (TargetKind::Node, ids.iter().map(node).collect())
        }
    };
    let protocol = BackendProtocol::default();
    let backend = Backend {
        id: id.clone(),
        service: ServiceRef {
            name: ObjectName::new(owner_name.namespace.clone(), service),
            uid: "".into(),
            port: service_port.into(),
            // `http` is the name of port 80.
            number: port_number(service_port),
        },
        owner: owner_name,
        target_kind,
        port: Some(port(target_port)),
        health: HealthCheck::for_protocol(&protocol),
        protocol,
        control_port: None,
        registrants: Default::default(),
        drain_seconds: None,
        timeout_seconds: None,
        waits: Waits::default(),
        proxy_protocol: false,
        is_checked: false,
        affinity: None,
        ipv6: false,
        attributes: Default::default(),
        tags: Default::default(),
        keeps_tags: false,
        targets: targets.into_iter().collect(),
        origin: origin(owner, service),
    };
    balancer.backends.insert(id.clone(), backend.into());
    id
}

/// The simplest: one host, one path, one backend with two pods.
pub(super) fn simple() -> LoadBalancer {
    let mut out = balancer("shop/web", Semantics::AwsLoadBalancerController);
    out.options.scheme = Scheme::InternetFacing;
    let web = backend(
        &mut out,
        "shop/web",
        "web",
        "80",
        8080,
        Where::Pods(&["10.0.16.10", "10.0.48.10"]),
    );
    http(&mut out, 80, not_found());
    out.rules.push(rule(
        "shop/web",
        &[80],
        "web.example.com",
        "prefix:/",
        forward(&web),
    ));
    out
}

pub(super) fn codes(problems: &[Problem]) -> Vec<Code> {
    problems.iter().map(|problem| problem.code).collect()
}
