//! What is observed, a change and its answer in, what is observed then out: the way from one round to the next.

mod certificates;
mod imagine;
mod listeners;
mod shown;

pub use imagine::imagine;
pub use shown::{address, backends, further_addresses, inventory, listed};

use portcullis_model::{Code, Refusals};

use crate::change::{Answer, Call, Change};
use crate::observed::{
    LoadBalancerState, Looked, Marked, Observed, Owned, ProtectionState, SecurityGroupState, Shared, Stage,
    TargetGroupState,
};
use crate::resource::{
    LoadBalancerArn, LoadBalancerSpec, Pairs, SecurityGroupId, SecurityGroupSpec, Source, TargetGroupArn,
    TargetGroupSpec,
};

fn security_group<'a>(observed: &'a mut Observed, id: &SecurityGroupId) -> Option<&'a mut SecurityGroupSpec> {
    let mut all = observed.security_groups.iter_mut().map(Owned::get_mut);
    all.find(|state| state.id == *id).map(|state| &mut state.spec)
}

fn target_group<'a>(observed: &'a mut Observed, arn: &TargetGroupArn) -> Option<&'a mut TargetGroupSpec> {
    let mut all = observed.target_groups.iter_mut().map(Owned::get_mut);
    all.find(|state| state.arn == *arn).map(|state| &mut state.spec)
}

fn load_balancer<'a>(observed: &'a mut Observed, arn: &LoadBalancerArn) -> Option<&'a mut LoadBalancerState> {
    let mut all = observed.load_balancers.iter_mut().map(Owned::get_mut);
    all.find(|state| state.arn == *arn)
}

fn settings<'a>(
    observed: &'a mut Observed,
    arn: &LoadBalancerArn,
) -> Option<&'a mut LoadBalancerSpec<SecurityGroupId>> {
    load_balancer(observed, arn).map(|state| &mut state.spec)
}

/// What is observed of a load balancer after this answer.
pub fn fold(observed: &mut Observed, change: &Change, answer: Answer) {
    room_was_made(&mut observed.refused, &change.call);
    match &change.call {
        Call::CreateSecurityGroup { spec } => {
            if let Answer::SecurityGroup { id } = answer {
                let state = created_security_group(id, spec);
                let tags = spec.tags.clone();
                observed
                    .security_groups
                    .extend(Owned::read(&observed.owner, &tags, state));
            }
        }
        Call::AuthorizeSecurityGroupIngress { group, .. }
        | Call::RevokeSecurityGroupIngress { group, .. }
        | Call::CreateTags { group, .. }
        | Call::DeleteTags { group, .. } => {
            if let Some(spec) = security_group(observed, group) {
                edit_security_group(spec, &change.call);
            }
        }
        Call::DeleteSecurityGroup { group } => {
            observed.security_groups.retain(|owned| owned.get().id != *group)
        }

        Call::CreateTargetGroup { spec } => {
            if let Answer::TargetGroup { arn, tags } = answer {
                let spec = TargetGroupSpec {
                    tags: tags.clone(),
                    attributes: Pairs::default(),
                    targets: Default::default(),
                    ..spec.clone()
                };
                let state = TargetGroupState { arn, spec };
                observed
                    .target_groups
                    .extend(Owned::read(&observed.owner, &tags, state));
            }
        }
        Call::ModifyTargetGroup { arn, health } => {
            if let Some(spec) = target_group(observed, arn) {
                spec.health = health.clone();
            }
        }
        Call::ModifyTargetGroupAttributes { arn, attributes } => {
            if let Some(spec) = target_group(observed, arn) {
                spec.attributes.0.extend(attributes.0.clone());
            }
        }
        Call::RegisterTargets { arn, targets } => {
            if let Some(spec) = target_group(observed, arn) {
                spec.targets.extend(targets.iter().cloned());
            }
        }
        Call::DeregisterTargets { arn, targets } => {
            if let Some(spec) = target_group(observed, arn) {
                spec.targets.retain(|had| !targets.contains(had));
            }
        }
        Call::DeleteTargetGroup { arn } => {
            observed.healthy.remove(arn);
            observed.target_groups.retain(|owned| owned.get().arn != *arn);
        }

        Call::CreateLoadBalancer { spec } => {
            if let Answer::LoadBalancer { arn, dns_name, tags } = answer {
                let spec = LoadBalancerSpec {
                    tags: tags.clone(),
                    attributes: Pairs::default(),
                    ..spec.clone()
                };
                let state = LoadBalancerState {
                    arn,
                    dns_name,
                    stage: Stage::Provisioning,
                    spec,
                    capacity: Looked::At(0),
                    web_acl: Looked::At(None),
                    protection: Looked::At(None),
                    listeners: Default::default(),
                };
                observed
                    .load_balancers
                    .extend(Owned::read(&observed.owner, &tags, state));
            }
        }
        Call::SetIpAddressType { arn, ip_address_type } => {
            if let Some(spec) = settings(observed, arn) {
                spec.ip_address_type = *ip_address_type;
            }
        }
        Call::SetSubnets { arn, subnets } => {
            if let Some(spec) = settings(observed, arn) {
                spec.subnets.clone_from(subnets);
            }
        }
        Call::SetSecurityGroups { arn, groups } => {
            if let Some(spec) = settings(observed, arn) {
                spec.security_groups.clone_from(groups);
            }
        }
        Call::ModifyLoadBalancerAttributes { arn, attributes } => {
            if let Some(spec) = settings(observed, arn) {
                spec.attributes.0.extend(attributes.0.clone());
            }
        }
        Call::ModifyIpPools { arn, pools } => {
            if let Some(spec) = settings(observed, arn) {
                spec.ipam_pools.clone_from(pools);
            }
        }
        Call::AwaitLoadBalancer { arn } => {
            if let Some(state) = load_balancer(observed, arn) {
                state.stage = Stage::SetUp;
            }
        }
        Call::AwaitTargets { target_groups, .. } => observed.healthy.extend(target_groups.iter().cloned()),
        Call::ModifyCapacityReservation { arn, units } => {
            if let Some(state) = load_balancer(observed, arn) {
                state.capacity = Looked::At(*units);
            }
        }
        Call::AssociateWebAcl {
            load_balancer: arn,
            web_acl,
        } => {
            if let Some(state) = load_balancer(observed, arn) {
                state.web_acl = Looked::At(Some(web_acl.clone()));
            }
        }
        Call::DisassociateWebAcl { load_balancer: arn } => {
            if let Some(state) = load_balancer(observed, arn) {
                state.web_acl = Looked::At(None);
            }
        }
        Call::CreateProtection {
            load_balancer: arn,
            name,
        } => {
            if let (Some(state), Answer::Protection { id }) = (load_balancer(observed, arn), answer) {
                let name = name.clone();
                state.protection = Looked::At(Some(ProtectionState { id, name }));
            }
        }
        Call::DeleteProtection {
            load_balancer: arn, ..
        } => {
            if let Some(state) = load_balancer(observed, arn) {
                state.protection = Looked::At(None);
            }
        }
        Call::DeleteLoadBalancer { arn } => observed.load_balancers.retain(|owned| owned.get().arn != *arn),

        Call::ImportCertificate { .. }
        | Call::DeleteCertificate { .. }
        | Call::AddTagsToCertificate { .. }
        | Call::RemoveTagsFromCertificate { .. } => certificates::fold(observed, &change.call, answer),

        Call::CreateListener { .. }
        | Call::ModifyListener { .. }
        | Call::ModifyListenerAttributes { .. }
        | Call::AddListenerCertificates { .. }
        | Call::RemoveListenerCertificates { .. }
        | Call::DeleteListener { .. } => listeners::listener(observed, &change.call, answer),

        Call::CreateRule { .. }
        | Call::ModifyRule { .. }
        | Call::SetRulePriorities { .. }
        | Call::DeleteRule { .. } => {
            listeners::rule(observed, &change.call, answer);
        }

        Call::AddTags { arn, tags } => listeners::retag(observed, arn, |had| had.0.extend(tags.0.clone())),
        Call::RemoveTags { arn, keys } => {
            listeners::retag(observed, arn, |had| had.0.retain(|key, _| !keys.contains(key)))
        }
    }
}

