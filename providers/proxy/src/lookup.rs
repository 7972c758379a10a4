//! A table and the head of a request in, the rule and action that answer it out.
//!
//! The cost does not grow with the number of hosts (hashed: the exact name, the name after the first label, and one
//! look for each further dot where `*.name` globs exist) nor of a host's paths (hashed where they are many). Only host
//! patterns, path patterns and rules that differ in nothing but their conditions are tried one after the other.
//!
//! Paths are matched raw, as the reference resolver matches them: `//`, dot segments and encoded slashes are
//! characters like any other, and the backend gets them as they came.

use std::fmt;
use std::net::IpAddr;

use portcullis_model::{Condition, Port, QueryMatch, Request};

use crate::listening::leads_around;
use crate::paths::Paths;
use crate::table::{Action, HostIndex, ListenerTable, PathIndex, Route, RouteTable, RuleIndex};

/// What rules see of a request, borrowed from whatever parsed it.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// Of the model's listener.
    pub port: Port,
    /// In the form of `portcullis_model::host::normalize`.
    pub host: &'a str,
    /// Raw, without the query.
    pub path: &'a str,
    /// Raw, without the `?`.
    pub query: &'a str,
    pub method: &'a str,
    pub headers: &'a dyn Fields,
    /// The peer's.
    pub source: IpAddr,
    /// The request came over TLS to another port: what only leads there is passed over.
    pub is_beside: bool,
}

impl fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, host, path, .. } = self;
        write!(f, "{} {port} {host} {path}", self.method)
    }
}

/// The fields of a request, in whichever form its parser keeps them.
pub trait Fields {
    /// Whether a value of the field (name in lower case) passes the test.
    fn any(&self, name: &str, test: &mut dyn FnMut(&str) -> bool) -> bool;
}

impl Fields for http::HeaderMap {
    fn any(&self, name: &str, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.get_all(name)
            .iter()
            .any(|value| test(&String::from_utf8_lossy(value.as_bytes())))
    }
}

impl Fields for Request {
    fn any(&self, name: &str, test: &mut dyn FnMut(&str) -> bool) -> bool {
        self.header(name).any(test)
    }
}

impl<'a> From<&'a Request> for RequestHead<'a> {
    fn from(request: &'a Request) -> Self {
        Self {
            port: request.port,
            host: &request.host,
            path: &request.path,
            query: &request.query,
            method: &request.method,
            headers: request,
            source: request.source,
            is_beside: false,
        }
    }
}

/// Who answers; the counterpart of `portcullis_model::Decision`.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// The rule at this place of the load balancer's list.
    Rule(usize, &'a Route, &'a ListenerTable),
    /// No rule: the listener's default action.
    Default(&'a ListenerTable),
    /// Nobody listens at the request's port.
    NoListener,
}

impl<'a> Found<'a> {
    pub fn action(self) -> Option<&'a Action> {
        match self {
            Self::Rule(_, route, _) => Some(&route.action),
            Self::Default(listener) => Some(&listener.default),
            Self::NoListener => None,
        }
    }
}

impl RouteTable {
    /// The first rule that takes the request, else the default action of its listener.
    pub fn lookup(&self, head: &RequestHead<'_>) -> Found<'_> {
        let Some(listener) = self.listeners.get(&head.port) else {
            return Found::NoListener;
        };
        let found = usize::try_from(self.hosts.first(&self.routes, head, RuleIndex::MAX)).ok();
        match found.and_then(|index| self.routes.get(index).map(|route| (index, route))) {
            Some((index, route)) => Found::Rule(index, route, listener),
            None => Found::Default(listener),
        }
    }
}

impl HostIndex {
    /// The lowest rule below `best` that takes the request, else `best`.
    pub(crate) fn first(&self, routes: &[Route], head: &RequestHead<'_>, best: RuleIndex) -> RuleIndex {
        let narrow = |paths: &PathIndex, best| paths.first(routes, head, best);
        let best = self.each(head.host, best, narrow);
        narrow(&self.any, best)
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            exact,
            wildcard,
            suffix,
            any,
            patterns,
        } = self;
        let by_name = [exact, wildcard, suffix].iter().all(|hosts| hosts.is_empty());
        by_name && patterns.is_empty() && any.is_empty()
    }

