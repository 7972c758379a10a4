//! The model's ordered rules and the listeners in, each listener's own ordered rules out, within the quotas.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{BackendId, Code, ObjectName, Origin, Problem, Rule, Without};

use super::actions::{self, DesiredAction};
use super::conditions::{self, Refusal};
use super::listeners::DesiredListenerSpec;
use super::protection::Unprotected;
use super::{Context, backend_of, merge};
use crate::overlap::{Relation, relation};
use crate::resource::{Ref, RuleAction, RuleCondition, RuleTransform, kind};

/// A listener rule before it has a priority.
#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    pub(super) rule: &'a Rule,
    pub(super) port: u16,
    pub(super) conditions: Vec<RuleCondition>,
    /// Who may pass, before the action.
    pub(super) step: Option<DesiredAction>,
    pub(super) action: DesiredAction,
    pub(super) transforms: Vec<RuleTransform>,
    /// Rules that have become part of this one.
    pub(super) also: Vec<&'a Origin>,
}

impl<'a> Draft<'a> {
    /// Of all that are told what becomes of it.
    fn origins(&self) -> impl Iterator<Item = &'a Origin> + use<'_, 'a> {
        std::iter::once(&self.rule.origin).chain(self.also.iter().copied())
    }

    /// Takes in what stood by itself.
    pub(super) fn takes(&mut self, other: Draft<'a>) {
        self.also.push(&other.rule.origin);
        self.also.extend(other.also);
    }
}

/// In the order of rules, for each port in turn.
pub(super) fn compile<'a>(
    context: &Context<'a>,
    listeners: &mut BTreeMap<u16, DesiredListenerSpec>,
    unprotected: &Unprotected,
    problems: &mut Vec<Problem>,
) -> Vec<Draft<'a>> {
    let mut drafts = Vec::new();
    for rule in &context.balancer.rules {
        let ports = rule
            .ports
            .iter()
            .map(|port| port.get())
            .filter(|port| listeners.contains_key(port));
        match conditions::compile(rule, context.balancer.semantics) {
            Ok(lists) => {
                for port in ports {
                    drafts.extend(draft(context, rule, &listeners[&port], &lists, problems));
                }
            }
            Err(refusal) => problems.push(Problem::new(refusal.code, rule.origin.clone(), refusal.message)),
        }
    }
    for draft in &mut drafts {
        let rule = Some((draft.conditions.as_slice(), &draft.action));
        if unprotected.closes(context, draft.port, &draft.rule.origin, rule) {
            draft.step = None;
            draft.action = actions::unavailable(Code::ResourceNotFound.as_str());
            draft.transforms.clear();
        }
    }
    let drafts = merge::merge(context, drafts);
    let mut drafts = within_rules(context, drafts, problems);
    within_target_groups(context, &mut drafts, listeners, problems);
    drafts
}

fn draft<'a>(
    context: &Context<'a>,
    rule: &'a Rule,
    listener: &DesiredListenerSpec,
    lists: &[Vec<RuleCondition>],
    problems: &mut Vec<Problem>,
) -> Vec<Draft<'a>> {
    let usable = |id: &BackendId| backend_of(context, id);
    let mut left_out = Vec::new();
    let guarded = match (rule.clients.is_off(), filters(rule, &mut left_out)) {
        (true, Ok(())) => actions::guarded(
            &rule.action,
            rule.authenticate.as_ref(),
            listener.protocol,
            &usable,
            &mut left_out,
        ),
        (false, _) => {
            let message = "AWS asks for clients' certificates by listener, not by rule";
            Err(Refusal::new(Code::ActionUnsupported, message))
        }
        (true, Err(refusal)) => Err(refusal),
    };
    problems.extend(left_out.into_iter().map(|refusal| refusal.told(&rule.origin)));
    let transforms = actions::transforms(&rule.rewrites, context.balancer.semantics);
    let (step, action, transforms) = match (guarded, transforms) {
        (Ok((step, action @ RuleAction::Forward { .. })), Ok(transforms)) => (step, action, transforms),
        (Ok((step, action)), Ok(_)) => (step, action, Vec::new()), // nothing to rewrite for
        (Err(refusal), _) | (_, Err(refusal)) => {
            let action = actions::unavailable(refusal.code.as_str());
            problems.push(refusal.told(&rule.origin));
            (None, action, Vec::new())
        }
    };
    let one = |conditions: &Vec<RuleCondition>| Draft {
        rule,
        port: listener.port,
        conditions: conditions.clone(),
        step: step.clone(),
        action: action.clone(),
        transforms: transforms.clone(),
        also: Vec::new(),
    };
    lists.iter().map(one).collect()
}

/// AWS has no filters: what must not be served without one is not, what may be is told in `left_out`.
fn filters(rule: &Rule, left_out: &mut Vec<Refusal>) -> Result<(), Refusal> {
    let mut closing = None;
    for filter in rule.filters.iter().flat_map(|filters| filters.each()) {
        let (consequence, is_closing) = match filter.without {
            Without::Closed => ("the rule answers 503", true),
            Without::Served => ("the rule is served without", false),
        };
        let message = format!("AWS cannot {}: {consequence}", filter.what);
        let refusal = Refusal {
            at: Some(filter.origin.clone()),
            ..Refusal::new(Code::ActionUnsupported, message)
        };
        match is_closing && closing.is_none() {
            true => closing = Some(refusal),
            false => left_out.push(refusal),
        }
    }
    closing.map_or(Ok(()), Err)
}

