//! A load balancer that Ingresses ask for in, what should exist made, and what came of it out.

use portcullis_model::{Code, LoadBalancer, Provider, ProviderError, Retry};

use super::recall::{applied, is_recorded, remembered, told};
use super::{
    Failure, Refused, Site, annotation, demands, is_paused, keep, look, make, narrow, now, summaries,
};
use crate::crd::Mode;
use crate::crd::load_balancer::{LoadBalancerResource, LoadBalancerStatus, Terms};
use crate::reconcile::brake;
use crate::reconcile::fingerprint;
use crate::reconcile::memory::Known;
use crate::reconcile::outcome::{End, Hold, Outcome, Seen, shows};
use crate::reconcile::records::is_held;
use crate::reconcile::rounds::{self, Imagined};
use crate::reconcile::view::View;

/// Recorded instead of a fingerprint while something waits for its time; no fingerprint is equal to it.
const WAITING: &str = "waiting";

/// Makes what should exist.
pub(super) async fn serve<P: Provider>(
    site: &Site<P>,
    record: Option<&LoadBalancerResource>,
    view: &View,
    desired: &LoadBalancer,
    (terms, refused): (Terms, Refused),
    outcome: &mut Outcome,
) -> Result<End, Failure> {
    let Site {
        provider,
        accounts,
        spanning,
        memory,
        ..
    } = site;
    let (id, mode) = (&desired.id, terms.mode);
    let account = accounts.current(provider, now()).await?;
    Box::pin(provider.consult(desired, &account)).await?;
    let demand = memory.look(id, |observed| provider.demand(desired, observed, &account));
    let fingerprint = fingerprint::of(&provider.fingerprint(desired, &account), mode, outcome);
    // Whose it is, and whether it is to stay, must be known before anything rests on it.
    let says = |record: &LoadBalancerResource| {
        site.records.is_signed(record, view.naming) && record.spec.deletion_policy == terms.deletion_policy
    };
    if record.is_some_and(|record| !says(record)) {
        site.records.intend(id, terms, view.naming).await?;
    }
    let paused = record.is_some_and(is_paused);
    if !paused && rests(site, record, view, &fingerprint, &demand) {
        return Ok(End::Resting);
    }
    let early = refused == Refused::Wait && memory.was_refused(id, &fingerprint, &demand);
    if early && !paused && is_told(record, view) {
        return Ok(End::Waiting);
    }

    site.records.intend(id, terms, view.naming).await?;
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

    let mut hold = match (paused, mode) {
        (true, _) => Some(Hold::Paused),
        (false, Mode::Plan) => Some(Hold::PlanOnly),
        (false, Mode::Apply) => None,
    };
    if hold.is_none() {
        // Whoever starts after a crash from here on must not take what was applied before for what exists.
        site.records.begin_changes(id, &own).await?;
        // The record as it was written: what changed the Ingress may be seen before the pause that was asked for first.
        let written = site.records.get(id);
        hold = written.filter(|record| is_paused(record)).map(|_| Hold::Paused);
    }
    // What spans load balancers is not changed for one that cannot be made.
    let unmade = provider.unmade(desired, Some(&observed), &account);
    let possible = unmade.is_none();
    let demand = provider.demand(desired, Some(&observed), &account);
    let all = || demands(site, &account);
    let here = (accounts, &account);
    if let Some(hold) = hold {
        let (shared, across) = if possible {
            spanning.imagine(provider, here, (id, demand), all).await?
        } else {
            (spanning.look(provider, accounts).await?, Imagined::nothing())
        };
        let plan = |o: &P::Observed| provider.plan(id, Some(desired), o, &shared, &account);
        let imagined = rounds::imagine::<P, _>(&mut observed.clone(), plan, P::fold);
        outcome.pending = summaries::<P>(across.changes.iter().chain(&imagined.changes));
        outcome.add(across.refused.into_iter().chain(imagined.refused));
        memory.put(id, Known::unsettled(observed));
        return Ok(End::Held(hold));
    }

    accounts.changed(id).await;
    let wide = if possible {
        spanning
            .widen(provider, &site.tenure, here, (id, demand), all)
            .await
    } else {
        spanning.without(provider, accounts, id, all).await
    };
    let wide = keep(site, id, &observed, wide)?;
    outcome.made = wide.changes;
    outcome.put_back(0, wide.repairs);
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
            memory.put(id, Known::unsettled(observed));
        }
        return Ok(match failed.is_empty() {
            true => End::Held(Hold::ManyRuleDeletions),
            false => End::Incomplete(failed),
        });
    }
    let before = outcome.made.len();
    let made = make(site, &mut observed, plan, outcome).await;
    outcome.put_back(before, is_recorded(record, &fingerprint));
    let mut made = keep(site, id, &observed, made)?;
    let mut narrow_failed = Vec::new();
    // What was used until now may still be in use where something was refused.
    if wide.failed.is_empty() && made.iter().all(is_left_over) {
        // What it uses now, such as a group that was made since.
        let uses = possible.then(|| provider.demand(desired, Some(&observed), &account));
        let narrow = narrow(site, &account, (id, uses), outcome).await;
        let narrow = keep(site, id, &observed, narrow)?;
        narrow_failed = narrow.failed;
        // What nodes do not let in any more can go.
        if !narrow.changes.is_empty() {
            let plan = |o: &P::Observed| provider.plan(id, Some(desired), o, &narrow.shared, &account);
            let rest = make(site, &mut observed, plan, outcome).await;
            made.extend(keep(site, id, &observed, rest)?);
        }
    }
    // What the provider has not let go of yet is deleted later: what should exist does.
    let (left_over, made): (Vec<_>, Vec<_>) = made.into_iter().partition(is_left_over);
    outcome.left_over = !left_over.is_empty();
    let unmade: Vec<_> = unmade.iter().map(rounds::cannot_be_made).collect();
    let mut failed = [unmade, wide.failed, made, narrow_failed].concat();
    memory.judge_repeated(id, &mut failed);
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
    let recorded = is_recorded(Some(record), fingerprint) && told && is_held(record);
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
