//! How a controller was started in, what translation assumes where objects say nothing out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use portcullis_model::{Port, Scheme, Semantics, TargetKind};

use crate::cluster::object::IngressClass;
use crate::crd::load_balancer::Wire;

/// `spec.controller` of the IngressClasses we answer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerName(Arc<str>);

impl ControllerName {
    pub const OURS: &'static str = IngressClass::OURS;
    /// The AWS Load Balancer Controller's.
    pub const INCUMBENT: &'static str = "ingress.k8s.aws/alb";

    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the incumbent's classes are served, in its place.
    pub fn is_incumbents(&self) -> bool {
        &*self.0 == Self::INCUMBENT
    }

    /// What classes of this controller mean unless their parameters say otherwise.
    pub fn semantics(&self) -> Semantics {
        if self.is_incumbents() {
            Semantics::AwsLoadBalancerController
        } else {
            Semantics::Kubernetes
        }
    }
}

impl Default for ControllerName {
    fn default() -> Self {
        Self::new(Self::OURS)
    }
}

impl fmt::Display for ControllerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose an Ingress is where there is no IngressClass at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutClass {
    /// In a cluster: not ours, like any that another controller serves, and none of our business.
    Foreign,
    /// In a folder: ours, as if its class named our controller. Where there are classes, one that is not ours is told.
    Ours,
}

/// Which Ingresses share a load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Those of one group.
    ByGroup,
    /// All of them, on one port for HTTP, one for HTTPS and those of [`Settings::further`]: what would be several load
    /// balancers is served by one process. Settings of a whole load balancer then hold for the rules of its own Ingresses.
    OneLoadBalancer,
}

/// What targets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// As asked for, else this.
    Default(TargetKind),
    /// Pods whatever is asked for: the load balancer reaches them by itself.
    Pods,
}

/// Which addresses may be targets. Link-local, metadata, multicast and unspecified ones never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Those of pods in the Service's own namespace: in a cluster all pods are known.
    Pods,
    /// Any but loopback: a folder need not hold Pods. Those it holds must have the address.
    Written,
    /// Loopback too: the files are the user's own and so is the machine.
    WrittenOrLoopback,
}

/// What translation assumes where objects say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub controller: ControllerName,
    /// Value of the annotation `kubernetes.io/ingress.class` that is ours without an IngressClass of that name.
    pub legacy_class: Arc<str>,
    /// Classes whose parameters name another provider are refused; none is where absent.
    pub provider: Option<&'static str>,
    /// Whose rules of precedence hold, whatever classes say.
    pub semantics: Option<Semantics>,
    pub without_class: WithoutClass,
    pub merge: Merge,
    /// Ports beside the two usual ones that have a listener where all load balancers are served as one.
    pub further: BTreeMap<Port, Wire>,
    pub scheme: Scheme,
    pub targets: Targets,
    pub addresses: AddressPolicy,
    /// Prefix lists that the provider was found to lack when an Ingress asked for them.
    pub absent_lists: BTreeSet<String>,
}

impl Settings {
    /// For a controller in a cluster. Ours: target type `ip`; the incumbent's: `instance`; both: scheme `internal`.
    pub fn new(controller: ControllerName) -> Self {
        let (legacy, kind) = match controller.semantics() {
            Semantics::Kubernetes => ("portcullis", TargetKind::Pod),
            Semantics::AwsLoadBalancerController => ("alb", TargetKind::Node),
        };
        Self {
            controller,
            legacy_class: legacy.into(),
            provider: None,
            semantics: None,
            without_class: WithoutClass::Foreign,
            merge: Merge::ByGroup,
            further: BTreeMap::new(),
            scheme: Scheme::Internal,
            targets: Targets::Default(kind),
            addresses: AddressPolicy::Pods,
            absent_lists: BTreeSet::new(),
        }
    }

    /// For a plan from the files of a folder.
    pub fn for_files(controller: ControllerName) -> Self {
        Self {
            without_class: WithoutClass::Ours,
            addresses: AddressPolicy::Written,
            ..Self::new(controller)
        }
    }

    /// For one process that serves the files of a folder on its own machine.
    pub fn for_serving(controller: ControllerName) -> Self {
        Self {
            merge: Merge::OneLoadBalancer,
            targets: Targets::Pods,
            addresses: AddressPolicy::WrittenOrLoopback,
            ..Self::for_files(controller)
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new(ControllerName::default())
    }
}
