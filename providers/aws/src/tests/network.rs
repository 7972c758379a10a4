//! Subnets, certificates, security groups and interfaces of an account in, what is chosen of them out.

use std::collections::BTreeMap;

use portcullis_model::{Code, Semantics};

use super::build::*;
use crate::account::{Account, AcmCertificate, Fact, Interface, Interfaces, Reach, Subnet, ZoneKind};
use crate::compile::compile;
use crate::observed::{Observed, Owner, Shared};
use crate::resource::{Id, Source};
use crate::{demand, plan_shared};

fn subnet(id: &str, zone: &str, tag: &str, free: u32) -> Subnet {
    Subnet {
        id: Id::new(id),
        zone: zone.into(),
        kind: ZoneKind::AvailabilityZone,
        free_addresses: free,
        ipv6: false,
        tags: tag
            .split(',')
            .filter(|t| !t.is_empty())
            .map(|t| (t.to_owned(), "1".to_owned()))
            .collect(),
        reach: Some(Reach::Private),
    }
}

#[test]
fn subnets_are_found_by_tag_one_of_each_zone() {
    let role = "kubernetes.io/role/internal-elb";
    let own = "kubernetes.io/role/internal-elb,kubernetes.io/cluster/demo";
    let foreign = "kubernetes.io/role/internal-elb,kubernetes.io/cluster/other";
    for (what, subnets, want) in [
        (
            "two zones",
            vec![subnet("b", "z2", role, 99), subnet("a", "z1", role, 99)],
            Ok(vec!["a", "b"]),
        ),
        (
            "the lowest id of a zone",
            vec![
                subnet("c", "z1", role, 99),
                subnet("a", "z1", role, 99),
                subnet("b", "z2", role, 99),
            ],
            Ok(vec!["a", "b"]),
        ),
        (
            "the cluster's own before the lowest id",
            vec![
                subnet("a", "z1", role, 99),
                subnet("c", "z1", own, 99),
                subnet("b", "z2", role, 99),
            ],
            Ok(vec!["b", "c"]),
        ),
        (
            "not another cluster's, not a full one",
            vec![
                subnet("a", "z1", foreign, 99),
                subnet("b", "z2", role, 7),
                subnet("c", "z3", role, 8),
            ],
            Err(Code::SubnetsNotFound),
        ),
        (
            "untagged ones by their route",
            vec![subnet("a", "z1", "", 99), subnet("b", "z2", "", 99)],
            Ok(vec!["a", "b"]),
        ),
        ("none", vec![], Err(Code::SubnetsNotFound)),
    ] {
        let mut account = Account::offline(Some("vpc-1"));
        account.subnets = Fact::Read(subnets);
        let mut balancer = simple();
        balancer.options.scheme = portcullis_model::Scheme::Internal;
        let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        let (desired, problems) = compile(&settings("demo"), &balancer, &account, &nothing);
        match want {
            Ok(want) => {
                let got: Vec<String> = desired
                    .unwrap()
                    .load_balancer
                    .subnets
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                assert_eq!(got, want, "{what}");
                assert_eq!(problems, [], "{what}");
            }
            Err(code) => {
                assert!(desired.is_none(), "{what}");
                assert_eq!(codes(&problems), [code], "{what}");
            }
        }
    }
}

#[test]
fn a_load_balancer_keeps_its_subnets_when_none_is_found_any_more() {
    let mut account = Account::offline(Some("vpc-1"));
    let (observed, _) = super::settled::made(&simple(), &account);
    account.subnets = Fact::Read(Vec::new());
    let (desired, problems) = compile(&settings("demo"), &simple(), &account, &observed);
    assert_eq!(
        desired.unwrap().load_balancer.subnets,
        observed.load_balancer().unwrap().spec.subnets
    );
    assert_eq!(problems, []);
}

