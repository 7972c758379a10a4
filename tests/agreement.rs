//! Random load balancers and requests in; out: whether every way to serve them chooses the same action.
//!
//! The reference resolver (`portcullis_model::resolve`) says what is right. Paths are normal here: no empty elements,
//! no dot segments, no encoded slashes; those have tests of their own, because load balancers differ on them. Some have an
//! escape that nobody needs: the running proxy refuses it where it would lead past a rule that closes.

#[path = "alb/evaluator.rs"]
mod alb;
#[path = "alb/examples.rs"]
mod alb_examples;
#[path = "alb/validation.rs"]
mod alb_validation;
#[path = "agreement/annotated.rs"]
mod annotated;
#[path = "agreement/changing.rs"]
mod changing;
#[path = "agreement/damage.rs"]
mod damage;
#[path = "agreement/evading.rs"]
mod evading;
#[path = "agreement/generate.rs"]
mod generate;
#[path = "agreement/neighbours.rs"]
mod neighbours;
#[path = "agreement/on_aws.rs"]
mod on_aws;
#[path = "agreement/oracle.rs"]
mod oracle;
#[path = "agreement/outcome.rs"]
mod outcome;
#[path = "agreement/property.rs"]
mod property;
#[path = "agreement/running.rs"]
mod running;
#[path = "agreement/written.rs"]
mod written;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use portcullis::translate::ControllerName;
use portcullis_model::{Action, Decision, LoadBalancer, Port, Request, Rule, resolve};
use portcullis_proxy::{Found, RequestHead, ServedPorts, compile};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::generate::Case;
use crate::on_aws::Planned;
use crate::oracle::Answer;
use crate::outcome::Outcome;
use crate::property::holds;
use crate::running::Running;
use crate::written::Written;

/// Load balancers as anybody might model them, and as Ingresses become.
fn cases() -> BoxedStrategy<Case> {
    prop_oneof![2 => generate::case(), 1 => written::case()].boxed()
}

