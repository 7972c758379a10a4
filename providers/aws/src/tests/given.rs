//! Rules that forward to target groups of others in; that they are used where that is admitted, and left alone, out.

use std::sync::Arc;

use portcullis_model::{
    Action, BackendId, Code, Forward, GivenBackend, LoadBalancer, Semantics, Weight, WeightedBackend,
};

use super::build::*;
use super::settled::{made, rounds};
use crate::account::{Account, Fact, ListedTargetGroup};
use crate::compile::compile;
use crate::names;
use crate::observed::Observed;
use crate::resource::{Id, Pairs, Ref, RuleAction};

const ARN: &str = "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/old/1";

fn listed() -> ListedTargetGroup {
    ListedTargetGroup {
        arn: Id::new(ARN),
        name: "old".into(),
        protocol: Some("HTTP".into()),
        kind: "instance".into(),
        vpc: Some(Account::offline(None).vpc),
        tags: [(names::NAMESPACE_TAG, "infra shop")].into_iter().collect(),
        load_balancers: Vec::new(),
    }
}

fn account(groups: Vec<ListedTargetGroup>) -> Account {
    let mut account = Account::offline(None);
    account.listing.every_target_group = Fact::Read(groups);
    account
}

fn given(balancer: &mut LoadBalancer, name: &str) -> BackendId {
    let id = BackendId::given("shop", name);
    let backend = GivenBackend {
        id: id.clone(),
        name: Arc::from(name),
        namespace: "shop".into(),
        origin: origin("shop/web", "actions.old"),
    };
    balancer.given.insert(id.clone(), backend);
    id
}

/// Shares of a target group of others and, where there is a weight, of a Service.
fn shared(semantics: Semantics, name: &str, weights: (i64, Option<i64>)) -> LoadBalancer {
    let mut out = balancer("shop/web", semantics);
    http(&mut out, 80, not_found());
    let share = |backend: BackendId, weight: i64| WeightedBackend {
        backend,
        weight: Weight::new(weight).unwrap(),
    };
    let mut backends = vec![share(given(&mut out, name), weights.0)];
    if let Some(weight) = weights.1 {
        let pods = Where::Pods(&["10.0.16.10"]);
        let own = backend(&mut out, "shop/web", "web", "80", 8080, pods);
        backends.push(share(own, weight));
    }
    let action = Action::Forward(Forward {
        backends,
        stickiness: None,
    });
    *out.rules = vec![rule("shop/web", &[80], "", "prefix:/old", action)];
    out
}

fn compiled(
    balancer: &LoadBalancer,
    account: &Account,
) -> (RuleAction<Ref<crate::resource::kind::TargetGroup>>, Vec<Code>) {
    let nothing = Observed::nothing(crate::Owner::load_balancer("demo", &balancer.id));
    let (desired, problems) = compile(&settings("demo"), balancer, account, &nothing);
    let mut rules = desired.unwrap().listeners.remove(&80).unwrap().rules;
    (rules.remove(0).spec.actions.remove(0), codes(&problems))
}

#[test]
fn a_target_group_of_others_is_used_where_it_is_admitted() {
    use Semantics::{AwsLoadBalancerController as Incumbent, Kubernetes};
    let with = |edit: &dyn Fn(&mut ListedTargetGroup)| {
        let mut group = listed();
        edit(&mut group);
        vec![group]
    };
    let untagged = || with(&|group| group.tags = Pairs::default());
    for (what, semantics, name, groups, used, problem) in [
        ("by ARN", Kubernetes, ARN, vec![listed()], true, None),
        ("by name", Kubernetes, "old", vec![listed()], true, None),
        (
            "a function",
            Kubernetes,
            "old",
            with(&|g| (g.kind, g.protocol, g.vpc) = ("lambda".into(), None, None)),
            true,
            None,
        ),
        (
            "unknown",
            Kubernetes,
            "new",
            vec![listed()],
            false,
            Some(Code::TargetGroupNotFound),
        ),
        (
            "untagged",
            Kubernetes,
            ARN,
            untagged(),
            false,
            Some(Code::TargetGroupNotAdmitted),
        ),
        (
            "tagged for others",
            Kubernetes,
            ARN,
            with(&|g| g.tags = [(names::NAMESPACE_TAG, "shop2")].into_iter().collect()),
            false,
            Some(Code::TargetGroupNotAdmitted),
        ),
        (
            "of another cluster",
            Kubernetes,
            ARN,
            with(&|g| _ = g.tags.0.insert(names::CLUSTER_TAG.into(), "other".into())),
            false,
            Some(Code::TargetGroupNotAdmitted),
        ),
        (
            "untagged, told",
            Incumbent,
            ARN,
            untagged(),
            true,
            Some(Code::TargetGroupNotAdmitted),
        ),
        (
            "in use",
            Incumbent,
            ARN,
            with(&|g| g.load_balancers = vec![Id::new("arn:other")]),
            false,
            Some(Code::TargetGroupInUse),
        ),
        (
            "of a network load balancer",
            Incumbent,
            ARN,
            with(&|g| g.protocol = Some("TCP".into())),
            false,
            Some(Code::BackendUnsupported),
        ),
        (
            "in another VPC",
            Kubernetes,
            ARN,
            with(&|g| g.vpc = Some(Id::new("vpc-other"))),
            false,
            Some(Code::BackendUnsupported),
        ),
    ] {
        let balancer = shared(semantics, name, (1, None));
        let (action, problems) = compiled(&balancer, &account(groups));
        let groups: Vec<_> = action.target_groups().cloned().collect();
        let want = if used {
            vec![Ref::Known(Id::new(ARN))]
        } else {
            vec![]
        };
        assert_eq!(groups, want, "{what}");
        assert_eq!(problems, Vec::from_iter(problem), "{what}");
    }
}

