//! One Ingress with several mistakes beside a good one in; what is served all the same, and what is told, out.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{change, grouped, remove_all, shown_error};
use crate::world::{INGRESSES, RECORDS, World, condition, until, with};

const INTERVAL: &str = "alb.ingress.kubernetes.io/healthcheck-interval-seconds";

/// A host that Kubernetes takes; AWS compares with 128 characters at most.
fn long_host() -> String {
    let label = "a".repeat(60);
    format!("{label}.{label}.{label}.example.com")
}

/// What is told of each mistake: code, the field it is at, and what is wrong there.
const MISTAKES: [(&str, &str, &str); 3] = [
    (
        "AnnotationInvalid",
        "metadata.annotations[alb.ingress.kubernetes.io/healthcheck-interval-seconds]",
        "\"soon\" is not valid",
    ),
    (
        "HostUnsupported",
        "spec.rules[1].http.paths[0]",
        "is longer than the 128 characters AWS compares with",
    ),
    (
        "ServiceNotFound",
        "spec.rules[0].http.paths[1].backend.service.name",
        "there is no Service shop/missing",
    ),
];

/// The advice that each code comes with.
const ADVICE: [&str; 3] = [
    "Correct the annotation;",
    "Use a host that the provider can match.",
    "Create the Service",
];

/// An Ingress of the group with a good path, and a path, an annotation and a host that are mistakes.
fn mistaken() -> Value {
    let annotation = json!({INTERVAL: "soon"});
    let paths = [("/good", "web"), ("/broken", "missing")];
    let mut ingress = grouped("bad", "bad.example.com", &paths, &annotation);
    let mut second = ingress["spec"]["rules"][0].clone();
    second["host"] = long_host().into();
    second["http"]["paths"].as_array_mut().unwrap().truncate(1);
    ingress["spec"]["rules"].as_array_mut().unwrap().push(second);
    ingress
}

/// The same without a mistake.
fn mended() -> Value {
    let annotation = json!({INTERVAL: "20"});
    let paths = [("/good", "web"), ("/broken", "web")];
    grouped("bad", "bad.example.com", &paths, &annotation)
}

/// What the rule for a host and path does, if there is one.
fn action(world: &World, host: &str, path: &str) -> Option<String> {
    let value = |text: &str| format!("<member>{text}</member>");
    let (_, rule) = world
        .moto
        .rules(|_| true)
        .find(|(_, rule)| rule.contains(&value(host)) && rule.contains(&value(path)))?;
    ["forward", "fixed-response"]
        .into_iter()
        .find(|kind| rule.contains(&format!("<Type>{kind}</Type>")))
        .map(str::to_owned)
}

