//! Services, EndpointSlices, Pods and Nodes in, backends and targets out.

mod settings;

use std::collections::BTreeSet;

use portcullis_model::{Backend, BackendVersion, HealthPort, TargetKind, TargetState};

use super::*;

/// An Ingress with `/` to `other` and `/x` to this backend.
fn asking(world: World, annotations: Value, backend: Value) -> World {
    world.service("shop/other").ingress(
        "shop/web",
        annotations,
        json!({ "rules": [rule("a.com", json!([
            { "path": "/x", "pathType": "Prefix", "backend": backend }, path("Prefix", "/", "other"),
        ]))] }),
    )
}

fn backend<'a>(served: &'a Served, service: &str) -> &'a Backend {
    let mut all = served.balancer.backends.values();
    all.find(|backend| &*backend.service.name.name == service)
        .unwrap_or_else(|| panic!("{service}: {:?}", served.problems))
}

/// Targets as `address:port` with a `-` where they drain.
fn targets(backend: &Backend) -> Vec<String> {
    let shown = |target: &portcullis_model::Target| {
        let draining = if target.state == TargetState::Draining {
            "-"
        } else {
            ""
        };
        format!("{draining}{}:{}", target.address, target.port)
    };
    backend.targets.iter().map(shown).collect()
}

#[test]
fn a_backend_that_cannot_be_resolved_answers_503_at_its_own_path() {
    let external = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "ext" },
        "spec": { "type": "ExternalName", "externalName": "169.254.169.254" },
    });
    let odd = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "odd" },
        "spec": { "ports": [{ "port": 99999, "targetPort": 3000 }] },
    });
    let port = |service: &str, port: Value| json!({ "service": { "name": service, "port": port } });
    for (wanted, code, field) in [
        (
            port("none", json!({ "number": 80 })),
            Code::ServiceNotFound,
            ".service.name",
        ),
        (
            port("s", json!({ "number": 81 })),
            Code::ServicePortNotFound,
            ".service.port",
        ),
        (
            port("s", json!({ "name": "htpp" })),
            Code::ServicePortNotFound,
            ".service.port",
        ),
        (port("s", json!({})), Code::ServicePortNotFound, ".service.port"),
        // The Service has it, too.
        (
            port("odd", json!({ "number": 99999 })),
            Code::ServicePortNotFound,
            ".service.port",
        ),
        (
            port("ext", json!({ "number": 80 })),
            Code::ServiceTypeUnsupported,
            ".service.name",
        ),
        (to_action("none"), Code::ActionNotFound, ".service.name"),
        (json!({}), Code::BackendMissing, ""),
    ] {
        let world = World::new().service("shop/s").with(external.clone());
        let world = world.with(odd.clone());
        let served = asking(world, json!({}), wanted.clone()).one(&ours());
        served.told(
            code,
            &format!("ingress shop/web spec.rules[0].http.paths[0].backend{field}"),
        );
        assert_eq!(served.get("a.com/x/y"), "503", "{wanted}");
        assert_eq!(served.get("a.com/xy"), "shop/other", "{wanted}");
    }
}

#[test]
fn a_port_is_found_by_number_and_by_name() {
    for (port, want, number) in [
        (json!({ "number": 80 }), "10.0.0.1:3000", Some(3000)),
        (json!({ "name": "http" }), "10.0.0.1:3000", Some(3000)),
        // A named target port may differ from pod to pod.
        (json!({ "number": 8080 }), "10.0.0.1:3001", None),
        (json!({ "name": "admin" }), "10.0.0.1:3001", None),
    ] {
        let wanted = json!({ "service": { "name": "s", "port": port } });
        let served = asking(World::new().service("shop/s"), json!({}), wanted.clone()).one(&ours());
        let backend = backend(&served, "s");
        assert_eq!(targets(backend), [want], "{wanted}");
        assert_eq!(backend.port.map(Port::get), number, "{wanted}");
    }
}

