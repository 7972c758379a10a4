//! A load balancer that no controller made and an Ingress in, the load balancer tagged as the Ingress's out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use portcullis_aws::adopt::{fits, matches, tagged, tags, used};
use portcullis_aws::compile::compile;
use portcullis_aws::preview::Narrowing;
use portcullis_aws::{Account, Answer, Aws, Change, Observed};
use portcullis_model::{ChangeSummary, Claim, LoadBalancerId, ObjectName, Provider as _};
use serde::Serialize;

use super::AdoptArgs;
use super::look::Cluster;
use crate::adopt::Steps;

/// Longest time of one call; nothing else is asked of a claim here.
const CALL: Duration = Duration::from_secs(15);

/// What becomes of the load balancer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Brought {
    pub(super) id: LoadBalancerId,
    pub(super) members: Vec<ObjectName>,
    /// Tags that make it ours.
    pub(super) tags: Vec<ChangeSummary>,
    /// What the controller changes of it then.
    pub(super) changes: Vec<ChangeSummary>,
    #[serde(flatten)]
    pub(super) steps: Steps,
}

pub(super) async fn bring(
    args: &AdoptArgs,
    cluster: &Cluster,
    aws: &Aws,
    arn: &str,
    ingress: &ObjectName,
) -> anyhow::Result<Brought> {
    let asked = cluster.translations.iter().find_map(|(id, translation)| {
        let balancer = translation.balancer.as_ref()?;
        balancer.members.contains(ingress).then_some((id, balancer))
    });
    let Some((id, balancer)) = asked else {
        bail!(
            "Ingress {ingress} is part of no load balancer of controller {}",
            args.controller_name
        );
    };
    let account = aws.account().await.context("failed to read the account")?;
    let name = &aws.settings().cluster;
    fits(&account, name, id, arn)?;

    // First its rules, which name its target groups; then these with their targets.
    let alone = tagged(&account, name, id, arn, &BTreeMap::new());
    let observed = observe(aws, id, &alone).await?;
    let by_arn = used(&account, &observed)
        .into_iter()
        .map(|arn| (arn.clone(), arn.to_string()));
    let with_all = tagged(&account, name, id, arn, &by_arn.collect());
    let observed = observe(aws, id, &with_all).await?;
    let groups = observed
        .target_groups
        .iter()
        .map(|owned| (owned.get().arn.clone(), owned.get().spec.clone()));
    let (desired, _) = compile(aws.settings(), balancer, &account, &observed);
    let wanted = desired.map(|desired| desired.target_groups).unwrap_or_default();
    let matched = tagged(&account, name, id, arn, &matches(&wanted, &groups.collect()));
    let mut observed = observe(aws, id, &matched).await?;

    let marks = tags(name, id, &observed);
    for mark in &marks {
        portcullis_aws::fold(&mut observed, mark, Answer::Done);
    }
    let shared = aws
        .observe_shared(&account)
        .await
        .context("failed to read what load balancers share")?;
    let plan = portcullis_aws::plan_observed(
        &[(id.clone(), Some(balancer))].into(),
        aws.settings(),
        &matched,
        &[(id.clone(), observed)].into(),
        &shared,
        (Narrowing::Planned, None),
    );
    let mut brought = Brought {
        id: id.clone(),
        members: balancer.members.clone(),
        tags: marks.iter().map(Change::summary).collect(),
        changes: plan
            .load_balancers
            .into_iter()
            .flat_map(|preview| preview.changes)
            .collect(),
        steps: Steps::default(),
    };
    if args.dry_run {
        return Ok(brought);
    }
    // Recorded before the first write, as everything is.
    cluster
        .records
        .intend(id, cluster.terms(id), cluster.naming(id))
        .await
        .with_context(|| format!("failed to record {id}"))?;
    for mark in &marks {
        // Tags of what nobody owns: no other controller is in the way.
        aws.make(|| Claim::until(now() + CALL), mark)
            .await
            .with_context(|| format!("failed to tag {} {}", mark.kind, mark.id))?;
    }
    brought
        .steps
        .done
        .push(format!("load balancer {arn} is the one of {id}"));
    Ok(brought)
}

async fn observe(aws: &Aws, id: &LoadBalancerId, account: &Account) -> anyhow::Result<Observed> {
    let observed = aws.observe(std::slice::from_ref(id), account).await;
    let mut observed = observed.context("failed to read what exists")?;
    observed
        .remove(id)
        .with_context(|| format!("nothing was answered about {id}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a claim is asked for at the moment of the call"
)]
fn now() -> Instant {
    Instant::now()
}