#[test]
fn offline_a_name_stays_symbolic() {
    for (name, want) in [(ARN, ARN), ("old", "${TargetGroup/old}")] {
        let balancer = shared(Semantics::Kubernetes, name, (1, None));
        let (action, problems) = compiled(&balancer, &Account::offline(None));
        let groups: Vec<String> = action.target_groups().map(ToString::to_string).collect();
        assert_eq!((groups, problems), (vec![want.to_owned()], vec![]), "{name}");
    }
}

#[test]
fn a_share_that_cannot_be_had_passes_to_the_others_unless_they_have_none() {
    for (what, weights, name, want) in [
        ("both", (90, 10), "old", Some(vec![Some(90), Some(10)])),
        ("a canary that is not there", (10, 90), "new", Some(vec![None])),
        ("nothing is left for the other", (10, 0), "new", None),
    ] {
        let balancer = shared(Semantics::Kubernetes, name, (weights.0, Some(weights.1)));
        let (action, problems) = compiled(&balancer, &account(vec![listed()]));
        let got = match &action {
            RuleAction::Forward { config } => {
                let weights = config.target_groups.iter().map(|tuple| tuple.weight);
                Some(weights.collect::<Vec<_>>())
            }
            RuleAction::FixedResponse { .. } => None,
            other => panic!("{what}: {other:?}"),
        };
        assert_eq!(got, want, "{what}");
        assert_eq!(problems.is_empty(), what == "both", "{what}: {problems:?}");
    }
}

#[test]
fn a_target_group_of_others_is_never_made_changed_or_deleted() {
    let account = account(vec![listed()]);
    let balancer = shared(Semantics::Kubernetes, "old", (90, Some(10)));
    let (mut observed, shared) = made(&balancer, &account);
    assert_eq!(observed.target_groups.len(), 1, "the Service's alone");
    assert!(rounds(Some(&balancer), &mut observed, &shared, &account).is_empty());
    let mut without = balancer.clone();
    without.rules.clear();
    let mut calls = rounds(Some(&without), &mut observed, &shared, &account);
    calls.extend(rounds(None, &mut observed, &shared, &account));
    let groups: Vec<_> = calls.iter().filter(|call| call.contains("TargetGroup")).collect();
    assert_eq!(groups, ["elbv2:DeleteTargetGroup shop/web-web:80"]);
}

#[test]
fn the_same_target_group_named_twice_has_both_shares() {
    for (weights, want) in [((1, 2), Some(3)), ((500, 500), None)] {
        let mut balancer = shared(Semantics::Kubernetes, "old", (weights.0, None));
        let other = given(&mut balancer, ARN);
        let Action::Forward(forward) = &mut balancer.rules[0].action else {
            panic!("it forwards");
        };
        forward.backends.push(WeightedBackend {
            backend: other,
            weight: Weight::new(weights.1).unwrap(),
        });
        let (action, problems) = compiled(&balancer, &account(vec![listed()]));
        assert_eq!(
            action.target_groups().count(),
            usize::from(want.is_some()),
            "{weights:?}"
        );
        assert_eq!(problems.is_empty(), want.is_some(), "{weights:?}");
    }
}