/// Whether a rule that exists takes what the draft takes, or some of it, or more: a place is held for it.
pub(super) fn exists(context: &Context<'_>, draft: &Draft<'_>) -> bool {
    standing(context, draft) < Standing::New
}

/// What a draft would displace if there were no room: the lesser stays first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Exists,
    /// As part of a rule that exists, or with more than it takes.
    ExistsInPart,
    New,
}

fn standing(context: &Context<'_>, draft: &Draft<'_>) -> Standing {
    let rules = context
        .listener(draft.port)
        .map(|listener| listener.rules.as_slice())
        .unwrap_or_default();
    let relations = rules
        .iter()
        .map(|rule| relation(&draft.conditions, &rule.spec.conditions));
    relations
        .map(|relation| match relation {
            Some(Relation::Same) => Standing::Exists,
            Some(Relation::Narrower | Relation::Wider) => Standing::ExistsInPart,
            None => Standing::New,
        })
        .min()
        .unwrap_or(Standing::New)
}

/// As many as the load balancer has room for: those that exist first; then in turns, one of each member and in its order,
/// so that one member's hundreds leave room for its neighbours' few. The others are told.
fn within_rules<'a>(
    context: &Context<'_>,
    drafts: Vec<Draft<'a>>,
    problems: &mut Vec<Problem>,
) -> Vec<Draft<'a>> {
    let most = context.account.quotas.rules;
    if drafts.len() <= most {
        return drafts;
    }
    let mut places: Vec<(Standing, usize)> = drafts
        .iter()
        .enumerate()
        .map(|(place, draft)| (standing(context, draft), place))
        .collect();
    places.sort();
    let mut counts: BTreeMap<&ObjectName, usize> = BTreeMap::new();
    let mut turns: Vec<(Standing, usize, usize)> = Vec::with_capacity(places.len());
    for (standing, place) in places {
        let turn = counts.entry(&drafts[place].rule.origin.object).or_default();
        turns.push((standing, *turn, place));
        *turn += 1;
    }
    turns.sort();
    let fit: BTreeSet<usize> = turns.into_iter().take(most).map(|(.., place)| place).collect();
    let mut refused: BTreeMap<&Origin, usize> = BTreeMap::new();
    let mut kept = Vec::with_capacity(most);
    for (place, draft) in drafts.into_iter().enumerate() {
        if fit.contains(&place) {
            kept.push(draft);
        } else {
            for origin in draft.origins() {
                *refused.entry(origin).or_default() += 1;
            }
        }
    }
    for (origin, count) in refused {
        let message = format!("a load balancer has at most {most} rules; {count} of this route did not fit");
        problems.push(Problem::new(Code::LimitExceeded, origin.clone(), message));
    }
    kept
}

/// At most as many target groups as AWS allows: those that exist first, then in order. What has none answers 503.
fn within_target_groups(
    context: &Context<'_>,
    drafts: &mut [Draft<'_>],
    listeners: &mut BTreeMap<u16, DesiredListenerSpec>,
    problems: &mut Vec<Problem>,
) {
    let most = context.account.quotas.target_groups;
    let defaults = listeners.values().flat_map(|listener| &listener.default_actions);
    let actions = defaults.chain(drafts.iter().map(|d| &d.action));
    let all: Vec<Ref<kind::TargetGroup>> = actions.flat_map(RuleAction::target_groups).cloned().collect();
    let distinct: BTreeSet<&Ref<kind::TargetGroup>> = all.iter().collect();
    if distinct.len() <= most {
        return;
    }
    let mut allowed: BTreeSet<&Ref<kind::TargetGroup>> = distinct
        .into_iter()
        .filter(|group| match group {
            Ref::Logical(id) => context.has_target_group(id),
            Ref::Known(arn) => context.forwards_to(arn),
        })
        .collect();
    for group in &all {
        if allowed.len() < most {
            allowed.insert(group);
        }
    }
    let code = Code::LimitExceeded;
    let message = format!("a load balancer has at most {most} target groups; this route is left without one");
    let fits = |action: &DesiredAction| action.target_groups().all(|group| allowed.contains(group));
    for draft in drafts {
        if !fits(&draft.action) {
            let origins = draft.origins();
            problems.extend(origins.map(|origin| Problem::new(code, origin.clone(), message.clone())));
            draft.step = None;
            draft.action = actions::unavailable(code.as_str());
            draft.transforms.clear();
        }
    }
    for (port, spec) in listeners {
        if !spec.default_actions.iter().all(fits) {
            let origin = context
                .balancer
                .listeners
                .values()
                .find(|l| l.port.get() == *port)
                .map(|l| &l.origin);
            let origin = origin.unwrap_or(&context.balancer.options.origin);
            problems.push(Problem::new(code, origin.clone(), message.clone()));
            spec.default_actions = vec![actions::unavailable(code.as_str())];
        }
    }
}

/// Logical ids of the target groups that an action forwards to, without those that others made.
pub(super) fn made_here(action: &DesiredAction) -> impl Iterator<Item = String> + '_ {
    action.target_groups().filter_map(|reference| match reference {
        Ref::Logical(id) => Some(id.to_string()),
        Ref::Known(_) => None,
    })
}
