//! The parts that a test is about in, a whole load balancer and a proxy that serves it out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use portcullis_model::{
    Action, Backend, BackendId, BackendProtocol, BackendTls, BackendVersion, Certificate, CertificateSource,
    Filters, FixedResponse, Forward, HealthCheck, HostMatch, Listener, LoadBalancer, LoadBalancerId,
    ObjectName, Options, Origin, PathMatch, PathPrefix, Port, Problem, Protocol, Rule, Semantics, ServiceRef,
    Target, TargetAddress, TargetKind, TargetState, Tls, Waits,
};
use portcullis_proxy::{Handle, Http1Engine, KeyPairPem, Server, ServerConfig, ServingState, Settings};

pub(crate) fn origin() -> Origin {
    Origin::new("ingress", ObjectName::new("shop", "web"), "")
}

pub(crate) fn id(name: &str) -> BackendId {
    BackendId::new(&ObjectName::new("shop", "web"), name, "80")
}

/// Both standard listeners without rules; what nobody takes is answered 404.
pub(crate) fn empty() -> LoadBalancer {
    let listener = |port, protocol| Listener {
        port,
        protocol,
        authenticate: None,
        default_action: Action::Fixed(FixedResponse::not_found()),
        origin: origin(),
    };
    LoadBalancer {
        id: LoadBalancerId::parse("shop/web"),
        semantics: Semantics::Kubernetes,
        members: Vec::new(),
        options: Options::new(origin()),
        listeners: [
            (Port::HTTP, listener(Port::HTTP, Protocol::Http)),
            (
                Port::HTTPS,
                listener(Port::HTTPS, Protocol::Https(Tls::default())),
            ),
        ]
        .into(),
        rules: Vec::new().into(),
        backends: BTreeMap::new(),
        given: BTreeMap::new(),
        unread: Default::default(),
        key_pairs: Default::default(),
    }
}

/// A rule on both listeners for all paths below `path`.
pub(crate) fn rule(host: &str, path: &str, action: Action) -> Rule {
    Rule {
        ports: [Port::HTTP, Port::HTTPS].into(),
        hosts: if host == "*" {
            Vec::new()
        } else {
            vec![HostMatch::parse(host).unwrap()]
        },
        paths: vec![PathMatch::Prefix(PathPrefix::parse(path).unwrap())],
        conditions: Vec::new(),
        authenticate: None,
        clients: Default::default(),
        tls_policy: None,
        filters: None,
        rewrites: Vec::new(),
        action,
        origin: origin(),
    }
}

/// The same with what is done beside the action.
pub(crate) fn filtered(rule: Rule, filters: Filters) -> Rule {
    Rule {
        filters: Some(Arc::new(filters)),
        ..rule
    }
}

pub(crate) fn to(name: &str) -> Action {
    Action::Forward(Forward::to(id(name)))
}

pub(crate) fn backend(name: &str, targets: &[SocketAddr]) -> Backend {
    let protocol = BackendProtocol::default();
    Backend {
        id: id(name),
        owner: ObjectName::new("shop", "web"),
        service: ServiceRef {
            name: ObjectName::new("shop", name),
            uid: "".into(),
            port: "80".into(),
            number: None,
        },
        target_kind: TargetKind::Pod,
        port: None,
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
        attributes: BTreeMap::new(),
        tags: BTreeMap::new(),
        keeps_tags: false,
        targets: targets
            .iter()
            .map(|a| target(*a, TargetState::Ready))
            .collect::<Arc<[Target]>>(),
        origin: origin(),
    }
}

pub(crate) fn target(address: SocketAddr, state: TargetState) -> Target {
    Target {
        address: TargetAddress::Ip(address.ip()),
        port: Port::new(address.port().into()).unwrap(),
        zone: None,
        instance: None,
        state,
    }
}

