//! What stands and what is asked for in; what nodes let in, and when that is taken back, out.

use std::collections::BTreeMap;

use portcullis_model::{LoadBalancer, LoadBalancerId, ObjectName, Opening, Origin, Semantics};

use super::build::*;
use super::settled::made;
use crate::account::Account;
use crate::change::Call;
use crate::names;
use crate::observed::{Marked, Observed, Owner, Shared};
use crate::plan::plan;
use crate::resource::{Id, Pairs, Permission, Source};
use crate::settings::{BackendGroup, Settings};
use crate::shared::{Demand, keeps_open};
use crate::{demand, plan_offline, plan_shared};

fn with(backend_group: BackendGroup) -> Settings {
    Settings {
        backend_group,
        ..settings("demo")
    }
}

/// The calls of all rounds, until one is empty.
fn calls(
    settings: &Settings,
    demands: &BTreeMap<LoadBalancerId, Demand>,
    shared: &mut Shared,
    account: &Account,
) -> Vec<String> {
    let mut out = Vec::new();
    for _ in 0..8 {
        let (round, _) = plan_shared(settings, demands, shared, account);
        if round.is_empty() {
            return out;
        }
        for change in &round.changes {
            crate::fold_shared(shared, change, crate::imagine(change));
            out.push(format!("{} {}", change.call.name(), change.id));
        }
    }
    panic!("never settled: {out:?}");
}

fn asking(
    settings: &Settings,
    balancer: &LoadBalancer,
    observed: Option<&Observed>,
    account: &Account,
) -> BTreeMap<LoadBalancerId, Demand> {
    let needs = demand(settings, balancer, observed, account);
    [(balancer.id.clone(), needs)].into()
}

#[test]
fn what_stands_is_let_in_until_it_uses_something_else() {
    let account = Account::offline(None);
    let settings = settings("demo");
    let (mut observed, mut shared) = made(&simple(), &account);
    // As the account's listing has it, for who looks at nothing else.
    let mut listed = account.clone();
    let balancers = observed.load_balancers.iter().map(|owned| owned.get().clone());
    listed.listing.load_balancers.extend(balancers);
    let mut balancer = simple();
    balancer.options.security_groups = vec!["nosuch".into()];
    for (what, seen, account) in [
        ("as observed", Some(&observed), &account),
        ("as listed", None, &listed),
    ] {
        let demands = asking(&settings, &balancer, seen, account);
        let nothing: Vec<String> = Vec::new();
        assert_eq!(
            calls(&settings, &demands, &mut shared, account),
            nothing,
            "{what}"
        );
        assert_eq!(demands[&balancer.id].problems, [], "{what}");
    }
    let state = observed.load_balancer_mut().unwrap();
    state.spec.security_groups = vec![Id::new("sg-given")];
    let demands = asking(&settings, &balancer, Some(&observed), &account);
    assert_eq!(
        calls(&settings, &demands, &mut shared, &account),
        [
            "ec2:RevokeSecurityGroupIngress nodes",
            "ec2:DeleteSecurityGroup backend"
        ]
    );
}

#[test]
fn a_given_backend_group_is_let_in_once_and_shut_out_at_the_end() {
    let settings = with(BackendGroup::Given(Id::new("sg-given")));
    let offline = Account::offline(None);
    let (made, _) = made(&simple(), &offline);
    for (tag, takes_back) in [
        (None, true),
        (Some("kubernetes.io/cluster/demo"), true),
        // It has the same group, and these are its nodes.
        (Some("kubernetes.io/cluster/other"), false),
    ] {
        let mut account = offline.clone();
        let mut nodes = made.security_groups[0].get().clone();
        nodes.id = Id::new("${SecurityGroup/nodes}");
        nodes.spec.permissions.clear();
        nodes.spec.tags = tag.map(|tag| (tag, "owned")).into_iter().collect::<Pairs>();
        account.listing.security_groups.push(nodes);
        let mut shared = Shared::nothing("demo");
        let mut demands = asking(&settings, &simple(), None, &account);
        let opened = calls(&settings, &demands, &mut shared, &account);
        assert_eq!(opened, ["ec2:AuthorizeSecurityGroupIngress nodes"], "{tag:?}");
        // By who starts anew.
        shared.let_in.clear();
        assert_eq!(
            calls(&settings, &demands, &mut shared, &account),
            Vec::<String>::new()
        );
        demands.clear();
        let shut = calls(&settings, &demands, &mut shared, &account);
        let want = Vec::from_iter(takes_back.then_some("ec2:RevokeSecurityGroupIngress nodes"));
        assert_eq!(shut, want, "{tag:?}");
    }
}

#[test]
fn a_group_made_since_the_account_was_read_is_let_in_and_shut_out() {
    let settings = with(BackendGroup::Off);
    let account = Account::offline(None);
    let (observed, _) = made(&simple(), &account);
    let mut shared = Shared::nothing("demo");
    let mut demands = asking(&settings, &simple(), Some(&observed), &account);
    let opened = calls(&settings, &demands, &mut shared, &account);
    assert_eq!(opened, ["ec2:AuthorizeSecurityGroupIngress nodes"]);
    // Its own group goes when nodes do not let it in any more, for AWS deletes none that others refer to.
    let mut left = Observed::nothing(Owner::load_balancer("demo", &simple().id));
    left.security_groups.clone_from(&observed.security_groups);
    let deletes = |shared: &Shared| {
        let (round, _) = plan(&settings, &simple().id, None, &left, shared, &account);
        let mut calls = round.changes.iter().map(|change| &change.call);
        calls.any(|call| matches!(call, Call::DeleteSecurityGroup { .. }))
    };
    assert!(!deletes(&shared));
    demands.clear();
    let shut = calls(&settings, &demands, &mut shared, &account);
    assert_eq!(shut, ["ec2:RevokeSecurityGroupIngress nodes"]);
    assert!(deletes(&shared));
}

