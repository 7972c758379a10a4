//! Rules that close more than was written in, without those in whose place the next one is to answer out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{HostMatch, PathMatch, Problem};

use super::{Closes, Draft, shadowed};

/// In the incumbent's layout a rule whose conditions cannot be read would keep from the one that is next what they left to
/// it. Where that asks for the same, it answers all.
pub(super) fn leave_the_rest(drafts: &mut Vec<Draft>, problems: &mut Vec<Problem>) {
    // What asks for the same is looked up: of thousands of rules not each is held against each.
    let mut same: BTreeMap<(&[HostMatch], &[PathMatch]), Vec<usize>> = BTreeMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        if draft.closes != Closes::Unconditioned {
            let asked = (draft.rule.hosts.as_slice(), draft.rule.paths.as_slice());
            same.entry(asked).or_default().push(at);
        }
    }
    let others: Vec<usize> = same
        .values()
        .flatten()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let left = |(at, draft): (usize, &Draft)| {
        if draft.closes != Closes::Unconditioned {
            return None;
        }
        let own = &draft.rule.conditions[..draft.rule.conditions.len() - draft.guards];
        let asked = (draft.rule.hosts.as_slice(), draft.rule.paths.as_slice());
        let is_same = |next: &usize| {
            let next = &drafts[*next].rule;
            next.conditions == own && next.ports.is_superset(&draft.rule.ports)
        };
        let later = same.get(&asked)?.iter().filter(|next| **next > at);
        let next = later.copied().find(is_same)?;
        let between =
            others.partition_point(|other| *other < at)..others.partition_point(|other| *other < next);
        let is_next = others[between].iter().all(|later| {
            let later = &drafts[*later];
            later.rule.ports.is_disjoint(&draft.rule.ports)
                || !later.rule.conditions.iter().all(|asked| own.contains(asked))
                || !takes(later, draft)
        });
        is_next.then(|| (at, shadowed(&draft.rule, &drafts[next].rule.origin)))
    };
    let left: BTreeMap<usize, Problem> = drafts.iter().enumerate().filter_map(left).collect();
    let mut at = 0..;
    drafts.retain(|_| at.next().is_none_or(|at| !left.contains_key(&at)));
    problems.extend(left.into_values().rev());
}

/// Whether the later takes some of what the other does, and for any condition.
fn takes(later: &Draft, draft: &Draft) -> bool {
    let (later, rule) = (&later.rule, &draft.rule);
    let shares_host = |host: &HostMatch| {
        let is_within = |wider: &HostMatch| match host {
            HostMatch::Exact(name) => wider.matches(name.as_str()),
            HostMatch::Wildcard(_) | HostMatch::Glob(_) | HostMatch::Regex(_) => wider == host,
        };
        later.hosts.iter().any(is_within)
    };
    let shares_path = |path: &PathMatch| {
        let is_within = |wider: &PathMatch| {
            wider == path
                || wider.takes_every_path()
                || match path {
                    PathMatch::Exact(text) => wider.matches(text.as_str()),
                    PathMatch::Prefix(text) => wider.matches(text.as_str()),
                    PathMatch::Glob(_) | PathMatch::Regex(_) => false,
                }
        };
        later.paths.iter().any(is_within)
    };
    (later.hosts.is_empty() || rule.hosts.iter().any(shares_host))
        && (later.paths.is_empty() || rule.paths.iter().any(shares_path))
}
