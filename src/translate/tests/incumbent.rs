//! The incumbent's semantics in, the rules in its own layout out.

use super::*;

#[test]
fn rules_stand_by_member_then_as_written_with_exact_and_longer_prefixes_first() {
    let world = with_services(World::new(), &["shop/s", "blog/s"])
        .ingress(
            "shop/web",
            alb(&[("group.name", "g"), ("group.order", "10")]),
            json!({ "rules": [
                rule("b.com", json!([
                    path("ImplementationSpecific", "/i/*", "s"),
                    path("Prefix", "/a", "s"),
                    path("Prefix", "/", "s"),
                    path("Exact", "/z", "s"),
                    path("Prefix", "/long/er", "s"),
                    path("Exact", "/y", "s"),
                ])),
                rule("a.com", json!([path("Prefix", "/", "s")])),
            ] }),
        )
        .ingress(
            "blog/posts",
            alb(&[("group.name", "g")]),
            json!({ "rules": [rule("*.c.com", json!([path("Prefix", "/", "s")]))] }),
        );
    assert_eq!(
        world.one(&theirs()).rules(),
        [
            "80 glob:*.c.com prefix:/ → forward blog/posts-s:80",
            "80 b.com exact:/z → forward shop/web-s:80",
            "80 b.com exact:/y → forward shop/web-s:80",
            "80 b.com prefix:/long/er → forward shop/web-s:80",
            "80 b.com prefix:/a → forward shop/web-s:80",
            "80 b.com prefix:/ → forward shop/web-s:80",
            "80 b.com glob:/i/* → forward shop/web-s:80",
            "80 a.com prefix:/ → forward shop/web-s:80",
        ]
    );
}

#[test]
fn its_hosts_fall_through_and_its_wildcards_span_labels() {
    let served = with_services(World::new(), &["shop/exact", "shop/wildcard"])
        .ingress(
            "shop/web",
            json!({}),
            json!({ "rules": [
                rule("a.foo.com", json!([path("Prefix", "/e", "exact")])),
                rule("*.foo.com", json!([path("Prefix", "/", "wildcard")])),
            ] }),
        )
        .one(&theirs());
    for (url, want) in [
        ("a.foo.com/e", "shop/exact"),
        ("a.foo.com/x", "shop/wildcard"),
        ("c.b.foo.com/x", "shop/wildcard"),
        ("foo.com/x", "404"),
    ] {
        assert_eq!(served.get(url), want, "{url}");
    }
}

#[test]
fn one_member_redirects_for_the_whole_group() {
    let served = with_services(World::new(), &["shop/a", "shop/b"])
        .ingress(
            "shop/a",
            alb(&[
                ("group.name", "g"),
                ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
                ("ssl-redirect", "443"),
            ]),
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))] }),
        )
        .ingress(
            "shop/b",
            alb(&[("group.name", "g")]),
            json!({ "rules": [rule("b.com", json!([path("Prefix", "/", "b")]))] }),
        )
        .one(&theirs());
    assert_eq!(served.get("b.com/"), "→ 301");
    assert_eq!(served.get("none.com/"), "→ 301");
    assert_eq!(served.get_at(443, "a.com/"), "shop/a");
    assert_eq!(served.get_at(443, "b.com/"), "404");
    assert_eq!(served.rules(), ["443 a.com prefix:/ → forward shop/a-a:80"]);
}

#[test]
fn rules_that_never_answer_are_kept_and_told() {
    let served = World::new()
        .service("shop/s")
        .ingress(
            "shop/web",
            json!({}),
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s"), path("Prefix", "/", "s")]))] }),
        )
        .one(&theirs());
    assert_eq!(served.balancer.rules.len(), 2);
    served.told(Code::RuleShadowed, "ingress shop/web spec.rules[0].http.paths[1]");
}

#[test]
fn its_defaults_are_node_targets_and_plain_http() {
    let settings = Settings::new(ControllerName::new(ControllerName::INCUMBENT));
    let all = World::new()
        .service("shop/s")
        .ingress(
            "shop/web",
            json!({ "kubernetes.io/ingress.class": "alb" }),
            json!({ "defaultBackend": to("s"), "tls": [{ "hosts": ["a.com"] }] }),
        )
        .all(&settings);
    let balancer = all["shop/web"].balancer.clone().unwrap();
    let backend = balancer.backends.values().next().unwrap();
    assert_eq!(backend.target_kind, portcullis_model::TargetKind::Node);
    assert_eq!(backend.port.map(Port::get), Some(30080));
    assert_eq!(
        balancer
            .listeners
            .keys()
            .map(|port| port.get())
            .collect::<Vec<_>>(),
        [80]
    );
}

#[test]
fn an_action_that_redirects_to_https_is_left_out_where_https_is_spoken() {
    // The way to redirect before there was `ssl-redirect`: the action's path stands first.
    let action =
        r#"{"type":"redirect","redirectConfig":{"protocol":"HTTPS","port":"443","statusCode":"HTTP_301"}}"#;
    for (settings, kind, text) in [
        (theirs(), "ImplementationSpecific", "/*"),
        (ours(), "Prefix", "/"),
    ] {
        let served = World::new()
            .service("shop/s")
            .ingress(
                "shop/web",
                alb(&[
                    ("actions.ssl-redirect", action),
                    ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
                ]),
                json!({ "rules": [rule("a.com", json!([
                    { "path": text, "pathType": kind, "backend": to_action("ssl-redirect") },
                    path(kind, text, "s"),
                ]))] }),
            )
            .one(&settings);
        assert_eq!(served.get("a.com/x"), "→ 301", "{text}");
        assert_eq!(served.get_at(443, "a.com/x"), "shop/s", "{text}");
        assert_eq!(served.rules().len(), 2, "{text}: {:#?}", served.rules());
        assert_eq!(served.codes(), [], "{text}");
    }
}

