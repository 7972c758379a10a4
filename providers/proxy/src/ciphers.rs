//! What rustls can do in, the cryptography that is spoken and in which order out.
//!
//! Suites of AES-128 go first, as in the policies of an ALB: their SHA-256 is an instruction of most processors, where the SHA-384 of
//! AES-256 takes more than a third of a handshake. Source: ELBv2 user guide, "Security policies", `ELBSecurityPolicy-TLS13-1-2-…`.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite as Suite, ServerConfig};

const AES_128: [Suite; 3] = [
    Suite::TLS13_AES_128_GCM_SHA256,
    Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];
const CHACHA20: [Suite; 3] = [
    Suite::TLS13_CHACHA20_POLY1305_SHA256,
    Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// With the suites in our order, for clients and for targets.
pub(crate) fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let suites = &mut provider.cipher_suites;
    // The sort is stable: the others keep the order of rustls, AES-256 before ChaCha20.
    suites.sort_by_key(|suite| !AES_128.contains(&suite.suite()));
    provider
}

/// The same for a client that offers these suites, in its order. Who puts ChaCha20 first has no AES in its processor, and gets its own
/// way: for it our order would be the slow one.
pub(crate) fn as_offered(config: &Arc<ServerConfig>, offered: &[Suite]) -> Arc<ServerConfig> {
    // Some begin with a value that stands for nothing. Source: RFC 8701.
    let known = |suite: &&Suite| !matches!(suite, Suite::Unknown(_));
    let first = offered.iter().find(known);
    if !first.is_some_and(|suite| CHACHA20.contains(suite)) {
        return config.clone();
    }
    let mut own = (**config).clone();
    own.ignore_client_order = false;
    Arc::new(own)
}
