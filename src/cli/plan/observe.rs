//! Desired load balancers in, the plan against what exists in an account out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use portcullis_aws::preview::{Document, Narrowing};
use portcullis_aws::{Aws, Observed, Settings};
use portcullis_model::{LoadBalancer, LoadBalancerId, Opening, Port, Provider as _, Semantics};

use crate::cli::folder::Spoken;
use crate::cli::serve;
use crate::crd::load_balancer::Wire;

/// What a folder cannot say, and an account does.
#[derive(Debug)]
pub(super) struct Learned {
    /// Prefix lists that are named and do not exist: the folder is to be translated without them.
    pub(super) absent_lists: BTreeSet<String>,
    /// What ports speak: where members disagree it goes on.
    pub(super) spoken: Spoken,
}

/// Reads the account and plans; changes nothing. The folder counts as the whole cluster: what has the cluster's tags and
/// is of no load balancer here would be deleted; but not what is `held`, for Ingresses that are refused.
pub(super) fn plan(
    balancers: &[LoadBalancer],
    held: &BTreeSet<LoadBalancerId>,
    (openings, semantics): (&[Opening], Semantics),
    settings: Settings,
) -> anyhow::Result<(Document, Learned)> {
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
        let learned = Learned {
            absent_lists: balancers
                .iter()
                .flat_map(|balancer| aws.absent_lists(balancer, &account))
                .collect(),
            spoken: observed
                .iter()
                .map(|(id, observed)| (id.clone(), spoken(observed)))
                .collect(),
        };
        let shared = aws
            .observe_shared(&account)
            .await
            .context("failed to read what load balancers share")?;
        let document = portcullis_aws::plan_observed(
            &desired,
            aws.settings(),
            &account,
            &observed,
            &shared,
            (narrowing, Some(aws.keeps_open(openings, semantics))),
        );
        Ok((document, learned))
    })
}

fn spoken(observed: &Observed) -> BTreeMap<Port, Wire> {
    let ports = observed.ports().filter_map(|(port, is_https)| {
        let wire = if is_https { Wire::Https } else { Wire::Http };
        Some((Port::new(i64::from(port)).ok()?, wire))
    });
    ports.collect()
}
