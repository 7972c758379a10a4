//! What is observed, a change and its answer in, what is observed then out: the way from one round to the next.

use portcullis_model::Address;

use crate::change::{Answer, Call, Change};
use crate::observed::{
    ListenerState, LoadBalancerState, Marked, Observed, Owned, RuleState, SecurityGroupState, Shared,
    TargetGroupState,
};
use crate::resource::{
    CertificateRef, Id, Kind, LoadBalancerArn, LoadBalancerSpec, Pairs, SecurityGroupId, SecurityGroupSpec,
    TargetGroupArn, TargetGroupSpec, kind,
};

/// The answer a dry run imagines, with symbolic ids such as `${TargetGroup/shop/web-web:80}`.
pub fn imagine(change: &Change) -> Answer {
    fn id<K: Kind>(change: &Change) -> Id<K> {
        Id::symbolic(&change.id)
    }
    match &change.call {
        Call::CreateSecurityGroup { .. } => Answer::SecurityGroup { id: id(change) },
        Call::CreateTargetGroup { spec } => Answer::TargetGroup {
            arn: id(change),
            tags: spec.tags.clone(),
        },
        Call::CreateLoadBalancer { spec } => Answer::LoadBalancer {
            arn: id(change),
            dns_name: format!("${{{}/{}/DNSName}}", kind::LoadBalancer::NAME, change.id),
            tags: spec.tags.clone(),
        },
        Call::CreateListener { .. } => Answer::Listener { arn: id(change) },
        Call::CreateRule { .. } => Answer::Rule { arn: id(change) },
        Call::AuthorizeSecurityGroupIngress { .. }
        | Call::RevokeSecurityGroupIngress { .. }
        | Call::DeleteSecurityGroup { .. }
        | Call::CreateTags { .. }
        | Call::DeleteTags { .. }
        | Call::ModifyTargetGroup { .. }
        | Call::ModifyTargetGroupAttributes { .. }
        | Call::RegisterTargets { .. }
        | Call::DeregisterTargets { .. }
        | Call::DeleteTargetGroup { .. }
        | Call::SetIpAddressType { .. }
        | Call::SetSubnets { .. }
        | Call::SetSecurityGroups { .. }
        | Call::ModifyLoadBalancerAttributes { .. }
        | Call::DeleteLoadBalancer { .. }
        | Call::ModifyListener { .. }
        | Call::AddListenerCertificates { .. }
        | Call::RemoveListenerCertificates { .. }
        | Call::DeleteListener { .. }
        | Call::ModifyRule { .. }
        | Call::SetRulePriorities { .. }
        | Call::DeleteRule { .. }
        | Call::AddTags { .. }
        | Call::RemoveTags { .. } => Answer::Done,
    }
}

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

fn listeners(observed: &mut Observed) -> impl Iterator<Item = &mut ListenerState> {
    observed
        .load_balancers
        .iter_mut()
        .flat_map(|owned| owned.get_mut().listeners.values_mut())
}

