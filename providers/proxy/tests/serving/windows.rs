//! Clients of HTTP/2 that grant no window in; targets that have their places back in time out.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http_body_util::Full;
use hyper::{Request, Response};
use portcullis_proxy::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, Proxy, all_to, backend, serve_with};
use crate::bodies::of_length;
use crate::client::{get_once, read_until, soon, until};
use crate::echo::Echo;

const LONG: usize = 1 << 20;
/// How long a client may take nothing.
const LIMIT: Duration = Duration::from_secs(1);

/// Answers at length, but `/short` with little, and `/late` not before twice the limit has passed.
async fn long() -> Echo {
    Echo::answering(|request: Request<hyper::body::Incoming>| async move {
        let (late, length) = match request.uri().path() {
            "/late" => (LIMIT * 2, LONG),
            "/short" => (Duration::ZERO, 100),
            _ => (Duration::ZERO, LONG),
        };
        tokio::time::sleep(late).await;
        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(vec![b'x'; length])))
    })
    .await
}

fn serving(echo: &Echo) -> Proxy {
    let mut settings = Settings::default();
    settings.limits.under_way = 2;
    settings.timeouts.body = LIMIT;
    let balancer = all_to(backend("long", &[echo.address]));
    serve_with(&balancer, &KeyPairs::new(), settings, 1)
}

/// A connection whose streams begin with so much window.
pub(crate) async fn connect(address: SocketAddr, window: u32, tasks: &mut JoinSet<()>) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tasks.spawn(async move {
        let _ = connection.await;
    });
    soon("a sender", sender.ready()).await.unwrap()
}

pub(crate) async fn ask(sender: &mut SendRequest<Bytes>, path: &str) -> h2::RecvStream {
    let request = Request::get(format!("http://a{path}")).body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let response = soon("the head of an answer", response).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

#[tokio::test]
async fn a_client_without_window_gives_the_places_of_targets_back() {
    let echo = long().await;
    // Some: a piece of the answer is on its way when the window is used up.
    for window in [0, 100] {
        let proxy = serving(&echo);
        let mut tasks = JoinSet::new();
        let mut sender = connect(proxy.http, window, &mut tasks).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(ask(&mut sender, "/").await);
        }
        assert_eq!(get_once(proxy.http, "a", "/").await.status(), 503, "{window}");
        for mut body in held {
            let error = loop {
                match soon("a reset", body.data()).await {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("{window}: half an answer passes for all of it"),
                }
            };
            assert!(error.is_reset(), "{window}: {error}");
        }
        let view = proxy.handle.view();
        until("no place is held", || view.to_string().contains(" 0 under way")).await;
        assert_eq!(view.totals().untaken, 2, "{window}");
        assert_eq!(get_once(proxy.http, "a", "/").await.status(), 200, "{window}");
        // The connection goes on.
        drop(ask(&mut sender, "/").await);
    }
}

#[tokio::test]
async fn ends_of_answers_that_nobody_takes_do_not_keep_a_connection() {
    let echo = long().await;
    let mut settings = Settings::default();
    settings.timeouts.head = LIMIT / 10;
    settings.timeouts.body = LIMIT / 10;
    let proxy = serve_with(
        &all_to(backend("long", &[echo.address])),
        &KeyPairs::new(),
        settings,
        1,
    );
    let mut tasks = JoinSet::new();
    let mut sender = connect(proxy.http, 10, &mut tasks).await;
    // All of it has been handed to h2 once there was any window.
    let _held = ask(&mut sender, "/short").await;
    soon("the end of the connection", tasks.join_next()).await;
    assert_eq!(proxy.handle.totals().untaken, 0);
}

#[tokio::test]
async fn a_slow_backend_and_a_slow_client_are_no_client_without_window() {
    let echo = long().await;
    let proxy = serving(&echo);
    let mut tasks = JoinSet::new();
    let mut sender = connect(proxy.http, 65_535, &mut tasks).await;
    let mut body = ask(&mut sender, "/late").await;
    let mut taken = 0;
    // Some eight waits, longer than the limit together.
    while let Some(piece) = soon("a piece", body.data()).await {
        let count = piece.unwrap().len();
        taken += count;
        if taken / (LONG / 8) != (taken - count) / (LONG / 8) {
            tokio::time::sleep(LIMIT / 4).await;
        }
        body.flow_control().release_capacity(count).unwrap();
    }
    assert_eq!(taken, LONG);
    assert_eq!(proxy.handle.totals().untaken, 0);
}

