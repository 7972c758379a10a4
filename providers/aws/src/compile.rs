//! A load balancer, the account and what exists in, the resources that should exist and what cannot be out.

mod actions;
mod auth;
mod besides;
mod certificates;
mod conditions;
mod front;
mod given;
mod listeners;
mod load_balancer;
mod merge;
mod protection;
mod rules;
mod sharing;
mod split;
mod subnets;
mod target_groups;
mod terms;
mod zones;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    Backend, BackendId, Code, Kept, LoadBalancer, Origin, OwnTargets, Problem, ProviderError, Resource,
};
use serde::Serialize;
use serde_json::Value;

use crate::account::{Account, Fact};
use crate::limits;
use crate::names;
pub(crate) use crate::names::Role;
use crate::observed::{ListenerState, LoadBalancerState, Looked, Observed, Owned, Owner, TargetGroupState};
use crate::resource::{
    CertificateArn, Kind, ListenerSpec, LoadBalancerSpec, Pairs, Ref, RuleSpec, SecurityGroupSpec, Source,
    TargetDescription, TargetGroupArn, TargetGroupSpec, kind,
};
use crate::settings::Settings;
pub(crate) use actions::unavailable;
pub use certificates::DesiredCertificate;
use certificates::Imports;
use conditions::Refusal;
pub use front::DesiredFront;
pub use protection::DesiredFirewall;
use protection::Unprotected;
use sharing::Sharing;
pub(crate) use sharing::service_group_id;
pub(crate) use target_groups::health_check;

/// A listener with its own ordered rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredListener {
    pub spec: ListenerSpec<Ref<kind::TargetGroup>>,
    /// Those that are set on purpose.
    pub attributes: Pairs,
    /// Priorities 1, 2, 3 and so on.
    pub rules: Vec<DesiredRule>,
}

/// A listener rule and what it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredRule {
    pub spec: RuleSpec<Ref<kind::TargetGroup>>,
    pub origin: Origin,
}

/// What should exist of one load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// None where groups are given.
    pub security_group: Option<SecurityGroupSpec>,
    /// Where prefix lists that it lets in were named.
    pub lists_at: Origin,
    /// By logical id. Those that a rule or default action forwards to.
    pub target_groups: BTreeMap<String, TargetGroupSpec>,
    /// Other ids under which these may exist, in the order in which they are looked for; all that start with it, where
    /// one ends in a slash.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Of the target groups in which other clusters register targets, too: under which name ours are recorded.
    pub joint: BTreeMap<String, String>,
    pub load_balancer: LoadBalancerSpec<Ref<kind::SecurityGroup>>,
    /// Capacity units to be reserved, 0 for none; absent where it is left as it is.
    pub capacity: Option<u32>,
    pub firewall: DesiredFirewall,
    /// Whether AWS Shield Advanced protects it; absent where that is left as it is.
    pub protected: Option<bool>,
    /// By port.
    pub listeners: BTreeMap<u16, DesiredListener>,
    /// Taken from Secrets, by logical id.
    pub certificates: BTreeMap<String, DesiredCertificate>,
    /// Those of them that are not there yet, as listeners name them.
    pub awaited: BTreeSet<CertificateArn>,
    /// What stands in front of it.
    pub front: Option<DesiredFront>,
    /// Tags of these, but for target groups, that nobody asks for stay: some of those asked for could not be read.
    pub keeps_tags: bool,
}

/// What every step of compiling reads.
pub(crate) struct Context<'a> {
    settings: &'a Settings,
    balancer: &'a LoadBalancer,
    account: &'a Account,
    observed: &'a Observed,
    sharing: Sharing<'a>,
    /// Where it is not the one that serves.
    role: Option<Role>,
}

/// Whether a target group that exists under one id is the one with these ids.
pub(crate) fn is_alias(resource: &str, aliases: &[String]) -> bool {
    let named = |alias: &String| match alias.ends_with('/') {
        true => resource.starts_with(alias.as_str()),
        false => resource == alias,
    };
    aliases.iter().any(named)
}

