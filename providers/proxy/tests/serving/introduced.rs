//! Clients and targets that want to know them in, how connections to these begin out.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use portcullis_model::{Backend, BackendVersion, HealthCheck};
use portcullis_proxy::{ServerConfig, Settings};
use tokio::io::AsyncReadExt;

use crate::balancer::{KeyPairs, all_to, backend, serve_as, speaking};
use crate::client::{Client, get, until};
use crate::echo::{Echo, acceptor, converse};

/// Answers with whom its connection is said to be for, before TLS; serves none that begins otherwise.
async fn target(is_http2: bool, is_tls: bool) -> Echo {
    let acceptor = is_tls.then(|| acceptor(is_http2));
    Echo::running(move |mut stream| {
        let acceptor = acceptor.clone();
        Box::pin(async move {
            let mut head = [0; 16];
            if stream.read_exact(&mut head).await.is_err() || head[..12] != *b"\r\n\r\n\0\r\nQUIT\n" {
                return;
            }
            let mut rest = vec![0; u16::from_be_bytes([head[14], head[15]]).into()];
            stream.read_exact(&mut rest).await.unwrap();
            let whom = match (head[12], &rest[..]) {
                (0x21, [a, b, c, d, ..]) => Ipv4Addr::new(*a, *b, *c, *d).to_string(),
                (0x20, []) => "nobody".to_owned(),
                other => panic!("{other:?}"),
            };
            let service = service_fn(move |request: Request<Incoming>| {
                let whom = whom.clone();
                async move {
                    // A check has a connection of its own.
                    let is_well = (request.uri().path() == "/well") == (whom == "nobody");
                    let response = Response::builder().status(if is_well { 200 } else { 500 });
                    Ok::<_, Infallible>(
                        response
                            .header("x-whom", whom)
                            .body(Full::<Bytes>::default())
                            .unwrap(),
                    )
                }
            });
            match acceptor {
                Some(acceptor) => {
                    converse(acceptor.accept(stream).await.unwrap(), is_http2, service).await;
                }
                None => converse(stream, is_http2, service).await,
            }
        })
    })
    .await
}

#[tokio::test]
async fn a_target_is_told_first_whom_a_connection_is_for() {
    for (is_http2, is_tls) in [(false, false), (true, false), (false, true), (true, true)] {
        let target = target(is_http2, is_tls).await;
        let version = match is_http2 {
            true => BackendVersion::Http2,
            false => BackendVersion::Http1,
        };
        let one = speaking(backend("one", &[target.address]), version, is_tls);
        let one = Backend {
            proxy_protocol: true,
            is_checked: true,
            health: HealthCheck {
                tls: is_tls,
                path: "/well".into(),
                interval_seconds: 1,
                timeout_seconds: 1,
                ..one.health.clone()
            },
            ..one
        };
        let config = ServerConfig {
            trusted: ["127.0.0.1/32".parse().unwrap()].into(),
            settings: Settings::default(),
            ..ServerConfig::default()
        };
        let proxy = serve_as(&all_to(one), &KeyPairs::new(), config);
        let mut client = Client::http1(proxy.http).await;
        let checks = || target.connections.load(std::sync::atomic::Ordering::SeqCst);
        for from in ["192.0.2.1", "192.0.2.2", "192.0.2.1"] {
            let mut request = get("a", "/");
            request
                .headers_mut()
                .insert("x-forwarded-for", from.parse().unwrap());
            let answer = client.send(request).await.unwrap();
            let got = (answer.status(), answer.header("x-whom"));
            assert_eq!(got, (200, Some(from)), "{is_http2} {is_tls}");
        }
        // Its checks pass, and say that they are for nobody.
        let before = checks();
        until("three checks", || checks() >= before + 3).await;
        assert!(!proxy.handle.view().to_string().contains(", ill"));
    }
}
