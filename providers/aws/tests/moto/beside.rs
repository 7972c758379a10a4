//! What stands beside a load balancer in, target groups of others and a Network Load Balancer in front; what is done to
//! them out.

use std::collections::BTreeMap;

use portcullis_aws::names::NAMESPACE_TAG;
use portcullis_aws::{Aws, Call};
use portcullis_model::{
    Action, BackendId, BackendProtocol, Code, Forward, Front, FrontPort, GivenBackend, HealthCheck,
    LoadBalancer, Provider, Scheme, Stands, Weight, WeightedBackend,
};

use crate::world::{World, bare, claim, comparable, listen, nothing, port, rule, simplest};

/// A target group that exists, with the namespace it is for; answers its ARN.
#[expect(clippy::wildcard_enum_match_arm, reason = "a test names the call it is about")]
async fn given(world: &World, name: &str) -> String {
    let desired = simplest(world);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let (plan, _) = world
        .aws
        .plan(&desired.id, Some(&desired), &nothing(&desired), &shared, &account);
    let create = plan
        .changes
        .into_iter()
        .find_map(|mut change| match &mut change.call {
            Call::CreateTargetGroup { spec } => {
                spec.name = name.into();
                spec.tags = [(NAMESPACE_TAG, "shop")].into_iter().collect();
                Some(change)
            }
            _ => None,
        });
    world
        .restarted()
        .await
        .apply(&claim(), &create.unwrap())
        .await
        .unwrap();
    let listed = world.account().await.listing.target_groups;
    let found = listed.iter().find(|state| state.spec.name == name);
    found.unwrap().arn.to_string()
}

fn forwarding(names: &[&str]) -> LoadBalancer {
    let mut out = bare();
    listen(&mut out, 80);
    let mut backends = Vec::new();
    for name in names {
        let id = BackendId::given("shop", name);
        let backend = GivenBackend {
            id: id.clone(),
            name: (*name).into(),
            namespace: "shop".into(),
            origin: out.options.origin.clone(),
        };
        out.given.insert(id.clone(), backend);
        backends.push(WeightedBackend {
            backend: id,
            weight: Weight::ONE,
        });
    }
    let action = Action::Forward(Forward {
        backends,
        stickiness: None,
    });
    rule(&mut out, "www.example.com", "/", action);
    out
}

#[tokio::test]
async fn a_target_group_of_others_is_forwarded_to_and_left_alone() {
    let world = World::new().await;
    let arn = given(&world, "old-web").await;
    given(&world, "old-api").await;
    let desired = forwarding(&["old-web", "old-api"]);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let mut observed = nothing(&desired);
    world.make(&desired, &mut observed, (&shared, &account)).await;

    let (seen, account) = world.look(&desired.id).await;
    assert_eq!(seen.target_groups, [], "none of them is ours");
    let actions = &seen.load_balancer().unwrap().listeners[&80].rules[0].spec.actions;
    let used: Vec<&str> = actions[0].target_groups().map(|arn| arn.as_str()).collect();
    assert!(used.len() == 2 && used.contains(&arn.as_str()), "{used:?}");
    // It is in use by ours, which is no reason to refuse it.
    let (plan, problems) = world
        .aws
        .plan(&desired.id, Some(&desired), &seen, &shared, &account);
    assert_eq!((plan.changes, problems), (vec![], vec![]));

    let (_, _, result) = world
        .settle(&desired.id, None, &mut observed, (&shared, &account))
        .await;
    assert_eq!(result, Ok(()));
    let left = world.account().await.listing.target_groups;
    let mut left: Vec<&str> = left.iter().map(|state| state.spec.name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["old-api", "old-web"]);
}

fn fronted(world: &World) -> LoadBalancer {
    let mut desired = simplest(world);
    let asked = FrontPort {
        to: port(80),
        health: HealthCheck::for_protocol(&BackendProtocol::default()),
        origin: desired.options.origin.clone(),
    };
    desired.options.front = Some(Front {
        scheme: Scheme::Internal,
        subnets: Vec::new(),
        security_groups: Vec::new(),
        addresses: Vec::new(),
        attributes: BTreeMap::new(),
        tags: None,
        ports: BTreeMap::from([(port(8080), asked)]),
        stands: Stands::AsAsked,
        kept: Default::default(),
        origin: desired.options.origin.clone(),
    });
    desired
}

