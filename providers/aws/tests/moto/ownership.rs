//! What is not ours, and calls without a right in; that nothing is done to it out.

use std::time::{Duration, Instant};

use portcullis_aws::resource::Pairs;
use portcullis_aws::{Account, Aws, Call, Change, Observed, Shared};
use portcullis_model::{Claim, Code, LoadBalancer, Provider, ProviderError, Retry};

use crate::world::{World, claim, nothing, simplest};

/// Makes rounds; right before a change that makes this call, somebody else makes it, with every setting but the tags.
/// Answers whether that came about.
async fn overtaken(
    world: &World,
    desired: &LoadBalancer,
    observed: &mut Observed,
    (shared, account): (&Shared, &Account),
    call: &str,
) -> Result<(), ProviderError> {
    for _ in 0..8 {
        let (plan, _) = world
            .aws
            .plan(&desired.id, Some(desired), observed, shared, account);
        for change in plan.changes {
            if change.call.name() == call {
                let foreign = foreign(&change);
                world.restarted().await.apply(&claim(), &foreign).await.unwrap();
                world.calls();
            }
            let answer = world.aws.apply(&claim(), &change).await?;
            Aws::fold(observed, &change, answer);
        }
    }
    Ok(())
}

fn foreign(change: &Change) -> Change {
    let mut change = change.clone();
    let somebody = [("owner", "somebody else")].into_iter().collect();
    if let Call::CreateTargetGroup { spec } = &mut change.call {
        spec.tags = somebody;
    } else if let Call::CreateLoadBalancer { spec } = &mut change.call {
        spec.tags = somebody;
    }
    change
}

/// What exists and is somebody else's: names and ARNs.
async fn foreigners(world: &World) -> Vec<(String, String)> {
    let listing = world.account().await.listing;
    let theirs = |tags: &Pairs| tags.get("owner").is_some();
    let groups = listing
        .target_groups
        .iter()
        .filter(|state| theirs(&state.spec.tags));
    let groups = groups.map(|state| (state.spec.name.clone(), state.arn.to_string()));
    let balancers = listing
        .load_balancers
        .iter()
        .filter(|state| theirs(&state.spec.tags));
    let balancers = balancers.map(|state| (state.spec.name.clone(), state.arn.to_string()));
    groups.chain(balancers).collect()
}

#[tokio::test]
async fn what_somebody_else_made_under_our_name_is_left_alone() {
    for (call, end) in [
        ("elbv2:CreateTargetGroup", Ok(())),
        // It uses our security group, so that one stays until it is gone.
        (
            "elbv2:CreateLoadBalancer",
            Err((Code::ConflictingChange, "ec2:DeleteSecurityGroup")),
        ),
    ] {
        let world = World::new().await;
        let desired = simplest(&world);
        let before = world.account().await;
        let shared = world.fit(std::slice::from_ref(&desired), &before).await;
        let mut observed = nothing(&desired);
        let known = (&shared, &before);
        let result = overtaken(&world, &desired, &mut observed, known, call).await;
        let error = result.expect_err("what was created was there before");
        assert_eq!(
            (error.code, error.retry),
            (Code::NotOurs, Retry::Observe),
            "{error}"
        );

        // Nothing was done with it, and nothing is by whoever still believes that it is ours.
        let (_, _, result) = world.settle(&desired.id, None, &mut observed, known).await;
        assert_eq!(result.map_err(|error| error.code), Err(Code::NotOurs), "{call}");
        let calls = world.moto.calls();
        let there = foreigners(&world).await;
        let [(_, arn)] = &there[..] else {
            panic!("{call}: {there:?}");
        };
        let id = arn.rsplit('/').next().unwrap();
        let touched = calls.iter().find(|made| made.writes() && made.body.contains(id));
        assert_eq!(touched, None, "{call}");

        // Whoever looks again sees that it is not.
        let (mut observed, account) = world.look(&desired.id).await;
        let (_, _, result) = world
            .settle(&desired.id, None, &mut observed, (&shared, &account))
            .await;
        assert_eq!(result.map_err(|error| (error.code, error.call)), end, "{call}");
        assert_eq!(foreigners(&world).await, there, "{call}");
    }
}

#[tokio::test]
async fn a_name_that_is_seen_to_be_taken_is_not_tried() {
    let world = World::new().await;
    let desired = simplest(&world);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let mut observed = nothing(&desired);
    let known = (&shared, &account);
    let taken = overtaken(&world, &desired, &mut observed, known, "elbv2:CreateLoadBalancer").await;
    assert!(taken.is_err());

    let (observed, account) = world.look(&desired.id).await;
    let (plan, problems) = world
        .aws
        .plan(&desired.id, Some(&desired), &observed, &shared, &account);
    assert_eq!(plan.changes, []);
    let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::NotOurs]);
}

#[tokio::test]
async fn nothing_is_changed_outside_a_claim() {
    let world = World::new().await;
    let desired = simplest(&world);
    let account = world.account().await;
    let shared = world.aws.observe_shared(&account).await.unwrap();
    let demands = [(desired.id.clone(), world.aws.demand(&desired, None, &account))].into();
    let (plan, _) = world.aws.plan_shared(&demands, &shared, &account);
    world.calls();
    #[expect(clippy::disallowed_methods, reason = "a claim is a point in time")]
    let now = Instant::now();
    // Current, but at an end before the call could be.
    let short = Claim::until(now + Duration::from_secs(1));
    let error = world.aws.apply(&short, &plan.changes[0]).await.unwrap_err();
    assert_eq!(error.code, Code::ClaimLost, "{error}");
    assert_eq!(world.calls(), [""; 0]);
}
