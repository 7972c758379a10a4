//! A request and where it came in in, the listener of the model that it belongs to and its rule there out.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use portcullis_model::{
    Condition, HostMatch, Listener, LoadBalancer, PathMatch, Port, RedirectScheme, Rule, Template,
};
use smallvec::SmallVec;

use crate::exchange::Peer;
use crate::lookup::RequestHead;
use crate::serving::ServingState;
use crate::table::{Action, ListenerTable, Route, RouteTable, RuleIndex};

/// What answers a request.
pub(crate) struct Place<'s> {
    pub(crate) listener: &'s ListenerTable,
    pub(crate) route: Option<&'s Route>,
    /// The ports whose rules it was looked up in: where a trusted peer ended TLS, that over HTTPS and then that over HTTP.
    pub(crate) ports: SmallVec<[Port; 2]>,
}

/// None where nobody listens. The head is given the listener's port.
///
/// Where a trusted peer ended TLS, the rules over HTTPS and those over HTTP answer as if they were of one listener: who ends
/// TLS in front of us leaves most Ingresses without certificates of their own, and a neighbour that has one must not take
/// what is theirs.
pub(crate) fn find<'s>(
    state: &'s ServingState,
    peer: &Peer,
    is_tls: bool,
    named: Option<u16>,
    head: &mut RequestHead<'_>,
) -> Option<Place<'s>> {
    let port = state.port_of(peer, is_tls, named);
    let plain_port = match peer.is_tls || !is_tls {
        true => None,
        false => state.port_of(peer, false, named),
    };
    let ports: SmallVec<[Port; 2]> = port.into_iter().chain(plain_port).collect();
    let table = state.table();
    let first = table.first_at(&ports, head);
    head.port = first.map(|(port, _)| port).or_else(|| ports.first().copied())?;
    Some(Place {
        listener: table.listeners.get(&head.port)?,
        route: first.and_then(|(_, rule)| table.route(rule)),
        ports,
    })
}

impl RouteTable {
    /// The rule that answers of those at the ports, and at which. Over HTTP beside HTTPS, what only leads clients to where
    /// they are does not count.
    pub(crate) fn first_at(&self, ports: &[Port], head: &RequestHead<'_>) -> Option<(Port, RuleIndex)> {
        let (port, others) = ports.split_first()?;
        let at = |port: Port, is_beside: bool, below: RuleIndex| {
            let head = RequestHead {
                port,
                is_beside,
                ..*head
            };
            self.hosts.first(&self.routes, &head, below)
        };
        let secure = at(*port, false, RuleIndex::MAX);
        if let Some(port) = others.first() {
            let below = self.turn(secure);
            let plain = at(*port, true, below);
            if plain < below {
                return Some((*port, plain));
            }
        }
        self.route(secure).map(|_| (*port, secure))
    }

    /// Whether of two rules at these ports the first would answer.
    pub(crate) fn is_before(&self, ports: &[Port], one: (Port, RuleIndex), other: (Port, RuleIndex)) -> bool {
        let is_secure = |port: Port| ports.first() == Some(&port);
        match (is_secure(one.0), is_secure(other.0)) {
            (true, false) => self.turn(one.1) <= other.1,
            (false, true) => one.1 < self.turn(other.1),
            (true, true) | (false, false) => one.1 < other.1,
        }
    }

    pub(crate) fn route(&self, rule: RuleIndex) -> Option<&Route> {
        usize::try_from(rule)
            .ok()
            .and_then(|index| self.routes.get(index))
    }

    /// The place among all rules of one over HTTPS: before the one over HTTP that asks the same.
    fn turn(&self, rule: RuleIndex) -> RuleIndex {
        self.twins.get(&rule).copied().unwrap_or(rule)
    }
}

/// Of rules over HTTPS alone, each with one of the same namespace that stands before it over HTTP alone and asks the same.
pub(crate) type Twins = HashMap<RuleIndex, RuleIndex, RandomState>;

pub(crate) fn twins(balancer: &LoadBalancer, routes: &[Route]) -> Twins {
    if !balancer.listeners.values().any(Listener::is_https) {
        return Twins::default();
    }
    type Asked<'r> = (&'r str, &'r [HostMatch], &'r [PathMatch], &'r [Condition]);
    fn asked(rule: &Rule) -> Asked<'_> {
        let namespace = &*rule.origin.object.namespace;
        (namespace, &rule.hosts, &rule.paths, &rule.conditions)
    }
    let is_https = |port: &Port| balancer.listeners.get(port).is_some_and(Listener::is_https);
    let over = |https: bool| {
        let rules = balancer.rules.iter().zip(routes).zip(0..);
        rules.filter(move |((rule, _), _)| rule.ports.iter().all(|port| is_https(port) == https))
    };
    let mut plain: HashMap<Asked<'_>, RuleIndex, RandomState> = HashMap::default();
    for ((rule, route), number) in over(false) {
        if !leads_around(&route.action) {
            plain.entry(asked(rule)).or_insert(number);
        }
    }
    if plain.is_empty() {
        return Twins::default();
    }
    let twins = over(true).filter_map(|((rule, _), number)| {
        let twin = plain.get(&asked(rule)).copied()?;
        (twin < number).then_some((number, twin))
    });
    twins.collect()
}

/// Whether it only sends clients to where they are: they speak TLS already.
pub(crate) fn leads_around(action: &Action) -> bool {
    let Action::Redirect(to) = action else {
        return false;
    };
    let is = |part: &Option<Template>, same: &str| part.as_ref().is_none_or(|part| part.as_str() == same);
    to.scheme == Some(RedirectScheme::Https) && is(&to.host, "#{host}") && is(&to.path, "/#{path}")
}

#[cfg(test)]
mod tests;
