//! Options of a load balancer in, the calls that set them and what is told of those that AWS would refuse out.

use portcullis_model::{Code, LoadBalancer, ProviderError, Retry, Scheme};

use super::build::*;
use super::settled::{made, rounds};
use crate::account::{Account, AcmCertificate, Fact, Subnet, ZoneKind};
use crate::compile::compile;
use crate::observed::{Looked, Observed, Shared, Stage};
use crate::resource::{Id, IpamPools, Permission, Source};
use crate::settings::Settings;

/// Everything there, and known to be set up.
fn standing(balancer: &LoadBalancer) -> (Observed, Shared) {
    let (mut observed, shared) = made(balancer, &account());
    observed.load_balancer_mut().unwrap().stage = Stage::SetUp;
    (observed, shared)
}

fn account() -> Account {
    Account::offline(Some("vpc-1"))
}

fn told(balancer: &LoadBalancer, observed: &Observed) -> Vec<Code> {
    codes(&compile(&settings("demo"), balancer, &account(), observed).1)
}

#[test]
fn prefix_lists_are_permissions_of_their_own() {
    for (lists, ranges, want, problems) in [
        (vec!["pl-1"], vec![], vec!["pl-1"], vec![]),
        (
            vec!["pl-1", "pl-2"],
            vec!["10.0.0.0/8"],
            vec!["10.0.0.0/8", "pl-1", "pl-2"],
            vec![],
        ),
        // Fewer are let in, never everybody.
        (vec!["sg-1"], vec![], vec![], vec![Code::OptionUnsupported]),
        (vec!["pl-"], vec![], vec![], vec![Code::OptionUnsupported]),
    ] {
        let mut balancer = simple();
        let options = &mut balancer.options;
        let nets = ranges.iter().map(|range: &&str| range.parse().unwrap()).collect();
        options.admitted.insert(port(80), nets);
        let named = lists.iter().map(|list| (*list).to_owned()).collect();
        options.admitted_lists.insert(port(80), named);
        let nothing = Observed::nothing(crate::Owner::load_balancer("demo", &balancer.id));
        let (desired, found) = compile(&settings("demo"), &balancer, &account(), &nothing);
        let group = desired.unwrap().security_group.unwrap();
        let source = |permission: &Permission| match &permission.source {
            Source::Range(net) => net.to_string(),
            Source::PrefixList(list) => list.clone(),
            Source::Group(group) => group.to_string(),
        };
        let sources: Vec<String> = group.permissions.iter().map(source).collect();
        assert_eq!(
            (sources, codes(&found)),
            (want.into_iter().map(str::to_owned).collect(), problems),
            "{lists:?}"
        );
    }
}

#[test]
fn each_option_costs_one_call_and_its_removal_none_but_of_a_pool() {
    type Edit = fn(&mut LoadBalancer);
    let cases: [(Edit, &[&str], &[&str]); 4] = [
        (
            |b| {
                drop(
                    b.options
                        .listener_attributes
                        .insert(port(80), [("a.b".into(), "1".into())].into()),
                )
            },
            &["elbv2:ModifyListenerAttributes 80"],
            &[],
        ),
        (
            |b| b.options.minimum_capacity = Some(1500),
            &["elbv2:ModifyCapacityReservation LoadBalancer"],
            &[],
        ),
        (
            |b| b.options.pools.public = Some("ipam-pool-1".into()),
            &["elbv2:ModifyIpPools LoadBalancer"],
            &["elbv2:ModifyIpPools LoadBalancer"],
        ),
        (|b| b.options.minimum_capacity = Some(0), &[], &[]),
    ];
    for (edit, added, removed) in cases {
        let before = simple();
        let mut after = before.clone();
        edit(&mut after);
        let (mut observed, shared) = standing(&before);
        assert_eq!(rounds(Some(&after), &mut observed, &shared, &account()), added);
        assert_eq!(
            rounds(Some(&after), &mut observed, &shared, &account()),
            Vec::<String>::new()
        );
        assert_eq!(rounds(Some(&before), &mut observed, &shared, &account()), removed);
    }
}

#[test]
fn pools_are_given_at_creation() {
    let mut balancer = simple();
    balancer.options.pools.public = Some("ipam-pool-1".into());
    balancer.options.pools.on_premises = Some("coip-1".into());
    let (observed, _) = standing(&balancer);
    let spec = &observed.load_balancer().unwrap().spec;
    let pools = IpamPools {
        ipv4_ipam_pool_id: "ipam-pool-1".into(),
    };
    assert_eq!(spec.ipam_pools, Some(pools));
    assert_eq!(spec.customer_owned_ipv4_pool.as_deref(), Some("coip-1"));
}

