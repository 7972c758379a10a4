//! All Ingresses of a folder in, the one load balancer of a process that serves them out.

use super::*;

fn serving() -> Settings {
    Settings::for_serving(ControllerName::default())
}

#[test]
fn all_ingresses_are_served_and_each_keeps_its_own_settings() {
    let both = r#"[{"HTTP":8080},{"HTTPS":8443}]"#;
    let redirect =
        r#"{"type":"redirect","redirectConfig":{"statusCode":"HTTP_302","protocol":"HTTPS","port":"8443"}}"#;
    for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
        let served = with_services(World::new(), &["shop/a", "shop/b", "blog/c"])
            .ingress(
                "shop/a",
                alb(&[("listen-ports", both), ("ssl-redirect", "8443")]),
                json!({ "rules": [rule("a.com", json!([path("Prefix", "/a", "a")]))] }),
            )
            .ingress(
                "shop/b",
                alb(&[
                    ("group.name", "g"),
                    ("listen-ports", r#"[{"HTTP":80}]"#),
                    ("actions.go", redirect),
                ]),
                json!({ "rules": [rule("b.com", json!([
                    path("Prefix", "/", "b"),
                    { "path": "/go", "pathType": "Prefix", "backend": to_action("go") },
                ]))] }),
            )
            .ingress(
                "blog/c",
                alb(&[("inbound-cidrs", "10.0.0.0/8"), ("scheme", "internet-facing")]),
                json!({ "rules": [rule("c.com", json!([path("Prefix", "/", "c")]))] }),
            )
            .one(&Settings::for_serving(ControllerName::new(controller)));
        for (port, url, want) in [
            (80, "a.com/a", "→ 301"),
            (443, "a.com/a", "shop/a"),
            (80, "b.com/", "shop/b"),
            (443, "b.com/", "404"),
            (80, "c.com/", "403"),
            (80, "none.com/", "404"),
            (8080, "a.com/", "nobody"),
        ] {
            assert_eq!(served.get_at(port, url), want, "{controller}: {url} at {port}");
        }
        let mut request = Request::get(Port::HTTP, "c.com", "/");
        request.source = "10.1.1.1".parse().unwrap();
        assert_eq!(served.ask(&request), "blog/c", "{controller}");
        // Redirects lead to the port that HTTPS is served at.
        for url in ["a.com/a", "b.com/go"] {
            let (host, rest) = url.split_once('/').unwrap();
            let request = Request::get(Port::HTTP, host, &format!("/{rest}"));
            let Some(Action::Redirect(redirect)) = resolve(&served.balancer, &request).action() else {
                panic!("{url} is not redirected")
            };
            assert_eq!(
                redirect.location(&request, false).unwrap(),
                format!("https://{url}"),
                "{controller}"
            );
        }
        // Neither port of the first has a listener of its own.
        assert_eq!(
            served.codes(),
            [Code::AnnotationUnsupported, Code::AnnotationUnsupported],
            "{controller}"
        );
    }
}

#[test]
fn a_host_is_left_to_the_default_backend_of_its_own_load_balancer() {
    for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
        let served = with_services(World::new(), &["shop/a", "shop/d", "blog/e", "blog/w", "blog/any"])
            .ingress(
                "shop/first",
                json!({}),
                json!({ "defaultBackend": to("d"), "rules": [rule("a.com", json!([path("Prefix", "/a", "a")]))] }),
            )
            .ingress(
                "shop/second",
                json!({}),
                json!({ "rules": [rule("b.com", json!([path("Prefix", "/a", "a")]))] }),
            )
            .ingress(
                "blog/third",
                json!({}),
                json!({ "defaultBackend": to("e"), "rules": [{ "host": "c.com" }] }),
            )
            .ingress(
                "blog/all",
                json!({}),
                json!({ "rules": [rule("", json!([path("Prefix", "/x", "any")]))] }),
            )
            .ingress(
                "blog/wildcard",
                json!({}),
                json!({ "rules": [rule("*.com", json!([path("Prefix", "/w", "w")]))] }),
            )
            .one(&Settings::for_serving(ControllerName::new(controller)));
        for (url, want) in [
            ("a.com/a", "shop/a"),
            ("a.com/x", "shop/d"),
            ("a.com/w", "shop/d"),
            ("b.com/a", "shop/a"),
            ("b.com/x", "404"),
            ("b.com/w", "404"),
            ("c.com/x", "blog/e"),
            ("d.com/w", "blog/w"),
            ("d.com/x", "404"),
            ("d.org/x", "blog/any"),
        ] {
            assert_eq!(
                served.get(url),
                want,
                "{controller}: {url}: {:#?}",
                served.rules()
            );
        }
    }
}

