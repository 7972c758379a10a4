//! What forwarded until now and what is to forward in, what forwards until new target groups can serve out.
//!
//! AWS checks no target of a group that no rule forwards to, and answers 503 for a group of which none has been checked.
//! So what forwards already goes on as it does, with the new groups beside it at weight 0: they are checked and get no
//! requests. It becomes what it is to be when each of them has a healthy target, or has been checked in vain: then it
//! would be no better later, and AWS sends to all of them. Nothing waits for a group without targets, or in the place of
//! one without.

use std::collections::BTreeSet;

use super::{Round, change, listeners, refused, rules, target_groups};
use crate::change::{Call, Change, Until};
use crate::limits::TARGET_GROUPS_PER_FORWARD;
use crate::resource::{
    ForwardConfig, RuleAction, TargetGroupArn, TargetGroupSpec, TargetGroupTuple, agree, kind,
};

type Action = RuleAction<TargetGroupArn>;

/// The actions until then; none where nothing need be waited for.
pub(super) fn until_checked(round: &Round<'_>, had: &[Action], wanted: &[Action]) -> Option<Vec<Action>> {
    let ((had_step, had), (step, wanted)) = (forward(had)?, forward(wanted)?);
    // Nobody is let through to what answered before who was not until now.
    if !had_step.is_empty() && !agree(had_step, step, &round.observed.applied) {
        return None;
    }
    let serving: Vec<&TargetGroupTuple<_>> = had
        .target_groups
        .iter()
        .filter(|tuple| has_share(tuple))
        .collect();
    let serves = |arn: &TargetGroupArn| serving.iter().any(|tuple| tuple.target_group_arn == *arn);
    let new = || {
        wanted
            .target_groups
            .iter()
            .filter(|tuple| !serves(&tuple.target_group_arn))
    };
    let awaited = new().any(|tuple| has_share(tuple) && is_awaited(round, &tuple.target_group_arn));
    let can_serve = serving
        .iter()
        .any(|tuple| can_serve(round, &tuple.target_group_arn));
    let fits = serving.len() + new().count() <= TARGET_GROUPS_PER_FORWARD;
    if !awaited || !can_serve || !fits || !has_room(round) {
        return None;
    }
    let tuple = |tuple: &TargetGroupTuple<TargetGroupArn>, weight| TargetGroupTuple {
        target_group_arn: tuple.target_group_arn.clone(),
        weight: Some(weight),
    };
    let stays = serving.iter().map(|had| tuple(had, had.weight.unwrap_or(1)));
    let config = ForwardConfig {
        target_groups: stays.chain(new().map(|new| tuple(new, 0))).collect(),
        stickiness: had.stickiness,
    };
    let mut out = step.to_vec();
    out.push(RuleAction::Forward { config });
    // What AWS does not take so is done at once.
    let refused = refused::any(&round.observed.refused, |call| forwards_so(call, &out));
    (!refused).then_some(out)
}

/// Whether the load balancer may use what it uses and all that it is to use together.
fn has_room(round: &Round<'_>) -> bool {
    let kept = round.target_groups.values().map(|state| &state.arn);
    let all: BTreeSet<&TargetGroupArn> = kept.chain(round.used_target_groups()).collect();
    all.len() <= round.quotas.target_groups
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "no other call says where requests are forwarded"
)]
fn forwards_so(call: &Call, actions: &[Action]) -> bool {
    match call {
        Call::CreateRule { spec, .. } => spec.actions == actions,
        Call::ModifyRule { actions: asked, .. } => asked == actions,
        Call::ModifyListener { spec, .. } => spec.default_actions == actions,
        _ => false,
    }
}

/// Looks at what is waited for; each group by itself, so that none waits for another's.
pub(super) fn look(round: &Round<'_>, changes: &mut Vec<Change>) {
    let used: BTreeSet<&TargetGroupArn> = round.used_target_groups().collect();
    let waiting = waiting(round);
    let new = waiting.iter().filter(|tuple| !has_share(tuple));
    let new: BTreeSet<&TargetGroupArn> = new.map(|tuple| &tuple.target_group_arn).collect();
    for (id, state) in &round.target_groups {
        let arn = &state.arn;
        if new.contains(arn) && used.contains(arn) && is_awaited(round, arn) {
            let call = Call::AwaitTargets {
                target_groups: [arn.clone()].into(),
                until: Until::Checked,
            };
            let reason =
                "it gets requests when a target of it is healthy; until then they go where they went";
            changes.push(change::<kind::TargetGroup>(*id, call, reason));
        }
    }
}

/// The groups that have requests until others can serve.
pub(super) fn serving(round: &Round<'_>) -> BTreeSet<TargetGroupArn> {
    let waiting = waiting(round).into_iter();
    let serving = waiting.filter(has_share);
    serving.map(|tuple| tuple.target_group_arn).collect()
}

/// Where all that waits forwards to.
fn waiting(round: &Round<'_>) -> Vec<TargetGroupTuple<TargetGroupArn>> {
    let mut out = Vec::new();
    let listeners = round
        .observed
        .load_balancer()
        .into_iter()
        .flat_map(|state| &state.listeners);
    for (port, listener) in listeners {
        let Some(desired) = round.desired.listeners.get(port) else {
            continue;
        };
        let default = listeners::waiting_default(round, listener, desired);
        for actions in default
            .into_iter()
            .chain(rules::waiting(round, listener, desired))
        {
            out.extend(
                forward(&actions)
                    .into_iter()
                    .flat_map(|(_, config)| config.target_groups.clone()),
            );
        }
    }
    out
}

/// What is done before, and where it is forwarded to.
fn forward(actions: &[Action]) -> Option<(&[Action], &ForwardConfig<TargetGroupArn>)> {
    match actions.split_last()? {
        (RuleAction::Forward { config }, step) => Some((step, config)),
        _ => None,
    }
}

fn has_share(tuple: &TargetGroupTuple<TargetGroupArn>) -> bool {
    tuple.weight != Some(0)
}

/// Whether it is ours, is to have targets, and was not seen to serve.
fn is_awaited(round: &Round<'_>, arn: &TargetGroupArn) -> bool {
    let desired = desired(round, arn);
    desired.is_some_and(|desired| !desired.targets.is_empty()) && !round.observed.healthy.contains(arn)
}

/// Whether it has targets that stay. Of what others made nobody here knows what is registered.
fn can_serve(round: &Round<'_>, arn: &TargetGroupArn) -> bool {
    let mut own = round.observed.target_groups.iter();
    let Some(owned) = own.find(|owned| owned.get().arn == *arn) else {
        return true;
    };
    let mut targets = owned.get().spec.targets.iter();
    match desired(round, arn) {
        Some(desired) => targets.any(|target| desired.targets.contains(target)),
        None => targets.any(|target| target_groups::stays(round, owned, target)),
    }
}

/// What a group that is kept is to be.
fn desired<'a>(round: &'a Round<'_>, arn: &TargetGroupArn) -> Option<&'a TargetGroupSpec> {
    let mut kept = round.target_groups.iter();
    let id = kept.find(|(_, state)| state.arn == *arn).map(|(id, _)| *id)?;
    round.desired.target_groups.get(id)
}
