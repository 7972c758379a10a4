//! A rule: what is asked of a request in, what answers it out.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::action::{Action, Rewrite};
use crate::auth::Authenticate;
use crate::condition::Condition;
use crate::filters::Filters;
use crate::host::HostMatch;
use crate::listener::{ClientCertificates, TlsPolicy};
use crate::name::Port;
use crate::origin::Origin;
use crate::path::PathMatch;
use crate::resolve::Request;

/// One entry of a load balancer's ordered list. It takes a request when all of its parts do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Rule {
    /// The listeners it stands on.
    pub ports: BTreeSet<Port>,
    /// Any of these; every host where empty.
    pub hosts: Vec<HostMatch>,
    /// Any of these; every path where empty.
    pub paths: Vec<PathMatch>,
    /// All of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What clients must have shown of themselves, on HTTPS listeners: beside what the listener asks of all, where one
    /// listener serves members that ask for different things.
    #[serde(skip_serializing_if = "ClientCertificates::is_off")]
    pub clients: ClientCertificates,
    /// How TLS must be spoken for it, on HTTPS listeners: where one listener serves members that ask for different
    /// things.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_policy: Option<Arc<TlsPolicy>>,
    /// Comes before the action, on HTTPS listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticate: Option<Authenticate>,
    /// Shared by the rules of an object. None where there are none, so that such a rule pays nothing for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filters: Option<Arc<Filters>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewrites: Vec<Rewrite>,
    pub action: Action,
    pub origin: Origin,
}

impl Rule {
    pub fn takes(&self, request: &Request) -> bool {
        self.ports.contains(&request.port)
            && (self.hosts.is_empty() || self.hosts.iter().any(|h| h.matches(&request.host)))
            && (self.paths.is_empty() || self.paths.iter().any(|p| p.matches(&request.path)))
            && self.conditions.iter().all(|c| c.matches(request))
    }
}

impl fmt::Display for Rule {
    /// One line: `80,443 shop.example.com prefix:/cart method GET → forward shop/web-cart:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn any<T: fmt::Display>(values: &[T], all: &str) -> String {
            if values.is_empty() {
                all.to_owned()
            } else {
                values.iter().map(T::to_string).collect::<Vec<_>>().join("|")
            }
        }
        let ports: Vec<Port> = self.ports.iter().copied().collect();
        let ports = ports.iter().map(Port::to_string).collect::<Vec<_>>().join(",");
        write!(f, "{ports} {} {}", any(&self.hosts, "*"), any(&self.paths, "*"))?;
        for condition in &self.conditions {
            write!(f, " {condition}")?;
        }
        if !self.clients.is_off() {
            write!(f, " → client certificates {}", self.clients)?;
        }
        if let Some(policy) = &self.tls_policy {
            write!(f, " → TLS policy {}", policy.name)?;
        }
        if let Some(step) = &self.authenticate {
            write!(f, " → {step}")?;
        }
        if let Some(filters) = &self.filters {
            write!(f, " → {filters}")?;
        }
        for rewrite in &self.rewrites {
            write!(f, " → {rewrite}")?;
        }
        write!(f, " → {}", self.action)
    }
}
