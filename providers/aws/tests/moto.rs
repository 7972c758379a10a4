//! The real SDKs and the AWS API in memory in; which calls are made, and that what is believed to exist does, out.

#![expect(clippy::unwrap_used, reason = "a panic of a test is its report")]

#[path = "moto/auth.rs"]
mod auth;
#[path = "moto/beside.rs"]
mod beside;
#[path = "moto/cost.rs"]
mod cost;
#[path = "moto/errors.rs"]
mod errors;
#[path = "moto/failures.rs"]
mod failures;
#[path = "moto/options.rs"]
mod options;
#[path = "moto/ownership.rs"]
mod ownership;
#[path = "moto/protection.rs"]
mod protection;
#[path = "moto/world.rs"]
mod world;

use portcullis_model::{
    Action, Condition, FixedResponse, Forward, HeaderName, LoadBalancer, Method, PathMatch, Pattern,
    Provider, Redirect, Rewrite, RewritePart, Stickiness, Weight, WeightedBackend,
};
use proptest::sample::subsequence;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use world::{
    World, backend, bare, claim, comparable, forward, listen, listen_tls, nothing, port, rule, simplest,
    targets,
};

#[tokio::test]
async fn a_change_makes_exactly_the_calls_that_are_planned() {
    type Edit = fn(&World, &mut LoadBalancer);
    let edits: [(&str, Edit, &[&str]); 8] = [
        (
            "another path",
            |_, b| b.rules[0].paths = vec![PathMatch::Prefix("/shop".parse_prefix())],
            &["elbv2:ModifyRule"],
        ),
        (
            "another host",
            |_, b| b.rules[0].hosts = vec!["www.example.com".parse_host()],
            &["elbv2:ModifyRule"],
        ),
        (
            "one target more",
            |w, b| first_backend(b).targets = targets(&w.pods(0)[..3]),
            &["elbv2:RegisterTargets"],
        ),
        (
            "one target fewer",
            |w, b| first_backend(b).targets = targets(&w.pods(0)[1..3]),
            &["elbv2:DeregisterTargets"],
        ),
        (
            "another health check",
            |_, b| first_backend(b).health.path = "/healthz".into(),
            &["elbv2:ModifyTargetGroup"],
        ),
        (
            "a drain time",
            |_, b| first_backend(b).drain_seconds = Some(30),
            &["elbv2:ModifyTargetGroupAttributes"],
        ),
        (
            "a tag",
            |_, b| drop(b.options.tags.insert("team".into(), "shop".into())),
            // On the group, the load balancer, the listener and the rule; a target group has those of its backend.
            &[
                "ec2:CreateTags",
                "elbv2:AddTags",
                "elbv2:AddTags",
                "elbv2:AddTags",
            ],
        ),
        (
            "another port",
            |_, b| {
                b.listeners.clear();
                listen(b, 8000);
                b.rules[0].ports = [port(8000)].into();
            },
            &[
                "elbv2:DeleteListener",
                "ec2:AuthorizeSecurityGroupIngress",
                "elbv2:CreateListener",
                "elbv2:CreateRule",
                "ec2:RevokeSecurityGroupIngress",
            ],
        ),
    ];
    let world = World::new().await;
    let mut desired = simplest(&world);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let mut observed = nothing(&desired);
    world.make(&desired, &mut observed, (&shared, &account)).await;
    for (what, edit, want) in edits {
        edit(&world, &mut desired);
        world.calls();
        let planned = world.make(&desired, &mut observed, (&shared, &account)).await;
        assert_eq!(world.calls(), planned, "{what}: one change is one call");
        let sorted = |calls: &[&str]| {
            let mut calls: Vec<_> = calls.iter().map(|&call| call.to_owned()).collect();
            calls.sort();
            calls
        };
        assert_eq!(sorted(&planned), sorted(want), "{what}");
        let (seen, account) = world.look(&desired.id).await;
        assert_eq!(comparable(&seen), comparable(&observed), "{what}");
        let (plan, _) = world
            .aws
            .plan(&desired.id, Some(&desired), &seen, &shared, &account);
        assert_eq!(plan.changes, [], "{what}");
    }
}

fn first_backend(balancer: &mut LoadBalancer) -> &mut portcullis_model::Backend {
    balancer.backends.values_mut().next().unwrap()
}

