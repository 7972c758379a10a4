//! What others change, forge or delete by mistake in; what the controller repairs and what it leaves alone out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(clippy::unwrap_used, reason = "a panic is a test's report")]
#![expect(dead_code, reason = "the world has more to it than these need")]

#[path = "guards/drift.rs"]
mod drift;
#[path = "guards/rights.rs"]
mod rights;
#[path = "controller/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use portcullis::controller::{Ended, Leadership};
use serde_json::{Value, json};

use self::world::{CLASSES, INGRESSES, RECORDS, World, condition, ingress, until, until_async, with};

async fn served(world: &Arc<World>, name: &'static str) {
    with(world, move |world| {
        let host = format!("{name}.example.com");
        world.post(INGRESSES, &ingress(name, &host, &[("/", "web")]));
    })
    .await;
    until(world, name, move |world| {
        world.settled(&format!("shop.{name}")).then_some(())
    })
    .await;
}

fn record(world: &World, name: &str) -> Option<Value> {
    world.get(&format!("{RECORDS}/{name}"))
}

/// Reason of the condition `Settled`.
fn reason(world: &World, name: &str) -> Option<String> {
    let record = record(world, name)?;
    let conditions = record["status"]["conditions"].as_array()?;
    let settled = conditions
        .iter()
        .find(|condition| condition["type"] == "Settled")?;
    settled["reason"].as_str().map(str::to_owned)
}

fn annotate(world: &World, name: &str, annotation: &str, value: &Value) {
    world.patch(
        &format!("{RECORDS}/{name}"),
        &json!({"metadata": {"annotations": {annotation: value}}}),
    );
}

