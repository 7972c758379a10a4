//! The rules of each listener as desired and as they are in, the calls of one round that bring them closer out.
//!
//! While rules change, every request must get the answer of before or the answer of after, never a third one:
//!
//! 1. Rules that are there already, whatever their priority, are kept. New ones are made below all others, first things
//!    first: down there a rule takes only requests that nothing took before, and never one that a better rule, still
//!    missing, would take.
//! 2. One `SetRulePriorities` puts everything in its final place at once, and what nobody asks for below it. There it
//!    answers as before until it is deleted, last things first. The listener's default action changes between the two.
//! 3. A rule whose conditions stay and whose action changes is modified in place, at a moment when that cannot
//!    answer for another rule; if there is no such moment, it is made anew. A single rule that takes the place of
//!    another is modified as well, if the default action stays: one call, one step.
//!
//! 4. A rule that takes more than one that is there, and all of that, becomes of it in place, like 3. One that takes
//!    less becomes of it last of all: until then what it gives up is answered as before.
//!
//! Where the quota has no room for new and old ones together, old ones are turned into new ones instead.
//!
//! A rule that AWS refused stays out, and with it each worse rule that could take its requests (`held.rs`). Whatever
//! could answer those requests until now keeps its place and order among them, and so does the default action. All
//! other rules go on.

mod held;

use std::collections::BTreeSet;

use portcullis_model::{Code, Problem};

use self::held::Held;
use super::listeners::{self, NewDefault};
use super::{Round, awaited, change, field};
use crate::change::{Call, Change};
use crate::compile::{DesiredListener, DesiredRule, unavailable};
use crate::observed::{ListenerState, RuleState};
use crate::overlap::{Relation, may_overlap, relation};
use crate::resource::{Applied, Ref, RuleAction, RuleCondition, RuleSpec, TargetGroupArn, agree, kind};

/// The highest priority. Source: ELBv2 API, RulePriority.
const LAST_PRIORITY: u32 = 50_000;

/// Why something is written anew that shows no difference.
pub(super) const SECRET_CHANGED: &str = "the client of the identity provider has other credentials";

/// Plans all listeners' rules; `waiting` gets a problem for each that waits for one that was refused.
pub(super) fn arrange(round: &Round<'_>, changes: &mut Vec<Change>, waiting: &mut Vec<Problem>) {
    let Some(state) = round.observed.load_balancer() else {
        return;
    };
    let all: usize = state
        .listeners
        .values()
        .map(|listener| listener.rules.len())
        .sum();
    let mut room = round.quotas.rules.saturating_sub(all);
    for (port, listener) in &state.listeners {
        let Some(desired) = round.desired.listeners.get(port) else {
            continue;
        };
        if listeners::awaits_clients(listener, desired) {
            continue;
        }
        let Some(wanted) = wanted(round, listener, desired) else {
            continue;
        };
        let held = Held::of(round, listener, wanted);
        waiting.extend(held.problems());
        let mut default = listeners::new_default(round, *port, listener);
        if !held.is_empty() && !matches!(default, NewDefault::Unchanged) {
            default = NewDefault::Waiting;
        }
        changes.extend(one_listener(round, *port, listener, &held, default, &mut room));
    }
}

/// Whether a rule that is to keep somebody out does not stand yet, at this port or, where it is none that is listened on,
/// at any: until then nobody else is let in.
pub(super) fn awaits_guards(round: &Round<'_>, port: u16) -> bool {
    let Some(state) = round.observed.load_balancer() else {
        return false;
    };
    let of_port = |own: &u16| *own == port || !state.listeners.contains_key(&port);
    let mut listeners = state.listeners.iter().filter(|(own, _)| of_port(own));
    listeners.any(|(own, listener)| {
        let desired = round.desired.listeners.get(own);
        desired
            .is_some_and(|desired| desired.rules.iter().any(keeps_out) && !stands(round, desired, listener))
    })
}

/// Whether it asks where clients are, or turns them away.
fn keeps_out(rule: &DesiredRule) -> bool {
    let mut conditions = rule.spec.conditions.iter();
    let mut actions = rule.spec.actions.iter();
    conditions.any(|condition| matches!(condition, RuleCondition::SourceIp { .. }))
        || actions.any(
            |action| matches!(action, RuleAction::FixedResponse { config } if config.status_code == "403"),
        )
}

