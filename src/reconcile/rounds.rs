//! What is desired and what is observed in; the changes that lead from one to the other, made or imagined, out.
//!
//! The dry run and the real run are one loop: a round is planned from what is observed, each answer is folded into
//! that, until a round is empty. A dry run folds imagined answers.

use std::time::Instant;

use portcullis_model::{
    ChangeSummary, Code, LoadBalancerId, Plan, Problem, Provider, ProviderError, Refusals, Retry,
};
use tracing::{info, warn};

use super::lease::Tenure;

/// Rounds until a plan counts as endless. The longest chain of resources that name each other is far shorter
/// (security group, load balancer, listener, rule), and each may be replaced once.
pub const MAX_ROUNDS: usize = 16;

/// Refused calls until a pass ends: far more than one that heeds what it was told comes to, for the rights to one
/// operation and the room for one kind are asked for five times at most.
const MOST_REFUSED: usize = 200;

/// What a dry run would do.
#[derive(Debug)]
pub struct Imagined<C> {
    /// In the order they would be made.
    pub changes: Vec<C>,
    /// What the provider cannot express.
    pub refused: Vec<Problem>,
    pub end: End,
}

/// How a plan came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Settled,
    /// There were still changes after [`MAX_ROUNDS`].
    Endless,
}

/// What a run did.
#[derive(Debug)]
pub struct Made {
    /// In the order they were made.
    pub changes: Vec<ChangeSummary>,
    /// What the provider cannot express, and what it refused.
    pub refused: Vec<Problem>,
    /// Calls that were refused: all that does not rely on them was made.
    pub failed: Vec<ProviderError>,
    /// Why it ended early.
    pub result: Result<(), ProviderError>,
}

/// What is planned, and how answers change it: that of one load balancer, or of what spans them.
#[derive(Debug)]
pub struct Work<P: Provider, O, F> {
    pub plan: F,
    pub fold: fn(&mut O, &P::Change, P::Answer),
    pub refusals: fn(&mut O) -> &mut Refusals<P::Change>,
}

/// Imagines every round. `plan` and `fold` are those of one load balancer, or of what spans them.
pub fn imagine<P: Provider, O>(
    observed: &mut O,
    plan: impl Fn(&O) -> (Plan<P::Change>, Vec<Problem>),
    fold: fn(&mut O, &P::Change, P::Answer),
) -> Imagined<P::Change> {
    let mut changes = Vec::new();
    let mut refused = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let round;
        (round, refused) = plan(observed);
        if round.is_empty() {
            return Imagined {
                changes,
                refused,
                end: End::Settled,
            };
        }
        for change in round.changes {
            fold(observed, &change, P::imagine(&change));
            changes.push(change);
        }
    }
    Imagined {
        changes,
        refused,
        end: End::Endless,
    }
}

/// Makes every round. A call that is refused is noted, and the next round is planned without it and what relies on it;
/// any other error ends it.
pub async fn make<P: Provider, O: Send, F>(
    provider: &P,
    tenure: &Tenure,
    observed: &mut O,
    work: Work<P, O, F>,
) -> Made
where
    F: Fn(&O) -> (Plan<P::Change>, Vec<Problem>) + Send,
{
    let mut made = Made {
        changes: Vec::new(),
        refused: Vec::new(),
        failed: Vec::new(),
        result: Ok(()),
    };
    let mut rounds = 0;
    'rounds: while rounds < MAX_ROUNDS {
        let round;
        (round, made.refused) = (work.plan)(observed);
        if round.is_empty() {
            return made;
        }
        for change in round.changes {
            // Asked at every call: a lease that is lost in the middle of a round ends the round there.
            let Some(claim) = tenure.claim(now()) else {
                made.result = Err(claim_lost());
                return made;
            };
            // Boxed: a cloud SDK's calls are large, and would otherwise lie on every stack up to the task's.
            match Box::pin(provider.apply(&claim, &change)).await {
                Ok(answer) => {
                    (work.fold)(observed, &change, answer);
                    info!(change = %change, "changed");
                    made.changes.push(P::summary(&change));
                }
                Err(error) if error.is_refusal() && made.failed.len() < MOST_REFUSED => {
                    warn!(change = %change, code = %error.code, error = &error as &dyn std::error::Error, "refused");
                    (work.refusals)(observed).note(change, error.clone());
                    made.failed.push(error);
                    // The rest of the round may rely on it.
                    continue 'rounds;
                }
                Err(error) => {
                    made.result = Err(error);
                    return made;
                }
            }
        }
        rounds += 1;
    }
    made.result = Err(ProviderError {
        code: Code::NotSettled,
        call: "plan",
        message: format!("there are still changes after {MAX_ROUNDS} rounds"),
        retry: Retry::Observe,
    });
    made
}

/// A provider that left one out of its answer.
pub fn not_observed(id: &LoadBalancerId) -> ProviderError {
    ProviderError {
        code: Code::RequestRefused,
        call: "observe",
        message: format!("nothing was answered about {id}"),
        retry: Retry::Backoff,
    }
}

/// What is answered where a change would be made without the right to make it.
pub(super) fn claim_lost() -> ProviderError {
    ProviderError {
        code: Code::ClaimLost,
        call: "lease",
        message: "the lease is not held any more".into(),
        retry: Retry::Observe,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a claim is asked for at the moment of the call"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
