//! Clients that come back with tickets of TLS sessions in, which of them begin anew out.

use std::sync::Arc;
use std::time::Duration;

use portcullis_proxy::Settings;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::balancer::{KeyPairs, Proxy, empty, serve_with, with_certificates};
use crate::client::soon;
use crate::secure::key_pair;

const HOST: &str = "a.example.com";

/// Asks once on a connection of its own, and says how its session began.
async fn session(proxy: &Proxy, client: &Arc<ClientConfig>) -> HandshakeKind {
    let stream = TcpStream::connect(proxy.https).await.unwrap();
    let name = HOST.try_into().unwrap();
    let connecting = TlsConnector::from(client.clone()).connect(name, stream);
    let mut stream = soon("a handshake", connecting).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    // Tickets come beside the answer.
    let reading = stream.read_to_end(&mut Vec::new()).await;
    reading.unwrap();
    stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn a_ticket_is_taken_until_the_keys_are_made_anew_twice() {
    let (secret, certificate) = key_pair("web", &[HOST]);
    let balancer = with_certificates(empty(), &[("web", &[HOST])]);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let versions: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
    for version in versions {
        // Two workers: the keys are the same ones.
        let proxy = serve_with(
            &balancer,
            &KeyPairs::from([secret.clone()]),
            Settings::default(),
            2,
        );
        let client = || {
            let builder = ClientConfig::builder_with_protocol_versions(version);
            Arc::new(
                builder
                    .with_root_certificates(roots.clone())
                    .with_no_client_auth(),
            )
        };
        let [at_once, once, twice, later] = std::array::from_fn(|_| client());
        for begins in [&at_once, &once, &twice] {
            assert_eq!(session(&proxy, begins).await, HandshakeKind::Full, "{version:?}");
        }
        assert_eq!(
            session(&proxy, &at_once).await,
            HandshakeKind::Resumed,
            "{version:?}, before"
        );
        proxy.handle.renew_tickets().unwrap();
        assert_eq!(session(&proxy, &later).await, HandshakeKind::Full, "{version:?}");
        assert_eq!(
            session(&proxy, &once).await,
            HandshakeKind::Resumed,
            "{version:?}, once"
        );
        proxy.handle.renew_tickets().unwrap();
        for (whose, came, want) in [
            ("of before both", &twice, HandshakeKind::Full),
            ("of between them", &later, HandshakeKind::Resumed),
            ("given when one was taken", &once, HandshakeKind::Resumed),
        ] {
            assert_eq!(session(&proxy, came).await, want, "{version:?}, {whose}");
        }
    }
}

#[tokio::test]
async fn a_running_proxy_makes_the_keys_anew_by_itself() {
    let (secret, certificate) = key_pair("web", &[HOST]);
    let balancer = with_certificates(empty(), &[("web", &[HOST])]);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut settings = Settings::default();
    settings.timeouts.ticket_key = Duration::from_millis(1);
    let proxy = serve_with(&balancer, &KeyPairs::from([secret]), settings, 2);
    // Between the two, keys are made anew twice, mostly. With the same ones all along each would be resumed.
    for _ in 0..200 {
        let builder = ClientConfig::builder().with_root_certificates(roots.clone());
        let client = Arc::new(builder.with_no_client_auth());
        assert_eq!(session(&proxy, &client).await, HandshakeKind::Full);
        if session(&proxy, &client).await == HandshakeKind::Full {
            return;
        }
    }
    panic!("every session is resumed");
}
