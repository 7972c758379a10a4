//! Users whom a provider sends back in, the gate that the login of each began at out.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::request::Parts;

use super::login::{CALLBACK, unknown};
use super::seal::SETTINGS;
use super::{Gate, form};
use crate::answer::Failure;

/// Gates that users are sent away from, by their marks. Two of one mark differ in nothing that a login knows of.
#[derive(Debug, Default)]
pub(crate) struct Logins(BTreeMap<String, Arc<Gate>>);

impl Logins {
    /// Of gates of one mark, the first.
    pub(crate) fn of(gates: impl IntoIterator<Item = Arc<Gate>>) -> Self {
        let mut marked = BTreeMap::new();
        for gate in gates {
            if let Some(mark) = gate.mark() {
                marked.entry(mark.to_owned()).or_insert(gate);
            }
        }
        Self(marked)
    }

    /// The gate to which a request brings a user back; none for requests that bring nobody back. It fails where the login
    /// began before another secret, or other times, were set: what the provider says of the user is for no backend.
    pub(crate) fn returns_to(&self, request: &Parts) -> Option<Result<&Arc<Gate>, Failure>> {
        if self.0.is_empty() || request.uri.path() != CALLBACK {
            return None;
        }
        let state = form::value(request.uri.query()?, "state")?;
        let mark = state.split_once('.')?.0;
        if let Some(gate) = self.0.get(mark) {
            return Some(Ok(gate));
        }
        let settings = mark.get(..SETTINGS)?;
        let (next, _) = self.0.range(settings.to_owned()..).next()?;
        next.starts_with(settings).then(|| Err(unknown()))
    }
}
