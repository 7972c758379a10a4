//! Streams of HTTP/2 that are reset half-way in; nobody takes half a body for all of it out.

use bytes::Bytes;
use h2::Reason;
use http_body_util::BodyExt;
use hyper::{Request, Response};
use portcullis_model::BackendVersion;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::balancer::{all_to, backend, serve, speaking};
use crate::client::{Client, Sent, get, raw, read_until, soon};
use crate::echo::Echo;

const REASONS: [Reason; 4] = [
    Reason::NO_ERROR,
    Reason::CANCEL,
    Reason::INTERNAL_ERROR,
    Reason::STREAM_CLOSED,
];

/// Answers with the head, half a body, and a reset.
async fn breaking_off(reason: Reason) -> Echo {
    Echo::running(move |stream| {
        Box::pin(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"half"), false).unwrap();
                // Sent first: a reset throws away what waits.
                for _ in 0..10 {
                    let _ = futures::poll!(std::pin::pin!(std::future::poll_fn(
                        |cx| connection.poll_closed(cx)
                    )));
                    tokio::task::yield_now().await;
                }
                body.send_reset(reason);
            }
        })
    })
    .await
}

#[tokio::test]
async fn half_an_answer_is_not_passed_off_as_all_of_it() {
    for reason in REASONS {
        let echo = breaking_off(reason).await;
        let proxy = serve(&all_to(speaking(
            backend("b", &[echo.address]),
            BackendVersion::Http2,
            false,
        )));
        let mut http1 = Client::http1(proxy.http).await;
        let answer = http1.send(get("a", "/")).await;
        assert!(answer.is_err(), "{reason} over HTTP/1.1");
        let mut http2 = Client::http2(proxy.http).await;
        let request = Request::get("http://a/").body(Default::default()).unwrap();
        let answer = http2.send(request).await;
        assert!(answer.is_err(), "{reason} over HTTP/2");
    }
}

#[tokio::test]
async fn half_a_request_is_not_passed_off_as_all_of_it() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        for reason in REASONS {
            let (tell, mut told) = mpsc::unbounded_channel();
            let echo = Echo::running(move |mut stream| {
                let tell = tell.clone();
                Box::pin(async move {
                    if version == BackendVersion::Http1 {
                        let head = read_until(&mut stream, "4\r\nhalf\r\n").await;
                        tell.send(head).unwrap();
                        let mut rest = Vec::new();
                        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
                        tell.send(String::from_utf8(rest).unwrap()).unwrap();
                        return;
                    }
                    let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
                        let tell = tell.clone();
                        async move {
                            let mut body = request.into_body();
                            let half = body.frame().await.unwrap().unwrap().into_data().unwrap();
                            tell.send(String::from_utf8(half.to_vec()).unwrap()).unwrap();
                            let rest = body.frame().await;
                            let whole = rest.is_none_or(|frame| frame.is_ok());
                            tell.send(if whole { "all" } else { "" }.to_owned()).unwrap();
                            Ok::<_, std::convert::Infallible>(Response::new(
                                http_body_util::Empty::<Bytes>::new(),
                            ))
                        }
                    });
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let _ = hyper::server::conn::http2::Builder::new(executor)
                        .serve_connection(io, service)
                        .await;
                })
            })
            .await;
            let proxy = serve(&all_to(speaking(backend("b", &[echo.address]), version, false)));
            let stream = TcpStream::connect(proxy.http).await.unwrap();
            let (client, connection) = h2::client::handshake(stream).await.unwrap();
            let mut tasks = tokio::task::JoinSet::new();
            tasks.spawn(connection);
            let mut client = client.ready().await.unwrap();
            let request = Request::post("http://a/").body(()).unwrap();
            let (_answer, mut body) = client.send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(b"half"), false).unwrap();
            let came = soon("the first half", told.recv()).await.unwrap();
            assert!(came.ends_with("half") || came.ends_with("half\r\n"), "{came}");
            body.send_reset(reason);
            // The task that reads may have been dropped: then nothing more is told.
            let rest = soon("the rest", told.recv()).await;
            assert_eq!(rest.unwrap_or_default(), "", "{reason}, backend {version:?}");
        }
    }
}

#[tokio::test]
async fn what_came_whole_stays_whole_though_a_reset_follows() {
    // So servers say that they do not want the rest of the request. Source: RFC 9113 §8.1.
    let echo = Echo::running(|stream| {
        Box::pin(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"all"), true).unwrap();
                // Dropping the request resets its stream with NO_ERROR.
            }
        })
    })
    .await;
    let proxy = serve(&all_to(speaking(
        backend("b", &[echo.address]),
        BackendVersion::Http2,
        false,
    )));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .await
        .unwrap();
    let answer = read_until(&mut stream, "3\r\nall\r\n0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// What a backend says of a request that it has read the head of.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// RST_STREAM for this reason.
    Reset(Reason),
    /// That it is refused, once more of its body has come than is kept.
    Late,
    /// It has not begun with it, after its trailers.
    Trailed,
    /// GOAWAY, whose last stream is this one.
    Away(u32),
}

