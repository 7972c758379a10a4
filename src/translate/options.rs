//! The members in, what concerns their load balancer as a whole out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    AddressFamily, AddressPools, Code, Firewall, Kept, ObjectName, Options, Origin, Port, Problem, Scheme,
    Semantics,
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
    let mut kept = reach.kept;
    let (tags, tags_at) = merged(parts, "tags", &mut kept, problems);
    Options {
        scheme: reach.scheme,
        address_family: agreed(parts, "ip-address-type", address_family, problems)
            .noted(Kept::AddressFamily, &mut kept)
            .given()
            .unwrap_or_default(),
        name: agreed(parts, "load-balancer-name", name, problems)
            .plain()
            .given(),
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
        .noted(Kept::Subnets, &mut kept)
        .given()
        .unwrap_or_default(),
        subnet_tags: subnet_tags(parts, &mut kept, problems),
        security_groups: reach.security_groups,
        open_nodes: agreed(
            parts,
            "manage-backend-security-group-rules",
            value::boolean,
            problems,
        )
        .noted(Kept::OpenNodes, &mut kept)
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
        rule_tags: rule_tags(parts),
        tags,
        tags_at,
        policies_at: BTreeMap::new(),
        attributes: merged(parts, "load-balancer-attributes", &mut kept, problems).0,
        listener_attributes: listener_attributes(parts, problems),
        pools: AddressPools {
            // Which text names a pool the provider knows; also that an empty one does not.
            public: agreed(parts, "ipam-ipv4-pool-id", |text| Ok(text.to_owned()), problems)
                .noted(Kept::PublicPool, &mut kept)
                .given(),
            on_premises: agreed(parts, "customer-owned-ipv4-pool", name, problems)
                .plain()
                .given(),
        },
        front: front::read(parts, settings, &mut kept, problems),
        minimum_capacity: agreed(parts, "minimum-load-balancer-capacity", capacity, problems).known(),
        firewall,
        attack_protection: agreed(parts, "shield-advanced-protection", value::boolean, problems).known(),
        http3: agreed(parts, "http3", value::boolean, problems)
            .plain()
            .given()
            .unwrap_or(false),
        origins: origins(parts),
        relied_on_by: ["subnets", "security-groups"]
            .into_iter()
            .map(|name| (name, relying(parts, name)))
            .chain([("scheme", reach.internal)])
            .collect(),
        kept,
        origin,
    }
}

/// Options of which the first member that says one says it for all, and of which a provider may find out that they
/// cannot be had.
const SAID_BY_ONE: [&str; 13] = [
    "customer-owned-ipv4-pool",
    "frontend-nlb-eip-allocations",
    "frontend-nlb-scheme",
    "frontend-nlb-security-groups",
    "frontend-nlb-subnets",
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
        written.is_some_and(|written| !written.lists_nothing())
    };
    let asking = parts.iter().filter(says);
    asking.map(|part| part.ingress.meta.name.clone()).collect()
}

/// The tags by which the first class that does so chooses subnets.
fn subnet_tags(
    parts: &[Part<'_>],
    kept: &mut BTreeSet<Kept>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, BTreeSet<String>> {
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
            Some((had, by)) if had != tags => {
                if has_no_first(part) && part.group == by.group {
                    kept.insert(Kept::Subnets);
                }
                tell_conflict(part, by, "subnets", problems);
            }
            Some(_) => {}
        }
    }
    let tags = first.into_iter().flat_map(|(tags, _)| tags);
    tags.map(|(key, values)| (key.clone(), values.iter().cloned().collect()))
        .collect()
}

/// `listener-attributes.<PROTOCOL>-<port>` of all members together; of a key with two values the first in order counts, or
/// neither where none has the say: what is not asked for stays as it is.
fn listener_attributes(
    parts: &[Part<'_>],
    problems: &mut Vec<Problem>,
) -> BTreeMap<Port, BTreeMap<String, String>> {
    const FAMILY: &str = "listener-attributes.";
    let mut all: BTreeMap<(Port, String), (String, &Part<'_>)> = BTreeMap::new();
    let mut contested = BTreeSet::new();
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
                    Some((first, by)) if *first != value => {
                        if has_no_first(part) && part.group == by.group {
                            contested.insert((port, key));
                        }
                        tell_conflict(part, by, &name, problems);
                    }
                    Some(_) => {}
                }
            }
        }
    }
    all.retain(|place, _| !contested.contains(place));
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

/// What members say of a setting that is one for all.
#[derive(Debug)]
pub(super) struct Agreed<T> {
    setting: Setting<T>,
    /// Nobody knows which value was meant, or has the say.
    is_kept: bool,
}

impl<T> Agreed<T> {
    /// The value that counts where nothing exists yet; where it is not known, that is noted.
    pub(super) fn noted<K: Ord>(self, name: K, kept: &mut BTreeSet<K>) -> Setting<T> {
        if self.is_kept {
            kept.insert(name);
        }
        self.setting
    }

    /// The same where what is not given is left as it is, as what is not known is to be.
    pub(super) fn known(self) -> Option<T> {
        self.setting.given().filter(|_| !self.is_kept)
    }

    /// The same of what nothing keeps, or counts only when something is made.
    pub(super) fn plain(self) -> Setting<T> {
        self.setting
    }
}

