//! What each load balancer needs of what spans them in, that being there out; one at a time for all of them.
//!
//! Made before a load balancer's own plan, for its targets may not be reached without it, and narrowed after one is
//! gone. Nothing is narrowed before every load balancer has been asked once: what an unasked one needs would go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use portcullis_model::{ChangeSummary, LoadBalancerId, Problem, Provider, ProviderError};
use tokio::sync::Mutex;

use super::accounts::Accounts;
use super::lease::Tenure;
use super::rounds::{self, Imagined};

/// What all load balancers together need.
pub type Demands<P> = BTreeMap<LoadBalancerId, <P as Provider>::Demand>;

/// What spans load balancers, as it is known to be.
pub struct Spanning<P: Provider>(Mutex<State<P>>);

struct State<P: Provider> {
    /// None until every load balancer has been asked.
    demands: Option<Demands<P>>,
    observed: Option<P::Shared>,
    /// Whether anything was changed since the account's listing was last read for this: it is then out of date.
    changed: bool,
    /// The account for which nothing was left to do, and what could not be done.
    settled: Option<(Arc<P::Account>, Vec<Problem>)>,
}

/// What spans load balancers, made fit for one of them.
#[derive(Debug)]
pub struct Fit<S> {
    pub shared: S,
    pub changes: Vec<ChangeSummary>,
    pub refused: Vec<Problem>,
}

impl<P: Provider> std::fmt::Debug for Spanning<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spanning").finish_non_exhaustive()
    }
}

impl<P: Provider> Default for Spanning<P> {
    fn default() -> Self {
        Self(Mutex::new(State {
            demands: None,
            observed: None,
            changed: false,
            settled: None,
        }))
    }
}

impl<P: Provider> Spanning<P> {
    /// Makes it fit for this load balancer; `demand` is none once the load balancer is gone. `all` asks every load
    /// balancer, and is called once.
    pub async fn fit(
        &self,
        provider: &P,
        tenure: &Tenure,
        (accounts, account): (&Accounts<P>, &Arc<P::Account>),
        (id, demand): (&LoadBalancerId, Option<P::Demand>),
        all: impl FnOnce() -> Demands<P> + Send,
    ) -> Result<Fit<P::Shared>, ProviderError> {
        let mut state = self.0.lock().await;
        let state = &mut *state;
        let mut shared = state.look(provider, accounts, account).await?;
        let demands = state.demands.get_or_insert_with(all);
        if demands.get(id) != demand.as_ref() {
            match demand {
                Some(demand) => demands.insert(id.clone(), demand),
                None => demands.remove(id),
            };
            state.settled = None;
        }
        if let Some((known, refused)) = &state.settled
            && Arc::ptr_eq(known, account)
        {
            let fit = Fit {
                shared: shared.clone(),
                changes: Vec::new(),
                refused: refused.clone(),
            };
            return Ok(fit);
        }
        state.settled = None;
        // After an error nobody knows what exists: it is read again.
        state.observed = None;
        let plan = |shared: &P::Shared| provider.plan_shared(demands, shared, account);
        let made = rounds::make(provider, tenure, &mut shared, plan, P::fold_shared).await;
        state.changed |= made.result.is_err() || !made.changes.is_empty();
        made.result?;
        state.observed = Some(shared.clone());
        state.settled = Some((account.clone(), made.refused.clone()));
        Ok(Fit {
            shared,
            changes: made.changes,
            refused: made.refused,
        })
    }

    /// What would be changed for this load balancer, and what would exist then; changes nothing.
    pub async fn imagine(
        &self,
        provider: &P,
        (accounts, account): (&Accounts<P>, &Arc<P::Account>),
        (id, demand): (&LoadBalancerId, P::Demand),
        all: impl FnOnce() -> Demands<P> + Send,
    ) -> Result<(P::Shared, Imagined<P::Change>), ProviderError> {
        let mut state = self.0.lock().await;
        let mut demands = state.demands.get_or_insert_with(all).clone();
        demands.insert(id.clone(), demand);
        let mut shared = state.look(provider, accounts, account).await?;
        let plan = |shared: &P::Shared| provider.plan_shared(&demands, shared, account);
        let imagined = rounds::imagine::<P, _>(&mut shared, plan, P::fold_shared);
        Ok((shared, imagined))
    }

    /// What exists; changes nothing.
    pub async fn look(
        &self,
        provider: &P,
        accounts: &Accounts<P>,
        account: &Arc<P::Account>,
    ) -> Result<P::Shared, ProviderError> {
        self.0.lock().await.look(provider, accounts, account).await
    }

    /// This load balancer is gone; what it needed stays until another makes it fit.
    pub async fn leave(&self, id: &LoadBalancerId) {
        let mut state = self.0.lock().await;
        if let Some(demands) = &mut state.demands {
            demands.remove(id);
        }
        state.settled = None;
    }

    /// What is known may have drifted: it is read again when it is next needed.
    pub async fn forget(&self) {
        let mut state = self.0.lock().await;
        state.observed = None;
        state.settled = None;
    }
}

impl<P: Provider> State<P> {
    async fn look(
        &mut self,
        provider: &P,
        accounts: &Accounts<P>,
        account: &Arc<P::Account>,
    ) -> Result<P::Shared, ProviderError> {
        if let Some(shared) = &self.observed {
            return Ok(shared.clone());
        }
        let fresh = if self.changed {
            accounts.refresh(provider, now()).await?
        } else {
            account.clone()
        };
        let shared = provider.observe_shared(&fresh).await?;
        self.observed = Some(shared.clone());
        self.changed = false;
        self.settled = None;
        Ok(shared)
    }
}

#[expect(clippy::disallowed_methods, reason = "the time of a reading")]
fn now() -> Instant {
    Instant::now()
}
