//! Services and EndpointSlices as written in, what is kept of them out.

use std::sync::Arc;

use serde::Deserialize;

use super::meta::{MetaWire, Texts, texts};
use super::{Invalid, Wire, object};
use crate::cluster::object::{
    Endpoint, EndpointPort, EndpointSlice, IpFamily, Meta, Object, PortRef, Service, ServicePort, ServiceType,
};

#[derive(Deserialize)]
pub(super) struct ServiceWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    #[serde(default, deserialize_with = "object::one")]
    spec: Option<Spec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    r#type: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::list")]
    ports: Option<Vec<Port>>,
    selector: Option<Texts>,
    ip_families: Option<Vec<Arc<str>>>,
    external_name: Option<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: Option<Arc<str>>,
    port: Option<i64>,
    target_port: Option<PortRef>,
    node_port: Option<i64>,
    protocol: Option<Arc<str>>,
    app_protocol: Option<Arc<str>>,
}

impl Wire for ServiceWire {
    const UNREAD: &[&str] = &[
        "spec.allocateLoadBalancerNodePorts",
        "spec.clusterIP",
        "spec.clusterIPs",
        "spec.externalIPs",
        "spec.externalTrafficPolicy",
        "spec.healthCheckNodePort",
        "spec.internalTrafficPolicy",
        "spec.ipFamilyPolicy",
        "spec.loadBalancerClass",
        "spec.loadBalancerIP",
        "spec.loadBalancerSourceRanges",
        "spec.publishNotReadyAddresses",
        "spec.sessionAffinity",
        "spec.sessionAffinityConfig",
        "spec.trafficDistribution",
        "status",
    ];

    fn metadata(&mut self) -> MetaWire {
        self.metadata.take().unwrap_or_default()
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        let spec = self.spec.unwrap_or_default();
        let kind = match spec.r#type.as_deref() {
            None | Some("" | "ClusterIP") => ServiceType::ClusterIp,
            Some("NodePort") => ServiceType::NodePort,
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some("ExternalName") => ServiceType::ExternalName,
            Some(other) => {
                let message =
                    format!("{other:?} is none of ClusterIP, NodePort, LoadBalancer and ExternalName");
                return Err(Invalid::new("spec.type", message));
            }
        };
        let family = |(i, family): (usize, Arc<str>)| match &*family {
            "IPv4" => Ok(IpFamily::V4),
            "IPv6" => Ok(IpFamily::V6),
            other => Err(Invalid::new(
                format!("spec.ipFamilies[{i}]"),
                format!("{other:?} is neither IPv4 nor IPv6"),
            )),
        };
        let families = spec.ip_families.unwrap_or_default().into_iter().enumerate();
        let ports = spec.ports.unwrap_or_default().into_iter().enumerate();
        Ok(Object::from(Service {
            meta,
            kind,
            ports: ports.map(|(i, port)| port.trim(i)).collect::<Result<_, _>>()?,
            selector: texts(spec.selector),
            families: families.map(family).collect::<Result<_, _>>()?,
            external_name: spec.external_name.filter(|name| !name.is_empty()),
        }))
    }
}

impl Port {
    fn trim(self, i: usize) -> Result<ServicePort, Invalid> {
        let port = self
            .port
            .ok_or_else(|| Invalid::missing(format!("spec.ports[{i}].port")))?;
        Ok(ServicePort {
            name: self.name.filter(|name| !name.is_empty()),
            port,
            // Kubernetes sends 0 or "" for a port that was not written.
            target: match self.target_port {
                None | Some(PortRef::Missing | PortRef::Number(0)) => PortRef::Number(port),
                Some(PortRef::Name(name)) if name.is_empty() => PortRef::Number(port),
                Some(target) => target,
            },
            node_port: self.node_port.filter(|port| *port != 0),
            protocol: self.protocol.unwrap_or_else(|| "TCP".into()),
            app_protocol: self.app_protocol,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointSliceWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    address_type: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::list")]
    ports: Option<Vec<SlicePort>>,
    #[serde(default, deserialize_with = "object::list")]
    endpoints: Option<Vec<SliceEndpoint>>,
    #[serde(skip)]
    service: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct SlicePort {
    name: Option<Arc<str>>,
    port: Option<i64>,
    protocol: Option<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceEndpoint {
    addresses: Option<Vec<Arc<str>>>,
    #[serde(default, deserialize_with = "object::one")]
    conditions: Option<Conditions>,
    node_name: Option<Arc<str>>,
    zone: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::one")]
    target_ref: Option<TargetRef>,
}

#[derive(Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize)]
struct TargetRef {
    kind: Option<Arc<str>>,
    namespace: Option<Arc<str>>,
    name: Option<Arc<str>>,
}

impl Wire for EndpointSliceWire {
    const UNREAD: &[&str] = &[
        "endpoints[].deprecatedTopology",
        "endpoints[].hints",
        "endpoints[].hostname",
        "endpoints[].targetRef.apiVersion",
        "endpoints[].targetRef.fieldPath",
        "endpoints[].targetRef.resourceVersion",
        "endpoints[].targetRef.uid",
        "ports[].appProtocol",
    ];

    fn metadata(&mut self) -> MetaWire {
        let mut metadata = self.metadata.take().unwrap_or_default();
        let label = metadata
            .labels
            .as_mut()
            .and_then(|labels| labels.remove("kubernetes.io/service-name"));
        self.service = label.flatten();
        metadata
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        let namespace = meta.name.namespace.clone();
        let ports = self.ports.unwrap_or_default().into_iter();
        let endpoints = self.endpoints.unwrap_or_default().into_iter();
        Ok(Object::from(EndpointSlice {
            meta,
            service: self.service.filter(|service| !service.is_empty()),
            address_type: self.address_type.ok_or_else(|| Invalid::missing("addressType"))?,
            ports: ports
                .map(|port| EndpointPort {
                    name: port.name.unwrap_or_default(),
                    port: port.port,
                    protocol: port.protocol.unwrap_or_else(|| "TCP".into()),
                })
                .collect(),
            endpoints: endpoints.map(|endpoint| endpoint.trim(&namespace)).collect(),
        }))
    }
}

impl SliceEndpoint {
    fn trim(self, namespace: &str) -> Endpoint {
        let conditions = self.conditions.unwrap_or_default();
        // Unknown counts as ready, and serving as ready. Source: Kubernetes API, EndpointConditions.
        let ready = conditions.ready.unwrap_or(true);
        Endpoint {
            addresses: self.addresses.unwrap_or_default(),
            ready,
            serving: conditions.serving.unwrap_or(ready),
            terminating: conditions.terminating.unwrap_or(false),
            node: self.node_name,
            zone: self.zone,
            pod: self.target_ref.and_then(|target| {
                let pod = target.kind.as_deref() == Some("Pod");
                let near = target
                    .namespace
                    .is_none_or(|of| of.is_empty() || &*of == namespace);
                target.name.filter(|_| pod && near)
            }),
        }
    }
}
