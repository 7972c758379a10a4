//! Orphans in, the calls that delete them made; what could not be deleted out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::Client;
use portcullis_aws::{Account, Aws, Observed, Shared};
use portcullis_model::{Claim, LoadBalancerId, Provider as _, ProviderError};

use super::look::look;
use crate::adopt::Steps;

/// Longest time of one call; nothing else is asked of a claim here.
const CALL: Duration = Duration::from_secs(15);
/// More rounds than any deletion takes.
const ROUNDS: usize = 8;

/// Load balancers before their target groups, and these before security groups; the rest of the orphans does not wait
/// for one that fails.
pub(super) async fn delete(
    aws: &Aws,
    account: &Account,
    id: &LoadBalancerId,
    mut observed: Observed,
    steps: &mut Steps,
) {
    let shared = Shared::nothing(&aws.settings().cluster);
    for _ in 0..ROUNDS {
        let (round, problems) = aws.plan(id, None, &observed, &shared, account);
        steps
            .obstacles
            .extend(problems.iter().map(|problem| format!("{id} stays: {problem}")));
        if round.is_empty() {
            return;
        }
        for change in &round.changes {
            match aws.make(claim, change).await {
                Ok(answer) => {
                    portcullis_aws::fold(&mut observed, change, answer);
                    steps
                        .done
                        .push(format!("{} {} of {id} is deleted", change.kind, change.id));
                }
                Err(error) => {
                    steps
                        .obstacles
                        .push(stays(&format!("{} {} of {id}", change.kind, change.id), &error));
                    return;
                }
            }
        }
    }
}

/// What load balancers shared goes with the last of them.
pub(super) async fn unshare(client: &Client, aws: &Aws, steps: &mut Steps) -> anyhow::Result<()> {
    let look = look(client, aws).await?;
    if look.shared_in_use || !look.observed.is_empty() {
        return Ok(());
    }
    let mut shared = aws
        .observe_shared(&look.account)
        .await
        .context("failed to read what load balancers share")?;
    for _ in 0..ROUNDS {
        let (round, _) = aws.plan_shared(&BTreeMap::new(), &shared, &look.account);
        if round.is_empty() {
            break;
        }
        for change in &round.changes {
            match aws.make(claim, change).await {
                Ok(answer) => {
                    portcullis_aws::fold_shared(&mut shared, change, answer);
                    steps
                        .done
                        .push(format!("{} {}: {}", change.kind, change.id, change.reason));
                }
                Err(error) => {
                    steps
                        .obstacles
                        .push(stays(&format!("{} {}", change.kind, change.id), &error));
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn stays(what: &str, error: &ProviderError) -> String {
    // Interfaces of a load balancer take minutes to go, and its security groups are in use until then.
    format!("{what} stays: {error}; run it again later")
}

/// Nobody else changes what belongs to nobody: no lease is asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "a claim is asked for at the moment of the call"
)]
fn claim() -> Claim {
    Claim::until(Instant::now() + CALL)
}
