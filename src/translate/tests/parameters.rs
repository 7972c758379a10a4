//! Parameters of classes, ours and the incumbent's, in; load balancers that are as the class says out.

use portcullis_model::{AddressFamily, FirewallChoice, Scheme, TargetKind};

use super::*;

/// Either kind of parameters, which have most of their fields in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Ours,
    Incumbent,
}

const SORTS: [Sort; 2] = [Sort::Ours, Sort::Incumbent];

/// Class `c` with these parameters, which every Ingress without a class has.
fn with_class(sort: Sort, spec: Value) -> World {
    class_named(World::new(), "c", sort, spec)
}

fn class_named(world: World, name: &str, sort: Sort, spec: Value) -> World {
    let (group, version, kind) = match sort {
        Sort::Ours => ("portcullis.dev", "v1alpha1", "IngressClassParameters"),
        Sort::Incumbent => ("elbv2.k8s.aws", "v1beta1", "IngressClassParams"),
    };
    world
        .with(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": { "name": name, "annotations": {
                "ingressclass.kubernetes.io/is-default-class": (name == "c").to_string(),
            } },
            "spec": {
                "controller": ControllerName::OURS,
                "parameters": { "apiGroup": group, "kind": kind, "name": name },
            },
        }))
        .with(json!({
            "apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": { "name": name }, "spec": spec,
        }))
}

fn web(world: World, annotations: &[(&str, &str)]) -> World {
    world.service("shop/s").ingress(
        "shop/web",
        alb(annotations),
        json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] }),
    )
}

#[test]
fn every_field_sets_what_its_annotation_sets() {
    for sort in SORTS {
        let served = web(
            with_class(
                sort,
                json!({
                    "group": { "name": "public" },
                    "scheme": "internet-facing",
                    "ipAddressType": "dualstack",
                    "loadBalancerName": "edge",
                    "subnets": { "ids": ["subnet-b", "subnet-a"] },
                    "inboundCIDRs": ["10.0.0.0/8"],
                    "prefixListsIDs": ["pl-1"],
                    "certificateArn": ["arn:1", "arn:2"],
                    "sslPolicy": "P1",
                    "tags": [{ "key": "team", "value": "a,b=c" }],
                    "targetType": "ip",
                    "loadBalancerAttributes": [{ "key": "idle_timeout.timeout_seconds", "value": "90" }],
                    "listeners": [{ "protocol": "HTTPS", "port": 443,
                        "listenerAttributes": [{ "key": "x", "value": "1" }] }],
                    "minimumLoadBalancerCapacity": { "capacityUnits": 1500 },
                    "ipamConfiguration": { "ipv4IPAMPoolId": "ipam-pool-1" },
                    "wafv2AclName": "edge",
                }),
            ),
            &[("target-type", "instance")],
        )
        .one(&ours());
        assert_eq!(served.problems, [], "{sort:?}");
        let balancer = &served.balancer;
        let options = &balancer.options;
        assert_eq!(balancer.id.to_string(), "public");
        assert_eq!(options.scheme, Scheme::InternetFacing);
        assert_eq!(options.address_family, AddressFamily::Dualstack);
        assert_eq!(options.name.as_deref(), Some("edge"));
        assert_eq!(options.subnets, ["subnet-a", "subnet-b"]);
        assert_eq!(options.admitted[&Port::HTTPS].len(), 1);
        assert!(options.admitted_lists[&Port::HTTPS].contains("pl-1"));
        assert_eq!(options.tags["team"], "a,b=c");
        assert_eq!(options.attributes["idle_timeout.timeout_seconds"], "90");
        assert_eq!(options.listener_attributes[&Port::HTTPS]["x"], "1");
        assert_eq!(options.minimum_capacity, Some(1500));
        assert_eq!(options.pools.public.as_deref(), Some("ipam-pool-1"));
        let firewall = options.firewall.as_ref().map(|firewall| &firewall.choice);
        assert_eq!(firewall, Some(&FirewallChoice::Named("edge".into())));
        assert!(balancer.listeners[&Port::HTTPS].is_https());
        let portcullis_model::Protocol::Https(tls) = &balancer.listeners[&Port::HTTPS].protocol else {
            panic!("{balancer:?}")
        };
        assert_eq!(tls.policy.as_deref(), Some("P1"));
        assert_eq!(tls.certificates.len(), 2);
        for backend in balancer.backends.values() {
            assert_eq!(
                (backend.target_kind, backend.tags["team"].as_str()),
                (TargetKind::Pod, "a,b=c")
            );
        }
    }
}

