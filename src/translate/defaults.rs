//! The default backends of the members in, what answers at each port where no rule does out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    Action, Code, Condition, FixedResponse, LoadBalancerId, Origin, Port, Problem, Rule, Semantics,
};

use super::annotations::Setting;
use super::auth::{self, Gate};
use super::backends::Backends;
use super::filters::Filtered;
use super::member::{Part, Wire};
use super::moved::redirects;
use super::ownership::Owners;
use super::precedence::{
    Answer, Closes, Draft, Fallback, Fallbacks, PathKind, Written, leads_to_itself, loops,
};
use super::rules::{refused_by, said_of_default};
use super::standing::{self, Guards, Ports, Refused};
use crate::cluster::object::IngressBackend;

/// What answers where no rule does, and the rules it takes where not everybody may have it.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) fallbacks: Fallbacks,
    pub(super) drafts: Vec<Draft>,
    /// Whose default backend answers at a port.
    pub(super) origins: BTreeMap<Port, Origin>,
}

/// Reads the default backends; of two the first in order serves.
pub(super) fn read<'a>(
    parts: &[Part<'a>],
    ports: &Ports,
    filtered: &[Filtered],
    owners: &Owners<'_>,
    backends: &mut Backends<'a>,
    problems: &mut Vec<Problem>,
) -> Defaults {
    let mut out = Defaults::default();
    let mut first: BTreeMap<(LoadBalancerId, Port), &Part<'a>> = BTreeMap::new();
    let with_hosts = parts
        .iter()
        .filter(|part| part.ingress.rules.iter().any(|rule| rule.host.is_some()));
    let with_hosts: BTreeSet<&LoadBalancerId> = with_hosts.map(|part| &part.group).collect();
    let members = parts.iter().zip(&ports.standings).zip(filtered);
    for (member, ((part, standing), filtered)) in members.enumerate() {
        let Some(backend) = &part.ingress.default_backend else {
            continue;
        };
        let at = part.origin("spec.defaultBackend");
        if part.is_canary {
            let message = "a canary has no default backend: it is left out";
            problems.push(Problem::new(Code::SettingConflict, at, message));
            continue;
        }
        if !owners.may_have_default(part, problems) {
            continue;
        }
        let mut answer = None;
        let mut conflict = None;
        let mut nobody_s = None;
        let mut plain = Vec::new();
        let mut looping = 0;
        for port in standing.ports() {
            let key = (part.group.clone(), port);
            if let Some(first) = first.get(&key) {
                conflict = Some(*first);
                continue;
            }
            let mut answer = answer
                .get_or_insert_with(|| answer_of(part, backend, filtered, &at, backends, problems))
                .clone();
            // As in a rule, it does not stand there; the incumbent's does.
            if part.semantics == Semantics::Kubernetes
                && matches!(&answer.action, Action::Redirect(redirect) if loops(redirect, port, &ports.wires))
            {
                looping += 1;
                continue;
            }
            first.insert(key.clone(), part);
            if !answer.clients.is_off() {
                answer.clients = part.clients_at(port).clone();
            }
            answer.tls_policy = answer.tls_policy.and(part.tls_policies.get(&port).cloned());
            if answer.authenticate.is_some() && standing.serves_plainly(part, port) {
                plain.push(port.to_string());
            }
            let fallback = fallback(part, filtered, ports, member, port, answer);
            if !out.fallbacks.by_port.contains_key(&port) {
                for (conditions, answer) in &fallback.guarded {
                    let guarded = by_default(member, port, conditions.clone(), answer.clone(), &at);
                    out.drafts.push(guarded);
                }
                let mut here = fallback.clone();
                // What a listener answers by itself asks nothing of clients and has no filters: a rule does, in its
                // place.
                let secure = ports.wires.get(&port) == Some(&Wire::Https);
                let asks = secure && !here.answer.clients.is_off();
                let speaks = secure && here.answer.tls_policy.is_some();
                if asks || speaks || here.answer.filters.is_some() {
                    let closed = match (asks, speaks) {
                        (true, _) => standing::refused(Refused::Clients),
                        (false, true) => refused_by("ssl-policy"),
                        (false, false) => {
                            Action::Fixed(FixedResponse::unavailable("Not served without its filters"))
                        }
                    };
                    let closed = Answer::of(closed);
                    let answer = std::mem::replace(&mut here.answer, closed);
                    out.drafts.push(by_default(member, port, Vec::new(), answer, &at));
                }
                out.fallbacks.by_port.insert(port, here);
                out.origins.insert(port, at.clone());
            } else if !with_hosts.contains(&part.group) {
                nobody_s = nobody_s.or_else(|| out.origins.get(&port).cloned());
            }
            out.fallbacks.by_group.insert(key, fallback);
        }
        if let Some(step) = answer.and_then(|answer: Answer| answer.authenticate)
            && !plain.is_empty()
        {
            problems.push(auth::needs_https(part, &step, &plain));
        }
        if let Some(first) = nobody_s {
            let message = format!(
                "the default backend of {} comes first and answers for all hosts that no Ingress names, and its own group \
                 names none",
                first.object.name
            );
            problems.push(Problem::new(Code::DefaultBackendConflict, at, message));
        } else if let Some(first) = conflict {
            let message = format!(
                "the default backend of {} comes first in the group and serves",
                first.ingress.meta.name
            );
            problems.push(Problem::new(Code::DefaultBackendConflict, at, message));
        } else if looping > 0 && looping == standing.ports().len() {
            problems.push(leads_to_itself(at));
        }
    }
    let redirecting_to = |to: Port| Fallback {
        guarded: Vec::new(),
        answer: Answer::of(standing::to_https(to)),
    };
    for port in ports.wires.keys() {
        let of_listener = || ports.redirecting.get(port).copied().map(redirecting_to);
        let fallback = || of_listener().unwrap_or_else(Fallback::none);
        out.fallbacks.by_port.entry(*port).or_insert_with(fallback);
    }
    for (key, to) in redirecting(parts, ports) {
        let redirect = to.map(redirecting_to);
        out.fallbacks
            .by_group
            .entry(key)
            .or_insert_with(|| redirect.unwrap_or_else(Fallback::none));
    }
    out
}

