//! The reference resolver: a load balancer and a request in, the rule and action that answer it out.
//!
//! Slow and obvious on purpose: every provider's compiled form is checked against it.

use std::net::{IpAddr, Ipv4Addr};

use crate::action::Action;
use crate::balancer::LoadBalancer;
use crate::host;
use crate::name::Port;
use crate::rule::Rule;

/// What rules see of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Of the listener it came in at.
    pub port: Port,
    /// In the form of [`host::normalize`].
    pub host: String,
    /// Raw, without the query, starting with `/`.
    pub path: String,
    /// Raw, without the `?`.
    pub query: String,
    pub method: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The peer's.
    pub source: IpAddr,
}

impl Request {
    /// A GET without headers from 192.0.2.1 (RFC 5737).
    pub fn get(port: Port, authority: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            port,
            host: host::normalize(authority),
            path: path.to_owned(),
            query: query.to_owned(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        }
    }

    /// All values of a header whose name is given in lower case.
    pub fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// Keys and values of the query, as sent. A parameter without `=` has an empty value.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|p| p.split_once('=').unwrap_or((p, "")))
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// The rule at this place of the list.
    Rule(usize, &'a Rule),
    /// No rule: the listener's default action.
    Default(&'a Action),
    /// Nobody listens at the request's port.
    NoListener,
}

impl<'a> Decision<'a> {
    pub fn action(self) -> Option<&'a Action> {
        match self {
            Self::Rule(_, rule) => Some(&rule.action),
            Self::Default(action) => Some(action),
            Self::NoListener => None,
        }
    }
}

/// The first rule that takes the request, else the default action of its listener.
pub fn resolve<'a>(balancer: &'a LoadBalancer, request: &Request) -> Decision<'a> {
    let Some(listener) = balancer.listeners.get(&request.port) else {
        return Decision::NoListener;
    };
    for (index, rule) in balancer.rules.iter().enumerate() {
        if rule.takes(request) {
            return Decision::Rule(index, rule);
        }
    }
    Decision::Default(&listener.default_action)
}
