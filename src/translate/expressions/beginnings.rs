//! An expression that cannot be matched in, what all that it may take begins with out.

use portcullis_model::{Glob, PathMatch, Pattern, Sign, signs};

use super::{LONGEST, in_any_case, quoted};

/// What texts begin with: an expression that every load balancer reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Beginning(Vec<Piece>);

/// One place of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    text: String,
    /// None of several.
    char: Option<char>,
    often: Often,
    /// Whether few texts have it there.
    is_telling: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Often {
    Once,
    Many,
    AtMostOnce,
    Any,
}

impl Often {
    fn is_some(self) -> bool {
        matches!(self, Self::Once | Self::Many)
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Once => "",
            Self::Many => "+",
            Self::AtMostOnce => "?",
            Self::Any => "*",
        }
    }
}

impl Piece {
    fn of(char: char) -> Self {
        Self {
            text: quoted(char.encode_utf8(&mut [0; 4])),
            char: Some(char),
            often: Often::Once,
            is_telling: char != '/',
        }
    }

    /// Any of several characters; those of one class tell something where they are as few as digits are.
    fn class(text: &str) -> Option<Self> {
        const FEW: usize = 16;
        let pattern = Pattern::parse(text).ok()?;
        let taken = ('!'..='~').filter(|c| pattern.matches(c.encode_utf8(&mut [0; 4])));
        Some(Self {
            text: text.to_owned(),
            char: None,
            often: Often::Once,
            is_telling: (1..=FEW).contains(&taken.count()),
        })
    }

    /// Whether each text has it, and few others do.
    fn is_certain(&self) -> bool {
        self.is_telling && self.often.is_some()
    }

    fn takes_slash(&self) -> bool {
        Pattern::parse(&self.text).is_ok_and(|pattern| pattern.matches("/"))
    }
}

impl Beginning {
    /// Of a text to the letter.
    pub(in crate::translate) fn of(text: &str) -> Self {
        Self(text.chars().map(Piece::of).collect())
    }

    /// Without what may be none where anything may follow.
    fn of_pieces(mut pieces: Vec<Piece>) -> Self {
        while pieces.pop_if(|last| !last.often.is_some()).is_some() {}
        if let Some(last) = pieces.last_mut() {
            last.often = Often::Once;
        }
        Self(pieces)
    }

    /// With the slash that paths begin with.
    pub(in crate::translate) fn with_slash(mut self) -> Self {
        if self.0.first().is_some_and(|first| !first.takes_slash()) {
            self.0.insert(0, Piece::of('/'));
        }
        self
    }

    /// Whether not next to everything begins so.
    pub(in crate::translate) fn is_bounded(&self) -> bool {
        self.0.iter().any(Piece::is_certain)
    }

    /// As a text, where it is one in which no sign of a glob stands.
    fn text(&self) -> Option<String> {
        let char = |piece: &Piece| {
            piece
                .char
                .filter(|c| !"*?".contains(*c) && piece.often == Often::Once)
        };
        self.0.iter().map(char).collect()
    }
}

impl std::fmt::Display for Beginning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut all = self.0.iter();
        all.try_for_each(|piece| write!(f, "{}{}", piece.text, piece.often.sign()))
    }
}

/// What begins with one of these, or as all of them do where they are too many. None where next to everything does.
pub(in crate::translate) fn beginning_with(begins: &[Beginning], any_case: bool) -> Option<PathMatch> {
    if begins.is_empty() || !begins.iter().all(Beginning::is_bounded) {
        return None;
    }
    if let [one] = begins
        && let Some(text) = one.text().filter(|_| !any_case)
    {
        return Glob::parse(&format!("{text}*")).ok().map(PathMatch::Glob);
    }
    let whole = match begins {
        [one] => one.to_string(),
        _ => {
            let all: Vec<String> = begins.iter().map(Beginning::to_string).collect();
            format!("(?:{})", all.join("|"))
        }
    };
    let whole = if any_case { in_any_case(&whole) } else { whole };
    if let Ok(pattern) = Pattern::parse(&format!("{whole}.*")) {
        return Some(PathMatch::Regex(pattern));
    }
    beginning_with(&[common(begins)], any_case)
}