/// Takes a window each quarter of the limit, for so long, and the rest without a pause; how much it was.
async fn take_slowly(mut body: h2::RecvStream, for_long: Duration) -> usize {
    let (began, mut taken) = (tokio::time::Instant::now(), 0);
    while let Some(piece) = soon("a piece", body.data()).await {
        let count = piece.unwrap().len();
        taken += count;
        if began.elapsed() < for_long {
            tokio::time::sleep(LIMIT / 4).await;
        }
        body.flow_control().release_capacity(count).unwrap();
    }
    taken
}

#[tokio::test]
async fn a_client_that_takes_a_piece_by_and_by_gets_all_of_it() {
    let echo = long().await;
    let proxy = serving(&echo);
    let mut tasks = JoinSet::new();
    let mut sender = connect(proxy.http, 1_000, &mut tasks).await;
    let body = ask(&mut sender, "/").await;
    assert_eq!(take_slowly(body, LIMIT * 4).await, LONG);
    assert_eq!(proxy.handle.totals().untaken, 0);
}

#[tokio::test]
async fn the_end_of_an_answer_may_be_taken_by_and_by() {
    let echo = long().await;
    let mut settings = Settings::default();
    settings.timeouts.head = LIMIT / 10;
    settings.timeouts.body = LIMIT;
    let balancer = all_to(backend("long", &[echo.address]));
    let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
    let mut tasks = JoinSet::new();
    let mut sender = connect(proxy.http, 5, &mut tasks).await;
    // All of it has been handed to h2 once there was any window.
    let body = ask(&mut sender, "/short").await;
    assert_eq!(take_slowly(body, LIMIT * 4).await, 100);
}

#[tokio::test]
async fn a_client_that_takes_nothing_gains_no_time_by_other_frames() {
    let echo = long().await;
    let proxy = serving(&echo);
    let stream = TcpStream::connect(proxy.http).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(100);
    let (mut sender, mut connection) = builder.handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut window: u32 = 65_535;
        loop {
            let mut turn = std::pin::pin!(tokio::time::sleep(LIMIT / 8));
            tokio::select! {
                _ = &mut connection => return,
                () = &mut turn => {}
            }
            // Of the connection alone.
            window = window.saturating_mul(2).min(u32::MAX >> 1);
            connection.set_target_window_size(window);
        }
    });
    let ping = tasks.spawn(async move {
        while pings.ping(h2::Ping::opaque()).await.is_ok() {
            tokio::time::sleep(LIMIT / 8).await;
        }
    });
    let mut body = ask(&mut sender, "/").await;
    let began = tokio::time::Instant::now();
    let error = loop {
        match soon("a reset", body.data()).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("half an answer passes for all of it"),
        }
    };
    assert!(error.is_reset(), "{error}");
    assert!(began.elapsed() < LIMIT * 3, "{:?}", began.elapsed());
    assert!(!ping.is_finished());
    assert_eq!(proxy.handle.totals().untaken, 1);
}

/// Over HTTP/1.1 it is TCP that has no window, whether the kernel moves the answer or the proxy does.
#[tokio::test]
async fn a_client_of_http_1_that_takes_nothing_is_cut_off() {
    // More than lies between the two.
    const LONG: usize = 64 << 20;
    let echo = Echo::answering(of_length).await;
    let proxy = serving(&echo);
    for (path, untaken) in [("known", 1), ("unknown", 2)] {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        let request = format!("GET /{path}?{LONG} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let view = proxy.handle.view();
        until("it is cut off", || view.totals().untaken == untaken).await;
        until("no place is held", || view.to_string().contains(" 0 under way")).await;
        let mut rest = Vec::new();
        let _ = soon("the end", stream.read_to_end(&mut rest)).await;
        assert!(
            rest.len() < LONG && !rest.ends_with(b"0\r\n\r\n"),
            "{path}: {}",
            rest.len()
        );
    }
}
