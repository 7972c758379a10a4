//! A load balancer's id in; what should exist worked out, made, and what came of it out. The whole loop.
//!
//! ```text
//! snapshot → translate → fingerprint ── as recorded ──▶ rest: no call at all
//!                            │ differs
//!                            ▼
//!          record the intent → what spans load balancers → rounds of plan, apply, fold
//! ```

mod recall;
mod scope;
mod serve;
mod withdraw;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use kube::ResourceExt;
use portcullis_model::{ChangeSummary, Code, LoadBalancerId, Plan, Problem, Provider, ProviderError};

use self::recall::told_codes;
use self::serve::serve;
use self::withdraw::withdraw;
use super::accounts::Accounts;
use super::brake::Brake;
use super::lease::Tenure;
use super::memory::{Known, Memory};
use super::outcome::{End, Hold, Outcome, PAUSED, Seen};
use super::records::{RecordError, Records, is_held};
use super::rounds;
use super::secrets::{SecretError, SecretReader};
use super::shared::{Asked, Demands, Fit, Spanning};
use super::standing;
use super::view::View;
use crate::cluster::index::{NotSynced, Touched};
use crate::cluster::watch::SharedIndex;
use crate::crd::load_balancer::LoadBalancerResource;
use crate::translate::{Settings, Translation, translate};

/// All that passes of one provider share.
#[derive(Debug)]
pub struct Site<P: Provider> {
    pub provider: P,
    pub settings: Settings,
    pub index: Arc<SharedIndex>,
    pub records: Arc<Records>,
    pub secrets: SecretReader,
    pub tenure: Tenure,
    pub accounts: Accounts<P>,
    pub spanning: Spanning<P>,
    pub memory: Memory<P>,
    pub brake: Brake,
}

impl<P: Provider> Site<P> {
    /// Lets members that were refused before this process began go on as they are recorded to have been admitted.
    pub fn recall(&self) -> Touched {
        let mut index = self.index.lock();
        let mut touched = Touched::default();
        for id in self.records.held_ids() {
            if let Some(status) = self.records.get(&id).and_then(|record| record.status.clone()) {
                touched.extend(standing::recall(&mut index, &id, &status));
            }
        }
        touched
    }
}

/// Why a pass could not come to an outcome.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    NotSynced(#[from] NotSynced),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A call to the provider failed; told in the outcome.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// What a pass does about calls that the last one was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is time to try them again.
    TryAgain,
    /// Not yet, unless something else than then is asked for.
    Wait,
}

/// One pass. A call that fails is part of the outcome; an error is returned only where nothing can be told.
pub async fn pass<P: Provider>(
    site: &Site<P>,
    id: &LoadBalancerId,
    refused: Refused,
) -> Result<Outcome, Failure> {
    if let Some((theirs, another)) = site.records.another(id) {
        if is_held(&theirs) {
            site.spanning.others(id).await;
        }
        return Ok(scope::of_another(id, &View::of(&site.index, id, None)?, &another));
    }
    site.secrets.read(&site.index, id, &site.settings).await?;
    let record = site.records.get(id);
    let view = View::of(&site.index, id, record.as_deref())?;
    let translation = translated(site, &view).await;
    let terms = translation.terms();
    let mut outcome = Outcome::begin(&view, translation.balancer.as_ref(), translation.problems);
    let record = record.as_deref();
    outcome.recorded = told_codes(record, &outcome);
    if record.is_some_and(|record| scope::is_unknown(record, &view)) {
        scope::hold(&view, &mut outcome);
        return Ok(outcome);
    }
    let ended = match &translation.balancer {
        Some(desired) => {
            let how = (terms, refused);
            serve(site, record, &view, desired, how, &mut outcome).await
        }
        None => withdraw(site, record, &view, &mut outcome).await,
    };
    match &ended {
        // Nothing was done that is not known.
        Err(Failure::Provider(error)) if error.code == Code::Throttled => {}
        Err(_) => site.memory.drop(id),
        Ok(_) => {}
    }
    match ended {
        Ok(end) => {
            if lets_go(site, record, &end) && !view.leaving_plans_only {
                outcome.let_go = view.leaving;
            }
            outcome.end = end;
        }
        Err(Failure::Provider(error)) => outcome.fail(error),
        Err(failure @ (Failure::NotSynced(_) | Failure::Record(_) | Failure::Secret(_))) => {
            return Err(failure);
        }
    }
    Ok(outcome)
}

/// What should exist; worked out once more where a prefix list that it names turns out not to be there. That nobody could
/// look is told by whoever asks next.
async fn translated<P: Provider>(site: &Site<P>, view: &View) -> Translation {
    let mut translation = translate(&view.snapshot, &site.settings);
    let mut settings = None;
    while let Some(desired) = &translation.balancer
        && !desired.options.admitted_lists.is_empty()
        && let Ok(account) = site.accounts.current(&site.provider, now()).await
        && Box::pin(site.provider.consult(desired, &account)).await.is_ok()
    {
        let absent = site.provider.absent_lists(desired, &account);
        if absent.is_empty() {
            break;
        }
        // Members of whom nothing counted so far may name others.
        let without = settings.get_or_insert_with(|| site.settings.clone());
        without.absent_lists.extend(absent);
        translation = translate(&view.snapshot, without);
    }
    translation
}

