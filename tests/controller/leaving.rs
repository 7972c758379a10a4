//! Ingresses that go in all the ways they can; what is left of their load balancers out: nothing.

use std::sync::Arc;

use portcullis_model::Provider;
use serde_json::json;

use super::{change, remove_all};
use crate::world::{CLASSES, INGRESSES, RECORDS, Running, World, condition, ingress, until, with};

async fn made<P: Provider>(world: &Arc<World>, provider: P, names: &'static [&'static str]) -> Running {
    let running = world.control(provider).await;
    with(world, move |world| {
        for name in names {
            let host = format!("{name}.example.com");
            world.post(INGRESSES, &ingress(name, &host, &[("/", "web")]));
        }
    })
    .await;
    for name in names {
        until(world, "it is settled", move |world| {
            world.settled(&format!("shop.{name}")).then_some(())
        })
        .await;
    }
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_that_go_at_once_nothing_is_left() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = made(&world, world.aws().await, &["one", "two", "three"]).await;
    remove_all(&world, &["one", "two", "three"]).await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_before_it_went_is_cleaned_up_too() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = made(&world, world.aws().await, &["lone", "other"]).await;
    // By its own mistake, and by that of its class.
    with(&world, |world| {
        let mistake = json!({"metadata": {"annotations": {"alb.ingress.kubernetes.io/group.name": "BAD!"}}});
        world.patch(&format!("{INGRESSES}/lone"), &mistake);
    })
    .await;
    held(&world, "shop.lone").await;
    with(&world, |world| world.delete(&format!("{CLASSES}/alb"))).await;
    held(&world, "shop.other").await;
    remove_all(&world, &["lone", "other"]).await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}

/// Waits until the record says that its members are refused, and that nothing was deleted.
async fn held(world: &Arc<World>, record: &'static str) {
    until(world, "its members are refused", move |world| {
        let record = world.get(&format!("{RECORDS}/{record}"))?;
        let refused = record.to_string().contains("MembersRefused");
        (refused && condition(&record, "Settled") == "False").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stays_loses_only_what_the_others_needed() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    change(&world, "shop.stays", "one that stays", |world| {
        world.post(INGRESSES, &ingress("stays", "stays.example.com", &[("/", "web")]));
    })
    .await;
    let alone = with(&world, opened).await;
    for (name, port) in [("one", 9001), ("two", 9002)] {
        with(&world, move |world| {
            world.service_on(name, port, &[("web-1", 0, 0)]);
            let host = format!("{name}.example.com");
            world.post(INGRESSES, &ingress(name, &host, &[("/", name)]));
        })
        .await;
        until(&world, "it is settled", move |world| {
            world.settled(&format!("shop.{name}")).then_some(())
        })
        .await;
    }
    assert!(with(&world, opened).await.len() > alone.len());
    with(&world, |world| {
        for name in ["one", "two"] {
            world.delete(&format!("{INGRESSES}/{name}"));
        }
    })
    .await;
    until(&world, "their records are gone", |world| {
        let list = world.get(RECORDS)?;
        (list["items"].as_array()?.len() == 1).then_some(())
    })
    .await;
    assert_eq!(with(&world, opened).await, alone);
    running.stop().await;
}

/// What all security groups let in.
fn opened(world: &World) -> Vec<String> {
    let mut all = world.everything();
    all.retain(|line| line.starts_with("DescribeSecurityGroupRules"));
    all
}
