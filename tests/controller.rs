//! Objects of a real cluster in; what a real AWS API is asked for, and what the cluster is told, out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(clippy::unwrap_used, reason = "a panic is a test's report")]

#[path = "controller/cost.rs"]
mod cost;
#[path = "controller/imported.rs"]
mod imported;
#[path = "controller/landslide.rs"]
mod landslide;
#[path = "controller/leaving.rs"]
mod leaving;
#[path = "controller/listing.rs"]
mod listing;
#[path = "controller/mistakes.rs"]
mod mistakes;
#[path = "controller/planned.rs"]
mod planned;
#[path = "controller/scoped.rs"]
mod scoped;
#[path = "controller/standing.rs"]
mod standing;
#[path = "controller/world.rs"]
mod world;

use std::sync::Arc;

use serde_json::{Value, json};

use self::world::{
    CLASSES, INGRESSES, PARAMETERS, RECORDS, Running, SLICES, World, condition, ingress, names, until,
    until_async, with,
};

type Act = Box<dyn FnOnce(&World) + Send>;

/// What the record says was last applied.
fn fingerprint(world: &World, record: &str) -> Option<String> {
    let record = world.get(&format!("{RECORDS}/{record}"))?;
    record["status"]["fingerprint"].as_str().map(str::to_owned)
}

/// Acts, then waits until something else than before was applied in full. Answers the writes it took.
async fn change(
    world: &Arc<World>,
    record: &'static str,
    what: &str,
    act: impl FnOnce(&World) + Send + 'static,
) -> Vec<String> {
    let before = with(world, move |world| {
        let before = fingerprint(world, record);
        world.moto.record();
        act(world);
        before
    })
    .await;
    until(world, what, move |world| {
        let now = fingerprint(world, record)?;
        (world.settled(record) && Some(now) != before).then_some(())
    })
    .await;
    with(world, World::writes).await
}

/// Deletes Ingresses and waits until no record is left. Answers the writes it took.
async fn remove_all(world: &Arc<World>, ingresses: &'static [&'static str]) -> Vec<String> {
    with(world, |world| {
        world.moto.record();
        ingresses
            .iter()
            .for_each(|name| world.delete(&format!("{INGRESSES}/{name}")));
    })
    .await;
    until(world, "every record is gone", |world| {
        let list = world.get(RECORDS)?;
        list["items"].as_array()?.is_empty().then_some(())
    })
    .await;
    with(world, World::writes).await
}

/// Waits until one more pass has ended like this.
async fn one_more(running: &Running, outcome: &str, before: u64) {
    until_async(outcome, async || {
        (running.passes(outcome).await > before).then_some(())
    })
    .await;
}

async fn calls(world: &Arc<World>) -> Vec<String> {
    with(world, |world| names(&world.moto.calls())).await
}

fn patch_web(paths: &[(&str, &str)]) -> Act {
    let body = ingress("web", "web.example.com", paths);
    Box::new(move |world| world.patch(&format!("{INGRESSES}/web"), &body))
}

