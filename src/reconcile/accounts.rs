//! A provider's account in, one reading of it for all load balancers out: read once per interval, shared by passes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::{Code, LoadBalancerId, Provider, ProviderError, Retry};
use tokio::sync::Mutex;

/// Time after a failed reading in which passes get the same error instead of reading again: eight of them would
/// otherwise make eight times the calls at the worst moment.
const QUIET_AFTER_ERROR: Duration = Duration::from_secs(5);

/// Shortest time between two readings out of turn, for the sake of what a lost answer left open. Each takes ten calls or
/// more, and tells it of all load balancers at once.
const INTERVAL: Duration = Duration::from_secs(60);

/// When the last of them was begun.
#[derive(Debug, Default)]
struct OutOfTurn(Option<Instant>);

impl OutOfTurn {
    /// Begins one, or says how long it is put off: a cloud that loses answer after answer must not be asked for
    /// everything each time.
    fn begin(&mut self, now: Instant) -> Result<(), ProviderError> {
        let next = self.0.map(|last| last + INTERVAL);
        let wait = next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now));
        if !wait.is_zero() {
            return Err(ProviderError {
                code: Code::Throttled,
                call: "account",
                message: format!(
                    "what exists must be read again, as it was a moment ago; put off for {} s",
                    wait.as_secs_f64().ceil()
                ),
                retry: Retry::Later(wait),
            });
        }
        self.0 = Some(now);
        Ok(())
    }
}

/// The account as last read.
pub struct Accounts<P: Provider>(Mutex<State<P>>);

struct State<P: Provider> {
    account: Option<Arc<P::Account>>,
    /// Changed since that reading: its listing no longer says what exists of these.
    changed: BTreeSet<LoadBalancerId>,
    /// Being changed: a listing that is read meanwhile does not say it, either.
    under_way: BTreeSet<LoadBalancerId>,
    /// Whether what spans load balancers was changed since that reading.
    changed_across: bool,
    failed: Option<(Instant, ProviderError)>,
    out_of_turn: OutOfTurn,
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
            under_way: BTreeSet::new(),
            changed_across: false,
            failed: None,
            out_of_turn: OutOfTurn::default(),
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
        // Asked by a pass that begins: one under way is one that nobody said the end of.
        let unended = state.under_way.take(id);
        state.changed.extend(unended);
        let changed = state.changed.contains(id);
        state.listing(provider, changed, now).await
    }

    /// The account with a listing that is true of what spans load balancers.
    pub async fn listing_across(&self, provider: &P, now: Instant) -> Result<Arc<P::Account>, ProviderError> {
        let mut state = self.0.lock().await;
        let changed = state.changed_across;
        state.listing(provider, changed, now).await
    }

    /// Something of this load balancer is about to be created or deleted, until [`Accounts::ended`].
    pub async fn changed(&self, id: &LoadBalancerId) {
        self.0.lock().await.under_way.insert(id.clone());
    }

    /// Nothing of it is changed any more. Whatever was read until now may have been read before the last change.
    pub async fn ended(&self, id: &LoadBalancerId) {
        let mut state = self.0.lock().await;
        if let Some(id) = state.under_way.take(id) {
            state.changed.insert(id);
        }
    }

    /// What spans load balancers was changed.
    pub async fn changed_across(&self) {
        self.0.lock().await.changed_across = true;
    }

    /// Reads anew. What was read before stays where that fails.
    pub async fn refresh(&self, provider: &P, now: Instant) -> Result<Arc<P::Account>, ProviderError> {
        self.0.lock().await.read(provider, now).await
    }
}

impl<P: Provider> State<P> {
    /// As last read, or anew where what is asked about has changed since.
    async fn listing(
        &mut self,
        provider: &P,
        changed: bool,
        now: Instant,
    ) -> Result<Arc<P::Account>, ProviderError> {
        match &self.account {
            Some(account) if !changed => return Ok(account.clone()),
            Some(_) => self.out_of_turn.begin(now)?,
            None => {}
        }
        self.read(provider, now).await
    }

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
                self.changed_across = false;
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
    fn a_reading_out_of_turn_is_begun_once_an_interval() {
        let start = Instant::now();
        let mut readings = OutOfTurn::default();
        for (second, want) in [
            (0, None),
            (0, Some(60)),
            (1, Some(59)),
            (59, Some(1)),
            (60, None),
            (61, Some(59)),
            (900, None),
        ] {
            let begun = readings.begin(start + Duration::from_secs(second));
            let want = want.map(|wait| Retry::Later(Duration::from_secs(wait)));
            assert_eq!(begun.err().map(|error| error.retry), want, "at {second} s");
        }
    }
}