/// The first value in order that can be read; unreadable only where none can. Under Kubernetes semantics it has the say,
/// unless one before it cannot be read. The incumbent refuses members that differ: none has the say.
pub(super) fn agreed<'p, 'a: 'p, T: PartialEq>(
    parts: impl IntoIterator<Item = &'p Part<'a>>,
    name: &str,
    parse: impl Fn(&str) -> Result<T, String>,
    problems: &mut Vec<Problem>,
) -> Agreed<T> {
    let mut found: Option<(T, &'p Part<'a>)> = None;
    let mut unread: Option<&'p Part<'a>> = None;
    let mut is_kept = false;
    for part in parts {
        match part.whole().read(name, &parse, problems) {
            Setting::Absent => {}
            Setting::Invalid => {
                is_kept |= found.is_none() || has_no_first(part);
                unread.get_or_insert(part);
            }
            Setting::Given(value) => match &found {
                None => found = Some((value, part)),
                Some((first, by)) if *first != value => {
                    is_kept |= has_no_first(part) && part.group == by.group;
                    tell_conflict(part, by, name, problems);
                }
                Some(_) => {}
            },
        }
    }
    if let (true, Some((_, part)), Some(by)) = (is_kept, &found, unread) {
        tell_unread(part, by, name, problems);
    }
    let setting = match (found, unread) {
        (Some((value, _)), _) => Setting::Given(value),
        (None, Some(_)) => Setting::Invalid,
        (None, None) => Setting::Absent,
    };
    Agreed { setting, is_kept }
}

/// Whether of members that differ none has the say. Then a newcomer that sorts first takes nothing over: what exists
/// stays, as it does where the incumbent refuses them.
pub(super) fn has_no_first(part: &Part<'_>) -> bool {
    part.semantics == Semantics::AwsLoadBalancerController
}

/// What a member asks for does not count, because nobody knows what another one does.
fn tell_unread(part: &Part<'_>, by: &Part<'_>, name: &str, problems: &mut Vec<Problem>) {
    let theirs = &by.ingress.meta.name;
    let message = format!("{name} of {theirs} cannot be read; what exists stays as it is");
    tell(part, by, name, message, problems);
}

/// Maps of all members together; of a key with two values the first in order counts. Where none has the say, the value
/// that exists stays: of a tag that is noted, and an attribute that nobody asks for stays by itself. With where each key
/// was said.
fn merged(
    parts: &[Part<'_>],
    name: &str,
    kept: &mut BTreeSet<Kept>,
    problems: &mut Vec<Problem>,
) -> (BTreeMap<String, String>, BTreeMap<String, Origin>) {
    let mut all: BTreeMap<String, (String, &Part<'_>)> = BTreeMap::new();
    let mut contested = BTreeSet::new();
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
            _ => {
                let (tags, all_of_them) = annotations.read_tags(sources, problems);
                if !all_of_them {
                    kept.insert(Kept::Tags);
                }
                tags
            }
        };
        for (key, value) in read {
            match all.get(&key) {
                None if name == "tags" && all.len() >= MOST_TAGS => without_room += 1,
                None => {
                    all.insert(key, (value, part));
                }
                Some((first, by)) if *first != value => {
                    if has_no_first(part) && part.group == by.group {
                        contested.insert(key);
                    }
                    tell_conflict(part, by, name, problems);
                }
                Some(_) => {}
            }
        }
        if without_room > 0 {
            let message =
                format!("a load balancer has room for {MOST_TAGS} tags; {without_room} of these did not fit");
            problems.push(Problem::new(Code::LimitExceeded, part.annotation(name), message));
        }
    }
    match name {
        "load-balancer-attributes" => all.retain(|key, _| !contested.contains(key)),
        _ => kept.extend(contested.into_iter().map(Kept::Tag)),
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
    let said = written_by.into_iter();
    let said = said.map(|(key, part)| (key.clone(), part.annotation(name)));
    (out, said.collect())
}

/// Under the incumbent's semantics a rule has the tags of its own Ingress alone. What is wrong with them is told where
/// they are merged.
fn rule_tags(parts: &[Part<'_>]) -> BTreeMap<ObjectName, BTreeMap<String, String>> {
    let tags = |part: &Part<'_>| -> BTreeMap<String, String> {
        let annotations = part.whole();
        let sources = [annotations.own("tags"), annotations.class("tags")];
        let (all, _) = annotations.read_tags(sources, &mut Vec::new());
        all.into_iter().take(MOST_TAGS).collect()
    };
    let of = |part: &Part<'_>| (part.ingress.meta.name.clone(), tags(part));
    match parts {
        [first, .., _] if first.semantics == Semantics::AwsLoadBalancerController => {
            let all: BTreeMap<_, _> = parts.iter().map(of).collect();
            let mut each = all.values();
            let one = each.next();
            // Where they agree there is nothing to tell apart.
            if each.all(|tags| Some(tags) == one) {
                BTreeMap::new()
            } else {
                all
            }
        }
        _ => BTreeMap::new(),
    }
}

/// Tags of all members together: one too many would keep the whole load balancer from being made. AWS takes 50 of a
/// resource (ELBv2 API, AddTags); ten are left for those of ownership and the operator's.
const MOST_TAGS: usize = 40;

/// Two members say different things.
pub(super) fn tell_conflict(part: &Part<'_>, first: &Part<'_>, name: &str, problems: &mut Vec<Problem>) {
    let theirs = &first.ingress.meta.name;
    let message = format!("{name} differs from that of {theirs}, which comes first in the group");
    tell(part, first, name, message, problems);
}

/// Tells a member that its setting is at odds with another's. Those of different groups, which share a load balancer only
/// where a folder is served, need not agree.
fn tell(part: &Part<'_>, other: &Part<'_>, name: &str, message: String, problems: &mut Vec<Problem>) {
    if part.group == other.group {
        problems.push(Problem::new(
            Code::SettingConflict,
            part.annotation(name),
            message,
        ));
    }
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
