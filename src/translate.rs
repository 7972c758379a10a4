//! A snapshot in, the load balancer to serve and what is wrong out.
//!
//! Translation never fails: what cannot be served is left out or answers 503 in its place, and is told at its field.
//! An error never opens what a right value would have closed, and never changes what another Ingress is answered.
//!
//! The way of the data: [`class`] says which Ingresses are one load balancer; `member` reads each and puts them in
//! order; `moved` reads what they say as ingress-nginx does, and closes what cannot be had; `reach`, `protection` and `standing` decide
//! who gets to their rules, what stands before these and at which ports, `tls_policies` how TLS is spoken there, `challenges` what no redirect stands before;
//! `rules`, with `conditions`, `actions`, `auth`,
//! `filters` and `backends`, drafts their rules; `ownership` takes away what belongs to another namespace; `canary` gives
//! canaries their share; `defaults` and `certificates` complete the listeners; `precedence` makes one list of all; `left_open`
//! tells whose guards it leaves out over HTTPS; `targets` gives backends their targets.

mod actions;
mod admission;
pub mod annotations;
mod auth;
mod backends;
mod bindings;
mod canary;
mod certificates;
mod challenges;
pub mod class;
mod conditions;
mod defaults;
mod endpoints;
mod expressions;
mod filters;
pub mod followed;
mod front;
mod group;
mod left_open;
mod member;
mod moved;
mod options;
mod ownership;
mod precedence;
mod protection;
mod reach;
mod references;
mod refusal;
mod rules;
pub mod settings;
mod spelling;
mod standing;
mod targets;
mod tls_policies;
mod told;
mod transforms;
mod unheeded;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    Action, BackendId, Certificate, Clients, FixedResponse, Listener, LoadBalancer, LoadBalancerId, Port,
    Problem, Protocol, Rule, Tls,
};

pub use self::bindings::{TargetsOf, service_targets};
pub use self::group::own_group;
pub use self::references::secrets_of;
pub use self::settings::{AddressPolicy, ControllerName, Merge, Settings, Targets, WithoutClass};

use self::annotations::Setting;
use self::backends::Backends;
use self::class::membership;
use self::defaults::Defaults;
use self::filters::Filtered;
use self::member::{Part, Wire};
use self::ownership::Owners;
use self::precedence::{Answer, Draft};
use self::references::{references, secrets_of_service};
use self::rules::{Drafts, Reader, Spent};
use self::standing::Ports;
use self::targets::Leads;
use self::tls_policies::Policies;
use crate::cluster::index::{Index, SecretsMode};
use crate::cluster::membership::References;
use crate::cluster::snapshot::Snapshot;
use crate::crd::load_balancer::Terms;
use crate::crd::{DeletionPolicy, Mode};

/// What a snapshot asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// None where nothing should exist.
    pub balancer: Option<LoadBalancer>,
    /// Whether its class wants changes made; only shown where one member's class says so.
    pub mode: Mode,
    /// What becomes of it when its last member goes.
    pub deletion_policy: DeletionPolicy,
    /// Sorted, without duplicates, and of each object so many.
    pub problems: Vec<Problem>,
    /// Those in which EndpointSlices and Pods have no part.
    lasting: Vec<Problem>,
    leads: Leads,
}

/// An index that has seen nothing yet, of objects as this controller takes them.
pub fn index(settings: &Settings, secrets: SecretsMode) -> Index {
    let settings = settings.clone();
    Index::new(
        Box::new(move |candidate| membership(&settings, candidate)),
        References {
            of_ingress: Box::new(references),
            of_service: Box::new(secrets_of_service),
        },
        secrets,
    )
}

/// Translates; pure.
pub fn translate(snapshot: &Snapshot, settings: &Settings) -> Translation {
    let mut problems = Vec::new();
    let mut parts = member::read(snapshot, settings, &mut problems);
    let shown_only = parts
        .iter()
        .any(|part| part.parameters.is_some_and(|spec| spec.mode == Mode::Plan));
    let made = (!parts.is_empty()).then(|| balancer(snapshot, settings, &mut parts, &mut problems));
    // Who has a say in it is known by now.
    let deletion_policy = deletion_policy(&parts, &mut problems);
    let (balancer, leads) = made.unzip();
    let unfilled = Translation {
        balancer,
        mode: if shown_only { Mode::Plan } else { Mode::Apply },
        deletion_policy,
        problems: Vec::new(),
        lasting: problems,
        leads: leads.unwrap_or_default(),
    };
    unfilled.follow(snapshot, settings)
}

