//! A host or path of a rule in, the patterns or the expression that AWS compares with out.

use portcullis_model::{Code, HostMatch, PathMatch, Pattern, Semantics};

use super::conditions::{Refusal, short};
use crate::limits;

/// The values a host or path becomes.
pub(super) enum Term {
    Globs(Vec<String>),
    Regex(String),
}

fn escape(literal: &str) -> String {
    let mut out = String::new();
    for c in literal.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// An expression that AWS must match with the whole value; whether it anchors by itself is not documented.
/// The incumbent writes expressions as they are, and so do we under its semantics.
pub(super) fn anchored(pattern: &Pattern, semantics: Semantics) -> String {
    let text = pattern.as_str();
    match semantics {
        Semantics::AwsLoadBalancerController => text.to_owned(),
        Semantics::Kubernetes if text.contains('|') => format!("^(?:{text})$"),
        Semantics::Kubernetes => {
            let text = text.strip_prefix('^').unwrap_or(text);
            let text = if text.ends_with(r"\$") {
                text
            } else {
                text.strip_suffix('$').unwrap_or(text)
            };
            format!("^{text}$")
        }
    }
}

/// The expression that matches what the pattern matches.
fn glob_expression(glob: &str) -> String {
    let mut out = String::from("^");
    for c in glob.chars() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            literal => out.push_str(&escape(literal.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push('$');
    out
}

/// ELBv2 API, HostHeaderConditionConfig.Values: a dot, and only letters after the last one.
fn is_host_pattern(host: &str) -> bool {
    let last = host.rsplit_once('.').map(|(_, last)| last);
    limits::holds_only(host, limits::HOST_CHARACTERS)
        && last.is_some_and(|last| {
            last.chars()
                .all(|c| c.is_ascii_alphabetic() || matches!(c, '*' | '?'))
        })
}

/// A host that AWS takes as a pattern is written as one; any other as an expression.
pub(super) fn host(host: &HostMatch, semantics: Semantics) -> Result<Term, Refusal> {
    let long = |value| short(Code::HostUnsupported, "host", value);
    Ok(match host {
        HostMatch::Exact(name) if is_host_pattern(name.as_str()) => {
            Term::Globs(vec![long(name.to_string())?])
        }
        HostMatch::Exact(name) => Term::Regex(long(format!("^{}$", escape(name.as_str())))?),
        HostMatch::Wildcard(name) => Term::Regex(long(format!("^[^.]+\\.{}$", escape(name.as_str())))?),
        HostMatch::Glob(glob) if is_host_pattern(glob.as_str()) => Term::Globs(vec![long(glob.to_string())?]),
        HostMatch::Glob(glob) => {
            ascii(Code::HostUnsupported, "host", glob.as_str())?;
            Term::Regex(long(glob_expression(&glob.as_str().to_ascii_lowercase()))?)
        }
        HostMatch::Regex(pattern) => {
            ascii(Code::HostUnsupported, "host", pattern.as_str())?;
            Term::Regex(long(anchored(pattern, semantics))?)
        }
    })
}

fn ascii(code: Code, what: &str, text: &str) -> Result<(), Refusal> {
    if text.is_ascii() {
        Ok(())
    } else {
        Err(Refusal::new(
            code,
            format!("{what} {text:?} holds characters outside ASCII"),
        ))
    }
}

/// A path that AWS takes as a pattern is written as one; any other as an expression.
pub(super) fn path(path: &PathMatch, semantics: Semantics) -> Result<Term, Refusal> {
    let long = |value| short(Code::PathUnsupported, "path", value);
    let pattern = |text: &str| limits::holds_only(text, limits::PATH_CHARACTERS);
    let literal = |text: &str| pattern(text) && !text.contains(['*', '?']);
    let ascii = |text: &str| ascii(Code::PathUnsupported, "path", text);
    Ok(match path {
        PathMatch::Exact(path) if literal(path.as_str()) => Term::Globs(vec![long(path.to_string())?]),
        PathMatch::Exact(path) => {
            ascii(path.as_str())?;
            Term::Regex(long(format!("^{}$", escape(path.as_str())))?)
        }
        PathMatch::Prefix(prefix) if prefix.is_root() => Term::Globs(vec!["/*".into()]),
        PathMatch::Prefix(prefix) if literal(prefix.as_str()) => {
            Term::Globs(vec![prefix.to_string(), long(format!("{prefix}/*"))?])
        }
        PathMatch::Prefix(prefix) => {
            ascii(prefix.as_str())?;
            Term::Regex(long(format!("^{}(/.*)?$", escape(prefix.as_str())))?)
        }
        PathMatch::Glob(glob) if pattern(glob.as_str()) => Term::Globs(vec![long(glob.to_string())?]),
        PathMatch::Glob(glob) => {
            ascii(glob.as_str())?;
            Term::Regex(long(glob_expression(glob.as_str()))?)
        }
        PathMatch::Regex(expression) => {
            ascii(expression.as_str())?;
            Term::Regex(long(anchored(expression, semantics))?)
        }
    })
}
