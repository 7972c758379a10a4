//! Kubernetes objects trimmed to what is read here: everything else is dropped before it is kept.
//!
//! Nothing is judged: texts and numbers stand as written, so that `translate` can name the field that is wrong.

mod any;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use portcullis_model::{Code, KeyPair, LoadBalancerId, ObjectName, Sealed};

pub use self::any::Object;
use super::key_pair::{self, Unusable};
use crate::crd::{ClassParametersSpec, Given};

/// What every object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    pub name: ObjectName,
    /// Empty where the object was never in a cluster.
    pub uid: Arc<str>,
    /// Seconds since 1970; 0 where the object was never in a cluster.
    pub created: i64,
    /// It has a `deletionTimestamp`.
    pub deleting: bool,
    /// Only those a controller of load balancers reads: see [`Meta::keeps_annotation`].
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
}

impl Meta {
    /// Whether an annotation is kept. Others, such as `last-applied-configuration`, would double the memory.
    pub fn keeps_annotation(key: &str) -> bool {
        key.starts_with("alb.ingress.kubernetes.io/")
            || key.starts_with("portcullis.dev/")
            // Also those that are not read: each is told.
            || key.starts_with("nginx.ingress.kubernetes.io/")
            || Self::is_of_gke(key)
            || key == "kubernetes.io/ingress.class"
            || key == IngressClass::DEFAULT
    }

    /// Not all of GKE's: what it writes by itself is long, and changes with every target.
    fn is_of_gke(key: &str) -> bool {
        key == "kubernetes.io/ingress.allow-http"
            || key.ends_with("-static-ip-name")
            || key.ends_with("/app-protocols")
            || key.ends_with("cloud.google.com/backend-config")
            || key == "ingress.gcp.kubernetes.io/pre-shared-cert"
            || key == "networking.gke.io/managed-certificates"
            || key == "networking.gke.io/v1beta1.FrontendConfig"
    }

    /// What is kept of the value. ingress-nginx's snippets may be long, and are read nowhere: that there is one matters.
    pub fn kept_value(key: &str, value: Arc<str>) -> Arc<str> {
        let is_snippet = key.starts_with("nginx.ingress.kubernetes.io/") && key.ends_with("-snippet");
        match is_snippet && !value.trim().is_empty() {
            true => "…".into(),
            false => value,
        }
    }
}

/// `networking.k8s.io/v1` Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    pub meta: Meta,
    /// `metadata.generation`: raised by each change of `spec`; 0 where the object was never in a cluster.
    pub generation: i64,
    /// `spec.ingressClassName`.
    pub class_name: Option<Arc<str>>,
    pub default_backend: Option<IngressBackend>,
    pub tls: Vec<IngressTls>,
    pub rules: Vec<IngressRule>,
    /// `status.loadBalancer.ingress`, so that only a difference is written.
    pub status: Vec<IngressAddress>,
    /// Load balancers for which the AWS Load Balancer Controller holds it by a finalizer.
    pub held_for: BTreeSet<LoadBalancerId>,
    /// Field for which Kubernetes would refuse it: what could be read of the rest says what it guards, and is closed.
    pub refused: Option<Arc<str>>,
}

/// One entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngressAddress {
    pub hostname: Option<Arc<str>>,
    pub ip: Option<Arc<str>>,
    pub ports: Vec<IngressAddressPort>,
}

/// One entry of `status.loadBalancer.ingress[].ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressAddressPort {
    pub port: i64,
    pub protocol: Arc<str>,
    pub error: Option<Arc<str>>,
}

/// One entry of `spec.tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressTls {
    pub hosts: Vec<Arc<str>>,
    pub secret: Option<Arc<str>>,
}

/// One entry of `spec.rules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressRule {
    pub host: Option<Arc<str>>,
    /// Empty where `http` is absent. Those of a rule that is refused are shared by all of its hosts.
    pub paths: Arc<[IngressPath]>,
    /// Whether all of its host is closed, because it has more paths than these, which are told apart.
    pub is_closed: bool,
}

