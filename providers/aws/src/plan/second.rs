//! A load balancer whose scheme is to change in, the calls that put another in its place without a gap out.
//!
//! AWS changes no scheme. A successor is made beside the one that serves, with the same rules and target groups of its
//! own. When its targets are healthy it takes the name's place: that is one tag on each of the two. The retired one
//! goes on serving, and following the pods, as long as clients may still have its address or a connection to it; then it
//! goes. Tags alone say how far this is, so that whoever starts in between goes on from there.

use std::collections::BTreeSet;

use portcullis_model::{Code, LoadBalancer, Problem, Scheme};

use super::{Round, change, round};
use crate::account::Account;
use crate::change::{Call, Change, Until};
use crate::compile::{Role, compile_as};
use crate::names;
use crate::observed::{LoadBalancerState, Observed, Owned, Shared, TargetGroupState};
use crate::resource::{LoadBalancerScheme, TargetGroupArn, kind};
use crate::settings::Settings;

/// How long clients keep the address of an Application Load Balancer, in seconds. Source: ELBv2, "DNS name" (60 seconds).
const DNS_SECONDS: u64 = 60;
/// How long a connection is kept, in seconds. Source: ELBv2 API, LoadBalancerAttribute `client_keep_alive.seconds`.
const KEEP_ALIVE_SECONDS: u64 = 3_600;

/// What exists, as far as each of two load balancers goes: as if it were the only one.
pub(super) struct Views {
    pub(super) serving: Observed,
    pub(super) second: Option<(Role, Observed)>,
}

/// None where there is and was no second one.
pub(super) fn views(observed: &Observed) -> Option<Views> {
    let named = |owned: &Owned<LoadBalancerState>| names::role_of(owned.resource()).is_some();
    let marked = |owned: &Owned<TargetGroupState>| owned.resource() != names::without_role(owned.resource());
    if !observed.load_balancers.iter().any(named) && !observed.target_groups.iter().any(marked) {
        return None;
    }
    let first = observed.load_balancer().map(|state| state.arn.clone());
    let second = observed
        .load_balancers
        .iter()
        .filter(|owned| Some(&owned.get().arn) != first.as_ref())
        .find_map(|owned| Some((names::role_of(owned.resource())?, owned)));
    let of_second: BTreeSet<&TargetGroupArn> =
        second.iter().flat_map(|(_, owned)| used(owned.get())).collect();
    let of_first: BTreeSet<&TargetGroupArn> = observed.load_balancer().into_iter().flat_map(used).collect();
    // A successor begins with its target groups.
    let begun = observed.target_groups.iter().any(|owned| {
        names::with_role("", Some(Role::Successor)) == names::role_mark(owned.resource())
            && !of_first.contains(&owned.get().arn)
    });
    let role = second.map(|(role, _)| role).or(begun.then_some(Role::Successor));

    let mut serving = Observed {
        load_balancers: Vec::new(),
        target_groups: Vec::new(),
        ..observed.clone()
    };
    let mut other = serving.clone();
    for owned in &observed.load_balancers {
        let mut owned = owned.clone();
        let is_second = second.is_some_and(|(_, second)| second.get().arn == owned.get().arn);
        if names::role_of(owned.resource()).is_some() {
            owned.rename(names::LOAD_BALANCER);
        }
        if is_second { &mut other } else { &mut serving }
            .load_balancers
            .push(owned);
    }
    for owned in &observed.target_groups {
        let mut owned = owned.clone();
        let arn = &owned.get().arn;
        // Whoever forwards to it has it; of what nobody uses the tag says whose it was to be.
        let is_second = match (of_first.contains(arn), of_second.contains(arn)) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => role.is_some() && marked(&owned),
        };
        let plain = names::without_role(owned.resource()).to_owned();
        owned.rename(&plain);
        if is_second { &mut other } else { &mut serving }
            .target_groups
            .push(owned);
    }
    // Of two that could be kept the one in use.
    serving
        .target_groups
        .sort_by_key(|owned| !of_first.contains(&owned.get().arn));
    other
        .target_groups
        .sort_by_key(|owned| !of_second.contains(&owned.get().arn));
    Some(Views {
        serving,
        second: role.map(|role| (role, other)),
    })
}

