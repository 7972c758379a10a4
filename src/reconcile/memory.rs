//! What passes last saw in, what the next pass need not ask for out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_model::{Existing, LoadBalancerId, Provider, ProviderError, Retry};

/// One load balancer as a pass left it.
pub struct Known<P: Provider> {
    pub observed: P::Observed,
    /// The fingerprint and the demand for which nothing was left to do; none where something may be.
    pub settled: Option<(String, P::Demand)>,
}

impl<P: Provider> Known<P> {
    /// Of which something may be left to do.
    pub fn unsettled(observed: P::Observed) -> Self {
        Self {
            observed,
            settled: None,
        }
    }
}

impl<P: Provider> fmt::Debug for Known<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known")
            .field("settled", &self.settled.is_some())
            .finish_non_exhaustive()
    }
}

/// All of them. A pass takes what is known and puts it back when it ends well; after an error it does not, for then
/// nobody knows.
pub struct Memory<P: Provider>(Mutex<State<P>>);

struct State<P: Provider> {
    known: BTreeMap<LoadBalancerId, Known<P>>,
    /// Grows whenever a pass takes, puts or drops what is known.
    editions: BTreeMap<LoadBalancerId, u64>,
    /// The fingerprint and the demand for which calls were refused, where the last pass ended so.
    refused: BTreeMap<LoadBalancerId, (String, P::Demand)>,
    /// Calls and messages of refusals after which what exists was read again.
    mistaken: BTreeMap<LoadBalancerId, BTreeSet<(&'static str, String)>>,
    /// By name.
    backends: BTreeMap<String, Remembered>,
}

/// When a refusal that comes back after what exists was read is looked into again.
const REPEATED: Duration = Duration::from_secs(300);

/// What became of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    Exists(LoadBalancerId, Existing),
    Former,
}

impl<P: Provider> fmt::Debug for Memory<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl<P: Provider> Default for Memory<P> {
    fn default() -> Self {
        Self(Mutex::new(State {
            known: BTreeMap::new(),
            editions: BTreeMap::new(),
            refused: BTreeMap::new(),
            mistaken: BTreeMap::new(),
            backends: BTreeMap::new(),
        }))
    }
}

impl<P: Provider> Memory<P> {
    pub fn take(&self, id: &LoadBalancerId) -> Option<Known<P>> {
        let mut state = self.state();
        state.turn_page(id);
        state.refused.remove(id);
        state.known.remove(id)
    }

    /// Answers a question about what is known.
    pub fn look<T>(&self, id: &LoadBalancerId, ask: impl FnOnce(Option<&P::Observed>) -> T) -> T {
        ask(self.state().known.get(id).map(|known| &known.observed))
    }

    pub fn put(&self, id: &LoadBalancerId, known: Known<P>) {
        let mut state = self.state();
        state.turn_page(id);
        state.rename(id, P::backends(&known.observed));
        state.known.insert(id.clone(), known);
    }

    /// A refusal for which what exists is to be read again, and that comes back the same after that, is no mistake of ours:
    /// nothing else of the load balancer waits for another reading then.
    pub fn judge_repeated(&self, id: &LoadBalancerId, failed: &mut [ProviderError]) {
        let is_mistaken = |error: &&mut ProviderError| error.retry == Retry::Observe;
        let key = |error: &ProviderError| (error.call, error.message.clone());
        let now: BTreeSet<_> = failed
            .iter_mut()
            .filter(is_mistaken)
            .map(|error| key(error))
            .collect();
        let before = {
            let mut state = self.state();
            let before = state.mistaken.remove(id).unwrap_or_default();
            if !now.is_empty() {
                state.mistaken.insert(id.clone(), now);
            }
            before
        };
        for error in failed.iter_mut().filter(is_mistaken) {
            if before.contains(&key(error)) {
                error.retry = Retry::Later(REPEATED);
            }
        }
    }

    /// The backend of this name, as the last pass that ended well left it.
    pub fn backend(&self, name: &str) -> Option<Remembered> {
        self.state().backends.get(name).cloned()
    }

    /// Forgets backends that exist no more and that nobody asks about.
    pub fn keep_former(&self, asked: impl Fn(&str) -> bool) {
        let keeps = |name: &String, known: &mut Remembered| *known != Remembered::Former || asked(name);
        self.state().backends.retain(keeps);
    }

    /// Nothing of it exists any more: that is known, so that one that is made anew need not be looked for.
    pub fn gone(&self, id: &LoadBalancerId, nothing: P::Observed) {
        self.drop(id);
        let known = Known {
            observed: nothing,
            settled: None,
        };
        self.put(id, known);
    }

