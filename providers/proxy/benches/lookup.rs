//! Load balancers of growing size in, what a request's lookup and a change of the table cost out.
#![expect(
    clippy::unwrap_used,
    reason = "what a benchmark is made of is right by construction"
)]

use std::collections::BTreeMap;

use divan::Bencher;
use portcullis_model::{
    Action, FixedResponse, HostMatch, Listener, LoadBalancer, LoadBalancerId, ObjectName, Options, Origin,
    PathMatch, PathPrefix, Port, Protocol, Request, Rule,
};
use portcullis_proxy::{RequestHead, RouteTable, ServedPorts, compile};

const HOSTS: [usize; 3] = [100, 10_000, 100_000];

fn main() {
    divan::main();
}

/// Each host has three prefixes; every tenth is a wildcard.
fn balancer(hosts: usize) -> LoadBalancer {
    let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
    let answer = || Action::Fixed(FixedResponse::not_found());
    let rule = |host: usize, path: &str| Rule {
        ports: [Port::HTTP].into(),
        hosts: vec![HostMatch::parse(&name(host)).unwrap()],
        paths: vec![PathMatch::Prefix(PathPrefix::parse(path).unwrap())],
        conditions: Vec::new(),
        authenticate: None,
        clients: Default::default(),
        tls_policy: None,
        filters: None,
        rewrites: Vec::new(),
        action: answer(),
        origin: origin.clone(),
    };
    let listener = Listener {
        port: Port::HTTP,
        protocol: Protocol::Http,
        authenticate: None,
        default_action: answer(),
        origin: origin.clone(),
    };
    LoadBalancer {
        id: LoadBalancerId::parse("shop/web"),
        semantics: Default::default(),
        members: Vec::new(),
        options: Options::new(origin.clone()),
        listeners: [(Port::HTTP, listener)].into(),
        rules: (0..hosts)
            .flat_map(|host| ["/api/v1", "/api", "/"].map(|path| rule(host, path)))
            .collect(),
        backends: BTreeMap::new(),
        given: BTreeMap::new(),
        unread: Default::default(),
        key_pairs: Default::default(),
    }
}

fn name(host: usize) -> String {
    let wildcard = if host.is_multiple_of(10) { "*." } else { "" };
    format!("{wildcard}h{host}.example.com")
}

fn table(hosts: usize) -> RouteTable {
    compile(&balancer(hosts), &ServedPorts::default()).0
}

/// A thousand requests, spread over all hosts.
fn requests(hosts: usize) -> Vec<Request> {
    (0..1000)
        .map(|n| {
            let host = name(n * 7919 % hosts).replace('*', "any");
            Request::get(
                Port::HTTP,
                &host,
                ["/api/v1/things/1", "/api/x", "/index.html"][n % 3],
            )
        })
        .collect()
}

/// The time is that of a thousand lookups.
#[divan::bench(args = HOSTS)]
fn look_up_1000(bencher: Bencher<'_, '_>, hosts: usize) {
    let (table, requests) = (table(hosts), requests(hosts));
    bencher.bench_local(|| {
        for request in &requests {
            divan::black_box(table.lookup(&RequestHead::from(request)));
        }
    });
}

#[divan::bench(args = HOSTS, sample_count = 10)]
fn compile_all(bencher: Bencher<'_, '_>, hosts: usize) {
    let balancer = balancer(hosts);
    bencher.bench_local(|| compile(&balancer, &ServedPorts::default()));
}
