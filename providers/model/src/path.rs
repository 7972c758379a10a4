//! Paths of rules: text in, typed paths that match a request's raw path out.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::glob::Glob;
use crate::pattern::Pattern;
use crate::text::{serialize_as_display, shared_text};

/// Why a text is no path. Source: Kubernetes validation of `ingress.spec.rules.http.paths.path`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PathError {
    #[error("the path is empty")]
    Empty,
    #[error("{0:?} does not start with '/'")]
    NotAbsolute(String),
    #[error("{0:?} holds {1:?}, which no normal path has")]
    Sequence(String, &'static str),
    #[error("{0:?} holds {1:?}, which is no character of a path")]
    Character(String, char),
}

/// Kubernetes refuses these in Exact and Prefix paths: no normal request path holds them.
const FORBIDDEN: [&str; 7] = ["//", "/./", "/../", "%2f", "%2F", "/..", "/."];

fn check(text: &str) -> Result<(), PathError> {
    if text.is_empty() {
        return Err(PathError::Empty);
    }
    if !text.starts_with('/') {
        return Err(PathError::NotAbsolute(text.into()));
    }
    for sequence in FORBIDDEN {
        let at_end_only = matches!(sequence, "/.." | "/.");
        if if at_end_only {
            text.ends_with(sequence)
        } else {
            text.contains(sequence)
        } {
            return Err(PathError::Sequence(text.into(), sequence));
        }
    }
    match text
        .chars()
        .find(|c| c.is_control() || matches!(c, '?' | '#' | ' '))
    {
        Some(c) => Err(PathError::Character(text.into(), c)),
        None => Ok(()),
    }
}

/// A path rule of type `Exact`: case counts, and so does a trailing slash.
/// Source: Kubernetes docs, Ingress, "Path types".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExactPath(Arc<str>);

shared_text!(ExactPath);

impl ExactPath {
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    pub fn matches(&self, path: &str) -> bool {
        *self.0 == *path
    }
}

/// A path rule of type `Prefix`: matches whole elements, so `/foo` takes `/foo/bar`, never `/foobar`.
/// Stored without the trailing slash, so that `/` is the empty text. Source: Kubernetes docs, Ingress, "Path types".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPrefix(Arc<str>);

impl PathPrefix {
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check(text)?;
        Ok(Self(text.strip_suffix('/').unwrap_or(text).into()))
    }

    /// The prefix that every path has.
    pub fn root() -> Self {
        Self("".into())
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Without the trailing slash: empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many elements it has: 0 for `/`, 2 for `/a/b`.
    pub fn elements(&self) -> usize {
        self.0.matches('/').count()
    }

    pub fn matches(&self, path: &str) -> bool {
        path.strip_prefix(&*self.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "/" } else { &self.0 })
    }
}

/// What a rule asks of a request's path, without the query. The order of the variants is not a precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathMatch {
    Exact(ExactPath),
    Prefix(PathPrefix),
    /// A glob over the whole path; case counts.
    Glob(Glob),
    /// A regular expression over the whole path.
    Regex(Pattern),
}

impl PathMatch {
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.matches(path),
            Self::Prefix(prefix) => prefix.matches(path),
            Self::Glob(glob) => glob.matches(path),
            Self::Regex(pattern) => pattern.matches(path),
        }
    }

    /// Whether no path escapes it.
    pub fn takes_every_path(&self) -> bool {
        match self {
            Self::Prefix(prefix) => prefix.is_root(),
            Self::Glob(glob) => matches!(glob.as_str(), "*" | "/*"),
            Self::Exact(_) | Self::Regex(_) => false,
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => write!(f, "exact:{exact}"),
            Self::Prefix(prefix) => write!(f, "prefix:{prefix}"),
            Self::Glob(glob) => write!(f, "glob:{glob}"),
            Self::Regex(pattern) => write!(f, "regex:{pattern}"),
        }
    }
}

serialize_as_display!(PathPrefix, PathMatch);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_matches_whole_elements() {
        // Kubernetes docs, Ingress, "Examples"
        for (rule, path, want) in [
            ("/", "/", true),
            ("/", "/anything", true),
            ("/foo", "/foo", true),
            ("/foo", "/foo/", true),
            ("/foo/", "/foo", true),
            ("/foo/", "/foo/", true),
            ("/aaa/bb", "/aaa/bbb", false),
            ("/aaa/bbb", "/aaa/bbb", true),
            ("/aaa/bbb/", "/aaa/bbb", true),
            ("/aaa/bbb", "/aaa/bbb/", true),
            ("/aaa/bbb", "/aaa/bbb/ccc", true),
            ("/aaa/bbb", "/aaa/bbbxyz", false),
            ("/aaa", "/AAA", false),
            ("/foo", "/fo", false),
        ] {
            assert_eq!(
                PathPrefix::parse(rule).unwrap().matches(path),
                want,
                "{rule} on {path}"
            );
        }
    }

    #[test]
    fn exact_matches_to_the_letter() {
        for (rule, path, want) in [
            ("/foo", "/foo", true),
            ("/foo", "/bar", false),
            ("/foo", "/foo/", false),
            ("/foo/", "/foo", false),
        ] {
            assert_eq!(
                ExactPath::parse(rule).unwrap().matches(path),
                want,
                "{rule} on {path}"
            );
        }
    }

    #[test]
    fn paths_no_request_has_are_refused() {
        for text in [
            "", "foo", "//", "/a//b", "/a/./b", "/a/../b", "/a/..", "/a/.", "/a%2fb", "/a?b", "/a#b", "/a b",
        ] {
            assert!(PathPrefix::parse(text).is_err(), "{text}");
            assert!(ExactPath::parse(text).is_err(), "{text}");
        }
        for text in ["/.well-known/x", "/a..b", "/a.", "/*", "/%20"] {
            assert!(ExactPath::parse(text).is_ok(), "{text}");
        }
    }
}