/// The provider's name of a resource of this kind, as the record has it.
fn resource(world: &World, name: &str, kind: &str) -> String {
    let record = record(world, name).unwrap();
    let resources = record["status"]["resources"]["first"].as_array().unwrap();
    let found = resources
        .iter()
        .find(|resource| resource["kind"] == kind)
        .unwrap();
    found["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_record_deletes_nothing() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    served(&world, "web").await;
    let before = with(&world, World::everything).await;
    with(&world, |world| {
        let real = record(world, "shop.web").unwrap();
        world.moto.record();
        world.post(
            RECORDS,
            &json!({
                "apiVersion": "portcullis.dev/v1alpha1", "kind": "LoadBalancer",
                "metadata": {"name": "shop.ghost", "finalizers": ["portcullis.dev/load-balancer"]},
                "spec": {"id": "shop/ghost", "provider": "aws", "clusterName": "demo", "region": "us-east-1"},
            }),
        );
        // It may be gone by now.
        let status = json!({"status": real["status"]});
        world
            .server
            .request("PATCH", &format!("{RECORDS}/shop.ghost/status"), Some(&status));
    })
    .await;
    until(&world, "the record is gone", |world| {
        record(world, "shop.ghost").is_none().then_some(())
    })
    .await;
    assert_eq!(
        with(&world, World::writes).await,
        [""; 0],
        "what exists is told by tags alone"
    );
    assert_eq!(with(&world, World::everything).await, before);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_deletes_a_record_in_use_is_told_what_does() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    served(&world, "web").await;
    with(&world, |world| world.delete(&format!("{RECORDS}/shop.web"))).await;
    until(&world, "it is told", |world| {
        let events = world.get("/apis/events.k8s.io/v1/events")?.to_string();
        (events.contains("\"Kept\"") && events.contains("goes on serving")).then_some(())
    })
    .await;
    with(&world, |world| {
        assert!(record(world, "shop.web").is_some() && world.settled("shop.web"));
        world.delete(&format!("{INGRESSES}/web"));
    })
    .await;
    until(&world, "without its Ingress it goes", |world| {
        record(world, "shop.web").is_none().then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_somebody_wrote_over_is_restored() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    served(&world, "web").await;
    let ingress = format!("{INGRESSES}/web");
    let record = format!("{RECORDS}/shop.web");
    let shown = |world: &World, at: &str| world.get(at).map(|object| object["status"].to_string());
    let at = ingress.clone();
    let before = with(&world, move |world| shown(world, &at)).await;
    let forged = json!({"status": {"loadBalancer": {"ingress": [{"hostname": "elsewhere.example"}]}}});
    let forgeries = [
        (ingress.clone(), forged.clone()),
        (
            record.clone(),
            json!({"status": {"address": "elsewhere.example"}}),
        ),
    ];
    for (at, forgery) in forgeries {
        let written = at.clone();
        with(&world, move |world| {
            world.patch(&format!("{written}/status"), &forgery)
        })
        .await;
        let (ingress, record, before) = (ingress.clone(), record.clone(), before.clone());
        until(&world, &at, move |world| {
            let forged = |at: &str| shown(world, at).is_none_or(|text| text.contains("elsewhere"));
            (!forged(&record) && shown(world, &ingress) == before).then_some(())
        })
        .await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_changes_back_and_shows_them() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    served(&world, "web").await;
    with(&world, |world| {
        world.moto.record();
        annotate(world, "shop.web", "portcullis.dev/paused", &"true".into());
        let paths = [("/", "web"), ("/api", "web")];
        world.patch(
            &format!("{INGRESSES}/web"),
            &ingress("web", "web.example.com", &paths),
        );
    })
    .await;
    let paused = until(&world, "the change is pending", |world| {
        let record = record(world, "shop.web")?;
        (reason(world, "shop.web")? == "Paused" && record["status"]["pending"]["total"] != 0)
            .then_some(record)
    })
    .await;
    assert_eq!(condition(&paused, "Ready"), "True");
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    with(&world, |world| {
        annotate(world, "shop.web", "portcullis.dev/paused", &Value::Null)
    })
    .await;
    until(&world, "the change is made", |world| {
        (world.settled("shop.web") && !world.writes().is_empty()).then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_landslide_of_deletions_waits_for_a_person() {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    for name in NAMES {
        served(&world, name).await;
    }
    running.stop().await;
    with(&world, |world| {
        world.moto.record();
        NAMES
            .iter()
            .for_each(|name| world.delete(&format!("{INGRESSES}/{name}")));
    })
    .await;

    let running = world.control(world.aws().await).await;
    let held = |world: &World, name: &str| {
        reason(world, &format!("shop.{name}")).as_deref() == Some("ManyDeletions")
    };
    until(&world, "all are held", move |world| {
        NAMES.iter().all(|name| held(world, name)).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    let confirm = |world: &World, name: &str| {
        annotate(
            world,
            &format!("shop.{name}"),
            "portcullis.dev/confirm-deletion",
            &"true".into(),
        );
    };
    with(&world, move |world| confirm(world, "a")).await;
    until(&world, "the one that was confirmed is gone", |world| {
        record(world, "shop.a").is_none().then_some(())
    })
    .await;
    running.stop().await;
    // Those left are few enough now; but nobody has confirmed them.
    let running = world.control(world.aws().await).await;
    let seen = running.passes("held").await;
    until(&world, "the others are still held", move |world| {
        NAMES[1..].iter().all(|name| held(world, name)).then_some(())
    })
    .await;
    until_async("they were looked at", async || {
        (running.passes("held").await >= seen.max(5)).then_some(())
    })
    .await;
    with(&world, move |world| {
        NAMES[1..].iter().for_each(|name| confirm(world, name))
    })
    .await;
    until(&world, "all are gone", |world| {
        let list = world.get(RECORDS)?;
        list["items"].as_array()?.is_empty().then_some(())
    })
    .await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingress_that_leaves_shows_no_address() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = world.control(world.aws().await).await;
    served(&world, "web").await;
    with(&world, |world| {
        assert!(world.hostname("web").is_some());
        world.patch(
            &format!("{INGRESSES}/web"),
            &json!({"spec": {"ingressClassName": "others"}}),
        );
        world.post(
            CLASSES,
            &json!({"metadata": {"name": "others"}, "spec": {"controller": "example.com/others"}}),
        );
    })
    .await;
    until(&world, "its load balancer is gone", |world| {
        record(world, "shop.web").is_none().then_some(())
    })
    .await;
    let shown = with(&world, |world| {
        world.get(&format!("{INGRESSES}/web")).unwrap()["status"].clone()
    })
    .await;
    assert_eq!(
        shown["loadBalancer"],
        json!({}),
        "the other controller finds a clean status"
    );
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_by_takes_over_and_has_nothing_to_write() {
    let world = Arc::new(World::start().await);
    let mut leader = world.control(world.aws().await).await;
    served(&world, "web").await;
    let standby = world.control(world.aws().await).await;
    until_async("it is ready", async || {
        (standby.ask("/readyz").await.0 == 200).then_some(())
    })
    .await;
    with(&world, |world| world.moto.record()).await;
    // Without a word: its lease has to run out.
    leader.task.shutdown().await;
    until_async("it has looked", async || {
        (standby.passes("resting").await > 0).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    with(&world, |world| world.delete(&format!("{INGRESSES}/web"))).await;
    until(&world, "and it acts", |world| {
        record(world, "shop.web").is_none().then_some(())
    })
    .await;
    standby.stop().await;
}

/// The documented rights, as they are applied; those of Secrets apart.
fn grant(world: &World, secrets: bool) {
    for document in include_str!("../docs/rights.yaml").split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).unwrap();
        if object.to_string().contains("secrets") != secrets {
            continue;
        }
        let api = match object["apiVersion"].as_str().unwrap() {
            "v1" => "/api/v1".to_owned(),
            group => format!("/apis/{group}"),
        };
        let scope = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => format!("/namespaces/{namespace}"),
            None => String::new(),
        };
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        world.post(&format!("{api}{scope}/{kind}s"), &object);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_all_it_needs() {
    let rights = include_str!("../docs/rights.yaml");
    assert!(!rights.contains('*'), "least rights: {rights}");
    let world = Arc::new(World::start().await);
    with(&world, |world| {
        grant(world, false);
    })
    .await;
    let client = world
        .client_as(Some("system:serviceaccount:portcullis:portcullis"))
        .await;
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-system");
    for (lease, may) in [("aws-load-balancer-controller-leader", true), ("another", false)] {
        assert_eq!(leases.get_opt(lease).await.is_ok(), may, "{lease}");
    }
    let leadership = Leadership::Lease {
        client: client.clone(),
        namespace: "portcullis".into(),
        name: "portcullis".into(),
    };
    let hour = Duration::from_secs(3600);
    let running = world
        .control_with(client, world.aws().await, leadership, hour)
        .await;
    served(&world, "web").await;
    until(&world, "it is told", |world| {
        let events = world.get("/apis/events.k8s.io/v1/namespaces/shop/events")?;
        events.to_string().contains("\"Served\"").then_some(())
    })
    .await;

    // What needs a Secret is told, and its neighbour serves on.
    with(&world, |world| {
        world.post(SECRETS, &idp("one"));
        world.post(INGRESSES, &signing_in("login"));
    })
    .await;
    until(&world, "what may not be read is told", |world| {
        let record = record(world, "shop.login")?;
        (world.settled("shop.login") && record.to_string().contains("\"AccessDenied\"")).then_some(())
    })
    .await;
    assert_eq!(running.ask("/readyz").await.0, 200);
    with(&world, |world| {
        assert!(world.settled("shop.web"));
        world.moto.record();
        grant(world, true);
    })
    .await;
    until(&world, "with the rights it is served", |world| {
        let bodies: Vec<String> = world.moto.calls().into_iter().map(|call| call.body).collect();
        let sent = bodies
            .iter()
            .any(|body| body.contains("authenticate-oidc") && body.contains("s3cret-one"));
        (sent && world.settled("shop.login")).then_some(())
    })
    .await;

    with(&world, |world| {
        ["web", "login"]
            .iter()
            .for_each(|name| world.delete(&format!("{INGRESSES}/{name}")));
    })
    .await;
    until(&world, "all is gone", |world| {
        let list = world.get(RECORDS)?;
        list["items"].as_array()?.is_empty().then_some(())
    })
    .await;
    running.stop().await;
}

const SECRETS: &str = "/api/v1/namespaces/shop/secrets";

/// The credentials of an identity provider's client.
fn idp(value: &str) -> Value {
    let data = json!({"clientID": "client-id-value", "clientSecret": format!("s3cret-{value}")});
    json!({"metadata": {"name": "idp"}, "stringData": data})
}

/// An Ingress whose users sign in; HTTPS with a certificate that the account holds.
fn signing_in(name: &str) -> Value {
    let oidc = json!({
        "issuer": "https://login.example.com", "authorizationEndpoint": "https://login.example.com/a",
        "tokenEndpoint": "https://login.example.com/t", "userInfoEndpoint": "https://login.example.com/u",
        "secretName": "idp",
    });
    let mut ingress = ingress(name, "www.example.com", &[("/", "web")]);
    ingress["metadata"]["annotations"] = json!({
        "alb.ingress.kubernetes.io/auth-type": "oidc",
        "alb.ingress.kubernetes.io/auth-idp-oidc": oidc.to_string(),
        "alb.ingress.kubernetes.io/listen-ports": r#"[{"HTTPS": 443}]"#,
    });
    ingress
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_read_when_it_moves_sent_once_and_shown_nowhere() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    with(&world, |world| {
        world.moto.record();
        world.post(SECRETS, &idp("one"));
        world.post(
            SECRETS,
            &json!({"metadata": {"name": "other"}, "stringData": {"clientSecret": "s3cret-other"}}),
        );
        world.post(INGRESSES, &signing_in("login"));
    })
    .await;
    until(&world, "it is served", |world| {
        (world.settled("shop.login") && !world.writes().is_empty()).then_some(())
    })
    .await;
    let sent = |world: &World, value: &str| {
        world
            .moto
            .calls()
            .iter()
            .filter(|call| call.body.contains(value))
            .count()
    };
    with(&world, move |world| assert_eq!(sent(world, "s3cret-one"), 1)).await;

    let move_to = |world: &World, value: &str| {
        world.moto.record();
        world.patch(&format!("{SECRETS}/idp"), &idp(value));
    };
    with(&world, move |world| move_to(world, "two")).await;
    until(&world, "the new secret is sent", move |world| {
        (world.writes() == ["elbv2:ModifyRule"]
            && sent(world, "s3cret-two") == 1
            && world.settled("shop.login"))
        .then_some(())
    })
    .await;

    // A Secret that is touched and holds what it held: read, and nothing is sent.
    let rested = running.passes("resting").await;
    with(&world, |world| {
        world.moto.record();
        world.patch(
            &format!("{SECRETS}/idp"),
            &json!({"metadata": {"labels": {"touched": "yes"}}}),
        );
    })
    .await;
    until_async("it was looked at", async || {
        (running.passes("resting").await > rested).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    let metrics = running.ask("/metrics").await.1;
    running.stop().await;

    // A secret that moves while nobody runs; what did not move is not sent again.
    with(&world, move |world| move_to(world, "three")).await;
    let running = world.control(world.aws().await).await;
    until(&world, "it is sent at the next start", move |world| {
        (world.writes() == ["elbv2:ModifyRule"]
            && sent(world, "s3cret-three") == 1
            && world.settled("shop.login"))
        .then_some(())
    })
    .await;
    running.stop().await;
    with(&world, |world| world.moto.record()).await;
    let running = world.control(world.aws().await).await;
    until_async("it rests after a restart", async || {
        (running.passes("resting").await > 0).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    // Without its Secret nobody passes.
    with(&world, |world| {
        world.moto.record();
        world.delete(&format!("{SECRETS}/idp"));
    })
    .await;
    until(&world, "the path is closed", move |world| {
        let record = record(world, "shop.login")?;
        let closed = world
            .moto
            .calls()
            .iter()
            .any(|call| call.body.contains("fixed-response"));
        (closed && world.settled("shop.login") && record.to_string().contains("SecretNotFound")).then_some(())
    })
    .await;
    let shown = with(&world, |world| {
        let events = world
            .get("/apis/events.k8s.io/v1/namespaces/shop/events")
            .unwrap();
        let ingress = world.get(&format!("{INGRESSES}/login")).unwrap();
        format!(
            "{events}{}{}",
            record(world, "shop.login").unwrap(),
            ingress["status"]
        )
    })
    .await;
    for hidden in ["s3cret", "client-id-value"] {
        assert!(!shown.contains(hidden) && !metrics.contains(hidden), "{shown}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_lease_ends_at_once() {
    let world = Arc::new(World::start().await);
    let mut running = world.control(world.aws().await).await;
    served(&world, "web").await;
    with(&world, |world| {
        let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/portcullis";
        world.patch(lease, &json!({"spec": {"holderIdentity": "usurper"}}));
    })
    .await;
    let ended = running.task.join_next().await.unwrap().unwrap();
    assert!(matches!(ended, Err(Ended::Lost(_))), "{ended:?}");
}