#[test]
fn nothing_is_shared_with_a_load_balancer_that_cannot_be_made() {
    let mut account = Account::offline(Some("vpc-1"));
    let (made, _) = super::settled::made(&simple(), &account);
    let listed = made.load_balancer().unwrap().clone();
    account.subnets = Fact::Read(Vec::new());
    let nothing = Observed::nothing(Owner::load_balancer("demo", &simple().id));
    // What is observed, whether it is in the listing, whether it can be made.
    for (what, observed, is_listed, want) in [
        ("it does not exist", Some(&nothing), false, false),
        ("nothing was observed yet", None, false, false),
        ("nothing was observed yet, and it is listed", None, true, true),
        ("it is listed and gone", Some(&nothing), true, false),
        ("it exists, and the listing is older", Some(&made), false, true),
    ] {
        account.listing.load_balancers = is_listed.then(|| listed.clone()).into_iter().collect();
        let (settings, balancer) = (settings("demo"), simple());
        let why = crate::plan::unmade(&settings, &balancer, observed, &account);
        let why = why.map(|problem| problem.code);
        assert_eq!(why, (!want).then_some(Code::SubnetsNotFound), "{what}");
        let Some(observed) = observed else { continue };
        let document = crate::plan_observed(
            &[(balancer.id.clone(), Some(&balancer))].into(),
            &settings,
            &account,
            &[(balancer.id.clone(), observed.clone())].into(),
            &Shared::nothing("demo"),
            (crate::preview::Narrowing::Planned, None),
        );
        let calls = document.shared.changes.len();
        assert_eq!(calls, if want { 2 } else { 0 }, "{what}");
    }
}

fn certificate(arn: &str, hosts: &[&str]) -> AcmCertificate {
    AcmCertificate {
        arn: Id::new(arn),
        names: hosts
            .iter()
            .map(|host| portcullis_model::HostMatch::parse(host).unwrap())
            .collect(),
        authority: None,
    }
}

#[test]
fn certificates_are_found_by_host() {
    let known = [
        certificate("b", &["*.example.com"]),
        certificate("a", &["web.example.com", "x.org"]),
    ];
    for (hosts, want, problems) in [
        (vec!["web.example.com"], Some(vec!["a", "b"]), vec![]),
        (vec!["api.example.com"], Some(vec!["b"]), vec![]),
        (vec!["*.example.com"], Some(vec!["b"]), vec![]),
        (vec!["a.b.example.com"], None, vec![Code::CertificateNotFound]),
        (
            vec!["x.org", "y.org"],
            Some(vec!["a"]),
            vec![Code::CertificateNotFound],
        ),
    ] {
        let mut account = Account::offline(None);
        account.certificates = Fact::Read(known.to_vec());
        let mut balancer = simple();
        https(&mut balancer, 443, vec![discovered(&hosts)]);
        let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        let (desired, found) = compile(&settings("demo"), &balancer, &account, &nothing);
        let desired = desired.unwrap();
        let listener = desired.listeners.get(&443);
        let arns = listener.map(|l| {
            l.spec
                .certificates
                .iter()
                .map(|c| c.certificate_arn.as_str())
                .collect::<Vec<_>>()
        });
        assert_eq!(arns, want, "{hosts:?}");
        assert_eq!(codes(&found), problems, "{hosts:?}");
        assert!(
            desired.listeners.contains_key(&80),
            "the other listener is there for {hosts:?}"
        );
    }
}

#[test]
fn a_listener_that_serves_keeps_its_certificate_when_none_is_found() {
    let mut account = Account::offline(None);
    let mut balancer = simple();
    https(&mut balancer, 443, vec![discovered(&["web.example.com"])]);
    let (mut observed, shared) = super::settled::made(&balancer, &account);
    account.certificates = Fact::Read(Vec::new());
    let calls = super::settled::rounds(Some(&balancer), &mut observed, &shared, &account);
    assert_eq!(calls, Vec::<String>::new());
}

#[test]
fn a_change_of_scheme_that_cannot_be_is_refused_and_the_rest_goes_on() {
    let account = Account::offline(None);
    let mut balancer = simple();
    balancer.options.name = Some("given".into());
    let (mut observed, shared) = super::settled::made(&balancer, &account);
    balancer.options.scheme = portcullis_model::Scheme::Internal;
    balancer.rules[0].paths = vec![path("prefix:/shop")];
    let calls = super::settled::rounds(Some(&balancer), &mut observed, &shared, &account);
    assert_eq!(calls, ["elbv2:ModifyRule 80:1"]);
    let (settings, id) = (settings("demo"), &balancer.id);
    let (_, problems) = crate::plan::plan(&settings, id, Some(&balancer), &observed, &shared, &account);
    assert_eq!(codes(&problems), [Code::OptionUnsupported]);
}

