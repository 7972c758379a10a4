//! What a load balancer is to be and what exists of it in, the same with what only its own settings ask for out.

use std::time::{SystemTime, UNIX_EPOCH};

use portcullis_model::{Code, LoadBalancer, ProviderError};

use crate::client::{Client, is_gone};
use crate::observed::{Looked, Observed, Owned, ProtectionState};
use crate::resource::{ListenerArn, LoadBalancerArn, Pairs, ProtectionId, WebAclArn};
use crate::settings::{Settings, Switch};
use crate::wire::{APPLICATION, pairs_from};

/// Reads what is asked for and not known yet.
pub(crate) async fn look_closer(
    client: &Client,
    settings: &Settings,
    desired: &LoadBalancer,
    observed: &mut Observed,
) -> Result<(), ProviderError> {
    let options = &desired.options;
    observed.looked_at = now();
    for state in observed.load_balancers.iter_mut().map(Owned::get_mut) {
        if state.spec.kind != APPLICATION {
            continue;
        }
        if options.minimum_capacity.is_some() && state.capacity.at().is_none() {
            state.capacity = looked(capacity(client, &state.arn).await)?;
        }
        if options.firewall.is_some() && settings.wafv2 == Switch::On && state.web_acl.at().is_none() {
            let read = web_acl(client, &state.arn).await;
            state.web_acl = match state.listeners.is_empty() {
                // Nobody is served yet, and nobody will be before this is known: it is asked again soon.
                true => Looked::At(read?),
                false => looked(read)?,
            };
        }
        if options.attack_protection.is_some()
            && settings.shield == Switch::On
            && state.protection.at().is_none()
        {
            state.protection = looked(protection(client, &state.arn).await)?;
        }
        for port in options.listener_attributes.keys() {
            if let Some(listener) = state.listeners.get_mut(&port.get())
                && listener.attributes.at().is_none()
            {
                listener.attributes = looked(attributes(client, &listener.arn).await)?;
            }
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge tells the time; planning is given it"
)]
fn now() -> Option<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.ok().map(|since| since.as_secs())
}

/// What AWS was asked too fast is asked again with the whole pass. Any other failure must not keep routes and targets
/// from following the cluster.
fn looked<T>(read: Result<T, ProviderError>) -> Result<Looked<T>, ProviderError> {
    match read {
        Ok(value) => Ok(Looked::At(value)),
        Err(error) if error.code == Code::Throttled => Err(error),
        Err(error) => Ok(Looked::Failed(error)),
    }
}

async fn capacity(client: &Client, arn: &LoadBalancerArn) -> Result<u32, ProviderError> {
    let request = client.elb.describe_capacity_reservation();
    let request = request.load_balancer_arn(arn.as_str());
    let call = client.read("elbv2:DescribeCapacityReservation", move || {
        request.clone().send()
    });
    let reserved = call.await?.minimum_load_balancer_capacity;
    let units = reserved.and_then(|reserved| reserved.capacity_units);
    Ok(units.and_then(|units| u32::try_from(units).ok()).unwrap_or(0))
}

async fn web_acl(client: &Client, arn: &LoadBalancerArn) -> Result<Option<WebAclArn>, ProviderError> {
    let request = client.wafv2.get_web_acl_for_resource();
    let request = request.resource_arn(arn.as_str());
    let call = client.read("wafv2:GetWebACLForResource", move || request.clone().send());
    Ok(call.await?.web_acl.map(|acl| WebAclArn::new(acl.arn)))
}

async fn protection(
    client: &Client,
    arn: &LoadBalancerArn,
) -> Result<Option<ProtectionState>, ProviderError> {
    let request = client.shield.describe_protection().resource_arn(arn.as_str());
    let call = client.read("shield:DescribeProtection", move || request.clone().send());
    let answer = match call.await {
        Ok(answer) => answer,
        // Nothing protects it.
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(answer.protection.and_then(|sdk| {
        Some(ProtectionState {
            id: ProtectionId::new(sdk.id?),
            name: sdk.name.unwrap_or_default(),
        })
    }))
}

async fn attributes(client: &Client, arn: &ListenerArn) -> Result<Pairs, ProviderError> {
    let request = client.elb.describe_listener_attributes();
    let request = request.listener_arn(arn.as_str());
    let call = client.read("elbv2:DescribeListenerAttributes", move || request.clone().send());
    Ok(pairs_from(call.await?.attributes))
}
