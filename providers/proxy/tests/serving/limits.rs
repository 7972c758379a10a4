//! More than there is room for in; who waits, who is refused and who does not notice out.

use hyper::Request;
use portcullis_model::Filters;
use portcullis_proxy::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, all_to, also, backend, serve_with};
use crate::client::{Client, Sent, get, get_once, raw, read_until, until};
use crate::echo::{Echo, echo};
use crate::websockets::{THROUGH, Way, parroting, site_with};

#[tokio::test]
async fn a_connection_beyond_the_bound_waits_for_one_to_end() {
    let echo = Echo::http1("one").await;
    let mut settings = Settings::default();
    settings.limits.connections = 1;
    let proxy = serve_with(
        &all_to(backend("one", &[echo.address])),
        &KeyPairs::new(),
        settings,
        1,
    );
    let mut first = Client::http1(proxy.http).await;
    assert_eq!(first.send(get("a", "/")).await.unwrap().status(), 200);
    let mut second = TcpStream::connect(proxy.http).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    second.write_all(request).await.unwrap();
    // Room enough in time to take it, were there any.
    for _ in 0..50 {
        assert_eq!(first.send(get("a", "/")).await.unwrap().status(), 200);
    }
    assert_eq!(proxy.handle.totals().connections_opened, 1);
    drop(first);
    let answer = read_until(&mut second, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A WebSocket over HTTP/1.1 is its client's whole connection.
#[tokio::test]
async fn a_connection_that_became_a_tunnel_counts_until_it_is_closed() {
    let server = parroting().await;
    for (way, is_tls) in [(Way::Http1, false), (Way::Http1Tls, true)] {
        let mut settings = Settings::default();
        settings.limits.connections = 1;
        let mut site = site_with(server.address, Filters::default(), settings);
        let (mut socket, _) = site.open(way, &[]).await;
        read_until(&mut socket, "\r\n\r\n").await;
        let port = match is_tls {
            true => site.proxy.https,
            false => site.proxy.http,
        };
        let second = TcpStream::connect(port).await.unwrap();
        // Room enough in time to take it, were there any.
        for _ in 0..50 {
            socket.write_all(b"x").await.unwrap();
            socket.read_exact(&mut [0]).await.unwrap();
        }
        let counts = || {
            let totals = site.proxy.handle.totals();
            (totals.connections_opened, totals.connections_open)
        };
        assert_eq!(counts(), (1, 1), "{way:?}");
        drop(socket);
        until("the second is taken", || counts() == (2, 1)).await;
        drop(second);
        until("none is open", || counts() == (2, 0)).await;
    }
}

/// Answers nobody until it is told to.
pub(crate) async fn hanging(held: watch::Receiver<bool>) -> Echo {
    Echo::answering(move |request| {
        let mut held = held.clone();
        async move {
            let _ = held.wait_for(|released| *released).await;
            echo("slow", request).await
        }
    })
    .await
}

#[tokio::test]
async fn a_backend_that_hangs_takes_no_more_than_its_bound_and_others_go_on() {
    let (release, held) = watch::channel(false);
    let (slow, quick) = (hanging(held).await, Echo::http1("quick").await);
    let mut balancer = all_to(backend("slow", &[slow.address]));
    also(&mut balancer, "/quick", backend("quick", &[quick.address]));
    let mut settings = Settings::default();
    settings.limits.under_way = 2;
    // One worker sees what the other has under way.
    let proxy = serve_with(&balancer, &KeyPairs::new(), settings, 2);
    let mut waiting = JoinSet::new();
    for _ in 0..2 {
        waiting.spawn(get_once(proxy.http, "a", "/"));
    }
    let view = proxy.handle.view();
    until("two requests under way", || {
        view.to_string().contains(" 2 under way")
    })
    .await;
    for _ in 0..8 {
        let refused = get_once(proxy.http, "a", "/").await;
        assert_eq!(
            (refused.status(), refused.header("retry-after")),
            (503, Some("1"))
        );
        assert_eq!(get_once(proxy.http, "a", "/quick").await.status(), 200);
    }
    assert_eq!(proxy.handle.totals().overloaded, 8);
    release.send_replace(true);
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    until("nothing under way", || !view.to_string().contains(" 2 under way")).await;
    assert_eq!(get_once(proxy.http, "a", "/").await.status(), 200);
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_however_it_is_framed() {
    let echo = Echo::http1("one").await;
    let mut settings = Settings::default();
    settings.limits.body_bytes = Some(10);
    let proxy = serve_with(
        &all_to(backend("one", &[echo.address])),
        &KeyPairs::new(),
        settings,
        1,
    );
    for (body, want) in [("0123456789", "200"), ("0123456789a", "413")] {
        let length = body.len();
        for framed in [
            format!("content-length: {length}\r\nconnection: close\r\n\r\n{body}"),
            format!(
                "transfer-encoding: chunked\r\nconnection: close\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
            ),
            format!(
                "transfer-encoding: chunked\r\nconnection: close\r\n\r\n8\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                &body[..8],
                length - 8,
                &body[8..]
            ),
        ] {
            let answer = raw(
                proxy.http,
                format!("POST / HTTP/1.1\r\nhost: a\r\n{framed}").as_bytes(),
            )
            .await;
            assert_eq!(answer.get(9..12), Some(want), "{framed}: {answer}");
        }
        let mut client = Client::http2(proxy.http).await;
        let request = Request::post("http://a/").body(Sent::from(body)).unwrap();
        assert_eq!(client.send(request).await.unwrap().status().to_string(), want);
    }
    // What else the client sends is read as no request: the connection ends.
    let two = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = raw(proxy.http, two.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

#[tokio::test]
async fn tunnels_take_no_place_of_requests() {
    let server = parroting().await;
    let mut settings = Settings::default();
    settings.limits.under_way = 1;
    let mut site = site_with(server.address, Filters::default(), settings);
    let mut open = Vec::new();
    for way in THROUGH {
        open.push(site.open(way, &[]).await);
    }
    assert_eq!(site.proxy.handle.totals().overloaded, 0);
}