/// Texts that are known to be right.
trait Parse {
    fn parse_prefix(&self) -> portcullis_model::PathPrefix;
    fn parse_host(&self) -> portcullis_model::HostMatch;
}

impl Parse for str {
    fn parse_prefix(&self) -> portcullis_model::PathPrefix {
        portcullis_model::PathPrefix::parse(self).unwrap()
    }

    fn parse_host(&self) -> portcullis_model::HostMatch {
        portcullis_model::HostMatch::parse(self).unwrap()
    }
}

/// Two listeners, three backends, and one of everything that a rule can have.
fn rich(world: &World) -> LoadBalancer {
    let mut balancer = bare();
    listen(&mut balancer, 80);
    listen_tls(&mut balancer, 443, &["*.shop.example.com", "www.example.com"]);
    let [web, cart, beta] =
        ["web", "cart", "beta"].map(|name| backend(&mut balancer, name, &world.pods(1)[..4]));
    let weighted = |backend: &_, weight| WeightedBackend {
        backend: Clone::clone(backend),
        weight: Weight::new(weight).unwrap(),
    };
    let split = Forward {
        backends: vec![weighted(&cart, 9), weighted(&beta, 1)],
        stickiness: Some(Stickiness { seconds: 600 }),
    };
    rule(
        &mut balancer,
        "a.shop.example.com",
        "/cart",
        Action::Forward(split),
    );
    let conditions = balancer.rules.last_mut().unwrap();
    conditions.conditions = vec![
        Condition::Method(vec![Method::parse("POST").unwrap()]),
        Condition::Header {
            name: HeaderName::parse("X-Tenant").unwrap(),
            values: vec![portcullis_model::Glob::parse("blue*").unwrap()],
        },
    ];
    rule(&mut balancer, "*.shop.example.com", "/api", forward(&web));
    let rewrite = |part, pattern, replacement: &str| Rewrite {
        part,
        pattern: Pattern::parse(pattern).unwrap(),
        replacement: replacement.into(),
    };
    balancer.rules.last_mut().unwrap().rewrites = vec![
        rewrite(RewritePart::Url, "^/api/(.*)$", "/$1"),
        rewrite(RewritePart::Host, "^(.*)$", "api.internal"),
    ];
    rule(
        &mut balancer,
        "www.example.com",
        "/old",
        Action::Redirect(Redirect::to_https(port(443))),
    );
    rule(
        &mut balancer,
        "www.example.com",
        "/gone",
        Action::Fixed(FixedResponse::new(410, Some("text/plain".into()), Some("gone".into())).unwrap()),
    );
    rule(&mut balancer, "www.example.com", "/", forward(&web));
    balancer
}

#[tokio::test]
async fn what_is_believed_to_exist_does() {
    let world = World::new().await;
    let rich = rich(&world);
    let mut fewer = rich.clone();
    fewer.rules.remove(0);
    let mut turned = rich.clone();
    turned.rules.reverse();
    let mut plain = rich.clone();
    plain.listeners.remove(&port(443));
    for rule in &mut plain.rules {
        rule.ports = [port(80)].into();
    }
    let mut optimized = rich.clone();
    for backend in optimized.backends.values_mut() {
        backend.control_port = Some(port(3000));
    }
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&rich), &account).await;
    let mut observed = nothing(&rich);
    for (what, desired) in [
        ("rich", &rich),
        ("a rule fewer", &fewer),
        ("rich again", &rich),
        ("rules turned round", &turned),
        ("one listener", &plain),
        ("targets that are asked what they can take", &optimized),
        ("simplest", &simplest(&world)),
        ("rich from simplest", &rich),
    ] {
        let (_, problems, result) = world
            .settle(&desired.id, Some(desired), &mut observed, (&shared, &account))
            .await;
        assert_eq!((problems, result), (vec![], Ok(())), "{what}");
        let (seen, account) = world.look(&desired.id).await;
        assert_eq!(comparable(&seen), comparable(&observed), "{what}");
        let (plan, _) = world
            .aws
            .plan(&desired.id, Some(desired), &seen, &shared, &account);
        assert_eq!(plan.changes, [], "{what}");
    }
}

