//! The members in, what concerns their load balancer as a whole out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    AddressFamily, AddressPools, Code, Firewall, ObjectName, Options, Origin, Port, Problem, Scheme,
};

use super::annotations::attributes::{Of, at_odds};
use super::annotations::{Setting, value};
use super::front;
use super::member::{Part, Sources, Wire};
use super::reach::Reach;
use super::settings::Settings;

/// Reads the options. Of members that disagree the first in order counts.
pub(super) fn read(
    parts: &[Part<'_>],
    settings: &Settings,
    reach: Reach,
    admitted: BTreeMap<Port, Sources>,
    firewall: Option<Firewall>,
    origin: Origin,
    problems: &mut Vec<Problem>,
) -> Options {
    Options {
        scheme: reach.scheme,
        address_family: agreed(parts, "ip-address-type", address_family, problems)
            .given()
            .unwrap_or_default(),
        name: agreed(parts, "load-balancer-name", name, problems).given(),
        subnets: agreed(
            parts,
            "subnets",
            |text| {
                names(text).map(|mut subnets| {
                    // Their order says nothing.
                    subnets.sort();
                    subnets
                })
            },
            problems,
        )
        .given()
        .unwrap_or_default(),
        subnet_tags: subnet_tags(parts, problems),
        security_groups: reach.security_groups,
        open_nodes: agreed(
            parts,
            "manage-backend-security-group-rules",
            value::boolean,
            problems,
        )
        .given()
        .unwrap_or(false),
        admitted_lists: admitted
            .iter()
            .filter(|(_, sources)| !sources.lists.is_empty())
            .map(|(port, sources)| (*port, sources.lists.clone()))
            .collect(),
        admitted: admitted
            .into_iter()
            .map(|(port, sources)| (port, sources.nets))
            .collect(),
        tags: merged(parts, "tags", problems),
        attributes: merged(parts, "load-balancer-attributes", problems),
        listener_attributes: listener_attributes(parts, problems),
        pools: AddressPools {
            // Which text names a pool the provider knows; also that an empty one does not.
            public: agreed(parts, "ipam-ipv4-pool-id", |text| Ok(text.to_owned()), problems).given(),
            on_premises: agreed(parts, "customer-owned-ipv4-pool", name, problems).given(),
        },
        front: front::read(parts, settings, problems),
        minimum_capacity: agreed(parts, "minimum-load-balancer-capacity", capacity, problems).given(),
        firewall,
        attack_protection: agreed(parts, "shield-advanced-protection", value::boolean, problems).given(),
        http3: agreed(parts, "http3", value::boolean, problems)
            .given()
            .unwrap_or(false),
        origins: origins(parts),
        relied_on_by: ["subnets", "security-groups"]
            .into_iter()
            .map(|name| (name, relying(parts, name)))
            .collect(),
        origin,
    }
}

/// Options of which the first member that says one says it for all, and of which a provider may find out that they
/// cannot be had.
const SAID_BY_ONE: [&str; 9] = [
    "customer-owned-ipv4-pool",
    "http3",
    "ip-address-type",
    "ipam-ipv4-pool-id",
    "load-balancer-name",
    "manage-backend-security-group-rules",
    "security-groups",
    "shield-advanced-protection",
    "subnets",
];

fn origins(parts: &[Part<'_>]) -> BTreeMap<&'static str, Origin> {
    let said = |name: &'static str| {
        let by = parts.iter().find(|part| part.whole().get(name).is_some())?;
        Some((name, by.annotation(name)))
    };
    let lists = "security-group-prefix-lists";
    let mut listing = parts.iter().filter(|part| {
        let ranges = part.ranges.as_ref();
        ranges.is_some_and(|ranges| !ranges.broken && !ranges.sources.lists.is_empty())
    });
    let of_lists = listing.next().map(|by| (lists, by.annotation(lists)));
    SAID_BY_ONE.into_iter().filter_map(said).chain(of_lists).collect()
}

/// Who says anything in this option: what then holds is theirs, or they are told.
fn relying(parts: &[Part<'_>], name: &str) -> BTreeSet<ObjectName> {
    let says = |part: &&Part<'_>| {
        let written = part.annotations.get(name);
        written.is_some_and(|written| !value::list(written.value).is_empty())
    };
    let asking = parts.iter().filter(says);
    asking.map(|part| part.ingress.meta.name.clone()).collect()
}

/// The tags by which the first class that does so chooses subnets.
fn subnet_tags(parts: &[Part<'_>], problems: &mut Vec<Problem>) -> BTreeMap<String, BTreeSet<String>> {
    let mut first: Option<(&BTreeMap<String, Vec<String>>, &Part<'_>)> = None;
    for part in parts {
        let subnets = part.parameters.and_then(|spec| spec.subnets.as_ref());
        let Some(tags) = subnets
            .map(|subnets| &subnets.tags)
            .filter(|tags| !tags.is_empty())
        else {
            continue;
        };
        match first {
            None => first = Some((tags, part)),
            Some((had, by)) if had != tags => tell_conflict(part, by, "subnets", problems),
            Some(_) => {}
        }
    }
    let tags = first.into_iter().flat_map(|(tags, _)| tags);
    tags.map(|(key, values)| (key.clone(), values.iter().cloned().collect()))
        .collect()
}

/// `listener-attributes.<PROTOCOL>-<port>` of all members together; of a key with two values the first in order counts.
fn listener_attributes(
    parts: &[Part<'_>],
    problems: &mut Vec<Problem>,
) -> BTreeMap<Port, BTreeMap<String, String>> {
    const FAMILY: &str = "listener-attributes.";
    let mut all: BTreeMap<(Port, String), (String, &Part<'_>)> = BTreeMap::new();
    for part in parts {
        for (listener, written) in part.annotations.family(FAMILY) {
            let name = format!("{FAMILY}{listener}");
            let Some((wire, port)) = listener_name(listener) else {
                problems.push(
                    part.annotations
                        .invalid_name(written, "expected HTTP or HTTPS, a hyphen and a port"),
                );
                continue;
            };
            if part.asked.get(&port) != Some(&wire) {
                let why = "the Ingress does not listen on that port with that protocol";
                problems.push(part.annotations.invalid_name(written, why));
                continue;
            }
            let annotations = &part.annotations;
            let own = annotations
                .own(&name)
                .filter(|_| !part.foreign.ports.contains(&port));
            let sources = [own, annotations.class(&name)];
            for (key, value) in annotations.read_attributes(Of::Listener, sources, problems) {
                // ELBv2 API, ListenerAttribute: for HTTPS listeners.
                if wire == Wire::Http && key.starts_with("routing.http.request.x_amzn_") {
                    let why =
                        format!("{key} is about TLS, which the listener does not speak; it is left out");
                    annotations.tell_at_odds(&name, [why], problems);
                    continue;
                }
                match all.get(&(port, key.clone())) {
                    None => {
                        all.insert((port, key), (value, part));
                    }
                    Some((first, by)) if *first != value => tell_conflict(part, by, &name, problems),
                    Some(_) => {}
                }
            }
        }
    }
    let mut out: BTreeMap<Port, BTreeMap<String, String>> = BTreeMap::new();
    for ((port, key), (value, _)) in all {
        out.entry(port).or_default().insert(key, value);
    }
    out
}

/// `HTTPS-443`; the protocol to the letter.
fn listener_name(text: &str) -> Option<(Wire, Port)> {
    let (protocol, port) = text.split_once('-')?;
    let wire = match protocol {
        "HTTP" => Wire::Http,
        "HTTPS" => Wire::Https,
        _ => return None,
    };
    Some((wire, Port::new(port.parse().ok()?).ok()?))
}

/// `CapacityUnits=1000`. Source: AWS Load Balancer Controller, `model_build_load_balancer.go`.
fn capacity(text: &str) -> Result<u32, String> {
    let expected = || "expected CapacityUnits= and a number".to_owned();
    let map = value::map(text)?;
    match map.iter().collect::<Vec<_>>().as_slice() {
        [(key, units)] if key.as_str() == "CapacityUnits" => {
            let units: i32 = units.parse().map_err(|_| expected())?;
            u32::try_from(units).map_err(|_| expected())
        }
        _ => Err(expected()),
    }
}

/// The first value in order that can be read; unreadable only where none can.
pub(super) fn agreed<'p, 'a: 'p, T: PartialEq>(
    parts: impl IntoIterator<Item = &'p Part<'a>>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, String>,
    problems: &mut Vec<Problem>,
) -> Setting<T> {
    let mut found: Option<(T, &Part<'_>)> = None;
    let mut invalid = false;
    for part in parts {
        match part.whole().read(name, &parse, problems) {
            Setting::Absent => {}
            Setting::Invalid => invalid = true,
            Setting::Given(value) => match &found {
                None => found = Some((value, part)),
                Some((first, by)) if *first != value => tell_conflict(part, by, name, problems),
                Some(_) => {}
            },
        }
    }
    match (found, invalid) {
        (Some((value, _)), _) => Setting::Given(value),
        (None, true) => Setting::Invalid,
        (None, false) => Setting::Absent,
    }
}

/// Maps of all members together; of a key with two values the first in order counts.
fn merged(parts: &[Part<'_>], name: &str, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, (String, &Part<'_>)> = BTreeMap::new();
    for (place, part) in parts.iter().enumerate() {
        let annotations = part.whole();
        // As the incumbent has it, of these the first member's class counts alone.
        let by_class = annotations
            .class(name)
            .filter(|_| place == 0 || name != "load-balancer-attributes");
        let mut without_room = 0;
        let sources = [annotations.own(name), by_class];
        let read = match name {
            "load-balancer-attributes" => annotations.read_attributes(Of::LoadBalancer, sources, problems),
            _ => annotations.read_tags(sources, problems),
        };
        for (key, value) in read {
            match all.get(&key) {
                None if name == "tags" && all.len() >= MOST_TAGS => without_room += 1,
                None => {
                    all.insert(key, (value, part));
                }
                Some((first, by)) if *first != value => tell_conflict(part, by, name, problems),
                Some(_) => {}
            }
        }
        if without_room > 0 {
            let message =
                format!("a load balancer has room for {MOST_TAGS} tags; {without_room} of these did not fit");
            problems.push(Problem::new(Code::LimitExceeded, part.annotation(name), message));
        }
    }
    let written_by: BTreeMap<&String, &Part<'_>> = all.iter().map(|(key, (_, part))| (key, *part)).collect();
    let mut out = all
        .iter()
        .map(|(key, (value, _))| (key.clone(), value.clone()))
        .collect();
    if name == "load-balancer-attributes" {
        // Of all members together: one may name the bucket for another's logs.
        for (key, why) in at_odds(Of::LoadBalancer, &mut out) {
            if let Some(part) = written_by.get(&key) {
                part.whole().tell_at_odds(name, [why], problems);
            }
        }
    }
    out
}

/// Tags of all members together: one too many would keep the whole load balancer from being made. AWS takes 50 of a
/// resource (ELBv2 API, AddTags); ten are left for those of ownership and the operator's.
const MOST_TAGS: usize = 40;

/// Two members say different things. Those of different groups, which share a load balancer only where a folder is
/// served, need not agree.
pub(super) fn tell_conflict(part: &Part<'_>, first: &Part<'_>, name: &str, problems: &mut Vec<Problem>) {
    if part.group != first.group {
        return;
    }
    let message = format!(
        "{name} differs from that of {}, which comes first in the group",
        first.ingress.meta.name
    );
    problems.push(Problem::new(
        Code::SettingConflict,
        part.annotation(name),
        message,
    ));
}

/// Separated by commas.
pub(super) fn names(text: &str) -> Result<Vec<String>, String> {
    Ok(value::list(text).into_iter().map(str::to_owned).collect())
}

pub(super) fn scheme(text: &str) -> Result<Scheme, String> {
    match text {
        "internal" => Ok(Scheme::Internal),
        "internet-facing" => Ok(Scheme::InternetFacing),
        _ => Err("expected internal or internet-facing".to_owned()),
    }
}

fn address_family(text: &str) -> Result<AddressFamily, String> {
    match text {
        "ipv4" => Ok(AddressFamily::Ipv4),
        "dualstack" => Ok(AddressFamily::Dualstack),
        "dualstack-without-public-ipv4" => Ok(AddressFamily::DualstackWithoutPublicIpv4),
        _ => Err("expected ipv4, dualstack or dualstack-without-public-ipv4".to_owned()),
    }
}

fn name(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("it is empty".to_owned())
    } else {
        Ok(text.to_owned())
    }
}
