//! Bodies that a rule bounds or reads ahead in, what clients and backends see of them out.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_model::{
    BackendVersion, BodyLimit, Buffering, Coding, Compression, ExternalAuth, Filters, LoadBalancer,
};
use portcullis_proxy::Settings;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::balancer::{KeyPairs, backend, empty, filtered, origin, rule, serve, serve_with, speaking, to};
use crate::client::{Client, Sent, get, get_once, raw, read_until, until};
use crate::echo::Echo;

fn balancer(echo: &Echo, filters: Filters) -> LoadBalancer {
    let mut balancer = empty();
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one.into());
    *balancer.rules = vec![
        filtered(rule("a.com", "/", to("one")), filters),
        rule("b.com", "/", to("one")),
    ];
    balancer
}

fn ahead(bytes: u32) -> Filters {
    Filters {
        buffering: Some(Buffering {
            bytes,
            origin: origin(),
        }),
        ..Filters::default()
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_of_its_rule_is_refused_however_it_is_framed() {
    let echo = Echo::http1("one").await;
    for buffered in [false, true] {
        let limit = BodyLimit {
            bytes: 10,
            origin: origin(),
        };
        let filters = match buffered {
            true => ahead(1024),
            false => Filters::default(),
        };
        let proxy = serve(&balancer(
            &echo,
            Filters {
                body_limit: Some(limit),
                ..filters
            },
        ));
        for (host, body, want) in [
            ("a.com", "0123456789", "200"),
            ("a.com", "0123456789a", "413"),
            ("b.com", "0123456789a", "200"),
        ] {
            let length = body.len();
            for framed in [
                format!("content-length: {length}\r\nconnection: close\r\n\r\n{body}"),
                format!(
                    "transfer-encoding: chunked\r\nconnection: close\r\n\r\n8\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                    &body[..8],
                    length - 8,
                    &body[8..]
                ),
            ] {
                let request = format!("POST / HTTP/1.1\r\nhost: {host}\r\n{framed}");
                let answer = raw(proxy.http, request.as_bytes()).await;
                assert_eq!(answer.get(9..12), Some(want), "{buffered} {request}: {answer}");
            }
            let mut client = Client::http2(proxy.http).await;
            let uri = format!("http://{host}/");
            let request = Request::post(uri).body(Sent::from(body)).unwrap();
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.status().to_string(), want, "{buffered} {host}");
        }
    }
}

#[tokio::test]
async fn of_two_bounds_of_a_body_the_shorter_counts() {
    let echo = Echo::http1("one").await;
    for (of_rule, of_all) in [(4, 8), (8, 4)] {
        let limit = BodyLimit {
            bytes: of_rule,
            origin: origin(),
        };
        let filters = Filters {
            body_limit: Some(limit),
            ..Filters::default()
        };
        let mut settings = Settings::default();
        settings.limits.body_bytes = Some(of_all);
        let proxy = serve_with(&balancer(&echo, filters), &KeyPairs::new(), settings, 1);
        for (body, want) in [("1234", 200), ("12345", 413)] {
            let request = Request::post("/").header("host", "a.com").body(Sent::from(body));
            let mut client = Client::http1(proxy.http).await;
            let answer = client.send(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), want, "{of_rule} and {of_all}: {body}");
        }
    }
}

#[tokio::test]
async fn a_backend_is_not_asked_before_the_body_has_come() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo, ahead(1024)));
    let mut slow = TcpStream::connect(proxy.http).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a.com\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
    slow.write_all(format!("{head}3\r\nabc\r\n").as_bytes())
        .await
        .unwrap();
    // Others are answered meanwhile: the slow one has had its turn.
    let mut quick = Client::http1(proxy.http).await;
    for _ in 0..20 {
        let request = Request::post("/")
            .header("host", "a.com")
            .body(Sent::from("quick"))
            .unwrap();
        let answer = quick.send(request).await.unwrap();
        assert!(answer.body.ends_with("\n\nquick"), "{}", answer.body);
    }
    assert_eq!(
        echo.connections.load(Ordering::SeqCst),
        1,
        "the slow one was passed on"
    );
    slow.write_all(b"3\r\ndef\r\n0\r\nx-sum: 1\r\n\r\n")
        .await
        .unwrap();
    let answer = read_until(&mut slow, "trailer x-sum: 1\n").await;
    assert!(answer.contains("\n\nabcdef"), "{answer}");
}

