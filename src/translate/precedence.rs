//! The rules of all members in, one list out in which the first that takes a request is the one meant.

mod redirects;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{
    Action, Code, Condition, HostMatch, LoadBalancerId, Origin, PathMatch, PathPrefix, Port, Problem, Rule,
    Semantics,
};

use super::member::Wire;

/// A rule before it has found its place.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) rule: Rule,
    pub(super) place: Written,
    pub(super) kind: PathKind,
}

/// Where a rule was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Written {
    /// The member's place: lower group order first, then the older, then by name.
    pub(super) member: usize,
    pub(super) rule: usize,
    pub(super) path: usize,
    /// Of one path that became several rules.
    pub(super) piece: usize,
}

/// How the path was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathKind {
    Exact,
    /// With its length, in bytes.
    Prefix(usize),
    ImplementationSpecific,
    /// No path of a rule: a default backend.
    Default,
}

/// Precedence under Kubernetes semantics: the fields stand in their order, and the lesser goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Precedence {
    host: HostRank,
    path: PathRank,
    conditions: Reverse<usize>,
    written: Written,
}

/// The most specific host first; the names only keep rules of one host together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Exact(Arc<str>),
    Wildcard(Arc<str>),
    Pattern(Reverse<usize>, String),
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact(Arc<str>),
    /// More elements first; a pattern before a prefix of as many.
    Elements(Reverse<usize>, Breadth),
    /// A default backend comes after every path.
    Default,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Breadth {
    /// By the length of what every match starts with.
    Pattern(Reverse<usize>, String),
    Prefix(Arc<str>),
}

impl Precedence {
    fn of(draft: &Draft) -> Self {
        Self {
            host: HostRank::of(draft.rule.hosts.first()),
            path: match draft.kind {
                PathKind::Default => PathRank::Default,
                PathKind::Exact | PathKind::Prefix(_) | PathKind::ImplementationSpecific => {
                    PathRank::of(draft.rule.paths.first())
                }
            },
            conditions: Reverse(draft.rule.conditions.len()),
            written: draft.place,
        }
    }
}

impl HostRank {
    fn of(host: Option<&HostMatch>) -> Self {
        match host {
            None => Self::Any,
            Some(HostMatch::Exact(name)) => Self::Exact(name.as_str().into()),
            Some(HostMatch::Wildcard(name)) => Self::Wildcard(name.as_str().into()),
            Some(HostMatch::Glob(glob)) => {
                Self::Pattern(Reverse(glob.as_str().len() - glob.wildcards()), glob.to_string())
            }
            Some(HostMatch::Regex(pattern)) => {
                Self::Pattern(Reverse(pattern.literal_prefix().len()), pattern.to_string())
            }
        }
    }
}

impl PathRank {
    fn of(path: Option<&PathMatch>) -> Self {
        // Elements of the text that every match starts with: `/a/` and `/a` have one.
        let elements = |literal: &str| {
            let whole = literal.strip_suffix('/').unwrap_or(literal);
            Reverse(whole.matches('/').count())
        };
        let pattern = |literal: &str, whole: String| {
            Self::Elements(elements(literal), Breadth::Pattern(Reverse(literal.len()), whole))
        };
        match path {
            None => Self::of(Some(&PathMatch::Prefix(PathPrefix::root()))),
            Some(PathMatch::Exact(exact)) => Self::Exact(exact.as_str().into()),
            Some(PathMatch::Glob(glob)) if glob.wildcards() == 0 => Self::Exact(glob.as_str().into()),
            Some(PathMatch::Glob(glob)) => pattern(glob.literal_prefix(), glob.to_string()),
            Some(PathMatch::Regex(regex)) => pattern(regex.literal_prefix(), regex.to_string()),
            Some(PathMatch::Prefix(prefix)) => Self::Elements(
                Reverse(prefix.elements()),
                Breadth::Prefix(prefix.as_str().into()),
            ),
        }
    }
}

/// The incumbent's layout: members in order, their rules in order, and within a rule Exact, then the longer Prefix,
/// then the others as written. Source: AWS Load Balancer Controller, `model_build_listener_rules.go`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Layout {
    is_default: bool,
    member: usize,
    rule: usize,
    kind: LayoutKind,
    path: usize,
    piece: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LayoutKind {
    Exact,
    Prefix(Reverse<usize>),
    Other,
}

impl Layout {
    fn of(draft: &Draft) -> Self {
        Self {
            is_default: draft.kind == PathKind::Default,
            member: draft.place.member,
            rule: draft.place.rule,
            kind: match draft.kind {
                PathKind::Exact => LayoutKind::Exact,
                PathKind::Prefix(length) => LayoutKind::Prefix(Reverse(length)),
                PathKind::ImplementationSpecific | PathKind::Default => LayoutKind::Other,
            },
            path: draft.place.path,
            piece: draft.place.piece,
        }
    }
}

