//! Random Ingresses in; out: their objects, and who answers a request, by the Kubernetes documentation alone.
//!
//! The oracle is brute force and shares nothing with `translate`: it looks at every path of every Ingress for every
//! request. Sources: Kubernetes docs, Ingress, "Path types", "Multiple matches", "Hostname wildcards", "Default
//! backend"; where those leave several Ingresses open, the order written down in ARCHITECTURE.md.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use portcullis::cluster::index::{Index, SecretsMode};
use portcullis::cluster::object::{
    Endpoint, EndpointPort, EndpointSlice, Ingress, IngressBackend, IngressPath, IngressRule, IpFamily, Meta,
    Object, PortRef, Service, ServicePort, ServiceType,
};
use portcullis::translate::{ControllerName, Settings, Translation, membership, references, translate};
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
    /// No type there is: the path is left out, and its host is still named.
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

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This backend alone.
    Backend(String),
    /// 503: the Service named there is not.
    Unavailable,
    NotFound,
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
        path: if kind == Type::ImplementationSpecific {
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
        0..3_i64,
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
    let case = (ingresses(), vec(generate::request(), 1..=32));
    case.prop_filter_map("no load balancer", |(ingresses, requests)| {
        let balancer = translated(&ingresses).balancer?;
        let at_80 = |request| Request {
            port: Port::HTTP,
            ..request
        };
        let requests = requests.into_iter().map(at_80).collect();
        Some(Case { balancer, requests })
    })
    .boxed()
}

/// What the namespaces that share a load balancer may have: a host belongs to that of the oldest Ingress that names
/// it; what no host bounds to that of the oldest of all. Source: ARCHITECTURE.md, "Whom we trust".
fn admitted(all: &[Written]) -> Vec<Written> {
    let oldest = |names: &dyn Fn(&Written) -> bool| {
        let named = all.iter().filter(|w| names(w));
        named
            .min_by_key(|w| (w.created, &w.name))
            .map(|w| w.name.namespace.clone())
    };
    let shared = all.iter().any(|w| w.name.namespace != all[0].name.namespace);
    let owns = |own: &Written, host: Option<&str>| {
        let names = |w: &Written| host.is_none() || w.rules.iter().any(|(h, _)| *h == host);
        !shared || oldest(&names).as_ref() == Some(&own.name.namespace)
    };
    let admit = |own: &Written| {
        let mut own = own.clone();
        own.default_backend &= owns(&own, None);
        let of = own.clone();
        for (host, paths) in &mut own.rules {
            if !owns(&of, *host) {
                // The place stays, so that the others keep theirs.
                *host = Some("belongs.to.another");
                paths.clear();
            }
        }
        own
    };
    all.iter().map(admit).collect()
}

/// The answer, looked for in the plainest way.
pub(crate) fn answer(all: &[Written], host: &str, path: &str) -> Answer {
    let all = admitted(all);
    let mut order: Vec<&Written> = all.iter().collect();
    order.sort_by_key(|w| (w.order, w.created, w.name.clone()));

    // The most specific host decides alone, whichever Ingress wrote it.
    let wildcard = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    let asked_for = |wanted: Option<&str>| all.iter().any(|w| w.rules.iter().any(|(h, _)| *h == wanted));
    let decisive = if asked_for(Some(host)) {
        Some(host)
    } else if asked_for(wildcard.as_deref()) {
        wildcard.as_deref()
    } else {
        None
    };

    let elements = |path: &str| -> Vec<String> {
        path.split('/')
            .filter(|e| !e.is_empty())
            .map(str::to_owned)
            .collect()
    };
    // Exact beats Prefix, the longer Prefix the shorter; of equals the first in order.
    let mut best: Option<(usize, Answer)> = None;
    for ingress in order.iter() {
        for (at_rule, (rule_host, paths)) in ingress.rules.iter().enumerate() {
            for (at_path, written) in paths.iter().enumerate() {
                let rank = match written.kind {
                    Type::Exact if written.path == path => usize::MAX,
                    Type::Exact | Type::Misspelt => continue,
                    Type::Prefix | Type::ImplementationSpecific => {
                        let prefix = elements(&written.path);
                        if !elements(path).starts_with(&prefix) {
                            continue;
                        }
                        prefix.len()
                    }
                };
                if *rule_host == decisive && best.as_ref().is_none_or(|(most, _)| rank > *most) {
                    let answer = if written.served {
                        Answer::Backend(format!("{}-{}:80", ingress.name, service(at_rule, at_path)))
                    } else {
                        Answer::Unavailable
                    };
                    best = Some((rank, answer));
                }
            }
        }
    }
    if let Some((_, answer)) = best {
        return answer;
    }
    let default = order.iter().find(|w| w.default_backend);
    default.map_or(Answer::NotFound, |w| {
        Answer::Backend(format!("{}-default:80", w.name))
    })
}

fn service(rule: usize, path: usize) -> String {
    format!("s{rule}-{path}")
}

/// As the controller translates them.
pub(crate) fn translated(all: &[Written]) -> Translation {
    let settings = Settings::for_files(ControllerName::default());
    let decide = settings.clone();
    let mut index = Index::new(
        Box::new(move |candidate| membership(&decide, candidate)),
        Box::new(references),
        SecretsMode::NotRead,
    );
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
            let mut spec = IngressRule {
                host: host.map(Arc::from),
                paths: Vec::new(),
            };
            for (at_path, path) in paths.iter().enumerate() {
                let name = if path.served {
                    service(at_rule, at_path)
                } else {
                    "missing".to_owned()
                };
                spec.paths.push(IngressPath {
                    path: Some(path.path.as_str().into()),
                    path_type: format!("{:?}", path.kind).into(),
                    backend: backend(&name),
                });
                if path.served {
                    services.push(name);
                }
            }
            rules.push(spec);
        }
        for name in services {
            let name = ObjectName::new(namespace.clone(), name);
            objects.push(Object::Service(a_service(&name)));
            objects.push(Object::EndpointSlice(a_slice(&name)));
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
        objects.push(Object::Ingress(Ingress {
            meta,
            class_name: None,
            default_backend: written.default_backend.then(|| backend("default")),
            tls: Vec::new(),
            rules,
            status: Vec::new(),
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
