//! A load balancer of which not everything is known and what exists in, the same with what exists in its place out.
//!
//! What could not be read, or is asked for differently by members of whom none has the say, must not become a default
//! that is then applied: addresses would change, targets turn unhealthy, neighbours lose what they have. So before
//! anything is compiled for what exists, each such setting becomes the one that is there. It is one step, of values of
//! the model: everything after it needs to know nothing of this.

mod front;
mod targets;
mod unread;

use std::borrow::Cow;

use portcullis_model::{
    Action, AddressFamily, FixedResponse, Kept, LoadBalancer, ObjectName, Port, Protocol, Redirect, Scheme,
};

use crate::account::Account;
use crate::names;
use crate::observed::{LoadBalancerState, Observed, Owned, Owner, Shared};
use crate::plan::tags::is_others;
use crate::resource::{IpAddressType, LoadBalancerScheme, Pairs, RuleAction, SecurityGroupId};
use crate::settings::{BackendGroup, Settings};

/// The load balancer as it is to be compiled beside what exists.
pub(crate) fn settled<'a>(
    settings: &Settings,
    balancer: &'a LoadBalancer,
    observed: &Observed,
    backend: Option<&SecurityGroupId>,
) -> Cow<'a, LoadBalancer> {
    if is_known(balancer) {
        return Cow::Borrowed(balancer);
    }
    let mut out = balancer.clone();
    if let Some(state) = observed.load_balancer() {
        for kept in &balancer.options.kept {
            keep(kept, state, observed, backend, &mut out);
        }
    }
    front::keep(settings, observed, &mut out);
    unread::keep(settings, observed, &mut out);
    targets::keep(settings, observed, &mut out);
    if balancer.options.kept.contains(&Kept::Scheme) && out.options.scheme == Scheme::InternetFacing {
        close_internal(&mut out);
    }
    Cow::Owned(out)
}

/// Whether all that was asked for is known.
fn is_known(balancer: &LoadBalancer) -> bool {
    let options = &balancer.options;
    options.kept.is_empty()
        && options.front.as_ref().is_none_or(front::is_known)
        && balancer.unread.is_empty()
        && balancer
            .backends
            .values()
            .all(|backend| targets::is_known(backend))
}

/// What is not known, in bytes that differ where it does.
pub(crate) fn unknown(balancer: &LoadBalancer) -> Vec<u8> {
    if is_known(balancer) {
        return Vec::new();
    }
    let options = &balancer.options;
    let front = options.front.as_ref().map(front::unknown);
    let targets = balancer.backends.values();
    let targets: Vec<_> = targets.map(|backend| targets::unknown(backend)).collect();
    let unread: Vec<_> = balancer.unread.iter().collect();
    serde_json::to_vec(&(&options.kept, front, targets, unread)).unwrap_or_default()
}

/// The group that nodes let in, where it is known before it is made.
pub(crate) fn backend_group<'a>(
    settings: &'a Settings,
    shared: Option<&'a Shared>,
    account: &'a Account,
) -> Option<&'a SecurityGroupId> {
    match &settings.backend_group {
        BackendGroup::Given(id) => Some(id),
        BackendGroup::Off => None,
        BackendGroup::Managed => {
            let made = shared.and_then(|shared| shared.backend.as_ref());
            let owner = Owner::cluster(&settings.cluster);
            let listed = || {
                let mut all = account.listing.security_groups.iter();
                all.find(|state| {
                    let owned = Owned::read(&owner, &state.spec.tags, ());
                    owned.is_some_and(|owned| owned.resource() == names::BACKEND_SECURITY_GROUP_TAG)
                })
            };
            made.map(|owned| &owned.get().id)
                .or_else(|| listed().map(|state| &state.id))
        }
    }
}

