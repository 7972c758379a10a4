//! Rules in order and the hosts they name in, the same with what keeps a host from falling through out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{
    Action, Authenticate, ClientCertificates, Condition, Filters, FixedResponse, HostMatch, LoadBalancerId,
    Origin, PathMatch, Port, Rule, TlsPolicy,
};

use super::HostRank;

/// Most patterns that are tried on hosts, in all, at each change.
const MOST_TRIED: usize = 500_000;

/// A host that a rule names, even if none of its paths could be read, and where it stands.
#[derive(Clone, Debug)]
pub(in crate::translate) struct NamedHost {
    pub(in crate::translate) host: HostMatch,
    pub(in crate::translate) ports: BTreeSet<Port>,
    pub(in crate::translate) group: LoadBalancerId,
    pub(in crate::translate) origin: Origin,
}

/// An action, and who may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Answer {
    /// What clients must have shown of themselves.
    pub(in crate::translate) clients: ClientCertificates,
    /// How they must speak TLS.
    pub(in crate::translate) tls_policy: Option<Arc<TlsPolicy>>,
    pub(in crate::translate) authenticate: Option<Authenticate>,
    pub(in crate::translate) filters: Option<Arc<Filters>>,
    pub(in crate::translate) action: Action,
}

impl Answer {
    /// For everybody.
    pub(in crate::translate) fn of(action: Action) -> Self {
        Self {
            clients: ClientCertificates::Off,
            tls_policy: None,
            authenticate: None,
            filters: None,
            action,
        }
    }
}

/// What answers at a port of a load balancer where no rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Fallback {
    /// Each answers those who meet its conditions, before the next; the other answers the rest.
    pub(in crate::translate) guarded: Vec<(Vec<Condition>, Answer)>,
    pub(in crate::translate) answer: Answer,
}

impl Fallback {
    /// 404 for everybody.
    pub(in crate::translate) fn none() -> Self {
        Self {
            guarded: Vec::new(),
            answer: Answer::of(Action::Fixed(FixedResponse::not_found())),
        }
    }

    fn is_none(&self) -> bool {
        *self == Self::none()
    }
}

/// What answers where no rule does, by load balancer and port; and by port where no host is named.
#[derive(Clone, Debug, Default)]
pub(in crate::translate) struct Fallbacks {
    pub(in crate::translate) by_group: BTreeMap<(LoadBalancerId, Port), Fallback>,
    pub(in crate::translate) by_port: BTreeMap<Port, Fallback>,
    /// Whether rules of several listeners are asked for one request, as where somebody in front of the proxy ends TLS: a host is
    /// ended at one where another could answer for it, too.
    pub(in crate::translate) is_across: bool,
}

/// The ports at which rules stand that a host could fall through to.
#[derive(Debug, Default)]
struct Wider {
    /// Wildcards of one label, by what follows it.
    by_parent: BTreeMap<Arc<str>, BTreeSet<Port>>,
    /// Globs `*.name`, by the name: those of ten thousand load balancers are not to be tried one by one.
    by_suffix: BTreeMap<Arc<str>, BTreeSet<Port>>,
    others: BTreeMap<HostMatch, BTreeSet<Port>>,
    /// Of all globs and expressions.
    patterns: BTreeSet<Port>,
    any: BTreeSet<Port>,
    /// How many hosts ask.
    hosts: usize,
}

impl Wider {
    fn of(rules: &[Rule], hosts: &[NamedHost]) -> Self {
        let mut wider = Self {
            hosts: hosts.len(),
            ..Self::default()
        };
        for rule in rules {
            if rule.hosts.is_empty() {
                wider.any.extend(&rule.ports);
            }
            for host in &rule.hosts {
                wider.add(host, &rule.ports);
            }
        }
        for named in hosts {
            if matches!(named.host, HostMatch::Wildcard(_)) {
                wider.add(&named.host, &named.ports);
            }
        }
        wider
    }

