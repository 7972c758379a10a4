//! A text in, what of a request leads it to the same target as others alike out.

use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

use crate::condition::{HeaderName, is_token};

/// What requests that go to the same target have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum AffinityKey {
    /// The client's address.
    Client,
    /// A field's value, never of `Host`, which is not a field in every version of HTTP.
    Header(HeaderName),
    /// A cookie's value; its name is a token. Source: RFC 6265 §4.1.1.
    Cookie(Arc<str>),
    /// The path as the client wrote it, without the query.
    Path,
    /// The same with the query.
    Uri,
}

/// Why a text names nothing of a request that could lead it.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("expected client-ip, header:NAME other than Host, cookie:NAME, path or uri")]
pub struct NotAKey;

impl AffinityKey {
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        match text.split_once(':') {
            None => match text {
                "client-ip" => Ok(Self::Client),
                "path" => Ok(Self::Path),
                "uri" => Ok(Self::Uri),
                _ => Err(NotAKey),
            },
            Some(("header", name)) => Self::header(name),
            Some(("cookie", name)) => Self::cookie(name),
            Some(_) => Err(NotAKey),
        }
    }

    pub fn header(name: &str) -> Result<Self, NotAKey> {
        match HeaderName::parse(name) {
            Ok(name) if name.as_str() != "host" => Ok(Self::Header(name)),
            Ok(_) | Err(_) => Err(NotAKey),
        }
    }

    pub fn cookie(name: &str) -> Result<Self, NotAKey> {
        match is_token(name) {
            true => Ok(Self::Cookie(name.into())),
            false => Err(NotAKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written_or_not_at_all() {
        let header = |name| Ok(AffinityKey::Header(HeaderName::parse(name).unwrap()));
        for (text, want) in [
            ("client-ip", Ok(AffinityKey::Client)),
            ("path", Ok(AffinityKey::Path)),
            ("uri", Ok(AffinityKey::Uri)),
            ("header:X-User", header("x-user")),
            ("cookie:User", Ok(AffinityKey::Cookie("User".into()))),
            ("header:Host", Err(NotAKey)),
            ("header:", Err(NotAKey)),
            ("header:a b", Err(NotAKey)),
            ("cookie:", Err(NotAKey)),
            ("cookie:a=b", Err(NotAKey)),
            ("path:/", Err(NotAKey)),
            ("$remote_addr", Err(NotAKey)),
            ("", Err(NotAKey)),
        ] {
            assert_eq!(AffinityKey::parse(text), want, "{text}");
        }
    }
}
