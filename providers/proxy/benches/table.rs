//! A load balancer of ten thousand hosts in, what is held to serve it out: allocated less freed is what stays.
#![expect(
    clippy::unwrap_used,
    reason = "what a benchmark is made of is right by construction"
)]

#[path = "made/balancer.rs"]
mod made;

use std::collections::BTreeMap;

use divan::{AllocProfiler, Bencher};
use portcullis_model::ObjectName;
use portcullis_proxy::{KeyPairPem, ServedPorts, ServingState};

use self::made::balancer;

#[global_allocator]
static ALLOCATED: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Hosts, each with a backend of ten targets. All workers share one.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 3, sample_size = 1)]
fn held(bencher: Bencher<'_, '_>, hosts: usize) {
    const NONE: BTreeMap<ObjectName, KeyPairPem> = BTreeMap::new();
    bencher.bench_local(|| {
        // Made here, so that what it shares with the state counts.
        let balancer = balancer(hosts, "/", 0);
        ServingState::build(balancer, &NONE, None, ServedPorts::default()).unwrap()
    });
}