/// A host that a rule names, even if none of its paths could be read, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct NamedHost {
    pub(super) host: HostMatch,
    pub(super) ports: BTreeSet<Port>,
    pub(super) group: LoadBalancerId,
    pub(super) origin: Origin,
}

/// What answers at a port of a load balancer where no rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fallback {
    /// Answers those who meet the condition, before the action answers the others.
    pub(super) guarded: Option<(Condition, Action)>,
    pub(super) action: Action,
}

/// What answers where no rule does, by load balancer and port; and by port where no host is named.
#[derive(Clone, Debug, Default)]
pub(super) struct Fallbacks {
    pub(super) by_group: BTreeMap<(LoadBalancerId, Port), Fallback>,
    pub(super) by_port: BTreeMap<Port, Fallback>,
}

/// Puts rules in order.
pub(super) fn arrange(
    mut drafts: Vec<Draft>,
    hosts: &[NamedHost],
    wires: &BTreeMap<Port, Wire>,
    fallbacks: &Fallbacks,
    semantics: Semantics,
    problems: &mut Vec<Problem>,
) -> Vec<Rule> {
    redirects::without_loops(&mut drafts, wires);
    match semantics {
        Semantics::Kubernetes => {
            drafts.sort_by_cached_key(Precedence::of);
            let rules = without_shadowed(drafts, problems);
            with_catch_alls(rules, hosts, fallbacks)
        }
        Semantics::AwsLoadBalancerController => {
            drafts.sort_by_cached_key(Layout::of);
            redirects::without_covered(&mut drafts);
            report_shadowed(&drafts, problems);
            drafts.into_iter().map(|draft| draft.rule).collect()
        }
    }
}

/// What two rules must share for the later to have nothing left.
type Asked = (Vec<HostMatch>, Vec<PathMatch>, Vec<Condition>);

fn asked(rule: &Rule) -> Asked {
    let paths = match rule.paths.as_slice() {
        [] => vec![PathMatch::Prefix(PathPrefix::root())],
        paths => paths.to_vec(),
    };
    (rule.hosts.clone(), paths, rule.conditions.clone())
}

fn shadowed(rule: &Rule, by: &Origin) -> Problem {
    let host = rule
        .hosts
        .first()
        .map_or_else(|| "every host".to_owned(), HostMatch::to_string);
    let path = rule
        .paths
        .first()
        .map_or_else(|| "/".to_owned(), PathMatch::to_string);
    let message = format!("{host} {path} is answered by {by}, which comes first");
    Problem::new(Code::RuleShadowed, rule.origin.clone(), message)
}

/// Takes away the ports at which an earlier rule asks the same.
fn without_shadowed(drafts: Vec<Draft>, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let mut taken: BTreeMap<Asked, BTreeMap<Port, (Origin, bool)>> = BTreeMap::new();
    let mut rules = Vec::with_capacity(drafts.len());
    for Draft { mut rule, .. } in drafts {
        let redirects = matches!(rule.action, Action::Redirect(_));
        let before = taken.entry(asked(&rule)).or_default();
        let by: Vec<&(Origin, bool)> = rule.ports.iter().filter_map(|port| before.get(port)).collect();
        // At some ports a redirect, at the others what it leads to: that is how a redirect to HTTPS is written.
        let meant = by.len() < rule.ports.len() && by.iter().all(|(_, redirects)| *redirects);
        if let Some((by, _)) = by.first().filter(|_| !meant) {
            problems.push(shadowed(&rule, by));
        }
        rule.ports.retain(|port| !before.contains_key(port));
        for port in &rule.ports {
            before.insert(*port, (rule.origin.clone(), redirects));
        }
        if !rule.ports.is_empty() {
            rules.push(rule);
        }
    }
    rules
}

/// The incumbent lays out rules that never answer; they are only told.
fn report_shadowed(drafts: &[Draft], problems: &mut Vec<Problem>) {
    let mut taken: BTreeMap<Asked, BTreeMap<Port, &Origin>> = BTreeMap::new();
    for Draft { rule, .. } in drafts {
        let before = taken.entry(asked(rule)).or_default();
        if let Some(by) = rule.ports.iter().find_map(|port| before.get(port)) {
            problems.push(shadowed(rule, by));
        }
        for port in &rule.ports {
            before.entry(*port).or_insert(&rule.origin);
        }
    }
}

/// The ports at which rules stand that a host could fall through to.
#[derive(Debug, Default)]
struct Wider {
    by_wildcard: BTreeMap<Arc<str>, BTreeSet<Port>>,
    patterns: Vec<(HostMatch, BTreeSet<Port>)>,
    any: BTreeSet<Port>,
}

