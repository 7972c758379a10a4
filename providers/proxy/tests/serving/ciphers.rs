//! What a client offers, in its order, in, the suite that is spoken out.

use std::sync::Arc;

use portcullis_proxy::Settings;
use rustls::CipherSuite::{self, *};
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::balancer::{KeyPairs, empty, serve_with, with_certificates};
use crate::secure::key_pair;

const HOST: &str = "a.example.com";

#[tokio::test]
async fn aes_128_goes_first_but_with_clients_that_put_chacha20_first() {
    let (secret, certificate) = key_pair("web", &[HOST]);
    let proxy = serve_with(
        &with_certificates(empty(), &[("web", &[HOST])]),
        &KeyPairs::from([secret]),
        Settings::default(),
        1,
    );
    let (aes_128, aes_256) = (TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384);
    let chacha = TLS13_CHACHA20_POLY1305_SHA256;
    let of_tls12 = [
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    let rows: &[(&[CipherSuite], CipherSuite)] = &[
        (&[aes_128, aes_256, chacha], aes_128),
        (&[aes_256, chacha, aes_128], aes_128),
        (&[chacha, aes_128, aes_256], chacha),
        (&[aes_256, chacha], aes_256),
        (&[aes_256], aes_256),
        (&[of_tls12[1], of_tls12[2], of_tls12[0]], of_tls12[0]),
        (&[of_tls12[2], of_tls12[1], of_tls12[0]], of_tls12[2]),
        (&[of_tls12[1]], of_tls12[1]),
    ];
    for (offered, spoken) in rows {
        let mut provider = aws_lc_rs::default_provider();
        let all = std::mem::take(&mut provider.cipher_suites);
        let known = |suite: &CipherSuite| all.iter().find(|known| known.suite() == *suite).copied();
        provider.cipher_suites = offered.iter().filter_map(known).collect();
        assert_eq!(
            suite(provider, &certificate, proxy.https).await,
            *spoken,
            "{offered:?}"
        );
    }
}

async fn suite(
    provider: CryptoProvider,
    trusted: &rustls::pki_types::CertificateDer<'static>,
    to: std::net::SocketAddr,
) -> CipherSuite {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(to).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(HOST.try_into().unwrap(), stream).await.unwrap();
    stream.get_ref().1.negotiated_cipher_suite().unwrap().suite()
}
