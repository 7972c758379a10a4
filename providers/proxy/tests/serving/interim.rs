//! Interim answers of backends in, what clients get of them out: our own engine passes them on, hyper reads them over.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use portcullis_model::{BackendVersion, Direction, Filters, HeaderChanges, HeaderName, LoadBalancer};
use portcullis_proxy::{Http1Engine, Settings, Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::balancer::{
    KeyPairs, Proxy, all_to, backend, engine, filtered, origin, serve, serve_with, speaking,
};
use crate::client::{Client, get, raw, read_until, soon};
use crate::echo::Echo;
use crate::windows::connect;

/// Asked once, on a connection of its own.
const ONCE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
/// As it goes on.
const PASSED: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok";
const ANSWERED: &str = "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 2\r\n\r\nok";

fn passes_on() -> bool {
    engine() == Http1Engine::Own
}

/// Says to each request what `told` makes of its path: it waits at every `|` until it may go on, and ends the connection
/// after a `!`.
async fn saying(told: fn(&str) -> String) -> (Echo, Arc<Notify>) {
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    let echo = Echo::running(move |mut stream| {
        let gate = gate.clone();
        Box::pin(async move {
            let mut byte = [0];
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    // The proxy is done with the connection.
                    let Ok(1..) = stream.read(&mut byte).await else {
                        return;
                    };
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let told = told(head.split(' ').nth(1).unwrap());
                let (told, is_last) = match told.strip_suffix('!') {
                    Some(told) => (told, true),
                    None => (&*told, false),
                };
                for (number, piece) in told.split('|').enumerate() {
                    if number > 0 {
                        gate.notified().await;
                    }
                    // It may have been cut off.
                    if stream.write_all(piece.as_bytes()).await.is_err() {
                        return;
                    }
                }
                if is_last {
                    return;
                }
            }
        })
    })
    .await;
    (echo, go_on)
}

async fn asked(proxy: &Proxy, requests: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(requests.as_bytes()).await.unwrap();
    stream
}

/// What comes up to the end of the last answer, without the fields that depend on the engine.
fn unframed(answers: &str) -> String {
    let lines = answers.split_inclusive("\r\n");
    let ours = |line: &&str| !line.starts_with("connection: ");
    lines.filter(ours).collect()
}

#[tokio::test]
async fn an_interim_answer_reaches_the_client_before_the_answer() {
    let (echo, go_on) = saying(|path| match path {
        "/waits" => format!("{HINT}HTTP/1.1 102 Processing\r\n\r\n|{ANSWER}"),
        _ => format!("{HINT}{ANSWER}"),
    })
    .await;
    let proxy = serve(&all_to(backend("b", &[echo.address])));
    let mut stream = asked(&proxy, "GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await;
    if passes_on() {
        let interim = read_until(&mut stream, "Processing\r\n\r\n").await;
        assert_eq!(interim, format!("{PASSED}HTTP/1.1 102 Processing\r\n\r\n"));
    }
    go_on.notify_one();
    let head = read_until(&mut stream, "\r\n\r\nok").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    // On kept connections, one behind the other, and where an answer has no body.
    let requests = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    soon("the answers", stream.read_to_string(&mut answers))
        .await
        .unwrap();
    if passes_on() {
        assert_eq!(unframed(&answers), format!("{PASSED}{ANSWERED}").repeat(3));
    } else {
        assert!(!answers.contains("103"), "{answers}");
        assert_eq!(answers.matches("200 OK").count(), 3, "{answers}");
    }
    assert_eq!(echo.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
    let totals = proxy.handle.totals();
    assert_eq!(totals.by_class, [0, 4, 0, 0, 0], "only answers are counted");
}

#[tokio::test]
async fn clients_get_the_interim_answers_that_they_can_take() {
    let (echo, _) = saying(|path| match path {
        "/head" => format!("{HINT}HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\n"),
        "/hop" => format!(
            "HTTP/1.1 103 E\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n{ANSWER}"
        ),
        "/invites" => format!("HTTP/1.1 100 Continue\r\n\r\n{ANSWER}"),
        _ => format!("{HINT}{ANSWER}"),
    })
    .await;
    let proxy = serve(&all_to(backend("b", &[echo.address])));
    let close = "Host: a\r\nConnection: close\r\n";
    for (request, want) in [
        (format!("GET / HTTP/1.1\r\n{close}\r\n"), PASSED),
        // It would take them for the answer. Source: RFC 9110 §15.2.
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), ""),
        (format!("HEAD /head HTTP/1.1\r\n{close}\r\n"), PASSED),
        (
            format!("GET /hop HTTP/1.1\r\n{close}\r\n"),
            "HTTP/1.1 103 Early Hints\r\nx-a: 1\r\n\r\n",
        ),
        (
            format!("GET /invites HTTP/1.1\r\n{close}\r\n"),
            "HTTP/1.1 100 Continue\r\n\r\n",
        ),
        // The proxy has invited it itself, or has no need to: the body is there.
        (
            format!("POST /invites HTTP/1.1\r\n{close}Content-Length: 0\r\nExpect: 100-continue\r\n\r\n"),
            "",
        ),
    ] {
        let answers = raw(proxy.http, request.as_bytes()).await;
        let (interim, answer) = answers.split_at(answers.find(" 200 OK").unwrap() - "HTTP/1.1".len());
        let want = if passes_on() { want } else { "" };
        assert_eq!(interim, want, "{request}");
        assert!(answer.starts_with("HTTP/1."), "{answers}");
    }
    // hyper has no way to send them over HTTP/2; nothing suffers from it.
    let mut client = Client::http2(proxy.http).await;
    assert_eq!(client.send(get("a", "/")).await.unwrap().body, "ok");
}

