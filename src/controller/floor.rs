//! What was touched in, passes begun and told of out: the state of the controller's loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::{Code, LoadBalancerId, ObjectName, Provider, ProviderError, Retry};
use tokio::task::JoinSet;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::aside::aside;
use super::clock::{now, unix_time};
use crate::cluster::index::Touched;
use crate::cluster::membership::Membership;
use crate::reconcile::backoff::{Backoff, Delay};
use crate::reconcile::bindings::Bindings;
use crate::reconcile::drift;
use crate::reconcile::gates::keep::Keeper;
use crate::reconcile::lease::rival::Rival;
use crate::reconcile::outcome::End;
use crate::reconcile::pass::{Refused, Site, pass};
use crate::reconcile::queue::{Again, Next, Pace, Queue};
use crate::reconcile::records::follow::RecordNews;
use crate::report::metrics::{Load, Metrics};
use crate::report::write::Reporter;

/// What passes and their reports share.
pub(super) struct Shop<P: Provider> {
    pub(super) site: Site<P>,
    pub(super) reporter: Reporter,
    pub(super) metrics: Metrics,
    pub(super) gates: Keeper<P>,
    /// None where TargetGroupBindings are somebody else's.
    pub(super) bindings: Option<Arc<Bindings<P>>>,
}

/// How a pass went, for its next turn.
pub(super) struct Turn {
    id: LoadBalancerId,
    went: Went,
}

/// What comes of a turn for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Went {
    Well,
    /// To be tried again.
    InVain(Retry),
    /// It was too early to try again.
    TooEarly,
}

/// Work beside passes.
pub(super) enum Chore {
    Refreshed(Result<(), ProviderError>),
    /// A look at the health of targets that pods wait for.
    Probed(Result<(), ProviderError>),
    /// A look at TargetGroupBindings, and whether it was in vain.
    Bound(Looked),
    Told,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    Well,
    /// To be tried again.
    InVain,
}

/// Time until a look at TargetGroupBindings that was in vain is tried again.
const BINDINGS_AGAIN: Duration = Duration::from_secs(15);

/// Whether TargetGroupBindings are to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bind {
    No,
    /// Something that they are made from may differ.
    Due,
    /// The last look was in vain.
    At(Instant),
    /// A look is under way; something may differ since it began.
    Looking {
        since: bool,
    },
}

/// The loop's own state: whose turn it is.
pub(super) struct Floor<P: Provider> {
    shop: Arc<Shop<P>>,
    /// Whoever must have stopped before anything begins.
    rival: Rival,
    /// The same, for TargetGroupBindings alone.
    rival_of_bindings: Rival,
    queue: Queue<LoadBalancerId>,
    backoff: Backoff<LoadBalancerId>,
    /// When each that failed is tried again: what touches it before is no reason to repeat what was refused.
    again: BTreeMap<LoadBalancerId, Instant>,
    /// Ingresses to be told that they are refused, or not any more.
    refused: BTreeSet<ObjectName>,
    /// Load balancers whose record somebody deletes.
    deleted: BTreeSet<LoadBalancerId>,
    records_listed: bool,
    /// What is recorded of refused members was recalled: what was there before this process began is known.
    recalled: bool,
    /// A look at targets' health is under way: a slow one is not overtaken by the next.
    probing: bool,
    bind: Bind,
    pub(super) turns: JoinSet<Turn>,
    pub(super) chores: JoinSet<Chore>,
}

impl<P: Provider> Floor<P> {
    pub(super) fn new(shop: Shop<P>, pace: Pace, (rival, rival_of_bindings): (Rival, Rival)) -> Self {
        Self {
            shop: Arc::new(shop),
            rival,
            rival_of_bindings,
            queue: Queue::new(pace),
            backoff: Backoff::default(),
            again: BTreeMap::new(),
            refused: BTreeSet::new(),
            deleted: BTreeSet::new(),
            records_listed: false,
            recalled: false,
            probing: false,
            bind: Bind::Due,
            turns: JoinSet::new(),
            chores: JoinSet::new(),
        }
    }

    pub(super) fn shop(&self) -> Arc<Shop<P>> {
        self.shop.clone()
    }

