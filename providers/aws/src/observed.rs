//! What exists and is ours: resources with their tags in, values that prove the ownership out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{OwnTargets, ProviderError, Refusals};

use crate::change::Change;
use crate::names;
use crate::resource::{
    Applied, CertificateArn, Imported, ListenerArn, ListenerProtocol, ListenerSpec, LoadBalancerArn,
    LoadBalancerSpec, Pairs, Permission, ProtectionId, RuleArn, RuleSpec, SecurityGroupId, SecurityGroupSpec,
    Source, TargetDescription, TargetGroupArn, TargetGroupSpec, WebAclArn,
};

/// What is read only where somebody asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Looked<T> {
    /// Nobody asked yet.
    #[default]
    Never,
    At(T),
    /// It could not be read; it is left as it is, and read again by the next pass.
    Failed(ProviderError),
}

impl<T> Looked<T> {
    pub fn at(&self) -> Option<&T> {
        match self {
            Self::At(value) => Some(value),
            Self::Never | Self::Failed(_) => None,
        }
    }

    pub fn at_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::At(value) => Some(value),
            Self::Never | Self::Failed(_) => None,
        }
    }
}

/// How far AWS is with making a load balancer, which takes it minutes. Source: ELBv2 API, LoadBalancerState.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Provisioning,
    SetUp,
}

/// A rule that exists, with its priority in the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleState {
    pub arn: RuleArn,
    pub spec: RuleSpec<TargetGroupArn>,
}

/// A listener that exists, with its rules but the default one, in the order of priorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerState {
    pub arn: ListenerArn,
    pub spec: ListenerSpec<TargetGroupArn>,
    pub attributes: Looked<Pairs>,
    pub rules: Vec<RuleState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancerState {
    pub arn: LoadBalancerArn,
    pub dns_name: String,
    pub stage: Stage,
    pub spec: LoadBalancerSpec<SecurityGroupId>,
    /// Reserved capacity units; 0 for none.
    pub capacity: Looked<u32>,
    /// The web ACL before it.
    pub web_acl: Looked<Option<WebAclArn>>,
    /// Its protection by AWS Shield Advanced.
    pub protection: Looked<Option<ProtectionState>>,
    /// By port.
    pub listeners: BTreeMap<u16, ListenerState>,
}

/// A protection of AWS Shield Advanced, ours or not, as its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectionState {
    pub id: ProtectionId,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetGroupState {
    pub arn: TargetGroupArn,
    pub spec: TargetGroupSpec,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroupState {
    pub id: SecurityGroupId,
    pub spec: SecurityGroupSpec,
}

/// A certificate taken from a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateState {
    pub arn: CertificateArn,
    pub imported: Imported,
    pub tags: Pairs,
}

/// Whose resources: the cluster and the load balancer, as ownership tags name them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    cluster: String,
    stack: Option<String>,
}

impl Owner {
    /// Of one load balancer.
    pub fn load_balancer(cluster: &str, id: &portcullis_model::LoadBalancerId) -> Self {
        Self {
            cluster: cluster.to_owned(),
            stack: Some(id.to_string()),
        }
    }

    /// Of what spans all load balancers of the cluster.
    pub fn cluster(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            stack: None,
        }
    }

    /// The tags that a resource of this owner has.
    pub fn tags(&self, resource: &str) -> Pairs {
        let cluster = (names::CLUSTER_TAG.to_owned(), self.cluster.clone());
        match &self.stack {
            Some(stack) => [
                cluster,
                (names::STACK_TAG.to_owned(), stack.clone()),
                (names::RESOURCE_TAG.to_owned(), resource.to_owned()),
            ]
            .into_iter()
            .collect(),
            None => [
                cluster,
                (names::SHARED_RESOURCE_TAG.to_owned(), resource.to_owned()),
            ]
            .into_iter()
            .collect(),
        }
    }

    /// The logical id that these tags give a resource of this owner; none if it is not this owner's.
    fn resource_of<'a>(&self, tags: &'a Pairs) -> Option<&'a str> {
        let cluster = tags
            .get(names::CLUSTER_TAG)
            .or_else(|| tags.get(names::LEGACY_CLUSTER_TAG));
        if cluster != Some(self.cluster.as_str()) {
            return None;
        }
        match &self.stack {
            Some(stack) if tags.get(names::STACK_TAG) == Some(stack) => tags.get(names::RESOURCE_TAG),
            Some(_) => None,
            None => tags.get(names::SHARED_RESOURCE_TAG),
        }
    }
}

/// A resource whose tags say that it is ours. Only such resources are changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned<T> {
    resource: String,
    value: T,
}

impl<T> Owned<T> {
    /// Reads the ownership tags, which must be the resource's own as AWS holds them.
    pub(crate) fn read(owner: &Owner, tags: &Pairs, value: T) -> Option<Self> {
        Some(Self {
            resource: owner.resource_of(tags)?.to_owned(),
            value,
        })
    }

