//! Expressions that cannot be matched in, what all that they may take begins with out.

use portcullis_model::{Glob, PathMatch, Pattern, Sign, signs};

/// What has a meaning of its own in an expression.
const SIGNS: &str = r"\.+*?()|[]{}^$";

/// Longest expression whose groups are looked into, in bytes: no longer one is matched either.
const LONGEST: usize = 1024;

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

/// The letters that each alternative of an expression begins with, also of a group that it begins with.
pub(super) fn beginnings(expression: &str) -> Vec<String> {
    let of_each = alternatives(expression).into_iter().flat_map(of_alternative);
    of_each.collect()
}

/// What begins with one of these, or as all of them do where they are too many. None where next to everything does.
pub(super) fn beginning_with(begins: &[String], any_case: bool) -> Option<PathMatch> {
    if begins.iter().any(|begin| begin.len() < 2) {
        return None;
    }
    // No sign of theirs has a meaning.
    let whole = match begins {
        [one] if !any_case => return Glob::parse(&format!("{one}*")).ok().map(PathMatch::Glob),
        [one] => one.clone(),
        _ => format!("(?:{})", begins.join("|")),
    };
    let whole = if any_case { in_any_case(&whole) } else { whole };
    if let Ok(pattern) = Pattern::parse(&format!("{whole}.*")) {
        return Some(PathMatch::Regex(pattern));
    }
    let common = common(begins)?;
    beginning_with(&[common], any_case)
}

/// What all of several texts begin with; of one, nothing.
fn common(begins: &[String]) -> Option<String> {
    let (first, rest) = begins.split_first().filter(|(_, rest)| !rest.is_empty())?;
    let is_shared = |at: usize| rest.iter().all(|other| other.starts_with(&first[..at]));
    let ends = first.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| is_shared(*end)).last()?;
    Some(first[..end].to_owned())
}

/// An expression without the flag that makes it one of any case of letters, and whether it has that anywhere.
pub(super) fn without_case(expression: &str) -> (String, bool) {
    let mut out = String::with_capacity(expression.len());
    let mut rest = signs(expression);
    while let Some(sign) = rest.next() {
        let flag = match sign.is_plain() {
            true => ["(?i)", "(?i:"]
                .into_iter()
                .find(|flag| expression[sign.at..].starts_with(*flag)),
            false => None,
        };
        match flag {
            Some(flag) => {
                // What is behind the bracket.
                rest.nth(2);
                out.push_str(if flag.ends_with(':') { "(?:" } else { "" });
            }
            None => out.push(sign.char),
        }
    }
    let has_flag = out != expression;
    (out, has_flag)
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

fn of_alternative(expression: &str) -> Vec<String> {
    let expression = expression.trim_start_matches('^');
    let begin = beginning(expression);
    match group(&expression[begin.len()..]) {
        Some(group) => {
            let within = beginnings(group).into_iter();
            within.map(|within| format!("{begin}{within}")).collect()
        }
        None => vec![begin.to_owned()],
    }
}

/// The letters that an expression without alternatives begins with.
fn beginning(expression: &str) -> &str {
    let end = expression.find(|c: char| SIGNS.contains(c));
    let Some(end) = end else {
        return expression;
    };
    match expression[end..].starts_with(['*', '?', '{']) {
        // The character before may be none.
        true => {
            let last = expression[..end].char_indices().next_back();
            last.map_or("", |(at, _)| &expression[..at])
        }
        false => &expression[..end],
    }
}

/// What stands in the group that an expression begins with, unless that may be none, or takes nothing of a path.
fn group(expression: &str) -> Option<&str> {
    let within = expression
        .strip_prefix('(')
        .filter(|within| within.len() < LONGEST)?;
    let within = match within.strip_prefix('?') {
        Some(flagged) => flagged.strip_prefix(':')?,
        None => within,
    };
    let mut depth = 0_usize;
    for sign in signs(within).filter(Sign::is_plain) {
        match sign.char {
            '(' => depth += 1,
            ')' if depth == 0 => {
                let is_some = !within[sign.end()..].starts_with(['*', '?', '{']);
                return is_some.then_some(&within[..sign.at]);
            }
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use proptest::string::string_regex;

    use super::*;

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
            prop_assert!(begins.iter().any(|begin| text.starts_with(begin)), "{begins:?}");
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
    fn an_expression_begins_as_each_of_its_alternatives_does() {
        for (expression, want) in [
            ("/admin", &["/admin"][..]),
            ("/admin(", &["/admin"]),
            ("/admin(?=x)", &["/admin"]),
            ("/admins?(?=x)", &["/admin"]),
            ("^/a|/b", &["/a", "/b"]),
            (r"/a\|b|/c[|]d", &["/a", "/c"]),
            ("/(admin|boss)(?!x)", &["/admin", "/boss"]),
            ("/(?:x(a|b)|y)z(?!x)", &["/xa", "/xb", "/y"]),
            ("/(a|)(?=x)", &["/a", "/"]),
            ("/(a|b)?(?=x)", &["/"]),
            ("(/a|/b)+(?=x)", &["/a", "/b"]),
            ("/(?!a|b).*", &["/"]),
            ("/(a|b", &["/"]),
            (r"/([)]a|b\))(?=x)", &["/", "/b"]),
            ("", &[""]),
        ] {
            assert_eq!(beginnings(expression), want, "{expression}");
        }
        // Too many to be matched.
        let many: Vec<String> = (0..1000).map(|number| format!("/x{number}")).collect();
        let path = beginning_with(&many, false).unwrap();
        assert_eq!(path.to_string(), "glob:/x*");
    }

    #[test]
    fn any_case_of_letters_can_be_said_without_a_flag() {
        for (expression, want) in [
            ("/(?i:adm)in", Some("/(?:adm)in")),
            ("(?i)/admin", Some("/admin")),
            (r"/\(?i)[(?i)]", None),
            ("/admin", None),
        ] {
            let (got, has_flag) = without_case(expression);
            assert_eq!(has_flag.then_some(&*got), want, "{expression}");
        }
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