#[test]
fn requests_are_taken_by_every_kind_of_decision() {
    // A property over requests that no rule takes would say nothing.
    let (by_rule, by_default, by_none) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<usize>| cell.set(cell.get() + 1);
    holds(
        "tests/regressions/decisions.txt",
        1,
        &cases(),
        |Case { balancer, requests }| {
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
    assert!(by_rule.get() * 5 > all, "{by_rule:?} of {all}");
    assert!(by_default.get() * 10 > all, "{by_default:?} of {all}");
    assert!(by_none.get() > 0);
}

#[test]
fn the_route_table_of_the_proxy_agrees() {
    holds(
        "tests/regressions/table.txt",
        1,
        &cases(),
        |Case { balancer, requests }| {
            let (table, _) = compile(&balancer, &ServedPorts::default());
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

#[test]
fn the_running_proxy_agrees() {
    // Each load balancer is put in place of the one before: an eighth of the usual number, and more requests of each,
    // thousands in all.
    let running = Running::start(&generate::without_rules());
    let (served, asked) = (Cell::new(0), Cell::new(0));
    let more = vec(generate::request(), 96);
    holds(
        "tests/regressions/running.txt",
        8,
        &(cases(), more),
        |(Case { balancer, requests }, more)| {
            let addresses = running.serve(balancer.clone());
            served.set(served.get() + 1);
            let ports: Vec<Port> = balancer.listeners.keys().copied().collect();
            let more = more.into_iter().zip(ports.iter().cycle());
            let more = more.map(|(request, port)| Request {
                port: *port,
                ..request
            });
            for mut request in requests.into_iter().chain(more) {
                let Some(listener) = balancer.listeners.get(&request.port) else {
                    continue;
                };
                asked.set(asked.get() + 1);
                if !request.source.is_loopback() || request.source.is_ipv6() {
                    request.source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
                }
                // Without a host no port is named beside it, and the lowest listener answers.
                if request.host.is_empty() && !listener.is_https() {
                    request.port = generate::port(80);
                }
                let action = resolve(&balancer, &request)
                    .action()
                    .expect("there is a listener");
                let want = if evading::is_evading(&balancer, &request) {
                    evading::refused()
                } else {
                    Outcome::of_model(action, &request, listener)
                };
                // A URL has a host: who names none (HTTP/1.0) is not sent to one of its own. Source: RFC 9110 §4.2.1.
                let is_nowhere = request.host.is_empty()
                    && matches!(action, Action::Redirect(redirect) if redirect.needs_host());
                let got = running
                    .ask(&request, listener.is_https())
                    .map_err(|error| TestCaseError::fail(format!("{request:?}: {error}")))?;
                let same = match (&want, &got) {
                    (Outcome::Forward { backends, .. }, running::Answer::Backend(address)) => {
                        let reached = addresses
                            .iter()
                            .find(|(_, a)| *a == address)
                            .map(|(id, _)| outcome::service_of(id.as_str()));
                        reached.is_some_and(|id| backends.get(&id).is_some_and(|weight| *weight > 0))
                    }
                    // Nobody has a share.
                    (Outcome::Forward { backends, .. }, running::Answer::Proxy { status: 503, .. }) => {
                        backends.values().all(|weight| *weight == 0)
                    }
                    (
                        Outcome::Redirect { status, location },
                        running::Answer::Proxy {
                            status: got,
                            location: Some(to),
                            ..
                        },
                    ) => !is_nowhere && *status == u64::from(*got) && location == to,
                    (
                        Outcome::Redirect { .. },
                        running::Answer::Proxy {
                            status: 400,
                            location: None,
                            ..
                        },
                    ) => is_nowhere,
                    (
                        Outcome::Fixed { status, body, .. },
                        running::Answer::Proxy {
                            status: got,
                            location: None,
                            body: text,
                        },
                    ) => *status == u64::from(*got) && (body == text || (*status == 204 && text.is_empty())),
                    _ => false,
                };
                prop_assert!(same, "{:?}: want {:?}, got {:?}", request, want, got);
            }
            Ok(())
        },
    );
    assert!(asked.get() >= served.get() * 96, "{asked:?} of {served:?}");
}

/// Who answers, by what the Ingresses were translated to.
fn translated_answer(balancer: &LoadBalancer, host: &str, path: &str) -> Result<Answer, TestCaseError> {
    let request = Request::get(Port::HTTP, host, path);
    match resolve(balancer, &request).action() {
        Some(Action::Forward(forward)) if forward.backends.len() == 1 => {
            Ok(Answer::Backend(forward.backends[0].backend.to_string()))
        }
        Some(Action::Fixed(fixed)) if fixed.status() == 503 => Ok(Answer::Unavailable),
        Some(Action::Fixed(fixed)) if fixed.status() == 404 => Ok(Answer::NotFound),
        other => Err(TestCaseError::fail(format!("{other:?}"))),
    }
}

/// Hosts and paths.
type Targets = Vec<(&'static str, String)>;

fn asked_of_ingresses() -> BoxedStrategy<(Vec<Written>, Targets)> {
    let asked = vec((select(&written::ASKED), generate::path()), 1..=32);
    (written::ingresses(), asked).boxed()
}

#[test]
fn ingresses_answer_as_the_kubernetes_documentation_says() {
    let values = asked_of_ingresses();
    holds(
        "tests/regressions/ingresses.txt",
        1,
        &values,
        |(ingresses, asked)| {
            let translation = written::translated(&ingresses);
            let balancer = translation.balancer.expect("there is an Ingress");
            for (host, path) in asked {
                let got = translated_answer(&balancer, host, &path)?;
                let want = oracle::kubernetes_answer(&ingresses, host, &path);
                prop_assert_eq!(got, want, "{} {}", host, path);
            }
            Ok(())
        },
    );
}

#[test]
fn ingresses_of_the_incumbents_class_answer_as_it_lays_them_out() {
    let values = asked_of_ingresses();
    holds(
        "tests/regressions/incumbent.txt",
        1,
        &values,
        |(mut ingresses, asked)| {
            written::as_the_incumbent_takes_them(&mut ingresses);
            let translation = written::translated_by(&ingresses, ControllerName::INCUMBENT);
            let balancer = translation.balancer.expect("there is an Ingress");
            for (host, path) in asked {
                let got = translated_answer(&balancer, host, &path)?;
                let want = oracle::incumbents_answer(&ingresses, host, &path);
                prop_assert_eq!(got, want, "{} {}", host, path);
            }
            Ok(())
        },
    );
}

#[test]
fn the_planned_application_load_balancer_agrees() {
    let (compared, refused) = (Cell::new(0), Cell::new(0));
    let count = |cell: &Cell<usize>| cell.set(cell.get() + 1);
    holds(
        "tests/regressions/alb.txt",
        1,
        &cases(),
        |Case { balancer, requests }| {
            let planned = Planned::of(&balancer)?;
            for request in &requests {
                planned.agrees(&balancer, request)?;
                count(&compared);
                if planned.refuses(&balancer, request) {
                    count(&refused);
                }
            }
            Ok(())
        },
    );
    // Refusals excuse little.
    assert!(refused.get() * 5 < compared.get(), "{refused:?} of {compared:?}");
}

/// Load balancers differ on paths that are not normal; here is what ours do: they match them as they came.
#[test]
fn paths_that_are_not_normal_are_matched_raw() {
    let running = Running::start(&generate::without_rules());
    for (rule, path, taken) in [
        ("/a", "//a", false),
        ("/a", "/a//", true),
        ("/a/b", "/a//b", false),
        ("/a", "/./a", false),
        ("/a", "/a/.", true),
        ("/a", "/b/../a", false),
        ("/a", "/a/../b", true),
        ("/a/b", "/a%2Fb", false),
        ("/a", "/a%2Fb", false),
        ("/a", "/%61", false),
        ("/a", "/a/%2e%2e/b", true),
        ("/%61", "/%61", true),
        ("/%61", "/a", false),
        ("/", "//", true),
        ("/", "/..", true),
    ] {
        let balancer = generate::with_prefix(rule);
        let request = Request {
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ..Request::get(Port::HTTP, "a.io", path)
        };
        let decision = matches!(resolve(&balancer, &request), Decision::Rule(..));
        assert_eq!(decision, taken, "{path} by {rule}: resolver");
        let (table, _) = compile(&balancer, &ServedPorts::default());
        let found = matches!(table.lookup(&RequestHead::from(&request)), Found::Rule(..));
        assert_eq!(found, taken, "{path} by {rule}: table");
        let planned = Planned::of(&balancer).expect("it can be planned");
        planned
            .agrees(&balancer, &request)
            .expect("the planned load balancer");
        running.serve(balancer);
        let answer = running.ask(&request, false).expect("an answer");
        let reached = matches!(answer, running::Answer::Backend(_));
        // What leads out of the paths that are served, no cloud refuses, and the proxy does.
        let leads_out = matches!(path, "/a/../b" | "/a/%2e%2e/b");
        assert_eq!(
            reached,
            taken && !leads_out,
            "{path} by {rule}: running proxy, {answer:?}"
        );
    }
}

#[test]
fn what_aws_refuses_is_not_answered_by_another_tenant() {
    // AWS takes neither small letters in methods nor backslashes in headers.
    let conditions = select(&[
        r#"[{"field": "http-request-method", "httpRequestMethodConfig": {"values": ["get", "GET"]}}]"#,
        r#"[{"field": "http-header", "httpHeaderConfig": {"httpHeaderName": "x-a", "values": ["a\\b"]}}]"#,
        r#"[{"field": "http-request-method", "httpRequestMethodConfig": {"values": ["GET"]}}]"#,
    ]);
    let ingresses = (written::ingresses(), vec(conditions, 3));
    let values = (ingresses, vec(generate::request(), 16)).boxed();
    let refused = Cell::new(0);
    holds(
        "tests/regressions/tenants.txt",
        1,
        &values,
        |((mut ingresses, conditions), requests)| {
            for (ingress, text) in ingresses.iter_mut().zip(conditions) {
                let key = "alb.ingress.kubernetes.io/conditions.s0-0";
                ingress.annotations.insert(key.to_owned(), text.to_owned());
            }
            let balancer = written::translated(&ingresses)
                .balancer
                .expect("there is an Ingress");
            let planned = Planned::of(&balancer)?;
            for request in requests {
                let request = Request {
                    port: Port::HTTP,
                    ..request
                };
                planned.agrees(&balancer, &request)?;
                if !planned.refuses(&balancer, &request) {
                    continue;
                }
                refused.set(refused.get() + 1);
                let owner = |rule: &Rule| rule.origin.object.namespace.clone();
                if let (Decision::Rule(_, meant), Some(rule)) = (
                    resolve(&balancer, &request),
                    planned.successor(&balancer, &request),
                ) {
                    prop_assert_eq!(
                        owner(meant),
                        owner(rule),
                        "{:?}: {} instead of {}",
                        request,
                        rule,
                        meant
                    );
                }
            }
            Ok(())
        },
    );
    assert!(refused.get() > 0);
}
