//! Fewer files for targets than requests would take in; who makes room, who is refused and that all come back out.

use std::convert::Infallible;
use std::net::TcpListener;
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use portcullis_model::{BackendVersion, Filters};
use portcullis_proxy::{Http1Engine, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, Proxy, all_to, also, backend, engine, serve_with, speaking};
use crate::client::{Client, get, get_once, read_until, soon, until};
use crate::echo::Echo;
use crate::limits::hanging;
use crate::websockets::{THROUGH, parroting, site_with};

/// Unused connections are kept for as long as nobody needs their files.
fn with_files(target_files: usize) -> Settings {
    let mut settings = Settings::default();
    settings.limits.target_files = target_files;
    settings
}

fn files(proxy: &Proxy) -> usize {
    proxy.handle.totals().target_files
}

#[tokio::test]
async fn a_backend_that_hangs_takes_half_of_the_files_and_others_are_reached() {
    for over_http2 in [false, true] {
        let (release, held) = watch::channel(false);
        let (slow, quick) = (hanging(held).await, Echo::http1("quick").await);
        let mut balancer = all_to(backend("slow", &[slow.address]));
        also(&mut balancer, "/quick", backend("quick", &[quick.address]));
        let mut settings = with_files(4);
        settings.limits.kept_for = Duration::from_millis(20);
        // What one worker has open, the other sees.
        let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 2);
        let mut waiting = JoinSet::new();
        for _ in 0..2 {
            let http = proxy.http;
            waiting.spawn(async move {
                let mut client = match over_http2 {
                    true => Client::http2(http).await,
                    false => Client::http1(http).await,
                };
                client.send(get("a", "/")).await.unwrap()
            });
        }
        until("two connections to targets", || files(&proxy) == 2).await;
        for (path, want) in [
            ("/", (503, Some("1"))),
            ("/quick", (200, None)),
            ("/quick", (200, None)),
        ] {
            let answer = soon("an answer", get_once(proxy.http, "a", path)).await;
            let seen = (answer.status(), answer.header("retry-after"));
            assert_eq!(seen, want, "{path}, HTTP/2: {over_http2}");
        }
        let totals = proxy.handle.totals();
        assert_eq!((totals.target_files_lacked, totals.unreached), (1, 0));
        release.send_replace(true);
        while let Some(answer) = waiting.join_next().await {
            assert_eq!(answer.unwrap().status(), 200);
        }
        assert_eq!(get_once(proxy.http, "a", "/quick").await.status(), 200);
        until("all files back", || files(&proxy) == 0).await;
    }
}

/// Not even what hangs in the middle of an answer has them all.
#[tokio::test]
async fn answers_under_way_and_tunnels_take_more_than_half_and_leave_some() {
    let endless = Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let begun = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun";
            stream.write_all(begun.as_bytes()).await.unwrap();
            let _ = stream.read(&mut [0]).await;
        })
    })
    .await;
    let (tunnels, quick) = (parroting().await, Echo::http1("quick").await);
    for (server, more) in [
        (&endless, ""),
        (
            &tunnels,
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ),
    ] {
        let mut balancer = all_to(backend("b", &[server.address]));
        also(&mut balancer, "/quick", backend("quick", &[quick.address]));
        let mut settings = with_files(8);
        settings.limits.kept_for = Duration::from_millis(20);
        let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 1);
        let mut open = Vec::new();
        for count in 1..=7 {
            let mut stream = TcpStream::connect(proxy.http).await.unwrap();
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let answer = read_until(&mut stream, "\r\n\r\n").await;
            assert!(!answer.contains("503"), "{count}: {answer}");
            open.push(stream);
        }
        assert_eq!(files(&proxy), 7);
        for (path, want) in [("/", 503), ("/quick", 200)] {
            assert_eq!(get_once(proxy.http, "a", path).await.status(), want, "{path}");
        }
        drop(open);
        until("all files back", || files(&proxy) == 0).await;
    }
}

/// Of HTTP/2, too, where the PROXY protocol names one client for each connection.
#[tokio::test]
async fn a_backend_that_has_a_connection_for_each_request_takes_half() {
    // Takes connections, and says nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let quick = Echo::http1("quick").await;
    let mut introduced = backend("deaf", &[deaf.local_addr().unwrap()]);
    introduced.proxy_protocol = true;
    let mut balancer = all_to(speaking(introduced, BackendVersion::Http2, false));
    also(&mut balancer, "/quick", backend("quick", &[quick.address]));
    let proxy = serve_with(&balancer, &KeyPairs::new(), with_files(4), 1);
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        waiting.spawn(get_once(proxy.http, "a", "/"));
    }
    until("two connections to targets", || files(&proxy) == 2).await;
    for (path, want) in [("/", 503), ("/quick", 200)] {
        assert_eq!(get_once(proxy.http, "a", path).await.status(), want, "{path}");
    }
    waiting.shutdown().await;
    until("the files of those that left back", || files(&proxy) == 1).await;
}