#[test]
fn a_name_that_another_has_is_refused() {
    let mut account = Account::offline(None);
    let (observed, _) = super::settled::made(&simple(), &account);
    let mut other = observed.load_balancer().unwrap().clone();
    other.spec.tags = [("Team", "other")].into_iter().collect();
    account.listing.load_balancers.push(other);
    let nothing = Observed::nothing(Owner::load_balancer("demo", &simple().id));
    let (desired, problems) = compile(&settings("demo"), &simple(), &account, &nothing);
    assert!(desired.is_none());
    assert_eq!(codes(&problems), [Code::NotOurs]);
}

fn interface(groups: &[&str], address: &str, prefix: &str, instance: &str) -> Interface {
    Interface {
        groups: groups.iter().map(|group| Id::new(*group)).collect(),
        addresses: vec![address.parse().unwrap()],
        prefixes: [prefix]
            .iter()
            .filter(|p| !p.is_empty())
            .map(|p| p.parse().unwrap())
            .collect(),
        instance: Some(instance.into()),
        primary: true,
    }
}

#[test]
fn the_group_that_guards_a_target_is_opened() {
    for (what, interfaces, want, problems) in [
        (
            "by address",
            vec![interface(&["sg-a"], "10.0.16.10", "", "i-1")],
            vec!["sg-a"],
            vec![],
        ),
        (
            "by prefix",
            vec![interface(&["sg-a"], "10.0.0.1", "10.0.16.0/28", "i-1")],
            vec!["sg-a"],
            vec![],
        ),
        (
            "the tagged one",
            vec![interface(&["sg-a", "sg-own"], "10.0.16.10", "", "i-1")],
            vec!["sg-own"],
            vec![],
        ),
        (
            "none tagged",
            vec![interface(&["sg-b", "sg-a"], "10.0.16.10", "", "i-1")],
            vec!["sg-a"],
            vec![Code::SecurityGroupAmbiguous],
        ),
        ("nowhere", vec![], vec![], vec![Code::TargetUnresolvable]),
    ] {
        let mut account = Account::offline(None);
        account.interfaces = Fact::Read(Interfaces::new(interfaces));
        let (made, _) = super::settled::made(&simple(), &Account::offline(None));
        let mut group = made.security_groups[0].get().clone();
        group.id = Id::new("sg-own");
        group.spec.tags = [("kubernetes.io/cluster/demo", "owned")].into_iter().collect();
        account.listing.security_groups.push(group);
        let mut balancer = balancer("shop/web", Semantics::Kubernetes);
        let web = backend(
            &mut balancer,
            "shop/web",
            "web",
            "80",
            8080,
            Where::Pods(&["10.0.16.10"]),
        );
        http(&mut balancer, 80, forward(&web));
        let demand = demand(&settings("demo"), &balancer, None, &account);
        let opened: Vec<&str> = demand.opened.keys().map(Id::as_str).collect();
        assert_eq!(opened, want, "{what}");
        assert_eq!(codes(&demand.problems), problems, "{what}");
    }
}

#[test]
fn nodes_let_in_before_they_shut_out_and_the_group_goes_last() {
    let account = Account::offline(None);
    let settings = settings("demo");
    let mut balancer = simple();
    balancer.semantics = Semantics::Kubernetes;
    let (_, mut shared) = super::settled::made(&balancer, &account);
    let other = portcullis_model::Backend {
        port: Some(port(9090)),
        ..(**balancer.backends.values().next().unwrap()).clone()
    };
    let mut targets = other.targets.to_vec();
    targets.iter_mut().for_each(|target| target.port = port(9090));
    balancer.backends.insert(
        other.id.clone(),
        portcullis_model::Backend {
            targets: targets.into(),
            ..other
        }
        .into(),
    );
    let mut demands: BTreeMap<_, _> =
        [(balancer.id.clone(), demand(&settings, &balancer, None, &account))].into();
    let mut calls = |demands: &BTreeMap<_, _>| {
        let (round, _) = plan_shared(&settings, demands, &shared, &account);
        for change in &round.changes {
            crate::fold_shared(&mut shared, change, crate::imagine(change));
        }
        round
            .changes
            .iter()
            .map(|change| format!("{} {}", change.call.name(), change.id))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        calls(&demands),
        [
            "ec2:AuthorizeSecurityGroupIngress nodes",
            "ec2:RevokeSecurityGroupIngress nodes"
        ]
    );
    demands.clear();
    assert_eq!(calls(&demands), ["ec2:RevokeSecurityGroupIngress nodes"]);
    assert_eq!(calls(&demands), ["ec2:DeleteSecurityGroup backend"]);
    assert_eq!(calls(&demands), Vec::<String>::new());
}

