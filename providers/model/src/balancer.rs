//! The whole: members, options, listeners, rules and backends in, one load balancer out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use crate::auth::Authenticate;
use crate::backend::{Backend, BackendId, GivenBackend, HealthCheck, UnreadBackend};
use crate::kept::{Kept, KeptFront};
use crate::key_pair::Stored;
use crate::listener::Listener;
use crate::name::{LoadBalancerId, ObjectName, Port};
use crate::origin::Origin;
use crate::rule::Rule;
use crate::shared::Shared;

/// Whose rules of precedence and strictness hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Semantics {
    /// The most specific host decides alone; wildcards of one label; one order over all members.
    #[default]
    Kubernetes,
    /// As the AWS Load Balancer Controller lays rules out: order of members, wildcards of any depth, fall-through.
    AwsLoadBalancerController,
}

/// Who can reach it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Scheme {
    #[default]
    Internal,
    InternetFacing,
}

/// Which families of addresses it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum AddressFamily {
    #[default]
    Ipv4,
    Dualstack,
    /// IPv6 to the world, private IPv4 within.
    DualstackWithoutPublicIpv4,
}

/// Pools that a load balancer's IPv4 addresses come from, by the provider's names; the provider's own where absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AddressPools {
    /// Of addresses for the world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    /// Of addresses of the owner's own network, where the provider's machines stand in it. Used at creation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_premises: Option<String>,
}

/// A load balancer of layer 4 in front of one of layer 7, for clients that need what only that has, such as addresses
/// that never change. Texts are names that the provider resolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Front {
    pub scheme: Scheme,
    /// Ids or names; those of the load balancer behind it where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// Ids or names; those of the load balancer behind it where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// One for each subnet; the provider's choice where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Settings a provider reads by its own names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Those of the load balancer behind it where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    pub ports: BTreeMap<Port, FrontPort>,
    pub stands: Stands,
    /// Settings that are not known.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kept: BTreeSet<KeptFront>,
    pub origin: Origin,
}

/// Whether all of what was asked for is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Stands {
    #[default]
    AsAsked,
    /// Whom it lets in or where it is found could not be read: it is not made, and what exists stays so.
    AsItIs,
}

/// Where a port in front leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrontPort {
    /// Of the load balancer behind it.
    pub to: Port,
    pub health: HealthCheck,
    pub origin: Origin,
}

/// A filter of requests before all listeners, kept by the provider beside the load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Firewall {
    pub choice: FirewallChoice,
    /// Members that rely on it: what is theirs answers 503 where it cannot be had.
    pub relied_on_by: BTreeSet<ObjectName>,
    pub origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum FirewallChoice {
    /// There is to be none.
    Off,
    /// By the provider's own id for it, such as an ARN.
    Given(String),
    Named(String),
}

/// What concerns the load balancer as a whole. Texts are names that the provider resolves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Options {
    pub scheme: Scheme,
    pub address_family: AddressFamily,
    /// Chooses subnets among those that have each of these tags with one of its values; any where empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subnet_tags: BTreeMap<String, BTreeSet<String>>,
    /// Used at creation only; derived where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ids or names; discovered where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// Ids or names; one is managed where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// With given security groups: whether nodes are opened for the load balancer all the same.
    pub open_nodes: bool,
    /// Who may connect, by listener; everybody where a port is absent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub admitted: BTreeMap<Port, BTreeSet<IpNet>>,
    /// Who may connect beside those, by lists of ranges that the provider keeps. Every port here is in `admitted`, too:
    /// whoever does not know such lists lets in fewer, never everybody.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub admitted_lists: BTreeMap<Port, BTreeSet<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Of rules, by the member whose they are; `tags` where it is not among them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rule_tags: BTreeMap<ObjectName, BTreeMap<String, String>>,
    /// Settings a provider reads by its own names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The same of a listener.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub listener_attributes: BTreeMap<Port, BTreeMap<String, String>>,
    /// Where its addresses come from.
    pub pools: AddressPools,
    /// Capacity kept ready, in the provider's units; 0 gives it back, absent leaves it as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_capacity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub front: Option<Front>,
    /// Left as it is where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firewall: Option<Firewall>,
    /// Whether the provider's paid protection against attacks is on; left as it is where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack_protection: Option<bool>,
    /// Whether HTTPS listeners speak HTTP/3, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub http3: bool,
    /// Settings that are not known.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kept: BTreeSet<Kept>,
    pub origin: Origin,
    /// Where those that one member says for all were said, by their names; see [`Options::said_at`].
    #[serde(skip)]
    pub origins: BTreeMap<&'static str, Origin>,
    /// Where the tags were said, by their keys.
    #[serde(skip)]
    pub tags_at: BTreeMap<String, Origin>,
    /// Where the TLS policies of listeners were said.
    #[serde(skip)]
    pub policies_at: BTreeMap<Port, Origin>,
    /// Of those, who said the one that holds, where without it less would be kept from the member than it asked for.
    #[serde(skip)]
    pub relied_on_by: BTreeMap<&'static str, BTreeSet<ObjectName>>,
}

