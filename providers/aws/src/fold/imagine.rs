//! A change in, the answer a dry run imagines out.

use crate::change::{Answer, Call, Change};
use crate::resource::{Id, Kind, kind};

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
        Call::ImportCertificate { replaced, .. } => Answer::Certificate {
            arn: replaced.clone().unwrap_or_else(|| id(change)),
        },
        Call::CreateListener { .. } => Answer::Listener { arn: id(change) },
        Call::CreateRule { .. } => Answer::Rule { arn: id(change) },
        Call::CreateProtection { .. } => Answer::Protection { id: id(change) },
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
        | Call::AssociateWebAcl { .. }
        | Call::DisassociateWebAcl { .. }
        | Call::DeleteProtection { .. }
        | Call::DeleteCertificate { .. }
        | Call::AddTagsToCertificate { .. }
        | Call::RemoveTagsFromCertificate { .. }
        | Call::ModifyIpPools { .. }
        | Call::AwaitLoadBalancer { .. }
        | Call::AwaitTargets { .. }
        | Call::ModifyCapacityReservation { .. }
        | Call::DeleteLoadBalancer { .. }
        | Call::ModifyListener { .. }
        | Call::ModifyListenerAttributes { .. }
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
