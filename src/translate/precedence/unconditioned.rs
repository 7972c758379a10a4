//! Rules that close more than was written in, without those in whose place the next one is to answer out.

use portcullis_model::{HostMatch, PathMatch, Problem};

use super::{Closes, Draft, shadowed};

/// In the incumbent's layout a rule whose conditions cannot be read would keep from the one that is next what they left to
/// it. Where that asks for the same, it answers all.
pub(super) fn leave_the_rest(drafts: &mut Vec<Draft>, problems: &mut Vec<Problem>) {
    let left = |(at, draft): (usize, &Draft)| {
        if draft.closes != Closes::Unconditioned {
            return None;
        }
        let own = &draft.rule.conditions[..draft.rule.conditions.len() - draft.guards];
        let mut later = drafts[at + 1..].iter();
        let next = later.find(|later| {
            later.closes != Closes::Unconditioned
                && !later.rule.ports.is_disjoint(&draft.rule.ports)
                && later.rule.conditions.iter().all(|asked| own.contains(asked))
                && takes(later, draft)
        })?;
        let is_same = next.rule.hosts == draft.rule.hosts
            && next.rule.paths == draft.rule.paths
            && next.rule.conditions == own
            && next.rule.ports.is_superset(&draft.rule.ports);
        is_same.then(|| (at, shadowed(&draft.rule, &next.rule.origin)))
    };
    let left: Vec<(usize, Problem)> = drafts.iter().enumerate().filter_map(left).collect();
    for (at, told) in left.into_iter().rev() {
        drafts.remove(at);
        problems.push(told);
    }
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