fn patch_slice(body: impl FnOnce(&World) -> Value + Send + 'static) -> Act {
    Box::new(move |world| {
        let body = body(world);
        world.patch(&format!("{SLICES}/web"), &body);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_costs_its_own_calls_and_no_others() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = world.control(world.aws().await).await;

    let made = change(&world, "shop.web", "the first load balancer", |world| {
        world.post(INGRESSES, &ingress("web", "web.example.com", &[("/", "web")]));
    })
    .await;
    let simplest = [
        "ec2:CreateSecurityGroup",
        "elbv2:CreateTargetGroup",
        "ec2:AuthorizeSecurityGroupIngress",
        "elbv2:RegisterTargets",
        "elbv2:CreateLoadBalancer",
        "elbv2:CreateListener",
        "elbv2:CreateRule",
    ];
    // What spans load balancers comes first: the group of all of them, and what nodes let in from it.
    let first = [
        &["ec2:CreateSecurityGroup", "ec2:AuthorizeSecurityGroupIngress"][..],
        &simplest,
    ]
    .concat();
    assert_eq!(made, first);
    let hostname = with(&world, |world| world.hostname("web")).await;
    assert!(
        hostname.is_some_and(|name| name.ends_with(".elb.amazonaws.com")),
        "the Ingress shows the address"
    );

    // With the account's facts already read.
    let made = change(&world, "shop.api", "the second load balancer", |world| {
        world.post(INGRESSES, &ingress("api", "api.example.com", &[("/", "web")]));
    })
    .await;
    assert_eq!(made, simplest);
    let all = calls(&world).await;
    assert!(
        all.len() <= 10,
        "the simplest Ingress takes at most 10 calls in all: {all:?}"
    );
    with(&world, |world| world.delete(&format!("{INGRESSES}/api"))).await;
    until(&world, "it is gone again", |world| {
        world.get(&format!("{RECORDS}/shop.api")).is_none().then_some(())
    })
    .await;

    let steps: Vec<(&str, Act, &[&str])> = vec![
        (
            "another path",
            patch_web(&[("/shop", "web")]),
            &["elbv2:ModifyRule"],
        ),
        (
            "one more path",
            patch_web(&[("/shop", "web"), ("/", "web")]),
            &["elbv2:CreateRule"],
        ),
        (
            "one path less",
            patch_web(&[("/shop", "web")]),
            &["elbv2:DeleteRule"],
        ),
        (
            "another host",
            Box::new(|world| {
                let moved = ingress("web", "shop.example.com", &[("/shop", "web")]);
                world.patch(&format!("{INGRESSES}/web"), &moved);
            }),
            &["elbv2:ModifyRule"],
        ),
        (
            "a pod less",
            patch_slice(|world| json!({"endpoints": world.endpoints(&[("web-1", 0, 0)])})),
            &["elbv2:DeregisterTargets"],
        ),
        (
            "a pod more",
            patch_slice(|world| {
                world.pod("web-3", 1, 1);
                json!({"endpoints": world.endpoints(&[("web-1", 0, 0), ("web-3", 1, 1)])})
            }),
            &["elbv2:RegisterTargets"],
        ),
        (
            "another port: opened before targets move to it, closed after",
            patch_slice(|_| json!({"ports": [{"port": 9090}]})),
            &[
                "ec2:AuthorizeSecurityGroupIngress",
                "elbv2:RegisterTargets",
                "elbv2:DeregisterTargets",
                "ec2:RevokeSecurityGroupIngress",
            ],
        ),
    ];
    for (name, act, want) in steps {
        assert_eq!(change(&world, "shop.web", name, act).await, want, "{name}");
    }

    // An event that changes nothing: the annotation says what holds without it.
    let rested = running.passes("resting").await;
    with(&world, |world| {
        world.moto.record();
        let same = json!({"metadata": {"annotations": {"alb.ingress.kubernetes.io/scheme": "internal"}}});
        world.patch(&format!("{INGRESSES}/web"), &same);
    })
    .await;
    one_more(&running, "resting", rested).await;
    assert_eq!(
        calls(&world).await,
        [""; 0],
        "an event that changes nothing costs no call"
    );
    running.stop().await;

    // A restart with nothing changed reads the account's facts and its listing, and nothing of any load balancer.
    with(&world, |world| world.moto.record()).await;
    let running = world.control(world.aws().await).await;
    one_more(&running, "resting", 0).await;
    let read = calls(&world).await;
    let mut kinds: Vec<&str> = read.iter().map(String::as_str).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "acm:ListCertificates",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "elbv2:DescribeAccountLimits",
            "elbv2:DescribeLoadBalancers",
            "elbv2:DescribeTags",
            "elbv2:DescribeTargetGroups",
        ]
    );
    assert!(read.len() <= 10, "a restart costs a handful of calls: {read:?}");

    let made = remove_all(&world, &["web"]).await;
    assert_eq!(
        made,
        [
            "elbv2:DeleteLoadBalancer",
            "elbv2:DeleteTargetGroup",
            "ec2:DeleteSecurityGroup",
            // What spans load balancers goes with the last of them.
            "ec2:RevokeSecurityGroupIngress",
            "ec2:DeleteSecurityGroup",
        ]
    );
    assert_eq!(
        with(&world, World::everything).await,
        nothing,
        "nothing is left over"
    );
    running.stop().await;
}

/// An Ingress of the group `shared`.
fn grouped(name: &str, host: &str, paths: &[(&str, &str)], annotations: &Value) -> Value {
    let mut ingress = ingress(name, host, paths);
    let mut all = json!({"alb.ingress.kubernetes.io/group.name": "shared"});
    for (key, value) in annotations.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    ingress["metadata"]["annotations"] = all;
    ingress
}

/// The code that an Ingress shows at its ports.
fn shown_error(world: &World, name: &str) -> Option<String> {
    let ingress = world.get(&format!("{INGRESSES}/{name}"))?;
    let error = &ingress["status"]["loadBalancer"]["ingress"][0]["ports"][0]["error"];
    error.as_str().map(str::to_owned)
}