/// Speaks HTTP/2 in bytes: reads up to a head, says its word and nothing more.
async fn refusing(says: Says) -> Echo {
    Echo::running(move |mut stream| {
        Box::pin(async move {
            let frame = |kind: u8, stream: u32, payload: &[u8]| {
                let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
                [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
            };
            stream.write_all(&frame(4, 0, &[])).await.unwrap();
            stream.read_exact(&mut [0; 24]).await.unwrap();
            let (mut came, mut heads) = (0, 0);
            loop {
                let mut head = [0; 9];
                if stream.read_exact(&mut head).await.is_err() {
                    return;
                }
                let length = usize::from(head[1]) << 8 | usize::from(head[2]);
                stream.read_exact(&mut vec![0; length]).await.unwrap();
                let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                if head[3] == 0 {
                    came += length;
                }
                heads += usize::from(head[3] == 1);
                let word = match says {
                    Says::Late if came <= 16 * 1024 => continue,
                    Says::Late => frame(3, number, &u32::from(Reason::REFUSED_STREAM).to_be_bytes()),
                    Says::Trailed if heads < 2 => continue,
                    Says::Trailed => frame(3, number, &u32::from(Reason::REFUSED_STREAM).to_be_bytes()),
                    _ if head[3] != 1 => continue,
                    Says::Reset(reason) => frame(3, number, &u32::from(reason).to_be_bytes()),
                    Says::Away(last) => frame(7, 0, &[last.to_be_bytes(), [0; 4]].concat()),
                };
                stream.write_all(&word).await.unwrap();
                if matches!(says, Says::Away(1..)) {
                    return;
                }
            }
        })
    })
    .await
}

#[tokio::test]
async fn what_a_backend_has_not_begun_with_goes_to_another_target() {
    use Says::{Away, Late, Reset};
    let small = "x".repeat(10_000);
    let large = "x".repeat(20_000);
    for (says, body, want) in [
        (Reset(Reason::REFUSED_STREAM), "", 200),
        (Reset(Reason::REFUSED_STREAM), &small, 200),
        (Away(0), "", 200),
        (Away(0), &small, 200),
        // More has gone than is kept.
        (Late, &large, 502),
        // It may have begun with these.
        (Reset(Reason::INTERNAL_ERROR), "", 502),
        (Reset(Reason::CANCEL), "", 502),
        (Away(1), "", 502),
    ] {
        let (refusing, echo) = (refusing(says).await, Echo::http2("other").await);
        let targets = [refusing.address, echo.address];
        let proxy = serve(&all_to(speaking(
            backend("b", &targets),
            BackendVersion::Http2,
            false,
        )));
        let case = format!("{says:?}, {} bytes", body.len());
        let (mut failed, mut round) = (0, 0);
        // Until the one that refuses has been drawn.
        while proxy.handle.totals().retried + failed == 0 {
            round += 1;
            assert!(round < 100, "{case}: never drawn");
            for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
                let request = Request::post("http://a/").header("host", "a");
                let request = request.body(Sent::from(body.to_owned())).unwrap();
                let answer = client.send(request).await.unwrap();
                match answer.status() {
                    200 => assert!(answer.body.ends_with(&format!("\n\n{body}")), "{case}"),
                    status => {
                        assert_eq!(status, 502, "{case}");
                        failed += 1;
                    }
                }
            }
        }
        assert_eq!(failed > 0, want == 502, "{case}");
    }
}

#[tokio::test]
async fn what_the_only_target_refuses_twice_is_not_asked_again() {
    let refusing = refusing(Says::Reset(Reason::REFUSED_STREAM)).await;
    let proxy = serve(&all_to(speaking(
        backend("b", &[refusing.address]),
        BackendVersion::Http2,
        false,
    )));
    let request = Request::post("http://a/").header("host", "a");
    let request = request.body(Sent::from("x")).unwrap();
    let answer = Client::http1(proxy.http).await.send(request).await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(proxy.handle.totals().retried, 1);
}

/// They went behind all of the body, and are not kept.
#[tokio::test]
async fn what_has_gone_with_its_trailers_is_not_sent_again() {
    let (refusing, echo) = (refusing(Says::Trailed).await, Echo::http2("other").await);
    for targets in [vec![refusing.address], vec![echo.address]] {
        let proxy = serve(&all_to(speaking(
            backend("b", &targets),
            BackendVersion::Http2,
            false,
        )));
        let request =
            b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
            1\r\nx\r\n0\r\nx-sum: 1\r\n\r\n";
        let answer = raw(proxy.http, request).await;
        let want = if targets == [echo.address] { "200" } else { "502" };
        assert_eq!(answer.get(9..12), Some(want), "{answer}");
        assert_eq!(proxy.handle.totals().retried, 0);
    }
}