#[test]
fn a_pool_that_aws_would_refuse_changes_nothing() {
    for (scheme, pool) in [
        (Scheme::InternetFacing, ""),
        (Scheme::InternetFacing, "pool-1"),
        (Scheme::Internal, "ipam-pool-2"),
    ] {
        let mut balancer = simple();
        balancer.options.scheme = scheme;
        let (mut observed, shared) = standing(&balancer);
        let had = IpamPools {
            ipv4_ipam_pool_id: "ipam-pool-1".into(),
        };
        observed.load_balancer_mut().unwrap().spec.ipam_pools = Some(had);
        balancer.options.pools.public = Some(pool.into());
        assert_eq!(told(&balancer, &observed), [Code::OptionUnsupported], "{pool:?}");
        let calls = rounds(Some(&balancer), &mut observed, &shared, &account());
        assert_eq!(calls, Vec::<String>::new(), "{pool:?}");
    }
}

#[test]
fn http_3_is_told_and_all_else_is_made() {
    let mut balancer = simple();
    let (mut observed, shared) = standing(&balancer);
    balancer.options.http3 = true;
    assert_eq!(told(&balancer, &observed), [Code::OptionUnsupported]);
    let calls = rounds(Some(&balancer), &mut observed, &shared, &account());
    assert_eq!(calls, Vec::<String>::new());
}

#[test]
fn another_customer_owned_pool_is_told_and_left() {
    let mut balancer = simple();
    let (mut observed, shared) = standing(&balancer);
    balancer.options.pools.on_premises = Some("coip-2".into());
    assert_eq!(told(&balancer, &observed), [Code::OptionUnsupported]);
    assert_eq!(
        rounds(Some(&balancer), &mut observed, &shared, &account()),
        Vec::<String>::new()
    );
}

#[test]
fn capacity_waits_until_the_load_balancer_is_set_up() {
    let mut balancer = simple();
    balancer.options.minimum_capacity = Some(1500);
    let (_, shared) = made(&balancer, &account());
    let mut observed = Observed::nothing(crate::Owner::load_balancer("demo", &balancer.id));
    let calls = rounds(Some(&balancer), &mut observed, &shared, &account());
    assert_eq!(
        calls[calls.len() - 2..],
        [
            "elbv2:DescribeLoadBalancers LoadBalancer",
            "elbv2:ModifyCapacityReservation LoadBalancer"
        ],
        "{calls:?}"
    );
}

#[test]
fn what_could_not_be_read_is_told_and_left() {
    let mut balancer = simple();
    let (mut observed, shared) = standing(&balancer);
    balancer.options.minimum_capacity = Some(1500);
    balancer.options.listener_attributes = [(port(80), [("a".into(), "1".into())].into())].into();
    let failed = ProviderError {
        code: Code::AccessDenied,
        call: "elbv2:Any",
        message: "no".into(),
        retry: Retry::Backoff,
    };
    let state = observed.load_balancer_mut().unwrap();
    state.capacity = Looked::Failed(failed.clone());
    state.listeners.get_mut(&80).unwrap().attributes = Looked::Failed(failed);
    assert_eq!(told(&balancer, &observed), [Code::AccessDenied]);
    assert_eq!(
        rounds(Some(&balancer), &mut observed, &shared, &account()),
        Vec::<String>::new()
    );
}

