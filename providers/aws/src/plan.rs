//! What should exist and what does in, the calls that can be made now out: one round.
//!
//! A round holds only calls whose ids are known. Its order: what frees quota and serves nobody goes first; then what is
//! needed by what follows (groups, target groups, load balancer, listeners, rules); what takes away (targets,
//! permissions) comes after what replaces it, and that is healthy (`awaited.rs`). Whatever cannot be done yet is left to the next round, which is planned
//! from the answers. Tags, attributes and health checks wait until nothing else is left to do, and what stands in front
//! waits for all of it.
//!
//! What AWS refused in this pass is left out, and what would rely on it: each step says how. All else goes on.

mod attributes;
mod awaited;
pub(crate) mod certificates;
mod front;
mod listeners;
mod load_balancer;
mod protection;
pub(crate) mod refused;
mod remove;
mod rules;
mod second;
mod security_group;
pub(crate) mod tags;
mod target_groups;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use refused::is_foreign;
pub use second::waits;
pub(crate) use security_group::{waits_for_others, without};

use portcullis_model::{FieldChange, LoadBalancer, LoadBalancerId, Plan, Problem};
use serde::Serialize;

use crate::account::Account;
use crate::change::{Call, Change};
use crate::compile::{Desired, compile};
use crate::kept;
use crate::limits::Quotas;
use crate::names;
use crate::observed::{Observed, Owned, Owner, SecurityGroupState, Shared, TargetGroupState};
use crate::resource::{CertificateArn, Kind, Ref, RuleAction, SecurityGroupId, TargetGroupArn, kind};
use crate::settings::Settings;

/// One round for a load balancer. `None` means: nothing of it should exist.
pub fn plan(
    settings: &Settings,
    id: &LoadBalancerId,
    desired: Option<&LoadBalancer>,
    observed: &Observed,
    shared: &Shared,
    account: &Account,
) -> (Plan<Change>, Vec<Problem>) {
    let Some(balancer) = desired else {
        return remove::everything(id, observed, shared);
    };
    let stripped;
    let observed = match settings.external_tags.is_empty() {
        true => observed,
        false => {
            stripped = observed.without_tags(&settings.external_tags);
            &stripped
        }
    };
    let views = second::views(observed);
    let serving = views.as_ref().map_or(observed, |views| &views.serving);
    let backend = kept::backend_group(settings, Some(shared), account);
    let balancer = &*kept::settled(settings, balancer, serving, backend);
    let (desired, mut problems) = compile(settings, balancer, account, serving);
    problems.extend(refused::problems(id, desired.as_ref(), &observed.refused));
    let Some(desired) = desired else {
        return (Plan::default(), problems);
    };
    let (mut changes, waiting) = round(&Round {
        id,
        desired: &desired,
        observed: serving,
        shared,
        quotas: account.quotas,
        target_groups: target_groups::kept(&desired, serving),
        names: names_of(observed),
        attached: certificates::attached(observed),
    });
    problems.extend(waiting);
    if let (true, Some(state)) = (changes.is_empty(), serving.load_balancer()) {
        let given = second::Given {
            settings,
            balancer,
            observed,
            shared,
            account,
        };
        let second = views.as_ref().and_then(|views| views.second.as_ref());
        let second = second.map(|(role, observed)| (*role, observed));
        changes = second::arrange(given, state, second, &mut problems);
        changes.retain(|change| !refused::holds(&observed.refused, &change.call));
    }
    (Plan { changes }, problems)
}

/// Why it neither exists nor can be made. Where nothing was observed yet, the account's listing says whether it exists.
pub fn unmade(
    settings: &Settings,
    balancer: &LoadBalancer,
    observed: Option<&Observed>,
    account: &Account,
) -> Option<Problem> {
    let owner = Owner::load_balancer(&settings.cluster, &balancer.id);
    let exists = match observed {
        Some(observed) => !observed.load_balancers.is_empty(),
        None => {
            let mut listed = account.listing.load_balancers.iter();
            listed.any(|state| Owned::read(&owner, &state.spec.tags, ()).is_some())
        }
    };
    if exists {
        return None;
    }
    match compile(settings, balancer, account, &Observed::nothing(owner)) {
        (Some(_), _) => None,
        (None, problems) => problems.into_iter().next(),
    }
}

/// What every step of a round reads.
struct Round<'a> {
    id: &'a LoadBalancerId,
    desired: &'a Desired,
    observed: &'a Observed,
    shared: &'a Shared,
    quotas: Quotas,
    /// By logical id: of those that exist, the ones that are kept.
    target_groups: BTreeMap<&'a str, &'a TargetGroupState>,
    /// Of every target group that exists.
    names: BTreeSet<&'a str>,
    /// Certificates of every listener that exists.
    attached: BTreeSet<&'a CertificateArn>,
}

fn names_of(observed: &Observed) -> BTreeSet<&str> {
    let groups = observed.target_groups.iter();
    groups.map(|owned| owned.get().spec.name.as_str()).collect()
}

