//! Load balancers of growing size in, what a change costs until it is served out.
#![expect(
    clippy::unwrap_used,
    reason = "what a benchmark is made of is right by construction"
)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use divan::Bencher;
use portcullis_model::{
    Action, Backend, BackendId, BackendProtocol, FixedResponse, Forward, HealthCheck, HostMatch, Listener,
    LoadBalancer, LoadBalancerId, ObjectName, Options, Origin, PathMatch, PathPrefix, Port, Protocol, Rule,
    ServiceRef, Target, TargetAddress, TargetKind, TargetState,
};
use portcullis_proxy::{Handle, KeyPairPem, ServedPorts, Server, ServerConfig, ServingState};

/// Routes, each with a host and a backend of its own, whose targets are ten.
const ROUTES: [usize; 3] = [100, 1_000, 10_000];
const TARGETS: usize = 10;

fn main() {
    divan::main();
}

fn origin() -> Origin {
    Origin::new("ingress", ObjectName::new("shop", "web"), "")
}

fn id(number: usize) -> BackendId {
    BackendId::new(&ObjectName::new("shop", "web"), &format!("s{number}"), "80")
}

/// `turn` moves its targets.
fn backend(number: usize, turn: usize) -> Backend {
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
        proxy_protocol: false,
        is_checked: false,
        ipv6: false,
        attributes: BTreeMap::new(),
        tags: BTreeMap::new(),
        keeps_tags: false,
        targets: targets.collect::<Arc<[Target]>>(),
        origin: origin(),
    }
}

/// `path` and `turn` change its rules and its targets.
fn balancer(routes: usize, path: &str, turn: usize) -> LoadBalancer {
    let answer = || Action::Fixed(FixedResponse::not_found());
    let rule = |number: usize| Rule {
        ports: [Port::HTTP].into(),
        hosts: vec![HostMatch::parse(&format!("h{number}.example.com")).unwrap()],
        paths: vec![PathMatch::Prefix(PathPrefix::parse(path).unwrap())],
        conditions: Vec::new(),
        authenticate: None,
        clients: Default::default(),
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
    let backends = (0..routes).map(|number| (id(number), backend(number, turn)));
    LoadBalancer {
        id: LoadBalancerId::parse("shop/web"),
        semantics: Default::default(),
        members: Vec::new(),
        options: Options::new(origin()),
        listeners: [(Port::HTTP, listener)].into(),
        rules: (0..routes).map(rule).collect(),
        backends: backends.collect(),
        given: BTreeMap::new(),
        key_pairs: Default::default(),
    }
}

const KEYS: BTreeMap<ObjectName, KeyPairPem> = BTreeMap::new();

fn running(balancer: &LoadBalancer) -> Handle {
    let config = ServerConfig {
        http: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        ..ServerConfig::default()
    };
    let server = Server::bind(&config).unwrap();
    let (state, _) = ServingState::build(balancer, &KEYS, None, server.served_ports()).unwrap();
    server.start(state).unwrap()
}

fn serve(handle: &Handle, balancer: &LoadBalancer) {
    let before = handle.state();
    let (state, _) = ServingState::build(balancer, &KEYS, Some(&before), ServedPorts::default()).unwrap();
    handle.swap(state);
}

/// Time from one load balancer to the other, until it is served.
fn between(bencher: Bencher<'_, '_>, one: &LoadBalancer, other: &LoadBalancer) {
    let handle = running(one);
    let mut turns = [other, one].into_iter().cycle();
    bencher.bench_local(|| serve(&handle, turns.next().unwrap()));
}

/// Every rule and every target changes.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn everything(bencher: Bencher<'_, '_>, routes: usize) {
    between(bencher, &balancer(routes, "/", 0), &balancer(routes, "/x", 1));
}

/// Every rule changes, no target.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn every_route(bencher: Bencher<'_, '_>, routes: usize) {
    between(bencher, &balancer(routes, "/", 0), &balancer(routes, "/x", 0));
}

/// A route comes and goes.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn one_route(bencher: Bencher<'_, '_>, routes: usize) {
    let one = balancer(routes, "/", 0);
    let mut other = one.clone();
    other.rules.pop();
    between(bencher, &one, &other);
}

/// One endpoint of one backend is replaced.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn one_endpoint(bencher: Bencher<'_, '_>, routes: usize) {
    let one = balancer(routes, "/", 0);
    let mut other = one.clone();
    let changed = backend(routes / 2, 1);
    other.backends.insert(changed.id.clone(), changed);
    between(bencher, &one, &other);
}

/// Nothing changes.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn nothing(bencher: Bencher<'_, '_>, routes: usize) {
    let one = balancer(routes, "/", 0);
    between(bencher, &one, &one.clone());
}
