//! Ages of Ingresses in, who is told to be older out.

use super::groups::grouped;
use super::*;

fn ageless(world: World, name: &str, created: Value, spec: &Value) -> World {
    let (namespace, name) = name.split_once('/').unwrap();
    world.with(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "namespace": namespace, "name": name, "annotations": grouped(json!({})), "creationTimestamp": created,
        },
        "spec": spec,
    }))
}

#[test]
fn an_ingress_that_does_not_say_its_age_is_the_youngest() {
    let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))] });
    for (without, aged) in [("blog/a", "shop/a"), ("shop/a", "blog/a")] {
        let world = with_services(World::new(), &["blog/a", "shop/a"]);
        let world = world.aged(aged, 1, grouped(json!({})), spec.clone());
        let served = ageless(world, without, Value::Null, &spec).one(&ours());
        assert_eq!(served.get("a.com/"), aged, "{without}");
        assert_eq!(served.codes(), [Code::HostNotOwned], "{without}");
        let told = &served.problems[0].message;
        assert!(told.ends_with(&format!("{aged} is older")), "{told}");
    }
    // Where none says it.
    let world = with_services(World::new(), &["blog/a", "shop/a"]);
    let world = ageless(world, "shop/a", Value::Null, &spec);
    let served = ageless(world, "blog/a", Value::Null, &spec).one(&ours());
    assert_eq!(served.get("a.com/"), "blog/a");
    let told = &served.problems[0].message;
    assert!(
        told.ends_with("blog/a is as old, and comes first by name"),
        "{told}"
    );
}

#[test]
fn one_ingress_without_an_age_leaves_the_others_theirs() {
    let spec = |host: &str| json!({ "rules": [rule(host, json!([path("Prefix", "/", "a")]))] });
    let world = with_services(World::new(), &["blog/a", "shop/a", "mid/a"])
        .aged("shop/a", 1, grouped(json!({})), spec("a.com"))
        .aged("blog/a", 2, grouped(json!({})), spec("a.com"));
    let served = ageless(world, "mid/a", Value::Null, &spec("b.com")).one(&ours());
    assert_eq!(served.get("a.com/"), "shop/a");
    assert_eq!(served.get("b.com/"), "mid/a");
}

#[test]
fn an_ingress_of_an_unreadable_age_leaves_the_others_theirs() {
    let spec = |host: &str| json!({ "rules": [rule(host, json!([path("Prefix", "/", "a")]))] });
    let served = with_services(World::new(), &["blog/a", "shop/a", "mid/a"])
        .aged("shop/a", 1, grouped(json!({})), spec("a.com"))
        .aged("blog/a", 2, grouped(json!({})), spec("a.com"))
        .closed(&json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": { "namespace": "mid", "name": "a", "annotations": grouped(json!({})), "creationTimestamp": 5 },
            "spec": spec("b.com"),
        }))
        .one(&ours());
    assert_eq!(served.get("a.com/"), "shop/a");
    assert_eq!(served.get("b.com/"), "503");
}

#[test]
fn an_ingress_whose_namespace_is_none_owns_nothing_and_closes_what_it_guards() {
    for (namespace, admin) in [("Shop", "503"), ("sh_op", "shop/open")] {
        for created in [json!("2020-01-01T00:00:00Z"), Value::Null] {
            let metadata = json!({
                "namespace": namespace, "name": "guard", "annotations": grouped(json!({})), "creationTimestamp": created,
            });
            let paths = |text: &str, service: &str| json!({ "rules": [rule("a.com", json!([path("Prefix", text, service)]))] });
            let served = with_services(World::new(), &["shop/open"])
                .ingress("shop/open", grouped(json!({})), paths("/", "open"))
                .closed(&json!({
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "Ingress",
                    "metadata": metadata,
                    "spec": paths("/admin", "open"),
                }))
                .one(&ours());
            assert_eq!(served.get("a.com/"), "shop/open", "{namespace}");
            assert_eq!(served.get("a.com/admin"), admin, "{namespace}");
            assert!(
                served
                    .problems
                    .iter()
                    .all(|told| &*told.at.object.name == "guard"),
                "{:?}",
                served.problems
            );
        }
    }
}

#[test]
fn of_two_made_in_the_same_second_none_is_told_to_be_older() {
    let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))] });
    for (age, want) in [(2, "is older"), (1, "is as old, and comes first by name")] {
        let world = with_services(World::new(), &["blog/a", "shop/a"])
            .aged("blog/a", 1, grouped(json!({})), spec.clone())
            .aged(
                "shop/a",
                age,
                grouped(json!({ "scheme": "internet-facing" })),
                spec.clone(),
            );
        let served = world.one(&ours());
        let mut told = served.problems.iter().map(|problem| &problem.message);
        assert_eq!(served.codes().len(), 2, "{:?}", served.codes());
        assert!(
            told.all(|message| message.ends_with(&format!("blog/a {want}"))),
            "{:?}",
            served.problems
        );
    }
}
