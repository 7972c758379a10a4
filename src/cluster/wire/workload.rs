//! Pods, Nodes and Namespaces as written in, what is kept of them out.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::meta::{MetaWire, Texts, texts};
use super::{Invalid, Wire, object};
use crate::cluster::object::{Gate, Meta, Namespace, Node, NodeState, Object, Pod, Taint};

#[derive(Deserialize)]
struct Condition {
    r#type: Option<Arc<str>>,
    status: Option<Arc<str>>,
    reason: Option<Arc<str>>,
}

fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions
        .iter()
        .find(|condition| condition.r#type.as_deref() == Some(kind))
}

fn is_true(conditions: &[Condition], kind: &str) -> bool {
    condition(conditions, kind).is_some_and(|condition| condition.status.as_deref() == Some("True"))
}

fn address(field: String, text: &str) -> Result<IpAddr, Invalid> {
    text.parse()
        .map_err(|_| Invalid::new(field, format!("{text:?} is not an IP address")))
}

#[derive(Deserialize)]
pub(super) struct PodWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    #[serde(default, deserialize_with = "object::one")]
    spec: Option<PodSpec>,
    #[serde(default, deserialize_with = "object::one")]
    status: Option<PodStatus>,
    #[serde(skip)]
    labels: Option<Texts>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::list")]
    containers: Option<Vec<Container>>,
    #[serde(default, deserialize_with = "object::list")]
    init_containers: Option<Vec<Container>>,
    #[serde(default, deserialize_with = "object::list")]
    readiness_gates: Option<Vec<ReadinessGate>>,
    termination_grace_period_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadinessGate {
    condition_type: Option<Arc<str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default, deserialize_with = "object::list")]
    ports: Option<Vec<ContainerPort>>,
    restart_policy: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::one")]
    lifecycle: Option<Lifecycle>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lifecycle {
    pre_stop: Option<serde::de::IgnoredAny>,
}

/// Kubernetes API, PodSpec.terminationGracePeriodSeconds.
const GRACE_SECONDS: i64 = 30;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerPort {
    name: Option<Arc<str>>,
    container_port: Option<i64>,
    protocol: Option<Arc<str>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    phase: Option<Arc<str>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::list")]
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
    #[serde(default, deserialize_with = "object::list")]
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct PodIp {
    ip: Option<Arc<str>>,
}

impl Wire for PodWire {
    const UNREAD: &[&str] = &[];

    fn metadata(&mut self) -> MetaWire {
        let mut metadata = self.metadata.take().unwrap_or_default();
        self.labels = metadata.labels.take();
        metadata
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        let spec = self.spec.unwrap_or_default();
        let status = self.status.unwrap_or_default();
        let mut ips: Vec<(String, Arc<str>)> = Vec::new();
        for (i, ip) in status.pod_ips.into_iter().flatten().enumerate() {
            ips.extend(ip.ip.map(|ip| (format!("status.podIPs[{i}].ip"), ip)));
        }
        if ips.is_empty() {
            ips.extend(status.pod_ip.map(|ip| ("status.podIP".to_owned(), ip)));
        }
        ips.retain(|(_, ip)| !ip.is_empty());
        // Init containers that restart are sidecars, whose ports count too.
        // Source: Kubernetes, `pkg/api/v1/pod/util.go`, FindPort.
        let sidecars = spec
            .init_containers
            .into_iter()
            .flatten()
            .filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let containers: Vec<Container> = spec.containers.into_iter().flatten().chain(sidecars).collect();
        let pre_stop = |container: &Container| {
            let lifecycle = container.lifecycle.as_ref();
            lifecycle.is_some_and(|lifecycle| lifecycle.pre_stop.is_some())
        };
        let pre_stop = containers.iter().any(pre_stop);
        let conditions = status.conditions.unwrap_or_default();
        let gates = spec.readiness_gates.into_iter().flatten();
        let gates = gates
            .filter_map(|gate| gate.condition_type)
            .map(|kind| {
                let told = condition(&conditions, &kind);
                let gate = Gate {
                    met: is_true(&conditions, &kind),
                    reason: told.and_then(|told| told.reason.clone()),
                };
                (kind, gate)
            })
            .collect();
        let mut ports = std::collections::BTreeMap::new();
        let every_port = containers
            .into_iter()
            .flat_map(|container| container.ports.into_iter().flatten());
        for port in every_port {
            let tcp = port.protocol.is_none_or(|protocol| &*protocol == "TCP");
            if let (true, Some(name), Some(number)) = (tcp, port.name, port.container_port) {
                ports.entry(name).or_insert(number);
            }
        }
        Ok(Object::from(Pod {
            meta,
            labels: texts(self.labels),
            node: spec.node_name.filter(|node| !node.is_empty()),
            addresses: ips
                .into_iter()
                .map(|(field, ip)| address(field, &ip))
                .collect::<Result<_, _>>()?,
            ready: is_true(&conditions, "Ready"),
            containers_ready: is_true(&conditions, "ContainersReady"),
            gates,
            grace_seconds: spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS),
            pre_stop,
            finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            ports,
        }))
    }
}

