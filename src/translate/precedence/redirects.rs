//! Rules in, those out that a redirect does not make pointless.
//!
//! An action that redirects to HTTPS is written once for an Ingress that listens with both: where HTTPS is spoken
//! already it would lead to itself for ever. Source: AWS Load Balancer Controller, `rule_optimizer.go`.

use std::collections::BTreeMap;

use portcullis_model::redirect::RedirectScheme;
use portcullis_model::{Action, HostMatch, PathMatch, Port, Redirect, Rule};

use super::Draft;
use crate::translate::member::Wire;

/// Takes redirects from the ports at which they lead to themselves.
pub(super) fn without_loops(drafts: &mut Vec<Draft>, wires: &BTreeMap<Port, Wire>) {
    drafts.retain_mut(|Draft { rule, .. }| {
        if let Action::Redirect(redirect) = &rule.action
            && keeps_host(redirect, &rule.hosts)
            && keeps_path(redirect, &rule.paths)
            && redirect.query.is_none()
        {
            rule.ports.retain(|port| {
                let same_port = redirect.port.is_none_or(|to| to == *port);
                let same_scheme = match (redirect.scheme, wires.get(port)) {
                    (None, _) => true,
                    (Some(RedirectScheme::Http), wire) => wire == Some(&Wire::Http),
                    (Some(RedirectScheme::Https), wire) => wire == Some(&Wire::Https),
                };
                !(same_port && same_scheme)
            });
        }
        !rule.ports.is_empty()
    });
}

fn keeps_host(redirect: &Redirect, hosts: &[HostMatch]) -> bool {
    let same = |host: &HostMatch, to: &str| matches!(host, HostMatch::Exact(name) if name.as_str() == to);
    match &redirect.host {
        None => true,
        Some(to) => !hosts.is_empty() && hosts.iter().all(|host| same(host, to.as_str())),
    }
}

fn keeps_path(redirect: &Redirect, paths: &[PathMatch]) -> bool {
    let same = |path: &PathMatch, to: &str| match path {
        PathMatch::Exact(exact) => exact.as_str() == to,
        PathMatch::Glob(glob) => glob.wildcards() == 0 && glob.as_str() == to,
        PathMatch::Prefix(_) | PathMatch::Regex(_) => false,
    };
    match &redirect.path {
        None => true,
        Some(to) => !paths.is_empty() && paths.iter().all(|path| same(path, to.as_str())),
    }
}

/// Takes rules from the ports at which an earlier redirect takes all that they ask: the incumbent lays them out no
/// more.
pub(super) fn without_covered(drafts: &mut Vec<Draft>) {
    // By port and one of their hosts: what covers a rule has its first host, or none.
    let mut redirects: BTreeMap<(Port, Option<HostMatch>), Vec<Rule>> = BTreeMap::new();
    drafts.retain_mut(|Draft { rule, .. }| {
        let asked = rule.clone();
        rule.ports.retain(|port| {
            let hosts = asked.hosts.first().into_iter().map(|host| Some(host.clone()));
            let mut earlier = hosts
                .chain([None])
                .filter_map(|host| redirects.get(&(*port, host)))
                .flatten();
            !earlier.any(|redirect| covers(redirect, &asked))
        });
        if matches!(rule.action, Action::Redirect(_)) && rule.conditions.is_empty() {
            let hosts: Vec<Option<HostMatch>> = match rule.hosts.as_slice() {
                [] => vec![None],
                hosts => hosts.iter().cloned().map(Some).collect(),
            };
            for port in &rule.ports {
                for host in &hosts {
                    redirects
                        .entry((*port, host.clone()))
                        .or_default()
                        .push(rule.clone());
                }
            }
        }
        !rule.ports.is_empty()
    });
}

fn covers(redirect: &Rule, rule: &Rule) -> bool {
    let hosts = redirect.hosts.is_empty()
        || (!rule.hosts.is_empty() && rule.hosts.iter().all(|host| redirect.hosts.contains(host)));
    let paths = redirect.paths.is_empty()
        || redirect.paths.iter().any(PathMatch::takes_every_path)
        || (!rule.paths.is_empty() && rule.paths.iter().all(|path| redirect.paths.contains(path)));
    hosts && paths
}
