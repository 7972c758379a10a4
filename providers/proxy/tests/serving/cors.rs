//! Whose scripts are let in and the requests of browsers in, what browsers are told out.

use std::collections::BTreeSet;

use hyper::Request;
use portcullis_model::{
    Action, Cors, Filters, FixedResponse, HeaderName, LoadBalancer, Method, Period, RateLimit, WebOrigin,
    WebOrigins,
};

use crate::balancer::{backend, empty, filtered, origin, rule, serve, to};
use crate::client::{Answer, Client, Sent};
use crate::echo::Echo;

pub(crate) const SHOP: &str = "https://shop.example";

pub(crate) fn cors(origins: &[&str], credentials: bool) -> Cors {
    let listed: BTreeSet<WebOrigin> = origins
        .iter()
        .filter(|text| **text != "*")
        .map(|text| WebOrigin::parse(text).unwrap())
        .collect();
    Cors {
        origins: match listed.is_empty() {
            true => WebOrigins::Any,
            false => WebOrigins::Listed {
                origins: listed,
                credentials,
            },
        },
        methods: ["GET", "PUT"].iter().map(|m| Method::parse(m).unwrap()).collect(),
        request_headers: None,
        exposed: [HeaderName::parse("x-backend").unwrap()].into(),
        max_age: Some(600),
        origin: origin(),
    }
}

fn with(cors: Cors) -> Filters {
    Filters {
        cors: Some(cors),
        ..Filters::default()
    }
}

fn balancer(echo: &Echo) -> LoadBalancer {
    let mut balancer = empty();
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    let gone = Action::Fixed(FixedResponse::new(410, None, None).unwrap());
    let named = Cors {
        request_headers: Some([HeaderName::parse("x-a").unwrap()].into()),
        ..cors(&[SHOP], false)
    };
    let mut limited = with(cors(&[SHOP], false));
    limited.rate_limit = Some(RateLimit::new(1, Period::Hour, None, origin()).unwrap());
    *balancer.rules = vec![
        filtered(
            rule("listed.com", "/", to("one")),
            with(cors(&[SHOP, "https://*.blog.example"], true)),
        ),
        filtered(rule("any.com", "/", to("one")), with(cors(&["*"], false))),
        filtered(rule("fixed.com", "/", gone), with(named)),
        filtered(rule("absent.com", "/", to("nobody")), with(cors(&[SHOP], false))),
        filtered(rule("limited.com", "/", to("one")), limited),
        rule("none.com", "/", to("one")),
    ];
    balancer
}

async fn ask(client: &mut Client, method: &str, host: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri("/").header("host", host);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(Sent::default()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn scripts_read_the_answers_that_their_origin_is_let_in_to() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo));
    let mut client = Client::http1(proxy.http).await;
    for (host, from, status, allowed, credentials) in [
        ("listed.com", SHOP, 200, Some(SHOP), true),
        (
            "listed.com",
            "https://x.blog.example",
            200,
            Some("https://x.blog.example"),
            true,
        ),
        ("listed.com", "https://evil.example", 200, None, false),
        ("listed.com", "null", 200, None, false),
        ("any.com", "https://evil.example", 200, Some("*"), false),
        ("fixed.com", SHOP, 410, Some(SHOP), false),
        ("absent.com", SHOP, 503, Some(SHOP), false),
        ("none.com", SHOP, 200, None, false),
    ] {
        let answer = ask(&mut client, "GET", host, &[("origin", from)]).await;
        assert_eq!(answer.status(), status, "{host} {from}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            allowed,
            "{host} {from}"
        );
        let told = answer.header("access-control-allow-credentials");
        assert_eq!(told, credentials.then_some("true"), "{host} {from}");
        let exposed = answer.header("access-control-expose-headers");
        assert_eq!(exposed, allowed.map(|_| "x-backend"), "{host} {from}");
        let varies = answer.header("vary").is_some_and(|vary| vary == "origin");
        assert_eq!(varies, !["any.com", "none.com"].contains(&host), "{host} {from}");
    }
    // Who is no script is told nothing, but caches are.
    let answer = ask(&mut client, "GET", "listed.com", &[]).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("vary"), Some("origin"));
}

#[tokio::test]
async fn preflights_are_answered_without_a_backend() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo));
    let mut client = Client::http1(proxy.http).await;
    let asks = ("access-control-request-method", "PUT");
    let names = ("access-control-request-headers", "x-b,authorization");
    for (host, from, status, headers) in [
        ("listed.com", SHOP, 204, Some("x-b,authorization")),
        ("any.com", SHOP, 204, Some("x-b,authorization")),
        ("fixed.com", SHOP, 204, Some("x-a")),
        ("listed.com", "https://evil.example", 403, None),
        ("listed.com", "null", 403, None),
    ] {
        let answer = ask(&mut client, "OPTIONS", host, &[("origin", from), asks, names]).await;
        assert_eq!(answer.status(), status, "{host} {from}");
        let told = |name| answer.header(name);
        let ok = status == 204;
        assert_eq!(told("access-control-allow-origin").is_some(), ok, "{host} {from}");
        assert_eq!(
            told("access-control-allow-methods"),
            ok.then_some("GET, PUT"),
            "{host} {from}"
        );
        assert_eq!(told("access-control-allow-headers"), headers, "{host} {from}");
        assert_eq!(
            told("access-control-max-age"),
            ok.then_some("600"),
            "{host} {from}"
        );
        assert_eq!(told("x-backend"), None, "{host} {from}");
    }
    // No preflight: the backend's to answer.
    for fields in [&[("origin", SHOP)][..], &[asks]] {
        let answer = ask(&mut client, "OPTIONS", "listed.com", fields).await;
        assert_eq!(answer.header("x-backend"), Some("one"), "{fields:?}");
    }
    let answer = ask(&mut client, "OPTIONS", "none.com", &[("origin", SHOP), asks]).await;
    assert_eq!(answer.header("x-backend"), Some("one"));
}

#[tokio::test]
async fn a_script_can_read_that_it_has_to_wait() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo));
    let mut client = Client::http1(proxy.http).await;
    for want in [200, 429] {
        let answer = ask(&mut client, "GET", "limited.com", &[("origin", SHOP)]).await;
        assert_eq!(answer.status(), want);
        assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    }
}

#[tokio::test]
async fn what_a_backend_says_of_it_is_overwritten() {
    let own = Echo::running(|stream| {
        Box::pin(async move {
            let service = hyper::service::service_fn(|_| async {
                let response = hyper::Response::builder()
                    .header("access-control-allow-origin", "*")
                    .header("access-control-allow-credentials", "true")
                    .header("vary", "accept");
                response.body(Sent::default())
            });
            let builder = hyper::server::conn::http1::Builder::new();
            let _ = builder
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                .await;
        })
    })
    .await;
    let proxy = serve(&balancer(&own));
    let mut client = Client::http1(proxy.http).await;
    for (host, from, want) in [
        ("listed.com", "https://evil.example", None),
        ("fixed.com", "https://evil.example", None),
        ("none.com", "https://evil.example", Some("*")),
        ("any.com", "https://evil.example", Some("*")),
    ] {
        let answer = ask(&mut client, "GET", host, &[("origin", from)]).await;
        assert_eq!(answer.header("access-control-allow-origin"), want, "{host}");
        let told = answer.header("access-control-allow-credentials");
        assert_eq!(told, (host == "none.com").then_some("true"), "{host}");
    }
}