#[tokio::test]
async fn a_body_longer_than_what_is_read_ahead_is_passed_on_whole() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo, ahead(4)));
    for length in [0, 3, 4, 5, 100_000] {
        let body = "y".repeat(length);
        for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
            let request = Request::post("http://a.com/")
                .header("host", "a.com")
                .body(Sent::from(body.clone()))
                .unwrap();
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.body.split_once("\n\n").unwrap().1, body, "{length}");
        }
    }
    // One that has begun is passed on from there: the backend is asked before its end.
    let mut slow = TcpStream::connect(proxy.http).await.unwrap();
    let before = echo.connections.load(Ordering::SeqCst);
    let mut held = Client::http1(proxy.http).await;
    slow.write_all(b"POST / HTTP/1.1\r\nhost: a.com\r\ncontent-length: 10\r\n\r\nabcde")
        .await
        .unwrap();
    let view = proxy.handle.view();
    until("the backend is asked", || {
        view.to_string().contains(" 1 under way")
    })
    .await;
    let other = Request::post("/")
        .header("host", "a.com")
        .body(Sent::from("ab"))
        .unwrap();
    assert_eq!(held.send(other).await.unwrap().status(), 200);
    assert!(echo.connections.load(Ordering::SeqCst) > before);
    slow.write_all(b"fghij").await.unwrap();
    read_until(&mut slow, "\n\nabcdefghij").await;
}

/// The room is the worker's: of what any body may have, as much is set aside from its beginning on.
#[tokio::test]
async fn where_no_room_is_left_to_read_ahead_bodies_are_passed_on_as_they_come() {
    const LONGEST: u32 = 16 * 1024 * 1024;
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo, ahead(LONGEST)));
    // Who is invited to send a body is so by whoever reads it, ahead or on its way.
    let begin = async |framing: &str| {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: a.com\r\nexpect: 100-continue\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let invited = read_until(&mut stream, "\r\n\r\n").await;
        assert_eq!(invited, "HTTP/1.1 100 Continue\r\n\r\n");
        stream
    };
    let view = proxy.handle.view();
    let under_way = |count: usize| view.to_string().contains(&format!(" {count} under way"));
    let length = format!("content-length: {LONGEST}");
    let mut held = Vec::new();
    for framing in [&*length, "transfer-encoding: chunked", &length] {
        held.push(begin(framing).await);
    }
    // Just what is left, of one that is shorter.
    for bytes in [LONGEST - 5, 5] {
        held.push(begin(&format!("content-length: {bytes}")).await);
    }
    assert!(!under_way(1), "a backend was asked: {view}");
    let mut passed = begin("content-length: 1").await;
    assert!(under_way(1), "{view}");
    passed.write_all(b"1").await.unwrap();
    read_until(&mut passed, "\n\n1").await;
    until("nothing under way", || !under_way(1)).await;
    // Who is done, or leaves, gives back what he had.
    let mut short = held.pop().unwrap();
    short.write_all(b"short").await.unwrap();
    read_until(&mut short, "\n\nshort").await;
    drop(held.pop());
    until("it has left", || view.totals().connections_open == 5).await;
    let mut again = begin(&format!("content-length: {LONGEST}")).await;
    assert!(!under_way(1), "a backend was asked: {view}");
    again.write_all(b"begun").await.unwrap();
    // And what is set aside is read: all of it goes on at once.
    let rest = vec![b'x'; usize::try_from(LONGEST).unwrap() - "begun".len()];
    again.write_all(&rest).await.unwrap();
    assert!(read_until(&mut again, "xxx").await.starts_with("HTTP/1.1 200"));
}

/// Longest answer of the rules below: more than what goes by a pipe of the kernel.
const MOST: usize = 100_000;