impl<'a> Context<'a> {
    /// Of the load balancer that serves.
    fn of(
        settings: &'a Settings,
        balancer: &'a LoadBalancer,
        account: &'a Account,
        observed: &'a Observed,
    ) -> Self {
        Self {
            settings,
            balancer,
            account,
            observed,
            sharing: Sharing::of(balancer),
            role: None,
        }
    }

    /// The load balancer as it exists.
    fn existing(&self) -> Option<&LoadBalancerState> {
        self.observed.load_balancer()
    }

    /// The target groups with this logical id, or another of the same one.
    fn existing_target_groups(&self, id: &str) -> impl Iterator<Item = &TargetGroupState> {
        let all = self.observed.target_groups.iter();
        let own = move |owned: &&Owned<TargetGroupState>| {
            owned.resource() == id || is_alias(owned.resource(), self.sharing.aliases(id))
        };
        all.filter(own).map(Owned::get)
    }

    /// What is registered in the target groups with this logical id.
    fn registered(&self, id: &str) -> BTreeSet<&TargetDescription> {
        let groups = self.existing_target_groups(id);
        groups.flat_map(|state| &state.spec.targets).collect()
    }

    fn has_target_group(&self, id: &str) -> bool {
        self.existing_target_groups(id).next().is_some()
    }

    /// What is listened on at this port, as things are.
    fn listener(&self, port: u16) -> Option<&ListenerState> {
        self.existing()?.listeners.get(&port)
    }

    /// Whether a listener serves with this certificate.
    fn is_attached(&self, arn: &CertificateArn) -> bool {
        let listeners = self
            .existing()
            .into_iter()
            .flat_map(|state| state.listeners.values());
        listeners
            .flat_map(|listener| &listener.spec.certificates)
            .any(|had| had.certificate_arn == *arn)
    }

    /// Whether a rule or default action forwards to this target group, as things are.
    fn forwards_to(&self, arn: &TargetGroupArn) -> bool {
        let listeners = self
            .existing()
            .into_iter()
            .flat_map(|state| state.listeners.values());
        let mut actions = listeners.flat_map(|listener| {
            let rules = listener.rules.iter().flat_map(|rule| &rule.spec.actions);
            listener.spec.default_actions.iter().chain(rules)
        });
        actions.any(|action| action.target_groups().any(|used| used == arn))
    }

    /// Whether somebody else's load balancer has this name.
    fn name_is_taken(&self, name: &str) -> bool {
        let owner = Owner::load_balancer(&self.settings.cluster, &self.balancer.id);
        let ours = |state: &LoadBalancerState| Owned::read(&owner, &state.spec.tags, ()).is_some();
        let listed = &self.account.listing.load_balancers;
        listed.iter().any(|state| state.spec.name == name && !ours(state))
    }
}

/// The tags of a resource: ownership, over the operator's, over the users'. Those AWS would refuse are left out.
fn with_tags(context: &Context<'_>, resource: &str, tags: &BTreeMap<String, String>) -> Pairs {
    let external = &context.settings.external_tags;
    let taken = tags
        .iter()
        .filter(|(key, value)| limits::is_tag(key, value) && !external.contains(*key));
    let mut out: BTreeMap<String, String> = taken.map(|(key, value)| (key.clone(), value.clone())).collect();
    out.extend(context.settings.default_tags.clone());
    let owner = Owner::load_balancer(&context.settings.cluster, &context.balancer.id);
    out.extend(owner.tags(resource).0);
    Pairs(out)
}

/// Whether the load balancer can reach this backend.
pub(crate) fn reaches(balancer: &LoadBalancer, backend: &Backend) -> bool {
    target_groups::usable(backend, balancer).is_ok()
}

