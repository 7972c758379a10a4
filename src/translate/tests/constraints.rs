//! Annotations that restrict in, what they keep out even where they are wrong.

use std::net::IpAddr;

use super::*;

pub(super) fn get(url: &str, headers: &[(&str, &str)], source: &str) -> Request {
    let (host, _) = url.split_once('/').unwrap();
    let mut request = Request::get(Port::HTTP, host, &url[host.len()..]);
    request.headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    request.source = source.parse::<IpAddr>().unwrap();
    request
}

/// `/` to `open`; `/admin` to `admin` under conditions.
fn guarded(conditions: &str) -> World {
    with_services(World::new(), &["shop/open", "shop/admin"]).ingress(
        "shop/web",
        alb(&[("conditions.admin", conditions)]),
        json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "open"), path("Prefix", "/admin", "admin")]))] }),
    )
}

#[test]
fn a_rule_with_conditions_takes_only_what_meets_them() {
    let served = guarded(
        r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/8"]}},
            {"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-Team","values":["core*"]}}]"#,
    )
    .one(&ours());
    for (headers, source, want) in [
        (vec![("x-team", "core-1")], "10.1.1.1", "shop/admin"),
        (vec![("x-team", "core-1")], "192.0.2.1", "shop/open"),
        (vec![], "10.1.1.1", "shop/open"),
    ] {
        assert_eq!(
            served.ask(&get("a.com/admin", &headers, source)),
            want,
            "{headers:?} {source}"
        );
    }
    assert_eq!(served.codes(), []);
}

#[test]
fn a_condition_that_cannot_be_read_never_lets_through() {
    for conditions in [
        "",
        r#"[{"field":"soruce-ip","sourceIPConfig":{"values":["10.0.0.0/8"]}}]"#,
        r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/88"]}}]"#,
        r#"[{"field":"host-header","hostHeaderConfig":{}}]"#,
    ] {
        for settings in [ours(), theirs()] {
            let served = guarded(conditions).one(&settings);
            served.told(
                Code::AnnotationInvalid,
                "ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/conditions.admin]",
            );
            assert_eq!(served.get("a.com/admin"), "shop/open", "{conditions}");
            assert_eq!(served.get("a.com/"), "shop/open", "{conditions}");
        }
    }
}

#[test]
fn a_rule_that_turns_away_still_does_so_where_its_conditions_cannot_be_read() {
    let served = World::new()
        .service("shop/open")
        .ingress(
            "shop/web",
            alb(&[
                (
                    "actions.deny",
                    r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":"403"}}"#,
                ),
                (
                    "conditions.deny",
                    r#"[{"field":"http-request-method","httpRequestMethodConfig":{"values":["GET"]}},
                        {"field":"source-ip","sourceIPConfig":{"values":["10.0.0/8"]}}]"#,
                ),
            ]),
            json!({ "rules": [rule("a.com", json!([
                { "path": "/", "pathType": "Prefix", "backend": to_action("deny") },
                path("Prefix", "/", "open"),
            ]))] }),
        )
        .one(&ours());
    assert_eq!(served.get("a.com/"), "503");
    let mut post = get("a.com/", &[], "10.0.0.1");
    post.method = "POST".to_owned();
    assert_eq!(
        served.ask(&post),
        "shop/open",
        "the condition that could be read still holds"
    );
}

#[test]
fn more_conditions_come_before_fewer() {
    let served = with_services(World::new(), &["shop/none", "shop/one", "shop/two"])
        .ingress(
            "shop/web",
            alb(&[
                (
                    "conditions.one",
                    r#"[{"field":"http-request-method","httpRequestMethodConfig":{"values":["GET"]}}]"#,
                ),
                (
                    "conditions.two",
                    r#"[{"field":"http-request-method","httpRequestMethodConfig":{"values":["GET"]}},
                        {"field":"query-string","queryStringConfig":{"values":[{"key":"v","value":"2"}]}}]"#,
                ),
            ]),
            json!({ "rules": [rule("a.com", json!([
                path("Prefix", "/", "none"), path("Prefix", "/", "one"), path("Prefix", "/", "two"),
            ]))] }),
        )
        .one(&ours());
    assert_eq!(served.get("a.com/?v=2"), "shop/two");
    assert_eq!(served.get("a.com/"), "shop/one");
    let mut post = get("a.com/", &[], "10.0.0.1");
    post.method = "POST".to_owned();
    assert_eq!(served.ask(&post), "shop/none");
}