#[test]
fn endpoints_serve_drain_or_are_not_there() {
    for (conditions, want) in [
        (json!({}), Some("10.0.0.9:3000")),
        (json!({ "ready": true }), Some("10.0.0.9:3000")),
        (json!({ "ready": false }), None),
        (
            json!({ "ready": false, "serving": true, "terminating": true }),
            Some("-10.0.0.9:3000"),
        ),
        (
            json!({ "ready": false, "serving": false, "terminating": true }),
            None,
        ),
        (
            json!({ "ready": false, "serving": true, "terminating": false }),
            None,
        ),
        // publishNotReadyAddresses
        (
            json!({ "ready": true, "serving": false, "terminating": true }),
            Some("10.0.0.9:3000"),
        ),
    ] {
        let world = World::new().with(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "s" },
            "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 3000 }] },
        }));
        let world = world.slice(
            "shop/s",
            json!([{ "addresses": ["10.0.0.9"], "conditions": conditions }]),
        );
        let served = asking(world, json!({}), to("s")).one(&ours());
        let want: Vec<&str> = want.into_iter().collect();
        assert_eq!(targets(backend(&served, "s")), want, "{conditions}");
        let ready = want.iter().any(|target| !target.starts_with('-'));
        assert_eq!(
            served.codes().contains(&Code::EndpointsNotFound),
            !ready,
            "{conditions}"
        );
    }
}

#[test]
fn a_service_has_the_targets_of_its_family() {
    let slice = |name: &str, kind: &str, endpoints: &Value| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "namespace": "shop", "name": name, "labels": { "kubernetes.io/service-name": "s" } },
            "addressType": kind, "ports": [{ "name": "", "port": 3000 }],
            "endpoints": endpoints,
        })
    };
    for (families, slices, want, ipv6) in [
        (json!([]), vec!["IPv4"], vec!["10.0.0.1:3000"], false),
        (json!([]), vec!["IPv6"], vec!["2001:db8::1:3000"], true),
        (json!([]), vec!["IPv4", "IPv6"], vec!["10.0.0.1:3000"], false),
        (
            json!(["IPv6", "IPv4"]),
            vec!["IPv4", "IPv6"],
            vec!["2001:db8::1:3000"],
            true,
        ),
        (json!(["IPv4"]), vec!["IPv6"], vec![], false),
        (
            json!(["IPv4", "IPv6"]),
            vec!["IPv4", "IPv6"],
            vec!["10.0.0.1:3000"],
            false,
        ),
        // A real cluster has a slice for each family, if need be one without endpoints.
        (
            json!(["IPv4", "IPv6"]),
            vec!["none", "IPv6"],
            vec!["2001:db8::1:3000"],
            true,
        ),
        (
            json!(["IPv6", "IPv4"]),
            vec!["IPv4"],
            vec!["10.0.0.1:3000"],
            false,
        ),
        (json!(["IPv6", "IPv4"]), vec![], vec![], true),
        (json!([]), vec!["FQDN"], vec![], false),
    ] {
        let mut world = World::new().with(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "s" },
            "spec": { "ipFamilies": families, "ports": [{ "port": 80, "targetPort": 3000 }] },
        }));
        for kind in &slices {
            let (kind, endpoints) = match *kind {
                "none" => ("IPv4", json!([])),
                "IPv4" => ("IPv4", json!([{ "addresses": ["10.0.0.1"] }])),
                "IPv6" => ("IPv6", json!([{ "addresses": ["2001:db8::1"] }])),
                _ => ("FQDN", json!([{ "addresses": ["db.example.com"] }])),
            };
            world = world.with(slice(&kind.to_lowercase(), kind, &endpoints));
        }
        let served = asking(world, json!({}), to("s")).one(&ours());
        assert_eq!(targets(backend(&served, "s")), want, "{families} {slices:?}");
        assert_eq!(backend(&served, "s").ipv6, ipv6, "{families} {slices:?}");
    }
}