/// The calls, and the rules that wait for one that was refused.
fn round(round: &Round<'_>) -> (Vec<Change>, Vec<Problem>) {
    let (mut changes, mut waiting) = (Vec::new(), Vec::new());
    listeners::delete_surplus(round, &mut changes);
    target_groups::delete_surplus(round, &mut changes);
    security_group::create(round, &mut changes);
    target_groups::create(round, &mut changes);
    certificates::import_all(round, &mut changes);
    load_balancer::create(round, &mut changes);
    protection::put_first(round, &mut changes);
    listeners::create(round, &mut changes);
    rules::arrange(round, &mut changes, &mut waiting);
    target_groups::desert(round, &mut changes);
    target_groups::deregister(round, &mut changes);
    security_group::revoke(round, &mut changes);
    load_balancer::delete_surplus(round, &mut changes);
    certificates::delete_surplus(round, &mut changes);
    round.leave_out_refused(&mut changes);
    if changes.is_empty() {
        // Last of all: of these AWS refuses what it does not know, and a refusal ends the pass. Routes do not wait.
        tags::write(round, &mut changes);
        load_balancer::set_attributes(round, &mut changes);
        listeners::set_attributes(round, &mut changes);
        target_groups::set(round, &mut changes);
        protection::set(round, &mut changes);
        load_balancer::set_supply(round, &mut changes);
        round.leave_out_refused(&mut changes);
    }
    if changes.is_empty() {
        awaited::look(round, &mut changes);
        round.leave_out_refused(&mut changes);
    }
    if changes.is_empty() {
        front::arrange(round, &mut changes);
        round.leave_out_refused(&mut changes);
    }
    (changes, waiting)
}

impl Round<'_> {
    /// What becomes of tags that nobody asks for.
    fn surplus(&self) -> tags::Surplus {
        match self.desired.keeps_tags {
            true => tags::Surplus::Kept,
            false => tags::Surplus::Removed,
        }
    }

    fn managed_group(&self) -> Option<&SecurityGroupState> {
        let own = |owned: &&Owned<SecurityGroupState>| owned.resource() == names::MANAGED_SECURITY_GROUP;
        self.observed.security_groups.iter().find(own).map(Owned::get)
    }

    /// Whether this call, or one that is the same to AWS, was refused.
    fn is_refused(&self, call: &Call) -> bool {
        refused::holds(&self.observed.refused, call)
    }

    /// What was refused is not asked for again in this pass.
    fn leave_out_refused(&self, changes: &mut Vec<Change>) {
        changes.retain(|change| !self.is_refused(&change.call));
    }

    /// Whether one of these target groups cannot be had in this pass.
    fn lacks(&self, actions: &[RuleAction<Ref<kind::TargetGroup>>]) -> bool {
        let mut groups = actions.iter().flat_map(RuleAction::target_groups);
        groups.any(|group| match group {
            Ref::Known(_) => false,
            Ref::Logical(id) => {
                self.target_group(group).is_none() && refused::lacks_target_group(&self.observed.refused, id)
            }
        })
    }

    /// None where the group does not exist yet.
    fn security_group(&self, reference: &Ref<kind::SecurityGroup>) -> Option<SecurityGroupId> {
        match reference {
            Ref::Known(id) => Some(id.clone()),
            Ref::Logical(id) if **id == *names::BACKEND_SECURITY_GROUP => {
                self.shared.backend.as_ref().map(|owned| owned.get().id.clone())
            }
            Ref::Logical(_) => self.managed_group().map(|state| state.id.clone()),
        }
    }

    /// None where the target group does not exist yet.
    fn target_group(&self, reference: &Ref<kind::TargetGroup>) -> Option<TargetGroupArn> {
        match reference {
            Ref::Known(arn) => Some(arn.clone()),
            Ref::Logical(id) => self.target_groups.get(&**id).map(|state| state.arn.clone()),
        }
    }

    /// Every target group that a rule or default action forwards to, as things are.
    fn used_target_groups(&self) -> impl Iterator<Item = &TargetGroupArn> {
        let listeners = self
            .observed
            .load_balancers
            .iter()
            .flat_map(|owned| owned.get().listeners.values());
        listeners.flat_map(|listener| {
            let rules = listener.rules.iter().flat_map(|rule| &rule.spec.actions);
            listener
                .spec
                .default_actions
                .iter()
                .chain(rules)
                .flat_map(|action| action.target_groups())
        })
    }
}

/// A call about one resource, and why.
pub(crate) fn change<K: Kind>(id: impl Into<String>, call: Call, reason: impl Into<String>) -> Change {
    Change {
        call,
        kind: K::NAME,
        id: id.into(),
        reason: reason.into(),
        fields: Vec::new(),
        guest: None,
    }
}

/// The field, if the two values differ.
pub(crate) fn field(name: &str, from: &impl Serialize, to: &impl Serialize) -> Option<FieldChange> {
    let (from, to) = (json(from), json(to));
    (from != to).then(|| FieldChange {
        field: name.to_owned(),
        from,
        to,
    })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
