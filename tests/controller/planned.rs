//! A plan that is shown, then made: the calls of both, which are the same.

use std::sync::Arc;

use serde_json::{Value, json};

use super::change;
use crate::world::{CLASSES, INGRESSES, PARAMETERS, RECORDS, SLICES, World, ingress, names, until, with};

fn parameters(mode: &str) -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "IngressClassParameters",
        "metadata": {"name": "planned"}, "spec": {"mode": mode},
    })
}

async fn set_mode(world: &Arc<World>, mode: &'static str) {
    with(world, move |world| {
        world.patch(&format!("{PARAMETERS}/planned"), &json!({"spec": {"mode": mode}}));
    })
    .await;
}

/// The calls that the record shows, once it shows any under this mode.
async fn shown(world: &Arc<World>) -> Vec<String> {
    until(world, "the plan is shown", |world| {
        let record = world.get(&format!("{RECORDS}/shop.web"))?;
        let pending = &record["status"]["pending"];
        let first = pending["first"].as_array()?;
        let is_whole = record.to_string().contains("PlanOnly") && pending["total"] == first.len();
        let mut calls: Vec<String> = first
            .iter()
            .map(|change| change["call"].as_str().unwrap().to_owned())
            .collect();
        calls.sort();
        (is_whole && !calls.is_empty()).then_some(calls)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_is_what_is_done() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    with(&world, |world| {
        world.post(PARAMETERS, &parameters("Plan"));
        let named =
            json!({"apiGroup": "portcullis.dev", "kind": "IngressClassParameters", "name": "planned"});
        let class = json!({
            "metadata": {"name": "planned"},
            "spec": {"controller": "portcullis.dev/ingress", "parameters": named},
        });
        world.post(CLASSES, &class);
    })
    .await;
    let planned = |host: &str, paths: &[(&str, &str)]| {
        let mut ingress = ingress("web", host, paths);
        ingress["spec"]["ingressClassName"] = "planned".into();
        ingress
    };
    let first = planned("web.example.com", &[("/", "web")]);
    let path = planned("web.example.com", &[("/shop", "web"), ("/", "web")]);
    let host = planned("shop.example.com", &[("/shop", "web"), ("/", "web")]);
    type Act = Box<dyn FnOnce(&World) + Send>;
    let patch =
        |ingress: Value| -> Act { Box::new(move |world| world.patch(&format!("{INGRESSES}/web"), &ingress)) };
    let steps: Vec<(&str, Act)> = vec![
        ("an Ingress", Box::new(move |world| world.post(INGRESSES, &first))),
        ("a path", patch(path)),
        ("a host", patch(host)),
        (
            "a port",
            Box::new(|world| {
                world.patch(&format!("{SLICES}/web"), &json!({"ports": [{"port": 9090}]}));
            }),
        ),
        (
            "endpoints",
            Box::new(|world| {
                let body = json!({"endpoints": world.endpoints(&[("web-1", 0, 0)])});
                world.patch(&format!("{SLICES}/web"), &body);
            }),
        ),
    ];
    for (what, act) in steps {
        set_mode(&world, "Plan").await;
        with(&world, move |world| {
            world.moto.record();
            act(world);
        })
        .await;
        let plan = shown(&world).await;
        let made_early = with(&world, World::writes).await;
        assert_eq!(made_early, [""; 0], "{what}: a plan writes nothing");
        let mut made = change(&world, "shop.web", what, |world| {
            world.patch(
                &format!("{PARAMETERS}/planned"),
                &json!({"spec": {"mode": "Apply"}}),
            );
        })
        .await;
        made.sort();
        assert_eq!(made, plan, "{what}");
    }
    let read = with(&world, |world| names(&world.moto.calls())).await;
    assert!(!read.is_empty(), "calls are counted");
    running.stop().await;
}

/// An Ingress whose load balancer cannot be made, unless it names no subnet.
fn placed(name: &str, service: &str, subnets: &Value) -> Value {
    let mut ingress = ingress(name, &format!("{name}.example.com"), &[("/", service)]);
    ingress["metadata"]["annotations"] = json!({"alb.ingress.kubernetes.io/subnets": subnets});
    ingress
}

/// Whether nodes let anybody in on this port.
fn opened(world: &World, port: u16) -> bool {
    let rule = format!("DescribeSecurityGroupRules {port}");
    world.everything().contains(&rule)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_opened_for_a_load_balancer_that_cannot_be_made() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    with(&world, |world| {
        world.service_on("api", 9090, &[("web-1", 0, 0)]);
        world.moto.record();
        world.post(INGRESSES, &placed("web", "web", &"subnet-0".into()));
    })
    .await;
    until(&world, "it is told", |world| {
        let record = world.get(&format!("{RECORDS}/shop.web"))?;
        record.to_string().contains("SubnetsNotFound").then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    // Nor when others are made, before and after a restart.
    let before = |world: &World| world.post(INGRESSES, &ingress("a", "a.example.com", &[("/", "api")]));
    change(&world, "shop.a", "a neighbour", before).await;
    assert!(with(&world, |world| opened(world, 9090)).await);
    running.stop().await;
    let running = world.control(world.aws().await).await;
    let after = |world: &World| world.post(INGRESSES, &ingress("b", "b.example.com", &[("/", "api")]));
    change(&world, "shop.b", "another one", after).await;
    assert!(!with(&world, |world| opened(world, 8080)).await);

    let mend = |world: &World| {
        world.patch(&format!("{INGRESSES}/web"), &placed("web", "web", &Value::Null));
    };
    change(&world, "shop.web", "it is made", mend).await;
    assert!(with(&world, |world| opened(world, 8080)).await);
    running.stop().await;
}