    /// Forgets load balancers of which nothing exists, and for which nobody asks.
    pub fn keep(&self, asked: impl Fn(&LoadBalancerId) -> bool) {
        let mut state = self.state();
        let gone = |known: &Known<P>| P::inventory(&known.observed).is_empty();
        state.known.retain(|id, known| asked(id) || !gone(known));
    }

    /// The pass ended without calls that were refused.
    pub fn note_refused(&self, id: &LoadBalancerId, fingerprint: String, demand: P::Demand) {
        self.state().refused.insert(id.clone(), (fingerprint, demand));
    }

    /// Whether the last pass, with this fingerprint and demand, ended without calls that were refused.
    pub fn was_refused(&self, id: &LoadBalancerId, fingerprint: &str, demand: &P::Demand) -> bool {
        let state = self.state();
        let refused = state.refused.get(id);
        refused.is_some_and(|(known, needs)| known == fingerprint && needs == demand)
    }

    /// Nobody knows any more.
    pub fn drop(&self, id: &LoadBalancerId) {
        self.take(id);
    }

    /// Nobody asks any more; that nothing exists is still worth knowing.
    pub fn forget(&self, id: &LoadBalancerId) {
        let mut state = self.state();
        let gone = |known: &Known<P>| P::inventory(&known.observed).is_empty();
        if !state.known.get(id).is_some_and(gone) {
            state.turn_page(id);
            state.known.remove(id);
        }
        state.refused.remove(id);
        state.mistaken.remove(id);
    }

    /// Whether for this fingerprint and demand nothing was left to do; none where nothing is known.
    pub fn settled_at(&self, id: &LoadBalancerId, fingerprint: &str, demand: &P::Demand) -> Option<bool> {
        let state = self.state();
        let settled = state.known.get(id)?.settled.as_ref();
        Some(settled.is_some_and(|(known, needs)| known == fingerprint && needs == demand))
    }

    /// The edition of what is known, to be handed to [`Memory::replace`].
    pub fn edition(&self, id: &LoadBalancerId) -> u64 {
        self.state().editions.get(id).copied().unwrap_or_default()
    }

    /// What was read since that edition, unless a pass came between: then the reading may be older than what it did.
    /// The next pass plans anew.
    pub fn replace(&self, id: &LoadBalancerId, edition: u64, observed: P::Observed) {
        let mut state = self.state();
        if state.editions.get(id).copied().unwrap_or_default() != edition {
            return;
        }
        let known = Known {
            observed,
            settled: None,
        };
        state.known.insert(id.clone(), known);
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Provider> State<P> {
    fn turn_page(&mut self, id: &LoadBalancerId) {
        *self.editions.entry(id.clone()).or_default() += 1;
    }

    /// These are the backends of a load balancer now; others that it had are former ones.
    fn rename(&mut self, id: &LoadBalancerId, now: Vec<Existing>) {
        for known in self.backends.values_mut() {
            if matches!(known, Remembered::Exists(of, _) if of == id) {
                *known = Remembered::Former;
            }
        }
        for backend in now {
            let name = backend.name.clone();
            self.backends
                .insert(name, Remembered::Exists(id.clone(), backend));
        }
    }
}

#[cfg(all(test, feature = "aws"))]
mod tests {
    use portcullis_model::Code;

    use super::*;

    #[test]
    fn what_is_refused_again_after_a_reading_makes_nothing_else_wait() {
        let memory = Memory::<portcullis_aws::Aws>::default();
        let id = LoadBalancerId::parse("shop/web");
        let judged = |messages: &[&'static str]| -> Vec<bool> {
            let error = |message: &&'static str| ProviderError {
                code: Code::ConflictingChange,
                call: "elbv2:SetSecurityGroups",
                message: (*message).to_owned(),
                retry: Retry::Observe,
            };
            let mut failed: Vec<_> = messages.iter().map(error).collect();
            memory.judge_repeated(&id, &mut failed);
            failed.iter().map(|error| error.retry == Retry::Observe).collect()
        };
        for (refused, reads_again) in [
            (&["a"][..], &[true][..]),
            (&["a", "b"], &[false, true]),
            (&["a", "b"], &[false, false]),
            (&[], &[]),
            // It went well in between.
            (&["a"], &[true]),
        ] {
            assert_eq!(judged(refused), reads_again, "{refused:?}");
        }
    }
}
