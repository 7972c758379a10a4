//! A provider's account in, one reading of it for all load balancers out: read once per interval, shared by passes.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::{Code, LoadBalancerId, Provider, ProviderError, Retry};
use tokio::sync::Mutex;

/// Time after a failed reading in which passes get the same error instead of reading again: eight of them would
/// otherwise make eight times the calls at the worst moment.
const QUIET_AFTER_ERROR: Duration = Duration::from_secs(5);

/// Most readings for the sake of one load balancer, of which a lost answer left open what exists. Each takes ten calls
/// or more, and tells it of all others as well.
const MOST_FOR_ONE: usize = 4;
/// So many in this time.
const WITHIN: Duration = Duration::from_secs(240);

/// When the last of them were, the newest last.
#[derive(Debug, Default)]
struct ForOne(VecDeque<Instant>);

impl ForOne {
    /// Begins one, or says how long it is put off: a cloud that loses answer after answer must not be asked for
    /// everything each time.
    fn begin(&mut self, now: Instant) -> Result<(), ProviderError> {
        if self.0.len() >= MOST_FOR_ONE
            && let Some(oldest) = self.0.front()
        {
            let wait = (*oldest + WITHIN).saturating_duration_since(now);
            if !wait.is_zero() {
                return Err(ProviderError {
                    code: Code::Throttled,
                    call: "account",
                    message: format!(
                        "what exists must be read again, as it was {MOST_FOR_ONE} times lately; put off for {} s",
                        wait.as_secs_f64().ceil()
                    ),
                    retry: Retry::Later(wait),
                });
            }
            self.0.pop_front();
        }
        self.0.push_back(now);
        Ok(())
    }
}

/// The account as last read.
pub struct Accounts<P: Provider>(Mutex<State<P>>);

struct State<P: Provider> {
    account: Option<Arc<P::Account>>,
    /// Changed since that reading: its listing no longer says what exists of these.
    changed: BTreeSet<LoadBalancerId>,
    failed: Option<(Instant, ProviderError)>,
    for_one: ForOne,
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
            for_one: ForOne::default(),
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
            Some(_) => {
                state.for_one.begin(now)?;
                state.read(provider, now).await
            }
            None => state.read(provider, now).await,
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

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "an instant can only be had from the clock; all others are counted from it"
)]
mod tests {
    use super::*;

    #[test]
    fn readings_for_the_sake_of_one_are_few() {
        let start = Instant::now();
        let mut readings = ForOne::default();
        for (second, want) in [
            (0, None),
            (1, None),
            (2, None),
            (100, None),
            (101, Some(139)),
            (239, Some(1)),
            (240, None),
            (240, Some(1)),
            (241, None),
            (242, None),
            (243, Some(97)),
            (900, None),
        ] {
            let begun = readings.begin(start + Duration::from_secs(second));
            let want = want.map(|wait| Retry::Later(Duration::from_secs(wait)));
            assert_eq!(begun.err().map(|error| error.retry), want, "at {second} s");
        }
    }
}