#[test]
fn an_offline_plan_opens_nodes_whichever_group_they_let_in() {
    for (group, want) in [
        (BackendGroup::Managed, "${SecurityGroup/backend}"),
        (BackendGroup::Off, "${SecurityGroup/ManagedLBSecurityGroup}"),
        (BackendGroup::Given(Id::new("sg-given")), "sg-given"),
    ] {
        let document = plan_offline(&[simple()], &with(group));
        assert_eq!(document.problems, [], "{want}");
        let rules = document.shared.resources.iter();
        let rules: Vec<String> = rules
            .filter(|resource| resource.kind == "SecurityGroupRule")
            .map(|resource| resource.spec["UserIdGroupPairs"][0]["GroupId"].to_string())
            .collect();
        assert_eq!(rules, [format!("{want:?}")], "{want}");
    }
}

/// What is let in, as `source protocol first-last`.
fn let_in(shared: &Shared) -> Vec<String> {
    let marked = shared.marked.values().flatten().map(|marked| marked.permission());
    let line = |permission: &Permission| {
        let Source::Group(source) = &permission.source else {
            panic!("{permission:?}");
        };
        let (first, last) = permission.ports.unwrap();
        let source = source
            .as_str()
            .trim_start_matches("${SecurityGroup/")
            .trim_end_matches('}');
        format!("{source} {} {first}-{last}", permission.protocol)
    };
    marked.map(line).collect()
}

#[test]
fn what_bindings_ask_for_stays_open_where_it_is() {
    use Semantics::{AwsLoadBalancerController as Incumbent, Kubernetes};
    let account = Account::offline(None);
    let settings = settings("demo");
    let nodes = Id::new("${SecurityGroup/nodes}");
    let (_, made) = made(&simple(), &account);
    let backend = made.backend.as_ref().unwrap().get().id.clone();
    let permission = |protocol: &str, ports| Permission {
        protocol: protocol.into(),
        description: names::NODE_PERMISSION_MARK.into(),
        ports: Some(ports),
        source: Source::Group(backend.clone()),
    };
    let wide = permission("tcp", (8080, 9090));
    let both = vec![wide.clone(), permission("udp", (8080, 9090))];
    for (what, semantics, asked, had, balancers, want) in [
        (
            "nobody asks",
            Incumbent,
            vec![],
            vec![wide.clone()],
            1,
            vec!["backend tcp 8080-8080"],
        ),
        (
            "the highest",
            Incumbent,
            vec![(9090, 9090)],
            vec![wide.clone()],
            1,
            vec!["backend tcp 8080-9090"],
        ),
        (
            "all of them",
            Incumbent,
            vec![(0, 65535)],
            vec![wide.clone()],
            1,
            vec!["backend tcp 8080-9090"],
        ),
        (
            "one between",
            Incumbent,
            vec![(8500, 8500)],
            vec![wide.clone()],
            1,
            vec!["backend tcp 8080-8500"],
        ),
        (
            "one that is shut",
            Incumbent,
            vec![(30000, 30000)],
            vec![wide.clone()],
            1,
            vec!["backend tcp 8080-8080"],
        ),
        (
            "our layout",
            Kubernetes,
            vec![(9090, 9090)],
            vec![wide.clone()],
            1,
            vec!["backend tcp 8080-8080", "backend tcp 9090-9090"],
        ),
        (
            "without Ingresses",
            Incumbent,
            vec![(9090, 9090)],
            vec![wide.clone()],
            0,
            vec!["backend tcp 9090-9090"],
        ),
        (
            "another protocol, too",
            Incumbent,
            vec![(9090, 9090)],
            both.clone(),
            1,
            vec!["backend tcp 8080-9090", "backend udp 8080-9090"],
        ),
        (
            "another protocol alone",
            Incumbent,
            vec![],
            both,
            1,
            vec!["backend tcp 8080-8080"],
        ),
    ] {
        let mut balancer = simple();
        balancer.semantics = semantics;
        let mut shared = made.clone();
        let marked = had.iter().map(|permission| Marked::read(permission).unwrap());
        shared.marked = [(nodes.clone(), marked.collect())].into();
        let opening = |ports| Opening {
            source: backend.to_string(),
            ports,
            origin: Origin::new(
                "targetgroupbinding",
                ObjectName::new("shop", "b"),
                "spec.networking",
            ),
        };
        let openings: Vec<Opening> = asked.into_iter().map(opening).collect();
        let mut demands = asking(&settings, &balancer, None, &account);
        demands.retain(|_, _| balancers > 0);
        demands.insert(
            LoadBalancerId::Group("+".into()),
            keeps_open(&openings, semantics),
        );
        calls(&settings, &demands, &mut shared, &account);
        assert_eq!(let_in(&shared), want, "{what}");
        assert!(shared.backend.is_some(), "{what}");
    }
}