#[derive(Deserialize)]
pub(super) struct NodeWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    #[serde(default, deserialize_with = "object::one")]
    spec: Option<NodeSpec>,
    #[serde(default, deserialize_with = "object::one")]
    status: Option<NodeStatus>,
    #[serde(skip)]
    labels: Option<Texts>,
}

#[derive(Default, Deserialize)]
struct NodeSpec {
    #[serde(rename = "providerID")]
    provider_id: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::list")]
    taints: Option<Vec<TaintWire>>,
}

#[derive(Deserialize)]
struct TaintWire {
    key: Option<Arc<str>>,
    effect: Option<Arc<str>>,
}

#[derive(Default, Deserialize)]
struct NodeStatus {
    #[serde(default, deserialize_with = "object::list")]
    addresses: Option<Vec<NodeAddress>>,
    #[serde(default, deserialize_with = "object::list")]
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct NodeAddress {
    r#type: Option<Arc<str>>,
    address: Option<Arc<str>>,
}

impl Wire for NodeWire {
    const UNREAD: &[&str] = &[];

    fn metadata(&mut self) -> MetaWire {
        let mut metadata = self.metadata.take().unwrap_or_default();
        self.labels = metadata.labels.take();
        metadata
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        let spec = self.spec.unwrap_or_default();
        let status = self.status.unwrap_or_default();
        let mut addresses = Vec::new();
        for (i, entry) in status.addresses.into_iter().flatten().enumerate() {
            if entry.r#type.as_deref() == Some("InternalIP")
                && let Some(text) = entry.address
            {
                addresses.push(address(format!("status.addresses[{i}].address"), &text)?);
            }
        }
        Ok(Object::from(Node {
            meta,
            labels: texts(self.labels),
            provider_id: spec.provider_id.filter(|id| !id.is_empty()),
            state: match condition(&status.conditions.unwrap_or_default(), "Ready")
                .and_then(|ready| ready.status.as_deref())
            {
                Some("True") => NodeState::Ready,
                Some("Unknown") => NodeState::Unknown,
                Some(_) | None => NodeState::NotReady,
            },
            addresses,
            taints: spec
                .taints
                .into_iter()
                .flatten()
                .filter_map(|taint| {
                    Some(Taint {
                        key: taint.key?,
                        effect: taint.effect.unwrap_or_default(),
                    })
                })
                .collect(),
        }))
    }
}

#[derive(Deserialize)]
pub(super) struct NamespaceWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    #[serde(skip)]
    labels: Option<Texts>,
}

impl Wire for NamespaceWire {
    const UNREAD: &[&str] = &["spec", "status"];

    fn metadata(&mut self) -> MetaWire {
        let mut metadata = self.metadata.take().unwrap_or_default();
        self.labels = metadata.labels.take();
        metadata
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        Ok(Object::from(Namespace {
            meta,
            labels: texts(self.labels),
        }))
    }
}
