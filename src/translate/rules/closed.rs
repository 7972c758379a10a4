//! A path that cannot be read in, what it can be taken to mean out: that is closed, so that no error opens what it guards.

use portcullis_model::{ExactPath, Glob, GlobError, PathMatch, PathPrefix, Pattern};

use crate::translate::expressions::{
    Beginning, LONGEST, Room, beginning_with, beginnings, in_any_case, quoted, widened,
};
use crate::translate::spelling;

/// As it most likely is meant: with its slash, without what a block of YAML ends in, and as clients send it.
fn meant(text: &str) -> String {
    let text = text.trim_matches(|c: char| c.is_control() || c == ' ');
    let slash = if text.starts_with('/') { "" } else { "/" };
    spelling::escaped(&format!("{slash}{text}")).into_owned()
}

/// A text to the letter, with all below it or without. None where no request has such a path.
pub(super) fn to_the_letter(text: &str, is_below: bool) -> Option<PathMatch> {
    let text = meant(text);
    let read = match is_below {
        true => PathPrefix::parse(&text).map(PathMatch::Prefix),
        false => ExactPath::parse(&text).map(PathMatch::Exact),
    };
    if read.is_ok() {
        return read.ok();
    }
    if text.contains(|c: char| c.is_control() || matches!(c, '?' | '#')) {
        return None;
    }
    let expression = match is_below {
        false => quoted(&text),
        // Behind its last slash there is an element already, which is empty.
        true if text.ends_with("//") => format!("{}.*", quoted(&text)),
        true => format!("{}(/.*)?", quoted(text.strip_suffix('/').unwrap_or(&text))),
    };
    Pattern::parse(&expression).ok().map(PathMatch::Regex)
}

/// A pattern that cannot be had, or that no path matches for want of its slash.
pub(super) fn of_glob(text: &str) -> Option<PathMatch> {
    let text = meant(text);
    match Glob::parse(&text) {
        Ok(glob) => return Some(PathMatch::Glob(glob)),
        Err(GlobError::TooLong | GlobError::TooManyWildcards) => {
            return Some(PathMatch::Glob(Glob::beginning(&text)));
        }
        Err(GlobError::Empty | GlobError::Control(_)) => {}
    }
    let begin = text.split(|c: char| c.is_control() || matches!(c, '*' | '?'));
    let begin = begin.into_iter().next().unwrap_or_default();
    let is_bounded = Beginning::of(begin).is_bounded();
    is_bounded.then(|| PathMatch::Glob(Glob::beginning(begin)))
}

/// An expression that cannot be had: without what not every load balancer reads it may be one, else what it begins with. That
/// alone where no room is left for another.
pub(super) fn of_expression(expression: &str, room: &mut Room) -> Option<PathMatch> {
    let expression = expression.trim_matches(char::is_control);
    let (plain, any_case) = widened(expression);
    let whole = match any_case {
        _ if room.is_spent() => None,
        true if plain.len() <= LONGEST => room.instead(&in_any_case(&plain)),
        true => None,
        false => room.instead(&plain),
    };
    if let Some(pattern) = whole {
        let is_without_slash = match any_case {
            // Of letters in any case none is certain.
            true => room.instead(&plain).is_some_and(|plain| takes_no_path(&plain)),
            false => takes_no_path(&pattern),
        };
        return match is_without_slash {
            true => with_slash(&pattern, room),
            false => Some(PathMatch::Regex(pattern)),
        };
    }
    beginning_with(&beginnings_of_path(&plain, room), any_case, room)
}

/// What an expression takes that has no slash where its paths have one.
fn with_slash(pattern: &Pattern, room: &mut Room) -> Option<PathMatch> {
    let expression = pattern.as_str().trim_start_matches('^');
    let whole = match expression.contains('|') {
        true => format!("/(?:{expression})"),
        false => format!("/{expression}"),
    };
    room.instead(&whole).map(PathMatch::Regex)
}

/// Whether all that an expression takes begins otherwise than paths do.
pub(super) fn takes_no_path(pattern: &Pattern) -> bool {
    let literal = pattern.literal_prefix();
    !literal.is_empty() && !literal.starts_with('/')
}

/// A path of which it is not known whether it is a prefix, a pattern or an expression: all that it can be taken for.
pub(super) fn of_any(text: &str, room: &mut Room) -> Vec<PathMatch> {
    let text = text.trim_matches(|c: char| c.is_control() || c == ' ');
    let expression = spelling::of_expression(text.strip_prefix('/').unwrap_or(text));
    // No path begins so but that of an expression.
    if text.starts_with("//") {
        return of_expression(&expression, room).into_iter().collect();
    }
    let other = of_any_type(text, true);
    let one = match may_be_expression(&expression, room) {
        true => of_expression(&expression, room).filter(|one| other.as_ref() != Some(one)),
        false => None,
    };
    other.into_iter().chain(one).collect()
}