/// One entry of `spec.rules[].http.paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressPath {
    pub path: Option<Arc<str>>,
    /// As written; empty where absent.
    pub path_type: Arc<str>,
    pub backend: IngressBackend,
}

/// What an Ingress names to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IngressBackend {
    Service {
        name: Arc<str>,
        port: PortRef,
    },
    Resource {
        kind: Arc<str>,
        name: Arc<str>,
    },
    /// Neither is written.
    Missing,
}

/// A port as an Ingress or a Service names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortRef {
    Number(i64),
    Name(Arc<str>),
    Missing,
}

/// `v1` Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub meta: Meta,
    pub kind: ServiceType,
    pub ports: Vec<ServicePort>,
    /// Pods that serve, where no EndpointSlice says so.
    pub selector: BTreeMap<Arc<str>, Arc<str>>,
    pub families: Vec<IpFamily>,
    pub external_name: Option<Arc<str>>,
}

/// `spec.type` of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceType {
    ClusterIp,
    NodePort,
    LoadBalancer,
    ExternalName,
}

/// A family of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IpFamily {
    V4,
    V6,
}

/// One entry of a Service's `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    pub name: Option<Arc<str>>,
    pub port: i64,
    /// The port itself where absent.
    pub target: PortRef,
    pub node_port: Option<i64>,
    /// `TCP` where absent.
    pub protocol: Arc<str>,
    pub app_protocol: Option<Arc<str>>,
}

/// `discovery.k8s.io/v1` EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    pub meta: Meta,
    /// Label `kubernetes.io/service-name`.
    pub service: Option<Arc<str>>,
    /// `IPv4`, `IPv6` or `FQDN`, as written.
    pub address_type: Arc<str>,
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

/// One entry of an EndpointSlice's `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// Of the Service's port; empty where it has none.
    pub name: Arc<str>,
    pub port: Option<i64>,
    /// `TCP` where absent.
    pub protocol: Arc<str>,
}

/// One entry of an EndpointSlice's `endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As written; consumers use the first.
    pub addresses: Vec<Arc<str>>,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
    /// Name of the pod, in the slice's namespace.
    pub pod: Option<Arc<str>>,
}

/// `v1` Secret, of which only what is read here is kept: TLS material and the credentials of an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    pub meta: Meta,
    /// As written, such as `kubernetes.io/tls`.
    pub kind: Arc<str>,
    /// `tls.crt`, decoded from base64; PEM if it is right.
    pub certificate: Option<Arc<[u8]>>,
    /// `tls.key`, decoded from base64.
    pub key: Option<Sealed<[u8]>>,
    /// `ca.crt`, decoded from base64; PEM if it is right.
    pub authorities: Option<Arc<[u8]>>,
    /// `clientID`, or `clientId` where that is absent, decoded from base64.
    pub client_id: Option<Sealed<[u8]>>,
    /// `clientSecret`, decoded from base64.
    pub client_secret: Option<Sealed<[u8]>>,
    /// `auth`, decoded from base64; lines of `htpasswd` if it is right.
    pub users: Option<Sealed<[u8]>>,
    /// What [`Secret::key_pair`] found.
    pub key_pair: Once<Result<Arc<KeyPair>, Unusable>>,
}

impl Secret {
    /// Certificate and key, if they are right and belong together; else what is wrong, to be said after the Secret's
    /// name. Read when first asked for: that takes a millisecond, and few Secrets are asked.
    pub fn key_pair(&self) -> &Result<Arc<KeyPair>, Unusable> {
        self.key_pair
            .0
            .get_or_init(|| match (&self.certificate, &self.key) {
                (None, _) => Err((Code::SecretInvalid, "has no tls.crt".to_owned())),
                (_, None) => Err((Code::SecretInvalid, "has no tls.key".to_owned())),
                (Some(chain), Some(key)) => key_pair::read(&self.meta.uid, chain, key.reveal()).map(Arc::new),
            })
    }
}

