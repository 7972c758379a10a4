//! The tags of what exists as desired and as they are in, calls that write the difference out.

use std::collections::BTreeSet;

use super::{Round, certificates, change, field};
use crate::change::{Call, Change};
use crate::names;
use crate::resource::{Kind, Pairs, kind};

/// Tags that others read and write; they are never removed, as the incumbent never removes them.
const OTHERS: [&str; 5] = [
    "kubernetes.io/cluster-name",
    "kubernetes.io/namespace",
    "kubernetes.io/ingress-name",
    "kubernetes.io/service-name",
    "kubernetes.io/service-port",
];

pub(crate) fn is_others(key: &str) -> bool {
    OTHERS.contains(&key) || key.starts_with("aws:") || key.starts_with("kubernetes.io/cluster/")
}

/// What becomes of tags that nobody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surplus {
    Removed,
    /// They stay, for some of those asked for could not be read.
    Kept,
}

/// Tags to set, and keys to remove.
pub(crate) fn difference(desired: &Pairs, observed: &Pairs, surplus: Surplus) -> (Pairs, BTreeSet<String>) {
    let goes = |key: &&String| surplus == Surplus::Removed && desired.get(key).is_none() && !is_others(key);
    let gone = observed.0.keys().filter(goes).cloned().collect();
    (super::target_groups::differing(desired, observed), gone)
}

/// ELBv2 tags one resource a call.
pub(super) fn compare<K: Kind>(
    arn: &str,
    id: &str,
    (desired, observed): (&Pairs, &Pairs),
    surplus: Surplus,
    changes: &mut Vec<Change>,
) {
    let (tags, keys) = difference(desired, observed, surplus);
    if !tags.is_empty() {
        let names: Vec<&str> = tags.0.keys().map(String::as_str).collect();
        let reason = format!("tags differ: {}", names.join(", "));
        let fields = tags
            .0
            .iter()
            .filter_map(|(key, value)| field(key, &observed.get(key), value))
            .collect();
        let call = Call::AddTags {
            arn: arn.to_owned(),
            tags,
        };
        changes.push(Change {
            fields,
            ..change::<K>(id, call, reason)
        });
    }
    if !keys.is_empty() {
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let reason = format!("nobody asks for tags {}", names.join(", "));
        changes.push(change::<K>(
            id,
            Call::RemoveTags {
                arn: arn.to_owned(),
                keys,
            },
            reason,
        ));
    }
}

/// The place in a rule's tags is the one it was made for: one path more would else rewrite the tags of every rule after
/// it. Nobody reads it; the AWS Load Balancer Controller goes by priority, and writes it anew.
fn tags_of_rule(desired: &Pairs, observed: &Pairs) -> Pairs {
    let mut tags = desired.clone();
    if let Some(made_for) = observed.0.get(names::RESOURCE_TAG) {
        tags.0.insert(names::RESOURCE_TAG.to_owned(), made_for.clone());
    }
    tags
}

/// Comes when every rule is there, for they are told apart by their order.
pub(super) fn write(round: &Round<'_>, changes: &mut Vec<Change>) {
    let surplus = round.surplus();
    if let Some((desired, state)) = round.desired.security_group.as_ref().zip(round.managed_group()) {
        let (tags, keys) = difference(&desired.tags, &state.spec.tags, surplus);
        let id = names::MANAGED_SECURITY_GROUP;
        if !tags.is_empty() {
            let call = Call::CreateTags {
                group: state.id.clone(),
                tags,
            };
            changes.push(change::<kind::SecurityGroup>(id, call, "its tags differ"));
        }
        if !keys.is_empty() {
            let call = Call::DeleteTags {
                group: state.id.clone(),
                keys,
            };
            changes.push(change::<kind::SecurityGroup>(
                id,
                call,
                "nobody asks for these tags",
            ));
        }
    }
    certificates::tag_all(round, changes);
    for (id, state) in &round.target_groups {
        if let Some(desired) = round.desired.target_groups.get(*id) {
            let arn = state.arn.as_str();
            let tags = (&desired.tags, &state.spec.tags);
            compare::<kind::TargetGroup>(arn, id, tags, Surplus::Removed, changes);
        }
    }
    let Some(state) = round.observed.load_balancer() else {
        return;
    };
    let (arn, tags) = (
        state.arn.as_str(),
        (&round.desired.load_balancer.tags, &state.spec.tags),
    );
    compare::<kind::LoadBalancer>(arn, names::LOAD_BALANCER, tags, surplus, changes);
    for (port, listener) in &state.listeners {
        let Some(desired) = round.desired.listeners.get(port) else {
            continue;
        };
        let (arn, tags) = (listener.arn.as_str(), (&desired.spec.tags, &listener.spec.tags));
        compare::<kind::Listener>(arn, &port.to_string(), tags, surplus, changes);
        let whole = listener.rules.len() == desired.rules.len();
        for (rule, desired) in listener.rules.iter().zip(&desired.rules).filter(|_| whole) {
            let id = format!("{port}:{}", rule.spec.priority);
            compare::<kind::ListenerRule>(
                rule.arn.as_str(),
                &id,
                (
                    &tags_of_rule(&desired.spec.tags, &rule.spec.tags),
                    &rule.spec.tags,
                ),
                surplus,
                changes,
            );
        }
    }
}