    /// Starts what is due; answers when the next is.
    pub(super) fn begin_turns(&mut self) -> Option<Instant> {
        if !self.may_begin() {
            return None;
        }
        if !std::mem::replace(&mut self.recalled, true) {
            let touched = self.shop.site.recall();
            self.touched(touched);
        }
        if !self.refused.is_empty() {
            let names = std::mem::take(&mut self.refused);
            let shop = self.shop.clone();
            self.chores.spawn(async move {
                shop.tell_refused(names).await;
                Chore::Told
            });
        }
        if !self.deleted.is_empty() {
            let ids = std::mem::take(&mut self.deleted);
            let shop = self.shop.clone();
            self.chores.spawn(async move {
                shop.tell_kept(ids).await;
                Chore::Told
            });
        }
        loop {
            match self.queue.next(now()) {
                Next::Turn(id) => {
                    let shop = self.shop.clone();
                    let span = info_span!("pass", lb = %id, provider = P::NAME);
                    let refused = match self.again.get(&id) {
                        Some(at) if now() < *at => Refused::Wait,
                        Some(_) | None => Refused::TryAgain,
                    };
                    self.turns.spawn(aside(
                        async move { shop.turn(id, refused).await }.instrument(span),
                    ));
                }
                Next::At(at) => return Some(at),
                Next::Idle => return None,
            }
        }
    }

    /// Not from a partial view, and not while another leads or does the same work.
    fn may_begin(&self) -> bool {
        let site = &self.shop.site;
        self.records_listed
            && self.rival.is_gone()
            && site.tenure.standing().leads()
            && site.index.lock().synced().is_ok()
    }

    pub(super) fn touched(&mut self, touched: Touched) {
        let now = now();
        for id in &touched.load_balancers {
            self.queue.touch(id, now);
        }
        // One that is refused belongs to no load balancer any more, but what is recorded of it waits for its end.
        for ingress in &touched.refused {
            for id in self.shop.site.records.with_member(ingress) {
                self.queue.touch(&id, now);
            }
        }
        self.refused.extend(touched.refused);
        self.may_bind();
    }

    pub(super) fn records(&mut self, news: RecordNews) {
        let now = now();
        match news {
            RecordNews::Listed(ids) => {
                self.records_listed = true;
                ids.iter().for_each(|id| self.queue.touch(id, now));
            }
            RecordNews::Changed(id) => {
                self.queue.touch(&id, now);
                self.note_deletion(&id);
            }
        }
    }

    fn note_deletion(&mut self, id: &LoadBalancerId) {
        let record = self.shop.site.records.get(id);
        if record.is_some_and(|record| record.metadata.deletion_timestamp.is_some()) {
            self.deleted.insert(id.clone());
        }
    }

    pub(super) fn ended(&mut self, turn: &Turn) {
        // The answer to a write of ours may be the first to say so; then the watch brings no news.
        self.note_deletion(&turn.id);
        let again = match turn.went {
            Went::Well => {
                self.backoff.succeeded(&turn.id);
                self.again.remove(&turn.id);
                Again::No
            }
            Went::TooEarly => Again::At(self.again.get(&turn.id).copied().unwrap_or_else(now)),
            Went::InVain(retry) => {
                let delay = self.backoff.failed(&turn.id, retry);
                let (Delay::Soft(time) | Delay::Hard(time)) = delay;
                let at = now() + time;
                self.again.insert(turn.id.clone(), at);
                match delay {
                    Delay::Soft(_) => Again::At(at),
                    Delay::Hard(_) => Again::NotBefore(at),
                }
            }
        };
        self.queue.done(&turn.id, again);
    }

    pub(super) fn done(&mut self, chore: Chore) {
        match chore {
            Chore::Told => {}
            Chore::Probed(probed) => {
                self.probing = false;
                if let Err(error) = probed {
                    warn!(code = %error.code, error = &error as &dyn std::error::Error, "targets' health was not read");
                }
            }
            Chore::Bound(looked) => {
                self.bind = match (self.bind, looked) {
                    (Bind::Looking { since: true }, Looked::Well) => Bind::Due,
                    (_, Looked::Well) => Bind::No,
                    (_, Looked::InVain) => Bind::At(now() + BINDINGS_AGAIN),
                };
            }
            Chore::Refreshed(Ok(())) => {
                self.may_bind();
                self.touch_all();
            }
            Chore::Refreshed(Err(error)) => {
                warn!(code = %error.code, error = &error as &dyn std::error::Error, "the account was not read again");
            }
        }
    }

