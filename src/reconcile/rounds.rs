//! What is desired and what is observed in; the changes that lead from one to the other, made or imagined, out.
//!
//! The dry run and the real run are one loop: a round is planned from what is observed, each answer is folded into
//! that, until a round is empty. A dry run folds imagined answers.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use portcullis_model::{
    ChangeSummary, Code, LoadBalancerId, Plan, Problem, Provider, ProviderError, Refusals, Retry,
};
use tracing::{debug, info, warn};

use super::lease::Tenure;

/// Rounds until a plan counts as endless. The longest chain of resources that name each other is far shorter
/// (security group, load balancer, listener, rule), and each may be replaced once.
pub const MAX_ROUNDS: usize = 16;

/// Refused calls until a pass ends: far more than one that heeds what it was told comes to, for the rights to one
/// operation and the room for one kind are asked for five times at most.
const MOST_REFUSED: usize = 200;

/// Longest that one pass waits in all for calls that are throttled; its load balancer is busy as long.
const PATIENCE: Duration = Duration::from_secs(45);
/// First wait for a throttled call that says nothing of how long, before jitter; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest of them.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// How long a pass has waited for throttled calls.
#[derive(Debug, Default)]
struct Waited {
    tries: u32,
    time: Duration,
}

impl Waited {
    /// How long to wait before the call is made again; none where the pass has waited enough. `chance` is from 0 to 1:
    /// those that were throttled together must not come again together.
    fn again(&mut self, error: &ProviderError, chance: f64) -> Option<Duration> {
        let most = FIRST_WAIT
            .saturating_mul(1 << self.tries.min(10))
            .min(LONGEST_WAIT);
        let wait = match error.retry {
            Retry::After(asked) => asked + FIRST_WAIT.mul_f64(chance),
            Retry::Backoff | Retry::Later(_) | Retry::Observe | Retry::Never => most.mul_f64(chance),
        };
        self.tries += 1;
        self.time += wait;
        (error.code == Code::Throttled && !error.is_refusal() && self.time <= PATIENCE).then_some(wait)
    }
}

/// What a dry run would do.
#[derive(Debug)]
pub struct Imagined<C> {
    /// In the order they would be made.
    pub changes: Vec<C>,
    /// What the provider cannot express.
    pub refused: Vec<Problem>,
    pub end: End,
}

impl<C> Imagined<C> {
    pub fn nothing() -> Self {
        Self {
            changes: Vec::new(),
            refused: Vec::new(),
            end: End::Settled,
        }
    }
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
    let (mut rounds, mut waited) = (0, Waited::default());
    'rounds: while rounds < MAX_ROUNDS {
        let round;
        (round, made.refused) = (work.plan)(observed);
        if round.is_empty() {
            return made;
        }
        for change in round.changes {
            let applied = loop {
                let applied = match provider.turn(&change).await {
                    Ok(()) => {
                        // Asked at every call: a lease that is lost in the middle of a round ends the round there.
                        let Some(claim) = tenure.claim(now()) else {
                            made.result = Err(claim_lost());
                            return made;
                        };
                        // Boxed: a cloud SDK's calls are large, and would otherwise lie on every stack up to the task's.
                        Box::pin(provider.apply(&claim, &change)).await
                    }
                    Err(error) => Err(error),
                };
                match applied {
                    // Nothing was done, and all before it was: the pass goes on where it stands.
                    Err(error) if let Some(wait) = waited.again(&error, chance()) => {
                        debug!(change = %change, wait_ms = wait.as_millis(), "throttled");
                        tokio::time::sleep(wait).await;
                    }
                    applied => break applied,
                }
            };
            match applied {
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

/// What a load balancer that does not exist needs to be made is not there. Whoever provides it may do so out there, where
/// no event tells.
pub fn cannot_be_made(why: &Problem) -> ProviderError {
    ProviderError {
        code: why.code,
        call: "plan",
        message: format!("it cannot be made: {}", why.message),
        retry: Retry::Later(UNMADE_DELAY),
    }
}

/// After which it is looked for anew.
const UNMADE_DELAY: Duration = Duration::from_secs(300);

/// A load balancer that nobody asks for is kept from being deleted, which its problems say.
pub fn stands(id: &LoadBalancerId) -> ProviderError {
    ProviderError {
        code: Code::DeletionProtected,
        call: "plan",
        message: format!("{id} is kept from being deleted"),
        retry: Retry::Backoff,
    }
}

/// What is left of a load balancer is used by what spans others, and that cannot be taken back yet.
pub fn waits_for_others(id: &LoadBalancerId) -> ProviderError {
    ProviderError {
        code: Code::StillInUse,
        call: "plan",
        message: format!("what is left of {id} is still used by what load balancers have in common"),
        retry: Retry::Backoff,
    }
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

/// From 0 to 1. A new state of the standard hasher is random.
fn chance() -> f64 {
    let random = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(random).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled(retry: Retry) -> ProviderError {
        ProviderError {
            code: Code::Throttled,
            call: "elbv2:CreateRule",
            message: "Throttling: Rate exceeded".into(),
            retry,
        }
    }

    #[test]
    fn a_throttled_call_is_made_again_more_and_more_slowly_and_not_for_ever() {
        let mut waited = Waited::default();
        let error = throttled(Retry::Backoff);
        let waits: Vec<u128> = std::iter::repeat_with(|| waited.again(&error, 1.0))
            .map_while(|wait| wait.map(|wait| wait.as_millis()))
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000, 8000, 8000]);
        assert_eq!(Waited::default().again(&error, 0.0), Some(Duration::ZERO));
    }

    #[test]
    fn a_time_that_was_asked_for_is_waited_for_if_it_is_short() {
        for (asked, want) in [(3, Some(3)), (45, Some(45)), (46, None)] {
            let error = throttled(Retry::After(Duration::from_secs(asked)));
            let wait = Waited::default().again(&error, 0.0);
            assert_eq!(wait, want.map(Duration::from_secs), "{asked} s");
        }
    }

    #[test]
    fn other_errors_are_not_waited_for() {
        let error = ProviderError {
            code: Code::Unavailable,
            ..throttled(Retry::Observe)
        };
        assert_eq!(Waited::default().again(&error, 0.5), None);
    }
}