    fn add(&mut self, host: &HostMatch, ports: &BTreeSet<Port>) {
        let known = match host {
            HostMatch::Exact(_) => return,
            HostMatch::Wildcard(name) => self.by_parent.entry(name.as_str().into()).or_default(),
            HostMatch::Glob(glob) => {
                self.patterns.extend(ports);
                match glob.as_str().strip_prefix("*.") {
                    Some(name) if glob.wildcards() == 1 => self.by_suffix.entry(name.into()).or_default(),
                    _ => self.others.entry(host.clone()).or_default(),
                }
            }
            HostMatch::Regex(_) => {
                self.patterns.extend(ports);
                self.others.entry(host.clone()).or_default()
            }
        };
        known.extend(ports);
    }

    fn ports(&self, host: &HostMatch) -> BTreeSet<Port> {
        let mut ports = self.any.clone();
        match host {
            HostMatch::Exact(name) => {
                let mut rest = name.as_str();
                let mut parent = None;
                while let Some((_, suffix)) = rest.split_once('.') {
                    parent.get_or_insert(suffix);
                    ports.extend(self.by_suffix.get(suffix).into_iter().flatten());
                    rest = suffix;
                }
                ports.extend(
                    parent
                        .and_then(|parent| self.by_parent.get(parent))
                        .into_iter()
                        .flatten(),
                );
                // As of wildcards, below: whose globs and hosts are thousands must not have the time of each change.
                if self.others.len().saturating_mul(self.hosts) > MOST_TRIED {
                    ports.extend(&self.patterns);
                    return ports;
                }
                let matching = self.others.iter().filter(|(host, _)| host.matches(name.as_str()));
                ports.extend(matching.flat_map(|(_, ports)| ports));
            }
            // Which names a wildcard and a pattern share is not asked: a rule too many does no harm.
            HostMatch::Wildcard(_) | HostMatch::Glob(_) | HostMatch::Regex(_) => ports.extend(&self.patterns),
        }
        ports
    }
}