#[tokio::test]
async fn interim_answers_pass_while_a_body_is_still_sent() {
    let (echo, go_on) = saying(|_| format!("{HINT}|{ANSWER}!")).await;
    let proxy = serve(&all_to(backend("b", &[echo.address])));
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = asked(&proxy, request).await;
    let invitation = read_until(&mut stream, "\r\n\r\n").await;
    assert_eq!(invitation, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"b").await.unwrap();
    if passes_on() {
        assert_eq!(read_until(&mut stream, "\r\n\r\n").await, PASSED);
    }
    stream.write_all(b"od").await.unwrap();
    go_on.notify_one();
    let answer = read_until(&mut stream, "ok").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_backend_that_never_comes_to_its_answer_is_cut_off() {
    // More than a head may have, in the end.
    let (echo, _) = saying(|_| HINT.repeat(4_000)).await;
    let settings = Settings {
        timeouts: Timeouts {
            answer: Duration::from_millis(500),
            ..Timeouts::default()
        },
        ..Settings::default()
    };
    let balancer = all_to(backend("b", &[echo.address]));
    let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
    let answers = raw(proxy.http, ONCE).await;
    let passed = answers.matches(PASSED).count();
    let (most, status) = match engine() {
        Http1Engine::Own => (settings.limits.head_bytes / HINT.len(), "HTTP/1.1 502 "),
        Http1Engine::Hyper => (0, "HTTP/1.1 504 "),
    };
    assert_eq!(passed, most);
    assert!(
        answers[passed * PASSED.len()..].starts_with(status),
        "{status} after {passed}"
    );
    // Time passes for it all the same.
    let (echo, _) = saying(|_| format!("{HINT}|")).await;
    let balancer = all_to(backend("b", &[echo.address]));
    let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
    let answers = raw(proxy.http, ONCE).await;
    assert!(answers.contains("HTTP/1.1 504 "), "{answers}");
}

#[tokio::test]
async fn a_request_that_was_answered_so_is_not_sent_again() {
    let (echo, _) = saying(|path| match path {
        "/keeps" => ANSWER.to_owned(),
        _ => format!("{HINT}!"),
    })
    .await;
    let proxy = serve(&all_to(backend("b", &[echo.address])));
    let mut stream = asked(&proxy, "GET /keeps HTTP/1.1\r\nHost: a\r\n\r\n").await;
    read_until(&mut stream, "ok").await;
    // On the connection that was kept.
    let request = b"GET /breaks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answers = String::new();
    soon("the answer", stream.read_to_string(&mut answers))
        .await
        .unwrap();
    assert!(answers.contains("HTTP/1.1 502 "), "{answers}");
    assert_eq!(answers.starts_with(PASSED), passes_on(), "{answers}");
    // hyper does not tell that they came.
    assert_eq!(proxy.handle.totals().retried, u64::from(!passes_on()));
}

fn holding_back(balancer: &mut LoadBalancer) {
    let name = |text: &str| HeaderName::parse(text).unwrap();
    let changes = HeaderChanges::new(
        Direction::Response,
        &[(name("x-set"), "ours".to_owned())],
        &[(name("x-add"), "ours".to_owned())],
        &[name("server")],
        origin(),
    );
    let filters = Filters {
        response_headers: Some(changes.unwrap()),
        ..Filters::default()
    };
    let rule = balancer.rules.pop().unwrap();
    balancer.rules.push(filtered(rule, filters));
}

#[tokio::test]
async fn what_a_rule_takes_from_answers_no_interim_answer_has() {
    let (echo, _) = saying(|_| {
        format!("HTTP/1.1 103 E\r\nServer: x\r\nX-Set: theirs\r\nX-Add: theirs\r\nX-A: 1\r\n\r\n{ANSWER}")
    })
    .await;
    let mut balancer = all_to(backend("b", &[echo.address]));
    holding_back(&mut balancer);
    let proxy = serve(&balancer);
    let answers = raw(proxy.http, ONCE).await;
    let (interim, answer) = answers.split_at(answers.find("HTTP/1.1 200").unwrap());
    for (field, passes) in [
        ("x-a: 1", true),
        ("x-add: theirs", true),
        ("x-set: ", false),
        ("server: ", false),
    ] {
        assert_eq!(
            interim.contains(field),
            passes && passes_on(),
            "{field} in {answers}"
        );
    }
    assert!(answer.contains("x-set: ours\r\n"), "{answers}");
}

#[cfg(feature = "http3")]
#[tokio::test]
async fn clients_of_http_3_get_them_too() {
    let (echo, go_on) = saying(|_| format!("{HINT}|{ANSWER}")).await;
    let served = crate::quic::serve(all_to(backend("b", &[echo.address])), 1);
    let mut client = served.client().await;
    let mut stream = client.begin(crate::quic::get(crate::quic::HOST, "/")).await;
    stream.finish().await.unwrap();
    if passes_on() {
        let interim = soon("the interim answer", stream.recv_response()).await.unwrap();
        assert_eq!(interim.status(), 103);
        assert_eq!(interim.headers()["link"], "</a.css>; rel=preload");
        assert_eq!(interim.headers().len(), 1);
    }
    go_on.notify_one();
    let answer = crate::quic::answer(&mut stream).await;
    assert_eq!((answer.status(), &*answer.body), (200, "ok"));
}

/// Speaks HTTP/2. Its answer comes once the proxy has seen what comes before, and at `/late` not at all.
async fn hinting() -> Echo {
    Echo::running(|stream| {
        Box::pin(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut pings = connection.ping_pong().unwrap();
            let mut late = Vec::new();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                for status in [100, 102, 103] {
                    let hint = Response::builder()
                        .status(status)
                        .header("link", "</a.css>; rel=preload");
                    respond.send_informational(hint.body(()).unwrap()).unwrap();
                }
                if request.uri().path() == "/late" {
                    late.push(respond);
                    continue;
                }
                tokio::select! {
                    pong = pings.ping(h2::Ping::opaque()) => assert!(pong.is_ok()),
                    _ = connection.accept() => return,
                }
                let response = Response::builder().header("x-last", "1").body(());
                let mut body = respond.send_response(response.unwrap(), false).unwrap();
                body.send_data(Bytes::from_static(b"ok"), true).unwrap();
            }
        })
    })
    .await
}

