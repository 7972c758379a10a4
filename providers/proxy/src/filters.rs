//! The filters of a rule in, what they let pass and what they change of it out.
//!
//! A rule without any pays for a look at one pointer. What turns requests away comes before what costs more than it.

pub(crate) mod rate_limit;

use std::fmt;
use std::sync::Arc;

use portcullis_model as model;

use self::rate_limit::RateLimit;
use crate::answer::Failure;
use crate::exchange::Peer;
use crate::serving::ServingState;
use crate::worker::Worker;

/// The filters of a rule, compiled; shared by the rules of an object.
#[derive(Debug)]
pub(crate) struct Filters {
    asked: Arc<model::Filters>,
    rate_limit: Option<RateLimit>,
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.asked.fmt(f)
    }
}

impl Filters {
    pub(crate) fn new(filters: &Arc<model::Filters>) -> Self {
        let model::Filters { rate_limit } = &**filters;
        Self {
            asked: filters.clone(),
            rate_limit: rate_limit.as_ref().map(RateLimit::new),
        }
    }

    /// Whether requests are counted.
    pub(crate) fn counts(&self) -> bool {
        self.rate_limit.is_some()
    }

    /// Whether the request may go on.
    pub(crate) fn admit(&self, worker: &Worker, state: &ServingState, client: Peer) -> Result<(), Failure> {
        if let Some(limit) = &self.rate_limit {
            let admitted = limit.admit(state.rates(), client.address);
            admitted.inspect_err(|_| worker.counters.limited())?;
        }
        Ok(())
    }
}
