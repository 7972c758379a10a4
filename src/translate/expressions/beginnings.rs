//! An expression that cannot be matched in, what all that it may take begins with out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{Glob, PathMatch, Pattern, signs};

use super::groups::{alternatives, group};
use super::{LONGEST, Room, in_any_case, quoted};

/// How many classes of one expression are looked up, each of which is compiled; a further one is any character.
const CLASSES: usize = 64;
/// How many places of a text are looked at where an expression is too long to be matched.
const PLACES: usize = 32;
/// How many beginnings are kept: no more could stand in an expression that is matched.
const MOST: usize = LONGEST / 2;
/// How many groups in one another are looked into: each is read once more.
const DEEPEST: usize = 16;

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
    /// Which, of those that clients send as they are. Looked up once, where it is a class: thousands of places have the same.
    taken: Arc<[char]>,
    takes_slash: bool,
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
            taken: [char].into(),
            takes_slash: char == '/',
        }
    }

    /// Any of the characters that no client sends as they are.
    fn foreign() -> Self {
        Self {
            text: "[^ -~]".to_owned(),
            is_telling: true,
            takes_slash: false,
            ..Self::any()
        }
    }

    fn any() -> Self {
        Self {
            text: ".".to_owned(),
            char: None,
            often: Often::Once,
            is_telling: false,
            taken: Arc::default(),
            takes_slash: true,
        }
    }

    /// Any of several characters; those of one class tell something where they are as few as digits are.
    fn class(text: &str, room: &mut Room) -> Option<Self> {
        const FEW: usize = 16;
        let pattern = room.instead(text)?;
        let taken: Arc<[char]> = printable(&pattern).collect();
        Some(Self {
            text: text.to_owned(),
            char: None,
            often: Often::Once,
            is_telling: (1..=FEW).contains(&taken.len()),
            taken,
            takes_slash: pattern.matches("/"),
        })
    }

    /// Whether each text has it, and few others do.
    fn is_certain(&self) -> bool {
        self.is_telling && self.often.is_some()
    }
}

fn printable(pattern: &Pattern) -> impl Iterator<Item = char> {
    ('!'..='~').filter(|c| pattern.matches(c.encode_utf8(&mut [0; 4])))
}

impl Beginning {
    /// Of a text to the letter.
    pub(in crate::translate) fn of(text: &str) -> Self {
        Self(text.chars().take(LONGEST).map(Piece::of).collect())
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
        if self.0.first().is_some_and(|first| !first.takes_slash) {
            self.0.insert(0, Piece::of('/'));
        }
        self
    }

    /// Whether it begins with what can be the slash that paths begin with.
    pub(in crate::translate) fn takes_slash(&self) -> bool {
        let needed = self.0.iter().position(|piece| piece.often.is_some());
        let first = self.0.iter().take(needed.map_or(self.0.len(), |at| at + 1));
        first.into_iter().any(|piece| piece.takes_slash)
    }

    /// Whether not next to everything begins so.
    pub(in crate::translate) fn is_bounded(&self) -> bool {
        self.0.iter().any(Piece::is_certain)
    }

    /// As many places of it, and more where the first that tells something comes later.
    fn first(&self, places: usize) -> Self {
        let telling = self.0.iter().position(Piece::is_certain);
        let end = places.max(telling.map_or(0, |at| at + 1));
        Self::of_pieces(self.0.iter().take(end).cloned().collect())
    }

