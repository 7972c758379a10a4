//! Regular expressions that mean the same everywhere: text in, an anchored pattern or the reason why not out.

mod known;
mod states;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::captures::Captures;
use regex_automata::{MatchKind, meta};
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, Look};
use thiserror::Error;

use crate::signs::signs;
use crate::text::serialize_as_display;

/// Longest text in which groups are looked for, and that a replacement makes, in bytes: a step for each byte is the least that they
/// cost. An ALB takes a request line of 16 KiB.
pub const LONGEST_REPLACED: usize = 16 << 10;
/// Longest pattern, in bytes, before the provider's own limit is looked at; keeps compiling cheap.
const LONGEST: usize = 1024;
/// Bound on each compiled program, of which there are up to three, in bytes: a tenant's pattern must not take the memory of its
/// neighbours. `/(\w+)/(\w+)/(\w+)/(\w+)\.(\w+)` has some 300 KB, as a letter is one of any language.
const PROGRAM_BYTES: usize = 320 << 10;

/// A regular expression that must match the whole value.
///
/// Only what AWS's dialect and Rust's `regex` have in common: no look-around, no back-references, no possessive
/// quantifiers, no Unicode classes, no flags. Source: ELBv2 "Regular expressions in listener rules".
#[derive(Clone, Debug)]
pub struct Pattern(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    source: Arc<str>,
    regex: meta::Regex,
    start: Box<str>,
    bytes: usize,
}

/// Why a text is no portable regular expression.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    #[error("the expression is empty")]
    Empty,
    #[error("the expression is longer than 1024 bytes")]
    TooLong,
    #[error("{0} is not supported by every load balancer")]
    NotPortable(&'static str),
    #[error("the expression becomes larger than {PROGRAM_BYTES} bytes")]
    TooLarge,
    #[error(
        "the expression has more than {} states: what follows a .* is counted or repeated too often",
        states::MOST
    )]
    TooManyStates,
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
        known::known(text, compile).map(Self)
    }

    /// The expression as written, without the anchors added around it.
    pub fn as_str(&self) -> &str {
        &self.0.source
    }

    /// How many groups a replacement may name, beside the whole.
    pub fn groups(&self) -> usize {
        self.0.regex.captures_len() - 1
    }

    pub fn matches(&self, value: &str) -> bool {
        self.0.regex.is_match(value)
    }

    /// Memory that it takes, in bytes, with what matching in one thread takes.
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// Replaces the match by the replacement, in which `$1` … `$9` stand for groups and any other `$` for itself. None where
    /// that, or the value, is longer than [`LONGEST_REPLACED`].
    pub fn replace(&self, value: &str, replacement: &str) -> Option<String> {
        if value.len() > LONGEST_REPLACED {
            return None;
        }
        let mut groups = self.0.regex.create_captures();
        self.0.regex.captures(value, &mut groups);
        match groups.get_match() {
            // It is the whole value.
            Some(_) => expanded(value, &groups, replacement),
            None => Some(value.to_owned()),
        }
    }

    /// The text every match starts with.
    pub fn literal_prefix(&self) -> &str {
        &self.0.start
    }
}

fn expanded(value: &str, groups: &Captures, replacement: &str) -> Option<String> {
    let mut out = String::new();
    let mut add = |text: &str| {
        let fits = out.len() + text.len() <= LONGEST_REPLACED;
        fits.then(|| out.push_str(text))
    };
    let mut parts = replacement.split('$');
    add(parts.next().unwrap_or_default())?;
    for part in parts {
        match part.chars().next().and_then(|c| c.to_digit(10)) {
            Some(digit) if digit > 0 => {
                let group = usize::try_from(digit).ok().and_then(|at| groups.get_group(at));
                add(group.map_or("", |group| &value[group.range()]))?;
                add(&part[1..])?;
            }
            _ => {
                add("$")?;
                add(part)?;
            }
        }
    }
    Some(out)
}

