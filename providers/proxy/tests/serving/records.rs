//! Requests of HTTP/2 that come together in, few records of TLS with their answers out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::join_all;
use h2::client::SendRequest;
use hyper::Request;
use portcullis_model::{Action, FixedResponse};
use portcullis_proxy::Settings;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, empty, rule, serve_with, with_certificates};
use crate::client::{soon, tls_over};
use crate::secure::key_pair;

/// Longer than what h2 writes with the head of its frame, so that by itself each goes by a write of its own.
const LENGTH: usize = 400;

/// Counts the records that come. Source: RFC 8446 §5.1.
struct Counting {
    stream: TcpStream,
    records: Arc<AtomicUsize>,
    head: Vec<u8>,
    /// Of the record that comes.
    left: usize,
}

impl Counting {
    fn see(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.left > 0 {
                self.left -= 1;
                continue;
            }
            self.head.push(*byte);
            if let [_, _, _, high, low] = self.head[..] {
                self.left = u16::from_be_bytes([high, low]).into();
                self.head.clear();
                self.records.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.see(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// So many requests in one write, and all of their answers.
async fn ask(sender: &mut SendRequest<Bytes>, count: usize) {
    let mut asked = Vec::new();
    for _ in 0..count {
        let request = Request::get("https://a.example.com/").body(()).unwrap();
        asked.push(sender.send_request(request, true).unwrap().0);
    }
    let answers = asked.into_iter().map(async |answer| {
        let mut body = answer.await.unwrap().into_body();
        let mut came = 0;
        while let Some(piece) = body.data().await {
            came += piece.unwrap().len();
        }
        assert_eq!(came, LENGTH);
    });
    soon("the answers", join_all(answers)).await;
}

#[tokio::test]
async fn answers_that_are_ready_together_come_in_few_records() {
    let (secret, certificate) = key_pair("web", &["a.example.com"]);
    let mut balancer = with_certificates(empty(), &[("web", &["a.example.com"])]);
    let mut answer = FixedResponse::not_found();
    answer.body = Some("x".repeat(LENGTH));
    balancer.rules.push(rule("*", "/", Action::Fixed(answer)));
    let proxy = serve_with(&balancer, &KeyPairs::from([secret]), Settings::default(), 1);
    let records = Arc::new(AtomicUsize::new(0));
    let counting = Counting {
        stream: TcpStream::connect(proxy.https).await.unwrap(),
        records: records.clone(),
        head: Vec::new(),
        left: 0,
    };
    let stream = tls_over(counting, "a.example.com", &[certificate], &["h2"]).await;
    let (mut sender, connection) = h2::client::handshake(stream.unwrap()).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    // All that comes before and behind the first answer.
    ask(&mut sender, 1).await;
    let before = records.load(Ordering::SeqCst);
    let count = 20;
    ask(&mut sender, count).await;
    let came = records.load(Ordering::SeqCst) - before;
    assert!(came <= count / 4, "{count} answers in {came} records");
}
