//! A folder that changes in; what is served of it, beside what a translation of everything makes, out.

use portcullis_model::Backend;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::*;
use crate::cluster::manifests::Manifests;
use crate::translate::{ControllerName, Merge, Targets};

fn ingress(name: &str, host: &str, services: &[&str], annotations: &Value) -> Value {
    let path = |(place, service): (usize, &&str)| {
        let port = match *service {
            "both" => json!({ "name": "use-annotation" }),
            _ => json!({ "number": 80 }),
        };
        let backend = json!({ "service": { "name": service, "port": port } });
        json!({ "path": format!("/{place}"), "pathType": "Prefix", "backend": backend })
    };
    let paths: Vec<Value> = services.iter().enumerate().map(path).collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "namespace": "shop", "name": name, "annotations": annotations },
        "spec": { "ingressClassName": "ours", "rules": [{ "host": host, "http": { "paths": paths } }] },
    })
}

fn class(controller: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": { "name": "ours" },
        "spec": { "controller": controller },
    })
}

fn service(name: &str, target: &Value, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "namespace": "shop", "name": name },
        "spec": {
            "ports": [{ "name": "http", "port": 80, "targetPort": target, "nodePort": 30080 }],
            "selector": { "app": app },
        },
    })
}

fn slice(name: &str, service: &str, family: &str, endpoints: &[(&str, &str)]) -> Value {
    let endpoint = |(address, pod): &(&str, &str)| {
        let named = json!({ "kind": "Pod", "namespace": "shop", "name": pod });
        match *pod {
            "" => json!({ "addresses": [address] }),
            _ => json!({ "addresses": [address], "targetRef": named }),
        }
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": "shop", "name": name, "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": family, "ports": [{ "name": "http", "port": 3000 }],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn pod(name: &str, app: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": "shop", "name": name, "labels": { "app": app } },
        "spec": { "nodeName": "n", "containers": [{ "name": "c" }], "terminationGracePeriodSeconds": 30 },
        "status": {
            "phase": "Running", "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

fn node(address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n" },
        "spec": { "providerID": "aws:///eu-west-1a/i-1" },
        "status": {
            "addresses": [{ "type": "InternalIP", "address": address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

const ADDRESSES: [(&str, &str); 5] = [
    ("10.0.0.1", "p"),
    ("10.0.0.2", "q"),
    ("10.0.0.3", ""),
    ("10.0.0.4", ""),
    ("169.254.0.1", ""),
];

/// One that says what serves a Service.
fn any_endpoints() -> impl Strategy<Value = Value> {
    let slices = (
        select(&["s-1", "s-2", "t-1"]),
        select(&["s", "t"]),
        subsequence(ADDRESSES.to_vec(), 0..=3),
    );
    let pods = (
        select(&["p", "q"]),
        select(&["i", "j"]),
        select(&["10.0.0.1", "10.0.0.2"]),
    );
    prop_oneof![
        6 => slices.prop_map(|(name, service, endpoints)| slice(name, service, "IPv4", &endpoints)),
        1 => select(&["s", "t"]).prop_map(|service| slice("s-6", service, "IPv6", &[("2001:db8::1", "")])),
        3 => pods.prop_map(|(name, app, address)| pod(name, app, address)),
    ]
}

fn any_object() -> impl Strategy<Value = Value> {
    const SETTINGS: [(&str, &str); 6] = [
        ("", ""),
        ("", ""),
        (
            "target-group-attributes",
            "deregistration_delay.timeout_seconds=300",
        ),
        ("target-group-attributes", "stickiness.enabled=maybe"),
        ("backend-protocol", "TLS?"),
        (
            "actions.both",
            r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"s","servicePort":80},{"serviceName":"t","servicePort":80}]}}"#,
        ),
    ];
    let ingresses = (
        select(&["web", "api"]),
        select(&["a.io", "b.io"]),
        subsequence(vec!["s", "t", "missing", "both"], 1..=3),
        select(&SETTINGS),
    );
    let targets = [json!(3000), json!("http")];
    let services = (select(&["s", "t"]), select(targets.to_vec()), select(&["i", "j"]));
    prop_oneof![
        12 => any_endpoints(),
        3 => ingresses.prop_map(|(name, host, services, (key, value))| {
            let annotations = match key {
                "" => json!({}),
                _ => json!({ format!("alb.ingress.kubernetes.io/{key}"): value }),
            };
            ingress(name, host, &services, &annotations)
        }),
        3 => services.prop_map(|(name, target, app)| service(name, &target, app)),
        1 => select(&["10.0.0.3", "10.0.9.9"]).prop_map(node),
        1 => select(&[ControllerName::OURS, ControllerName::INCUMBENT, "example.com/other"]).prop_map(class),
    ]
}

#[derive(Clone, Debug)]
enum Edit {
    Write(&'static str, Vec<Value>),
    Remove(&'static str),
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let file = || select(&["a.json", "b.json", "c.json", "d.json", "e.json"]);
    prop_oneof![
        1 => file().prop_map(Edit::Remove),
        5 => (file(), vec(any_endpoints(), 1..4)).prop_map(|(file, objects)| Edit::Write(file, objects)),
        2 => (file(), vec(any_object(), 1..6)).prop_map(|(file, objects)| Edit::Write(file, objects)),
    ]
}

impl Edit {
    fn happen(&self, manifests: &mut Manifests) {
        match self {
            Self::Write(file, objects) => {
                let texts: Vec<String> = objects.iter().map(Value::to_string).collect();
                manifests.update(file, texts.join("\n").as_bytes());
            }
            Self::Remove(file) => manifests.remove(file),
        }
    }
}

fn serving() -> Settings {
    Settings::for_serving(ControllerName::default())
}

/// Where targets are nodes, too, and backends may be ones of which not enough is known.
fn elsewhere() -> Settings {
    Settings {
        targets: Targets::Default(portcullis_model::TargetKind::Node),
        merge: Merge::OneLoadBalancer,
        ..Settings::for_files(ControllerName::new(ControllerName::INCUMBENT))
    }
}

/// A shop with two Ingresses, two Services and what serves them.
fn shop(controller: &str) -> Manifests {
    let mut manifests = Manifests::default();
    let files = [
        Edit::Write(
            "0.json",
            vec![class(controller), ingress("web", "a.io", &["s", "t"], &json!({}))],
        ),
        Edit::Write(
            "1.json",
            vec![service("s", &json!(3000), "i"), service("t", &json!(3000), "j")],
        ),
        Edit::Write("a.json", vec![slice("s-1", "s", "IPv4", &ADDRESSES[2..3])]),
        Edit::Write("b.json", vec![slice("t-1", "t", "IPv4", &ADDRESSES[3..4])]),
    ];
    for file in files {
        file.happen(&mut manifests);
    }
    manifests.changes();
    manifests
}

fn follow(followed: &mut Followed, manifests: &mut Manifests, settings: &Settings) {
    let changes = manifests.changes();
    followed.follow(changes, || manifests.objects(), settings);
}

proptest! {
    #[test]
    fn what_is_followed_is_what_a_translation_of_everything_makes(
        edits in vec(any_edit(), 1..12),
        settings in select(vec![serving(), elsewhere()]),
    ) {
        let mut manifests = shop(settings.controller.as_str());
        let mut followed = Followed::of(manifests.objects(), &settings);
        for edit in &edits {
            edit.happen(&mut manifests);
            follow(&mut followed, &mut manifests, &settings);
            let anew = Followed::of(manifests.objects(), &settings);
            prop_assert_eq!(&followed.made, &anew.made, "{:?}", edit);
            prop_assert_eq!(&followed.refused, &anew.refused, "{:?}", edit);
            prop_assert_eq!(&followed.secrets, &anew.secrets, "{:?}", edit);
        }
    }
}

/// Names of backends that are the same in memory, and of those that are not; whether rules are.
fn shared(before: &LoadBalancer, now: &LoadBalancer) -> (Vec<String>, Vec<String>, bool) {
    let (mut same, mut others) = (Vec::new(), Vec::new());
    for (id, backend) in &now.backends {
        let is_same = before
            .backends
            .get(id)
            .is_some_and(|before| before.is_same(backend));
        let names = if is_same { &mut same } else { &mut others };
        names.push(backend.service.name.name.to_string());
    }
    (same, others, now.rules.is_same(&before.rules))
}

fn addresses(backend: &Backend) -> Vec<String> {
    let targets = backend.targets.iter();
    targets.map(|target| target.address.to_string()).collect()
}

#[test]
fn what_did_not_change_is_the_same_in_memory() {
    let settings = serving();
    let (first, other) = (&ADDRESSES[2..3], &ADDRESSES[3..4]);
    let moved = |host: &str| {
        let web = ingress("web", host, &["s", "t"], &json!({}));
        Edit::Write("0.json", vec![class(ControllerName::OURS), web])
    };
    let served_by = |endpoints: &[(&'static str, &'static str)]| {
        Edit::Write("a.json", vec![slice("s-1", "s", "IPv4", endpoints)])
    };
    for (what, edits, want) in [
        (
            "another endpoint",
            vec![served_by(other)],
            (vec!["t"], vec!["s"], true),
        ),
        (
            "the same endpoint",
            vec![served_by(first)],
            (vec!["s", "t"], vec![], true),
        ),
        (
            "the endpoints go",
            vec![Edit::Remove("a.json")],
            (vec!["t"], vec!["s"], true),
        ),
        (
            "another host",
            vec![moved("b.io")],
            (vec!["s", "t"], vec![], false),
        ),
        (
            "a Node that is none of theirs",
            vec![Edit::Write("2.json", vec![node("10.0.9.9")])],
            (vec!["s", "t"], vec![], true),
        ),
        (
            "all of them",
            vec![moved("b.io"), served_by(other)],
            (vec!["t"], vec!["s"], false),
        ),
    ] {
        let mut manifests = shop(ControllerName::OURS);
        let mut followed = Followed::of(manifests.objects(), &settings);
        let before = followed.balancer().unwrap().clone();
        for edit in &edits {
            edit.happen(&mut manifests);
        }
        follow(&mut followed, &mut manifests, &settings);
        let (same, others, rules) = shared(&before, followed.balancer().unwrap());
        let got = (
            same.iter().map(String::as_str).collect(),
            others.iter().map(String::as_str).collect(),
            rules,
        );
        assert_eq!(got, want, "{what}");
    }
}

#[test]
fn a_change_of_endpoints_is_served_and_told() {
    let settings = serving();
    let mut manifests = shop(ControllerName::OURS);
    let mut followed = Followed::of(manifests.objects(), &settings);
    let mut step = |edit: Edit| -> (Vec<String>, Vec<String>) {
        edit.happen(&mut manifests);
        follow(&mut followed, &mut manifests, &settings);
        let balancer = followed.balancer().unwrap();
        let mut of_s = balancer.backends.values();
        let backend = of_s.find(|backend| &*backend.service.name.name == "s").unwrap();
        let told = followed.problems().map(|problem| problem.code.to_string());
        (addresses(backend), told.collect())
    };
    let served_by = |endpoints: &[(&'static str, &'static str)]| {
        Edit::Write("a.json", vec![slice("s-1", "s", "IPv4", endpoints)])
    };
    for (edit, targets, told) in [
        (served_by(&ADDRESSES[2..4]), vec!["10.0.0.3", "10.0.0.4"], vec![]),
        (
            served_by(&ADDRESSES[3..]),
            vec!["10.0.0.4"],
            vec!["TargetRefused"],
        ),
        (Edit::Remove("a.json"), vec![], vec!["EndpointsNotFound"]),
        (served_by(&ADDRESSES[2..3]), vec!["10.0.0.3"], vec![]),
    ] {
        let what = format!("{edit:?}");
        let (got_targets, got_told) = step(edit);
        assert_eq!(got_targets, targets, "{what}");
        assert_eq!(got_told, told, "{what}");
    }
}
