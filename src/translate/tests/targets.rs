//! Pods and nodes in every state in, which of them are targets out.

use portcullis_model::{Backend, Registrants, TargetState};

use super::*;

/// `/` of `a.com` leads to port 80 of Service `s`, whose only slice has these endpoints.
fn cluster(annotations: &Value, endpoints: Value, objects: Vec<Value>) -> World {
    let world = World::new()
        .with(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "s" },
            "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 3000, "nodePort": 30080 }] },
        }))
        .slice("shop/s", endpoints)
        .ingress(
            "shop/web",
            annotations.clone(),
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] }),
        );
    objects.into_iter().fold(world, World::with)
}

fn the_backend(served: &Served) -> &Backend {
    let mut all = served.balancer.backends.values();
    all.next()
        .unwrap_or_else(|| panic!("no backend: {:?}", served.problems))
}

/// Addresses, with a `-` where they drain.
fn targets(served: &Served) -> Vec<String> {
    let shown = |target: &portcullis_model::Target| match target.state {
        TargetState::Ready => target.address.to_string(),
        TargetState::Draining => format!("-{}", target.address),
    };
    the_backend(served).targets.iter().map(shown).collect()
}

fn node(name: &str, ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "pool": name, "disk": "ssd" } },
        "spec": { "providerID": format!("aws:///eu-west-1a/i-{name}") },
        "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    })
}

/// A pod on node `n`, whose containers are ready; with gates, of which some are met.
fn pod(name: &str, address: &str, gates: &[(&str, bool)]) -> Value {
    let mut conditions = vec![json!({ "type": "ContainersReady", "status": "True" })];
    conditions.extend(
        gates
            .iter()
            .filter(|(_, met)| *met)
            .map(|(kind, _)| json!({ "type": kind, "status": "True" })),
    );
    let gates: Vec<Value> = gates
        .iter()
        .map(|(kind, _)| json!({ "conditionType": kind }))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "namespace": "shop", "name": name },
        "spec": { "nodeName": "n", "containers": [{ "name": "c" }], "readinessGates": gates },
        "status": { "phase": "Running", "podIPs": [{ "ip": address }], "conditions": conditions },
    })
}

fn endpoint(pod: &str, address: &str, conditions: &Value) -> Value {
    json!({
        "addresses": [address], "conditions": conditions,
        "targetRef": { "kind": "Pod", "namespace": "shop", "name": pod },
    })
}

const OURS: &str = "target-health.elbv2.k8s.aws/k8s-shop-s-0123456789";

#[test]
fn pods_that_wait_for_a_load_balancer_are_registered_before_they_are_ready() {
    let not_ready = json!({ "ready": false, "serving": false, "terminating": false });
    let leaving = json!({ "ready": false, "serving": true, "terminating": true });
    // Gates, the slice's conditions, the node; then under our semantics and under the incumbent's.
    for (gates, conditions, ready, own, incumbent) in [
        (
            vec![(OURS, false)],
            &not_ready,
            "True",
            Some("10.0.0.1"),
            Some("10.0.0.1"),
        ),
        (
            vec![(OURS, false), ("example.com/warm", true)],
            &not_ready,
            "True",
            Some("10.0.0.1"),
            Some("10.0.0.1"),
        ),
        // Its gate is open; neither the pod nor the slice says yet that it is ready.
        (
            vec![(OURS, true)],
            &not_ready,
            "True",
            Some("10.0.0.1"),
            Some("10.0.0.1"),
        ),
        // Another gate says that it may not have requests yet; the incumbent does not ask.
        (
            vec![(OURS, false), ("example.com/warm", false)],
            &not_ready,
            "True",
            None,
            Some("10.0.0.1"),
        ),
        (
            vec![("example.com/warm", false)],
            &not_ready,
            "True",
            None,
            Some("10.0.0.1"),
        ),
        (vec![], &not_ready, "True", None, Some("10.0.0.1")),
        (vec![(OURS, false)], &not_ready, "False", None, None),
        (
            vec![(OURS, false)],
            &leaving,
            "True",
            Some("-10.0.0.1"),
            Some("-10.0.0.1"),
        ),
    ] {
        let objects = vec![node("n", ready), pod("p", "10.0.0.1", &gates)];
        let world = cluster(
            &json!({}),
            json!([endpoint("p", "10.0.0.1", conditions)]),
            objects,
        );
        for (settings, want) in [(ours(), own), (theirs(), incumbent)] {
            let served = world.one(&settings);
            let want: Vec<&str> = want.into_iter().collect();
            assert_eq!(targets(&served), want, "{gates:?} {conditions} on a node {ready}");
        }
    }
    // Its containers are not ready.
    let mut starting = pod("p", "10.0.0.1", &[(OURS, false)]);
    starting["status"]["conditions"] = json!([]);
    let endpoints = json!([endpoint("p", "10.0.0.1", &not_ready)]);
    let world = cluster(&json!({}), endpoints, vec![node("n", "True"), starting]);
    assert_eq!(targets(&world.one(&theirs())), [""; 0]);
}

