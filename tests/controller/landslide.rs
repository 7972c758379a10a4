//! An Ingress that loses most of its paths at once in, who is told, and what changes all the same, out.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{change, one_more};
use crate::world::{INGRESSES, RECORDS, SLICES, World, ingress, until, with};

/// As many paths of one host.
fn with_paths(count: usize) -> Value {
    let paths: Vec<String> = (0..count).map(|number| format!("/p{number}")).collect();
    let paths: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "web")).collect();
    ingress("web", "web.example.com", &paths)
}

/// The record, once it says that rules wait.
fn held(world: &World) -> Option<Value> {
    let record = world.get(&format!("{RECORDS}/shop.web"))?;
    let conditions = record["status"]["conditions"].as_array()?;
    let mut settled = conditions
        .iter()
        .filter(|condition| condition["type"] == "Settled");
    settled
        .any(|condition| condition["reason"] == "ManyRuleDeletions")
        .then_some(record)
}

async fn confirm(world: &Arc<World>, number: &'static str) {
    with(world, move |world| {
        let annotations = json!({"portcullis.dev/confirm-rule-deletion": number});
        let body = json!({"metadata": {"annotations": annotations}});
        world.patch(&format!("{RECORDS}/shop.web"), &body);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landslide_of_rules_waits_for_a_person() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    let big = |world: &World| world.post(INGRESSES, &with_paths(12));
    change(&world, "shop.web", "a big Ingress", big).await;

    with(&world, |world| {
        world.moto.record();
        world.patch(&format!("{INGRESSES}/web"), &with_paths(2));
    })
    .await;
    let record = until(&world, "most of its paths wait", held).await;
    let problem = &record["status"]["problems"]["first"][0];
    let message = problem["message"].as_str().unwrap();
    assert!(
        message.starts_with("10 of its 12 rules would be deleted"),
        "{message}"
    );
    assert!(
        message.ends_with("portcullis.dev/confirm-rule-deletion: \"10\""),
        "{message}"
    );
    let pending = record["status"]["pending"].to_string();
    assert_eq!(pending.matches("elbv2:DeleteRule").count(), 10, "{pending}");
    until(&world, "it is told", |world| {
        let events = world.get("/apis/events.k8s.io/v1/events")?;
        events.to_string().contains("\"ManyRuleDeletions\"").then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    // What stands goes on serving: a pod that is gone gets no requests.
    with(&world, |world| {
        let body = json!({"endpoints": world.endpoints(&[("web-1", 0, 0)])});
        world.patch(&format!("{SLICES}/web"), &body);
    })
    .await;
    until(&world, "targets are followed", |world| {
        (!world.writes().is_empty()).then_some(())
    })
    .await;
    let before = running.passes("held").await;
    confirm(&world, "3").await;
    one_more(&running, "held", before).await;
    assert_eq!(with(&world, World::writes).await, ["elbv2:DeregisterTargets"]);
    assert!(
        with(&world, held).await.is_some(),
        "another number confirms nothing"
    );

    confirm(&world, "10").await;
    until(&world, "what was confirmed goes", |world| {
        world.settled("shop.web").then_some(())
    })
    .await;
    let writes = with(&world, World::writes).await;
    let deleted = writes.iter().filter(|call| *call == "elbv2:DeleteRule").count();
    assert_eq!(deleted, 10, "{writes:?}");
    running.stop().await;
}
