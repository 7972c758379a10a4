//! Changes of the configuration and ends of the process in, no request the worse for it out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_model::LoadBalancer;
use portcullis_proxy::{Drained, Handle, ServedPorts, ServingState, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, all_to, backend, empty, rule, serve, serve_with, to};
use crate::client::{Client, get, get_once, read_until, soon, until};
use crate::echo::Echo;

pub(crate) fn change(handle: &Handle, balancer: &LoadBalancer) {
    let before = handle.state();
    let (state, _) = ServingState::build(
        balancer.clone(),
        &KeyPairs::new(),
        Some(&before),
        ServedPorts::default(),
    )
    .unwrap();
    handle.swap(state);
}

#[tokio::test]
async fn no_request_fails_while_the_configuration_changes() {
    const CLIENTS: usize = 8;
    const CHANGES: usize = 150;
    let (one, two) = (Echo::http1("one").await, Echo::http1("two").await);
    let only = |echo: &Echo, hosts: usize| {
        let mut balancer = all_to(backend("b", &[echo.address]));
        for host in 0..hosts {
            balancer
                .rules
                .insert(0, rule(&format!("h{host}.example.com"), "/", to("b")));
        }
        balancer
    };
    let proxy = serve_with(&only(&one, 0), &KeyPairs::new(), Settings::default(), 2);
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (http, answered) = (proxy.http, answered.clone());
        clients.spawn(async move {
            let mut client = if number % 2 == 0 {
                Client::http1(http).await
            } else {
                Client::http2(http).await
            };
            loop {
                let request = if number % 2 == 0 {
                    get("h1.example.com", "/x")
                } else {
                    hyper::Request::get("http://h1.example.com/x")
                        .body(Default::default())
                        .unwrap()
                };
                let answer = client.send(request).await.unwrap();
                assert_eq!(answer.status(), 200, "{}", answer.body);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for number in 0..CHANGES {
        let before = answered.load(Ordering::Relaxed);
        change(
            &proxy.handle,
            &only(if number % 2 == 0 { &two } else { &one }, number % 7),
        );
        // Each state answers a few requests.
        let has_gone_on = || answered.load(Ordering::Relaxed) > before + 4;
        tokio::select! {
            () = until("answers go on", has_gone_on) => {}
            ended = clients.join_next() => panic!("a client failed: {ended:?}"),
        }
    }
    clients.abort_all();
    while let Some(ended) = clients.join_next().await {
        assert!(ended.unwrap_err().is_cancelled(), "a client failed");
    }
    assert_eq!(proxy.handle.totals().panics, 0);
    assert!(two.connections.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn connections_to_a_target_that_left_are_closed() {
    let (one, two) = (Echo::http1("one").await, Echo::http1("two").await);
    let proxy = serve(&all_to(backend("b", &[one.address])));
    let mut client = Client::http1(proxy.http).await;
    for (target, want) in [(&two, "two"), (&one, "one"), (&one, "one"), (&two, "two")] {
        change(&proxy.handle, &all_to(backend("b", &[target.address])));
        assert_eq!(
            client.send(get("a", "/")).await.unwrap().header("x-backend"),
            Some(want)
        );
    }
    // `one` was reached, left, and came back: its first connection was not kept meanwhile. `two` left once.
    let opened = |echo: &Echo| echo.connections.load(Ordering::SeqCst);
    assert_eq!((opened(&one), opened(&two)), (1, 2));
}

/// Tells when a request has come, and answers when it may.
struct Held {
    echo: Echo,
    come: Arc<AtomicUsize>,
    may_answer: Arc<Semaphore>,
}

async fn held() -> Held {
    let come = Arc::new(AtomicUsize::new(0));
    let may_answer = Arc::new(Semaphore::new(0));
    let (counted, permits) = (come.clone(), may_answer.clone());
    let echo = Echo::running(move |mut stream| {
        let (counted, permits) = (counted.clone(), permits.clone());
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            counted.fetch_add(1, Ordering::SeqCst);
            permits.acquire().await.unwrap().forget();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
                .await
                .unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
    })
    .await;
    Held {
        echo,
        come,
        may_answer,
    }
}

#[tokio::test]
async fn a_target_that_leaves_finishes_its_request() {
    let held = held().await;
    let proxy = serve(&all_to(backend("b", &[held.echo.address])));
    let http = proxy.http;
    let mut asking = JoinSet::new();
    asking.spawn(async move { get_once(http, "a", "/").await });
    until("the request has come", || held.come.load(Ordering::SeqCst) == 1).await;
    change(&proxy.handle, &empty());
    assert_eq!(get_once(proxy.http, "a", "/").await.status(), 404);
    held.may_answer.add_permits(1);
    let answer = soon("the answer", asking.join_next()).await.unwrap().unwrap();
    assert_eq!((answer.status(), answer.body.as_str()), (200, "done"));
}

#[tokio::test]
async fn requests_go_where_fewer_are_under_way() {
    // What is held counts, also over a change: the free target gets all that follows.
    let (busy, free) = (held().await, Echo::http1("free").await);
    let proxy = serve(&all_to(backend("b", &[busy.echo.address])));
    let http = proxy.http;
    let mut asking = JoinSet::new();
    asking.spawn(async move { get_once(http, "a", "/").await });
    until("the request has come", || busy.come.load(Ordering::SeqCst) == 1).await;
    change(
        &proxy.handle,
        &all_to(backend("b", &[busy.echo.address, free.address])),
    );
    let mut client = Client::http1(proxy.http).await;
    for _ in 0..30 {
        assert_eq!(
            client.send(get("a", "/")).await.unwrap().header("x-backend"),
            Some("free")
        );
    }
    busy.may_answer.add_permits(1);
    assert_eq!(
        soon("the answer", asking.join_next())
            .await
            .unwrap()
            .unwrap()
            .status(),
        200
    );
}

pub(crate) async fn refuses(address: SocketAddr) {
    soon("the port is closed", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way() {
    let held = held().await;
    let proxy = serve_with(
        &all_to(backend("b", &[held.echo.address])),
        &KeyPairs::new(),
        Settings::default(),
        2,
    );
    let mut idle = Client::http1(proxy.http).await;
    assert_eq!(idle.send(get("a", "*")).await.unwrap().status(), 404);
    let (mut http1, mut http2) = (Client::http1(proxy.http).await, Client::http2(proxy.http).await);
    let mut opened_in_advance = TcpStream::connect(proxy.http).await.unwrap();
    let mut asking = JoinSet::new();
    asking.spawn(async move {
        let answer = http1.send(get("a", "/")).await.unwrap();
        assert_eq!(answer.header("connection"), Some("close"));
        http1.closed().await;
        answer
    });
    asking.spawn(async move {
        let request = hyper::Request::get("http://a/").body(Default::default()).unwrap();
        let answer = http2.send(request).await.unwrap();
        http2.closed().await;
        answer
    });
    until("both requests have come", || {
        held.come.load(Ordering::SeqCst) == 2
    })
    .await;

    let mut draining = JoinSet::new();
    let http = proxy.http;
    draining.spawn(proxy.handle.drain(Duration::from_secs(30)));
    refuses(http).await;
    idle.closed().await;
    assert_eq!(
        soon("the end", opened_in_advance.read(&mut [0]))
            .await
            .unwrap_or(0),
        0
    );
    held.may_answer.add_permits(2);
    while let Some(answer) = soon("an answer", asking.join_next()).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    let drained = soon("the drain", draining.join_next()).await.unwrap().unwrap();
    assert_eq!(drained.unwrap(), Drained::Finished);
}

#[tokio::test]
async fn a_drain_has_an_end() {
    let held = held().await;
    let proxy = serve(&all_to(backend("b", &[held.echo.address])));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    until("the request has come", || held.come.load(Ordering::SeqCst) == 1).await;
    let drained = soon("the drain", proxy.handle.drain(Duration::from_millis(50))).await;
    assert_eq!(drained.unwrap(), Drained::CutOff);
    let mut rest = Vec::new();
    let _ = soon("the end", stream.read_to_end(&mut rest)).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn a_dropped_handle_ends_the_proxy() {
    let proxy = serve(&empty());
    let http = proxy.http;
    assert_eq!(get_once(http, "a", "/").await.status(), 404);
    drop(proxy);
    refuses(http).await;
}
