//! What is asked of clients' certificates in, how TLS asks for them and what backends are told of them out.
//!
//! Names and forms of the fields are an ALB's, but for `ssl-client-verify`, which is ingress-nginx's. Source: ELBv2 user
//! guide, "Mutual authentication with TLS in Application Load Balancer", "HTTP headers and mutual TLS"; nginx,
//! ngx_http_ssl_module, `$ssl_client_verify`.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use portcullis_model::{ClientCertificates, Code, ObjectName, Problem, TrustStore};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::authorities::{self, AuthorityError};
use crate::clients::Wanted;
use crate::tickets::Tickets;
use crate::versions::Versions;

/// What is asked of clients' certificates under some server names.
pub(crate) struct ClientPolicy {
    wanted: ClientCertificates,
    /// The PEM that is verified with.
    authorities: Option<Arc<[u8]>>,
    /// None where nothing is asked: nothing is wanted, or the authorities are not to be had.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Its own, so that a session begun under another policy is not taken up under this one.
    tickets: Arc<Tickets>,
}

impl fmt::Debug for ClientPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientPolicy")
            .field("wanted", &self.wanted)
            .field("asks", &self.verifier.is_some())
            .finish_non_exhaustive()
    }
}

impl ClientPolicy {
    pub(crate) fn verifier(&self) -> Option<&Arc<dyn ClientCertVerifier>> {
        self.verifier.as_ref()
    }

    pub(crate) fn tickets(&self) -> &Arc<Tickets> {
        &self.tickets
    }

    /// What is really asked: nothing where it cannot be.
    pub(crate) fn asked(&self) -> &ClientCertificates {
        match self.verifier {
            Some(_) => &self.wanted,
            None => &ClientCertificates::Off,
        }
    }
}

/// What is wanted as it can be had. One of `previous` goes on where nothing of it has changed, and its sessions with it.
pub(crate) fn policy(
    wanted: &Wanted,
    authorities: &BTreeMap<ObjectName, Arc<[u8]>>,
    previous: &[Arc<ClientPolicy>],
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<ClientPolicy>, Option<Problem>), Error> {
    let certificates = &wanted.certificates;
    let (store, secret) = match certificates {
        ClientCertificates::Verify {
            trust_store: TrustStore::Stored(secret),
            ..
        } => (authorities.get(secret), Some(secret)),
        ClientCertificates::Verify { .. } | ClientCertificates::PassThrough | ClientCertificates::Off => {
            (None, None)
        }
    };
    let same =
        |policy: &&Arc<ClientPolicy>| policy.wanted == *certificates && policy.authorities.as_ref() == store;
    let before = previous.iter().find(same);
    let problem = |code, why: String| {
        let message = format!("{why}: what relies on its authorities answers 503");
        Problem::new(code, wanted.origin.clone(), message)
    };
    let (verifier, problem) = match (certificates, store, secret) {
        (ClientCertificates::Off, ..) => (None, None),
        (ClientCertificates::PassThrough, ..) => {
            let verifier: Arc<dyn ClientCertVerifier> = Arc::new(Unverified(provider.clone()));
            (Some(verifier), None)
        }
        (ClientCertificates::Verify { .. }, None, Some(secret)) => {
            let why = format!("there is no Secret {secret} with ca.crt");
            (None, Some(problem(Code::SecretNotFound, why)))
        }
        // Not asked of the proxy: refused when the table is compiled.
        (ClientCertificates::Verify { .. }, _, None) => (None, None),
        (
            ClientCertificates::Verify {
                ignore_expiry,
                advertise_authorities,
                ..
            },
            Some(pem),
            Some(secret),
        ) => match verifying(pem, *ignore_expiry, *advertise_authorities, provider) {
            Ok(verifier) => (Some(verifier), None),
            Err(error) => {
                let why = format!("Secret {secret}: {error}");
                (None, Some(problem(Code::SecretInvalid, why)))
            }
        },
    };
    if let Some(before) = before {
        return Ok((before.clone(), problem));
    }
    let policy = ClientPolicy {
        wanted: certificates.clone(),
        authorities: store.cloned(),
        verifier,
        tickets: Arc::new(Tickets::new()?),
    };
    Ok((Arc::new(policy), problem))
}

