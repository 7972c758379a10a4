//! What the rules of one Ingress ask for in, out which of its hosts are closed because it is more than it may have.
//!
//! What stands in two lists is multiplied: 100 hosts and 100 paths of 45 KB are 10,000 rules. Who may write an Ingress must
//! not have the memory, and the time at each change, of all others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{
    Action, Code, Condition, FixedResponse, HostMatch, PathMatch, PathPrefix, Problem, Semantics,
};

use super::hosts::Host;
use super::named::name_of;
use super::{Drafts, Reader};
use crate::cluster::object::IngressBackend;
use crate::translate::conditions::Constraints;
use crate::translate::expressions::Room;
use crate::translate::member::Part;
use crate::translate::precedence::{Closes, PIECES, PathKind, Written};

/// Most rules of an Ingress, each of one host and one path. An ALB has 100, unless more are asked for.
pub(in crate::translate) const MOST_RULES: usize = 10_000;
/// Most hosts, paths and values of conditions in all of them: each has its own.
const MOST_VALUES: usize = 200_000;

/// What is answered where not all rules are read.
const TOO_MUCH: &str = "Not served because its Ingress asks for too much";
/// How many hosts are named where they are told.
const NAMED: usize = 5;

/// What was spent of it.
#[derive(Debug, Default)]
pub(in crate::translate) struct Spent {
    rules: usize,
    values: usize,
    /// For expressions.
    pub(super) room: Room,
    /// Which bound was reached.
    over: Option<String>,
    /// Hosts of rules that were not read for that.
    closed: BTreeSet<Option<HostMatch>>,
    /// Of which backends the hosts in conditions are among them.
    named: BTreeSet<String>,
    /// What was read of conditions, by the name of the backend: many paths may have the same.
    pub(super) constraints: BTreeMap<String, Arc<Constraints>>,
}

impl Spent {
    /// Whether so many rules may be added, each with so many values.
    pub(super) fn affords(&mut self, rules: usize, values: usize) -> bool {
        self.rules = self.rules.saturating_add(rules);
        self.values = self.values.saturating_add(rules.saturating_mul(values));
        if self.rules > MOST_RULES {
            self.over = Some(format!(
                "it makes more than {MOST_RULES} rules of one host and one path each"
            ));
        } else if self.values > MOST_VALUES {
            self.over = Some(format!(
                "its rules have more than {MOST_VALUES} hosts, paths and values of conditions"
            ));
        }
        self.over.is_none()
    }

    /// Whether nothing more is read.
    pub(super) fn is_over(&mut self) -> bool {
        if self.over.is_none() && self.room.is_spent() {
            self.over = Some("its expressions are too large together".to_owned());
        }
        self.over.is_some()
    }
}

/// How many values a condition has.
pub(super) fn values(condition: &Condition) -> usize {
    match condition {
        Condition::Method(all) => all.len(),
        Condition::Header { values, .. } => values.len(),
        Condition::HeaderRegex { values, .. } => values.len(),
        Condition::Query(all) => all.len(),
        Condition::Source(all) => all.len(),
    }
}

/// What answers where not all rules are read.
fn instead(part: &Part<'_>) -> Action {
    match part.refusal {
        Some(refusal) => refusal.answer(),
        None => Action::Fixed(FixedResponse::unavailable(TOO_MUCH)),
    }
}

