//! Where a load balancer listens: port, protocol and certificates in, a listener out.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::action::Action;
use crate::auth::Authenticate;
use crate::host::HostMatch;
use crate::name::{ObjectName, Port};
use crate::origin::Origin;
use crate::text::serialize_as_display;

/// Where a certificate is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum CertificateSource {
    /// The provider's own name for it, such as an ARN.
    Given(String),
    /// A Secret. A provider that keeps its own certificates takes in what lies there, else finds one by host.
    Stored(ObjectName),
    /// By host, among the certificates the provider keeps.
    Discovered,
}

/// A certificate and the hosts it is wanted for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Certificate {
    pub source: CertificateSource,
    /// Empty where the certificate itself says for which.
    pub hosts: BTreeSet<HostMatch>,
    pub origin: Origin,
}

/// Where the authorities are found that clients' certificates are verified with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustStore {
    /// The provider's own name for them.
    Given(String),
    /// A Secret that holds them under `ca.crt`.
    Stored(ObjectName),
}

impl fmt::Display for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(name) => f.write_str(name),
            Self::Stored(secret) => write!(f, "secret/{secret}"),
        }
    }
}

serialize_as_display!(TrustStore);

/// What is asked of clients' own certificates. In the order of what is asked: each asks for more than those before.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ClientCertificates {
    #[default]
    Off,
    /// Asked for and passed on unverified.
    PassThrough,
    Verify {
        trust_store: TrustStore,
        ignore_expiry: bool,
        advertise_authorities: bool,
    },
}

impl ClientCertificates {
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }

    /// Whether whoever passes this would pass `wanted` as well.
    pub fn suffices_for(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (_, Self::Off) => true,
            (Self::PassThrough | Self::Verify { .. }, Self::PassThrough) => true,
            (Self::Off, Self::PassThrough) => false,
            (has, wanted @ Self::Verify { .. }) => has == wanted,
        }
    }
}

impl fmt::Display for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::PassThrough => f.write_str("passed through"),
            Self::Verify { trust_store, .. } => write!(f, "verified by {trust_store}"),
        }
    }
}

/// What is asked of clients' certificates, and for whose sake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Clients {
    pub certificates: ClientCertificates,
    /// Members that rely on it: what is theirs answers 503 where it cannot be had.
    pub relied_on_by: BTreeSet<ObjectName>,
    pub origin: Origin,
}

/// A provider's name of versions and ciphers of TLS, and who asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TlsPolicy {
    pub name: String,
    pub origin: Origin,
}

/// How TLS is ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Tls {
    /// The provider's name of versions and ciphers; its default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// In order; the first serves clients that name no host.
    pub certificates: Vec<Certificate>,
    /// Where nobody says anything, absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<Clients>,
}

/// What is spoken to clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Protocol {
    Http,
    Https(Tls),
}

/// A port that is listened on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Listener {
    pub port: Port,
    pub protocol: Protocol,
    /// Comes before the default action, on HTTPS listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticate: Option<Authenticate>,
    /// What answers where no rule does.
    pub default_action: Action,
    pub origin: Origin,
}

impl Listener {
    pub fn is_https(&self) -> bool {
        matches!(self.protocol, Protocol::Https(_))
    }
}
