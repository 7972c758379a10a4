//! Members of a group in, one load balancer with settings they agree on out.

use portcullis_model::{AddressFamily, Scheme};

use super::*;

pub(super) fn grouped(extra: Value) -> Value {
    let mut annotations = json!({ "alb.ingress.kubernetes.io/group.name": "g" });
    for (key, value) in extra.as_object().unwrap() {
        annotations[format!("alb.ingress.kubernetes.io/{key}")] = value.clone();
    }
    annotations
}

/// Two members with these annotations beside the group's; `a` is the older.
pub(super) fn two(a: Value, b: Value) -> World {
    with_services(World::new(), &["shop/a", "shop/b"])
        .aged(
            "shop/a",
            1,
            grouped(a),
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))] }),
        )
        .aged(
            "shop/b",
            2,
            grouped(b),
            json!({ "rules": [rule("b.com", json!([path("Prefix", "/", "b")]))] }),
        )
}

fn members(served: &Served) -> Vec<String> {
    served
        .balancer
        .members
        .iter()
        .map(|name| name.to_string())
        .collect()
}

#[test]
fn members_stand_by_group_order_then_age_then_name() {
    for (settings, a, b, ages, want) in [
        (ours(), json!({}), json!({}), (1, 2), ["shop/a", "shop/b"]),
        (ours(), json!({}), json!({}), (2, 1), ["shop/b", "shop/a"]),
        (ours(), json!({}), json!({}), (1, 1), ["shop/a", "shop/b"]),
        (
            ours(),
            json!({ "group.order": "1" }),
            json!({}),
            (1, 2),
            ["shop/b", "shop/a"],
        ),
        (
            ours(),
            json!({}),
            json!({ "group.order": "-1000" }),
            (1, 2),
            ["shop/b", "shop/a"],
        ),
        // The incumbent does not ask for age.
        (theirs(), json!({}), json!({}), (2, 1), ["shop/a", "shop/b"]),
        (
            theirs(),
            json!({ "group.order": "1" }),
            json!({}),
            (1, 2),
            ["shop/b", "shop/a"],
        ),
        // An order that cannot be read never goes before a neighbour.
        (
            ours(),
            json!({ "group.order": "1O" }),
            json!({ "group.order": "1000" }),
            (1, 2),
            ["shop/b", "shop/a"],
        ),
        (
            ours(),
            json!({ "group.order": "1001" }),
            json!({}),
            (1, 2),
            ["shop/b", "shop/a"],
        ),
    ] {
        let world = World::new()
            .aged("shop/a", ages.0, grouped(a.clone()), json!({}))
            .aged("shop/b", ages.1, grouped(b.clone()), json!({}));
        assert_eq!(members(&world.one(&settings)), want, "{a} {b} {ages:?}");
    }
}

#[test]
fn ingresses_without_a_group_have_load_balancers_of_their_own() {
    let all = World::new()
        .ingress("shop/a", json!({}), json!({}))
        .ingress("shop/b", grouped(json!({})), json!({}))
        .ingress("blog/c", grouped(json!({})), json!({}))
        .all(&ours());
    let members: Vec<(String, usize)> = all
        .into_iter()
        .map(|(id, translation)| (id, translation.balancer.unwrap().members.len()))
        .collect();
    assert_eq!(members, [("g".to_owned(), 2), ("shop/a".to_owned(), 1)]);
}

#[test]
fn of_two_values_the_first_in_order_counts_and_the_other_is_told() {
    let served = two(
        json!({ "scheme": "internet-facing", "subnets": "s-2, s-1", "tags": "a=1,b=2", "ssl-policy": "P1" }),
        json!({ "scheme": "internal", "subnets": "s-1,s-2", "tags": "b=3,c=4", "ip-address-type": "dualstack" }),
    )
    .one(&ours());
    let options = &served.balancer.options;
    assert_eq!(options.scheme, Scheme::InternetFacing);
    assert_eq!(options.address_family, AddressFamily::Dualstack);
    assert_eq!(options.subnets, ["s-1", "s-2"]);
    let tags: Vec<String> = options.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(tags, ["a=1", "b=2", "c=4"]);
    let conflicts: Vec<String> = served
        .problems
        .iter()
        .map(|problem| format!("{} {}", problem.code, problem.at))
        .collect();
    assert_eq!(
        conflicts,
        [
            "SettingConflict ingress shop/b metadata.annotations[alb.ingress.kubernetes.io/scheme]",
            "SettingConflict ingress shop/b metadata.annotations[alb.ingress.kubernetes.io/tags]",
        ]
    );
}

