//! Random rules before and after in, every state in between checked: no request gets a third answer.

use portcullis_model::{Action, FixedResponse, LoadBalancer, Rule, Semantics};
use proptest::prelude::*;

use super::build::*;
use super::settled::{distinct, made};
use crate::account::Account;
use crate::fold::fold;
use crate::names;
use crate::observed::{Observed, RuleState};
use crate::plan::plan;
use crate::resource::{Pairs, RuleAction, RuleCondition, Values};

const HOSTS: [&str; 3] = ["", "a.example.com", "b.example.com"];
const PATHS: [&str; 5] = ["prefix:/", "prefix:/x", "prefix:/x/y", "exact:/x", "glob:/x*"];
const ASKED: [&str; 6] = ["/", "/x", "/xx", "/x/y", "/x/y/z", "/q"];

fn answer(status: u16) -> Action {
    Action::Fixed(FixedResponse::new(status, None, None).unwrap())
}

pub(super) fn given(rules: &[(usize, usize, u16)]) -> LoadBalancer {
    let mut out = balancer("shop/web", Semantics::Kubernetes);
    http(&mut out, 80, not_found());
    let rule = |(host, path, status): &(usize, usize, u16)| -> Rule {
        rule(
            "shop/web",
            &[80],
            HOSTS[*host],
            PATHS[*path],
            answer(200 + *status),
        )
    };
    *out.rules = rules.iter().map(rule).collect();
    out
}

fn takes(condition: &RuleCondition, host: &str, path: &str) -> bool {
    let glob = |values: &Values, text: &str| {
        values
            .list()
            .iter()
            .any(|glob| portcullis_model::Glob::parse(glob).unwrap().matches(text))
    };
    match condition {
        RuleCondition::HostHeader { config } => glob(config, host),
        RuleCondition::PathPattern { config } => glob(config, path),
        other => panic!("{other:?}"),
    }
}

/// The status of every request asked, as the rules stand.
pub(super) fn answers(observed: &Observed) -> Vec<String> {
    let listener = &observed.load_balancer().unwrap().listeners[&80];
    let mut out = Vec::new();
    for host in &HOSTS[1..] {
        for path in ASKED {
            let rule = listener
                .rules
                .iter()
                .find(|rule| rule.spec.conditions.iter().all(|c| takes(c, host, path)));
            let action = rule.map_or(&listener.spec.default_actions[0], |rule| &rule.spec.actions[0]);
            let RuleAction::FixedResponse { config } = action else {
                panic!("{action:?}");
            };
            out.push(config.status_code.clone());
        }
    }
    out
}

/// Priorities and tags of the rules. The place in a rule's tags stays that which it was made for.
pub(super) fn places(observed: &Observed) -> Vec<(u32, Pairs)> {
    let rules = observed.load_balancer().unwrap().listeners[&80].rules.iter();
    let place = |rule: &RuleState| {
        let mut tags = rule.spec.tags.clone();
        assert!(tags.0.remove(names::RESOURCE_TAG).is_some(), "{rule:?}");
        (rule.spec.priority, tags)
    };
    rules.map(place).collect()
}

/// Carries out the change call by call; answers how many calls it took.
fn change(
    before: &[(usize, usize, u16)],
    after: &[(usize, usize, u16)],
    quota: usize,
    strict: bool,
) -> usize {
    let mut account = Account::offline(None);
    account.quotas.rules = quota;
    let (mut observed, shared) = made(&given(before), &account);
    let desired = given(after);
    let old = answers(&observed);
    let (settled, _) = made(&desired, &account);
    let new = answers(&settled);
    let mut calls = 0;
    for round in 0.. {
        assert!(round < 12, "not settled: {before:?} to {after:?}");
        let (changes, _) = plan(
            &settings("demo"),
            &desired.id,
            Some(&desired),
            &observed,
            &shared,
            &account,
        );
        if changes.is_empty() {
            break;
        }
        for change in &changes.changes {
            fold(&mut observed, change, distinct(change, calls));
            calls += 1;
            let rules = &observed.load_balancer().unwrap().listeners[&80].rules;
            let mut priorities: Vec<u32> = rules.iter().map(|rule| rule.spec.priority).collect();
            priorities.dedup();
            assert_eq!(
                priorities.len(),
                rules.len(),
                "priorities are unique after {change}"
            );
            assert!(rules.len() <= quota, "{} rules after {change}", rules.len());
            for (place, now) in answers(&observed).into_iter().enumerate() {
                assert!(
                    !strict || now == old[place] || now == new[place],
                    "request {place} got {now}, neither {} nor {}, after {change}: {before:?} to {after:?}",
                    old[place],
                    new[place]
                );
            }
        }
    }
    assert_eq!(answers(&observed), new, "{before:?} to {after:?}");
    assert_eq!(
        places(&observed),
        places(&settled),
        "priorities and tags: {before:?} to {after:?}"
    );
    calls
}

pub(super) fn some_rules() -> impl Strategy<Value = Vec<(usize, usize, u16)>> {
    prop::collection::vec((0..HOSTS.len(), 0..PATHS.len(), 0..3u16), 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_gets_a_third_answer_while_rules_change(before in some_rules(), after in some_rules()) {
        change(&before, &after, 100, true);
    }

    #[test]
    fn rules_change_within_a_quota_that_has_no_room(before in some_rules(), after in some_rules()) {
        let quota = before.len().max(after.len());
        change(&before, &after, quota, false);
    }
}

#[test]
fn few_calls_change_rules() {
    let three = [(1, 2, 0), (1, 1, 0), (1, 0, 0)];
    for (what, before, after, want) in [
        ("nothing", &three[..], &three[..], 0),
        ("the first goes", &three[..], &three[1..], 2), // delete, move two
        ("the last goes", &three[..], &three[..2], 1),
        (
            "one answers otherwise",
            &three[..],
            &[(1, 2, 0), (1, 1, 1), (1, 0, 0)][..],
            1,
        ),
        (
            "all answer otherwise",
            &three[..],
            &[(1, 2, 1), (1, 1, 1), (1, 0, 1)][..],
            3,
        ),
        (
            "one asks otherwise",
            &three[..],
            &[(1, 2, 0), (2, 1, 0), (1, 0, 0)][..],
            1,
        ),
        ("one more at the end", &three[..2], &three[..], 1),
        (
            "two change places",
            &[(1, 0, 0), (2, 0, 0)][..],
            &[(2, 0, 0), (1, 0, 0)][..],
            1,
        ),
    ] {
        assert_eq!(change(before, after, 100, true), want, "{what}");
    }
}