#[test]
fn within_its_own_load_balancer_the_incumbent_s_hosts_fall_through() {
    let served = with_services(World::new(), &["shop/a", "shop/w", "blog/b"])
        .ingress(
            "shop/web",
            json!({}),
            json!({ "rules": [
                rule("a.com", json!([path("Prefix", "/a", "a")])),
                rule("*.com", json!([path("Prefix", "/", "w")])),
            ] }),
        )
        .ingress(
            "blog/b",
            json!({}),
            json!({ "rules": [rule("b.com", json!([path("Prefix", "/b", "b")]))] }),
        )
        .one(&Settings::for_serving(ControllerName::new(
            ControllerName::INCUMBENT,
        )));
    for (url, want) in [
        ("a.com/a", "shop/a"),
        ("a.com/x", "shop/w"),
        ("b.com/b", "blog/b"),
        ("b.com/x", "404"),
        ("x.com/x", "shop/w"),
    ] {
        assert_eq!(served.get(url), want, "{url}: {:#?}", served.rules());
    }
}

#[test]
fn namespaces_that_share_no_group_need_no_grant() {
    let served = with_services(World::new(), &["shop/a", "blog/b"])
        .aged(
            "shop/a",
            1,
            json!({}),
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))] }),
        )
        .aged(
            "blog/b",
            2,
            json!({}),
            json!({ "rules": [rule("", json!([path("Prefix", "/", "b")]))] }),
        )
        .one(&serving());
    assert_eq!(served.get("any.com/"), "blog/b");
    assert_eq!(served.codes(), []);
}

#[test]
fn a_host_redirects_whole_where_its_load_balancer_would() {
    let secure = alb(&[
        ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
        ("ssl-redirect", "443"),
    ]);
    let served = with_services(World::new(), &["shop/a", "blog/b"])
        .ingress(
            "shop/a",
            secure,
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/a", "a")]))] }),
        )
        .ingress(
            "blog/b",
            json!({}),
            json!({ "rules": [rule("b.com", json!([path("Prefix", "/", "b")]))] }),
        )
        .one(&serving());
    for (port, url, want) in [
        (80, "a.com/a", "→ 301"),
        (80, "a.com/other", "→ 301"),
        (443, "a.com/other", "404"),
        (80, "b.com/", "blog/b"),
        (80, "none.com/", "404"),
    ] {
        assert_eq!(served.get_at(port, url), want, "{url} at {port}");
    }
}

#[test]
fn ten_thousand_rules_are_translated() {
    let paths: Vec<Value> = (0..5_000)
        .map(|i| path("Prefix", &format!("/p{i}"), "a"))
        .collect();
    let rules: Vec<Value> = (0..5_000)
        .map(|i| rule(&format!("*.h{i}.com"), json!([path("Exact", "/x", "a")])))
        .collect();
    let world = with_services(World::new(), &["shop/a", "shop/b"])
        .ingress(
            "shop/many",
            json!({}),
            json!({ "rules": [rule("a.com", json!(paths))] }),
        )
        .ingress("shop/wide", json!({}), json!({ "rules": rules }))
        .ingress(
            "shop/other",
            json!({}),
            json!({ "rules": [rule("b.com", json!([path("Prefix", "/", "b")]))] }),
        );
    for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
        let served = world.one(&Settings::for_serving(ControllerName::new(controller)));
        for (url, want) in [
            ("a.com/p4999/x", "shop/a"),
            ("x.h4999.com/x", "shop/a"),
            ("b.com/", "shop/b"),
        ] {
            assert_eq!(served.get(url), want, "{controller}: {url}");
        }
    }
}