/// Answers with text of the length that the query says, which is announced or not: `/known?5`, `/unknown?5`.
pub(crate) async fn of_length(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let length = request.uri().query().unwrap().parse().unwrap();
    let text = Bytes::from(vec![b'x'; length]);
    let body = match request.uri().path() {
        "/known" => Full::new(text).boxed(),
        _ => {
            let pieces: Vec<_> = text.chunks(9_999).map(Bytes::copy_from_slice).collect();
            let frames = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
            BodyExt::boxed(StreamBody::new(futures::stream::iter(frames)))
        }
    };
    let response = Response::builder().header("content-type", "text/plain");
    Ok(response.body(body).unwrap())
}

async fn answering(version: BackendVersion) -> Echo {
    if version == BackendVersion::Http1 {
        return Echo::answering(of_length).await;
    }
    Echo::running(|stream| {
        Box::pin(async move {
            let builder = http2::Builder::new(TokioExecutor::new());
            let service = service_fn(of_length);
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        })
    })
    .await
}

/// `a.com` has a bound of its own, `b.com` that of all, which is one more, and `c.com` that of `a.com`, compressed.
fn bounded(echo: &Echo, version: BackendVersion) -> crate::balancer::Proxy {
    let mut balancer = empty();
    let one = speaking(backend("one", &[echo.address]), version, false);
    balancer.backends.insert(one.id.clone(), one.into());
    let own = Filters {
        answer_limit: Some(BodyLimit {
            bytes: MOST.try_into().unwrap(),
            origin: origin(),
        }),
        ..Filters::default()
    };
    let compressed = Filters {
        compression: Some(Compression {
            codings: vec![Coding::Gzip],
            origin: origin(),
        }),
        ..own.clone()
    };
    *balancer.rules = vec![
        filtered(rule("a.com", "/", to("one")), own),
        filtered(rule("c.com", "/", to("one")), compressed),
        rule("b.com", "/", to("one")),
    ];
    let mut settings = Settings::default();
    settings.limits.answer_bytes = Some((MOST + 1).try_into().unwrap());
    serve_with(&balancer, &KeyPairs::new(), settings, 1)
}

