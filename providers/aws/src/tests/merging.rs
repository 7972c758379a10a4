//! More rules than there is room for in, fewer that answer the same out, and small changes to them in few calls.

use portcullis_model::{Action, Code, FixedResponse, LoadBalancer, Rule, Semantics};
use proptest::prelude::*;

use super::build::*;
use super::settled::{distinct, made};
use crate::account::Account;
use crate::compile::compile;
use crate::fold::fold;
use crate::observed::{Observed, Owner};
use crate::plan::plan;
use crate::resource::{RuleAction, RuleCondition};

const PATHS: [&str; 6] = [
    "prefix:/",
    "prefix:/x",
    "prefix:/x/y",
    "exact:/x",
    "exact:/q",
    "glob:/x*",
];
const ASKED: [&str; 7] = ["/", "/x", "/xx", "/x/y", "/x/y/z", "/q", "/other"];
const HOSTS: usize = 6;

/// Host (none for the last one), path and status.
type Short = (usize, usize, u16);

fn host(number: usize) -> String {
    if number + 1 == HOSTS {
        return String::new();
    }
    format!("h{number:03}.example.com")
}

fn given(rules: &[Short]) -> LoadBalancer {
    let mut out = balancer("shop/web", Semantics::Kubernetes);
    http(&mut out, 80, not_found());
    let rule = |(host_number, path, status): &Short| -> Rule {
        let action = Action::Fixed(FixedResponse::new(200 + *status, None, None).unwrap());
        rule("shop/web", &[80], &host(*host_number), PATHS[*path], action)
    };
    *out.rules = rules.iter().map(rule).collect();
    out
}

fn account(quota: usize) -> Account {
    let mut account = Account::offline(None);
    account.quotas.rules = quota;
    account
}

/// Conditions and status of each rule, as it would be written from nothing.
fn compiled(balancer: &LoadBalancer, account: &Account) -> (Vec<(Vec<RuleCondition>, String)>, Vec<Code>) {
    let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
    let (desired, problems) = compile(&settings("demo"), balancer, account, &nothing);
    let rules = desired.unwrap().listeners.remove(&80).unwrap().rules;
    let rules = rules
        .into_iter()
        .map(|rule| (rule.spec.conditions, status(&rule.spec.actions)));
    (rules.collect(), codes(&problems))
}

fn status<T: std::fmt::Debug>(actions: &[RuleAction<T>]) -> String {
    match &actions[0] {
        RuleAction::FixedResponse { config } => config.status_code.clone(),
        other => panic!("{other:?}"),
    }
}

fn takes(condition: &RuleCondition, host: &str, path: &str) -> bool {
    let (values, text) = match condition {
        RuleCondition::HostHeader { config } => (config, host),
        RuleCondition::PathPattern { config } => (config, path),
        other => panic!("{other:?}"),
    };
    let mut globs = values.list().iter();
    globs.any(|glob| portcullis_model::Glob::parse(glob).unwrap().matches(text))
}

fn answers(rules: &[(Vec<RuleCondition>, String)]) -> Vec<String> {
    let mut out = Vec::new();
    for number in 0..HOSTS {
        let asked = if number + 1 == HOSTS {
            "else.example.com".to_owned()
        } else {
            host(number)
        };
        for path in ASKED {
            let first = rules
                .iter()
                .find(|(conditions, _)| conditions.iter().all(|c| takes(c, &asked, path)));
            out.push(first.map_or_else(|| "404".to_owned(), |(_, status)| status.clone()));
        }
    }
    out
}

fn standing(observed: &Observed) -> Vec<(Vec<RuleCondition>, String)> {
    let listener = &observed.load_balancer().unwrap().listeners[&80];
    let rules = listener.rules.iter();
    rules
        .map(|rule| (rule.spec.conditions.clone(), status(&rule.spec.actions)))
        .collect()
}

/// So many hosts with one answer.
fn alike(hosts: usize) -> LoadBalancer {
    let mut out = balancer("shop/web", Semantics::Kubernetes);
    http(&mut out, 80, not_found());
    for number in 0..hosts {
        let action = Action::Fixed(FixedResponse::new(200, None, None).unwrap());
        let host = format!("h{number:03}.example.com");
        out.rules
            .push(rule("shop/web", &[80], &host, "prefix:/x", action));
    }
    out
}

