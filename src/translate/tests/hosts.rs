//! Hosts of the Kubernetes Ingress documentation in, which requests their rules take out.

use super::*;

#[test]
fn a_wildcard_takes_exactly_one_label() {
    // Kubernetes docs, Ingress, "Hostname wildcards".
    for (host, request, want) in [
        ("*.foo.com", "bar.foo.com", true),
        ("*.foo.com", "baz.bar.foo.com", false),
        ("*.foo.com", "foo.com", false),
        ("foo.com", "foo.com", true),
        ("foo.com", "bar.foo.com", false),
        ("", "anything.example", true),
    ] {
        let served = World::new()
            .service("shop/s")
            .ingress(
                "shop/web",
                json!({}),
                json!({ "rules": [rule(host, json!([path("Prefix", "/", "s")]))] }),
            )
            .one(&ours());
        let want = if want { "shop/s" } else { "404" };
        assert_eq!(served.get(&format!("{request}/x")), want, "{host:?} on {request}");
    }
}

#[test]
fn a_condition_of_a_host_that_is_none_closes_no_other_host() {
    let fixed = r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":"403"}}"#;
    for settings in [ours(), theirs()] {
        for (host, closed) in [("a_b.com", None), ("B.com:443", Some("b.com")), ("b.com", None)] {
            let hosts = json!([{ "field": "host-header", "hostHeaderConfig": { "values": [host] } }]);
            let served = with_services(World::new(), &["shop/two"])
                .aged(
                    "shop/one",
                    1,
                    json!({
                        "alb.ingress.kubernetes.io/group.name": "g",
                        "alb.ingress.kubernetes.io/actions.act": fixed,
                        "alb.ingress.kubernetes.io/conditions.act": hosts.to_string(),
                    }),
                    json!({ "rules": [rule("", json!([
                        { "path": "/", "pathType": "Prefix", "backend": to_action("act") },
                    ]))] }),
                )
                .aged(
                    "shop/two",
                    2,
                    json!({ "alb.ingress.kubernetes.io/group.name": "g" }),
                    json!({ "rules": [rule("h.com", json!([path("Prefix", "/", "two")]))] }),
                )
                .one(&settings);
            assert_eq!(served.get("h.com/"), "shop/two", "{host}: {:?}", served.rules());
            if let Some(closed) = closed {
                assert_eq!(
                    served.get(&format!("{closed}/")),
                    "503",
                    "{host}: {:?}",
                    served.rules()
                );
            }
            assert_eq!(
                served.problems.is_empty(),
                host == "b.com",
                "{:?}",
                served.problems
            );
        }
    }
}

fn three_hosts() -> World {
    with_services(World::new(), &["shop/exact", "shop/wildcard", "shop/any"]).ingress(
        "shop/web",
        json!({}),
        json!({ "rules": [
            rule("", json!([path("Prefix", "/", "any")])),
            rule("*.foo.com", json!([path("Prefix", "/w", "wildcard")])),
            rule("a.foo.com", json!([path("Prefix", "/e", "exact")])),
        ] }),
    )
}

#[test]
fn the_most_specific_host_decides_alone() {
    let served = three_hosts().one(&ours());
    for (url, want) in [
        ("a.foo.com/e", "shop/exact"),
        ("a.foo.com/w", "404"),
        ("a.foo.com/x", "404"),
        ("b.foo.com/w", "shop/wildcard"),
        ("b.foo.com/e", "404"),
        ("c.b.foo.com/w", "shop/any"),
        ("bar.com/e", "shop/any"),
    ] {
        assert_eq!(served.get(url), want, "{url}: {:#?}", served.rules());
    }
}

#[test]
fn a_host_gets_a_catch_all_only_where_a_request_could_fall_through() {
    let lone = World::new().service("shop/s").ingress(
        "shop/web",
        json!({}),
        json!({ "rules": [rule("a.foo.com", json!([path("Prefix", "/e", "s")]))] }),
    );
    assert_eq!(
        lone.one(&ours()).rules(),
        ["80 a.foo.com prefix:/e → forward shop/web-s:80"]
    );
    assert_eq!(
        three_hosts().one(&ours()).rules(),
        [
            "80 a.foo.com prefix:/e → forward shop/web-exact:80",
            "80 a.foo.com * → answer 404",
            "80 *.foo.com prefix:/w → forward shop/web-wildcard:80",
            "80 *.foo.com * → answer 404",
            "80 * prefix:/ → forward shop/web-any:80",
        ]
    );
}

