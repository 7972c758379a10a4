//! Backends that are gone, slow or broken in, what clients are told out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_model::{BackendVersion, TargetState};
use portcullis_proxy::{Settings, Timeouts};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::balancer::{KeyPairs, Proxy, all_to, backend, rule, serve, serve_with, speaking, target, to};
use crate::client::{Client, Sent, get, get_once, read_until, until};
use crate::echo::Echo;

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

fn impatient(balancer: &portcullis_model::LoadBalancer) -> Proxy {
    waiting_for(Duration::from_millis(150), balancer)
}

/// Where something is to come within the time, and all of it later: a busy machine must not be late for a part.
fn less_impatient(balancer: &portcullis_model::LoadBalancer) -> Proxy {
    waiting_for(Duration::from_secs(1), balancer)
}

/// Pause between the parts then.
const PAUSE: Duration = Duration::from_millis(250);

fn waiting_for(short: Duration, balancer: &portcullis_model::LoadBalancer) -> Proxy {
    let timeouts = Timeouts {
        answer: short,
        body: short,
        connect: short,
        head: short,
        tunnel: short,
        handshake: short,
        ..Timeouts::default()
    };
    serve_with(
        balancer,
        &KeyPairs::new(),
        Settings {
            timeouts,
            ..Settings::default()
        },
        1,
    )
}

/// Answers every connection's first request with these bytes, and holds the connection.
async fn saying(bytes: &'static [u8]) -> Echo {
    Echo::running(move |mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(bytes).await.unwrap();
            // Until the other side is done.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
    })
    .await
}

#[tokio::test]
async fn a_failure_says_who_failed() {
    let down = nobody().await;
    let silent = saying(b"").await;
    let garbage = saying(b"SSH-2.0-x\r\n\r\n").await;
    let switching =
        saying(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let hanging_up = Echo::running(|stream| {
        Box::pin(async move {
            let mut stream = stream;
            read_until(&mut stream, "\r\n\r\n").await;
        })
    })
    .await;
    // Clients see no name of what is behind; the log has it (`observing`).
    for (name, targets, want, text) in [
        ("no target", vec![], 503, "503 Service Unavailable\n"),
        ("nobody listens", vec![down], 502, "502 Bad Gateway\n"),
        ("no answer", vec![silent.address], 504, "504 Gateway Timeout\n"),
        ("no HTTP", vec![garbage.address], 502, "502 Bad Gateway\n"),
        ("hangs up", vec![hanging_up.address], 502, "502 Bad Gateway\n"),
        ("101 unasked", vec![switching.address], 502, "502 Bad Gateway\n"),
    ] {
        let proxy = impatient(&all_to(backend("b", &targets)));
        let answer = get_once(proxy.http, "a", "/").await;
        assert_eq!((answer.status(), answer.body.as_str()), (want, text), "{name}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; charset=utf-8"),
            "{name}"
        );
        // gRPC clients are told in their own words.
        let request = Request::post("http://a/x.Y/Z").header("content-type", "application/grpc");
        let answer = Client::http2(proxy.http)
            .await
            .send(request.body(Sent::default()).unwrap())
            .await
            .unwrap();
        let code = if want == 504 { "4" } else { "14" };
        assert_eq!(
            (answer.status(), answer.header("grpc-status")),
            (200, Some(code)),
            "{name}"
        );
        let message = answer.header("grpc-message").unwrap_or_default();
        assert!(
            !message.is_empty() && !message.contains("web"),
            "{name}: {message}"
        );
    }
}

#[tokio::test]
async fn a_backend_may_have_less_time_than_others() {
    let silent = saying(b"").await;
    let mut hurried = backend("b", &[silent.address]);
    hurried.timeout_seconds = Some(1);
    // Everybody else would have a minute.
    let proxy = serve(&all_to(hurried));
    assert_eq!(get_once(proxy.http, "a", "/").await.status(), 504);
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_a_timeout() {
    // The kernel takes one connection more than the backlog, and leaves the others without an answer.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let _filler = TcpStream::connect(address).await.unwrap();
    let proxy = impatient(&all_to(backend("b", &[address])));
    let answer = get_once(proxy.http, "a", "/").await;
    assert_eq!(
        (answer.status(), answer.body.as_str()),
        (504, "504 Gateway Timeout\n")
    );
}

#[tokio::test]
async fn another_target_is_tried_where_one_takes_no_connection() {
    let down = nobody().await;
    let (http1, http2) = (Echo::http1("up").await, Echo::http2("up").await);
    for (version, up) in [(BackendVersion::Http1, &http1), (BackendVersion::Http2, &http2)] {
        let proxy = serve(&all_to(speaking(
            backend("b", &[down, up.address]),
            version,
            false,
        )));
        let mut client = Client::http1(proxy.http).await;
        for _ in 0..20 {
            let request = Request::post("/")
                .header("host", "a")
                .body(Sent::from("body"))
                .unwrap();
            let answer = client.send(request).await.unwrap();
            assert_eq!(
                (answer.status(), answer.body.ends_with("body")),
                (200, true),
                "{version:?} {}",
                answer.body
            );
        }
    }
}

/// Takes connections, reads a head, and says nothing.
async fn breaking_off() -> Echo {
    Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
        })
    })
    .await
}

