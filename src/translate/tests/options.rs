//! What Ingresses ask of their load balancer as a whole in, the options of the model or the problem at its field out.

use super::*;

/// One Ingress with these annotations, for host `a.com`.
fn alone(annotations: &[(&str, &str)], settings: &Settings) -> Served {
    World::new()
        .service("shop/s")
        .ingress(
            "shop/web",
            alb(annotations),
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] }),
        )
        .one(settings)
}

/// Two members of a group, `a` before `b`.
fn two(a: &[(&str, &str)], b: &[(&str, &str)]) -> Served {
    two_under(&ours(), a, b)
}

fn two_under(settings: &Settings, a: &[(&str, &str)], b: &[(&str, &str)]) -> Served {
    let member = |world: World, name: &str, order: &str, more: &[(&str, &str)]| {
        let annotations = [&[("group.name", "g"), ("group.order", order)], more].concat();
        world.service(&format!("shop/{name}")).ingress(
            &format!("shop/{name}"),
            alb(&annotations),
            json!({ "rules": [rule(&format!("{name}.com"), json!([path("Prefix", "/", name)]))] }),
        )
    };
    member(member(World::new(), "a", "1", a), "b", "2", b).one(settings)
}

fn at(name: &str) -> String {
    format!("ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/{name}]")
}

const LISTS: &str = "security-group-prefix-lists";

#[test]
fn prefix_lists_let_in_beside_ranges_and_everybody_only_without_both() {
    for (annotations, nets, lists, broken) in [
        (vec![], None, None, false),
        (
            vec![(LISTS, "pl-1,, pl-2")],
            Some(vec![]),
            Some(vec!["pl-1", "pl-2"]),
            false,
        ),
        (
            vec![(LISTS, "pl-1"), ("inbound-cidrs", "10.0.0.0/8")],
            Some(vec!["10.0.0.0/8"]),
            Some(vec!["pl-1"]),
            false,
        ),
        (vec![(LISTS, "")], None, None, true),
        (vec![(LISTS, ",")], None, None, true),
        (vec![(LISTS, ""), ("inbound-cidrs", "")], None, None, true),
        (
            vec![(LISTS, "pl-1"), ("inbound-cidrs", "any")],
            Some(vec![]),
            Some(vec!["pl-1"]),
            true,
        ),
        (vec![(LISTS, "office")], Some(vec![]), None, true),
        (vec![(LISTS, "pl-,pl-1")], Some(vec![]), Some(vec!["pl-1"]), true),
        (
            vec![(LISTS, ""), ("inbound-cidrs", "10.0.0.0/8")],
            Some(vec!["10.0.0.0/8"]),
            None,
            true,
        ),
        (
            vec![(LISTS, "pl-1"), ("inbound-cidrs", "")],
            Some(vec![]),
            Some(vec!["pl-1"]),
            true,
        ),
    ] {
        let served = alone(&annotations, &ours());
        let options = &served.balancer.options;
        let shown = options.admitted.get(&Port::HTTP);
        let shown = shown.map(|nets| nets.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            shown,
            nets.map(|nets| nets.into_iter().map(str::to_owned).collect()),
            "{annotations:?}"
        );
        let shown = options.admitted_lists.get(&Port::HTTP);
        let shown = shown.map(|lists| lists.iter().map(String::as_str).collect());
        assert_eq!(shown, lists, "{annotations:?}");
        assert_eq!(!served.problems.is_empty(), broken, "{annotations:?}");
    }
}