/// Worked out from the rest of an object when first asked for, and so no part of what makes two of them differ.
#[derive(Clone, Debug)]
pub struct Once<T>(OnceLock<T>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> PartialEq for Once<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Once<T> {}

/// `networking.k8s.io/v1` IngressClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressClass {
    pub meta: Meta,
    /// `spec.controller`.
    pub controller: Arc<str>,
    pub is_default: bool,
    pub parameters: Option<ParametersRef>,
}

/// `spec.parameters` of an IngressClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParametersRef {
    pub api_group: Arc<str>,
    pub kind: Arc<str>,
    pub name: Arc<str>,
}

impl IngressClass {
    /// Our controller's name.
    pub const OURS: &str = "portcullis.dev/ingress";
    /// The annotation whose value `true`, and no other text, makes a class the default one. Source: Kubernetes,
    /// `plugin/pkg/admission/network/defaultingressclass`.
    pub const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
}

impl ParametersRef {
    /// Under which name the parameters are kept; none where they are of a kind that is not read.
    pub fn key(&self) -> Option<Arc<str>> {
        let kinds = [Kind::ClassParameters, Kind::IncumbentParameters];
        let kind = kinds.into_iter().find(|kind| {
            let group = kind.api_version().split('/').next();
            kind.as_str() == &*self.kind && group == Some(&*self.api_group)
        })?;
        Some(ClassParameters::key_of(kind, &self.name))
    }
}

/// `portcullis.dev/v1alpha1` IngressClassParameters, or the incumbent's `elbv2.k8s.aws/v1beta1` IngressClassParams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassParameters {
    pub meta: Meta,
    pub kind: Kind,
    /// Boxed: it is larger than any other object.
    pub spec: Box<ClassParametersSpec>,
    /// What it says in the words of annotations.
    pub given: BTreeMap<Arc<str>, Given>,
    /// Fields that may restrict something, and are not known here.
    pub unread: Vec<Arc<str>>,
}

impl ClassParameters {
    pub fn new(meta: Meta, kind: Kind, spec: ClassParametersSpec, unread: Vec<Arc<str>>) -> Self {
        Self {
            meta,
            kind,
            given: spec.annotations(),
            spec: Box::new(spec),
            unread,
        }
    }

    /// No name of an object has a slash, so that both kinds can be kept together.
    pub fn key_of(kind: Kind, name: &Arc<str>) -> Arc<str> {
        if kind == Kind::IncumbentParameters {
            format!("{}/{name}", kind.as_str()).into()
        } else {
            name.clone()
        }
    }

    pub fn key(&self) -> Arc<str> {
        Self::key_of(self.kind, &self.meta.name.name)
    }
}

/// Condition `Ready` of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    Ready,
    NotReady,
    /// It has not been heard of for a while, and may well serve.
    Unknown,
}

/// One entry of a node's `spec.taints`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint {
    pub key: Arc<str>,
    pub effect: Arc<str>,
}

/// `v1` Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub meta: Meta,
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `spec.providerID`, such as `aws:///eu-west-1a/i-0123456789abcdef0`.
    pub provider_id: Option<Arc<str>>,
    pub state: NodeState,
    /// Addresses of type `InternalIP`.
    pub addresses: Vec<IpAddr>,
    pub taints: BTreeSet<Taint>,
}

/// Readiness gates of load balancers: this, and the name of a target group.
/// Source: AWS Load Balancer Controller, `pkg/targetgroupbinding`, `TargetHealthPodConditionTypePrefix`.
pub const TARGET_HEALTH: &str = "target-health.elbv2.k8s.aws/";

