//! A Secret with authorities and a server name in, which certificates of targets are taken out.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::host::HostName;
use crate::name::ObjectName;
use crate::origin::Origin;

/// Whether targets are spoken to over TLS, and what is asked of the certificates that they show.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackendTls {
    /// In clear text.
    #[default]
    Off,
    /// Over TLS, whatever certificate they show.
    Unverified,
    /// Over TLS, and with those alone that show a right certificate.
    Verified(Verification),
}

impl BackendTls {
    pub fn is_on(&self) -> bool {
        match self {
            Self::Off => false,
            Self::Unverified | Self::Verified(_) => true,
        }
    }

    /// What is asked of certificates; none where any will do, or none is shown.
    pub fn verification(&self) -> Option<&Verification> {
        match self {
            Self::Off | Self::Unverified => None,
            Self::Verified(verification) => Some(verification),
        }
    }
}

impl Serialize for BackendTls {
    /// The first two as `false` and `true`: names of what exists are made of digests of that.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::Unverified => serializer.serialize_bool(true),
            Self::Verified(verification) => verification.serialize(serializer),
        }
    }
}

/// A certificate is right if one of the authorities has signed it for the server name, and it is valid now.
/// Source: RFC 5280 §6, RFC 9525 §6.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Verification {
    /// The Secret whose key `ca.crt` holds them, as PEM.
    pub authorities: ObjectName,
    /// Whom targets are asked for (SNI, RFC 6066 §3), too.
    pub server_name: HostName,
    /// Where it was asked for.
    pub origin: Origin,
}

impl fmt::Display for Verification {
    /// `as web.shop.svc, by authorities of secret/shop/internal-ca`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "as {}, by authorities of secret/{}",
            self.server_name, self.authorities
        )
    }
}