impl Options {
    /// Nothing asked for.
    pub fn new(origin: Origin) -> Self {
        Self {
            scheme: Scheme::default(),
            address_family: AddressFamily::default(),
            subnet_tags: BTreeMap::new(),
            name: None,
            subnets: Vec::new(),
            security_groups: Vec::new(),
            open_nodes: false,
            admitted: BTreeMap::new(),
            admitted_lists: BTreeMap::new(),
            tags: BTreeMap::new(),
            rule_tags: BTreeMap::new(),
            attributes: BTreeMap::new(),
            listener_attributes: BTreeMap::new(),
            pools: AddressPools::default(),
            minimum_capacity: None,
            front: None,
            firewall: None,
            attack_protection: None,
            http3: false,
            kept: BTreeSet::new(),
            origin,
            origins: BTreeMap::new(),
            tags_at: BTreeMap::new(),
            policies_at: BTreeMap::new(),
            relied_on_by: BTreeMap::new(),
        }
    }

    /// Where the option of this name was said: what is wrong with it is told there.
    pub fn said_at(&self, name: &str) -> &Origin {
        self.origins.get(name).unwrap_or(&self.origin)
    }
}

/// What should exist: everything a provider needs to know, and nothing about how it makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadBalancer {
    pub id: LoadBalancerId,
    pub semantics: Semantics,
    /// The objects it is made of, in order.
    pub members: Vec<ObjectName>,
    pub options: Options,
    pub listeners: BTreeMap<Port, Listener>,
    /// One ordered list; the first that takes a request answers it, else the listener's default action.
    pub rules: Shared<Vec<Rule>>,
    pub backends: BTreeMap<BackendId, Shared<Backend>>,
    /// Those that rules name, and that nobody here makes, changes or deletes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub given: BTreeMap<BackendId, GivenBackend>,
    /// Those of which nothing new is made: see [`FixedResponse::unread`](crate::FixedResponse::unread).
    #[serde(skip)]
    pub unread: BTreeMap<BackendId, UnreadBackend>,
    /// What lies in the Secrets that certificates name, for a provider that keeps certificates of its own. None where
    /// nobody was asked, or the provider reads them itself.
    #[serde(skip)]
    pub key_pairs: BTreeMap<ObjectName, Stored>,
}

impl LoadBalancer {
    /// Shares with the one before what is equal in both: rules, and each backend.
    pub fn share_with(&mut self, before: &Self) {
        if self.rules == before.rules {
            self.rules = before.rules.clone();
        }
        for (id, backend) in &mut self.backends {
            if let Some(before) = before.backends.get(id)
                && backend == before
            {
                *backend = before.clone();
            }
        }
    }

    /// The Secrets that it is made with and that providers never show again, with the version of what lies there.
    pub fn secrets(&self) -> BTreeMap<ObjectName, Arc<str>> {
        let rules = self.rules.iter().filter_map(|rule| rule.authenticate.as_ref());
        let listeners = self.listeners.values();
        let defaults = listeners.filter_map(|listener| listener.authenticate.as_ref());
        let pairs = self.key_pairs.iter().filter_map(|(name, stored)| match stored {
            Stored::Pair(pair) => Some((name.clone(), pair.version.clone())),
            Stored::Unusable(..) => None,
        });
        rules
            .chain(defaults)
            .filter_map(|step| match step {
                Authenticate::Oidc { secret, client, .. } => {
                    Some((secret.clone(), client.as_ref()?.version.clone()))
                }
                Authenticate::Cognito { .. } | Authenticate::Jwt { .. } => None,
            })
            .chain(pairs)
            .collect()
    }
}