/// What a pod's status says of one of its `spec.readinessGates`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// The condition is `True`.
    pub met: bool,
    /// Why it is not, if it is said.
    pub reason: Option<Arc<str>>,
}

/// `v1` Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub meta: Meta,
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    pub node: Option<Arc<str>>,
    /// `status.podIPs`.
    pub addresses: Vec<IpAddr>,
    pub ready: bool,
    /// Condition `ContainersReady`: what is left of `ready` without readiness gates and the node's own state.
    pub containers_ready: bool,
    /// By the type of their condition.
    pub gates: BTreeMap<Arc<str>, Gate>,
    /// `spec.terminationGracePeriodSeconds`; 30 where absent.
    pub grace_seconds: i64,
    /// A container waits before it is told to end.
    pub pre_stop: bool,
    /// Phase `Succeeded` or `Failed`: its addresses are free for others.
    pub finished: bool,
    /// Named TCP ports of its containers.
    pub ports: BTreeMap<Arc<str>, i64>,
}

impl Pod {
    /// Gates that wait for a load balancer, by the name of its target group.
    pub fn awaited_target_groups(&self) -> impl Iterator<Item = (&str, &Gate)> {
        self.gates
            .iter()
            .filter(|(_, gate)| !gate.met)
            .filter_map(|(kind, gate)| Some((kind.strip_prefix(TARGET_HEALTH)?, gate)))
    }

    /// Whether nothing but load balancers keeps it from being ready, or kept it until a moment ago: it is some time
    /// from the opening of a gate until the pod and its EndpointSlice say that it is ready.
    pub fn is_ready_but_for_load_balancers(&self) -> bool {
        let (own, mut others): (Vec<_>, Vec<_>) = self
            .gates
            .iter()
            .partition(|(kind, _)| kind.starts_with(TARGET_HEALTH));
        others.retain(|(_, gate)| !gate.met);
        self.containers_ready && !own.is_empty() && others.is_empty()
    }
}

/// `v1` Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    pub meta: Meta,
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

/// The kinds of objects that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Ingress,
    IngressClass,
    ClassParameters,
    /// The incumbent's parameters of classes.
    IncumbentParameters,
    Service,
    EndpointSlice,
    Secret,
    Node,
    Pod,
    Namespace,
}

impl Kind {
    pub const ALL: &[Self] = &[
        Self::Ingress,
        Self::IngressClass,
        Self::ClassParameters,
        Self::IncumbentParameters,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::Node,
        Self::Pod,
        Self::Namespace,
    ];

    /// As `kind:` is written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::IngressClass => "IngressClass",
            Self::ClassParameters => "IngressClassParameters",
            Self::IncumbentParameters => "IngressClassParams",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Namespace => "Namespace",
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        match self {
            Self::Ingress | Self::Service | Self::EndpointSlice | Self::Secret | Self::Pod => true,
            Self::IngressClass
            | Self::ClassParameters
            | Self::IncumbentParameters
            | Self::Node
            | Self::Namespace => false,
        }
    }

    /// Whether a cluster may lack the kind.
    pub fn is_optional(self) -> bool {
        self == Self::IncumbentParameters
    }

    /// As an origin names it.
    pub fn origin(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::IngressClass => "ingressclass",
            Self::ClassParameters => "ingressclassparameters",
            Self::IncumbentParameters => "ingressclassparams",
            Self::Service => "service",
            Self::EndpointSlice => "endpointslice",
            Self::Secret => "secret",
            Self::Node => "node",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
        }
    }

    /// As `apiVersion:` is written in a manifest.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Ingress | Self::IngressClass => "networking.k8s.io/v1",
            Self::ClassParameters => "portcullis.dev/v1alpha1",
            Self::IncumbentParameters => "elbv2.k8s.aws/v1beta1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::Service | Self::Secret | Self::Node | Self::Pod | Self::Namespace => "v1",
        }
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub kind: Kind,
    pub name: ObjectName,
}
