//! Connections to targets that are kept, end or grow stale in, requests none the worse for it out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::Request;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_model::BackendVersion;
use portcullis_proxy::Settings;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::balancer::{KeyPairs, all_to, backend, rule, serve, serve_with, speaking, to};
use crate::client::{Client, Sent, get, get_once, read_until, until};
use crate::echo::{Echo, echo};

/// Answers the first request of a connection, and hangs up on the second.
async fn once_per_connection() -> Echo {
    Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await
                .unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
        })
    })
    .await
}

#[tokio::test]
async fn a_request_is_repeated_once_and_only_where_that_is_safe() {
    for (method, body, want, connections) in [
        ("GET", "", 200, 2),
        ("PUT", "", 200, 2),
        ("POST", "", 502, 1),
        ("PUT", "body", 502, 1),
    ] {
        let echo = once_per_connection().await;
        let proxy = serve(&all_to(backend("b", &[echo.address])));
        let mut client = Client::http1(proxy.http).await;
        assert_eq!(client.send(get("a", "/")).await.unwrap().status(), 200);
        let request = Request::builder().method(method).uri("/").header("host", "a");
        let answer = client
            .send(request.body(Sent::from(body)).unwrap())
            .await
            .unwrap();
        assert_eq!(answer.status(), want, "{method} {body}");
        let opened = echo.connections.load(Ordering::SeqCst);
        assert_eq!(opened, connections, "{method} {body}");
        assert_eq!(
            proxy.handle.totals().retried,
            u64::from(want == 200),
            "{method} {body}"
        );
    }
}

/// Of a backend that is ill little is asked twice: what is saved at first, a fifth of what is asked, and ten a second.
#[tokio::test]
async fn what_is_tried_again_has_a_budget() {
    const ASKED: u64 = 800;
    let start = Instant::now();
    let shares = |asked: u64| 100 + asked / 5 + 10 * (start.elapsed().as_secs() + 1);

    // Every connection that was kept breaks at its next request.
    let echo = once_per_connection().await;
    let proxy = serve(&all_to(backend("b", &[echo.address])));
    let mut client = Client::http1(proxy.http).await;
    let mut failed = 0;
    for _ in 0..ASKED {
        let status = client.send(get("a", "/")).await.unwrap().status();
        assert!(matches!(status, 200 | 502), "{status}");
        failed += u64::from(status == 502);
    }
    let retried = proxy.handle.totals().retried;
    assert!(
        (100..=shares(ASKED)).contains(&retried) && failed > ASKED / 5,
        "{retried} again, {failed} failed"
    );

    // Of five targets none takes a connection; a request would try three of them.
    let down: [TcpSocket; 5] = std::array::from_fn(|_| {
        // Bound, so that nobody else takes the port, and never listening.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket
    });
    let targets = down.each_ref().map(|socket| socket.local_addr().unwrap());
    let mut balancer = all_to(backend("b", &targets));
    let other = backend("other", &[echo.address]);
    balancer.backends.insert(other.id.clone(), other.into());
    balancer.rules.insert(0, rule("*", "/other", to("other")));
    let proxy = serve(&balancer);
    let mut client = Client::http1(proxy.http).await;
    for asked in 1..=ASKED {
        assert_eq!(client.send(get("a", "/")).await.unwrap().status(), 502);
        assert!(asked > 1 || proxy.handle.totals().unreached == 3, "three in all");
    }
    let again = proxy.handle.totals().unreached - ASKED;
    assert!((100..=shares(ASKED)).contains(&again), "{again} again");
    // It has used up its own tries, and not those of its neighbour.
    for _ in 0..20 {
        assert_eq!(client.send(get("a", "/other")).await.unwrap().status(), 200);
    }
}

/// Ends each connection as servers do that bound its age: GOAWAY, or `Connection: close`, after three requests.
async fn short_lived(version: BackendVersion) -> Echo {
    Echo::running(move |stream| {
        Box::pin(async move {
            let served = Arc::new(AtomicUsize::new(0));
            let enough = Arc::new(tokio::sync::Notify::new());
            let (count, tell) = (served.clone(), enough.clone());
            let service = service_fn(move |request| {
                if count.fetch_add(1, Ordering::SeqCst) == 2 {
                    tell.notify_one();
                }
                echo("short", request)
            });
            let io = TokioIo::new(stream);
            if version == BackendVersion::Http2 {
                let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service);
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    _ = connection.as_mut() => return,
                    () = enough.notified() => connection.as_mut().graceful_shutdown(),
                }
                let _ = connection.await;
            } else {
                let connection = http1::Builder::new().serve_connection(io, service);
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    _ = connection.as_mut() => return,
                    () = enough.notified() => connection.as_mut().graceful_shutdown(),
                }
                let _ = connection.await;
            }
        })
    })
    .await
}

