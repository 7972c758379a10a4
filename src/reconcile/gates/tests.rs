//! Small clusters and answers in, the gates of their pods out.

use std::ops::Deref;

use portcullis_model::{LoadBalancer, LoadBalancerId};
use serde_json::{Value, json};

use super::*;
use crate::cluster::index::SecretsMode;
use crate::cluster::wire::from_manifest;
use crate::translate::{self, ControllerName, Settings, translate};

const GROUP: &str = "k8s-shop-web-0123456789";

fn pod(name: &str, address: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "namespace": "shop", "name": name },
        "spec": {
            "nodeName": "n", "containers": [{ "name": "c" }],
            "readinessGates": [{ "conditionType": format!("{TARGET_HEALTH}{GROUP}") }],
        },
        "status": {
            "phase": "Running", "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "ContainersReady", "status": "True" }],
        },
    });
    change(&mut pod);
    pod
}

/// The load balancer `shop/web` with a path to Service `web`, whose slice names these pods, and the pods.
fn cluster(service: &str, pods: &[Value]) -> (Option<LoadBalancer>, Vec<Arc<Pod>>) {
    let endpoint = |pod: &Value| {
        json!({
            "addresses": [pod["status"]["podIPs"][0]["ip"]], "conditions": { "ready": false },
            "targetRef": { "kind": "Pod", "namespace": "shop", "name": pod["metadata"]["name"] },
        })
    };
    let mut objects = vec![
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": { "namespace": "shop", "name": "web" },
            "spec": { "defaultBackend": { "service": { "name": service, "port": { "number": 80 } } } },
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": "web" },
            "spec": { "ports": [{ "port": 80, "targetPort": 8080 }] },
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "namespace": "shop", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
            "addressType": "IPv4", "ports": [{ "port": 8080 }],
            "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
        }),
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        }),
    ];
    objects.extend(pods.iter().cloned());
    let settings = Settings::for_files(ControllerName::default());
    let mut index = translate::index(&settings, SecretsMode::NotRead);
    let read = |object: serde_json::Value| from_manifest(&object).unwrap().object;
    index.reset_all(objects.into_iter().map(read).collect());
    let synced = index.synced().unwrap();
    let snapshot = synced.snapshot(&LoadBalancerId::parse("shop/web"));
    let pods = waiting(synced.gated_pods()).into_iter().map(|(pod, group)| {
        assert_eq!(group, GROUP);
        pod
    });
    (translate(&snapshot, &settings).balancer, pods.collect())
}

fn group() -> Existing {
    Existing {
        id: "shop/web-web:80".into(),
        name: GROUP.into(),
        handle: "arn:x".into(),
    }
}

fn web(balancer: &LoadBalancer) -> Option<&Backend> {
    let mut backends = balancer.backends.values().map(Deref::deref);
    backends.find(|backend| backend.id.as_str() == group().id)
}

fn told(verdicts: &[Verdict]) -> Vec<(&str, bool, &str)> {
    verdicts
        .iter()
        .map(|verdict| {
            (
                &*verdict.pod.meta.name.name,
                verdict.open,
                verdict.reason.as_str(),
            )
        })
        .collect()
}

#[test]
fn only_pods_that_wait_are_asked_about() {
    let plain = |_: &mut Value| {};
    let set =
        |path: &'static str, value: Value| move |pod: &mut Value| *pod.pointer_mut(path).unwrap() = value;
    let open = json!([
        { "type": "ContainersReady", "status": "True" },
        { "type": format!("{TARGET_HEALTH}{GROUP}"), "status": "True" },
    ]);
    let closed = json!([
        { "type": "ContainersReady", "status": "True" },
        { "type": format!("{TARGET_HEALTH}{GROUP}"), "status": "False" },
    ]);
    for (name, pod, want) in [
        ("never told", pod("p", "10.0.0.1", plain), 1),
        (
            "told to wait",
            pod("p", "10.0.0.1", set("/status/conditions", closed)),
            1,
        ),
        ("open", pod("p", "10.0.0.1", set("/status/conditions", open)), 0),
        (
            "its containers are not ready",
            pod("p", "10.0.0.1", set("/status/conditions", json!([]))),
            0,
        ),
        (
            "without a gate",
            pod("p", "10.0.0.1", set("/spec/readinessGates", json!([]))),
            0,
        ),
        (
            "with another gate",
            pod(
                "p",
                "10.0.0.1",
                set(
                    "/spec/readinessGates",
                    json!([{ "conditionType": "example.com/warm" }]),
                ),
            ),
            0,
        ),
        (
            "finished",
            pod("p", "10.0.0.1", set("/status/phase", json!("Succeeded"))),
            0,
        ),
        (
            "leaving",
            pod("p", "10.0.0.1", |pod| {
                pod["metadata"]["deletionTimestamp"] = json!("2026-11-24T12:00:00Z");
            }),
            0,
        ),
    ] {
        assert_eq!(cluster("web", &[pod]).1.len(), want, "{name}");
    }
}