fn keep(
    kept: &Kept,
    state: &LoadBalancerState,
    observed: &Observed,
    backend: Option<&SecurityGroupId>,
    out: &mut LoadBalancer,
) {
    let (spec, options) = (&state.spec, &mut out.options);
    match kept {
        Kept::Scheme => options.scheme = scheme(spec.scheme),
        Kept::AddressFamily => {
            options.address_family = match spec.ip_address_type {
                IpAddressType::Ipv4 => AddressFamily::Ipv4,
                // There is none of IPv6 alone.
                IpAddressType::Dualstack | IpAddressType::Ipv6 => AddressFamily::Dualstack,
                IpAddressType::DualstackWithoutPublicIpv4 => AddressFamily::DualstackWithoutPublicIpv4,
            }
        }
        Kept::Subnets => {
            options.subnet_tags.clear();
            options.subnets = spec.subnets.iter().map(ToString::to_string).collect();
        }
        Kept::SecurityGroups => {
            let own = observed.security_groups.iter();
            let mut own = own.filter(|owned| owned.resource() == names::MANAGED_SECURITY_GROUP);
            let given = spec.security_groups.iter().filter(|id| Some(*id) != backend);
            options.security_groups = match own.any(|own| spec.security_groups.contains(&own.get().id)) {
                true => Vec::new(),
                false => given.map(ToString::to_string).collect(),
            };
        }
        Kept::OpenNodes => {
            // Which group nodes let in may not be known yet: then it is the one that nobody asks for.
            let more = spec.security_groups.len() > options.security_groups.len();
            options.open_nodes = backend.map_or(more, |id| spec.security_groups.contains(id));
        }
        Kept::PublicPool => {
            let pool = spec.ipam_pools.as_ref();
            options.pools.public = pool.map(|pools| pools.ipv4_ipam_pool_id.clone());
        }
        Kept::Tag(key) => {
            match spec.tags.get(key) {
                Some(value) => options.tags.insert(key.clone(), value.to_owned()),
                None => options.tags.remove(key),
            };
        }
        Kept::Redirect(port) => redirect(*port, state, out),
        Kept::TlsPolicy(port) => {
            let listener = state.listeners.get(&port.get());
            let policy = listener.and_then(|listener| listener.spec.ssl_policy.clone());
            let wanted = out.listeners.get_mut(port).map(|listener| &mut listener.protocol);
            if let (Some(Protocol::Https(tls)), Some(policy)) = (wanted, policy) {
                tls.policy = Some(policy);
            }
        }
        // The first is a matter of what stands in front, the second of what is taken away.
        Kept::Front | Kept::Tags => {}
    }
}

fn scheme(scheme: LoadBalancerScheme) -> Scheme {
    match scheme {
        LoadBalancerScheme::Internal => Scheme::Internal,
        LoadBalancerScheme::InternetFacing => Scheme::InternetFacing,
    }
}

/// A port that redirects all that comes goes on with it, unless a member asks for another redirect that is known, or
/// nothing is listened on any more where it leads.
fn redirect(port: Port, state: &LoadBalancerState, out: &mut LoadBalancer) {
    let had = state.listeners.get(&port.get());
    let Some(to) = had.and_then(|listener| redirects_to(&listener.spec.default_actions)) else {
        return;
    };
    let stands = |to: &Port| {
        let listener = out.listeners.get(to);
        listener.is_some_and(|listener| matches!(listener.protocol, Protocol::Https(_)))
    };
    let redirected = Action::Redirect(Redirect::to_https(to));
    let here = || out.rules.iter().filter(|rule| rule.ports.contains(&port));
    let other = |action: &Action| {
        let mut https = out.listeners.keys().filter(|other| **other != to);
        https.any(|other| *action == Action::Redirect(Redirect::to_https(*other)))
    };
    if !stands(&to) || here().any(|rule| other(&rule.action)) {
        return;
    }
    let Some(listener) = out.listeners.get_mut(&port) else {
        return;
    };
    listener.default_action = redirected;
    listener.authenticate = None;
    for rule in &mut out.rules {
        rule.ports.remove(&port);
    }
    out.rules.retain(|rule| !rule.ports.is_empty());
}

/// The port to which a listener sends everything under HTTPS.
fn redirects_to<T>(actions: &[RuleAction<T>]) -> Option<Port> {
    let [RuleAction::Redirect { config }] = actions else {
        return None;
    };
    if config.protocol.as_deref() != Some("HTTPS") {
        return None;
    }
    Port::new(config.port.as_ref()?.parse().ok()?).ok()
}

/// Closes what is of members that asked to be reached from within alone: while the scheme was known they were closed
/// for that, too.
fn close_internal(out: &mut LoadBalancer) {
    let Some(asked) = out.options.relied_on_by.get("scheme") else {
        return;
    };
    let closed = Action::Fixed(FixedResponse::refused_by("scheme"));
    let is_theirs = |object: &ObjectName| asked.contains(object);
    for rule in &mut out.rules {
        if is_theirs(&rule.origin.object) {
            rule.action = closed.clone();
            rule.authenticate = None;
            rule.filters = None;
        }
    }
    for listener in out.listeners.values_mut() {
        let default = &*listener.origin.field == "spec.defaultBackend";
        if default && is_theirs(&listener.origin.object) {
            listener.default_action = closed.clone();
            listener.authenticate = None;
        }
    }
}

/// Tags as users set them: without those that say whose a resource is, the operator's and others'.
fn of_users(settings: &Settings, tags: &Pairs) -> impl Iterator<Item = (String, String)> {
    let others = |key: &String| {
        names::is_of_ownership(key) || is_others(key) || settings.default_tags.contains_key(key)
    };
    let users = tags.0.iter().filter(move |(key, _)| !others(key));
    users.map(|(key, value)| (key.clone(), value.clone()))
}