#[test]
fn hosts_and_paths_of_conditions_stand_beside_the_rule_s_own() {
    let world = World::new().service("shop/s").ingress(
        "shop/web",
        alb(&[(
            "conditions.s",
            r#"[{"field":"host-header","hostHeaderConfig":{"values":["b.com","*.c.com"]}},
                {"field":"path-pattern","pathPatternConfig":{"values":["/y/*"]}}]"#,
        )]),
        json!({ "rules": [rule("a.com", json!([path("Prefix", "/x", "s")]))] }),
    );
    for settings in [ours(), theirs()] {
        let served = world.one(&settings);
        for (url, want) in [
            ("a.com/x", "shop/s"),
            ("a.com/y/1", "shop/s"),
            ("b.com/x/1", "shop/s"),
            ("x.y.c.com/y/", "shop/s"),
            ("a.com/z", "404"),
            ("d.com/x", "404"),
        ] {
            assert_eq!(served.get(url), want, "{url}");
        }
    }
    assert_eq!(world.one(&theirs()).balancer.rules.len(), 1);
}

#[test]
fn what_restricts_and_is_not_built_is_not_served_without_it() {
    for (name, value) in [
        ("auth-type", "odic"),
        ("jwt-validation", "{}"),
        ("waf-acl-id", "499e8b99-6671-4614-a86d-adb1810b7fbe"),
        ("web-acl-id", "499e8b99-6671-4614-a86d-adb1810b7fbe"),
        ("security-groups", ""),
        ("listen-ports", r#"[{"HTTPS":"443"}]"#),
    ] {
        let served = with_services(World::new(), &["shop/s", "shop/other"])
            .ingress(
                "shop/web",
                alb(&[("group.name", "g"), (name, value)]),
                json!({ "defaultBackend": to("s"), "rules": [rule("a.com", json!([path("Prefix", "/x", "s")]))] }),
            )
            .ingress(
                "shop/xother",
                alb(&[("group.name", "g")]),
                json!({ "rules": [rule("b.com", json!([path("Prefix", "/", "other")]))] }),
            )
            .one(&ours());
        assert_eq!(served.problems.len(), 1, "{name}: {:?}", served.problems);
        for (url, want) in [("a.com/x", "503"), ("a.com/", "503"), ("b.com/", "shop/other")] {
            assert_eq!(served.get(url), want, "{name}: {value} on {url}");
        }
    }
}

fn admitted(served: &Served) -> Option<Vec<String>> {
    let nets = served.balancer.options.admitted.get(&Port::HTTP)?;
    Some(nets.iter().map(|net| net.to_string()).collect())
}

#[test]
fn ranges_that_cannot_be_read_let_nobody_in() {
    for (value, want) in [
        ("10.0.0.0/8, 192.168.0.0/16", vec!["10.0.0.0/8", "192.168.0.0/16"]),
        ("10.0.0.0/8,any", vec!["10.0.0.0/8"]),
        ("any", vec![]),
        ("010.0.0.0/8", vec![]),
        ("0.0.0.0", vec![]),
    ] {
        for settings in [ours(), theirs()] {
            assert_eq!(
                admitted(&restricted(value, &settings)).unwrap(),
                want,
                "{value:?}"
            );
        }
    }
}

#[test]
fn ranges_that_name_nobody_count_as_not_set() {
    for value in ["", " ", ",", " ,, "] {
        for (settings, told) in [(ours(), true), (theirs(), false)] {
            let served = restricted(value, &settings);
            assert_eq!(admitted(&served), None, "{value:?}");
            assert_eq!(served.get("a.com/"), "shop/s", "{value:?}");
            assert_eq!(!served.problems.is_empty(), told, "{value:?}");
        }
    }
}

fn restricted(cidrs: &str, settings: &Settings) -> Served {
    let annotations = alb(&[("inbound-cidrs", cidrs)]);
    let world = World::new().service("shop/s");
    world
        .ingress("shop/web", annotations, json!({ "defaultBackend": to("s") }))
        .one(settings)
}

#[test]
fn in_a_group_nobody_lets_in_whom_a_member_keeps_out() {
    let member = |world: World, name: &str, order: &str, cidrs: Option<&str>| {
        let mut annotations = vec![("group.name", "g"), ("group.order", order)];
        annotations.extend(cidrs.map(|cidrs| ("inbound-cidrs", cidrs)));
        world.service(&format!("shop/{name}")).ingress(
            &format!("shop/{name}"),
            alb(&annotations),
            json!({ "rules": [rule(&format!("{name}.com"), json!([path("Prefix", "/", name)]))] }),
        )
    };
    // Of a, b: the port lets in, then what each answers to 10.0.0.1 and to 192.0.2.1.
    for (a, b, port, want) in [
        (None, None, None, ["shop/a", "shop/a", "shop/b", "shop/b"]),
        (
            None,
            Some("10.0.0.0/8"),
            Some("10.0.0.0/8"),
            ["shop/a", "shop/a", "shop/b", "shop/b"],
        ),
        (
            Some("0.0.0.0/0"),
            Some("10.0.0.0/8"),
            Some("0.0.0.0/0"),
            ["shop/a", "shop/a", "shop/b", "403"],
        ),
        (
            Some("10.0.0.0/8"),
            Some("bad"),
            Some("10.0.0.0/8"),
            ["shop/a", "shop/a", "403", "403"],
        ),
        (
            Some("bad"),
            Some("10.0.0.0/8"),
            Some("10.0.0.0/8"),
            ["403", "403", "shop/b", "shop/b"],
        ),
        // One that says nothing keeps what it had without the one that cannot be read.
        (None, Some("bad"), None, ["shop/a", "shop/a", "403", "403"]),
        (
            Some("10.0.0.0/8,bad"),
            None,
            None,
            ["shop/a", "403", "shop/b", "shop/b"],
        ),
        // Nobody says anything sound.
        (
            Some("bad"),
            Some("bad"),
            Some(""),
            ["shop/a", "shop/a", "shop/b", "shop/b"],
        ),
        (
            Some("bad"),
            Some("10.0.0.0/8,bad"),
            Some("10.0.0.0/8"),
            ["403", "403", "shop/b", "shop/b"],
        ),
        (
            Some("10.0.0.0/8,bad"),
            Some("192.0.2.0/24,bad"),
            Some("10.0.0.0/8"),
            ["shop/a", "shop/a", "403", "shop/b"],
        ),
        (
            Some(""),
            Some("10.0.0.0/8"),
            Some("10.0.0.0/8"),
            ["shop/a", "shop/a", "shop/b", "shop/b"],
        ),
    ] {
        for settings in [ours(), theirs()] {
            let served = member(member(World::new(), "a", "1", a), "b", "2", b).one(&settings);
            let got = ["a", "b"].map(|name| {
                ["10.0.0.1", "192.0.2.1"].map(|source| served.ask(&get(&format!("{name}.com/"), &[], source)))
            });
            assert_eq!(got.concat(), want, "{a:?} {b:?}");
            let port = port.map(|nets| {
                nets.split(',')
                    .filter(|net| !net.is_empty())
                    .map(str::to_owned)
                    .collect()
            });
            assert_eq!(admitted(&served), port, "{a:?} {b:?}");
        }
    }
}

#[test]
fn of_ranges_that_differ_the_first_counts_or_all_and_each_checks_for_itself() {
    let member = |world: World, name: &str, day: u32, order: &str, more: &[(&str, &str)]| {
        let annotations = [&[("group.name", "g"), ("group.order", order)], more].concat();
        world.service(&format!("shop/{name}")).aged(
            &format!("shop/{name}"),
            day,
            alb(&annotations),
            json!({ "rules": [rule(&format!("{name}.com"), json!([path("Prefix", "/", name)]))] }),
        )
    };
    const CIDRS: &str = "inbound-cidrs";
    let (office, home) = ((CIDRS, "10.0.0.0/8"), (CIDRS, "192.0.2.0/24"));
    let list = ("security-group-prefix-lists", "pl-1");
    // a is the oldest, b says nothing, c is new and sorts first. What the port lets in, then what each answers to
    // 10.0.0.1 and to 192.0.2.1.
    for (settings, a, c, port, want) in [
        (
            ours(),
            &[office][..],
            &[home][..],
            "192.0.2.0/24",
            ["shop/a", "403", "shop/b", "shop/b", "shop/c", "shop/c"],
        ),
        (
            theirs(),
            &[office],
            &[home],
            "10.0.0.0/8,192.0.2.0/24",
            ["shop/a", "403", "shop/b", "403", "403", "shop/c"],
        ),
        (
            theirs(),
            &[office],
            &[office],
            "10.0.0.0/8",
            ["shop/a", "shop/a", "shop/b", "shop/b", "shop/c", "shop/c"],
        ),
        // Within what a gives: nobody is let in that was not.
        (
            theirs(),
            &[office],
            &[(CIDRS, "10.1.0.0/16")],
            "10.0.0.0/8",
            ["shop/a", "shop/a", "shop/b", "shop/b", "403", "403"],
        ),
        (
            theirs(),
            &[office],
            &[(CIDRS, "bad")],
            "10.0.0.0/8",
            ["shop/a", "shop/a", "shop/b", "shop/b", "403", "403"],
        ),
        // Rules cannot check lists: what the oldest gives stays.
        (
            theirs(),
            &[office, list],
            &[home],
            "10.0.0.0/8",
            ["shop/a", "shop/a", "shop/b", "shop/b", "403", "shop/c"],
        ),
        (
            theirs(),
            &[office],
            &[home, list],
            "10.0.0.0/8",
            ["shop/a", "shop/a", "shop/b", "shop/b", "403", "shop/c"],
        ),
    ] {
        let world = member(World::new(), "a", 1, "1", a);
        let world = member(world, "b", 2, "2", &[]);
        let served = member(world, "c", 3, "0", c).one(&settings);
        let got = ["a", "b", "c"].map(|name| {
            ["10.0.0.1", "192.0.2.1"].map(|source| served.ask(&get(&format!("{name}.com/"), &[], source)))
        });
        assert_eq!(got.concat(), want, "{a:?} {c:?}");
        let nets: Vec<String> = port.split(',').map(str::to_owned).collect();
        assert_eq!(admitted(&served), Some(nets), "{a:?} {c:?}");
    }
}

#[test]
fn the_annotation_that_differs_in_a_group_is_named() {
    let (cidrs, lists) = ("inbound-cidrs", "security-group-prefix-lists");
    for (first, second, told) in [
        ([(cidrs, "10.0.0.0/8")], [(cidrs, "10.0.0.0/8")], None),
        ([(cidrs, "10.0.0.0/8")], [(cidrs, "192.0.2.0/24")], Some(cidrs)),
        ([(lists, "pl-1")], [(lists, "pl-1")], None),
        ([(lists, "pl-1")], [(lists, "pl-2")], Some(lists)),
        ([(cidrs, "10.0.0.0/8")], [(lists, "pl-1")], Some(lists)),
        ([(lists, "pl-1")], [(cidrs, "10.0.0.0/8")], Some(cidrs)),
    ] {
        let member = |world: World, name: &str, day: u32, said: &[(&str, &str)]| {
            let annotations = alb(&[&[("group.name", "g")], said].concat());
            let paths = json!([path("Prefix", "/", name)]);
            let rules = json!({ "rules": [rule(&format!("{name}.com"), paths)] });
            world.aged(&format!("shop/{name}"), day, annotations, rules)
        };
        for settings in [ours(), theirs()] {
            let world = with_services(World::new(), &["shop/a", "shop/b"]);
            let world = member(world, "a", 1, &first);
            let served = member(world, "b", 2, &second).one(&settings);
            let conflicts = served
                .problems
                .iter()
                .filter(|problem| problem.code == Code::SettingConflict);
            let got: Vec<String> = conflicts.map(ToString::to_string).collect();
            assert_eq!(
                got.len(),
                usize::from(told.is_some()),
                "{first:?} {second:?}: {got:?}"
            );
            for (got, name) in got.iter().zip(told) {
                let at = format!("annotations[alb.ingress.kubernetes.io/{name}]");
                let why = format!("{name} differs from that of");
                assert!(
                    got.contains(&at) && got.contains(&why),
                    "{first:?} {second:?}: {got}"
                );
            }
        }
    }
}

/// Where it leads elsewhere at one of the ports, it is meant for that.
#[test]
fn a_redirect_that_leads_to_itself_at_each_port_is_told() {
    const HTTP: &str = r#"[{"HTTP":80}]"#;
    const BOTH: &str = r#"[{"HTTP":80},{"HTTPS":443}]"#;
    let same = r#"{"type":"redirect","redirectConfig":{"statusCode":"HTTP_301"}}"#;
    let https =
        r#"{"type":"redirect","redirectConfig":{"protocol":"HTTPS","port":"443","statusCode":"HTTP_301"}}"#;
    for (ports, action, told) in [
        (HTTP, same, true),
        (BOTH, same, true),
        (HTTP, https, false),
        (BOTH, https, false),
    ] {
        let ruled = json!({ "rules": [rule("a.com", json!([
            { "path": "/", "pathType": "Prefix", "backend": to_action("go") },
        ]))] });
        let default = json!({ "defaultBackend": to_action("go") });
        for settings in [ours(), theirs()] {
            for (spec, at) in [
                (&ruled, "spec.rules[0].http.paths[0]"),
                (&default, "spec.defaultBackend"),
            ] {
                // The incumbent's default stands as it is.
                let told = told && (settings == ours() || spec == &ruled);
                let annotations = alb(&[
                    ("listen-ports", ports),
                    ("actions.go", action),
                    (
                        "certificate-arn",
                        "arn:aws:acm:eu-west-1:111122223333:certificate/1",
                    ),
                ]);
                let served = World::new()
                    .ingress("shop/a", annotations, spec.clone())
                    .one(&settings);
                let loops = served
                    .problems
                    .iter()
                    .filter(|problem| problem.code == Code::RedirectLoop);
                let got: Vec<String> = loops.map(|problem| problem.at.to_string()).collect();
                let want: Vec<String> = told.then(|| format!("ingress shop/a {at}")).into_iter().collect();
                assert_eq!(got, want, "{ports} {action} {at}");
            }
        }
    }
}

#[test]
fn plain_http_is_not_served_where_a_redirect_was_meant() {
    let ports = r#"[{"HTTP":80},{"HTTPS":443}]"#;
    for (redirect, plain, secure) in [
        ("443", "→ 301", "shop/s"),
        ("80", "503", "shop/s"),
        ("8443", "503", "shop/s"),
        ("yes", "503", "shop/s"),
        ("", "503", "shop/s"),
    ] {
        for settings in [ours(), theirs()] {
            let served = World::new()
                .service("shop/s")
                .ingress(
                    "shop/web",
                    alb(&[("listen-ports", ports), ("ssl-redirect", redirect)]),
                    json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] }),
                )
                .one(&settings);
            assert_eq!(served.get("a.com/x"), plain, "{redirect:?}");
            assert_eq!(served.get_at(443, "a.com/x"), secure, "{redirect:?}");
            assert_eq!(served.problems.is_empty(), redirect == "443", "{redirect:?}");
        }
    }
}

