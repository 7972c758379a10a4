//! Good values that were applied, then bad ones in, what is taken away or changed out: nothing of what exists.

use std::collections::BTreeMap;

use portcullis_aws::observed::{LoadBalancerState, RuleState};
use portcullis_aws::resource::{Id, RuleCondition};
use portcullis_aws::{
    Account, Answer, Change, Observed, Owner, Settings, Shared, demand, fold, fold_shared, imagine, plan,
    plan_shared,
};
use portcullis_model::LoadBalancer;

/// The imagined answer, with an ARN that nothing else has: of a load balancer there may be two for a while.
fn distinct(change: &Change, call: usize) -> Answer {
    match imagine(change) {
        Answer::LoadBalancer { arn, dns_name, tags } => Answer::LoadBalancer {
            arn: Id::new(format!("{arn}#{call}")),
            dns_name: format!("{dns_name}#{call}"),
            tags,
        },
        Answer::TargetGroup { arn, tags } => Answer::TargetGroup {
            arn: Id::new(format!("{arn}#{call}")),
            tags,
        },
        Answer::Listener { arn } => Answer::Listener {
            arn: Id::new(format!("{arn}#{call}")),
        },
        Answer::Rule { arn } => Answer::Rule {
            arn: Id::new(format!("{arn}#{call}")),
        },
        other @ (Answer::Done
        | Answer::SecurityGroup { .. }
        | Answer::Certificate { .. }
        | Answer::Protection { .. }) => other,
    }
}

/// An account with what was made in it.
pub(crate) struct Existing {
    settings: Settings,
    account: Account,
    observed: BTreeMap<String, Observed>,
    shared: Shared,
    /// So far: no two resources have one ARN.
    made: usize,
}

impl Existing {
    pub(crate) fn nothing() -> Self {
        let settings = Settings::default();
        Self {
            account: Account::offline(None),
            observed: BTreeMap::new(),
            shared: Shared::nothing(&settings.cluster),
            made: 0,
            settings,
        }
    }

    /// Brings it to what these ask for, in imagination, and answers the calls, such as `elbv2:CreateRule 80:1`.
    pub(crate) fn apply(&mut self, balancers: &[LoadBalancer]) -> Vec<String> {
        let mut calls = Vec::new();
        for _ in 0..64 {
            let before = calls.len();
            let needs = balancers.iter().map(|balancer| {
                let observed = self.observed.get(&balancer.id.to_string());
                let needs = demand(&self.settings, balancer, observed, &self.account);
                (balancer.id.clone(), needs)
            });
            let needs = needs.collect();
            for change in plan_shared(&self.settings, &needs, &self.shared, &self.account)
                .0
                .changes
            {
                calls.push(format!("{} {}", change.call.name(), change.id));
                fold_shared(&mut self.shared, &change, imagine(&change));
            }
            for balancer in balancers {
                let owner = Owner::load_balancer(&self.settings.cluster, &balancer.id);
                let observed = self.observed.entry(balancer.id.to_string());
                let observed = observed.or_insert_with(|| Observed::nothing(owner));
                let desired = Some(balancer);
                let (settings, account) = (&self.settings, &self.account);
                let round = plan(settings, &balancer.id, desired, observed, &self.shared, account).0;
                for change in round.changes {
                    calls.push(format!("{} {}", change.call.name(), change.id));
                    self.made += 1;
                    let answer = distinct(&change, self.made);
                    fold(observed, &change, answer);
                }
            }
            if calls.len() == before {
                return calls;
            }
        }
        panic!("not settled: {calls:#?}");
    }

    /// Of the group: who finds the way to it, and the addresses it is found at.
    pub(crate) fn reach(&self) -> Vec<String> {
        let all = self.observed["g"].load_balancers.iter().map(|owned| owned.get());
        all.map(|state: &LoadBalancerState| {
            let spec = &state.spec;
            let ports: Vec<&u16> = state.listeners.keys().collect();
            format!(
                "{} {:?} {:?} {:?} {:?} {:?} {ports:?}",
                state.dns_name,
                spec.scheme,
                spec.ip_address_type,
                spec.subnets,
                spec.security_groups,
                spec.tags
            )
        })
        .collect()
    }

    /// Of the group: what answers for a host, at each port.
    pub(crate) fn rules(&self, host: &str) -> Vec<String> {
        let state = self.observed["g"].load_balancer().unwrap();
        let is_of = |rule: &&RuleState| {
            let hosts = |condition: &RuleCondition| matches!(condition, RuleCondition::HostHeader { config } if config.list().contains(&host.to_owned()));
            rule.spec.conditions.iter().any(hosts)
        };
        let listeners = state.listeners.iter();
        let all = listeners.flat_map(|(port, listener)| listener.rules.iter().map(move |rule| (port, rule)));
        all.filter(|(_, rule)| is_of(rule))
            .map(|(port, rule)| format!("{port} {:?} {:?}", rule.spec.conditions, rule.spec.actions))
            .collect()
    }
}
