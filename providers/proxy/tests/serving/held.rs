//! A slow side of HTTP/1.1 or HTTP/2 in, the other held up out: what is not taken yet lies in sockets and windows, not here.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::balancer::{all_to, backend, serve};
use crate::client::{http2_over, read_until, soon};
use crate::echo::Echo;

const PIECE: usize = 256 * 1024;
const PIECES: usize = 128;
/// More than sockets hold, and less than memory that grows with a body.
pub(crate) const ALL: usize = PIECES * PIECE;

/// What is counted, once it grows no more.
pub(crate) async fn at_rest(count: &AtomicUsize) -> usize {
    let mut before = 0;
    soon("what is counted to rest", async {
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = count.load(Ordering::SeqCst);
            if now > 0 && now == before {
                return now;
            }
            before = now;
        }
    })
    .await
}

/// Reads a head and then nothing, until it is told to; then all of a chunked body.
pub(crate) async fn slow_to_take(go_on: &Arc<Notify>) -> Echo {
    let told = go_on.clone();
    Echo::running(move |mut stream| {
        let told = told.clone();
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            told.notified().await;
            let (mut piece, mut end) = (vec![0; 64 * 1024], Vec::new());
            while !end.ends_with(b"\r\n0\r\n\r\n") {
                let count = stream.read(&mut piece).await.unwrap();
                end.extend_from_slice(&piece[..count]);
                end.drain(..end.len().saturating_sub(7));
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            stream.write_all(answer).await.unwrap();
        })
    })
    .await
}

#[tokio::test]
async fn a_slow_backend_holds_up_its_client_of_http_1() {
    let go_on = Arc::new(Notify::new());
    let echo = slow_to_take(&go_on).await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let (mut read, mut write) = TcpStream::connect(proxy.http).await.unwrap().into_split();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        write.write_all(head).await.unwrap();
        let piece = vec![b'x'; PIECE];
        for _ in 0..PIECES {
            write
                .write_all(format!("{PIECE:x}\r\n").as_bytes())
                .await
                .unwrap();
            write.write_all(&piece).await.unwrap();
            write.write_all(b"\r\n").await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
        write.write_all(b"0\r\n\r\n").await.unwrap();
        write
    });
    let some = at_rest(&sent).await;
    assert!(some < PIECES, "all of it went to a backend that takes nothing");
    go_on.notify_one();
    let answer = read_until(&mut read, "ok").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_slow_backend_holds_up_its_client_of_http_2() {
    let go_on = Arc::new(Notify::new());
    let echo = slow_to_take(&go_on).await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let mut tasks = JoinSet::new();
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let mut client = http2_over(stream, &mut tasks).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let pieces = futures::stream::iter(0..PIECES).map(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; PIECE])))
    });
    let body = BodyExt::boxed(StreamBody::new(pieces));
    let asking = client.send_request(Request::post("http://a/").body(body).unwrap());
    let mut asking = Box::pin(asking);
    let some = tokio::select! {
        _ = &mut asking => panic!("answered before all was taken"),
        some = at_rest(&sent) => some,
    };
    assert!(some < PIECES, "all of it went to a backend that takes nothing");
    go_on.notify_one();
    let answer = soon("an answer", asking).await.unwrap();
    assert_eq!(answer.status(), 200);
}

/// A backend that counts what it has written of an answer.
pub(crate) async fn counting(written: &Arc<AtomicUsize>) -> Echo {
    let count = written.clone();
    Echo::running(move |mut stream| {
        let count = count.clone();
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {ALL}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; 64 * 1024];
            while count.load(Ordering::SeqCst) < ALL {
                stream.write_all(&piece).await.unwrap();
                count.fetch_add(piece.len(), Ordering::SeqCst);
            }
            // Ended by the proxy, which may keep it.
            let _ = stream.read(&mut [0]).await;
        })
    })
    .await
}

#[tokio::test]
async fn a_slow_client_of_http_1_holds_up_its_backend() {
    let written = Arc::new(AtomicUsize::new(0));
    let echo = counting(&written).await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let before = at_rest(&written).await;
    assert!(before < ALL, "all of it went to a client that takes nothing");
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut all = vec![0; ALL];
    soon("all of it", stream.read_exact(&mut all)).await.unwrap();
    assert!(all.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn a_slow_client_of_http_2_holds_up_its_backend() {
    let written = Arc::new(AtomicUsize::new(0));
    let echo = counting(&written).await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let mut tasks = JoinSet::new();
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let mut client = http2_over(stream, &mut tasks).await;
    let request = Request::get("http://a/")
        .body(http_body_util::Empty::<Bytes>::new())
        .unwrap();
    let answer = soon("a head", client.send_request(request)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let before = at_rest(&written).await;
    assert!(before < ALL, "all of it went to a client that takes nothing");
    let body = soon("all of it", answer.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes().len(), ALL);
}
