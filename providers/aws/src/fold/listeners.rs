//! Listeners and rules as observed, a call about them and its answer in, what is observed of them then out.

use crate::change::{Answer, Call};
use crate::names;
use crate::observed::{ListenerState, LoadBalancerState, Looked, Observed, Owned, RuleState};
use crate::resource::{CertificateRef, ListenerSpec, LoadBalancerArn, Pairs, RuleSpec, sent};

fn listeners(observed: &mut Observed) -> impl Iterator<Item = &mut ListenerState> {
    let all = observed.load_balancers.iter_mut().map(Owned::get_mut);
    all.flat_map(|state| state.listeners.values_mut())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other call leaves listeners alone"
)]
pub(super) fn listener(observed: &mut Observed, call: &Call, answer: Answer) {
    match call {
        Call::CreateListener {
            load_balancer: parent,
            spec,
        } => {
            if let (Some(state), Answer::Listener { arn }) = (parent_of(observed, parent), answer) {
                let mut spec = spec.clone();
                spec.certificates.truncate(1);
                spec.default_actions = sent(&spec.default_actions);
                state.listeners.insert(
                    spec.port,
                    ListenerState {
                        arn,
                        spec,
                        attributes: Looked::At(Pairs::default()),
                        rules: Vec::new(),
                    },
                );
            }
        }
        Call::ModifyListener { arn, spec } => {
            if let Some(state) = listeners(observed).find(|l| l.arn == *arn) {
                let default = spec.certificates.iter().take(1);
                let extra = state.spec.certificates.iter().skip(1);
                let certificates = default.chain(extra).cloned().collect();
                let tags = state.spec.tags.clone();
                state.spec = ListenerSpec {
                    certificates,
                    tags,
                    default_actions: sent(&spec.default_actions),
                    ..spec.clone()
                };
            }
        }
        Call::ModifyListenerAttributes { arn, attributes } => {
            if let Some(state) = listeners(observed).find(|l| l.arn == *arn) {
                match &mut state.attributes {
                    Looked::At(had) => had.0.extend(attributes.0.clone()),
                    unknown => *unknown = Looked::At(attributes.clone()),
                }
            }
        }
        Call::AddListenerCertificates { arn, certificate } => {
            if let Some(state) = listeners(observed).find(|l| l.arn == *arn) {
                state.spec.certificates.push(CertificateRef {
                    certificate_arn: certificate.clone(),
                });
            }
        }
        Call::RemoveListenerCertificates { arn, certificate } => {
            if let Some(state) = listeners(observed).find(|l| l.arn == *arn) {
                let mut place = 0;
                state.spec.certificates.retain(|had| {
                    place += 1;
                    // The first is the default one, which ModifyListener alone changes.
                    place == 1 || had.certificate_arn != *certificate
                });
            }
        }
        Call::DeleteListener { arn } => {
            for owned in &mut observed.load_balancers {
                owned
                    .get_mut()
                    .listeners
                    .retain(|_, listener| listener.arn != *arn);
            }
        }
        _ => {}
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other call leaves rules alone"
)]
pub(super) fn rule(observed: &mut Observed, call: &Call, answer: Answer) {
    match call {
        Call::CreateRule { listener, spec } => {
            let parent = listeners(observed).find(|l| l.arn == *listener);
            if let (Some(state), Answer::Rule { arn }) = (parent, answer) {
                state.rules.push(RuleState {
                    arn,
                    spec: RuleSpec {
                        actions: sent(&spec.actions),
                        ..spec.clone()
                    },
                });
            }
        }
        Call::ModifyRule {
            arn,
            conditions,
            actions,
            transforms,
        } => {
            for rule in listeners(observed)
                .flat_map(|l| &mut l.rules)
                .filter(|rule| rule.arn == *arn)
            {
                rule.spec.conditions.clone_from(conditions);
                rule.spec.actions = sent(actions);
                rule.spec.transforms.clone_from(transforms);
            }
        }
        Call::SetRulePriorities { priorities } => {
            for (arn, priority) in priorities {
                for rule in listeners(observed)
                    .flat_map(|l| &mut l.rules)
                    .filter(|rule| rule.arn == *arn)
                {
                    rule.spec.priority = *priority;
                }
            }
        }
        Call::DeleteRule { arn } => {
            for listener in listeners(observed) {
                listener.rules.retain(|rule| rule.arn != *arn);
            }
        }
        _ => {}
    }
    for listener in listeners(observed) {
        listener.rules.sort_by_key(|rule| rule.spec.priority);
    }
}

fn parent_of<'a>(observed: &'a mut Observed, arn: &LoadBalancerArn) -> Option<&'a mut LoadBalancerState> {
    let mut all = observed.load_balancers.iter_mut().map(Owned::get_mut);
    all.find(|state| state.arn == *arn)
}

/// Tags of any resource of ELBv2, whose ARNs are unique among all of them.
pub(super) fn retag(observed: &mut Observed, arn: &str, edit: impl Fn(&mut Pairs)) {
    let named = |known: &str| known == arn;
    for owned in &mut observed.target_groups {
        let state = owned.get_mut();
        if named(state.arn.as_str()) {
            edit(&mut state.spec.tags);
            if let Some(resource) = state.spec.tags.get(names::RESOURCE_TAG).map(str::to_owned) {
                owned.rename(&resource);
            }
        }
    }
    for owned in &mut observed.load_balancers {
        if named(owned.get().arn.as_str()) {
            let tags = &mut owned.get_mut().spec.tags;
            edit(tags);
            if let Some(resource) = tags.get(names::RESOURCE_TAG).map(str::to_owned) {
                owned.rename(&resource);
            }
        }
        let state = owned.get_mut();
        for listener in state.listeners.values_mut() {
            if named(listener.arn.as_str()) {
                edit(&mut listener.spec.tags);
            }
            for rule in &mut listener.rules {
                if named(rule.arn.as_str()) {
                    edit(&mut rule.spec.tags);
                }
            }
        }
    }
}
