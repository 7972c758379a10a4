//! Names and values of fields in, what is changed of a message's fields out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

use crate::condition::HeaderName;
use crate::origin::Origin;
use crate::text::shared_text;

/// A value of a field: visible ASCII, with blanks inside alone. Source: RFC 9110 §5.5.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderText(Arc<str>);

shared_text!(HeaderText);

/// Longest value, in bytes: heads have little room.
const LONGEST: usize = 4_096;
/// Most changes of one message.
const MOST: usize = 64;

/// Which messages are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Request,
    Response,
}

/// Why fields cannot be changed so.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotAChange {
    #[error(
        "the value of {0} is not visible ASCII with blanks inside alone, of at most {LONGEST} characters"
    )]
    Value(HeaderName),
    #[error("{0} frames or addresses the message, or concerns one connection alone")]
    Framing(HeaderName),
    #[error("{0} says who the client is, which the proxy alone decides")]
    Trust(HeaderName),
    #[error("{0} may be added, but neither set nor removed: clients are kept at their target with it")]
    Cookies(HeaderName),
    #[error("{0} is named twice")]
    Twice(HeaderName),
    #[error("there are more than {MOST} changes")]
    Many,
    #[error("it names no field")]
    Nothing,
}

/// What is changed, each field once; never what frames the message or decides whom to trust.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HeaderChanges {
    /// In place of what is there.
    set: BTreeMap<HeaderName, HeaderText>,
    /// Behind what is there.
    add: BTreeMap<HeaderName, HeaderText>,
    remove: BTreeSet<HeaderName>,
    pub origin: Origin,
}

/// Of framing, addressing, or one connection. Source: RFC 9110 §7.6.1; RFC 9112 §6; RFC 9113 §8.2.2.
const FRAMING: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Of those to whom a request is told, by whoever is trusted. A trailing `-` stands for all names that start so.
const TRUST: [&str; 7] = [
    "forwarded",
    "proxy",
    "ssl-client-",
    "x-amzn-mtls-",
    "x-amzn-oidc-",
    "x-forwarded-",
    "x-real-ip",
];

/// Whether a name says of a client who it is. CGI cannot tell `_` from `-`, so neither do we.
pub fn is_trust(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    TRUST.iter().any(|own| match own.ends_with('-') {
        true => name.starts_with(own),
        false => name == *own,
    })
}

/// Whether whoever says who a client is may say it in this field: it says neither where the client is, nor is it part of
/// the message.
pub(super) fn may_be_told(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let where_it_is = ["for", "host", "method", "port", "proto", "server", "uri"];
    let is_told = match name.strip_prefix("x-forwarded-") {
        Some(rest) => !where_it_is.contains(&rest),
        None => !is_trust(&name),
    };
    is_told && !name.starts_with("content-") && !FRAMING.contains(&&*name)
}

impl HeaderText {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let inner = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
        let fits = text.len() <= LONGEST && text.bytes().all(inner) && text.trim() == text;
        fits.then(|| Self(text.into()))
    }
}

impl HeaderChanges {
    pub fn new(
        direction: Direction,
        set: &[(HeaderName, String)],
        add: &[(HeaderName, String)],
        remove: &[HeaderName],
        origin: Origin,
    ) -> Result<Self, NotAChange> {
        if set.len() + add.len() + remove.len() > MOST {
            return Err(NotAChange::Many);
        }
        let mut seen = BTreeSet::new();
        let names = set.iter().chain(add).map(|(name, _)| name).chain(remove);
        for name in names {
            let encoded = direction == Direction::Response && name.as_str() == "content-encoding";
            // What CGI takes for another is removed with it.
            if encoded || FRAMING.contains(&&*name.as_str().replace('_', "-")) {
                return Err(NotAChange::Framing(name.clone()));
            }
            if direction == Direction::Request && is_trust(name.as_str()) {
                return Err(NotAChange::Trust(name.clone()));
            }
            if !seen.insert(name) {
                return Err(NotAChange::Twice(name.clone()));
            }
        }
        if seen.is_empty() {
            return Err(NotAChange::Nothing);
        }
        let mut settled = set.iter().map(|(name, _)| name).chain(remove);
        if let Some(name) =
            settled.find(|name| direction == Direction::Response && name.as_str() == "set-cookie")
        {
            return Err(NotAChange::Cookies(name.clone()));
        }
        let read = |pairs: &[(HeaderName, String)]| {
            let read = pairs.iter().map(|(name, text)| {
                let value = HeaderText::parse(text).ok_or_else(|| NotAChange::Value(name.clone()))?;
                Ok((name.clone(), value))
            });
            read.collect::<Result<_, _>>()
        };
        Ok(Self {
            set: read(set)?,
            add: read(add)?,
            remove: remove.iter().cloned().collect(),
            origin,
        })
    }

