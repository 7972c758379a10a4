//! Rules in, those out that a redirect does not make pointless.
//!
//! An action that redirects to HTTPS is written once for an Ingress that listens with both: where HTTPS is spoken
//! already it would lead to itself for ever. What its incumbent makes of that is kept under its
//! semantics, to the letter, so that taking over finds the same rules. Source: AWS Load Balancer Controller,
//! `rule_optimizer.go`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use portcullis_model::redirect::RedirectScheme;
use portcullis_model::{
    Action, Code, Condition, HostMatch, Origin, PathMatch, Port, Problem, Redirect, Request, Rule, Semantics,
};

use super::Draft;
use crate::translate::member::Wire;

/// Takes redirects from the ports at which they lead to themselves, and what turns others away from them with them.
/// One that does so at all of them is told: it never answers.
pub(super) fn without_loops(
    drafts: &mut Vec<Draft>,
    wires: &BTreeMap<Port, Wire>,
    semantics: Semantics,
    problems: &mut Vec<Problem>,
) {
    // By what they were written as: a path of a rule, for one host of it.
    let mut looping: BTreeMap<_, BTreeSet<Port>> = BTreeMap::new();
    let mut useless = BTreeSet::new();
    for Draft { rule, place, .. } in &*drafts {
        if let Action::Redirect(redirect) = &rule.action
            && keeps_host(redirect, &rule.hosts, semantics)
            && keeps_path(redirect, &rule.paths, semantics)
            && redirect.query.is_none()
        {
            let loops = |port: &&Port| keeps_listener(redirect, **port, wires);
            let ports: Vec<Port> = rule.ports.iter().filter(loops).copied().collect();
            if ports.len() == rule.ports.len() {
                useless.insert(&rule.origin);
            }
            looping.entry(place.source()).or_default().extend(ports);
        }
    }
    problems.extend(useless.into_iter().cloned().map(leads_to_itself));
    drafts.retain_mut(|Draft { rule, place, .. }| {
        if let Some(ports) = looping.get(&place.source()) {
            rule.ports.retain(|port| !ports.contains(port));
        }
        !rule.ports.is_empty()
    });
}

/// What is told of a redirect that answers at no port.
pub(in crate::translate) fn leads_to_itself(at: Origin) -> Problem {
    let message =
        "its redirect would lead to itself at each port: it is left out, and what comes after it answers";
    Problem::new(Code::RedirectLoop, at, message)
}

/// Whether a redirect for all hosts and paths leads to itself at a port.
pub(in crate::translate) fn loops(redirect: &Redirect, port: Port, wires: &BTreeMap<Port, Wire>) -> bool {
    let keeps_url = redirect.host.is_none() && redirect.path.is_none() && redirect.query.is_none();
    keeps_url && keeps_listener(redirect, port, wires)
}

fn keeps_listener(redirect: &Redirect, port: Port, wires: &BTreeMap<Port, Wire>) -> bool {
    let same_port = redirect.port.is_none_or(|to| to == port);
    let same_scheme = match (redirect.scheme, wires.get(&port)) {
        (None, _) => true,
        (Some(RedirectScheme::Http), wire) => wire == Some(&Wire::Http),
        (Some(RedirectScheme::Https), wire) => wire == Some(&Wire::Https),
    };
    same_port && same_scheme
}

/// The incumbent is content with one of the hosts, and so leaves the others without the redirect.
fn keeps_host(redirect: &Redirect, hosts: &[HostMatch], semantics: Semantics) -> bool {
    let Some(to) = &redirect.host else {
        return true;
    };
    // Browsers write it in lower case.
    let same = |host: &HostMatch| matches!(host, HostMatch::Exact(name) if name.as_str().eq_ignore_ascii_case(to.as_str()));
    match semantics {
        Semantics::Kubernetes => !hosts.is_empty() && hosts.iter().all(same),
        Semantics::AwsLoadBalancerController => {
            let pattern = |host: &HostMatch| host_pattern(host).is_some_and(|host| *host == *to.as_str());
            hosts.iter().any(pattern)
        }
    }
}

/// The same of paths, as patterns.
fn keeps_path(redirect: &Redirect, paths: &[PathMatch], semantics: Semantics) -> bool {
    let Some(to) = &redirect.path else {
        return true;
    };
    let same = |path: &PathMatch| match path {
        PathMatch::Exact(exact) => exact.as_str() == to.as_str(),
        PathMatch::Glob(glob) => glob.wildcards() == 0 && glob.as_str() == to.as_str(),
        PathMatch::Prefix(_) | PathMatch::Regex(_) => false,
    };
    match semantics {
        Semantics::Kubernetes => !paths.is_empty() && paths.iter().all(same),
        Semantics::AwsLoadBalancerController => paths
            .iter()
            .flat_map(path_patterns)
            .any(|path| *path == *to.as_str()),
    }
}

/// Tells of redirects to what they take themselves, of rules in their order: clients are led there again and again.
pub(super) fn report_circles(rules: &[Rule], wires: &BTreeMap<Port, Wire>, problems: &mut Vec<Problem>) {
    let mut told = BTreeSet::new();
    for (place, rule) in rules.iter().enumerate() {
        let Action::Redirect(redirect) = &rule.action else {
            continue;
        };
        let mut ports = rule
            .ports
            .iter()
            .filter(|port| keeps_listener(redirect, **port, wires));
        // For whom it is stays the same, but nothing else of a request may.
        let is_for_all = |rule: &Rule| {
            let mut conditions = rule.conditions.iter();
            conditions.all(|condition| matches!(condition, Condition::Source(_)))
        };
        if is_for_all(rule)
            && keeps_host(redirect, &rule.hosts, Semantics::Kubernetes)
            && let Some(path) = ports.find_map(|port| leads_back(redirect, *port, place, rules))
            && told.insert(&rule.origin)
        {
            let message = format!(
                "its redirect leads to {path}, which it takes itself: clients are led there again and again"
            );
            problems.push(Problem::new(Code::RedirectLoop, rule.origin.clone(), message));
        }
    }
}