#[test]
fn a_redirect_elsewhere_stays_everywhere() {
    for (config, ports) in [
        (r#"{"host":"b.com","statusCode":"HTTP_301"}"#, "80,443"),
        (r#"{"host":"a.com","statusCode":"HTTP_301"}"#, ""),
        (r#"{"path":"/new","statusCode":"HTTP_301"}"#, "80,443"),
        (r#"{"query":"x=1","statusCode":"HTTP_301"}"#, "80,443"),
        (
            r#"{"protocol":"HTTP","port":"80","statusCode":"HTTP_301"}"#,
            "443",
        ),
        (
            r#"{"protocol":"HTTPS","port":"8443","statusCode":"HTTP_301"}"#,
            "80,443",
        ),
        (r#"{"statusCode":"HTTP_302"}"#, ""),
    ] {
        let action = format!(r#"{{"type":"redirect","redirectConfig":{config}}}"#);
        let served = World::new()
            .ingress(
                "shop/web",
                alb(&[
                    ("actions.go", &action),
                    ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
                ]),
                json!({ "rules": [rule("a.com", json!([
                    { "path": "/", "pathType": "Prefix", "backend": to_action("go") },
                ]))] }),
            )
            .one(&theirs());
        let got: Vec<String> = served
            .rules()
            .iter()
            .map(|rule| rule.split(' ').next().unwrap().to_owned())
            .collect();
        let want: Vec<&str> = Some(ports)
            .filter(|ports| !ports.is_empty())
            .into_iter()
            .collect();
        assert_eq!(got, want, "{config}");
    }
}

#[test]
fn an_earlier_redirect_covers_what_its_patterns_hold_as_texts() {
    for (earlier, later, is_covered) in [
        (("Prefix", "/a"), ("Prefix", "/a"), true),
        (("Prefix", "/a"), ("Exact", "/a"), true),
        (("Prefix", "/a"), ("ImplementationSpecific", "/a"), true),
        (("Prefix", "/a"), ("ImplementationSpecific", "/a/*"), true),
        (("Prefix", "/a"), ("Prefix", "/a/b"), false),
        (("Prefix", "/a"), ("ImplementationSpecific", "/a/b"), false),
        (("ImplementationSpecific", "/x"), ("Exact", "/x"), true),
        (("ImplementationSpecific", "/x"), ("Prefix", "/x"), false),
        (("ImplementationSpecific", "/*"), ("Exact", "/x"), true),
        (("ImplementationSpecific", "*"), ("Exact", "/x"), false),
        (("Prefix", "/"), ("Exact", "/x"), true),
    ] {
        let path = |member: &str, (kind, text): (&str, &str)| {
            let backend = match member {
                "first" => to_action("go"),
                _ => json!({ "service": { "name": "s", "port": { "number": 80 } } }),
            };
            json!({ "path": text, "pathType": kind, "backend": backend })
        };
        let member = |world: World, name: &str, order: &str, said| {
            let go = r#"{"type":"redirect","redirectConfig":{"host":"b.com","statusCode":"HTTP_301"}}"#;
            world.ingress(
                &format!("shop/{name}"),
                alb(&[("group.name", "g"), ("group.order", order), ("actions.go", go)]),
                json!({ "rules": [rule("a.com", json!([path(name, said)]))] }),
            )
        };
        let world = World::new().service("shop/s");
        let world = member(member(world, "first", "1", earlier), "second", "2", later);
        let served = world.one(&theirs());
        let want = if is_covered { 1 } else { 2 };
        assert_eq!(
            served.rules().len(),
            want,
            "{earlier:?} {later:?}: {:#?}",
            served.rules()
        );
    }
}

#[test]
fn of_several_hosts_or_patterns_one_makes_a_redirect_lead_to_itself() {
    let hosts = r#"[{"field":"host-header","hostHeaderConfig":{"values":["b.com"]}}]"#;
    for (config, conditions, kind, text, theirs_keeps, ours_keeps) in [
        (r#""host":"b.com""#, hosts, "Exact", "/x", false, true),
        (r#""host":"c.com""#, hosts, "Exact", "/x", true, true),
        (r#""path":"/x""#, "[]", "Prefix", "/x", false, true),
        (r#""path":"/x""#, "[]", "Exact", "/x", false, false),
        (r#""path":"/y""#, "[]", "Prefix", "/x", true, true),
    ] {
        for (settings, keeps) in [(theirs(), theirs_keeps), (ours(), ours_keeps)] {
            let go =
                format!(r#"{{"type":"redirect","redirectConfig":{{{config},"statusCode":"HTTP_301"}}}}"#);
            let served = World::new()
                .ingress(
                    "shop/web",
                    alb(&[("actions.go", &go), ("conditions.go", conditions)]),
                    json!({ "rules": [rule("a.com", json!([
                        { "path": text, "pathType": kind, "backend": to_action("go") },
                    ]))] }),
                )
                .one(&settings);
            let redirects = served.rules().iter().any(|rule| rule.contains("redirect"));
            assert_eq!(redirects, keeps, "{config} {kind} {text}: {:#?}", served.rules());
        }
    }
}