fn pod(name: &str, namespace: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": namespace, "name": name, "labels": { "app": "s" } },
        "spec": {
            "nodeName": "n",
            "containers": [{ "name": "c", "ports": [{ "name": "adm", "containerPort": 3001 }] }],
        },
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

fn node(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "topology.kubernetes.io/zone": "eu-west-1a" } },
        "spec": { "providerID": format!("aws:///eu-west-1a/i-{name}") },
        "status": {
            "addresses": [{ "type": "InternalIP", "address": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

#[test]
fn a_target_is_an_address_of_a_pod_of_the_service_s_own_namespace() {
    let named = |name: &str| json!({ "kind": "Pod", "namespace": "shop", "name": name });
    // Pods known, then a folder, then a folder on the user's own machine; then whether node addresses are told.
    for (address, pod_ref, cluster, folder, own) in [
        ("10.0.0.5", Some("mine"), true, true, true),
        ("10.0.0.6", Some("mine"), false, false, false), // the pod has another address
        ("10.0.0.5", Some("gone"), false, true, true),
        ("10.0.0.5", None, false, true, true),
        ("10.0.0.7", Some("theirs"), false, true, true), // a pod of another namespace
        ("127.0.0.1", None, false, false, true),
        ("::1", None, false, false, true),
        ("::ffff:127.0.0.1", None, false, false, true),
        ("169.254.169.254", None, false, false, false),
        ("fe80::1", None, false, false, false),
        ("fd00:ec2::254", None, false, false, false),
        ("64:ff9b::a9fe:a9fe", None, false, false, false), // NAT64 of 169.254.169.254
        ("64:ff9b:1::a9fe:a9fe", None, false, false, false),
        ("2002:a9fe:a9fe::1", None, false, false, false), // 6to4
        ("100.100.100.200", None, false, false, false),   // Alibaba's metadata service
        ("100.100.100.200", Some("odd"), true, false, false), // a pod's where pods are known
        ("168.63.129.16", None, false, false, false),     // Azure's
        ("100.64.0.9", None, false, true, true),
        ("240.10.0.9", None, false, true, true),
        ("64:ff9b::a00:9", None, false, true, true),
        ("0.0.0.0", None, false, false, false),
        ("224.0.0.1", None, false, false, false),
        ("10.0.9.9", None, false, false, false), // a node
        ("db.example.com", None, false, false, false),
    ] {
        let mut endpoint = json!({ "addresses": [address] });
        if let Some(name) = pod_ref {
            endpoint["targetRef"] = named(name);
        }
        let kind = if address.contains(':') { "IPv6" } else { "IPv4" };
        let world = World::new()
            .with(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "s" },
                "spec": { "ipFamilies": [kind], "ports": [{ "port": 80, "targetPort": 3000 }] },
            }))
            .with(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": { "namespace": "shop", "name": "s-1", "labels": { "kubernetes.io/service-name": "s" } },
                "addressType": kind, "ports": [{ "name": "", "port": 3000 }], "endpoints": [endpoint],
            }))
            .with(pod("mine", "shop", "10.0.0.5"))
            .with(pod("theirs", "blog", "10.0.0.7"))
            .with(pod("odd", "shop", "100.100.100.200"))
            .with(node("n", "10.0.9.9"));
        let world = asking(world, json!({}), to("s"));
        for (policy, want) in [
            (AddressPolicy::Pods, cluster),
            (AddressPolicy::Written, folder),
            (AddressPolicy::WrittenOrLoopback, own),
        ] {
            let settings = Settings {
                addresses: policy,
                ..ours()
            };
            let served = world.one(&settings);
            let row = format!("{address} of {pod_ref:?} under {policy:?}: {:?}", served.problems);
            assert_eq!(backend(&served, "s").targets.len(), usize::from(want), "{row}");
            let refused = served
                .problems
                .iter()
                .any(|problem| problem.code == Code::TargetRefused && problem.message.contains(address));
            assert_eq!(refused, !want, "{row}");
        }
    }
}

#[test]
fn a_node_s_address_is_served_and_told_under_the_incumbent_s_semantics() {
    let world = World::new().service("shop/s").with(node("n", "10.0.0.1"));
    let world = asking(world, json!({}), to("s"));
    let served = world.one(&theirs());
    assert_eq!(targets(backend(&served, "s")), ["10.0.0.1:3000"]);
    assert!(served.codes().contains(&Code::TargetRefused));
    assert_eq!(targets(backend(&world.one(&ours()), "s")), Vec::<String>::new());
}