/// Whether a listener has the desired rules in their order and no others.
fn stands(round: &Round<'_>, desired: &DesiredListener, listener: &ListenerState) -> bool {
    let wanted = wanted(round, listener, desired);
    let are = |wanted: &Vec<Wanted<'_>>| wanted.iter().zip(&listener.rules).all(|(one, had)| one.is(had));
    desired.rules.len() == listener.rules.len() && wanted.as_ref().is_some_and(are)
}

/// The rules of a listener as they can be now; none while a target group is still to be made.
fn wanted<'a>(
    round: &Round<'a>,
    listener: &ListenerState,
    desired: &'a DesiredListener,
) -> Option<Vec<Wanted<'a>>> {
    // Rules wait for target groups that do not exist yet; those that exist serve on.
    let find = |reference: &Ref<kind::TargetGroup>| round.target_group(reference);
    let rules = desired.rules.iter();
    let mut wanted: Vec<Wanted<'a>> = rules
        .map(|rule| Wanted::resolve(round, rule, &find).or_else(|| Wanted::closed(round, rule)))
        .collect::<Option<_>>()?;
    let waits = |place: usize| {
        let before = before(listener, &wanted, place)?;
        let actions = awaited::until_checked(round, &before.spec.actions, &wanted[place].spec.actions)?;
        Some((place, actions, &before.spec.transforms))
    };
    let waits: Vec<_> = (0..wanted.len()).filter_map(waits).collect();
    for (place, actions, transforms) in waits {
        wanted[place].waits = true;
        wanted[place].spec.actions = actions;
        wanted[place].spec.transforms.clone_from(transforms);
    }
    Some(wanted)
}

/// Whether each rule that exists is there for one that is asked for, so that nothing that one answered falls to another.
pub(super) fn all_stay(listener: &ListenerState, desired: &DesiredListener) -> bool {
    let mut rules = listener.rules.iter();
    rules.all(|had| {
        let mut wanted = desired.rules.iter();
        wanted.any(|rule| conditions(&had.spec) == conditions(&rule.spec))
    })
}

/// The actions of those that wait for new target groups to serve.
pub(super) fn waiting(
    round: &Round<'_>,
    listener: &ListenerState,
    desired: &DesiredListener,
) -> Vec<Vec<RuleAction<TargetGroupArn>>> {
    let wanted = wanted(round, listener, desired).unwrap_or_default();
    let waiting = wanted.into_iter().filter(|one| one.waits);
    waiting.map(|one| one.spec.actions).collect()
}

/// The one rule that answered until now all that this one is to answer, if it is to become it, whole or in part.
fn before<'r>(listener: &'r ListenerState, wanted: &[Wanted<'_>], place: usize) -> Option<&'r RuleState> {
    let spec = &wanted[place].spec;
    // It never answers.
    if wanted[..place]
        .iter()
        .any(|other| same_conditions(&other.spec, spec))
    {
        return None;
    }
    let mut rules = listener.rules.iter();
    let same = rules.clone().find(|had| same_conditions(&had.spec, spec));
    let had = same.or_else(|| {
        let first = rules.find(|had| may_overlap(&had.spec.conditions, &spec.conditions))?;
        let part = relation(&spec.conditions, &first.spec.conditions) == Some(Relation::Narrower);
        let stays = wanted
            .iter()
            .any(|other| same_conditions(&first.spec, &other.spec));
        (part && !stays).then_some(first)
    })?;
    held::alone(had, listener, &wanted[..place]).then_some(had)
}

/// A desired rule with known target groups.
#[derive(Clone)]
struct Wanted<'a> {
    spec: RuleSpec<TargetGroupArn>,
    desired: &'a DesiredRule,
    /// Whether it is closed because a target group cannot be had.
    closed: bool,
    /// Whether it goes on as it is until new target groups can serve.
    waits: bool,
    applied: &'a Applied,
}

impl<'a> Wanted<'a> {
    fn resolve(
        round: &Round<'a>,
        desired: &'a DesiredRule,
        find: &impl Fn(&Ref<kind::TargetGroup>) -> Option<TargetGroupArn>,
    ) -> Option<Self> {
        let spec = &desired.spec;
        let actions: Option<_> = spec.actions.iter().map(|action| action.resolve(find)).collect();
        Some(Self {
            spec: RuleSpec {
                priority: spec.priority,
                conditions: spec.conditions.clone(),
                actions: actions?,
                transforms: spec.transforms.clone(),
                tags: spec.tags.clone(),
            },
            desired,
            applied: &round.observed.applied,
            closed: false,
            waits: false,
        })
    }

