//! The members of a snapshot in, each read and put in order out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use portcullis_model::{
    ClientCertificates, Code, LoadBalancerId, ObjectName, Origin, Port, Problem, Rule, Semantics, TlsPolicy,
};

use super::admission;
use super::annotations::{Annotations, Setting, Written, gke, nginx, value};
use super::group::group_of;
use super::moved;
pub(super) use super::refusal::Refusal;
use super::settings::{Merge, Settings};
use crate::cluster::object::{ClassParameters, Ingress};
use crate::cluster::snapshot::{Member, Parameters, Snapshot};
pub(super) use crate::crd::load_balancer::Wire;
use crate::crd::{ClassParametersSpec, SemanticsName};

/// An Ingress and all that it says beside its rules.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) ingress: &'a Ingress,
    /// Seconds since 1970; the last there are where only others say when they were made, as files need not.
    pub(super) created: i64,
    pub(super) parameters: Option<&'a ClassParametersSpec>,
    pub(super) annotations: Annotations<'a>,
    pub(super) semantics: Semantics,
    /// The load balancer it would be part of if each group had its own.
    pub(super) group: LoadBalancerId,
    /// Where its rules stand.
    pub(super) ports: BTreeMap<Port, Wire>,
    /// The same as asked for, where all load balancers are served as one.
    pub(super) asked: BTreeMap<Port, Wire>,
    /// Where what is asked for stands.
    pub(super) served: BTreeMap<Port, Port>,
    /// The HTTPS port that plain HTTP is redirected to.
    pub(super) redirect: Setting<Port>,
    /// Who may connect; what could be read of it.
    pub(super) ranges: Option<Ranges>,
    /// Who may connect at a port where it says nothing and others do.
    pub(super) taken: BTreeMap<Port, Sources>,
    pub(super) certificates: Vec<String>,
    /// What its rules ask of clients' certificates by themselves: off where listeners ask in their place.
    pub(super) clients: ClientCertificates,
    /// The same by port, where ports differ; then the other is the most of them.
    pub(super) clients_at: BTreeMap<Port, ClientCertificates>,
    /// How TLS must be spoken for its rules, by port: none where listeners say so in their place.
    pub(super) tls_policies: BTreeMap<Port, Arc<TlsPolicy>>,
    /// HTTPS ports at which none of its rules may be served: what they ask of clients cannot be had.
    pub(super) closed: BTreeSet<Port>,
    /// Whom its rules turn away by themselves, whatever the port lets in.
    pub(super) own_ranges: OwnRanges,
    /// Why none of its rules may be served.
    pub(super) refusal: Option<Refusal>,
    /// Whether its Services have but a share of others' rules.
    pub(super) is_canary: bool,
    /// What another namespace has the say in.
    pub(super) foreign: Foreign<'a>,
}

/// What a member has no say in, since another namespace has it.
#[derive(Debug, Default)]
pub(super) struct Foreign<'a> {
    /// Its annotations without those of the load balancer as a whole, if it has no say in these.
    pub(super) whole: Option<Box<Annotations<'a>>>,
    /// Listeners.
    pub(super) ports: BTreeSet<Port>,
}

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges {
    pub(super) sources: Sources,
    /// Some could not be read: the rest says less than was meant.
    pub(super) broken: bool,
}

/// Who may have a member's rules, beside those whom its ports let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnRanges {
    /// These alone; all where absent.
    pub(super) allowed: Option<BTreeSet<IpNet>>,
    /// Not these, though they be among the others.
    pub(super) denied: BTreeSet<IpNet>,
}

/// Where clients may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    pub(super) nets: BTreeSet<IpNet>,
    /// Names of lists that only the provider can read.
    pub(super) lists: BTreeSet<String>,
}

impl Sources {
    pub(super) fn is_empty(&self) -> bool {
        self.nets.is_empty() && self.lists.is_empty()
    }

    /// Whether all that `other` lets in is let in by these.
    pub(super) fn cover(&self, other: &Self) -> bool {
        let covered = |net: &IpNet| self.nets.iter().any(|own| own.contains(net));
        other.nets.iter().all(covered) && other.lists.is_subset(&self.lists)
    }
}

impl<'a> Part<'a> {
    /// Who may connect to its rules at a port, where not everybody may.
    pub(super) fn sources(&self, port: Port) -> Option<&Sources> {
        let own = self.ranges.as_ref().map(|ranges| &ranges.sources);
        own.or_else(|| self.taken.get(&port))
    }

