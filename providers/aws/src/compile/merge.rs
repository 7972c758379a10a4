//! The rules of each listener in order in, fewer that answer the same out, where the quota leaves no room for all.
//!
//! Rules are laid out one by one as long as there is room: one path more is then one rule more, and nothing else
//! changes. Above that, two rules with the same action become one with the hosts or paths of both, if nothing that
//! stands between them could tell the difference. What is there already as one stays one, so that a small change of
//! the Ingresses is a small change of the listener.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use portcullis_model::Semantics;

use super::Context;
use super::rules::Draft;
use crate::limits;
use crate::overlap::{Relation, may_overlap, relation, united};
use crate::resource::RuleCondition;

/// Merges where that is safe and needed; the incumbent never merges.
pub(super) fn merge<'a>(context: &Context<'_>, drafts: Vec<Draft<'a>>) -> Vec<Draft<'a>> {
    match context.balancer.semantics {
        Semantics::AwsLoadBalancerController => return drafts,
        Semantics::Kubernetes => {}
    }
    let mut slots = Slots::of(drafts);
    slots.keep_merged(context);
    slots.merge_down_to(
        context,
        limits::rules_before_merging(context.account.quotas.rules),
    );
    slots.all.into_iter().flatten().collect()
}

/// The drafts in order; where one has become part of another, nothing.
struct Slots<'a> {
    all: Vec<Option<Draft<'a>>>,
    left: usize,
    /// By place: which drafts differ in their conditions alone.
    alike: Vec<usize>,
}

impl<'a> Slots<'a> {
    fn of(drafts: Vec<Draft<'a>>) -> Self {
        let mut kinds = BTreeMap::new();
        let mut alike = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            let next = kinds.len();
            alike.push(
                *kinds
                    .entry((draft.port, &draft.step, &draft.action, &draft.transforms))
                    .or_insert(next),
            );
        }
        Self {
            left: drafts.len(),
            all: drafts.into_iter().map(Some).collect(),
            alike,
        }
    }

    fn get(&self, place: usize) -> Option<&Draft<'a>> {
        self.all[place].as_ref()
    }

    fn values(&self, place: usize) -> usize {
        let draft = self.get(place);
        draft.map_or(0, |draft| draft.conditions.iter().map(limits::values).sum())
    }

    /// Drafts of the same port that are answered alike: those one could become one with.
    fn like(&self, place: usize, end: usize) -> impl Iterator<Item = usize> + '_ {
        let kind = self.alike[place];
        let others = (0..end).filter(move |other| *other != place && self.alike[*other] == kind);
        others.filter(|other| self.all[*other].is_some())
    }

    /// Drafts that a rule which exists takes together stay together, as long as they are answered alike.
    fn keep_merged(&mut self, context: &Context<'_>) {
        let Some(state) = context.existing() else {
            return;
        };
        for (port, listener) in &state.listeners {
            // The place of the rule before, so that what stands in order goes on to.
            let mut last = None;
            for rule in &listener.rules {
                let asked = &rule.spec.conditions;
                let related = |slots: &Self, place: usize| {
                    let draft = slots.get(place).filter(|draft| draft.port == *port)?;
                    relation(&draft.conditions, asked)
                };
                let values: usize = asked.iter().map(limits::values).sum();
                let places = 0..self.all.len();
                let mut parts: Vec<usize> = places
                    .filter(|place| (1..values).contains(&self.values(*place)))
                    .filter(|place| related(self, *place) == Some(Relation::Narrower))
                    .collect();
                let kind = parts.first().map(|first| self.alike[*first]);
                parts.retain(|place| Some(self.alike[*place]) == kind);
                let behind = parts.iter().copied().find(|place| Some(*place) > last);
                let Some(mut whole) = behind.or(parts.first().copied()) else {
                    let same = |place: &usize| self.get(*place).is_some_and(|d| d.conditions == *asked);
                    last = last.max((0..self.all.len()).find(same));
                    continue;
                };
                for place in parts {
                    if place != whole {
                        whole = self.join(whole, place).unwrap_or(whole);
                    }
                }
                // The same values are the same rule, however they are listed.
                if let (Some(Relation::Same), Some(draft)) = (related(self, whole), &mut self.all[whole]) {
                    draft.conditions.clone_from(asked);
                }
                last = last.max(Some(whole));
            }
        }
    }

    /// New rules become part of those that exist before any two of those become one.
    fn merge_down_to(&mut self, context: &Context<'_>, most: usize) {
        if self.left <= most {
            return;
        }
        let exists: Vec<bool> = self
            .all
            .iter()
            .map(|slot| {
                slot.as_ref()
                    .is_some_and(|draft| super::rules::exists(context, draft))
            })
            .collect();
        // More could not be fitted in if every rule took as many values as a condition may have.
        let end = self
            .all
            .len()
            .min(most.saturating_mul(limits::VALUES_PER_CONDITION + 1));
        for new_alone in [true, false] {
            for place in 0..end {
                if self.left <= most {
                    return;
                }
                if self.get(place).is_none() || (new_alone && exists[place]) {
                    continue;
                }
                let mut partners: Vec<usize> = self.like(place, end).collect();
                // Of those that exist first, the fuller ones, so that none is left half empty; then the nearest.
                partners.sort_by_cached_key(|other| {
                    let new = new_alone && !exists[*other];
                    (new, Reverse(self.values(*other)), other.abs_diff(place))
                });
                for other in partners {
                    // What exists stays where it is.
                    if self.join(other, place).is_some() {
                        break;
                    }
                }
            }
        }
    }

    /// Makes one of two drafts that are answered alike, at the place of the first one given or else of the other, if no
    /// request can tell. Answers the place.
    fn join(&mut self, stays: usize, comes: usize) -> Option<usize> {
        let (first, second) = (stays.min(comes), stays.max(comes));
        let (Some(upper), Some(lower)) = (self.get(first), self.get(second)) else {
            return None;
        };
        let conditions = united(&upper.conditions, &lower.conditions, limits::VALUES_PER_CONDITION)?;
        if !fits(&conditions) {
            return None;
        }
        let passes = |moved: usize| {
            let Some(moved) = self.get(moved) else {
                return false;
            };
            (first + 1..second).all(|between| {
                self.get(between).is_none_or(|other| {
                    other.port != moved.port
                        || self.alike[between] == self.alike[first]
                        || !may_overlap(&other.conditions, &moved.conditions)
                })
            })
        };
        let (kept, gone) = if passes(comes) {
            (stays, comes)
        } else if passes(stays) {
            (comes, stays)
        } else {
            return None;
        };
        let gone = self.all[gone].take()?;
        self.left -= 1;
        if let Some(draft) = &mut self.all[kept] {
            draft.conditions = conditions;
            draft.takes(gone);
        }
        Some(kept)
    }
}

/// Whether AWS takes these as the conditions of one rule, none of which has too many values.
fn fits(conditions: &[RuleCondition]) -> bool {
    let sum = |count: fn(&RuleCondition) -> usize| conditions.iter().map(count).sum::<usize>();
    sum(limits::values) <= limits::VALUES_PER_RULE && sum(limits::wildcards) <= limits::WILDCARDS_PER_RULE
}