/// Whether tags that nobody asks for stay: of those asked for some could not be read, or would be refused.
fn keeps_tags(balancer: &LoadBalancer) -> bool {
    let options = &balancer.options;
    let mut tags = options.tags.iter();
    options.kept.contains(&Kept::Tags) || tags.any(|(key, value)| !limits::is_tag(key, value))
}

/// The target group of a backend, if requests can be forwarded to it.
fn backend_of(context: &Context<'_>, id: &BackendId) -> Result<Ref<kind::TargetGroup>, Refusal> {
    let balancer = context.balancer;
    match (balancer.backends.get(id), balancer.given.get(id)) {
        (Some(backend), _) => {
            target_groups::usable(backend, balancer)?;
            Ok(Ref::logical(context.sharing.id(&backend.id)))
        }
        (None, Some(given)) => given::find(context, given).map(Ref::Known),
        (None, None) => Err(Refusal::new(
            Code::BackendMissing,
            format!("backend {id} is not among the backends"),
        )),
    }
}

/// The desired resources; none where the load balancer does not exist and cannot be made: the first problem says why.
pub fn compile(
    settings: &Settings,
    balancer: &LoadBalancer,
    account: &Account,
    observed: &Observed,
) -> (Option<Desired>, Vec<Problem>) {
    compile_as(settings, balancer, account, observed, None)
}

/// The same of one that is to take another's place, or whose place was taken.
pub(crate) fn compile_as(
    settings: &Settings,
    balancer: &LoadBalancer,
    account: &Account,
    observed: &Observed,
    role: Option<Role>,
) -> (Option<Desired>, Vec<Problem>) {
    let context = Context {
        role,
        ..Context::of(settings, balancer, account, observed)
    };
    let mut problems = Vec::new();
    let mut unprotected = Unprotected::default();
    let firewall = protection::firewall(&context, &mut unprotected, &mut problems);
    load_balancer::close_unmet(&context, &mut unprotected);
    let mut imports = Imports::default();
    let mut listeners = listeners::compile(&context, &mut unprotected, &mut imports, &mut problems);
    let drafts = rules::compile(&context, &mut listeners, &unprotected, &mut problems);
    given::tell(&context, &mut problems);

    let actions = listeners.values().flat_map(|listener| &listener.default_actions);
    let wanted = actions
        .chain(drafts.iter().map(|draft| &draft.action))
        .flat_map(rules::made_here)
        .collect();
    let target_groups = target_groups::compile(&context, &wanted, &mut problems);
    let ports = listeners.keys().copied().collect();
    let security_group = load_balancer::managed_group(&context, &ports, &mut problems);

    let mut by_port: BTreeMap<u16, DesiredListener> = BTreeMap::new();
    for (port, spec) in listeners {
        by_port.insert(
            port,
            DesiredListener {
                attributes: listeners::attributes(&context, port, &mut problems),
                spec,
                rules: Vec::new(),
            },
        );
    }
    for draft in drafts {
        if let Some(listener) = by_port.get_mut(&draft.port) {
            let place = listener.rules.len() + 1;
            let id = format!("{}:{place}", draft.port);
            let origin = draft.rule.origin.clone();
            let own = match origin.kind {
                "ingress" => balancer.options.rule_tags.get(&origin.object),
                _ => None,
            };
            let spec = RuleSpec {
                priority: u32::try_from(place).unwrap_or(u32::MAX),
                conditions: draft.conditions,
                actions: draft.step.into_iter().chain([draft.action]).collect(),
                transforms: draft.transforms,
                tags: with_tags(&context, &id, own.unwrap_or(&balancer.options.tags)),
            };
            listener.rules.push(DesiredRule { spec, origin });
        }
    }
    let load_balancer = load_balancer::compile(&context, &mut problems);
    if load_balancer.is_none() {
        problems.rotate_right(1);
    }
    let protected = protection::protected(&context, &mut problems);
    unread(&context, &mut problems);
    if let Some(spec) = &load_balancer {
        zones::uncovered(&context, &spec.subnets, &target_groups, &mut problems);
    }
    let front = load_balancer
        .as_ref()
        .filter(|_| role.is_none())
        .and_then(|behind| front::compile(&context, behind, &mut problems));
    let joint = target_groups::joint(&context);
    let desired = load_balancer.map(|load_balancer| Desired {
        security_group,
        lists_at: balancer.options.said_at("security-group-prefix-lists").clone(),
        aliases: aliases_of(&context, &target_groups),
        joint,
        target_groups,
        load_balancer,
        capacity: balancer.options.minimum_capacity,
        firewall,
        protected,
        listeners: by_port,
        certificates: imports.wanted,
        awaited: imports.awaited,
        front,
        keeps_tags: keeps_tags(balancer),
    });
    (desired, once(problems))
}