#[test]
fn who_gives_no_ranges_takes_those_of_its_group() {
    let to_one = |host: &str, path_text: &str, service: &str| json!({ "rules": [rule(host, json!([path("Prefix", path_text, service)]))] });
    for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
        let served = with_services(World::new(), &["shop/a", "shop/b", "shop/c", "shop/d", "blog/e"])
            .ingress(
                "shop/a",
                alb(&[("group.name", "g"), ("inbound-cidrs", "10.0.0.0/8")]),
                to_one("g.com", "/a", "a"),
            )
            .ingress("shop/b", alb(&[("group.name", "g")]), to_one("g.com", "/b", "b"))
            // Gives its own, and is of no group.
            .ingress(
                "shop/c",
                alb(&[("group.name", "g"), ("inbound-cidrs", "0.0.0.0/0")]),
                to_one("g.com", "/c", "c"),
            )
            .ingress("shop/d", json!({}), to_one("d.com", "/", "d"))
            .ingress("blog/e", alb(&[("group.name", "h")]), to_one("e.com", "/", "e"))
            .one(&Settings::for_serving(ControllerName::new(controller)));
        for (host, path, source, want) in [
            ("g.com", "/a", "192.0.2.1", "403"),
            ("g.com", "/b", "192.0.2.1", "403"),
            ("g.com", "/b", "10.1.1.1", "shop/b"),
            ("g.com", "/c", "192.0.2.1", "shop/c"),
            ("d.com", "/", "192.0.2.1", "shop/d"),
            ("e.com", "/", "192.0.2.1", "blog/e"),
        ] {
            let mut request = Request::get(Port::HTTP, host, path);
            request.source = source.parse().unwrap();
            assert_eq!(
                served.ask(&request),
                want,
                "{controller}: {host}{path} from {source}"
            );
        }
    }
}

/// As guides of the incumbent wrote it for years.
#[test]
fn a_default_backend_that_answers_nobody_is_told() {
    let of = |service: &str| json!({ "defaultBackend": to(service) });
    let named =
        json!({ "defaultBackend": to("b"), "rules": [rule("b.com", json!([path("Exact", "/x", "b")]))] });
    for (second, told) in [(of("b"), &[Code::DefaultBackendConflict][..]), (named, &[])] {
        let served = with_services(World::new(), &["shop/a", "shop/b"])
            .aged("shop/a", 1, json!({}), of("a"))
            .aged("shop/b", 2, json!({}), second.clone())
            .one(&serving());
        assert_eq!(served.get("any.com/"), "shop/a");
        assert_eq!(served.codes(), told, "{second}: {:?}", served.problems);
    }
}

#[test]
fn ranges_that_differ_in_a_group_are_told() {
    let ranges = |cidrs: &str| alb(&[("group.name", "g"), ("inbound-cidrs", cidrs)]);
    for (cidrs, told) in [
        ("10.0.0.0/8", &[][..]),
        ("192.0.2.0/24", &[Code::SettingConflict]),
    ] {
        let rules = |host: &str, to| json!({ "rules": [rule(host, json!([path("Prefix", "/", to)]))] });
        let served = with_services(World::new(), &["shop/a", "shop/b"])
            .aged("shop/a", 1, ranges("10.0.0.0/8"), rules("a.com", "a"))
            .aged("shop/b", 2, ranges(cidrs), rules("b.com", "b"))
            .one(&serving());
        let mut request = Request::get(Port::HTTP, "b.com", "/");
        request.source = cidrs.parse::<ipnet::IpNet>().unwrap().addr();
        assert_eq!(served.ask(&request), "shop/b");
        assert_eq!(served.codes(), told, "{cidrs}: {:?}", served.problems);
    }
}

#[test]
fn a_redirect_that_would_loop_turns_nobody_away() {
    let to_https =
        r#"{"type":"redirect","redirectConfig":{"protocol":"HTTPS","port":"443","statusCode":"HTTP_301"}}"#;
    for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
        let annotations = alb(&[
            ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
            (
                "certificate-arn",
                "arn:aws:acm:eu-west-1:111122223333:certificate/1",
            ),
            ("actions.ssl-redirect", to_https),
            ("inbound-cidrs", "10.0.0.0/8"),
        ]);
        let redirected = json!({
            "path": "/*", "pathType": "ImplementationSpecific",
            "backend": { "service": { "name": "ssl-redirect", "port": { "name": "use-annotation" } } },
        });
        let spec = json!({ "rules": [rule("a.com", json!([redirected, path("ImplementationSpecific", "/*", "s")]))] });
        let served = with_services(World::new(), &["shop/s"])
            .ingress("shop/a", annotations, spec)
            .one(&Settings::for_serving(ControllerName::new(controller)));
        for (port, source, want) in [
            (Port::HTTP, "10.1.1.1", "→ 301"),
            (Port::HTTP, "192.0.2.1", "403"),
            (Port::HTTPS, "10.1.1.1", "shop/s"),
            (Port::HTTPS, "192.0.2.1", "403"),
        ] {
            let mut request = Request::get(port, "a.com", "/x");
            request.source = source.parse().unwrap();
            assert_eq!(
                served.ask(&request),
                want,
                "{controller}: {port} from {source}: {:#?}",
                served.rules()
            );
        }
    }
}

