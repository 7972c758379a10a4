//! Drafts of several namespaces in, those out that each namespace may have; the others are told.
//!
//! In a load balancer that namespaces share, a host belongs to the namespace of the oldest Ingress that names it.
//! What no single host bounds, rules without a host and default backends, belongs to that of the oldest member. A class
//! that grants hosts decides instead, also where a load balancer is one namespace's alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{Code, HostMatch, LoadBalancerId, ObjectName, Origin, Port, Problem, Semantics};

use super::admission;
use super::annotations::Written;
use super::annotations::catalog::Scope;
use super::member::{Part, Wire};
use super::rules::Drafts;

/// Who may have what; knows only load balancers that several namespaces share.
#[derive(Debug)]
pub(super) struct Owners<'a> {
    hosts: BTreeMap<(LoadBalancerId, HostMatch), Age<'a>>,
    rest: BTreeMap<&'a LoadBalancerId, Age<'a>>,
}

/// Of an Ingress: the lesser is the older. First whether it is nobody's, which owns nothing that another names.
pub(super) type Age<'a> = (bool, i64, &'a ObjectName);

pub(super) fn age<'a>(part: &Part<'a>) -> Age<'a> {
    (part.is_nobody_s(), part.created, &part.ingress.meta.name)
}

/// Whether this is the namespace of a member; of one whose namespace is none, what it is in lower case.
fn is_of(namespace: &str, part: &Part<'_>) -> bool {
    let own = &*part.ingress.meta.name.namespace;
    namespace == own || (part.is_nobody_s() && namespace.eq_ignore_ascii_case(own.trim()))
}

impl<'a> Owners<'a> {
    pub(super) fn of(parts: &'a [Part<'_>], drafts: &[Drafts]) -> Self {
        let mut namespaces: BTreeMap<&LoadBalancerId, BTreeSet<&Arc<str>>> = BTreeMap::new();
        for part in parts {
            let namespace = &part.ingress.meta.name.namespace;
            namespaces.entry(&part.group).or_default().insert(namespace);
        }
        let mut this = Self {
            hosts: BTreeMap::new(),
            rest: BTreeMap::new(),
        };
        for (part, drafts) in parts.iter().zip(drafts) {
            if namespaces.get(&part.group).is_none_or(|all| all.len() < 2) {
                continue;
            }
            let rest = this.rest.entry(&part.group).or_insert_with(|| age(part));
            *rest = (*rest).min(age(part));
            let named = drafts.hosts.iter().map(|named| &named.host);
            let asked = drafts.drafts.iter().flat_map(|draft| &draft.rule.hosts);
            let secured = part.ingress.tls.iter().flat_map(|tls| &tls.hosts);
            let secured: Vec<HostMatch> = secured.filter_map(|text| HostMatch::parse(text).ok()).collect();
            for host in named.chain(asked).chain(&secured) {
                let key = (part.group.clone(), host.clone());
                let owner = this.hosts.entry(key).or_insert_with(|| age(part));
                *owner = (*owner).min(age(part));
            }
        }
        this
    }

    /// Whether several namespaces share the member's load balancer, and each has its own hosts.
    pub(super) fn divide(&self, part: &Part<'_>) -> bool {
        enforces(part) && (self.rest.contains_key(&part.group) || admission::grants_hosts(part))
    }

    /// Whether a member may have a certificate for a host.
    pub(super) fn may_certify(
        &self,
        part: &Part<'_>,
        host: &HostMatch,
        at: &Origin,
        problems: &mut Vec<Problem>,
    ) -> bool {
        match self.refusal(part, Some(host), at) {
            None => true,
            Some(problem) => {
                problems.push(problem);
                !enforces(part)
            }
        }
    }

    /// Who has it instead of this member; none where it may.
    fn other(&self, part: &Part<'_>, host: Option<&HostMatch>) -> Option<Age<'a>> {
        let rest = self.rest.get(&part.group)?;
        let owner = match host {
            Some(host @ (HostMatch::Exact(_) | HostMatch::Wildcard(_))) => self
                .hosts
                .get(&(part.group.clone(), host.clone()))
                .unwrap_or(rest),
            // A pattern can take hosts of anybody. That of an Ingress's own wildcard, under the incumbent's
            // semantics, is a host like any other.
            Some(host @ HostMatch::Glob(_)) if part.semantics == Semantics::AwsLoadBalancerController => self
                .hosts
                .get(&(part.group.clone(), host.clone()))
                .unwrap_or(rest),
            Some(HostMatch::Glob(_) | HostMatch::Regex(_)) | None => rest,
        };
        (!is_of(&owner.2.namespace, part)).then_some(*owner)
    }

    /// Whether a member may have the default backend.
    pub(super) fn may_have_default(&self, part: &Part<'_>, problems: &mut Vec<Problem>) -> bool {
        match self.refusal(part, None, &part.origin("spec.defaultBackend")) {
            None => true,
            Some(problem) => {
                problems.push(problem);
                !enforces(part)
            }
        }
    }

    /// Takes away what belongs to another namespace. Under the incumbent's semantics it is told and kept.
    pub(super) fn enforce(&self, part: &Part<'_>, drafts: &mut Drafts, problems: &mut Vec<Problem>) {
        if !self.rest.contains_key(&part.group) && !admission::grants_hosts(part) {
            return;
        }
        let keep = !enforces(part);
        drafts.drafts.retain(|draft| {
            let hosts = draft.rule.hosts.iter().map(Some);
            let none = draft.rule.hosts.is_empty().then_some(None);
            let refusal = hosts
                .chain(none)
                .find_map(|host| self.refusal(part, host, &draft.rule.origin));
            match refusal {
                None => true,
                Some(problem) => {
                    problems.push(problem);
                    keep
                }
            }
        });
        drafts.hosts.retain(|named| {
            // Also without a rule it would close the host for its owner.
            keep || self.refusal(part, Some(&named.host), &named.origin).is_none()
        });
    }

    /// Why a member may not have a host, or what no single host bounds. What its class grants decides, if it grants
    /// hosts at all; else age.
    fn refusal(&self, part: &Part<'_>, host: Option<&HostMatch>, at: &Origin) -> Option<Problem> {
        if admission::grants_hosts(part) {
            return admission::host(part, host, at.clone());
        }
        let owner = self.other(part, host)?;
        let what = match host {
            Some(host) => host.to_string(),
            None if &*at.field == "spec.defaultBackend" => "the default backend".to_owned(),
            None => "every host".to_owned(),
        };
        let message = format!(
            "{what} belongs to namespace {}: {}",
            owner.2.namespace,
            before(owner, part)
        );
        Some(Problem::new(Code::HostNotOwned, at.clone(), message))
    }
}

