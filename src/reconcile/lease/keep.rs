//! A Lease object in, this process's standing out: takes it, renews it, gives it back at a clean stop.
//!
//! Needs a client of its own without retries: kube's default one would try a renewal again for minutes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};

use super::{DURATION, Decision, RENEW_DEADLINE, RETRY, Record, Standing, decide};
use crate::cluster::watch::Health;

/// As it is waited for.
const KIND: &str = "Lease";
/// Longest time of one request; two of them fit below [`RENEW_DEADLINE`].
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// The lease went to another, or could not be renewed in time. Whoever led must stop at once.
#[derive(Debug, thiserror::Error)]
#[error("lease {name}: {why}")]
pub struct Lost {
    name: String,
    why: String,
}

/// Keeps one lease for one process.
#[derive(Debug)]
pub struct Keeper {
    api: Api<Lease>,
    name: String,
    me: Arc<str>,
    standing: watch::Sender<Standing>,
    /// Told once it is known who leads.
    health: Arc<Health>,
    /// As last read or written, and since when it is so.
    seen: Option<(Lease, Instant)>,
}

impl Keeper {
    /// `me` must differ from every other process that ever asks for the lease.
    pub fn new(
        api: Api<Lease>,
        name: impl Into<String>,
        me: impl Into<Arc<str>>,
        standing: watch::Sender<Standing>,
        health: Arc<Health>,
    ) -> Self {
        health.waits(KIND, "not read yet".into());
        Self {
            api,
            name: name.into(),
            me: me.into(),
            standing,
            health,
            seen: None,
        }
    }

    /// Runs until told to stop; then releases the lease if it is held.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), Lost> {
        loop {
            let pause = self.turn().await?;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // A dropped sender is a stop as well.
                _ = &mut stop => {
                    self.release().await;
                    return Ok(());
                }
            }
        }
    }

    /// One try. Answers how long to wait for the next.
    async fn turn(&mut self) -> Result<Duration, Lost> {
        let went = self.look_and_write().await;
        match &went {
            // Held by this process or by another, it is known who leads.
            Ok(()) => self.health.known(KIND),
            Err(error) => self.health.still_waits(KIND, error.clone()),
        }
        if let Err(error) = went {
            warn!(
                lease = self.name,
                error, "the lease was neither taken nor renewed"
            );
            // A conflict is another's write: who holds it now must be known at once, not after the next pause.
            self.seen = None;
            if let Err(error) = self.look().await {
                warn!(lease = self.name, error, "the lease could not be read");
            }
        }
        let now = now();
        let standing = self.standing.borrow().clone();
        if let Standing::Leading { renewed } = standing {
            let held_by_me = self
                .seen
                .as_ref()
                .is_none_or(|(lease, _)| record(lease).holder.as_ref() == Some(&self.me));
            if !held_by_me {
                return Err(self.lost("another process holds it"));
            }
            if now >= renewed + RENEW_DEADLINE {
                return Err(self.lost("it could not be renewed in time"));
            }
        }
        Ok(RETRY)
    }

    async fn look_and_write(&mut self) -> Result<(), String> {
        // The holder writes over what it wrote last; only after a failure, or while another holds it, is it read.
        let mine = self
            .seen
            .as_ref()
            .is_some_and(|(lease, _)| record(lease).holder.as_ref() == Some(&self.me));
        if !mine {
            self.look().await?;
        }
        let now = now();
        let record = self.seen.as_ref().map(|(lease, _)| record(lease));
        let seen_at = self.seen.as_ref().map_or(now, |(_, at)| *at);
        match decide(record.as_ref(), seen_at, &self.me, now) {
            Decision::Acquire | Decision::Renew => self.write().await,
            Decision::Wait(_) => {
                let holder = record.and_then(|record| record.holder);
                // Only from waiting: who led and finds another's name has lost it, which `turn` tells.
                self.standing.send_if_modified(|standing| match standing {
                    Standing::Waiting { holder: known } if *known != holder => {
                        *known = holder;
                        true
                    }
                    Standing::Waiting { .. }
                    | Standing::Leading { .. }
                    | Standing::Alone
                    | Standing::Lost => false,
                });
                Ok(())
            }
        }
    }

    async fn look(&mut self) -> Result<(), String> {
        let lease = within(self.api.get_opt(&self.name)).await?;
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        self.seen = match (lease, self.seen.take()) {
            (None, _) => None,
            // Unchanged: the time since when it is so counts on.
            (Some(lease), Some((known, at))) if version(&lease) == version(&known) => Some((lease, at)),
            (Some(lease), _) => Some((lease, now())),
        };
        Ok(())
    }

    /// Writes this process in as the holder, if nobody wrote since: the resource version sees to that.
    async fn write(&mut self) -> Result<(), String> {
        let before = self.seen.as_ref().map(|(lease, _)| lease);
        let was_mine = before.is_some_and(|lease| record(lease).holder.as_ref() == Some(&self.me));
        let lease = held(before, &self.name, &self.me, was_mine, Timestamp::now());
        let sent = now();
        let written = if before.is_some() {
            within(self.api.replace(&self.name, &PostParams::default(), &lease)).await?
        } else {
            within(self.api.create(&PostParams::default(), &lease)).await?
        };
        self.seen = Some((written, now()));
        let led = self.standing.borrow().leads();
        // Counted from the sending: nobody can have seen the write earlier.
        self.standing.send_replace(Standing::Leading { renewed: sent });
        if led {
            debug!(lease = self.name, "renewed the lease");
        } else {
            info!(lease = self.name, "took the lease");
        }
        Ok(())
    }

    fn lost(&self, why: &str) -> Lost {
        self.standing.send_replace(Standing::Lost);
        Lost {
            name: self.name.clone(),
            why: why.into(),
        }
    }

    /// Lets another take it without waiting.
    async fn release(&mut self) {
        if !self.standing.borrow().leads() {
            return;
        }
        self.standing.send_replace(Standing::Lost);
        let Some((lease, _)) = self.seen.take() else {
            return; // The last write failed: it runs out by itself.
        };
        let mut released = lease;
        let spec = released.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        match within(self.api.replace(&self.name, &PostParams::default(), &released)).await {
            Ok(_) => info!(lease = self.name, "released the lease"),
            Err(error) => warn!(
                lease = self.name,
                error, "the lease was not released; it runs out by itself"
            ),
        }
    }
}

/// The object with this process as its holder; everything that is not ours stays.
fn held(before: Option<&Lease>, name: &str, me: &str, was_mine: bool, time: Timestamp) -> Lease {
    let mut lease = before.cloned().unwrap_or_else(|| Lease {
        metadata: ObjectMeta {
            name: Some(name.into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec::default()),
    });
    let spec = lease.spec.get_or_insert_default();
    let time = MicroTime(time);
    if !was_mine {
        spec.holder_identity = Some(me.into());
        spec.acquire_time = Some(time.clone());
        spec.lease_transitions =
            Some(before.map_or(0, |_| spec.lease_transitions.unwrap_or(0).saturating_add(1)));
    }
    spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
    spec.renew_time = Some(time);
    lease
}

pub(super) fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    Record {
        holder: spec
            .and_then(|spec| spec.holder_identity.as_deref())
            .filter(|holder| !holder.is_empty())
            .map(Arc::from),
        // A missing or senseless duration must not make it expire at once.
        duration: seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0)
            .map_or(DURATION, Duration::from_secs),
    }
}

/// A request within its time; errors as text, for the log.
pub(super) async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the keeper is the edge that tells the local time"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