/// Whether it takes what begins with the slash of a path, or has signs that have a meaning there alone.
fn may_be_expression(expression: &str, room: &mut Room) -> bool {
    let has_signs = expression.contains(['^', '(', '[', '{', '|', '\\']);
    has_signs
        || [".*", ".+", ".?"].iter().any(|any| expression.contains(any))
        || beginnings(&widened(expression).0, room)
            .iter()
            .any(Beginning::takes_slash)
}

/// A path of which it is not known whether it is to the letter, with all below it or not, or a pattern: any, or what ends in
/// `/*` alone.
pub(super) fn of_any_type(text: &str, is_glob: bool) -> Option<PathMatch> {
    let text = meant(text);
    let is_literal = |text: &str| !text.contains(['*', '?']);
    let is_pattern = match is_glob {
        true => !is_literal(&text),
        false => text.strip_suffix("/*").is_some_and(is_literal),
    };
    match &*text {
        "/*" => Some(PathMatch::Prefix(PathPrefix::root())),
        _ if !is_pattern => to_the_letter(&text, true),
        _ => {
            let glob = of_glob(&text)?;
            // Next to everything.
            let is_bounded = glob_text(&glob).contains(|c| !"/*?".contains(c));
            is_bounded.then_some(glob)
        }
    }
}

fn glob_text(path: &PathMatch) -> &str {
    match path {
        PathMatch::Glob(glob) => glob.as_str(),
        PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::Regex(_) => "",
    }
}

