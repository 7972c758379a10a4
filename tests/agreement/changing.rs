//! Two load balancers in, the second planned where the first exists; whether any request gets a third answer on the
//! way, or is answered otherwise in the end than if the second had been made from nothing, out.

use portcullis_aws::observed::LoadBalancerState;
use portcullis_aws::resource::RuleArn;
use portcullis_aws::settings::BackendGroup;
use portcullis_aws::{Account, Answer, Observed, Owner, Settings, Shared, fold, imagine, plan};
use portcullis_model::LoadBalancer;
use proptest::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::alb::{Alb, Asked, Reading};
use crate::generate::{self, Case};
use crate::outcome::Outcome;
use crate::property::holds;
use crate::written;

const CLUSTER: &str = "test";

/// What exists of one load balancer, and everything that planning its changes reads.
struct World {
    settings: Settings,
    account: Account,
    shared: Shared,
    observed: Observed,
    calls: usize,
}

impl World {
    fn empty(balancer: &LoadBalancer) -> Self {
        let mut account = Account::offline(None);
        // Without room for old and new rules beside each other a gap is allowed.
        account.quotas.rules = 10_000;
        Self {
            settings: Settings {
                cluster: CLUSTER.to_owned(),
                // What spans load balancers is planned elsewhere.
                backend_group: BackendGroup::Off,
                ..Settings::default()
            },
            account,
            shared: Shared::nothing(CLUSTER),
            observed: Observed::nothing(Owner::load_balancer(CLUSTER, &balancer.id)),
            calls: 0,
        }
    }

    /// Makes it so, and shows what exists after every call.
    fn become_this(
        &mut self,
        balancer: &LoadBalancer,
        mut after_each: impl FnMut(&Self) -> Result<(), TestCaseError>,
    ) -> Result<(), TestCaseError> {
        for _ in 0..32 {
            let (round, _) = plan(
                &self.settings,
                &balancer.id,
                Some(balancer),
                &self.observed,
                &self.shared,
                &self.account,
            );
            if round.is_empty() {
                prop_assert!(
                    self.observed.load_balancer().is_some(),
                    "there is no load balancer"
                );
                return Ok(());
            }
            for change in &round.changes {
                self.calls += 1;
                let mut answer = imagine(change);
                // A rule that is there already may have the ARN that is imagined for a new one.
                if let Answer::Rule { arn } = &mut answer {
                    *arn = RuleArn::new(format!("{arn}#{}", self.calls));
                }
                fold(&mut self.observed, change, answer);
                after_each(self).map_err(|error| TestCaseError::fail(format!("after {change}:\n{error}")))?;
            }
        }
        Err(TestCaseError::fail("the plan does not come to an end"))
    }

    fn resources(&self) -> Vec<Value> {
        let state = self.observed.load_balancer();
        state.map(resources).unwrap_or_default()
    }

    /// What each request gets; nobody listens before there is a load balancer.
    fn answers(&self, balancer: &LoadBalancer, asked: &[Asked]) -> Result<Vec<Outcome>, TestCaseError> {
        let resources = self.resources();
        let alb = Alb::read(&resources).map_err(TestCaseError::fail)?;
        let https = |port: u64| {
            balancer
                .listeners
                .values()
                .any(|l| u64::from(l.port.get()) == port && l.is_https())
        };
        let outcome = |asked: &Asked| match alb.answer(asked, Reading::ALL[0]) {
            None => Ok(Outcome::NoListener),
            Some(answered) => {
                let outcome = Outcome::of_alb(answered.actions, asked, https(asked.port));
                outcome.map(Outcome::without_words).map(Outcome::without_idle)
            }
        };
        asked
            .iter()
            .map(|a| outcome(a).map_err(TestCaseError::fail))
            .collect()
    }
}

fn resources(state: &LoadBalancerState) -> Vec<Value> {
    fn resource(kind: &str, id: &str, spec: &impl Serialize) -> Value {
        json!({"kind": kind, "id": id, "spec": spec})
    }
    let mut out = Vec::new();
    for (port, listener) in &state.listeners {
        out.push(resource("Listener", &port.to_string(), &listener.spec));
        for rule in &listener.rules {
            let id = format!("{port}:{}", rule.spec.priority);
            out.push(resource("ListenerRule", &id, &rule.spec));
        }
    }
    out
}

#[test]
fn no_request_gets_a_third_answer_while_a_load_balancer_changes() {
    let either = || prop_oneof![2 => generate::case(), 1 => written::case()];
    let values = (either(), either()).boxed();
    holds("tests/regressions/changing.txt", 4, &values, |(first, second)| {
        let Case { balancer: first, .. } = first;
        let Case {
            balancer: second,
            requests,
        } = second;
        let asked: Vec<Asked> = requests.iter().map(Asked::of).collect();

        let mut made_new = World::empty(&second);
        made_new.become_this(&second, |_| Ok(()))?;
        let after = made_new.answers(&second, &asked)?;

        let mut world = World::empty(&first);
        world.become_this(&first, |_| Ok(()))?;
        let before = world.answers(&first, &asked)?;
        world.become_this(&second, |world| {
            let now = world.answers(&second, &asked)?;
            for (at, now) in now.iter().enumerate() {
                // A listener is made before its rules can be; nobody used its port.
                let right = *now == before[at] || *now == after[at] || before[at] == Outcome::NoListener;
                prop_assert!(
                    right,
                    "{:?}\n before {:?}\n now {:?}\n after {:?}",
                    asked[at],
                    before[at],
                    now,
                    after[at]
                );
            }
            Ok(())
        })?;
        prop_assert_eq!(world.answers(&second, &asked)?, after);
        Ok(())
    });
}