impl Translation {
    /// The same with what serves the Services of the snapshot now: what a translation of everything would make where
    /// nothing but their EndpointSlices and Pods has changed. All backends whose targets stay are shared with it.
    pub fn follow(mut self, snapshot: &Snapshot, settings: &Settings) -> Self {
        if let Some(balancer) = &mut self.balancer {
            self.leads.fill(snapshot, settings, balancer);
        }
        let all = self.lasting.iter().chain(self.leads.problems());
        self.problems = told::told(all.cloned().collect());
        self
    }

    pub fn terms(&self) -> Terms {
        Terms {
            mode: self.mode,
            deletion_policy: self.deletion_policy,
        }
    }
}

/// Who wants it to stay is heeded, whoever else does not, and so is who cannot be understood: a mistake deletes nothing.
fn deletion_policy(parts: &[Part<'_>], problems: &mut Vec<Problem>) -> DeletionPolicy {
    let read = |part: &Part<'_>| {
        let parse = |text: &str| match text {
            "Delete" => Ok(DeletionPolicy::Delete),
            "Retain" => Ok(DeletionPolicy::Retain),
            _ => Err("expected Delete or Retain; it stays".to_owned()),
        };
        match part.whole().read("deletion-policy", parse, problems) {
            Setting::Absent => DeletionPolicy::Delete,
            Setting::Invalid => DeletionPolicy::Retain,
            Setting::Given(policy) => policy,
        }
    };
    parts.iter().map(read).max().unwrap_or_default()
}

fn balancer<'a>(
    snapshot: &'a Snapshot,
    settings: &'a Settings,
    parts: &mut [Part<'a>],
    problems: &mut Vec<Problem>,
) -> (LoadBalancer, Leads) {
    let roles = canary::roles(parts, problems);
    moved::read(parts, problems);
    ownership::settings(parts, problems);
    let mut reach = reach::decide(parts, settings, problems);
    let mut protection = protection::decide(parts, settings, problems);
    let ports = standing::decide(parts, &snapshot.spoken, settings, problems);
    let (policies, unknown_policies) = tls_policies::decide(parts, settings, problems);
    let parts = &*parts;
    unheeded::tell(parts, settings, problems);
    let semantics = parts[0].semantics;
    let mut backends = Backends::new(snapshot, settings);

    let mains = canary::Mains::of(parts);
    let members = || parts.iter().zip(&ports.standings);
    let filtered: Vec<Filtered> = members()
        .map(|(part, standing)| filters::read(part, standing, settings, &mut backends, problems))
        .collect();
    let mut drafts: Vec<Drafts> = members()
        .zip(&filtered)
        .enumerate()
        .map(|(member, ((part, standing), filtered))| {
            Reader {
                part,
                member,
                mains: &mains,
                standing,
                filtered,
                backends: &mut backends,
                spent: &mut Spent::default(),
                problems,
            }
            .read()
        })
        .collect();
    let owners = Owners::of(parts, &drafts);
    for (part, drafts) in parts.iter().zip(&mut drafts) {
        owners.enforce(part, drafts, problems);
    }
    rules::settle(parts, &mut drafts, problems);
    canary::share(parts, &roles, &backends.resolved, &mut drafts, problems);
    let mut defaults = defaults::read(parts, &ports, &filtered, &owners, &mut backends, problems);
    defaults.fallbacks.is_across = settings.merge == Merge::OneLoadBalancer;
    let (certificates, key_pairs) = certificates::read(snapshot, parts, &drafts, &owners, problems);
    reach
        .kept
        .extend(ports.kept.iter().cloned().chain(unknown_policies));
    let listeners = listeners(
        parts,
        certificates,
        &mut protection.clients,
        &ports,
        &defaults,
        &policies,
    );

    let mut all = defaults.drafts;
    let mut hosts = Vec::new();
    for drafts in drafts {
        all.extend(drafts.drafts);
        hosts.extend(drafts.hosts);
    }
    name_served_ports(&mut all, parts, settings);
    let groups: Vec<LoadBalancerId> = parts.iter().map(|part| part.group.clone()).collect();
    let rules = precedence::arrange(
        all,
        &groups,
        &hosts,
        &ports.wires,
        &defaults.fallbacks,
        semantics,
        problems,
    );
    left_open::tell(&rules, &ports.wires, problems);

    let Backends {
        resolved: mut backends,
        mut unread,
        mut given,
        leads,
        ..
    } = backends;
    let used = used(&rules, &listeners);
    backends.retain(|id, _| used.contains(id));
    given.retain(|id, _| used.contains(id));
    unread.retain(|id, _| used.contains(id));
    let origin = parts[0].origin("");
    let mut options = options::read(
        parts,
        settings,
        reach,
        ports.admitted,
        protection.firewall,
        origin,
        problems,
    );
    options.policies_at = policies.into_iter().map(|(port, (_, at))| (port, at)).collect();
    let balancer = LoadBalancer {
        id: snapshot.id.clone(),
        semantics,
        members: parts.iter().map(|part| part.ingress.meta.name.clone()).collect(),
        options,
        listeners,
        rules: rules.into(),
        backends,
        given,
        unread,
        key_pairs,
    };
    (balancer, leads)
}

