//! Rules that are to forward to other target groups in, where requests go until those can serve out.

use std::collections::BTreeSet;

use portcullis_model::{Authenticate, BackendTls, Code, LoadBalancer, Semantics};

use super::auth::idp;
use super::build::*;
use super::refused::{Passed, pass};
use super::settled::made;
use crate::account::Account;
use crate::change::{Call, Change};
use crate::observed::{Observed, Shared};
use crate::resource::{RuleAction, TargetGroupArn};

type Edit = fn(&mut LoadBalancer);
type Refuse = fn(&Change) -> Option<Code>;
/// What happens, what is refused of it, and how many target groups a load balancer may have.
type Row = (&'static str, Edit, Refuse, usize);

/// Two members with a path each to one Service, and its default action.
fn group(semantics: Semantics) -> LoadBalancer {
    let mut out = balancer("group", semantics);
    for owner in ["shop/i1", "shop/i2"] {
        let id = backend(&mut out, owner, "cart", "80", 8080, Where::Pods(&["10.0.16.10"]));
        if out.listeners.is_empty() {
            http(&mut out, 80, forward(&id));
        }
        let path = format!("prefix:/{owner}");
        out.rules.push(rule(owner, &[80], "", &path, forward(&id)));
    }
    out
}

fn protocol(out: &mut LoadBalancer, owner: &str) {
    let mut backends = out.backends.values_mut();
    backends.find(|b| b.owner == object(owner)).unwrap().protocol.tls = BackendTls::Unverified;
}

/// By where it stands, each group that has a share of its requests.
fn serving(observed: &Observed) -> Vec<(String, TargetGroupArn)> {
    let listener = &observed.load_balancer().unwrap().listeners[&80];
    let default = ("default".to_owned(), &listener.spec.default_actions);
    let rules = listener.rules.iter();
    let rules = rules.map(|rule| (format!("{:?}", rule.spec.conditions), &rule.spec.actions));
    let all = std::iter::once(default).chain(rules);
    all.flat_map(|(at, actions)| {
        let Some(RuleAction::Forward { config }) = actions.last() else {
            panic!("{actions:?}");
        };
        let shares = config
            .target_groups
            .iter()
            .filter(|tuple| tuple.weight != Some(0));
        shares
            .map(move |tuple| (at.clone(), tuple.target_group_arn.clone()))
            .collect::<Vec<_>>()
    })
    .collect()
}

fn not_yet(change: &Change) -> Option<Code> {
    matches!(change.call, Call::AwaitTargets { .. }).then_some(Code::ConflictingChange)
}

fn run(
    desired: &LoadBalancer,
    (observed, shared): (&mut Observed, &Shared),
    calls: &mut usize,
    refuse: Refuse,
    after_each: impl FnMut(&Observed, &Change),
) -> Passed {
    let account = Account::offline(None);
    pass(
        Some(desired),
        (observed, shared, &account),
        calls,
        refuse,
        after_each,
    )
}

#[test]
fn requests_go_where_they_went_until_the_new_targets_are_healthy() {
    let edits: [(&str, Semantics, Edit, usize); 4] = [
        (
            "one of those that share asks for another health check",
            Semantics::Kubernetes,
            |b| b.backends.values_mut().next_back().unwrap().health.path = "/ok".into(),
            1,
        ),
        (
            "one speaks another protocol",
            Semantics::Kubernetes,
            |b| protocol(b, "shop/i2"),
            1,
        ),
        (
            "a rule and the default action",
            Semantics::Kubernetes,
            |b| ["shop/i1", "shop/i2"].iter().for_each(|owner| protocol(b, owner)),
            3,
        ),
        (
            "the incumbent's",
            Semantics::AwsLoadBalancerController,
            |b| protocol(b, "shop/i1"),
            2,
        ),
    ];
    for (what, semantics, edit, moved) in edits {
        let (mut observed, shared) = made(&group(semantics), &Account::offline(None));
        let (before, mut calls) = (serving(&observed), 1000);
        let mut desired = group(semantics);
        edit(&mut desired);
        for _ in 0..2 {
            let stays = |observed: &Observed, change: &Change| {
                assert_eq!(serving(observed), before, "{what}: after {change}");
            };
            let passed = run(&desired, (&mut observed, &shared), &mut calls, not_yet, stays);
            let told = codes(&passed.problems);
            assert!(
                !told.is_empty() && told.iter().all(|code| *code == Code::ConflictingChange),
                "{what}: {told:?}"
            );
            assert!(
                passed.problems.iter().all(|p| p.at.object.name.starts_with('i')),
                "{what}"
            );
        }
        run(
            &desired,
            (&mut observed, &shared),
            &mut calls,
            |_| None,
            |_, _| {},
        );
        let after = serving(&observed);
        let differ = before.iter().zip(&after).filter(|(had, has)| had != has).count();
        assert_eq!((after.len(), differ), (before.len(), moved), "{what}");
        let used: BTreeSet<_> = after.into_iter().map(|(_, arn)| arn).collect();
        let kept: BTreeSet<_> = observed
            .target_groups
            .iter()
            .map(|o| o.get().arn.clone())
            .collect();
        assert_eq!(used, kept, "{what}: what served before goes");
    }
}

#[test]
fn what_cannot_wait_or_need_not_is_done_at_once() {
    let rows: [Row; 4] = [
        (
            "without targets",
            |b| {
                b.backends
                    .values_mut()
                    .for_each(|backend| backend.targets = [].into())
            },
            |_| None,
            100,
        ),
        (
            "AWS does not take it",
            |_| {},
            |change| {
                change
                    .reason
                    .contains("checked first")
                    .then_some(Code::RequestRefused)
            },
            100,
        ),
        ("no room", |_| {}, |_| None, 1),
        ("in the place of what nobody sees healthy", |_| {}, |_| None, 100),
    ];
    for (what, edit, refuse, room) in rows {
        let mut account = Account::offline(None);
        let (mut observed, shared) = made(&simple(), &account);
        account.quotas.target_groups = room;
        let mut desired = simple();
        protocol(&mut desired, "shop/web");
        edit(&mut desired);
        if what.starts_with("in the place") {
            let group = observed.target_groups[0].get_mut();
            group.spec.targets.clear();
        }
        let world = (&mut observed, &shared, &account);
        let passed = pass(Some(&desired), world, &mut 1000, refuse, |_, _| {});
        let asked = passed
            .made
            .iter()
            .any(|call| call.contains("DescribeTargetHealth"));
        assert!(!asked, "{what}: {:?}", passed.made);
        let kept: Vec<_> = observed
            .target_groups
            .iter()
            .map(|o| o.get().arn.clone())
            .collect();
        let used: Vec<_> = serving_of(&observed);
        assert_eq!(used, kept, "{what}");
    }
}

/// Where the only rule forwards to.
fn serving_of(observed: &Observed) -> Vec<TargetGroupArn> {
    let listener = &observed.load_balancer().unwrap().listeners[&80];
    let actions = &listener.rules[0].spec.actions;
    actions
        .iter()
        .flat_map(RuleAction::target_groups)
        .cloned()
        .collect()
}

/// A path that is forwarded behind this step, or openly.
fn guarded(step: Option<Authenticate>, service: &str) -> LoadBalancer {
    let mut out = balancer("shop/web", Semantics::Kubernetes);
    https(&mut out, 443, vec![discovered(&["a.example.com"])]);
    let id = backend(
        &mut out,
        "shop/web",
        service,
        "80",
        8080,
        Where::Pods(&["10.0.16.10"]),
    );
    out.rules.push(portcullis_model::Rule {
        authenticate: step,
        ..rule("shop/web", &[443], "a.example.com", "prefix:/", forward(&id))
    });
    out
}

#[test]
fn nobody_new_is_let_through_to_what_answered_before() {
    let step = || Some(idp("idp", "1"));
    for (what, before, after, waits) in [
        ("a step is taken away", step(), None, false),
        ("a step is added", None, step(), true),
        ("the step stays", step(), step(), true),
    ] {
        let account = Account::offline(None);
        let (mut observed, shared) = made(&guarded(before, "private"), &account);
        let private = observed.target_groups[0].get().arn.clone();
        let desired = guarded(after, "public");
        let mut waited = false;
        let world = (&mut observed, &shared, &account);
        pass(Some(&desired), world, &mut 1000, not_yet, |observed, change| {
            let actions = &observed.load_balancer().unwrap().listeners[&443].rules[0]
                .spec
                .actions;
            let groups: Vec<_> = actions.iter().flat_map(RuleAction::target_groups).collect();
            let both = groups.len() == 2 && groups.contains(&&private);
            assert!(!both || actions.len() == 2, "{what}: open after {change}");
            waited |= both;
        });
        assert_eq!(waited, waits, "{what}");
    }
}

#[test]
fn what_still_has_requests_loses_the_targets_that_go() {
    let pods = |ips: &'static [&'static str], tls: bool| {
        let mut out = simple();
        backend(&mut out, "shop/web", "web", "80", 8080, Where::Pods(ips));
        if tls {
            protocol(&mut out, "shop/web");
        }
        out
    };
    let (mut observed, shared) = made(
        &pods(&["10.0.16.10", "10.0.48.10"], false),
        &Account::offline(None),
    );
    let old = observed.target_groups[0].get().arn.clone();
    for (ips, want) in [
        (&["10.0.16.10", "10.0.48.10"][..], Some(2)),
        (&["10.0.48.10", "10.0.48.11"][..], Some(1)),
        (&["10.0.48.12"][..], None),
    ] {
        let desired = pods(ips, true);
        run(&desired, (&mut observed, &shared), &mut 1000, not_yet, |_, _| {});
        let groups = observed.target_groups.iter().map(|owned| owned.get());
        let had = groups.clone().find(|state| state.arn == old);
        assert_eq!(had.map(|state| state.spec.targets.len()), want, "{ips:?}");
    }
}
