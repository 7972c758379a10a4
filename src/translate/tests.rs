//! Small clusters in, what their load balancers answer out.

mod ages;
mod auth;
mod backends;
mod canaries;
mod challenges;
mod classes;
mod closed_paths;
mod constraints;
mod costs;
mod defaults;
mod documents;
mod filters;
mod further;
mod gke;
mod groups;
mod hosts;
mod imports;
mod incumbent;
mod isolation;
mod kept;
mod left_open;
mod moved;
mod moved_asked;
mod moved_beside;
mod moved_https;
mod moved_routes;
mod options;
mod parameters;
mod paths;
mod ports;
mod protection;
mod serving;
mod targets;
mod tls;
mod unheeded;
mod verification;
mod waits;

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{
    Action, Code, LoadBalancer, LoadBalancerId, ObjectName, Port, Problem, Request, resolve,
};
use serde_json::{Value, json};

use super::*;
use crate::cluster::index::{Index, SecretsMode};
use crate::cluster::object::Object;
use crate::cluster::snapshot::Answered;
use crate::cluster::wire::{closed, from_manifest};
use crate::crd::load_balancer::Wire;

/// A cluster under construction. Every Service `name` that is not said to be missing has one ready endpoint.
#[derive(Clone, Debug)]
struct World {
    objects: Vec<Object>,
    secrets: SecretsMode,
    /// What the cluster answered about Secrets.
    asked: BTreeMap<ObjectName, Answered>,
    /// What is recorded of ports.
    spoken: BTreeMap<Port, Wire>,
}

impl World {
    fn new() -> Self {
        Self {
            objects: Vec::new(),
            secrets: SecretsMode::NotRead,
            asked: BTreeMap::new(),
            spoken: BTreeMap::new(),
        }
    }

    fn with(mut self, object: Value) -> Self {
        let read = from_manifest(&object).unwrap();
        assert_eq!(read.unknown, Vec::<String>::new());
        self.objects.push(read.object);
        self
    }

    /// An Ingress that Kubernetes would refuse.
    fn closed(mut self, object: &Value) -> Self {
        let why = from_manifest(object).unwrap_err();
        self.objects.push(closed(object, &why).unwrap());
        self
    }

    /// An Ingress `namespace/name`.
    fn ingress(self, name: &str, annotations: Value, spec: Value) -> Self {
        self.aged(name, 1, annotations, spec)
    }

    /// An Ingress created on a day of November 2026.
    fn aged(self, name: &str, day: u32, annotations: Value, spec: Value) -> Self {
        let (namespace, name) = name.split_once('/').unwrap();
        let created = format!("2026-11-{day:02}T00:00:00Z");
        self.with(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "namespace": namespace, "name": name, "creationTimestamp": created, "annotations": annotations,
            },
            "spec": spec,
        }))
    }

    /// A Service `namespace/name` with ports 80 (`http`) and 8080 (`admin`), and an endpoint.
    fn service(self, name: &str) -> Self {
        self.annotated_service(name, json!({}))
    }

    fn annotated_service(self, name: &str, annotations: Value) -> Self {
        let (namespace, short) = name.split_once('/').unwrap();
        self.with(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "namespace": namespace, "name": short, "annotations": annotations },
            "spec": {
                "ports": [
                    { "name": "http", "port": 80, "targetPort": 3000, "nodePort": 30080 },
                    { "name": "admin", "port": 8080, "targetPort": "adm", "nodePort": 30081 },
                ],
            },
        }))
        .slice(name, json!([{ "addresses": ["10.0.0.1"] }]))
    }

    fn slice(self, service: &str, endpoints: Value) -> Self {
        let (namespace, name) = service.split_once('/').unwrap();
        self.with(json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "namespace": namespace, "name": format!("{name}-1"),
                "labels": { "kubernetes.io/service-name": name },
            },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 3000 }, { "name": "admin", "port": 3001 }],
            "endpoints": endpoints,
        }))
    }

    fn class(self, name: &str, controller: &str, default: bool, parameters: Option<&str>) -> Self {
        let mut class = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {
                "name": name,
                "annotations": { "ingressclass.kubernetes.io/is-default-class": default.to_string() },
            },
            "spec": { "controller": controller },
        });
        if let Some(parameters) = parameters {
            class["spec"]["parameters"] = json!({
                "apiGroup": "portcullis.dev", "kind": "IngressClassParameters", "name": parameters,
            });
        }
        self.with(class)
    }

    fn parameters(self, name: &str, spec: Value) -> Self {
        self.with(json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "IngressClassParameters",
            "metadata": { "name": name },
            "spec": spec,
        }))
    }

    fn index(&self, settings: &Settings) -> Index {
        let mut index = index(settings, self.secrets);
        index.reset_all(self.objects.clone());
        index
    }

    /// All load balancers, by the text of their id.
    fn all(&self, settings: &Settings) -> BTreeMap<String, Translation> {
        let index = self.index(settings);
        let synced = index.synced().unwrap();
        let translated = |id: &LoadBalancerId| {
            let mut snapshot = synced.snapshot(id);
            snapshot.asked.extend(self.asked.clone());
            snapshot.spoken.clone_from(&self.spoken);
            translate(&snapshot, settings)
        };
        synced
            .ids()
            .iter()
            .map(|id| (id.to_string(), translated(id)))
            .collect()
    }

    /// The only load balancer.
    fn one(&self, settings: &Settings) -> Served {
        let mut all = self.all(settings);
        assert_eq!(all.len(), 1, "{:?}", all.keys());
        let translation = all.pop_first().unwrap().1;
        Served {
            balancer: translation.balancer.unwrap(),
            problems: translation.problems,
        }
    }

    /// Why Ingresses are refused.
    fn refused(&self, settings: &Settings) -> Vec<Problem> {
        let index = self.index(settings);
        let synced = index.synced().unwrap();
        synced
            .refused()
            .flat_map(|(_, problems)| problems.to_vec())
            .collect()
    }
}