/// What is asked for of what exists and could not be read stays as it is, and is told.
fn unread(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(state) = context.existing() else {
        return;
    };
    let options = &context.balancer.options;
    let mut tell = |error: &ProviderError| {
        problems.push(Problem::new(error.code, options.origin.clone(), error.words()));
    };
    if let (Some(_), Looked::Failed(error)) = (options.minimum_capacity, &state.capacity) {
        tell(error);
    }
    if let (Some(_), Looked::Failed(error)) = (&options.firewall, &state.web_acl) {
        tell(error);
    }
    if let (Some(_), Looked::Failed(error)) = (options.attack_protection, &state.protection) {
        tell(error);
    }
    for port in options.listener_attributes.keys() {
        let listener = state.listeners.get(&port.get());
        if let Some(Looked::Failed(error)) = listener.map(|listener| &listener.attributes) {
            tell(error);
        }
    }
}

fn aliases_of(
    context: &Context<'_>,
    target_groups: &BTreeMap<String, TargetGroupSpec>,
) -> BTreeMap<String, Vec<String>> {
    target_groups
        .keys()
        .map(|id| (id.clone(), context.sharing.aliases(id).to_vec()))
        .collect()
}

/// Prefix lists that are named and were looked for in vain. One that a security group of ours lets in already is there,
/// though its owner may not show it any more.
pub fn absent_lists(settings: &Settings, balancer: &LoadBalancer, account: &Account) -> BTreeSet<String> {
    let Some(Ok(Fact::Read(known))) = account.late.prefix_lists.get() else {
        return BTreeSet::new();
    };
    let owner = Owner::load_balancer(&settings.cluster, &balancer.id);
    let groups = account.listing.security_groups.iter();
    let own = groups.filter(|state| Owned::read(&owner, &state.spec.tags, ()).is_some());
    let sources = own.flat_map(|state| state.spec.permissions.iter().map(|permission| &permission.source));
    let let_in: BTreeSet<&str> = sources
        .filter_map(|source| match source {
            Source::PrefixList(list) => Some(list.as_str()),
            Source::Range(_) | Source::Group(_) => None,
        })
        .collect();
    let named = balancer.options.admitted_lists.values().flatten();
    // What is no id of a list is told where it is compiled.
    let absent = named.filter(|list| {
        limits::is_prefix_list_id(list) && !known.contains(*list) && !let_in.contains(list.as_str())
    });
    absent.cloned().collect()
}

/// Whether it is to stand behind security groups that were asked for.
pub(crate) fn stands_behind_given(
    settings: &Settings,
    balancer: &LoadBalancer,
    account: &Account,
    observed: &Observed,
) -> bool {
    let context = Context::of(settings, balancer, account, observed);
    !load_balancer::asked_groups(&context).is_empty()
}

/// What this cluster registers where others register, too.
pub fn own_targets(settings: &Settings, balancer: &LoadBalancer, account: &Account) -> OwnTargets {
    let nothing = Observed::nothing(Owner::load_balancer(&settings.cluster, &balancer.id));
    target_groups::own_targets(&Context::of(settings, balancer, account, &nothing))
}

