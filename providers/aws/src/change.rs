//! One call to AWS, complete in itself: what a plan decided in, one line for people and the call's parameters out.

use std::collections::BTreeSet;
use std::fmt;

use portcullis_model::{ChangeSummary, FieldChange, Guest, Verb};

use crate::resource::{
    CertificateArn, CertificateSpec, HealthCheckSpec, IpAddressType, IpamPools, ListenerArn, ListenerSpec,
    LoadBalancerArn, LoadBalancerSpec, Pairs, Permission, ProtectionId, RuleAction, RuleArn, RuleCondition,
    RuleSpec, RuleTransform, SecurityGroupId, SecurityGroupSpec, SubnetId, TargetDescription, TargetGroupArn,
    TargetGroupSpec, WebAclArn,
};

/// A call and why it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub call: Call,
    /// Kind of the resource that changes, such as `ListenerRule`.
    pub kind: &'static str,
    /// Its logical id, such as `80:1`.
    pub id: String,
    pub reason: String,
    pub fields: Vec<FieldChange>,
    /// With whose rights, where not with our own.
    pub guest: Option<Guest>,
}

/// How far the health checks of a target group are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// One target is healthy.
    Healthy,
    /// One target is healthy, or none is and each has failed its checks.
    Checked,
}

/// One API call with all of its parameters; nothing is left to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// With its tags, without permissions.
    CreateSecurityGroup {
        spec: SecurityGroupSpec,
    },
    AuthorizeSecurityGroupIngress {
        group: SecurityGroupId,
        permissions: BTreeSet<Permission>,
    },
    RevokeSecurityGroupIngress {
        group: SecurityGroupId,
        permissions: BTreeSet<Permission>,
    },
    DeleteSecurityGroup {
        group: SecurityGroupId,
    },
    /// EC2's own way of tagging.
    CreateTags {
        group: SecurityGroupId,
        tags: Pairs,
    },
    /// EC2's own way of removing tags.
    DeleteTags {
        group: SecurityGroupId,
        keys: BTreeSet<String>,
    },

    /// With its tags, without targets and attributes.
    CreateTargetGroup {
        spec: TargetGroupSpec,
    },
    ModifyTargetGroup {
        arn: TargetGroupArn,
        health: HealthCheckSpec,
    },
    ModifyTargetGroupAttributes {
        arn: TargetGroupArn,
        attributes: Pairs,
    },
    RegisterTargets {
        arn: TargetGroupArn,
        targets: BTreeSet<TargetDescription>,
    },
    DeregisterTargets {
        arn: TargetGroupArn,
        targets: BTreeSet<TargetDescription>,
    },
    DeleteTargetGroup {
        arn: TargetGroupArn,
    },

    /// With its tags, without attributes.
    CreateLoadBalancer {
        spec: LoadBalancerSpec<SecurityGroupId>,
    },
    SetIpAddressType {
        arn: LoadBalancerArn,
        ip_address_type: IpAddressType,
    },
    SetSubnets {
        arn: LoadBalancerArn,
        subnets: Vec<SubnetId>,
    },
    SetSecurityGroups {
        arn: LoadBalancerArn,
        groups: Vec<SecurityGroupId>,
    },
    ModifyLoadBalancerAttributes {
        arn: LoadBalancerArn,
        attributes: Pairs,
    },
    /// Without pools the call removes the one in use.
    ModifyIpPools {
        arn: LoadBalancerArn,
        pools: Option<IpamPools>,
    },
    /// Looks whether it is set up; fails, to be tried again, where it is not.
    AwaitLoadBalancer {
        arn: LoadBalancerArn,
    },
    /// Looks whether each is as far as this; fails, to be tried again, where one is not.
    AwaitTargets {
        target_groups: BTreeSet<TargetGroupArn>,
        until: Until,
    },
    /// Of 0 units the call resets the reservation.
    ModifyCapacityReservation {
        arn: LoadBalancerArn,
        units: u32,
    },
    DeleteLoadBalancer {
        arn: LoadBalancerArn,
    },

    /// Takes the place of the one before it, if any.
    AssociateWebAcl {
        load_balancer: LoadBalancerArn,
        web_acl: WebAclArn,
    },
    DisassociateWebAcl {
        load_balancer: LoadBalancerArn,
    },
    CreateProtection {
        load_balancer: LoadBalancerArn,
        name: String,
    },
    DeleteProtection {
        load_balancer: LoadBalancerArn,
        id: ProtectionId,
    },

    /// As a new certificate with its tags, or in the place of one, whose tags stay: the call takes none then (ACM API,
    /// ImportCertificate.Tags). They must prove first that it is the same Secret's.
    ImportCertificate {
        replaced: Option<CertificateArn>,
        spec: CertificateSpec,
    },
    /// Its tags must prove first that it is ours.
    DeleteCertificate {
        arn: CertificateArn,
        tags: Pairs,
    },
    /// ACM's own way of tagging.
    AddTagsToCertificate {
        arn: CertificateArn,
        tags: Pairs,
    },
    /// ACM's own way of removing tags.
    RemoveTagsFromCertificate {
        arn: CertificateArn,
        keys: BTreeSet<String>,
    },

    /// With its tags and the first of its certificates.
    CreateListener {
        load_balancer: LoadBalancerArn,
        spec: ListenerSpec<TargetGroupArn>,
    },
    /// Port, protocol, default actions, policy, what is asked of clients and the first of its certificates, all of them
    /// given.
    ModifyListener {
        arn: ListenerArn,
        spec: ListenerSpec<TargetGroupArn>,
    },
    ModifyListenerAttributes {
        arn: ListenerArn,
        attributes: Pairs,
    },
    AddListenerCertificates {
        arn: ListenerArn,
        certificate: CertificateArn,
    },
    RemoveListenerCertificates {
        arn: ListenerArn,
        certificate: CertificateArn,
    },
    DeleteListener {
        arn: ListenerArn,
    },

    /// With its tags.
    CreateRule {
        listener: ListenerArn,
        spec: RuleSpec<TargetGroupArn>,
    },
    /// Everything but the priority. Without transforms the call says `ResetTransforms`.
    ModifyRule {
        arn: RuleArn,
        conditions: Vec<RuleCondition>,
        actions: Vec<RuleAction<TargetGroupArn>>,
        transforms: Vec<RuleTransform>,
    },
    /// All at once.
    SetRulePriorities {
        priorities: Vec<(RuleArn, u32)>,
    },
    DeleteRule {
        arn: RuleArn,
    },

    /// ELBv2's own way of tagging. The API's list takes one: "Only one resource can be tagged at a time" is its error
    /// for more (aws-sdk-go-v2, issue 2715).
    AddTags {
        arn: String,
        tags: Pairs,
    },
    /// ELBv2's own way of removing tags, one resource a call like `AddTags`.
    RemoveTags {
        arn: String,
        keys: BTreeSet<String>,
    },
}