    /// Its annotations as far as the load balancer as a whole heeds them.
    pub(super) fn whole(&self) -> &Annotations<'a> {
        self.foreign.whole.as_deref().unwrap_or(&self.annotations)
    }

    /// What it says by a name of ingress-nginx's. As there, a canary has all else from the Ingress it stands beside.
    pub(super) fn nginx(&self, name: &str) -> Option<Written<'a>> {
        match self.semantics {
            Semantics::Kubernetes if !self.is_canary || nginx::counts_on_canaries(name) => {
                self.annotations.nginx(name)
            }
            Semantics::Kubernetes | Semantics::AwsLoadBalancerController => None,
        }
    }

    /// The same where it says something: as there, an empty value counts as not set.
    pub(super) fn nginx_set(&self, name: &str) -> Option<Written<'a>> {
        self.nginx(name).filter(|written| !written.value.is_empty())
    }

    /// The annotation that says what ours of this name does: one of ingress-nginx's only where ours is absent.
    pub(super) fn said_by(&self, own: &'static str) -> &'static str {
        let theirs = || {
            let theirs = nginx::ALL.iter().filter(|theirs| theirs.own == own);
            // The last, such as `auth-type` and `auth-url`, says the most.
            theirs.rev().find(|theirs| self.nginx(theirs.name()).is_some())
        };
        match self.annotations.get(own) {
            Some(_) => own,
            None => theirs().map_or(own, |theirs| theirs.key),
        }
    }

    /// Its annotation of a listener, as far as the listener heeds it.
    pub(super) fn of_listener(&self, port: Port, name: &str) -> Option<Written<'a>> {
        match self.foreign.ports.contains(&port) {
            true => self.annotations.class(name),
            false => self.annotations.get(name),
        }
    }

    /// Where a port stands that it asks for with HTTPS.
    pub(super) fn secure_at(&self, port: Port) -> Option<Port> {
        let is_secure = self.asked.get(&port) == Some(&Wire::Https);
        self.served.get(&port).copied().filter(|_| is_secure)
    }

    /// What its rules ask of clients' certificates at a port.
    pub(super) fn clients_at(&self, port: Port) -> &ClientCertificates {
        self.clients_at.get(&port).unwrap_or(&self.clients)
    }

    /// A rule of its own as it is at each of the rule's ports; what concerns TLS is nothing to the others.
    pub(super) fn by_port(&self, rule: Rule) -> Vec<Rule> {
        if rule.ports.is_empty() {
            return Vec::new();
        }
        if self.ports.values().filter(|wire| **wire == Wire::Https).count() < 2 {
            return vec![rule];
        }
        let mut by_port: Vec<Rule> = Vec::new();
        let (secure, mut plain): (BTreeSet<Port>, BTreeSet<Port>) =
            (rule.ports.iter()).partition(|port| self.ports.get(port) == Some(&Wire::Https));
        for port in secure {
            let clients = self.clients_at(port);
            let policy = self.tls_policies.get(&port);
            let same = |rule: &&mut Rule| rule.clients == *clients && rule.tls_policy.as_ref() == policy;
            match by_port.iter_mut().find(same) {
                Some(rule) => _ = rule.ports.insert(port),
                None => by_port.push(Rule {
                    ports: [port].into(),
                    clients: clients.clone(),
                    tls_policy: policy.cloned(),
                    ..rule.clone()
                }),
            }
        }
        match by_port.first_mut() {
            Some(first) => first.ports.append(&mut plain),
            None => by_port.push(rule),
        }
        by_port
    }

    /// Whether it cannot be said whose it is: no namespace has such a name.
    pub(super) fn is_nobody_s(&self) -> bool {
        let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        self.ingress.refused.is_some() && !self.ingress.meta.name.namespace.chars().all(is_of_name)
    }

    pub(super) fn origin(&self, field: impl Into<Arc<str>>) -> Origin {
        Origin::new("ingress", self.ingress.meta.name.clone(), field)
    }

    /// Of an annotation, by its name without prefix.
    pub(super) fn annotation(&self, name: &str) -> Origin {
        match self.annotations.get(name) {
            Some(written) => self.annotations.origin(written),
            None => self.origin("metadata.annotations"),
        }
    }
}

/// Place in a group. The fields stand in the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    order: i64,
    /// Equal for all under the incumbent's semantics, which does not ask for age.
    created: i64,
    name: ObjectName,
}

/// An order that cannot be read comes last: it must not go before a neighbour that it was meant to follow.
const LAST: i64 = 1001;

