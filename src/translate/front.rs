//! The members in, the load balancer of layer 4 in front of theirs out, if one asks for it.
//!
//! Settings are those of the load balancer as a whole: the first member that gives one counts, and another value is told.
//! Ports and health checks are each member's own, and agreed on port by port.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    BackendProtocol, Front, FrontPort, HealthCheck, HealthPort, Kept, KeptFront, KeptHealth, Port, Problem,
    Scheme, Stands,
};

use super::annotations::attributes::{Of, at_odds};
use super::annotations::{Setting, value};
use super::backends::target_settings::{FRONT_CODES, health_path, success_codes};
use super::member::Part;
use super::options::{agreed, has_no_first, scheme, tell_conflict};
use super::settings::Settings;

/// None where no member asks for it.
pub(super) fn read(
    parts: &[Part<'_>],
    settings: &Settings,
    whole: &mut BTreeSet<Kept>,
    problems: &mut Vec<Problem>,
) -> Option<Front> {
    let on = agreed(parts, "enable-frontend-nlb", value::boolean, problems)
        .noted(Kept::Front, whole)
        .given()?;
    let mut kept = BTreeSet::new();
    if !on {
        return None;
    }
    let by = parts
        .iter()
        .find(|part| part.whole().get("enable-frontend-nlb").is_some())?;
    let list = |text: &str| -> Result<Vec<String>, String> {
        match value::list(text)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
        {
            names if names.is_empty() => Err("it names nothing".to_owned()),
            names => Ok(names),
        }
    };
    let sorted = |text: &str| {
        list(text).map(|mut names| {
            // Their order says nothing.
            names.sort();
            names
        })
    };
    // An unreadable scheme must not become the wider one.
    let scheme =
        match agreed(parts, "frontend-nlb-scheme", scheme, problems).noted(KeptFront::Scheme, &mut kept) {
            Setting::Given(scheme) => scheme,
            Setting::Absent => settings.scheme,
            Setting::Invalid => Scheme::Internal,
        };
    let security_groups = agreed(parts, "frontend-nlb-security-groups", list, problems)
        .noted(KeptFront::SecurityGroups, &mut kept);
    let addresses =
        agreed(parts, "frontend-nlb-eip-allocations", list, problems).noted(KeptFront::Addresses, &mut kept);
    // Without these it would let in, or be found at, what it was not to.
    let refused = security_groups.is_invalid() || addresses.is_invalid();
    Some(Front {
        scheme,
        subnets: agreed(parts, "frontend-nlb-subnets", sorted, problems)
            .noted(KeptFront::Subnets, &mut kept)
            .given()
            .unwrap_or_default(),
        security_groups: security_groups.given().unwrap_or_default(),
        addresses: addresses.given().unwrap_or_default(),
        attributes: attributes(parts, problems),
        tags: tags(parts, &mut kept, problems),
        ports: ports(parts, &mut kept, problems),
        stands: if refused { Stands::AsItIs } else { Stands::AsAsked },
        kept,
        origin: by.annotation("enable-frontend-nlb"),
    })
}

/// Those of the first member that has any, without what is not a user's to set.
fn tags(
    parts: &[Part<'_>],
    kept: &mut BTreeSet<KeptFront>,
    problems: &mut Vec<Problem>,
) -> Option<BTreeMap<String, String>> {
    const NAME: &str = "frontend-nlb-tags";
    let mut tags = agreed(parts, NAME, value::map, problems)
        .noted(KeptFront::Tags, kept)
        .given()?;
    let by = parts
        .iter()
        .find_map(|part| Some((part, part.whole().get(NAME)?)));
    if let Some((part, written)) = by {
        // Told at the first that has any; others' are told to differ.
        let annotations = part.whole();
        annotations.read_tags([Some(written)], problems);
    }
    tags.retain(|key, _| !value::is_reserved_tag(key));
    Some(tags)
}

/// Those of the first member that has any, without what AWS would refuse.
fn attributes(parts: &[Part<'_>], problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    const NAME: &str = "frontend-nlb-attributes";
    let mut first: Option<(BTreeMap<String, String>, &Part<'_>)> = None;
    let mut contested = BTreeSet::new();
    for part in parts {
        let annotations = part.whole();
        let Some(written) = annotations.get(NAME) else {
            continue;
        };
        let mut read = annotations.read_attributes(Of::Front, [Some(written)], problems);
        annotations.tell_at_odds(NAME, at_odds(Of::Front, &mut read).into_values(), problems);
        match &first {
            // Nothing of it could be read.
            _ if read.is_empty() => {}
            None => first = Some((read, part)),
            Some((had, by)) if *had != read => {
                if has_no_first(part) {
                    let differs = had
                        .iter()
                        .filter(|(key, value)| read.get(*key).is_some_and(|r| r != *value));
                    contested.extend(differs.map(|(key, _)| key.clone()));
                }
                tell_conflict(part, by, NAME, problems);
            }
            Some(_) => {}
        }
    }
    let mut attributes = first.map(|(attributes, _)| attributes).unwrap_or_default();
    // What nobody asks for stays as it is.
    attributes.retain(|key, _| !contested.contains(key));
    attributes
}

/// By port of the load balancer in front. Without a mapping each port leads to its like.
fn ports(
    parts: &[Part<'_>],
    kept: &mut BTreeSet<KeptFront>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Port, FrontPort> {
    const MAPPING: &str = "frontend-nlb-listener-port-mapping";
    let mut asked: BTreeMap<Port, Vec<(&Part<'_>, Port)>> = BTreeMap::new();
    for part in parts {
        let mapping = match part.whole().read(MAPPING, mapping, problems) {
            Setting::Absent => part.ports.keys().map(|port| (*port, *port)).collect(),
            Setting::Given(mapping) => mapping,
            Setting::Invalid => {
                kept.insert(KeptFront::Ports);
                continue;
            }
        };
        for (port, to) in mapping {
            if part.ports.contains_key(&to) {
                asked.entry(port).or_default().push((part, to));
            } else if let Some(written) = part.whole().get(MAPPING) {
                let why = format!("the Ingress does not listen on port {to}");
                problems.push(part.whole().invalid(written, why));
                kept.insert(KeptFront::Ports);
            }
        }
    }
    let mut out = BTreeMap::new();
    for (port, members) in asked {
        let Some((first, to)) = members.first().copied() else {
            continue;
        };
        for (part, other) in &members {
            if *other != to {
                if has_no_first(part) {
                    kept.insert(KeptFront::Ports);
                }
                tell_conflict(part, first, MAPPING, problems);
            }
        }
        let members: Vec<&Part<'_>> = members.into_iter().map(|(part, _)| part).collect();
        let health = health(&members, problems);
        let origin = first.annotation(if first.whole().get(MAPPING).is_some() {
            MAPPING
        } else {
            "enable-frontend-nlb"
        });
        out.insert(port, FrontPort { to, health, origin });
    }
    out
}

/// `nlb=alb,…`
fn mapping(text: &str) -> Result<BTreeMap<Port, Port>, String> {
    let port = |text: &str| {
        let number = value::integer(text, 1, 65_535)?;
        Port::new(number).map_err(|error| error.to_string())
    };
    let map = value::map(text)?;
    if map.is_empty() {
        return Err("it maps no port".to_owned());
    }
    map.iter()
        .map(|(front, to)| Ok((port(front)?, port(to)?)))
        .collect()
}

/// Ranges: ELBv2 API, CreateTargetGroup.
fn health(members: &[&Part<'_>], problems: &mut Vec<Problem>) -> HealthCheck {
    let mut health = HealthCheck::for_protocol(&BackendProtocol::default());
    let mut kept = BTreeSet::new();
    let mut number = |of: KeptHealth, name: &str, least: i64, most: i64, into: &mut u32| {
        let read = agreed(
            members.iter().copied(),
            name,
            |text| value::integer(text, least, most),
            problems,
        )
        .noted(of, &mut kept);
        if let Some(number) = read.given().and_then(|number| u32::try_from(number).ok()) {
            *into = number;
        }
    };
    number(
        KeptHealth::Interval,
        "frontend-nlb-healthcheck-interval-seconds",
        5,
        300,
        &mut health.interval_seconds,
    );
    number(
        KeptHealth::Timeout,
        "frontend-nlb-healthcheck-timeout-seconds",
        2,
        120,
        &mut health.timeout_seconds,
    );
    number(
        KeptHealth::HealthyThreshold,
        "frontend-nlb-healthcheck-healthy-threshold-count",
        2,
        10,
        &mut health.healthy_threshold,
    );
    number(
        KeptHealth::UnhealthyThreshold,
        "frontend-nlb-healthcheck-unhealthy-threshold-count",
        2,
        10,
        &mut health.unhealthy_threshold,
    );
    let tls = |text: &str| match text {
        "HTTP" => Ok(false),
        "HTTPS" => Ok(true),
        _ => Err("expected HTTP or HTTPS".to_owned()),
    };
    health.tls = agreed(
        members.iter().copied(),
        "frontend-nlb-healthcheck-protocol",
        tls,
        problems,
    )
    .noted(KeptHealth::Tls, &mut kept)
    .given()
    .unwrap_or_default();
    if let Some(path) = agreed(
        members.iter().copied(),
        "frontend-nlb-healthcheck-path",
        health_path,
        problems,
    )
    .noted(KeptHealth::Path, &mut kept)
    .given()
    {
        health.path = path;
    }
    let codes = agreed(
        members.iter().copied(),
        "frontend-nlb-healthcheck-success-codes",
        |text| success_codes(text, FRONT_CODES),
        problems,
    )
    .noted(KeptHealth::SuccessCodes, &mut kept);
    if let Some(codes) = codes.given() {
        health.success_codes = codes;
    }
    let port = |text: &str| match text {
        "traffic-port" => Ok(HealthPort::Traffic),
        number => {
            let number = value::integer(number, 1, 65_535)?;
            Port::new(number)
                .map(HealthPort::Fixed)
                .map_err(|error| error.to_string())
        }
    };
    health.port = agreed(
        members.iter().copied(),
        "frontend-nlb-healthcheck-port",
        port,
        problems,
    )
    .noted(KeptHealth::Port, &mut kept)
    .given()
    .unwrap_or_default();
    health.kept = kept;
    health
}
