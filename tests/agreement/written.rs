//! Random choices in; Ingresses that share a load balancer, and what they are translated to, out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use portcullis::cluster::index::SecretsMode;
use portcullis::cluster::object::{
    Endpoint, EndpointPort, EndpointSlice, Ingress, IngressBackend, IngressPath, IngressRule, IpFamily, Meta,
    Object, PortRef, Service, ServicePort, ServiceType,
};
use portcullis::translate::{self, ControllerName, Settings, Translation, translate};
use portcullis_model::{LoadBalancerId, ObjectName, Port, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::generate::{self, Case};

/// Hosts that requests ask for.
pub(crate) const ASKED: [&str; 8] = [
    "a.io", "b.io", "x.io", "a.b.io", "b.b.io", "x.a.b.io", "io", "a.com",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Exact,
    Prefix,
    ImplementationSpecific,
    /// No type there is: what the path can mean, a prefix, is closed.
    Misspelt,
}

/// One entry of `spec.rules[].http.paths`; its Service is named after its place, so that every answer is told apart.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) kind: Type,
    pub(crate) path: String,
    /// Whether the Service exists.
    pub(crate) served: bool,
}

#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) name: ObjectName,
    pub(crate) created: i64,
    pub(crate) order: i64,
    pub(crate) default_backend: bool,
    /// Host and paths.
    pub(crate) rules: Vec<(Option<&'static str>, Vec<Path>)>,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name, created, order, ..
        } = self;
        writeln!(f, "{name} of {created}, order {order}")?;
        for (at_rule, (host, paths)) in self.rules.iter().enumerate() {
            for (at_path, path) in paths.iter().enumerate() {
                let service = if path.served {
                    service(at_rule, at_path)
                } else {
                    "missing".to_owned()
                };
                writeln!(
                    f,
                    "  {} {:?} {} → {service}",
                    host.unwrap_or("*"),
                    path.kind,
                    path.path
                )?;
            }
        }
        if self.default_backend {
            writeln!(f, "  else default")?;
        }
        for (key, value) in &self.annotations {
            writeln!(f, "  {key}: {value}")?;
        }
        Ok(())
    }
}

pub(crate) fn ingresses() -> impl Strategy<Value = Vec<Written>> {
    let kind = prop_oneof![
        6 => Just(Type::Prefix),
        4 => Just(Type::Exact),
        2 => Just(Type::ImplementationSpecific),
        1 => Just(Type::Misspelt),
    ];
    let path = (kind, generate::path(), prop::bool::weighted(0.9)).prop_map(|(kind, path, served)| Path {
        kind,
        // ImplementationSpecific may come to mean a pattern; here it means Prefix.
        path: if matches!(kind, Type::ImplementationSpecific | Type::Misspelt) {
            path.replace(['*', '$'], "a")
        } else {
            path
        },
        served,
    });
    const HOSTS: [Option<&str>; 7] = [
        None,
        Some("a.io"),
        Some("b.io"),
        Some("a.b.io"),
        Some("*.io"),
        Some("*.b.io"),
        Some("*.a.b.io"),
    ];
    let rule = (select(&HOSTS), vec(path, 0..4));
    let namespace = prop_oneof![3 => Just("shop"), 1 => Just("blog")];
    let one = (
        namespace,
        // 0 says nothing of an age.
        1..4_i64,
        0..3_i64,
        prop::bool::weighted(0.3),
        vec(rule, 0..4),
    );
    vec(one, 1..4).prop_map(|all| {
        let written = all.into_iter().zip(["c", "b", "a"]);
        let written = written.map(|((namespace, created, order, default, rules), name)| Written {
            name: ObjectName::new(namespace, name),
            created,
            order,
            // An Ingress has a rule or a default backend.
            default_backend: default || rules.is_empty(),
            rules,
            annotations: BTreeMap::new(),
        });
        written.collect()
    })
}

/// What random Ingresses are translated to, and what is asked of it.
pub(crate) fn case() -> BoxedStrategy<Case> {
    let controller = prop_oneof![3 => Just(ControllerName::OURS), 1 => Just(ControllerName::INCUMBENT)];
    let case = (ingresses(), controller, vec(generate::request(), 1..=32));
    case.prop_filter_map("no load balancer", |(mut ingresses, controller, requests)| {
        if controller == ControllerName::INCUMBENT {
            as_the_incumbent_takes_them(&mut ingresses);
        }
        let balancer = translated_by(&ingresses, controller).balancer?;
        let at_80 = |request| Request {
            port: Port::HTTP,
            ..request
        };
        let requests = requests.into_iter().map(at_80).collect();
        Some(Case { balancer, requests })
    })
    .boxed()
}