/// Leaves what load balancers and listeners as a whole are to the namespace of their oldest member, and to whom the class
/// grants every host. What another's member asks for is told where it differs; under the incumbent's semantics it stays.
pub(super) fn settings<'a>(parts: &mut [Part<'a>], problems: &mut Vec<Problem>) {
    let mut eldest: BTreeMap<(LoadBalancerId, Option<Port>), Age<'a>> = BTreeMap::new();
    for part in &*parts {
        for place in places(part) {
            let by = eldest
                .entry((part.group.clone(), place))
                .or_insert_with(|| age(part));
            *by = (*by).min(age(part));
        }
    }
    // Who has no say where, and whose it is.
    let mut foreign: BTreeMap<(usize, Option<Port>), Age<'a>> = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        let granted = admission::grants_hosts(part) && admission::host(part, None, part.origin("")).is_none();
        for place in places(part).filter(|_| !granted) {
            if let Some(by) = eldest.get(&(part.group.clone(), place))
                && !is_of(&by.2.namespace, part)
            {
                foreign.insert((index, place), *by);
            }
        }
    }
    for (index, place) in foreign.keys() {
        let part = &mut parts[*index];
        match place {
            _ if !enforces(part) => {}
            None => part.foreign.whole = Some(Box::new(part.annotations.without(Scope::LoadBalancer))),
            Some(port) => _ = part.foreign.ports.insert(*port),
        }
    }
    for ((index, place), by) in &foreign {
        let part = &parts[*index];
        for (name, written) in asked(part, *place) {
            let mut heard = parts.iter().enumerate().filter(|(other, heard)| {
                heard.group == part.group && !foreign.contains_key(&(*other, *place))
            });
            let stands = heard.find_map(|(_, heard)| heard.annotations.get(name));
            // What stands so in any case need not be told.
            if stands.is_none_or(|stands| stands.value != written.value) {
                let at = part.annotations.origin(written);
                problems.push(setting_not_owned(part, at, *place, *by));
            }
        }
    }
}

/// The load balancer, and each of its listeners that a member's rules stand at.
fn places(part: &Part<'_>) -> impl Iterator<Item = Option<Port>> {
    std::iter::once(None).chain(part.ports.keys().copied().map(Some))
}

/// What a member itself says of its load balancer as a whole, or of a listener, by names without prefix.
fn asked<'a>(part: &Part<'a>, place: Option<Port>) -> Vec<(&'a str, Written<'a>)> {
    let Some(port) = place else {
        return part.annotations.of_scope(Scope::LoadBalancer).collect();
    };
    let all = part.annotations.of_scope(Scope::Listener);
    let is_secure = part.ports.get(&port) == Some(&Wire::Https);
    all.filter(|(name, _)| concerns_all_at(name, port, is_secure))
        .collect()
}

/// Whether a listener's annotation concerns whoever stands at this port, and not its own member alone.
fn concerns_all_at(name: &str, port: Port, is_secure: bool) -> bool {
    let attributes = name.strip_prefix("listener-attributes.");
    match attributes.and_then(|listener| listener.split_once('-')) {
        Some((_, end)) => end == port.to_string(),
        None => is_secure && matches!(name, "ssl-policy" | "mutual-authentication"),
    }
}

fn enforces(part: &Part<'_>) -> bool {
    match part.semantics {
        Semantics::Kubernetes => true,
        Semantics::AwsLoadBalancerController => false,
    }
}

/// Why another Ingress has it and not this one: of two made in the same second the name decides, and so where no time is
/// known.
pub(super) fn before(other: Age<'_>, part: &Part<'_>) -> String {
    let (is_nobody_s, created, name) = other;
    if !is_nobody_s && part.is_nobody_s() {
        format!("{name} is of a namespace")
    } else if created < part.created {
        format!("{name} is older")
    } else {
        format!("{name} is as old, and comes first by name")
    }
}

fn setting_not_owned(part: &Part<'_>, at: Origin, place: Option<Port>, by: Age<'_>) -> Problem {
    let what = match place {
        None => "the load balancer".to_owned(),
        Some(port) => format!("the listener at port {port}"),
    };
    let stays = match enforces(part) {
        true => "",
        false => "; under these semantics it counts all the same, beside theirs",
    };
    let message = format!(
        "namespace {} has the say in {what}: {}{stays}",
        by.2.namespace,
        before(by, part)
    );
    Problem::new(Code::SettingNotOwned, at, message)
}
