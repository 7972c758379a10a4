//! A listener's desired rules and what AWS refused in, those that can be placed and those that wait out.
//!
//! Let a request be one that a waiting rule should answer. No rule that is placed takes it: a worse one that could waits
//! as well. What answered it before is still there, in the order of before: so it gets the answer of before, and never
//! a third one.

use portcullis_model::{Code, Origin, Problem, Refused};

use super::super::refused;
use super::{Pairs, Round, Wanted, same_conditions};
use crate::change::{Call, Change};
use crate::observed::{ListenerState, RuleState};
use crate::overlap::may_overlap;
use crate::resource::{Kind, Ref, RuleAction, kind};

/// The desired rules of one listener, in order.
pub(super) struct Held<'a> {
    /// Those that can be placed.
    pub(super) free: Vec<Wanted<'a>>,
    waiting: Vec<Waiting<'a>>,
}

struct Waiting<'a> {
    wanted: Wanted<'a>,
    /// How many free rules are better.
    after: usize,
    /// Where the rule comes from that was refused, and why.
    because: (&'a Origin, Code),
}

impl<'a> Held<'a> {
    pub(super) fn of(round: &Round<'_>, listener: &ListenerState, wanted: Vec<Wanted<'a>>) -> Self {
        let mut out = Self {
            free: Vec::new(),
            waiting: Vec::new(),
        };
        if round.observed.refused.is_empty() {
            out.free = wanted;
            return out;
        }
        let better: Vec<Wanted<'a>> = wanted.clone();
        for (place, mut rule) in wanted.into_iter().enumerate() {
            // What is there belongs to the best of those with the same conditions.
            let shadowed = better[..place]
                .iter()
                .any(|other| same_conditions(&other.spec, &rule.spec));
            let mut rules = listener.rules.iter();
            let before = rules.find(|had| same_conditions(&had.spec, &rule.spec));
            let mut because = None;
            if shadowed {
                // It never answers, so it must not take the place of one that does.
                because = Some((&rule.desired.origin, code(round, &rule)));
            } else if rule.closed || is_refused(round, listener, &rule, before) {
                match before {
                    // It keeps the action it has, and that alone answered its requests.
                    Some(had) if alone(had, listener, &better[..place]) => {
                        rule.spec.actions.clone_from(&had.spec.actions);
                        rule.spec.transforms.clone_from(&had.spec.transforms);
                    }
                    None if rule.closed && !is_refused(round, listener, &rule, None) => {}
                    Some(_) | None => because = Some((&rule.desired.origin, code(round, &rule))),
                }
            }
            let behind = out
                .waiting
                .iter()
                .find(|other| may_overlap(&other.wanted.spec.conditions, &rule.spec.conditions));
            match because.or(behind.map(|other| other.because)) {
                None => out.free.push(rule),
                Some(because) => out.waiting.push(Waiting {
                    wanted: rule,
                    after: out.free.len(),
                    because,
                }),
            }
        }
        out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether requests of waiting rules may be answered by this one until then.
    pub(super) fn needs(&self, rule: &RuleState) -> bool {
        let waiting = self.waiting.iter();
        let mut conditions = waiting.map(|one| &one.wanted.spec.conditions);
        conditions.any(|conditions| may_overlap(conditions, &rule.spec.conditions))
    }

    /// Each rule that was not refused itself, at its own field.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        let behind = self
            .waiting
            .iter()
            .filter(|one| one.wanted.desired.origin != *one.because.0);
        behind.map(|one| {
            let (origin, code) = one.because;
            let message = format!(
                "it waits for the rule of {origin}, which was refused, and whose requests it could take"
            );
            Problem::new(code, one.wanted.desired.origin.clone(), message)
        })
    }

    /// The final order: first what is kept in place, then what goes or answers for waiting rules. What was there for a
    /// waiting rule keeps that rule's place, unless rules of before would change their order among themselves.
    pub(super) fn order<'r>(
        &self,
        pairs: &Pairs<'r>,
        rest: Vec<&'r RuleState>,
    ) -> (Vec<&'r RuleState>, Vec<&'r RuleState>) {
        let placed: Vec<&RuleState> = pairs.of.iter().copied().flatten().collect();
        let (mut kept, mut below, mut before) = (Vec::new(), rest.clone(), Vec::new());
        let mut waiting = self.waiting.iter().peekable();
        for place in 0..=placed.len() {
            while let Some(one) = waiting.next_if(|one| one.after <= place) {
                let had = below
                    .iter()
                    .position(|rule| same_conditions(&rule.spec, &one.wanted.spec));
                if let Some(at) = had {
                    let rule = below.remove(at);
                    kept.push(rule);
                    before.push(rule);
                }
            }
            kept.extend(placed.get(place));
        }
        before.extend(&below);
        let in_order = before.iter().enumerate().all(|(place, rule)| {
            before[place..].iter().all(|later| {
                rule.spec.priority <= later.spec.priority
                    || !may_overlap(&rule.spec.conditions, &later.spec.conditions)
            })
        });
        if in_order { (kept, below) } else { (placed, rest) }
    }
}

/// Whether the call that would make the rule what it should be was refused.
fn is_refused(
    round: &Round<'_>,
    listener: &ListenerState,
    wanted: &Wanted<'_>,
    before: Option<&RuleState>,
) -> bool {
    let spec = &wanted.spec;
    if listener.rules.iter().any(|rule| wanted.is(rule)) {
        return false;
    }
    let refused = &round.observed.refused;
    let modified = |had: &RuleState| Call::ModifyRule {
        arn: had.arn.clone(),
        conditions: spec.conditions.clone(),
        actions: spec.actions.clone(),
        transforms: spec.transforms.clone(),
    };
    let created = Call::CreateRule {
        listener: listener.arn.clone(),
        spec: spec.clone(),
    };
    match before {
        Some(had) => round.is_refused(&modified(had)) || refused::was(refused, &created),
        // Another rule may have been to become this one.
        None => {
            let mut rules = listener.rules.iter();
            round.is_refused(&created) || rules.any(|had| refused::was(refused, &modified(had)))
        }
    }
}

/// Whether each rule that could take requests before this one is there for a better desired rule.
pub(super) fn alone(had: &RuleState, listener: &ListenerState, better: &[Wanted<'_>]) -> bool {
    let first = listener.rules.iter().take_while(|rule| rule.arn != had.arn);
    let mut taking = first.filter(|rule| may_overlap(&rule.spec.conditions, &had.spec.conditions));
    taking.all(|rule| {
        better
            .iter()
            .any(|wanted| same_conditions(&rule.spec, &wanted.spec))
    })
}

/// Why the rule was refused, or a target group of it; else the last refusal, without which this round is planned.
fn code(round: &Round<'_>, rule: &Wanted<'_>) -> Code {
    let groups = |id: &str| {
        let mut groups = rule
            .desired
            .spec
            .actions
            .iter()
            .flat_map(RuleAction::target_groups);
        groups.any(|group| matches!(group, Ref::Logical(group) if **group == *id))
    };
    let own = |one: &&Refused<Change>| {
        let place = one.change.id.rsplit(':').next();
        let of_rule = one.change.kind == kind::ListenerRule::NAME
            && place == Some(rule.spec.priority.to_string().as_str());
        of_rule || (one.change.kind == kind::TargetGroup::NAME && groups(&one.change.id))
    };
    let refused = &round.observed.refused;
    let found = refused.iter().find(own).or(refused.iter().last());
    found.map_or(Code::RequestRefused, |refused| refused.error.code)
}