/// A default backend's answer as a rule.
fn by_default(member: usize, port: Port, conditions: Vec<Condition>, answer: Answer, at: &Origin) -> Draft {
    Draft {
        rule: Rule {
            ports: [port].into(),
            hosts: Vec::new(),
            paths: Vec::new(),
            conditions,
            clients: answer.clients,
            tls_policy: answer.tls_policy,
            authenticate: answer.authenticate,
            filters: answer.filters,
            rewrites: Vec::new(),
            action: answer.action,
            origin: at.clone(),
        },
        place: Written {
            member,
            rule: 0,
            path: 0,
            piece: 0,
        },
        kind: PathKind::Default,
        closes: Closes::Nothing,
        guards: 0,
        // In the order of the fallback, whatever they ask.
        piece_of: Some(0),
    }
}

/// All ports of all groups, with where to everything is redirected that stands there.
fn redirecting(parts: &[Part<'_>], ports: &Ports) -> BTreeMap<(LoadBalancerId, Port), Option<Port>> {
    let mut all = BTreeMap::new();
    for (part, standing) in parts.iter().zip(&ports.standings) {
        for port in standing.ports() {
            let to = standing.redirected.get(&port).map(|redirected| redirected.to);
            let so_far = all.entry((part.group.clone(), port)).or_insert(to);
            if *so_far != to {
                *so_far = None;
            }
        }
    }
    all
}

/// What the default backend answers, and who may have it.
fn answer_of<'a>(
    part: &Part<'a>,
    backend: &IngressBackend,
    filtered: &Filtered,
    at: &Origin,
    backends: &mut Backends<'a>,
    problems: &mut Vec<Problem>,
) -> Answer {
    if let Some(refusal) = part.refusal {
        return Answer::of(refusal.answer());
    }
    // What restricts it, or changes what it sees, cannot be had of a default backend.
    if part.semantics == Semantics::Kubernetes
        && let Some((family, _)) = said_of_default(part).next()
    {
        return Answer::of(refused_by(family));
    }
    let rewrites = ["upstream-vhost", "rewrite-target"];
    if rewrites.into_iter().any(|name| part.nginx(name).is_some()) {
        return Answer::of(refused_by(part.said_by("transforms.")));
    }
    let action = match redirects::redirect(part, problems) {
        Setting::Absent => None,
        Setting::Given(redirect) => Some(Action::Redirect(redirect)),
        Setting::Invalid => return Answer::of(refused_by(part.said_by("actions."))),
    };
    let authenticate = match backends.gate(part, backend, problems) {
        Gate::Closed(annotation) => return Answer::of(refused_by(annotation)),
        gate @ (Gate::Open | Gate::Guarded(_)) => gate.step(),
    };
    let filters = match filtered {
        Filtered::Closed(annotation) => return Answer::of(refused_by(annotation)),
        Filtered::By { all, .. } => all.clone(),
    };
    Answer {
        clients: part.clients.clone(),
        tls_policy: part.tls_policies.values().next().cloned(),
        authenticate,
        filters,
        action: action.unwrap_or_else(|| backends.action(part, backend, at, problems)),
    }
}

fn fallback(
    part: &Part<'_>,
    filtered: &Filtered,
    ports: &Ports,
    member: usize,
    port: Port,
    answer: Answer,
) -> Fallback {
    let standing = &ports.standings[member];
    let unguarded = |action: Action| Fallback {
        guarded: Vec::new(),
        answer: Answer::of(action),
    };
    if let Some(redirected) = standing.redirected.get(&port) {
        return unguarded(standing::to_https(redirected.to));
    }
    if let Some(why) = standing.refused.get(&port) {
        return unguarded(standing::refused(*why));
    }
    if answer.authenticate.is_some() && standing.closes_plain(part, port) {
        return unguarded(standing::refused(Refused::PlainHttp));
    }
    let turned_away = || Answer {
        filters: filtered.of_turned_away(),
        ..Answer::of(standing::turned_away())
    };
    let Guards { denied, asked } = standing::guards(part, standing.guard(part, port));
    let mut guarded: Vec<_> = denied
        .into_iter()
        .map(|denied| (vec![denied], turned_away()))
        .collect();
    let answer = match asked {
        Some(asked) if asked.is_empty() => answer,
        asked => {
            guarded.extend(asked.map(|asked| (asked, answer)));
            turned_away()
        }
    };
    Fallback { guarded, answer }
}