/// What the incumbent's parameters have no field for.
#[test]
fn a_class_of_ours_asks_for_http_3() {
    for (spec, written, want) in [
        (json!({ "http3": true }), "false", true),
        (json!({ "http3": false }), "true", false),
        (json!({}), "true", true),
    ] {
        let meta = json!({ "portcullis.dev/http3": written });
        let rules = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
        let world = with_class(Sort::Ours, spec.clone()).service("shop/s");
        let served = world.ingress("shop/web", meta, rules).one(&ours());
        assert_eq!(served.balancer.options.http3, want, "{spec} {written}");
        assert_eq!(served.problems, [], "{spec} {written}");
    }
}

#[test]
fn the_class_wins_over_the_service_and_the_ingress() {
    for sort in SORTS {
        let class = with_class(
            sort,
            json!({
                "scheme": "internal",
                "inboundCIDRs": ["10.0.0.0/8"],
                "targetType": "ip",
                "tags": [{ "key": "team", "value": "class" }],
                "wafv2AclArn": "arn:class",
                "sslRedirectPort": "443",
            }),
        );
        let served = class
            .annotated_service(
                "shop/s",
                alb(&[("target-type", "instance"), ("tags", "team=service,from=service")]),
            )
            .ingress(
                "shop/web",
                alb(&[
                    ("scheme", "internet-facing"),
                    ("inbound-cidrs", "0.0.0.0/0"),
                    ("security-group-prefix-lists", "pl-mine"),
                    ("tags", "team=ingress,from=ingress,more=ingress"),
                    ("wafv2-acl-name", "none"),
                    ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
                ]),
                json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] }),
            )
            .one(&ours());
        let options = &served.balancer.options;
        assert_eq!(options.scheme, Scheme::Internal, "{sort:?}");
        let nets: Vec<String> = options.admitted[&Port::HTTP]
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            (nets, options.admitted_lists.len()),
            (vec!["10.0.0.0/8".to_owned()], 0),
            "{sort:?}"
        );
        assert_eq!(
            (options.tags["team"].as_str(), options.tags["more"].as_str()),
            ("class", "ingress")
        );
        let firewall = options.firewall.as_ref().map(|firewall| &firewall.choice);
        assert_eq!(
            firewall,
            Some(&FirewallChoice::Given("arn:class".into())),
            "{sort:?}"
        );
        let backend = served.balancer.backends.values().next().unwrap();
        assert_eq!(backend.target_kind, TargetKind::Pod);
        assert_eq!(
            (backend.tags["team"].as_str(), backend.tags["from"].as_str()),
            ("class", "service")
        );
        let mut request = Request::get(Port::HTTP, "a.com", "/");
        request.source = "10.1.1.1".parse().unwrap();
        assert_eq!(served.ask(&request), "→ 301", "{sort:?}");
    }
}

#[test]
fn what_cannot_be_read_is_told_at_the_field_of_the_parameters_and_opens_nothing() {
    for (spec, field, code, answer) in [
        (
            json!({ "scheme": "public" }),
            "spec.scheme",
            Code::ClassParametersInvalid,
            "shop/s",
        ),
        (
            json!({ "inboundCIDRs": ["any"] }),
            "spec.inboundCIDRs",
            Code::ClassParametersInvalid,
            "shop/s",
        ),
        (
            json!({ "wafv2AclArn": "" }),
            "spec.wafv2AclArn",
            Code::ClassParametersInvalid,
            "503",
        ),
        (
            json!({ "sslRedirectPort": "secure" }),
            "spec.sslRedirectPort",
            Code::ClassParametersInvalid,
            "503",
        ),
        (
            json!({ "minimumLoadBalancerCapacity": { "capacityUnits": -1 } }),
            "spec.minimumLoadBalancerCapacity",
            Code::ClassParametersInvalid,
            "shop/s",
        ),
    ] {
        for (sort, kind) in SORTS.iter().zip(["ingressclassparameters", "ingressclassparams"]) {
            let served = web(with_class(*sort, spec.clone()), &[]).one(&ours());
            served.told(code, &format!("{kind} c {field}"));
            assert_eq!(served.get("a.com/"), answer, "{spec}");
            assert_eq!(served.balancer.options.scheme, Scheme::Internal, "{spec}");
            let admitted = served.balancer.options.admitted.get(&Port::HTTP);
            assert_eq!(
                admitted.is_some_and(|nets| nets.is_empty()),
                field == "spec.inboundCIDRs",
                "{spec}"
            );
        }
    }
}