#[test]
fn permissions_of_others_on_nodes_are_left_alone() {
    let account = Account::offline(None);
    let (_, mut shared) = super::settled::made(&simple(), &account);
    let nodes = Id::new("${SecurityGroup/nodes}");
    let ours = shared.marked[&nodes].iter().next().unwrap().permission().clone();
    let others = crate::resource::Permission {
        source: Source::Group(Id::new("sg-of-another-cluster")),
        ..ours
    };
    shared
        .marked
        .get_mut(&nodes)
        .unwrap()
        .extend(crate::observed::Marked::read(&others));
    let (round, _) = plan_shared(&settings("demo"), &BTreeMap::new(), &shared, &account);
    let revoked: Vec<_> = round
        .changes
        .iter()
        .filter_map(|change| match &change.call {
            crate::Call::RevokeSecurityGroupIngress { permissions, .. } => Some(permissions),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(revoked.len(), 1);
    assert!(!revoked.contains(&&others));
}

#[test]
fn an_incumbent_kept_for_others_keeps_its_permissions_and_group() {
    let account = Account::offline(None);
    let (observed, made) = super::settled::made(&simple(), &account);
    let tags = |cluster: &str, stack: &str| -> crate::resource::Pairs {
        let pairs = [(crate::names::CLUSTER_TAG, cluster), (stack, "shop/nlb")];
        pairs.into_iter().collect()
    };
    let group = |cluster: &str, stack: &str| {
        let mut beside = account.clone();
        let mut state = made.backend.as_ref().unwrap().get().clone();
        state.id = Id::new("sg-nlb");
        state.spec.tags = tags(cluster, stack);
        beside.listing.security_groups.push(state);
        beside
    };
    // With security groups of its own, of which none is tagged.
    let balancer = |cluster: &str, stack: &str| {
        let mut beside = account.clone();
        let mut state = observed.load_balancers[0].get().clone();
        state.spec.tags = tags(cluster, stack);
        beside.listing.load_balancers.push(state);
        beside
    };
    let kept = || {
        [
            Vec::<&str>::new(),
            vec!["authorize portcullis.dev"],
            vec!["revoke portcullis.dev"],
        ]
    };
    let gone = || {
        [
            vec![],
            vec!["authorize elbv2.k8s.aws", "revoke elbv2.k8s.aws"],
            vec!["revoke elbv2.k8s.aws"],
        ]
    };
    // One round each: what is there stays, what is new has a mark of our own, and only that is taken back.
    let mut moved = simple();
    moved.backends.values_mut().for_each(|backend| {
        let mut targets = backend.targets.to_vec();
        targets.iter_mut().for_each(|target| target.port = port(9090));
        backend.targets = targets.into();
    });
    for (what, account, want) in [
        (
            "a Service of this cluster",
            group("demo", "service.k8s.aws/stack"),
            kept(),
        ),
        (
            "a Service of another",
            group("other", "service.k8s.aws/stack"),
            gone(),
        ),
        (
            "its load balancer alone",
            balancer("demo", "service.k8s.aws/stack"),
            kept(),
        ),
        (
            "the other's alone",
            balancer("other", "service.k8s.aws/stack"),
            gone(),
        ),
        ("a Gateway", group("demo", "gateway.k8s.aws.alb/stack"), kept()),
        (
            "a Gateway's load balancer",
            balancer("demo", "gateway.k8s.aws.nlb/stack"),
            kept(),
        ),
        ("an Ingress's", balancer("demo", crate::names::STACK_TAG), gone()),
    ] {
        let mut shared = made.clone();
        let mut round = |demanded: &[&portcullis_model::LoadBalancer]| -> Vec<String> {
            let demands = demanded.iter().map(|balancer| {
                (
                    balancer.id.clone(),
                    demand(&settings("demo"), balancer, None, &account),
                )
            });
            let (round, _) = plan_shared(&settings("demo"), &demands.collect(), &shared, &account);
            let mut calls = Vec::new();
            for change in &round.changes {
                crate::fold_shared(&mut shared, change, crate::imagine(change));
                let (verb, permissions) = match &change.call {
                    crate::Call::AuthorizeSecurityGroupIngress { permissions, .. } => {
                        ("authorize", permissions)
                    }
                    crate::Call::RevokeSecurityGroupIngress { permissions, .. } => ("revoke", permissions),
                    other => panic!("{what}: {other:?}"),
                };
                let marks = permissions
                    .iter()
                    .map(|p| p.description.split('/').next().unwrap_or_default());
                calls.extend(marks.map(|mark| format!("{verb} {mark}")));
            }
            calls
        };
        let rounds = [round(&[&simple()]), round(&[&moved]), round(&[])];
        assert_eq!(
            rounds,
            want.map(|round| round.into_iter().map(str::to_owned).collect::<Vec<_>>()),
            "{what}"
        );
    }
}

#[test]
fn nobody_is_shut_out_from_targets_whose_group_is_not_known() {
    let account = Account::offline(None);
    let (_, shared) = super::settled::made(&simple(), &account);
    for (what, targets, want) in [
        ("no interface was read", true, vec![]),
        (
            "there are no targets",
            false,
            vec!["ec2:RevokeSecurityGroupIngress"],
        ),
    ] {
        let mut blind = Account::offline(None);
        blind.interfaces = Fact::Read(Interfaces::default());
        let mut balancer = simple();
        if !targets {
            balancer.backends.values_mut().next().unwrap().targets = [].into();
        }
        let demands = [(
            balancer.id.clone(),
            demand(&settings("demo"), &balancer, None, &blind),
        )]
        .into();
        let (round, problems) = plan_shared(&settings("demo"), &demands, &shared, &blind);
        let calls: Vec<&str> = round.changes.iter().map(|change| change.call.name()).collect();
        assert_eq!(calls, want, "{what}");
        assert_eq!(problems.len(), usize::from(targets), "{what}");
    }
}

#[test]
fn without_a_backend_group_nodes_let_in_each_load_balancers_own() {
    let mut settings = settings("demo");
    settings.backend_group = crate::settings::BackendGroup::Off;
    let mut account = Account::offline(None);
    let (made, _) = super::settled::made(&simple(), &account);
    let mut own = made.security_groups[0].get().clone();
    own.id = Id::new("sg-own");
    account.listing.security_groups.push(own);
    let mut shared = crate::Shared::nothing("demo");
    let mut demands: BTreeMap<_, _> = [(simple().id, demand(&settings, &simple(), None, &account))].into();
    let mut calls = |demands: &BTreeMap<_, _>| {
        let (round, _) = plan_shared(&settings, demands, &shared, &account);
        for change in &round.changes {
            crate::fold_shared(&mut shared, change, crate::imagine(change));
        }
        round
            .changes
            .iter()
            .map(|change| change.call.clone())
            .collect::<Vec<_>>()
    };
    let opened = calls(&demands);
    let [crate::Call::AuthorizeSecurityGroupIngress { permissions, .. }] = opened.as_slice() else {
        panic!("{opened:?}");
    };
    assert!(
        permissions
            .iter()
            .all(|permission| permission.source == Source::Group(Id::new("sg-own")))
    );
    assert_eq!(calls(&demands), []);
    // Its group can be deleted only when no other refers to it.
    demands.clear();
    let shut = calls(&demands);
    assert!(
        matches!(shut.as_slice(), [crate::Call::RevokeSecurityGroupIngress { .. }]),
        "{shut:?}"
    );
}
