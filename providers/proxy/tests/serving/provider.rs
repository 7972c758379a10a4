//! Answers by path in, an identity provider that gives them over TLS out; and keys that sign tokens as tests want them.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RsaEncoding, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use portcullis_proxy::{Outbound, ServerConfig};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use crate::echo::Echo;

/// What was asked: method and path with query, fields, body.
pub(crate) type Asked = (String, http::HeaderMap, String);
type Answers = HashMap<String, (u16, String)>;

/// An identity provider that says what it is told to.
pub(crate) struct Provider {
    server: Echo,
    certificate: CertificateDer<'static>,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (answers, asked) = (
            Arc::<Mutex<Answers>>::default(),
            Arc::<Mutex<Vec<Asked>>>::default(),
        );
        let (shared, told) = (answers.clone(), asked.clone());
        let server = Echo::running(move |stream| {
            let (acceptor, shared, told) = (acceptor.clone(), shared.clone(), told.clone());
            Box::pin(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(move |request| answer(request, shared.clone(), told.clone()));
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            })
        })
        .await;
        Self {
            server,
            certificate,
            answers,
            asked,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address().port())
    }

    /// What it answers from now on at a path; what it is not told is 404.
    pub(crate) fn say(&self, path: &str, status: u16, body: &impl ToString) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(path.to_owned(), (status, body.to_string()));
    }

    /// Who asks at a path from now on waits.
    pub(crate) fn hang(&self, path: &str) {
        self.say(path, 0, &"");
    }

    /// All that it was asked until now.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// A proxy's settings to reach it.
    pub(crate) fn reachable(&self) -> ServerConfig {
        ServerConfig {
            outbound: Outbound {
                allowed: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
                authorities: vec![self.certificate.clone()],
                pause: std::time::Duration::ZERO,
                ..Outbound::default()
            },
            ..ServerConfig::default()
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let line = format!("{} {}", parts.method, parts.uri);
    asked
        .lock()
        .unwrap()
        .push((line, parts.headers, String::from_utf8_lossy(&body).into_owned()));
    let said = answers.lock().unwrap().get(parts.uri.path()).cloned();
    let (status, body) = said.unwrap_or((404, String::new()));
    if status == 0 {
        return std::future::pending().await;
    }
    let mut response = Response::builder().status(status);
    if status == 302 {
        response = response.header("location", body.clone());
    }
    Ok(response.body(Full::from(body)).unwrap())
}

/// A key of a provider.
pub(crate) struct Signer {
    pub(crate) id: &'static str,
    pair: RsaKeyPair,
}

impl Signer {
    pub(crate) fn new(id: &'static str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        Self { id, pair }
    }

    /// As it stands in a key set.
    pub(crate) fn public(&self) -> Value {
        let key = self.pair.public_key();
        let (n, e) = components(key.as_der().unwrap().as_ref());
        json!({"kty": "RSA", "use": "sig", "kid": self.id, "n": n, "e": e})
    }

    /// A token as providers make it.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": "RS256", "typ": "JWT", "kid": self.id}), claims)
    }

    /// A token that says of itself what it likes.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let encoding: &'static dyn RsaEncoding = match header["alg"].as_str() {
            Some("RS384") => &RSA_PKCS1_SHA384,
            _ => &RSA_PKCS1_SHA256,
        };
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(encoding, &random, message.as_bytes(), &mut signature)
            .unwrap();
        format!("{message}.{}", encode(signature))
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Modulus and exponent of 65537 out of a `SubjectPublicKeyInfo` of 2048 bits: its last bytes.
fn components(der: &[u8]) -> (String, String) {
    let (rest, exponent) = der.split_at(der.len() - 3);
    let modulus = &rest[rest.len() - 2 - 256..rest.len() - 2];
    (encode(modulus), encode(exponent))
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "tokens hold the time of day")]
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs().try_into().unwrap()
}
