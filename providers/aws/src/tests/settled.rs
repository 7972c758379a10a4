//! Load balancers in, every round until nothing is left out: the calls, their order and their number.

use portcullis_model::{BackendTls, LoadBalancer, LoadBalancerId};
use std::collections::BTreeMap;

use super::build::*;
use super::takeover::{group_https, instance};
use crate::account::Account;
use crate::change::{Answer, Change};
use crate::fold::{fold, imagine};
use crate::observed::{Observed, Owner, Shared};
use crate::plan::plan;
use crate::preview::Narrowing;
use crate::resource::Id;
use crate::{plan_observed, plan_offline};

/// Everything there, made in imagination.
pub(super) fn made(balancer: &LoadBalancer, account: &Account) -> (Observed, Shared) {
    let settings = settings("demo");
    let demands = [(
        balancer.id.clone(),
        crate::demand(&settings, balancer, None, account),
    )]
    .into();
    let mut shared = Shared::nothing("demo");
    let mut observed = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
    for _ in 0..3 {
        for change in crate::plan_shared(&settings, &demands, &shared, account)
            .0
            .changes
        {
            crate::fold_shared(&mut shared, &change, imagine(&change));
        }
    }
    rounds(Some(balancer), &mut observed, &shared, account);
    (observed, shared)
}

/// The imagined answer, with an ARN that no other call got: what is there already may have the symbolic one.
pub(super) fn distinct(change: &Change, call: usize) -> Answer {
    match imagine(change) {
        Answer::Rule { arn } => Answer::Rule {
            arn: Id::new(format!("{arn}#{call}")),
        },
        Answer::TargetGroup { arn, tags } => Answer::TargetGroup {
            arn: Id::new(format!("{arn}#{call}")),
            tags,
        },
        Answer::Certificate { arn } if arn.as_str().starts_with("${") => Answer::Certificate {
            arn: Id::new(format!("{arn}#{call}")),
        },
        other => other,
    }
}

/// The calls of all rounds, until one is empty.
pub(super) fn rounds(
    balancer: Option<&LoadBalancer>,
    observed: &mut Observed,
    shared: &Shared,
    account: &Account,
) -> Vec<String> {
    let id = balancer.map_or(LoadBalancerId::Group("gone".into()), |balancer| {
        balancer.id.clone()
    });
    let mut calls = Vec::new();
    for _ in 0..20 {
        let (round, _) = plan(&settings("demo"), &id, balancer, observed, shared, account);
        if round.is_empty() {
            return calls;
        }
        for change in &round.changes {
            calls.push(format!("{} {}", change.call.name(), change.id));
            fold(observed, change, distinct(change, calls.len()));
        }
    }
    panic!("not settled: {calls:#?}");
}

#[test]
fn the_simplest_load_balancer_takes_seven_calls() {
    let document = plan_offline(&[simple()], &settings("demo"));
    let calls: Vec<&str> = document.load_balancers[0]
        .changes
        .iter()
        .map(|change| change.call)
        .collect();
    assert_eq!(
        calls,
        [
            "ec2:CreateSecurityGroup",
            "elbv2:CreateTargetGroup",
            "ec2:AuthorizeSecurityGroupIngress",
            "elbv2:RegisterTargets",
            "elbv2:CreateLoadBalancer",
            "elbv2:CreateListener",
            "elbv2:CreateRule",
        ]
    );
    let shared: Vec<&str> = document.shared.changes.iter().map(|change| change.call).collect();
    assert_eq!(
        shared,
        ["ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress"]
    );
    let nodes = &document.shared.resources[1];
    assert_eq!(
        (nodes.kind, nodes.id.as_str()),
        ("SecurityGroupRule", "nodes:8080")
    );
    assert_eq!(nodes.spec["GroupId"], "${SecurityGroup/nodes}");
    assert_eq!(
        nodes.spec["UserIdGroupPairs"][0]["GroupId"],
        "${SecurityGroup/backend}"
    );
    assert_eq!(
        (
            document.summary.create,
            document.summary.update,
            document.summary.calls
        ),
        (6, 3, 9)
    );
    assert_eq!(document.problems, Vec::new());
}

#[test]
fn what_is_there_is_left_alone() {
    for balancer in [simple(), group_https(), instance()] {
        let account = Account::offline(None);
        let (mut observed, shared) = made(&balancer, &account);
        assert!(observed.load_balancer().is_some(), "{}", balancer.id);
        assert_eq!(
            rounds(Some(&balancer), &mut observed, &shared, &account),
            Vec::<String>::new(),
            "{}",
            balancer.id
        );
    }
}

#[test]
fn a_dry_run_prints_the_same_bytes_every_time() {
    let balancers = [simple(), group_https(), instance()];
    let print = || serde_json::to_string(&plan_offline(&balancers, &settings("demo"))).unwrap();
    assert_eq!(print(), print());
}

#[test]
fn deleting_goes_from_the_outside_in() {
    let balancer = instance();
    let account = Account::offline(None);
    let (mut observed, shared) = made(&balancer, &account);
    let calls = rounds(None, &mut observed, &shared, &account);
    assert_eq!(
        calls,
        [
            "elbv2:DeleteLoadBalancer LoadBalancer",
            "elbv2:DeleteTargetGroup legacy/app-app:80",
            "elbv2:DeleteTargetGroup legacy/app-app:admin",
            "elbv2:DeleteTargetGroup legacy/app-app:http",
            "ec2:DeleteSecurityGroup ManagedLBSecurityGroup",
        ]
    );
    assert!(observed.is_nothing());
}