/// Which of the rich one's rules, in which order, on which of its listeners, with how many targets.
fn variant(world: &World, (places, ports, pods): &(Vec<usize>, usize, usize)) -> LoadBalancer {
    let mut balancer = rich(world);
    let rules = balancer.rules.clone();
    *balancer.rules = places.iter().map(|&place| rules[place].clone()).collect();
    let kept: &[u16] = [&[80][..], &[443], &[80, 443]][*ports];
    balancer.listeners.retain(|port, _| kept.contains(&port.get()));
    for rule in &mut balancer.rules {
        rule.ports = kept.iter().map(|&number| port(number)).collect();
    }
    for backend in balancer.backends.values_mut() {
        backend.targets = targets(&world.pods(1)[..*pods]);
    }
    balancer
}

#[tokio::test]
async fn whatever_becomes_of_it_what_is_believed_to_exist_does() {
    let world = World::new().await;
    let all: Vec<usize> = (0..rich(&world).rules.len()).collect();
    let most = all.len();
    let shapes = (subsequence(all, 0..=most).prop_shuffle(), 0..3_usize, 0..6_usize);
    // Always the same ones: a run that fails can be run again.
    let mut runner = TestRunner::deterministic();
    let account = world.account().await;
    let widest = rich(&world);
    let shared = world.fit(std::slice::from_ref(&widest), &account).await;
    let mut observed = nothing(&widest);
    for step in 0..12 {
        let shape = shapes.new_tree(&mut runner).unwrap().current();
        let desired = variant(&world, &shape);
        let known = (&shared, &account);
        let (made, _, result) = world
            .settle(&desired.id, Some(&desired), &mut observed, known)
            .await;
        assert_eq!(result, Ok(()), "step {step}, {shape:?}: {made:#?}");
        let (seen, account) = world.look(&desired.id).await;
        assert_eq!(comparable(&seen), comparable(&observed), "step {step}, {shape:?}");
        let (plan, _) = world
            .aws
            .plan(&desired.id, Some(&desired), &seen, &shared, &account);
        assert_eq!(plan.changes, [], "step {step}, {shape:?}");
    }
}

#[tokio::test]
async fn a_deletion_leaves_nothing_that_is_tagged() {
    let world = World::new().await;
    let desired = rich(&world);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let mut observed = nothing(&desired);
    world.make(&desired, &mut observed, (&shared, &account)).await;

    let (made, _, result) = world
        .settle(&desired.id, None, &mut observed, (&shared, &account))
        .await;
    assert_eq!(result, Ok(()));
    assert!(observed.is_nothing());
    // What is gone stays gone: a deletion that was made before its answer was lost is made again.
    for change in &made {
        let deletion = change.summary().call.contains(":Delete");
        assert!(deletion, "{change}");
        assert!(world.aws.apply(&claim(), change).await.is_ok(), "{change}");
    }
    let account = world.account().await;
    world.fit(&[], &account).await;
    let (seen, account) = world.look(&desired.id).await;
    assert!(seen.is_nothing());
    let tagged = |tags: &portcullis_aws::resource::Pairs| tags.get("elbv2.k8s.aws/cluster").is_some();
    let listing = &account.listing;
    assert!(
        !listing
            .load_balancers
            .iter()
            .any(|state| tagged(&state.spec.tags))
    );
    assert!(!listing.target_groups.iter().any(|state| tagged(&state.spec.tags)));
    assert!(
        !listing
            .security_groups
            .iter()
            .any(|state| tagged(&state.spec.tags))
    );
    assert_eq!(
        world.aws.observe_shared(&account).await.unwrap().marked,
        [].into()
    );
}

#[tokio::test]
async fn a_pass_fits_into_a_stack() {
    let world = World::new().await;
    let account = world.account().await;
    let desired = simplest(&world);
    let shared = world.aws.observe_shared(&account).await.unwrap();
    let (plan, _) = world
        .aws
        .plan(&desired.id, Some(&desired), &nothing(&desired), &shared, &account);
    let (claim, ids) = (claim(), [desired.id.clone()]);
    for (what, size) in [
        ("account", size_of_val(&world.aws.account())),
        ("observe", size_of_val(&world.aws.observe(&ids, &account))),
        (
            "look_closer",
            size_of_val(&world.aws.look_closer(&desired, &mut nothing(&desired))),
        ),
        ("apply", size_of_val(&world.aws.apply(&claim, &plan.changes[0]))),
    ] {
        // Eight passes at once, in futures inside of futures, on threads of 2 MiB.
        assert!(size <= 16 * 1024, "{what}: {size} bytes");
    }
}
