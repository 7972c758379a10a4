//! How many requests a client may have and requests of several in, who is answered out.

use std::net::SocketAddr;

use hyper::Request;
use portcullis_model::{Filters, FixedResponse, LoadBalancer, ObjectName, Origin, Period, RateLimit};
use portcullis_proxy::{ServedPorts, ServerConfig, ServingState};

use crate::balancer::{KeyPairs, Proxy, empty, filtered, rule, serve, serve_as};
use crate::client::{Answer, Client, Sent, get, get_once};

/// An Ingress's limit of so many requests an hour.
fn hourly(ingress: &str, requests: u32) -> Filters {
    let at = Origin::new("ingress", ObjectName::new("shop", ingress), "annotations");
    Filters {
        rate_limit: Some(RateLimit::new(requests, Period::Hour, None, at).unwrap()),
        ..Filters::default()
    }
}

fn ok() -> portcullis_model::Action {
    portcullis_model::Action::Fixed(FixedResponse::new(200, None, None).unwrap())
}

/// Two rules of one Ingress, one of another, and one without a limit.
fn balancer() -> LoadBalancer {
    let mut balancer = empty();
    *balancer.rules = vec![
        filtered(rule("a.com", "/one", ok()), hourly("a", 3)),
        filtered(rule("a.com", "/two", ok()), hourly("a", 3)),
        filtered(rule("b.com", "/", ok()), hourly("b", 1)),
        rule("c.com", "/", ok()),
    ];
    balancer
}

async fn from(address: SocketAddr, client: &str, host: &str, path: &str) -> Answer {
    let request = Request::get(path)
        .header("host", host)
        .header("x-forwarded-for", client)
        .body(Sent::default())
        .unwrap();
    Client::http1(address).await.send(request).await.unwrap()
}

fn behind(trusted: &str) -> Proxy {
    let config = ServerConfig {
        workers: 2.try_into().unwrap(),
        trusted: vec![trusted.parse().unwrap()],
        ..ServerConfig::default()
    };
    serve_as(&balancer(), &KeyPairs::new(), config)
}

#[tokio::test]
async fn each_client_has_the_requests_of_its_limit_over_all_rules_of_an_ingress() {
    let proxy = behind("127.0.0.1/32");
    for (client, host, path, want) in [
        ("192.0.2.1", "a.com", "/one", 200),
        ("192.0.2.1", "a.com", "/two", 200),
        ("192.0.2.1", "a.com", "/one", 200),
        ("192.0.2.1", "a.com", "/two", 429),
        ("192.0.2.1", "a.com", "/one", 429),
        // Neither another Ingress nor another client.
        ("192.0.2.1", "b.com", "/", 200),
        ("192.0.2.1", "b.com", "/", 429),
        ("192.0.2.1", "c.com", "/", 200),
        ("192.0.2.2", "a.com", "/one", 200),
        // The client is whom the trusted peer names, not whom the client names.
        ("192.0.2.3, 192.0.2.1", "a.com", "/one", 429),
        ("2001:db8::1", "b.com", "/", 200),
        ("2001:db8::2", "b.com", "/", 429),
    ] {
        let answer = from(proxy.http, client, host, path).await;
        assert_eq!(answer.status(), want, "{client} {host}{path}");
        let again = answer
            .header("retry-after")
            .map(|text| text.parse::<u32>().unwrap());
        assert_eq!(again.is_some(), want == 429, "{client} {host}{path}");
        assert!(
            again.is_none_or(|seconds| (1..=3_600).contains(&seconds)),
            "{again:?}"
        );
    }
    assert_eq!(proxy.handle.totals().limited, 5);
}

#[tokio::test]
async fn who_is_not_trusted_is_counted_by_its_own_address() {
    let proxy = behind("203.0.113.0/24");
    for (client, want) in [("192.0.2.1", 200), ("192.0.2.2", 429)] {
        assert_eq!(
            from(proxy.http, client, "b.com", "/").await.status(),
            want,
            "{client}"
        );
    }
}

#[tokio::test]
async fn a_change_of_the_configuration_gives_nothing_back() {
    let proxy = serve(&balancer());
    assert_eq!(get_once(proxy.http, "b.com", "/").await.status(), 200);
    let mut changed = balancer();
    changed.rules.remove(0);
    let before = proxy.handle.state();
    let (state, _) =
        ServingState::build(changed, &KeyPairs::new(), Some(&before), ServedPorts::default()).unwrap();
    proxy.handle.swap(state);
    assert_eq!(get_once(proxy.http, "b.com", "/").await.status(), 429);
}

#[tokio::test]
async fn grpc_is_told_in_its_own_words() {
    let proxy = serve(&balancer());
    let ask = || {
        let mut request = get("b.com", "/");
        let value = "application/grpc".parse().unwrap();
        request.headers_mut().insert("content-type", value);
        request
    };
    let mut client = Client::http1(proxy.http).await;
    client.send(ask()).await.unwrap();
    let answer = client.send(ask()).await.unwrap();
    assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("14")));
}
