//! Our own kinds: what operators write (`IngressClassParameters`) and what they read (`LoadBalancer`).

pub mod load_balancer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `spec` of an `IngressClassParameters`: how the Ingresses of a class are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(kube::CustomResource, schemars::JsonSchema))]
#[cfg_attr(
    feature = "cluster",
    kube(
        group = "portcullis.dev",
        version = "v1alpha1",
        kind = "IngressClassParameters",
        plural = "ingressclassparameters",
        root = "IngressClassParameters",
        derive = "PartialEq"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClassParametersSpec {
    /// Who serves the class: `aws`. The controller's own provider where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Whether changes are made, or only computed and shown.
    #[serde(default)]
    pub mode: Mode,
    /// Scheme of load balancers that do not say theirs: `internal` or `internet-facing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Whose rules of precedence hold; by the class's controller name where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantics: Option<SemanticsName>,
    /// Who may use the class; everybody where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
}

/// Whether changes are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub enum Mode {
    #[default]
    Apply,
    /// Compute and show; write nothing to the cloud.
    Plan,
}

/// Whose rules of precedence and strictness hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub enum SemanticsName {
    Kubernetes,
    AwsLoadBalancerController,
}

/// Who may use a class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Admission {
    /// Namespaces admitted; all where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,
    /// Which namespaces may use which hosts. Where absent, a host belongs to the namespace that used it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostGrant>>,
    /// Annotations admitted, by their names without prefix; a name that ends in `.` or `-` admits all that start with
    /// it. All where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Vec<String>>,
}

/// Hosts that namespaces may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HostGrant {
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// `shop.example`; `*.shop.example` for every host below it, at any depth; `*` for every host and for none.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Namespaces by name or by label; a namespace that either admits is admitted. Both empty: none is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// All of these labels with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}
