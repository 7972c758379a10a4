//! What each load balancer needs of what spans them in, that being there out; one at a time for all of them.
//!
//! Widened before a load balancer's own plan, for its targets may not be reached without it; narrowed after it, for
//! until then the old targets are in use. Nothing is narrowed while there is a load balancer that cannot say what it
//! uses, or bindings are not listed yet: that would go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use portcullis_model::{
    ChangeSummary, Code, LoadBalancerId, Plan, Problem, Provider, ProviderError, Refused, Retry,
};
use tokio::sync::{Mutex, MutexGuard};

use super::accounts::Accounts;
use super::lease::Tenure;
use super::openings::Openings;
use super::rounds::{self, Imagined};

/// What all load balancers together need.
pub type Demands<P> = BTreeMap<LoadBalancerId, <P as Provider>::Demand>;

/// What became of asking every load balancer.
pub struct Asked<P: Provider> {
    pub demands: Demands<P>,
    /// Those that may exist, and of which nobody knows what they use: nothing is asked for now, and all stays.
    pub silent: BTreeSet<LoadBalancerId>,
}

impl<P: Provider> std::fmt::Debug for Asked<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked")
            .field("silent", &self.silent)
            .finish_non_exhaustive()
    }
}

/// What spans load balancers, as it is known to be.
pub struct Spanning<P: Provider> {
    state: Mutex<State<P>>,
    openings: Arc<Openings>,
}

struct State<P: Provider> {
    /// What bindings asked to be open when it was last planned; none before they are listed.
    stays_open: Option<P::Demand>,
    /// What is in use. None until every load balancer has been asked.
    held: Option<Demands<P>>,
    /// Those that did not answer, and have not been asked for since.
    silent: BTreeSet<LoadBalancerId>,
    /// What passes under way, or that failed, were about to use as well.
    coming: Demands<P>,
    /// Load balancers that are asked for no more, though their records may still be there, and of which it is known what
    /// they use: nothing, or what stands all the same.
    left: BTreeSet<LoadBalancerId>,
    observed: Option<P::Shared>,
    /// The account for which nothing was left to do, and what could not be done.
    settled: Option<(Arc<P::Account>, Vec<Problem>)>,
    /// All that is asked for was there once, and nothing else is asked for since: what differs, somebody else changed.
    complete: bool,
    /// Calls that were refused, and the load balancer that was to be made room for: the others do without them.
    refused: Vec<(LoadBalancerId, Refused<P::Change>)>,
}

/// What spans load balancers, made fit for one of them.
#[derive(Debug)]
pub struct Fit<S> {
    pub shared: S,
    pub changes: Vec<ChangeSummary>,
    pub refused: Vec<Problem>,
    /// Calls that were refused for this load balancer.
    pub failed: Vec<ProviderError>,
    /// Whether the changes only put back what somebody else changed.
    pub repairs: bool,
}

impl<P: Provider> std::fmt::Debug for Spanning<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spanning").finish_non_exhaustive()
    }
}

impl<P: Provider> Spanning<P> {
    /// Beside what bindings ask to be open.
    pub fn beside(openings: Arc<Openings>) -> Self {
        let state = Mutex::new(State {
            stays_open: None,
            held: None,
            silent: BTreeSet::new(),
            coming: Demands::<P>::new(),
            left: BTreeSet::new(),
            observed: None,
            settled: None,
            complete: false,
            refused: Vec::new(),
        });
        Self { state, openings }
    }

