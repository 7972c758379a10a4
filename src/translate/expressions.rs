//! Expressions that cannot be matched in, what all that they may take begins with out.

mod beginnings;
mod groups;

use portcullis_model::{Pattern, PatternError, signs};

pub(super) use self::beginnings::{Beginning, beginning_with, beginnings};

/// What has a meaning of its own in an expression.
const SIGNS: &str = r"\.+*?()|[]{}^$";

/// Longest expression that is matched, in bytes. Of a longer one only what it begins with is looked for, and not as far.
pub(super) const LONGEST: usize = 1024;
/// Longest name of a group, in signs: where none ends so soon, all the rest is not searched for its end.
const LONGEST_NAME: usize = 64;

/// Memory for all expressions of one Ingress, in bytes. One that people write takes some 10 KB.
const ROOM: usize = 32 << 20;
/// What one counts for that is refused once it was looked at, which takes the longest.
const OF_REFUSED: usize = 256 << 10;
/// The same for its signs, at sight: what it may mean is looked for then.
const OF_UNREAD: usize = 8 << 10;

/// What is left of it.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
    /// The last that was refused for its size.
    refused: Box<str>,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            left: ROOM,
            refused: Box::default(),
        }
    }
}

impl Room {
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Reads one that is kept.
    pub(super) fn pattern(&mut self, text: &str) -> Result<Pattern, String> {
        if self.is_spent() {
            return Err("the expressions of this Ingress are too large together".to_owned());
        }
        self.read(text).map_err(|why| {
            if !is_of_size(&why) {
                self.spend(OF_UNREAD);
            }
            why.to_string()
        })
    }

    /// What is matched in the place of one that cannot be had; also where nothing is left, so that the last is closed, too. The
    /// very one that was just refused has been counted.
    pub(super) fn instead(&mut self, text: &str) -> Option<Pattern> {
        match *self.refused == *text {
            true => None,
            false => self.read(text).ok(),
        }
    }

    fn read(&mut self, text: &str) -> Result<Pattern, PatternError> {
        let read = Pattern::parse(text);
        match &read {
            Ok(pattern) => self.take(pattern),
            Err(why) if is_of_size(why) => {
                self.spend(OF_REFUSED);
                self.refused = text.into();
            }
            Err(_) => {}
        }
        read
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// For one that was read already.
    pub(super) fn take(&mut self, pattern: &Pattern) {
        self.spend(pattern.bytes());
    }
}

/// Whether it was looked at before it was refused.
fn is_of_size(why: &PatternError) -> bool {
    matches!(why, PatternError::TooLarge | PatternError::TooManyStates)
}

/// An expression for a text to the letter.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if SIGNS.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// An expression that takes all that this one does, and more where every load balancer reads that alone: without flags, names
/// of groups and possessive quantifiers; and whether its letters are of any case anywhere.
pub(super) fn widened(expression: &str) -> (String, bool) {
    let expression = unquoted(expression);
    let mut out = String::with_capacity(expression.len());
    let (mut any_case, mut previous) = (false, ' ');
    let mut rest = signs(&expression).peekable();
    while let Some(sign) = rest.next() {
        let head = (sign.is_plain() && sign.char == '(').then(|| head(&expression[sign.at..]));
        if let Some((length, instead, ignores_case)) = head.flatten() {
            while rest.next_if(|within| within.at < sign.at + length).is_some() {}
            out.push_str(instead);
            any_case |= ignores_case;
            previous = ' ';
            continue;
        }
        let is_possessive = sign.is_plain() && sign.char == '+' && "*+?".contains(previous);
        if !is_possessive {
            out.push(sign.char);
        }
        previous = if sign.is_plain() { sign.char } else { ' ' };
    }
    (out, any_case)
}

/// How long a group's head is that not every load balancer reads, what stands for it, and whether it makes letters those of
/// any case.
fn head(group: &str) -> Option<(usize, &'static str, bool)> {
    let asked = group.strip_prefix("(?")?;
    let length = |rest: &str| group.len() - rest.len();
    if let Some(rest) = asked.strip_prefix(['>', '|']) {
        return Some((length(rest), "(?:", false));
    }
    let named = [("P<", '>'), ("<", '>'), ("'", '\'')].into_iter();
    for (opens, closes) in named {
        let name = asked.strip_prefix(opens);
        let name = name.filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'));
        let Some(name) = name else { continue };
        let mut signs = name.char_indices().take(LONGEST_NAME + 1);
        if let Some((end, _)) = signs.find(|(_, c)| *c == closes) {
            return Some((length(&name[end + 1..]), "(", false));
        }
    }
    // All but the one by which spaces mean nothing.
    let rest = asked.trim_start_matches(|c: char| "imsuUnJ^-".contains(c));
    let flags = &asked[..asked.len() - rest.len()];
    let ignores_case = flags.split('-').next().is_some_and(|on| on.contains('i'));
    match rest.chars().next() {
        Some(')') if !flags.is_empty() => Some((length(rest) + 1, "", ignores_case)),
        Some(':') if !flags.is_empty() => Some((length(rest) + 1, "(?:", ignores_case)),
        _ => None,
    }
}

/// With what stands between `\Q` and `\E` to the letter.
fn unquoted(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(text) = behind.strip_prefix('Q') {
            let (text, behind) = text.split_once(r"\E").unwrap_or((text, ""));
            out.push_str(&quoted(text));
            rest = behind;
            continue;
        }
        let escaped = behind.chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[at..at + 1 + escaped]);
        rest = &behind[escaped..];
    }
    out.push_str(rest);
    out
}

