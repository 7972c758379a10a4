//! The time for a look in, what exists read again out: whether anybody changed it behind our back.

use std::time::{Duration, Instant};

use portcullis_model::{Provider, ProviderError};

use super::pass::Site;

/// Load balancers read at once.
const BATCH: usize = 20;
/// Time between two batches: the calls of users' changes must not be throttled for the sake of a look.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads everything that is recorded again. Passes that follow plan from it and repair what differs.
pub async fn look_again<P: Provider>(site: &Site<P>, now: Instant) -> Result<(), ProviderError> {
    let account = site.accounts.refresh(&site.provider, now).await?;
    site.spanning.forget().await;
    for (n, batch) in site.records.held_ids().chunks(BATCH).enumerate() {
        if n > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let editions: Vec<u64> = batch.iter().map(|id| site.memory.edition(id)).collect();
        let mut observed = Box::pin(site.provider.observe(batch, &account)).await?;
        for (id, edition) in batch.iter().zip(editions) {
            if let Some(observed) = observed.remove(id) {
                site.memory.replace(id, edition, observed);
            }
        }
    }
    Ok(())
}