/// Reasons of the Events about an object.
fn events(world: &World, name: &str) -> Vec<String> {
    let list = world
        .get("/apis/events.k8s.io/v1/namespaces/shop/events")
        .unwrap();
    let events = list["items"].as_array().unwrap().iter();
    let mut reasons: Vec<String> = events
        .filter(|event| event["regarding"]["name"] == name)
        .map(|event| event["reason"].as_str().unwrap().to_owned())
        .collect();
    reasons.sort();
    reasons
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_where_they_are_and_disturb_nobody() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;

    change(&world, "shared", "two good neighbours", |world| {
        world.post(
            INGRESSES,
            &grouped("good", "good.example.com", &[("/", "web")], &json!({})),
        );
        world.post(
            INGRESSES,
            &grouped("bad", "bad.example.com", &[("/", "web")], &json!({})),
        );
    })
    .await;
    change(
        &world,
        "shared",
        "one names a Service that is not there",
        |world| {
            let broken = grouped(
                "bad",
                "bad.example.com",
                &[("/", "web"), ("/x", "missing")],
                &json!({}),
            );
            world.patch(&format!("{INGRESSES}/bad"), &broken);
        },
    )
    .await;
    until(&world, "the broken one says so", |world| {
        (shown_error(world, "bad").as_deref() == Some("portcullis.dev/ServiceNotFound")).then_some(())
    })
    .await;
    let (good, told, record) = with(&world, |world| {
        let record = world.get(&format!("{RECORDS}/shared")).unwrap();
        (shown_error(world, "good"), events(world, "bad"), record)
    })
    .await;
    assert_eq!(good, None, "its neighbour shows no error");
    assert_eq!(told, ["Served", "ServiceNotFound"]);
    assert_eq!(condition(&record, "ProblemsFound"), "True");
    assert_eq!(condition(&record, "Ready"), "True");
    let problem = &record["status"]["problems"]["first"][0];
    assert_eq!(problem["code"], "ServiceNotFound", "{problem}");
    assert!(
        problem["at"]
            .as_str()
            .unwrap()
            .starts_with("ingress shop/bad spec.rules[0].http.paths[1]"),
        "{problem}"
    );

    // A class that goes away by mistake deletes nothing.
    with(&world, |world| {
        world.moto.record();
        world.delete(&format!("{CLASSES}/alb"));
    })
    .await;
    until(&world, "the record says why", |world| {
        let record = world.get(&format!("{RECORDS}/shared"))?;
        let problems = record["status"]["problems"].to_string();
        problems.contains("ClassNotFound").then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    let shown = with(&world, |world| world.hostname("good")).await;
    assert!(shown.is_some(), "it still serves, so it still shows the address");
    with(&world, |world| {
        world.post(
            CLASSES,
            &json!({"metadata": {"name": "alb"}, "spec": {"controller": "portcullis.dev/ingress"}}),
        );
    })
    .await;
    until(&world, "it is settled again", |world| {
        world.settled("shared").then_some(())
    })
    .await;
    assert_eq!(
        with(&world, World::writes).await,
        [""; 0],
        "and nothing had to be made again"
    );

    remove_all(&world, &["good", "bad"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_only_plans_changes_nothing() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = world.control(world.aws().await).await;
    let mode = |mode: &str| json!({"metadata": {"name": "planned"}, "spec": {"mode": mode}});

    let plan = mode("Plan");
    with(&world, move |world| {
        let mut kind = plan;
        kind["apiVersion"] = "portcullis.dev/v1alpha1".into();
        kind["kind"] = "IngressClassParameters".into();
        world.post(PARAMETERS, &kind);
        let parameters =
            json!({"apiGroup": "portcullis.dev", "kind": "IngressClassParameters", "name": "planned"});
        let class = json!({
            "metadata": {"name": "planned"},
            "spec": {"controller": "portcullis.dev/ingress", "parameters": parameters},
        });
        world.post(CLASSES, &class);
        world.moto.record();
        let mut ingress = ingress("web", "web.example.com", &[("/", "web")]);
        ingress["spec"]["ingressClassName"] = "planned".into();
        world.post(INGRESSES, &ingress);
    })
    .await;
    let planned = |pending: u64| {
        move |world: &World| {
            let record = world.get(&format!("{RECORDS}/shop.web"))?;
            let reason = record.to_string().contains("PlanOnly");
            (reason && record["status"]["pending"]["total"] == pending).then_some(record)
        }
    };
    let record = until(&world, "the plan is shown", planned(9)).await;
    assert!(
        record["metadata"]["finalizers"].is_null(),
        "nothing exists that would have to be removed"
    );
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    let apply = mode("Apply");
    let made = change(&world, "shop.web", "the plan is made", move |world| {
        world.patch(&format!("{PARAMETERS}/planned"), &apply);
    })
    .await;
    assert_eq!(made.len(), 9, "what was shown is what is made: {made:?}");

    // Back to planning: what is asked for is shown, even that it go, and what exists stays.
    let plan = mode("Plan");
    with(&world, move |world| {
        world.moto.record();
        world.patch(&format!("{PARAMETERS}/planned"), &plan);
    })
    .await;
    until(&world, "nothing is pending", planned(0)).await;
    with(&world, |world| world.delete(&format!("{INGRESSES}/web"))).await;
    until(&world, "the deletions are pending", planned(3)).await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    // An operator lets it go.
    with(&world, |world| {
        world.patch(
            &format!("{RECORDS}/shop.web"),
            &json!({"spec": {"mode": "Apply"}}),
        );
    })
    .await;
    until(&world, "it is gone", |world| {
        world.get(&format!("{RECORDS}/shop.web")).is_none().then_some(())
    })
    .await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}
