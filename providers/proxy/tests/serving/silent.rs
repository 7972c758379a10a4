//! Requests and answers that pass at the same time, one of them silent for long, in; cut only where both are.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::poll_fn;
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use portcullis_model::BackendVersion;
use portcullis_proxy::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, Proxy, all_to, backend, serve_with, speaking};
use crate::client::{read_until, soon};
use crate::echo::Echo;

/// How long nothing may pass.
const LIMIT: Duration = Duration::from_secs(1);
/// Pieces, so many that they take twice as long.
const PIECES: usize = 8;

async fn pause() {
    tokio::time::sleep(LIMIT / 4).await;
}

/// Begins at once. `/down`: goes on with pieces; whatever is asked: ends once the request has.
async fn answer(
    mut request: Request<Incoming>,
) -> Result<Response<StreamBody<impl Stream<Item = Result<Frame<Bytes>, Infallible>>>>, Infallible> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let _ = sender.send("begun;");
    let mut ending = JoinSet::new();
    ending.spawn(async move {
        if request.uri().path() == "/down" {
            for _ in 0..PIECES {
                pause().await;
                let _ = sender.send("piece;");
            }
        }
        while let Some(Ok(_)) = request.frame().await {}
        let _ = sender.send("done;");
    });
    let pieces = poll_fn(move |cx| {
        // It goes when the answer does.
        let _ = &ending;
        receiver.poll_recv(cx)
    });
    let frames = pieces.map(|piece| Ok(Frame::data(Bytes::from(piece))));
    Ok(Response::new(StreamBody::new(frames)))
}

async fn answering(version: BackendVersion) -> Echo {
    Echo::speaking(version != BackendVersion::Http1, answer).await
}

async fn serving(version: BackendVersion) -> (Echo, Proxy) {
    let echo = answering(version).await;
    let mut settings = Settings::default();
    settings.timeouts.body = LIMIT;
    let balancer = all_to(speaking(backend("b", &[echo.address]), version, false));
    let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
    (echo, proxy)
}

async fn ask(proxy: &Proxy, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "begun;").await;
    stream
}

#[tokio::test]
async fn an_answer_may_be_silent_while_the_request_moves() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let (_echo, proxy) = serving(version).await;
        let mut stream = ask(&proxy, "/up").await;
        for _ in 0..PIECES {
            pause().await;
            stream.write_all(b"1\r\nx\r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        read_until(&mut stream, "done;\r\n0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn a_request_may_be_silent_while_the_answer_moves() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let (_echo, proxy) = serving(version).await;
        let mut stream = ask(&proxy, "/down").await;
        for _ in 0..PIECES {
            read_until(&mut stream, "piece;").await;
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        read_until(&mut stream, "done;\r\n0\r\n\r\n").await;
    }
}

#[tokio::test]
async fn where_both_are_silent_it_is_cut() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let (_echo, proxy) = serving(version).await;
        let mut stream = ask(&proxy, "/up").await;
        let mut rest = String::new();
        let _ = soon("the end of the connection", stream.read_to_string(&mut rest)).await;
        assert!(!rest.contains("done;") && !rest.ends_with("0\r\n\r\n"), "{rest}");
    }
}