#[tokio::test]
async fn an_answer_beyond_its_bound_is_refused_where_it_says_so_and_cut_off_where_not() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let echo = answering(version).await;
        let proxy = bounded(&echo, version);
        for (host, most) in [("a.com", MOST), ("b.com", MOST + 1), ("c.com", MOST)] {
            for (path, length, want) in [
                ("known", most, Some(200)),
                ("known", most + 1, Some(502)),
                ("unknown", most, Some(200)),
                ("unknown", most + 1, None),
                ("unknown", 0, Some(200)),
            ] {
                for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
                    let request = Request::get(format!("http://{host}/{path}?{length}"))
                        .header("host", host)
                        .header("accept-encoding", "gzip")
                        .body(Sent::default())
                        .unwrap();
                    let answer = client.send(request).await;
                    let case = format!("{version:?} {host} {path} {length}");
                    assert_eq!(answer.as_ref().ok().map(|got| got.status()), want, "{case}");
                    if want == Some(200) && host != "c.com" {
                        assert_eq!(answer.unwrap().body.len(), length, "{case}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_connection_is_not_used_again_with_half_an_answer_on_it() {
    let echo = answering(BackendVersion::Http1).await;
    let proxy = bounded(&echo, BackendVersion::Http1);
    for (path, length, connections) in [
        ("known", MOST, 1),
        ("known", MOST + 1, 1),
        ("known", 1, 2),
        ("unknown", MOST + 1, 2),
        ("unknown", 1, 3),
    ] {
        let mut client = Client::http1(proxy.http).await;
        let _ = client.send(get("a.com", &format!("/{path}?{length}"))).await;
        let opened = echo.connections.load(Ordering::SeqCst);
        assert_eq!(opened, connections, "{path} {length}");
    }
}

#[tokio::test]
async fn what_comes_of_an_answer_that_is_cut_off_has_no_end() {
    let echo = answering(BackendVersion::Http1).await;
    let proxy = bounded(&echo, BackendVersion::Http1);
    let request = format!("GET /unknown?{} HTTP/1.1\r\nhost: a.com\r\n\r\n", MOST + 1);
    let answer = raw(proxy.http, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{}", &answer[..100]);
    assert!(!answer.ends_with("0\r\n\r\n"), "it passes for all of it");
    let came = answer.matches('x').count();
    assert!((1..=MOST).contains(&came), "{came}");
}

#[tokio::test]
async fn a_length_that_is_said_of_no_body_is_no_matter() {
    let echo = Echo::running(|mut stream| {
        Box::pin(async move {
            loop {
                let head = read_until(&mut stream, "\r\n\r\n").await;
                let status = match head.starts_with("HEAD") {
                    true => "200 OK",
                    false => "304 Not Modified",
                };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 5000000\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
    })
    .await;
    let proxy = bounded(&echo, BackendVersion::Http1);
    for (method, want) in [("HEAD", 200), ("GET", 304)] {
        let mut client = Client::http1(proxy.http).await;
        let mut request = get("a.com", "/");
        *request.method_mut() = method.parse().unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status(), want, "{method}");
        // hyper leaves it out of a 304.
        let said = answer.header("content-length");
        assert!(said.is_none_or(|said| said == "5000000"), "{method}");
    }
    // The same over HTTP/2, where the end may come behind the head.
    let echo = Echo::running(|stream| {
        Box::pin(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let head = Response::builder().header("content-length", "5000000");
                let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
                body.send_data(Bytes::new(), true).unwrap();
            }
        })
    })
    .await;
    let proxy = bounded(&echo, BackendVersion::Http2);
    let mut client = Client::http1(proxy.http).await;
    let request = Request::head("/").header("host", "a.com").body(Sent::default());
    assert_eq!(client.send(request.unwrap()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_tunnel_has_no_bound() {
    let echo = Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = "HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let text = vec![b'x'; 2 * MOST];
            stream.write_all(&text).await.unwrap();
        })
    })
    .await;
    let proxy = bounded(&echo, BackendVersion::Http1);
    let request = "GET / HTTP/1.1\r\nhost: a.com\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n";
    let came = raw(proxy.http, request.as_bytes()).await;
    assert_eq!(came.matches('x').count(), 2 * MOST);
}

#[tokio::test]
async fn who_speaks_grpc_is_told_in_its_status_that_an_answer_is_too_long() {
    let echo = answering(BackendVersion::Http2).await;
    let proxy = bounded(&echo, BackendVersion::Http2);
    // Where it has begun, in the trailers: `serving/grpc.rs`.
    for (length, want) in [(MOST, None), (MOST + 1, Some("8"))] {
        let mut client = Client::http2(proxy.http).await;
        let request = Request::post(format!("http://a.com/known?{length}"))
            .header("content-type", "application/grpc")
            .body(Sent::default())
            .unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{length}");
        assert_eq!(answer.header("grpc-status"), want, "{length}");
    }
}

async fn turning_away(
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let mut response = of_length(request).await?;
    *response.status_mut() = hyper::StatusCode::FORBIDDEN;
    Ok(response)
}

#[tokio::test]
async fn an_answer_of_whoever_is_asked_who_may_pass_has_the_same_bound() {
    let (echo, guard) = (Echo::http1("one").await, Echo::answering(turning_away).await);
    let mut balancer = balancer(&echo, Filters::default());
    let guard = backend("guard", &[guard.address]);
    let asks = ExternalAuth::new(guard.id.clone(), "/known?100000", Default::default(), origin());
    balancer.backends.insert(guard.id.clone(), guard.into());
    let filters = Filters {
        external_auth: Some(asks.unwrap()),
        ..Filters::default()
    };
    *balancer.rules = vec![filtered(rule("a.com", "/", to("one")), filters)];
    for (most, want) in [(100_000, 403), (99_999, 500)] {
        let mut settings = Settings::default();
        settings.limits.answer_bytes = Some(most);
        let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
        assert_eq!(get_once(proxy.http, "a.com", "/").await.status(), want, "{most}");
    }
}
