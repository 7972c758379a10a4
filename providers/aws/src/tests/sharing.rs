//! Ingresses that name the same Service in, the target groups that stand for them, now and after changes, out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{LoadBalancer, Semantics};
use proptest::prelude::*;

use super::build::*;
use super::settled::{distinct, made, rounds};
use crate::account::Account;
use crate::change::Call;
use crate::fold::fold;
use crate::observed::Observed;
use crate::plan::plan;
use crate::resource::TargetGroupArn;

/// Members by name, each with a path of its own to the one Service, and which health check it asks for.
fn given(members: &BTreeMap<usize, usize>, semantics: Semantics) -> LoadBalancer {
    let mut out = balancer("group", semantics);
    http(&mut out, 80, not_found());
    for (member, health) in members {
        let owner = format!("shop/i{member}");
        let id = backend(&mut out, &owner, "cart", "80", 8080, Where::Pods(&["10.0.16.10"]));
        out.backends.get_mut(&id).unwrap().health.path = format!("/h{health}");
        out.rules.push(rule(
            &owner,
            &[80],
            "",
            &format!("prefix:/{member}"),
            forward(&id),
        ));
    }
    out
}

fn ours(members: &[(usize, usize)]) -> LoadBalancer {
    given(&members.iter().copied().collect(), Semantics::Kubernetes)
}

fn ids(observed: &Observed) -> Vec<&str> {
    observed
        .target_groups
        .iter()
        .map(|owned| owned.resource())
        .collect()
}

#[test]
fn a_target_group_is_shared_by_all_that_ask_for_the_same() {
    for (what, members, semantics, want) in [
        (
            "one",
            vec![(1, 0)],
            Semantics::Kubernetes,
            vec!["shop/i1-cart:80"],
        ),
        (
            "two alike",
            vec![(1, 0), (2, 0)],
            Semantics::Kubernetes,
            vec!["shop/service/cart:80"],
        ),
        (
            "two that differ",
            vec![(1, 0), (2, 1)],
            Semantics::Kubernetes,
            vec!["shop/i1-cart:80", "shop/i2-cart:80"],
        ),
        (
            "the incumbent's",
            vec![(1, 0), (2, 0)],
            Semantics::AwsLoadBalancerController,
            vec!["shop/i1-cart:80", "shop/i2-cart:80"],
        ),
    ] {
        let balancer = given(&members.into_iter().collect(), semantics);
        let (observed, _) = made(&balancer, &Account::offline(None));
        assert_eq!(ids(&observed), want, "{what}");
    }
    let (observed, _) = made(&ours(&[(1, 0), (2, 0), (3, 1)]), &Account::offline(None));
    let ids = ids(&observed);
    assert!(
        matches!(ids.as_slice(), ["shop/i3-cart:80", shared] if shared.starts_with("shop/service/cart:80/")),
        "{ids:?}"
    );
}

#[test]
fn a_target_group_stays_when_it_becomes_shared_and_when_it_ceases_to_be() {
    for (what, before, after, want) in [
        (
            "a second one asks for it",
            vec![(1, 0)],
            vec![(1, 0), (2, 0)],
            vec!["elbv2:CreateRule 80:2", "elbv2:AddTags shop/service/cart:80"],
        ),
        (
            "the one that named it goes",
            vec![(1, 0), (2, 0)],
            vec![(2, 0)],
            vec![
                "elbv2:SetRulePriorities 80",
                "elbv2:DeleteRule 80:1",
                "elbv2:AddTags shop/i2-cart:80",
            ],
        ),
        (
            "one of three goes",
            vec![(1, 0), (2, 0), (3, 0)],
            vec![(1, 0), (2, 0)],
            vec!["elbv2:DeleteRule 80:3"],
        ),
        (
            "all ask for another health check",
            vec![(1, 0), (2, 0)],
            vec![(1, 1), (2, 1)],
            vec!["elbv2:ModifyTargetGroup shop/service/cart:80"],
        ),
    ] {
        let account = Account::offline(None);
        let (mut observed, shared) = made(&ours(&before), &account);
        let calls = rounds(Some(&ours(&after)), &mut observed, &shared, &account);
        assert_eq!(calls, want, "{what}");
        assert_eq!(
            rounds(Some(&ours(&after)), &mut observed, &shared, &account),
            Vec::<String>::new(),
            "{what}"
        );
    }
}

#[test]
fn changing_the_semantics_replaces_no_target_group() {
    let account = Account::offline(None);
    let one: BTreeMap<usize, usize> = [(1, 0)].into();
    let two: BTreeMap<usize, usize> = [(1, 0), (2, 0)].into();
    for (members, made_new) in [(one, 0), (two, 1)] {
        let theirs = given(&members, Semantics::AwsLoadBalancerController);
        let own = given(&members, Semantics::Kubernetes);
        let (mut observed, shared) = made(&theirs, &account);
        let calls = rounds(Some(&own), &mut observed, &shared, &account);
        assert!(
            !calls.iter().any(|call| call.contains("CreateTargetGroup")),
            "{calls:?}"
        );
        // Going back, a group that was given up is made again; no other is.
        let calls = rounds(Some(&theirs), &mut observed, &shared, &account);
        let new = calls
            .iter()
            .filter(|call| call.contains("CreateTargetGroup"))
            .count();
        assert_eq!(new, made_new, "{calls:?}");
    }
}