/// What all of several begin with; of one, its first half.
fn common(begins: &[Beginning]) -> Beginning {
    let (first, rest) = match begins {
        [] => return Beginning(Vec::new()),
        [one] => return Beginning::of_pieces(one.0[..one.0.len() / 2].to_vec()),
        [first, rest @ ..] => (first, rest),
    };
    let is_shared = |(at, piece): &(usize, &Piece)| rest.iter().all(|other| other.0.get(*at) == Some(*piece));
    let shared = first.0.iter().enumerate().take_while(is_shared);
    Beginning::of_pieces(shared.map(|(_, piece)| piece.clone()).collect())
}

/// What each alternative of an expression begins with, also of a group that it begins with.
pub(in crate::translate) fn beginnings(expression: &str) -> Vec<Beginning> {
    let of_each = alternatives(expression).into_iter().flat_map(of_alternative);
    of_each.collect()
}

/// What stands between the `|` that are in no group and no class, and mean themselves nowhere.
fn alternatives(expression: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0_usize, 0);
    let mut found = Vec::new();
    for sign in signs(expression).filter(Sign::is_plain) {
        match sign.char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => {
                found.push(&expression[start..sign.at]);
                start = sign.end();
            }
            _ => {}
        }
    }
    found.push(&expression[start..]);
    found
}

