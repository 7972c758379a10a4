//! Files that ask for too much in, what is told of them and what is served all the same out.
#![expect(clippy::unwrap_used, reason = "all of it is a test: a panic is the report")]

use std::fmt::Write;

use portcullis::cluster::index::SecretsMode;
use portcullis::cluster::manifests::Manifests;
use portcullis::translate::{self, ControllerName, Settings, translate};
use portcullis_aws::plan_offline;
use portcullis_model::{Action, Code, LoadBalancer, LoadBalancerId, Port, Problem, Request, resolve};
use portcullis_proxy::{Found, RequestHead, ServedPorts, compile};

const NEIGHBOUR: &str = "
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: neighbour, namespace: shop}
spec:
  rules:
  - host: neighbour.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.0.0.1]}]
";

/// The load balancers of a file, and what is told.
fn read(text: &str, settings: &Settings) -> (Vec<LoadBalancer>, Vec<Problem>) {
    let mut manifests = Manifests::default();
    manifests.update("web.yaml", text.as_bytes());
    let mut index = translate::index(settings, SecretsMode::NotRead);
    index.reset_all(manifests.objects());
    let synced = index.synced().unwrap();
    let mut problems = manifests.problems();
    let translated = synced.ids().into_iter().filter_map(|id| {
        let translation = translate(&synced.snapshot(&id), settings);
        problems.extend(translation.problems);
        translation.balancer
    });
    (translated.collect(), problems)
}

/// Each with a host of its own.
fn ten_thousand_rules() -> String {
    let mut text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: shop}\nspec:\n  rules:\n".to_owned();
    for i in 0..10_000 {
        writeln!(text, "  - host: host-{i}.example").unwrap();
        text.push_str("    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}\n");
    }
    text + NEIGHBOUR
}

fn ten_thousand_paths_of_one_host() -> String {
    let mut text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web, namespace: shop}\nspec:\n  rules:\n  - host: one.example\n    http:\n      paths:\n".to_owned();
    for i in 0..10_000 {
        writeln!(
            text,
            "      - {{path: /path-{i}, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}"
        )
        .unwrap();
    }
    text + NEIGHBOUR
}

#[test]
fn ten_thousand_rules_are_all_served_by_the_proxy() {
    let (balancers, problems) = read(
        &ten_thousand_rules(),
        &Settings::for_serving(ControllerName::default()),
    );
    assert_eq!(problems, []);
    let [balancer] = balancers.as_slice() else {
        panic!("one process serves one load balancer");
    };
    let (table, problems) = compile(balancer, &ServedPorts::default());
    assert_eq!(problems, []);
    for host in ["host-0.example", "host-9999.example", "neighbour.example"] {
        let request = Request::get(Port::HTTP, host, "/x");
        let found = table.lookup(&RequestHead::from(&request));
        let Found::Rule(i, ..) = found else {
            panic!("{host}: {found:?}");
        };
        assert_eq!(
            resolve(balancer, &request).action(),
            Some(&balancer.rules[i].action),
            "{host}"
        );
    }
}

#[test]
fn what_is_beyond_the_limits_of_aws_is_told_and_the_neighbour_is_served() {
    let settings = Settings::for_files(ControllerName::default());
    for rules in [ten_thousand_rules(), ten_thousand_paths_of_one_host()] {
        let (balancers, problems) = read(&rules, &settings);
        assert_eq!(problems, []);
        told_and_no_neighbour_disturbed(&balancers);
    }
}

fn told_and_no_neighbour_disturbed(balancers: &[LoadBalancer]) {
    let document = plan_offline(balancers, &portcullis_aws::Settings::default());
    let of = |id: &str| {
        let id = LoadBalancerId::parse(id);
        document
            .load_balancers
            .iter()
            .find(|preview| preview.id == id)
            .unwrap()
    };
    let codes: Vec<Code> = of("shop/web")
        .problems
        .iter()
        .map(|problem| problem.code)
        .collect();
    assert!(codes.contains(&Code::LimitExceeded), "{codes:?}");
    assert_eq!(of("shop/neighbour").problems, []);
    let rules = |id: &str| {
        of(id)
            .resources
            .iter()
            .filter(|resource| resource.kind == "ListenerRule")
            .count()
    };
    assert_eq!(rules("shop/neighbour"), 1);
    assert!(
        rules("shop/web") <= 100,
        "an Application Load Balancer has at most 100 rules"
    );
}

#[test]
fn an_annotation_of_a_megabyte_is_told_and_the_neighbour_is_served() {
    let annotation = "x".repeat(1_000_000);
    for (name, key) in [
        ("ours", "alb.ingress.kubernetes.io/tags"),
        ("another's", "example.com/note"),
    ] {
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  namespace: shop\n  \
             annotations: {{{key}: {annotation}}}\nspec: {{defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}}}\n{NEIGHBOUR}"
        );
        let (balancers, problems) = read(&text, &Settings::for_files(ControllerName::default()));
        let told: Vec<String> = problems.iter().map(Problem::to_string).collect();
        let is_told = |told: &String| told.starts_with("ingress shop/web metadata.annotations: ");
        assert!(told.iter().any(is_told), "{name}: {told:?}");
        // What is kept of it to be closed is no tag.
        assert!(told.len() <= 2, "{name}");
        assert!(told.iter().all(|told| told.len() < 400), "{name}: {told:?}");
        // What is refused is closed.
        let answers: Vec<_> = balancers
            .iter()
            .map(|balancer| &balancer.listeners[&Port::HTTP].default_action)
            .collect();
        assert!(
            matches!(answers[..], [Action::Fixed(served), Action::Fixed(closed)]
                if served.status() == 404 && closed.status() == 503),
            "{name}: {answers:?}"
        );
    }
}
