//! Requests through the proxy in, what backends see of them out.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_model::BackendVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::balancer::{all_to, backend, serve, speaking};
use crate::client::{Client, Sent, get, get_once, http2_over, raw, read_until, soon};
use crate::echo::Echo;

#[tokio::test]
async fn a_request_reaches_its_backend_and_the_answer_comes_back() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    assert_eq!(proxy.problems, []);
    let answer = get_once(proxy.http, "shop.example.com", "/a/%2F//b?x=1&x=2").await;
    assert_eq!(answer.status(), 200, "{}", answer.body);
    assert_eq!(
        answer.body.lines().nth(1),
        Some("GET /a/%2F//b?x=1&x=2 HTTP/1.1"),
        "{}",
        answer.body
    );
    assert_eq!(answer.header("x-backend"), Some("one"));
}

#[tokio::test]
async fn every_version_of_http_is_translated_to_every_other() {
    let http1 = Echo::http1("http1").await;
    let http2 = Echo::http2("http2").await;
    for (target, version, line) in [
        (&http1, BackendVersion::Http1, "POST /x HTTP/1.1"),
        (
            &http2,
            BackendVersion::Http2,
            "POST http://a.example.com/x HTTP/2.0",
        ),
    ] {
        let proxy = serve(&all_to(speaking(backend("b", &[target.address]), version, false)));
        let body = "0123456789".repeat(30_000);
        for h2 in [false, true] {
            let mut client = if h2 {
                Client::http2(proxy.http).await
            } else {
                Client::http1(proxy.http).await
            };
            let uri = if h2 { "http://a.example.com/x" } else { "/x" };
            let mut request = Request::post(uri);
            if !h2 {
                request = request.header("host", "a.example.com");
            }
            let answer = client
                .send(request.body(Sent::from(body.clone())).unwrap())
                .await
                .unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.body.lines().nth(1), Some(line), "h2 {h2} to {version:?}");
            assert!(
                answer.body.ends_with(&body),
                "h2 {h2} to {version:?}: the body is not whole"
            );
        }
    }
}

#[tokio::test]
async fn connections_to_targets_are_kept() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let mut client = Client::http1(proxy.http).await;
    let mut streams = Client::http2(proxy.http).await;
    for number in 0..20 {
        assert_eq!(
            client.send(get("a.example.com", "/")).await.unwrap().status(),
            200
        );
        let post = Request::post("/")
            .header("host", "a")
            .body(Sent::from("x".repeat(number * 1000)));
        assert_eq!(client.send(post.unwrap()).await.unwrap().status(), 200);
        let put = Request::put("http://a/").body(Sent::from("x".repeat(number * 1000)));
        assert_eq!(streams.send(put.unwrap()).await.unwrap().status(), 200);
    }
    // Chunked both ways.
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".repeat(5);
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = raw(proxy.http, format!("{chunked}{last}").as_bytes()).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 6, "{answers}");
    assert_eq!(echo.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_a_client_says_about_itself_is_overwritten() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let request = Request::get("/")
        .header("host", "Shop.example.com:8080")
        .header("x-forwarded-for", "203.0.113.9")
        .header("X-Forwarded-For", "203.0.113.10")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-port", "1")
        .header("x-forwarded-host", "evil.example.com")
        .header("forwarded", "for=203.0.113.9")
        .header("x-real-ip", "203.0.113.9");
    let answer = Client::http1(proxy.http)
        .await
        .send(request.body(Sent::default()).unwrap())
        .await
        .unwrap();
    let port = proxy.http.port().to_string();
    for (name, want) in [
        ("x-forwarded-for", vec!["127.0.0.1"]),
        ("x-forwarded-proto", vec!["http"]),
        ("x-forwarded-port", vec![port.as_str()]),
        ("x-forwarded-host", vec!["Shop.example.com:8080"]),
        ("host", vec!["Shop.example.com:8080"]),
        ("forwarded", vec![]),
        ("x-real-ip", vec![]),
    ] {
        assert_eq!(answer.seen(name), want, "{name} in {}", answer.body);
    }
}

#[tokio::test]
async fn fields_of_one_hop_stay_there() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let request = Request::get("/")
        .header("host", "a.example.com")
        .header("connection", "keep-alive, x-mine")
        .header("x-mine", "1")
        .header("keep-alive", "timeout=1")
        .header("proxy-connection", "keep-alive")
        .header("te", "trailers")
        .header("x-kept", "1");
    let answer = Client::http1(proxy.http)
        .await
        .send(request.body(Sent::default()).unwrap())
        .await
        .unwrap();
    for (name, want) in [
        ("connection", vec![]),
        ("x-mine", vec![]),
        ("keep-alive", vec![]),
        ("proxy-connection", vec![]),
        ("te", vec![]),
        ("x-kept", vec!["1"]),
    ] {
        assert_eq!(answer.seen(name), want, "{name} in {}", answer.body);
    }
    // The echo answers `Connection: x-private` with a field of that name, and Keep-Alive.
    for name in ["connection", "x-private", "keep-alive"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}

