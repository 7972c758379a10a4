//! Controllers that answer for other Ingresses than the one that made a load balancer in; the load balancer, left alone
//! and said so, out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portcullis::controller::Leadership;
use portcullis::reconcile::records::scope::Scope;
use serde_json::{Value, json};

use super::{change, remove_all};
use crate::world::{CLASSES, INGRESSES, RECORDS, Running, World, ingress, until, with};

const OURS: &str = "portcullis.dev/ingress";
const OTHER: &str = "/apis/networking.k8s.io/v1/namespaces/other/ingresses";

fn scope(controller: &str, namespace: Option<&str>, class: &str) -> Scope {
    Scope {
        controller: controller.into(),
        namespace: namespace.map(str::to_owned),
        legacy_class: class.into(),
    }
}

/// A controller for this scope, whatever others run.
async fn control(world: &World, scope: Scope) -> Running {
    let (client, aws) = (world.client().await, world.aws().await);
    let hour = Duration::from_secs(3600);
    world
        .control_for(client, aws, Leadership::Alone, hour, scope)
        .await
}

/// Reasons of the Events at each record.
fn told(world: &World) -> Option<BTreeSet<(String, String)>> {
    let list = world.get("/apis/events.k8s.io/v1/namespaces/default/events")?;
    let of = |event: &Value| {
        let name = event["regarding"]["name"].as_str()?;
        Some((name.to_owned(), event["reason"].as_str()?.to_owned()))
    };
    Some(list["items"].as_array()?.iter().filter_map(of).collect())
}

/// Waits until these are told to be left alone, and those alone; takes the Events away.
async fn left_alone(world: &Arc<World>, records: &'static [&'static str]) {
    until(world, "they are left alone", move |world| {
        let want = records
            .iter()
            .map(|name| ((*name).to_owned(), "LeftAlone".to_owned()));
        (told(world)? == want.collect()).then_some(())
    })
    .await;
    with(world, |world| {
        world.delete("/apis/events.k8s.io/v1/namespaces/default/events");
    })
    .await;
}

async fn settled(world: &Arc<World>, records: &'static [&'static str]) {
    until(world, "they are settled", move |world| {
        records.iter().all(|record| world.settled(record)).then_some(())
    })
    .await;
}

fn grouped(name: &str) -> Value {
    let mut body = ingress(name, &format!("{name}.example.com"), &[("/", "web")]);
    body["metadata"]["annotations"] = json!({"alb.ingress.kubernetes.io/group.name": "public"});
    body
}