#[test]
fn an_unreadable_scheme_never_becomes_the_wider_one() {
    let open = Settings {
        scheme: Scheme::InternetFacing,
        ..ours()
    };
    for (a, b, want) in [
        (json!({}), json!({}), Scheme::InternetFacing),
        (json!({ "scheme": "internl" }), json!({}), Scheme::Internal),
        (
            json!({ "scheme": "internl" }),
            json!({ "scheme": "internet-facing" }),
            Scheme::InternetFacing,
        ),
    ] {
        let served = two(a.clone(), b.clone()).one(&open);
        assert_eq!(served.balancer.options.scheme, want, "{a} {b}");
    }
}

#[test]
fn an_option_of_the_whole_is_told_where_it_was_said() {
    let b = json!({ "subnets": "nosuch", "load-balancer-name": "b_b" });
    let served = two(json!({ "load-balancer-name": "a_a" }), b).one(&ours());
    let options = &served.balancer.options;
    for (name, want) in [
        (
            "subnets",
            "ingress shop/b metadata.annotations[alb.ingress.kubernetes.io/subnets]",
        ),
        (
            "load-balancer-name",
            "ingress shop/a metadata.annotations[alb.ingress.kubernetes.io/load-balancer-name]",
        ),
    ] {
        assert_eq!(options.said_at(name).to_string(), want);
    }
    assert_eq!(options.said_at("ip-address-type"), &options.origin);

    let a = json!({ "tags": "One=a", "enable-frontend-nlb": "true", "listen-ports": r#"[{"HTTPS":443}]"# });
    let b = json!({
        "tags": "Two=b", "frontend-nlb-subnets": "nosuch", "listen-ports": r#"[{"HTTPS":443}]"#, "ssl-policy": "Nope",
    });
    let balancer = two(a, b).one(&ours()).balancer;
    let options = &balancer.options;
    let at = |member: &str, name: &str| {
        format!("ingress shop/{member} metadata.annotations[alb.ingress.kubernetes.io/{name}]")
    };
    assert_eq!(options.tags_at["One"].to_string(), at("a", "tags"));
    assert_eq!(options.tags_at["Two"].to_string(), at("b", "tags"));
    let front = options.said_at("frontend-nlb-subnets");
    assert_eq!(front.to_string(), at("b", "frontend-nlb-subnets"));
    let policy_at = &options.policies_at[&Port::HTTPS];
    assert_eq!(policy_at.to_string(), at("b", "ssl-policy"));
}

#[test]
fn a_newcomer_changes_no_protocol_from_the_front_of_its_group() {
    for settings in [ours(), theirs()] {
        let of = |host: &str, service: &str| {
            json!({
                "ingressClassName": "c", "rules": [rule(host, json!([path("Prefix", "/", service)]))],
            })
        };
        let first =
            json!({ "group.order": "-1", "listen-ports": r#"[{"HTTPS":80}]"#, "certificate-arn": "c" });
        let served = with_services(World::new(), &["shop/a", "shop/b"])
            .class("c", &settings.controller.to_string(), false, None)
            .aged("shop/a", 1, grouped(json!({})), of("a.com", "a"))
            .aged("shop/b", 2, grouped(first), of("b.com", "b"))
            .one(&settings);
        let what = settings.controller.to_string();
        assert!(!served.balancer.listeners[&Port::HTTP].is_https(), "{what}");
        assert_eq!(served.get_at(80, "a.com/"), "shop/a", "{what}");
        assert_eq!(served.get_at(80, "b.com/"), "404", "{what}");
        served.told(
            Code::SettingConflict,
            "ingress shop/b metadata.annotations[alb.ingress.kubernetes.io/listen-ports]",
        );
    }
}

#[test]
fn in_a_group_of_several_namespaces_a_host_belongs_to_the_oldest_ingress() {
    let group = grouped(json!({}));
    let world = with_services(World::new(), &["shop/a", "blog/b", "blog/d"])
        .aged(
            "shop/a",
            1,
            group.clone(),
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))] }),
        )
        .aged(
            "blog/b",
            2,
            group,
            json!({
                "defaultBackend": to("d"),
                "rules": [
                    rule("a.com", json!([path("Exact", "/login", "b")])),
                    rule("", json!([path("Exact", "/x", "b")])),
                    rule("b.com", json!([path("Prefix", "/", "b")])),
                ],
            }),
        );
    let served = world.one(&ours());
    for (url, want) in [
        ("a.com/login", "shop/a"),
        ("b.com/", "blog/b"),
        ("c.com/x", "404"),
        ("c.com/", "404"),
    ] {
        assert_eq!(served.get(url), want, "{url}");
    }
    let told: Vec<String> = served
        .problems
        .iter()
        .map(|problem| problem.at.to_string())
        .collect();
    assert_eq!(
        told,
        [
            "ingress blog/b spec.defaultBackend",
            "ingress blog/b spec.rules[0].http.paths[0]",
            "ingress blog/b spec.rules[1].http.paths[0]",
        ]
    );
    assert!(served.codes().iter().all(|code| *code == Code::HostNotOwned));
    let message = &served.problems[0].message;
    assert!(message.ends_with("shop/a is older"), "{message}");

    // Under the incumbent's semantics what is served today stays, and is told.
    let served = world.one(&theirs());
    assert_eq!(served.get("a.com/login"), "blog/b", "its order puts blog first");
    assert_eq!(served.get("c.com/"), "blog/d");
    assert_eq!(
        served
            .codes()
            .iter()
            .filter(|code| **code == Code::HostNotOwned)
            .count(),
        3
    );
}

