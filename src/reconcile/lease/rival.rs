//! The lease of a controller that must not change things beside this one in, whether it may out.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use portcullis_model::ObjectName;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::keep::{now, record, within};
use super::{Decision, RETRY, decide};
use crate::cluster::watch::Health;

/// As it is waited for.
const KIND: &str = "AWS Load Balancer Controller";
/// Time between two looks while nobody holds it: who starts the other controller again is noticed so late.
const FREE: Duration = Duration::from_secs(10);
/// The name of a holder that there cannot be: whatever holds the lease is another.
const NOBODY: &str = "";

/// Whether the other controller leaves things to us.
#[derive(Clone, Debug)]
pub struct Rival(Option<watch::Receiver<bool>>);

impl Rival {
    /// There is none to wait for.
    pub fn none() -> Self {
        Self(None)
    }

    /// Not known yet, so not. What is sent there is for [`follow`].
    pub fn unknown(health: &Health, lease: &ObjectName) -> (watch::Sender<bool>, Self) {
        health.waits(
            KIND,
            format!("whether its lease {lease} is renewed is not known yet"),
        );
        let (sender, receiver) = watch::channel(false);
        (sender, Self(Some(receiver)))
    }

    pub fn is_gone(&self) -> bool {
        self.0.as_ref().is_none_or(|gone| *gone.borrow())
    }

    /// Waits until it comes or goes.
    pub async fn changed(&mut self) {
        let changed = match &mut self.0 {
            Some(gone) => gone.changed().await.is_ok(),
            None => false,
        };
        // Nobody looks any more: the controller is stopping.
        if !changed {
            std::future::pending::<()>().await;
        }
    }
}

/// What must not be changed while another controller runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contested {
    Everything,
    /// Those that users wrote; load balancers are told apart by their tags.
    TargetGroupBindings,
}

impl Contested {
    fn as_str(self) -> &'static str {
        match self {
            Self::Everything => "nothing is changed",
            Self::TargetGroupBindings => "no TargetGroupBinding is served",
        }
    }
}

/// Looks at the lease for as long as anybody listens. A lease that cannot be read counts as held until it was read once,
/// and then as it was last.
pub async fn follow(
    client: Client,
    lease: ObjectName,
    contested: Contested,
    health: &Health,
    gone: watch::Sender<bool>,
) {
    let idle = contested.as_str();
    let api: Api<Lease> = Api::namespaced(client, &lease.namespace);
    let mut seen: Option<(Lease, Instant)> = None;
    let mut runs: Option<String> = None;
    loop {
        let pause = match within(api.get_opt(&lease.name)).await {
            Ok(found) => {
                let since = |found: &Lease| match &seen {
                    Some((known, at))
                        if record(known) == record(found) && renewed(known) == renewed(found) =>
                    {
                        *at
                    }
                    Some(_) | None => now(),
                };
                seen = found.map(|found| {
                    let at = since(&found);
                    (found, at)
                });
                let last = seen.as_ref().map(|(lease, _)| record(lease));
                let seen_at = seen.as_ref().map_or_else(now, |(_, at)| *at);
                match decide(last.as_ref(), seen_at, NOBODY, now()) {
                    Decision::Wait(at) => {
                        let holder = last.and_then(|last| last.holder);
                        let holder = holder.as_deref().unwrap_or_default().to_owned();
                        health.waits(
                            KIND,
                            format!(
                                "{holder} holds its lease {lease}, and {idle} beside it: scale it to zero"
                            ),
                        );
                        if runs.as_ref() != Some(&holder) {
                            warn!(%lease, holder, "the AWS Load Balancer Controller holds its lease: {idle} until that is given back or has run out");
                            runs = Some(holder);
                        }
                        gone.send_if_modified(|gone| std::mem::replace(gone, false));
                        at.saturating_duration_since(now())
                    }
                    Decision::Acquire | Decision::Renew => {
                        health.known(KIND);
                        let came = gone.send_if_modified(|gone| !std::mem::replace(gone, true));
                        if came {
                            info!(%lease, "the AWS Load Balancer Controller does not run");
                            runs = None;
                        }
                        FREE
                    }
                }
            }
            Err(error) => {
                if *gone.borrow() {
                    debug!(%lease, error, "the AWS Load Balancer Controller's lease was not read");
                } else {
                    warn!(%lease, error, "the AWS Load Balancer Controller's lease was not read");
                    health.still_waits(KIND, format!("its lease {lease} was not read: {error}"));
                }
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = gone.closed() => return,
        }
    }
}

/// Differs whenever its holder wrote it; what others write at it, such as labels, does not count.
fn renewed(lease: &Lease) -> Option<String> {
    let time = lease.spec.as_ref()?.renew_time.as_ref()?;
    Some(time.0.to_string())
}
