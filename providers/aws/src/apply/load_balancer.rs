//! Changes of load balancers in, ELBv2's calls out.

use std::time::{Duration, SystemTime};

use aws_sdk_elasticloadbalancingv2::types::{
    IpamPools as SdkPools, MinimumLoadBalancerCapacity, RemoveIpamPoolEnum, SubnetMapping,
};
use portcullis_model::{Code, ProviderError, Retry};

use super::Writer;
use super::proof::Made;
use crate::change::Answer;
use crate::client::incomplete;
use crate::observed::Stage;
use crate::resource::{
    Id, IpAddressType, IpamPools, LoadBalancerArn, LoadBalancerSpec, Pairs, SecurityGroupId, SubnetId,
};
use crate::wire::{load_balancer_attributes_to, load_balancer_from, tags_to};

fn texts<K: crate::resource::Kind>(ids: &[Id<K>]) -> Option<Vec<String>> {
    Some(ids.iter().map(Id::to_string).collect())
}

/// Subnets with an address each, where addresses are given. Source: ELBv2 API, CreateLoadBalancer.SubnetMappings.
fn mappings(spec: &LoadBalancerSpec<SecurityGroupId>) -> Option<Vec<SubnetMapping>> {
    if spec.allocations.is_empty() {
        return None;
    }
    let both = spec.subnets.iter().zip(&spec.allocations);
    let mapping = |(subnet, allocation): (&SubnetId, &String)| {
        let mapping = SubnetMapping::builder().subnet_id(subnet.as_str());
        mapping.allocation_id(allocation).build()
    };
    Some(both.map(mapping).collect())
}

/// And whether the call made it, rather than found it there.
pub(super) async fn create(
    to: &Writer<'_>,
    spec: &LoadBalancerSpec<SecurityGroupId>,
) -> Result<(Answer, Made), ProviderError> {
    let begun = clock();
    let request = to
        .client
        .elb
        .create_load_balancer()
        .name(&spec.name)
        .r#type(spec.kind.into())
        .scheme(spec.scheme.as_str().into())
        .ip_address_type(spec.ip_address_type.as_str().into())
        .set_subnets(
            spec.allocations
                .is_empty()
                .then(|| texts(&spec.subnets))
                .flatten(),
        )
        .set_subnet_mappings(mappings(spec))
        .set_security_groups(texts(&spec.security_groups))
        .set_customer_owned_ipv4_pool(spec.customer_owned_ipv4_pool.clone())
        .set_ipam_pools(spec.ipam_pools.as_ref().map(pools_to))
        .set_tags(Some(tags_to(&spec.tags)));
    let answer = to.send(request.send()).await?;
    let created = answer.load_balancers.unwrap_or_default().pop();
    let created = created.ok_or_else(|| incomplete(to.call, "LoadBalancer"))?;
    let arn = created.load_balancer_arn;
    let name = created.dns_name;
    let created = created
        .created_time
        .and_then(|time| SystemTime::try_from(time).ok());
    let answer = Answer::LoadBalancer {
        arn: LoadBalancerArn::new(arn.ok_or_else(|| incomplete(to.call, "LoadBalancerArn"))?),
        dns_name: name.ok_or_else(|| incomplete(to.call, "DNSName"))?,
        tags: spec.tags.clone(),
    };
    Ok((answer, Made::between(created, begun, clock())))
}

#[expect(
    clippy::disallowed_methods,
    reason = "AWS says when it made a load balancer in time of day"
)]
fn clock() -> SystemTime {
    SystemTime::now()
}

pub(super) async fn set_ip_address_type(
    to: &Writer<'_>,
    arn: &LoadBalancerArn,
    family: IpAddressType,
) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .set_ip_address_type()
        .load_balancer_arn(arn.as_str());
    to.done(request.ip_address_type(family.as_str().into()).send())
        .await
}

pub(super) async fn set_subnets(
    to: &Writer<'_>,
    arn: &LoadBalancerArn,
    subnets: &[SubnetId],
) -> Result<Answer, ProviderError> {
    let request = to.client.elb.set_subnets().load_balancer_arn(arn.as_str());
    to.done(request.set_subnets(texts(subnets)).send()).await
}

pub(super) async fn set_security_groups(
    to: &Writer<'_>,
    arn: &LoadBalancerArn,
    groups: &[SecurityGroupId],
) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .set_security_groups()
        .load_balancer_arn(arn.as_str());
    to.done(request.set_security_groups(texts(groups)).send()).await
}

pub(super) async fn modify_attributes(
    to: &Writer<'_>,
    arn: &LoadBalancerArn,
    attributes: &Pairs,
) -> Result<Answer, ProviderError> {
    let request = to.client.elb.modify_load_balancer_attributes();
    let request = request.load_balancer_arn(arn.as_str());
    to.done(
        request
            .set_attributes(Some(load_balancer_attributes_to(attributes)))
            .send(),
    )
    .await
}

fn pools_to(pools: &IpamPools) -> SdkPools {
    SdkPools::builder()
        .ipv4_ipam_pool_id(&pools.ipv4_ipam_pool_id)
        .build()
}

pub(super) async fn modify_pools(
    to: &Writer<'_>,
    arn: &LoadBalancerArn,
    pools: Option<&IpamPools>,
) -> Result<Answer, ProviderError> {
    let request = to.client.elb.modify_ip_pools().load_balancer_arn(arn.as_str());
    let request = match pools {
        Some(pools) => request.ipam_pools(pools_to(pools)),
        None => request.remove_ipam_pools(RemoveIpamPoolEnum::Ipv4),
    };
    to.done(request.send()).await
}

/// Being set up takes AWS some minutes; looked at from time to time.
const SET_UP_DELAY: Duration = Duration::from_secs(60);

pub(super) async fn wait(to: &Writer<'_>, arn: &LoadBalancerArn) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .describe_load_balancers()
        .load_balancer_arns(arn.as_str());
    let answer = to.send(request.send()).await?;
    let described = answer.load_balancers.unwrap_or_default().pop();
    let described = described.ok_or_else(|| incomplete(to.call, "LoadBalancer"))?;
    match load_balancer_from(described).map(|state| state.stage) {
        Ok(Stage::Provisioning) => Err(ProviderError {
            code: Code::ConflictingChange,
            call: to.call,
            message: "the load balancer is still being set up; what has to wait for that is done afterwards"
                .into(),
            retry: Retry::After(SET_UP_DELAY),
        }),
        Ok(Stage::SetUp) => Ok(Answer::Done),
        Err(field) => Err(incomplete(to.call, field)),
    }
}

pub(super) async fn reserve_capacity(
    to: &Writer<'_>,
    arn: &LoadBalancerArn,
    units: u32,
) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .modify_capacity_reservation()
        .load_balancer_arn(arn.as_str());
    let request = match units {
        0 => request.reset_capacity_reservation(true),
        units => {
            let capacity = MinimumLoadBalancerCapacity::builder();
            // The text it was read from holds no larger number.
            let units = i32::try_from(units).unwrap_or(i32::MAX);
            request.minimum_load_balancer_capacity(capacity.capacity_units(units).build())
        }
    };
    to.done(request.send()).await
}

pub(super) async fn delete(to: &Writer<'_>, arn: &LoadBalancerArn) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .delete_load_balancer()
        .load_balancer_arn(arn.as_str());
    to.delete(request.send()).await
}