/// Parsed by itself, so that `a)|(?:.*` is none, and anchored then.
fn compile(text: &str) -> Result<Compiled, PatternError> {
    let parsed = regex_syntax::parse(text);
    let parsed = parsed.map_err(|error| PatternError::Syntax(last_line(&error.to_string())))?;
    let start = start(&parsed);
    let whole = Hir::concat(vec![Hir::look(Look::Start), parsed, Hir::look(Look::End)]);
    let settings = thompson::Config::new()
        .nfa_size_limit(Some(PROGRAM_BYTES))
        .which_captures(WhichCaptures::None);
    let nfa = thompson::Compiler::new()
        .configure(settings)
        .build_from_hir(&whole);
    let nfa = nfa.map_err(|_| PatternError::TooLarge)?;
    let matching = states::memory(nfa, &whole).ok_or(PatternError::TooManyStates)?;
    let settings = meta::Config::new()
        .match_kind(MatchKind::LeftmostFirst)
        .nfa_size_limit(Some(PROGRAM_BYTES))
        .onepass_size_limit(Some(PROGRAM_BYTES));
    let built = meta::Builder::new().configure(settings).build_from_hir(&whole);
    let regex = built.map_err(|_| PatternError::TooLarge)?;
    Ok(Compiled {
        // Forward, and back where that is quicker.
        bytes: regex.memory_usage() + 2 * matching + text.len() + start.len() + size_of::<Compiled>(),
        source: text.into(),
        regex,
        start,
    })
}

/// What all of the texts that an expression takes have in common where they begin.
fn start(parsed: &Hir) -> Box<str> {
    let mut extractor = Extractor::new();
    extractor.limit_literal_len(LONGEST);
    let starts = extractor.extract(parsed);
    let common = starts.longest_common_prefix().unwrap_or_default();
    // A letter may have been cut where two differ in a part of it.
    let whole = common.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    whole.into()
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
        f.write_str(self.as_str())
    }
}
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
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
        self.as_str().cmp(other.as_str())
    }
}
impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}
serialize_as_display!(Pattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matching_takes_is_counted() {
        let bytes = |text: &str| Pattern::parse(text).unwrap().bytes();
        let (few, many) = (bytes("/[ab]*a[ab]"), bytes("/[ab]*a[ab]{9}"));
        // 1,024 states, each of some hundred bytes, twice.
        assert!(many > 100 << 10 && many > few + (100 << 10), "{few} {many}");
        let honest = bytes("/api/v[0-9]+/users/[a-z]+");
        assert!(honest < 64 << 10, "{honest}");
    }

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
                pattern.replace(value, replacement).unwrap(),
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
    #[test]
    fn honest_expressions_have_few_states_and_those_that_cost_more_are_refused() {
        // The documentation of ingress-nginx (Regex paths, Rewrite), of the AWS Load Balancer Controller (conditions, transforms)
        // and what people write.
        for (text, most) in [
            ("/something(/|$)(.*)", 16 << 10),
            ("/foo/bar/[A-Z0-9]{3}", 16 << 10),
            (r"/(?:[a-zA-Z0-9]|_|-)+\.(?:html|css|js)", 16 << 10),
            ("/api/v[0-9]+/.*", 16 << 10),
            (
                r"/static/.*\.(css|js|png|jpg|jpeg|gif|svg|woff2?|ttf|ico)",
                32 << 10,
            ),
            ("/.*/[a-z0-9-]{1,63}/(edit|view)", 64 << 10),
            ("/users/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/.*", 64 << 10),
            (r"[a-z0-9-]{1,63}\.example\.com", 64 << 10),
            (".*(iPhone|Android|Mobile).*", 32 << 10),
            (r"/\b[a-z]+\b/.*", 16 << 10),
            (".*[0-9]{4}", 16 << 10),
            (".*a.{6}", 64 << 10),
            (r"/(\w+)/(\w+)/(\w+)/(\w+)\.(\w+)", 512 << 10),
            ("/.{1,255}", 512 << 10),
            (&"a".repeat(LONGEST), 256 << 10),
            ("(.*a.*b){40}", 256 << 10),
        ] {
            let pattern = Pattern::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert!(pattern.bytes() <= most, "{text}: {}", pattern.bytes());
        }
        for (text, why) in [
            (".{999}", PatternError::TooLarge),
            ("([^a]{40}){30}", PatternError::TooLarge),
            (r"\w{200}", PatternError::TooLarge),
            (".*a.{900}c0", PatternError::TooLarge),
            (".*a.{150}c0", PatternError::TooManyStates),
            (".*a.{12}", PatternError::TooManyStates),
            ("[^c]*a[^c]{100}1", PatternError::TooManyStates),
            ("(a|b)*a(a|b){400}1", PatternError::TooManyStates),
            // In other languages, too.
            (".*\u{4e00}.{12}", PatternError::TooManyStates),
            (r"(\x{100}|.)*[^\x00-\x7f].{12}", PatternError::TooManyStates),
        ] {
            assert_eq!(Pattern::parse(text).err(), Some(why), "{text}");
        }
    }

    #[test]
    fn the_same_text_is_compiled_once() {
        let [one, two] = ["/once/[a-z]+"; 2].map(|text| Pattern::parse(text).unwrap());
        assert!(Arc::ptr_eq(&one.0, &two.0));
    }
}