#[test]
fn pods_of_nodes_nobody_has_heard_of_serve_where_no_other_is_left() {
    let ready = json!({ "ready": true });
    let silent = json!({ "ready": false, "serving": false, "terminating": false });
    let evicted = json!({ "ready": false, "serving": false, "terminating": true });
    let one = |conditions: &Value| endpoint("p", "10.0.0.1", conditions);
    let other = |conditions: &Value| endpoint("q", "10.0.0.2", conditions);
    for (state, endpoints, want) in [
        ("Unknown", json!([one(&silent)]), vec!["10.0.0.1"]),
        (
            "Unknown",
            json!([one(&silent), other(&evicted)]),
            vec!["10.0.0.1", "10.0.0.2"],
        ),
        ("Unknown", json!([one(&silent), other(&ready)]), vec!["10.0.0.2"]),
        ("False", json!([one(&silent)]), vec![]),
        ("True", json!([one(&silent), other(&ready)]), vec!["10.0.0.2"]),
    ] {
        let objects = vec![
            node("n", state),
            pod("p", "10.0.0.1", &[]),
            pod("q", "10.0.0.2", &[]),
        ];
        let served = cluster(&json!({}), endpoints.clone(), objects).one(&ours());
        assert_eq!(targets(&served), want, "{state} {endpoints}");
    }
}

#[test]
fn from_the_moment_of_its_deletion_a_pod_gets_nothing_new() {
    let mut leaving = pod("p", "10.0.0.1", &[]);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-11-24T12:00:00Z");
    // The slice has not heard of it yet.
    let endpoints = json!([endpoint("p", "10.0.0.1", &json!({ "ready": true }))]);
    let served = cluster(&json!({}), endpoints, vec![node("n", "True"), leaving]).one(&theirs());
    assert_eq!(targets(&served), ["-10.0.0.1"]);
}

#[test]
fn nodes_nobody_has_heard_of_are_targets_where_no_other_is_left() {
    let tainted = |name: &str, key: &str, effect: &str| {
        let mut node = node(name, "True");
        node["spec"]["taints"] = json!([{ "key": key, "effect": effect }]);
        node
    };
    for (nodes, labels, want) in [
        (vec![node("a", "True"), node("b", "Unknown")], "", vec!["i-a"]),
        (vec![node("a", "False"), node("b", "Unknown")], "", vec!["i-b"]),
        (vec![node("a", "False")], "", vec![]),
        (vec![node("a", "True"), node("b", "True")], "pool=b", vec!["i-b"]),
        (
            vec![node("a", "True"), node("b", "Unknown")],
            "pool=b",
            vec!["i-b"],
        ),
        (
            vec![node("a", "True"), node("b", "True")],
            "disk=ssd,pool=a",
            vec!["i-a"],
        ),
        (vec![node("a", "True")], "pool=c", vec![]),
        (
            vec![tainted("a", "karpenter.sh/disrupted", "NoSchedule")],
            "",
            vec![],
        ),
        (
            vec![tainted("a", "karpenter.sh/disrupted", "NoExecute")],
            "",
            vec!["i-a"],
        ),
        (
            vec![tainted("a", "ToBeDeletedByClusterAutoscaler", "NoExecute")],
            "",
            vec![],
        ),
    ] {
        let mut annotations = alb(&[("target-type", "instance")]);
        if !labels.is_empty() {
            annotations["alb.ingress.kubernetes.io/target-node-labels"] = json!(labels);
        }
        let served = cluster(&annotations, json!([]), nodes.clone()).one(&ours());
        assert_eq!(targets(&served), want, "{labels} of {nodes:?}");
    }
}

#[test]
fn what_is_said_of_a_target_group_reaches_its_backend() {
    let objects = || vec![node("n", "True")];
    let endpoints = json!([{ "addresses": ["10.0.0.1"] }]);
    for (name, value, control, registrants) in [
        ("target-control-port.s.80", "3000", Some(3000), Registrants::Alone),
        ("target-control-port.s.http", "3000", None, Registrants::Alone), // the Ingress says 80
        ("target-control-port.t.80", "3000", None, Registrants::Alone),
        ("multi-cluster-target-group", "true", None, Registrants::OthersToo),
        ("multi-cluster-target-group", "F", None, Registrants::Alone),
    ] {
        let served = cluster(&alb(&[(name, value)]), endpoints.clone(), objects()).one(&ours());
        let backend = the_backend(&served);
        assert_eq!(backend.control_port.map(Port::get), control, "{name}: {value}");
        assert_eq!(backend.registrants, registrants, "{name}: {value}");
        // A control port that no backend has is told.
        let told = name.starts_with("target-control") && control.is_none();
        let told: &[Code] = if told { &[Code::AnnotationUnknown] } else { &[] };
        assert_eq!(served.codes(), told, "{name}: {value}");
    }
}

