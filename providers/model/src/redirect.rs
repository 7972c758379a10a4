//! Redirects: the parts of a URL with placeholders in, the `Location` of a request out.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

use crate::name::Port;
use crate::resolve::Request;
use crate::text::{LONGEST, filled, in_ascii, shared_text};

/// Text in which `#{protocol}`, `#{host}`, `#{port}`, `#{path}` and `#{query}` stand for the request's own.
/// `#{path}` leaves out the leading slash. Source: ELBv2 API, RedirectActionConfig.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Template(Arc<str>);

shared_text!(Template);

/// Why a text is no template.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("{0:?} names a placeholder other than protocol, host, port, path and query")]
    Placeholder(String),
    #[error("{0:?} holds a control character or a space")]
    Character(String),
}

const PLACEHOLDERS: [&str; 5] = ["protocol", "host", "port", "path", "query"];

impl Template {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(TemplateError::Character(text.into()));
        }
        let mut rest = text;
        while let Some((_, after)) = rest.split_once("#{") {
            match after.split_once('}') {
                Some((name, tail)) if PLACEHOLDERS.contains(&name) => rest = tail,
                _ => return Err(TemplateError::Placeholder(text.into())),
            }
        }
        Ok(Self(text.into()))
    }

    /// Whether it makes the name of a host: anything else would begin the path, name a user, or be a port beside the
    /// redirect's own.
    pub fn is_host(&self) -> bool {
        let name = self.as_str().replace("#{host}", "");
        name.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    }

    fn fill(&self, request: &Seen<'_>) -> Option<String> {
        filled(self.as_str(), |name| {
            Some(match name {
                "protocol" => request.protocol.into(),
                "host" => request.host.into(),
                "port" => request.port.to_string().into(),
                "path" => request.path.strip_prefix('/').unwrap_or(request.path).into(),
                "query" => request.query.into(),
                // The constructor admits no other.
                _ => return None,
            })
        })
    }
}

/// The status of a redirect. AWS knows the first two only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum RedirectStatus {
    MovedPermanently,
    Found,
    SeeOther,
    TemporaryRedirect,
    PermanentRedirect,
}

impl RedirectStatus {
    pub fn code(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}

/// Which scheme the redirect leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum RedirectScheme {
    Http,
    Https,
}

/// A redirect; a part that is absent stays as it was in the request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Redirect {
    pub status: RedirectStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Template>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Starts with `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Template>,
    /// Without the leading `?`; empty removes the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<Template>,
}

/// The parts of a request that placeholders stand for.
struct Seen<'a> {
    protocol: &'a str,
    host: &'a str,
    port: Port,
    path: &'a str,
    query: &'a str,
}

impl Redirect {
    /// To the same URL under HTTPS at this port, for good.
    pub fn to_https(port: Port) -> Self {
        Self {
            status: RedirectStatus::MovedPermanently,
            scheme: Some(RedirectScheme::Https),
            host: None,
            port: Some(port),
            path: None,
            query: None,
        }
    }

    /// Whether it leads to the host of the request, or says it.
    pub fn needs_host(&self) -> bool {
        let says = |part: &Option<Template>| part.as_ref().is_some_and(|t| t.as_str().contains("#{host}"));
        self.host.is_none() || [&self.host, &self.path, &self.query].into_iter().any(says)
    }

    /// The value of `Location` for a request that came in over TLS or not. None where it would be longer than 64 KiB.
    pub fn location(&self, request: &Request, tls: bool) -> Option<String> {
        let own = if tls { "https" } else { "http" };
        let seen = Seen {
            protocol: own,
            host: &request.host,
            port: request.port,
            path: &request.path,
            query: &request.query,
        };
        let fill = |part: &Option<Template>, same: &str| {
            let filled = part.as_ref().map(|template| template.fill(&seen));
            filled.unwrap_or_else(|| Some(same.to_owned()))
        };
        let scheme = match self.scheme {
            Some(RedirectScheme::Http) => "http",
            Some(RedirectScheme::Https) => "https",
            None => own,
        };
        let port = self.port.unwrap_or(request.port);
        let default = if scheme == "https" {
            Port::HTTPS
        } else {
            Port::HTTP
        };
        let mut out = format!("{scheme}://{}", fill(&self.host, &request.host)?);
        if port != default {
            out.push_str(&format!(":{port}"));
        }
        out.push_str(&fill(&self.path, &request.path)?);
        let query = fill(&self.query, &request.query)?;
        if !query.is_empty() {
            out.push('?');
            out.push_str(&query);
        }
        let out = in_ascii(out);
        (out.len() <= LONGEST).then_some(out)
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |p: &Option<Template>, name: &str| {
            p.as_ref()
                .map_or_else(|| format!("#{{{name}}}"), Template::to_string)
        };
        let scheme = match self.scheme {
            Some(RedirectScheme::Http) => "http",
            Some(RedirectScheme::Https) => "https",
            None => "#{protocol}",
        };
        let port = self.port.map_or_else(|| "#{port}".to_owned(), |p| p.to_string());
        let path = self.path.as_ref().map_or("/#{path}", Template::as_str);
        write!(
            f,
            "{} {scheme}://{}:{port}{path}?{}",
            self.status.code(),
            part(&self.host, "host"),
            part(&self.query, "query")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_left_out_stays_as_it_was() {
        let request = Request::get(Port::HTTP, "shop.example.com", "/a/b?x=1");
        let to = |host: Option<&str>, path: Option<&str>, query: Option<&str>| Redirect {
            status: RedirectStatus::Found,
            scheme: None,
            host: host.map(|t| Template::parse(t).unwrap()),
            port: None,
            path: path.map(|t| Template::parse(t).unwrap()),
            query: query.map(|t| Template::parse(t).unwrap()),
        };
        for (redirect, want) in [
            (to(None, None, None), "http://shop.example.com/a/b?x=1"),
            (
                to(Some("new.#{host}"), None, None),
                "http://new.shop.example.com/a/b?x=1",
            ),
            (
                to(None, Some("/new/#{path}"), None),
                "http://shop.example.com/new/a/b?x=1",
            ),
            (to(None, Some("/c"), Some("")), "http://shop.example.com/c"),
            (
                to(None, Some("/ü/#{path}"), None),
                "http://shop.example.com/%C3%BC/a/b?x=1",
            ),
            (
                Redirect::to_https(Port::HTTPS),
                "https://shop.example.com/a/b?x=1",
            ),
            (
                Redirect::to_https(Port::new(8443).unwrap()),
                "https://shop.example.com:8443/a/b?x=1",
            ),
        ] {
            assert_eq!(
                redirect.location(&request, false).as_deref(),
                Some(want),
                "{redirect}"
            );
        }
    }

    #[test]
    fn the_host_of_a_redirect_is_a_name() {
        for (text, want) in [
            ("a.example", true),
            ("#{host}", true),
            ("#{host}.a_b.example", true),
            ("a.example/b", false),
            ("a.example:8443", false),
            ("me@a.example", false),
            ("*.example", false),
            ("ä.example", false),
            ("#{path}.example", false),
        ] {
            assert_eq!(Template::parse(text).unwrap().is_host(), want, "{text}");
        }
    }

    #[test]
    fn unknown_placeholders_are_refused() {
        for text in ["#{hosts}", "/#{path", "a b", "\r\n"] {
            assert!(Template::parse(text).is_err(), "{text:?}");
        }
    }
}