fn listeners(
    parts: &[Part<'_>],
    mut certificates: BTreeMap<Port, Vec<Certificate>>,
    clients: &mut BTreeMap<Port, Clients>,
    ports: &Ports,
    defaults: &Defaults,
    policies: &Policies,
) -> BTreeMap<Port, Listener> {
    let mut listeners = BTreeMap::new();
    for (port, wire) in &ports.wires {
        let on_port = || parts.iter().filter(|part| part.ports.contains_key(port));
        let first = on_port().next().unwrap_or(&parts[0]);
        let default = match (ports.redirecting.get(port), defaults.fallbacks.by_port.get(port)) {
            (Some(to), _) => Answer::of(standing::to_https(*to)),
            (None, Some(fallback)) => fallback.answer.clone(),
            (None, None) => Answer::of(Action::Fixed(FixedResponse::not_found())),
        };
        let protocol = match wire {
            Wire::Http => Protocol::Http,
            Wire::Https => Protocol::Https(Tls {
                policy: policies.get(port).map(|(policy, _)| policy.clone()),
                certificates: certificates.remove(port).unwrap_or_default(),
                clients: clients.remove(port),
            }),
        };
        let origin = defaults.origins.get(port).cloned().unwrap_or_else(|| {
            match first.annotations.get("listen-ports") {
                Some(written) => first.annotations.origin(written),
                None => first.origin(""),
            }
        });
        listeners.insert(
            *port,
            Listener {
                port: *port,
                protocol,
                authenticate: default.authenticate,
                default_action: default.action,
                origin,
            },
        );
    }
    listeners
}

/// Where all load balancers are served as one, redirects lead to where the port that they name is served: for the member
/// that redirects, else for another.
fn name_served_ports(drafts: &mut [Draft], parts: &[Part<'_>], settings: &Settings) {
    match settings.merge {
        Merge::ByGroup => return,
        Merge::OneLoadBalancer => {}
    }
    let all = parts.iter().flat_map(|part| &part.served);
    let all: BTreeMap<Port, Port> = all.map(|(port, at)| (*port, *at)).collect();
    for draft in drafts {
        if let Action::Redirect(redirect) = &mut draft.rule.action {
            let own = parts.get(draft.place.member).map(|part| &part.served);
            let at = |port: Port| own.and_then(|own| own.get(&port)).or_else(|| all.get(&port));
            redirect.port = redirect.port.map(|port| at(port).copied().unwrap_or(port));
        }
    }
}

/// The backends that something forwards to, or asks.
fn used(rules: &[Rule], listeners: &BTreeMap<Port, Listener>) -> BTreeSet<BackendId> {
    let actions = rules.iter().map(|rule| &rule.action);
    let defaults = listeners.values().map(|listener| &listener.default_action);
    let filters = rules.iter().filter_map(|rule| rule.filters.as_ref());
    let asked = filters.flat_map(|filters| filters.backends());
    actions
        .chain(defaults)
        .flat_map(|action| match action {
            Action::Forward(forward)
            | Action::Fixed(FixedResponse {
                unread: Some(forward),
                ..
            }) => forward.backends.as_slice(),
            Action::Redirect(_) | Action::Fixed(_) => &[],
        })
        .map(|weighted| &weighted.backend)
        .chain(asked)
        .cloned()
        .collect()
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "rows read best where they are written"
)]
mod tests;
