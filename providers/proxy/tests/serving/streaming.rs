//! Bodies and tunnels that both sides use at the same time in, every byte in its order and in time out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use portcullis_model::{BackendVersion, Coding, Compression, Filters, LoadBalancer};
use portcullis_proxy::Settings;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, all_to, backend, origin, serve, serve_with, speaking, with_certificates};
use crate::client::{Client, get_once, http2_over, read_until, soon, tls, tls_over};
use crate::echo::Echo;
use crate::secure::key_pair;

/// The same, with answers compressed for whoever takes it.
fn compressing(mut balancer: LoadBalancer) -> LoadBalancer {
    let compression = Compression {
        // The fastest without optimisation.
        codings: vec![Coding::Zstd],
        origin: origin(),
    };
    for rule in &mut balancer.rules {
        rule.filters = Some(Arc::new(Filters {
            compression: Some(compression.clone()),
            ..Filters::default()
        }));
    }
    balancer
}

/// Sends each piece of the request's body back as it comes.
async fn mirror(version: BackendVersion) -> Echo {
    Echo::speaking(
        version != BackendVersion::Http1,
        |request: Request<Incoming>| async move {
            Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
        },
    )
    .await
}

#[tokio::test]
async fn both_directions_stream_at_the_same_time() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let mirror = mirror(version).await;
        let proxy = serve(&all_to(speaking(backend("b", &[mirror.address]), version, false)));

        // HTTP/1.1: chunk by chunk, each before the next is sent.
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .unwrap();
        for piece in ["one", "two", "three"] {
            stream
                .write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())
                .await
                .unwrap();
            read_until(&mut stream, &format!("{piece}\r\n")).await;
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        read_until(&mut stream, "0\r\n\r\n").await;

        // HTTP/2: the same.
        let stream = TcpStream::connect(proxy.http).await.unwrap();
        let mut tasks = JoinSet::new();
        let mut sender = http2_over(stream, &mut tasks).await;
        let (mut pieces, body) = futures::channel::mpsc::channel::<Bytes>(1);
        let body = StreamBody::new(body.map(|piece| Ok::<_, std::convert::Infallible>(Frame::data(piece))));
        let request = Request::post("http://a/").body(body).unwrap();
        let mut answer = soon("an answer", sender.send_request(request))
            .await
            .unwrap()
            .into_body();
        for piece in ["one", "two", "three"] {
            pieces.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
            let frame = soon(piece, answer.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece, "{version:?}");
        }
        drop(pieces);
        // HTTP/2 may end with an empty piece.
        while let Some(frame) = soon("the end", answer.frame()).await {
            assert_eq!(frame.unwrap().into_data().unwrap(), "", "{version:?}");
        }
    }
}

/// Answers at once, with more than anybody reads ahead, and then takes the whole body of the request. Says when it has.
async fn answers_early(kind: &'static str) -> (Echo, tokio::sync::mpsc::UnboundedReceiver<usize>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let echo = Echo::running(move |stream| {
        let tell = tell.clone();
        Box::pin(async move {
            let (mut read, mut write) = stream.into_split();
            let head = read_until(&mut read, "\r\n\r\n").await;
            assert!(head.contains("content-length: "), "{head}");
            let answering = async {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
                    LARGE
                );
                let _ = write.write_all(head.as_bytes()).await;
                // Nothing that a coder could make small.
                let mut state = 1_u32;
                for _ in 0..LARGE / 65_536 {
                    let piece = std::iter::repeat_with(|| {
                        state ^= state << 13;
                        state ^= state >> 17;
                        state ^= state << 5;
                        state.to_le_bytes()[0]
                    });
                    let piece: Vec<u8> = piece.take(65_536).collect();
                    if write.write_all(&piece).await.is_err() {
                        break;
                    }
                }
            };
            let taking = async {
                let mut taken = 0;
                let mut piece = vec![0; 65_536];
                while taken < LARGE
                    && let Ok(count) = read.read(&mut piece).await
                    && count > 0
                {
                    taken += count;
                }
                let _ = tell.send(taken);
            };
            futures::join!(answering, taking);
        })
    })
    .await;
    (echo, told)
}

/// More than fits into sockets and windows.
const LARGE: usize = 16 << 20;

/// A connection of a client that has little room for answers.
async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.connect(address).await.unwrap()
}

