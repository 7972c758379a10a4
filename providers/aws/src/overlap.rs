//! Two rules' conditions in, whether one request could meet both, and whether one takes all that the other takes, out.

use std::collections::{BTreeMap, BTreeSet};

use crate::resource::{QueryStringValue, RuleCondition, Values};

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

/// Plain where both ask about the same things and one allows the more values of each; none elsewhere.
pub(crate) fn relation(left: &[RuleCondition], right: &[RuleCondition]) -> Option<Relation> {
    let (left, right) = (asked(left)?, asked(right)?);
    if !left.keys().eq(right.keys()) {
        return None;
    }
    let all = |within: fn(&BTreeSet<String>, &BTreeSet<String>) -> bool| {
        left.values().zip(right.values()).all(|(l, r)| within(l, r))
    };
    match (all(BTreeSet::is_subset), all(BTreeSet::is_superset)) {
        (true, true) => Some(Relation::Same),
        (true, false) => Some(Relation::Narrower),
        (false, true) => Some(Relation::Wider),
        (false, false) => None,
    }
}

/// Conditions that take what either list takes and nothing else; none where they differ in more than the values of
/// one host or path condition. Values are sorted, so that the same ones are the same conditions however they came
/// together.
pub(crate) fn united(left: &[RuleCondition], right: &[RuleCondition]) -> Option<Vec<RuleCondition>> {
    if left.len() != right.len() {
        return None;
    }
    let (all_left, all_right) = (asked(left)?, asked(right)?);
    if !all_left.keys().eq(all_right.keys()) {
        return None;
    }
    let mut differing = all_left
        .iter()
        .zip(all_right.values())
        .filter(|((_, l), r)| l != r)
        .map(|((subject, l), r)| (subject, l.union(r).cloned().collect::<Vec<_>>()));
    let (subject, values) = differing.next()?;
    if differing.next().is_some() {
        return None;
    }
    let config = match subject.regex {
        true => Values::Regexes(values),
        false => Values::Globs(values),
    };
    let replaced = match subject.field {
        "host" => RuleCondition::HostHeader { config },
        "path" => RuleCondition::PathPattern { config },
        _ => return None,
    };
    let same = |had: &RuleCondition| std::mem::discriminant(had) == std::mem::discriminant(&replaced);
    Some(
        left.iter()
            .map(|had| if same(had) { replaced.clone() } else { had.clone() })
            .collect(),
    )
}

/// What a condition asks about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    field: &'static str,
    /// Of a header.
    name: String,
    regex: bool,
}

/// By what they ask about, the values of conditions; none where one asks twice about the same, or is not known.
fn asked(conditions: &[RuleCondition]) -> Option<BTreeMap<Subject, BTreeSet<String>>> {
    let mut out = BTreeMap::new();
    for condition in conditions {
        let of = |field, name: &str, values: &Values| {
            let regex = matches!(values, Values::Regexes(_));
            let name = name.to_owned();
            (
                Subject { field, name, regex },
                values.list().iter().cloned().collect::<BTreeSet<_>>(),
            )
        };
        let plain = |field, values: Vec<String>| of(field, "", &Values::Globs(values));
        let (subject, values) = match condition {
            RuleCondition::HostHeader { config } => of("host", "", config),
            RuleCondition::PathPattern { config } => of("path", "", config),
            RuleCondition::HttpHeader { config } => of("header", &config.name, &config.values),
            RuleCondition::HttpRequestMethod { config } => plain("method", config.values.clone()),
            RuleCondition::QueryString { config } => {
                let value = |q: &QueryStringValue| format!("{:?}={}", q.key, q.value);
                plain("query", config.values.iter().map(value).collect())
            }
            RuleCondition::SourceIp { config } => plain("source", config.values.clone()),
            RuleCondition::Foreign { .. } => return None,
        };
        if out.insert(subject, values).is_some() {
            return None;
        }
    }
    Some(out)
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
        ] {
            assert_eq!(united(&left, &right), want, "{left:?} and {right:?}");
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