/// Reads every member, in order. The semantics of the first holds for all.
pub(super) fn read<'a>(
    snapshot: &'a Snapshot,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Vec<Part<'a>> {
    // A member without would count as the oldest, and take what is others'. Where none says its age, all are as old.
    let has_ages = snapshot
        .members
        .iter()
        .any(|member| member.ingress.meta.created != 0);
    let mut parts: Vec<(Place, Part<'a>)> = Vec::with_capacity(snapshot.members.len());
    for member in &snapshot.members {
        let parameters = match &member.parameters {
            Parameters::None => None,
            Parameters::Found(parameters) => Some(&**parameters),
            Parameters::Missing | Parameters::Foreign => {
                let at = Origin::new(
                    "ingress",
                    member.ingress.meta.name.clone(),
                    "spec.ingressClassName",
                );
                let message = "the parameters of its class are not known, so nothing they restrict is served";
                problems.push(Problem::new(Code::ClassParametersNotFound, at, message));
                continue;
            }
        };
        let mut part = read_one(member, parameters, settings, problems);
        if has_ages && part.created == 0 {
            part.created = i64::MAX;
        }
        let order = part
            .annotations
            .read("group.order", |text| value::integer(text, -1000, 1000), problems);
        let place = Place {
            order: match order {
                Setting::Absent => 0,
                Setting::Given(order) => order,
                Setting::Invalid => LAST,
            },
            created: part.created,
            name: part.ingress.meta.name.clone(),
        };
        parts.push((place, part));
    }
    parts.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some((_, first)) = parts.first()
        && first.semantics == Semantics::AwsLoadBalancerController
    {
        for (place, _) in &mut parts {
            place.created = 0;
        }
        parts.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    let mut parts: Vec<Part<'a>> = parts.into_iter().map(|(_, part)| part).collect();
    if settings.merge == Merge::ByGroup {
        agree_on_semantics(&mut parts, problems);
    }
    parts
}

fn agree_on_semantics(parts: &mut [Part<'_>], problems: &mut Vec<Problem>) {
    let Some(first) = parts.first().map(|part| part.semantics) else {
        return;
    };
    for part in parts {
        if part.semantics != first {
            let message = format!(
                "its class asks for semantics {:?}; the group has {first:?}",
                part.semantics
            );
            let at = part.origin("spec.ingressClassName");
            problems.push(Problem::new(Code::SettingConflict, at, message));
            part.semantics = first;
        }
    }
}

/// Whose rules hold for a member whose class has these parameters.
pub(super) fn semantics(settings: &Settings, parameters: Option<&ClassParametersSpec>) -> Semantics {
    match (settings.semantics, parameters.and_then(|spec| spec.semantics)) {
        (Some(semantics), _) => semantics,
        (None, Some(SemanticsName::Kubernetes)) => Semantics::Kubernetes,
        (None, Some(SemanticsName::AwsLoadBalancerController)) => Semantics::AwsLoadBalancerController,
        (None, None) => settings.controller.semantics(),
    }
}

fn read_one<'a>(
    member: &'a Member,
    class: Option<&'a ClassParameters>,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Part<'a> {
    let ingress = &*member.ingress;
    let parameters = class.map(|class| &*class.spec);
    let semantics = semantics(settings, parameters);
    let mut annotations = Annotations::of("ingress", &ingress.meta).of_class(class);
    let withheld = admission::withhold(&mut annotations, parameters, semantics, problems);
    let mut refusal = annotations.review(problems).or(withheld).map(Refusal::Annotation);
    if ingress.refused.is_some() {
        refusal = Some(Refusal::Manifest);
    }
    let certificates: Vec<String> = annotations
        .get("certificate-arn")
        .map(|written| value::list(written.value))
        .unwrap_or_default()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let wants_tls = match semantics {
        _ if wants_issued(&annotations, problems) && certificates.is_empty() => Tls::Alone,
        Semantics::Kubernetes if !certificates.is_empty() || !ingress.tls.is_empty() => Tls::BesidePlain,
        Semantics::AwsLoadBalancerController if !certificates.is_empty() => Tls::Alone,
        Semantics::Kubernetes
            if settings.merge == Merge::OneLoadBalancer && moved::is_sent_to_https(&annotations) =>
        {
            Tls::BesidePlain
        }
        Semantics::Kubernetes | Semantics::AwsLoadBalancerController => Tls::None,
    };
    let (mut ports, are_named) = match annotations.read("listen-ports", listen_ports, problems) {
        Setting::Given(ports) => (ports, true),
        given @ (Setting::Absent | Setting::Invalid) => {
            if given.is_invalid() {
                // Its rules may have been meant for HTTPS alone.
                refusal = Some(Refusal::Annotation("listen-ports"));
            }
            (default_ports(wants_tls), false)
        }
    };
    // Also where listen-ports names it: what was not to go in clear does not.
    if let Semantics::Kubernetes = semantics
        && let Some(written) = gke::leaves_out_http(&annotations, problems)
        && ports.values().any(|wire| *wire == Wire::Http)
    {
        let why = if ports.values().all(|wire| *wire == Wire::Http) {
            // Where nothing else is left, plain HTTP answers, but not with what was to be left out.
            refusal.get_or_insert(Refusal::Annotation(gke::ALLOW_HTTP));
            Some(match are_named {
                true => {
                    "listen-ports names plain HTTP alone: nothing of the Ingress is served, and its rules answer 503. Name HTTPS there"
                }
                false => {
                    "the Ingress has no TLS: nothing of it is served, and its rules answer 503. Name a Secret in spec.tls"
                }
            })
        } else {
            ports.retain(|_, wire| *wire == Wire::Https);
            are_named
                .then_some("plain HTTP is left out though listen-ports names it: write one of the two alone")
        };
        problems.extend(why.map(|why| annotations.invalid(written, why)));
    }
    if let Some(written) = annotations.get("security-groups")
        && written.lists_nothing()
    {
        problems.push(annotations.invalid(written, "it names no security group"));
        refusal = Some(Refusal::Annotation("security-groups"));
    }
    let mut ranges = ranges(&annotations, semantics, &settings.absent_lists, problems);
    if let (Merge::OneLoadBalancer, Some(written)) =
        (settings.merge, annotations.get("security-group-prefix-lists"))
        && !written.lists_nothing()
    {
        let message = "who is on a prefix list only AWS knows: what it constrains answers 503 here";
        let at = annotations.origin(written);
        problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
        refusal = Some(Refusal::Annotation("security-group-prefix-lists"));
        ranges = annotations.get("inbound-cidrs").and(ranges);
    }
    let group = group_of(ingress, class).unwrap_or_else(|problem| {
        problems.push(problem);
        LoadBalancerId::Lone(ingress.meta.name.clone())
    });
    let served = match settings.merge {
        Merge::ByGroup => ports.keys().map(|port| (*port, *port)).collect(),
        Merge::OneLoadBalancer => at_sockets(&ports, &settings.further),
    };
    Part {
        ingress,
        created: ingress.meta.created,
        parameters,
        semantics,
        group,
        ports: served.values().copied().zip(ports.values().copied()).collect(),
        served,
        asked: ports,
        redirect: annotations.read("ssl-redirect", port, problems),
        ranges,
        taken: BTreeMap::new(),
        certificates,
        clients: ClientCertificates::Off,
        clients_at: BTreeMap::new(),
        tls_policies: BTreeMap::new(),
        closed: BTreeSet::new(),
        own_ranges: OwnRanges::default(),
        refusal,
        is_canary: false,
        foreign: Foreign::default(),
        annotations,
    }
}

/// Where the ports stand that a member names, where all load balancers are served as one: each at the port's own socket,
/// if there is one that speaks its protocol. Others stand with the lowest that does, so that who asks for a socket of its
/// own is not served to all for another port's sake; and at the one for all only where none does.
fn at_sockets(asked: &BTreeMap<Port, Wire>, further: &BTreeMap<Port, Wire>) -> BTreeMap<Port, Port> {
    let has_socket = |port: Port, wire: Wire| has_socket(port, wire, further);
    let place = |(port, wire): (&Port, &Wire)| {
        let mut own = asked
            .iter()
            .filter(|(port, own)| *own == wire && has_socket(**port, **own));
        let place = match has_socket(*port, *wire) {
            true => *port,
            false => own.next().map_or(standard(*wire), |(port, _)| *port),
        };
        (*port, place)
    };
    asked.iter().map(place).collect()
}

/// Whether a port is served as such where all load balancers are served as one.
pub(super) fn has_socket(port: Port, wire: Wire, further: &BTreeMap<Port, Wire>) -> bool {
    port == standard(wire) || further.get(&port) == Some(&wire)
}

/// The one port of a protocol for all that ask for no further one, where all load balancers are served as one.
pub(super) fn standard(wire: Wire) -> Port {
    match wire {
        Wire::Http => Port::HTTP,
        Wire::Https => Port::HTTPS,
    }
}

/// Whether an Ingress that names no ports is served over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    None,
    BesidePlain,
    Alone,
}

fn default_ports(tls: Tls) -> BTreeMap<Port, Wire> {
    let http = (Port::HTTP, Wire::Http);
    let https = (Port::HTTPS, Wire::Https);
    match tls {
        Tls::None => BTreeMap::from([http]),
        Tls::BesidePlain => BTreeMap::from([http, https]),
        Tls::Alone => BTreeMap::from([https]),
    }
}

/// Whether a certificate is to be requested. None is: the ports are those it would serve, for what was to be encrypted
/// must not go in clear. Where it cannot be read, it may have been meant.
fn wants_issued(annotations: &Annotations<'_>, problems: &mut Vec<Problem>) -> bool {
    match annotations.read("create-acm-cert", value::boolean, problems) {
        Setting::Absent | Setting::Given(false) => return false,
        Setting::Given(true) => {}
        Setting::Invalid => return true,
    }
    // As with the incumbent, a certificate that is named stands instead.
    let named = annotations.get("certificate-arn");
    if let Some(written) = annotations.get("create-acm-cert")
        && named.is_none_or(|named| named.lists_nothing())
    {
        let message = "no certificate is requested here: HTTPS is served with what ACM has for the hosts already; \
                       name one in certificate-arn, or store one in the Secret that spec.tls names";
        let at = annotations.origin(written);
        problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
    }
    true
}

fn port(text: &str) -> Result<Port, String> {
    let number = value::integer(text, 1, 65_535)?;
    Port::new(number).map_err(|error| error.to_string())
}

/// `[{"HTTP": 80}, {"HTTPS": 443}]`; here the names are to the letter.
fn listen_ports(text: &str) -> Result<BTreeMap<Port, Wire>, String> {
    let entries: Vec<BTreeMap<String, i64>> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut ports = BTreeMap::new();
    for (protocol, number) in entries.into_iter().flatten() {
        let wire = match protocol.as_str() {
            "HTTP" => Wire::Http,
            "HTTPS" => Wire::Https,
            other => {
                return Err(format!(
                    "protocol {} is neither HTTP nor HTTPS",
                    value::shown(other)
                ));
            }
        };
        let port = Port::new(number).map_err(|error| error.to_string())?;
        if ports.insert(port, wire).is_some_and(|before| before != wire) {
            return Err(format!("port {port} has two protocols"));
        }
    }
    if ports.is_empty() {
        return Err("it names no port".to_owned());
    }
    Ok(ports)
}

/// By address, by list, or both; everybody only where neither is given. As the incumbent has it, one that names nothing
/// is not given: templates write it so. Under Kubernetes semantics that is told.
fn ranges(
    annotations: &Annotations<'_>,
    semantics: Semantics,
    absent: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> Option<Ranges> {
    let mut nets = annotations.get("inbound-cidrs");
    let mut lists = annotations.get("security-group-prefix-lists");
    let by_class = annotations
        .class("inbound-cidrs")
        .or(annotations.class("security-group-prefix-lists"));
    // What a class says who may connect, its Ingresses do not add to; with the incumbent one may by way of the other.
    if by_class.is_some() && semantics == Semantics::Kubernetes {
        nets = annotations.class("inbound-cidrs");
        lists = annotations.class("security-group-prefix-lists");
    }
    for given in [&mut nets, &mut lists] {
        if let Some(written) = given.take_if(|written| written.lists_nothing())
            && semantics == Semantics::Kubernetes
        {
            problems.push(annotations.invalid(written, "it names nobody, and counts as not set"));
        }
    }
    if nets.is_none() && lists.is_none() {
        return None;
    }
    let mut ranges = Ranges {
        sources: Sources::default(),
        broken: false,
    };
    let mut told = |problem: Problem| {
        problems.push(problem);
        ranges.broken = true;
    };
    if let Some(written) = nets {
        for item in value::list(written.value) {
            match value::range(item) {
                Ok(net) => _ = ranges.sources.nets.insert(net),
                Err(why) => told(annotations.invalid(written, why)),
            }
        }
    }
    if let Some(written) = lists {
        for item in value::list(written.value) {
            match value::prefix_list(item) {
                Ok(list) if absent.contains(&list) => {
                    let message = format!("the provider has no prefix list {list}: nobody is let in by it");
                    let at = annotations.origin(written);
                    told(Problem::new(Code::ResourceNotFound, at, message));
                }
                Ok(list) => _ = ranges.sources.lists.insert(list),
                Err(why) => told(annotations.invalid(written, why)),
            }
        }
    }
    Some(ranges)
}
