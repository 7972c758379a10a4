//! Where requests go: a Service's settings and endpoints in, a backend with its targets out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::affinity::AffinityKey;
use crate::kept::{KeptHealth, KeptTargets};
use crate::name::{ObjectName, Port};
use crate::origin::Origin;
use crate::text::shared_text;
use crate::verification::BackendTls;

/// Names a backend within its load balancer: `namespace/object-service:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(Arc<str>);

shared_text!(BackendId);

impl BackendId {
    /// Of the object that asks for it, and the Service's name and port as written there.
    pub fn new(owner: &ObjectName, service: &str, port: &str) -> Self {
        Self(format!("{owner}-{service}:{port}").into())
    }

    /// Of what exists by itself, as one namespace may have it and another may not.
    pub fn given(namespace: &str, name: &str) -> Self {
        Self(format!("given:{namespace}:{name}").into())
    }
}

/// A backend that exists by itself at the provider: its settings and targets are somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct GivenBackend {
    pub id: BackendId,
    /// What the provider calls it; unique there.
    pub name: Arc<str>,
    /// Of the object that names it: the provider must know that this namespace may have it.
    pub namespace: Arc<str>,
    pub origin: Origin,
}

/// The Service behind a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServiceRef {
    pub name: ObjectName,
    /// Empty where the object was never in a cluster.
    pub uid: Arc<str>,
    /// Port as the rule names it: a number or a name.
    pub port: Arc<str>,
    /// The Service's own number of it, whichever way it is named; none where that is not known.
    #[serde(skip)]
    pub number: Option<Port>,
}

impl fmt::Display for ServiceRef {
    /// `namespace/name:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

/// Which version of HTTP is spoken to targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum BackendVersion {
    #[default]
    Http1,
    Http2,
    Grpc,
}

/// How targets are spoken to. Plain HTTP/1.1 unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BackendProtocol {
    pub version: BackendVersion,
    pub tls: BackendTls,
}

/// Which port is asked for health.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum HealthPort {
    /// The target's own.
    #[default]
    Traffic,
    Fixed(Port),
}

/// When a target counts as healthy. Defaults: AWS Load Balancer Controller, Ingress annotations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HealthCheck {
    pub tls: bool,
    pub port: HealthPort,
    pub path: String,
    /// Seconds between two checks, 5–300.
    pub interval_seconds: u32,
    /// Seconds until a check has failed, 2–120.
    pub timeout_seconds: u32,
    /// Checks in a row until healthy, 2–10.
    pub healthy_threshold: u32,
    /// Checks in a row until unhealthy, 2–10.
    pub unhealthy_threshold: u32,
    /// Codes of a healthy answer, such as `200`, `200,202` or `200-299`; gRPC codes for gRPC.
    pub success_codes: String,
    /// Settings that are not known.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kept: BTreeSet<KeptHealth>,
}

impl HealthCheck {
    /// The defaults for a protocol.
    pub fn for_protocol(protocol: &BackendProtocol) -> Self {
        let grpc = protocol.version == BackendVersion::Grpc;
        Self {
            tls: protocol.tls.is_on(),
            port: HealthPort::Traffic,
            path: if grpc { "/AWS.ALB/healthcheck" } else { "/" }.into(),
            interval_seconds: 15,
            timeout_seconds: 5,
            healthy_threshold: 2,
            unhealthy_threshold: 2,
            success_codes: if grpc { "12" } else { "200" }.into(),
            kept: BTreeSet::new(),
        }
    }
}

/// What the load balancer sends packets to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TargetKind {
    /// The pods themselves.
    Pod,
    /// A port of every node.
    Node,
}

/// The address of a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TargetAddress {
    Ip(IpAddr),
    /// The cloud's id of a machine.
    Instance(Arc<str>),
}

impl std::fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Instance(id) => f.write_str(id),
        }
    }
}

/// Whether a target may have new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TargetState {
    Ready,
    /// Finishes what it has.
    Draining,
}

/// One place that serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Target {
    pub address: TargetAddress,
    pub port: Port,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Arc<str>>,
    /// The cloud's id of the machine it runs on, where known: whose firewall must let the load balancer in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<Arc<str>>,
    pub state: TargetState,
}

/// How long a backend is waited for, beside the beginning of its answer, in seconds; the provider's defaults where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Waits {
    /// For a connection to a target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_seconds: Option<u32>,
    /// For a target to take more of a request's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_body_seconds: Option<u32>,
    /// For a target to give more of its answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_body_seconds: Option<u32>,
}

impl Waits {
    /// Whether nothing is said of them.
    pub fn are_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who registers targets of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Registrants {
    /// This cluster alone: what it does not know has no place there.
    #[default]
    Alone,
    /// Other clusters as well: what this one has not registered is theirs.
    OthersToo,
}

impl Registrants {
    fn is_alone(&self) -> bool {
        *self == Self::Alone
    }
}

/// Targets that this cluster has registered where others register, too: as `address:port`, by the Service and its port.
pub type OwnTargets = BTreeMap<String, BTreeSet<String>>;

/// A backend of which it is not known which targets it has, or how they are spoken to: nothing is made of it, and what
/// exists of it stays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct UnreadBackend {
    pub kept: BTreeSet<KeptTargets>,
    /// One for each kind of targets that it may have; all nodes, where it is not known which.
    pub either: Vec<Backend>,
}

/// A Service port as a load balancer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Backend {
    pub id: BackendId,
    /// The object that asks for it.
    pub owner: ObjectName,
    pub service: ServiceRef,
    pub target_kind: TargetKind,
    /// The port of a target, where all share one; none for a named port that differs from pod to pod.
    pub port: Option<Port>,
    pub protocol: BackendProtocol,
    /// Where targets say how many more requests they can take; none where they are not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_port: Option<Port>,
    #[serde(skip_serializing_if = "Registrants::is_alone")]
    pub registrants: Registrants,
    pub health: HealthCheck,
    /// Whether connections to targets begin with whom they are for: PROXY protocol, version 2.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    /// Whether targets are to be checked also by a provider that asks them nothing by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_checked: bool,
    /// What requests have in common that go to the same target; none where any target will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<AffinityKey>,
    /// Longest time, in seconds, a removed target keeps its open connections; the provider's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u32>,
    /// Longest time, in seconds, until the backend has answered; the provider's default where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Waits::are_default")]
    pub waits: Waits,
    pub ipv6: bool,
    /// Settings a provider reads by its own names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Tags that exist and are not asked for stay: some of those that are could not be read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keeps_tags: bool,
    /// Sorted, without duplicates. Shared, because most changes leave most backends alone.
    pub targets: Arc<[Target]>,
    pub origin: Origin,
}