/// Without what the incumbent refuses a whole group for, and with pods for targets.
pub(crate) fn as_the_incumbent_takes_them(ingresses: &mut [Written]) {
    for ingress in ingresses {
        let target_type = "alb.ingress.kubernetes.io/target-type".to_owned();
        ingress.annotations.insert(target_type, "ip".to_owned());
        for path in ingress.rules.iter_mut().flat_map(|(_, paths)| paths) {
            path.path = path.path.replace('*', "a");
        }
    }
}

pub(crate) fn service(rule: usize, path: usize) -> String {
    format!("s{rule}-{path}")
}

/// As the controller translates them.
pub(crate) fn translated(all: &[Written]) -> Translation {
    translated_by(all, ControllerName::OURS)
}

/// As the controller translates them where it answers to this name.
pub(crate) fn translated_by(all: &[Written], controller: &str) -> Translation {
    let settings = Settings::for_files(ControllerName::new(controller));
    let mut index = translate::index(&settings, SecretsMode::NotRead);
    index.reset_all(objects(all));
    let synced = index.synced().expect("every kind was listed");
    translate(&synced.snapshot(&LoadBalancerId::parse("shared")), &settings)
}

/// The Ingresses of one group, and the Services they name.
fn objects(all: &[Written]) -> Vec<Object> {
    let mut objects = Vec::new();
    for written in all {
        let namespace = &written.name.namespace;
        let backend = |name: &str| IngressBackend::Service {
            name: name.into(),
            port: PortRef::Number(80),
        };
        let mut services = Vec::new();
        if written.default_backend {
            services.push("default".to_owned());
        }
        let mut rules = Vec::new();
        for (at_rule, (host, paths)) in written.rules.iter().enumerate() {
            let mut all = Vec::new();
            for (at_path, path) in paths.iter().enumerate() {
                let name = if path.served {
                    service(at_rule, at_path)
                } else {
                    "missing".to_owned()
                };
                all.push(IngressPath {
                    path: Some(path.path.as_str().into()),
                    path_type: format!("{:?}", path.kind).into(),
                    backend: backend(&name),
                });
                if path.served {
                    services.push(name);
                }
            }
            rules.push(IngressRule {
                host: host.map(Arc::from),
                paths: all.into(),
                is_closed: false,
            });
        }
        for name in services {
            let name = ObjectName::new(namespace.clone(), name);
            objects.push(Object::from(a_service(&name)));
            objects.push(Object::from(a_slice(&name)));
        }
        let mut meta = meta(&written.name, written.created);
        meta.annotations = BTreeMap::from([
            ("alb.ingress.kubernetes.io/group.name".into(), "shared".into()),
            (
                "alb.ingress.kubernetes.io/group.order".into(),
                written.order.to_string().into(),
            ),
        ]);
        let more = written.annotations.iter();
        meta.annotations
            .extend(more.map(|(k, v)| (k.as_str().into(), v.as_str().into())));
        objects.push(Object::from(Ingress {
            meta,
            generation: 0,
            class_name: None,
            default_backend: written.default_backend.then(|| backend("default")),
            tls: Vec::new(),
            rules,
            status: Vec::new(),
            held_for: BTreeSet::new(),
            refused: None,
        }));
    }
    objects
}

fn meta(name: &ObjectName, created: i64) -> Meta {
    Meta {
        name: name.clone(),
        uid: "".into(),
        created,
        deleting: false,
        annotations: BTreeMap::new(),
    }
}

fn a_service(name: &ObjectName) -> Service {
    let port = ServicePort {
        name: None,
        port: 80,
        target: PortRef::Number(8080),
        node_port: None,
        protocol: "TCP".into(),
        app_protocol: None,
    };
    Service {
        meta: meta(name, 0),
        kind: ServiceType::ClusterIp,
        ports: vec![port],
        selector: BTreeMap::new(),
        families: vec![IpFamily::V4],
        external_name: None,
    }
}

fn a_slice(service: &ObjectName) -> EndpointSlice {
    let endpoint = Endpoint {
        addresses: vec!["10.0.0.1".into()],
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        zone: None,
        pod: None,
    };
    EndpointSlice {
        meta: meta(
            &ObjectName::new(service.namespace.clone(), format!("{}-1", service.name)),
            0,
        ),
        service: Some(service.name.clone()),
        address_type: "IPv4".into(),
        ports: vec![EndpointPort {
            name: "".into(),
            port: Some(8080),
            protocol: "TCP".into(),
        }],
        endpoints: vec![endpoint],
    }
}
