//! Bodies that a rule bounds or reads ahead in, what clients and backends see of them out.

use std::sync::atomic::Ordering;

use hyper::Request;
use portcullis_model::{BodyLimit, Buffering, Filters, LoadBalancer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::balancer::{backend, empty, filtered, origin, rule, serve, to};
use crate::client::{Client, Sent, raw, read_until, until};
use crate::echo::Echo;

fn balancer(echo: &Echo, filters: Filters) -> LoadBalancer {
    let mut balancer = empty();
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one);
    balancer.rules = vec![
        filtered(rule("a.com", "/", to("one")), filters),
        rule("b.com", "/", to("one")),
    ];
    balancer
}

fn ahead(bytes: u32) -> Filters {
    Filters {
        buffering: Some(Buffering {
            bytes,
            origin: origin(),
        }),
        ..Filters::default()
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_of_its_rule_is_refused_however_it_is_framed() {
    let echo = Echo::http1("one").await;
    for buffered in [false, true] {
        let limit = BodyLimit {
            bytes: 10,
            origin: origin(),
        };
        let filters = match buffered {
            true => ahead(1024),
            false => Filters::default(),
        };
        let proxy = serve(&balancer(
            &echo,
            Filters {
                body_limit: Some(limit),
                ..filters
            },
        ));
        for (host, body, want) in [
            ("a.com", "0123456789", "200"),
            ("a.com", "0123456789a", "413"),
            ("b.com", "0123456789a", "200"),
        ] {
            let length = body.len();
            for framed in [
                format!("content-length: {length}\r\nconnection: close\r\n\r\n{body}"),
                format!(
                    "transfer-encoding: chunked\r\nconnection: close\r\n\r\n8\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                    &body[..8],
                    length - 8,
                    &body[8..]
                ),
            ] {
                let request = format!("POST / HTTP/1.1\r\nhost: {host}\r\n{framed}");
                let answer = raw(proxy.http, request.as_bytes()).await;
                assert_eq!(answer.get(9..12), Some(want), "{buffered} {request}: {answer}");
            }
            let mut client = Client::http2(proxy.http).await;
            let uri = format!("http://{host}/");
            let request = Request::post(uri).body(Sent::from(body)).unwrap();
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.status().to_string(), want, "{buffered} {host}");
        }
    }
}

#[tokio::test]
async fn a_backend_is_not_asked_before_the_body_has_come() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo, ahead(1024)));
    let mut slow = TcpStream::connect(proxy.http).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a.com\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
    slow.write_all(format!("{head}3\r\nabc\r\n").as_bytes())
        .await
        .unwrap();
    // Others are answered meanwhile: the slow one has had its turn.
    let mut quick = Client::http1(proxy.http).await;
    for _ in 0..20 {
        let request = Request::post("/")
            .header("host", "a.com")
            .body(Sent::from("quick"))
            .unwrap();
        let answer = quick.send(request).await.unwrap();
        assert!(answer.body.ends_with("\n\nquick"), "{}", answer.body);
    }
    assert_eq!(
        echo.connections.load(Ordering::SeqCst),
        1,
        "the slow one was passed on"
    );
    slow.write_all(b"3\r\ndef\r\n0\r\nx-sum: 1\r\n\r\n")
        .await
        .unwrap();
    let answer = read_until(&mut slow, "trailer x-sum: 1\n").await;
    assert!(answer.contains("\n\nabcdef"), "{answer}");
}

#[tokio::test]
async fn a_body_longer_than_what_is_read_ahead_is_passed_on_whole() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo, ahead(4)));
    for length in [0, 3, 4, 5, 100_000] {
        let body = "y".repeat(length);
        for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
            let request = Request::post("http://a.com/")
                .header("host", "a.com")
                .body(Sent::from(body.clone()))
                .unwrap();
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.body.split_once("\n\n").unwrap().1, body, "{length}");
        }
    }
    // One that has begun is passed on from there: the backend is asked before its end.
    let mut slow = TcpStream::connect(proxy.http).await.unwrap();
    let before = echo.connections.load(Ordering::SeqCst);
    let mut held = Client::http1(proxy.http).await;
    slow.write_all(b"POST / HTTP/1.1\r\nhost: a.com\r\ncontent-length: 10\r\n\r\nabcde")
        .await
        .unwrap();
    let view = proxy.handle.view();
    until("the backend is asked", || {
        view.to_string().contains(" 1 under way")
    })
    .await;
    let other = Request::post("/")
        .header("host", "a.com")
        .body(Sent::from("ab"))
        .unwrap();
    assert_eq!(held.send(other).await.unwrap().status(), 200);
    assert!(echo.connections.load(Ordering::SeqCst) > before);
    slow.write_all(b"fghij").await.unwrap();
    read_until(&mut slow, "\n\nabcdefghij").await;
}
