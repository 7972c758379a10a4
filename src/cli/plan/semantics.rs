//! A folder read twice, under other semantics each time, in; what differs as JSON or as lines for people out.

use portcullis_aws::preview::Document;
use portcullis_model::{Code, LoadBalancerId, ObjectName, Problem};
use serde::Serialize;

use super::text::{changes, problems};
use super::{Read, SemanticsName};
use crate::cli::terminal::line;
use crate::strictness::{self, Comparison, LineChange};

/// What other semantics would change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Compared {
    /// The other semantics.
    semantics: &'static str,
    /// By id.
    load_balancers: Vec<Balancer>,
    /// The plan under the other semantics.
    plan: Document,
}

#[derive(Debug, Serialize)]
struct Balancer {
    id: LoadBalancerId,
    members: Vec<ObjectName>,
    #[serde(flatten)]
    comparison: Comparison,
    /// Those that there are not now, and hosts that others have, of rules that fall away.
    problems: Vec<Problem>,
}

pub(super) fn compare(name: SemanticsName, now: &Read, then: &Read, plan: Document) -> Compared {
    let pairs = then.balancers.iter().filter_map(|after| {
        let before = now.balancers.iter().find(|before| before.id == after.id)?;
        Some((before, after))
    });
    let load_balancers = pairs.map(|(before, after)| {
        let known = now
            .of_balancer
            .get(&before.id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let comparison = strictness::compare(before, after);
        // Under the incumbent's semantics it was only told.
        let is_why = |problem: &Problem| {
            if problem.code != Code::HostNotOwned {
                return false;
            }
            let at = problem.at.to_string();
            let mut removed = comparison
                .rules
                .iter()
                .filter(|line| line.change == LineChange::Removed);
            removed.any(|line| rule_of(&line.at).is_some_and(|rule| rule_of(&at) == Some(rule)))
        };
        let problems = then.of_balancer.get(&after.id).into_iter().flatten();
        let problems = problems.filter(|problem| !known.contains(problem) || is_why(problem));
        Balancer {
            id: after.id.clone(),
            members: after.members.clone(),
            problems: problems.cloned().collect(),
            comparison,
        }
    });
    Compared {
        semantics: match name {
            SemanticsName::Kubernetes => "Kubernetes",
            SemanticsName::AwsLoadBalancerController => "AwsLoadBalancerController",
        },
        load_balancers: load_balancers.collect(),
        plan,
    }
}

/// Of the object and field that something was said at, the part that names a rule of an Ingress, such as
/// `ingress shop/web spec.rules[0]`; none where it is no such field.
fn rule_of(at: &str) -> Option<&str> {
    let (before, rest) = at.split_once("spec.rules[")?;
    let number = rest.find(']')?;
    at.get(..before.len() + "spec.rules[".len() + number)
}

/// With the changes it takes where what exists was read.
pub(super) fn text(compared: &Compared, observed: bool) -> String {
    let mut text = String::new();
    for balancer in &compared.load_balancers {
        let members: Vec<String> = balancer.members.iter().map(ToString::to_string).collect();
        line(
            &mut text,
            format_args!(
                "Load balancer {} of {}, under the semantics {}",
                balancer.id,
                members.join(", "),
                compared.semantics
            ),
        );
        for rule in &balancer.comparison.rules {
            let sign = match rule.change {
                LineChange::Kept => ' ',
                LineChange::Removed => '-',
                LineChange::Added => '+',
            };
            line(&mut text, format_args!("  {sign} {}", rule.rule));
        }
        if balancer.comparison.requests.is_empty() {
            line(
                &mut text,
                format_args!("  no request was found that is answered otherwise"),
            );
        }
        for example in &balancer.comparison.requests {
            line(&mut text, format_args!("  ? {}", example.request));
            for (when, answered) in [("now", &example.now), ("then", &example.then)] {
                let by = answered.rule.as_deref().unwrap_or("no rule");
                let sent = answered.sent.as_ref().map(|sent| format!(" as {sent}"));
                let sent = sent.unwrap_or_default();
                line(
                    &mut text,
                    format_args!("      {when}: {}{sent}, by {by}", answered.action),
                );
            }
        }
        problems(&mut text, &balancer.problems);
        if observed {
            let plan = &compared.plan.load_balancers;
            plan.iter()
                .filter(|preview| preview.id == balancer.id)
                .for_each(|preview| changes(&mut text, &preview.changes));
        }
        text.push('\n');
    }
    if observed {
        changes(&mut text, &compared.plan.shared.changes);
        let summary = &compared.plan.summary;
        line(
            &mut text,
            format_args!(
                "{} to create, {} to update, {} to delete: {} calls",
                summary.create, summary.update, summary.delete, summary.calls
            ),
        );
    }
    text
}
