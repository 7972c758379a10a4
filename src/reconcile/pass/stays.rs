//! A load balancer that nobody asks for any more and that stands all the same in; what nobody else uses taken back.

use std::sync::Arc;

use portcullis_model::{LoadBalancerId, Provider, ProviderError};

use super::{Site, demands};
use crate::reconcile::outcome::Outcome;

/// Where it stands all the same, it uses what it used; what nobody else uses is taken back.
pub(super) async fn stays<P: Provider>(
    site: &Site<P>,
    id: &LoadBalancerId,
    observed: &P::Observed,
    account: &Arc<P::Account>,
    outcome: &mut Outcome,
) -> Result<(), ProviderError> {
    if P::address(observed).is_none() {
        return Ok(());
    }
    let Site {
        provider,
        spanning,
        accounts,
        ..
    } = site;
    let uses = provider.uses(observed);
    spanning.stays(id, uses.clone(), || demands(site, account)).await;
    let narrow = spanning
        .narrow(provider, &site.tenure, (accounts, account), (id, Some(uses)))
        .await?;
    outcome.made.extend(narrow.changes);
    narrow.failed.iter().for_each(|error| outcome.tell(error));
    Ok(())
}
