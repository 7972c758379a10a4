//! Some load balancers and a group in; how many calls they cost, made, left alone, after a restart and made anew, out.
//!
//! The short form of `cargo xtask bench aws-calls`.

use std::sync::Arc;

use serde_json::json;

use super::{calls, change, grouped, one_more};
use crate::world::{INGRESSES, RECORDS, World, ingress, until, with};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The facts and the listing of the account.
const ACCOUNT: usize = 10;

async fn counted(world: &Arc<World>) -> (usize, usize) {
    let all = calls(world).await.len();
    let writes = with(world, World::writes).await.len();
    (writes, all - writes)
}

#[tokio::test(flavor = "multi_thread")]
async fn load_balancers_cost_their_writes_and_share_their_reads() {
    let world = Arc::new(World::start().await);
    with(&world, |world| {
        for name in NAMES {
            world.post(
                INGRESSES,
                &ingress(name, &format!("{name}.example.com"), &[("/", "web")]),
            );
        }
        world.moto.record();
    })
    .await;
    let running = world.control(world.aws().await).await;
    until(&world, "all are made", |world| {
        let settled = |name: &&str| world.settled(&format!("shop.{name}")) && world.hostname(name).is_some();
        NAMES.iter().all(settled).then_some(())
    })
    .await;
    let (writes, reads) = counted(&world).await;
    // Seven each; the group of all of them and what nodes let in from it.
    assert_eq!(writes, 7 * NAMES.len() + 2);
    // Two for each prove at worst that what was created is ours.
    assert!(reads <= ACCOUNT + 2 * NAMES.len(), "{reads} reads");

    // Seen, and of no consequence: it holds without being said.
    let rested = running.passes("resting").await;
    with(&world, |world| {
        world.moto.record();
        let same = json!({"metadata": {"annotations": {"alb.ingress.kubernetes.io/scheme": "internal"}}});
        for name in NAMES {
            world.patch(&format!("{INGRESSES}/{name}"), &same);
        }
    })
    .await;
    one_more(&running, "resting", rested + NAMES.len() as u64 - 1).await;
    assert_eq!(counted(&world).await, (0, 0), "an event that changes nothing");

    // Deleted and made anew, under a name that was used.
    with(&world, |world| world.delete(&format!("{INGRESSES}/d"))).await;
    until(&world, "it is gone", |world| {
        world.get(&format!("{RECORDS}/shop.d")).is_none().then_some(())
    })
    .await;
    let made = change(&world, "shop.d", "it is there again", |world| {
        world.post(INGRESSES, &ingress("d", "d.example.com", &[("/", "web")]));
    })
    .await;
    assert_eq!(made.len(), 7, "{made:?}");
    let all = calls(&world).await;
    assert!(
        all.len() <= 9,
        "what is known to be gone is not looked for: {all:?}"
    );
    running.stop().await;

    with(&world, |world| world.moto.record()).await;
    let running = world.control(world.aws().await).await;
    one_more(&running, "resting", NAMES.len() as u64 - 1).await;
    let (writes, reads) = counted(&world).await;
    assert_eq!(writes, 0, "a restart changes nothing");
    assert!(reads <= ACCOUNT, "a restart costs {reads} reads");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_in_the_middle_of_a_group_costs_two_writes() {
    let world = Arc::new(World::start().await);
    let none = json!({"alb.ingress.kubernetes.io/group.name": "shared"});
    let running = world.control(world.aws().await).await;
    with(&world, move |world| {
        for name in NAMES {
            let host = format!("{name}.example.com");
            world.post(INGRESSES, &grouped(name, &host, &[("/", "web")], &none));
        }
    })
    .await;
    until(&world, "all are served", |world| {
        let shown = NAMES.iter().all(|name| world.hostname(name).is_some());
        (shown && world.settled("shared")).then_some(())
    })
    .await;
    let made = change(&world, "shared", "a path comes before others", |world| {
        let paths = [("/shop", "web"), ("/", "web")];
        world.patch(&format!("{INGRESSES}/b"), &ingress("b", "b.example.com", &paths));
    })
    .await;
    assert_eq!(made, ["elbv2:CreateRule", "elbv2:SetRulePriorities"]);
    assert_eq!(counted(&world).await, (2, 0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_that_waits_for_its_turn_is_in_nobodys_way() {
    let world = Arc::new(World::start().await);
    // One at once, and then one in 20 seconds: more than a pass waits.
    let slow = world
        .aws_limited(&["Elastic Load Balancing v2:^CreateLoadBalancer$=0.05:1"])
        .await;
    let running = world.control(slow).await;
    change(&world, "shop.a", "the first", |world| {
        world.post(INGRESSES, &ingress("a", "a.example.com", &[("/", "web")]));
    })
    .await;
    with(&world, |world| {
        world.moto.record();
        world.post(INGRESSES, &ingress("b", "b.example.com", &[("/", "web")]));
    })
    .await;
    until(&world, "the second is told to wait", |world| {
        let record = world.get(&format!("{RECORDS}/shop.b"))?;
        record["status"]["conditions"]
            .to_string()
            .contains("\"Throttled\"")
            .then_some(())
    })
    .await;
    let made = with(&world, World::writes).await;
    assert!(
        made.iter().any(|call| call == "elbv2:RegisterTargets"),
        "all else of it is made: {made:?}"
    );
    assert!(
        !made.iter().any(|call| call == "elbv2:CreateLoadBalancer"),
        "{made:?}"
    );

    let made = change(&world, "shop.a", "another path of the first", |world| {
        world.patch(
            &format!("{INGRESSES}/a"),
            &ingress("a", "a.example.com", &[("/shop", "web")]),
        );
    })
    .await;
    assert_eq!(made, ["elbv2:ModifyRule"]);

    until(&world, "the second is made in its turn", |world| {
        (world.settled("shop.b") && world.hostname("b").is_some()).then_some(())
    })
    .await;
    let made = with(&world, World::writes).await;
    assert_eq!(
        made,
        [
            "elbv2:ModifyRule",
            "elbv2:CreateLoadBalancer",
            "elbv2:CreateListener",
            "elbv2:CreateRule"
        ],
        "what was made before is not made again"
    );
    running.stop().await;
}