    /// What stands in for it where one of its target groups cannot be had; none where the group will be made.
    fn closed(round: &Round<'a>, desired: &'a DesiredRule) -> Option<Self> {
        let spec = &desired.spec;
        round.lacks(&spec.actions).then(|| Self {
            spec: RuleSpec {
                priority: spec.priority,
                conditions: spec.conditions.clone(),
                actions: vec![unavailable(Code::BackendUnsupported.as_str())],
                transforms: Vec::new(),
                tags: spec.tags.clone(),
            },
            desired,
            applied: &round.observed.applied,
            closed: true,
            waits: false,
        })
    }

    /// Whether an existing rule is this one, but for its place.
    fn is(&self, rule: &RuleState) -> bool {
        let (had, spec) = (&rule.spec, &self.spec);
        agree(&had.actions, &spec.actions, self.applied)
            && had.transforms == spec.transforms
            && same_conditions(had, spec)
    }

    fn modify(&self, port: u16, rule: &RuleState) -> Change {
        let (had, spec) = (&rule.spec, &self.spec);
        let call = Call::ModifyRule {
            arn: rule.arn.clone(),
            conditions: spec.conditions.clone(),
            actions: spec.actions.clone(),
            transforms: spec.transforms.clone(),
        };
        let fields = [
            field("Conditions", &had.conditions, &spec.conditions),
            field("Actions", &had.actions, &spec.actions),
            field("Transforms", &had.transforms, &spec.transforms),
        ];
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        let reason = if fields.is_empty() {
            SECRET_CHANGED.to_owned()
        } else if self.waits {
            format!(
                "{} asks for other target groups, which are checked first",
                self.desired.origin
            )
        } else {
            format!("{} asks for it otherwise", self.desired.origin)
        };
        let change = change::<kind::ListenerRule>(rule_id(port, spec.priority), call, reason);
        Change { fields, ..change }
    }

    fn create(&self, port: u16, listener: &ListenerState, priority: u32) -> Change {
        let call = Call::CreateRule {
            listener: listener.arn.clone(),
            spec: RuleSpec {
                priority,
                ..self.spec.clone()
            },
        };
        let reason = format!("{} asks for it", self.desired.origin);
        change::<kind::ListenerRule>(rule_id(port, self.spec.priority), call, reason)
    }
}

fn rule_id(port: u16, priority: u32) -> String {
    format!("{port}:{priority}")
}

/// Conditions in an order of their own: how they are listed means nothing.
fn conditions<T>(spec: &RuleSpec<T>) -> Vec<&RuleCondition> {
    let mut sorted: Vec<&RuleCondition> = spec.conditions.iter().collect();
    sorted.sort();
    sorted
}

fn same_conditions(left: &RuleSpec<TargetGroupArn>, right: &RuleSpec<TargetGroupArn>) -> bool {
    conditions(left) == conditions(right)
}

/// Which existing rule becomes which desired one: by place, none where a new one is needed.
struct Pairs<'a> {
    of: Vec<Option<&'a RuleState>>,
}

