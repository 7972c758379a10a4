//! A provider's account in, one reading of it for all load balancers out: read once per interval, shared by passes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::{LoadBalancerId, Provider, ProviderError, Retry};
use tokio::sync::Mutex;

/// Time after a failed reading in which passes get the same error instead of reading again: eight of them would
/// otherwise make eight times the calls at the worst moment.
const QUIET_AFTER_ERROR: Duration = Duration::from_secs(5);

/// The account as last read.
pub struct Accounts<P: Provider>(Mutex<State<P>>);

struct State<P: Provider> {
    account: Option<Arc<P::Account>>,
    /// Changed since that reading: its listing no longer says what exists of these.
    changed: BTreeSet<LoadBalancerId>,
    failed: Option<(Instant, ProviderError)>,
}

impl<P: Provider> std::fmt::Debug for Accounts<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl<P: Provider> Default for Accounts<P> {
    fn default() -> Self {
        Self(Mutex::new(State {
            account: None,
            changed: BTreeSet::new(),
            failed: None,
        }))
    }
}

impl<P: Provider> Accounts<P> {
    /// The account, read if it was not.
    pub async fn current(&self, provider: &P, now: Instant) -> Result<Arc<P::Account>, ProviderError> {
        // Held while reading: passes that come meanwhile wait, and share what is read.
        let mut state = self.0.lock().await;
        match &state.account {
            Some(account) => Ok(account.clone()),
            None => state.read(provider, now).await,
        }
    }

    /// The account with a listing that is true of this load balancer, for observing it.
    pub async fn listing(
        &self,
        provider: &P,
        id: &LoadBalancerId,
        now: Instant,
    ) -> Result<Arc<P::Account>, ProviderError> {
        let mut state = self.0.lock().await;
        match &state.account {
            Some(account) if !state.changed.contains(id) => Ok(account.clone()),
            Some(_) | None => state.read(provider, now).await,
        }
    }

    /// Something of this load balancer is about to be created or deleted.
    pub async fn changed(&self, id: &LoadBalancerId) {
        self.0.lock().await.changed.insert(id.clone());
    }

    /// Reads anew. What was read before stays where that fails.
    pub async fn refresh(&self, provider: &P, now: Instant) -> Result<Arc<P::Account>, ProviderError> {
        self.0.lock().await.read(provider, now).await
    }
}

impl<P: Provider> State<P> {
    async fn read(&mut self, provider: &P, now: Instant) -> Result<Arc<P::Account>, ProviderError> {
        if let Some((at, error)) = &self.failed {
            let quiet = match error.retry {
                Retry::After(delay) => delay.max(QUIET_AFTER_ERROR),
                Retry::Backoff | Retry::Later(_) | Retry::Observe | Retry::Never => QUIET_AFTER_ERROR,
            };
            if now < *at + quiet {
                return Err(error.clone());
            }
        }
        match Box::pin(provider.account()).await {
            Ok(account) => {
                let account = Arc::new(account);
                self.account = Some(account.clone());
                self.changed.clear();
                self.failed = None;
                Ok(account)
            }
            Err(error) => {
                self.failed = Some((now, error.clone()));
                Err(error)
            }
        }
    }
}
