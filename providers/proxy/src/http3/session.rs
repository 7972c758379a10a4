//! A client's first message in, a TLS session under the configuration of this moment and of the name it asks for out.
//!
//! What is asked of clients' certificates depends on the server name, and quinn wants to know the configuration before it
//! has read it. So a session gathers the message first. Certificates are those that are served when it has come.

use std::any::Any;
use std::sync::Arc;

use arc_swap::ArcSwap;
use portcullis_model::host;
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::crypto::{
    self, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session, UnsupportedVersion,
};
use quinn::{ConnectionId, Side, TransportErrorCode};
use quinn_proto::TransportError;
use quinn_proto::transport_parameters::TransportParameters;
use rustls::crypto::CryptoProvider;
use rustls::server::{Acceptor, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::mutual::ClientPolicy;
use crate::serving::ServingState;

/// Bytes of a client's first message. Those of browsers have some 2,000.
const LONGEST_HELLO: usize = 16 * 1024;
/// Alerts of TLS. Source: RFC 8446 §6.
const HANDSHAKE_FAILURE: u8 = 40;
const DECODE_ERROR: u8 = 50;
/// Source: RFC 6066 §3.
const UNRECOGNIZED_NAME: u8 = 112;

/// What a client was asked, and by which name it asked for us.
#[derive(Debug)]
pub(super) struct Greeted {
    /// As `host::normalize` writes it.
    pub(super) name: String,
    pub(super) policy: Arc<ClientPolicy>,
}

/// Begins sessions, each under what is served then.
pub(super) struct Sessions {
    live: Arc<ArcSwap<ServingState>>,
    /// For what comes before any certificate: the keys of first packets, which are nobody's secret.
    first: Arc<QuicServerConfig>,
}

/// Why no session can begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSessions {
    #[error("TLS 1.3 cannot be had: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the cipher suite of first packets cannot be had")]
    Suite(#[from] NoInitialCipherSuite),
}

impl Sessions {
    pub(super) fn new(
        live: Arc<ArcSwap<ServingState>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, NoSessions> {
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Nothing));
        let first = Arc::new(QuicServerConfig::try_from(config)?);
        Ok(Self { live, first })
    }
}

/// Has no certificate.
#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

impl crypto::ServerConfig for Sessions {
    fn initial_keys(&self, version: u32, id: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.first.initial_keys(version, id)
    }

    fn retry_tag(&self, version: u32, id: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.first.retry_tag(version, id, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, parameters: &TransportParameters) -> Box<dyn Session> {
        Box::new(Greeting {
            version,
            parameters: *parameters,
            hello: Vec::new(),
            begun: None,
            sessions: self,
        })
    }
}

/// A session that begins when it is known by which name.
struct Greeting {
    sessions: Arc<Sessions>,
    version: u32,
    parameters: TransportParameters,
    /// What has come of the client's first message.
    hello: Vec<u8>,
    begun: Option<(Box<dyn Session>, Arc<ClientPolicy>)>,
}

impl Greeting {
    fn session(&self) -> Option<&dyn Session> {
        self.begun.as_ref().map(|(session, _)| &**session)
    }

