//! Targets as they are and as they should be in, the calls that register and deregister them out.

use std::collections::BTreeSet;

use ipnet::IpNet;
use portcullis_model::{AddressFamily, Code, LoadBalancer, Registrants, TargetAddress};

use super::build::*;
use super::settled::{made, rounds};
use crate::account::Account;
use crate::change::Call;
use crate::compile::{compile, own_targets};
use crate::observed::{Observed, Owner};
use crate::plan::plan;
use crate::resource::TargetDescription;
use crate::{Settings, fingerprint};

const WEB: &str = "shop/web-web:80";

fn with(change: impl FnOnce(&mut portcullis_model::Backend)) -> LoadBalancer {
    let mut balancer = simple();
    change(balancer.backends.values_mut().next().unwrap());
    balancer
}

fn pods(balancer: &mut LoadBalancer, addresses: &[&str]) {
    let backend = balancer.backends.values_mut().next().unwrap();
    let template = backend.targets[0].clone();
    let target = |text: &&str| portcullis_model::Target {
        address: TargetAddress::Ip(text.parse().unwrap()),
        ..template.clone()
    };
    backend.targets = addresses.iter().map(target).collect();
}

#[test]
fn what_other_clusters_have_registered_is_left_alone() {
    let account = Account::offline(None);
    let joint = with(|backend| backend.registrants = Registrants::OthersToo);
    let (seen, shared) = made(&joint, &account);
    let foreign = TargetDescription {
        id: "10.9.0.1".into(),
        port: 8080,
        availability_zone: None,
    };
    // Registered by ours: 10.0.16.10 and 10.0.48.10. What is recorded as ours; then who is taken out when only
    // 10.0.16.10 is still there.
    for (recorded, registrants, want) in [
        (
            &["10.0.16.10:8080", "10.0.48.10:8080"][..],
            Registrants::OthersToo,
            &["10.0.48.10"][..],
        ),
        // Nobody knows whose it is.
        (&["10.0.16.10:8080"][..], Registrants::OthersToo, &[][..]),
        (&[][..], Registrants::OthersToo, &[][..]),
        (&[][..], Registrants::Alone, &["10.0.48.10", "10.9.0.1"][..]),
    ] {
        let mut observed = seen.clone();
        observed.target_groups[0]
            .get_mut()
            .spec
            .targets
            .insert(foreign.clone());
        let own = recorded.iter().map(|target| (*target).to_owned()).collect();
        observed.own_targets = [("shop/web:80".to_owned(), own)].into();
        let mut balancer = joint.clone();
        balancer.backends.values_mut().next().unwrap().registrants = registrants;
        pods(&mut balancer, &["10.0.16.10"]);
        let (round, _) = plan(
            &settings("demo"),
            &balancer.id,
            Some(&balancer),
            &observed,
            &shared,
            &account,
        );
        let out: BTreeSet<&str> = round
            .changes
            .iter()
            .filter_map(|change| match &change.call {
                Call::DeregisterTargets { targets, .. } => Some(targets),
                _ => None,
            })
            .flatten()
            .map(|target| target.id.as_str())
            .collect();
        assert_eq!(
            out,
            want.iter().copied().collect(),
            "{recorded:?} {registrants:?}"
        );
    }
}

#[test]
fn only_targets_beside_those_of_others_are_to_be_recorded() {
    let account = Account::offline(None);
    let alone = own_targets(&settings("demo"), &simple(), &account);
    assert!(alone.is_empty());
    let joint = with(|backend| backend.registrants = Registrants::OthersToo);
    let own = own_targets(&settings("demo"), &joint, &account);
    let want: BTreeSet<String> = ["10.0.16.10:8080", "10.0.48.10:8080"].map(str::to_owned).into();
    assert_eq!(own, [("shop/web:80".to_owned(), want)].into());
    // No resource differs, but what is done with targets does.
    let of = |balancer: &LoadBalancer| fingerprint(&settings("demo"), balancer, &account);
    assert_ne!(of(&simple()), of(&joint));
}

#[test]
fn another_control_port_is_another_target_group_made_first() {
    let account = Account::offline(None);
    let (mut observed, shared) = made(&simple(), &account);
    let before = observed.target_groups[0].get().spec.name.clone();
    let changed = with(|backend| backend.control_port = Some(port(3000)));
    let calls = rounds(Some(&changed), &mut observed, &shared, &account);
    assert_eq!(
        calls,
        [
            "elbv2:CreateTargetGroup shop/web-web:80",
            "elbv2:RegisterTargets shop/web-web:80",
            "elbv2:ModifyRule 80:1",
            "elbv2:DescribeTargetHealth shop/web-web:80",
            "elbv2:ModifyRule 80:1",
            "elbv2:DeleteTargetGroup shop/web-web:80",
        ]
    );
    let spec = &observed.target_groups[0].get().spec;
    assert_eq!(spec.target_control_port, Some(3000));
    assert_ne!(spec.name, before, "AWS refuses a second group of one name");
    // Where the load balancer asks, it must be let in.
    let demand = crate::demand(&settings("demo"), &changed, None, &account);
    let opened: BTreeSet<u16> = demand
        .opened
        .values()
        .flat_map(|ports| ports.keys())
        .map(|p| p.0)
        .collect();
    assert_eq!(opened, [3000, 8080].into());
}