    /// Logical id, such as `LoadBalancer` or `shop/web-web:80`.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    pub fn get(&self) -> &T {
        &self.value
    }

    /// After the tag that names it has changed.
    pub(crate) fn rename(&mut self, resource: &str) {
        resource.clone_into(&mut self.resource);
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// What exists of one load balancer. There may be two of a kind, such as a target group and its replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub owner: Owner,
    pub load_balancers: Vec<Owned<LoadBalancerState>>,
    pub target_groups: Vec<Owned<TargetGroupState>>,
    pub security_groups: Vec<Owned<SecurityGroupState>>,
    /// Taken from Secrets.
    pub certificates: Vec<Owned<CertificateState>>,
    /// Why it is not known which of those there are; none is made or deleted then.
    pub certificates_unread: Option<ProviderError>,
    /// Of the targets in groups where other clusters register some, too: those that are recorded as ours.
    pub own_targets: OwnTargets,
    pub refused: Refusals<Change>,
    /// Target groups that were seen to have a healthy target.
    pub healthy: BTreeSet<TargetGroupArn>,
    /// When it was last looked at closely, in seconds since 1970.
    pub looked_at: Option<u64>,
    /// What was last applied in full and is never shown.
    pub applied: Applied,
}

impl Observed {
    /// Nothing exists.
    pub fn nothing(owner: Owner) -> Self {
        Self {
            owner,
            load_balancers: Vec::new(),
            target_groups: Vec::new(),
            security_groups: Vec::new(),
            certificates: Vec::new(),
            certificates_unread: None,
            own_targets: OwnTargets::new(),
            refused: Refusals::default(),
            healthy: BTreeSet::new(),
            looked_at: None,
            applied: Applied::new(),
        }
    }

    /// Whether this cluster has registered this target of a group where others register some, too.
    pub fn is_own(&self, service: &str, target: &TargetDescription) -> bool {
        let own = self.own_targets.get(service);
        own.is_some_and(|own| own.contains(&target.key()))
    }

    /// The load balancer that serves, should there be more than one. Between the two calls by which one takes another's
    /// place, it is the one that does.
    pub fn load_balancer(&self) -> Option<&LoadBalancerState> {
        let named = |name: &'static str| {
            let mut all = self.load_balancers.iter();
            all.find(move |owned| owned.resource() == name)
        };
        let taking_over = || named(names::RETIRED).and(named(names::SUCCESSOR));
        named(names::LOAD_BALANCER).or_else(taking_over).map(Owned::get)
    }

    /// The ports it listens on, and whether HTTPS is spoken there.
    pub fn ports(&self) -> impl Iterator<Item = (u16, bool)> {
        let listeners = self
            .load_balancer()
            .into_iter()
            .flat_map(|state| &state.listeners);
        listeners.map(|(port, listener)| (*port, listener.spec.protocol == ListenerProtocol::Https))
    }

    /// The same, to be completed.
    pub fn load_balancer_mut(&mut self) -> Option<&mut LoadBalancerState> {
        let own = |owned: &&mut Owned<LoadBalancerState>| owned.resource() == names::LOAD_BALANCER;
        self.load_balancers.iter_mut().find(own).map(Owned::get_mut)
    }

    /// The Network Load Balancer in front of it.
    pub fn front(&self) -> Option<&LoadBalancerState> {
        let own = |owned: &&Owned<LoadBalancerState>| owned.resource() == names::FRONT;
        self.load_balancers.iter().find(own).map(Owned::get)
    }

    /// The same without tags of these keys, whose values nobody here is to judge.
    pub(crate) fn without_tags(&self, keys: &BTreeSet<String>) -> Self {
        let mut out = self.clone();
        let strip = |tags: &mut Pairs| tags.0.retain(|key, _| !keys.contains(key));
        for state in out.load_balancers.iter_mut().map(Owned::get_mut) {
            strip(&mut state.spec.tags);
            for listener in state.listeners.values_mut() {
                strip(&mut listener.spec.tags);
                listener
                    .rules
                    .iter_mut()
                    .for_each(|rule| strip(&mut rule.spec.tags));
            }
        }
        for state in out.target_groups.iter_mut().map(Owned::get_mut) {
            strip(&mut state.spec.tags);
        }
        for state in out.security_groups.iter_mut().map(Owned::get_mut) {
            strip(&mut state.spec.tags);
        }
        for state in out.certificates.iter_mut().map(Owned::get_mut) {
            strip(&mut state.tags);
        }
        out
    }

    pub fn is_nothing(&self) -> bool {
        self.load_balancers.is_empty()
            && self.target_groups.is_empty()
            && self.security_groups.is_empty()
            && self.certificates.is_empty()
    }
}

/// A permission that carries our mark; on groups that are not ours, only such permissions are changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marked(Permission);

impl Marked {
    /// Reads the mark, which is the permission's description.
    pub(crate) fn read(permission: &Permission) -> Option<Self> {
        names::is_marked(&permission.description).then(|| Self(permission.clone()))
    }

    pub fn permission(&self) -> &Permission {
        &self.0
    }
}

/// What exists of what spans load balancers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    pub owner: Owner,
    /// The cluster's backend security group.
    pub backend: Option<Owned<SecurityGroupState>>,
    /// Permissions with our mark, by the security group of nodes or pods that they are on.
    pub marked: BTreeMap<SecurityGroupId, BTreeSet<Marked>>,
    /// Groups that were let in since: they may be newer than the account's listing.
    pub let_in: BTreeSet<SecurityGroupId>,
    pub refused: Refusals<Change>,
}

impl Shared {
    pub fn nothing(cluster: &str) -> Self {
        Self {
            owner: Owner::cluster(cluster),
            backend: None,
            marked: BTreeMap::new(),
            let_in: BTreeSet::new(),
            refused: Refusals::default(),
        }
    }

    /// Whether nodes let in the members of this group: until they do not any more, AWS does not let go of it.
    pub(crate) fn lets_in(&self, group: &SecurityGroupId) -> bool {
        let mut marked = self.marked.values().flatten();
        marked.any(|marked| matches!(&marked.permission().source, Source::Group(source) if source == group))
    }
}
