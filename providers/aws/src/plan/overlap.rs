//! Two rules' conditions in, whether one request could meet both out.

use crate::resource::{RuleCondition, Values};

/// False only where it is plain that no request meets both.
pub(super) fn may_overlap(left: &[RuleCondition], right: &[RuleCondition]) -> bool {
    let pairs = left.iter().flat_map(|l| right.iter().map(move |r| (l, r)));
    !pairs.into_iter().any(|(l, r)| match (l, r) {
        (RuleCondition::HostHeader { config: l }, RuleCondition::HostHeader { config: r }) => {
            disjoint(l, r, true)
        }
        (RuleCondition::PathPattern { config: l }, RuleCondition::PathPattern { config: r }) => {
            disjoint(l, r, false)
        }
        (RuleCondition::HttpRequestMethod { config: l }, RuleCondition::HttpRequestMethod { config: r }) => {
            l.values.iter().all(|method| !r.values.contains(method))
        }
        // What else there is may always overlap.
        _ => false,
    })
}

fn disjoint(left: &Values, right: &Values, ignore_case: bool) -> bool {
    let (Values::Globs(left), Values::Globs(right)) = (left, right) else {
        return false;
    };
    left.iter()
        .all(|l| right.iter().all(|r| globs_disjoint(l, r, ignore_case)))
}

/// Two patterns cannot meet where the texts before their first wildcards part ways.
fn globs_disjoint(left: &str, right: &str, ignore_case: bool) -> bool {
    let literal = |glob: &str| {
        let text = glob.split(['*', '?']).next().unwrap_or_default();
        if ignore_case {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    };
    let wild = |glob: &str| glob.contains(['*', '?']);
    let (l, r) = (literal(left), literal(right));
    match (wild(left), wild(right)) {
        (false, false) => l != r,
        (true, false) => !r.starts_with(&l),
        (false, true) => !l.starts_with(&r),
        (true, true) => !l.starts_with(&r) && !r.starts_with(&l),
    }
}