fn of_alternative(expression: &str) -> Vec<Beginning> {
    let mut rest = expression.trim_start_matches('^');
    rest = rest.strip_prefix(r"\A").unwrap_or(rest);
    let mut pieces = Vec::new();
    loop {
        if let Some((within, behind)) = group(rest) {
            // Where its bracket is missing, it may be one that need not be there.
            let may_be_none = match behind {
                Some(behind) => !often(behind).0.is_some(),
                None => pieces.iter().any(Piece::is_certain),
            };
            match within.strip_prefix('?') {
                // What it asks for beside takes some away.
                Some(asked)
                    if ["=", "!", "<=", "<!", "#"]
                        .iter()
                        .any(|sign| asked.starts_with(sign)) =>
                {
                    rest = behind.unwrap_or_default();
                    continue;
                }
                Some(asked) if !asked.starts_with(':') => break,
                // Each recursion is of a shorter text.
                _ if within.len() < LONGEST && !may_be_none => {
                    let within = beginnings(within.strip_prefix("?:").unwrap_or(within)).into_iter();
                    let whole = |within: Beginning| {
                        Beginning::of_pieces(pieces.iter().cloned().chain(within.0).collect())
                    };
                    return within.map(whole).collect();
                }
                _ => break,
            }
        }
        let Some((piece, behind)) = piece(rest) else {
            break;
        };
        let (often, behind) = often(behind);
        pieces.push(Piece { often, ..piece });
        match behind {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    vec![Beginning::of_pieces(pieces)]
}

/// A character or a class that an expression begins with, and what follows it.
fn piece(expression: &str) -> Option<(Piece, &str)> {
    let mut all = expression.chars();
    let first = all.next()?;
    let behind = all.as_str();
    match first {
        '\\' => {
            let escaped = all.next()?;
            let piece = match escaped {
                'd' | 'D' | 's' | 'S' | 'w' | 'W' => Piece::class(&expression[..2])?,
                _ if escaped.is_alphanumeric() => return None,
                _ => Piece::of(escaped),
            };
            Some((piece, all.as_str()))
        }
        '[' => {
            let within = signs(expression).skip(1).take_while(|sign| sign.is_class);
            let end = within.last()?.end();
            Some((Piece::class(&expression[..end])?, &expression[end..]))
        }
        '.' => Some((Piece::class(".")?, behind)),
        '(' | ')' | '|' | '*' | '+' | '?' | '{' | '^' | '$' => None,
        _ => Some((Piece::of(first), behind)),
    }
}

/// How often what stands before may be there, and what follows, where that is known.
fn often(behind: &str) -> (Often, Option<&str>) {
    let (often, rest) = match behind.chars().next() {
        Some('*') => (Often::Any, &behind[1..]),
        Some('+') => (Often::Many, &behind[1..]),
        Some('?') => (Often::AtMostOnce, &behind[1..]),
        Some('{') => {
            let Some((counts, rest)) = behind[1..].split_once('}') else {
                return (Often::Once, None);
            };
            let least = counts.split(',').next().unwrap_or_default();
            match least.parse::<u32>() {
                Ok(0) => (Often::Any, rest),
                Ok(_) => (Often::Many, rest),
                Err(_) if least.is_empty() => return (Often::Any, None),
                Err(_) => return (Often::Once, None),
            }
        }
        _ => return (Often::Once, Some(behind)),
    };
    // As few as can be, or as many.
    let rest = rest.strip_prefix(['?', '+']).unwrap_or(rest);
    (often, Some(rest))
}

/// What stands in the group that an expression begins with, and what follows that, unless its bracket is missing.
fn group(expression: &str) -> Option<(&str, Option<&str>)> {
    let within = expression.strip_prefix('(')?;
    let mut depth = 0_usize;
    for sign in signs(within).filter(Sign::is_plain) {
        match sign.char {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&within[..sign.at], Some(&within[sign.end()..]))),
            ')' => depth -= 1,
            _ => {}
        }
    }
    Some((within, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_begins_as_each_of_its_alternatives_does() {
        for (expression, want) in [
            ("/admin", &["/admin"][..]),
            ("/admin(", &["/admin"]),
            ("/admin)", &["/admin"]),
            ("/admin(?=x)", &["/admin"]),
            ("/(?=x)admin", &["/admin"]),
            ("/admins?(?=x)", &["/admin"]),
            ("^/a|/b", &["/a", "/b"]),
            (r"/a\|b|/c[|]d(", &[r"/a\|b", "/c[|]d"]),
            ("/(admin|boss)(?!x)", &["/admin", "/boss"]),
            ("/(?:x(a|b)|y)z(?!x)", &["/xa", "/xb", "/y"]),
            ("/(a|)(?=x)", &["/a", "/"]),
            ("/(a|b)?(?=x)", &["/"]),
            ("(/a|/b)+(?=x)", &["/a", "/b"]),
            ("/(?!a|b).*", &["/"]),
            // Its bracket is missing.
            ("/(a|b", &["/a", "/b"]),
            ("/((a).*", &["/a"]),
            ("/a(/(.*)", &["/a"]),
            (r"/([)]a|b\))(?=x)", &["/[)]a", r"/b\)"]),
            ("/(admin){1,5000}/x", &["/admin"]),
            ("/(admin){0,5}/x", &["/"]),
            ("/admin{2,1}", &["/admin"]),
            ("/admin{", &["/admin"]),
            ("/admin{,5}x", &["/admi"]),
            ("/[aA]dmin(", &["/[aA]dmin"]),
            ("/[[:alpha:]]dmin(", &["/[[:alpha:]]dmin"]),
            ("/a*d?m+i{3,}n(", &["/a*d?m+i+n"]),
            ("/.*admin(", &["/.*admin"]),
            ("/.*(", &["/"]),
            (r"/\d+\.\wx\b", &[r"/\d+\.\wx"]),
            ("/a[b-", &["/a"]),
            ("/a(?x) b", &["/a"]),
            ("/a(?1)b", &["/a"]),
            ("", &[""]),
        ] {
            let begins: Vec<String> = beginnings(expression).iter().map(Beginning::to_string).collect();
            assert_eq!(begins, want, "{expression}");
        }
        // Too many to be matched.
        let many: Vec<Beginning> = (0..1000)
            .map(|number| Beginning::of(&format!("/x{number}")))
            .collect();
        let path = beginning_with(&many, false).unwrap();
        assert_eq!(path.to_string(), "glob:/x*");
        let long = beginnings(&format!("/[ab]{}(", "x".repeat(2000)));
        let path = beginning_with(&long, false).unwrap();
        assert!(path.matches(&format!("/a{}", "x".repeat(2000))) && !path.matches("/ax"));
    }

    #[test]
    fn what_next_to_everything_begins_with_is_not_closed() {
        for (expression, want) in [
            ("/", None),
            ("/.", None),
            ("/[a-z]+/", None),
            (r"/\w", None),
            ("/[^a]", None),
            ("/a*", None),
            ("/[a-z]+/x", Some("regex:/[a-z]+/x.*")),
            ("/.dmin", Some("regex:/.dmin.*")),
            ("/[0-9]+", Some("regex:/[0-9].*")),
            (r"/\d\.", Some(r"regex:/\d\..*")),
            (r"/a\*", Some(r"regex:/a\*.*")),
            (r"/a\.b", Some("glob:/a.b*")),
        ] {
            let path = beginning_with(&beginnings(expression), false);
            assert_eq!(path.map(|path| path.to_string()).as_deref(), want, "{expression}");
        }
    }
}
