//! One change in, one call to AWS and what it answered out: nothing is decided or looked up here.

mod certificate;
mod listener;
mod load_balancer;
mod proof;
mod protection;
mod rule;
mod security_group;
mod target_group;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Instant;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use portcullis_model::{Claim, Code, ProviderError};

use proof::Made;
pub(crate) use proof::Unproven;

use crate::change::{Answer, Call};
use crate::client::{Client, Effect, WRITE_TIMEOUT, conflict, is_gone};
use crate::resource::Pairs;
use crate::wire::tags_to;

/// The way of every call that changes something: none is sent that the claim does not cover.
struct Writer<'a> {
    client: &'a Client,
    claim: &'a Claim,
    call: &'static str,
}

impl Writer<'_> {
    fn send<T, E>(
        &self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<T, ProviderError>> + Send
    where
        T: Send,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        let call = self.client.send(self.call, Effect::Write, request);
        async {
            if !self.claim.covers(now(), WRITE_TIMEOUT) {
                let message = "the lease ends before the call could; nothing was sent".to_owned();
                return Err(conflict(Code::ClaimLost, self.call, message));
            }
            call.await
        }
    }

    /// Sends what deletes: that it has gone already is as good.
    fn delete<T, E>(
        &self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<Answer, ProviderError>> + Send
    where
        T: Send,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        let sent = self.send(request);
        async {
            match sent.await {
                Ok(_) => Ok(Answer::Done),
                Err(error) if is_gone(&error) => Ok(Answer::Done),
                Err(error) => Err(error),
            }
        }
    }

    /// Sends what answers nothing of interest.
    fn done<T, E>(
        &self,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> impl Future<Output = Result<Answer, ProviderError>> + Send
    where
        T: Send,
        E: ProvideErrorMetadata + std::error::Error + Send + 'static,
    {
        let sent = self.send(request);
        async { sent.await.map(|_| Answer::Done) }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a claim is judged at the moment of the call"
)]
fn now() -> Instant {
    Instant::now()
}

/// Waits for the turn of the call: before a claim is asked for, which may be shorter than the wait.
pub(crate) async fn turn(client: &Client, call: &Call) -> Result<(), ProviderError> {
    // Those that AWS allows so seldom that they are put off keep their place.
    let place = if let Call::CreateLoadBalancer { spec } = call {
        Some(format!("{} {}", call.name(), spec.name))
    } else if let Call::SetSubnets { arn, .. } = call {
        Some(format!("{} {}", call.name(), arn.as_str()))
    } else {
        None
    };
    client.turn(call.name(), Effect::Write, place.as_deref()).await
}