#[test]
fn zone_and_machine_of_a_pod_are_those_of_its_node() {
    let world = World::new()
        .with(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "s" },
            "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 3000 }] },
        }))
        .slice(
            "shop/s",
            json!([{
                "addresses": ["10.0.0.5"], "nodeName": "n",
                "targetRef": { "kind": "Pod", "namespace": "shop", "name": "mine" },
            }]),
        )
        .with(pod("mine", "shop", "10.0.0.5"))
        .with(node("n", "10.0.9.9"));
    let served = asking(world, json!({}), to("s")).one(&ours());
    let target = &backend(&served, "s").targets[0];
    assert_eq!(target.zone.as_deref(), Some("eu-west-1a"));
    assert_eq!(target.instance.as_deref(), Some("i-n"));
}

#[test]
fn pods_stand_in_where_a_service_has_no_slice() {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "s" },
        "spec": {
            "selector": { "app": "s" },
            "ports": [
                { "name": "http", "port": 80, "targetPort": 3000 },
                { "name": "admin", "port": 81, "targetPort": "adm" },
            ],
        },
    });
    let mut unready = pod("unready", "shop", "10.0.0.6");
    unready["status"]["conditions"] = json!([{ "type": "Ready", "status": "False" }]);
    let mut done = pod("done", "shop", "10.0.0.7");
    done["status"]["phase"] = json!("Succeeded");
    let mut other = pod("other", "shop", "10.0.0.8");
    other["metadata"]["labels"] = json!({ "app": "t" });
    for (port, want) in [(80, "10.0.0.5:3000"), (81, "10.0.0.5:3001")] {
        let world = World::new()
            .with(service.clone())
            .with(pod("mine", "shop", "10.0.0.5"))
            .with(unready.clone())
            .with(done.clone())
            .with(other.clone())
            .with(pod("theirs", "blog", "10.0.0.9"));
        let wanted = json!({ "service": { "name": "s", "port": { "number": port } } });
        let served = asking(world, json!({}), wanted).one(&ours());
        assert_eq!(targets(backend(&served, "s")), [want], "{port}");
    }
}

#[test]
fn pods_stand_in_with_addresses_of_one_family() {
    for (families, addresses, want) in [
        (
            json!(["IPv4", "IPv6"]),
            vec!["10.0.0.5", "fd00::5"],
            "10.0.0.5:3000",
        ),
        (
            json!(["IPv6", "IPv4"]),
            vec!["10.0.0.5", "fd00::5"],
            "fd00::5:3000",
        ),
        (json!(["IPv4", "IPv6"]), vec!["fd00::5"], "fd00::5:3000"),
        (json!([]), vec!["fd00::5"], "fd00::5:3000"),
    ] {
        let mut pod = pod("mine", "shop", addresses[0]);
        pod["status"]["podIPs"] = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
        let world = World::new().with(pod).with(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "s" },
            "spec": {
                "ipFamilies": families, "selector": { "app": "s" },
                "ports": [{ "port": 80, "targetPort": 3000 }],
            },
        }));
        let served = asking(world, json!({}), to("s")).one(&ours());
        let backend = backend(&served, "s");
        assert_eq!(targets(backend), [want], "{families} {addresses:?}");
        assert_eq!(backend.ipv6, want.starts_with('f'), "{families} {addresses:?}");
    }
}

#[test]
fn nodes_are_targets_where_they_may_take_traffic() {
    let changed = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut node = node(name, "10.0.9.1");
        change(&mut node);
        node
    };
    let label = |label: &'static str| move |node: &mut Value| node["metadata"]["labels"][label] = json!("");
    let taint = |key: &'static str| {
        move |node: &mut Value| node["spec"]["taints"] = json!([{ "key": key, "effect": "NoSchedule" }])
    };
    for (node, want) in [
        (node("n", "10.0.9.1"), true),
        (
            changed("n", &|n| n["status"]["conditions"][0]["status"] = json!("False")),
            false,
        ),
        (changed("n", &|n| n["spec"]["providerID"] = json!("")), false),
        (
            changed("n", &|n| {
                n["spec"]["providerID"] = json!("aws:///eu-west-1a/x/fargate-ip-1")
            }),
            false,
        ),
        (changed("n", &label("node-role.kubernetes.io/master")), false),
        (
            changed(
                "n",
                &label("node.kubernetes.io/exclude-from-external-load-balancers"),
            ),
            false,
        ),
        (
            changed(
                "n",
                &label("alpha.service-controller.kubernetes.io/exclude-balancer"),
            ),
            false,
        ),
        (
            changed("n", &label("node-role.kubernetes.io/control-plane")),
            true,
        ),
        (changed("n", &taint("ToBeDeletedByClusterAutoscaler")), false),
        (changed("n", &taint("karpenter.sh/disrupted")), false),
        (changed("n", &taint("other")), true),
    ] {
        let world = World::new().service("shop/s").with(node.clone());
        let served = asking(world, alb(&[("target-type", "instance")]), to("s")).one(&ours());
        let backend = backend(&served, "s");
        assert_eq!(backend.target_kind, TargetKind::Node);
        let want: Vec<&str> = want.then_some("i-n:30080").into_iter().collect();
        assert_eq!(targets(backend), want, "{node}");
    }
}

