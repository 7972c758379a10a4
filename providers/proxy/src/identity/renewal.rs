//! A refresh token in, what the provider gives for it out: asked once, however many requests come with it.
//!
//! Browsers send several requests at a time, and many providers take a refresh token that comes twice for stolen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::Shared;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::seal::Name;
use super::token::Granted;
use crate::answer::Failure;
use crate::worker::Worker;

/// So long, requests with the old token get what was given for it.
const KEPT: Duration = Duration::from_secs(60);
/// So long, a provider that could not be asked is not asked for the same again.
const FAILED: Duration = Duration::from_secs(5);
/// Tokens under way or kept; more are told to come again.
const MOST: usize = 4_096;

#[derive(Clone)]
pub(crate) enum Renewal {
    Given(Arc<Granted>),
    /// The provider says that the session is over.
    Ended,
    /// It could not be asked.
    Failed,
}

type Asked = (Instant, Shared<oneshot::Receiver<Renewal>>);

/// Shared by all workers. Tokens are kept by names that their logins give them: what one provider calls a token may be another's
/// of another user.
#[derive(Default)]
pub(crate) struct Renewals(Mutex<HashMap<Name, Asked>>);

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
        token: Name,
        asking: impl Future<Output = Renewal> + 'static,
    ) -> Result<Renewal, Failure> {
        let answer = {
            // A panic leaves no half of an entry.
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match all.get(&token).filter(|asked| is_kept(asked)) {
                Some((_, answer)) => answer.clone(),
                None => {
                    // Tokens lie here no longer than they are of use.
                    all.retain(|_, asked| is_kept(asked));
                    if all.len() >= MOST {
                        return Err(Failure::overloaded("too many sessions are to be renewed"));
                    }
                    let (answering, answer) = oneshot::channel();
                    worker.apart.spawn(async move {
                        // Whoever waited may have left.
                        let _ = answering.send(asking.await);
                    });
                    let answer = answer.shared();
                    all.insert(token, (Instant::now(), answer.clone()));
                    answer
                }
            }
        };
        Ok(answer.await.unwrap_or(Renewal::Failed))
    }
}

fn is_kept((since, answer): &Asked) -> bool {
    let longest = match answer.peek() {
        Some(Ok(Renewal::Given(_) | Renewal::Ended)) => KEPT,
        Some(Ok(Renewal::Failed) | Err(_)) => FAILED,
        None => return true,
    };
    since.elapsed() < longest
}
