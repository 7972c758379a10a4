//! Load balancers in, the number of calls that AWS is asked for them out.

use futures::{StreamExt, stream};
use portcullis_aws::Aws;
use portcullis_model::{LoadBalancer, LoadBalancerId, ObjectName, Provider};
use portcullis_test_support as support;

use crate::world::{World, backend, comparable, forward, listen, lone, nothing, rule, simplest};

/// The seven writes nobody can do without, in an order in which each finds what it names.
const SEVEN: [&str; 7] = [
    "elbv2:CreateTargetGroup",
    "ec2:CreateSecurityGroup",
    "elbv2:RegisterTargets",
    "ec2:AuthorizeSecurityGroupIngress",
    "elbv2:CreateLoadBalancer",
    "elbv2:CreateListener",
    "elbv2:CreateRule",
];

#[tokio::test]
async fn the_simplest_load_balancer_costs_seven_writes_and_then_nothing() {
    let world = World::new().await;
    let desired = simplest(&world);
    let account = world.account().await;
    let read = world.calls();
    assert!(
        read.len() <= 10,
        "the account costs {} calls: {read:?}",
        read.len()
    );

    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    assert_eq!(
        world.calls(),
        ["ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress"],
        "what spans load balancers"
    );

    let ids = [desired.id.clone()];
    let mut observed = world.aws.observe(&ids, &account).await.unwrap();
    assert_eq!(
        world.calls(),
        [""; 0],
        "nothing exists, so there is nothing to look at"
    );

    let mut observed = observed.remove(&desired.id).unwrap();
    let mut planned = world.make(&desired, &mut observed, (&shared, &account)).await;
    let calls = world.calls();
    let (reads, writes): (Vec<_>, Vec<_>) = calls.iter().partition(|call| reads(call));
    assert_eq!(writes, planned, "one change is one call");
    planned.sort_unstable();
    let mut seven = SEVEN;
    seven.sort_unstable();
    assert_eq!(planned, seven);
    assert!(calls.len() <= 10, "{calls:?}");
    assert!(
        reads.iter().all(|call| *call == "elbv2:DescribeTags"),
        "{reads:?}"
    );

    let again = world.make(&desired, &mut observed, (&shared, &account)).await;
    assert_eq!(again, [""; 0]);
    assert_eq!(world.calls(), [""; 0], "a pass over what has not changed");

    let counted: u64 = world.aws.calls().read().iter().map(|count| count.count).sum();
    assert_eq!(
        counted,
        (read.len() + 2 + calls.len()) as u64,
        "every call is counted"
    );
}

#[tokio::test]
async fn a_restart_reads_and_finds_nothing_to_do() {
    let world = World::new().await;
    let desired = simplest(&world);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let mut observed = nothing(&desired);
    world.make(&desired, &mut observed, (&shared, &account)).await;
    world.calls();

    let (seen, account) = world.look(&desired.id).await;
    let calls = world.moto.calls();
    let writes: Vec<_> = calls.iter().filter(|call| call.writes()).collect();
    assert_eq!(writes, [] as [&support::Call; 0], "observing never writes");
    assert!(calls.len() <= 20, "{calls:?}");
    world.calls();

    assert_eq!(comparable(&seen), comparable(&observed));
    assert_eq!(Aws::address(&seen), Aws::address(&observed));
    let shared = world.aws.observe_shared(&account).await.unwrap();
    let (plan, problems) = world
        .aws
        .plan(&desired.id, Some(&desired), &seen, &shared, &account);
    assert_eq!((plan.changes, problems), (vec![], vec![]));
    let demands = [(desired.id.clone(), world.aws.demand(&desired, None, &account))].into();
    let (plan, _) = world.aws.plan_shared(&demands, &shared, &account);
    assert_eq!(plan.changes, []);
    assert_eq!(world.calls(), [""; 0], "planning makes no call");
}

/// Passes at the same time, as many as the controller makes.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn twenty_load_balancers_share_their_reads() {
    let world = World::new().await;
    let pods: Vec<String> = [world.pods(0), world.pods(1)].concat();
    let all: Vec<LoadBalancer> = pods
        .chunks(2)
        .enumerate()
        .map(|(number, pods)| {
            let mut balancer = lone(&format!("web-{number}"));
            listen(&mut balancer, 80);
            let web = backend(&mut balancer, &format!("web-{number}"), pods);
            let host = format!("web-{number}.shop.example.com");
            rule(&mut balancer, &host, "/", forward(&web));
            balancer
        })
        .collect();
    assert_eq!(all.len(), 20);

    let account = world.account().await;
    let shared = world.fit(&all, &account).await;
    let known = (&shared, &account);
    let passes = all.iter().map(|balancer| {
        let world = &world;
        async move {
            let mut observed = nothing(balancer);
            world.make(balancer, &mut observed, known).await;
        }
    });
    let passes: Vec<_> = passes.map(Box::pin).collect();
    stream::iter(passes)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
    let calls = world.calls();
    let writes = calls.iter().filter(|call| !reads(call)).count();
    // Seven each, and two for the backend security group and the nodes'.
    assert_eq!(writes, 20 * 7 + 2);
    assert!(calls.len() <= 170, "{} calls", calls.len());

    // After a restart, all are looked at together.
    let aws = world.restarted().await;
    let account = aws.account().await.unwrap();
    let calls = world.calls();
    assert!(
        calls.len() <= 10,
        "the account costs {} calls: {calls:?}",
        calls.len()
    );
    let ids: Vec<LoadBalancerId> = all.iter().map(|balancer| balancer.id.clone()).collect();
    let seen = aws.observe(&ids, &account).await.unwrap();
    let calls = world.calls();
    // Attributes, listeners and rules of each; attributes and targets of its target group; tags 20 at a time.
    assert_eq!(calls.len(), 20 * 5 + 2, "{calls:?}");
    for balancer in &all {
        let (plan, _) = aws.plan(
            &balancer.id,
            Some(balancer),
            &seen[&balancer.id],
            &shared,
            &account,
        );
        assert_eq!(plan.changes, [], "{}", balancer.id);
    }
}

#[tokio::test]
async fn a_group_of_fifty_costs_three_writes_each() {
    let world = World::new().await;
    let mut balancer = lone("unused");
    balancer.id = LoadBalancerId::Group("public".into());
    listen(&mut balancer, 80);
    for number in 0..50 {
        balancer.members = vec![ObjectName::new("shop", format!("web-{number}"))];
        let web = backend(&mut balancer, &format!("web-{number}"), &world.pods(0)[..2]);
        let host = format!("web-{number}.shop.example.com");
        rule(&mut balancer, &host, "/", forward(&web));
    }
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&balancer), &account).await;
    let mut observed = nothing(&balancer);
    world.make(&balancer, &mut observed, (&shared, &account)).await;
    let calls = world.calls();
    let writes = calls.iter().filter(|call| !reads(call)).count();
    // Target group, targets and rule of each; group, permission, load balancer and listener; and two that are shared.
    assert_eq!(writes, 50 * 3 + 4 + 2);
    assert!(calls.len() <= 180, "{} calls", calls.len());
}

fn reads(call: &str) -> bool {
    call.contains(":Describe") || call.contains(":List")
}