#[tokio::test]
async fn an_upload_goes_on_while_the_client_takes_nothing_of_the_answer() {
    for kind in ["application/octet-stream", "text/plain"] {
        let (early, mut told) = answers_early(kind).await;
        let proxy = serve(&compressing(all_to(backend("b", &[early.address]))));

        let mut stream = narrow(proxy.http).await;
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: zstd\r\nContent-Length: {LARGE}\r\n\r\n");
        soon(&format!("HTTP/1.1, {kind}"), async {
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b'x'; LARGE]).await.unwrap();
            assert_eq!(told.recv().await, Some(LARGE), "{kind}");
        })
        .await;
    }
}

#[tokio::test]
async fn over_http_2_an_upload_goes_on_while_the_client_takes_nothing_of_the_answer() {
    for kind in ["application/octet-stream", "text/plain"] {
        let (early, mut told) = answers_early(kind).await;
        let proxy = serve(&compressing(all_to(backend("b", &[early.address]))));
        let stream = narrow(proxy.http).await;
        let mut tasks = JoinSet::new();
        let mut sender = http2_over(stream, &mut tasks).await;
        let body = http_body_util::Full::new(Bytes::from(vec![b'x'; LARGE]));
        let request = Request::post("http://a/")
            .header("accept-encoding", "zstd")
            .body(body)
            .unwrap();
        let answer = soon("an answer", sender.send_request(request)).await.unwrap();
        assert_eq!(
            answer.headers().contains_key("content-encoding"),
            kind == "text/plain"
        );
        assert_eq!(
            soon(&format!("HTTP/2, {kind}"), told.recv()).await,
            Some(LARGE),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn large_bodies_pass_whole() {
    const SIZE: usize = 32 << 20;
    let mirror = mirror(BackendVersion::Http1).await;
    let proxy = serve(&all_to(backend("b", &[mirror.address])));
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\nConnection: close\r\n\r\n");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        write.write_all(head.as_bytes()).await.unwrap();
        let piece: Vec<u8> = (0..65_536_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        for _ in 0..SIZE / piece.len() {
            write.write_all(&piece).await.unwrap();
        }
        // Held open: a client that closes would have broken off.
        std::future::pending::<()>().await;
    });
    read_until(&mut read, "\r\n\r\n").await;
    // The mirror does not know the length it sends: it is chunked, so there is more than the body.
    let mut counted = 0;
    let mut piece = vec![0; 65_536];
    soon("the whole body", async {
        while let Ok(count) = read.read(&mut piece).await
            && count > 0
        {
            counted += count;
        }
    })
    .await;
    assert!(counted >= SIZE, "{counted}");
}

/// What TLS holds when all has been written is sent before anything else is waited for. How much that is depends on how
/// much the system takes, so bodies of many lengths are sent to a client that takes them only when the backend is rid of them.
#[tokio::test]
async fn over_tls_the_end_of_a_body_reaches_who_takes_it_late() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let echo = Echo::running(move |mut stream| {
        let tell = tell.clone();
        Box::pin(async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let length: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
            let sent = async {
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&vec![b'x'; length]).await?;
                // Ended by the proxy when it has read all.
                stream.read_to_end(&mut Vec::new()).await
            };
            let _ = tell.send(sent.await.is_ok());
        })
    })
    .await;
    let balancer = with_certificates(all_to(backend("b", &[echo.address])), &[("web", &["a.com"])]);
    let ((secret, pem), trusted) = key_pair("web", &["a.com"]);
    let keys = KeyPairs::from([(secret, pem)]);
    let proxy = serve_with(&balancer, &keys, Settings::default(), 1);
    let mut late = 0;
    for length in (1..).map(|step| step * (24 << 10)) {
        let stream = narrow(proxy.https).await;
        let mut stream = tls_over(stream, "a.com", std::slice::from_ref(&trusted), &["http/1.1"])
            .await
            .unwrap();
        let request = format!("GET /{length} HTTP/1.1\r\nHost: a.com\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let fits = tokio::time::timeout(std::time::Duration::from_millis(200), told.recv()).await;
        read_until(&mut stream, "\r\n\r\n").await;
        let mut body = vec![0; length];
        soon(&format!("the end of {length}"), stream.read_exact(&mut body))
            .await
            .unwrap();
        if fits.is_err() {
            told.recv().await.unwrap();
            // More does not fit anywhere.
            late += 1;
            if late == 8 {
                break;
            }
        }
    }
}

