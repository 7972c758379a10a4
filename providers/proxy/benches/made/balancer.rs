//! Numbers of routes and of a turn in, a load balancer with a host and a backend of ten targets for each out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use portcullis_model::{
    Action, Backend, BackendId, BackendProtocol, FixedResponse, Forward, HealthCheck, HostMatch, Listener,
    LoadBalancer, LoadBalancerId, ObjectName, Options, Origin, PathMatch, PathPrefix, Port, Protocol, Rule,
    ServiceRef, Target, TargetAddress, TargetKind, TargetState, Waits,
};

const TARGETS: usize = 10;

fn origin() -> Origin {
    Origin::new("ingress", ObjectName::new("shop", "web"), "")
}

fn id(number: usize) -> BackendId {
    BackendId::new(&ObjectName::new("shop", "web"), &format!("s{number}"), "80")
}

/// `turn` moves its targets.
pub(crate) fn backend(number: usize, turn: usize) -> Backend {
    let protocol = BackendProtocol::default();
    let targets = (0..TARGETS).map(|target| {
        let place = u32::try_from(number * TARGETS + target + turn).unwrap();
        Target {
            address: TargetAddress::Ip(Ipv4Addr::from_bits(0x0a00_0000 + place).into()),
            port: Port::HTTP,
            zone: None,
            instance: None,
            state: TargetState::Ready,
        }
    });
    Backend {
        id: id(number),
        owner: ObjectName::new("shop", "web"),
        service: ServiceRef {
            name: ObjectName::new("shop", format!("s{number}")),
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
        keeps_tags: false,
        attributes: BTreeMap::new(),
        tags: BTreeMap::new(),
        targets: targets.collect::<Arc<[Target]>>(),
        origin: origin(),
    }
}

/// `path` and `turn` change its rules and its targets.
pub(crate) fn balancer(routes: usize, path: &str, turn: usize) -> LoadBalancer {
    let answer = || Action::Fixed(FixedResponse::not_found());
    let rule = |number: usize| Rule {
        ports: [Port::HTTP].into(),
        hosts: vec![HostMatch::parse(&format!("h{number}.example.com")).unwrap()],
        paths: vec![PathMatch::Prefix(PathPrefix::parse(path).unwrap())],
        conditions: Vec::new(),
        authenticate: None,
        clients: Default::default(),
        tls_policy: None,
        filters: None,
        rewrites: Vec::new(),
        action: Action::Forward(Forward::to(id(number))),
        origin: origin(),
    };
    let listener = Listener {
        port: Port::HTTP,
        protocol: Protocol::Http,
        authenticate: None,
        default_action: answer(),
        origin: origin(),
    };
    let backends = (0..routes).map(|number| (id(number), backend(number, turn).into()));
    LoadBalancer {
        id: LoadBalancerId::parse("shop/web"),
        semantics: Default::default(),
        members: Vec::new(),
        options: Options::new(origin()),
        listeners: [(Port::HTTP, listener)].into(),
        rules: (0..routes).map(rule).collect(),
        backends: backends.collect(),
        given: BTreeMap::new(),
        unread: Default::default(),
        key_pairs: Default::default(),
    }
}