    fn touch_all(&mut self) {
        let site = &self.shop.site;
        let mut ids: BTreeSet<LoadBalancerId> = site.records.ids().into_iter().collect();
        if let Ok(synced) = site.index.lock().synced() {
            ids.extend(synced.ids());
        }
        let now = now();
        ids.iter().for_each(|id| self.queue.touch(id, now));
    }

    /// Whether there is nothing that the account is read for.
    fn is_idle(&self) -> bool {
        let bindings = self.shop.bindings.as_deref();
        self.shop.site.records.ids().is_empty() && bindings.is_none_or(Bindings::is_empty)
    }

    pub(super) fn refresh(&mut self) {
        if !self.may_begin() || self.is_idle() {
            return;
        }
        let shop = self.shop.clone();
        self.chores.spawn(async move {
            let site = &shop.site;
            Chore::Refreshed(site.accounts.refresh(&site.provider, now()).await.map(|_| ()))
        });
    }

    pub(super) fn look_again(&mut self) {
        if !self.may_begin() || self.is_idle() {
            return;
        }
        let shop = self.shop.clone();
        self.chores.spawn(async move {
            let looked = drift::look_again(&shop.site, now()).await;
            if let (Ok(()), Some(bindings)) = (&looked, &shop.bindings) {
                bindings.doubt();
            }
            Chore::Refreshed(looked)
        });
    }

    /// Something that TargetGroupBindings are made from may differ.
    pub(super) fn may_bind(&mut self) {
        self.bind = match self.bind {
            Bind::No | Bind::Due => Bind::Due,
            Bind::At(at) => Bind::At(at),
            Bind::Looking { .. } => Bind::Looking { since: true },
        };
    }

    pub(super) fn bind(&mut self) {
        if !self.rival_of_bindings.is_gone() {
            if let (Bind::No | Bind::At(_), Some(bindings)) = (self.bind, &self.shop.bindings) {
                bindings.stand_back();
                self.bind = Bind::Due;
            }
            return;
        }
        let due = match self.bind {
            Bind::Due => true,
            Bind::At(at) => at <= now(),
            Bind::No | Bind::Looking { .. } => false,
        };
        let Some(bindings) = self.shop.bindings.clone().filter(|_| due && self.may_begin()) else {
            return;
        };
        self.bind = Bind::Looking { since: false };
        let shop = self.shop.clone();
        self.chores
            .spawn(async move { Chore::Bound(shop.look_at(&bindings).await) });
    }

    pub(super) fn probe(&mut self) {
        if self.probing || !self.may_begin() {
            return;
        }
        self.probing = true;
        let shop = self.shop.clone();
        self.chores.spawn(async move {
            Chore::Probed(shop.gates.look(&shop.site, shop.bindings.as_deref(), now()).await)
        });
    }

    pub(super) fn measure(&self) {
        self.shop.metrics.load(Load {
            waiting: self.queue.waiting(),
            running: self.queue.running(),
            balancers: self.shop.site.records.ids().len(),
            leading: self.shop.site.tenure.claim(now()).is_some(),
        });
    }
}

