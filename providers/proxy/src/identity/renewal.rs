//! A refresh token in, what the provider gives for it out: asked once, however many requests come with it.
//!
//! Browsers send several requests at a time, and many providers take a refresh token that comes twice for stolen.

mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::Shared;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::table::Table;
use super::seal::Name;
use super::token::Granted;
use crate::answer::Failure;
use crate::worker::Worker;

/// So long, requests with the old token get what was given for it, unless others need the room.
const KEPT: Duration = Duration::from_secs(60);
/// So long, a provider that could not be asked is not asked for the same again.
const FAILED: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) enum Renewal {
    Given(Arc<Granted>),
    /// The provider says that the session is over.
    Ended,
    /// It could not be asked.
    Failed,
}

type All = Mutex<Table<Shared<oneshot::Receiver<Renewal>>>>;

/// Shared by all workers. Tokens are kept by names that their logins give them: what one provider calls a token may be another's
/// of another user.
#[derive(Default)]
pub(crate) struct Renewals(Arc<All>);

impl std::fmt::Debug for Renewals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewals").finish_non_exhaustive()
    }
}

impl Renewals {
    /// What `asking` gives for the token of this name, apart from the requests that wait for it, so that none who leaves undoes it.
    pub(crate) async fn once(
        &self,
        worker: &Worker,
        (login, token): (Name, Name),
        asking: impl Future<Output = Renewal> + 'static,
    ) -> Result<Renewal, Failure> {
        let (answering, answer) = oneshot::channel();
        let now = Instant::now();
        let (answer, is_new) = {
            let mut all = lock(&self.0);
            match all.get(&token, now) {
                Some(answer) => (answer, false),
                None => {
                    let answer = answer.shared();
                    if !all.enter(login, token, answer.clone(), now) {
                        return Err(Failure::overloaded("too many sessions are to be renewed"));
                    }
                    (answer, true)
                }
            }
        };
        if is_new {
            let end = End {
                all: self.0.clone(),
                token,
                kept: FAILED,
            };
            worker.apart.spawn(async move {
                let renewal = asking.await;
                end.with(&renewal);
                // Whoever waited may have left.
                let _ = answering.send(renewal);
            });
        }
        Ok(answer.await.unwrap_or(Renewal::Failed))
    }
}

/// Ends what was entered, also where the task that asks panics or is given up.
struct End {
    all: Arc<All>,
    token: Name,
    kept: Duration,
}

impl End {
    fn with(mut self, renewal: &Renewal) {
        self.kept = match renewal {
            Renewal::Given(_) | Renewal::Ended => KEPT,
            Renewal::Failed => FAILED,
        };
    }
}

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.all).end(&self.token, Instant::now() + self.kept);
    }
}

fn lock<T>(all: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves no half of an entry.
    all.lock().unwrap_or_else(PoisonError::into_inner)
}