#[test]
fn a_redirect_to_https_stands_beside_a_login_and_not_where_it_would_loop() {
    let to_https =
        r#"{"type":"redirect","redirectConfig":{"protocol":"HTTPS","port":"443","statusCode":"HTTP_301"}}"#;
    let by_annotation =
        json!({ "service": { "name": "ssl-redirect", "port": { "name": "use-annotation" } } });
    for (controller, left) in [
        (ControllerName::OURS, "404"),
        (ControllerName::INCUMBENT, "→ 301"),
    ] {
        let both = [
            ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
            (
                "certificate-arn",
                "arn:aws:acm:eu-west-1:111122223333:certificate/1",
            ),
            ("actions.ssl-redirect", to_https),
        ];
        let jwt = (
            "jwt-validation",
            r#"{"jwksEndpoint":"https://i/keys","issuer":"https://i"}"#,
        );
        let asked: Vec<_> = both.iter().copied().chain([jwt]).collect();
        let redirected =
            json!({ "path": "/*", "pathType": "ImplementationSpecific", "backend": by_annotation });
        let served = with_services(World::new(), &["shop/s"])
            .ingress(
                "shop/a",
                alb(&asked),
                json!({ "rules": [rule("a.com", json!([redirected]))] }),
            )
            .ingress(
                "shop/b",
                alb(&both),
                json!({ "defaultBackend": by_annotation, "rules": [rule("b.com", json!([path("Prefix", "/x", "s")]))] }),
            )
            .one(&Settings::for_serving(ControllerName::new(controller)));
        for (port, host, path, want) in [
            (Port::HTTP, "a.com", "/", "→ 301"),
            (Port::HTTP, "b.com", "/", "→ 301"),
            (Port::HTTPS, "b.com", "/", left),
            (Port::HTTPS, "b.com", "/x", "shop/s"),
        ] {
            let got = served.ask(&Request::get(port, host, path));
            assert_eq!(
                got,
                want,
                "{controller}: {port} {host}{path}: {:#?}",
                served.rules()
            );
        }
    }
}

#[test]
fn of_a_host_of_several_the_first_default_backend_answers_what_is_left() {
    for names in [["shop/a", "shop/b", "shop/c"], ["shop/z", "shop/b", "shop/c"]] {
        let spec = |text: &str, default: Option<&str>| {
            let mut spec = json!({ "rules": [rule("a.com", json!([path("Prefix", text, "s")]))] });
            if let Some(default) = default {
                spec["defaultBackend"] = to(default);
            }
            spec
        };
        let served = with_services(World::new(), &["shop/s", "shop/d", "shop/e"])
            .ingress(names[0], json!({}), spec("/one", Some("d")))
            .ingress(names[1], json!({}), spec("/two", None))
            .ingress(names[2], json!({}), spec("/three", None))
            .one(&Settings::for_serving(ControllerName::default()));
        for (url, want) in [
            ("a.com/one", "shop/s"),
            ("a.com/two", "shop/s"),
            ("a.com/x", "shop/d"),
        ] {
            assert_eq!(served.get(url), want, "{names:?} {url}");
        }
    }
}

#[test]
fn a_default_backend_lets_in_only_whom_its_ingress_does() {
    for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
        let served = with_services(World::new(), &["shop/a", "blog/d"])
            .ingress(
                "blog/inside",
                alb(&[("inbound-cidrs", "10.0.0.0/8")]),
                json!({ "defaultBackend": to("d"), "rules": [{ "host": "d.com" }] }),
            )
            .ingress(
                "shop/a",
                json!({}),
                json!({ "rules": [rule("a.com", json!([path("Prefix", "/a", "a")]))] }),
            )
            .one(&Settings::for_serving(ControllerName::new(controller)));
        for (url, source, want) in [
            ("any.com/", "10.1.1.1", "blog/d"),
            ("any.com/", "192.0.2.1", "403"),
            ("d.com/", "10.1.1.1", "blog/d"),
            ("d.com/", "192.0.2.1", "403"),
            ("a.com/a", "192.0.2.1", "shop/a"),
            ("a.com/x", "10.1.1.1", "404"),
        ] {
            let (host, _) = url.split_once('/').unwrap();
            let mut request = Request::get(Port::HTTP, host, &url[host.len()..]);
            request.source = source.parse().unwrap();
            assert_eq!(
                served.ask(&request),
                want,
                "{controller}: {url} from {source}: {:#?}",
                served.rules()
            );
        }
    }
}