#[tokio::test]
async fn another_target_is_asked_where_one_takes_connections_and_breaks_them_off() {
    const REQUESTS: usize = 60;
    let ill = breaking_off().await;
    let up = Echo::http1("up").await;
    let proxy = serve(&all_to(backend("b", &[ill.address, up.address])));
    let mut client = Client::http1(proxy.http).await;
    for turn in 0..REQUESTS {
        let answer = client.send(get("a", "/")).await.unwrap();
        assert_eq!(answer.status(), 200, "{turn}");
    }
    // Five, and one more for each time its rest was over; half of all if it did not rest.
    let asked = ill.connections.load(Ordering::SeqCst);
    assert!((5..REQUESTS / 4).contains(&asked), "{asked}");
    // Where there is nobody else, nothing is asked twice on new connections.
    let proxy = serve(&all_to(backend("b", &[ill.address])));
    let answer = get_once(proxy.http, "a", "/").await;
    let again = ill.connections.load(Ordering::SeqCst) - asked;
    assert_eq!((answer.status(), again), (502, 1));
}

/// hyper tells of some of these before it has written anything of the request, and gives it back.
#[tokio::test]
async fn another_target_is_asked_where_one_of_http2_breaks_off() {
    const REQUESTS: usize = 200;
    let ill = breaking_off().await;
    let up = Echo::http2("up").await;
    let backend = backend("b", &[ill.address, up.address]);
    let proxy = serve(&all_to(speaking(backend, BackendVersion::Http2, false)));
    let mut client = Client::http1(proxy.http).await;
    for turn in 0..REQUESTS {
        let answer = client.send(get("a", "/")).await.unwrap();
        assert_eq!(answer.status(), 200, "{turn}");
    }
    let asked = ill.connections.load(Ordering::SeqCst);
    assert!((5..REQUESTS / 4).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_request_that_must_not_be_repeated_is_asked_once() {
    let ill = breaking_off().await;
    let proxy = serve(&all_to(backend("b", &[ill.address, nobody().await])));
    for (method, body) in [("POST", ""), ("PUT", "body")] {
        let before = ill.connections.load(Ordering::SeqCst);
        let request = Request::builder().method(method).uri("/").header("host", "a");
        let request = request.body(Sent::from(body)).unwrap();
        let answer = Client::http1(proxy.http).await.send(request).await.unwrap();
        assert_eq!(answer.status(), 502, "{method}");
        let asked = ill.connections.load(Ordering::SeqCst) - before;
        assert_eq!(asked, 1, "{method}");
    }
}

#[tokio::test]
async fn draining_targets_serve_only_where_no_other_does() {
    let (old, new) = (Echo::http1("old").await, Echo::http1("new").await);
    for (states, want) in [
        (
            vec![(&old, TargetState::Draining), (&new, TargetState::Ready)],
            "new",
        ),
        (vec![(&old, TargetState::Draining)], "old"),
    ] {
        let mut backend = backend("b", &[]);
        backend.targets = states
            .iter()
            .map(|(echo, state)| target(echo.address, *state))
            .collect();
        let proxy = serve(&all_to(backend));
        let mut client = Client::http1(proxy.http).await;
        for _ in 0..20 {
            assert_eq!(
                client.send(get("a", "/")).await.unwrap().header("x-backend"),
                Some(want)
            );
        }
    }
}

#[tokio::test]
async fn one_backend_that_is_down_disturbs_no_other() {
    let echo = Echo::http1("up").await;
    let mut balancer = all_to(backend("up", &[echo.address]));
    let down = backend("down", &[nobody().await]);
    balancer.backends.insert(down.id.clone(), down.into());
    balancer.rules.insert(0, rule("*", "/down", to("down")));
    let proxy = serve(&balancer);
    let mut client = Client::http1(proxy.http).await;
    for (path, want) in [("/down", 502), ("/", 200), ("/down/x", 502), ("/downtown", 200)] {
        assert_eq!(
            client.send(get("a", path)).await.unwrap().status(),
            want,
            "{path}"
        );
    }
}

#[tokio::test]
async fn slow_clients_are_not_waited_for_forever() {
    let echo = Echo::http1("one").await;
    let proxy = impatient(&all_to(backend("one", &[echo.address])));
    for (name, bytes, want) in [
        ("no byte", &b""[..], ""),
        ("half a head", b"GET / HTTP/1.1\r\nHo", ""),
        ("half a preface", b"PRI * HTT", ""),
        (
            "half a body",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
            "HTTP/1.1 408 Request Timeout",
        ),
    ] {
        let answer = crate::client::raw(proxy.http, bytes).await;
        assert!(
            answer.starts_with(want) && answer.is_empty() == want.is_empty(),
            "{name}: {answer}"
        );
    }
    // Over HTTP/2 requests are answered for longer than a connection may be idle.
    let lasting = less_impatient(&all_to(backend("one", &[echo.address])));
    let mut client = Client::http2(lasting.http).await;
    let request = || Request::get("http://a/").body(Sent::default()).unwrap();
    for _ in 0..5 {
        assert_eq!(client.send(request()).await.unwrap().status(), 200);
        tokio::time::sleep(PAUSE).await;
    }
    client.closed().await;
    let answer = crate::client::raw(proxy.https, b"\x16\x03").await;
    assert_eq!(answer, "", "a handshake that stops");
}

#[tokio::test]
async fn an_answer_that_stops_halfway_is_cut() {
    let halfway = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello").await;
    let proxy = impatient(&all_to(backend("b", &[halfway.address])));
    let answer = crate::client::raw(proxy.http, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_slow_upload_is_not_the_backends_fault() {
    // Each piece comes before the time is over, all of them long after.
    let echo = Echo::http1("one").await;
    let proxy = less_impatient(&all_to(backend("one", &[echo.address])));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..8 {
        tokio::time::sleep(PAUSE).await;
        stream.write_all(b"x").await.unwrap();
    }
    let answer = read_until(&mut stream, "xxxxxxxx").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_target() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let (come, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (came, went) = (come.clone(), gone.clone());
        // Notes the end of what never answers.
        let silent = Echo::running(move |stream| {
            let (came, went) = (came.clone(), went.clone());
            Box::pin(async move {
                struct Noted(Arc<AtomicUsize>);
                impl Drop for Noted {
                    fn drop(&mut self) {
                        self.0.fetch_add(1, Ordering::SeqCst);
                    }
                }
                let service = service_fn(move |_| {
                    came.fetch_add(1, Ordering::SeqCst);
                    let noted = Noted(went.clone());
                    async move {
                        std::future::pending::<()>().await;
                        drop(noted);
                        Ok::<_, std::convert::Infallible>(Response::new(Sent::default()))
                    }
                });
                let io = TokioIo::new(stream);
                if version == BackendVersion::Http2 {
                    let _ = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(io, service)
                        .await;
                } else {
                    let _ = http1::Builder::new().serve_connection(io, service).await;
                }
            })
        })
        .await;
        let proxy = serve(&all_to(speaking(backend("b", &[silent.address]), version, false)));
        for h2 in [false, true] {
            let mut client = if h2 {
                Client::http2(proxy.http).await
            } else {
                Client::http1(proxy.http).await
            };
            let request = if h2 {
                Request::get("http://a/").body(Sent::default()).unwrap()
            } else {
                get("a", "/")
            };
            let before = come.load(Ordering::SeqCst);
            let asking = client.send(request);
            tokio::select! {
                _ = asking => panic!("the backend never answers"),
                () = until("the request has come", || come.load(Ordering::SeqCst) > before) => {}
            }
            drop(client);
            until("the backend is free", || {
                gone.load(Ordering::SeqCst) == come.load(Ordering::SeqCst)
            })
            .await;
        }
        let closed = || proxy.handle.totals().connections_open == 0;
        until("both connections are closed", closed).await;
    }
}