/// Agrees to change protocol and sends every byte back.
async fn tunnelling() -> Echo {
    Echo::running(|mut stream| {
        Box::pin(async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
            assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
            assert!(head.contains("\r\nsec-websocket-key: x\r\n"), "{head}");
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: y\r\n\r\nhello",
                )
                .await
                .unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        })
    })
    .await
}

const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: x\r\n\r\n";

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let backend_side = tunnelling().await;
    let (secret, certificate) = key_pair("web", &["a.example.com"]);
    let balancer = with_certificates(
        all_to(backend("b", &[backend_side.address])),
        &[("web", &["a.example.com"])],
    );
    let proxy = serve_with(&balancer, &KeyPairs::from([secret]), Settings::default(), 1);
    carries_both_ways(TcpStream::connect(proxy.http).await.unwrap()).await;
    carries_both_ways(
        tls(proxy.https, "a.example.com", &[certificate], &["http/1.1"])
            .await
            .unwrap(),
    )
    .await;
}

#[tokio::test]
async fn a_tunnel_outlives_the_age_of_its_connection() {
    let backend_side = tunnelling().await;
    let mut settings = Settings::default();
    settings.timeouts.age = Some(Duration::from_millis(20));
    let balancer = all_to(backend("b", &[backend_side.address]));
    let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(UPGRADE).await.unwrap();
    read_until(&mut stream, "hello").await;
    // Those that are opened later come to their age meanwhile.
    for _ in 0..3 {
        Client::http1(proxy.http).await.closed().await;
        stream.write_all(b"and on").await.unwrap();
        read_until(&mut stream, "and on").await;
    }
}

async fn carries_both_ways(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    stream.write_all(UPGRADE).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
    for want in [
        "\r\nupgrade: websocket\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nsec-websocket-accept: y\r\n",
    ] {
        assert!(head.contains(want), "{want:?} in {head}");
    }
    // What came with the 101, then bytes that would be refused in HTTP.
    read_until(&mut stream, "hello").await;
    let (mut read, mut write) = tokio::io::split(stream);
    for message in ["\0\n\n", "GET / HTTP/1.1\n\n", &"x".repeat(200_000)] {
        let sending = async {
            write.write_all(message.as_bytes()).await.unwrap();
            write.flush().await.unwrap();
        };
        let ((), came) = tokio::join!(sending, read_until(&mut read, message));
        assert_eq!(came.len(), message.len());
    }
    write.shutdown().await.unwrap();
    let mut rest = Vec::new();
    soon("the end", read.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_tunnel_that_nobody_uses_is_closed() {
    let backend_side = tunnelling().await;
    let mut settings = Settings::default();
    settings.timeouts.tunnel = std::time::Duration::from_millis(100);
    let proxy = serve_with(
        &all_to(backend("b", &[backend_side.address])),
        &KeyPairs::new(),
        settings,
        1,
    );
    let answer = crate::client::raw(proxy.http, UPGRADE).await;
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[tokio::test]
async fn nobody_changes_to_a_protocol_that_the_client_did_not_ask_for() {
    // It changes to WebSocket whatever it is asked.
    let backend_side = Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            // The proxy may have gone.
            let _ = stream.write_all(head.as_bytes()).await;
        })
    })
    .await;
    let proxy = serve(&all_to(backend("b", &[backend_side.address])));
    for (version, upgrade, want) in [
        ("1.1", "websocket", "101"),
        ("1.1", "other, WebSocket", "101"),
        ("1.1", "other", "502"),
        ("1.0", "websocket", "502"),
    ] {
        let head =
            format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n");
        let answer = crate::client::raw(proxy.http, head.as_bytes()).await;
        assert_eq!(answer.get(9..12), Some(want), "{version} {upgrade}: {answer}");
    }
}

#[tokio::test]
async fn an_upgrade_that_the_backend_declines_is_an_ordinary_answer() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let answer = crate::client::raw(proxy.http, UPGRADE).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    // Clear-text HTTP/2 is not offered to the backend: requests inside would pass the rules by.
    let h2c = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = crate::client::raw(proxy.http, h2c).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("h2c"),
        "{answer}"
    );
    assert!(!answer.to_lowercase().contains("http2-settings"), "{answer}");
    assert_eq!(get_once(proxy.http, "a", "/").await.status(), 200);
}
