//! What a rule asks of a request besides host and path: names and values in, typed conditions out.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;
use thiserror::Error;

use crate::glob::Glob;
use crate::pattern::Pattern;
use crate::text::shared_text;

/// Why a text is no name of the kind wanted.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is not {wanted}")]
pub struct NotAToken {
    text: String,
    wanted: &'static str,
}

pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A request method: a token, case counts. Source: RFC 9110 §9.1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(Arc<str>);

shared_text!(Method);

impl Method {
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        if is_token(text) {
            Ok(Self(text.into()))
        } else {
            Err(NotAToken {
                text: text.into(),
                wanted: "a request method",
            })
        }
    }
}

/// A field name, kept in lower case. Source: RFC 9110 §5.1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(Arc<str>);

shared_text!(HeaderName);

impl HeaderName {
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        if is_token(text) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(NotAToken {
                text: text.into(),
                wanted: "a header name",
            })
        }
    }
}

/// A parameter of the query: its value, and its key where one is asked for. Both are globs that ignore case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct QueryMatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Glob>,
    pub value: Glob,
}

impl QueryMatch {
    fn matches(&self, key: &str, value: &str) -> bool {
        self.key.as_ref().is_none_or(|k| k.matches_ignoring_case(key))
            && self.value.matches_ignoring_case(value)
    }
}

/// One condition; a rule's conditions must all hold, and each holds if any of its values does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// The method is one of these.
    Method(Vec<Method>),
    /// One of the header's values matches a glob, case aside.
    Header { name: HeaderName, values: Vec<Glob> },
    /// One of the header's values matches an expression.
    HeaderRegex { name: HeaderName, values: Vec<Pattern> },
    /// One of the query's parameters matches.
    Query(Vec<QueryMatch>),
    /// The peer's address lies in one of these ranges.
    Source(Vec<IpNet>),
}

impl Condition {
    pub fn matches(&self, request: &crate::Request) -> bool {
        match self {
            Self::Method(methods) => methods.iter().any(|m| m.as_str() == request.method),
            Self::Header { name, values } => request
                .header(name.as_str())
                .any(|value| values.iter().any(|g| g.matches_ignoring_case(value))),
            Self::HeaderRegex { name, values } => request
                .header(name.as_str())
                .any(|value| values.iter().any(|p| p.matches(value))),
            Self::Query(wanted) => request
                .parameters()
                .any(|(k, v)| wanted.iter().any(|q| q.matches(k, v))),
            Self::Source(ranges) => ranges.iter().any(|range| range.contains(&request.source)),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(values: &[T]) -> String {
            values.iter().map(T::to_string).collect::<Vec<_>>().join(" or ")
        }
        match self {
            Self::Method(methods) => write!(f, "method {}", list(methods)),
            Self::Header { name, values } => write!(f, "header {name} {}", list(values)),
            Self::HeaderRegex { name, values } => write!(f, "header {name} regex:{}", list(values)),
            Self::Query(wanted) => {
                let wanted: Vec<String> = wanted
                    .iter()
                    .map(|q| {
                        q.key
                            .as_ref()
                            .map_or_else(|| q.value.to_string(), |k| format!("{k}={}", q.value))
                    })
                    .collect();
                write!(f, "query {}", wanted.join(" or "))
            }
            Self::Source(ranges) => write!(f, "source {}", list(ranges)),
        }
    }
}
