//! Changes of listeners in, ELBv2's calls out.

use aws_sdk_elasticloadbalancingv2::types::Certificate;
use portcullis_model::ProviderError;

use super::Writer;
use crate::change::Answer;
use crate::client::incomplete;
use crate::resource::{
    CertificateArn, ListenerArn, ListenerProtocol, ListenerSpec, LoadBalancerArn, Pairs, TargetGroupArn,
};
use crate::wire::{
    actions_to, listener_attributes_to, mutual_authentication_to, no_mutual_authentication, tags_to,
};

fn certificate(arn: &CertificateArn) -> Certificate {
    Certificate::builder().certificate_arn(arn.as_str()).build()
}

/// The default certificate: the only one that creating and modifying take. Source: ELBv2 API, CreateListener.
fn default_certificate(spec: &ListenerSpec<TargetGroupArn>) -> Option<Vec<Certificate>> {
    let first = spec.certificates.first()?;
    Some(vec![certificate(&first.certificate_arn)])
}

pub(super) async fn create(
    to: &Writer<'_>,
    load_balancer: &LoadBalancerArn,
    spec: &ListenerSpec<TargetGroupArn>,
) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .create_listener()
        .load_balancer_arn(load_balancer.as_str())
        .port(spec.port.into())
        .protocol(spec.protocol.as_str().into())
        .set_ssl_policy(spec.ssl_policy.clone())
        .set_certificates(default_certificate(spec))
        .set_mutual_authentication(spec.mutual_authentication.as_ref().map(mutual_authentication_to))
        .set_default_actions(Some(actions_to(&spec.default_actions)))
        .set_tags(Some(tags_to(&spec.tags)));
    let answer = to.send(request.send()).await?;
    let created = answer.listeners.unwrap_or_default().pop();
    let arn = created.and_then(|created| created.listener_arn);
    Ok(Answer::Listener {
        arn: ListenerArn::new(arn.ok_or_else(|| incomplete(to.call, "ListenerArn"))?),
    })
}

pub(super) async fn modify(
    to: &Writer<'_>,
    arn: &ListenerArn,
    spec: &ListenerSpec<TargetGroupArn>,
) -> Result<Answer, ProviderError> {
    let request = to
        .client
        .elb
        .modify_listener()
        .listener_arn(arn.as_str())
        .port(spec.port.into())
        .protocol(spec.protocol.as_str().into())
        .set_ssl_policy(spec.ssl_policy.clone())
        .set_certificates(default_certificate(spec))
        .set_mutual_authentication(match spec.protocol {
            ListenerProtocol::Http | ListenerProtocol::Tcp => None,
            // What is not given would stay as it is.
            ListenerProtocol::Https => Some(
                spec.mutual_authentication
                    .as_ref()
                    .map_or_else(no_mutual_authentication, mutual_authentication_to),
            ),
        })
        .set_default_actions(Some(actions_to(&spec.default_actions)));
    to.done(request.send()).await
}

pub(super) async fn modify_attributes(
    to: &Writer<'_>,
    arn: &ListenerArn,
    attributes: &Pairs,
) -> Result<Answer, ProviderError> {
    let request = to.client.elb.modify_listener_attributes();
    let request = request.listener_arn(arn.as_str());
    to.done(
        request
            .set_attributes(Some(listener_attributes_to(attributes)))
            .send(),
    )
    .await
}

pub(super) async fn add_certificate(
    to: &Writer<'_>,
    arn: &ListenerArn,
    added: &CertificateArn,
) -> Result<Answer, ProviderError> {
    let request = to.client.elb.add_listener_certificates();
    let request = request
        .listener_arn(arn.as_str())
        .certificates(certificate(added));
    to.done(request.send()).await
}

pub(super) async fn remove_certificate(
    to: &Writer<'_>,
    arn: &ListenerArn,
    removed: &CertificateArn,
) -> Result<Answer, ProviderError> {
    let request = to.client.elb.remove_listener_certificates();
    let request = request
        .listener_arn(arn.as_str())
        .certificates(certificate(removed));
    to.done(request.send()).await
}

pub(super) async fn delete(to: &Writer<'_>, arn: &ListenerArn) -> Result<Answer, ProviderError> {
    let request = to.client.elb.delete_listener().listener_arn(arn.as_str());
    to.delete(request.send()).await
}
