//! Ingresses that go in all the ways they can; what is left of their load balancers out: nothing.

use std::sync::Arc;

use portcullis_model::Provider;
use serde_json::json;

use super::standing::told;
use super::{change, one_more, remove_all};
use crate::world::{CLASSES, INGRESSES, RECORDS, Running, World, ingress, until, with};

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

/// Deletes these Ingresses, until one record is left, which is another's.
async fn leave_but_one(world: &Arc<World>, names: [&'static str; 2]) {
    with(world, move |world| {
        for name in names {
            world.delete(&format!("{INGRESSES}/{name}"));
        }
    })
    .await;
    until(world, "their records are gone", |world| {
        let list = world.get(RECORDS)?;
        (list["items"].as_array()?.len() == 1).then_some(())
    })
    .await;
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
    told(&world, "shop.lone", "GroupNameInvalid").await;
    with(&world, |world| world.delete(&format!("{CLASSES}/alb"))).await;
    told(&world, "shop.other", "ClassNotFound").await;
    remove_all(&world, &["lone", "other"]).await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
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
    served_on(&world, &[("one", 9001), ("two", 9002)]).await;
    assert!(with(&world, opened).await.len() > alone.len());
    leave_but_one(&world, ["one", "two"]).await;
    assert_eq!(with(&world, opened).await, alone);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_standing_load_balancer_uses_is_not_taken_back() {
    let world = Arc::new(World::start().await);
    let running = made(&world, world.aws().await, &["stays"]).await;
    let before = with(&world, World::everything).await;
    with(&world, |world| world.moto.record()).await;
    let annotate = |annotations: serde_json::Value| {
        let patch = json!({"metadata": {"annotations": annotations}});
        with(&world, move |world| {
            world.patch(&format!("{INGRESSES}/stays"), &patch)
        })
    };
    let told = |code: &'static str| {
        until(&world, "it is told", move |world| {
            let record = world.get(&format!("{RECORDS}/shop.stays"))?;
            record.to_string().contains(code).then_some(())
        })
    };
    annotate(json!({"alb.ingress.kubernetes.io/security-groups": "nosuch"})).await;
    told("OptionUnsupported").await;
    assert_eq!(with(&world, World::everything).await, before);
    annotate(json!({
        "alb.ingress.kubernetes.io/security-groups": null,
        "alb.ingress.kubernetes.io/load-balancer-attributes": "deletion_protection.enabled=true",
    }))
    .await;
    until(&world, "it is protected", |world| {
        let calls = world.writes();
        let set = calls
            .iter()
            .any(|call| call.contains("ModifyLoadBalancerAttributes"));
        (set && world.settled("shop.stays")).then_some(())
    })
    .await;
    with(&world, |world| world.delete(&format!("{INGRESSES}/stays"))).await;
    told("DeletionProtected").await;
    assert_eq!(with(&world, World::everything).await, before);

    // Nor does it keep what others used, before a restart and after it.
    let without = with(&world, opened).await;
    let mut running = running;
    let pairs: [&[(&str, u16)]; 2] = [
        &[("one", 9001), ("two", 9002)],
        &[("three", 9003), ("four", 9004)],
    ];
    for pair in pairs {
        let (one, two) = (pair[0].0, pair[1].0);
        let gone = async |name: &'static str| {
            with(&world, move |world| world.delete(&format!("{INGRESSES}/{name}"))).await;
            until(&world, "its record is gone", move |world| {
                world
                    .get(&format!("{RECORDS}/shop.{name}"))
                    .is_none()
                    .then_some(())
            })
            .await;
        };
        served_on(&world, pair).await;
        gone(one).await;
        running.stop().await;
        running = world.control(world.aws().await).await;
        gone(two).await;
        until(&world, "what they used is taken back", {
            let without = without.clone();
            move |world| (opened(world) == without).then_some(())
        })
        .await;
        assert_eq!(with(&world, World::everything).await, before);
    }
    running.stop().await;
}

/// Makes load balancers of their own, each for a Service whose pods serve on this port.
pub(super) async fn served_on(world: &Arc<World>, ports: &'static [(&'static str, u16)]) {
    for (name, port) in ports {
        with(world, move |world| {
            world.service_on(name, *port, &[("web-1", 0, 0)]);
            let host = format!("{name}.example.com");
            world.post(INGRESSES, &ingress(name, &host, &[("/", name)]));
        })
        .await;
        until(world, "it is settled", move |world| {
            world.settled(&format!("shop.{name}")).then_some(())
        })
        .await;
    }
}

/// What all security groups let in.
fn opened(world: &World) -> Vec<String> {
    let mut all = world.everything();
    all.retain(|line| line.starts_with("DescribeSecurityGroupRules"));
    all
}

/// Deletes the record as `kubectl delete plb --cascade=foreground` does.
fn delete_in_the_foreground(world: &World, record: &str) {
    let options = json!({"propagationPolicy": "Foreground"});
    let answer = world
        .server
        .request("DELETE", &format!("{RECORDS}/{record}"), Some(&options));
    assert!(matches!(answer.status, 200 | 202), "{}", answer.text());
}

