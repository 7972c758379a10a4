//! The account in, every load balancer, target group and security group of the VPC with their tags out.

use std::collections::BTreeMap;

use futures::try_join;
use portcullis_model::ProviderError;
use tracing::debug;

use super::tags::tags_of;
use crate::account::{Fact, ListedTargetGroup, Listing};
use crate::client::Client;
use crate::observed::{LoadBalancerState, Looked, SecurityGroupState, TargetGroupState};
use crate::resource::{Pairs, TargetGroupArn, TargetType, VpcId};
use crate::wire::{
    APPLICATION, LAMBDA, NETWORK, listed_target_group_from, load_balancer_from, security_group_from,
    target_group_from,
};

use super::account::in_vpc;

pub(super) async fn listing(client: &Client, vpc: &VpcId) -> Result<Listing, ProviderError> {
    let (load_balancers, (target_groups, every), security_groups) = try_join!(
        load_balancers(client, vpc),
        target_groups(client, vpc),
        security_groups(client, vpc),
    )?;
    Ok(Listing {
        load_balancers,
        target_groups,
        security_groups,
        every_target_group: Fact::Read(every),
        certificates: Looked::Never,
    })
}

/// Those of other types and VPCs only take names: their tags are not read, so they are never ours.
async fn load_balancers(client: &Client, vpc: &VpcId) -> Result<Vec<LoadBalancerState>, ProviderError> {
    let all = client
        .pages(
            "elbv2:DescribeLoadBalancers",
            |marker| client.elb.describe_load_balancers().set_marker(marker).send(),
            |page| (page.load_balancers, page.next_marker),
        )
        .await?;
    let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
    for sdk in all {
        let (arn, in_vpc) = (
            sdk.load_balancer_arn.clone(),
            sdk.vpc_id.as_deref() == Some(vpc.as_str()),
        );
        if let Some(state) = understood(arn.as_deref(), load_balancer_from(sdk)) {
            let list = if in_vpc && [APPLICATION, NETWORK].contains(&state.spec.kind) {
                &mut here
            } else {
                &mut elsewhere
            };
            list.push(state);
        }
    }
    tag(
        client,
        &mut here,
        |state| state.arn.to_string(),
        |state| &mut state.spec.tags,
    )
    .await?;
    here.append(&mut elsewhere);
    Ok(here)
}

/// Those of the VPC as we know them, and all of the Region as far as forwarding to them goes.
async fn target_groups(
    client: &Client,
    vpc: &VpcId,
) -> Result<(Vec<TargetGroupState>, Vec<ListedTargetGroup>), ProviderError> {
    let all = client
        .pages(
            "elbv2:DescribeTargetGroups",
            |marker| client.elb.describe_target_groups().set_marker(marker).send(),
            |page| (page.target_groups, page.next_marker),
        )
        .await?;
    let mut every: Vec<_> = all.iter().filter_map(listed_target_group_from).collect();
    // Functions are in no VPC. Of what is elsewhere, or not for us, tags are never asked for.
    let arns: Vec<_> = every
        .iter()
        .filter(|it| it.vpc.as_ref().is_none_or(|own| own == vpc))
        .filter(|it| {
            [LAMBDA, TargetType::Alb.as_str()].contains(&it.kind.as_str())
                || matches!(it.protocol.as_deref(), Some("HTTP" | "HTTPS"))
        })
        .map(|it| it.arn.to_string())
        .collect();
    let mut tags = tags_of(client, &arns).await?;
    for listed in &mut every {
        listed.tags = tags.remove(listed.arn.as_str()).unwrap_or_default();
    }
    let ours = all
        .into_iter()
        .filter(|sdk| sdk.vpc_id.as_deref() == Some(vpc.as_str()));
    let mut states: Vec<_> = ours
        .filter_map(|sdk| {
            let arn = sdk.target_group_arn.clone();
            understood(arn.as_deref(), target_group_from(sdk))
        })
        .collect();
    let known: BTreeMap<&TargetGroupArn, &Pairs> = every.iter().map(|it| (&it.arn, &it.tags)).collect();
    for state in &mut states {
        state.spec.tags = known.get(&state.arn).copied().cloned().unwrap_or_default();
    }
    Ok((states, every))
}

async fn security_groups(client: &Client, vpc: &VpcId) -> Result<Vec<SecurityGroupState>, ProviderError> {
    let request = |token| {
        let request = client.ec2.describe_security_groups().filters(in_vpc(vpc));
        request
            .max_results(super::account::PAGE)
            .set_next_token(token)
            .send()
    };
    let all = client
        .pages("ec2:DescribeSecurityGroups", request, |page| {
            (page.security_groups, page.next_token)
        })
        .await?;
    Ok(all.into_iter().filter_map(security_group_from).collect())
}

/// Leaves out, and so alone, what we cannot say all of, such as a TCP target group.
fn understood<T>(arn: Option<&str>, read: Result<T, &'static str>) -> Option<T> {
    read.inspect_err(|field| {
        debug!(
            arn,
            field, "left alone: not for an Application Load Balancer as we know it"
        )
    })
    .ok()
}

/// Gives each its tags.
async fn tag<S>(
    client: &Client,
    states: &mut [S],
    arn: impl Fn(&S) -> String,
    place: impl Fn(&mut S) -> &mut Pairs,
) -> Result<(), ProviderError> {
    let arns: Vec<_> = states.iter().map(&arn).collect();
    let mut tags = tags_of(client, &arns).await?;
    for (state, arn) in states.iter_mut().zip(&arns) {
        *place(state) = tags.remove(arn).unwrap_or_default();
    }
    Ok(())
}
