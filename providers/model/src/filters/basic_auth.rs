//! A Secret with users and the name of what they get into in, who may pass by password out.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::name::ObjectName;
use crate::origin::Origin;

/// Whoever gives the name and the password of a user passes. Source: RFC 7617.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BasicAuth {
    /// Whose key `auth` holds a line for each user, as `htpasswd` writes it.
    pub secret: ObjectName,
    realm: String,
    pub origin: Origin,
}

/// Not a realm.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("expected 1 to {LONGEST} printable ASCII characters without \" and \\")]
pub struct NotARealm;

const LONGEST: usize = 128;

impl BasicAuth {
    /// The realm is what browsers show when they ask for the password.
    pub fn new(secret: ObjectName, realm: &str, origin: Origin) -> Result<Self, NotARealm> {
        let shown = |b: u8| (b.is_ascii_graphic() || b == b' ') && b != b'"' && b != b'\\';
        if (1..=LONGEST).contains(&realm.len()) && realm.bytes().all(shown) {
            let realm = realm.to_owned();
            Ok(Self {
                secret,
                realm,
                origin,
            })
        } else {
            Err(NotARealm)
        }
    }

    pub fn realm(&self) -> &str {
        &self.realm
    }
}

impl fmt::Display for BasicAuth {
    /// `users of secret/shop/users`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "users of secret/{}", self.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_ends_neither_its_quotes_nor_its_line() {
        for (realm, ok) in [
            ("Restricted", true),
            ("The shop's back", true),
            ("", false),
            ("a\"b", false),
            ("a\\", false),
            ("a\r\nb", false),
            ("ä", false),
        ] {
            let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
            let got = BasicAuth::new(ObjectName::new("shop", "users"), realm, origin);
            assert_eq!(got.is_ok(), ok, "{realm:?}");
        }
    }
}
