//! The rules that exist and those that should in, how many hosts and paths lose theirs out.

use std::collections::BTreeSet;

use portcullis_model::{LoadBalancer, Routes};

use crate::account::Account;
use crate::compile::compile;
use crate::kept;
use crate::observed::{Observed, Owned};
use crate::resource::{RuleCondition, Values};
use crate::settings::Settings;

/// A host, a path, and what else is asked of a request.
type Route<'a> = (&'a str, &'a str, Vec<&'a RuleCondition>);

/// How many there are, and how many fewer there will be. A rule on several ports counts once, and one that takes several
/// hosts or paths as often: so neither another port nor rules that become one look like rules that go. What takes the
/// place of others does not either.
pub fn routes(settings: &Settings, desired: &LoadBalancer, observed: &Observed, account: &Account) -> Routes {
    let states = observed.load_balancers.iter().map(Owned::get);
    let listeners = states.flat_map(|state| state.listeners.values());
    let existing = listeners.flat_map(|listener| &listener.rules);
    let existing = distinct(existing.map(|rule| rule.spec.conditions.as_slice()));
    let backend = kept::backend_group(settings, None, account);
    let desired = &*kept::settled(settings, desired, observed, backend);
    let Some(wanted) = compile(settings, desired, account, observed).0 else {
        return Routes { existing, lost: 0 };
    };
    let wanted = wanted.listeners.values().flat_map(|listener| &listener.rules);
    let wanted = distinct(wanted.map(|rule| rule.spec.conditions.as_slice()));
    Routes {
        existing,
        lost: existing.saturating_sub(wanted),
    }
}

fn distinct<'a>(rules: impl Iterator<Item = &'a [RuleCondition]>) -> usize {
    let all: BTreeSet<Route<'_>> = rules.flat_map(of_rule).collect();
    all.len()
}

fn of_rule(conditions: &[RuleCondition]) -> Vec<Route<'_>> {
    let (mut hosts, mut paths, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for condition in conditions {
        match condition {
            RuleCondition::HostHeader { config } => hosts.extend(values(config)),
            RuleCondition::PathPattern { config } => paths.extend(values(config)),
            RuleCondition::HttpHeader { .. }
            | RuleCondition::HttpRequestMethod { .. }
            | RuleCondition::QueryString { .. }
            | RuleCondition::SourceIp { .. }
            | RuleCondition::Foreign { .. } => others.push(condition),
        }
    }
    others.sort();
    for every in [&mut hosts, &mut paths] {
        if every.is_empty() {
            every.push("");
        }
    }
    let of_host = |host| paths.iter().map(move |path| (host, *path));
    let pairs = hosts.iter().flat_map(|host| of_host(*host));
    pairs.map(|(host, path)| (host, path, others.clone())).collect()
}

/// A prefix, which is written as two globs, counts once.
fn values(values: &Values) -> impl Iterator<Item = &str> {
    let all = values.list();
    let is_prefix = move |value: &String| all.iter().any(|other| other.strip_suffix("/*") == Some(value));
    all.iter()
        .filter(move |value| !is_prefix(value))
        .map(String::as_str)
}
