//! Who may change things in, the task that keeps the lease out, ended last of all.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::Ended;
use crate::cluster::watch::Health;
use crate::reconcile::lease::Standing;
use crate::reconcile::lease::keep::{Keeper, Lost};

/// Who may change things.
pub enum Leadership {
    /// Who holds this lease. Its client must not retry: see [`Keeper`].
    Lease {
        client: Client,
        namespace: String,
        name: String,
    },
    /// This process, whatever others do.
    Alone,
}

impl std::fmt::Debug for Leadership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lease { namespace, name, .. } => write!(f, "Lease({namespace}/{name})"),
            Self::Alone => f.write_str("Alone"),
        }
    }
}

/// The keeper of the lease, if one is asked for.
pub(super) struct Tenancy {
    keeper: JoinSet<Result<(), Lost>>,
    stop: oneshot::Sender<()>,
    /// Without a keeper, somebody must hold this end: else it looks as if the process were ending.
    _standing: Option<watch::Sender<Standing>>,
}

impl Tenancy {
    pub(super) fn begin(
        leadership: Leadership,
        identity: &str,
        standing: watch::Sender<Standing>,
        health: Arc<Health>,
    ) -> Self {
        let mut keeper = JoinSet::new();
        let (stop, stopped) = oneshot::channel();
        let standing = match leadership {
            Leadership::Alone => Some(standing),
            Leadership::Lease {
                client,
                namespace,
                name,
            } => {
                let api: Api<Lease> = Api::namespaced(client, &namespace);
                keeper.spawn(Keeper::new(api, name, identity, standing, health).run(stopped));
                None
            }
        };
        Self {
            keeper,
            stop,
            _standing: standing,
        }
    }

    /// Waits until it ended unasked.
    pub(super) async fn ended(&mut self) -> Ended {
        match self.keeper.join_next().await {
            None => std::future::pending().await,
            Some(Ok(Ok(()))) => Ended::Task("lease"),
            Some(Ok(Err(lost))) => Ended::Lost(lost),
            Some(Err(panicked)) => Ended::Panicked(panicked),
        }
    }

    /// Gives the lease back.
    pub(super) async fn release(mut self) -> Result<(), Ended> {
        // Where nobody listens, there is no keeper.
        let _ = self.stop.send(());
        match self.keeper.join_next().await {
            None => Ok(()),
            Some(ended) => Ok(ended.map_err(Ended::Panicked)??),
        }
    }
}