/// The backend that a target group of this logical id stands for.
pub fn stands_for<'a>(balancer: &'a LoadBalancer, id: &str) -> Option<&'a Backend> {
    let id = names::without_role(id);
    let sharing = Sharing::of(balancer);
    let named = sharing.groups.get(id);
    let by_alias = || sharing.groups.values().find(|group| is_alias(id, &group.aliases));
    named.or_else(by_alias).map(|group| group.backend)
}

/// Each problem once, at its first place: a rule on several listeners has the same problem on each.
fn once(problems: Vec<Problem>) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    problems
        .into_iter()
        .filter(|problem| seen.insert(problem.clone()))
        .collect()
}

impl Desired {
    /// Every resource in the order in which it is made, as people and tools see it.
    pub fn resources(&self) -> Vec<Resource<Value>> {
        let mut out = Vec::new();
        if let Some(group) = &self.security_group {
            out.push(resource::<kind::SecurityGroup>(
                names::MANAGED_SECURITY_GROUP,
                group,
            ));
        }
        for (id, group) in &self.target_groups {
            out.push(resource::<kind::TargetGroup>(id, group));
        }
        for (id, certificate) in &self.certificates {
            out.push(resource::<kind::Certificate>(id, &certificate.spec));
        }
        let capacity = self.capacity.map(|capacity_units| Capacity { capacity_units });
        out.push(resource::<kind::LoadBalancer>(
            names::LOAD_BALANCER,
            &ShownLoadBalancer {
                spec: &self.load_balancer,
                minimum_load_balancer_capacity: capacity,
            },
        ));
        let load_balancer: Ref<kind::LoadBalancer> = Ref::logical(names::LOAD_BALANCER);
        if let DesiredFirewall::WebAcl(arn) = &self.firewall {
            let spec = serde_json::json!({ "ResourceArn": load_balancer, "WebACLArn": arn });
            out.push(resource::<kind::WebACLAssociation>(names::LOAD_BALANCER, &spec));
        }
        if self.protected == Some(true) {
            let spec = serde_json::json!({ "Name": names::PROTECTION, "ResourceArn": load_balancer });
            out.push(resource::<kind::Protection>(names::LOAD_BALANCER, &spec));
        }
        for (port, listener) in &self.listeners {
            let shown = ShownListener {
                spec: &listener.spec,
                attributes: &listener.attributes,
            };
            out.push(resource::<kind::Listener>(&port.to_string(), &shown));
            for rule in &listener.rules {
                out.push(resource::<kind::ListenerRule>(
                    &format!("{port}:{}", rule.spec.priority),
                    &rule.spec,
                ));
            }
        }
        if let Some(front) = &self.front {
            for (id, group) in &front.target_groups {
                out.push(resource::<kind::TargetGroup>(id, group));
            }
            out.push(resource::<kind::LoadBalancer>(names::FRONT, &front.load_balancer));
            for (port, listener) in &front.listeners {
                out.push(resource::<kind::Listener>(
                    &names::front_listener_id(*port),
                    listener,
                ));
            }
        }
        out
    }
}

/// A load balancer with what other calls than its own set.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownLoadBalancer<'a> {
    #[serde(flatten)]
    spec: &'a LoadBalancerSpec<Ref<kind::SecurityGroup>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_load_balancer_capacity: Option<Capacity>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Capacity {
    capacity_units: u32,
}

/// A listener with what other calls than its own set.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownListener<'a> {
    #[serde(flatten)]
    spec: &'a ListenerSpec<Ref<kind::TargetGroup>>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    attributes: &'a Pairs,
}

/// A resource with its spec as JSON.
pub(crate) fn resource<K: Kind>(id: &str, spec: &impl Serialize) -> Resource<Value> {
    Resource {
        kind: K::NAME,
        id: id.to_owned(),
        spec: serde_json::to_value(spec).unwrap_or(Value::Null),
    }
}
