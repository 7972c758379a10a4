//! Certificates and versions in, settings of TLS towards clients and towards backends out.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};

use crate::certificate::Certificates;
use crate::mutual::ClientPolicy;
use crate::versions::Versions;

/// What is offered to whom the proxy connects to.
const TO_TARGETS: Versions = Versions::All;

/// The names of HTTP/2 and HTTP/1.1 in ALPN. Source: RFC 7301 §6, RFC 9113 §3.1.
pub(crate) const ALPN_H2: &[u8] = b"h2";
const ALPN_H1: &[u8] = b"http/1.1";
/// Source: RFC 9114 §3.1.
#[cfg(feature = "http3")]
const ALPN_H3: &[u8] = b"h3";

/// How connections from clients are encrypted.
pub(crate) fn server(
    certificates: Arc<Certificates>,
    versions: Versions,
    provider: &Arc<CryptoProvider>,
    policy: &ClientPolicy,
) -> Result<ServerConfig, rustls::Error> {
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions.supported())?;
    let builder = match policy.verifier() {
        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_H1.to_vec()];
    // Tickets of one policy are worth nothing under another.
    config.ticketer = policy.tickets().clone();
    // See `ciphers`.
    config.ignore_client_order = true;
    Ok(config)
}

/// The same over QUIC, which has TLS 1.3 alone. Nothing is taken before the handshake is over: whoever has seen such a
/// request could send it again.
#[cfg(feature = "http3")]
pub(crate) fn over_quic(config: &ServerConfig) -> ServerConfig {
    let mut config = config.clone();
    config.alpn_protocols = vec![ALPN_H3.to_vec()];
    config.max_early_data_size = 0;
    config
}

/// How connections to targets are encrypted whose certificates are not verified.
pub(crate) fn client(provider: &Arc<CryptoProvider>, http2: bool) -> Result<ClientConfig, rustls::Error> {
    let verifier = Unverified(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(TO_TARGETS.supported())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn(http2).to_vec()];
    Ok(config)
}

fn alpn(http2: bool) -> &'static [u8] {
    if http2 { ALPN_H2 } else { ALPN_H1 }
}

/// The same where they are. A session that is taken up again would show no certificate, and one that has expired since
/// would go unnoticed: there are none.
pub(crate) fn verifying(
    provider: &Arc<CryptoProvider>,
    roots: RootCertStore,
    http2: bool,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(TO_TARGETS.supported())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn(http2).to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// How connections to whoever is no target are encrypted: certificates are verified. None without a usable authority.
pub(crate) fn verified(
    provider: &Arc<CryptoProvider>,
    authorities: Vec<CertificateDer<'static>>,
) -> Option<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    if roots.is_empty() {
        return None;
    }
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(TO_TARGETS.supported());
    let mut config = builder.ok()?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![ALPN_H1.to_vec()];
    Some(config)
}

/// Accepts every certificate; that the target holds its key is checked all the same.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