    /// The first that tells something, behind a slash or anything: of any number there are but few.
    fn coarsest(&self, any_case: bool) -> Vec<Self> {
        let Some(at) = self.0.iter().position(Piece::is_certain) else {
            return vec![Self(Vec::new())];
        };
        let before = match &self.0[..at] {
            [] => None,
            [slash] if slash.char == Some('/') => Some(Piece::of('/')),
            _ => Some(Piece {
                often: Often::Any,
                ..Piece::any()
            }),
        };
        let with = |piece: Piece| Self(before.iter().cloned().chain([piece]).collect());
        let taken = self.0[at].taken.iter().copied();
        let of_case = |c: char| if any_case { c.to_ascii_lowercase() } else { c };
        match self.0[at].char {
            Some(c) if !c.is_ascii() => vec![with(Piece::foreign())],
            _ => taken.map(|c| with(Piece::of(of_case(c)))).collect(),
        }
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

/// What begins with one of these, or with less of them where they are too long. None where next to everything does.
pub(in crate::translate) fn beginning_with(
    begins: &[Beginning],
    any_case: bool,
    room: &mut Room,
) -> Option<PathMatch> {
    if begins.is_empty() || !begins.iter().all(Beginning::is_bounded) {
        return None;
    }
    let whole = one_of(begins, any_case, room);
    if whole.is_some() {
        return whole;
    }
    // As much of each as fits.
    let mut path = None;
    let (mut fits, mut longest) = (0, begins.iter().map(|begin| begin.0.len()).max()?);
    while fits < longest {
        let places = (fits + longest).div_ceil(2);
        match one_of(
            &distinct(begins.iter().map(|begin| begin.first(places))),
            any_case,
            room,
        ) {
            Some(found) => (path, fits) = (Some(found), places),
            None => longest = places - 1,
        }
    }
    path.or_else(|| {
        let coarsest = begins.iter().flat_map(|begin| begin.coarsest(any_case));
        one_of(&distinct(coarsest), any_case, room)
    })
}

/// None where that is too long.
fn one_of(begins: &[Beginning], any_case: bool, room: &mut Room) -> Option<PathMatch> {
    if let [one] = begins
        && let Some(text) = one.text().filter(|_| !any_case)
    {
        return Some(PathMatch::Glob(Glob::beginning(&text)));
    }
    let whole = match begins {
        [one] => one.to_string(),
        _ => {
            let all: Vec<String> = begins.iter().map(Beginning::to_string).collect();
            format!("(?:{})", all.join("|"))
        }
    };
    let whole = if any_case { in_any_case(&whole) } else { whole };
    room.instead(&format!("{whole}.*")).map(PathMatch::Regex)
}

/// Each but once.
fn distinct(begins: impl Iterator<Item = Beginning>) -> Vec<Beginning> {
    let mut seen = BTreeSet::new();
    begins.filter(|begin| seen.insert(begin.to_string())).collect()
}

/// What each alternative of an expression begins with, also of a group that it begins with.
pub(in crate::translate) fn beginnings(expression: &str, room: &mut Room) -> Vec<Beginning> {
    let mut looking = Looking {
        classes: BTreeMap::new(),
        places: if expression.len() > LONGEST {
            PLACES
        } else {
            LONGEST
        },
        kept: PLACES,
        room,
    };
    looking.beginnings(expression, 0)
}

/// How far an expression may still be looked into, so that one of any length is read in a time that is in proportion to it.
struct Looking<'r> {
    classes: BTreeMap<Box<str>, Option<Piece>>,
    places: usize,
    /// How many places are kept where there are too many beginnings.
    kept: usize,
    /// For its classes.
    room: &'r mut Room,
}

impl Looking<'_> {
    fn beginnings(&mut self, expression: &str, depth: usize) -> Vec<Beginning> {
        let mut all = Vec::new();
        for alternative in alternatives(expression) {
            all.append(&mut self.of_alternative(alternative, depth));
            if all.len() > MOST {
                all = self.fewer(&all);
            }
        }
        all
    }

    /// About half as many, with less of each.
    fn fewer(&mut self, all: &[Beginning]) -> Vec<Beginning> {
        let mut fewer = distinct(all.iter().map(|begin| begin.first(self.kept)));
        while fewer.len() > MOST / 2 && self.kept > 1 {
            self.kept = self.kept * 3 / 4;
            fewer = distinct(fewer.iter().map(|begin| begin.first(self.kept)));
        }
        if fewer.len() > MOST / 2 {
            fewer = distinct(fewer.iter().flat_map(|begin| begin.coarsest(false)));
        }
        fewer
    }

    fn of_alternative(&mut self, expression: &str, depth: usize) -> Vec<Beginning> {
        let mut rest = expression.trim_start_matches('^');
        rest = rest.strip_prefix(r"\A").unwrap_or(rest);
        let mut pieces = Vec::new();
        while pieces.len() < self.places {
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
                    _ if depth < DEEPEST && !may_be_none => {
                        let within = within.strip_prefix("?:").unwrap_or(within);
                        let within = self.beginnings(within, depth + 1).into_iter();
                        let whole = |within: Beginning| {
                            let whole = pieces.iter().cloned().chain(within.0);
                            Beginning::of_pieces(whole.take(self.places).collect())
                        };
                        return within.map(whole).collect();
                    }
                    _ => break,
                }
            }
            let Some((piece, behind)) = self.piece(rest) else {
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
    fn piece<'e>(&mut self, expression: &'e str) -> Option<(Piece, &'e str)> {
        let mut all = expression.chars();
        let first = all.next()?;
        let behind = all.as_str();
        match first {
            '\\' => {
                let escaped = all.next()?;
                let piece = match escaped {
                    'd' | 'D' | 's' | 'S' | 'w' | 'W' => self.class(&expression[..2])?,
                    _ if escaped.is_alphanumeric() => return None,
                    _ => Piece::of(escaped),
                };
                Some((piece, all.as_str()))
            }
            '[' => {
                let within = signs(expression).skip(1).take_while(|sign| sign.is_class);
                let end = within.last()?.end();
                Some((self.class(&expression[..end])?, &expression[end..]))
            }
            '.' => Some((Piece::any(), behind)),
            '(' | ')' | '|' | '*' | '+' | '?' | '{' | '^' | '$' => None,
            _ => Some((Piece::of(first), behind)),
        }
    }

