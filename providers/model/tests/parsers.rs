//! Arbitrary text in; out: whether parsers hold still, show what they read, and let nothing match that was not asked for.

use portcullis_model::{
    ExactPath, Glob, HeaderName, HostMatch, LoadBalancerId, Method, PathMatch, PathPrefix, Pattern, Port,
    Redirect, Request, Template, host,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use regex::Regex;

/// Anything at all, and text made of what the parsers give a meaning to.
fn text() -> impl Strategy<Value = String> {
    let meant = prop::sample::select(
        &[
            "a", "b", "A", "0", "io", "example", ".", "..", "-", "_", "*", "*.", "?", "/", "//", "%2f",
            "%2F", "%61", "\\", "\\p", "\\1", "\\b", "[", "]", "^", "$", "(", ")", "(?", "(?:", "(?i)", "|",
            "+", "{2}", "{", "}", "#{", "#{host}", "#{path}", ":", "80", "[::1]", "&", "=", " ", "\n",
            "\u{0}", "é", "\u{212a}",
        ][..],
    );
    prop_oneof![
        1 => any::<String>(),
        1 => any::<Vec<u8>>().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        6 => prop::collection::vec(meant, 0..8).prop_map(|parts| parts.concat()),
    ]
}

/// Twice the usual number, because the parts of `text` must meet to mean something.
fn settings() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases * 8,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/parsers.txt"))),
        ..usual
    }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn a_host_that_parses_matches_only_its_own(rule in text(), asked in text()) {
        let asked = host::normalize(&asked);
        let Ok(parsed) = HostMatch::parse(&rule) else { return Ok(()) };
        prop_assert_eq!(parsed.to_string(), &*rule);
        for asked in [asked, rule.replace('*', "x"), rule.replace("*.", ""), format!("x.{rule}")] {
            let same_depth = asked.split('.').count() == rule.split('.').count();
            let may = asked == rule
                || rule.strip_prefix('*').is_some_and(|rest| asked.ends_with(rest) && same_depth);
            prop_assert!(!parsed.matches(&asked) || may, "{} takes {:?}", rule, asked);
        }
        prop_assert!(parsed.matches(&rule.replace('*', "x")), "{} misses its own", rule);
    }

    #[test]
    fn a_path_that_parses_matches_only_its_own(rule in text(), asked in text()) {
        let rule = format!("/{rule}");
        if let Ok(exact) = ExactPath::parse(&rule) {
            prop_assert_eq!(exact.to_string(), &*rule);
            prop_assert_eq!(exact.matches(&asked), asked == rule);
            prop_assert!(exact.matches(&rule));
        }
        if let Ok(prefix) = PathPrefix::parse(&rule) {
            let shown = prefix.to_string();
            prop_assert_eq!(&PathPrefix::parse(&shown).expect("what is shown parses"), &prefix);
            prop_assert!(shown == rule || format!("{shown}/") == rule, "{} shows as {}", rule, shown);
            let elements: Vec<&str> = shown.split('/').filter(|e| !e.is_empty()).collect();
            prop_assert_eq!(elements.len(), prefix.elements());
            let within = format!("{rule}/{asked}");
            let beside = format!("{}{asked}", rule.trim_end_matches('/'));
            for asked in [&*asked, &within, &beside, &rule] {
                // Element by element, as the Kubernetes documentation puts it.
                let all: Vec<&str> = asked.strip_prefix('/').unwrap_or("\n").split('/').collect();
                let may = all.len() >= elements.len() && all.iter().zip(&elements).all(|(a, e)| a == e);
                let every = prefix.is_root() && (asked.is_empty() || asked.starts_with('/'));
                prop_assert!(!prefix.matches(asked) || may || every, "{} takes {:?}", rule, asked);
            }
            prop_assert!(prefix.matches(&within));
            prop_assert_eq!(PathMatch::Prefix(prefix.clone()).takes_every_path(), prefix.is_root());
        }
    }

    #[test]
    fn a_glob_matches_what_its_parts_say(rule in text(), asked in text()) {
        let Ok(glob) = Glob::parse(&rule) else { return Ok(()) };
        prop_assert_eq!(glob.to_string(), &*rule);
        let near = rule.replace('*', &asked).replace('?', "x");
        for asked in [&*asked, &near] {
            let (pattern, value) = (rule.as_bytes(), asked.as_bytes());
            prop_assert_eq!(glob.matches(asked), slowly(pattern, value, u8::eq), "{:?} on {:?}", rule, asked);
            prop_assert_eq!(
                glob.matches_ignoring_case(asked),
                slowly(pattern, value, u8::eq_ignore_ascii_case),
                "{:?} on {:?}, case aside", rule, asked
            );
            prop_assert!(!glob.matches(asked) || asked.starts_with(glob.literal_prefix()));
        }
        prop_assert!(glob.matches(&near), "{:?} on {:?}", rule, near);
    }

    #[test]
    fn an_expression_matches_no_more_than_it_says(rule in text(), asked in text()) {
        let Ok(pattern) = Pattern::parse(&rule) else { return Ok(()) };
        prop_assert_eq!(pattern.to_string(), &*rule);
        let Ok(alone) = Regex::new(&rule) else {
            return Err(TestCaseError::fail(format!("{rule:?} is no expression by itself")));
        };
        for asked in [&*asked, &rule, &asked.repeat(2)] {
            if pattern.matches(asked) {
                prop_assert!(alone.is_match(asked), "{:?} takes {:?}", rule, asked);
                prop_assert!(asked.starts_with(pattern.literal_prefix()), "{:?} takes {:?}", rule, asked);
            }
        }
    }

    #[test]
    fn tokens_show_as_they_were_read(written in text()) {
        let token = !written.is_empty()
            && written.chars().all(|c| c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(c));
        let method = Method::parse(&written);
        prop_assert_eq!(method.is_ok(), token, "{:?}", written);
        prop_assert_eq!(method.ok().map(|m| m.to_string()), token.then(|| written.clone()));
        let header = HeaderName::parse(&written);
        prop_assert_eq!(header.ok().map(|h| h.to_string()), token.then(|| written.to_ascii_lowercase()));
        if !written.starts_with('/') {
            prop_assert_eq!(LoadBalancerId::parse(&written).to_string(), written);
        }
    }

    #[test]
    fn a_redirect_leads_where_its_template_says(template in text(), authority in text(), target in text()) {
        let Ok(parsed) = Template::parse(&template) else { return Ok(()) };
        prop_assert_eq!(parsed.to_string(), &*template);
        let request = Request::get(Port::HTTP, &authority, &format!("/{target}"));
        let redirect = Redirect { host: Some(parsed), ..Redirect::to_https(Port::HTTPS) };
        let location = redirect.location(&request, false).unwrap();
        prop_assert!(location.starts_with("https://"), "{}", location);
        if !template.contains("#{") {
            let written = format!("https://{template}{}", with_query(&request));
            let escaped = |c: char| match c.is_ascii() {
                true => c.to_string(),
                false => c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
            };
            prop_assert_eq!(location, written.chars().map(escaped).collect::<String>());
        }
    }
}

fn with_query(request: &Request) -> String {
    match &*request.query {
        "" => request.path.clone(),
        query => format!("{}?{query}", request.path),
    }
}

/// By the definition: `*` takes nothing, or one byte and goes on.
fn slowly(pattern: &[u8], value: &[u8], same: fn(&u8, &u8) -> bool) -> bool {
    let mut matched = vec![false; value.len() + 1];
    matched[value.len()] = true;
    for token in pattern.iter().rev() {
        let after = matched;
        matched = vec![false; value.len() + 1];
        for at in (0..=value.len()).rev() {
            let one = value.get(at).is_some_and(|v| *token == b'?' || same(token, v)) && after[at + 1];
            matched[at] = match token {
                b'*' => after[at] || (at < value.len() && matched[at + 1]),
                _ => one,
            };
        }
    }
    matched[0]
}
