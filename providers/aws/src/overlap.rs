//! Two rules' conditions in, whether one request could meet both, and whether one takes all that the other takes, out.

use std::collections::BTreeSet;

use crate::resource::{RuleCondition, Values};

/// False only where it is plain that no request meets both.
pub(crate) fn may_overlap(left: &[RuleCondition], right: &[RuleCondition]) -> bool {
    let pairs = left.iter().flat_map(|l| right.iter().map(move |r| (l, r)));
    !pairs.into_iter().any(|(l, r)| match (l, r) {
        (RuleCondition::HostHeader { config: l }, RuleCondition::HostHeader { config: r }) => {
            disjoint(l, r, true)
        }
        (RuleCondition::PathPattern { config: l }, RuleCondition::PathPattern { config: r }) => {
            disjoint(l, r, false)
        }
        (RuleCondition::HttpRequestMethod { config: l }, RuleCondition::HttpRequestMethod { config: r }) => {
            l.values.iter().all(|method| !r.values.contains(method))
        }
        // What else there is may always overlap.
        _ => false,
    })
}

fn disjoint(left: &Values, right: &Values, is_host: bool) -> bool {
    let pairs = |left: &[String], right: &[String], disjoint: fn(&str, &str) -> bool| {
        left.iter().all(|l| right.iter().all(|r| disjoint(l, r)))
    };
    match (left, right, is_host) {
        (Values::Globs(l), Values::Globs(r), true) => pairs(l, r, |l, r| globs_disjoint(l, r, true)),
        (Values::Globs(l), Values::Globs(r), false) => pairs(l, r, |l, r| globs_disjoint(l, r, false)),
        (Values::Regexes(wild), Values::Globs(hosts), true)
        | (Values::Globs(hosts), Values::Regexes(wild), true) => pairs(wild, hosts, |wild, host| {
            let name = host.split_once('.').filter(|_| !host.contains(['*', '?']));
            let below = below_one_label(wild).zip(name);
            below.is_some_and(|(below, (_, name))| !below.eq_ignore_ascii_case(name))
        }),
        (Values::Regexes(l), Values::Regexes(r), true) => pairs(l, r, |l, r| {
            let both = below_one_label(l).zip(below_one_label(r));
            both.is_some_and(|(l, r)| !l.eq_ignore_ascii_case(&r))
        }),
        (Values::Regexes(_), _, false) | (_, Values::Regexes(_), false) => false,
    }
}

/// The name below the one label that a wildcard host of ours takes: `^[^.]+\.shop\.example$` gives `shop.example`. None
/// for any other expression.
fn below_one_label(regex: &str) -> Option<String> {
    let name = regex.strip_prefix(r"^[^.]+\.")?.strip_suffix('$')?;
    let literal = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !label.is_empty() && label.chars().all(plain)
    };
    let labels: Vec<&str> = name.split(r"\.").collect();
    labels
        .iter()
        .all(|label| literal(label))
        .then(|| labels.join("."))
}

/// Two patterns cannot meet where the texts before their first wildcards part ways.
fn globs_disjoint(left: &str, right: &str, ignore_case: bool) -> bool {
    let literal = |glob: &str| {
        let text = glob.split(['*', '?']).next().unwrap_or_default();
        if ignore_case {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    };
    let wild = |glob: &str| glob.contains(['*', '?']);
    let (l, r) = (literal(left), literal(right));
    match (wild(left), wild(right)) {
        (false, false) => l != r,
        (true, false) => !r.starts_with(&l),
        (false, true) => !l.starts_with(&r),
        (true, true) => !l.starts_with(&r) && !r.starts_with(&l),
    }
}

/// How what one list of conditions takes compares with what another takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Same,
    /// The first takes some of what the second takes.
    Narrower,
    /// The first takes all that the second takes, and more.
    Wider,
}

/// Plain where both ask about the same things and one allows the more values of each; none elsewhere. Asked for every two
/// rules of a load balancer, so that it allocates nothing.
pub(crate) fn relation(left: &[RuleCondition], right: &[RuleCondition]) -> Option<Relation> {
    if !may_be_alike(left, right) {
        return None;
    }
    let (mut narrower, mut wider) = (true, true);
    for l in left {
        let r = counterpart(l, right)?;
        narrower &= allows_all(r, l);
        wider &= allows_all(l, r);
        if !narrower && !wider {
            return None;
        }
    }
    Some(match (narrower, wider) {
        (true, true) => Relation::Same,
        (true, false) => Relation::Narrower,
        (false, _) => Relation::Wider,
    })
}