#[test]
fn conditions_that_no_backend_has_are_told() {
    let served = World::new()
        .service("shop/admin")
        .ingress(
            "shop/web",
            alb(&[("conditions.admn", "[]")]),
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "admin")]))] }),
        )
        .one(&ours());
    served.told(
        Code::AnnotationUnknown,
        "ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/conditions.admn]",
    );
}

#[test]
fn what_is_said_of_a_default_backend_and_cannot_be_had_is_told() {
    const CONDITIONS: &str = r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/8"]}}]"#;
    const TRANSFORMS: &str =
        r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[{"regex":"^/a","replace":"/b"}]}}]"#;
    for (name, value) in [
        ("conditions", CONDITIONS),
        ("transforms", TRANSFORMS),
        ("conditions", "["),
    ] {
        for (settings, want) in [(ours(), "503"), (theirs(), "shop/s")] {
            let annotation = format!("{name}.s");
            let world = with_services(World::new(), &["shop/s", "shop/other"]);
            let alone = world.clone().ingress(
                "shop/web",
                alb(&[(&annotation, value)]),
                json!({ "defaultBackend": to("s"), "rules": [rule("a.com", json!([path("Prefix", "/", "other")]))] }),
            );
            let served = alone.one(&settings);
            let at = format!("ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/{annotation}]");
            served.told(Code::AnnotationUnsupported, &at);
            assert_eq!(
                (served.get("b.com/"), served.get("a.com/")),
                (want.to_owned(), "shop/other".to_owned())
            );
            // Where a rule leads there, it has them.
            let beside = world.ingress(
                "shop/web",
                alb(&[(&annotation, if value == "[" { "[]" } else { value })]),
                json!({ "defaultBackend": to("s"), "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] }),
            );
            assert!(
                !beside
                    .one(&settings)
                    .codes()
                    .contains(&Code::AnnotationUnsupported),
                "{annotation}"
            );
        }
    }
}