#[test]
fn a_class_in_plan_mode_is_only_shown() {
    for (mode, want) in [
        (None, Mode::Apply),
        (Some("Apply"), Mode::Apply),
        (Some("Plan"), Mode::Plan),
    ] {
        let parameters = mode.map_or_else(|| json!({}), |mode| json!({ "mode": mode }));
        let all = World::new()
            .class("c", ControllerName::OURS, true, Some("p"))
            .parameters("p", parameters)
            .ingress("shop/web", json!({}), json!({}))
            .all(&Settings::default());
        assert_eq!(all["shop/web"].mode, want, "{mode:?}");
    }
}

#[test]
fn a_class_gives_scheme_and_semantics() {
    for (parameters, scheme, semantics, problem) in [
        (
            json!({}),
            Scheme::Internal,
            portcullis_model::Semantics::Kubernetes,
            None,
        ),
        (
            json!({ "scheme": "internet-facing", "semantics": "AwsLoadBalancerController" }),
            Scheme::InternetFacing,
            portcullis_model::Semantics::AwsLoadBalancerController,
            None,
        ),
        (
            json!({ "scheme": "public" }),
            Scheme::Internal,
            portcullis_model::Semantics::Kubernetes,
            Some(Code::ClassParametersInvalid),
        ),
    ] {
        let served = World::new()
            .class("c", ControllerName::OURS, true, Some("p"))
            .parameters("p", parameters.clone())
            .ingress("shop/web", json!({}), json!({}))
            .one(&Settings::default());
        assert_eq!(served.balancer.options.scheme, scheme, "{parameters}");
        assert_eq!(served.balancer.semantics, semantics, "{parameters}");
        assert_eq!(served.codes().first().copied(), problem, "{parameters}");
    }
}