#[test]
fn target_type_instance_needs_a_node_port() {
    let world = World::new().with(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "s" },
        "spec": { "ports": [{ "port": 80 }] },
    }));
    let served = asking(world.clone(), alb(&[("target-type", "instance")]), to("s")).one(&ours());
    served.told(
        Code::ServiceHasNoNodePort,
        "ingress shop/web spec.rules[0].http.paths[0].backend.service.name",
    );
    assert_eq!(served.get("a.com/x"), "503");

    // Served by a process that reaches pods itself, node ports are not asked for.
    let serving = Settings::for_serving(ControllerName::new(ControllerName::INCUMBENT));
    let served = asking(world, alb(&[("target-type", "instance")]), to("s")).one(&serving);
    assert_eq!(served.get("a.com/x"), "shop/s");
}

#[test]
fn a_forward_of_an_annotation_leaves_out_what_cannot_be_resolved() {
    let action = |services: &[&str]| {
        let groups: Vec<Value> = services
            .iter()
            .map(|name| json!({ "serviceName": name, "servicePort": 80, "weight": 1 }))
            .collect();
        json!({ "type": "forward", "forwardConfig": { "targetGroups": groups } }).to_string()
    };
    for (services, want, problems) in [
        (vec!["s", "other"], "shop/s + shop/other", 0),
        (vec!["s", "gone"], "shop/s", 1),
        (vec!["gone", "lost"], "503", 2),
    ] {
        let annotations = alb(&[("actions.split", &action(&services))]);
        let served = asking(World::new().service("shop/s"), annotations, to_action("split")).one(&ours());
        assert_eq!(served.get("a.com/x"), want, "{services:?}");
        assert_eq!(served.problems.len(), problems, "{services:?}");
    }
    let nobody = r#"{"type":"forward","forwardConfig":{"targetGroups":[
        {"serviceName":"s","servicePort":80,"weight":0},{"serviceName":"gone","servicePort":80,"weight":1}]}}"#;
    for text in ["", "{}", r#"{"type":"forward","targetGroupARN":"x"}"#, nobody] {
        let served = asking(
            World::new().service("shop/s"),
            alb(&[("actions.split", text)]),
            to_action("split"),
        );
        let served = served.one(&ours());
        assert_eq!(served.get("a.com/x"), "503", "{text}");
        assert_eq!(served.problems.len(), 1, "{text}");
    }
}

#[test]
fn a_forward_to_what_exists_by_itself_is_handed_to_the_provider() {
    for (text, want) in [
        (r#"{"type":"forward","targetGroupARN":"arn:x"}"#, "given arn:x"),
        (r#"{"type":"forward","targetGroupName":"old"}"#, "given old"),
        (
            r#"{"type":"forward","forwardConfig":{"targetGroups":[
                {"targetGroupName":"old","weight":9},{"serviceName":"s","servicePort":80,"weight":1}]}}"#,
            "given old + shop/s",
        ),
    ] {
        let annotations = alb(&[("actions.old", text)]);
        let served = asking(World::new().service("shop/s"), annotations, to_action("old")).one(&ours());
        assert_eq!(served.get("a.com/x"), want, "{text}");
        assert_eq!(served.codes(), [], "{text}");
        let given = served.balancer.given.values().next().unwrap();
        assert_eq!(&*given.namespace, "shop", "{text}");
    }
}
