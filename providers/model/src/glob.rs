//! Patterns with `*` and `?`: pattern text in, whether a value matches out.

use std::sync::Arc;

use memchr::memmem;
use thiserror::Error;

use crate::text::shared_text;

/// Longest pattern, in bytes. An ALB takes 128: ELBv2 API, PathPatternConditionConfig.
const LONGEST: usize = 1024;
/// Most `*` and `?` of a pattern: each `*` is one more search in what clients send. An ALB takes 6 in a whole rule.
const MOST_WILDCARDS: usize = 32;

/// Longest value in which a piece is looked for place by place: to prepare more costs more.
const SHORT: usize = 64;

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
    #[error("the pattern is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the pattern has more than {MOST_WILDCARDS} wildcards")]
    TooManyWildcards,
}

impl Glob {
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(GlobError::Control(c));
        }
        if text.len() > LONGEST {
            return Err(GlobError::TooLong);
        }
        if wildcards(text).count() > MOST_WILDCARDS {
            return Err(GlobError::TooManyWildcards);
        }
        Ok(Self(text.into()))
    }

    /// As much of a text as a pattern may have, and whatever follows: it takes all that the text would as a pattern.
    pub fn beginning(text: &str) -> Self {
        let end = text.find(char::is_control).unwrap_or(text.len());
        let end = end.min(text.floor_char_boundary(LONGEST - 1));
        let text = &text[..end];
        let end = wildcards(text).nth(MOST_WILDCARDS - 1).unwrap_or(text.len());
        Self(format!("{}*", &text[..end]).into())
    }

    /// Whether the whole value matches, case counting.
    pub fn matches(&self, value: &str) -> bool {
        matches(self.0.as_bytes(), value.as_bytes(), <[u8]>::eq)
    }

    /// Whether the whole value matches, ASCII case aside.
    pub fn matches_ignoring_case(&self, value: &str) -> bool {
        let stars = self.0.bytes().filter(|b| *b == b'*').count();
        if value.len() + stars < self.0.len() {
            return false;
        }
        if stars < 2 {
            return matches(self.0.as_bytes(), value.as_bytes(), <[u8]>::eq_ignore_ascii_case);
        }
        // What stands between two is searched for, in one case.
        let (pattern, value) = (self.0.to_ascii_lowercase(), value.to_ascii_lowercase());
        matches(pattern.as_bytes(), value.as_bytes(), <[u8]>::eq)
    }

    /// How many `*` and `?` it holds; load balancers bound their number.
    pub fn wildcards(&self) -> usize {
        wildcards(&self.0).count()
    }

    /// The text before the first wildcard.
    pub fn literal_prefix(&self) -> &str {
        self.0.split(['*', '?']).next().unwrap_or_default()
    }
}

/// Where they stand.
fn wildcards(text: &str) -> impl Iterator<Item = usize> {
    text.match_indices(['*', '?']).map(|(at, _)| at)
}