/// The path that a rule's redirect leads to for ever at a port, if that is so.
fn leads_back(redirect: &Redirect, port: Port, place: usize, rules: &[Rule]) -> Option<String> {
    let rule = &rules[place];
    let takes = |rule: &Rule, path: &str| rule.paths.iter().any(|own| own.matches(path));
    // The host that is asked for is not in question, and which rules are for it.
    let before = rules[..place]
        .iter()
        .rev()
        .take_while(|other| other.hosts == rule.hosts);
    let before: Vec<&Rule> = before
        .filter(|other| other.conditions.is_empty() && other.ports.contains(&port))
        .collect();
    let led = |path: &str| {
        let url = redirect.location(&Request::get(port, "host", path), false)?;
        let (_, rest) = url.split_once("://")?;
        let path = &rest[rest.find('/')?..];
        let path = path.split(['?', '#']).next().unwrap_or_default().to_owned();
        let is_own = takes(rule, &path) && !before.iter().any(|other| takes(other, &path));
        is_own.then_some(path)
    };
    // Mostly any leads there.
    let asked = example(rule.paths.first()?).unwrap_or_else(|| "/".to_owned());
    let first = led(&asked)?;
    led(&first).map(|_| first)
}

/// A path that is taken.
pub(in crate::translate) fn example(path: &PathMatch) -> Option<String> {
    let text = match path {
        PathMatch::Exact(exact) => exact.to_string(),
        PathMatch::Prefix(prefix) => prefix.to_string(),
        PathMatch::Glob(glob) => glob.as_str().replace(['*', '?'], "x"),
        PathMatch::Regex(pattern) => pattern.literal_prefix().to_owned(),
    };
    path.matches(&text).then_some(text)
}

/// Takes rules from the ports at which an earlier redirect takes all that they ask: the incumbent lays them out no
/// more.
pub(super) fn without_covered(drafts: &mut Vec<Draft>) {
    // By port and one of their hosts: what covers a rule has its first host, or none.
    let mut redirects: BTreeMap<(Port, Option<String>), Vec<Rc<Patterns>>> = BTreeMap::new();
    drafts.retain_mut(|Draft { rule, .. }| {
        let asked = Rc::new(Patterns::of(rule));
        rule.ports.retain(|port| {
            let mut hosts = asked.hosts.first().map(Some).into_iter().chain([None]);
            !hosts.any(|host| {
                let earlier = redirects.get(&(*port, host.cloned()));
                earlier
                    .into_iter()
                    .flatten()
                    .any(|redirect| redirect.covers(&asked))
            })
        });
        if matches!(rule.action, Action::Redirect(_)) && rule.conditions.is_empty() {
            let hosts: Vec<Option<String>> = match asked.hosts.is_empty() {
                true => vec![None],
                false => asked.hosts.iter().cloned().map(Some).collect(),
            };
            for port in &rule.ports {
                for host in &hosts {
                    let at = redirects.entry((*port, host.clone())).or_default();
                    at.push(asked.clone());
                }
            }
        }
        !rule.ports.is_empty()
    });
}

/// What the incumbent compares of two rules: the texts of their patterns. What an expression asks for it does not
/// look at, so that a redirect for an expression covers every host or path.
struct Patterns {
    hosts: BTreeSet<String>,
    paths: BTreeSet<String>,
}

impl Patterns {
    fn of(rule: &Rule) -> Self {
        let owned = |pattern: Cow<'_, str>| pattern.into_owned();
        Self {
            hosts: rule.hosts.iter().filter_map(host_pattern).map(owned).collect(),
            paths: rule.paths.iter().flat_map(path_patterns).map(owned).collect(),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        let within = |these: &BTreeSet<String>, all: &BTreeSet<String>| {
            all.is_empty() || (!these.is_empty() && these.is_subset(all))
        };
        within(&other.hosts, &self.hosts) && (self.paths.contains("/*") || within(&other.paths, &self.paths))
    }
}

/// As the incumbent writes it; `None` for an expression.
fn host_pattern(host: &HostMatch) -> Option<Cow<'_, str>> {
    match host {
        HostMatch::Exact(name) => Some(name.as_str().into()),
        HostMatch::Wildcard(name) => Some(format!("*.{name}").into()),
        HostMatch::Glob(glob) => Some(glob.as_str().into()),
        HostMatch::Regex(_) => None,
    }
}

/// As the incumbent writes it; nothing for an expression.
fn path_patterns(path: &PathMatch) -> impl Iterator<Item = Cow<'_, str>> {
    let (one, below) = match path {
        PathMatch::Exact(exact) => (Some(exact.as_str().into()), None),
        PathMatch::Glob(glob) => (Some(glob.as_str().into()), None),
        PathMatch::Prefix(prefix) => {
            let one = (!prefix.is_root()).then(|| prefix.as_str().into());
            (one, Some(format!("{}/*", prefix.as_str()).into()))
        }
        PathMatch::Regex(_) => (None, None),
    };
    one.into_iter().chain(below)
}
