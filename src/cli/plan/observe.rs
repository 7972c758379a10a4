//! Desired load balancers in, the plan against what exists in an account out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use portcullis_aws::preview::{Document, Narrowing};
use portcullis_aws::{Aws, Settings};
use portcullis_model::{LoadBalancer, LoadBalancerId, Opening, Provider as _, Semantics};

use crate::cli::serve;

/// Reads the account and plans; changes nothing. The folder counts as the whole cluster: what has the cluster's tags and
/// is of no load balancer here would be deleted; but not what is `held`, for Ingresses that are refused. Where the account
/// lacks prefix lists that are named, these instead: the folder is to be translated without them.
pub(super) fn plan(
    balancers: &[LoadBalancer],
    held: &BTreeSet<LoadBalancerId>,
    (openings, semantics): (&[Opening], Semantics),
    settings: Settings,
) -> anyhow::Result<Result<Document, BTreeSet<String>>> {
    serve::runtime()?.block_on(async {
        let aws = Aws::connect(settings).await?;
        let account = aws.account().await.context("failed to read the account")?;
        let stacks = account.listing.stacks(&aws.settings().cluster);
        let narrowing = match stacks.iter().any(|id| held.contains(id)) {
            true => Narrowing::Left,
            false => Narrowing::Planned,
        };
        let mut desired: BTreeMap<LoadBalancerId, Option<&LoadBalancer>> = stacks
            .into_iter()
            .filter(|id| !held.contains(id))
            .map(|id| (id, None))
            .collect();
        desired.extend(
            balancers
                .iter()
                .map(|balancer| (balancer.id.clone(), Some(balancer))),
        );
        let ids: Vec<LoadBalancerId> = desired.keys().cloned().collect();
        let mut observed = aws
            .observe(&ids, &account)
            .await
            .context("failed to read what exists")?;
        aws.complete(balancers, &account, &mut observed)
            .await
            .context("failed to read what exists")?;
        let absent: BTreeSet<String> = balancers
            .iter()
            .flat_map(|balancer| aws.absent_lists(balancer, &account))
            .collect();
        if !absent.is_empty() {
            return Ok(Err(absent));
        }
        let shared = aws
            .observe_shared(&account)
            .await
            .context("failed to read what load balancers share")?;
        Ok(Ok(portcullis_aws::plan_observed(
            &desired,
            aws.settings(),
            &account,
            &observed,
            &shared,
            (narrowing, Some(aws.keeps_open(openings, semantics))),
        )))
    })
}
