//! `CreateLoadBalancer` and what it left: scheme, groups, subnets and attributes in, their API form out.

use serde::Serialize;

use super::{Pairs, SubnetId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancerScheme {
    Internal,
    InternetFacing,
}

impl LoadBalancerScheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::InternetFacing => "internet-facing",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IpAddressType {
    #[default]
    Ipv4,
    Ipv6,
    Dualstack,
    DualstackWithoutPublicIpv4,
}

impl IpAddressType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Dualstack => "dualstack",
            Self::DualstackWithoutPublicIpv4 => "dualstack-without-public-ipv4",
        }
    }
}

/// Pools of VPC IPAM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamPools {
    pub ipv4_ipam_pool_id: String,
}

/// An Application Load Balancer, or the Network Load Balancer in front of one; `S` is how it refers to security groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoadBalancerSpec<S> {
    pub name: String,
    pub scheme: LoadBalancerScheme,
    /// `application` or `network`.
    #[serde(rename = "Type")]
    pub kind: &'static str,
    pub ip_address_type: IpAddressType,
    pub security_groups: Vec<S>,
    /// Sorted.
    pub subnets: Vec<SubnetId>,
    /// Elastic IP addresses, one for each subnet; given at creation alone.
    #[serde(rename = "AllocationIds", skip_serializing_if = "Vec::is_empty")]
    pub allocations: Vec<String>,
    /// Of an Outpost; given at creation alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_owned_ipv4_pool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipam_pools: Option<IpamPools>,
    pub tags: Pairs,
    /// Desired: those that are set on purpose. Observed: all that were read.
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub attributes: Pairs,
}

impl<S> LoadBalancerSpec<S> {
    /// The same with other references to its security groups.
    pub fn with_groups<T>(&self, security_groups: Vec<T>) -> LoadBalancerSpec<T> {
        LoadBalancerSpec {
            name: self.name.clone(),
            scheme: self.scheme,
            kind: self.kind,
            ip_address_type: self.ip_address_type,
            security_groups,
            subnets: self.subnets.clone(),
            allocations: self.allocations.clone(),
            customer_owned_ipv4_pool: self.customer_owned_ipv4_pool.clone(),
            ipam_pools: self.ipam_pools.clone(),
            tags: self.tags.clone(),
            attributes: self.attributes.clone(),
        }
    }
}
