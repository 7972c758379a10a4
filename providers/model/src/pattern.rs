//! Regular expressions that mean the same everywhere: text in, an anchored pattern or the reason why not out.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use regex_syntax::hir::literal::{Extractor, Seq};
use thiserror::Error;

use crate::signs::signs;
use crate::text::serialize_as_display;

/// Longest pattern, in bytes, before the provider's own limit is looked at; keeps compiling cheap.
const LONGEST: usize = 1024;
/// Bound on the compiled program, in bytes: a tenant's pattern must not take the memory of its neighbours.
const PROGRAM_BYTES: usize = 1 << 20;

/// A regular expression that must match the whole value.
///
/// Only what AWS's dialect and Rust's `regex` have in common: no look-around, no back-references, no possessive
/// quantifiers, no Unicode classes, no flags. Source: ELBv2 "Regular expressions in listener rules".
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Arc<str>,
    regex: regex::Regex,
    start: Arc<str>,
}

/// Why a text is no portable regular expression.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    #[error("the expression is empty")]
    Empty,
    #[error("the expression is longer than 1024 bytes")]
    TooLong,
    #[error("{0} is not supported by every load balancer")]
    NotPortable(&'static str),
    #[error("{0}")]
    Syntax(String),
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > LONGEST {
            return Err(PatternError::TooLong);
        }
        refuse_unportable(text)?;
        // By itself first: `a)|(?:.*` would close the group around it and so escape the anchors.
        build(text)?;
        Ok(Self {
            source: text.into(),
            regex: build(&format!("^(?:{text})$"))?,
            start: start(text),
        })
    }

    /// The expression as written, without the anchors added around it.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// How many groups a replacement may name, beside the whole.
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    pub fn matches(&self, value: &str) -> bool {
        self.regex.is_match(value)
    }

    /// Replaces the match by the replacement, in which `$1` … `$9` stand for groups and any other `$` for itself.
    pub fn replace(&self, value: &str, replacement: &str) -> String {
        let expand = |groups: &regex::Captures<'_>| {
            let mut parts = replacement.split('$');
            let mut out = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                match part.chars().next().and_then(|c| c.to_digit(10)) {
                    Some(digit) if digit > 0 => {
                        let group = usize::try_from(digit).ok().and_then(|at| groups.get(at));
                        out.push_str(group.map_or("", |g| g.as_str()));
                        out.push_str(&part[1..]);
                    }
                    _ => {
                        out.push('$');
                        out.push_str(part);
                    }
                }
            }
            out
        };
        self.regex.replace(value, expand).into_owned()
    }

    /// The text every match starts with.
    pub fn literal_prefix(&self) -> &str {
        &self.start
    }
}

/// What all of the texts that an expression takes have in common where they begin.
fn start(text: &str) -> Arc<str> {
    let mut extractor = Extractor::new();
    extractor.limit_literal_len(LONGEST);
    let starts = regex_syntax::parse(text).map(|parsed| extractor.extract(&parsed));
    let starts = starts.unwrap_or_else(|_| Seq::infinite());
    let common = starts.longest_common_prefix().unwrap_or_default();
    // A letter may have been cut where two differ in a part of it.
    let whole = common.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    whole.into()
}

fn build(text: &str) -> Result<regex::Regex, PatternError> {
    let built = regex::RegexBuilder::new(text).size_limit(PROGRAM_BYTES).build();
    built.map_err(|error| PatternError::Syntax(last_line(&error.to_string())))
}

fn refuse_unportable(text: &str) -> Result<(), PatternError> {
    let mut previous = ' ';
    for sign in signs(text) {
        let refused = match (previous, sign.char) {
            ('\\', 'p' | 'P') => Some("a Unicode class"),
            ('\\', '1'..='9') => Some("a back-reference"),
            ('*' | '+' | '?' | '}', '+') => Some("a possessive quantifier"),
            ('(', '?') if !text[sign.end()..].starts_with(':') => Some("a flag, named group or look-around"),
            // What follows is taken away here, and is a character there.
            ('&', '&') | ('-', '-') | ('~', '~') if sign.is_class => Some("an operator between classes"),
            // Elsewhere it is a character, unless it names a class.
            (_, '[') if sign.is_class && !sign.is_escaped && !text[sign.end()..].starts_with(':') => {
                Some("a [ between brackets, without a backslash")
            }
            // Elsewhere the class is empty, or no class.
            (_, ']') if sign.is_first => Some("a ] that comes first between brackets, without a backslash"),
            _ => None,
        };
        if let Some(refused) = refused {
            return Err(PatternError::NotPortable(refused));
        }
        previous = if sign.is_escaped { ' ' } else { sign.char };
    }
    Ok(())
}

fn last_line(message: &str) -> String {
    message
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)
    }
}
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
impl Eq for Pattern {}
impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.source.cmp(&other.source)
    }
}
impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}
serialize_as_display!(Pattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_value() {
        for (pattern, value, want) in [
            ("/api/v[0-9]+", "/api/v12", true),
            ("/api/v[0-9]+", "/api/v12/x", false),
            ("a|b", "ab", false),
            ("^/x$", "/x", true),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().matches(value),
                want,
                "{pattern} on {value}"
            );
        }
    }

    #[test]
    fn a_replacement_names_groups_by_one_digit() {
        for (pattern, value, replacement, want) in [
            ("/api/(.*)", "/api/v1", "/$1", "/v1"),
            ("/api/(.*)", "/api/v1", "/$1x", "/v1x"),
            ("/(a)(b)?", "/a", "/$2$1$3", "/a"),
            ("/(a)", "/a", "/$0$$a$", "/$0$$a$"),
            ("/(a)", "/b", "/$1", "/b"),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(
                pattern.replace(value, replacement),
                want,
                "{pattern} {replacement} on {value}"
            );
        }
    }

    #[test]
    fn what_not_every_load_balancer_knows_is_refused() {
        for text in [
            "",
            "(?=a)",
            "(?i)a",
            r"\pL",
            r"(a)\1",
            "a++",
            "a{2}+",
            "(",
            "[z-a]",
            "[a-z&&b]",
            "[[a-z]&&[b]]",
            "[[a]b]",
            "[]a]",
            "[^]a]",
            "a)|(?:.*",
            ")(",
            &"a".repeat(1025),
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        for text in [
            "[a-z&~-]&&--",
            "(?:a|b)+",
            r"\++",
            "[[:alpha:]_]+",
            r"[\[\]^]",
            r"[\[^]",
            r"[^\]]",
        ] {
            assert!(Pattern::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_literal_prefix_is_what_every_match_starts_with() {
        for (pattern, want) in [
            ("/api/v[0-9]", "/api/v"),
            ("^/a", "/a"),
            ("/ab?", "/a"),
            ("/a|/b", "/"),
            ("a|/b", ""),
            ("/a+", "/a"),
            (".*", ""),
            ("/admin/(a|b)/.*", "/admin/"),
            ("/admin/(?:all|api)?/x", "/admin/"),
            ("(/admin)/(.*)", "/admin/"),
            (r"/v1\.0/.*", "/v1.0/"),
            (r"/a\|b.*", "/a|b"),
            ("/[|]x", "/|x"),
            ("/v[12]/x", "/v"),
            ("/(ä|ö)", "/"),
            ("/a{0,3}b", "/"),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().literal_prefix(),
                want,
                "{pattern}"
            );
        }
    }
}
