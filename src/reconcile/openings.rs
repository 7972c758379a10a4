//! What TargetGroupBindings ask to be open in, what of it is known out.

use std::sync::{Mutex, PoisonError};

use portcullis_model::{Opening, Provider, Semantics};

/// What bindings ask to be open, as far as it is known.
#[derive(Debug)]
pub struct Openings {
    semantics: Semantics,
    /// None before all bindings were listed.
    all: Mutex<Option<Vec<Opening>>>,
}

impl Openings {
    /// Nobody asks for any.
    pub fn none() -> Self {
        Self {
            semantics: Semantics::Kubernetes,
            all: Mutex::new(Some(Vec::new())),
        }
    }

    /// They are to be listed, and permissions for them laid out by this meaning.
    pub fn awaited(semantics: Semantics) -> Self {
        Self {
            semantics,
            all: Mutex::default(),
        }
    }

    pub fn are(&self, all: Vec<Opening>) {
        // One assignment: it is whole whatever panicked while it held the lock.
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = Some(all);
    }

    /// What they take of what spans load balancers.
    pub fn demand<P: Provider>(&self, provider: &P) -> Option<P::Demand> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.as_ref().map(|all| provider.keeps_open(all, self.semantics))
    }
}
