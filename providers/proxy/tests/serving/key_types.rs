//! Secrets with keys of several types for one host and clients that take some of them in, which certificate is shown out.

use std::sync::Arc;

use portcullis_model::{CertificateSource, Code, ObjectName, Port, Protocol, Tls};
use portcullis_proxy::{KeyPairPem, ServedPorts, ServingState, Settings};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::balancer::{KeyPairs, empty, serve_with, with_certificates};

const EC: &[SignatureScheme] = &[
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
];
const RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];
/// As browsers have it, in an order that says nothing of what they would rather have.
const BOTH: &[SignatureScheme] = &[
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
];
const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// A Secret of the namespace `shop`, and its certificate.
struct Issued {
    secret: ObjectName,
    pem: KeyPairPem,
    certificate: CertificateDer<'static>,
}

fn issue(name: &str, kind: &'static rcgen::SignatureAlgorithm, host: &str) -> Issued {
    let key = KeyPair::generate_for(kind).unwrap();
    let made = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let made = made.self_signed(&key).unwrap();
    Issued {
        secret: ObjectName::new("shop", name),
        pem: KeyPairPem::new(made.pem().as_bytes(), key.serialize_pem().as_bytes()),
        certificate: made.der().clone(),
    }
}

fn keys(issued: &[&Issued]) -> KeyPairs {
    let pairs = issued.iter();
    pairs.map(|one| (one.secret.clone(), one.pem.clone())).collect()
}

/// Takes every certificate whose key signs by one of these.
#[derive(Debug)]
struct Takes(&'static [SignatureScheme]);

impl ServerCertVerifier for Takes {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &all)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let all = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &all)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.to_vec()
    }
}

/// The certificate that such a client is shown.
async fn shown(
    to: std::net::SocketAddr,
    name: &str,
    schemes: &'static [SignatureScheme],
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<CertificateDer<'static>> {
    let config = rustls::ClientConfig::builder_with_protocol_versions(&[version])
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Takes(schemes)))
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(to).await.unwrap();
    let stream = connector
        .connect(name.to_owned().try_into().unwrap(), stream)
        .await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone())
}

#[tokio::test]
async fn the_client_s_signatures_choose_among_a_host_s_certificates() {
    for (host, asked) in [
        ("a.example.com", "a.example.com"),
        ("*.example.com", "b.example.com"),
    ] {
        let (rsa, ec) = (
            issue("rsa", &PKCS_RSA_SHA256, host),
            issue("ec", &PKCS_ECDSA_P256_SHA256, host),
        );
        let hosts: &[&str] = &[host];
        for order in [["rsa", "ec"], ["ec", "rsa"]] {
            let balancer = with_certificates(empty(), &order.map(|name| (name, hosts)));
            let proxy = serve_with(&balancer, &keys(&[&rsa, &ec]), Settings::default(), 1);
            assert_eq!(proxy.problems, []);
            for version in VERSIONS {
                // An unknown name is shown what the first certificate's host is.
                for name in [asked, "unknown.org"] {
                    for (schemes, want) in [(RSA, &rsa), (EC, &ec), (BOTH, &ec)] {
                        let got = shown(proxy.https, name, schemes, version).await.unwrap();
                        assert_eq!(got, want.certificate, "{name} {order:?} {version:?} {schemes:?}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn of_one_type_a_host_has_one_certificate() {
    let host = "a.example.com";
    let issued = [
        issue("first", &PKCS_ECDSA_P256_SHA256, host),
        issue("rsa", &PKCS_RSA_SHA256, host),
        issue("second", &PKCS_ECDSA_P384_SHA384, host),
    ];
    let hosts: &[&str] = &[host];
    let balancer = with_certificates(empty(), &["first", "rsa", "second"].map(|name| (name, hosts)));
    let proxy = serve_with(&balancer, &keys(&issued.each_ref()), Settings::default(), 1);
    let told: Vec<Code> = proxy.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(told, [Code::CertificateConflict]);
    let got = shown(proxy.https, host, BOTH, &version::TLS13).await.unwrap();
    assert_eq!(got, issued[0].certificate);
    let got = shown(proxy.https, host, RSA, &version::TLS13).await.unwrap();
    assert_eq!(got, issued[1].certificate);
}

#[tokio::test]
async fn of_a_namespace_s_secrets_each_type_is_discovered() {
    let host = "a.example.com";
    let issued = [
        issue("a-rsa", &PKCS_RSA_SHA256, host),
        issue("b-rsa", &PKCS_RSA_SHA256, host),
        issue("c-ec", &PKCS_ECDSA_P256_SHA256, host),
    ];
    let mut balancer = with_certificates(empty(), &[("-", &[host])]);
    let listener = balancer.listeners.get_mut(&Port::HTTPS).unwrap();
    let Protocol::Https(Tls { certificates, .. }) = &mut listener.protocol else {
        unreachable!()
    };
    certificates[0].source = CertificateSource::Discovered;
    let proxy = serve_with(&balancer, &keys(&issued.each_ref()), Settings::default(), 1);
    assert_eq!(proxy.problems, []);
    for (schemes, want) in [(RSA, 0), (BOTH, 2)] {
        let got = shown(proxy.https, host, schemes, &version::TLS13).await.unwrap();
        assert_eq!(got, issued[want].certificate, "{schemes:?}");
    }
}

#[tokio::test]
async fn a_type_that_comes_and_goes_is_served_from_the_next_handshake_on() {
    let host = "a.example.com";
    let rsa = issue("rsa", &PKCS_RSA_SHA256, host);
    let ec = issue("ec", &PKCS_ECDSA_P256_SHA256, host);
    let renewed = issue("ec", &PKCS_ECDSA_P256_SHA256, host);
    let hosts: &[&str] = &[host];
    let alone = with_certificates(empty(), &[("rsa", hosts)]);
    let both = with_certificates(empty(), &[("rsa", hosts), ("ec", hosts)]);
    let proxy = serve_with(&alone, &keys(&[&rsa]), Settings::default(), 1);
    for (balancer, issued, for_ec, for_both) in [
        (&alone, vec![&rsa], None, &rsa),
        (&both, vec![&rsa, &ec], Some(&ec), &ec),
        (&both, vec![&rsa, &renewed], Some(&renewed), &renewed),
        (&alone, vec![&rsa], None, &rsa),
    ] {
        let state = proxy.handle.state();
        let next = ServingState::build(
            balancer.clone(),
            &keys(&issued),
            Some(&state),
            ServedPorts::default(),
        );
        proxy.handle.swap(next.unwrap().0);
        for (schemes, want) in [(EC, for_ec), (RSA, Some(&rsa)), (BOTH, Some(for_both))] {
            let got = shown(proxy.https, host, schemes, &version::TLS13).await.ok();
            assert_eq!(got, want.map(|one| one.certificate.clone()), "{schemes:?}");
        }
    }
}