/// The same expression for any case of letters.
pub(super) fn in_any_case(expression: &str) -> String {
    let swapped = |c: char| match c.is_ascii_lowercase() {
        true => c.to_ascii_uppercase(),
        false => c.to_ascii_lowercase(),
    };
    let mut out = String::with_capacity(expression.len() * 4);
    let mut rest = signs(expression).peekable();
    while let Some(sign) = rest.next() {
        if sign.is_plain() && sign.char == '[' {
            let mut end = sign.end();
            while let Some(within) = rest.next_if(|within| within.is_class) {
                end = within.end();
            }
            let class = &expression[sign.at..end];
            let other: String = class.chars().map(swapped).collect();
            match other == class {
                true => out.push_str(class),
                false => out.extend(["(?:", class, "|", &other, ")"]),
            }
        } else if sign.is_plain() && sign.char.is_ascii_alphabetic() {
            out.extend(['[', sign.char, swapped(sign.char), ']']);
        } else {
            out.push(sign.char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::string::string_regex;

    use super::*;
    use portcullis_model::{PathMatch, Pattern};

    fn beginnings(expression: &str) -> Vec<Beginning> {
        super::beginnings(expression, &mut Room::default())
    }

    fn beginning_with(begins: &[Beginning], any_case: bool) -> Option<PathMatch> {
        super::beginning_with(begins, any_case, &mut Room::default())
    }

    const READ: [&str; 12] = [
        "/admin",
        "/admin(/.*)?",
        "/v[0-9]+/x",
        "^/a|/b+",
        "/(admin|boss)s?/.*",
        "/(?:x(a|b)|y{2}|zz)*q",
        r"/a\|b|/c[|)]d",
        "(/a|/b(c|))+",
        "/ab{0,2}c",
        "/a(b|c)?d",
        r"/([)]a|b\))c",
        "/x[a-z]*",
    ];

    /// One of the expressions, and a text that it takes.
    fn taken(before: &'static str) -> impl Strategy<Value = (&'static str, String)> {
        select(&READ).prop_flat_map(move |expression| {
            // It makes none of an anchor.
            let plain = expression.trim_start_matches('^');
            let texts = string_regex(&format!("{before}{plain})")).unwrap();
            texts.prop_map(move |text| (expression, text))
        })
    }

    proptest! {
        #[test]
        fn all_that_an_expression_takes_begins_as_it_does((expression, text) in taken("(?:")) {
            let begins = beginnings(expression);
            let is_begun = |begin: &Beginning| {
                let whole = Pattern::parse(&format!("{begin}(?:.|\n)*"));
                whole.is_ok_and(|pattern| pattern.matches(&text)) || text.is_empty()
            };
            prop_assert!(begins.iter().any(is_begun), "{begins:?} {text:?}");
            if let Some(path) = beginning_with(&begins, false) {
                prop_assert!(path.matches(&text) || text.contains('\n'), "{path}");
            }
        }

        #[test]
        fn any_case_of_letters_is_taken((expression, text) in taken("(?i:")) {
            // Letters of ours alone: some of others are the same but for their case.
            prop_assume!(text.is_ascii() && !text.contains('\n'));
            let path = Pattern::parse(&in_any_case(expression)).unwrap();
            prop_assert!(path.matches(&text), "{path}");
            if let Some(path) = beginning_with(&beginnings(expression), true) {
                prop_assert!(path.matches(&text), "{path}");
            }
        }
    }

    #[test]
    fn what_not_every_load_balancer_reads_is_said_without() {
        let unnamed = format!("/(?<{}>x)", "a".repeat(65));
        for (expression, want, any_case) in [
            ("/admin(x|[(?i)])", "/admin(x|[(?i)])", false),
            (r"/\(?i)", r"/\(?i)", false),
            ("/(?i:adm)in", "/(?:adm)in", true),
            ("(?i)/admin", "/admin", true),
            ("/(?s)admin.*", "/admin.*", false),
            ("/(?i-s:admin).*", "/(?:admin).*", true),
            ("/(?-i:admin)", "/(?:admin)", false),
            ("/(?P<x>a)(?<y>b)(?'z'c)", "/(a)(b)(c)", false),
            ("/(?>admin)++x*+y?+", "/(?:admin)+x*y?", false),
            (r"/a\++", r"/a\++", false),
            (r"/\Qad.min\E.*\Q+", r"/ad\.min.*\+", false),
            (r"/\\Q", r"/\\Q", false),
            (&format!("/(?<{}>x)", "a".repeat(64)), "/(x)", false),
            (&unnamed, &unnamed, false),
            (
                "/(?=a)(?!b)(?<=c)(?<!d)(?:e)(?x)",
                "/(?=a)(?!b)(?<=c)(?<!d)(?:e)(?x)",
                false,
            ),
        ] {
            assert_eq!(widened(expression), (want.to_owned(), any_case), "{expression}");
        }
    }

    #[test]
    fn no_longer_expression_is_looked_into_than_can_be_matched() {
        assert!(Pattern::parse(&"a".repeat(LONGEST)).is_ok());
        assert!(Pattern::parse(&"a".repeat(LONGEST + 1)).is_err());
    }

    #[test]
    fn any_case_of_letters_can_be_said_without_a_flag() {
        for (expression, taken, left) in [
            ("/adm[a-z0-9]+", "/ADMin0", "/ad"),
            (r"/a\d/x{2}", "/A1/xX", "/ad/xx"),
            ("/v[0-9]", "/V1", "/vv"),
        ] {
            let pattern = Pattern::parse(&in_any_case(expression)).unwrap();
            assert!(pattern.matches(taken) && !pattern.matches(left), "{expression}");
        }
    }
}