/// A folder's Ingresses under Kubernetes semantics.
fn ours() -> Settings {
    Settings::for_files(ControllerName::default())
}

/// The same under the incumbent's.
fn theirs() -> Settings {
    Settings {
        targets: Targets::Default(portcullis_model::TargetKind::Pod),
        ..Settings::for_files(ControllerName::new(ControllerName::INCUMBENT))
    }
}

/// A load balancer and what is wrong with it.
#[derive(Debug)]
struct Served {
    balancer: LoadBalancer,
    problems: Vec<Problem>,
}

impl Served {
    /// What is answered to a GET of a URL without scheme, at port 80: `shop/web`, `404` or `→ 301`.
    fn get(&self, url: &str) -> String {
        self.get_at(80, url)
    }

    fn get_at(&self, port: u16, url: &str) -> String {
        let (host, _) = url.split_once('/').unwrap();
        self.ask(&Request::get(
            Port::new(port.into()).unwrap(),
            host,
            &url[host.len()..],
        ))
    }

    fn ask(&self, request: &Request) -> String {
        match resolve(&self.balancer, request).action() {
            Some(action) => self.shown(action),
            None => "nobody".to_owned(),
        }
    }

    fn shown(&self, action: &Action) -> String {
        match action {
            Action::Forward(forward) => {
                let names: Vec<String> = forward
                    .backends
                    .iter()
                    .map(|weighted| match self.balancer.given.get(&weighted.backend) {
                        Some(given) => format!("given {}", given.name),
                        None => self.balancer.backends[&weighted.backend].service.name.to_string(),
                    })
                    .collect();
                names.join(" + ")
            }
            Action::Redirect(redirect) => format!("→ {}", redirect.status.code()),
            Action::Fixed(fixed) => fixed.status().to_string(),
        }
    }

    fn codes(&self) -> Vec<Code> {
        self.problems.iter().map(|problem| problem.code).collect()
    }

    /// Rules as lines.
    fn rules(&self) -> Vec<String> {
        self.balancer.rules.iter().map(|rule| rule.to_string()).collect()
    }

    /// Asserts that there is one problem of this code, at this origin.
    fn told(&self, code: Code, at: &str) {
        let found: Vec<String> = self
            .problems
            .iter()
            .filter(|problem| problem.code == code)
            .map(|problem| problem.at.to_string())
            .collect();
        assert_eq!(found, [at], "{code}: {:?}", self.problems);
    }
}

/// Annotations under the incumbent's prefix.
fn alb(pairs: &[(&str, &str)]) -> Value {
    let mut annotations = json!({});
    for (name, value) in pairs {
        annotations[format!("alb.ingress.kubernetes.io/{name}")] = json!(value);
    }
    annotations
}

/// One entry of `spec.rules[].http.paths`, to port 80 of a Service.
fn path(kind: &str, path: &str, service: &str) -> Value {
    json!({ "path": path, "pathType": kind, "backend": to(service) })
}

fn to(service: &str) -> Value {
    json!({ "service": { "name": service, "port": { "number": 80 } } })
}

/// To an action of an annotation.
fn to_action(name: &str) -> Value {
    json!({ "service": { "name": name, "port": { "name": "use-annotation" } } })
}

fn rule(host: &str, paths: Value) -> Value {
    if host.is_empty() {
        json!({ "http": { "paths": paths } })
    } else {
        json!({ "host": host, "http": { "paths": paths } })
    }
}

/// The Services that tests forward to.
fn with_services(world: World, names: &[&str]) -> World {
    names.iter().fold(world, |world, name| world.service(name))
}