/// What there was no room for may fit where something went.
fn room_was_made(refused: &mut Refusals<Change>, call: &Call) {
    if call.frees() {
        refused.retain(|refused| refused.error.code != Code::QuotaExceeded);
    }
}

fn created_security_group(id: SecurityGroupId, spec: &SecurityGroupSpec) -> SecurityGroupState {
    SecurityGroupState {
        id,
        spec: SecurityGroupSpec {
            permissions: Default::default(),
            ..spec.clone()
        },
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other call leaves permissions and tags of groups alone"
)]
fn edit_security_group(spec: &mut SecurityGroupSpec, call: &Call) {
    match call {
        Call::AuthorizeSecurityGroupIngress { permissions, .. } => {
            spec.permissions.extend(permissions.iter().cloned())
        }
        Call::RevokeSecurityGroupIngress { permissions, .. } => {
            spec.permissions.retain(|had| !permissions.contains(had));
        }
        Call::CreateTags { tags, .. } => spec.tags.0.extend(tags.0.clone()),
        Call::DeleteTags { keys, .. } => spec.tags.0.retain(|key, _| !keys.contains(key)),
        _ => {}
    }
}

/// What is observed of what spans load balancers after this answer.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other call is about one load balancer"
)]
pub fn fold_shared(shared: &mut Shared, change: &Change, answer: Answer) {
    room_was_made(&mut shared.refused, &change.call);
    match &change.call {
        Call::CreateSecurityGroup { spec } => {
            if let Answer::SecurityGroup { id } = answer {
                shared.backend = Owned::read(&shared.owner, &spec.tags, created_security_group(id, spec));
            }
        }
        Call::DeleteSecurityGroup { group } => {
            shared.backend = shared.backend.take().filter(|owned| owned.get().id != *group);
        }
        Call::AuthorizeSecurityGroupIngress { group, permissions } => {
            let sources = permissions
                .iter()
                .filter_map(|permission| match &permission.source {
                    Source::Group(source) => Some(source.clone()),
                    Source::Range(_) | Source::PrefixList(_) => None,
                });
            shared.let_in.extend(sources);
            let marked = permissions.iter().filter_map(Marked::read);
            shared.marked.entry(group.clone()).or_default().extend(marked);
        }
        Call::RevokeSecurityGroupIngress { group, permissions } => {
            if let Some(had) = shared.marked.get_mut(group) {
                had.retain(|marked| !permissions.contains(marked.permission()));
            }
        }
        call => {
            if let Some(backend) = &mut shared.backend {
                edit_security_group(&mut backend.get_mut().spec, call);
            }
        }
    }
}
