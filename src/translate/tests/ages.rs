//! Ages of Ingresses in, who is told to be older out.

use super::groups::grouped;
use super::*;

#[test]
fn an_ingress_that_does_not_say_its_age_is_as_old_as_its_neighbours() {
    let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))] });
    for (ageless, aged) in [("blog/a", "shop/a"), ("shop/a", "blog/a")] {
        let (namespace, name) = ageless.split_once('/').unwrap();
        let served = with_services(World::new(), &["blog/a", "shop/a"])
            .aged(aged, 1, grouped(json!({})), spec.clone())
            .with(json!({
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": { "namespace": namespace, "name": name, "annotations": grouped(json!({})) },
                "spec": spec,
            }))
            .one(&ours());
        assert_eq!(served.get("a.com/"), "blog/a", "{ageless}");
        assert_eq!(served.codes(), [Code::HostNotOwned], "{ageless}");
        let told = &served.problems[0].message;
        assert!(
            told.ends_with("blog/a is as old, and comes first by name"),
            "{told}"
        );
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