#[test]
fn a_certificate_serves_only_hosts_that_its_namespace_may_have() {
    let secret = |namespace: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": namespace, "name": "cert" },
            "type": "kubernetes.io/tls", "data": { "tls.crt": "eA==", "tls.key": "eA==" },
        })
    };
    let first = json!({ "group.order": "-1" });
    for (hosts, want, problems) in [
        (
            json!(["b.com"]),
            vec!["shop/cert a.com", "blog/cert b.com"],
            vec![],
        ),
        (
            json!(["a.com", "b.com"]),
            vec!["shop/cert a.com", "blog/cert b.com"],
            vec!["spec.tls[0].hosts[0]"],
        ),
        (
            json!(["a.com"]),
            vec!["shop/cert a.com"],
            vec!["spec.tls[0].hosts[0]"],
        ),
        (
            json!(["*.b.com"]),
            vec!["shop/cert a.com", "blog/cert *.b.com"],
            vec![],
        ),
        // Whatever the certificate names, it is for the hosts of its own Ingress.
        (json!([]), vec!["shop/cert a.com", "blog/cert b.com"], vec![]),
    ] {
        let mut world = with_services(World::new(), &["shop/a", "blog/b"])
            .with(secret("shop"))
            .with(secret("blog"))
            .aged(
                "shop/a",
                1,
                grouped(json!({})),
                json!({
                    "tls": [{ "hosts": ["a.com"], "secretName": "cert" }],
                    "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))],
                }),
            )
            .aged(
                "blog/b",
                2,
                grouped(first.clone()),
                json!({
                    "tls": [{ "hosts": hosts, "secretName": "cert" }],
                    "rules": [rule("b.com", json!([path("Prefix", "/", "b")]))],
                }),
            );
        world.secrets = SecretsMode::Read;
        let served = world.one(&ours());
        let portcullis_model::Protocol::Https(tls) = &served.balancer.listeners[&Port::HTTPS].protocol else {
            panic!("443 is plain")
        };
        let got: Vec<String> = tls
            .certificates
            .iter()
            .map(|certificate| {
                let portcullis_model::CertificateSource::Stored(secret) = &certificate.source else {
                    panic!("{certificate:?}")
                };
                let hosts: Vec<String> = certificate.hosts.iter().map(|host| host.to_string()).collect();
                format!("{secret} {}", hosts.join(","))
            })
            .collect();
        assert_eq!(got, want, "{hosts}");
        let told: Vec<String> = served
            .problems
            .iter()
            .map(|problem| problem.at.field.to_string())
            .collect();
        assert_eq!(told, problems, "{hosts}");
    }
}

#[test]
fn under_kubernetes_semantics_each_member_redirects_for_itself() {
    let both = r#"[{"HTTP":80},{"HTTPS":443}]"#;
    let served = two(
        json!({ "listen-ports": both, "ssl-redirect": "443" }),
        json!({ "listen-ports": both }),
    )
    .one(&ours());
    for (port, url, want) in [
        (80, "a.com/x", "→ 301"),
        (443, "a.com/x", "shop/a"),
        (80, "b.com/x", "shop/b"),
        (80, "none.com/x", "404"),
    ] {
        assert_eq!(served.get_at(port, url), want, "{url} at {port}");
    }

    // Where all do, the listener does it, and no rule is spent on it.
    let all = json!({ "listen-ports": both, "ssl-redirect": "443" });
    let served = two(all.clone(), all).one(&ours());
    assert_eq!(served.get("none.com/x"), "→ 301");
    assert!(
        served
            .balancer
            .rules
            .iter()
            .all(|rule| !rule.ports.contains(&Port::HTTP))
    );
}

#[test]
fn a_condition_s_hosts_rank_behind_wildcards_and_before_every_host() {
    let host = |value: &str| {
        json!([{ "field": "host-header", "hostHeaderConfig": { "values": [value] } }]).to_string()
    };
    let served = with_services(World::new(), &["shop/any", "shop/glob", "shop/wild", "shop/exact"])
        .ingress(
            "shop/web",
            alb(&[("conditions.glob", &host("*.a.com")), ("conditions.exact", &host("x.a.com"))]),
            json!({ "rules": [
                rule("", json!([path("Prefix", "/", "any"), path("Prefix", "/g", "glob"), path("Prefix", "/e", "exact")])),
                rule("*.a.com", json!([path("Prefix", "/w", "wild")])),
            ] }),
        )
        .one(&ours());
    for (url, want) in [
        ("x.a.com/e", "shop/exact"),
        ("x.a.com/w", "shop/wild"),
        ("y.a.com/w", "shop/wild"),
        ("y.a.com/g", "404"),
        ("z.y.a.com/g", "shop/glob"),
        ("z.y.a.com/w", "shop/any"),
    ] {
        assert_eq!(served.get(url), want, "{url}: {:#?}", served.rules());
    }
}

