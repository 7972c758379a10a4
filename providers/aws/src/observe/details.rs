//! Load balancers and target groups of the listing in, the same with all that they have out.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::Listener;
use futures::try_join;
use portcullis_model::ProviderError;
use tracing::warn;

use super::tags::tags_of;
use super::together;
use crate::client::{Client, is_gone};
use crate::observed::{ListenerState, LoadBalancerState, Observed, Owned, RuleState, TargetGroupState};
use crate::resource::{CertificateRef, ListenerProtocol, Pairs};
use crate::wire::{certificates_from, listener_from, pairs_from, rule_from, target_from};

/// Reads what the listing lacks. What has gone since then is left out.
pub(super) async fn read(
    client: &Client,
    all: impl Iterator<Item = &mut Observed>,
) -> Result<(), ProviderError> {
    let mut all: Vec<_> = all.collect();
    let (mut balancers, mut groups) = (Vec::new(), Vec::new());
    for observed in &mut all {
        balancers.extend(observed.load_balancers.iter_mut().map(Owned::get_mut));
        groups.extend(observed.target_groups.iter_mut().map(Owned::get_mut));
    }
    let balancers = balancers
        .into_iter()
        .map(|state| known(state.arn.to_string(), load_balancer(client, state)))
        .collect();
    let groups = groups
        .into_iter()
        .map(|state| known(state.arn.to_string(), target_group(client, state)))
        .collect();
    let gone = (together(balancers).await?.into_iter()).chain(together(groups).await?);
    let gone: BTreeSet<String> = gone.flatten().collect();
    for observed in &mut all {
        observed
            .load_balancers
            .retain(|owned| !gone.contains(owned.get().arn.as_str()));
        observed
            .target_groups
            .retain(|owned| !gone.contains(owned.get().arn.as_str()));
    }
    tag(client, &mut all).await
}

/// The ARN, if what it names has gone.
async fn known(
    arn: String,
    read: impl Future<Output = Result<(), ProviderError>>,
) -> Result<Option<String>, ProviderError> {
    match read.await {
        Ok(()) => Ok(None),
        Err(error) if is_gone(&error) => Ok(Some(arn)),
        Err(error) => Err(error),
    }
}

async fn load_balancer(client: &Client, state: &mut LoadBalancerState) -> Result<(), ProviderError> {
    let arn = state.arn.as_str();
    let attributes = async {
        let request = client
            .elb
            .describe_load_balancer_attributes()
            .load_balancer_arn(arn);
        client
            .read("elbv2:DescribeLoadBalancerAttributes", move || {
                request.clone().send()
            })
            .await
    };
    let listeners = client.pages(
        "elbv2:DescribeListeners",
        |marker| {
            let request = client.elb.describe_listeners().load_balancer_arn(arn);
            request.set_marker(marker).send()
        },
        |page| (page.listeners, page.next_marker),
    );
    let (attributes, listeners) = try_join!(attributes, listeners)?;
    for listener in listeners {
        if let Some(listener) = self::listener(client, listener).await? {
            state.listeners.insert(listener.spec.port, listener);
        }
    }
    state.spec.attributes = pairs_from(attributes.attributes);
    Ok(())
}

/// A listener with its rules; none if it is of a kind we make none of, or has gone.
async fn listener(client: &Client, sdk: Listener) -> Result<Option<ListenerState>, ProviderError> {
    let name = sdk.listener_arn.clone();
    let mut state = match listener_from(sdk) {
        Ok(state) => state,
        Err(field) => {
            warn!(listener = name, field, "left alone: no listener as we know it");
            return Ok(None);
        }
    };
    // Those of Network Load Balancers have a default action alone.
    if state.spec.protocol == ListenerProtocol::Tcp {
        return Ok(Some(state));
    }
    let arn = state.arn.as_str();
    let rules = client.pages(
        "elbv2:DescribeRules",
        |marker| {
            let request = client.elb.describe_rules().listener_arn(arn);
            request.set_marker(marker).send()
        },
        |page| (page.rules, page.next_marker),
    );
    let read = match state.spec.protocol {
        ListenerProtocol::Http | ListenerProtocol::Tcp => rules.await.map(|rules| (rules, Vec::new())),
        ListenerProtocol::Https => try_join!(rules, certificates(client, arn)),
    };
    let (rules, certificates) = match read {
        Ok(read) => read,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    state.spec.certificates = certificates;
    for sdk in rules {
        let name = sdk.rule_arn.clone();
        match rule_from(sdk) {
            Ok(rule) => state.rules.extend(rule),
            Err(field) => warn!(rule = name, field, "left alone: no rule as we know it"),
        }
    }
    state.rules.sort_by_key(|rule| rule.spec.priority);
    Ok(Some(state))
}

async fn certificates(client: &Client, arn: &str) -> Result<Vec<CertificateRef>, ProviderError> {
    let request = |marker| {
        let request = client.elb.describe_listener_certificates().listener_arn(arn);
        request.set_marker(marker).send()
    };
    let all = client
        .pages("elbv2:DescribeListenerCertificates", request, |page| {
            (page.certificates, page.next_marker)
        })
        .await?;
    Ok(certificates_from(all))
}

async fn target_group(client: &Client, state: &mut TargetGroupState) -> Result<(), ProviderError> {
    let arn = state.arn.as_str();
    let attributes = client
        .elb
        .describe_target_group_attributes()
        .target_group_arn(arn);
    let health = client.elb.describe_target_health().target_group_arn(arn);
    let (attributes, health) = try_join!(
        client.read("elbv2:DescribeTargetGroupAttributes", move || attributes
            .clone()
            .send()),
        client.read("elbv2:DescribeTargetHealth", move || health.clone().send()),
    )?;
    let port = state.spec.port;
    let targets = health.target_health_descriptions.unwrap_or_default().into_iter();
    state.spec.targets = targets.filter_map(|sdk| target_from(sdk, port)).collect();
    state.spec.attributes = pairs_from(attributes.attributes);
    Ok(())
}

/// Gives the listeners and rules of all load balancers their tags, so that calls are full.
async fn tag(client: &Client, all: &mut [&mut Observed]) -> Result<(), ProviderError> {
    let (mut listeners, mut rules) = (Vec::new(), Vec::new());
    for listener in every_listener(all) {
        listeners.push(listener.arn.to_string());
        rules.extend(listener.rules.iter().map(|rule| rule.arn.to_string()));
    }
    let (mut listeners, mut rules) = try_join!(tags_of(client, &listeners), tags_of(client, &rules))?;
    let take = |tags: &mut BTreeMap<String, Pairs>, arn: &str| tags.remove(arn).unwrap_or_default();
    for listener in every_listener(all) {
        listener.spec.tags = take(&mut listeners, listener.arn.as_str());
        for RuleState { arn, spec } in &mut listener.rules {
            spec.tags = take(&mut rules, arn.as_str());
        }
    }
    Ok(())
}

fn every_listener<'a>(all: &'a mut [&mut Observed]) -> impl Iterator<Item = &'a mut ListenerState> {
    all.iter_mut()
        .flat_map(|observed| observed.load_balancers.iter_mut())
        .flat_map(|owned| owned.get_mut().listeners.values_mut())
}
