//! A certificate chain and its private key in, what a provider that takes certificates in needs of them out.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::host::HostMatch;
use crate::problem::Code;
use crate::sealed::Sealed;

/// What kind of key a certificate is for; providers tell them apart where one certificate takes another's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum KeyAlgorithm {
    /// By the bits of its modulus.
    Rsa(u32),
    EcP256,
    EcP384,
    EcP521,
    /// By what the certificate calls it.
    Other(String),
}

impl KeyAlgorithm {
    /// Whether clients take both or neither: a host may have one certificate of each type of key.
    pub fn is_of_type(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rsa(_), Self::Rsa(_))
            | (Self::EcP256 | Self::EcP384 | Self::EcP521, Self::EcP256 | Self::EcP384 | Self::EcP521) => {
                true
            }
            (Self::Other(this), Self::Other(other)) => this == other,
            (Self::Rsa(_) | Self::EcP256 | Self::EcP384 | Self::EcP521 | Self::Other(_), _) => false,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::EcP256 => f.write_str("ECDSA P-256"),
            Self::EcP384 => f.write_str("ECDSA P-384"),
            Self::EcP521 => f.write_str("ECDSA P-521"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// A certificate, those that lead from it to an authority, and its key, which belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// Which object it lies in: another object of the same name is another one.
    pub uid: Arc<str>,
    /// The certificate alone, as PEM.
    pub certificate: Arc<str>,
    /// Those after it, as PEM; empty where there are none.
    pub chain: Arc<str>,
    /// PEM.
    pub key: Sealed<str>,
    pub algorithm: KeyAlgorithm,
    /// The certificate's own names of hosts, in lower case.
    pub names: Vec<HostMatch>,
    /// In seconds since 1970.
    pub not_before: i64,
    /// In seconds since 1970.
    pub not_after: i64,
    /// SHA-256 of the certificate, in hexadecimal digits: what browsers show, too.
    pub fingerprint: Arc<str>,
    /// A digest of certificate and chain: it differs where they do. A key never differs alone.
    pub version: Arc<str>,
}

/// What was found where a certificate is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    Pair(Arc<KeyPair>),
    /// It cannot be had, and why.
    Unusable(Code, String),
}