#[test]
fn parameters_that_are_not_whole_serve_nobody() {
    for (sort, spec, code) in [
        (
            Sort::Incumbent,
            json!({ "authenticationConfiguration": { "type": "oidc" } }),
            Code::ClassParametersInvalid,
        ),
        (
            Sort::Incumbent,
            json!({ "subnets": { "ids": ["a"], "tags": { "k": ["v"] } } }),
            Code::ClassParametersInvalid,
        ),
        (Sort::Ours, json!({ "subnets": {} }), Code::ClassParametersInvalid),
        (
            Sort::Ours,
            json!({ "group": { "name": "Public" } }),
            Code::GroupNameInvalid,
        ),
    ] {
        let refused = web(with_class(sort, spec.clone()), &[]).refused(&ours());
        let codes: Vec<Code> = refused.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, [code], "{spec}");
    }
    for (group, kind) in [
        ("elbv2.k8s.aws", "IngressClassParams"),
        ("portcullis.dev", "IngressClassParameters"),
    ] {
        let world = World::new().with(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
            "metadata": { "name": "c" },
            "spec": { "controller": ControllerName::OURS,
                "parameters": { "apiGroup": group, "kind": kind, "name": "gone" } },
        }));
        let refused = world
            .ingress("shop/web", json!({}), json!({ "ingressClassName": "c" }))
            .refused(&ours());
        assert_eq!(refused[0].code, Code::ClassParametersNotFound, "{kind}");
    }
}

#[test]
fn the_incumbent_s_class_admits_namespaces_by_label() {
    for (selector, admitted) in [
        (json!({}), true),
        (json!({ "matchLabels": { "team": "shop" } }), true),
        (json!({ "matchLabels": { "team": "blog" } }), false),
        (
            json!({ "matchExpressions": [{ "key": "team", "operator": "In", "values": ["blog", "shop"] }] }),
            true,
        ),
        (
            json!({ "matchExpressions": [{ "key": "team", "operator": "NotIn", "values": ["shop"] }] }),
            false,
        ),
        (
            json!({ "matchExpressions": [{ "key": "tier", "operator": "NotIn", "values": ["x"] }] }),
            true,
        ),
        (
            json!({ "matchExpressions": [{ "key": "team", "operator": "Exists" }] }),
            true,
        ),
        (
            json!({ "matchExpressions": [{ "key": "team", "operator": "DoesNotExist" }] }),
            false,
        ),
        (
            json!({ "matchExpressions": [{ "key": "team", "operator": "Equals", "values": ["shop"] }] }),
            false,
        ),
        (
            json!({ "matchLabels": { "team": "shop" }, "matchExpressions": [{ "key": "x", "operator": "Exists" }] }),
            false,
        ),
    ] {
        let world = with_class(Sort::Incumbent, json!({ "namespaceSelector": selector })).with(json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop", "labels": { "team": "shop" } },
        }));
        let refused = web(world, &[]).refused(&ours());
        assert_eq!(refused.is_empty(), admitted, "{selector}: {refused:?}");
    }
}

#[test]
fn in_a_group_attributes_of_load_balancers_are_those_of_the_first_member_s_class() {
    let attributes = |value: &str| json!({ "loadBalancerAttributes": [{ "key": "k", "value": value }] });
    let world = class_named(
        with_class(Sort::Incumbent, attributes("first")),
        "d",
        Sort::Incumbent,
        attributes("second"),
    );
    let spec = |host: &str, class: &str| json!({ "ingressClassName": class, "rules": [rule(host, json!([path("Prefix", "/", "s")]))] });
    let member = |order: &str| alb(&[("group.name", "g"), ("group.order", order)]);
    let served = world
        .service("shop/s")
        .ingress("shop/a", member("1"), spec("a.com", "c"))
        .ingress("shop/b", member("2"), spec("b.com", "d"))
        .one(&ours());
    assert_eq!(served.problems, []);
    assert_eq!(served.balancer.options.attributes["k"], "first");
}

