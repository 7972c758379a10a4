//! The account's subnets and what was asked for in, the subnets of a load balancer out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::Code;

use super::Context;
use crate::account::{Fact, Reach, Subnet, ZoneKind};
use crate::resource::{IpAddressType, LoadBalancerScheme, SubnetId};

/// Where a load balancer stands.
pub(super) enum Placed {
    /// Sorted, never empty.
    Subnets(Vec<SubnetId>),
    Refused(Code, String),
}

/// A subnet with fewer free addresses is not taken. Source: ELBv2, "Subnets for your load balancer".
const FREE_ADDRESSES: u32 = 8;

/// Those given, else those with the class's tags, else those found.
pub(super) fn choose(
    context: &Context<'_>,
    scheme: LoadBalancerScheme,
    family: IpAddressType,
    given: &[String],
) -> Placed {
    let tags = &context.balancer.options.subnet_tags;
    if !tags.is_empty() {
        return by_tags(context, tags, family);
    }
    // Discovery is for creation: a subnet tagged later does not move a load balancer that exists.
    if given.is_empty()
        && let Some(state) = context.existing()
    {
        return Placed::Subnets(state.spec.subnets.clone());
    }
    match &context.account.subnets {
        Fact::Read(known) if given.is_empty() => return discover(context, known, scheme, family),
        Fact::Symbolic if given.is_empty() => {
            return Placed::Subnets(vec![SubnetId::new(format!("${{Subnets/{}}}", scheme.as_str()))]);
        }
        Fact::Read(_) | Fact::Symbolic => {}
    }
    named(context, given)
}

/// Those with the tags asked for, one of each zone: chosen as those that are found, but at any time.
fn by_tags(
    context: &Context<'_>,
    tags: &BTreeMap<String, BTreeSet<String>>,
    family: IpAddressType,
) -> Placed {
    let known = match &context.account.subnets {
        Fact::Read(known) => known,
        Fact::Symbolic => {
            let asked = tags.iter().map(|(key, values)| {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                format!("{key}={}", values.join("|"))
            });
            let asked: Vec<String> = asked.collect();
            return Placed::Subnets(vec![SubnetId::new(format!("${{Subnets/{}}}", asked.join(",")))]);
        }
    };
    let fits = |subnet: &&Subnet| {
        let mut asked = tags.iter();
        asked.all(|(key, values)| subnet.tags.get(key).is_some_and(|value| values.contains(value)))
    };
    // One that it stands in is kept: nothing moves because another one of the zone has the tags as well.
    let stands = |subnet: &Subnet| {
        let existing = context.existing();
        existing.is_some_and(|state| state.spec.subnets.contains(&subnet.id))
    };
    let candidates = known.iter().filter(fits).collect();
    one_per_zone(
        context,
        candidates,
        family,
        &stands,
        "the tags that the class gives",
    )
}

/// By id or name.
pub(super) fn named(context: &Context<'_>, given: &[String]) -> Placed {
    let known = match &context.account.subnets {
        Fact::Read(known) => known,
        Fact::Symbolic => return Placed::Subnets(sorted(given.iter().map(|id| SubnetId::new(id.as_str())))),
    };
    let mut found = Vec::new();
    for text in given {
        let mut named = known
            .iter()
            .filter(|s| s.id.as_str() == text || s.tags.get("Name") == Some(text));
        match (named.next(), named.next()) {
            (Some(subnet), None) => found.push(subnet),
            (Some(_), Some(_)) => {
                return Placed::Refused(
                    Code::SubnetsNotFound,
                    format!("more than one subnet is named {text:?}"),
                );
            }
            (None, _) => {
                return Placed::Refused(
                    Code::SubnetsNotFound,
                    format!("no subnet of the VPC is named {text:?}"),
                );
            }
        }
    }
    enough(found)
}

