//! The rules of all members in, one list out in which the first that takes a request is the one meant.

mod catch_alls;
mod redirects;
mod unconditioned;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{
    Action, Code, Condition, HostMatch, LoadBalancerId, Origin, PathMatch, PathPrefix, Port, Problem, Rule,
    Semantics,
};

pub(super) use self::catch_alls::{Answer, Fallback, Fallbacks, NamedHost};
pub(super) use self::redirects::{example, leads_to_itself, loops};
use super::member::Wire;

/// A rule before it has found its place.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) rule: Rule,
    pub(super) place: Written,
    pub(super) kind: PathKind,
    pub(super) closes: Closes,
    /// How many of its conditions, the last, only say whom it is for.
    pub(super) guards: usize,
    /// Of a rule that was parted, as by a canary: how many conditions that one has.
    pub(super) piece_of: Option<usize>,
}

/// What a rule closes that is not written so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closes {
    Nothing,
    /// What its host or path can mean, which cannot be read.
    Meant,
    /// All that meets those of its conditions that can be read.
    Unconditioned,
    /// All of its host, before whatever stands there: of one namespace alone.
    Host,
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

/// Of one piece of a path: what is made of it, such as a canary's share, and as many for those whom it does not let in.
pub(super) const PIECES: usize = 8;

impl Written {
    /// The same of all rules that are made of one path and one host.
    fn source(&self) -> (usize, usize, usize, usize) {
        (self.member, self.rule, self.path, self.piece / (2 * PIECES))
    }
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
    /// What can be read goes before what only may mean the same.
    is_closed: bool,
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
    /// Before every path.
    Whole,
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
                _ if draft.closes == Closes::Host => PathRank::Whole,
                PathKind::Default => PathRank::Default,
                PathKind::Exact | PathKind::Prefix(_) | PathKind::ImplementationSpecific => {
                    PathRank::of(draft.rule.paths.first())
                }
            },
            conditions: Reverse(draft.piece_of.unwrap_or(draft.rule.conditions.len())),
            is_closed: draft.closes != Closes::Nothing,
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
    /// Where several load balancers are served as one: those that take fewer hosts first.
    group: usize,
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
    fn of(draft: &Draft, groups: &[usize]) -> Self {
        Self {
            is_default: draft.kind == PathKind::Default,
            group: groups.get(draft.place.member).copied().unwrap_or_default(),
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

/// The place of each member's load balancer among those that are served as one: those that take single hosts, then
/// those with patterns, then those that take every host. Otherwise one would answer for what is another's.
fn groups(members: &[LoadBalancerId], drafts: &[Draft]) -> Vec<usize> {
    let mut breadths: BTreeMap<&LoadBalancerId, (u8, usize)> = BTreeMap::new();
    for (member, group) in members.iter().enumerate() {
        breadths.entry(group).or_insert((0, member));
    }
    for draft in drafts {
        let breadth = match draft.rule.hosts.as_slice() {
            [] => 2,
            hosts => hosts
                .iter()
                .map(|host| u8::from(!matches!(host, HostMatch::Exact(_))))
                .max()
                .unwrap_or_default(),
        };
        if let Some(known) = members
            .get(draft.place.member)
            .and_then(|group| breadths.get_mut(group))
        {
            known.0 = known.0.max(breadth);
        }
    }
    let mut order: Vec<((u8, usize), &LoadBalancerId)> = breadths
        .into_iter()
        .map(|(group, breadth)| (breadth, group))
        .collect();
    order.sort();
    let places: BTreeMap<&LoadBalancerId, usize> = order
        .into_iter()
        .enumerate()
        .map(|(place, (_, group))| (group, place))
        .collect();
    members
        .iter()
        .map(|group| places.get(group).copied().unwrap_or_default())
        .collect()
}

/// Puts rules in order. `members` are the load balancers that each member's rules are of.
pub(super) fn arrange(
    mut drafts: Vec<Draft>,
    members: &[LoadBalancerId],
    hosts: &[NamedHost],
    wires: &BTreeMap<Port, Wire>,
    fallbacks: &Fallbacks,
    semantics: Semantics,
    problems: &mut Vec<Problem>,
) -> Vec<Rule> {
    redirects::without_loops(&mut drafts, wires, semantics, problems);
    match semantics {
        Semantics::Kubernetes => {
            drafts.sort_by_cached_key(Precedence::of);
            let rules = without_shadowed(drafts, problems);
            redirects::report_circles(&rules, wires, problems);
            catch_alls::with_catch_alls(rules, hosts, fallbacks)
        }
        Semantics::AwsLoadBalancerController => {
            let groups = groups(members, &drafts);
            drafts.sort_by_cached_key(|draft| Layout::of(draft, &groups));
            unconditioned::leave_the_rest(&mut drafts, problems);
            redirects::without_covered(&mut drafts);
            report_shadowed(&drafts, problems);
            let rules = drafts.into_iter().map(|draft| {
                let place = match draft.kind {
                    // Behind what closes the last load balancer.
                    PathKind::Default => usize::MAX,
                    PathKind::Exact | PathKind::Prefix(_) | PathKind::ImplementationSpecific => {
                        groups.get(draft.place.member).copied().unwrap_or_default()
                    }
                };
                (place, draft.rule)
            });
            let places = members.iter().zip(&groups).map(|(group, place)| (group, *place));
            catch_alls::between_groups(rules.collect(), hosts, &places.collect(), fallbacks)
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

#[cfg(test)]
mod tests;
