//! Changes of load balancers in, ELBv2's calls out.

use portcullis_model::ProviderError;

use super::Writer;
use crate::change::Answer;
use crate::client::incomplete;
use crate::resource::{
    Id, IpAddressType, LoadBalancerArn, LoadBalancerSpec, Pairs, SecurityGroupId, SubnetId,
};
use crate::wire::{load_balancer_attributes_to, tags_to};

fn texts<K: crate::resource::Kind>(ids: &[Id<K>]) -> Option<Vec<String>> {
    Some(ids.iter().map(Id::to_string).collect())
}

pub(super) async fn create(
    to: &Writer<'_>,
    spec: &LoadBalancerSpec<SecurityGroupId>,
) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .create_load_balancer()
        .name(&spec.name)
        .r#type(spec.kind.into())
        .scheme(spec.scheme.as_str().into())
        .ip_address_type(spec.ip_address_type.as_str().into())
        .set_subnets(texts(&spec.subnets))
        .set_security_groups(texts(&spec.security_groups))
        .set_tags(Some(tags_to(&spec.tags)));
    let answer = to.send(request.send()).await?;
    let created = answer.load_balancers.unwrap_or_default().pop();
    let created = created.ok_or_else(|| incomplete(to.call, "LoadBalancer"))?;
    let arn = created.load_balancer_arn;
    let name = created.dns_name;
    Ok(Answer::LoadBalancer {
        arn: LoadBalancerArn::new(arn.ok_or_else(|| incomplete(to.call, "LoadBalancerArn"))?),
        dns_name: name.ok_or_else(|| incomplete(to.call, "DNSName"))?,
        tags: spec.tags.clone(),
    })
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

pub(super) async fn delete(to: &Writer<'_>, arn: &LoadBalancerArn) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .delete_load_balancer()
        .load_balancer_arn(arn.as_str());
    to.delete(request.send()).await
}
