//! `CreateListener` and what it left: port, protocol, certificates and default action in, their API form out.

use serde::Serialize;

use super::rule::{RuleAction, ordered};
use super::{CertificateArn, Pairs, TrustStoreArn};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ListenerProtocol {
    Http,
    Https,
    /// Of a Network Load Balancer.
    Tcp,
}

impl ListenerProtocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tcp => "TCP",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CertificateRef {
    pub certificate_arn: CertificateArn,
}

/// What is asked of clients' certificates; nothing is the same as absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MutualAuthentication {
    pub mode: MutualAuthenticationMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_store_arn: Option<TrustStoreArn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_client_certificate_expiry: Option<bool>,
    /// `on` or `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_trust_store_ca_names: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MutualAuthenticationMode {
    PassThrough,
    Verify,
}

impl MutualAuthenticationMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PassThrough => "passthrough",
            Self::Verify => "verify",
        }
    }
}

/// A listener without its rules; `T` is how it refers to target groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase", bound = "T: Serialize")]
pub struct ListenerSpec<T> {
    pub port: u16,
    pub protocol: ListenerProtocol,
    /// In order; the last one answers.
    #[serde(serialize_with = "ordered")]
    pub default_actions: Vec<RuleAction<T>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_policy: Option<String>,
    /// Absent where clients are asked for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutual_authentication: Option<MutualAuthentication>,
    /// The first is the default one, which `CreateListener` takes; the others are added one by one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateRef>,
    pub tags: Pairs,
}
