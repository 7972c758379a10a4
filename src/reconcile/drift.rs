//! The time for a look in, what exists read again out: whether anybody changed it behind our back.

use std::time::Instant;

use portcullis_model::{Provider, ProviderError};

use super::pass::Site;

/// Load balancers read at once: their listeners' and rules' tags are read together.
const BATCH: usize = 20;

/// Reads everything that is recorded again. Passes that follow plan from it and repair what differs.
pub async fn look_again<P: Provider>(site: &Site<P>, now: Instant) -> Result<(), ProviderError> {
    let account = site.accounts.refresh(&site.provider, now).await?;
    site.spanning.forget().await;
    let held = site.records.held_ids();
    site.memory.keep(|id| held.contains(id));
    for batch in held.chunks(BATCH) {
        let editions: Vec<u64> = batch.iter().map(|id| site.memory.edition(id)).collect();
        let mut observed = Box::pin(site.provider.observe_at_leisure(batch, &account)).await?;
        for (id, edition) in batch.iter().zip(editions) {
            if let Some(observed) = observed.remove(id) {
                site.memory.replace(id, edition, observed);
            }
        }
    }
    Ok(())
}