/// What is observed of a load balancer after this answer.
pub fn fold(observed: &mut Observed, change: &Change, answer: Answer) {
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
        Call::DeleteTargetGroup { arn } => observed.target_groups.retain(|owned| owned.get().arn != *arn),

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
                    spec,
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
        Call::DeleteLoadBalancer { arn } => observed.load_balancers.retain(|owned| owned.get().arn != *arn),

        Call::CreateListener { .. }
        | Call::ModifyListener { .. }
        | Call::AddListenerCertificates { .. }
        | Call::RemoveListenerCertificates { .. }
        | Call::DeleteListener { .. } => fold_listener(observed, &change.call, answer),

        Call::CreateRule { .. }
        | Call::ModifyRule { .. }
        | Call::SetRulePriorities { .. }
        | Call::DeleteRule { .. } => {
            fold_rule(observed, &change.call, answer);
        }

        Call::AddTags { arn, tags } => retag(observed, arn, |had| had.0.extend(tags.0.clone())),
        Call::RemoveTags { arn, keys } => {
            retag(observed, arn, |had| had.0.retain(|key, _| !keys.contains(key)))
        }
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

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other call leaves listeners alone"
)]
fn fold_listener(observed: &mut Observed, call: &Call, answer: Answer) {
    match call {
        Call::CreateListener {
            load_balancer: parent,
            spec,
        } => {
            if let (Some(state), Answer::Listener { arn }) = (load_balancer(observed, parent), answer) {
                let mut spec = spec.clone();
                spec.certificates.truncate(1);
                state.listeners.insert(
                    spec.port,
                    ListenerState {
                        arn,
                        spec,
                        rules: Vec::new(),
                    },
                );
            }
        }
        Call::ModifyListener { arn, spec } => {
            if let Some(state) = listeners(observed).find(|l| l.arn == *arn) {
                let default = spec.certificates.iter().take(1);
                let extra = state.spec.certificates.iter().skip(1);
                let certificates = default.chain(extra).cloned().collect();
                let tags = state.spec.tags.clone();
                state.spec = crate::resource::ListenerSpec {
                    certificates,
                    tags,
                    ..spec.clone()
                };
            }
        }
        Call::AddListenerCertificates { arn, certificate } => {
            if let Some(state) = listeners(observed).find(|l| l.arn == *arn) {
                state.spec.certificates.push(CertificateRef {
                    certificate_arn: certificate.clone(),
                });
            }
        }
        Call::RemoveListenerCertificates { arn, certificate } => {
            if let Some(state) = listeners(observed).find(|l| l.arn == *arn) {
                let mut place = 0;
                state.spec.certificates.retain(|had| {
                    place += 1;
                    // The first is the default one, which ModifyListener alone changes.
                    place == 1 || had.certificate_arn != *certificate
                });
            }
        }
        Call::DeleteListener { arn } => {
            for owned in &mut observed.load_balancers {
                owned
                    .get_mut()
                    .listeners
                    .retain(|_, listener| listener.arn != *arn);
            }
        }
        _ => {}
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other call leaves rules alone"
)]
fn fold_rule(observed: &mut Observed, call: &Call, answer: Answer) {
    match call {
        Call::CreateRule { listener, spec } => {
            let parent = listeners(observed).find(|l| l.arn == *listener);
            if let (Some(state), Answer::Rule { arn }) = (parent, answer) {
                state.rules.push(RuleState {
                    arn,
                    spec: spec.clone(),
                });
            }
        }
        Call::ModifyRule {
            arn,
            conditions,
            actions,
            transforms,
        } => {
            for rule in listeners(observed)
                .flat_map(|l| &mut l.rules)
                .filter(|rule| rule.arn == *arn)
            {
                rule.spec.conditions.clone_from(conditions);
                rule.spec.actions.clone_from(actions);
                rule.spec.transforms.clone_from(transforms);
            }
        }
        Call::SetRulePriorities { priorities } => {
            for (arn, priority) in priorities {
                for rule in listeners(observed)
                    .flat_map(|l| &mut l.rules)
                    .filter(|rule| rule.arn == *arn)
                {
                    rule.spec.priority = *priority;
                }
            }
        }
        Call::DeleteRule { arn } => {
            for listener in listeners(observed) {
                listener.rules.retain(|rule| rule.arn != *arn);
            }
        }
        _ => {}
    }
    for listener in listeners(observed) {
        listener.rules.sort_by_key(|rule| rule.spec.priority);
    }
}

fn retag(observed: &mut Observed, arn: &str, edit: impl Fn(&mut Pairs)) {
    let named = |known: &str| known == arn;
    for state in observed.target_groups.iter_mut().map(Owned::get_mut) {
        if named(state.arn.as_str()) {
            edit(&mut state.spec.tags);
        }
    }
    for state in observed.load_balancers.iter_mut().map(Owned::get_mut) {
        if named(state.arn.as_str()) {
            edit(&mut state.spec.tags);
        }
        for listener in state.listeners.values_mut() {
            if named(listener.arn.as_str()) {
                edit(&mut listener.spec.tags);
            }
            for rule in &mut listener.rules {
                if named(rule.arn.as_str()) {
                    edit(&mut rule.spec.tags);
                }
            }
        }
    }
}

/// What is observed of what spans load balancers after this answer.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other call is about one load balancer"
)]
pub fn fold_shared(shared: &mut Shared, change: &Change, answer: Answer) {
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

/// Where clients find it, once it exists.
pub fn address(observed: &Observed) -> Option<Address> {
    let first = observed.load_balancers.first()?;
    Some(Address::Hostname(first.get().dns_name.to_ascii_lowercase()))
}

/// Kind, logical id and ARN or id of each resource that exists, in the order in which they are made.
pub fn inventory(observed: &Observed) -> Vec<(&'static str, String, String)> {
    let mut out = Vec::new();
    for owned in &observed.security_groups {
        out.push((
            kind::SecurityGroup::NAME,
            owned.resource().to_owned(),
            owned.get().id.to_string(),
        ));
    }
    for owned in &observed.target_groups {
        out.push((
            kind::TargetGroup::NAME,
            owned.resource().to_owned(),
            owned.get().arn.to_string(),
        ));
    }
    for owned in &observed.load_balancers {
        let state = owned.get();
        out.push((
            kind::LoadBalancer::NAME,
            owned.resource().to_owned(),
            state.arn.to_string(),
        ));
        for (port, listener) in &state.listeners {
            out.push((kind::Listener::NAME, port.to_string(), listener.arn.to_string()));
            for rule in &listener.rules {
                let id = format!("{port}:{}", rule.spec.priority);
                out.push((kind::ListenerRule::NAME, id, rule.arn.to_string()));
            }
        }
    }
    out
}
