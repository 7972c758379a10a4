//! Backends that say how long they are waited for in, when they are given up out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::{Request, Response};
use portcullis_model::{Backend, BackendVersion, Waits};
use portcullis_proxy::{Settings, Timeouts};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, Proxy, all_to, backend, serve_with, speaking};
use crate::changing::change;
use crate::client::{Client, Sent, get_once, read_until, soon};
use crate::echo::Echo;

/// What is too short for others.
const SHORT: Duration = Duration::from_millis(150);
/// Longer than that.
const PAUSE: Duration = Duration::from_millis(500);
/// More than the buffers on the way hold.
const MUCH: usize = 32 * 1024 * 1024;

const VERSIONS: [BackendVersion; 2] = [BackendVersion::Http1, BackendVersion::Http2];

/// Where others have as long as this.
fn serving(backend: Backend, timeouts: Timeouts) -> Proxy {
    let settings = Settings {
        timeouts,
        ..Settings::default()
    };
    serve_with(&all_to(backend), &KeyPairs::new(), settings, 1)
}

/// Others have more time than a test.
fn patient() -> Timeouts {
    let long = Duration::from_secs(600);
    Timeouts {
        connect: long,
        answer: long,
        body: long,
        ..Timeouts::default()
    }
}

/// Takes one connection that nobody accepts: others get no answer from the kernel until that is done.
async fn full() -> (Socket, SocketAddr, TcpStream) {
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let filler = TcpStream::connect(address).await.unwrap();
    (full, address, filler)
}

#[tokio::test]
async fn a_backend_may_have_less_time_than_others_to_take_a_connection() {
    let (_full, address, _filler) = full().await;
    for version in VERSIONS {
        for introduced in [false, true] {
            let mut hurried = speaking(backend("b", &[address]), version, false);
            hurried.proxy_protocol = introduced;
            hurried.waits.connect_seconds = Some(1);
            let proxy = serving(hurried, patient());
            let answer = get_once(proxy.http, "a", "/").await;
            assert_eq!(answer.status(), 504, "{version:?} {introduced}");
        }
    }
}

#[tokio::test]
async fn a_backend_may_have_more_time_than_others_to_take_a_connection() {
    let (full, address, filler) = full().await;
    let mut slow = backend("b", &[address]);
    slow.waits.connect_seconds = Some(60);
    let timeouts = Timeouts {
        connect: SHORT,
        ..patient()
    };
    let proxy = serving(slow, timeouts);
    let taking = async {
        tokio::time::sleep(PAUSE).await;
        full.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(full.into()).unwrap();
        drop(filler);
        let _ = listener.accept().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(get_once(proxy.http, "a", "/"), soon("a connection", taking));
    assert_eq!(answer.status(), 200);
}

/// Takes the head of a request, and nothing of its body.
async fn taking_nothing(version: BackendVersion) -> Echo {
    match version {
        BackendVersion::Http1 => {
            Echo::running(|mut stream| {
                Box::pin(async move {
                    read_until(&mut stream, "\r\n\r\n").await;
                    std::future::pending().await
                })
            })
            .await
        }
        BackendVersion::Http2 | BackendVersion::Grpc => {
            Echo::speaking(true, |request| async move {
                std::future::pending::<()>().await;
                drop(request);
                Ok::<_, Infallible>(Response::new(Sent::default()))
            })
            .await
        }
    }
}

/// Sends this of a body, a pause before the last byte, and answers the head of the answer.
async fn sending(proxy: &Proxy, length: usize) -> String {
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        writer.write_all(head.as_bytes()).await?;
        writer.write_all(&vec![b'x'; length - 1]).await?;
        tokio::time::sleep(PAUSE).await;
        writer.write_all(b"x").await?;
        // Its own end would be taken for that of the client.
        std::future::pending::<std::io::Result<()>>().await
    });
    read_until(&mut reader, "\r\n\r\n").await
}

#[tokio::test]
async fn a_backend_that_takes_nothing_of_a_request_is_given_up_when_it_says() {
    for version in VERSIONS {
        let echo = taking_nothing(version).await;
        let mut hurried = speaking(backend("b", &[echo.address]), version, false);
        hurried.waits.request_body_seconds = Some(1);
        let proxy = serving(hurried, patient());
        let answer = sending(&proxy, MUCH).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{version:?}: {answer}");
    }
}

#[tokio::test]
async fn a_backend_may_take_a_request_later_than_it_must_answer() {
    let echo = Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            tokio::time::sleep(PAUSE).await;
            let mut body = vec![0; MUCH];
            stream.read_exact(&mut body).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            let _ = stream.read(&mut [0]).await;
        })
    })
    .await;
    let mut slow = backend("b", &[echo.address]);
    slow.waits.request_body_seconds = Some(60);
    let timeouts = Timeouts {
        answer: SHORT,
        ..patient()
    };
    let proxy = serving(slow, timeouts);
    let answer = sending(&proxy, MUCH).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn once_a_request_is_taken_its_answer_is_waited_for_no_longer_than_others() {
    for version in VERSIONS {
        let echo = taking_nothing(version).await;
        let mut slow = speaking(backend("b", &[echo.address]), version, false);
        slow.waits.request_body_seconds = Some(86_400);
        let timeouts = Timeouts {
            answer: SHORT,
            ..patient()
        };
        let proxy = serving(slow, timeouts);
        // The kernel takes these.
        let answer = sending(&proxy, 8).await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "{version:?}: {answer}");
    }
}

#[tokio::test]
async fn a_backend_says_how_long_it_may_give_nothing_of_its_answer() {
    let echo = Echo::running(|mut stream| {
        Box::pin(async move {
            let asked = read_until(&mut stream, "\r\n\r\n").await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
            stream.write_all(head).await.unwrap();
            if asked.starts_with("GET /late") {
                tokio::time::sleep(PAUSE).await;
                stream.write_all(b"later").await.unwrap();
            }
            let _ = stream.read(&mut [0]).await;
        })
    })
    .await;
    let saying = |seconds| Waits {
        response_body_seconds: Some(seconds),
        ..Waits::default()
    };
    let short = Timeouts {
        body: SHORT,
        ..patient()
    };
    for (path, waits, timeouts, want) in [
        ("/never", saying(1), patient(), "hello"),
        ("/late", saying(60), short, "hellolater"),
    ] {
        let mut own = backend("b", &[echo.address]);
        let proxy = serving(own.clone(), timeouts);
        // What changes counts from the next request on.
        own.waits = waits;
        change(&proxy.handle, &all_to(own));
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = crate::client::raw(proxy.http, request.as_bytes()).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, want, "{path}");
        if path == "/late" {
            // Nor is a client of HTTP/2 taken for who is waited for.
            let request = Request::get("http://a/late").body(Sent::default()).unwrap();
            let answer = Client::http2(proxy.http).await.send(request).await.unwrap();
            assert_eq!(answer.body, want);
        }
    }
}