    fn class(&mut self, text: &str) -> Option<Piece> {
        if let Some(known) = self.classes.get(text) {
            return known.clone();
        }
        if self.classes.len() >= CLASSES {
            return Some(Piece::any());
        }
        let class = Piece::class(text, self.room);
        self.classes.insert(text.into(), class.clone());
        class
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

#[cfg(test)]
mod tests {
    use super::*;

    fn beginnings(expression: &str) -> Vec<Beginning> {
        super::beginnings(expression, &mut Room::default())
    }

    fn beginning_with(begins: &[Beginning], any_case: bool) -> Option<PathMatch> {
        super::beginning_with(begins, any_case, &mut Room::default())
    }

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
        assert!((0..1000).all(|number| path.matches(&format!("/x{number}/a"))) && !path.matches("/xa"));
        let long = beginnings(&format!("/[ab]{}(", "x".repeat(2000)));
        let path = beginning_with(&long, false).unwrap();
        assert!(path.matches(&format!("/a{}", "x".repeat(2000))) && !path.matches("/ax"));
    }

    /// As many alternatives.
    fn alternatives_of(count: usize, each: impl Fn(usize) -> String) -> String {
        (0..count).map(each).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn of_many_alternatives_as_much_is_closed_as_fits() {
        let names = |at: usize| {
            format!(
                "{}{}min{at:03}",
                ['a', 'b', 'c', 'k', 'x', 'y', 'z'][at % 7],
                (at * 7) % 26
            )
        };
        let some = |at: usize| format!("[a-z]+/[{at}]x");
        for (expression, any_case, taken, left) in [
            (alternatives_of(110, names), false, "/b7min001/x", "/b8"),
            (alternatives_of(60, names), true, "/B7MIN001", "/b8"),
            (alternatives_of(9000, names), false, "/b7min001/x", "/0"),
            (alternatives_of(9000, names), true, "/B7min001", "/0"),
            (
                format!("api/v1/(?:{})(?!x)", alternatives_of(900, names)),
                false,
                "/api/v1/b7min001",
                "/api/v2",
            ),
            (alternatives_of(9000, some), false, "/k/7x", "/k/x"),
            (
                alternatives_of(9000, |at| format!("[ab]{{{}}}", at + 1)),
                false,
                "/b",
                "/c",
            ),
            (
                ('\u{4e00}'..='\u{6fff}')
                    .map(String::from)
                    .collect::<Vec<_>>()
                    .join("|"),
                false,
                "/\u{4e01}",
                "/c",
            ),
        ] {
            let begins = beginnings(&format!("/({expression})(/.*)?"));
            assert!(begins.len() <= MOST, "{}", begins.len());
            let path = beginning_with(&begins, any_case).unwrap_or_else(|| panic!("{expression}"));
            assert!(path.matches(taken) && !path.matches(left), "{path}");
        }
        // One of which is next to everything.
        let most = beginnings(&format!("/(?:{}|)(?!x)", alternatives_of(900, names)));
        assert_eq!(beginning_with(&most, false), None);
    }

    #[test]
    fn an_expression_of_any_length_is_looked_into_but_so_far() {
        let longest = |expression: &str| beginnings(expression).iter().map(|begin| begin.0.len()).max();
        assert_eq!(longest(&format!("/{}", "x".repeat(LONGEST))), Some(PLACES));
        let deep = |depth: usize| format!("{}x{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(longest(&deep(DEEPEST)), Some(1));
        assert_eq!(longest(&deep(DEEPEST + 1)), Some(0));
        // Also one of few characters, as the last are.
        let classes: String = (0..=CLASSES).map(|at| format!("[{at}]")).collect();
        let begins = beginnings(&format!("{classes}|[0]|[99]"));
        assert!(begins[0].to_string().ends_with("[63]."), "{}", begins[0]);
        assert_eq!([begins[1].is_bounded(), begins[2].is_bounded()], [true, false]);
    }

    #[test]
    fn a_class_is_looked_up_once_however_often_it_stands() {
        let begins = beginnings(&alternatives_of(30, |at| format!("/{at}[0-9]")));
        let classes: Vec<&Piece> = begins.iter().map(|begin| begin.0.last().unwrap()).collect();
        assert_eq!(classes.len(), 30);
        for class in &classes {
            assert_eq!(&*class.taken, &['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
            assert!(Arc::ptr_eq(&class.taken, &classes[0].taken));
        }
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
