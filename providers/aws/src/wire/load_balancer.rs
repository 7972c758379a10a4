//! `DescribeLoadBalancers` in, load balancers as they exist out.

use aws_sdk_elasticloadbalancingv2::types::{LoadBalancer, LoadBalancerStateEnum};

use crate::observed::{LoadBalancerState, Looked, Stage};
use crate::resource::{
    IpAddressType, IpamPools, LoadBalancerArn, LoadBalancerScheme, LoadBalancerSpec, Pairs, SecurityGroupId,
    SubnetId,
};

/// The type of the load balancers we make.
pub(crate) const APPLICATION: &str = "application";

/// The type of those in front.
pub(crate) const NETWORK: &str = "network";

pub(super) fn ip_address_type_from(text: &str) -> Option<IpAddressType> {
    [
        IpAddressType::Ipv4,
        IpAddressType::Ipv6,
        IpAddressType::Dualstack,
        IpAddressType::DualstackWithoutPublicIpv4,
    ]
    .into_iter()
    .find(|known| known.as_str() == text)
}

fn scheme_from(text: &str) -> Option<LoadBalancerScheme> {
    [LoadBalancerScheme::Internal, LoadBalancerScheme::InternetFacing]
        .into_iter()
        .find(|known| known.as_str() == text)
}

/// The API's types. Source: ELBv2 API, LoadBalancer.Type.
fn kind_from(text: &str) -> Option<&'static str> {
    [APPLICATION, NETWORK, "gateway"]
        .into_iter()
        .find(|known| *known == text)
}

/// A load balancer of any type without listeners, tags and attributes; else the field that is not understood.
pub(crate) fn load_balancer_from(sdk: LoadBalancer) -> Result<LoadBalancerState, &'static str> {
    let scheme = sdk
        .scheme
        .as_ref()
        .and_then(|scheme| scheme_from(scheme.as_str()));
    let family = sdk
        .ip_address_type
        .as_ref()
        .map_or("ipv4", |family| family.as_str());
    let kind = sdk.r#type.as_ref().map_or(APPLICATION, |kind| kind.as_str());
    let zones = sdk.availability_zones.unwrap_or_default();
    let mut placed: Vec<(SubnetId, Vec<String>)> = Vec::new();
    for zone in zones {
        let addresses = zone.load_balancer_addresses.unwrap_or_default().into_iter();
        let allocations = addresses.filter_map(|address| address.allocation_id).collect();
        placed.extend(zone.subnet_id.map(|subnet| (SubnetId::new(subnet), allocations)));
    }
    placed.sort();
    let (subnets, allocations): (Vec<SubnetId>, Vec<Vec<String>>) = placed.into_iter().unzip();
    let groups = sdk.security_groups.unwrap_or_default();
    Ok(LoadBalancerState {
        arn: LoadBalancerArn::new(sdk.load_balancer_arn.ok_or("LoadBalancerArn")?),
        // None while it is being made, and AWS may be slow to tell.
        dns_name: sdk.dns_name.unwrap_or_default(),
        stage: match sdk.state.and_then(|state| state.code) {
            Some(LoadBalancerStateEnum::Provisioning) => Stage::Provisioning,
            Some(_) | None => Stage::SetUp,
        },
        spec: LoadBalancerSpec {
            name: sdk.load_balancer_name.ok_or("LoadBalancerName")?,
            scheme: scheme.ok_or("Scheme")?,
            kind: kind_from(kind).ok_or("Type")?,
            ip_address_type: ip_address_type_from(family).ok_or("IpAddressType")?,
            security_groups: groups.into_iter().map(SecurityGroupId::new).collect(),
            subnets,
            allocations: allocations.concat(),
            customer_owned_ipv4_pool: sdk.customer_owned_ipv4_pool,
            ipam_pools: sdk
                .ipam_pools
                .and_then(|pools| pools.ipv4_ipam_pool_id)
                .map(|ipv4_ipam_pool_id| IpamPools { ipv4_ipam_pool_id }),
            tags: Pairs::default(),
            attributes: Pairs::default(),
        },
        capacity: Looked::Never,
        web_acl: Looked::Never,
        protection: Looked::Never,
        listeners: Default::default(),
    })
}