    /// The state, with what bindings ask for by now.
    async fn state(&self, provider: &P) -> MutexGuard<'_, State<P>> {
        let mut state = self.state.lock().await;
        let stays_open = self.openings.demand(provider);
        if state.stays_open != stays_open {
            state.stays_open = stays_open;
            state.asks();
        }
        state
    }

    /// Makes room for what this load balancer is about to use, beside what it uses now. `all` asks every load
    /// balancer, and is called once.
    pub async fn widen(
        &self,
        provider: &P,
        tenure: &Tenure,
        (accounts, account): (&Accounts<P>, &Arc<P::Account>),
        (id, demand): (&LoadBalancerId, P::Demand),
        all: impl FnOnce() -> Asked<P> + Send,
    ) -> Result<Fit<P::Shared>, ProviderError> {
        let mut state = self.state(provider).await;
        state.left.remove(id);
        let held = state.held(all).get(id) == Some(&demand);
        state.speaks(id);
        if held {
            if state.coming.remove(id).is_some() {
                state.asks();
            }
        } else if state.coming.get(id) != Some(&demand) {
            state.coming.insert(id.clone(), demand);
            state.asks();
        }
        state.fit(provider, tenure, accounts, account, id).await
    }

    /// Takes back what this load balancer used before, now that it uses what is said, or nothing.
    pub async fn narrow(
        &self,
        provider: &P,
        tenure: &Tenure,
        (accounts, account): (&Accounts<P>, &Arc<P::Account>),
        (id, uses): (&LoadBalancerId, Option<P::Demand>),
    ) -> Result<Fit<P::Shared>, ProviderError> {
        let mut state = self.state(provider).await;
        let state = &mut *state;
        let came = state.coming.remove(id).is_some();
        if let (Some(held), Some(uses)) = (&mut state.held, uses)
            && (came || held.get(id) != Some(&uses))
        {
            held.insert(id.clone(), uses);
            state.asks();
        }
        state.fit(provider, tenure, accounts, account, id).await
    }

    /// This load balancer uses nothing any more. What it used stays until the next [`Spanning::narrow`]. `all` as
    /// there. Answers all that have left and were not yet released, this one among them.
    pub async fn leave(
        &self,
        id: &LoadBalancerId,
        all: impl FnOnce() -> Asked<P> + Send,
    ) -> BTreeSet<LoadBalancerId> {
        let mut state = self.state.lock().await;
        state.held(all).remove(id);
        state.coming.remove(id);
        state.speaks(id);
        state.refused.retain(|(of, _)| of != id);
        state.asks();
        state.left.insert(id.clone());
        state.left.clone()
    }

    /// This load balancer is asked for no more and stands all the same: it uses this, and the others need not wait for it.
    /// The next [`Spanning::narrow`] takes back the rest. `all` as there.
    pub async fn stays(&self, id: &LoadBalancerId, uses: P::Demand, all: impl FnOnce() -> Asked<P> + Send) {
        let mut state = self.state.lock().await;
        let differs = state.held(all).insert(id.clone(), uses.clone()) != Some(uses);
        if state.coming.remove(id).is_some() || differs {
            state.asks();
        }
        state.speaks(id);
        state.left.insert(id.clone());
    }

    /// What exists, for a load balancer that does not exist and cannot be made: it needs nothing. What it used stays until
    /// the next [`Spanning::narrow`]. `all` as there.
    pub async fn without(
        &self,
        provider: &P,
        accounts: &Accounts<P>,
        id: &LoadBalancerId,
        all: impl FnOnce() -> Asked<P> + Send,
    ) -> Result<Fit<P::Shared>, ProviderError> {
        let mut state = self.state.lock().await;
        let held = state.held(all).remove(id).is_some();
        state.speaks(id);
        if state.coming.remove(id).is_some() || held {
            state.asks();
        }
        Ok(Fit {
            shared: state.look(provider, accounts).await?,
            changes: Vec::new(),
            refused: Vec::new(),
            failed: Vec::new(),
            repairs: false,
        })
    }

    /// Its record is gone, too.
    pub async fn released(&self, id: &LoadBalancerId) {
        let mut state = self.state.lock().await;
        state.left.remove(id);
        state.speaks(id);
    }

    /// Another controller has this one, and alone knows what it uses.
    pub async fn others(&self, id: &LoadBalancerId) {
        let mut state = self.state.lock().await;
        if let Some(held) = &mut state.held {
            held.remove(id);
        }
        if state.silent.insert(id.clone()) {
            state.asks();
        }
    }

    /// What would be changed for this load balancer, and what would exist then; changes nothing.
    pub async fn imagine(
        &self,
        provider: &P,
        (accounts, account): (&Accounts<P>, &Arc<P::Account>),
        (id, demand): (&LoadBalancerId, P::Demand),
        all: impl FnOnce() -> Asked<P> + Send,
    ) -> Result<(P::Shared, Imagined<P::Change>), ProviderError> {
        let mut state = self.state(provider).await;
        let mut demands = state.held(all).clone();
        demands.insert(id.clone(), demand);
        state.keep_open(&mut demands);
        let mut shared = state.look(provider, accounts).await?;
        let plan = state.plan(provider, &demands, account);
        let imagined = rounds::imagine::<P, _>(&mut shared, plan, P::fold_shared);
        Ok((shared, imagined))
    }

    /// What exists; changes nothing.
    pub async fn look(&self, provider: &P, accounts: &Accounts<P>) -> Result<P::Shared, ProviderError> {
        self.state.lock().await.look(provider, accounts).await
    }

    /// What is known may have drifted: it is read again when it is next needed.
    pub async fn forget(&self) {
        let mut state = self.state.lock().await;
        state.observed = None;
        state.settled = None;
        state.refused.clear();
    }
}