/// hyper does not tell of them.
#[tokio::test]
async fn interim_answers_of_backends_that_speak_http_2_are_read_over() {
    let echo = hinting().await;
    let balancer = all_to(speaking(
        backend("b", &[echo.address]),
        BackendVersion::Http2,
        false,
    ));
    let mut settings = Settings::default();
    settings.timeouts.answer = Duration::from_secs(1);
    let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
    let answers = raw(proxy.http, ONCE).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    assert!(answers.contains("\r\nx-last: 1\r\n"), "{answers}");
    assert!(!answers.contains("link: "), "{answers}");

    let mut tasks = JoinSet::new();
    let mut sender = connect(proxy.http, 65_535, &mut tasks).await;
    let request = hyper::Request::get("http://a/").body(()).unwrap();
    let (mut answer, _) = sender.send_request(request, true).unwrap();
    let interim = poll_fn(|cx| answer.poll_informational(cx));
    assert!(soon("the answer", interim).await.is_none());
    let answer = answer.await.unwrap();
    let seen = |name| answer.headers().contains_key(name);
    assert_eq!(
        (answer.status().as_u16(), seen("x-last"), seen("link")),
        (200, true, false)
    );

    // They give the answer no more time.
    let late = Client::http1(proxy.http)
        .await
        .send(get("a", "/late"))
        .await
        .unwrap();
    assert_eq!(late.status(), 504);
    let totals = proxy.handle.totals();
    assert_eq!(totals.by_class, [0, 2, 0, 0, 1], "only answers are counted");
}

#[cfg(feature = "http3")]
#[tokio::test]
async fn clients_of_http_3_get_none_of_backends_that_speak_http_2() {
    let echo = hinting().await;
    let backend = speaking(backend("b", &[echo.address]), BackendVersion::Http2, false);
    let served = crate::quic::serve(all_to(backend), 1);
    let answer = served.client().await.get("/").await;
    assert_eq!((answer.status(), answer.header("x-last")), (200, Some("1")));
    assert_eq!((answer.header("link"), &*answer.body), (None, "ok"));
}