#[test]
fn each_change_costs_its_own_calls_and_no_others() {
    type Edit = fn(&mut LoadBalancer);
    let edits: [(&str, Edit, &[&str]); 9] = [
        (
            "a target comes and one goes",
            |b| {
                let backend = b.backends.values_mut().next().unwrap();
                let mut targets = backend.targets.to_vec();
                targets[0].address = portcullis_model::TargetAddress::Ip("10.0.16.99".parse().unwrap());
                backend.targets = targets.into();
            },
            &[
                "elbv2:RegisterTargets shop/web-web:80",
                "elbv2:DeregisterTargets shop/web-web:80",
            ],
        ),
        (
            "a path is added behind the others",
            |b| {
                let action = b.rules[0].action.clone();
                b.rules
                    .push(rule("shop/web", &[80], "x.example.com", "prefix:/", action));
            },
            &["elbv2:CreateRule 80:2"],
        ),
        (
            "a path is added before the others",
            |b| {
                let action = b.rules[0].action.clone();
                b.rules.insert(
                    0,
                    rule("shop/web", &[80], "web.example.com", "prefix:/api", action),
                );
            },
            &["elbv2:CreateRule 80:1", "elbv2:SetRulePriorities 80"],
        ),
        (
            "a path changes",
            |b| b.rules[0].paths = vec![path("prefix:/shop")],
            &["elbv2:ModifyRule 80:1"],
        ),
        (
            "a host changes",
            |b| {
                b.rules[0].hosts = vec![portcullis_model::HostMatch::parse("shop.example.com").unwrap()];
            },
            &["elbv2:ModifyRule 80:1"],
        ),
        (
            "a port changes",
            |b| {
                let listener = b.listeners.remove(&port(80)).unwrap();
                b.listeners.insert(
                    port(81),
                    portcullis_model::Listener {
                        port: port(81),
                        ..listener
                    },
                );
                b.rules[0].ports = [port(81)].into();
            },
            &[
                "elbv2:DeleteListener 80",
                "ec2:AuthorizeSecurityGroupIngress ManagedLBSecurityGroup",
                "elbv2:CreateListener 81",
                "ec2:RevokeSecurityGroupIngress ManagedLBSecurityGroup",
                "elbv2:CreateRule 81:1",
            ],
        ),
        (
            "the health check changes",
            |b| {
                b.backends.values_mut().next().unwrap().health.path = "/ok".into();
            },
            &["elbv2:ModifyTargetGroup shop/web-web:80"],
        ),
        (
            "targets speak another protocol",
            |b| {
                b.backends.values_mut().next().unwrap().protocol.tls = BackendTls::Unverified;
            },
            &[
                "elbv2:CreateTargetGroup shop/web-web:80",
                "elbv2:RegisterTargets shop/web-web:80",
                "elbv2:ModifyRule 80:1",
                "elbv2:DescribeTargetHealth shop/web-web:80",
                "elbv2:ModifyRule 80:1",
                "elbv2:DeleteTargetGroup shop/web-web:80",
            ],
        ),
        (
            "a tag is added",
            |b| {
                b.options.tags.insert("Team".into(), "core".into());
            },
            &[
                "ec2:CreateTags ManagedLBSecurityGroup",
                "elbv2:AddTags LoadBalancer",
                "elbv2:AddTags 80",
                "elbv2:AddTags 80:1",
            ],
        ),
    ];
    for (what, edit, want) in edits {
        let account = Account::offline(None);
        let (mut observed, shared) = made(&simple(), &account);
        let mut balancer = simple();
        edit(&mut balancer);
        let calls = rounds(Some(&balancer), &mut observed, &shared, &account);
        assert_eq!(calls, want, "{what}");
    }
}

#[test]
fn what_is_not_asked_about_stays_as_it_is() {
    let account = Account::offline(None);
    let (observed, shared) = made(&simple(), &account);
    let observed = BTreeMap::from([(LoadBalancerId::parse("shop/web"), observed)]);
    let document = plan_observed(
        &BTreeMap::new(),
        &settings("demo"),
        &account,
        &observed,
        &shared,
        (Narrowing::Planned, None),
    );
    assert_eq!(document.load_balancers, Vec::new());
}

#[test]
fn tags_and_attributes_wait_until_every_route_stands() {
    // AWS refuses attributes it does not know, and the pass ends there.
    let document = plan_offline(&[instance()], &settings("demo"));
    let calls: Vec<&str> = document.load_balancers[0]
        .changes
        .iter()
        .map(|change| change.call)
        .collect();
    let attributes = calls.iter().position(|call| call.contains("Attributes")).unwrap();
    assert!(calls[..attributes].contains(&"elbv2:CreateRule"), "{calls:?}");
    assert!(
        calls[attributes..].iter().all(|call| call.contains("Attributes")),
        "{calls:?}"
    );
    assert_eq!(
        calls[attributes..].len(),
        4,
        "one of the load balancer, three of target groups"
    );
}