fn verifying(
    pem: &[u8],
    ignore_expiry: bool,
    advertise: bool,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, AuthorityError> {
    let roots = authorities::read(pem)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if !advertise {
        builder = builder.clear_root_hint_subjects();
    }
    let verifier = builder
        .build()
        .map_err(|error| AuthorityError::Unreadable(error.to_string()))?;
    Ok(match ignore_expiry {
        true => Arc::new(Lenient(verifier)),
        false => verifier,
    })
}

/// Takes every certificate, or none; that the client holds its key is checked all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ClientCertVerifier for Unverified {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies, but takes a certificate that has expired as if it were its last second.
#[derive(Debug)]
struct Lenient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Lenient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.0.verify_client_cert(own, others, now);
        let Err(Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) = &verified
        else {
            return verified;
        };
        match not_after(own).and_then(|last| u64::try_from(last).ok()) {
            Some(last) if last < now.as_secs() => {
                let then = UnixTime::since_unix_epoch(Duration::from_secs(last));
                self.0.verify_client_cert(own, others, then)
            }
            _ => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// What a client has shown of itself on a connection.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The server name that it asked for, in the form of `host::normalize`; none where it spoke no TLS.
    pub(crate) name: Option<Box<str>>,
    /// Under which it came at the least: the newest alone where it spoke that, or no TLS.
    pub(crate) versions: Versions,
    /// What was asked of it; none where it spoke no TLS.
    pub(crate) policy: Option<Arc<ClientPolicy>>,
    /// What backends are told of its certificate.
    pub(crate) fields: Box<[(HeaderName, HeaderValue)]>,
}

/// Why a client is turned away after its handshake.
#[derive(Debug, Error)]
pub(crate) enum ShownError {
    #[error("the client's certificate cannot be read")]
    Unreadable,
    #[error("the client's certificate expired after its session began")]
    Expired,
}

impl Shown {
    /// Over a connection without TLS.
    pub(crate) fn nothing() -> Self {
        Self {
            name: None,
            versions: Versions::Newest,
            policy: None,
            fields: Box::default(),
        }
    }

    /// Over TLS. A session that is taken up again is not verified anew: its certificate may have expired since.
    pub(crate) fn over_tls(
        name: String,
        policy: Arc<ClientPolicy>,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Self, ShownError> {
        let fields = match (policy.asked(), chain) {
            (ClientCertificates::Off, _) | (_, []) => Box::default(),
            (ClientCertificates::PassThrough, chain) => {
                let pem = chain.iter().map(pem).collect::<String>();
                [field("x-amzn-mtls-clientcert", &encoded(&pem))].into()
            }
            (ClientCertificates::Verify { ignore_expiry, .. }, [own, ..]) => {
                let (_, parsed) = X509Certificate::from_der(own).map_err(|_| ShownError::Unreadable)?;
                if !ignore_expiry && parsed.validity().not_after.timestamp() < now.as_second() {
                    return Err(ShownError::Expired);
                }
                [
                    field("x-amzn-mtls-clientcert-serial-number", &serial(&parsed)),
                    field("x-amzn-mtls-clientcert-issuer", &distinguished(parsed.issuer())),
                    field("x-amzn-mtls-clientcert-subject", &distinguished(parsed.subject())),
                    field("x-amzn-mtls-clientcert-validity", &validity(&parsed)),
                    field("x-amzn-mtls-clientcert-leaf", &encoded(&pem(own))),
                    field("ssl-client-verify", "SUCCESS"),
                ]
                .into()
            }
        };
        Ok(Self {
            name: Some(name.into()),
            versions: Versions::Newest,
            policy: Some(policy),
            fields,
        })
    }

    /// What was asked of the client.
    pub(crate) fn asked(&self) -> &ClientCertificates {
        let policy = self.policy.as_ref();
        policy.map_or(&ClientCertificates::Off, |policy| policy.asked())
    }
}

/// Every value is made of visible ASCII and spaces alone.
fn field(name: &'static str, value: &str) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""));
    (HeaderName::from_static(name), value)
}

/// Source: RFC 7468, textual encodings (lines of 64 characters).
fn pem(der: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

/// For URLs, with `+=/` left as they are.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'=' | b'/' => {
                out.push(char::from(byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn serial(certificate: &X509Certificate<'_>) -> String {
    let bytes = match certificate.raw_serial() {
        // There only so that the number is not negative.
        [0, rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    hexadecimal(bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

fn validity(certificate: &X509Certificate<'_>) -> String {
    let shown = |seconds: i64| {
        Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
    };
    let validity = certificate.validity();
    format!(
        "NotBefore={};NotAfter={}",
        shown(validity.not_before.timestamp()),
        shown(validity.not_after.timestamp())
    )
}

/// As RFC 2253 writes it: the last first.
fn distinguished(name: &X509Name<'_>) -> String {
    let all: Vec<Vec<String>> = name
        .iter()
        .map(|relative| relative.iter().map(attribute).collect())
        .collect();
    let all: Vec<String> = all.iter().rev().map(|relative| relative.join("+")).collect();
    all.join(",")
}

/// Names of the kinds of attributes. Source: RFC 2253 §2.3; UID: RFC 4519 §2.39.
const KINDS: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type().to_id_string();
    let name = KINDS
        .iter()
        .find(|(number, _)| *number == kind)
        .map(|(_, name)| *name);
    match (name, attribute.as_str()) {
        (Some(name), Ok(text)) => format!("{name}={}", escaped(text)),
        (name, _) => {
            let value = attribute.attr_value();
            let mut bytes = Vec::with_capacity(value.data.len() + 4);
            // Strings have the tags below 31, which are one byte. Source: X.690 §8.1.2.
            bytes.push(u8::try_from(value.header.tag().0 & 0x1f).unwrap_or(0));
            match u8::try_from(value.data.len()) {
                Ok(length @ 0..=127) => bytes.push(length),
                _ => {
                    let length = value.data.len().to_be_bytes();
                    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
                    bytes.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
                    bytes.extend(length);
                }
            }
            bytes.extend(value.data);
            format!("{}=#{}", name.unwrap_or(&kind), hexadecimal(&bytes))
        }
    }
}

/// Source: RFC 2253 §2.4. What is no visible ASCII is written by its bytes, as that section allows.
fn escaped(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' | b'#' if place == 0 => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' if place == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_name_holds_ends_the_field_or_looks_like_another_attribute() {
        for (given, want) in [
            ("shop", "shop"),
            ("a,CN=root", "a\\,CN=root"),
            ("a+b;c<d>\"e\\", "a\\+b\\;c\\<d\\>\\\"e\\\\"),
            (" #a ", "\\ #a\\ "),
            ("#1", "\\#1"),
            ("a\r\nX: 1", "a\\0D\\0AX: 1"),
            ("é", "\\C3\\A9"),
            (" ", "\\ "),
            ("", ""),
        ] {
            assert_eq!(escaped(given), want, "{given:?}");
        }
        assert_eq!(encoded("a b+c=d/e\n"), "a%20b+c=d/e%0A");
    }
}