#[test]
fn a_member_with_other_prefix_lists_lets_in_nobody_whom_it_keeps_out() {
    // Of a, b: what each answers to whom the port lets in.
    for (a, b, want) in [
        (Some("pl-1"), Some("pl-1"), ["shop/a", "shop/b"]),
        (Some("pl-1"), Some("pl-1,pl-2"), ["shop/a", "shop/b"]),
        (Some("pl-1,pl-2"), Some("pl-1"), ["shop/a", "403"]),
        (Some("pl-1"), Some("pl-2"), ["shop/a", "403"]),
        (Some("pl-1"), None, ["shop/a", "shop/b"]),
        (Some("pl-1"), Some("office"), ["shop/a", "403"]),
        (Some("office"), Some("pl-1"), ["403", "shop/b"]),
        (Some("office"), None, ["403", "shop/b"]),
        (None, Some("office,pl-1"), ["shop/a", "403"]),
    ] {
        fn given(lists: Option<&str>) -> Vec<(&'static str, &str)> {
            lists.map(|lists| (LISTS, lists)).into_iter().collect()
        }
        // One that the provider lacks is no better than one that cannot be read.
        let absent = |list: Option<&str>| list.map(|list| list.replace("office", "pl-9"));
        let (a9, b9) = (absent(a), absent(b));
        for (a, b, mut settings) in [
            (a, b, ours()),
            (a, b, theirs()),
            (a9.as_deref(), b9.as_deref(), ours()),
            (a9.as_deref(), b9.as_deref(), theirs()),
        ] {
            settings.absent_lists = ["pl-9".to_owned()].into();
            let served = two_under(&settings, &given(a), &given(b));
            let got = ["a.com/", "b.com/"].map(|url| served.get(url));
            assert_eq!(got, want, "{a:?} {b:?}");
            let sound: Vec<&str> = [a, b]
                .into_iter()
                .flatten()
                .filter(|l| !l.contains("office") && !l.contains("pl-9"))
                .collect();
            for (name, _) in [("a", a), ("b", b)]
                .into_iter()
                .filter(|(_, l)| l.is_some_and(|l| l.contains("pl-9")))
            {
                let at = at(LISTS).replace("web", name);
                served.told(Code::ResourceNotFound, &at);
            }
            let lists = served.balancer.options.admitted_lists.get(&Port::HTTP);
            let lists = lists.map(|lists| lists.iter().cloned().collect::<Vec<_>>().join(","));
            assert_eq!(lists.as_deref(), sound.first().copied(), "{a:?} {b:?}");
        }
    }
}

#[test]
fn who_cannot_know_prefix_lists_serves_nobody() {
    for more in [None, Some(("inbound-cidrs", "0.0.0.0/0"))] {
        let annotations: Vec<_> = [(LISTS, "pl-1")].into_iter().chain(more).collect();
        let served = alone(&annotations, &Settings::for_serving(ControllerName::default()));
        let request = Request::get(Port::HTTP, "a.com", "/");
        assert_eq!(served.ask(&request), "503", "{more:?}");
        served.told(Code::AnnotationUnsupported, &at(LISTS));
    }
}

#[test]
fn capacity_is_a_number_of_units() {
    for (text, want) in [
        ("CapacityUnits=1500", Some(1500)),
        ("CapacityUnits=0", Some(0)),
        ("CapacityUnits=", None),
        ("CapacityUnits=-1", None),
        ("CapacityUnits=1.5", None),
        ("CapacityUnits=99999999999", None),
        ("capacityUnits=1", None),
        ("CapacityUnits=1,Zone=a", None),
        ("1500", None),
        ("", None),
    ] {
        let served = alone(&[("minimum-load-balancer-capacity", text)], &ours());
        assert_eq!(served.balancer.options.minimum_capacity, want, "{text:?}");
        match want {
            Some(_) => assert_eq!(served.problems, [], "{text:?}"),
            None => served.told(Code::AnnotationInvalid, &at("minimum-load-balancer-capacity")),
        }
        assert_eq!(served.get("a.com/"), "shop/s", "{text:?}");
    }
}

#[test]
fn http_3_is_asked_for_in_so_many_words() {
    for (text, want) in [
        ("true", Some(true)),
        ("false", Some(false)),
        ("yes", None),
        ("", None),
    ] {
        let meta = json!({ "portcullis.dev/http3": text });
        let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
        let served = World::new()
            .service("shop/s")
            .ingress("shop/web", meta, spec)
            .one(&ours());
        assert_eq!(served.balancer.options.http3, want.unwrap_or(false), "{text:?}");
        let at = "ingress shop/web metadata.annotations[portcullis.dev/http3]";
        match want {
            Some(_) => assert_eq!(served.problems, [], "{text:?}"),
            None => served.told(Code::AnnotationInvalid, at),
        }
    }
}

#[test]
fn pools_have_names() {
    let served = alone(
        &[
            ("customer-owned-ipv4-pool", "coip-1"),
            ("ipam-ipv4-pool-id", "ipam-pool-1"),
        ],
        &ours(),
    );
    let pools = &served.balancer.options.pools;
    assert_eq!(
        (pools.on_premises.as_deref(), pools.public.as_deref()),
        (Some("coip-1"), Some("ipam-pool-1"))
    );
    let served = alone(&[("customer-owned-ipv4-pool", "")], &ours());
    assert_eq!(served.balancer.options.pools.on_premises, None);
    served.told(Code::AnnotationInvalid, &at("customer-owned-ipv4-pool"));
}

