//! What creates answered in, proof that it is ours out, before anything is done with it.
//!
//! A create succeeds, too, if there is a load balancer or target group of the same name and settings already, also
//! somebody else's. Source: ELBv2 API, CreateLoadBalancer and CreateTargetGroup, "idempotent". Whose it is, its tags say.
//! They are read when the resource is first used, by one call at a time, each for all that wait then: passes that come
//! while one is under way find their resources proven by the next. AWS says of a load balancer when it was made, too: one
//! that was made while the call was under way needs no further proof.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use portcullis_model::{Code, ProviderError};

use crate::change::{Answer, Call};
use crate::client::{Client, conflict};
use crate::names;
use crate::observe::{RESOURCES_PER_CALL, tags_of};
use crate::resource::{Pairs, RuleAction, TargetGroupArn};

/// Time for other passes to create what is then read with it. Making a load balancer takes AWS seconds at the least.
const GATHERING: Duration = Duration::from_millis(100);

/// Tags that say whose a resource is.
const OWNERSHIP: [&str; 4] = [
    names::CLUSTER_TAG,
    names::STACK_TAG,
    names::RESOURCE_TAG,
    names::SHARED_RESOURCE_TAG,
];

/// Target groups and load balancers that were answered to a create and not looked at since, by ARN, with the tags that
/// were asked for.
#[derive(Debug, Default)]
pub(crate) struct Unproven {
    waiting: Mutex<BTreeMap<String, Pairs>>,
    reading: tokio::sync::Mutex<()>,
}

/// What a create that succeeded says of what it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    ByThisCall,
    /// Perhaps before.
    Unknown,
}