/// That there are as many, and that each of the first asks about something of its own, which is known: if each has a
/// counterpart, both ask about the same.
fn may_be_alike(left: &[RuleCondition], right: &[RuleCondition]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut rest = left;
    while let [first, others @ ..] = rest {
        let subject = Subject::of(first);
        if subject.is_none() || others.iter().any(|other| Subject::of(other) == subject) {
            return false;
        }
        rest = others;
    }
    true
}

/// What asks about the same.
fn counterpart<'a>(condition: &RuleCondition, among: &'a [RuleCondition]) -> Option<&'a RuleCondition> {
    let subject = Subject::of(condition);
    among.iter().find(|other| Subject::of(other) == subject)
}

/// That each value of the one is a value of the other, which asks about the same.
fn allows_all(wide: &RuleCondition, narrow: &RuleCondition) -> bool {
    fn all<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
        narrow.iter().all(|value| wide.contains(value))
    }
    match (wide, narrow) {
        (RuleCondition::QueryString { config: wide }, RuleCondition::QueryString { config: narrow }) => {
            all(&wide.values, &narrow.values)
        }
        _ => all(texts(wide), texts(narrow)),
    }
}

/// The values of a condition whose values are texts.
fn texts(condition: &RuleCondition) -> &[String] {
    match condition {
        RuleCondition::HostHeader { config } | RuleCondition::PathPattern { config } => config.list(),
        RuleCondition::HttpHeader { config } => config.values.list(),
        RuleCondition::HttpRequestMethod { config } => &config.values,
        RuleCondition::SourceIp { config } => &config.values,
        RuleCondition::QueryString { .. } | RuleCondition::Foreign { .. } => &[],
    }
}

/// Conditions that take what either list takes and nothing else; none where they differ in more than the values of
/// one host or path condition, or would have more than `most` in it. Values are sorted, so that the same ones are the
/// same conditions however they came together.
pub(crate) fn united(
    left: &[RuleCondition],
    right: &[RuleCondition],
    most: usize,
) -> Option<Vec<RuleCondition>> {
    if !may_be_alike(left, right) {
        return None;
    }
    let mut differing = None;
    for (at, l) in left.iter().enumerate() {
        let r = counterpart(l, right)?;
        if allows_all(l, r) && allows_all(r, l) {
            continue;
        }
        if differing.replace((at, r)).is_some() {
            return None;
        }
    }
    let (at, other) = differing?;
    // Most pairs end here, and many are asked about: nothing is copied for them.
    let had = texts(&left[at]);
    let added = texts(other).iter().filter(|value| !had.contains(value));
    if had.len() + added.count() > most {
        return None;
    }
    let mut out = left.to_vec();
    let (RuleCondition::HostHeader { config } | RuleCondition::PathPattern { config }) = &mut out[at] else {
        return None;
    };
    let values: BTreeSet<String> = texts(other).iter().chain(config.list()).cloned().collect();
    let values = values.into_iter().collect();
    *config = match config {
        Values::Regexes(_) => Values::Regexes(values),
        Values::Globs(_) => Values::Globs(values),
    };
    Some(out)
}

/// What a condition asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject<'a> {
    Host { regex: bool },
    Path { regex: bool },
    Header { name: &'a str, regex: bool },
    Method,
    Query,
    Source,
}

