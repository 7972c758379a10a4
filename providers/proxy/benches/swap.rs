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
/// They share what does not change.
fn between(bencher: Bencher<'_, '_>, one: &LoadBalancer, other: &LoadBalancer) {
    let handle = running(one.clone());
    let mut turns = [other, one].into_iter().cycle();
    bencher
        .with_inputs(|| turns.next().unwrap().clone())
        .bench_local_values(|balancer| serve(&handle, balancer));
}

/// The same where they share nothing, as a translation of everything makes them: all is compared.
fn between_new(bencher: Bencher<'_, '_>, one: impl Fn() -> LoadBalancer, other: impl Fn() -> LoadBalancer) {
    let handle = running(one());
    let mut is_other = false;
    bencher
        .with_inputs(|| {
            is_other = !is_other;
            if is_other { other() } else { one() }
        })
        .bench_local_values(|balancer| serve(&handle, balancer));
}

fn without_a_route(mut balancer: LoadBalancer) -> LoadBalancer {
    balancer.rules.pop();
    balancer
}

fn with_another_endpoint(mut balancer: LoadBalancer) -> LoadBalancer {
    let changed = backend(balancer.rules.len() / 2, 1);
    balancer.backends.insert(changed.id.clone(), changed.into());
    balancer
}

/// Every rule and every target changes.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn everything(bencher: Bencher<'_, '_>, routes: usize) {
    between(bencher, &balancer(routes, "/", 0), &balancer(routes, "/x", 1));
}

/// Every rule changes, no target.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn every_route(bencher: Bencher<'_, '_>, routes: usize) {
    let one = balancer(routes, "/", 0);
    let mut other = balancer(routes, "/x", 0);
    other.backends = one.backends.clone();
    between(bencher, &one, &other);
}

/// The same between load balancers that share nothing.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn every_route_of_new(bencher: Bencher<'_, '_>, routes: usize) {
    between_new(bencher, || balancer(routes, "/", 0), || balancer(routes, "/x", 0));
}

/// A route comes and goes.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn one_route(bencher: Bencher<'_, '_>, routes: usize) {
    let one = balancer(routes, "/", 0);
    between(bencher, &one, &without_a_route(one.clone()));
}

/// The same between load balancers that share nothing.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn one_route_of_new(bencher: Bencher<'_, '_>, routes: usize) {
    let one = || balancer(routes, "/", 0);
    between_new(bencher, one, || without_a_route(one()));
}

/// One endpoint of one backend is replaced.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn one_endpoint(bencher: Bencher<'_, '_>, routes: usize) {
    let one = balancer(routes, "/", 0);
    between(bencher, &one, &with_another_endpoint(one.clone()));
}

/// The same between load balancers that share nothing.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn one_endpoint_of_new(bencher: Bencher<'_, '_>, routes: usize) {
    let one = || balancer(routes, "/", 0);
    between_new(bencher, one, || with_another_endpoint(one()));
}

/// Nothing changes.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn nothing(bencher: Bencher<'_, '_>, routes: usize) {
    let one = balancer(routes, "/", 0);
    between(bencher, &one, &one.clone());
}

/// The same between load balancers that share nothing.
#[divan::bench(args = ROUTES, sample_count = 50)]
fn nothing_of_new(bencher: Bencher<'_, '_>, routes: usize) {
    let one = || balancer(routes, "/", 0);
    between_new(bencher, one, one);
}
