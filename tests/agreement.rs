//! Random load balancers and requests in; out: whether every way to serve them chooses the same action.
//!
//! The reference resolver (`portcullis_model::resolve`) says what is right. Paths are normal here: no empty elements,
//! no dot segments, no encoded slashes; those have tests of their own, because load balancers differ on them.

#[path = "alb/evaluator.rs"]
mod alb;
#[path = "alb/examples.rs"]
mod alb_examples;
#[path = "alb/validation.rs"]
mod alb_validation;
#[path = "agreement/generate.rs"]
mod generate;
#[path = "agreement/property.rs"]
mod property;

use std::cell::Cell;

use portcullis_model::{Decision, LoadBalancer, Request, resolve};
use portcullis_proxy::{Found, RequestHead, ServedPorts, compile};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::property::holds;

/// So many requests are asked of each load balancer.
const REQUESTS: usize = 32;

fn balancer_and_requests() -> impl Strategy<Value = (LoadBalancer, Vec<Request>)> {
    (generate::balancer(), vec(generate::request(), REQUESTS))
}

#[test]
fn requests_are_taken_by_every_kind_of_decision() {
    // A property over requests that no rule takes would say nothing.
    let (by_rule, by_default, by_none) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<usize>| cell.set(cell.get() + 1);
    holds(
        "tests/regressions/decisions.txt",
        &balancer_and_requests(),
        |(balancer, requests)| {
            for request in &requests {
                match resolve(&balancer, request) {
                    Decision::Rule(..) => count(&by_rule),
                    Decision::Default(_) => count(&by_default),
                    Decision::NoListener => count(&by_none),
                }
            }
            Ok(())
        },
    );
    let all = by_rule.get() + by_default.get() + by_none.get();
    assert!(by_rule.get() * 4 > all, "{by_rule:?} of {all}");
    assert!(by_default.get() * 10 > all, "{by_default:?} of {all}");
    assert!(by_none.get() > 0);
}

#[test]
fn the_route_table_of_the_proxy_agrees() {
    holds(
        "tests/regressions/table.txt",
        &balancer_and_requests(),
        |(balancer, requests)| {
            let (table, _) = compile(&balancer, ServedPorts::default());
            for request in &requests {
                let want = match resolve(&balancer, request) {
                    Decision::Rule(index, _) => Some(Some(index)),
                    Decision::Default(_) => Some(None),
                    Decision::NoListener => None,
                };
                let got = match table.lookup(&RequestHead::from(request)) {
                    Found::Rule(index, ..) => Some(Some(index)),
                    Found::Default(_) => Some(None),
                    Found::NoListener => None,
                };
                prop_assert_eq!(got, want, "{:?}", request);
            }
            Ok(())
        },
    );
}