impl<P: Provider> Shop<P> {
    /// One pass, and what is told of it.
    async fn turn(&self, id: LoadBalancerId, refused: Refused) -> Turn {
        let begun = now();
        let passed = pass(&self.site, &id, refused).await;
        self.site.accounts.ended(&id).await;
        let outcome = match passed {
            Ok(outcome) => outcome,
            Err(failure) => {
                error!(
                    error = &failure as &dyn std::error::Error,
                    "the pass came to no outcome"
                );
                self.metrics.pass_lost();
                let went = Went::InVain(Retry::Backoff);
                return Turn { id, went };
            }
        };
        let took = begun.elapsed();
        self.metrics.pass(&outcome, took, unix_time());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let left_over = outcome.left_over.then_some(Retry::Backoff);
        let mut went = match (&outcome.end, outcome.end.retry().or(left_over)) {
            (End::Waiting, _) => Went::TooEarly,
            (_, Some(retry)) => Went::InVain(retry),
            (_, None) => Went::Well,
        };
        if !outcome.repaired.is_empty() {
            let changes = outcome.repaired.len();
            warn!(changes, "somebody else changed what was made; it was put back");
        }
        match &outcome.end {
            End::Failed(failed) => {
                warn!(took_ms, code = %failed.code, error = failed as &dyn std::error::Error, "the pass failed");
            }
            End::Incomplete(refused) => {
                let changes = outcome.made.len();
                warn!(
                    took_ms,
                    changes,
                    refused = refused.len(),
                    "the pass ended without what was refused"
                );
            }
            End::Resting | End::Waiting | End::Settled { .. } | End::Held(_) | End::Gone => {
                let (end, changes) = (outcome.end.as_str(), outcome.made.len());
                if changes > 0 {
                    info!(
                        took_ms,
                        end,
                        changes,
                        problems = outcome.problems.len(),
                        "the pass ended"
                    );
                } else {
                    debug!(took_ms, end, problems = outcome.problems.len(), "the pass ended");
                }
            }
        }
        match self.reporter.report(&self.site.records, &outcome, now()).await {
            Ok(dropped) => (0..dropped).for_each(|_| self.metrics.event_dropped()),
            Err(failure) => {
                // The fingerprint was not recorded either, so the next pass tells it all again.
                warn!(
                    error = &failure as &dyn std::error::Error,
                    "what came of the pass could not be written"
                );
                if went == Went::Well {
                    went = Went::InVain(Retry::Backoff);
                }
            }
        }
        Turn { id, went }
    }

    async fn look_at(&self, bindings: &Bindings<P>) -> Looked {
        let mut looked = Looked::Well;
        for kept in bindings.look(&self.site, now()).await {
            if let Some(error) = &kept.error {
                let binding = kept.name.to_string();
                warn!(
                    binding,
                    error = error as &dyn std::error::Error,
                    "the binding could not be kept"
                );
                looked = Looked::InVain;
            }
            if !kept.repaired.is_empty() {
                let (binding, changes) = (kept.name.to_string(), kept.repaired.len());
                warn!(
                    binding,
                    changes, "somebody else changed its targets; they were put back"
                );
                self.metrics.repaired(&kept.repaired);
            }
            let dropped = self.reporter.binding(&kept, now()).await;
            (0..dropped).for_each(|_| self.metrics.event_dropped());
        }
        looked
    }

    /// Of load balancers whose record somebody deletes, those that Ingresses ask for.
    async fn tell_kept(&self, ids: BTreeSet<LoadBalancerId>) {
        for id in ids {
            let asked = {
                let index = self.site.index.lock();
                let synced = index.synced();
                synced.is_ok_and(|synced| !synced.snapshot(&id).members.is_empty())
            };
            if let Some(record) = self.site.records.get(&id).filter(|_| asked) {
                let dropped = self.reporter.kept(&id, &record, now()).await;
                (0..dropped).for_each(|_| self.metrics.event_dropped());
            }
        }
    }

    async fn tell_refused(&self, names: BTreeSet<ObjectName>) {
        for name in names {
            let refused = {
                let index = self.site.index.lock();
                let found = index.synced().ok().and_then(|synced| synced.ingress(&name));
                found.and_then(|(ingress, membership)| match membership {
                    Membership::Refused(problems) => Some((ingress.clone(), problems.clone())),
                    Membership::Foreign | Membership::Member { .. } => None,
                })
            };
            let refused = refused
                .as_ref()
                .map(|(ingress, problems)| (&**ingress, problems.as_slice()));
            // That another controller's class is another's is no problem.
            let problems = refused.map_or(&[][..], |(_, problems)| problems);
            let ours = problems.iter().all(|problem| problem.code != Code::ClassForeign);
            self.metrics.refused(&name, if ours { problems } else { &[] });
            let dropped = self.reporter.refused(&name, refused, now()).await;
            (0..dropped).for_each(|_| self.metrics.event_dropped());
        }
    }
}
