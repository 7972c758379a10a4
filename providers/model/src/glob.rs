//! Patterns with `*` and `?`: pattern text in, whether a value matches out.

use std::sync::Arc;

use thiserror::Error;

use crate::text::shared_text;

/// A pattern in which `*` stands for any run of characters, also none and also across `/` and `.`, and `?` for one.
/// Source: ELBv2 "Condition types for listener rules": 0 or more characters, exactly 1 character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(Arc<str>);

shared_text!(Glob);

/// Why a text is no pattern.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GlobError {
    #[error("the pattern is empty")]
    Empty,
    #[error("the pattern holds the control character {0:?}")]
    Control(char),
}

impl Glob {
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(GlobError::Control(c)),
            None => Ok(Self(text.into())),
        }
    }

    /// Whether the whole value matches, case counting.
    pub fn matches(&self, value: &str) -> bool {
        glob(self.0.as_bytes(), value.as_bytes(), u8::eq)
    }

    /// Whether the whole value matches, ASCII case aside.
    pub fn matches_ignoring_case(&self, value: &str) -> bool {
        glob(self.0.as_bytes(), value.as_bytes(), u8::eq_ignore_ascii_case)
    }

    /// How many `*` and `?` it holds; load balancers bound their number.
    pub fn wildcards(&self) -> usize {
        self.0.bytes().filter(|b| matches!(b, b'*' | b'?')).count()
    }

    /// The text before the first wildcard.
    pub fn literal_prefix(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }
}

/// Greedy matching with one point to return to: linear in practice, at worst the product of the lengths.
fn glob(pattern: &[u8], value: &[u8], same: impl Fn(&u8, &u8) -> bool) -> bool {
    let (mut p, mut v) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, v));
                p += 1;
            }
            Some(c) if *c == b'?' || same(c, &value[v]) => {
                p += 1;
                v += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    v = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_takes_any_run_and_question_mark_one_character() {
        for (pattern, value, want) in [
            ("/img/*", "/img/", true),
            ("/img/*", "/img", false),
            ("/img/*", "/img/a/b", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("/a?c", "/abc", true),
            ("/a?c", "/ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("abc", "ABC", false),
        ] {
            assert_eq!(
                Glob::parse(pattern).unwrap().matches(value),
                want,
                "{pattern} on {value}"
            );
        }
        assert!(
            Glob::parse("*.Example.com")
                .unwrap()
                .matches_ignoring_case("A.EXAMPLE.com")
        );
    }

    #[test]
    fn empty_and_control_characters_are_refused() {
        for text in ["", "/a\n", "\u{0}"] {
            assert!(Glob::parse(text).is_err(), "{text:?}");
        }
    }
}