impl<'a> Pairs<'a> {
    fn rest(&self, existing: &'a [RuleState]) -> Vec<&'a RuleState> {
        let taken = |rule: &RuleState| self.of.iter().flatten().any(|kept| kept.arn == rule.arn);
        existing.iter().filter(|rule| !taken(rule)).collect()
    }

    fn missing(&self) -> Vec<usize> {
        (0..self.of.len())
            .filter(|place| self.of[*place].is_none())
            .collect()
    }

    /// Pairs what is missing with what is left wherever `fits` says so.
    fn pair(&mut self, existing: &'a [RuleState], fits: impl Fn(usize, &RuleState) -> bool) {
        let mut rest = self.rest(existing);
        for place in self.missing() {
            if let Some(at) = rest.iter().position(|rule| fits(place, rule)) {
                self.of[place] = Some(rest.remove(at));
            }
        }
    }
}

fn one_listener(
    round: &Round<'_>,
    port: u16,
    listener: &ListenerState,
    held: &Held<'_>,
    default: NewDefault,
    room: &mut usize,
) -> Vec<Change> {
    let (existing, wanted) = (&listener.rules, held.free.as_slice());
    let mut pairs = Pairs {
        of: vec![None; wanted.len()],
    };
    // The same rule at the same priority first, so that of two equal rules none moves. The better of them comes first:
    // what became of it would else be taken for the other when the pass goes on after a stop.
    for rule in existing {
        let place =
            usize::try_from(rule.spec.priority).map_or(usize::MAX, |priority| priority.wrapping_sub(1));
        if wanted.get(place).is_some_and(|wanted| wanted.is(rule))
            && !(0..place).any(|better| pairs.of[better].is_none() && wanted[better].is(rule))
        {
            pairs.of[place] = Some(rule);
        }
    }
    pairs.pair(existing, |place, rule| wanted[place].is(rule));

    let (mut now, mut later) = (Vec::new(), BTreeSet::new());
    let default_stays = matches!(default, NewDefault::Unchanged);
    if let ([place], [rule], true) = (
        pairs.missing().as_slice(),
        pairs.rest(existing).as_slice(),
        default_stays,
    ) {
        let mut swapped = Pairs { of: pairs.of.clone() };
        swapped.of[*place] = Some(*rule);
        if in_order(&swapped) && !held.needs(rule) {
            pairs = swapped;
            now.push(*place);
        }
    }
    let unchanged = pairs.of.clone();
    pairs.pair(existing, |place, rule| {
        same_conditions(&rule.spec, &wanted[place].spec)
    });
    for (place, before) in unchanged.into_iter().enumerate() {
        let (None, Some(rule)) = (before, pairs.of[place]) else {
            continue;
        };
        if safe_now(place, rule, &pairs, wanted) {
            now.push(place);
        } else if safe_later(place, rule, &pairs, existing) {
            later.insert(place);
        } else {
            pairs.of[place] = None;
        }
    }
    let mut narrowed = BTreeSet::new();
    // Once something was refused, rules are made beside those they replace: what waits must not lose its answers.
    let beside = !round.observed.refused.is_empty();
    for place in pairs.missing().into_iter().filter(|_| !beside) {
        let conditions = &wanted[place].spec.conditions;
        let fitting = pairs.rest(existing).into_iter().find_map(|rule| {
            match relation(conditions, &rule.spec.conditions)? {
                Relation::Wider if safe_now(place, rule, &pairs, wanted) => Some((rule, Relation::Wider)),
                Relation::Narrower if !held.needs(rule) && safe_later(place, rule, &pairs, existing) => {
                    Some((rule, Relation::Narrower))
                }
                Relation::Same | Relation::Wider | Relation::Narrower => None,
            }
        });
        if let Some((rule, relation)) = fitting {
            pairs.of[place] = Some(rule);
            match relation {
                Relation::Narrower => _ = narrowed.insert(place),
                Relation::Same | Relation::Wider => now.push(place),
            }
        }
    }
    // Better ones first: what they come to take must not reach the others.
    now.sort_unstable();
    // No room for new and old together: turn old ones into new ones.
    let mut rest = pairs.rest(existing);
    let mut missing = pairs.missing();
    while missing.len() > *room
        && let Some(at) = rest.iter().position(|rule| !held.needs(rule))
    {
        let place = missing.remove(0);
        pairs.of[place] = Some(rest.remove(at));
        now.push(place);
    }

    let modify = |place: usize| pairs.of[place].map(|rule| wanted[place].modify(port, rule));
    let mut changes: Vec<Change> = now.into_iter().filter_map(modify).collect();
    if changes.iter().any(|change| round.is_refused(&change.call)) {
        return changes;
    }
    if missing.is_empty() {
        let (kept, below) = held.order(&pairs, rest);
        if let Some(moves) = set_priorities(port, &kept, &below) {
            if round.is_refused(&moves.call) {
                return changes;
            }
            changes.push(moves);
        }
        changes.extend(later.into_iter().filter_map(modify));
        match default {
            NewDefault::Unchanged => {}
            NewDefault::Ready(calls) => changes.extend(calls),
            NewDefault::Waiting => return changes,
        }
        let mut stays: Vec<&RuleState> = Vec::new();
        for rule in below.into_iter().rev() {
            let id = rule_id(port, rule.spec.priority);
            let call = Call::DeleteRule {
                arn: rule.arn.clone(),
            };
            // Without it, its requests would reach one below it that stays.
            let before = |other: &&RuleState| may_overlap(&other.spec.conditions, &rule.spec.conditions);
            if held.needs(rule) || round.is_refused(&call) || stays.iter().any(before) {
                stays.push(rule);
                continue;
            }
            changes.push(change::<kind::ListenerRule>(
                id,
                call,
                "nothing asks for it any more",
            ));
        }
        // The last first: what a rule gives up reaches only those that are as they will be.
        let reaches = |place: &usize| {
            let conditions = pairs.of[*place].map(|rule| &rule.spec.conditions);
            stays
                .iter()
                .any(|stays| conditions.is_some_and(|had| may_overlap(had, &stays.spec.conditions)))
        };
        narrowed.retain(|place| !reaches(place));
        changes.extend(narrowed.into_iter().rev().filter_map(modify));
        return changes;
    }
    missing.truncate(*room);
    *room -= missing.len();
    let last = existing.last().map_or(0, |rule| rule.spec.priority);
    let needed = u32::try_from(missing.len()).unwrap_or(LAST_PRIORITY);
    if last > LAST_PRIORITY - needed {
        changes.push(compact(port, listener));
        return changes;
    }
    for (place, priority) in missing.into_iter().zip(last + 1..) {
        changes.push(wanted[place].create(port, listener, priority));
    }
    changes
}

/// Whether the paired rules stand in the desired order already.
fn in_order(pairs: &Pairs<'_>) -> bool {
    let priorities: Vec<u32> = pairs.of.iter().flatten().map(|rule| rule.spec.priority).collect();
    priorities.is_sorted()
}

/// Whether the rule may become the desired one where it stands, which takes all that it takes: whatever reaches it there
/// will be answered by it in the end, because each better rule that could take such a request stands before it already.
fn safe_now(place: usize, rule: &RuleState, pairs: &Pairs<'_>, wanted: &[Wanted<'_>]) -> bool {
    (0..place).all(|better| {
        !may_overlap(&wanted[better].spec.conditions, &wanted[place].spec.conditions)
            || pairs.of[better].is_some_and(|other| other.spec.priority < rule.spec.priority)
    })
}

