//! `networking.k8s.io/v1` Ingress as written in, what is kept of it out.

use std::sync::Arc;

use serde::Deserialize;

use super::meta::MetaWire;
use super::{Invalid, Wire, object};
use crate::cluster::incumbent;
use crate::cluster::object::{
    Ingress, IngressAddress, IngressAddressPort, IngressBackend, IngressPath, IngressRule, IngressTls, Meta,
    Object, PortRef,
};

#[derive(Deserialize)]
pub(super) struct IngressWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    #[serde(default, deserialize_with = "object::one")]
    spec: Option<Spec>,
    #[serde(default, deserialize_with = "object::one")]
    status: Option<Status>,
    #[serde(skip)]
    generation: i64,
    #[serde(skip)]
    finalizers: Vec<Arc<str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    ingress_class_name: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::one")]
    default_backend: Option<Backend>,
    #[serde(default, deserialize_with = "object::list")]
    tls: Option<Vec<Tls>>,
    #[serde(default, deserialize_with = "object::list")]
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tls {
    hosts: Option<Vec<Arc<str>>>,
    secret_name: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct Rule {
    host: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::one")]
    http: Option<Http>,
}

#[derive(Deserialize)]
struct Http {
    #[serde(default, deserialize_with = "object::list")]
    paths: Option<Vec<Path>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Path {
    path: Option<Arc<str>>,
    path_type: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::one")]
    backend: Option<Backend>,
}

#[derive(Deserialize)]
struct Backend {
    #[serde(default, deserialize_with = "object::one")]
    service: Option<ServiceBackend>,
    #[serde(default, deserialize_with = "object::one")]
    resource: Option<ResourceBackend>,
}

#[derive(Deserialize)]
struct ServiceBackend {
    name: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::one")]
    port: Option<Port>,
}

#[derive(Deserialize)]
struct Port {
    name: Option<Arc<str>>,
    number: Option<i64>,
}

#[derive(Deserialize)]
struct ResourceBackend {
    kind: Option<Arc<str>>,
    name: Option<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default, deserialize_with = "object::one")]
    load_balancer: Option<LoadBalancer>,
}

#[derive(Deserialize)]
struct LoadBalancer {
    #[serde(default, deserialize_with = "object::list")]
    ingress: Option<Vec<Address>>,
}

#[derive(Deserialize)]
struct Address {
    hostname: Option<Arc<str>>,
    ip: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::list")]
    ports: Option<Vec<AddressPort>>,
}

#[derive(Deserialize)]
struct AddressPort {
    port: Option<i64>,
    protocol: Option<Arc<str>>,
    error: Option<Arc<str>>,
}

impl Wire for IngressWire {
    const UNREAD: &[&str] = &[
        "spec.defaultBackend.resource.apiGroup",
        "spec.rules[].http.paths[].backend.resource.apiGroup",
    ];

    fn metadata(&mut self) -> MetaWire {
        let mut metadata = self.metadata.take().unwrap_or_default();
        self.generation = metadata.generation.unwrap_or_default();
        self.finalizers = metadata.finalizers.take().unwrap_or_default();
        metadata
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        let spec = self.spec.unwrap_or_default();
        let default_backend = spec
            .default_backend
            .map(|backend| backend.trim("spec.defaultBackend"));
        let rules = spec.rules.unwrap_or_default().into_iter().enumerate();
        let tls = spec.tls.unwrap_or_default().into_iter();
        let status = self.status.and_then(|status| status.load_balancer?.ingress);
        let held_for = self.finalizers.iter();
        let held_for = held_for.filter_map(|finalizer| incumbent::held_for(&meta.name, finalizer));
        Ok(Object::from(Ingress {
            held_for: held_for.collect(),
            refused: None,
            meta,
            generation: self.generation,
            class_name: spec.ingress_class_name,
            default_backend: default_backend.transpose()?,
            tls: tls
                .map(|tls| IngressTls {
                    hosts: tls.hosts.unwrap_or_default(),
                    secret: written(tls.secret_name),
                })
                .collect(),
            rules: rules.map(|(i, rule)| rule.trim(i)).collect::<Result<_, _>>()?,
            status: status
                .unwrap_or_default()
                .into_iter()
                .map(Address::trim)
                .collect(),
        }))
    }
}

impl Rule {
    fn trim(self, i: usize) -> Result<IngressRule, Invalid> {
        let paths = self.http.and_then(|http| http.paths).unwrap_or_default();
        let trim = |(j, path): (usize, Path)| {
            let field = format!("spec.rules[{i}].http.paths[{j}].backend");
            Ok(IngressPath {
                path: written(path.path),
                path_type: path.path_type.unwrap_or_default(),
                backend: match path.backend {
                    Some(backend) => backend.trim(&field)?,
                    None => IngressBackend::Missing,
                },
            })
        };
        Ok(IngressRule {
            host: written(self.host),
            paths: paths
                .into_iter()
                .enumerate()
                .map(trim)
                .collect::<Result<_, _>>()?,
            is_closed: false,
        })
    }
}

impl Backend {
    fn trim(self, field: &str) -> Result<IngressBackend, Invalid> {
        match (self.service, self.resource) {
            (Some(_), Some(_)) => Err(Invalid::new(field, "names both a service and a resource")),
            (None, Some(resource)) => Ok(IngressBackend::Resource {
                kind: resource.kind.unwrap_or_default(),
                name: resource.name.unwrap_or_default(),
            }),
            (Some(service), None) => Ok(IngressBackend::Service {
                name: service.name.unwrap_or_default(),
                port: match service.port {
                    Some(port) => port.trim(field)?,
                    None => PortRef::Missing,
                },
            }),
            (None, None) => Ok(IngressBackend::Missing),
        }
    }
}

impl Port {
    fn trim(self, backend: &str) -> Result<PortRef, Invalid> {
        match (written(self.name), self.number) {
            (Some(name), None | Some(0)) => Ok(PortRef::Name(name)),
            (None, Some(number)) => Ok(PortRef::Number(number)),
            (None, None) => Ok(PortRef::Missing),
            (Some(_), Some(_)) => Err(Invalid::new(
                format!("{backend}.service.port"),
                "has both a name and a number",
            )),
        }
    }
}

impl Address {
    fn trim(self) -> IngressAddress {
        IngressAddress {
            hostname: written(self.hostname),
            ip: written(self.ip),
            ports: self
                .ports
                .unwrap_or_default()
                .into_iter()
                .map(|port| IngressAddressPort {
                    port: port.port.unwrap_or_default(),
                    protocol: port.protocol.unwrap_or_default(),
                    error: written(port.error),
                })
                .collect(),
        }
    }
}

/// Kubernetes does not tell an empty text from none.
fn written(text: Option<Arc<str>>) -> Option<Arc<str>> {
    text.filter(|text| !text.is_empty())
}