    pub fn set(&self) -> impl Iterator<Item = (&HeaderName, &HeaderText)> {
        self.set.iter()
    }

    pub fn add(&self) -> impl Iterator<Item = (&HeaderName, &HeaderText)> {
        self.add.iter()
    }

    pub fn remove(&self) -> impl Iterator<Item = &HeaderName> {
        self.remove.iter()
    }
}

impl fmt::Display for HeaderChanges {
    /// `=x-a +x-b -x-c`: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.set.keys().map(|name| format!("={name}"));
        let add = self.add.keys().map(|name| format!("+{name}"));
        let remove = self.remove.iter().map(|name| format!("-{name}"));
        let all: Vec<String> = set.chain(add).chain(remove).collect();
        f.write_str(&all.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ObjectName;

    fn changes(
        direction: Direction,
        kind: &str,
        name: &str,
        value: &str,
    ) -> Result<HeaderChanges, NotAChange> {
        let name = HeaderName::parse(name).unwrap();
        let pair = [(name.clone(), value.to_owned())];
        let (set, add, remove) = match kind {
            "set" => (&pair[..], &[][..], &[][..]),
            "add" => (&[][..], &pair[..], &[][..]),
            _ => (&[][..], &[][..], std::slice::from_ref(&name)),
        };
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        HeaderChanges::new(direction, set, add, remove, origin)
    }

    #[test]
    fn what_frames_a_message_or_says_whom_to_trust_is_not_changed() {
        use Direction::{Request, Response};
        for (direction, name, ok) in [
            (Request, "X-A", true),
            (Request, "authorization", true),
            (Request, "cookie", true),
            (Request, "Host", false),
            (Request, "Content-Length", false),
            (Request, "Transfer-Encoding", false),
            (Request, "connection", false),
            (Request, "TE", false),
            (Request, "upgrade", false),
            (Request, "X-Forwarded-For", false),
            (Request, "X_Forwarded_For", false),
            (Request, "x-forwarded-anything", false),
            (Request, "Forwarded", false),
            (Request, "X-Real-IP", false),
            (Request, "X-Amzn-Mtls-Clientcert", false),
            (Request, "x-amzn-oidc-identity", false),
            (Request, "Proxy", false),
            (Request, "Content_Length", false),
            (Request, "Ssl-Client-Verify", false),
            (Request, "ssl_client_subject_dn", false),
            (Response, "ssl-client-verify", true),
            (Response, "Strict-Transport-Security", true),
            (Response, "X-Forwarded-For", true),
            (Response, "Content-Length", false),
            (Response, "Content-Encoding", false),
            (Response, "keep-alive", false),
            (Response, "trailer", false),
        ] {
            for kind in ["set", "add", "remove"] {
                let got = changes(direction, kind, name, "a");
                assert_eq!(got.is_ok(), ok, "{kind} {name} of a {direction:?}: {got:?}");
            }
        }
        for (kind, ok) in [("set", false), ("remove", false), ("add", true)] {
            assert_eq!(changes(Response, kind, "Set-Cookie", "a=b").is_ok(), ok, "{kind}");
        }
    }

    #[test]
    fn values_end_no_line() {
        for (value, ok) in [
            ("a", true),
            ("", true),
            ("max-age=1; includeSubDomains", true),
            ("a\tb", true),
            ("a\r\nx: y", false),
            ("a\n", false),
            (" a", false),
            ("a ", false),
            ("ä", false),
            ("a\0", false),
        ] {
            let got = changes(Direction::Response, "set", "x-a", value);
            assert_eq!(got.is_ok(), ok, "{value:?}");
        }
        assert!(changes(Direction::Response, "set", "x-a", &"a".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn a_field_is_changed_once() {
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        let name = HeaderName::parse("x-a").unwrap();
        let pair = [(name.clone(), "1".to_owned())];
        let new = |set: &[_], add: &[_], remove: &[_]| {
            HeaderChanges::new(Direction::Request, set, add, remove, origin.clone())
        };
        assert_eq!(
            new(&pair, &[], std::slice::from_ref(&name)),
            Err(NotAChange::Twice(name))
        );
        assert_eq!(new(&[], &[], &[]), Err(NotAChange::Nothing));
    }
}