#[tokio::test]
async fn a_security_group_that_is_not_there_is_told_and_what_stands_in_front_keeps_its_own() {
    let world = World::new().await;
    let mut desired = fronted(&world);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let mut observed = nothing(&desired);
    world.make(&desired, &mut observed, (&shared, &account)).await;

    let front = desired.options.front.as_mut().unwrap();
    front.security_groups = vec!["sg-0123456789abcdef0".into()];
    world.aws.consult(&desired, &account).await.unwrap();
    let (plan, problems) = world
        .aws
        .plan(&desired.id, Some(&desired), &observed, &shared, &account);
    assert_eq!(plan.changes, []);
    let codes: Vec<Code> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::OptionUnsupported]);
}

#[tokio::test]
async fn a_network_load_balancer_stands_in_front() {
    let world = World::new().await;
    let mut desired = fronted(&world);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let mut observed = nothing(&desired);
    let known = (&shared, &account);
    let calls = world.make(&desired, &mut observed, known).await;
    // Last of all, once AWS has set up what is to be its target.
    assert_eq!(calls.last(), Some(&"elbv2:RegisterTargets"), "{calls:?}");

    let (seen, _) = world.look(&desired.id).await;
    assert_eq!(comparable(&seen), comparable(&observed));
    assert!(seen.front().is_some());
    let (plan, problems) = world
        .aws
        .plan(&desired.id, Some(&desired), &seen, &shared, &account);
    assert_eq!((plan.changes, problems), (vec![], vec![]));

    // Its health check is changed in place, and it goes when nobody asks for it.
    let front = desired.options.front.as_mut().unwrap();
    front.ports.get_mut(&port(8080)).unwrap().health.path = "/ok".into();
    assert_eq!(
        world.make(&desired, &mut observed, known).await,
        ["elbv2:ModifyTargetGroup"]
    );
    desired.options.front = None;
    let calls = world.make(&desired, &mut observed, known).await;
    assert_eq!(
        calls,
        [
            "ec2:RevokeSecurityGroupIngress",
            "elbv2:DeleteLoadBalancer",
            "elbv2:DeleteTargetGroup"
        ]
    );
    let (seen, _) = world.look(&desired.id).await;
    assert_eq!(comparable(&seen), comparable(&observed));
    assert!(seen.front().is_none());
}

#[tokio::test]
async fn a_scheme_changes_without_a_gap() {
    let world = World::new().await;
    let mut desired = simplest(&world);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let mut observed = nothing(&desired);
    world.make(&desired, &mut observed, (&shared, &account)).await;
    let old = observed.load_balancer().unwrap().dns_name.clone();

    desired.options.scheme = Scheme::InternetFacing;
    world.aws.look_closer(&desired, &mut observed).await.unwrap();
    let calls = world.make(&desired, &mut observed, (&shared, &account)).await;
    assert!(calls.contains(&"elbv2:DescribeTargetHealth"), "{calls:?}");
    let (mut seen, account) = world.look(&desired.id).await;
    assert_eq!(comparable(&seen), comparable(&observed));
    assert_eq!(seen.load_balancers.len(), 2);
    assert_ne!(seen.load_balancer().unwrap().dns_name, old);
    assert!(Aws::waits(&seen));

    // Whoever looks now is too early; in two hours the old one goes, and nothing of it stays.
    world.aws.look_closer(&desired, &mut seen).await.unwrap();
    let known = (&shared, &account);
    assert_eq!(world.make(&desired, &mut seen, known).await, [""; 0]);
    seen.looked_at = seen.looked_at.map(|now| now + 7_200);
    let calls = world.make(&desired, &mut seen, known).await;
    assert_eq!(calls, ["elbv2:DeleteLoadBalancer", "elbv2:DeleteTargetGroup"]);
    let (left, _) = world.look(&desired.id).await;
    assert_eq!(comparable(&left), comparable(&seen));
    assert!(!Aws::waits(&left));
}
