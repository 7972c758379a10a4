//! A load balancer that nobody asks for any more in, what exists of it removed, and then its record.

use std::sync::Arc;

use portcullis_model::{LoadBalancerId, OwnTargets, Provider, ProviderError, Retry};

use super::{
    Failure, Site, annotation, demands, is_paused, keep, look, make, narrow, replaces_incumbent, summaries,
};
use crate::crd::load_balancer::LoadBalancerResource;
use crate::crd::{DeletionPolicy, Mode};
use crate::reconcile::brake;
use crate::reconcile::memory::Known;
use crate::reconcile::outcome::{End, Hold, Outcome, Seen};
use crate::reconcile::records::is_held;
use crate::reconcile::rounds;
use crate::reconcile::view::View;

/// Removes what exists of a load balancer that nobody asks for any more, and then its record.
pub(super) async fn withdraw<P: Provider>(
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
            Some(site.records.intend(id, Mode::Apply, view.naming).await?)
        }
        Some(_) => {
            site.records.release(id).await?;
            memory.drop(id);
            return Ok(End::Gone);
        }
        None => {
            // Nothing is made that was not recorded before.
            memory.forget(id);
            spanning.released(id).await;
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
    let shared = spanning.look(provider, &site.accounts).await?;
    let plan = |o: &P::Observed| provider.plan(id, None, o, &shared, &account);
    let others = withdrawing(site, id);
    let hold = if is_paused(record) {
        Some(Hold::Paused)
    } else if record.spec.mode == Mode::Plan {
        Some(Hold::PlanOnly)
    } else if is_retained(record) && !P::inventory(&observed).is_empty() {
        Some(Hold::Retained)
    } else if !is_confirmed(record)
        && (is_braked(record)
            || site
                .brake
                .holds(going(site, &others) + 1, site.records.held_count()))
    {
        Some(Hold::ManyDeletions)
    } else {
        None
    };
    if let Some(hold) = hold {
        let imagined = rounds::imagine::<P, _>(&mut observed.clone(), plan, P::fold);
        outcome.pending = summaries::<P>(&imagined.changes);
        if hold == Hold::Retained {
            stays(site, id, &observed, &account, outcome).await?;
        }
        memory.put(id, Known::unsettled(observed));
        return Ok(End::Held(hold));
    }

    site.records.begin_changes(id, &OwnTargets::new()).await?;
    site.accounts.changed(id).await;
    let failed = make(site, &mut observed, plan, outcome).await;
    let failed = keep(site, id, &observed, failed)?;
    if !failed.is_empty() {
        // AWS lets go of some of it after minutes: what is left then need not be looked for each time.
        if failed.iter().all(|error| error.retry != Retry::Observe) {
            stays(site, id, &observed, &account, outcome).await?;
            memory.put(id, Known::unsettled(observed));
        }
        return Ok(End::Incomplete(failed));
    }
    // One that is kept from being deleted serves.
    if P::address(&observed).is_some() {
        stays(site, id, &observed, &account, outcome).await?;
        return Ok(End::Incomplete(vec![rounds::stands(id)]));
    }
    let left = spanning.leave(id, || demands(site, &account)).await;
    let waits = !P::inventory(&observed).is_empty();
    // What spans load balancers may still be in use by those that go as well: the last one narrows it, unless something
    // waits for that. Those that go at the same time may still have their records, but they have left.
    if waits || withdrawing(site, id).iter().all(|other| left.contains(other)) {
        let narrow = narrow(site, &account, (id, None), outcome).await?;
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

/// Where it stands all the same, it uses what it used; what nobody else uses is taken back.
async fn stays<P: Provider>(
    site: &Site<P>,
    id: &LoadBalancerId,
    observed: &P::Observed,
    account: &Arc<P::Account>,
    outcome: &mut Outcome,
) -> Result<(), ProviderError> {
    if P::address(observed).is_none() {
        return Ok(());
    }
    let uses = site.provider.uses(observed);
    let all = || demands(site, account);
    site.spanning.stays(id, uses.clone(), all).await;
    narrow(site, account, (id, Some(uses)), outcome).await?;
    Ok(())
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

/// How many of these are to go: others stay.
fn going<P: Provider>(site: &Site<P>, ids: &[LoadBalancerId]) -> usize {
    let records = ids.iter().filter_map(|id| site.records.get(id));
    records.filter(|record| !is_retained(record)).count()
}

fn is_retained(record: &LoadBalancerResource) -> bool {
    record.spec.deletion_policy == DeletionPolicy::Retain
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