impl<P: Provider> State<P> {
    async fn fit(
        &mut self,
        provider: &P,
        tenure: &Tenure,
        accounts: &Accounts<P>,
        account: &Arc<P::Account>,
        id: &LoadBalancerId,
    ) -> Result<Fit<P::Shared>, ProviderError> {
        // Asked for again by whom it was asked for.
        if self.refused.iter().any(|(of, _)| of == id) {
            self.refused.retain(|(of, _)| of != id);
            self.asks();
        }
        let read_again = self.observed.is_none();
        let mut shared = self.look(provider, accounts).await?;
        if let Some((known, refused)) = &self.settled
            && Arc::ptr_eq(known, account)
        {
            return Ok(Fit {
                shared,
                changes: Vec::new(),
                refused: refused.clone(),
                failed: Vec::new(),
                repairs: false,
            });
        }
        self.settled = None;
        let repairs = std::mem::take(&mut self.complete) && read_again;
        // After an error nobody knows what exists: it is read again.
        self.observed = None;
        let demands = self.all();
        *P::refused_shared(&mut shared) = self.refused.iter().map(|(_, refused)| refused.clone()).collect();
        let work = rounds::Work {
            plan: self.plan(provider, &demands, account),
            fold: P::fold_shared,
            refusals: P::refused_shared,
        };
        let made = rounds::make(provider, tenure, &mut shared, work).await;
        // Said when all is done: a listing read meanwhile need not hold it.
        let mistaken = made.failed.iter().any(|error| error.retry == Retry::Observe);
        if made.result.is_err() || mistaken || !made.changes.is_empty() {
            accounts.changed_across().await;
        }
        if let Err(error) = made.result {
            // Nothing was done that is not known.
            self.observed = (error.code == Code::Throttled).then_some(shared);
            return Err(error);
        }
        // Of what was refused for others nothing of this load balancer waits.
        let others: Vec<_> = self.refused.iter().map(|(_, refused)| refused.clone()).collect();
        let all = P::refused_shared(&mut shared);
        all.retain(|refused| !others.contains(refused));
        self.refused
            .extend(all.iter().map(|refused| (id.clone(), refused.clone())));
        // What was believed may be wrong.
        if !mistaken {
            self.observed = Some(shared.clone());
            self.complete = self.refused.is_empty() && self.coming.is_empty();
        }
        self.settled = Some((account.clone(), made.refused.clone()));
        Ok(Fit {
            shared,
            changes: made.changes,
            refused: made.refused,
            failed: made.failed,
            repairs,
        })
    }

    fn held(&mut self, all: impl FnOnce() -> Asked<P>) -> &mut Demands<P> {
        self.held.get_or_insert_with(|| {
            let Asked { demands, silent } = all();
            self.silent.extend(silent);
            demands
        })
    }

    /// Something else is asked for than before.
    fn asks(&mut self) {
        self.settled = None;
        self.complete = false;
    }

    /// It is known by now what this one uses.
    fn speaks(&mut self, id: &LoadBalancerId) {
        if self.silent.remove(id) && self.silent.is_empty() {
            self.asks();
        }
    }

    fn plan<'a>(
        &self,
        provider: &'a P,
        demands: &'a Demands<P>,
        account: &'a P::Account,
    ) -> impl Fn(&P::Shared) -> (Plan<P::Change>, Vec<Problem>) + Send + use<'a, P> {
        let narrows = self.silent.is_empty() && self.stays_open.is_some();
        move |shared| {
            let (mut plan, problems) = provider.plan_shared(demands, shared, account);
            plan.changes.retain(|change| narrows || !P::takes_back(change));
            (plan, problems)
        }
    }

    /// All demands together. A load balancer that is on its way from one to another has two: the second stands under
    /// a name that no group can have.
    fn all(&self) -> Demands<P> {
        let mut demands = self.held.clone().unwrap_or_default();
        for (id, demand) in &self.coming {
            let beside = if demands.contains_key(id) {
                LoadBalancerId::Group(format!("{id}+").into())
            } else {
                id.clone()
            };
            demands.insert(beside, demand.clone());
        }
        self.keep_open(&mut demands);
        demands
    }

    /// What bindings ask for is under a name that no group can have.
    fn keep_open(&self, demands: &mut Demands<P>) {
        let under = || LoadBalancerId::Group("+".into());
        demands.extend(self.stays_open.clone().map(|demand| (under(), demand)));
    }

    async fn look(&mut self, provider: &P, accounts: &Accounts<P>) -> Result<P::Shared, ProviderError> {
        if let Some(shared) = &self.observed {
            return Ok(shared.clone());
        }
        let fresh = accounts.listing_across(provider, now()).await?;
        let shared = Box::pin(provider.observe_shared(&fresh)).await?;
        self.observed = Some(shared.clone());
        self.settled = None;
        Ok(shared)
    }
}

#[expect(clippy::disallowed_methods, reason = "the time of a reading")]
fn now() -> Instant {
    Instant::now()
}
