//! Load balancers and what exists in, every round that would be made until nothing is left to do out; nothing is called.

use std::collections::BTreeMap;

use portcullis_model::{
    ChangeSummary, Code, LoadBalancer, LoadBalancerId, ObjectName, Origin, Plan, Problem, Resource, Verb,
};
use serde::Serialize;
use serde_json::Value;

use crate::account::Account;
use crate::change::{Answer, Change};
use crate::compile::compile;
use crate::fold::{fold, fold_shared, imagine};
use crate::kept;
use crate::observed::{Observed, Owner, Shared};
use crate::plan::{plan, unmade};
use crate::settings::Settings;
use crate::shared::{self, Demand, demand, plan_shared};

/// More rounds than any load balancer needs: a plan that has not come to an end then never does.
const MOST_ROUNDS: usize = 32;

/// One load balancer: what should exist and the changes that bring it about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    pub id: LoadBalancerId,
    pub provider: &'static str,
    pub members: Vec<ObjectName>,
    pub resources: Vec<Resource<Value>>,
    /// In the order in which they would be made, one call each.
    pub changes: Vec<ChangeSummary>,
    pub problems: Vec<Problem>,
}

/// What spans load balancers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SharedPreview {
    pub resources: Vec<Resource<Value>>,
    pub changes: Vec<ChangeSummary>,
}

/// How much would change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub create: usize,
    pub update: usize,
    pub delete: usize,
    /// API calls these changes cost.
    pub calls: usize,
}

/// The whole of a dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// In the order of ids.
    pub load_balancers: Vec<Preview>,
    pub shared: SharedPreview,
    /// Of what belongs to no load balancer, or to more than one.
    pub problems: Vec<Problem>,
    pub summary: Summary,
}

/// What would be made of these load balancers in an account of which nothing is known.
pub fn plan_offline(balancers: &[LoadBalancer], settings: &Settings) -> Document {
    let account = Account::offline(settings.vpc.as_deref());
    let desired = balancers
        .iter()
        .map(|balancer| (balancer.id.clone(), Some(balancer)))
        .collect();
    plan_observed(
        &desired,
        settings,
        &account,
        &BTreeMap::new(),
        &Shared::nothing(&settings.cluster),
        (Narrowing::Planned, None),
    )
}

/// Whether what spans load balancers is made narrower where those that are planned use less of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrowing {
    Planned,
    /// Something exists of which it is not known what it uses.
    Left,
}