#[test]
fn a_gate_opens_when_its_target_is_healthy_or_nothing_sends_it_requests() {
    let healthy = TargetHealth {
        state: TargetHealthState::Healthy,
        reason: String::new(),
        message: String::new(),
    };
    let initial = TargetHealth {
        state: TargetHealthState::Unhealthy,
        reason: "Elb.InitialHealthChecking".into(),
        message: "Initial health checks in progress".into(),
    };
    let key = |address: &str| {
        (
            TargetAddress::Ip(address.parse().unwrap()),
            Port::new(8080).unwrap(),
        )
    };
    let pods = [pod("p", "10.0.0.1", |_| {}), pod("q", "10.0.0.2", |_| {})];
    let (desired, waiting) = cluster("web", &pods);
    let backend = desired.as_ref().and_then(web);
    let (question, verdicts) = ask(&group(), backend, &waiting);
    assert_eq!(verdicts, []);
    assert_eq!(question.targets, [key("10.0.0.1"), key("10.0.0.2")].into());
    for (answers, want) in [
        (
            vec![("10.0.0.1", &healthy), ("10.0.0.2", &initial)],
            [("p", true, "Healthy"), ("q", false, "Elb.InitialHealthChecking")],
        ),
        (
            vec![("10.0.0.2", &healthy)],
            [("p", false, "Target.NotRegistered"), ("q", true, "Healthy")],
        ),
    ] {
        let answers = answers
            .into_iter()
            .map(|(address, health)| (key(address), health.clone()));
        let verdicts = judge(&group(), &question, &answers.collect());
        assert_eq!(told(&verdicts), want);
    }

    // A rule to another Service, and no rule at all: no call is needed.
    for desired in [cluster("other", &pods).0, None] {
        let backend = desired.as_ref().and_then(web);
        let (question, verdicts) = ask(&group(), backend, &waiting);
        assert_eq!(question, Question::default());
        let want = [
            ("p", true, "TargetGroupNotUsed"),
            ("q", true, "TargetGroupNotUsed"),
        ];
        assert_eq!(told(&verdicts), want);
    }
}

#[test]
fn what_a_pod_says_already_is_not_written_again() {
    let conditions = |status: &str, reason: &str| {
        json!([
            { "type": "ContainersReady", "status": "True" },
            { "type": format!("{TARGET_HEALTH}{GROUP}"), "status": status, "reason": reason },
        ])
    };
    for (before, open, reason, want) in [
        (
            json!([{ "type": "ContainersReady", "status": "True" }]),
            false,
            "Target.Timeout",
            false,
        ),
        (
            conditions("False", "Target.Timeout"),
            false,
            "Target.Timeout",
            true,
        ),
        (
            conditions("False", "Elb.InitialHealthChecking"),
            false,
            "Target.Timeout",
            false,
        ),
        (conditions("False", "Healthy"), true, "Healthy", false),
    ] {
        let pod = pod("p", "10.0.0.1", |pod| {
            pod["status"]["conditions"] = before.clone()
        });
        let pods = cluster("web", &[pod]).1;
        let verdict = Verdict::of(&pods[0], GROUP, open, reason, "");
        assert_eq!(verdict.is_told(), want, "{before} then {open} {reason}");
    }
}