fn used(state: &LoadBalancerState) -> impl Iterator<Item = &TargetGroupArn> {
    state.listeners.values().flat_map(|listener| {
        let rules = listener.rules.iter().flat_map(|rule| &rule.spec.actions);
        let actions = listener.spec.default_actions.iter().chain(rules);
        actions.flat_map(|action| action.target_groups())
    })
}

/// What planning reads beside what exists.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) settings: &'a Settings,
    pub(super) balancer: &'a LoadBalancer,
    pub(super) observed: &'a Observed,
    pub(super) shared: &'a Shared,
    pub(super) account: &'a Account,
}

/// What can be done now, when the one that serves is as it should be but for its scheme.
pub(super) fn arrange(
    given: Given<'_>,
    serving: &LoadBalancerState,
    second: Option<(Role, &Observed)>,
    problems: &mut Vec<Problem>,
) -> Vec<Change> {
    let wanted = match given.balancer.options.scheme {
        Scheme::Internal => LoadBalancerScheme::Internal,
        Scheme::InternetFacing => LoadBalancerScheme::InternetFacing,
    };
    match (serving.spec.scheme == wanted, second) {
        (true, None) => Vec::new(),
        (true, Some((Role::Successor, second))) => {
            delete(given, second, "its scheme is asked for no more", problems)
        }
        (true, Some((Role::Retired, second))) => {
            let changes = keep(given, Role::Retired, second, &mut Vec::new());
            let due = second
                .load_balancer()
                .is_some_and(|retired| is_due(given.observed, retired));
            if changes.is_empty() && due {
                return delete(
                    given,
                    second,
                    "clients have the address of its successor",
                    problems,
                );
            }
            changes
        }
        // Asked for again before it went: it is there, and serves.
        (false, Some((Role::Retired, second))) => reinstate(second),
        (false, None | Some((Role::Successor, _))) => {
            if let Some(why) = refusal(given, serving, wanted) {
                let at = given.balancer.options.origin.clone();
                problems.push(Problem::new(Code::OptionUnsupported, at, why));
                let Some((_, second)) = second else {
                    return Vec::new();
                };
                return delete(given, second, "it cannot take the other's place", problems);
            }
            let nothing = || Observed {
                load_balancers: Vec::new(),
                target_groups: Vec::new(),
                ..given.observed.clone()
            };
            let beside = second.map_or_else(nothing, |(_, second)| second.clone());
            let changes = keep(given, Role::Successor, &beside, problems);
            match beside.load_balancer() {
                Some(successor) if changes.is_empty() => switch(given.observed, serving, successor, &beside),
                Some(_) | None => changes,
            }
        }
    }
}

/// Why no second one can be made.
fn refusal(given: Given<'_>, serving: &LoadBalancerState, wanted: LoadBalancerScheme) -> Option<String> {
    let why = if given.balancer.options.name.is_some() {
        "a second one would need its given name"
    } else if !given.balancer.given.is_empty() {
        "a second one would need the target groups that its actions name, and AWS lets a target group serve one alone"
    } else {
        return None;
    };
    Some(format!(
        "load balancer {} is {} and AWS cannot make it {}; {why}. Use another group or Ingress name for a second one, move its clients, then remove this one",
        given.balancer.id,
        serving.spec.scheme.as_str(),
        wanted.as_str()
    ))
}