/// Makes every round of one load balancer. Answers the calls that were refused, which the outcome tells.
async fn make<P: Provider>(
    site: &Site<P>,
    observed: &mut P::Observed,
    plan: impl Fn(&P::Observed) -> (Plan<P::Change>, Vec<Problem>) + Send,
    outcome: &mut Outcome,
) -> Result<Vec<ProviderError>, ProviderError> {
    let work = rounds::Work {
        plan,
        fold: P::fold,
        refusals: P::refused,
    };
    let made = rounds::make(&site.provider, &site.tenure, observed, work).await;
    outcome.made.extend(made.changes);
    outcome.add(made.refused);
    outcome.seen = Some(Seen::of::<P>(observed));
    made.result.map(|()| made.failed)
}

/// Takes back what no load balancer uses of what spans them, now that this one uses that.
async fn narrow<P: Provider>(
    site: &Site<P>,
    account: &Arc<P::Account>,
    uses: (&LoadBalancerId, Option<P::Demand>),
    outcome: &mut Outcome,
) -> Result<Fit<P::Shared>, ProviderError> {
    let here = (&site.accounts, account);
    let spanning = &site.spanning;
    let fit = spanning.narrow(&site.provider, &site.tenure, here, uses).await?;
    outcome.made.extend(fit.changes.iter().cloned());
    fit.failed.iter().for_each(|error| outcome.tell(error));
    Ok(fit)
}

/// Whether Ingresses of the incumbent's classes are served here, in its place.
fn replaces_incumbent<P: Provider>(site: &Site<P>) -> bool {
    site.settings.controller.is_incumbents()
}

/// Whether Ingresses being deleted, which the incumbent holds, are let go: none of their rules stand any more, and what
/// the incumbent made is ours.
fn lets_go<P: Provider>(site: &Site<P>, record: Option<&LoadBalancerResource>, end: &End) -> bool {
    let ours = replaces_incumbent(site) || record.is_some_and(is_held);
    match end {
        // It stays on purpose: nobody is to wait for its end.
        End::Resting | End::Settled { .. } | End::Gone | End::Held(Hold::Retained) => ours,
        End::Waiting | End::Held(_) | End::Incomplete(_) | End::Failed(_) => false,
    }
}

/// Of a call that was throttled nothing was done: what is observed is still true, and need not be read again.
fn keep<P: Provider, T>(
    site: &Site<P>,
    id: &LoadBalancerId,
    observed: &P::Observed,
    result: Result<T, ProviderError>,
) -> Result<T, ProviderError> {
    if result.as_ref().is_err_and(|error| error.code == Code::Throttled) {
        site.memory.put(id, Known::unsettled(observed.clone()));
    }
    result
}

/// What exists of it: as the last pass left it, else read from the provider.
async fn look<P: Provider>(
    site: &Site<P>,
    id: &LoadBalancerId,
) -> Result<(P::Observed, Arc<P::Account>), ProviderError> {
    let (provider, accounts) = (&site.provider, &site.accounts);
    if let Some(mut known) = site.memory.take(id) {
        // Each pass tries again what was refused.
        P::refused(&mut known.observed).clear();
        return Ok((known.observed, accounts.current(provider, now()).await?));
    }
    let account = accounts.listing(provider, id, now()).await?;
    let mut observed = Box::pin(provider.observe(std::slice::from_ref(id), &account)).await?;
    let observed = observed.remove(id).ok_or_else(|| rounds::not_observed(id))?;
    Ok((observed, account))
}

/// What all load balancers that may exist need of what spans them.
fn demands<P: Provider>(site: &Site<P>, account: &P::Account) -> Asked<P> {
    let mut demands = Demands::<P>::new();
    let mut silent: BTreeSet<LoadBalancerId> = site.records.held_by_others().into_iter().collect();
    for id in site.records.held_ids() {
        let Ok(view) = View::of(&site.index, &id, None) else {
            continue; // Every kind was listed before the first pass, and is known from then on.
        };
        match translate(&view.snapshot, &site.settings).balancer {
            // Asked before this process makes anything, when the listing is as good as a look at each.
            Some(desired) if site.provider.can_be_made(&desired, None, account) => {
                demands.insert(id, site.provider.demand(&desired, None, account));
            }
            Some(_) => {}
            None => {
                silent.insert(id);
            }
        }
    }
    Asked { demands, silent }
}

fn annotation<'a>(record: Option<&'a LoadBalancerResource>, name: &str) -> Option<&'a str> {
    record?.annotations().get(name).map(String::as_str)
}

fn is_paused(record: &LoadBalancerResource) -> bool {
    annotation(Some(record), PAUSED) == Some("true")
}

fn summaries<'a, P: Provider>(changes: impl IntoIterator<Item = &'a P::Change>) -> Vec<ChangeSummary> {
    changes.into_iter().map(P::summary).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pass is where the time of a reading is known"
)]
fn now() -> Instant {
    Instant::now()
}
