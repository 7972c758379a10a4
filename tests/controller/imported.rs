//! TLS Secrets in; what is imported of them into ACM, renewed and deleted there, out.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};

use crate::world::{INGRESSES, RECORDS, World, condition, ingress, until, until_async, with};

const SECRETS: &str = "/api/v1/namespaces/shop/secrets";

/// A certificate from this day of 2020 on, and its key.
fn tls(key: &KeyPair, day: u8) -> Value {
    let mut params = CertificateParams::new(vec!["www.example.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, day);
    params.not_after = rcgen::date_time_ymd(2120, 1, day);
    let certificate = params.self_signed(key).unwrap().pem();
    json!({"tls.crt": certificate, "tls.key": key.serialize_pem()})
}

fn renew(world: &World, material: &Value) {
    world.moto.record();
    world.patch(&format!("{SECRETS}/web-tls"), &json!({"stringData": material}));
}

/// ARN, kind of key and first second of each certificate that was imported.
fn imported(world: &World) -> Vec<(String, String, String)> {
    let keys = r#"{"Includes": {"keyTypes": ["EC_prime256v1", "EC_secp384r1"]}}"#;
    let answer = world.moto.json("acm", "ListCertificates", keys).json();
    let all = answer["CertificateSummaryList"].as_array().unwrap();
    let imported = all.iter().filter(|summary| summary["Type"] == "IMPORTED");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    imported
        .map(|summary| {
            (
                text(&summary["CertificateArn"]),
                text(&summary["KeyAlgorithm"]),
                summary["NotBefore"].to_string(),
            )
        })
        .collect()
}

fn tags(world: &World, arn: &str) -> Vec<(String, String)> {
    let body = json!({ "CertificateArn": arn }).to_string();
    let answer = world.moto.json("acm", "ListTagsForCertificate", &body).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = answer["Tags"].as_array().unwrap().iter();
    let mut tags: Vec<_> = all.map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect();
    tags.sort();
    tags
}

/// Whether the listeners of a load balancer serve with it.
fn serves_with(world: &World, arn: &str) -> bool {
    let body = json!({ "CertificateArn": arn }).to_string();
    let answer = world.moto.json("acm", "DescribeCertificate", &body).json();
    answer["Certificate"]["InUseBy"]
        .as_array()
        .is_some_and(|all| !all.is_empty())
}

fn secured(name: &str, host: &str) -> Value {
    let mut ingress = ingress(name, host, &[("/", "web")]);
    ingress["spec"]["tls"] = json!([{"hosts": [host], "secretName": "web-tls"}]);
    ingress
}

/// Which writes it took.
async fn settled(world: &Arc<World>, what: &'static str, writes: &'static [&'static str]) {
    until(world, what, move |world| {
        (world.writes() == writes && world.settled("shop.web")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_s_certificate_is_imported_renewed_replaced_and_deleted() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    let key = Arc::new(KeyPair::generate().unwrap());
    let first = tls(&key, 1);
    with(&world, move |world| {
        let secret =
            json!({"metadata": {"name": "web-tls"}, "type": "kubernetes.io/tls", "stringData": first});
        world.post(SECRETS, &secret);
        world.moto.record();
        world.post(INGRESSES, &secured("web", "www.example.com"));
    })
    .await;
    until(&world, "it is served", |world| {
        (world.settled("shop.web") && !world.writes().is_empty()).then_some(())
    })
    .await;
    let arn = with(&world, |world| {
        let all = imported(world);
        assert_eq!(all.len(), 1, "{all:?}");
        let (arn, algorithm, _) = all[0].clone();
        assert_eq!(algorithm, "EC_prime256v1");
        assert!(serves_with(world, &arn));
        let writes = world.writes();
        let place = |call: &str| writes.iter().position(|own| own == call).unwrap();
        assert!(
            place("acm:ImportCertificate") < place("elbv2:CreateListener"),
            "{writes:?}"
        );
        let secret = world.get(&format!("{SECRETS}/web-tls")).unwrap();
        let uid = secret["metadata"]["uid"].as_str().unwrap();
        let want = [
            ("elbv2.k8s.aws/cluster", "demo"),
            ("ingress.k8s.aws/resource", "shop/web-tls"),
            ("ingress.k8s.aws/stack", "shop/web"),
            ("portcullis.dev/secret-uid", uid),
        ];
        assert_eq!(
            tags(world, &arn),
            want.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        arn
    })
    .await;

    // Renewed: one call, and nothing of the load balancer changes.
    let renewed = tls(&key, 2);
    with(&world, move |world| renew(world, &renewed)).await;
    settled(&world, "it is renewed", &["acm:ImportCertificate"]).await;
    let before = arn.clone();
    with(&world, move |world| {
        let all = imported(world);
        assert_eq!((all.len(), &all[0].0), (1, &before), "{all:?}");
        assert_eq!(all[0].2, "1577923200");
        assert_eq!(tags(world, &before).len(), 4);
    })
    .await;

    // Touched, and as it was: nothing.
    let rested = running.passes("resting").await;
    with(&world, |world| {
        world.moto.record();
        let touched = json!({"metadata": {"labels": {"touched": "yes"}}});
        world.patch(&format!("{SECRETS}/web-tls"), &touched);
    })
    .await;
    until_async("it was looked at", async || {
        (running.passes("resting").await > rested).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    // Renewed while nobody runs.
    running.stop().await;
    let renewed = tls(&key, 3);
    with(&world, move |world| renew(world, &renewed)).await;
    let running = world.control(world.aws().await).await;
    settled(
        &world,
        "it is renewed at the next start",
        &["acm:ImportCertificate"],
    )
    .await;

    // ACM takes no other kind of key in its place, and does not let go of what another load balancer serves with.
    let named = arn.clone();
    with(&world, move |world| {
        world.moto.record();
        let mut beside = ingress("beside", "beside.example.com", &[("/", "web")]);
        beside["metadata"]["annotations"] = json!({"alb.ingress.kubernetes.io/certificate-arn": named});
        world.post(INGRESSES, &beside);
    })
    .await;
    until(&world, "it serves beside", |world| {
        world.settled("shop.beside").then_some(())
    })
    .await;
    let other_key = Arc::new(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    let replaced = tls(&other_key, 4);
    with(&world, move |world| renew(world, &replaced)).await;
    let before = arn.clone();
    until(&world, "it is replaced", move |world| {
        let all = imported(world);
        let new = all.iter().find(|(_, algorithm, _)| algorithm == "EC_secp384r1")?;
        // The next look may be under way already, and takes it out of the record for as long.
        let record = world.get(&format!("{RECORDS}/shop.web"))?;
        let waits = record["status"]["fingerprint"] == "waiting" && condition(&record, "Settled") == "True";
        (serves_with(world, &new.0) && waits && all.len() == 2).then_some(())
    })
    .await;
    with(&world, move |world| {
        assert!(serves_with(world, &before));
        world.delete(&format!("{INGRESSES}/beside"));
    })
    .await;
    let before = arn.clone();
    until(&world, "the old one is deleted", move |world| {
        let all = imported(world);
        let rests = world.get(&format!("{RECORDS}/shop.web"))?["status"]["fingerprint"] != "waiting";
        (all.len() == 1 && all[0].0 != before && rests).then_some(())
    })
    .await;

    // What breaks is told, and serves on.
    with(&world, |world| renew(world, &json!({"tls.key": "none"}))).await;
    until(&world, "it is told", |world| {
        let record = world.get(&format!("{RECORDS}/shop.web"))?;
        record.to_string().contains("SecretInvalid").then_some(())
    })
    .await;
    let shown = with(&world, |world| {
        assert_eq!(world.writes(), [""; 0]);
        assert_eq!(imported(world).len(), 1);
        let events = world
            .get("/apis/events.k8s.io/v1/namespaces/shop/events")
            .unwrap();
        let record = world.get(&format!("{RECORDS}/shop.web")).unwrap();
        format!("{events}{record}")
    })
    .await;
    assert!(shown.contains("spec.tls[0].secretName"), "{shown}");
    let metrics = running.ask("/metrics").await.1;
    for key in [&key, &other_key] {
        let line = key.serialize_pem().lines().nth(1).unwrap().to_owned();
        assert!(!shown.contains(&line) && !metrics.contains(&line));
    }

    with(&world, |world| world.delete(&format!("{INGRESSES}/web"))).await;
    until(&world, "all is gone", |world| {
        let list = world.get(RECORDS)?;
        list["items"].as_array()?.is_empty().then_some(())
    })
    .await;
    assert_eq!(with(&world, imported).await, []);
    running.stop().await;
}
