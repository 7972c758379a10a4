//! `ImportCertificate` and what it left: a certificate and its key in, what plans show of them out, which is no key.

use std::sync::Arc;

use jiff::Timestamp;
use portcullis_model::{HostMatch, KeyAlgorithm, KeyPair, ObjectName};
use serde::{Serialize, Serializer};

use super::{Applied, Pairs};

/// A certificate as it is to be in ACM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CertificateSpec {
    /// Where it lies.
    #[serde(serialize_with = "as_text")]
    pub secret: ObjectName,
    #[serde(flatten)]
    pub shown: Shown,
    /// Neither shown nor compared as a whole.
    #[serde(skip)]
    pub pair: Arc<KeyPair>,
    pub tags: Pairs,
}

fn as_text<S: Serializer>(name: &ObjectName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

/// What people want to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Shown {
    #[serde(serialize_with = "as_texts")]
    pub domain_names: Vec<HostMatch>,
    #[serde(serialize_with = "as_time")]
    pub not_after: i64,
    /// SHA-256 of the certificate, as browsers show it.
    pub fingerprint: Arc<str>,
    pub key_algorithm: String,
}

fn as_texts<S: Serializer>(names: &[HostMatch], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(HostMatch::to_string))
}

fn as_time<S: Serializer>(seconds: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time(*seconds))
}

/// A time as people read it, such as `2026-11-26T00:00:00Z`.
pub(crate) fn time(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds);
    time.map_or_else(|_| format!("{seconds} s"), |time| time.to_string())
}

/// ACM's word for a kind of key; none for what it does not take. Source: ACM API, KeyAlgorithm; which of them may be
/// imported: ACM User Guide, "Prerequisites for importing certificates"; an Application Load Balancer takes all of those
/// (the same).
pub(crate) fn key_algorithm(algorithm: &KeyAlgorithm) -> Option<&'static str> {
    match algorithm {
        KeyAlgorithm::Rsa(1024) => Some("RSA_1024"),
        KeyAlgorithm::Rsa(2048) => Some("RSA_2048"),
        KeyAlgorithm::Rsa(3072) => Some("RSA_3072"),
        KeyAlgorithm::Rsa(4096) => Some("RSA_4096"),
        KeyAlgorithm::EcP256 => Some("EC_prime256v1"),
        KeyAlgorithm::EcP384 => Some("EC_secp384r1"),
        KeyAlgorithm::EcP521 => Some("EC_secp521r1"),
        KeyAlgorithm::Rsa(_) | KeyAlgorithm::Other(_) => None,
    }
}

/// What ACM says of a certificate that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// ACM's word for it.
    pub key_algorithm: String,
    /// In seconds since 1970.
    pub not_before: i64,
    /// In seconds since 1970.
    pub not_after: i64,
    /// Digest of what this process sent, which ACM does not show.
    pub sent: Option<Arc<str>>,
}

impl CertificateSpec {
    /// As ACM shows it once it was sent.
    pub(crate) fn sent(&self) -> Imported {
        Imported {
            key_algorithm: self.shown.key_algorithm.clone(),
            not_before: self.pair.not_before,
            not_after: self.pair.not_after,
            sent: Some(self.pair.version.clone()),
        }
    }

    /// Whether this is what was imported. A renewed certificate has other times; what differs in its chain alone is
    /// known by what was last applied.
    pub(crate) fn is(&self, imported: &Imported, applied: &Applied) -> bool {
        let last = imported.sent.as_ref().or(applied.get(&self.secret));
        imported.key_algorithm == self.shown.key_algorithm
            && (imported.not_before, imported.not_after) == (self.pair.not_before, self.pair.not_after)
            && last.is_none_or(|last| *last == self.pair.version)
    }
}