/// One round for the second one.
fn keep(given: Given<'_>, role: Role, beside: &Observed, problems: &mut Vec<Problem>) -> Vec<Change> {
    let Given {
        settings,
        balancer,
        observed,
        shared,
        account,
    } = given;
    let (desired, more) = compile_as(settings, balancer, account, beside, Some(role));
    for problem in more {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    let Some(desired) = desired else {
        return Vec::new();
    };
    let all = Round {
        id: &balancer.id,
        desired: &desired,
        observed: beside,
        shared,
        quotas: account.quotas,
        target_groups: super::target_groups::kept(&desired, beside),
        names: super::names_of(observed),
        attached: super::certificates::attached(observed),
    };
    round(&all).0
}

/// The two change places, once the successor's targets are healthy.
fn switch(
    observed: &Observed,
    serving: &LoadBalancerState,
    successor: &LoadBalancerState,
    beside: &Observed,
) -> Vec<Change> {
    let used: BTreeSet<&TargetGroupArn> = used(successor).collect();
    let groups = beside.target_groups.iter().map(Owned::get);
    let serve = groups.filter(|state| used.contains(&state.arn) && !state.spec.targets.is_empty());
    let target_groups: BTreeSet<TargetGroupArn> = serve.map(|state| state.arn.clone()).collect();
    let mut changes = Vec::new();
    let id = names::LOAD_BALANCER;
    if !target_groups.is_subset(&observed.healthy) {
        // Nothing else with it: a round goes on without a call that fails.
        let call = Call::AwaitTargets {
            target_groups,
            until: Until::Healthy,
        };
        let reason = "it takes over when its targets are healthy";
        return vec![change::<kind::LoadBalancer>(id, call, reason)];
    }
    let now = observed
        .looked_at
        .map_or("${Now}".to_owned(), |now| now.to_string());
    let mut tag = |state: &LoadBalancerState, tags: &[(&str, &str)], reason: &str| {
        let call = Call::AddTags {
            arn: state.arn.to_string(),
            tags: tags.iter().copied().collect(),
        };
        changes.push(change::<kind::LoadBalancer>(id, call, reason));
    };
    let retired = [
        (names::RESOURCE_TAG, names::RETIRED),
        (names::RETIRED_AT_TAG, now.as_str()),
    ];
    tag(
        serving,
        &retired,
        "its successor has the scheme that is asked for",
    );
    tag(successor, &[(names::RESOURCE_TAG, id)], "it serves from now on");
    changes
}

/// Makes a successor of the retired one.
fn reinstate(second: &Observed) -> Vec<Change> {
    let Some(state) = second.load_balancer() else {
        return Vec::new();
    };
    let arn = state.arn.to_string();
    let tags = [(names::RESOURCE_TAG, names::SUCCESSOR)].into_iter().collect();
    let back = Call::AddTags {
        arn: arn.clone(),
        tags,
    };
    let keys = BTreeSet::from([names::RETIRED_AT_TAG.to_owned()]);
    let at = Call::RemoveTags { arn, keys };
    [back, at]
        .into_iter()
        .map(|call| change::<kind::LoadBalancer>(names::RETIRED, call, "its scheme is asked for again"))
        .collect()
}

fn delete(given: Given<'_>, second: &Observed, why: &str, problems: &mut Vec<Problem>) -> Vec<Change> {
    let mut changes = Vec::new();
    let states = second.load_balancers.iter().map(Owned::get);
    let guarded =
        |state: &&LoadBalancerState| state.spec.attributes.get("deletion_protection.enabled") == Some("true");
    if let Some(state) = states.into_iter().find(guarded) {
        let message = format!(
            "load balancer {}, which another one has replaced, is protected against deletion (deletion_protection.enabled)",
            state.spec.name
        );
        let at = given.balancer.options.origin.clone();
        problems.push(Problem::new(Code::DeletionProtected, at, message));
        return changes;
    }
    for owned in &second.load_balancers {
        let call = Call::DeleteLoadBalancer {
            arn: owned.get().arn.clone(),
        };
        changes.push(change::<kind::LoadBalancer>(names::RETIRED, call, why));
    }
    for owned in &second.target_groups {
        let call = Call::DeleteTargetGroup {
            arn: owned.get().arn.clone(),
        };
        changes.push(change::<kind::TargetGroup>(owned.resource(), call, why));
    }
    changes
}

/// Whether nobody can have its address or a connection to it any more. Without a time it has been retired by hand.
fn is_due(observed: &Observed, retired: &LoadBalancerState) -> bool {
    let Some(now) = observed.looked_at else {
        return false;
    };
    let at = retired
        .spec
        .tags
        .get(names::RETIRED_AT_TAG)
        .and_then(|at| at.parse::<u64>().ok());
    let keep_alive = retired.spec.attributes.get("client_keep_alive.seconds");
    let keep_alive = keep_alive
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(KEEP_ALIVE_SECONDS);
    at.is_some_and(|at| now >= at.saturating_add(keep_alive).saturating_add(DNS_SECONDS))
}

/// Whether one of two is still to go.
pub fn waits(observed: &Observed) -> bool {
    let mut all = observed.load_balancers.iter();
    all.any(|owned| names::role_of(owned.resource()).is_some())
}