pub(crate) fn speaking(mut backend: Backend, version: BackendVersion, tls: bool) -> Backend {
    let tls = match tls {
        true => BackendTls::Unverified,
        false => BackendTls::Off,
    };
    backend.protocol = BackendProtocol { version, tls };
    backend
}

/// Everything to one backend.
pub(crate) fn all_to(backend: Backend) -> LoadBalancer {
    let mut balancer = empty();
    balancer
        .rules
        .push(rule("*", "/", Action::Forward(Forward::to(backend.id.clone()))));
    balancer.backends.insert(backend.id.clone(), backend.into());
    balancer
}

/// All below a path to another.
pub(crate) fn also(balancer: &mut LoadBalancer, path: &str, added: Backend) {
    let to_it = Action::Forward(Forward::to(added.id.clone()));
    balancer.rules.insert(0, rule("*", path, to_it));
    balancer.backends.insert(added.id.clone(), added.into());
}

/// The HTTPS listener serves these Secrets for these hosts.
pub(crate) fn with_certificates(mut balancer: LoadBalancer, wanted: &[(&str, &[&str])]) -> LoadBalancer {
    let certificates = wanted
        .iter()
        .map(|(secret, hosts)| Certificate {
            source: CertificateSource::Stored(ObjectName::new("shop", *secret)),
            hosts: hosts.iter().map(|h| HostMatch::parse(h).unwrap()).collect(),
            origin: origin(),
        })
        .collect();
    let listener = balancer.listeners.get_mut(&Port::HTTPS).unwrap();
    listener.protocol = Protocol::Https(Tls {
        certificates,
        ..Tls::default()
    });
    balancer
}

pub(crate) type KeyPairs = BTreeMap<ObjectName, KeyPairPem>;

/// A running proxy on two free ports of loopback.
pub(crate) struct Proxy {
    pub(crate) handle: Handle,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) problems: Vec<Problem>,
}

/// What is shown of each target of a backend.
pub(crate) fn shown(handle: &Handle, backend: &str) -> Vec<String> {
    let text = handle.view().to_string();
    let (_, targets) = text.split_once("\ntargets\n").unwrap();
    let head = format!("  {}", id(backend));
    let after = targets.lines().skip_while(|line| *line != head).skip(1);
    after
        .take_while(|line| line.starts_with("    "))
        .map(str::to_owned)
        .collect()
}

pub(crate) fn serve(balancer: &LoadBalancer) -> Proxy {
    serve_with(balancer, &KeyPairs::new(), Settings::default(), 1)
}

pub(crate) fn serve_with(
    balancer: &LoadBalancer,
    keys: &KeyPairs,
    settings: Settings,
    workers: usize,
) -> Proxy {
    let config = ServerConfig {
        workers: NonZeroUsize::new(workers).unwrap(),
        settings,
        ..ServerConfig::default()
    };
    serve_as(balancer, keys, config)
}

/// These modules are compiled twice, once for each engine.
pub(crate) fn engine() -> Http1Engine {
    match env!("CARGO_CRATE_NAME") {
        "serving_own" => Http1Engine::Own,
        _ => Http1Engine::Hyper,
    }
}

/// The same, at ports of its own choice.
pub(crate) fn serve_as(balancer: &LoadBalancer, keys: &KeyPairs, config: ServerConfig) -> Proxy {
    serve_by(engine(), balancer, keys, config)
}

pub(crate) fn serve_by(
    engine: Http1Engine,
    balancer: &LoadBalancer,
    keys: &KeyPairs,
    mut config: ServerConfig,
) -> Proxy {
    config.settings.http1_engine = engine;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(&ServerConfig {
        http: Some(any),
        https: Some(any),
        ..config
    })
    .unwrap();
    let (http, https) = (server.http_addr().unwrap(), server.https_addr().unwrap());
    let (state, problems) = ServingState::build(balancer.clone(), keys, None, server.served_ports()).unwrap();
    Proxy {
        handle: server.start(state).unwrap(),
        http,
        https,
        problems,
    }
}
