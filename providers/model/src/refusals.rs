//! Calls that a provider refused during a pass in, what a plan goes on without out.

use crate::provider::ProviderError;

/// A call that was refused, and why. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused<C> {
    pub change: C,
    pub error: ProviderError,
}

/// What was refused since the pass began, in the order in which it was asked for. Kept with what is observed, so that
/// the next round is planned without it: the rest of a group does not wait for what one member cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals<C>(Vec<Refused<C>>);

impl<C> Default for Refusals<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C> Refusals<C> {
    pub fn note(&mut self, change: C, error: ProviderError) {
        self.0.push(Refused { change, error });
    }

    /// They may be asked for again.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets those of which this is not true.
    pub fn retain(&mut self, keep: impl FnMut(&Refused<C>) -> bool) {
        self.0.retain(keep);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Refused<C>> {
        self.0.iter()
    }
}

impl<C> FromIterator<Refused<C>> for Refusals<C> {
    fn from_iter<T: IntoIterator<Item = Refused<C>>>(refused: T) -> Self {
        Self(refused.into_iter().collect())
    }
}