#[test]
fn rules_are_merged_only_where_there_is_no_room_for_all() {
    for (hosts, semantics, want, refused) in [
        (18, Semantics::Kubernetes, 18, 0),
        (19, Semantics::Kubernetes, 18, 0), // of twenty, two are kept free
        (54, Semantics::Kubernetes, 18, 0),
        (57, Semantics::Kubernetes, 19, 0), // three values in a condition, no more
        (63, Semantics::Kubernetes, 20, 3), // each of the last rule is told
        (20, Semantics::AwsLoadBalancerController, 20, 0),
        (21, Semantics::AwsLoadBalancerController, 20, 1),
    ] {
        let mut balancer = alike(hosts);
        balancer.semantics = semantics;
        let (rules, problems) = compiled(&balancer, &account(20));
        assert_eq!(rules.len(), want, "{hosts} under {semantics:?}");
        assert_eq!(
            problems.len(),
            refused,
            "{hosts} under {semantics:?}: {problems:?}"
        );
    }
}

#[test]
fn what_stands_between_two_rules_decides_whether_they_can_be_one() {
    let one = |host: usize, path: usize, status: u16| (host, path, status);
    for (what, rules, want) in [
        ("nothing", vec![one(0, 0, 0), one(1, 0, 0)], 1),
        (
            "what no request of either reaches",
            vec![one(0, 3, 0), one(0, 4, 1), one(1, 3, 0)],
            2,
        ),
        (
            "a rule for all hosts",
            vec![one(0, 0, 0), one(HOSTS - 1, 0, 1), one(1, 0, 0)],
            3,
        ),
        (
            "one that answers alike",
            vec![one(0, 0, 0), one(HOSTS - 1, 0, 0), one(1, 0, 0)],
            2,
        ),
        (
            "a narrower path of the first",
            vec![one(0, 0, 0), one(0, 1, 1), one(1, 0, 0)],
            2,
        ),
        (
            "a narrower path of the second",
            vec![one(0, 0, 0), one(1, 1, 1), one(1, 0, 0)],
            2,
        ),
        (
            "narrower paths of both, behind",
            vec![one(0, 0, 0), one(0, 1, 1), one(1, 1, 1), one(1, 0, 0)],
            3,
        ),
        (
            "narrower paths of both, before",
            vec![one(0, 1, 1), one(0, 0, 0), one(1, 1, 1), one(1, 0, 0)],
            2,
        ),
        ("another answer", vec![one(0, 0, 0), one(1, 0, 1)], 2),
        ("other hosts and paths", vec![one(0, 3, 0), one(1, 4, 0)], 2),
        ("two exact paths", vec![one(0, 3, 0), one(0, 4, 0)], 1),
    ] {
        let (kept, refused) = compiled(&given(&rules), &account(want));
        assert!(kept.len() <= want && refused.is_empty(), "{what}: {refused:?}");
        let (_, refused) = compiled(&given(&rules), &account(want - 1));
        assert!(!refused.is_empty(), "{what}");
    }
}

/// Carries out the change call by call; answers how many calls it took, tags aside.
fn change(before: &[Short], after: &[Short], account: &Account) -> usize {
    let (mut observed, shared) = made(&given(before), account);
    let desired = given(after);
    let old = answers(&standing(&observed));
    let new = answers(&compiled(&desired, &super::merging::account(10_000)).0);
    let mut calls = 0;
    for round in 0.. {
        assert!(round < 12, "not settled: {before:?} to {after:?}");
        let (changes, problems) = plan(
            &settings("demo"),
            &desired.id,
            Some(&desired),
            &observed,
            &shared,
            account,
        );
        assert_eq!(problems, [], "{after:?}");
        if changes.is_empty() {
            break;
        }
        for change in &changes.changes {
            calls += usize::from(!change.call.name().ends_with("Tags"));
            fold(
                &mut observed,
                change,
                distinct(change, 1000 * (round + 1) + calls),
            );
            let rules = standing(&observed);
            assert!(
                rules.len() <= account.quotas.rules,
                "{} rules after {change}",
                rules.len()
            );
            for (place, now) in answers(&rules).into_iter().enumerate() {
                assert!(
                    now == old[place] || now == new[place],
                    "request {place} got {now}, neither {} nor {}, after {change}: {before:?} to {after:?}",
                    old[place],
                    new[place]
                );
            }
        }
    }
    assert_eq!(answers(&standing(&observed)), new, "{before:?} to {after:?}");
    calls
}