#[test]
fn listener_attributes_are_of_a_listener_of_the_ingress() {
    let ports = ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#);
    for (listener, value, want) in [
        ("HTTP-80", "a=1,b=2", Some((80, vec![("a", "1"), ("b", "2")]))),
        ("HTTPS-443", "a=", Some((443, vec![("a", "")]))),
        ("HTTPS-80", "a=1", None),
        ("HTTP-8080", "a=1", None),
        ("http-80", "a=1", None),
        ("HTTP", "a=1", None),
        ("HTTP-0", "a=1", None),
        ("HTTP-80", "a", None),
    ] {
        let name = format!("listener-attributes.{listener}");
        let served = alone(&[ports, (&name, value)], &ours());
        let shown: Vec<_> = served.balancer.options.listener_attributes.iter().collect();
        match want {
            Some((port, pairs)) => {
                let pairs = pairs
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .collect();
                assert_eq!(shown, [(&Port::new(port).unwrap(), &pairs)], "{name}");
                assert_eq!(served.problems, [], "{name}");
            }
            None => {
                assert_eq!(shown, [], "{name}");
                served.told(Code::AnnotationInvalid, &at(&name));
            }
        }
        assert_eq!(served.get("a.com/"), "shop/s", "{name}");
    }
}

#[test]
fn an_attribute_that_aws_refuses_is_left_out_alone_and_told_at_its_member() {
    for (name, bad, good) in [
        (
            "load-balancer-attributes",
            "idle_timeout.timeout_seconds=0,routing.http2.enabled=false",
            "idle_timeout.timeout_seconds=120",
        ),
        (
            "listener-attributes.HTTP-80",
            "routing.http.response.server.enabled=off,added.since=x",
            "routing.http.response.server.enabled=false",
        ),
    ] {
        let served = two(&[(name, bad)], &[(name, good)]);
        served.told(
            Code::AnnotationInvalid,
            &format!("ingress shop/a metadata.annotations[alb.ingress.kubernetes.io/{name}]"),
        );
        assert_eq!(served.problems.len(), 1, "{name}: {:?}", served.problems);
        let options = &served.balancer.options;
        let set = options.listener_attributes.values().chain([&options.attributes]);
        let set: Vec<String> = set
            .flatten()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let kept = bad.split_once(',').unwrap().1;
        assert_eq!(set.len(), 2, "{name}: {set:?}");
        assert!(
            set.contains(&kept.to_owned()) && set.contains(&good.to_owned()),
            "{name}: {set:?}"
        );
    }
}

