//! Connections that begin with a head of the PROXY protocol in, who counts as the client out.

use portcullis_proxy::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::balancer::{KeyPairs, Proxy, all_to, backend, serve_as, with_certificates};
use crate::client::{Client, get, raw};
use crate::echo::Echo;
use crate::secure::key_pair;

const LINE: &[u8] = b"PROXY TCP4 198.51.100.7 192.0.2.1 56324 443\r\n";

/// Version 2, for the same client.
fn binary() -> Vec<u8> {
    let addresses = [198, 51, 100, 7, 192, 0, 2, 1, 0xdc, 4, 1, 0xbb];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

fn from(range: &str, echo: &Echo, keys: &KeyPairs) -> Proxy {
    let balancer = with_certificates(
        all_to(backend("one", &[echo.address])),
        &[("web", &["a.example.com"])],
    );
    let config = ServerConfig {
        proxy_protocol: vec![range.parse().unwrap()],
        ..ServerConfig::default()
    };
    serve_as(&balancer, keys, config)
}

#[tokio::test]
async fn a_listed_peer_says_who_the_client_is_before_all_else() {
    let echo = Echo::http1("one").await;
    let ((secret, pem), certificate) = key_pair("web", &["a.example.com"]);
    let proxy = from("127.0.0.0/8", &echo, &KeyPairs::from([(secret, pem)]));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let its_own = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".to_vec();
    for (head, want) in [
        (LINE.to_vec(), "198.51.100.7"),
        (binary(), "198.51.100.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (its_own, "127.0.0.1"),
    ] {
        let mut plain = TcpStream::connect(proxy.http).await.unwrap();
        plain.write_all(&head).await.unwrap();
        let mut secure = TcpStream::connect(proxy.https).await.unwrap();
        secure.write_all(&head).await.unwrap();
        let name = "a.example.com".try_into().unwrap();
        let secure = connector.connect(name, secure).await.unwrap();
        let mut http2 = TcpStream::connect(proxy.http).await.unwrap();
        http2.write_all(&head).await.unwrap();
        let clients = [
            Client::http1_over(plain).await,
            Client::http1_over(secure).await,
            Client::http2_over(http2).await,
        ];
        for mut client in clients {
            let request = hyper::Request::get("http://a.example.com/");
            let request = request.header("host", "a.example.com");
            let answer = client
                .send(request.body(Default::default()).unwrap())
                .await
                .unwrap();
            assert_eq!(answer.seen("x-forwarded-for"), [want], "{head:?}");
        }
    }
}

#[tokio::test]
async fn a_listed_peer_that_begins_otherwise_is_closed_without_an_answer() {
    let echo = Echo::http1("one").await;
    let proxy = from("127.0.0.0/8", &echo, &KeyPairs::new());
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for head in [
        &b""[..],
        b"PROXY TCP4 x y 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
    ] {
        let answer = raw(proxy.http, &[head, request].concat()).await;
        assert_eq!(answer, "", "{}", String::from_utf8_lossy(head));
    }
    assert!(
        raw(proxy.http, &[LINE, request].concat())
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn of_anybody_else_a_head_is_no_request() {
    let echo = Echo::http1("one").await;
    let proxy = from("192.0.2.0/24", &echo, &KeyPairs::new());
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = raw(proxy.http, &[LINE, request].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let answer = Client::http1(proxy.http).await.send(get("a", "/")).await.unwrap();
    assert_eq!(answer.seen("x-forwarded-for"), ["127.0.0.1"]);
}