/// What stands before the first `*` and behind the last is where the value begins and ends, and each piece between is taken
/// where it is found first: no later place leaves more for those that follow. Of equal lengths, `same` says whether two are.
fn matches(pattern: &[u8], value: &[u8], same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    let Some(star) = memchr::memchr(b'*', pattern) else {
        return fits(pattern, value, same);
    };
    let (first, behind) = (&pattern[..star], &pattern[star + 1..]);
    let last = &behind[memchr::memrchr(b'*', behind).map_or(0, |at| at + 1)..];
    let between = &behind[..behind.len() - last.len()];
    let Some(free) = value.len().checked_sub(first.len() + last.len()) else {
        return false;
    };
    let (begin, rest) = value.split_at(first.len());
    let (mut rest, end) = rest.split_at(free);
    if !fits(first, begin, &same) || !fits(last, end, &same) {
        return false;
    }
    for piece in between.split(|b| *b == b'*').filter(|piece| !piece.is_empty()) {
        match find(piece, rest) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

/// Whether a piece, in which `?` is any byte, is the whole value.
fn fits(piece: &[u8], value: &[u8], same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    let mut at = 0;
    piece.len() == value.len()
        && piece.split(|b| *b == b'?').all(|run| {
            let equal = same(run, &value[at..at + run.len()]);
            at += run.len() + 1;
            equal
        })
}

/// Where a piece is found first.
fn find(piece: &[u8], value: &[u8]) -> Option<usize> {
    let last = value.len().checked_sub(piece.len())?;
    match piece.contains(&b'?') {
        false => memmem::find(value, piece),
        true if value.len() <= SHORT => {
            (0..=last).find(|at| fits(piece, &value[*at..at + piece.len()], <[u8]>::eq))
        }
        true => find_any(piece, value),
    }
}

/// The same of a piece with `?`, by one bit for each of its bytes: set where the piece up to there ends at the byte of the
/// value that is looked at (Shift-And). The steps are the words of the piece for each byte of the value, whatever these are.
fn find_any(piece: &[u8], value: &[u8]) -> Option<usize> {
    let words = piece.len().div_ceil(64);
    let bit = |at: usize| (at / 64, 1_u64 << (at % 64));
    let mut any = vec![0_u64; words];
    for (at, _) in piece.iter().enumerate().filter(|(_, wanted)| **wanted == b'?') {
        let (word, bit) = bit(at);
        any[word] |= bit;
    }
    let mut taking = any.repeat(256);
    for (at, wanted) in piece.iter().enumerate() {
        let (word, bit) = bit(at);
        taking[usize::from(*wanted) * words + word] |= bit;
    }
    let (last, done) = bit(piece.len() - 1);
    let mut ends = vec![0_u64; words];
    for (at, byte) in value.iter().enumerate() {
        let taking = &taking[usize::from(*byte) * words..][..words];
        let mut carried = 1;
        for (ends, taking) in ends.iter_mut().zip(taking) {
            let next = *ends >> 63;
            *ends = (*ends << 1 | carried) & taking;
            carried = next;
        }
        if ends[last] & done != 0 {
            return Some(at + 1 - piece.len());
        }
    }
    None
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
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("a**c", "ac", true),
            ("*a?c*", "xabxaxc", true),
            ("*a?c*c", "xaaxc", false),
            ("*??*", "a", false),
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
    #[test]
    fn what_is_searched_for_is_found_where_it_is_first() {
        for length in [1, 63, 64, 65, 127, 128, 129, 1000] {
            let run = "a".repeat(length);
            for (pattern, value, want) in [
                (format!("*?{run}b*"), format!("{run}{run}b"), true),
                (format!("*?{run}b*"), format!("{run}b"), false),
                (format!("*{run}?b*c"), format!("{run}{run}{run}xbc"), true),
                (format!("*{run}?b*c"), format!("{run}{run}{run}xcb"), false),
            ] {
                let glob = Glob::parse(&pattern).unwrap();
                assert_eq!(glob.matches(&value), want, "{pattern} on {value}");
                assert_eq!(
                    glob.matches_ignoring_case(&value.to_ascii_uppercase()),
                    want,
                    "{pattern}"
                );
            }
        }
    }

    #[test]
    fn a_pattern_has_bounds_and_begins_as_what_exceeds_them() {
        for (text, want) in [
            (format!("/{}", "a".repeat(LONGEST - 1)), None),
            (format!("/{}", "a".repeat(LONGEST)), Some(GlobError::TooLong)),
            (format!("/{}", "*a".repeat(MOST_WILDCARDS)), None),
            (
                format!("/?{}", "*a".repeat(MOST_WILDCARDS)),
                Some(GlobError::TooManyWildcards),
            ),
            ("/\u{e4}?*".repeat(1000), Some(GlobError::TooLong)),
        ] {
            assert_eq!(Glob::parse(&text).err(), want, "{text}");
            let begin = Glob::beginning(&text);
            assert_eq!(Glob::parse(begin.as_str()), Ok(begin.clone()));
            let value = text.replace(['*', '?'], "x");
            assert!(begin.matches(&value), "{begin} on {value}");
            assert!(!begin.matches(&value[1..]), "{begin}");
        }
        assert_eq!(Glob::beginning("/a\nb").as_str(), "/a*");
    }
}