#[test]
fn a_listener_attribute_without_a_name_of_aws_leaves_the_others() {
    let mut balancer = simple();
    let attributes = [("a.b_c", "1"), ("a b", "2"), ("", "3")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    balancer.options.listener_attributes = [(port(80), attributes.into())].into();
    let nothing = Observed::nothing(crate::Owner::load_balancer("demo", &balancer.id));
    let (desired, problems) = compile(&settings("demo"), &balancer, &account(), &nothing);
    assert_eq!(
        codes(&problems),
        [Code::OptionUnsupported, Code::OptionUnsupported]
    );
    let set = &desired.unwrap().listeners[&80].attributes;
    assert_eq!(set.0.keys().collect::<Vec<_>>(), ["a.b_c"]);
}

fn subnet(id: &str, zone: &str, tags: &[(&str, &str)]) -> Subnet {
    Subnet {
        id: Id::new(id),
        zone: zone.into(),
        kind: ZoneKind::AvailabilityZone,
        free_addresses: 99,
        ipv6: false,
        tags: tags
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        reach: None,
    }
}

#[test]
fn subnets_are_chosen_by_the_tags_of_the_class() {
    let mut account = account();
    account.subnets = Fact::Read(vec![
        subnet("a", "z1", &[("net", "edge"), ("tier", "1")]),
        subnet("a2", "z1", &[("net", "edge"), ("tier", "2")]),
        subnet("b", "z2", &[("net", "core"), ("tier", "1")]),
        subnet("c", "z3", &[("net", "other"), ("tier", "1")]),
    ]);
    for (tags, want) in [
        (vec![("net", vec!["edge", "core"])], Some(vec!["a", "b"])),
        (
            vec![("net", vec!["edge", "core"]), ("tier", vec!["2", "1"])],
            Some(vec!["a", "b"]),
        ),
        (vec![("tier", vec!["1"])], Some(vec!["a", "b", "c"])),
        (vec![("net", vec!["edge"])], None),
        (vec![("none", vec!["x"])], None),
    ] {
        let mut balancer = simple();
        balancer.options.subnet_tags = tags
            .iter()
            .map(|(key, values)| {
                (
                    (*key).to_owned(),
                    values.iter().map(|v| (*v).to_owned()).collect(),
                )
            })
            .collect();
        let nothing = Observed::nothing(crate::Owner::load_balancer("demo", &balancer.id));
        let (desired, problems) = compile(&settings("demo"), &balancer, &account, &nothing);
        let chosen = desired.map(|desired| {
            let subnets = desired.load_balancer.subnets;
            subnets.iter().map(ToString::to_string).collect::<Vec<_>>()
        });
        assert_eq!(
            chosen,
            want.clone()
                .map(|want| want.into_iter().map(str::to_owned).collect()),
            "{tags:?}"
        );
        assert_eq!(problems.is_empty(), want.is_some(), "{tags:?}: {problems:?}");
        // One that it stands in already stays.
        if tags.len() == 1 && want == Some(vec!["a", "b"]) {
            let (mut observed, _) = made(&balancer, &account);
            observed.load_balancer_mut().unwrap().spec.subnets = vec![Id::new("a2"), Id::new("b")];
            let (desired, _) = compile(&settings("demo"), &balancer, &account, &observed);
            assert_eq!(
                desired.unwrap().load_balancer.subnets,
                [Id::new("a2"), Id::new("b")]
            );
        }
    }
}

#[test]
fn certificates_are_found_among_those_of_the_authorities_allowed() {
    let certificate = |arn: &str, authority: Option<&str>| AcmCertificate {
        arn: Id::new(arn),
        names: vec![portcullis_model::HostMatch::parse("web.example.com").unwrap()],
        authority: authority.map(str::to_owned),
    };
    let mut account = account();
    account.certificates = Fact::Read(vec![
        certificate("arn:public", None),
        certificate("arn:ours", Some("arn:ca")),
        certificate("arn:theirs", Some("arn:other")),
    ]);
    let mut balancer = simple();
    https(&mut balancer, 443, vec![discovered(&["web.example.com"])]);
    let nothing = Observed::nothing(crate::Owner::load_balancer("demo", &balancer.id));
    for (allowed, want) in [
        (vec![], vec!["arn:ours", "arn:public", "arn:theirs"]),
        (vec!["arn:ca"], vec!["arn:ours"]),
    ] {
        let settings = Settings {
            certificate_authorities: allowed.iter().map(|arn| (*arn).to_owned()).collect(),
            ..settings("demo")
        };
        let (desired, _) = compile(&settings, &balancer, &account, &nothing);
        let found = desired.unwrap().listeners[&443].spec.certificates.clone();
        let found: Vec<String> = found.iter().map(|c| c.certificate_arn.to_string()).collect();
        assert_eq!(found, want, "{allowed:?}");
    }
}

#[test]
fn tags_of_somebody_else_are_neither_written_nor_removed() {
    let theirs = Settings {
        external_tags: ["cost-center".to_owned()].into(),
        ..settings("demo")
    };
    let mut balancer = simple();
    let (mut observed, shared) = standing(&balancer);
    let state = observed.load_balancer_mut().unwrap();
    state.spec.tags.0.insert("cost-center".into(), "42".into());
    let planned = |balancer: &LoadBalancer, settings: &Settings| {
        let (round, problems) = crate::plan::plan(
            settings,
            &balancer.id,
            Some(balancer),
            &observed,
            &shared,
            &account(),
        );
        let calls: Vec<&str> = round.changes.iter().map(|change| change.call.name()).collect();
        (calls, codes(&problems))
    };
    assert_eq!(planned(&balancer, &theirs), (vec![], vec![]));
    assert_eq!(
        planned(&balancer, &settings("demo")),
        (vec!["elbv2:RemoveTags"], vec![])
    );
    balancer.options.tags.insert("cost-center".into(), "7".into());
    assert_eq!(
        planned(&balancer, &theirs),
        (vec![], vec![Code::OptionUnsupported])
    );
}

#[test]
fn a_target_group_has_no_more_targets_than_are_set() {
    let few = Settings {
        most_targets: Some(1),
        ..settings("demo")
    };
    let balancer = simple();
    let nothing = Observed::nothing(crate::Owner::load_balancer("demo", &balancer.id));
    let (desired, problems) = compile(&few, &balancer, &account(), &nothing);
    assert_eq!(codes(&problems), [Code::LimitExceeded]);
    assert_eq!(desired.unwrap().target_groups["shop/web-web:80"].targets.len(), 1);
}