#[test]
fn a_target_group_holds_as_many_targets_as_it_may() {
    let account = Account::offline(None);
    for (most, want, told) in [(None, 2, false), (Some(2), 2, false), (Some(1), 1, true)] {
        let settings = Settings {
            most_targets: most,
            ..settings("demo")
        };
        let observed = Observed::nothing(Owner::load_balancer("demo", &simple().id));
        let (desired, problems) = compile(&settings, &simple(), &account, &observed);
        let targets = &desired.unwrap().target_groups[WEB].targets;
        assert_eq!(targets.len(), want, "{most:?}");
        assert_eq!(codes(&problems).contains(&Code::LimitExceeded), told, "{most:?}");
    }
}

#[test]
fn without_cross_zone_aws_has_neither_stickiness_nor_targets_outside_the_vpc() {
    let inside: IpNet = "10.0.0.0/16".parse().unwrap();
    let account = Account {
        ranges: vec![inside],
        ..Account::offline(None)
    };
    let both = &["10.0.16.10", "172.16.0.1"][..];
    for (attributes, registered, sticky, problems) in [
        (&[][..], both, false, 0),
        (&[("stickiness.enabled", "true")][..], both, true, 0),
        (
            &[
                ("load_balancing.cross_zone.enabled", "true"),
                ("stickiness.enabled", "true"),
            ][..],
            both,
            true,
            0,
        ),
        (
            &[
                ("load_balancing.cross_zone.enabled", "false"),
                ("stickiness.enabled", "true"),
            ][..],
            &["10.0.16.10"][..],
            false,
            2,
        ),
        (
            &[("load_balancing.cross_zone.enabled", "false")][..],
            &["10.0.16.10"][..],
            false,
            1,
        ),
    ] {
        let mut balancer = with(|backend| {
            let pairs = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            backend.attributes = pairs.collect();
        });
        pods(&mut balancer, both);
        let observed = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        let (desired, told) = compile(&settings("demo"), &balancer, &account, &observed);
        let group = desired.unwrap().target_groups.remove(WEB).unwrap();
        let ids: Vec<&str> = group.targets.iter().map(|target| target.id.as_str()).collect();
        assert_eq!(ids, registered, "{attributes:?}");
        let far = group.targets.iter().find(|target| target.id == "172.16.0.1");
        assert!(far.is_none_or(|target| target.availability_zone.as_deref() == Some("all")));
        let stays = group.attributes.get("stickiness.enabled").is_some();
        assert_eq!(stays, sticky, "{attributes:?}");
        let unsupported = codes(&told)
            .into_iter()
            .filter(|code| *code == Code::BackendUnsupported);
        assert_eq!(unsupported.count(), problems, "{attributes:?}: {told:?}");
    }
}

#[test]
fn another_family_is_another_target_group_made_first_under_another_name() {
    let given = |ipv6: bool| {
        let mut balancer = simple();
        balancer.options.address_family = AddressFamily::Dualstack;
        let backend = balancer.backends.values_mut().next().unwrap();
        let mut targets = backend.targets.to_vec();
        backend.ipv6 = ipv6;
        if ipv6 {
            let address = |n: usize| TargetAddress::Ip(format!("2001:db8::{n}").parse().unwrap());
            (1..)
                .zip(&mut targets)
                .for_each(|(n, target)| target.address = address(n));
        }
        backend.targets = targets.into();
        balancer
    };
    let account = Account::offline(None);
    let name = |observed: &Observed| observed.target_groups[0].get().spec.name.clone();
    for (what, before, after) in [("to IPv6", false, true), ("to IPv4", true, false)] {
        let (mut observed, shared) = made(&given(before), &account);
        let had = name(&observed);
        let calls = rounds(Some(&given(after)), &mut observed, &shared, &account);
        let want = [
            "elbv2:CreateTargetGroup shop/web-web:80",
            "elbv2:RegisterTargets shop/web-web:80",
            "elbv2:ModifyRule 80:1",
            "elbv2:DescribeTargetHealth shop/web-web:80",
            "elbv2:ModifyRule 80:1",
            "elbv2:DeleteTargetGroup shop/web-web:80",
        ];
        assert_eq!(calls, want, "{what}");
        // Both exist for a while, and AWS would answer with the one that is there, or refuse.
        assert_ne!(name(&observed), had, "{what}");
    }
}
