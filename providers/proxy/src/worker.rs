//! What the connections of one thread share.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::balance::Random;
use crate::counters::Counters;
use crate::pools::Pools;
use crate::serving::ServingState;
use crate::settings::Settings;
use crate::tasks::Tasks;

/// One thread's own: nothing here is shared with other workers but what is behind an `Arc`.
pub(crate) struct Worker {
    pub(crate) live: Arc<ArcSwap<ServingState>>,
    pub(crate) settings: Rc<Settings>,
    pub(crate) pools: Rc<Pools>,
    pub(crate) counters: Arc<Counters>,
    /// Connections from clients, upgraded ones included: what a drain waits for.
    pub(crate) clients: Tasks,
    pub(crate) random: Random,
    pub(crate) draining: watch::Receiver<Option<Instant>>,
}