#[test]
fn a_control_port_goes_with_round_robin_alone() {
    const TYPE: &str = "load_balancing.algorithm.type";
    let endpoints = json!([{ "addresses": ["10.0.0.1"] }]);
    for (algorithm, control, kept) in [
        ("round_robin", true, true),
        ("weighted_random", true, false),
        ("weighted_random", false, true),
    ] {
        let mut annotations = alb(&[("target-group-attributes", &format!("{TYPE}={algorithm}"))]);
        if control {
            annotations["alb.ingress.kubernetes.io/target-control-port.s.80"] = "3000".into();
        }
        let served = cluster(&annotations, endpoints.clone(), vec![]).one(&ours());
        let backend = the_backend(&served);
        assert_eq!(
            backend.attributes.contains_key(TYPE),
            kept,
            "{algorithm} {control}"
        );
        assert_eq!(
            served.problems.is_empty(),
            kept,
            "{algorithm} {control}: {:?}",
            served.problems
        );
        assert_eq!(backend.control_port.is_some(), control, "{algorithm}");
    }
}

#[test]
fn what_cannot_be_read_of_a_target_group_is_told_and_never_widens() {
    let endpoints = json!([{ "addresses": ["10.0.0.1"] }]);
    let long = format!("pool={}", "x".repeat(64));
    for (kind, name, value, answer) in [
        ("ip", "target-control-port.s.80", "0", "503"),
        ("ip", "target-control-port.s.80", "65536", "503"),
        ("ip", "target-control-port.s.80", "http", "503"),
        ("instance", "target-control-port.s.80", "3000", "503"),
        ("instance", "target-node-labels", "pool", "503"),
        ("instance", "target-node-labels", "=a", "503"),
        ("instance", "target-node-labels", "pool=a b", "503"),
        ("instance", "target-node-labels", "pool/=a", "503"),
        ("instance", "target-node-labels", long.as_str(), "503"),
        ("ip", "multi-cluster-target-group", "yes", "shop/s"),
    ] {
        let annotations = alb(&[("target-type", kind), (name, value)]);
        let served = cluster(&annotations, endpoints.clone(), vec![node("n", "True")]).one(&ours());
        served.told(
            Code::AnnotationInvalid,
            &format!("ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/{name}]"),
        );
        assert_eq!(served.get("a.com/x"), answer, "{name}: {value}");
        let left = served
            .balancer
            .backends
            .values()
            .all(|b| b.registrants == Registrants::OthersToo);
        assert!(left, "{name}: {value}: what others may have registered stays");
    }
}

#[test]
fn a_delay_that_pods_do_not_live_to_see_is_told_once() {
    let ready = json!({ "ready": true });
    let endpoints = json!([
        endpoint("p", "10.0.0.1", &ready),
        endpoint("q", "10.0.0.2", &ready),
    ]);
    let delay = |seconds: u32| {
        alb(&[(
            "target-group-attributes",
            &format!("deregistration_delay.timeout_seconds={seconds}"),
        )])
    };
    let hook = json!({ "preStop": { "sleep": { "seconds": 20 } } });
    for (annotations, grace, lifecycle, told) in [
        (delay(31), json!(null), json!(null), true), // 30 where absent
        (delay(30), json!(null), json!(null), false),
        (delay(60), json!(60), json!(null), false),
        (delay(60), json!(59), json!(null), true),
        (delay(60), json!(59), hook, false),
        // Nobody asked for 300 seconds.
        (json!({}), json!(30), json!(null), false),
    ] {
        let pods = [("p", "10.0.0.1"), ("q", "10.0.0.2")].map(|(name, address)| {
            let mut pod = pod(name, address, &[]);
            pod["spec"]["terminationGracePeriodSeconds"] = grace.clone();
            pod["spec"]["containers"][0]["lifecycle"] = lifecycle.clone();
            pod
        });
        let served = cluster(&annotations, endpoints.clone(), pods.to_vec()).one(&ours());
        let want = [Code::GracePeriodShort];
        let want = if told { &want[..] } else { &[] };
        assert_eq!(served.codes(), want, "{annotations} {grace} {lifecycle}");
    }
}