impl Wider {
    fn of(rules: &[Rule], hosts: &[NamedHost]) -> Self {
        let mut wider = Self::default();
        for rule in rules {
            match rule.hosts.first() {
                None => wider.any.extend(&rule.ports),
                Some(HostMatch::Exact(_)) => {}
                Some(HostMatch::Wildcard(name)) => wider.wildcard(name.as_str(), &rule.ports),
                Some(pattern @ (HostMatch::Glob(_) | HostMatch::Regex(_))) => {
                    wider.patterns.push((pattern.clone(), rule.ports.clone()));
                }
            }
        }
        for named in hosts {
            if let HostMatch::Wildcard(name) = &named.host {
                wider.wildcard(name.as_str(), &named.ports);
            }
        }
        wider
    }

    fn wildcard(&mut self, name: &str, ports: &BTreeSet<Port>) {
        self.by_wildcard.entry(name.into()).or_default().extend(ports);
    }

    fn ports(&self, host: &HostMatch) -> BTreeSet<Port> {
        let mut ports = self.any.clone();
        match host {
            HostMatch::Exact(name) => {
                let parent = name.as_str().split_once('.').map_or("", |(_, rest)| rest);
                ports.extend(self.by_wildcard.get(parent).into_iter().flatten());
                let matching = self.patterns.iter().filter(|(p, _)| p.matches(name.as_str()));
                ports.extend(matching.flat_map(|(_, ports)| ports));
            }
            // Which names a wildcard and a pattern share is not asked: a rule too many does no harm.
            HostMatch::Wildcard(_) | HostMatch::Glob(_) | HostMatch::Regex(_) => {
                ports.extend(self.patterns.iter().flat_map(|(_, ports)| ports));
            }
        }
        ports
    }
}

/// Ends the rules of each host by one that takes every path, where without it a rule for a less specific host could
/// answer. Source: Gateway API and Kubernetes docs, Ingress: the most specific host decides alone.
fn with_catch_alls(rules: Vec<Rule>, hosts: &[NamedHost], fallbacks: &Fallbacks) -> Vec<Rule> {
    let wider = Wider::of(&rules, hosts);
    let mut named: BTreeMap<HostRank, Named<'_>> = BTreeMap::new();
    for host in hosts {
        let rank = HostRank::of(Some(&host.host));
        if matches!(rank, HostRank::Exact(_) | HostRank::Wildcard(_)) {
            let named = named.entry(rank).or_insert_with(|| Named {
                first: host,
                open: BTreeSet::new(),
            });
            named.open.extend(&host.ports);
        }
    }
    for rule in &rules {
        let whole = rule.paths.is_empty() || rule.paths.iter().any(PathMatch::takes_every_path);
        if whole
            && rule.conditions.is_empty()
            && let Some(named) = named.get_mut(&HostRank::of(rule.hosts.first()))
        {
            named.open.retain(|port| !rule.ports.contains(port));
        }
    }
    let mut out = Vec::with_capacity(rules.len());
    let mut rest = rules.into_iter().peekable();
    for (rank, host) in &named {
        while let Some(rule) = rest.next_if(|rule| HostRank::of(rule.hosts.first()) <= *rank) {
            out.push(rule);
        }
        out.extend(host.catch_alls(&wider, fallbacks));
    }
    out.extend(rest);
    out
}

/// A host and the ports at which some of its paths are open to less specific hosts.
struct Named<'a> {
    first: &'a NamedHost,
    open: BTreeSet<Port>,
}

impl Named<'_> {
    fn catch_alls(&self, wider: &Wider, fallbacks: &Fallbacks) -> Vec<Rule> {
        let NamedHost {
            host, group, origin, ..
        } = self.first;
        if self.open.is_empty() {
            return Vec::new();
        }
        let others = wider.ports(host);
        let mut by_fallback: Vec<(&Fallback, BTreeSet<Port>)> = Vec::new();
        for port in &self.open {
            let Some(own) = fallbacks.by_group.get(&(group.clone(), *port)) else {
                continue;
            };
            if !others.contains(port) && fallbacks.by_port.get(port) == Some(own) {
                continue;
            }
            match by_fallback.iter_mut().find(|(fallback, _)| *fallback == own) {
                Some((_, ports)) => {
                    ports.insert(*port);
                }
                None => by_fallback.push((own, BTreeSet::from([*port]))),
            }
        }
        let mut rules = Vec::new();
        for (fallback, ports) in by_fallback {
            let rule = |conditions: Vec<Condition>, action: &Action| Rule {
                ports: ports.clone(),
                hosts: vec![host.clone()],
                paths: Vec::new(),
                conditions,
                authenticate: None,
                rewrites: Vec::new(),
                action: action.clone(),
                origin: origin.clone(),
            };
            if let Some((condition, action)) = &fallback.guarded {
                rules.push(rule(vec![condition.clone()], action));
            }
            rules.push(rule(Vec::new(), &fallback.action));
        }
        rules
    }
}

#[cfg(test)]
mod tests;