#[tokio::test]
async fn connections_that_are_not_used_make_room_for_others() {
    let (http1, http2) = (Echo::http1("http1").await, Echo::http2("http2").await);
    let mut balancer = all_to(backend("http1", &[http1.address]));
    let two = speaking(backend("two", &[http2.address]), BackendVersion::Http2, false);
    also(&mut balancer, "/two", two);
    let proxy = serve_with(&balancer, &KeyPairs::new(), with_files(1), 1);
    let mut client = Client::http1(proxy.http).await;
    for path in ["/", "/", "/two", "/two", "/", "/two", "/"] {
        let answer = client.send(get("a", path)).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}: {}", answer.body);
        assert_eq!(files(&proxy), 1, "{path}");
    }
    assert_eq!(proxy.handle.totals().target_files_lacked, 0);
}

/// What one worker keeps, another cannot close: it does so itself, when it looks after its connections next.
#[tokio::test]
async fn other_workers_make_room_in_time() {
    let (one, two) = (Echo::http1("one").await, Echo::http1("two").await);
    let mut balancer = all_to(backend("one", &[one.address]));
    also(&mut balancer, "/two", backend("two", &[two.address]));
    let proxy = serve_with(&balancer, &KeyPairs::new(), with_files(1), 2);
    assert_eq!(get_once(proxy.http, "a", "/").await.status(), 200);
    // The one that keeps the connection makes room at once: this is a client of the other.
    let mut client = soon("a client of the other worker", async {
        loop {
            let mut client = Client::http1(proxy.http).await;
            if client.send(get("a", "/two")).await.unwrap().status() == 503 {
                break client;
            }
        }
    })
    .await;
    // Long before it would be closed as unused.
    soon("room", async {
        while client.send(get("a", "/two")).await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(files(&proxy), 1);
}

#[tokio::test]
async fn a_connection_that_is_not_made_keeps_no_file() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut balancer = all_to(backend("closed", &[closed]));
    let secured = speaking(backend("secured", &[closed]), BackendVersion::Http2, true);
    also(&mut balancer, "/secured", secured);
    // Speaks no TLS.
    let plain = Echo::http1("plain").await;
    let plain = speaking(backend("plain", &[plain.address]), BackendVersion::Http1, true);
    also(&mut balancer, "/plain", plain);
    let proxy = serve_with(&balancer, &KeyPairs::new(), with_files(1), 1);
    for path in ["/", "/", "/secured", "/secured", "/plain", "/plain", "/"] {
        assert_eq!(get_once(proxy.http, "a", path).await.status(), 502, "{path}");
        until("its file back", || files(&proxy) == 0).await;
    }
}

#[tokio::test]
async fn a_tunnel_keeps_its_file_until_its_end() {
    let server = parroting().await;
    for way in THROUGH {
        let mut site = site_with(server.address, Filters::default(), with_files(1));
        let (mut io, _) = site.open(way, &[]).await;
        read_until(&mut io, "\r\n\r\n").await;
        assert_eq!(files(&site.proxy), 1, "{way:?}");
        let refused = get_once(site.proxy.http, "a.example.com", "/chat").await;
        assert_eq!(refused.status(), 503, "{way:?}: {}", refused.body);
        io.shutdown().await.unwrap();
        read_until(&mut io, "the end").await;
        drop(io);
        until("its file back", || files(&site.proxy) == 0).await;
    }
}

/// A long body goes by a pipe, which has two files and is kept for the next.
#[tokio::test]
async fn pipes_take_files_that_connections_get_back() {
    const LENGTH: usize = 1 << 20;
    let long = Echo::answering(|_| async {
        let body = Full::new(Bytes::from(vec![b'7'; LENGTH]));
        Ok::<_, Infallible>(Response::new(body))
    })
    .await;
    let (release, held) = watch::channel(false);
    // One has no more than half.
    let (slow, other) = (hanging(held.clone()).await, hanging(held).await);
    let mut balancer = all_to(backend("slow", &[slow.address]));
    also(&mut balancer, "/other", backend("other", &[other.address]));
    also(&mut balancer, "/long", backend("long", &[long.address]));
    let proxy = serve_with(&balancer, &KeyPairs::new(), with_files(6), 1);
    let answer = get_once(proxy.http, "a", "/long").await;
    assert_eq!((answer.status(), answer.body.len()), (200, LENGTH));
    let kept = match engine() {
        Http1Engine::Own if cfg!(target_os = "linux") => 3,
        Http1Engine::Own | Http1Engine::Hyper => 1,
    };
    until("a connection and perhaps a pipe are kept", || {
        files(&proxy) == kept
    })
    .await;
    let mut waiting = JoinSet::new();
    for path in ["/", "/other"].repeat(3) {
        waiting.spawn(get_once(proxy.http, "a", path));
    }
    let view = proxy.handle.view();
    until("three requests under way to each", || {
        view.to_string().matches(" 3 under way").count() == 2
    })
    .await;
    // A request is under way before it has its connection.
    until("all files taken", || files(&proxy) == 6).await;
    assert_eq!(view.totals().target_files_lacked, 0);
    // Without a pipe it would go as well; but there is no way to the target.
    assert_eq!(get_once(proxy.http, "a", "/long").await.status(), 503);
    release.send_replace(true);
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    let answer = get_once(proxy.http, "a", "/long").await;
    assert_eq!((answer.status(), answer.body.len()), (200, LENGTH));
}