impl Made {
    /// `begun` and `ended` are of our clock. Where that is ahead of AWS's, what the call made looks older; where it is
    /// behind by more than the call took, it looks as if made afterwards: either is proven by its tags.
    pub(super) fn between(created: Option<SystemTime>, begun: SystemTime, ended: SystemTime) -> Self {
        match created {
            Some(created) if (begun..=ended).contains(&created) => Self::ByThisCall,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// Load balancers and target groups are read apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    LoadBalancer,
    TargetGroup,
}

fn sort(arn: &str) -> Sort {
    // `arn:aws:elasticloadbalancing:<region>:<account>:targetgroup/<name>/<id>`
    if arn.contains(":targetgroup/") {
        Sort::TargetGroup
    } else {
        Sort::LoadBalancer
    }
}

impl Unproven {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, Pairs>> {
        // Single inserts and removals: the map is whole whatever panicked while it held the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a create answered.
    pub(super) fn note(&self, answer: &Answer) {
        match answer {
            Answer::TargetGroup { arn, tags } => drop(self.waiting().insert(arn.to_string(), tags.clone())),
            Answer::LoadBalancer { arn, tags, .. } => {
                drop(self.waiting().insert(arn.to_string(), tags.clone()))
            }
            Answer::Protection { .. }
            | Answer::Certificate { .. }
            | Answer::Done
            | Answer::SecurityGroup { .. }
            | Answer::Listener { .. }
            | Answer::Rule { .. } => {}
        }
    }

    /// Proves what the call uses.
    pub(super) async fn prove(&self, client: &Client, call: &Call) -> Result<(), ProviderError> {
        let used = uses(call);
        if !self.any_waits(&used) {
            return Ok(());
        }
        let _one_at_a_time = self.reading.lock().await;
        if self.any_waits(&used) {
            tokio::time::sleep(GATHERING).await;
        }
        for sort in [Sort::TargetGroup, Sort::LoadBalancer] {
            let batch = self.batch(&used, sort);
            if batch.is_empty() {
                continue;
            }
            let arns: Vec<String> = batch.keys().cloned().collect();
            let tags = tags_of(client, &arns).await?;
            for (arn, asked) in &batch {
                match tags.get(arn) {
                    Some(held) if same_owner(asked, held) => drop(self.waiting().remove(arn)),
                    // It waits on, and each further use is refused as well.
                    Some(_) if used.contains(arn.as_str()) => {
                        let message = format!("{arn} was there before, and its tags name another owner");
                        return Err(conflict(Code::NotOurs, call.name(), message));
                    }
                    None if used.contains(arn.as_str()) => {
                        // Not there any more, or AWS is slow to show it: whoever looks again sees its tags.
                        self.waiting().remove(arn);
                        let message = format!("{arn} was created, but is not found");
                        return Err(conflict(Code::ConflictingChange, call.name(), message));
                    }
                    Some(_) | None => {}
                }
            }
        }
        Ok(())
    }

    fn any_waits(&self, used: &BTreeSet<&str>) -> bool {
        let waiting = self.waiting();
        used.iter().any(|arn| waiting.contains_key(*arn))
    }

    /// What waits of those used, and then as many others of that sort as the call has room for.
    fn batch(&self, used: &BTreeSet<&str>, sort: Sort) -> BTreeMap<String, Pairs> {
        let waiting = self.waiting();
        let of_sort = || waiting.iter().filter(|(arn, _)| self::sort(arn) == sort);
        let (now, later): (Vec<_>, Vec<_>) = of_sort().partition(|(arn, _)| used.contains(arn.as_str()));
        if now.is_empty() {
            return BTreeMap::new();
        }
        let room = now.len().next_multiple_of(RESOURCES_PER_CALL) - now.len();
        let later = later.into_iter().take(room);
        now.into_iter()
            .chain(later)
            .map(|(arn, tags)| (arn.clone(), tags.clone()))
            .collect()
    }
}

fn same_owner(asked: &Pairs, held: &Pairs) -> bool {
    OWNERSHIP.iter().all(|key| asked.get(key) == held.get(key))
}

fn target_groups(actions: &[RuleAction<TargetGroupArn>]) -> BTreeSet<&str> {
    let groups = actions.iter().flat_map(RuleAction::target_groups);
    groups.map(TargetGroupArn::as_str).collect()
}

/// ARNs of load balancers and target groups that the call does something with.
fn uses(call: &Call) -> BTreeSet<&str> {
    match call {
        Call::ModifyTargetGroup { arn, .. }
        | Call::ModifyTargetGroupAttributes { arn, .. }
        | Call::RegisterTargets { arn, .. }
        | Call::DeregisterTargets { arn, .. }
        | Call::DeleteTargetGroup { arn } => [arn.as_str()].into(),

        Call::SetIpAddressType { arn, .. }
        | Call::SetSubnets { arn, .. }
        | Call::SetSecurityGroups { arn, .. }
        | Call::ModifyLoadBalancerAttributes { arn, .. }
        | Call::ModifyIpPools { arn, .. }
        | Call::AwaitLoadBalancer { arn }
        | Call::ModifyCapacityReservation { arn, .. }
        | Call::DeleteLoadBalancer { arn } => [arn.as_str()].into(),

        Call::AssociateWebAcl { load_balancer, .. }
        | Call::DisassociateWebAcl { load_balancer }
        | Call::CreateProtection { load_balancer, .. }
        | Call::DeleteProtection { load_balancer, .. } => [load_balancer.as_str()].into(),

        Call::AwaitTargets { target_groups, .. } => {
            target_groups.iter().map(TargetGroupArn::as_str).collect()
        }

        Call::CreateListener { load_balancer, spec } => {
            let mut used = target_groups(&spec.default_actions);
            used.insert(load_balancer.as_str());
            used
        }
        Call::ModifyListener { spec, .. } => target_groups(&spec.default_actions),
        Call::CreateRule { spec, .. } => target_groups(&spec.actions),
        Call::ModifyRule { actions, .. } => target_groups(actions),
        Call::AddTags { arn, .. } | Call::RemoveTags { arn, .. } => [arn.as_str()].into(),

        Call::CreateSecurityGroup { .. }
        | Call::AuthorizeSecurityGroupIngress { .. }
        | Call::RevokeSecurityGroupIngress { .. }
        | Call::DeleteSecurityGroup { .. }
        | Call::CreateTags { .. }
        | Call::DeleteTags { .. }
        | Call::CreateTargetGroup { .. }
        | Call::CreateLoadBalancer { .. }
        | Call::ImportCertificate { .. }
        | Call::DeleteCertificate { .. }
        | Call::AddTagsToCertificate { .. }
        | Call::RemoveTagsFromCertificate { .. }
        | Call::ModifyListenerAttributes { .. }
        | Call::AddListenerCertificates { .. }
        | Call::RemoveListenerCertificates { .. }
        | Call::DeleteListener { .. }
        | Call::SetRulePriorities { .. }
        | Call::DeleteRule { .. } => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_meanwhile_was_made_by_the_call() {
        let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        for (created, want) in [
            (Some(99_999), Made::Unknown),
            (Some(100_000), Made::ByThisCall),
            (Some(102_000), Made::ByThisCall),
            (Some(102_001), Made::Unknown),
            (None, Made::Unknown),
        ] {
            let made = Made::between(created.map(at), at(100_000), at(102_000));
            assert_eq!(made, want, "{created:?}");
        }
    }
}
