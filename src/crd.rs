//! Our own kinds: what operators write (`IngressClassParameters`) and what they read (`LoadBalancer`).

pub mod class_settings;
pub mod load_balancer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use class_settings::Given;
use class_settings::{Capacity, Group, Ipam, Listener, Pair, Subnets};

/// `spec` of an `IngressClassParameters`: how the Ingresses of a class are served. What it says of load balancers wins
/// over what Ingresses and Services say.
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
    /// What becomes of a load balancer when its last Ingress goes: `Delete` or `Retain`; as its Ingresses say where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Whose rules of precedence hold; by the class's controller name where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantics: Option<SemanticsName>,
    /// Who may use the class; everybody where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admission: Option<Admission>,
    /// All Ingresses of the class share the load balancer of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// `internal` or `internet-facing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cluster", schemars(extend("pattern" = "^(internal|internet-facing)$")))]
    pub scheme: Option<String>,
    /// `ipv4`, `dualstack` or `dualstack-without-public-ipv4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "cluster",
        schemars(extend("pattern" = "^(ipv4|dualstack|dualstack-without-public-ipv4)$"))
    )]
    pub ip_address_type: Option<String>,
    /// Name given at creation, at most 32 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cluster", schemars(length(max = 32)))]
    pub load_balancer_name: Option<String>,
    /// Where load balancers stand, instead of in the subnets found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "cluster",
        schemars(extend("x-kubernetes-validations" = [{
            "rule": "(has(self.ids) && size(self.ids) > 0) != (has(self.tags) && size(self.tags) > 0)",
            "message": "give either ids or tags",
        }]))
    )]
    pub subnets: Option<Subnets>,
    /// Who may connect, by address range.
    #[serde(default, rename = "inboundCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub inbound_cidrs: Vec<String>,
    /// Who may connect, by prefix list.
    #[serde(default, rename = "prefixListsIDs", skip_serializing_if = "Vec::is_empty")]
    pub prefix_lists: Vec<String>,
    /// Certificates of ACM or IAM; the first is the default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_arn: Vec<String>,
    /// TLS policy by AWS's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_policy: Option<String>,
    /// HTTPS port that plain HTTP is redirected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssl_redirect_port: Option<String>,
    /// Tags of all resources. Of a key that an Ingress gives, too, this value counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Pair>,
    /// `ip` for pods, `instance` for a port of every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cluster", schemars(extend("pattern" = "^(ip|instance)$")))]
    pub target_type: Option<String>,
    /// Whether HTTPS listeners speak HTTP/3, too. The proxy does, over UDP at the same port; an ALB cannot, and says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http3: Option<bool>,
    /// Attributes of load balancers by AWS's names. In a group those of the first member's class count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_balancer_attributes: Vec<Pair>,
    /// Attributes of listeners by AWS's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// Capacity kept ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_load_balancer_capacity: Option<Capacity>,
    /// Pools of VPC IPAM that addresses come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam_configuration: Option<Ipam>,
    /// Web ACL of AWS WAF by ARN; `none` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wafv2_acl_arn: Option<String>,
    /// The same by name, which wins over the ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wafv2_acl_name: Option<String>,
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

/// What becomes of a load balancer that no Ingress asks for any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub enum DeletionPolicy {
    #[default]
    Delete,
    /// It stays as it was last, and its record with it.
    Retain,
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
    /// And all of these hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelExpression>,
}

/// What is asked of a label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub struct LabelExpression {
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`; by any other no namespace is admitted.
    pub operator: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}
