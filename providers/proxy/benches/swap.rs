//! Load balancers of growing size in, what a change costs until it is served out.
#![expect(
    clippy::unwrap_used,
    reason = "what a benchmark is made of is right by construction"
)]

#[path = "made/balancer.rs"]
mod made;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use divan::Bencher;
use portcullis_model::{LoadBalancer, ObjectName};
use portcullis_proxy::{Handle, KeyPairPem, ServedPorts, Server, ServerConfig, ServingState};

use self::made::{backend, balancer};

/// Routes, each with a host and a backend of its own, whose targets are ten.
const ROUTES: [usize; 3] = [100, 1_000, 10_000];

fn main() {
    divan::main();
}

const KEYS: BTreeMap<ObjectName, KeyPairPem> = BTreeMap::new();

fn running(balancer: LoadBalancer) -> Handle {
    let config = ServerConfig {
        http: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        ..ServerConfig::default()
    };
    let server = Server::bind(&config).unwrap();
    let (state, _) = ServingState::build(balancer, &KEYS, None, server.served_ports()).unwrap();
    server.start(state).unwrap()
}

fn serve(handle: &Handle, balancer: LoadBalancer) {
    let before = handle.state();
    let (state, _) = ServingState::build(balancer, &KEYS, Some(&before), ServedPorts::default()).unwrap();
    handle.swap(state);
}

/// Time from one load balancer to the other, until it is served. What is served no more is freed by a thread of its own.
fn between(bencher: Bencher<'_, '_>, one: &LoadBalancer, other: &LoadBalancer) {
    let handle = running(one.clone());
    let mut turns = [other, one].into_iter().cycle();
    bencher
        .with_inputs(|| turns.next().unwrap().clone())
        .bench_local_values(|balancer| serve(&handle, balancer));
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