/// As a model orders them: by host, then by path, each asked for once.
fn some_rules(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Short>> {
    prop::collection::btree_map((0..HOSTS, 0..PATHS.len()), 0..2u16, count).prop_map(|all| {
        all.into_iter()
            .map(|((host, path), status)| (host, PATHS.len() - 1 - path, status))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn merged_rules_answer_as_each_would(rules in some_rules(1..30), most in 1..20usize) {
        let balancer = given(&rules);
        let (alone, _) = compiled(&balancer, &account(10_000));
        let (merged, problems) = compiled(&balancer, &account(most));
        prop_assume!(problems.is_empty());
        prop_assert_eq!(answers(&merged), answers(&alone), "{:?}", merged);
    }

    #[test]
    fn no_request_gets_a_third_answer_while_merged_rules_change(
        rules in some_rules(16..30),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..2u16, any::<bool>()), 1..3),
    ) {
        let mut after = rules.clone();
        for (at, status, remove) in edits {
            let at = at.index(after.len());
            if remove && after.len() > 1 {
                after.remove(at);
            } else {
                after[at].2 = status;
            }
        }
        for (from, to) in [(&rules, &after), (&after, &rules)] {
            // Room for a few more than merging leaves.
            let fits = |most: &usize| {
                let account = account(*most);
                [from, to].iter().all(|rules| {
                    let (merged, problems) = compiled(&given(rules), &account);
                    problems.is_empty() && merged.len() + 4 <= *most
                })
            };
            if let Some(most) = (10..40).find(fits) {
                change(from, to, &account(most));
            }
        }
    }
}

#[test]
fn a_small_change_of_merged_rules_is_a_few_calls() {
    // Twenty hosts of one answer where there is room for twelve: eleven rules.
    let hosts = |hosts: std::ops::Range<usize>| {
        let mut balancer = alike(0);
        *balancer.rules = alike(hosts.end).rules.split_off(hosts.start);
        balancer
    };
    let account = account(12);
    for (what, before, after, want) in [
        ("nothing", 0..20, 0..20, vec![]),
        ("one more at the end", 0..20, 0..21, vec!["elbv2:ModifyRule"]),
        ("one fewer at the end", 0..20, 0..19, vec!["elbv2:DeleteRule"]),
        (
            "one fewer of a merged rule",
            0..20,
            1..20,
            vec!["elbv2:ModifyRule"],
        ),
        ("one more at the start", 1..20, 0..20, vec!["elbv2:ModifyRule"]),
    ] {
        let (mut observed, shared) = made(&hosts(before), &account);
        let desired = hosts(after);
        let calls = super::settled::rounds(Some(&desired), &mut observed, &shared, &account);
        let calls: Vec<&str> = calls.iter().filter_map(|call| call.split(' ').next()).collect();
        assert_eq!(calls, want, "{what}");
    }
}

#[test]
fn what_exists_is_not_displaced_by_what_comes_before_it() {
    // Different answers, so that nothing can be merged; three exist, and there is room for three.
    let rules = |hosts: &[usize]| {
        let all: Vec<Short> = hosts
            .iter()
            .map(|host| (*host, 0, u16::try_from(*host).unwrap()))
            .collect();
        given(&all)
    };
    let account = account(3);
    let (observed, _) = made(&rules(&[1, 2, 4]), &account);
    let (desired, problems) = compile(&settings("demo"), &rules(&[0, 1, 2, 3, 4]), &account, &observed);
    let kept = desired.unwrap().listeners.remove(&80).unwrap().rules;
    let kept: Vec<String> = kept.iter().map(|rule| rule.origin.field.to_string()).collect();
    assert_eq!(
        kept,
        [
            "h001.example.com prefix:/",
            "h002.example.com prefix:/",
            "h004.example.com prefix:/"
        ]
    );
    let told: Vec<&str> = problems.iter().map(|problem| &*problem.at.field).collect();
    assert_eq!(told, ["h000.example.com prefix:/", "h003.example.com prefix:/"]);
    assert!(
        problems
            .iter()
            .all(|problem| problem.message.contains("at most 3 rules"))
    );
}
