//! A load balancer, its Secrets and requests in; the proxy's route table and what it answers, as text, out.

use portcullis_model::{Decision, LoadBalancer, Port, Problem, Request, resolve};
use portcullis_proxy::table::Action;
use portcullis_proxy::{Found, Material, RequestHead, ServedPorts, ServingState};

use crate::model::{line, show_backend};

/// What the proxy serves, and what it cannot.
pub(crate) fn serving(
    balancer: &LoadBalancer,
    material: Material<'_>,
    requests: &str,
) -> (String, Vec<Problem>) {
    let served = ServedPorts {
        http: Some(Port::new(8080).unwrap()),
        https: Some(Port::new(8443).unwrap()),
        ..ServedPorts::default()
    };
    let (state, problems) = ServingState::build(balancer.clone(), material, None, served).unwrap();
    let mut out = state.table().to_string();
    line(&mut out, 0, "backends");
    for backend in balancer.backends.values() {
        show_backend(&mut out, 1, backend);
    }
    line(&mut out, 0, "requests");
    for request in requests.lines() {
        line(
            &mut out,
            1,
            format!("{request} → {}", answer(balancer, &state, request)),
        );
    }
    (out, problems)
}

/// What answers a request such as `GET http://shop.example/cart?id=1`; the reference resolver and the compiled table
/// must agree.
fn answer(balancer: &LoadBalancer, state: &ServingState, text: &str) -> String {
    let (method, url) = text.split_once(' ').expect("a request is a method and a URL");
    let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
    let (authority, target) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let port = if scheme == "https" {
        Port::HTTPS
    } else {
        Port::HTTP
    };
    let request = Request {
        method: method.to_owned(),
        ..Request::get(port, authority, target)
    };
    let found = state.table().lookup(&RequestHead::from(&request));
    match (resolve(balancer, &request), found) {
        (Decision::Rule(i, rule), Found::Rule(j, ..)) => {
            assert_eq!(i, j, "{text}: the table chooses another rule than the resolver");
            match &rule.authenticate {
                Some(step) => match found.action() {
                    Some(Action::Refused(_)) => format!("rule {i}: 503, for {step} cannot be had"),
                    _ => format!("rule {i}: {step}, then {}", rule.action),
                },
                None => format!("rule {i}: {}", rule.action),
            }
        }
        (Decision::Default(action), Found::Default(_)) => format!("default: {action}"),
        (Decision::NoListener, Found::NoListener) => "nobody listens".to_owned(),
        (decision, found) => panic!("{text}: the resolver says {decision:?}, the table {found:?}"),
    }
}
