//! A scheme that changes in, the way from one load balancer to another out: stopped anywhere, and turned back.

use portcullis_model::{Code, LoadBalancer, Scheme, Semantics};

use super::build::*;
use super::settled::made;
use crate::account::Account;
use crate::change::{Answer, Change};
use crate::fold::{address, fold, imagine};
use crate::names;
use crate::observed::{Observed, Owner, Shared};
use crate::plan::{plan, waits};
use crate::resource::{Id, LoadBalancerScheme};

const START: u64 = 1_000_000;
/// Longer than connections and addresses last.
const LATER: u64 = START + 3_661;

fn with_scheme(scheme: Scheme, semantics: Semantics) -> LoadBalancer {
    let mut out = balancer("shop/web", semantics);
    out.options.scheme = scheme;
    let web = web(&mut out);
    let api = backend(
        &mut out,
        "shop/web",
        "api",
        "80",
        8080,
        Where::Pods(&["10.0.16.11"]),
    );
    http(&mut out, 80, forward(&web));
    out.rules.push(rule(
        "shop/web",
        &[80],
        "a.example.com",
        "prefix:/",
        forward(&web),
    ));
    out.rules.push(rule(
        "shop/web",
        &[80],
        "b.example.com",
        "prefix:/",
        forward(&api),
    ));
    out
}

/// An answer with ARNs that nothing else has: two load balancers have the same logical ids.
fn distinct(change: &Change, call: usize) -> Answer {
    match imagine(change) {
        Answer::Rule { arn } => Answer::Rule {
            arn: Id::new(format!("{arn}#{call}")),
        },
        Answer::Listener { arn } => Answer::Listener {
            arn: Id::new(format!("{arn}#{call}")),
        },
        Answer::TargetGroup { arn, tags } => Answer::TargetGroup {
            arn: Id::new(format!("{arn}#{call}")),
            tags,
        },
        Answer::LoadBalancer { arn, dns_name, tags } => Answer::LoadBalancer {
            arn: Id::new(format!("{arn}#{call}")),
            dns_name: format!("{dns_name}#{call}"),
            tags,
        },
        other => other,
    }
}

/// Makes rounds, of each the first so many changes, until nothing is left to do. Answers the calls.
fn settle(balancer: &LoadBalancer, observed: &mut Observed, shared: &Shared, at_once: usize) -> Vec<String> {
    let account = Account::offline(None);
    let mut calls = Vec::new();
    for _ in 0..400 {
        let (round, _) = plan(
            &settings("demo"),
            &balancer.id,
            Some(balancer),
            observed,
            shared,
            &account,
        );
        if round.is_empty() {
            return calls;
        }
        for change in round.changes.iter().take(at_once) {
            calls.push(format!("{} {}", change.call.name(), change.id));
            fold(observed, change, distinct(change, 10_000 + calls.len()));
            let name = |owned: &crate::observed::Owned<crate::observed::TargetGroupState>| {
                owned.get().spec.name.clone()
            };
            let mut names: Vec<String> = observed.target_groups.iter().map(name).collect();
            names.sort();
            names.dedup();
            assert_eq!(
                names.len(),
                observed.target_groups.len(),
                "names are unique after {change}"
            );
            assert!(observed.load_balancer().is_some(), "one serves after {change}");
        }
    }
    panic!("not settled: {calls:#?}");
}

fn schemes(observed: &Observed) -> Vec<(String, LoadBalancerScheme)> {
    let all = observed.load_balancers.iter();
    all.map(|owned| (owned.resource().to_owned(), owned.get().spec.scheme))
        .collect()
}

fn ids(observed: &Observed) -> Vec<&str> {
    let mut ids: Vec<&str> = observed
        .target_groups
        .iter()
        .map(|owned| owned.resource())
        .collect();
    ids.sort_unstable();
    ids
}

