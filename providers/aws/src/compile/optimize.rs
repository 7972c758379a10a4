//! Listener rules as they are written in, those that the AWS Load Balancer Controller would write out.
//!
//! It leaves out redirects that lead to themselves and rules that an earlier redirect covers. The same is done under
//! its semantics, so that taking over changes nothing.

use std::collections::BTreeMap;

use super::listeners::DesiredListenerSpec;
use super::rules::Draft;
use crate::resource::{ListenerProtocol, RedirectConfig, RuleAction, RuleCondition, Values};

pub(super) fn optimize<'a>(
    drafts: Vec<Draft<'a>>,
    listeners: &BTreeMap<u16, DesiredListenerSpec>,
) -> Vec<Draft<'a>> {
    let mut kept: Vec<Draft<'a>> = Vec::new();
    for draft in drafts {
        let protocol = listeners.get(&draft.port).map(|listener| listener.protocol);
        if leads_to_itself(&draft, protocol) {
            continue;
        }
        let covered = kept.iter().any(|earlier| {
            let redirects = matches!(earlier.action, RuleAction::Redirect { .. });
            redirects && earlier.port == draft.port && covers(&earlier.conditions, &draft.conditions)
        });
        if !covered {
            kept.push(draft);
        }
    }
    kept
}

/// Hosts and paths of conditions; none if there are other conditions, or expressions.
fn hosts_and_paths(conditions: &[RuleCondition]) -> Option<(Vec<&str>, Vec<&str>)> {
    let (mut hosts, mut paths) = (Vec::new(), Vec::new());
    for condition in conditions {
        match condition {
            RuleCondition::HostHeader {
                config: Values::Globs(list),
            } => hosts.extend(list.iter().map(String::as_str)),
            RuleCondition::PathPattern {
                config: Values::Globs(list),
            } => paths.extend(list.iter().map(String::as_str)),
            RuleCondition::HostHeader {
                config: Values::Regexes(_),
            }
            | RuleCondition::PathPattern {
                config: Values::Regexes(_),
            }
            | RuleCondition::HttpHeader { .. }
            | RuleCondition::HttpRequestMethod { .. }
            | RuleCondition::QueryString { .. }
            | RuleCondition::SourceIp { .. }
            | RuleCondition::Foreign { .. } => return None,
        }
    }
    Some((hosts, paths))
}

/// Whether every request that meets the later conditions meets the earlier ones; false where that is not plain.
fn covers(earlier: &[RuleCondition], later: &[RuleCondition]) -> bool {
    let Some((hosts, paths)) = hosts_and_paths(earlier) else {
        return false;
    };
    let values = |host: bool| -> Vec<&str> {
        let of = later.iter().filter_map(|condition| match condition {
            RuleCondition::HostHeader {
                config: Values::Globs(list),
            } if host => Some(list),
            RuleCondition::PathPattern {
                config: Values::Globs(list),
            } if !host => Some(list),
            RuleCondition::HostHeader { .. }
            | RuleCondition::PathPattern { .. }
            | RuleCondition::HttpHeader { .. }
            | RuleCondition::HttpRequestMethod { .. }
            | RuleCondition::QueryString { .. }
            | RuleCondition::SourceIp { .. }
            | RuleCondition::Foreign { .. } => None,
        });
        of.flatten().map(String::as_str).collect()
    };
    let within = |wider: &[&str], narrower: &[&str]| {
        wider.is_empty() || (!narrower.is_empty() && narrower.iter().all(|value| wider.contains(value)))
    };
    within(&hosts, &values(true)) && (paths.contains(&"/*") || within(&paths, &values(false)))
}

/// Whether the redirect leads every request of the rule to the URL it came from.
fn leads_to_itself(draft: &Draft<'_>, protocol: Option<ListenerProtocol>) -> bool {
    let RuleAction::Redirect {
        config:
            RedirectConfig {
                protocol: to,
                host,
                port,
                path,
                query,
                ..
            },
    } = &draft.action
    else {
        return false;
    };
    let Some((hosts, paths)) = hosts_and_paths(&draft.conditions) else {
        return false;
    };
    // A host or path stays the same if it is left out, or if it is the only one the rule takes and no pattern.
    let same = |part: &Option<String>, values: &[&str]| match part {
        None => true,
        Some(part) => matches!(values, [only] if only == part && !part.contains(['*', '?'])),
    };
    let same_protocol = to
        .as_deref()
        .is_none_or(|to| protocol.is_some_and(|own| own.as_str() == to));
    let same_port = port.as_deref().is_none_or(|port| port == draft.port.to_string());
    same_protocol && same_port && query.is_none() && same(host, &hosts) && same(path, &paths)
}