#[test]
fn whole_settings_are_for_the_namespace_of_the_oldest_member_to_say() {
    // At a port of plain HTTP the policy is no matter, and is told once.
    let both = r#"[{"HTTP":80},{"HTTPS":443}]"#;
    let change = json!({
        "group.order": "-1", "subnets": "s-1", "ssl-policy": "P1", "listen-ports": both, "certificate-arn": "c",
    });
    let granted = |hosts: Value| json!({ "admission": { "hosts": hosts } });
    let every = json!([{ "namespaces": ["shop", "blog"], "hosts": ["*"] }]);
    let own = json!([{ "namespaces": ["shop"], "hosts": ["a.com"] }, { "namespaces": ["blog"], "hosts": ["b.com"] }]);
    for (settings, parameters, age, heeded, told) in [
        (ours(), json!({}), 2, false, 2),
        (ours(), json!({}), 0, true, 0),
        (ours(), granted(every), 2, true, 0),
        (ours(), granted(own), 2, false, 2),
        // The incumbent heeds it; it is told.
        (theirs(), json!({}), 2, true, 2),
    ] {
        let controller = settings.controller.to_string();
        let shop = json!({ "listen-ports": both, "certificate-arn": "c" });
        let served = with_services(World::new(), &["shop/a", "blog/b"])
            .parameters("p", parameters.clone())
            .class("c", &controller, false, Some("p"))
            .aged(
                "shop/a",
                2,
                grouped(shop),
                json!({ "ingressClassName": "c", "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))] }),
            )
            .aged(
                "blog/b",
                age + 1,
                grouped(change.clone()),
                json!({ "ingressClassName": "c", "rules": [rule("b.com", json!([path("Prefix", "/", "b")]))] }),
            )
            .one(&settings);
        let portcullis_model::Protocol::Https(tls) = &served.balancer.listeners[&Port::HTTPS].protocol else {
            panic!("443 is plain")
        };
        assert_eq!(
            !served.balancer.options.subnets.is_empty(),
            heeded,
            "{parameters}"
        );
        assert_eq!(tls.policy.is_some(), heeded, "{parameters}");
        let codes = served.codes().into_iter();
        let not_owned = codes.filter(|code| *code == Code::SettingNotOwned).count();
        assert_eq!(not_owned, told, "{parameters}: {:?}", served.problems);
    }
}

#[test]
fn who_asked_to_be_kept_behind_more_than_the_group_has_is_not_served_without_it() {
    for (a, b, want) in [
        (
            json!({ "scheme": "internet-facing" }),
            json!({ "scheme": "internal" }),
            "503",
        ),
        (
            json!({ "scheme": "internal" }),
            json!({ "scheme": "internet-facing" }),
            "shop/b",
        ),
        (
            json!({ "security-groups": "sg-1" }),
            json!({ "security-groups": "sg-2" }),
            "503",
        ),
        (
            json!({ "security-groups": "sg-1,sg-2" }),
            json!({ "security-groups": "sg-2,sg-1" }),
            "shop/b",
        ),
        (json!({ "security-groups": "sg-1" }), json!({}), "shop/b"),
    ] {
        for settings in [ours(), theirs()] {
            // The incumbent serves it all the same.
            let want = if settings.controller == ours().controller {
                want
            } else {
                "shop/b"
            };
            let served = two(a.clone(), b.clone()).one(&settings);
            let got = served.get("b.com/");
            assert_eq!(got, want, "{a} {b}");
            assert!(served.get("a.com/") == "shop/a", "{a} {b}");
        }
    }
}
