//! Connections that are not used in, the place of one of them for another out, where there is no other.

use std::rc::Rc;

use super::{ConnectError, Multiplexed, Pools, Shared};
use crate::http1::let_go_of_pipes;
use crate::places::Place;

/// How often a connection gets its turn before it is no longer waited for that it closes: with hyper it takes two.
const TURNS: usize = 8;

impl Pools {
    /// For one connection more. Where there is none, the connections of this worker that are not used give theirs up, the
    /// longest unused first.
    pub(super) async fn place(&self) -> Result<Place, ConnectError> {
        if let Some(place) = self.places.take() {
            return Ok(place);
        }
        while self.close_one() {
            // Those that hyper drives are closed at their tasks' next turns.
            for _ in 0..TURNS {
                if let Some(place) = self.places.take() {
                    return Ok(place);
                }
                tokio::task::yield_now().await;
            }
        }
        self.places.lacked_one();
        Err(ConnectError::Full)
    }

    /// Closes what is not used, and has not been for the longest; whether there was anything.
    fn close_one(&self) -> bool {
        if let_go_of_pipes() {
            return true;
        }
        let (mut http1, http2) = (self.http1.borrow_mut(), self.http2.borrow());
        // Within a list, the first is the longest unused.
        let one = http1
            .iter()
            .filter_map(|(key, kept)| Some((kept.first()?.since, key)));
        let one = one.min_by_key(|(since, _)| *since);
        let unused = |shared: &Rc<Shared>| {
            let connections = shared.connections.borrow();
            let unused = connections.iter().filter(|c| c.streams.count.get() == 0);
            unused.map(|c| c.streams.unused_since.get()).min()
        };
        let other = http2
            .values()
            .filter_map(|shared| Some((unused(shared)?, shared)));
        let other = other.min_by_key(|(since, _)| *since);
        match (one, other) {
            (Some((since, key)), other) if other.is_none_or(|(than, _)| since <= than) => {
                let key = key.clone();
                if let Some(kept) = http1.get_mut(&key) {
                    kept.remove(0);
                }
            }
            (_, Some((since, shared))) => {
                let is_it =
                    |c: &Multiplexed| c.streams.count.get() == 0 && c.streams.unused_since.get() == since;
                shared.connections.borrow_mut().retain(|c| !is_it(c));
            }
            (_, None) => return false,
        }
        true
    }
}