fn sorted(ids: impl Iterator<Item = SubnetId>) -> Vec<SubnetId> {
    let mut ids: Vec<SubnetId> = ids.collect();
    ids.sort();
    ids.dedup();
    ids
}

/// One of each zone, and of ordinary zones at least two.
fn enough(subnets: Vec<&Subnet>) -> Placed {
    let mut zones: BTreeMap<&str, &Subnet> = BTreeMap::new();
    for subnet in subnets {
        if let Some(other) = zones.insert(&subnet.zone, subnet)
            && other.id != subnet.id
        {
            let message = format!(
                "subnets {} and {} are both in zone {}",
                other.id, subnet.id, subnet.zone
            );
            return Placed::Refused(Code::SubnetsNotFound, message);
        }
    }
    let special = zones.values().any(|subnet| subnet.kind == ZoneKind::Special);
    if zones.len() < 2 && !special {
        let message = format!(
            "a load balancer needs subnets in two zones, and {} fits",
            zones.len()
        );
        return Placed::Refused(Code::SubnetsNotFound, message);
    }
    Placed::Subnets(sorted(zones.values().map(|subnet| subnet.id.clone())))
}

/// Tagged subnets of the scheme, or, where none is tagged, those that its kind of route leads to.
fn discover(
    context: &Context<'_>,
    known: &[Subnet],
    scheme: LoadBalancerScheme,
    family: IpAddressType,
) -> Placed {
    let (role, reach) = match scheme {
        LoadBalancerScheme::InternetFacing => ("kubernetes.io/role/elb", Reach::Public),
        LoadBalancerScheme::Internal => ("kubernetes.io/role/internal-elb", Reach::Private),
    };
    let tagged = |s: &Subnet| {
        s.tags
            .get(role)
            .is_some_and(|value| value.is_empty() || value == "1")
    };
    let mut candidates: Vec<&Subnet> = known.iter().filter(|s| tagged(s)).collect();
    if candidates.is_empty() {
        candidates = known.iter().filter(|s| s.reach == Some(reach)).collect();
    }
    one_per_zone(context, candidates, family, &|_| false, &format!("tag {role}"))
}

/// Of each zone the best that has room; what `prefers` says comes before everything. Tells why others do not fit.
fn one_per_zone(
    context: &Context<'_>,
    candidates: Vec<&Subnet>,
    family: IpAddressType,
    prefers: &dyn Fn(&Subnet) -> bool,
    looked_for: &str,
) -> Placed {
    let own = format!("kubernetes.io/cluster/{}", context.settings.cluster);
    let mut rejected = Vec::new();
    let mut chosen: BTreeMap<&str, &Subnet> = BTreeMap::new();
    for subnet in candidates {
        let ours = subnet.tags.contains_key(&own);
        let others = subnet
            .tags
            .keys()
            .any(|key| key.starts_with("kubernetes.io/cluster/"));
        let why = if others && !ours {
            Some("is tagged for another cluster")
        } else if subnet.free_addresses < FREE_ADDRESSES && !prefers(subnet) {
            Some("has fewer than 8 free addresses")
        } else if family != IpAddressType::Ipv4 && !subnet.ipv6 {
            Some("has no IPv6 range")
        } else {
            None
        };
        if let Some(why) = why {
            rejected.push(format!("{} {why}", subnet.id));
            continue;
        }
        let rank = |s: &Subnet| (!prefers(s), !s.tags.contains_key(&own), s.id.clone());
        let slot = chosen.entry(&subnet.zone).or_insert(subnet);
        if rank(subnet) < rank(slot) {
            *slot = subnet;
        }
    }
    match enough(chosen.into_values().collect()) {
        Placed::Refused(code, message) => {
            let mut message = format!("{message} (looked for {looked_for})");
            if !rejected.is_empty() {
                message = format!("{message}: {}", rejected.join(", "));
            }
            Placed::Refused(code, message)
        }
        placed @ Placed::Subnets(_) => placed,
    }
}
