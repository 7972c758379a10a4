//! A Network Load Balancer asked for in front in, the calls that make, change and remove it out.

use std::collections::BTreeMap;

use portcullis_model::{
    BackendProtocol, Code, Front, FrontPort, HealthCheck, LoadBalancer, Scheme, Semantics, Stands,
};

use super::build::*;
use super::settled::{made, rounds};
use crate::account::Account;
use crate::compile::compile;
use crate::fold::{address, further_addresses};
use crate::names;
use crate::observed::{Observed, Owner};

fn front(ports: &[(u16, u16)]) -> Front {
    let asked = |to: u16| FrontPort {
        to: port(to),
        health: HealthCheck::for_protocol(&BackendProtocol::default()),
        origin: origin("shop/web", "mapping"),
    };
    Front {
        scheme: Scheme::InternetFacing,
        subnets: Vec::new(),
        security_groups: Vec::new(),
        addresses: Vec::new(),
        attributes: BTreeMap::new(),
        tags: None,
        ports: ports
            .iter()
            .map(|(front, to)| (port(*front), asked(*to)))
            .collect(),
        stands: Stands::AsAsked,
        kept: Default::default(),
        origin: origin("shop/web", "enable"),
    }
}

fn fronted(ports: &[(u16, u16)]) -> LoadBalancer {
    let mut out = simple();
    out.options.front = Some(front(ports));
    out
}

#[test]
fn it_comes_last_and_goes_first() {
    let account = Account::offline(None);
    let (mut observed, shared) = made(&simple(), &account);
    let calls = rounds(Some(&fronted(&[(80, 80)])), &mut observed, &shared, &account);
    assert_eq!(
        calls,
        [
            "elbv2:CreateTargetGroup FrontendNlb-tg-TCP-80",
            "elbv2:CreateLoadBalancer FrontendNlb",
            "elbv2:CreateListener FrontendNlb-ls-TCP-80",
            "elbv2:DescribeLoadBalancers LoadBalancer",
            "elbv2:RegisterTargets FrontendNlb-tg-TCP-80",
        ]
    );
    assert_eq!(
        rounds(Some(&fronted(&[(80, 80)])), &mut observed, &shared, &account),
        Vec::<String>::new()
    );
    assert_ne!(address(&observed), further_addresses(&observed).pop());
    assert_eq!(further_addresses(&observed).len(), 1);

    let mut without = observed.clone();
    let calls = rounds(Some(&simple()), &mut without, &shared, &account);
    let off = [
        "elbv2:DeleteLoadBalancer FrontendNlb",
        "elbv2:DeleteTargetGroup FrontendNlb-tg-TCP-80",
    ];
    assert_eq!(calls, off);
    assert_eq!(further_addresses(&without), []);

    let calls = rounds(None, &mut observed, &shared, &account);
    assert_eq!(calls[..2], off, "{calls:?}");
    assert_eq!(calls[2], "elbv2:DeleteLoadBalancer LoadBalancer", "{calls:?}");
    assert_eq!(
        observed,
        Observed::nothing(Owner::load_balancer("demo", &simple().id))
    );
}

