//! Hosts of rules and of requests: text in, typed hosts that match out.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::glob::Glob;
use crate::pattern::Pattern;
use crate::text::{serialize_as_display, shared_text};

/// A DNS name: lower case, labels of letters, digits and inner hyphens, at most 253 characters.
/// Source: Kubernetes API, IngressRule.host ("fully qualified domain name … RFC 3986"), RFC 1123 §2.1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

shared_text!(HostName);

/// Why a text is no host.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HostError {
    #[error("the host is empty")]
    Empty,
    #[error("the host is longer than 253 characters")]
    TooLong,
    #[error("{0:?} is an IP address; a host is a DNS name")]
    Address(String),
    #[error("{0:?} is not a DNS label: lower-case letters, digits and inner hyphens, at most 63")]
    Label(String),
    #[error("{0:?} has an empty label: a dot stands at its beginning, at its end, or beside another")]
    EmptyLabel(String),
    #[error("{0:?}: '*' may stand only for the whole first label, before a DNS name")]
    Wildcard(String),
}

impl HostName {
    /// Reads a DNS name; capitals are refused, as Kubernetes refuses them.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > 253 {
            return Err(HostError::TooLong);
        }
        if text.parse::<std::net::IpAddr>().is_ok() {
            return Err(HostError::Address(text.into()));
        }
        for label in text.split('.') {
            if label.is_empty() {
                return Err(HostError::EmptyLabel(text.into()));
            }
            if !is_label(label) {
                return Err(HostError::Label(label.into()));
            }
        }
        Ok(Self(text.into()))
    }
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// What a rule asks of a request's host. The order of the variants is not a precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostMatch {
    /// This very name.
    Exact(HostName),
    /// Exactly one label before this name. Source: Kubernetes docs, Ingress, "Hostname wildcards".
    Wildcard(HostName),
    /// A glob over the whole host, labels not counted.
    Glob(Glob),
    /// A regular expression over the whole lower-case host.
    Regex(Pattern),
}

impl HostMatch {
    /// Reads an exact host or `*.` and a name, the two forms an Ingress has.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        match text.strip_prefix("*.") {
            Some(rest) if !rest.contains('*') && !rest.is_empty() => {
                HostName::parse(rest).map(Self::Wildcard)
            }
            _ if text.contains('*') => Err(HostError::Wildcard(text.into())),
            _ => HostName::parse(text).map(Self::Exact),
        }
    }

    /// Whether a host in the form of [`normalize`] matches.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == host,
            Self::Wildcard(name) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == name.as_str()),
            Self::Glob(glob) => glob.matches_ignoring_case(host),
            Self::Regex(pattern) => pattern.matches(host),
        }
    }

    /// Whether a certificate of this name is valid for all of the host. Source: RFC 9525 §6.3.
    pub fn certifies(&self, host: &Self) -> bool {
        match (self, host) {
            (Self::Exact(_) | Self::Wildcard(_), Self::Exact(name)) => self.matches(name.as_str()),
            (Self::Wildcard(own), Self::Wildcard(name)) => own == name,
            // A wildcard of any depth is written as that of one label is, and nothing certifies more.
            (Self::Wildcard(own), Self::Glob(glob)) => {
                glob.to_string().strip_prefix("*.") == Some(own.as_str())
            }
            (Self::Exact(_), Self::Wildcard(_) | Self::Glob(_)) | (_, Self::Regex(_)) => false,
            (Self::Glob(_) | Self::Regex(_), _) => false, // no certificate has such names
        }
    }
}

impl fmt::Display for HostMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Wildcard(name) => write!(f, "*.{name}"),
            Self::Glob(glob) => write!(f, "glob:{glob}"),
            Self::Regex(pattern) => write!(f, "regex:{pattern}"),
        }
    }
}

serialize_as_display!(HostMatch);

/// The host a rule sees of a request's `Host` or `:authority`: lower case, without port and trailing dot.
/// Source: RFC 9110 §4.2.3 (case), §7.2 (Host is uri-host with an optional port).
pub fn normalize(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        // Kubernetes docs, Ingress, "Hostname wildcards"
        for (rule, host, want) in [
            ("*.foo.com", "bar.foo.com", true),
            ("*.foo.com", "baz.bar.foo.com", false),
            ("*.foo.com", "foo.com", false),
            ("*.foo.com", ".foo.com", false),
            ("foo.com", "foo.com", true),
            ("foo.com", "xfoo.com", false),
        ] {
            assert_eq!(
                HostMatch::parse(rule).unwrap().matches(host),
                want,
                "{rule} on {host}"
            );
        }
    }

    #[test]
    fn a_certificate_is_valid_for_its_names_and_one_label_before_a_wildcard() {
        let glob = HostMatch::Glob(Glob::parse("*.foo.com").unwrap());
        let host = |text| HostMatch::parse(text).unwrap();
        for (name, asked, want) in [
            ("foo.com", host("foo.com"), true),
            ("foo.com", host("a.foo.com"), false),
            ("*.foo.com", host("a.foo.com"), true),
            ("*.foo.com", host("b.a.foo.com"), false),
            ("*.foo.com", host("foo.com"), false),
            ("*.foo.com", host("*.foo.com"), true),
            ("a.foo.com", host("*.foo.com"), false),
            ("*.foo.com", glob.clone(), true),
            ("*.com", glob.clone(), false),
            ("foo.com", glob, false),
        ] {
            let got = HostMatch::parse(name).unwrap().certifies(&asked);
            assert_eq!(got, want, "{name} for {asked}");
        }
    }

    #[test]
    fn a_dot_too_many_is_told_with_its_host() {
        for text in ["a.com.", ".a.com", "a..com"] {
            assert_eq!(HostName::parse(text), Err(HostError::EmptyLabel(text.into())));
        }
    }

    #[test]
    fn a_host_is_a_dns_name() {
        let long = format!("{}.example.com", "a".repeat(64));
        for (text, ok) in [
            ("foo.com", true),
            ("single", true),
            ("a-b.c1", true),
            ("", false),
            ("Foo.com", false),
            ("-a.com", false),
            ("a-.com", false),
            ("a..b", false),
            ("1.2.3.4", false),
            ("*", false),
            ("*.", false),
            ("a.*.com", false),
            ("*a.com", false),
            ("foo.com:80", false),
            ("foo_bar.com", false),
            (&long, false),
        ] {
            assert_eq!(HostMatch::parse(text).is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn a_request_host_loses_case_port_and_trailing_dot() {
        for (authority, want) in [
            ("Foo.COM", "foo.com"),
            ("foo.com:8080", "foo.com"),
            ("foo.com.", "foo.com"),
            ("foo.com.:80", "foo.com"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(normalize(authority), want, "{authority}");
        }
    }
}