#[test]
fn of_two_values_the_first_member_s_counts() {
    for (name, a, b) in [
        ("customer-owned-ipv4-pool", "coip-1", "coip-2"),
        ("ipam-ipv4-pool-id", "ipam-pool-1", "ipam-pool-2"),
        (
            "minimum-load-balancer-capacity",
            "CapacityUnits=100",
            "CapacityUnits=200",
        ),
        ("listener-attributes.HTTP-80", "a=1", "a=2,b=2"),
    ] {
        let served = two(&[(name, a)], &[(name, b)]);
        served.told(
            Code::SettingConflict,
            &format!("ingress shop/b metadata.annotations[alb.ingress.kubernetes.io/{name}]"),
        );
        let shown = format!("{:?}", served.balancer.options);
        let first = two(&[(name, a)], &[]);
        if name.starts_with("listener") {
            // Attribute by attribute.
            assert!(shown.contains(r#""a": "1", "b": "2""#), "{shown}");
        } else {
            assert_eq!(shown, format!("{:?}", first.balancer.options), "{name}");
        }
        for host in ["a", "b"] {
            assert_eq!(
                served.get(&format!("{host}.com/")),
                format!("shop/{host}"),
                "{name}"
            );
        }
    }
}

#[test]
fn tags_without_room_are_told_at_their_member_and_cost_nobody_else_theirs() {
    let many: Vec<String> = (0..60).map(|n| format!("k{n:02}=v")).collect();
    let many = many.join(",");
    for (first, second, kept, told) in [
        ("team=core", many.as_str(), 40, Some("shop/b")),
        (many.as_str(), "team=core", 40, Some("shop/a")),
        ("team=core", "cost=7", 2, None),
    ] {
        let served = two(&[("tags", first)], &[("tags", second)]);
        assert_eq!(served.balancer.options.tags.len(), kept, "{first} {second}");
        assert_eq!(served.balancer.rules.len(), two(&[], &[]).balancer.rules.len());
        let problem = served.problems.iter().find(|p| p.code == Code::LimitExceeded);
        let at = problem.map(|p| p.at.object.to_string());
        assert_eq!(at.as_deref(), told, "{first} {second}");
    }
}

#[test]
fn under_the_incumbent_s_semantics_rules_have_the_tags_of_their_own_ingress() {
    for (first, second, settings, want) in [
        ("Team=x", "Owner=y", theirs(), vec!["Team", "Owner"]),
        ("Team=x", "Team=x", theirs(), vec![]),
        ("Team=x", "Owner=y", ours(), vec![]),
    ] {
        let world = ["shop/a", "shop/b"].iter().zip([first, second]).fold(
            with_services(World::new(), &["shop/s"]),
            |world, (name, tags)| {
                let annotations = alb(&[("group.name", "g"), ("tags", tags)]);
                world.ingress(
                    name,
                    annotations,
                    json!({"rules": [rule("a.com", json!([path("Prefix", "/", "s")]))]}),
                )
            },
        );
        let served = world.one(&settings);
        let own = served.balancer.options.rule_tags.values();
        let keys: Vec<&str> = own.flat_map(|tags| tags.keys().map(String::as_str)).collect();
        assert_eq!(keys, want, "{first} {second}");
    }
}

#[test]
fn tags_that_are_not_a_user_s_to_set_are_told_and_left_out() {
    for key in [
        "aws:x",
        "elbv2.k8s.aws/cluster",
        "ingress.k8s.aws/stack",
        "portcullis.dev/namespace",
    ] {
        let tags = format!("Team=core,{key}=mine");
        let served = alone(&[("tags", &tags)], &ours());
        let kept: Vec<&str> = served.balancer.options.tags.keys().map(String::as_str).collect();
        assert_eq!(kept, ["Team"]);
        served.told(Code::AnnotationInvalid, &at("tags"));
        let backend = served.balancer.backends.values().next().unwrap();
        assert_eq!(backend.tags.keys().collect::<Vec<_>>(), ["Team"]);

        let front = [
            ("enable-frontend-nlb", "true"),
            ("frontend-nlb-tags", tags.as_str()),
        ];
        let served = alone(&front, &ours());
        let tags = served
            .balancer
            .options
            .front
            .as_ref()
            .unwrap()
            .tags
            .clone()
            .unwrap();
        assert_eq!(tags.keys().collect::<Vec<_>>(), ["Team"]);
        served.told(Code::AnnotationInvalid, &at("frontend-nlb-tags"));

        let world = World::new().annotated_service("shop/s", alb(&[("tags", "Team=x,aws:y=1")]));
        let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
        let served = world.ingress("shop/web", json!({}), spec).one(&ours());
        served.told(
            Code::AnnotationInvalid,
            "service shop/s metadata.annotations[alb.ingress.kubernetes.io/tags]",
        );
    }
}

#[test]
fn a_control_port_of_no_backend_is_told() {
    let action = r#"{"type":"forward","forwardConfig":{"targetGroups":[
        {"serviceName":"s","servicePort":"http","weight":1},{"serviceName":"t","servicePort":8080,"weight":1}]}}"#;
    for (name, known) in [
        ("s.80", true),
        ("s.http", true),
        ("t.8080", true),
        ("s.8080", false),
        ("web.80", false),
        ("s", false),
        ("split.use-annotation", false),
    ] {
        let name = format!("target-control-port.{name}");
        let world = with_services(World::new(), &["shop/s", "shop/t"]);
        let served = world
            .ingress(
                "shop/web",
                alb(&[("actions.split", action), (&name, "3000")]),
                json!({ "rules": [rule("a.com", json!([
                    path("Prefix", "/", "s"),
                    { "path": "/split", "pathType": "Prefix", "backend": to_action("split") },
                ]))] }),
            )
            .one(&ours());
        match known {
            true => assert_eq!(served.problems, [], "{name}"),
            false => served.told(Code::AnnotationUnknown, &at(&name)),
        }
    }
}