#[test]
fn few_calls_change_it() {
    type Edit = fn(&mut Front);
    let edits: [(&str, Edit, &[&str]); 6] = [
        ("nothing", |_| {}, &[]),
        (
            "one port more",
            |front| {
                let more = front.ports[&port(80)].clone();
                front.ports.insert(port(8080), more);
            },
            &[
                "elbv2:CreateTargetGroup FrontendNlb-tg-TCP-8080",
                "elbv2:RegisterTargets FrontendNlb-tg-TCP-8080",
                "elbv2:CreateListener FrontendNlb-ls-TCP-8080",
            ],
        ),
        (
            "another port",
            |front| {
                let asked = front.ports.remove(&port(80)).unwrap();
                front.ports.insert(port(81), asked);
            },
            &[
                "elbv2:DeleteListener FrontendNlb-ls-TCP-80",
                "elbv2:CreateTargetGroup FrontendNlb-tg-TCP-81",
                "elbv2:DeleteTargetGroup FrontendNlb-tg-TCP-80",
                "elbv2:RegisterTargets FrontendNlb-tg-TCP-81",
                "elbv2:CreateListener FrontendNlb-ls-TCP-81",
            ],
        ),
        (
            "another health check",
            |front| front.ports.get_mut(&port(80)).unwrap().health.path = "/ok".into(),
            &["elbv2:ModifyTargetGroup FrontendNlb-tg-TCP-80"],
        ),
        (
            "an attribute and a tag",
            |front| {
                front
                    .attributes
                    .insert("deletion_protection.enabled".into(), "false".into());
                front.tags = Some([("Team".to_owned(), "core".to_owned())].into());
            },
            &[
                "elbv2:ModifyLoadBalancerAttributes FrontendNlb",
                "elbv2:AddTags FrontendNlb",
            ],
        ),
        (
            "given groups",
            |front| front.security_groups = vec!["sg-given".into()],
            &["elbv2:SetSecurityGroups FrontendNlb"],
        ),
    ];
    for (what, edit, want) in edits {
        let account = Account::offline(None);
        let mut balancer = fronted(&[(80, 80)]);
        let (mut observed, shared) = made(&balancer, &account);
        edit(balancer.options.front.as_mut().unwrap());
        assert_eq!(
            rounds(Some(&balancer), &mut observed, &shared, &account),
            want,
            "{what}"
        );
        assert_eq!(
            rounds(Some(&balancer), &mut observed, &shared, &account),
            Vec::<String>::new(),
            "{what}"
        );
    }
}

#[test]
fn what_aws_could_not_make_is_refused_and_leaves_the_rest_alone() {
    type Edit = fn(&mut Front);
    let edits: [(&str, Edit, bool); 3] = [
        (
            "an address for fewer subnets",
            |front| front.addresses = vec!["eipalloc-1".into(), "eipalloc-2".into()],
            false,
        ),
        (
            "addresses inside",
            |front| {
                front.scheme = Scheme::Internal;
                front.addresses = vec!["eipalloc-1".into()];
            },
            false,
        ),
        (
            "a port nobody listens on",
            |front| {
                let mut asked = front.ports[&port(80)].clone();
                asked.to = port(8443);
                front.ports.insert(port(8443), asked);
            },
            true,
        ),
    ];
    for (what, edit, stands) in edits {
        let mut balancer = fronted(&[(80, 80)]);
        edit(balancer.options.front.as_mut().unwrap());
        let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        let (desired, problems) = compile(&settings("demo"), &balancer, &Account::offline(None), &nothing);
        let desired = desired.unwrap();
        assert_eq!(codes(&problems), [Code::OptionUnsupported], "{what}");
        assert_eq!(desired.listeners[&80].rules.len(), 1, "{what}");
        let ports = desired
            .front
            .map(|front| front.listeners.into_keys().collect::<Vec<_>>());
        assert_eq!(ports, stands.then(|| vec![80]), "{what}");
    }
}

#[test]
fn its_ports_are_let_in_and_its_names_are_the_incumbents() {
    for (semantics, want) in [
        (Semantics::Kubernetes, 2),
        (Semantics::AwsLoadBalancerController, 1),
    ] {
        let mut balancer = fronted(&[(8443, 80)]);
        balancer.semantics = semantics;
        let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        let (desired, _) = compile(&settings("demo"), &balancer, &Account::offline(None), &nothing);
        let desired = desired.unwrap();
        assert_eq!(
            desired.security_group.unwrap().permissions.len(),
            want,
            "{semantics:?}"
        );
        let front = desired.front.unwrap();
        assert_eq!(front.load_balancer.name, "k8s-shop-web-17d71bc701-nlb");
        assert_eq!(
            front.load_balancer.tags.get(names::RESOURCE_TAG),
            Some("FrontendNlb")
        );
        let group = &front.target_groups["FrontendNlb-tg-TCP-8443"];
        assert_eq!(
            (group.port, group.protocol.as_str(), group.target_type.as_str()),
            (8443, "TCP", "alb")
        );
    }
}

#[test]
fn what_is_unclear_makes_nothing_and_takes_nothing_away() {
    let account = Account::offline(None);
    let (mut observed, shared) = made(&fronted(&[(80, 80)]), &account);
    let mut unclear = fronted(&[(80, 80)]);
    let front = unclear.options.front.as_mut().unwrap();
    front.stands = Stands::AsItIs;
    assert_eq!(
        rounds(Some(&unclear), &mut observed, &shared, &account),
        Vec::<String>::new()
    );
    let (observed, _) = made(&unclear, &account);
    assert!(observed.front().is_none());
}