/// What a call answered: the ids and fields the next round needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    SecurityGroup {
        id: SecurityGroupId,
    },
    /// With the tags as AWS holds them: a create succeeds, too, if there is one of that name already, also another's.
    TargetGroup {
        arn: TargetGroupArn,
        tags: Pairs,
    },
    /// With the tags as AWS holds them: a create succeeds, too, if there is one of that name already, also another's.
    LoadBalancer {
        arn: LoadBalancerArn,
        dns_name: String,
        tags: Pairs,
    },
    Certificate {
        arn: CertificateArn,
    },
    Listener {
        arn: ListenerArn,
    },
    Rule {
        arn: RuleArn,
    },
    Protection {
        id: ProtectionId,
    },
}

impl Call {
    /// Service and operation, such as `elbv2:CreateRule`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateSecurityGroup { .. } => "ec2:CreateSecurityGroup",
            Self::AuthorizeSecurityGroupIngress { .. } => "ec2:AuthorizeSecurityGroupIngress",
            Self::RevokeSecurityGroupIngress { .. } => "ec2:RevokeSecurityGroupIngress",
            Self::DeleteSecurityGroup { .. } => "ec2:DeleteSecurityGroup",
            Self::CreateTags { .. } => "ec2:CreateTags",
            Self::DeleteTags { .. } => "ec2:DeleteTags",
            Self::CreateTargetGroup { .. } => "elbv2:CreateTargetGroup",
            Self::ModifyTargetGroup { .. } => "elbv2:ModifyTargetGroup",
            Self::ModifyTargetGroupAttributes { .. } => "elbv2:ModifyTargetGroupAttributes",
            Self::RegisterTargets { .. } => "elbv2:RegisterTargets",
            Self::DeregisterTargets { .. } => "elbv2:DeregisterTargets",
            Self::DeleteTargetGroup { .. } => "elbv2:DeleteTargetGroup",
            Self::CreateLoadBalancer { .. } => "elbv2:CreateLoadBalancer",
            Self::SetIpAddressType { .. } => "elbv2:SetIpAddressType",
            Self::SetSubnets { .. } => "elbv2:SetSubnets",
            Self::SetSecurityGroups { .. } => "elbv2:SetSecurityGroups",
            Self::ModifyLoadBalancerAttributes { .. } => "elbv2:ModifyLoadBalancerAttributes",
            Self::ModifyIpPools { .. } => "elbv2:ModifyIpPools",
            Self::AwaitLoadBalancer { .. } => "elbv2:DescribeLoadBalancers",
            Self::AwaitTargets { .. } => "elbv2:DescribeTargetHealth",
            Self::ModifyCapacityReservation { .. } => "elbv2:ModifyCapacityReservation",
            Self::DeleteLoadBalancer { .. } => "elbv2:DeleteLoadBalancer",
            Self::AssociateWebAcl { .. } => "wafv2:AssociateWebACL",
            Self::DisassociateWebAcl { .. } => "wafv2:DisassociateWebACL",
            Self::CreateProtection { .. } => "shield:CreateProtection",
            Self::DeleteProtection { .. } => "shield:DeleteProtection",
            Self::ImportCertificate { .. } => "acm:ImportCertificate",
            Self::DeleteCertificate { .. } => "acm:DeleteCertificate",
            Self::AddTagsToCertificate { .. } => "acm:AddTagsToCertificate",
            Self::RemoveTagsFromCertificate { .. } => "acm:RemoveTagsFromCertificate",
            Self::CreateListener { .. } => "elbv2:CreateListener",
            Self::ModifyListener { .. } => "elbv2:ModifyListener",
            Self::ModifyListenerAttributes { .. } => "elbv2:ModifyListenerAttributes",
            Self::AddListenerCertificates { .. } => "elbv2:AddListenerCertificates",
            Self::RemoveListenerCertificates { .. } => "elbv2:RemoveListenerCertificates",
            Self::DeleteListener { .. } => "elbv2:DeleteListener",
            Self::CreateRule { .. } => "elbv2:CreateRule",
            Self::ModifyRule { .. } => "elbv2:ModifyRule",
            Self::SetRulePriorities { .. } => "elbv2:SetRulePriorities",
            Self::DeleteRule { .. } => "elbv2:DeleteRule",
            Self::AddTags { .. } => "elbv2:AddTags",
            Self::RemoveTags { .. } => "elbv2:RemoveTags",
        }
    }

    /// Whether it takes away what counts against a quota.
    pub fn frees(&self) -> bool {
        self.verb() == Verb::Delete
            || matches!(
                self,
                Self::RevokeSecurityGroupIngress { .. }
                    | Self::DeregisterTargets { .. }
                    | Self::RemoveListenerCertificates { .. }
            )
    }

    /// What it does to its resource.
    pub fn verb(&self) -> Verb {
        match self {
            Self::CreateSecurityGroup { .. }
            | Self::CreateTargetGroup { .. }
            | Self::CreateLoadBalancer { .. }
            | Self::AssociateWebAcl { .. }
            | Self::CreateProtection { .. }
            | Self::ImportCertificate { replaced: None, .. }
            | Self::CreateListener { .. }
            | Self::CreateRule { .. } => Verb::Create,
            Self::DeleteSecurityGroup { .. }
            | Self::DeleteTargetGroup { .. }
            | Self::DeleteLoadBalancer { .. }
            | Self::DisassociateWebAcl { .. }
            | Self::DeleteProtection { .. }
            | Self::DeleteCertificate { .. }
            | Self::DeleteListener { .. }
            | Self::DeleteRule { .. } => Verb::Delete,
            Self::AuthorizeSecurityGroupIngress { .. }
            | Self::RevokeSecurityGroupIngress { .. }
            | Self::CreateTags { .. }
            | Self::DeleteTags { .. }
            | Self::ModifyTargetGroup { .. }
            | Self::ModifyTargetGroupAttributes { .. }
            | Self::RegisterTargets { .. }
            | Self::DeregisterTargets { .. }
            | Self::SetIpAddressType { .. }
            | Self::SetSubnets { .. }
            | Self::SetSecurityGroups { .. }
            | Self::ModifyLoadBalancerAttributes { .. }
            | Self::ModifyIpPools { .. }
            | Self::AwaitLoadBalancer { .. }
            | Self::AwaitTargets { .. }
            | Self::ModifyCapacityReservation { .. }
            | Self::ImportCertificate {
                replaced: Some(_), ..
            }
            | Self::AddTagsToCertificate { .. }
            | Self::RemoveTagsFromCertificate { .. }
            | Self::ModifyListener { .. }
            | Self::ModifyListenerAttributes { .. }
            | Self::AddListenerCertificates { .. }
            | Self::RemoveListenerCertificates { .. }
            | Self::ModifyRule { .. }
            | Self::SetRulePriorities { .. }
            | Self::AddTags { .. }
            | Self::RemoveTags { .. } => Verb::Update,
        }
    }
}

impl Change {
    /// The change as people and tools see it.
    pub fn summary(&self) -> ChangeSummary {
        ChangeSummary {
            verb: self.call.verb(),
            kind: self.kind,
            id: self.id.clone(),
            call: self.call.name(),
            reason: self.reason.clone(),
            fields: self.fields.clone(),
        }
    }
}

impl fmt::Display for Change {
    /// `elbv2:CreateRule ListenerRule 80:1: shop/web asks for it`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}: {}",
            self.call.name(),
            self.kind,
            self.id,
            self.reason
        )
    }
}
