//! A page where clients log in, as text with placeholders, and a request in; where the client is sent out.

use std::borrow::Cow;
use std::sync::Arc;

use thiserror::Error;

use crate::text::{escaped, filled, shared_text};

/// A URL, or a path of the request's own host, in which `#{protocol}` and `#{host}`, with its port, stand for the request's
/// own; in the query also `#{target}`, its path and query, and `#{url}`, all of it, both escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignIn(Arc<str>);

shared_text!(SignIn);

/// Why nobody can be sent there.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotASignIn {
    #[error("expected a path, or a URL of http or https with a host")]
    Url,
    #[error("a character in it cannot stand in a URL")]
    Character,
    #[error("#{{{0}}} is neither protocol nor host, nor target or url in the query")]
    Placeholder(String),
    #[error("it is longer than 1024 bytes")]
    TooLong,
}

const LONGEST: usize = 1_024;
const SCHEMES: [&str; 3] = ["https://", "http://", "#{protocol}://"];

impl SignIn {
    pub fn parse(text: &str) -> Result<Self, NotASignIn> {
        if text.len() > LONGEST {
            return Err(NotASignIn::TooLong);
        }
        let is_url = match SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
            Some(rest) => {
                let host = rest.split(['/', '?']).next().unwrap_or_default();
                !host.is_empty() && !host.contains('@')
            }
            // Two slashes would begin a host.
            None => text.starts_with('/') && !text[1..].starts_with(['/', '\\']),
        };
        if !is_url {
            return Err(NotASignIn::Url);
        }
        let (mut rest, mut before) = (text, String::new());
        while let Some((plain, after)) = rest.split_once("#{") {
            before.push_str(plain);
            let (name, tail) = after
                .split_once('}')
                .ok_or_else(|| NotASignIn::Placeholder(after.to_owned()))?;
            match name {
                "protocol" | "host" => {}
                "target" | "url" if before.contains('?') => {}
                other => return Err(NotASignIn::Placeholder(other.to_owned())),
            }
            rest = tail;
        }
        before.push_str(rest);
        let plain = |b: u8| b.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&b);
        if !before.bytes().all(plain) {
            return Err(NotASignIn::Character);
        }
        Ok(Self(text.into()))
    }

    /// Whether it is made of the request's host.
    pub fn needs_host(&self) -> bool {
        self.0.contains("#{host}") || self.0.contains("#{url}")
    }

    /// Of a request of this protocol, `http` or `https`, host with its port, and path with its query. What is escaped is so as
    /// the value of a parameter: all but what RFC 3986 §2.3 reserves for nothing. None where it would be longer than 64 KiB.
    pub fn url(&self, protocol: &str, host: &str, target: &str) -> Option<String> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        filled(self.as_str(), |name| {
            Some(match name {
                "protocol" => Cow::Borrowed(protocol),
                "host" => Cow::Borrowed(host),
                "target" => Cow::Owned(escaped(target, unreserved)),
                // The constructor admits no other.
                _ => Cow::Owned(escaped(&format!("{protocol}://{host}{target}"), unreserved)),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_url_that_may_tell_where_the_client_was() {
        for (text, want) in [
            ("/oauth2/start", Some("/oauth2/start")),
            (
                "/oauth2/start?rd=#{target}",
                Some("/oauth2/start?rd=%2Fa%20b%3Fc%3Dd%26e"),
            ),
            (
                "https://#{host}/in?rd=#{url}",
                Some("https://a.com:8443/in?rd=https%3A%2F%2Fa.com%3A8443%2Fa%20b%3Fc%3Dd%26e"),
            ),
            (
                "#{protocol}://login.b.com/?x=1&rd=#{protocol}://#{host}#{target}",
                Some("https://login.b.com/?x=1&rd=https://a.com:8443%2Fa%20b%3Fc%3Dd%26e"),
            ),
            ("http://login.b.com", Some("http://login.b.com")),
            ("//b.com/", None),
            ("/\\b.com/", None),
            ("b.com", None),
            ("", None),
            ("https://", None),
            ("https:///in", None),
            ("https://a@b.com/", None),
            ("javascript:alert(1)", None),
            ("/in#{target}", None),
            ("/in?x=#{path}", None),
            ("/in?x=#{", None),
            ("/in#top", None),
            ("/in?a b", None),
            ("/in\r\nx: y", None),
            ("/é", None),
        ] {
            let got = SignIn::parse(text).map(|page| page.url("https", "a.com:8443", "/a b?c=d&e").unwrap());
            assert_eq!(got.as_deref().ok(), want, "{text}");
        }
        assert_eq!(
            SignIn::parse(&format!("/{}", "a".repeat(1_024))),
            Err(NotASignIn::TooLong)
        );
        for (text, needs) in [
            ("/in?rd=#{target}", false),
            ("/in?rd=#{url}", true),
            ("http://#{host}", true),
        ] {
            assert_eq!(SignIn::parse(text).unwrap().needs_host(), needs, "{text}");
        }
    }
}