fn spec(world: &World, record: &str, field: &str) -> Option<String> {
    let record = world.get(&format!("{RECORDS}/{record}"))?;
    record["spec"][field].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_controller_with_other_flags_made_is_left_alone() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let first = scope(OURS, None, "portcullis");
    let running = control(&world, first.clone()).await;
    with(&world, |world| {
        world.post("/api/v1/namespaces", &json!({"metadata": {"name": "other"}}));
        world.post(INGRESSES, &ingress("a", "a.example.com", &[("/", "web")]));
        world.post(OTHER, &ingress("b", "b.example.com", &[("/", "web")]));
        world.post(INGRESSES, &grouped("in"));
        world.post(OTHER, &grouped("out"));
    })
    .await;
    settled(&world, &["shop.a", "other.b", "public"]).await;
    running.stop().await;
    let all = with(&world, |world| {
        world.delete("/apis/events.k8s.io/v1/namespaces/default/events");
        world.moto.record();
        world.everything()
    })
    .await;

    // It serves what it has, beside that of the other name, and leaves what both use when it has nothing any more.
    let running = control(&world, scope("example.com/second", None, "portcullis")).await;
    left_alone(&world, &["other.b", "public", "shop.a"]).await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    with(&world, |world| {
        let class = json!({"metadata": {"name": "second"}, "spec": {"controller": "example.com/second"}});
        world.post(CLASSES, &class);
        let mut body = ingress("c", "c.example.com", &[("/", "web")]);
        body["spec"]["ingressClassName"] = "second".into();
        world.post(INGRESSES, &body);
        // A load balancer that the other one has.
        let mut body = grouped("late");
        body["spec"]["ingressClassName"] = "second".into();
        world.post(INGRESSES, &body);
    })
    .await;
    settled(&world, &["shop.c"]).await;
    until(&world, "whoever asks for another's is told", |world| {
        let list = world.get("/apis/events.k8s.io/v1/namespaces/shop/events")?;
        let mut events = list["items"].as_array()?.iter();
        let told = |event: &Value| event["regarding"]["name"] == "late" && event["reason"] == "NotOurs";
        events.any(told).then_some(())
    })
    .await;
    with(&world, |world| {
        world.delete(&format!("{INGRESSES}/late"));
        world.delete(&format!("{INGRESSES}/c"));
    })
    .await;
    until(&world, "its own is gone", |world| {
        world.get(&format!("{RECORDS}/shop.c")).is_none().then_some(())
    })
    .await;
    assert_eq!(with(&world, World::everything).await, all);
    running.stop().await;

    // One namespace: what is in it is served, what reaches out of it is not touched.
    let running = control(&world, scope(OURS, Some("shop"), "portcullis")).await;
    left_alone(&world, &["other.b", "public"]).await;
    let mut writes = change(&world, "shop.a", "a path", |world| {
        let body = ingress("a", "a.example.com", &[("/", "web"), ("/one", "web")]);
        world.patch(&format!("{INGRESSES}/a"), &body);
    })
    .await;
    // Others only make room in the order.
    writes.retain(|call| call != "elbv2:SetRulePriorities");
    assert_eq!(writes, ["elbv2:CreateRule"]);
    let signed = with(&world, |world| spec(world, "shop.a", "watchNamespace")).await;
    assert_eq!(signed.as_deref(), Some("shop"));
    running.stop().await;

    // As before: all is served on, and goes with its Ingresses.
    with(&world, |world| world.moto.record()).await;
    let running = control(&world, first).await;
    until(&world, "it is of all namespaces again", |world| {
        let signed = spec(world, "shop.a", "controllerName").is_some();
        (signed && spec(world, "shop.a", "watchNamespace").is_none()).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    with(&world, |world| {
        world.delete(&format!("{OTHER}/b"));
        world.delete(&format!("{OTHER}/out"));
    })
    .await;
    remove_all(&world, &["a", "in"]).await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_another_annotation_is_left_alone() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let incumbent = "ingress.k8s.aws/alb";
    let running = control(&world, scope(incumbent, None, "alb")).await;
    with(&world, |world| {
        let mut body = ingress("a", "a.example.com", &[("/", "web")]);
        body["spec"]["ingressClassName"] = Value::Null;
        body["metadata"]["annotations"] = json!({
            "kubernetes.io/ingress.class": "alb", "alb.ingress.kubernetes.io/target-type": "ip",
        });
        world.post(INGRESSES, &body);
    })
    .await;
    settled(&world, &["shop.a"]).await;
    running.stop().await;
    with(&world, |world| {
        world.delete("/apis/events.k8s.io/v1/namespaces/default/events");
        world.moto.record();
    })
    .await;
    let running = control(&world, scope(incumbent, None, "my-alb")).await;
    left_alone(&world, &["shop.a"]).await;
    running.stop().await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    let running = control(&world, scope(incumbent, None, "alb")).await;
    remove_all(&world, &["a"]).await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_say_whose_it_is_is_held_where_an_ingress_is_a_strangers() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let ours = scope(OURS, None, "portcullis");
    let running = control(&world, ours.clone()).await;
    with(&world, |world| {
        world.post(INGRESSES, &ingress("a", "a.example.com", &[("/", "web")]));
    })
    .await;
    settled(&world, &["shop.a"]).await;
    running.stop().await;
    let of_an_earlier_version = |world: &World| {
        let unsigned = json!({"spec": {"controllerName": null}});
        world.patch(&format!("{RECORDS}/shop.a"), &unsigned);
        world.moto.record();
    };

    with(&world, of_an_earlier_version).await;
    let running = control(&world, scope("ingress.k8s.aws/alb", None, "alb")).await;
    until(&world, "it is held", |world| {
        let record = world.get(&format!("{RECORDS}/shop.a"))?;
        record.to_string().contains("ControllerUnknown").then_some(())
    })
    .await;
    running.stop().await;
    let running = control(&world, ours.clone()).await;
    settled(&world, &["shop.a"]).await;
    let signed = with(&world, |world| spec(world, "shop.a", "controllerName")).await;
    assert_eq!(signed.as_deref(), Some(OURS));
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    running.stop().await;

    // What is gone for sure goes.
    with(&world, of_an_earlier_version).await;
    with(&world, |world| world.delete(&format!("{INGRESSES}/a"))).await;
    let running = control(&world, ours).await;
    until(&world, "it is gone", |world| {
        world.get(&format!("{RECORDS}/shop.a")).is_none().then_some(())
    })
    .await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}
