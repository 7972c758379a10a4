//! Pages' origins and what their scripts may do in, what browsers are told out. Source: Fetch Standard, "CORS protocol".

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use thiserror::Error;

use crate::condition::{HeaderName, Method};
use crate::host::HostMatch;
use crate::origin::Origin;
use crate::text::serialize_as_display;

/// A scheme, a host, which may be a wildcard of one label, and a port where it is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebOrigin {
    scheme: &'static str,
    host: WebHost,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum WebHost {
    Named(HostMatch),
    Address(IpAddr),
}

/// No origin as browsers write it.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not an origin such as https://shop.example.com or https://*.example.com")]
pub struct NotAnOrigin(String);

impl WebOrigin {
    /// `null`, the origin of whoever hides theirs, is none.
    pub fn parse(text: &str) -> Result<Self, NotAnOrigin> {
        let none = || NotAnOrigin(text.to_owned());
        let (scheme, host, port) = parts(text).ok_or_else(none)?;
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match address.unwrap_or(host).parse::<IpAddr>() {
            Ok(address) if address.is_ipv6() == host.starts_with('[') => WebHost::Address(address),
            Ok(_) => return Err(none()),
            Err(_) => WebHost::Named(HostMatch::parse(host).map_err(|_| none())?),
        };
        Ok(Self { scheme, host, port })
    }

    /// Whether this is, or takes in, what a request's `Origin` says.
    pub fn matches(&self, origin: &str) -> bool {
        let Some((scheme, host, port)) = parts(origin) else {
            return false;
        };
        let same = match &self.host {
            WebHost::Named(own) => own.matches(host),
            WebHost::Address(own) => shown(own) == host,
        };
        scheme == self.scheme && port == self.port && same
    }
}

fn parts(text: &str) -> Option<(&'static str, &str, Option<u16>)> {
    let (scheme, rest) = text.split_once("://")?;
    let (scheme, own) = match scheme {
        "https" => ("https", 443),
        "http" => ("http", 80),
        _ => return None,
    };
    match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            let port: u16 = port.parse().ok().filter(|_| digits)?;
            Some((scheme, host, Some(port).filter(|port| *port != own)))
        }
        _ => Some((scheme, rest, None)),
    }
}

fn shown(address: &IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        match &self.host {
            WebHost::Named(host) => host.fmt(f)?,
            WebHost::Address(address) => f.write_str(&shown(address))?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

serialize_as_display!(WebOrigin);

/// Whose scripts may read answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum WebOrigins {
    /// Everybody's; without credentials.
    Any,
    /// Never empty.
    Listed {
        origins: BTreeSet<WebOrigin>,
        /// Whether requests may carry cookies and the like.
        credentials: bool,
    },
}

/// What scripts of other origins may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Cors {
    pub origins: WebOrigins,
    /// Methods that requests may have.
    pub methods: BTreeSet<Method>,
    /// Fields that requests may have; any where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<BTreeSet<HeaderName>>,
    /// Fields of answers that scripts may read, beside those that all may.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed: BTreeSet<HeaderName>,
    /// How long a browser need not ask again, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
    pub origin: Origin,
}

impl fmt::Display for Cors {
    /// `for scripts of https://a.com, with credentials`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origins {
            WebOrigins::Any => f.write_str("for scripts of all origins"),
            WebOrigins::Listed { origins, credentials } => {
                let origins: Vec<String> = origins.iter().map(WebOrigin::to_string).collect();
                write!(f, "for scripts of {}", origins.join(" and "))?;
                f.write_str(if *credentials { " with credentials" } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_match_as_browsers_write_them() {
        for (own, asked, want) in [
            ("https://a.com", "https://a.com", true),
            ("https://a.com:443", "https://a.com", true),
            ("https://a.com", "http://a.com", false),
            ("https://a.com", "https://a.com:8443", false),
            ("https://a.com:8443", "https://a.com:8443", true),
            ("https://a.com", "https://a.com.evil.org", false),
            ("https://a.com", "https://evila.com", false),
            ("https://a.com", "https://a.com/", false),
            ("https://a.com", "null", false),
            ("https://a.com", "", false),
            ("https://*.a.com", "https://x.a.com", true),
            ("https://*.a.com", "https://a.com", false),
            ("https://*.a.com", "https://x.y.a.com", false),
            ("https://*.a.com", "https://evil.org/.a.com", false),
            ("https://*.a.com", "https://evil.org:1@x.a.com", false),
            ("http://localhost:3000", "http://localhost:3000", true),
            ("http://192.0.2.1", "http://192.0.2.1", true),
            ("http://[2001:db8::1]:81", "http://[2001:db8::1]:81", true),
        ] {
            assert_eq!(
                WebOrigin::parse(own).unwrap().matches(asked),
                want,
                "{own} {asked}"
            );
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "*",
            "null",
            "a.com",
            "https://",
            "https://a.com/",
            "https://A.com",
            "https://*",
            "https://*.*.com",
            "https://a.com:",
            "https://a.com:+1",
            "https://a.com:99999",
            "ftp://a.com",
            "http://2001:db8::1",
            "http://[192.0.2.1]",
        ] {
            assert!(WebOrigin::parse(text).is_err(), "{text:?}");
        }
    }
}
