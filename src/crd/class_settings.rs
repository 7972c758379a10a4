//! What a class says of its load balancers in, the annotations that would say the same out. Fields have the names they
//! have in the incumbent's `IngressClassParams`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ClassParametersSpec;

/// A group of Ingresses that share a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub struct Group {
    pub name: String,
}

/// Subnets by id or by tag, never both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub struct Subnets {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Each of these tags with one of its values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Vec<String>>,
}

/// A tag or an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub struct Pair {
    pub key: String,
    #[serde(default)]
    pub value: String,
}

/// A listener's attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// `HTTP` or `HTTPS`.
    pub protocol: String,
    pub port: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listener_attributes: Vec<Pair>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// 0 gives it back.
    pub capacity_units: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub struct Ipam {
    #[serde(default, rename = "ipv4IPAMPoolId", skip_serializing_if = "Option::is_none")]
    pub ipv4_pool: Option<String>,
}

/// An annotation as a class gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Field of the parameters that gives it, such as `spec.scheme`.
    pub field: &'static str,
    pub value: Arc<str>,
}

impl ClassParametersSpec {
    /// The annotations that say the same, by their name without prefix: so that there is one reader for both.
    pub fn annotations(&self) -> BTreeMap<Arc<str>, Given> {
        let mut out = BTreeMap::new();
        let mut put = |name: &str, field, value: Option<String>| {
            if let Some(value) = value {
                let value = value.into();
                out.insert(Arc::from(name), Given { field, value });
            }
        };
        let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
        put(
            "group.name",
            "spec.group.name",
            self.group.as_ref().map(|group| group.name.clone()),
        );
        put(
            "deletion-policy",
            "spec.deletionPolicy",
            self.deletion_policy.map(|policy| format!("{policy:?}")),
        );
        put("scheme", "spec.scheme", self.scheme.clone());
        put(
            "ip-address-type",
            "spec.ipAddressType",
            self.ip_address_type.clone(),
        );
        put(
            "load-balancer-name",
            "spec.loadBalancerName",
            self.load_balancer_name.clone(),
        );
        if let Some(subnets) = &self.subnets {
            put("subnets", "spec.subnets.ids", list(&subnets.ids));
        }
        put("inbound-cidrs", "spec.inboundCIDRs", list(&self.inbound_cidrs));
        put(
            "security-group-prefix-lists",
            "spec.prefixListsIDs",
            list(&self.prefix_lists),
        );
        put(
            "certificate-arn",
            "spec.certificateArn",
            list(&self.certificate_arn),
        );
        put(
            "ssl-policy",
            "spec.sslPolicy",
            self.ssl_policy.clone().filter(|policy| !policy.is_empty()),
        );
        put(
            "ssl-redirect",
            "spec.sslRedirectPort",
            self.ssl_redirect_port.clone().filter(|port| !port.is_empty()),
        );
        put("tags", "spec.tags", pairs(&self.tags));
        put("target-type", "spec.targetType", self.target_type.clone());
        put("http3", "spec.http3", self.http3.map(|on| on.to_string()));
        put(
            "load-balancer-attributes",
            "spec.loadBalancerAttributes",
            pairs(&self.load_balancer_attributes),
        );
        for listener in &self.listeners {
            let name = format!("listener-attributes.{}-{}", listener.protocol, listener.port);
            put(&name, "spec.listeners", pairs(&listener.listener_attributes));
        }
        let capacity = self.minimum_load_balancer_capacity.as_ref();
        put(
            "minimum-load-balancer-capacity",
            "spec.minimumLoadBalancerCapacity",
            capacity.map(|capacity| format!("CapacityUnits={}", capacity.capacity_units)),
        );
        put(
            "ipam-ipv4-pool-id",
            "spec.ipamConfiguration.ipv4IPAMPoolId",
            self.ipam_configuration
                .as_ref()
                .and_then(|ipam| ipam.ipv4_pool.clone()),
        );
        put("wafv2-acl-arn", "spec.wafv2AclArn", self.wafv2_acl_arn.clone());
        put("wafv2-acl-name", "spec.wafv2AclName", self.wafv2_acl_name.clone());
        out
    }
}

/// As an annotation writes a map.
fn pairs(pairs: &[Pair]) -> Option<String> {
    let escaped = |text: &str| {
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if matches!(c, '\\' | ',' | '=') {
                out.push('\\');
            }
            out.push(c);
        }
        out
    };
    let written = pairs
        .iter()
        .map(|pair| format!("{}={}", escaped(&pair.key), escaped(&pair.value)));
    (!pairs.is_empty()).then(|| written.collect::<Vec<_>>().join(","))
}