#[tokio::test]
async fn a_target_may_end_its_connections_when_it_likes() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let target = short_lived(version).await;
        let proxy = serve(&all_to(speaking(backend("b", &[target.address]), version, false)));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let mut client = Client::http1(proxy.http).await;
            clients.spawn(async move {
                for number in 0..60 {
                    let request = Request::post("/").header("host", "a");
                    let answer = client
                        .send(request.body(Sent::from("body")).unwrap())
                        .await
                        .unwrap();
                    assert_eq!(
                        answer.status(),
                        200,
                        "{version:?}, request {number}: {}",
                        answer.body
                    );
                }
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        let opened = target.connections.load(Ordering::SeqCst);
        // Three requests and then the end: 80 where none overlap. Under GOAWAY the streams that the other three clients
        // have opened by then, and those they open before it arrives, are still answered: up to nine a connection.
        let fewest = if version == BackendVersion::Http2 { 26 } else { 60 };
        assert!(
            (fewest..=160).contains(&opened),
            "{version:?}: {opened} connections for 240 requests"
        );
    }
}

#[tokio::test]
async fn unused_connections_to_targets_are_bounded_in_number_and_time() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (now, highest) = (open.clone(), most.clone());
        let target = Echo::running(move |stream| {
            let (now, highest) = (now.clone(), highest.clone());
            Box::pin(async move {
                highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let service = service_fn(|request| echo("one", request));
                let io = TokioIo::new(stream);
                if version == BackendVersion::Http2 {
                    let _ = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await;
                } else {
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .await;
        let mut settings = Settings::default();
        settings.limits.kept_per_target = 2;
        settings.limits.kept_for = Duration::from_millis(200);
        let balancer = all_to(speaking(backend("b", &[target.address]), version, false));
        let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let http = proxy.http;
            asking.spawn(async move { get_once(http, "a", "/").await.status() });
        }
        while let Some(status) = asking.join_next().await {
            assert_eq!(status.unwrap(), 200);
        }
        // HTTP/2 needs one connection, however many ask at once.
        assert!(
            version == BackendVersion::Http1 || most.load(Ordering::SeqCst) == 1,
            "{most:?}"
        );
        until("no more than two are kept", || open.load(Ordering::SeqCst) <= 2).await;
        until("none is kept for long", || open.load(Ordering::SeqCst) == 0).await;
        assert_eq!(get_once(proxy.http, "a", "/").await.status(), 200);
    }
}

#[tokio::test]
async fn a_connection_ends_at_its_age_but_not_in_the_middle_of_a_request() {
    let (release, held) = tokio::sync::watch::channel(false);
    let echo = Echo::running(move |stream| {
        let held = held.clone();
        Box::pin(async move {
            let service = service_fn(move |request| {
                let mut held = held.clone();
                async move {
                    let _ = held.wait_for(|released| *released).await;
                    echo("slow", request).await
                }
            });
            let _ = http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                .await;
        })
    })
    .await;
    let mut settings = Settings::default();
    settings.timeouts.age = Some(Duration::from_millis(20));
    let proxy = serve_with(
        &all_to(backend("b", &[echo.address])),
        &KeyPairs::new(),
        settings,
        1,
    );
    let (mut one, mut two) = (Client::http1(proxy.http).await, Client::http2(proxy.http).await);
    let request = || get("a", "/");
    let asking = async { tokio::join!(one.send(request()), two.send(http2_get())) };
    let releasing = async {
        // Connections that ask nothing come to their age meanwhile, and these two as well.
        Client::http1(proxy.http).await.closed().await;
        Client::http2(proxy.http).await.closed().await;
        release.send_replace(true);
    };
    let ((first, second), ()) = tokio::join!(asking, releasing);
    let first = first.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(first.header("connection"), Some("close"));
    assert_eq!(second.unwrap().status(), 200);
    one.closed().await;
    two.closed().await;
}

fn http2_get() -> Request<Sent> {
    let request = Request::get("http://a/");
    request.body(Sent::default()).unwrap()
}