/// Members by name, each with a path of its own to the one Service, whose port they name like this.
fn naming(members: &[(usize, &str)]) -> LoadBalancer {
    let mut out = balancer("group", Semantics::Kubernetes);
    http(&mut out, 80, not_found());
    for (member, port) in members {
        let owner = format!("shop/i{member}");
        let id = backend(&mut out, &owner, "cart", port, 8080, Where::Pods(&["10.0.16.10"]));
        let path = format!("prefix:/{member}");
        out.rules.push(rule(&owner, &[80], "", &path, forward(&id)));
    }
    out
}

#[test]
fn a_port_is_the_same_by_its_name_and_by_its_number() {
    let (both, names) = (&[(1, "80"), (2, "http")][..], &[(1, "http"), (2, "http")][..]);
    for (what, members, want) in [
        ("by both", both, vec!["shop/service/cart:80"]),
        ("by its name alone", names, vec!["shop/service/cart:http"]),
        (
            "another one",
            &[(1, "80"), (2, "81")][..],
            vec!["shop/i1-cart:80", "shop/i2-cart:81"],
        ),
    ] {
        let (observed, _) = made(&naming(members), &Account::offline(None));
        assert_eq!(ids(&observed), want, "{what}");
    }
    // As it was before names were known to be numbers.
    let mut unknown = naming(both);
    for backend in unknown.backends.values_mut() {
        backend.service.number = None;
    }
    for (what, before, after, want) in [
        (
            "one more names it by its number",
            naming(names),
            &[(1, "http"), (2, "http"), (3, "80")][..],
            vec!["elbv2:CreateRule 80:3", "elbv2:AddTags shop/service/cart:80"],
        ),
        (
            "who gave the number goes",
            naming(both),
            &[(2, "http")][..],
            vec![
                "elbv2:SetRulePriorities 80",
                "elbv2:DeleteRule 80:1",
                "elbv2:AddTags shop/i2-cart:http",
            ],
        ),
        (
            "each had its own",
            unknown,
            both,
            vec![
                "elbv2:ModifyRule 80:2",
                "elbv2:AddTags shop/service/cart:80",
                "elbv2:DescribeTargetHealth shop/service/cart:80",
                "elbv2:ModifyRule 80:2",
                "elbv2:DeleteTargetGroup shop/i2-cart:http",
            ],
        ),
    ] {
        let account = Account::offline(None);
        let (mut observed, shared) = made(&before, &account);
        let calls = rounds(Some(&naming(after)), &mut observed, &shared, &account);
        assert_eq!(calls, want, "{what}");
        let calls = rounds(Some(&naming(after)), &mut observed, &shared, &account);
        assert_eq!(calls, [""; 0], "{what}");
    }
}

/// By member, the target group that its rule forwards to.
fn used(observed: &Observed) -> BTreeMap<String, TargetGroupArn> {
    let listener = &observed.load_balancer().unwrap().listeners[&80];
    let rules = listener.rules.iter().map(|rule| {
        let arn = rule.spec.actions[0].target_groups().next().unwrap();
        (format!("{:?}", rule.spec.conditions), arn.clone())
    });
    rules.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn who_stays_and_asks_for_the_same_keeps_a_target_group(
        before in prop::collection::btree_map(0..4usize, 0..2usize, 1..5),
        after in prop::collection::btree_map(0..4usize, 0..2usize, 1..5),
        at_once in 1..20usize,
    ) {
        let account = Account::offline(None);
        let (mut observed, shared) = made(&given(&before, Semantics::Kubernetes), &account);
        let had: BTreeSet<TargetGroupArn> = observed.target_groups.iter().map(|o| o.get().arn.clone()).collect();
        let desired = given(&after, Semantics::Kubernetes);
        let mut calls = 0;
        loop {
            let (round, _) = plan(&settings("demo"), &desired.id, Some(&desired), &observed, &shared, &account);
            if round.is_empty() {
                break;
            }
            prop_assert!(calls < 200, "not settled");
            for change in round.changes.iter().take(at_once) {
                if let Call::CreateTargetGroup { spec } = &change.call {
                    let taken = observed.target_groups.iter().any(|o| o.get().spec.name == spec.name);
                    prop_assert!(!taken, "{} is taken", spec.name);
                }
                calls += 1;
                fold(&mut observed, change, distinct(change, 1000 + calls));
            }
        }
        let used = used(&observed);
        let kinds: BTreeSet<&usize> = after.values().collect();
        prop_assert!(used.values().collect::<BTreeSet<_>>().len() == kinds.len(), "{:?}", ids(&observed));
        prop_assert_eq!(observed.target_groups.len(), kinds.len());
        for member in before.iter().filter(|(member, health)| after.get(*member) == Some(*health)) {
            let path = format!("\"/{}\"", member.0);
            let own = used.iter().find(|(conditions, _)| conditions.contains(&path)).unwrap().1;
            prop_assert!(had.contains(own), "{:?} to {:?}: {:?} of i{}", before, after, own, member.0);
        }
    }
}
