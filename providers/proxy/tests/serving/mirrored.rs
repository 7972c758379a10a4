//! Requests that are copied to another backend in, what either backend sees and how long clients wait out.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use portcullis_model::{Backend, BackendVersion, Filters, LoadBalancer, Mirror};
use tokio::io::AsyncWriteExt;

use crate::balancer::{backend, empty, filtered, id, origin, rule, serve, speaking, to};
use crate::client::{Client, Sent, get, raw, read_until, until};
use crate::echo::Echo;

type Seen = Arc<Mutex<Vec<String>>>;

/// Notes what it is asked, and answers with a failure; nobody at all where it hangs.
async fn shadow(seen: Seen, hangs: bool) -> Echo {
    Echo::answering(move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let host = parts.headers["host"].to_str().unwrap().to_owned();
            let body = String::from_utf8_lossy(&body).into_owned();
            let line = format!("{} {host}{} {body}", parts.method, parts.uri);
            seen.lock().unwrap().push(line);
            if hangs {
                std::future::pending::<()>().await;
            }
            let answer = Response::builder().status(500);
            hyper::Result::Ok(answer.body(Full::<Bytes>::default()).unwrap())
        }
    })
    .await
}

fn balancer(echo: &Echo, shadow: Option<&Echo>) -> LoadBalancer {
    copied(backend("one", &[echo.address]), shadow)
}

fn copied(one: Backend, shadow: Option<&Echo>) -> LoadBalancer {
    let mut balancer = empty();
    balancer.backends.insert(one.id.clone(), one.into());
    if let Some(shadow) = shadow {
        let shadow = backend("shadow", &[shadow.address]);
        balancer.backends.insert(shadow.id.clone(), shadow.into());
    }
    let filters = Filters {
        mirror: Some(Mirror::new(id("shadow"), 100, origin()).unwrap()),
        ..Filters::default()
    };
    *balancer.rules = vec![
        filtered(rule("a.com", "/", to("one")), filters),
        rule("b.com", "/", to("one")),
    ];
    balancer
}

fn post(path: &str, body: &str) -> Request<Sent> {
    Request::post(path)
        .header("host", "a.com")
        .body(Sent::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn copies_go_to_another_backend_and_its_answers_to_nobody() {
    let (echo, seen) = (Echo::http1("one").await, Seen::default());
    let shadow = shadow(seen.clone(), false).await;
    let proxy = serve(&balancer(&echo, Some(&shadow)));
    let mut client = Client::http1(proxy.http).await;
    let long = "x".repeat(64 * 1024 + 1);
    for request in [
        get("a.com", "/one?a=b"),
        post("/two", "a body"),
        // Longer than what is copied.
        post("/long", &long),
        get("b.com", "/elsewhere"),
    ] {
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status(), answer.header("x-backend")), (200, Some("one")));
    }
    let totals = || proxy.handle.totals();
    until("two copies", || {
        totals().mirrored == 2 && totals().unmirrored == 1
    })
    .await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, ["GET a.com/one?a=b ", "POST a.com/two a body"]);
    // Over HTTP/2, and of no known length.
    let mut client = Client::http2(proxy.http).await;
    let request = Request::post("http://a.com/three")
        .body(Sent::from("a body"))
        .unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    until("another copy", || totals().mirrored == 3).await;
}

/// Answers the first request of each connection, and hangs up on the second.
async fn once_each() -> Echo {
    Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
        })
    })
    .await
}

/// Begins the first request of each connection, and says of the others that it has not.
async fn one_stream_each() -> Echo {
    Echo::running(|stream| {
        Box::pin(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut is_first = true;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if !std::mem::take(&mut is_first) {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    connection.graceful_shutdown();
                    continue;
                }
                drop(request);
                respond.send_response(Response::new(()), true).unwrap();
            }
        })
    })
    .await
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_copied_once() {
    const REQUESTS: usize = 6;
    for (version, echo, body) in [
        (BackendVersion::Http1, once_each().await, ""),
        (BackendVersion::Http2, one_stream_each().await, "a body"),
    ] {
        let seen = Seen::default();
        let shadow = shadow(seen.clone(), false).await;
        let one = speaking(backend("one", &[echo.address]), version, false);
        let proxy = serve(&copied(one, Some(&shadow)));
        let mut client = Client::http1(proxy.http).await;
        for turn in 0..REQUESTS {
            let request = match body {
                "" => get("a.com", "/"),
                body => post("/", body),
            };
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{version:?}, {turn}");
        }
        // All but the first were sent a second time.
        assert_eq!(echo.connections.load(Ordering::SeqCst), REQUESTS, "{version:?}");
        let totals = || proxy.handle.totals();
        until("as many copies", || totals().mirrored == REQUESTS as u64).await;
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), REQUESTS, "{version:?}: {seen:?}");
        assert!(
            seen.iter().all(|line| line.ends_with(&format!("/ {body}"))),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn a_backend_that_hangs_on_copies_holds_few_and_delays_nobody() {
    let (echo, seen) = (Echo::http1("one").await, Seen::default());
    let shadow = shadow(seen.clone(), true).await;
    let proxy = serve(&balancer(&echo, Some(&shadow)));
    let mut client = Client::http1(proxy.http).await;
    for _ in 0..70 {
        let answer = client.send(get("a.com", "/")).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    until("all there is room for", || seen.lock().unwrap().len() == 64).await;
    assert_eq!(proxy.handle.totals().unmirrored, 6);
}

#[tokio::test]
async fn where_nobody_is_to_get_copies_requests_are_answered_all_the_same() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo, None));
    let answer = Client::http1(proxy.http).await.send(get("a.com", "/")).await;
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn a_share_of_requests_is_copied_and_no_upgrade() {
    let (echo, seen) = (Echo::http1("one").await, Seen::default());
    let shadow = shadow(seen.clone(), false).await;
    let mut balancer = balancer(&echo, Some(&shadow));
    let few = Filters {
        mirror: Some(Mirror::new(id("shadow"), 30, origin()).unwrap()),
        ..Filters::default()
    };
    balancer
        .rules
        .push(filtered(rule("few.com", "/", to("one")), few));
    let proxy = serve(&balancer);
    let mut client = Client::http1(proxy.http).await;
    for _ in 0..400 {
        assert_eq!(client.send(get("few.com", "/few")).await.unwrap().status(), 200);
    }
    let totals = || proxy.handle.totals();
    // All of these are, and what comes behind an upgrade is its own.
    for number in 0..3 {
        let upgrade = "GET /upgrade HTTP/1.1\r\nHost: a.com\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n";
        raw(proxy.http, upgrade.as_bytes()).await;
        let last = format!("/last-{number}");
        client.send(get("a.com", &last)).await.unwrap();
        until("the last copy", || {
            seen.lock().unwrap().iter().any(|line| line.contains(&last))
        })
        .await;
    }
    let seen = seen.lock().unwrap().clone();
    assert!(seen.iter().all(|line| !line.contains("/upgrade")), "{seen:?}");
    let few = seen.iter().filter(|line| line.contains("/few")).count();
    // Binomial, n = 400, p = 0.3: outside these bounds once in ten thousand million runs.
    let few = few + usize::try_from(totals().unmirrored).unwrap();
    assert!((60..=180).contains(&few), "{few} of 400");
}
