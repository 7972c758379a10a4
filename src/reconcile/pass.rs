//! A load balancer's id in; what should exist worked out, made, and what came of it out. The whole loop.
//!
//! ```text
//! snapshot → translate → fingerprint ── as recorded ──▶ rest: no call at all
//!                            │ differs
//!                            ▼
//!          record the intent → what spans load balancers → rounds of plan, apply, fold
//! ```

mod recall;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use kube::ResourceExt;
use portcullis_model::{
    ChangeSummary, Code, LoadBalancer, LoadBalancerId, OwnTargets, Plan, Problem, Provider, ProviderError,
    Retry,
};

use self::recall::{applied, remembered, told, told_codes};
use super::accounts::Accounts;
use super::brake::{self, Brake};
use super::fingerprint;
use super::lease::Tenure;
use super::memory::{Known, Memory};
use super::outcome::{End, Hold, Outcome, PAUSED, Seen, shows};
use super::records::{RecordError, Records, is_held};
use super::rounds::{self, Imagined};
use super::secrets::{SecretError, SecretReader};
use super::shared::{Asked, Demands, Spanning};
use super::standing;
use super::view::View;
use crate::cluster::index::{NotSynced, Touched};
use crate::cluster::watch::SharedIndex;
use crate::crd::Mode;
use crate::crd::load_balancer::{LoadBalancerResource, LoadBalancerStatus};
use crate::translate::{ControllerName, Settings, translate};

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
    site.secrets.read(&site.index, id, &site.settings).await?;
    let record = site.records.get(id);
    let view = View::of(&site.index, id, record.as_deref())?;
    let translation = translate(&view.snapshot, &site.settings);
    let mut outcome = Outcome::begin(&view, translation.balancer.as_ref(), translation.problems);
    let record = record.as_deref();
    outcome.recorded = told_codes(record, &outcome);
    let ended = match &translation.balancer {
        Some(desired) => {
            let how = (translation.mode, refused);
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

/// Recorded instead of a fingerprint while something waits for its time; no fingerprint is equal to it.
const WAITING: &str = "waiting";

/// Makes what should exist.
async fn serve<P: Provider>(
    site: &Site<P>,
    record: Option<&LoadBalancerResource>,
    view: &View,
    desired: &LoadBalancer,
    (mode, refused): (Mode, Refused),
    outcome: &mut Outcome,
) -> Result<End, Failure> {
    let Site {
        provider,
        accounts,
        spanning,
        memory,
        ..
    } = site;
    let id = &desired.id;
    let account = accounts.current(provider, now()).await?;
    Box::pin(provider.consult(desired, &account)).await?;
    let demand = memory.look(id, |observed| provider.demand(desired, observed, &account));
    let fingerprint = fingerprint::of(&provider.fingerprint(desired, &account), mode, outcome);
    let paused = record.is_some_and(is_paused);
    if !paused && rests(site, record, view, &fingerprint, &demand) {
        return Ok(End::Resting);
    }
    let early = refused == Refused::Wait && memory.was_refused(id, &fingerprint, &demand);
    if early && !paused && is_told(record, view) {
        return Ok(End::Waiting);
    }

    site.records.intend(id, mode).await?;
    let (mut observed, account) = look(site, id).await?;
    // It may be another reading than before.
    Box::pin(provider.consult(desired, &account)).await?;
    let closer = Box::pin(provider.look_closer(desired, &mut observed)).await;
    keep(site, id, &observed, closer)?;
    let wanted = provider.own_targets(desired, &account);
    let own = remembered(site, record, desired, &wanted, &observed).await;
    let own = own.map_err(told)?;
    P::recall(&mut observed, &own);
    P::recall_secrets(&mut observed, applied(record));
    outcome.seen = Some(Seen::of::<P>(&observed));

    let hold = match (paused, mode) {
        (true, _) => Some(Hold::Paused),
        (false, Mode::Plan) => Some(Hold::PlanOnly),
        (false, Mode::Apply) => None,
    };
    // What spans load balancers is not changed for one that cannot be made.
    let possible = provider.can_be_made(desired, Some(&observed), &account);
    let demand = provider.demand(desired, Some(&observed), &account);
    let all = || demands(site, &account);
    let here = (accounts, &account);
    if let Some(hold) = hold {
        let (shared, across) = if possible {
            spanning.imagine(provider, here, (id, demand), all).await?
        } else {
            (
                spanning.look(provider, accounts, &account).await?,
                Imagined::nothing(),
            )
        };
        let plan = |o: &P::Observed| provider.plan(id, Some(desired), o, &shared, &account);
        let imagined = rounds::imagine::<P, _>(&mut observed.clone(), plan, P::fold);
        outcome.pending = summaries::<P>(across.changes.iter().chain(&imagined.changes));
        outcome.add(across.refused.into_iter().chain(imagined.refused));
        memory.put(
            id,
            Known {
                observed,
                settled: None,
            },
        );
        return Ok(End::Held(hold));
    }

    // Whoever starts after a crash from here on must not take what was applied before for what exists.
    site.records.begin_changes(id, &own).await?;
    accounts.changed(id).await;
    let wide = if possible {
        spanning
            .widen(provider, &site.tenure, here, (id, demand), all)
            .await
    } else {
        spanning.without(provider, here, id, all).await
    };
    let wide = keep(site, id, &observed, wide)?;
    outcome.made = wide.changes;
    outcome.add(wide.refused);
    wide.failed.iter().for_each(|error| outcome.tell(error));
    let plan = |o: &P::Observed| provider.plan(id, Some(desired), o, &wide.shared, &account);
    let routes = provider.routes(desired, &observed, &account);
    if site
        .brake
        .holds_rules(routes, annotation(record, brake::CONFIRMED_RULES))
    {
        // Pods come and go meanwhile: what stands must go on serving.
        let follow = |o: &P::Observed| {
            let (mut round, problems) = plan(o);
            round.changes.retain(P::moves_targets);
            (round, problems)
        };
        let made = make(site, &mut observed, follow, outcome).await;
        let failed = [wide.failed, keep(site, id, &observed, made)?].concat();
        outcome.add([brake::problem(id, routes)]);
        let imagined = rounds::imagine::<P, _>(&mut observed.clone(), plan, P::fold);
        outcome.pending = summaries::<P>(&imagined.changes);
        if failed.iter().all(|error| error.retry != Retry::Observe) {
            let settled = None;
            memory.put(id, Known { observed, settled });
        }
        return Ok(match failed.is_empty() {
            true => End::Held(Hold::ManyRuleDeletions),
            false => End::Incomplete(failed),
        });
    }
    let made = make(site, &mut observed, plan, outcome).await;
    let mut made = keep(site, id, &observed, made)?;
    let mut narrow_failed = Vec::new();
    // What was used until now may still be in use where something was refused.
    if wide.failed.is_empty() && made.iter().all(is_left_over) {
        // What it uses now, such as a group that was made since.
        let uses = possible.then(|| provider.demand(desired, Some(&observed), &account));
        let narrow = spanning.narrow(provider, &site.tenure, here, (id, uses)).await;
        let narrow = keep(site, id, &observed, narrow)?;
        narrow.failed.iter().for_each(|error| outcome.tell(error));
        narrow_failed = narrow.failed;
        // What nodes do not let in any more can go.
        if !narrow.changes.is_empty() {
            outcome.made.extend(narrow.changes);
            let plan = |o: &P::Observed| provider.plan(id, Some(desired), o, &narrow.shared, &account);
            let rest = make(site, &mut observed, plan, outcome).await;
            made.extend(keep(site, id, &observed, rest)?);
        }
    }
    // What the provider has not let go of yet is deleted later: what should exist does.
    let (left_over, made): (Vec<_>, Vec<_>) = made.into_iter().partition(is_left_over);
    outcome.left_over = !left_over.is_empty();
    let failed = [wide.failed, made, narrow_failed].concat();
    // What waits for its time is planned anew whenever somebody looks, also after a restart: then nothing rests on it.
    let waits = P::waits(&observed) || outcome.left_over;
    // Where what was believed may be wrong, it is read again.
    let known = failed.iter().all(|error| error.retry != Retry::Observe);
    let demand = provider.demand(desired, known.then_some(&observed), &account);
    let settled = (failed.is_empty() && !waits).then(|| (fingerprint.clone(), demand.clone()));
    if known {
        memory.put(id, Known { observed, settled });
    }
    if failed.is_empty() {
        outcome.own_targets = Some(wanted);
        let fingerprint = if waits { WAITING.to_owned() } else { fingerprint };
        Ok(End::Settled { fingerprint })
    } else {
        memory.note_refused(id, fingerprint, demand);
        Ok(End::Incomplete(failed))
    }
}

/// What the provider has not let go of yet.
fn is_left_over(error: &ProviderError) -> bool {
    error.code == Code::StillInUse
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

/// Removes what exists of a load balancer that nobody asks for any more, and then its record.
async fn withdraw<P: Provider>(
    site: &Site<P>,
    record: Option<&LoadBalancerResource>,
    view: &View,
    outcome: &mut Outcome,
) -> Result<End, Failure> {
    let Site {
        provider,
        spanning,
        memory,
        ..
    } = site;
    let id = &view.snapshot.id;
    let inherited = match record {
        Some(record) if is_held(record) => None,
        // What the incumbent made was never recorded here, and its finalizer waits until that is gone.
        Some(_) | None
            if replaces_incumbent(site) && !view.leaving.is_empty() && !view.leaving_plans_only =>
        {
            Some(site.records.intend(id, Mode::Apply).await?)
        }
        Some(_) => {
            site.records.release(id).await?;
            memory.drop(id);
            return Ok(End::Gone);
        }
        None => {
            // Nothing is made that was not recorded before.
            memory.forget(id);
            return Ok(End::Gone);
        }
    };
    let Some(record) = inherited.as_deref().or(record) else {
        return Ok(End::Gone);
    };
    // Neither a mistake in a class nor one in an Ingress removes what serves.
    if !view.refused.is_empty() {
        for (ingress, problems) in &view.refused {
            // They stay recorded as members: else the next pass would take them for gone.
            outcome.members.push(ingress.clone());
            outcome.add(problems.iter().cloned());
        }
        outcome.refused.clone_from(&view.refused);
        return Ok(End::Held(Hold::MembersRefused));
    }
    if !view.snapshot.members.is_empty() {
        return Ok(End::Held(Hold::NothingToServe));
    }

    let (mut observed, account) = look(site, id).await?;
    outcome.seen = Some(Seen::of::<P>(&observed));
    let shared = spanning.look(provider, &site.accounts, &account).await?;
    let plan = |o: &P::Observed| provider.plan(id, None, o, &shared, &account);
    let others = withdrawing(site, id);
    let hold = if is_paused(record) {
        Some(Hold::Paused)
    } else if record.spec.mode == Mode::Plan {
        Some(Hold::PlanOnly)
    } else if !is_confirmed(record)
        && (is_braked(record) || site.brake.holds(others.len() + 1, site.records.held_count()))
    {
        Some(Hold::ManyDeletions)
    } else {
        None
    };
    if let Some(hold) = hold {
        let imagined = rounds::imagine::<P, _>(&mut observed.clone(), plan, P::fold);
        outcome.pending = summaries::<P>(&imagined.changes);
        memory.put(
            id,
            Known {
                observed,
                settled: None,
            },
        );
        return Ok(End::Held(hold));
    }

    site.records.begin_changes(id, &OwnTargets::new()).await?;
    site.accounts.changed(id).await;
    let failed = make(site, &mut observed, plan, outcome).await;
    let failed = keep(site, id, &observed, failed)?;
    if !failed.is_empty() {
        // AWS lets go of some of it after minutes: what is left then need not be looked for each time.
        if failed.iter().all(|error| error.retry != Retry::Observe) {
            let settled = None;
            memory.put(id, Known { observed, settled });
        }
        return Ok(End::Incomplete(failed));
    }
    // One that is kept from being deleted serves, and uses what it used.
    if P::address(&observed).is_some() {
        return Ok(End::Incomplete(vec![rounds::stands(id)]));
    }
    let left = spanning.leave(id, || demands(site, &account)).await;
    let waits = !P::inventory(&observed).is_empty();
    // What spans load balancers may still be in use by those that go as well: the last one narrows it, unless something
    // waits for that. Those that go at the same time may still have their records, but they have left.
    if waits || withdrawing(site, id).iter().all(|other| left.contains(other)) {
        let here = (&site.accounts, &account);
        let narrow = spanning.narrow(provider, &site.tenure, here, (id, None)).await?;
        outcome.made.extend(narrow.changes);
        narrow.failed.iter().for_each(|error| outcome.tell(error));
        let mut failed = narrow.failed;
        if failed.is_empty() && waits {
            let plan = |o: &P::Observed| provider.plan(id, None, o, &narrow.shared, &account);
            let rest = make(site, &mut observed, plan, outcome).await;
            failed = keep(site, id, &observed, rest)?;
            if failed.is_empty() && !P::inventory(&observed).is_empty() {
                failed.push(rounds::waits_for_others(id));
            }
        }
        if !failed.is_empty() {
            return Ok(End::Incomplete(failed));
        }
    }
    site.records.release(id).await?;
    spanning.released(id).await;
    memory.gone(id, observed);
    Ok(End::Gone)
}

/// Whether Ingresses of the incumbent's classes are served here, in its place.
fn replaces_incumbent<P: Provider>(site: &Site<P>) -> bool {
    site.settings.controller.as_str() == ControllerName::INCUMBENT
}

/// Whether Ingresses being deleted, which the incumbent holds, are let go: none of their rules stand any more, and what
/// the incumbent made is ours.
fn lets_go<P: Provider>(site: &Site<P>, record: Option<&LoadBalancerResource>, end: &End) -> bool {
    let ours = replaces_incumbent(site) || record.is_some_and(is_held);
    match end {
        End::Resting | End::Settled { .. } | End::Gone => ours,
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
        let known = Known {
            observed: observed.clone(),
            settled: None,
        };
        site.memory.put(id, known);
    }
    result
}

/// Whether what is recorded still holds: from memory, or after a restart from the record.
fn rests<P: Provider>(
    site: &Site<P>,
    record: Option<&LoadBalancerResource>,
    view: &View,
    fingerprint: &str,
    demand: &P::Demand,
) -> bool {
    let Some((record, status)) =
        record.and_then(|record| record.status.as_ref().map(|status| (record, status)))
    else {
        return false;
    };
    // With a hold or a failure recorded, that it is over must be told.
    let told = status
        .conditions
        .iter()
        .any(|condition| condition.kind == "Settled" && condition.status == "True");
    let recorded = status.fingerprint.as_deref() == Some(fingerprint) && told && is_held(record);
    let settled = site
        .memory
        .settled_at(&view.snapshot.id, fingerprint, demand)
        .unwrap_or(true);
    recorded && settled && all_show(status, view)
}

/// Whether the record says that not all is as it should be, and members show what it says.
fn is_told(record: Option<&LoadBalancerResource>, view: &View) -> bool {
    let Some(status) = record.and_then(|record| record.status.as_ref()) else {
        return false;
    };
    let mut conditions = status.conditions.iter();
    conditions.any(|condition| condition.kind == "Settled" && condition.status == "False")
        && all_show(status, view)
}

/// Somebody else may have written over what the members show, and those that left must show it no more.
fn all_show(status: &LoadBalancerStatus, view: &View) -> bool {
    let mut members = view.snapshot.members.iter();
    members.all(|member| shows(&member.ingress, &status.addresses())) && view.left.is_empty()
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
    let (mut demands, mut silent) = (Demands::<P>::new(), BTreeSet::new());
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

/// Others that are recorded as existing, but asked for by nobody.
fn withdrawing<P: Provider>(site: &Site<P>, id: &LoadBalancerId) -> Vec<LoadBalancerId> {
    let index = site.index.lock();
    let Ok(synced) = index.synced() else {
        return Vec::new();
    };
    let wanted = synced.ids();
    let mut others = site.records.held_ids();
    others.retain(|other| other != id && !wanted.contains(other));
    others
}

fn annotation<'a>(record: Option<&'a LoadBalancerResource>, name: &str) -> Option<&'a str> {
    record?.annotations().get(name).map(String::as_str)
}

fn is_paused(record: &LoadBalancerResource) -> bool {
    annotation(Some(record), PAUSED) == Some("true")
}

/// Whether it was held back with others before. That these were confirmed one by one, or a restart, does not confirm
/// this one.
fn is_braked(record: &LoadBalancerResource) -> bool {
    let conditions = record.status.iter().flat_map(|status| &status.conditions);
    conditions
        .filter(|condition| condition.kind == "Settled")
        .any(|condition| condition.reason == Hold::ManyDeletions.as_str())
}

fn is_confirmed(record: &LoadBalancerResource) -> bool {
    annotation(Some(record), brake::CONFIRMED) == Some("true")
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
