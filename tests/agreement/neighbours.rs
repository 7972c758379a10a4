//! Ingresses that share a load balancer, and any annotations on one of them, in; whether the others notice, out.

use portcullis::translate::annotations::catalog;
use portcullis_model::{Action, Decision, Request, resolve};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::generate;
use crate::property::holds;
use crate::written;

/// Some that mean something to one annotation or another, and some that mean nothing to any.
const VALUES: [&str; 30] = [
    "",
    "x",
    "none",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "80",
    "443",
    "99999",
    "a=b",
    "a=b,c",
    "10.0.0.0/8",
    "0.0.0.0/0,::/0",
    "10.0.0.0/99",
    "ip",
    "instance",
    "internal",
    "internet-facing",
    "HTTPS",
    "GRPC",
    "oidc",
    "200-299",
    "{}",
    "[]",
    "[{\"HTTP\": 80}]",
    "[{\"HTTP\": 81}, {\"HTTPS\": 443}]",
    "[{\"HTTPS\": 443}]",
    "{\"type\": \"fixed-response\", \"fixedResponseConfig\": {\"statusCode\": \"200\"}}",
];

/// With these an Ingress may rightly come before its neighbours: by its place, or by taking other hosts and paths.
const TAKING: [&str; 5] = [
    "group.name",
    "group.order",
    "conditions.",
    "path-match",
    "use-regex-path-match",
];

fn annotation() -> impl Strategy<Value = (String, String)> {
    let names: Vec<&str> = catalog::ALL
        .iter()
        .map(|known| known.name)
        .filter(|n| !TAKING.contains(n))
        .collect();
    let prefix = select(&["alb.ingress.kubernetes.io/", "portcullis.dev/"]);
    let text = "[a-z0-9=,:/.\"{}\\[\\] \\\\*?^$()|-]{0,12}";
    let value = prop_oneof![
        4 => select(&VALUES).prop_map(str::to_owned),
        1 => text,
        1 => any::<String>(),
    ];
    (prefix, select(names), value).prop_map(|(prefix, name, value)| {
        let rest = if name.ends_with(['.', '-']) { "s0-0" } else { "" };
        (format!("{prefix}{name}{rest}"), value)
    })
}

#[test]
fn annotations_of_one_ingress_change_no_answer_of_its_neighbours() {
    let one = (any::<Index>(), vec(annotation(), 1..4));
    let values = (written::ingresses(), one, vec(generate::request(), 16)).boxed();
    holds(
        "tests/regressions/neighbours.txt",
        4,
        &values,
        |(mut ingresses, (index, annotations), requests)| {
            let before = written::translated(&ingresses)
                .balancer
                .expect("there is an Ingress");
            let annotated = index.index(ingresses.len());
            ingresses[annotated].annotations.extend(annotations);
            let own = ingresses[annotated].name.clone();
            let after = written::translated(&ingresses)
                .balancer
                .expect("there is an Ingress");
            for request in requests {
                let request = Request {
                    port: generate::port(80),
                    ..request
                };
                let Decision::Rule(_, rule) = resolve(&before, &request) else {
                    continue;
                };
                // What ends a neighbour's host may be the annotated Ingress's default backend.
                let by_own = match &rule.action {
                    Action::Forward(forward) => {
                        let of = |id| {
                            before
                                .backends
                                .get(id)
                                .is_some_and(|backend| backend.owner == own)
                        };
                        forward.backends.iter().any(|weighted| of(&weighted.backend))
                    }
                    Action::Redirect(_) | Action::Fixed(_) => false,
                };
                if rule.origin.object != own && !by_own {
                    let action = resolve(&after, &request).action();
                    prop_assert_eq!(
                        action,
                        Some(&rule.action),
                        "{:?} was answered by {}",
                        request,
                        rule
                    );
                }
            }
            for (id, backend) in before.backends.iter().filter(|(_, backend)| backend.owner != own) {
                prop_assert_eq!(after.backends.get(id), Some(backend));
            }
            Ok(())
        },
    );
}