#[test]
fn the_older_name_of_prefix_lists_is_read() {
    let served = web(
        with_class(Sort::Incumbent, json!({ "PrefixListsIDs": ["pl-1"] })),
        &[],
    )
    .one(&ours());
    assert!(served.balancer.options.admitted_lists[&Port::HTTP].contains("pl-1"));
    assert_eq!(served.balancer.options.admitted[&Port::HTTP].len(), 0);
}

#[test]
fn subnets_may_be_chosen_by_tag() {
    for sort in SORTS {
        let class = with_class(
            sort,
            json!({ "subnets": { "tags": { "net": ["edge", "core"] } } }),
        );
        let served = web(class, &[]).one(&ours());
        let tags = &served.balancer.options.subnet_tags;
        assert_eq!(
            tags["net"].iter().collect::<Vec<_>>(),
            ["core", "edge"],
            "{sort:?}"
        );
    }
}

#[test]
fn a_class_by_the_old_annotation_has_no_parameters() {
    let world = with_class(Sort::Incumbent, json!({ "scheme": "internet-facing" }));
    let served = web(world, &[]).one(&Settings {
        legacy_class: "alb".into(),
        ..ours()
    });
    assert_eq!(served.balancer.options.scheme, Scheme::InternetFacing);
    let theirs = theirs();
    let world = World::new().service("shop/s").ingress(
        "shop/web",
        json!({ "kubernetes.io/ingress.class": "alb" }),
        json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] }),
    );
    assert_eq!(world.one(&theirs).balancer.options.scheme, Scheme::Internal);
}

#[test]
fn a_load_balancer_is_to_stay_where_anybody_says_so() {
    use DeletionPolicy::{Delete, Retain};
    const POLICY: &str = "portcullis.dev/deletion-policy";
    for (class, a, b, want, told) in [
        (None, None, None, Delete, false),
        (None, Some("Delete"), Some("Delete"), Delete, false),
        (None, None, Some("Retain"), Retain, false),
        (None, Some("Retain"), Some("Delete"), Retain, false),
        // A mistake deletes nothing.
        (None, Some("retain"), None, Retain, true),
        (None, Some(""), None, Retain, true),
        (Some("Retain"), None, None, Retain, false),
        (Some("Delete"), Some("Retain"), None, Delete, false),
    ] {
        let parameters = class.map_or_else(|| json!({}), |policy| json!({ "deletionPolicy": policy }));
        let mut world = World::new()
            .class("c", ControllerName::OURS, true, Some("p"))
            .parameters("p", parameters);
        for (name, policy) in [("a", a), ("b", b)] {
            let mut annotations = alb(&[("group.name", "g")]);
            if let Some(policy) = policy {
                annotations[POLICY] = policy.into();
            }
            world = world.ingress(&format!("shop/{name}"), annotations, json!({}));
        }
        let all = world.all(&Settings::default());
        let row = (class, a, b);
        assert_eq!(all["g"].deletion_policy, want, "{row:?}");
        let codes: Vec<Code> = all["g"].problems.iter().map(|problem| problem.code).collect();
        assert_eq!(
            codes.contains(&Code::AnnotationInvalid),
            told,
            "{row:?}: {codes:?}"
        );
    }
}

#[test]
fn who_has_no_say_in_a_load_balancer_does_not_make_it_stay() {
    for (owner, want) in [
        ("shop/a", DeletionPolicy::Retain),
        ("blog/b", DeletionPolicy::Delete),
    ] {
        let mut world = World::new();
        for (place, name) in [(1, "shop/a"), (2, "blog/b")] {
            let mut annotations = alb(&[("group.name", "g")]);
            if name == owner {
                annotations["portcullis.dev/deletion-policy"] = "Retain".into();
            }
            world = world.aged(name, place, annotations, json!({}));
        }
        assert_eq!(world.all(&ours())["g"].deletion_policy, want, "{owner}");
    }
}
