//! Default backends in, what answers where no rule does out.

use super::*;

#[test]
fn the_default_backend_answers_where_no_rule_does() {
    for (spec, url, want) in [
        (json!({ "defaultBackend": to("d") }), "any.com/x", "shop/d"),
        (
            json!({ "defaultBackend": to("d"), "rules": [] }),
            "any.com/x",
            "shop/d",
        ),
        (
            json!({ "defaultBackend": to("d"), "rules": [rule("foo.com", json!([path("Prefix", "/a", "s")]))] }),
            "foo.com/a",
            "shop/s",
        ),
        (
            json!({ "defaultBackend": to("d"), "rules": [rule("foo.com", json!([path("Prefix", "/a", "s")]))] }),
            "foo.com/b",
            "shop/d",
        ),
        (
            json!({ "rules": [rule("foo.com", json!([path("Prefix", "/a", "s")]))] }),
            "foo.com/b",
            "404",
        ),
        (
            json!({ "rules": [rule("foo.com", json!([path("Prefix", "/a", "s")]))] }),
            "bar.com/a",
            "404",
        ),
        (json!({ "defaultBackend": to("missing") }), "any.com/x", "503"),
        (json!({ "rules": [] }), "any.com/x", "404"),
    ] {
        let served = with_services(World::new(), &["shop/d", "shop/s"])
            .ingress("shop/web", json!({}), spec.clone())
            .one(&ours());
        assert_eq!(served.get(url), want, "{spec} on {url}");
    }
}

#[test]
fn of_two_default_backends_the_first_in_order_serves() {
    for settings in [ours(), theirs()] {
        let served = with_services(World::new(), &["shop/a", "shop/b"])
            .ingress(
                "shop/late",
                json!({ "alb.ingress.kubernetes.io/group.name": "g", "alb.ingress.kubernetes.io/group.order": "2" }),
                json!({ "defaultBackend": to("a") }),
            )
            .ingress(
                "shop/soon",
                json!({ "alb.ingress.kubernetes.io/group.name": "g", "alb.ingress.kubernetes.io/group.order": "1" }),
                json!({ "defaultBackend": to("b") }),
            )
            .one(&settings);
        assert_eq!(served.get("any.com/"), "shop/b");
        served.told(
            Code::DefaultBackendConflict,
            "ingress shop/late spec.defaultBackend",
        );
    }
}

#[test]
fn a_resource_backend_is_refused_at_its_own_path() {
    let resource =
        json!({ "resource": { "apiGroup": "k8s.example.com", "kind": "StorageBucket", "name": "b" } });
    let served = World::new()
        .service("shop/s")
        .ingress(
            "shop/web",
            json!({}),
            json!({ "rules": [rule("foo.com", json!([
                { "path": "/icons", "pathType": "Prefix", "backend": resource },
                path("Prefix", "/", "s"),
            ]))] }),
        )
        .one(&ours());
    assert_eq!(served.get("foo.com/icons/a"), "503");
    assert_eq!(served.get("foo.com/icon"), "shop/s");
    served.told(
        Code::ResourceBackendUnsupported,
        "ingress shop/web spec.rules[0].http.paths[0].backend.resource",
    );
}