    /// Whether a rule names the host, as it is or by a pattern; one for every host names none.
    pub(crate) fn names(&self, host: &str) -> bool {
        let mut is_named = false;
        self.each(host, RuleIndex::MAX, |_, best| {
            is_named = true;
            best
        });
        is_named
    }

    /// Gives the rules of each host or pattern that takes this one, and the best rule so far; answers the best of all. Patterns
    /// whose rules all come later are not tried: they may be many, and anybody's.
    #[inline]
    fn each(
        &self,
        host: &str,
        mut best: RuleIndex,
        mut take: impl FnMut(&PathIndex, RuleIndex) -> RuleIndex,
    ) -> RuleIndex {
        if let Some(paths) = self.exact.get(host) {
            best = take(paths, best);
        }
        if !self.wildcard.is_empty()
            && let Some((label, rest)) = host.split_once('.')
            && !label.is_empty()
            && let Some(paths) = self.wildcard.get(rest)
        {
            best = take(paths, best);
        }
        if !self.suffix.is_empty() {
            for (dot, _) in host.match_indices('.') {
                if let Some(paths) = self.suffix.get(&host[dot + 1..]) {
                    best = take(paths, best);
                }
            }
        }
        for pattern in &self.patterns {
            if pattern.first >= best {
                break;
            }
            if pattern.host.matches(host) {
                best = take(&pattern.paths, best);
            }
        }
        best
    }
}

impl PathIndex {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefix.is_empty() && self.scanned.is_empty()
    }

    /// The lowest rule below `best` that takes the request, else `best`.
    fn first(&self, routes: &[Route], head: &RequestHead<'_>, mut best: RuleIndex) -> RuleIndex {
        let mut narrow = |paths: &Paths, text: &str| {
            let below = paths.of(text).take_while(|rule| *rule < best);
            let found = below.into_iter().find(|rule| admits(routes, *rule, head));
            best = found.unwrap_or(best);
        };
        if !self.exact.is_empty() {
            narrow(&self.exact, head.path);
        }
        if !self.prefix.is_empty() {
            // Every prefix that ends where an element ends: before each slash, and at the end.
            for (slash, _) in head.path.match_indices('/') {
                narrow(&self.prefix, &head.path[..slash]);
            }
            narrow(&self.prefix, head.path);
        }
        for (path, rule) in &self.scanned {
            if *rule >= best {
                break;
            }
            if path.as_ref().is_none_or(|p| p.matches(head.path)) && admits(routes, *rule, head) {
                return *rule;
            }
        }
        best
    }
}

/// Whether what the index does not hold (ports and conditions) takes the request, too.
fn admits(routes: &[Route], rule: RuleIndex, head: &RequestHead<'_>) -> bool {
    let route = usize::try_from(rule).ok().and_then(|index| routes.get(index));
    route.is_some_and(|route| {
        route.ports.contains(&head.port)
            && !(head.is_beside && leads_around(&route.action))
            && route.conditions.iter().all(|c| holds(c, head))
    })
}

/// As `Condition::matches`, on a borrowed head.
fn holds(condition: &Condition, head: &RequestHead<'_>) -> bool {
    match condition {
        Condition::Method(methods) => methods.iter().any(|m| m.as_str() == head.method),
        Condition::Header { name, values } => head.headers.any(name.as_str(), &mut |value| {
            values.iter().any(|g| g.matches_ignoring_case(value))
        }),
        Condition::HeaderRegex { name, values } => head.headers.any(name.as_str(), &mut |value| {
            values.iter().any(|p| p.matches(value))
        }),
        Condition::Query(wanted) => head
            .query
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
            .any(|(key, value)| wanted.iter().any(|q| parameter_matches(q, key, value))),
        Condition::Source(ranges) => ranges.iter().any(|range| range.contains(&head.source)),
    }
}

fn parameter_matches(wanted: &QueryMatch, key: &str, value: &str) -> bool {
    wanted.key.as_ref().is_none_or(|k| k.matches_ignoring_case(key))
        && wanted.value.matches_ignoring_case(value)
}