/// Says that another protocol is needed, and `/ok` that none is.
pub(crate) async fn requiring_another() -> Echo {
    Echo::running(|mut stream| {
        Box::pin(async move {
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                if !head.ends_with(b"\r\n\r\n") {
                    continue;
                }
                let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
                let (status, fields) = match text.split(' ').nth(1).unwrap() {
                    "/two" => (
                        "426 Upgrade Required",
                        "Connection: X-Hop, Upgrade\r\nX-Hop: 1\r\nUpgrade: foo/2\r\nUpgrade: bar",
                    ),
                    "/unnamed" => ("426 Upgrade Required", "Upgrade: foo/2, bar"),
                    "/none" => ("426 Upgrade Required", "Connection: keep-alive"),
                    _ => ("200 OK", "Connection: Upgrade\r\nUpgrade: foo/2, bar"),
                };
                let answer = format!("HTTP/1.1 {status}\r\n{fields}\r\nContent-Length: 2\r\n\r\nno");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
    })
    .await
}

/// Source: RFC 9110 §15.5.22, and §7.8 for who is told.
#[tokio::test]
async fn who_is_to_change_protocol_is_told_to_which() {
    let backend_side = requiring_another().await;
    let proxy = serve(&all_to(backend("one", &[backend_side.address])));
    let close = "Connection: close\r\n";
    let asks = "Connection: upgrade\r\nUpgrade: other\r\n";
    let all = "foo/2, bar";
    for (path, fields, status, upgrade, connection) in [
        ("/two", close, "426", all, &["upgrade", "close"][..]),
        ("/unnamed", close, "426", all, &["upgrade", "close"]),
        ("/none", close, "426", "", &["close"]),
        // Who asks to change protocol asks nothing behind it.
        ("/two", asks, "426", all, &["upgrade", "close"]),
        ("/ok", close, "200", "", &["close"]),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let answer = raw(proxy.http, request.as_bytes()).await;
        assert_eq!(answer.get(9..12), Some(status), "{request}{answer}");
        let said = |name: &str| -> Vec<&str> {
            let lines = answer.lines().filter_map(|line| line.strip_prefix(name));
            lines.flat_map(|value| value.split(", ")).collect()
        };
        assert_eq!(said("upgrade: ").join(", "), upgrade, "{request}{answer}");
        assert_eq!(said("connection: "), connection, "{request}{answer}");
        assert!(!answer.contains("x-hop"), "{answer}");
    }
    let answer = raw(proxy.http, b"GET /two HTTP/1.0\r\n\r\n").await;
    assert!(
        answer.contains(" 426 ") && !answer.contains("upgrade"),
        "{answer}"
    );
    // It is the answer to one request, not the end.
    let mut client = Client::http1(proxy.http).await;
    for path in ["/two", "/unnamed", "/two"] {
        let answer = client.send(get("a", path)).await.unwrap();
        assert_eq!(answer.status(), 426, "{path}");
        assert_eq!(answer.header("connection"), Some("upgrade"), "{path}");
    }
    let mut client = Client::http2(proxy.http).await;
    let answer = client.send(get("a", "/two")).await.unwrap();
    let said = (answer.header("upgrade"), answer.header("connection"));
    assert_eq!((answer.status(), said), (426, (None, None)));
}

#[tokio::test]
async fn what_cgi_would_take_for_framing_is_not_passed_on() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let mean = "Transfer_Encoding: chunked\r\nCONTENT_LENGTH: 100\r\ncontent_length: 7\r\nX_Other: kept\r\n";
    for body in [
        format!("{mean}Content-Length: 4\r\n\r\nbody"),
        format!("Content-Length: 4\r\nX-Forwarded-For: 192.0.2.1\r\n{mean}\r\nbody"),
        // Servers may take trailers for fields.
        format!("{mean}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n{mean}\r\n"),
    ] {
        let answer = raw(proxy.http, format!("{post}{body}").as_bytes()).await;
        assert!(answer.contains("\nx_other: kept\n"), "{body}: {answer}");
        assert!(answer.contains("\n\nbody"), "{body}: {answer}");
        for name in ["transfer_encoding", "content_length"] {
            assert!(!answer.to_ascii_lowercase().contains(name), "{body}: {answer}");
        }
    }
    let request = Request::post("http://a/")
        .header("transfer_encoding", "chunked")
        .header("content_length", "100")
        .body(Sent::from("body"));
    let answer = Client::http2(proxy.http)
        .await
        .send(request.unwrap())
        .await
        .unwrap();
    assert!(answer.body.ends_with("\n\nbody"), "{}", answer.body);
    assert_eq!(answer.seen("content-length"), ["4"], "{}", answer.body);
    for name in ["transfer_encoding", "content_length"] {
        assert!(answer.seen(name).is_empty(), "{}", answer.body);
    }
}

#[tokio::test]
async fn a_target_in_absolute_form_agrees_with_host() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let ask =
        |host| format!("GET http://b.example.com/x?y HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = raw(proxy.http, ask("b.example.com").as_bytes()).await;
    assert!(
        answer.contains("\r\n\r\none\nGET /x?y HTTP/1.1\nhost: b.example.com\n"),
        "{answer}"
    );
    let answer = raw(proxy.http, ask("a.example.com").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn an_old_client_is_served_and_its_connection_closed() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let answer = raw(proxy.http, b"GET /x HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.contains(&format!("host: {}", echo.address)), "{answer}");
    assert!(!answer.contains("chunked"), "{answer}");
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let answer = raw(
        proxy.http,
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: "), "{answer}");
    assert!(!head.contains("content-length: 0"), "{answer}");
    assert!(rest.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_client_that_expects_to_continue_is_told_to() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"hello").await.unwrap();
    let answer = read_until(&mut stream, "hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(!answer.contains("\nexpect"), "{answer}");
}

#[tokio::test]
async fn a_get_with_a_body_of_unknown_length_keeps_it() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let answer = raw(proxy.http, request).await;
    assert!(answer.contains("\n\nhello"), "{answer}");
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    // A gRPC answer: its status is a trailer. Source: gRPC over HTTP/2, "Responses".
    let grpc = Echo::running(|stream| {
        Box::pin(async move {
            let service = service_fn(|request: Request<Incoming>| async move {
                let te = request.headers().get("te").cloned();
                let sent = request.into_body().collect().await.unwrap();
                let trailers = sent.trailers().cloned();
                let seen = trailers.as_ref().and_then(|t| t.get("x-sum")).cloned();
                let mut fields = HeaderMap::new();
                fields.insert("grpc-status", HeaderValue::from_static("0"));
                fields.insert(
                    "x-seen",
                    seen.unwrap_or_else(|| HeaderValue::from_static("nothing")),
                );
                let body = Full::new(sent.to_bytes()).with_trailers(async move { Some(Ok(fields)) });
                let mut response = Response::new(body);
                if let Some(te) = te {
                    response.headers_mut().insert("x-te", te);
                }
                Ok::<_, Infallible>(response)
            });
            let builder = http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        })
    })
    .await;
    let proxy = serve(&all_to(speaking(
        backend("b", &[grpc.address]),
        BackendVersion::Grpc,
        false,
    )));
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let mut tasks = JoinSet::new();
    let mut sender = http2_over(stream, &mut tasks).await;
    let mut fields = HeaderMap::new();
    fields.insert("x-sum", HeaderValue::from_static("42"));
    let body =
        Full::new(Bytes::from_static(b"message")).with_trailers(futures::future::ready(Some(Ok(fields))));
    let request = Request::post("http://a.example.com/pkg.Service/Call")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let response = soon("an answer", sender.send_request(request)).await.unwrap();
    assert_eq!(response.headers().get("x-te").unwrap(), "trailers");
    let body = soon("a body", response.into_body().collect()).await.unwrap();
    let trailers = body.trailers().unwrap().clone();
    assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    assert_eq!(trailers.get("x-seen").unwrap(), "42");
    assert_eq!(body.to_bytes(), "message");
}

#[tokio::test]
async fn a_cookie_that_http_2_split_is_one_for_http_1() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let request = Request::get("http://a.example.com/")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    let answer = Client::http2(proxy.http)
        .await
        .send(request.body(Sent::default()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.seen("cookie"), ["a=1; b=2"], "{}", answer.body);
    assert_eq!(answer.seen("host"), ["a.example.com"], "{}", answer.body);
}

/// A login that cannot be read any more has no hosts that could be known; its sessions are good again once it is mended.
#[tokio::test]
async fn sessions_of_the_usual_name_go_to_no_backend() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let mut request = get("a", "/");
    let cookies = "a=1; __Host-AWSELBAuthSessionCookie-0=s; __Host-AWSELBAuthSessionCookie-1=t; b=2";
    request.headers_mut().insert("cookie", cookies.parse().unwrap());
    let answer = Client::http1(proxy.http).await.send(request).await.unwrap();
    assert_eq!(answer.seen("cookie"), ["a=1; b=2"]);
}