/// What still holds a record that is being deleted.
fn holders(world: &World, record: &str) -> Option<Vec<String>> {
    let record = world.get(&format!("{RECORDS}/{record}"))?;
    record["metadata"]["deletionTimestamp"].as_str()?;
    let holders = record["metadata"]["finalizers"].as_array()?;
    Some(
        holders
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_deleted_in_the_foreground_goes_after_what_it_records() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = made(&world, world.aws().await, &["web"]).await;
    let address = with(&world, |world| {
        delete_in_the_foreground(world, "shop.web");
        world.hostname("web")
    })
    .await;
    // In use it serves on, and follows what changes.
    let path = |world: &World| {
        let body = ingress("web", "web.example.com", &[("/", "web"), ("/shop", "web")]);
        world.patch(&format!("{INGRESSES}/web"), &body);
    };
    let writes = change(&world, "shop.web", "a path", path).await;
    assert!(writes.contains(&"elbv2:CreateRule".to_owned()), "{writes:?}");
    assert_eq!(with(&world, |world| world.hostname("web")).await, address);

    // Nobody collects garbage here: what is left is what the API server added.
    with(&world, |world| world.delete(&format!("{INGRESSES}/web"))).await;
    until(&world, "we hold it no more", |world| {
        (holders(world, "shop.web")? == ["foregroundDeletion"]).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::everything).await, nothing);

    // Until it is gone nothing can be recorded, so nothing is made.
    let before = running.passes("lost").await;
    with(&world, |world| {
        world.moto.record();
        world.post(INGRESSES, &ingress("web", "web.example.com", &[("/", "web")]));
    })
    .await;
    one_more(&running, "lost", before).await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    with(&world, |world| {
        let collected = json!({"metadata": {"finalizers": null}});
        world.patch(&format!("{RECORDS}/shop.web"), &collected);
    })
    .await;
    until(&world, "it is made anew", |world| {
        world.settled("shop.web").then_some(())
    })
    .await;
    remove_all(&world, &["web"]).await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}

/// How the record stands that nobody asks for any more.
async fn retained(world: &Arc<World>, record: &'static str) {
    until(world, "it is retained", move |world| {
        let record = world.get(&format!("{RECORDS}/{record}"))?;
        let conditions = record["status"]["conditions"].as_array()?.clone();
        let mut conditions = conditions.iter();
        conditions
            .any(|one| one["type"] == "Settled" && one["reason"] == "Retained")
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_retained_stays_with_all_that_it_uses() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let mut running = world.control(world.aws().await).await;
    change(&world, "shop.stays", "one that is to stay", |world| {
        let mut stays = ingress("stays", "stays.example.com", &[("/", "web")]);
        stays["metadata"]["annotations"] = json!({"portcullis.dev/deletion-policy": "Retain"});
        world.post(INGRESSES, &stays);
    })
    .await;
    let whole = with(&world, World::everything).await;
    with(&world, |world| {
        world.moto.record();
        world.delete(&format!("{INGRESSES}/stays"));
    })
    .await;
    retained(&world, "shop.stays").await;

    // Nothing of it goes with others that use the same, before a restart and after it.
    for (round, pair) in [["one", "two"], ["three", "four"]].into_iter().enumerate() {
        let ports: &[(&str, u16)] =
            &[[("one", 9001), ("two", 9002)], [("three", 9003), ("four", 9004)]][round];
        served_on(&world, ports).await;
        running.stop().await;
        running = world.control(world.aws().await).await;
        leave_but_one(&world, pair).await;
        until(&world, "what they used is taken back", {
            let whole = whole.clone();
            move |world| (world.everything() == whole).then_some(())
        })
        .await;
        retained(&world, "shop.stays").await;
    }

    // Whoever asks for it again has it as it stands; who then says nothing lets it go.
    with(&world, |world| world.moto.record()).await;
    with(&world, |world| {
        world.post(INGRESSES, &ingress("stays", "stays.example.com", &[("/", "web")]));
    })
    .await;
    until(&world, "it is taken up", |world| {
        world.settled("shop.stays").then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    with(&world, |world| {
        let policy = json!({"metadata": {"annotations": {"portcullis.dev/deletion-policy": "retain"}}});
        world.patch(&format!("{INGRESSES}/stays"), &policy);
    })
    .await;
    // What cannot be read deletes nothing.
    told(&world, "shop.stays", "AnnotationInvalid").await;
    with(&world, |world| world.delete(&format!("{INGRESSES}/stays"))).await;
    retained(&world, "shop.stays").await;
    assert_eq!(with(&world, World::everything).await, whole);

    with(&world, |world| {
        world.patch(
            &format!("{RECORDS}/shop.stays"),
            &json!({"spec": {"deletionPolicy": "Delete"}}),
        );
    })
    .await;
    until(&world, "its record is gone", |world| {
        world
            .get(&format!("{RECORDS}/shop.stays"))
            .is_none()
            .then_some(())
    })
    .await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}