/// Says of each host that an Ingress closes where that stands. Before all else where one namespace alone names the host: its
/// guard is not left open by its own `/`. Behind what others have there where another namespace does, for whoever names their
/// host must not close it for them; then what was read of the Ingress stands at its own paths, closed, so that most of a guard
/// holds.
pub(in crate::translate) fn settle(parts: &[Part<'_>], drafts: &mut [Drafts], problems: &mut Vec<Problem>) {
    let closing: BTreeSet<HostMatch> = drafts
        .iter()
        .flat_map(|of| &of.closed)
        .flatten()
        .cloned()
        .collect();
    let mut named: BTreeMap<&HostMatch, BTreeSet<&str>> = BTreeMap::new();
    for (part, of) in parts.iter().zip(&*drafts).filter(|(part, _)| !part.is_canary) {
        let hosts = of.hosts.iter().map(|named| &named.host);
        for host in hosts.chain(of.drafts.iter().flat_map(|draft| &draft.rule.hosts)) {
            if let Some(host) = closing.get(host) {
                named
                    .entry(host)
                    .or_default()
                    .insert(&part.ingress.meta.name.namespace);
            }
        }
    }
    let is_shared = |host: &HostMatch| named.get(host).is_some_and(|by| by.len() > 1);
    let shared: BTreeSet<HostMatch> = closing.iter().filter(|host| is_shared(host)).cloned().collect();
    for (part, of) in parts
        .iter()
        .zip(drafts)
        .filter(|(_, of)| !of.closed.is_empty() || of.over.is_some())
    {
        // Others may belong to another namespace.
        let stands = |host: &HostMatch| {
            of.drafts
                .iter()
                .any(|draft| draft.closes == Closes::Host && draft.rule.hosts.contains(host))
        };
        of.closed = of
            .closed
            .iter()
            .filter(|host| host.as_ref().is_none_or(stands))
            .cloned()
            .collect();
        problems.push(told(part, of, &shared));
        of.drafts.retain_mut(|draft| {
            let [host] = draft.rule.hosts.as_slice() else {
                return true;
            };
            match (draft.closes == Closes::Host, shared.contains(host)) {
                (true, true) => {
                    (draft.kind, draft.closes) = (PathKind::Prefix(1), Closes::Meant);
                    // Whomever it is for.
                    draft.piece_of = Some(0);
                }
                (true, false) => {}
                (false, _) if !of.closed.contains(&Some(host.clone())) => {}
                (false, true) => {
                    draft.rule.authenticate = None;
                    draft.rule.filters = None;
                    draft.rule.rewrites = Vec::new();
                    draft.rule.action = instead(part);
                }
                (false, false) => return false,
            }
            true
        });
    }
}

fn told(part: &Part<'_>, of: &Drafts, shared: &BTreeSet<HostMatch>) -> Problem {
    let is_shared = |host: &&Option<HostMatch>| host.as_ref().is_some_and(|host| shared.contains(host));
    let (beside, whole): (Vec<_>, Vec<_>) = of.closed.iter().partition(is_shared);
    let mut told = match &of.over {
        Some(why) => why.clone(),
        None => format!("it has more than {MOST_RULES} paths, those of each of its hosts counted"),
    };
    if !whole.is_empty() {
        told += &format!("; meanwhile all of {} answers 503", listed(&whole));
    }
    if !beside.is_empty() {
        told += &format!(
            "; meanwhile its own paths that were read, and what no other rule takes, answer 503 at {}, where another \
             namespace has rules, too",
            listed(&beside)
        );
    }
    Problem::new(Code::LimitExceeded, part.origin("spec.rules"), told)
}

fn listed(hosts: &[&Option<HostMatch>]) -> String {
    let shown = |host: &&Option<HostMatch>| match host {
        Some(host) => host.to_string(),
        None => "what no rule before takes".to_owned(),
    };
    let mut all: Vec<String> = hosts.iter().take(NAMED).map(shown).collect();
    match hosts.len().saturating_sub(NAMED) {
        0 => {}
        more => all.push(format!("{more} more hosts")),
    }
    all.join(", ")
}

impl Reader<'_, '_> {
    /// Instead of reading a path.
    pub(super) fn close_instead(&mut self, host: &Host, backend: &IngressBackend) {
        let name = name_of(backend);
        let constraints = self.constraints(name);
        let (own, more) = (host.host.as_ref(), &constraints.hosts);
        if self.part.is_canary || own.is_none() && constraints.is_of_no_host {
            return;
        }
        if own.is_some() || more.is_empty() {
            self.close_whole(own.cloned());
        }
        // Those of many paths are looked at once.
        if !more.is_empty() && self.spent.named.insert(name.unwrap_or_default().to_owned()) {
            self.spent.closed.extend(more.iter().cloned().map(Some));
        }
    }

    pub(super) fn close_whole(&mut self, host: Option<HostMatch>) {
        self.spent.closed.insert(host);
    }

    /// Adds what closes the hosts of which not all rules are read. A rule for every host would stand before those of others, so
    /// that comes last. Of one host [`settle`] says where, once it is known who else names it.
    pub(super) fn close_hosts(&mut self, out: &mut Drafts) {
        out.over = self.spent.over.take();
        out.closed = std::mem::take(&mut self.spent.closed);
        for (at, host) in out.closed.clone().into_iter().enumerate() {
            let (kind, closes) = match host {
                Some(_) => (PathKind::Exact, Closes::Host),
                None => (PathKind::Prefix(1), Closes::Meant),
            };
            let path = PathMatch::Prefix(PathPrefix::root());
            let rule = self.answering(host, path, instead(self.part), self.part.origin("spec.rules"));
            let place = Written {
                member: self.member,
                rule: 0,
                path: 0,
                piece: (MOST_RULES + 1 + at) * 2 * PIECES,
            };
            self.stand(&rule, place, (kind, closes), out);
        }
    }

    /// How many rules hosts and paths make, and how many values each has.
    pub(super) fn product(
        &self,
        hosts: usize,
        paths: usize,
        is_apart: bool,
        of_all: &Constraints,
    ) -> (usize, usize) {
        let (hosts, paths) = (hosts + of_all.hosts.len(), paths + of_all.paths.len());
        let ranges = self.part.own_ranges.allowed.as_ref().map_or(0, BTreeSet::len);
        let ranges = ranges + self.part.own_ranges.denied.len();
        let asked: usize = of_all.conditions.iter().map(values).sum();
        let asked = asked + ranges;
        match self.part.semantics {
            Semantics::Kubernetes => (hosts.max(1) * paths.max(1), 2 + asked),
            Semantics::AwsLoadBalancerController if is_apart => (paths.max(1), hosts + 1 + asked),
            Semantics::AwsLoadBalancerController => (1, hosts + paths + asked),
        }
    }
}
