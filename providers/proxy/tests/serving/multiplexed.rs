//! Connections of HTTP/2 in: how many requests one to a target has at once, and when a client has gone without a word.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use portcullis_model::BackendVersion;
use portcullis_proxy::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, all_to, backend, serve_with, speaking};
use crate::client::{get_once, soon, until};
use crate::echo::{Echo, converse};
use crate::tokens::silent;
use crate::windows;

/// As RFC 9113 §6.5.2 recommends that all allow.
const STREAMS: usize = 100;
/// Of one client, which may have 200.
const REQUESTS: usize = STREAMS + 1;

#[tokio::test]
async fn a_target_of_http2_has_a_hundred_requests_on_one_connection() {
    let (go, going) = watch::channel(false);
    // By the number of the connection.
    let asked: Arc<Mutex<BTreeMap<usize, usize>>> = Arc::default();
    let (counts, accepted) = (asked.clone(), AtomicUsize::new(0));
    let echo = Echo::running(move |stream| {
        let number = accepted.fetch_add(1, Ordering::SeqCst);
        let (counts, going) = (counts.clone(), going.clone());
        Box::pin(converse(
            stream,
            true,
            service_fn(move |_| {
                *counts.lock().unwrap().entry(number).or_default() += 1;
                let mut going = going.clone();
                async move {
                    let _ = going.wait_for(|going| *going).await;
                    Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
                }
            }),
        ))
    })
    .await;
    let balancer = all_to(speaking(
        backend("b", &[echo.address]),
        BackendVersion::Http2,
        false,
    ));
    let proxy = serve_with(&balancer, &KeyPairs::new(), Settings::default(), 1);
    let mut tasks = JoinSet::new();
    let mut sender = windows::connect(proxy.http, 65_535, &mut tasks).await;
    let mut answers = Vec::new();
    for _ in 0..REQUESTS {
        sender = soon("room for a stream", sender.ready()).await.unwrap();
        let request = Request::get("http://a/").body(()).unwrap();
        answers.push(sender.send_request(request, true).unwrap().0);
    }
    let all = || asked.lock().unwrap().values().sum::<usize>() == REQUESTS;
    until("all are asked", all).await;
    let mut each: Vec<usize> = asked.lock().unwrap().values().copied().collect();
    each.sort_unstable();
    go.send(true).unwrap();
    for answer in answers {
        assert_eq!(soon("an answer", answer).await.unwrap().status(), 200);
    }
    assert_eq!(each.iter().sum::<usize>(), REQUESTS);
    assert!(each.iter().all(|count| *count <= STREAMS), "{each:?}");
    assert_eq!(each.len(), 2, "{each:?}");
}

/// A client's preface, empty SETTINGS, and a GET of `/` that ends with its head. Source: RFC 9113 §3.4, §6.2; RFC 7541
/// Appendix A.
const ASKS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x06\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01a";

#[tokio::test]
async fn a_client_of_http2_that_answers_no_ping_has_gone() {
    let echo = silent().await;
    let mut settings = Settings::default();
    settings.timeouts.head = Duration::from_millis(200);
    settings.timeouts.handshake = Duration::from_millis(200);
    let balancer = all_to(backend("b", &[echo.address]));
    let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream.write_all(ASKS).await.unwrap();
    let asked = || echo.connections.load(Ordering::SeqCst) == 1;
    until("the target is asked", asked).await;
    let mut said = Vec::new();
    let _ = soon("the end of the connection", stream.read_to_end(&mut said)).await;
    let totals = || proxy.handle.view().totals();
    until("its request is given up", || totals().given_up == 1).await;
}

#[tokio::test]
async fn a_target_of_http2_that_answers_no_ping_has_gone() {
    let echo = silent().await;
    let mut settings = Settings::default();
    settings.timeouts.ping = Duration::from_millis(200);
    settings.timeouts.pong = Duration::from_millis(200);
    let balancer = all_to(speaking(
        backend("b", &[echo.address]),
        BackendVersion::Http2,
        false,
    ));
    let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
    // Long before the time for an answer is over.
    let answer = soon("an answer", get_once(proxy.http, "shop.example", "/")).await;
    assert_eq!(answer.status(), 502);
}
