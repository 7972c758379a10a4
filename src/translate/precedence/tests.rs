//! Random rules in, the laws that their order must keep out.

use std::collections::BTreeSet;

use portcullis_model::{ExactPath, Glob, ObjectName, Pattern};
use proptest::prelude::*;

use super::*;

fn host() -> impl Strategy<Value = Option<HostMatch>> {
    let parse = |text: &str| HostMatch::parse(text).unwrap();
    prop_oneof![
        Just(None),
        Just(Some(parse("a.com"))),
        Just(Some(parse("b.com"))),
        Just(Some(parse("*.a.com"))),
        Just(Some(HostMatch::Glob(Glob::parse("*.a.com").unwrap()))),
        Just(Some(HostMatch::Glob(Glob::parse("?.a.com").unwrap()))),
        Just(Some(HostMatch::Regex(Pattern::parse("a[0-9].com").unwrap()))),
    ]
}

fn path() -> impl Strategy<Value = Option<PathMatch>> {
    let texts = prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/b", "/a/*", "/?", "/a/b*"]);
    (texts, 0..4u8).prop_map(|(text, kind)| {
        Some(match kind {
            0 => PathMatch::Exact(ExactPath::parse(text).ok()?),
            1 => PathMatch::Prefix(PathPrefix::parse(text).ok()?),
            2 => PathMatch::Glob(Glob::parse(text).ok()?),
            _ => PathMatch::Regex(Pattern::parse(&text.replace(['*', '?'], "[a-z]+")).ok()?),
        })
    })
}

fn draft() -> impl Strategy<Value = Draft> {
    (
        host(),
        path(),
        0..3usize,
        (0..3usize, 0..3usize, 0..3usize),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(host, path, conditions, (member, rule, place), exact, is_closed)| Draft {
                rule: Rule {
                    ports: BTreeSet::from([Port::HTTP]),
                    hosts: host.into_iter().collect(),
                    paths: path.into_iter().collect(),
                    conditions: vec![Condition::Method(Vec::new()); conditions],
                    authenticate: None,
                    clients: Default::default(),
                    tls_policy: None,
                    filters: None,
                    rewrites: Vec::new(),
                    action: Action::Fixed(portcullis_model::FixedResponse::not_found()),
                    origin: Origin::new("ingress", ObjectName::new("shop", "web"), ""),
                },
                place: Written {
                    member,
                    rule,
                    path: place,
                    piece: 0,
                },
                closes: match is_closed {
                    true => Closes::Meant,
                    false => Closes::Nothing,
                },
                guards: 0,
                piece_of: None,
                kind: if exact {
                    PathKind::Exact
                } else {
                    PathKind::ImplementationSpecific
                },
            },
        )
}

proptest! {
    #[test]
    fn equal_places_are_the_same_place(a in draft(), b in draft()) {
        let (a, b) = (Precedence::of(&a), Precedence::of(&b));
        prop_assert_eq!(a.cmp(&b) == std::cmp::Ordering::Equal, a == b);
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    }

    #[test]
    fn a_host_is_never_after_a_less_specific_one(a in draft(), b in draft()) {
        let kind = |draft: &Draft| match draft.rule.hosts.first() {
            Some(HostMatch::Exact(_)) => 0,
            Some(HostMatch::Wildcard(_)) => 1,
            Some(HostMatch::Glob(_) | HostMatch::Regex(_)) => 2,
            None => 3,
        };
        if kind(&a) < kind(&b) {
            prop_assert!(Precedence::of(&a) < Precedence::of(&b));
        }
    }

    #[test]
    fn of_one_host_the_longer_path_and_then_more_conditions_come_first(a in draft(), mut b in draft()) {
        b.rule.hosts = a.rule.hosts.clone();
        let (first, second) = (Precedence::of(&a), Precedence::of(&b));
        if let ([PathMatch::Prefix(a)], [PathMatch::Prefix(b)]) = (a.rule.paths.as_slice(), b.rule.paths.as_slice())
            && a.elements() > b.elements()
        {
            prop_assert!(first < second);
        }
        if a.rule.paths == b.rule.paths && a.rule.conditions.len() > b.rule.conditions.len() {
            prop_assert!(first < second);
        }
        if a.rule.paths == b.rule.paths
            && a.rule.conditions.len() == b.rule.conditions.len()
            && (a.closes != Closes::Nothing, a.place.member) < (b.closes != Closes::Nothing, b.place.member)
        {
            prop_assert!(first < second);
        }
    }
}