#[test]
fn a_host_whose_rules_cannot_be_read_falls_through_to_nobody() {
    let served = World::new()
        .service("shop/any")
        .service("shop/s")
        .ingress(
            "shop/web",
            json!({}),
            json!({ "rules": [
                rule("", json!([path("Prefix", "/", "any")])),
                rule("foo.com", json!([path("Exact", "/a//b", "s")])),
            ] }),
        )
        .one(&ours());
    assert_eq!(served.get("foo.com/a"), "404");
    assert_eq!(served.get("bar.com/a"), "shop/any");
}

#[test]
fn a_host_that_is_no_name_is_left_out_or_closed_and_told() {
    // What answers 503 meanwhile.
    for (host, closed) in [
        ("Bar.com", Some("bar.com")),
        ("bar.com:80", Some("bar.com")),
        ("https://bar.com/", Some("bar.com")),
        ("bar.com.", Some("bar.com")),
        ("*.BAR.com", Some("x.bar.com")),
        // Where a right one stands, that answers.
        ("Foo.com", None),
        ("a.*.com", None),
        ("*", None),
        ("1.2.3.4", None),
        ("a_b.com", None),
    ] {
        let served = with_services(World::new(), &["shop/bad", "shop/good", "shop/any"])
            .ingress(
                "shop/web",
                json!({}),
                json!({ "rules": [
                    rule(host, json!([path("Prefix", "/", "bad")])),
                    rule("foo.com", json!([path("Prefix", "/", "good")])),
                    rule("", json!([path("Prefix", "/", "any")])),
                ] }),
            )
            .one(&ours());
        served.told(Code::HostInvalid, "ingress shop/web spec.rules[0].host");
        let message = &served
            .problems
            .iter()
            .find(|told| told.code == Code::HostInvalid)
            .unwrap()
            .message;
        assert_eq!(
            message.ends_with("answers 503"),
            closed.is_some() || host == "Foo.com",
            "{host}: {message}"
        );
        assert_eq!(served.get("foo.com/"), "shop/good", "{host}");
        assert_eq!(served.get("other.com/"), "shop/any", "{host}");
        if let Some(closed) = closed {
            assert_eq!(served.get(&format!("{closed}/x")), "503", "{host}");
        }
    }
}

#[test]
fn a_rule_without_paths_leaves_its_host_to_the_default_backend() {
    let served = with_services(World::new(), &["shop/any", "shop/default"])
        .ingress(
            "shop/web",
            json!({}),
            json!({
                "defaultBackend": to("default"),
                "rules": [{ "host": "foo.com" }, rule("", json!([path("Prefix", "/", "any")]))],
            }),
        )
        .one(&ours());
    assert_eq!(served.get("foo.com/x"), "shop/default");
    assert_eq!(served.get("bar.com/x"), "shop/any");

    let empty = World::new()
        .ingress("shop/web", json!({}), json!({ "rules": [{}] }))
        .one(&ours());
    empty.told(Code::RuleEmpty, "ingress shop/web spec.rules[0]");
}

#[test]
fn hosts_of_several_ingresses_share_one_order() {
    let group = json!({ "portcullis.dev/group.name": "g" });
    let served = with_services(World::new(), &["shop/a", "shop/b"])
        .aged(
            "shop/old",
            1,
            group.clone(),
            json!({ "rules": [rule("foo.com", json!([path("Prefix", "/", "a"), path("Prefix", "/x", "a")]))] }),
        )
        .aged(
            "shop/new",
            2,
            group,
            json!({ "rules": [rule("foo.com", json!([path("Prefix", "/x/y", "b"), path("Prefix", "/x", "b")]))] }),
        )
        .one(&ours());
    for (url, want) in [
        ("foo.com/", "shop/a"),
        ("foo.com/x", "shop/a"),
        ("foo.com/x/y", "shop/b"),
    ] {
        assert_eq!(served.get(url), want, "{url}");
    }
    served.told(Code::RuleShadowed, "ingress shop/new spec.rules[0].http.paths[1]");
}
