//! A running proxy in, what it serves and has done out; for whoever watches it while another holds the handle.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::counters::{Counters, Totals};
use crate::places::Places;
use crate::serving::ServingState;

/// Looks at a proxy and changes nothing of it; outlives it.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) live: Arc<ArcSwap<ServingState>>,
    pub(crate) counters: Arc<[Arc<Counters>]>,
    pub(crate) places: Arc<Places>,
    pub(crate) swapped: watch::Receiver<u64>,
    pub(crate) draining: watch::Receiver<Option<Instant>>,
}

impl View {
    /// How many times what is served was swapped since the start.
    pub fn version(&self) -> u64 {
        *self.swapped.borrow()
    }

    /// Whether it takes no more connections.
    pub fn is_draining(&self) -> bool {
        self.draining.borrow().is_some()
    }

    /// Sums over all workers since the start.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            target_files: self.places.taken(),
            target_files_lacked: self.places.lacked(),
            ..Totals::default()
        };
        for counters in &*self.counters {
            totals.add(counters);
        }
        totals
    }
}

impl fmt::Display for View {
    /// The table with its version, and targets as they fare.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "version {}", self.version())?;
        let state = self.live.load();
        write!(f, "{}", state.table())?;
        writeln!(f, "targets")?;
        state.show_targets(f)
    }
}