impl<'a> Subject<'a> {
    /// None where it is not known.
    fn of(condition: &'a RuleCondition) -> Option<Self> {
        let regex = |values: &Values| matches!(values, Values::Regexes(_));
        Some(match condition {
            RuleCondition::HostHeader { config } => Self::Host { regex: regex(config) },
            RuleCondition::PathPattern { config } => Self::Path { regex: regex(config) },
            RuleCondition::HttpHeader { config } => Self::Header {
                name: &config.name,
                regex: regex(&config.values),
            },
            RuleCondition::HttpRequestMethod { .. } => Self::Method,
            RuleCondition::QueryString { .. } => Self::Query,
            RuleCondition::SourceIp { .. } => Self::Source,
            RuleCondition::Foreign { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(values: &[&str]) -> RuleCondition {
        RuleCondition::HostHeader {
            config: Values::Globs(values.iter().map(|v| (*v).to_owned()).collect()),
        }
    }

    fn path(values: &[&str]) -> RuleCondition {
        RuleCondition::PathPattern {
            config: Values::Globs(values.iter().map(|v| (*v).to_owned()).collect()),
        }
    }

    fn regex(value: &str) -> RuleCondition {
        RuleCondition::HostHeader {
            config: Values::Regexes(vec![value.to_owned()]),
        }
    }

    #[test]
    fn what_takes_more_is_wider() {
        use Relation::{Narrower, Same, Wider};
        for (left, right, want) in [
            (vec![host(&["a"])], vec![host(&["a"])], Some(Same)),
            (vec![host(&["a", "b"])], vec![host(&["b", "a"])], Some(Same)),
            (vec![host(&["a"])], vec![host(&["b", "a"])], Some(Narrower)),
            (
                vec![host(&["a", "b"]), path(&["/"])],
                vec![path(&["/"]), host(&["a"])],
                Some(Wider),
            ),
            (
                vec![host(&["a", "b"]), path(&["/"])],
                vec![path(&["/", "/x"]), host(&["a"])],
                None,
            ),
            (vec![host(&["a"])], vec![host(&["b"])], None),
            (vec![host(&["a"])], vec![path(&["a"])], None),
            (vec![host(&["a"])], vec![regex("a")], None),
            (vec![host(&["a"])], vec![host(&["a"]), path(&["/"])], None),
        ] {
            assert_eq!(relation(&left, &right), want, "{left:?} and {right:?}");
        }
    }

    #[test]
    fn conditions_are_united_over_one_subject() {
        for (left, right, want) in [
            (
                vec![host(&["b"])],
                vec![host(&["a"])],
                Some(vec![host(&["a", "b"])]),
            ),
            (
                vec![host(&["a"]), path(&["/x"])],
                vec![path(&["/y"]), host(&["a"])],
                Some(vec![host(&["a"]), path(&["/x", "/y"])]),
            ),
            (
                vec![host(&["a"]), path(&["/x"])],
                vec![host(&["b"]), path(&["/y"])],
                None,
            ),
            (vec![host(&["a"])], vec![regex("a")], None),
            (vec![host(&["a"])], vec![host(&["a"])], None), // there is nothing to add
            (vec![host(&["a"])], vec![host(&["b"]), path(&["/"])], None),
            (vec![host(&["a", "b"])], vec![host(&["c", "d"])], None), // four
        ] {
            assert_eq!(united(&left, &right, 3), want, "{left:?} and {right:?}");
        }
    }

    #[test]
    fn only_what_is_plain_is_apart() {
        let globs = |text: &str| Values::Globs(vec![text.into()]);
        let regexes = |text: &str| Values::Regexes(vec![text.into()]);
        let below = r"^[^.]+\.shop\.example$";
        for (left, right, apart) in [
            (globs("a.example"), globs("b.example"), true),
            (globs("*.example"), globs("b.example"), false),
            (regexes(below), globs("a.shop.example"), false),
            (regexes(below), globs("A.SHOP.example"), false),
            (regexes(below), globs("a.b.shop.example"), true),
            (regexes(below), globs("shop.example"), true),
            (regexes(below), globs("a.*"), false),
            (regexes(below), regexes(below), false),
            (regexes(below), regexes(r"^[^.]+\.example$"), true),
            (regexes(below), regexes(r"^[^.]+\.(shop|x)\.example$"), false),
            (regexes("^a.*$"), globs("b.example"), false),
        ] {
            let of = |values: &Values| {
                [RuleCondition::HostHeader {
                    config: values.clone(),
                }]
            };
            let (l, r) = (of(&left), of(&right));
            assert_eq!(!may_overlap(&l, &r), apart, "{left:?} {right:?}");
            assert_eq!(!may_overlap(&r, &l), apart, "{right:?} {left:?}");
        }
    }
}