/// The warnings about an Ingress, reason and note, in the order of their reasons.
fn warnings(world: &World, name: &str) -> Option<Vec<(String, String)>> {
    let list = world.get("/apis/events.k8s.io/v1/namespaces/shop/events")?;
    let events = list["items"].as_array()?.iter();
    let of = events.filter(|event| event["regarding"]["name"] == name && event["type"] == "Warning");
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let mut told: Vec<_> = of
        .map(|event| (text(event, "reason"), text(event, "note")))
        .collect();
    told.sort();
    Some(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_mistakes_each_is_told_and_all_else_is_served() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = world.control(world.aws().await).await;
    with(&world, |world| {
        world.post(INGRESSES, &mistaken());
        let good = grouped("good", "good.example.com", &[("/", "web")], &json!({}));
        world.post(INGRESSES, &good);
    })
    .await;
    until(&world, "both are served", |world| {
        let both = ["bad", "good"].map(|name| world.hostname(name).is_some());
        (both == [true, true] && world.settled("shared")).then_some(())
    })
    .await;

    // Events: code, field, what is wrong and what to do, of each mistake.
    let told = until(&world, "each mistake has an Event", |world| {
        warnings(world, "bad").filter(|told| told.len() >= MISTAKES.len())
    })
    .await;
    assert_eq!(told.len(), MISTAKES.len(), "{told:?}");
    for ((reason, note), ((code, field, wrong), advice)) in told.iter().zip(MISTAKES.iter().zip(ADVICE)) {
        assert_eq!(reason, code);
        for part in [&format!("ingress shop/bad {field}: "), *wrong, advice] {
            assert!(note.contains(part), "{part} is not in {note}");
        }
    }
    let of_neighbour = with(&world, |world| warnings(world, "good")).await;
    assert_eq!(of_neighbour, Some(vec![]));

    // The condition and the record.
    let record = with(&world, |world| world.get(&format!("{RECORDS}/shared")))
        .await
        .unwrap();
    assert_eq!(condition(&record, "Ready"), "True");
    assert_eq!(condition(&record, "Settled"), "True");
    assert_eq!(condition(&record, "ProblemsFound"), "True");
    let listed = record["status"]["problems"]["first"].as_array().unwrap();
    let mut listed: Vec<(&str, &str)> = listed
        .iter()
        .map(|problem| (problem["code"].as_str().unwrap(), problem["at"].as_str().unwrap()))
        .collect();
    listed.sort_unstable();
    let wanted = MISTAKES.map(|(code, field, _)| (code, format!("ingress shop/bad {field}")));
    assert_eq!(listed, wanted.each_ref().map(|(code, at)| (*code, at.as_str())));

    // The status of each Ingress.
    let (bad, good) = with(&world, |world| {
        (shown_error(world, "bad"), shown_error(world, "good"))
    })
    .await;
    let codes = MISTAKES.map(|(code, ..)| format!("portcullis.dev/{code}"));
    assert!(bad.as_ref().is_some_and(|error| codes.contains(error)), "{bad:?}");
    assert_eq!(good, None);

    // What AWS serves.
    let served = |host: &str, path: &str| {
        let (host, path) = (host.to_owned(), path.to_owned());
        with(&world, move |world| action(world, &host, &path))
    };
    assert_eq!(
        served("bad.example.com", "/good").await.as_deref(),
        Some("forward")
    );
    assert_eq!(
        served("bad.example.com", "/broken").await.as_deref(),
        Some("fixed-response")
    );
    assert_eq!(served("good.example.com", "/*").await.as_deref(), Some("forward"));
    let all: Vec<_> = with(&world, |world| world.moto.rules(|_| true).collect()).await;
    assert!(
        !all.iter().any(|(_, rule)| rule.contains(&long_host())),
        "{all:?}"
    );

    // While the mistakes stand, the neighbour is followed.
    change(&world, "shared", "a path of the neighbour", |world| {
        let good = grouped(
            "good",
            "good.example.com",
            &[("/", "web"), ("/more", "web")],
            &json!({}),
        );
        world.patch(&format!("{INGRESSES}/good"), &good);
    })
    .await;
    assert_eq!(
        served("good.example.com", "/more").await.as_deref(),
        Some("forward")
    );

    // Mended, nothing is told any more.
    change(&world, "shared", "no mistake is left", |world| {
        world.patch(&format!("{INGRESSES}/bad"), &mended());
    })
    .await;
    until(&world, "nothing is told", |world| {
        let record = world.get(&format!("{RECORDS}/shared"))?;
        let clean = condition(&record, "ProblemsFound") == "False";
        (clean && shown_error(world, "bad").is_none()).then_some(())
    })
    .await;
    assert_eq!(
        served("bad.example.com", "/broken").await.as_deref(),
        Some("forward")
    );

    remove_all(&world, &["bad", "good"]).await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_member_names_and_aws_lacks_closes_it_alone() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = world.control(world.aws().await).await;
    let closed = |world: &World| {
        (
            action(world, "bad.example.com", "/*").as_deref() == Some("fixed-response"),
            action(world, "good.example.com", "/*").as_deref() == Some("forward"),
        )
    };
    for (name, value, code) in [
        (
            "security-group-prefix-lists",
            "pl-0123456789abcdef0",
            "ResourceNotFound",
        ),
        ("security-groups", "sg-0123456789abcdef0", "OptionUnsupported"),
        ("security-groups", "office", "OptionUnsupported"),
    ] {
        with(&world, move |world| {
            let annotation = json!({format!("alb.ingress.kubernetes.io/{name}"): value});
            let bad = grouped("bad", "bad.example.com", &[("/", "web")], &annotation);
            world.post(INGRESSES, &bad);
            let good = grouped("good", "good.example.com", &[("/", "web")], &json!({}));
            world.post(INGRESSES, &good);
        })
        .await;
        until(&world, value, move |world| {
            let settled = world.settled("shared") && world.hostname("good").is_some();
            (settled && closed(world) == (true, true)).then_some(())
        })
        .await;
        let told = until(&world, "it is told", |world| {
            warnings(world, "bad").filter(|told| !told.is_empty())
        })
        .await;
        assert!(
            told.iter()
                .any(|(reason, note)| reason == code && note.contains(value)),
            "{told:?}"
        );
        assert_eq!(with(&world, |world| shown_error(world, "good")).await, None);
        remove_all(&world, &["bad", "good"]).await;
        assert_eq!(with(&world, World::everything).await, nothing, "{value}");
    }
    running.stop().await;
}