/// Makes the one call, whose turn it is. What an earlier create answered must prove to be ours before it is used.
pub(crate) async fn apply(
    client: &Client,
    unproven: &Unproven,
    claim: &Claim,
    call: &Call,
) -> Result<Answer, ProviderError> {
    unproven.prove(client, call).await?;
    let to = &Writer {
        client,
        claim,
        call: call.name(),
    };
    let answer = match call {
        Call::CreateSecurityGroup { spec } => security_group::create(to, spec).await,
        Call::AuthorizeSecurityGroupIngress { group, permissions } => {
            security_group::authorize(to, group, permissions).await
        }
        Call::RevokeSecurityGroupIngress { group, permissions } => {
            security_group::revoke(to, group, permissions).await
        }
        Call::DeleteSecurityGroup { group } => security_group::delete(to, group).await,
        Call::CreateTags { group, tags } => security_group::tag(to, group, tags).await,
        Call::DeleteTags { group, keys } => security_group::untag(to, group, keys).await,

        Call::CreateTargetGroup { spec } => target_group::create(to, spec).await,
        Call::ModifyTargetGroup { arn, health } => target_group::modify(to, arn, health).await,
        Call::ModifyTargetGroupAttributes { arn, attributes } => {
            target_group::modify_attributes(to, arn, attributes).await
        }
        Call::RegisterTargets { arn, targets } => target_group::register(to, arn, targets).await,
        Call::DeregisterTargets { arn, targets } => target_group::deregister(to, arn, targets).await,
        Call::DeleteTargetGroup { arn } => target_group::delete(to, arn).await,

        Call::CreateLoadBalancer { spec } => match load_balancer::create(to, spec).await {
            Ok((answer, Made::ByThisCall)) => return Ok(answer),
            created => created.map(|(answer, _)| answer),
        },
        Call::SetIpAddressType { arn, ip_address_type } => {
            load_balancer::set_ip_address_type(to, arn, *ip_address_type).await
        }
        Call::SetSubnets { arn, subnets } => load_balancer::set_subnets(to, arn, subnets).await,
        Call::SetSecurityGroups { arn, groups } => load_balancer::set_security_groups(to, arn, groups).await,
        Call::ModifyLoadBalancerAttributes { arn, attributes } => {
            load_balancer::modify_attributes(to, arn, attributes).await
        }
        Call::ModifyIpPools { arn, pools } => load_balancer::modify_pools(to, arn, pools.as_ref()).await,
        Call::AwaitLoadBalancer { arn } => load_balancer::wait(to, arn).await,
        Call::AwaitTargets { target_groups, until } => target_group::wait(to, target_groups, *until).await,
        Call::ModifyCapacityReservation { arn, units } => {
            load_balancer::reserve_capacity(to, arn, *units).await
        }
        Call::DeleteLoadBalancer { arn } => load_balancer::delete(to, arn).await,

        Call::AssociateWebAcl {
            load_balancer,
            web_acl,
        } => protection::associate(to, load_balancer, web_acl).await,
        Call::DisassociateWebAcl { load_balancer } => protection::disassociate(to, load_balancer).await,
        Call::CreateProtection { load_balancer, name } => protection::create(to, load_balancer, name).await,
        Call::DeleteProtection { id, .. } => protection::delete(to, id).await,

        Call::ImportCertificate { replaced, spec } => certificate::import(to, replaced.as_ref(), spec).await,
        Call::DeleteCertificate { arn, tags } => certificate::delete(to, arn, tags).await,
        Call::AddTagsToCertificate { arn, tags } => certificate::tag(to, arn, tags).await,
        Call::RemoveTagsFromCertificate { arn, keys } => certificate::untag(to, arn, keys).await,

        Call::CreateListener { load_balancer, spec } => listener::create(to, load_balancer, spec).await,
        Call::ModifyListener { arn, spec } => listener::modify(to, arn, spec).await,
        Call::ModifyListenerAttributes { arn, attributes } => {
            listener::modify_attributes(to, arn, attributes).await
        }
        Call::AddListenerCertificates { arn, certificate } => {
            listener::add_certificate(to, arn, certificate).await
        }
        Call::RemoveListenerCertificates { arn, certificate } => {
            listener::remove_certificate(to, arn, certificate).await
        }
        Call::DeleteListener { arn } => listener::delete(to, arn).await,

        Call::CreateRule { listener, spec } => rule::create(to, listener, spec).await,
        Call::ModifyRule {
            arn,
            conditions,
            actions,
            transforms,
        } => rule::modify(to, arn, conditions, actions, transforms).await,
        Call::SetRulePriorities { priorities } => rule::set_priorities(to, priorities).await,
        Call::DeleteRule { arn } => rule::delete(to, arn).await,

        Call::AddTags { arn, tags } => tag(to, arn, tags).await,
        Call::RemoveTags { arn, keys } => untag(to, arn, keys).await,
    }?;
    unproven.note(&answer);
    Ok(answer)
}

async fn tag(to: &Writer<'_>, arn: &str, tags: &Pairs) -> Result<Answer, ProviderError> {
    let request = to.client.elb.add_tags().resource_arns(arn);
    to.done(request.set_tags(Some(tags_to(tags))).send()).await
}

async fn untag(to: &Writer<'_>, arn: &str, keys: &BTreeSet<String>) -> Result<Answer, ProviderError> {
    let request = to.client.elb.remove_tags().resource_arns(arn);
    let keys = keys.iter().cloned().collect();
    to.done(request.set_tag_keys(Some(keys)).send()).await
}