/// Ends the rules of each host by one that takes every path, where without it a rule for a less specific host could
/// answer. Source: Gateway API and Kubernetes docs, Ingress: the most specific host decides alone.
pub(super) fn with_catch_alls(rules: Vec<Rule>, hosts: &[NamedHost], fallbacks: &Fallbacks) -> Vec<Rule> {
    let wider = Wider::of(&rules, hosts);
    let mut named: BTreeMap<HostRank, Named<'_>> = BTreeMap::new();
    for host in hosts {
        let rank = HostRank::of(Some(&host.host));
        if matches!(rank, HostRank::Exact(_) | HostRank::Wildcard(_)) {
            named.entry(rank).or_insert_with(|| Named::of(host)).add(host);
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

/// Ends the rules of each load balancer, where several are served as one, by one for each of its hosts: what it leaves
/// unanswered is not the next one's. Within a load balancer hosts fall through as the incumbent lets them.
pub(super) fn between_groups(
    rules: Vec<(usize, Rule)>,
    hosts: &[NamedHost],
    places: &BTreeMap<&LoadBalancerId, usize>,
    fallbacks: &Fallbacks,
) -> Vec<Rule> {
    if places.len() < 2 {
        return rules.into_iter().map(|(_, rule)| rule).collect();
    }
    // A host that several name is answered by all of them before it is closed.
    let mut named: BTreeMap<HostRank, (usize, Named<'_>)> = BTreeMap::new();
    for host in hosts {
        let place = places.get(&host.group).copied().unwrap_or_default();
        let (last, named) = named
            .entry(HostRank::of(Some(&host.host)))
            .or_insert_with(|| (place, Named::of(host)));
        *last = (*last).max(place);
        named.add(host);
    }
    for (_, rule) in &rules {
        let whole = rule.paths.is_empty() || rule.paths.iter().any(PathMatch::takes_every_path);
        if whole && rule.conditions.is_empty() {
            for host in &rule.hosts {
                if let Some((_, named)) = named.get_mut(&HostRank::of(Some(host))) {
                    named.open.retain(|port| !rule.ports.contains(port));
                }
            }
        }
    }
    let (of_rules, plain): (Vec<usize>, Vec<Rule>) = rules.into_iter().unzip();
    let wider = Wider::of(&plain, hosts);
    let mut closing: BTreeMap<usize, Vec<Rule>> = BTreeMap::new();
    for (place, named) in named.into_values() {
        let rules = named.catch_alls(&wider, fallbacks);
        closing.entry(place).or_default().extend(rules);
    }
    let mut out = Vec::with_capacity(plain.len());
    for (place, rule) in of_rules.into_iter().zip(plain) {
        let later = closing.split_off(&place);
        out.extend(std::mem::replace(&mut closing, later).into_values().flatten());
        out.push(rule);
    }
    out.extend(closing.into_values().flatten());
    out
}

/// A host and the ports at which some of its paths are open to less specific hosts.
struct Named<'a> {
    first: &'a NamedHost,
    /// Whose it is, in order.
    groups: Vec<&'a LoadBalancerId>,
    open: BTreeSet<Port>,
}

impl<'a> Named<'a> {
    fn of(first: &'a NamedHost) -> Self {
        Self {
            first,
            groups: Vec::new(),
            open: BTreeSet::new(),
        }
    }

    fn add(&mut self, host: &'a NamedHost) {
        self.open.extend(&host.ports);
        if self.groups.last() != Some(&&host.group) {
            self.groups.push(&host.group);
        }
    }

    fn catch_alls(&self, wider: &Wider, fallbacks: &Fallbacks) -> Vec<Rule> {
        let NamedHost { host, origin, .. } = self.first;
        if self.open.is_empty() {
            return Vec::new();
        }
        let others = wider.ports(host);
        let mut by_fallback: Vec<(&Fallback, BTreeSet<Port>)> = Vec::new();
        for port in &self.open {
            // The first that says something of it.
            let mut all = self
                .groups
                .iter()
                .filter_map(|group| fallbacks.by_group.get(&((*group).clone(), *port)));
            let Some(first) = all.next() else {
                continue;
            };
            let own = match first.is_none() {
                true => all.find(|own| !own.is_none()).unwrap_or(first),
                false => first,
            };
            let is_wider = match fallbacks.is_across {
                true => !others.is_empty(),
                false => others.contains(port),
            };
            if !is_wider && fallbacks.by_port.get(port) == Some(own) {
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
            let rule = |conditions: Vec<Condition>, answer: &Answer| Rule {
                ports: ports.clone(),
                hosts: vec![host.clone()],
                paths: Vec::new(),
                conditions,
                clients: answer.clients.clone(),
                tls_policy: answer.tls_policy.clone(),
                authenticate: answer.authenticate.clone(),
                filters: answer.filters.clone(),
                rewrites: Vec::new(),
                action: answer.action.clone(),
                origin: origin.clone(),
            };
            for (conditions, answer) in &fallback.guarded {
                rules.push(rule(conditions.clone(), answer));
            }
            rules.push(rule(Vec::new(), &fallback.answer));
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Glob, HostName};

    use super::*;

    #[test]
    fn patterns_are_tried_on_hosts_within_a_bound() {
        let glob = |at: usize| HostMatch::Glob(Glob::parse(&format!("?{at}*")).unwrap());
        let ports = BTreeSet::from([Port::HTTP]);
        let host = HostMatch::Exact(HostName::parse("a.com").unwrap());
        let taken = HostMatch::Exact(HostName::parse("a7.com").unwrap());
        for (hosts, is_tried) in [(0, true), (MOST_TRIED / 100, true), (MOST_TRIED / 100 + 1, false)] {
            let mut wider = Wider {
                hosts,
                ..Wider::default()
            };
            for at in 0..100 {
                wider.add(&glob(at), &ports);
            }
            assert_eq!(wider.ports(&host).is_empty(), is_tried, "{hosts}");
            assert_eq!(wider.ports(&taken), ports, "{hosts}");
        }
    }
}