fn beginnings_of_path(expression: &str, room: &mut Room) -> Vec<Beginning> {
    let all = beginnings(expression, room).into_iter();
    all.map(Beginning::with_slash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text, what is closed, and what it takes and does not.
    type Row<'r> = (&'r str, Option<&'r str>, &'r [&'r str], &'r [&'r str]);

    fn holds(of: impl Fn(&str) -> Option<PathMatch>, rows: &[Row<'_>]) {
        for (text, want, taken, left) in rows {
            let path = of(text);
            let shown = path.as_ref().map(ToString::to_string);
            assert_eq!(shown.as_deref(), *want, "{text:?}");
            let takes = |sent: &str| path.as_ref().is_some_and(|path| path.matches(sent));
            for sent in *taken {
                assert!(takes(sent), "{text:?} {sent}");
            }
            for sent in *left {
                assert!(!takes(sent), "{text:?} {sent}");
            }
        }
    }

    #[test]
    fn a_text_means_itself_with_its_slash() {
        let rows: &[Row<'_>] = &[
            (
                "/a%2Fb",
                Some("regex:/a%2Fb"),
                &["/a%2Fb"],
                &["/a/b", "/a%2Fb/c", "/a%2fb"],
            ),
            ("//", Some("regex://"), &["//"], &["/", "///"]),
            ("/a.b//c", Some(r"regex:/a\.b//c"), &["/a.b//c"], &["/axb//c"]),
            ("admin", Some("exact:/admin"), &[], &[]),
            ("a//b", Some("regex:/a//b"), &[], &[]),
            ("", Some("exact:/"), &[], &[]),
            ("/admin\n", Some("exact:/admin"), &[], &[]),
            ("/ü//", Some("regex:/%C3%BC//"), &[], &[]),
            ("/a?b", None, &[], &[]),
            ("#a", None, &[], &[]),
            ("/a\nb", None, &[], &[]),
        ];
        holds(|text| to_the_letter(text, false), rows);
        let rows: &[Row<'_>] = &[
            (
                "/a%2Fb",
                Some("regex:/a%2Fb(/.*)?"),
                &["/a%2Fb", "/a%2Fb/c"],
                &["/a/b", "/a%2Fbc", "/a"],
            ),
            ("/a%2Fb/", Some("regex:/a%2Fb(/.*)?"), &["/a%2Fb"], &[]),
            ("//", Some("regex://.*"), &["//", "//x", "///"], &["/", "/x"]),
            ("/a//", Some("regex:/a//.*"), &["/a//", "/a//b"], &["/a/", "/a/b"]),
            ("//x", Some("regex://x(/.*)?"), &["//x", "//x/y"], &["/x", "//xy"]),
            ("/./", Some(r"regex:/\.(/.*)?"), &["/./x"], &["/.x", "/x/y"]),
            ("/a/../b", Some(r"regex:/a/\.\./b(/.*)?"), &["/a/../b/c"], &["/b"]),
            ("admin", Some("prefix:/admin"), &[], &[]),
            ("", Some("prefix:/"), &[], &[]),
        ];
        holds(|text| to_the_letter(text, true), rows);
    }

    #[test]
    fn an_expression_means_what_it_begins_with() {
        let rows: &[Row<'_>] = &[
            (
                "/(?i:adm)in.*",
                Some("regex:/(?:[aA][dD][mM])[iI][nN].*"),
                &["/admin/x", "/ADMin"],
                &["/adm"],
            ),
            ("/q(?=x).*", Some("glob:/q*"), &["/qx", "/q"], &["/"]),
            ("/admin(", Some("glob:/admin*"), &["/admin/x"], &["/"]),
            ("^/admin(", Some("glob:/admin*"), &[], &[]),
            ("/a|/b(", Some("regex:(?:/a|/b).*"), &["/ax", "/b"], &["/c"]),
            ("/(?i)a(?=x)", Some("regex:/[aA].*"), &["/Ax"], &["/"]),
            (
                "/(admin|boss)(?!x).*",
                Some("regex:(?:/admin|/boss).*"),
                &["/boss"],
                &["/x"],
            ),
            // As another engine reads it.
            ("/(?s)admin.*", Some("regex:/admin.*"), &[], &[]),
            ("/(?P<x>admin)/.*(", Some("glob:/admin*"), &[], &[]),
            ("/(?i-s:ad).*", Some("regex:/(?:[aA][dD]).*"), &["/Ad"], &["/a"]),
            ("/(?>admin).*", Some("regex:/(?:admin).*"), &["/admin"], &["/a"]),
            (r"/\Qadmin\E.*", Some("regex:/admin.*"), &[], &[]),
            ("/[aA]dmin(", Some("regex:/[aA]dmin.*"), &["/Admin/x"], &["/dmin"]),
            (
                "/(?i)[ab]c(",
                Some("regex:/(?:[ab]|[AB])[cC].*"),
                &["/Bc", "/aC"],
                &["/c"],
            ),
            (
                "/.dmin(",
                Some("regex:/.dmin.*"),
                &["/admin", "/_dmin/x"],
                &["/dmin"],
            ),
            (".dmin(", Some("regex:.dmin.*"), &["/dmin/x"], &["/admin"]),
            ("/[a-z]+/.*(?=x)", None, &[], &[]),
            // Without the slash that its paths have.
            ("[ad]min(", Some("regex:/[ad]min.*"), &["/dmin"], &[]),
            ("admin(", Some("glob:/admin*"), &[], &[]),
            ("(?i)adm", Some("regex:/[aA][dD][mM]"), &[], &[]),
            ("/.*(?=x)", None, &[], &[]),
            ("/(?!public).*", None, &[], &[]),
            ("/a(?=x)|/", None, &[], &[]),
            ("(", None, &[], &[]),
            ("", None, &[], &[]),
        ];
        holds(|text| of_expression(text, &mut Room::default()), rows);
    }

    #[test]
    fn what_is_compiled_for_one_that_cannot_be_had_takes_room() {
        let classes: String = (0..60).map(|at| format!("[^N{}]", "a".repeat(at))).collect();
        for (text, least, most) in [
            ("/(?i)xN.{999}", 100, 128),
            ("/xN.{999}", 100, 128),
            ("/xN/[a-z]+(?=x)", 1000, 4096),
            (&format!("/x{classes}(?=x)"), 10, 500),
        ] {
            let mut room = Room::default();
            let mut count = 0;
            while !room.is_spent() && count <= most {
                let expression = text.replace('N', &(1000 + count).to_string());
                room.pattern(&expression).unwrap_err();
                assert!(of_expression(&expression, &mut room).is_some(), "{expression}");
                count += 1;
            }
            assert!((least..=most).contains(&count), "{text} {count}");
            // What it begins with is closed all the same.
            let last = of_expression("/admin(?=x)", &mut room).unwrap();
            assert_eq!(last.to_string(), "glob:/admin*");
        }
    }

    #[test]
    fn a_pattern_means_what_it_begins_with() {
        let rows: &[Row<'_>] = &[
            ("/admin*\n", Some("glob:/admin*"), &[], &[]),
            ("admin*", Some("glob:/admin*"), &[], &[]),
            ("/admin/\t*/x", Some("glob:/admin/*"), &["/admin/x"], &["/admin"]),
            ("/*\t/x", None, &[], &[]),
        ];
        holds(of_glob, rows);
    }

    /// Text, all that is closed, and what that takes and does not.
    type Rows<'r> = &'r [(&'r str, &'r [&'r str], &'r [&'r str], &'r [&'r str])];

    #[test]
    fn a_path_of_no_known_kind_means_all_that_it_may() {
        let rows: Rows<'_> = &[
            ("/admin", &["prefix:/admin"], &[], &[]),
            ("/v1.0/x", &["prefix:/v1.0/x"], &[], &[]),
            ("/", &["prefix:/"], &[], &[]),
            ("/*", &["prefix:/"], &[], &[]),
            ("/admin/*", &["glob:/admin/*"], &[], &[]),
            ("/*.php", &["glob:/*.php"], &[], &[]),
            ("/?*", &[], &[], &[]),
            ("/a%2Fb", &["regex:/a%2Fb(/.*)?"], &[], &[]),
            ("//admin.*", &["regex:/admin.*"], &[], &[]),
            ("//(a|b)x", &["regex:/(a|b)x"], &[], &[]),
            ("//admin(", &["glob:/admin*"], &[], &[]),
            ("//(?i)admin", &["regex:/[aA][dD][mM][iI][nN]"], &[], &[]),
            ("//[a-z]+/x", &["regex:/[a-z]+/x"], &[], &[]),
            ("*", &["prefix:/"], &[], &[]),
            ("//.*", &["regex:/.*"], &["/x"], &[]),
            ("//*", &["regex:/*"], &["/", "//"], &["/x"]),
            ("//", &["regex:/"], &["/"], &["/x", "//"]),
            ("//.*(?=x)", &[], &[], &[]),
            (
                "//(v[0-9]+/)?admin(/.*)?",
                &["regex:/(v[0-9]+/)?admin(/.*)?"],
                &["/admin/x", "/v1/admin"],
                &["/v1/x"],
            ),
            // The slash stands in the expression.
            ("/^/admin(/.*)?$", &[], &["/admin", "/admin/x"], &["/admins"]),
            ("/(/admin|/boss)(/.*)?", &[], &["/boss/x"], &["/bos"]),
            ("/(?:/admin).*", &[], &["/admin"], &["/adm"]),
            ("/[/]admin.*", &[], &["/admin"], &["/adm"]),
            (r"/\/admin.*", &[], &["/admin"], &["/adm"]),
            (
                "/.*/admin",
                &["glob:/.*/admin", "regex:.*/admin"],
                &["/x/admin"],
                &["/x"],
            ),
            // It stands in none.
            (
                "/admin.*",
                &["glob:/admin.*", "regex:/admin.*"],
                &["/admin/x"],
                &["/adm"],
            ),
            (
                "/.well-known/x",
                &["prefix:/.well-known/x", "regex:.well-known/x"],
                &[],
                &[],
            ),
        ];
        for (text, want, taken, left) in rows {
            let paths = of_any(text, &mut Room::default());
            let shown: Vec<String> = paths.iter().map(ToString::to_string).collect();
            assert!(
                want.is_empty() && !taken.is_empty() || shown == *want,
                "{text:?} {shown:?}"
            );
            let takes = |sent: &str| paths.iter().any(|path| path.matches(sent));
            assert!(taken.iter().all(|sent| takes(sent)), "{text:?} {shown:?}");
            assert!(!left.iter().any(|sent| takes(sent)), "{text:?} {shown:?}");
        }
    }

    #[test]
    fn a_path_of_no_known_type_means_all_that_it_may() {
        for (text, usual, glob) in [
            ("/admin", Some("prefix:/admin"), Some("prefix:/admin")),
            ("/admin/*", Some("glob:/admin/*"), Some("glob:/admin/*")),
            ("admin/*", Some("glob:/admin/*"), Some("glob:/admin/*")),
            ("/*", Some("prefix:/"), Some("prefix:/")),
            ("/admin*", Some("prefix:/admin*"), Some("glob:/admin*")),
            ("/a*/*", Some("prefix:/a*/*"), Some("glob:/a*/*")),
            ("/a?b", None, Some("glob:/a?b")),
            ("/?*", None, None),
            ("//x", Some("regex://x(/.*)?"), Some("regex://x(/.*)?")),
        ] {
            for (is_glob, want) in [(false, usual), (true, glob)] {
                let path = of_any_type(text, is_glob).map(|path| path.to_string());
                assert_eq!(path.as_deref(), want, "{text} {is_glob}");
            }
        }
    }
}