    fn begin(&mut self, name: &str) -> Result<&mut Box<dyn Session>, TransportError> {
        let refused = |code: u8, reason: &str| TransportError {
            code: TransportErrorCode::crypto(code),
            frame: None,
            reason: reason.to_owned(),
        };
        let state = self.sessions.live.load();
        let number = state.table().clients.of(None, &host::normalize(name));
        let served = state.quic(number);
        let (config, policy) =
            served.ok_or_else(|| refused(HANDSHAKE_FAILURE, "no certificate is served"))?;
        if !state.certificates().has(name) {
            return Err(refused(
                UNRECOGNIZED_NAME,
                "no certificate is for the server name",
            ));
        }
        let config = QuicServerConfig::try_from(config.clone());
        let config = config.map_err(|error| refused(HANDSHAKE_FAILURE, &error.to_string()))?;
        let session = crypto::ServerConfig::start_session(Arc::new(config), self.version, &self.parameters);
        Ok(&mut self.begun.insert((session, policy.clone())).0)
    }
}

/// Whom a client asks for in its first message; none where not all of it has come.
fn asked(hello: &[u8]) -> Result<Option<String>, TransportError> {
    let bad = |reason: String| TransportError {
        code: TransportErrorCode::crypto(DECODE_ERROR),
        frame: None,
        reason,
    };
    // A byte of its type, three of its length. Source: RFC 8446 §4.
    let Some((&[_, a, b, c], _)) = hello.split_first_chunk() else {
        return Ok(None);
    };
    let length = 4 + u32::from_be_bytes([0, a, b, c]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > LONGEST_HELLO {
        return Err(bad("the client's first message is too long".to_owned()));
    }
    let Some(message) = hello.get(..length) else {
        return Ok(None);
    };
    // QUIC carries it without the records that rustls reads it from. Source: RFC 9001 §4.1.3.
    let Ok(size) = u16::try_from(length) else {
        return Ok(None);
    };
    let [high, low] = size.to_be_bytes();
    let record = [&[22, 3, 1, high, low], message].concat();
    let mut acceptor = Acceptor::default();
    let mut rest = &record[..];
    while !rest.is_empty() {
        let read = acceptor.read_tls(&mut rest);
        if read.map_err(|error| bad(error.to_string()))? == 0 {
            break;
        }
    }
    match acceptor.accept() {
        Ok(Some(accepted)) => {
            let name = accepted
                .client_hello()
                .server_name()
                .unwrap_or_default()
                .to_owned();
            Ok(Some(name))
        }
        Ok(None) => Err(bad("the client's first message is no ClientHello".to_owned())),
        Err((error, _)) => Err(bad(error.to_string())),
    }
}

impl Session for Greeting {
    fn initial_keys(&self, id: &ConnectionId, side: Side) -> Keys {
        match self.session() {
            Some(session) => session.initial_keys(id, side),
            None => {
                let first = self.sessions.first.clone();
                crypto::ServerConfig::start_session(first, self.version, &self.parameters)
                    .initial_keys(id, side)
            }
        }
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let (session, policy) = self.begun.as_ref()?;
        let data = session.handshake_data()?;
        let data = data.downcast::<crypto::rustls::HandshakeData>().ok()?;
        Some(Box::new(Greeted {
            name: host::normalize(data.server_name.as_deref().unwrap_or_default()),
            policy: policy.clone(),
        }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.session()?.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.session()?.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.session()?.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.session().is_none_or(Session::is_handshaking)
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        if let Some((session, _)) = &mut self.begun {
            return session.read_handshake(bytes);
        }
        self.hello.extend_from_slice(bytes);
        let Some(name) = asked(&self.hello)? else {
            return Ok(false);
        };
        let hello = std::mem::take(&mut self.hello);
        self.begin(&name)?.read_handshake(&hello)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.session().map_or(Ok(None), Session::transport_parameters)
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        let (session, _) = self.begun.as_mut()?;
        session.write_handshake(out)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let (session, _) = self.begun.as_mut()?;
        session.next_1rtt_keys()
    }

    /// Only clients are sent such packets.
    fn is_valid_retry(&self, _: &ConnectionId, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let session = self.session().ok_or(ExportKeyingMaterialError)?;
        session.export_keying_material(out, label, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_message_that_is_none_is_refused() {
        for (what, bytes, want) in [
            ("nothing", &b""[..], true),
            ("half its head", b"\x01\0\0", true),
            ("half of it", b"\x01\0\0\x08abc", true),
            ("another message", b"\x02\0\0\x01a", false),
            ("no message", b"\x01\0\0\x04abcd", false),
            ("too much of it", b"\x01\x01\0\0", false),
        ] {
            assert_eq!(asked(bytes).is_ok(), want, "{what}");
        }
    }
}