/// What would be changed where this exists. What is observed of no load balancer here stays as it is, and so does what
/// somebody else asked to be open.
pub fn plan_observed(
    desired: &BTreeMap<LoadBalancerId, Option<&LoadBalancer>>,
    settings: &Settings,
    account: &Account,
    observed: &BTreeMap<LoadBalancerId, Observed>,
    shared: &Shared,
    (narrowing, stays_open): (Narrowing, Option<Demand>),
) -> Document {
    let mut demands: BTreeMap<LoadBalancerId, Demand> = BTreeMap::new();
    // Under a name that no group can have.
    demands.extend(stays_open.map(|demand| (LoadBalancerId::Group("+".into()), demand)));
    for balancer in desired.values().copied().flatten() {
        let nothing = Observed::nothing(Owner::load_balancer(&settings.cluster, &balancer.id));
        let observed = observed.get(&balancer.id).unwrap_or(&nothing);
        if unmade(settings, balancer, Some(observed), account).is_some() {
            continue;
        }
        let needs = demand(settings, balancer, Some(observed), account);
        demands.insert(balancer.id.clone(), needs);
    }
    let mut shared = shared.clone();
    let spanning = |shared: &mut Shared, demands: &BTreeMap<LoadBalancerId, Demand>| {
        let at = Origin::new("cluster", ObjectName::cluster(settings.cluster.as_str()), "");
        let round = |shared: &Shared| {
            let (mut plan, problems) = plan_shared(settings, demands, shared, account);
            plan.changes
                .retain(|change| narrowing == Narrowing::Planned || !change.call.frees());
            (plan, problems)
        };
        settle(shared, &at, round, fold_shared)
    };
    let (mut changes, mut problems) = spanning(&mut shared, &demands);
    let mut load_balancers = Vec::new();
    let mut after = Vec::new();
    for (id, balancer) in desired {
        let owner = Owner::load_balancer(&settings.cluster, id);
        let mut observed = observed
            .get(id)
            .cloned()
            .unwrap_or_else(|| Observed::nothing(owner));
        let mut preview = one(settings, id, *balancer, &mut observed, &shared, account);
        if let (Some(balancer), Some(needs)) = (balancer, demands.get_mut(id)) {
            *needs = demand(settings, balancer, Some(&observed), account);
        }
        after.push(observed);
        preview.problems.extend(
            demands
                .get(id)
                .into_iter()
                .flat_map(|demand| demand.problems.clone()),
        );
        load_balancers.push(preview);
    }
    // What they use by now, such as groups made for them; and what waited for others to use it no more.
    let (more, told) = spanning(&mut shared, &demands);
    changes.extend(more);
    problems.extend(
        told.into_iter()
            .filter(|problem| !problems.contains(problem))
            .collect::<Vec<_>>(),
    );
    problems.retain(|problem| !demands.values().any(|demand| demand.problems.contains(problem)));
    for ((preview, observed), balancer) in load_balancers.iter_mut().zip(&mut after).zip(desired.values()) {
        let rest = one(settings, &preview.id, *balancer, observed, &shared, account);
        preview.changes.extend(rest.changes);
    }
    let shared_preview = SharedPreview {
        resources: shared::resources(settings, &demands, &shared, account),
        changes,
    };
    let all = load_balancers
        .iter()
        .flat_map(|preview| &preview.changes)
        .chain(&shared_preview.changes);
    let summary = summarize(all);
    Document {
        load_balancers,
        shared: shared_preview,
        problems,
        summary,
    }
}

fn one(
    settings: &Settings,
    id: &LoadBalancerId,
    balancer: Option<&LoadBalancer>,
    observed: &mut Observed,
    shared: &Shared,
    account: &Account,
) -> Preview {
    let backend = kept::backend_group(settings, Some(shared), account);
    let desired = balancer.and_then(|balancer| {
        let balancer = kept::settled(settings, balancer, observed, backend);
        compile(settings, &balancer, account, observed).0
    });
    let object = match id {
        LoadBalancerId::Group(name) => ObjectName::cluster(name.clone()),
        LoadBalancerId::Lone(object) => object.clone(),
    };
    let (changes, problems) = settle(
        observed,
        &Origin::new("loadbalancer", object, ""),
        |observed| plan(settings, id, balancer, observed, shared, account),
        fold,
    );
    Preview {
        id: id.clone(),
        provider: "aws",
        members: balancer
            .map(|balancer| balancer.members.clone())
            .unwrap_or_default(),
        resources: desired.map(|desired| desired.resources()).unwrap_or_default(),
        changes,
        problems,
    }
}

/// Rounds with imagined answers until one is empty. The problems are those of the first round.
fn settle<S>(
    state: &mut S,
    origin: &Origin,
    round: impl Fn(&S) -> (Plan<Change>, Vec<Problem>),
    fold: impl Fn(&mut S, &Change, Answer),
) -> (Vec<ChangeSummary>, Vec<Problem>) {
    let (mut plan, mut problems) = round(state);
    let mut changes = Vec::new();
    for _ in 0..MOST_ROUNDS {
        if plan.is_empty() {
            return (changes, problems);
        }
        for change in &plan.changes {
            changes.push(change.summary());
            fold(state, change, imagine(change));
        }
        (plan, _) = round(state);
    }
    let message = format!("after {MOST_ROUNDS} rounds there is still something to change");
    problems.push(Problem::new(Code::NotSettled, origin.clone(), message));
    (changes, problems)
}

/// How much these changes change.
pub fn summarize<'a>(changes: impl Iterator<Item = &'a ChangeSummary>) -> Summary {
    let mut out = Summary::default();
    for change in changes {
        let count = match change.verb {
            Verb::Create => &mut out.create,
            Verb::Update => &mut out.update,
            Verb::Delete => &mut out.delete,
        };
        *count += 1;
        out.calls += 1;
    }
    out
}