#[test]
fn another_one_takes_its_place_and_the_old_one_goes_later() {
    for semantics in [Semantics::Kubernetes, Semantics::AwsLoadBalancerController] {
        for at_once in [usize::MAX, 1, 2] {
            let account = Account::offline(None);
            let (mut observed, shared) = made(&with_scheme(Scheme::Internal, semantics), &account);
            let old = address(&observed).unwrap();
            let wanted = with_scheme(Scheme::InternetFacing, semantics);
            observed.looked_at = Some(START);
            let calls = settle(&wanted, &mut observed, &shared, at_once);
            let healthy = calls
                .iter()
                .position(|call| call.starts_with("elbv2:DescribeTargetHealth"));
            let created = calls
                .iter()
                .position(|call| call.starts_with("elbv2:CreateLoadBalancer"));
            assert!(created < healthy && healthy.is_some(), "{calls:#?}");
            assert!(!calls.iter().any(|call| call.contains("Delete")), "{calls:#?}");
            assert_ne!(address(&observed).unwrap(), old);
            assert_eq!(
                schemes(&observed),
                [
                    (names::RETIRED.to_owned(), LoadBalancerScheme::Internal),
                    (
                        names::LOAD_BALANCER.to_owned(),
                        LoadBalancerScheme::InternetFacing
                    ),
                ]
            );
            assert!(waits(&observed));
            assert_eq!(
                ids(&observed),
                [
                    "shop/web-api:80",
                    "shop/web-api:80@retired",
                    "shop/web-web:80",
                    "shop/web-web:80@retired"
                ]
            );

            // Too early; and it follows the pods until it goes.
            observed.looked_at = Some(START + 3_600);
            assert_eq!(
                settle(&wanted, &mut observed, &shared, at_once),
                Vec::<String>::new()
            );
            let mut more = wanted.clone();
            let pods = Where::Pods(&["10.0.16.10", "10.0.16.12"]);
            backend(&mut more, "shop/web", "web", "80", 8080, pods);
            let calls = settle(&more, &mut observed, &shared, at_once);
            assert_eq!(calls, ["elbv2:RegisterTargets shop/web-web:80"; 2]);

            observed.looked_at = Some(LATER);
            let calls = settle(&more, &mut observed, &shared, at_once);
            assert_eq!(calls.len(), 3, "{calls:#?}");
            let (mut fresh, _) = made(&more, &account);
            fresh.looked_at = observed.looked_at;
            assert_eq!(ids(&observed), ids(&fresh));
            assert_eq!(schemes(&observed), schemes(&fresh));
            let tags = |observed: &Observed| observed.load_balancer().unwrap().spec.tags.clone();
            assert_eq!(tags(&observed), tags(&fresh));
            assert!(!waits(&observed));
        }
    }
}

#[test]
fn a_change_taken_back_leaves_nothing_behind() {
    let account = Account::offline(None);
    let (before, wanted) = (
        with_scheme(Scheme::Internal, Semantics::Kubernetes),
        with_scheme(Scheme::InternetFacing, Semantics::Kubernetes),
    );
    let (start, shared) = made(&before, &account);
    let mut whole = start.clone();
    whole.looked_at = Some(START);
    let all = settle(&wanted, &mut whole.clone(), &shared, 1).len();
    for stop in 0..=all {
        // Stopped after any call, then asked for as before.
        let mut observed = whole.clone();
        for call in 0..stop {
            let (round, _) = plan(
                &settings("demo"),
                &wanted.id,
                Some(&wanted),
                &observed,
                &shared,
                &account,
            );
            let change = &round.changes[0];
            fold(&mut observed, change, distinct(change, 20_000 + call));
        }
        settle(&before, &mut observed, &shared, 1);
        observed.looked_at = Some(LATER + 10);
        settle(&before, &mut observed, &shared, 1);
        let want = [(names::LOAD_BALANCER.to_owned(), LoadBalancerScheme::Internal)];
        assert_eq!(schemes(&observed), want, "stopped after {stop} calls");
        assert_eq!(ids(&observed), ids(&start), "stopped after {stop} calls");
    }
}

#[test]
fn where_no_second_one_can_be_the_old_one_serves_on() {
    type Edit = fn(&mut LoadBalancer);
    let edits: [(&str, Edit); 2] = [
        ("a given name", |b| b.options.name = Some("given".into())),
        ("target groups of others", |b| {
            let id = portcullis_model::BackendId::given("shop", "arn:old");
            let given = portcullis_model::GivenBackend {
                id: id.clone(),
                name: "arn:old".into(),
                namespace: "shop".into(),
                origin: b.options.origin.clone(),
            };
            b.given.insert(id, given);
        }),
    ];
    for (what, edit) in edits {
        let account = Account::offline(None);
        let (mut before, mut wanted) = (
            with_scheme(Scheme::Internal, Semantics::Kubernetes),
            with_scheme(Scheme::InternetFacing, Semantics::Kubernetes),
        );
        edit(&mut before);
        edit(&mut wanted);
        let (observed, shared) = made(&before, &account);
        let (round, problems) = plan(
            &settings("demo"),
            &wanted.id,
            Some(&wanted),
            &observed,
            &shared,
            &account,
        );
        assert_eq!(round.changes, [], "{what}");
        assert_eq!(codes(&problems), [Code::OptionUnsupported], "{what}");
    }
}

#[test]
fn both_go_when_nobody_asks() {
    let account = Account::offline(None);
    let (mut observed, shared) = made(&with_scheme(Scheme::Internal, Semantics::Kubernetes), &account);
    let wanted = with_scheme(Scheme::InternetFacing, Semantics::Kubernetes);
    observed.looked_at = Some(START);
    settle(&wanted, &mut observed, &shared, 1);
    observed.looked_at = None;
    let (round, _) = plan(&settings("demo"), &wanted.id, None, &observed, &shared, &account);
    for change in &round.changes {
        fold(&mut observed, change, imagine(change));
    }
    assert_eq!(
        observed,
        Observed::nothing(Owner::load_balancer("demo", &wanted.id))
    );
}
