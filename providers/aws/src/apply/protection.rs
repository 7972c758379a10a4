//! Changes of what stands before a load balancer in, calls of AWS WAF and Shield Advanced out.

use portcullis_model::ProviderError;

use super::Writer;
use crate::change::Answer;
use crate::client::incomplete;
use crate::resource::{LoadBalancerArn, ProtectionId, WebAclArn};

pub(super) async fn associate(
    to: &Writer<'_>,
    load_balancer: &LoadBalancerArn,
    web_acl: &WebAclArn,
) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .wafv2
        .associate_web_acl()
        .resource_arn(load_balancer.as_str());
    to.done(request.web_acl_arn(web_acl.as_str()).send()).await
}

pub(super) async fn disassociate(
    to: &Writer<'_>,
    load_balancer: &LoadBalancerArn,
) -> Result<Answer, ProviderError> {
    let request = to.client.wafv2.disassociate_web_acl();
    to.done(request.resource_arn(load_balancer.as_str()).send()).await
}

pub(super) async fn create(
    to: &Writer<'_>,
    load_balancer: &LoadBalancerArn,
    name: &str,
) -> Result<Answer, ProviderError> {
    let request = to.client.shield.create_protection().name(name);
    let answer = to
        .send(request.resource_arn(load_balancer.as_str()).send())
        .await?;
    let id = answer
        .protection_id
        .ok_or_else(|| incomplete(to.call, "ProtectionId"))?;
    Ok(Answer::Protection {
        id: ProtectionId::new(id),
    })
}

pub(super) async fn delete(to: &Writer<'_>, id: &ProtectionId) -> Result<Answer, ProviderError> {
    let request = to.client.shield.delete_protection().protection_id(id.as_str());
    to.delete(request.send()).await
}