/// Whether the rule may keep its old action until all stand in their final places: whatever reaches it there was
/// answered by it before, because each rule that stood before it and could take such a request still does.
fn safe_later(place: usize, rule: &RuleState, pairs: &Pairs<'_>, existing: &[RuleState]) -> bool {
    existing
        .iter()
        .take_while(|other| other.spec.priority < rule.spec.priority)
        .all(|other| {
            let still_before = pairs.of[..place]
                .iter()
                .flatten()
                .any(|kept| kept.arn == other.arn);
            still_before || !may_overlap(&other.spec.conditions, &rule.spec.conditions)
        })
}

/// Puts kept rules at 1, 2, 3 and so on, and those below that are in their way, in one call.
fn set_priorities(port: u16, kept: &[&RuleState], rest: &[&RuleState]) -> Option<Change> {
    let mut priorities = Vec::new();
    let mut next = 1;
    for rule in kept {
        if rule.spec.priority != next {
            priorities.push((rule.arn.clone(), next));
        }
        next += 1;
    }
    for rule in rest {
        let priority = rule.spec.priority.max(next);
        if rule.spec.priority != priority {
            priorities.push((rule.arn.clone(), priority));
        }
        next = priority + 1;
    }
    moved(port, priorities)
}

/// Puts all rules at 1, 2, 3 and so on as they stand, where none can be put below them any more.
fn compact(port: u16, listener: &ListenerState) -> Change {
    let priorities = listener
        .rules
        .iter()
        .zip(1..)
        .map(|(rule, priority)| (rule.arn.clone(), priority))
        .collect();
    let call = Call::SetRulePriorities { priorities };
    change::<kind::Listener>(
        port.to_string(),
        call,
        "new rules go below the others, and there is no room",
    )
}

fn moved(port: u16, priorities: Vec<(crate::resource::RuleArn, u32)>) -> Option<Change> {
    let reason = match priorities.len() {
        0 => return None,
        1 => "1 rule has another place".to_owned(),
        more => format!("{more} rules have another place"),
    };
    Some(change::<kind::Listener>(
        port.to_string(),
        Call::SetRulePriorities { priorities },
        reason,
    ))
}