#[test]
fn only_members_of_one_group_must_agree() {
    for (name, first, second) in [
        ("scheme", "internal", "internet-facing"),
        ("tags", "a=1", "a=2"),
        ("subnets", "s-1", "s-2"),
        ("ssl-policy", "P1", "P2"),
        ("listener-attributes.HTTP-80", "idle=1", "idle=2"),
        ("enable-frontend-nlb", "true", "false"),
        ("frontend-nlb-scheme", "internal", "internet-facing"),
        ("frontend-nlb-attributes", "k.one=1", "k.one=2"),
        ("frontend-nlb-listener-port-mapping", "81=80", "81=443"),
        ("frontend-nlb-healthcheck-path", "/a", "/b"),
    ] {
        for group in [Some("g"), None] {
            let member = |value: &str| {
                let mut all = alb(&[
                    ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
                    ("enable-frontend-nlb", "true"),
                    (name, value),
                ]);
                if let Some(group) = group {
                    all["alb.ingress.kubernetes.io/group.name"] = group.into();
                }
                all
            };
            let spec = |host: &str| json!({ "rules": [rule(host, json!([path("Prefix", "/", "s")]))] });
            let served = World::new()
                .service("shop/s")
                .aged("shop/a", 1, member(first), spec("a.com"))
                .aged("shop/b", 2, member(second), spec("b.com"))
                .one(&serving());
            let told = served.codes().contains(&Code::SettingConflict);
            assert_eq!(
                told,
                group.is_some(),
                "{name} in group {group:?}: {:?}",
                served.problems
            );
        }
    }
}

#[test]
fn a_tls_policy_is_that_of_the_rules_of_its_own_load_balancer() {
    let policy = |value: &str, group: Option<&str>| {
        let mut all = alb(&[
            ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
            ("ssl-policy", value),
        ]);
        if value.is_empty() {
            all.as_object_mut()
                .unwrap()
                .remove("alb.ingress.kubernetes.io/ssl-policy");
        }
        if let Some(group) = group {
            all["alb.ingress.kubernetes.io/group.name"] = group.into();
        }
        all
    };
    let spec = |host: &str| json!({ "rules": [rule(host, json!([path("Prefix", "/x", "s")]))] });
    let mut default = spec("d.com");
    default["defaultBackend"] = to("s");
    let served = World::new()
        .service("shop/s")
        .service("lab/s")
        .aged("shop/alone", 1, policy("P1", None), spec("a.com"))
        .aged("shop/able", 2, policy("", None), spec("b.com"))
        .aged("shop/default", 3, policy("P2", None), default)
        .aged("shop/one", 4, policy("P3", Some("g")), spec("c1.com"))
        .aged("shop/two", 5, policy("", Some("g")), spec("c2.com"))
        .aged("lab/three", 6, policy("P4", Some("g")), spec("c3.com"))
        .one(&serving());
    let balancer = &served.balancer;
    for (host, path, want) in [
        ("a.com", "/x", Some("shop/alone P1")),
        ("b.com", "/x", None),
        ("d.com", "/x", Some("shop/default P2")),
        ("d.com", "/y", Some("shop/default P2")),
        ("any.com", "/", Some("shop/default P2")),
        ("c1.com", "/x", Some("shop/one P3")),
        ("c2.com", "/x", Some("shop/one P3")),
        ("c3.com", "/x", Some("shop/one P3")),
    ] {
        let request = Request::get(Port::HTTPS, host, path);
        let rule = balancer.rules.iter().find(|rule| rule.takes(&request));
        let policy = rule.and_then(|rule| rule.tls_policy.as_ref());
        let policy = policy.map(|policy| format!("{} {}", policy.origin.object, policy.name));
        assert_eq!(policy.as_deref(), want, "{host}{path}: {:#?}", served.rules());
    }
    for listener in balancer.listeners.values() {
        if let Protocol::Https(tls) = &listener.protocol {
            assert_eq!(tls.policy, None, "it would be that of every host");
        }
    }
    assert_eq!(served.codes(), [Code::SettingNotOwned], "{:?}", served.problems);
}
