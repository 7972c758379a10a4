//! The members in, what stands between clients and their rules out: client certificates and a firewall.
//!
//! A listener asks one thing of clients' certificates, and a load balancer has one firewall. Of members that differ the
//! first in order counts. Another that asked for what it then does not have is not served without it.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    ClientCertificates, Clients, Code, Firewall, FirewallChoice, Port, Problem, Semantics,
};
use serde::Deserialize;
use serde_json::Value;

use super::annotations::{Annotations, Written, json, value};
use super::member::{Part, Wire, standard};
use super::options::conflict;
use super::settings::{Merge, Settings};

/// What stands before rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Protection {
    pub(super) clients: BTreeMap<Port, Clients>,
    pub(super) firewall: Option<Firewall>,
}

const CLIENTS: &str = "mutual-authentication";

/// Reads it for all members, and closes what would be served without it.
pub(super) fn decide(parts: &mut [Part<'_>], settings: &Settings, problems: &mut Vec<Problem>) -> Protection {
    match settings.merge {
        Merge::ByGroup => Protection {
            clients: clients(parts, problems),
            firewall: firewall(parts, problems),
        },
        Merge::OneLoadBalancer => {
            for part in parts {
                refuse_alone(part, problems);
            }
            Protection::default()
        }
    }
}

/// Who serves all as one has neither: each member that asks for one is closed.
fn refuse_alone(part: &mut Part<'_>, problems: &mut Vec<Problem>) {
    let wanted = certificates(part, problems);
    let asking = wanted
        .iter()
        .filter(|(_, asked)| **asked != ClientCertificates::Off);
    let ports: Vec<Port> = asking.map(|(port, _)| *port).collect();
    if let (Some(written), false) = (part.annotations.get(CLIENTS), ports.is_empty()) {
        let message = "clients' certificates are not asked for here: what relies on them answers 503";
        let at = part.annotations.origin(written);
        problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
        part.closed.insert(standard(Wire::Https));
    }
    match wish(&part.annotations) {
        None => {}
        Some(Ok((FirewallChoice::Off, _))) => {}
        Some(Ok((_, written))) => {
            let message = "there is no firewall here: what relies on it answers 503";
            let at = part.annotations.origin(written);
            problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
            part.refusal = Some(FIREWALL);
        }
        Some(Err(written)) => {
            problems.push(part.annotations.invalid(written, "it is empty"));
            part.refusal = Some(FIREWALL);
        }
    }
}

fn clients(parts: &mut [Part<'_>], problems: &mut Vec<Problem>) -> BTreeMap<Port, Clients> {
    let mut wishes = Vec::new();
    for (index, part) in parts.iter_mut().enumerate() {
        let asked = certificates(part, problems);
        wishes.extend(asked.into_iter().map(|(port, asked)| (index, port, asked)));
    }
    let mut all: BTreeMap<Port, (Clients, usize)> = BTreeMap::new();
    for (index, port, asked) in &wishes {
        let part = &parts[*index];
        if part.of_listener(*port, CLIENTS).is_some() {
            all.entry(*port).or_insert_with(|| {
                let clients = Clients {
                    certificates: asked.clone(),
                    relied_on_by: BTreeSet::new(),
                    origin: part.annotation(CLIENTS),
                };
                (clients, *index)
            });
        }
    }
    let mut told = BTreeMap::new();
    for (index, port, asked) in &wishes {
        let part = &mut parts[*index];
        let Some((first, by)) = all.get_mut(port) else {
            // It has no say, and nobody who has asks for any.
            if *asked != ClientCertificates::Off {
                part.closed.insert(*port);
            }
            continue;
        };
        if !suffices(&first.certificates, asked) {
            part.closed.insert(*port);
        } else if *asked != ClientCertificates::Off {
            first.relied_on_by.insert(part.ingress.meta.name.clone());
        }
        if first.certificates != *asked && part.of_listener(*port, CLIENTS).is_some() {
            told.insert(*index, *by);
        }
    }
    for (index, by) in told {
        if parts[by].group == parts[index].group {
            problems.push(conflict(&parts[index], &parts[by], CLIENTS));
        }
    }
    all.into_iter()
        .map(|(port, (clients, _))| (port, clients))
        .collect()
}

/// Whether whoever passes `has` would pass `wanted` as well.
fn suffices(has: &ClientCertificates, wanted: &ClientCertificates) -> bool {
    match (has, wanted) {
        (_, ClientCertificates::Off) => true,
        (
            ClientCertificates::PassThrough | ClientCertificates::Verify { .. },
            ClientCertificates::PassThrough,
        ) => true,
        (ClientCertificates::Off, ClientCertificates::PassThrough) => false,
        (has, wanted @ ClientCertificates::Verify { .. }) => has == wanted,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct Entry {
    mode: Option<String>,
    truststore: Option<String>,
    ignoreclientcertificateexpiry: Option<bool>,
    advertisetruststorecanames: Option<String>,
}

/// What one member asks for, by its HTTPS ports. Where that cannot be read, the port is closed; where it cannot be read
/// which port is meant, every one that nothing else is said of.
fn certificates(part: &mut Part<'_>, problems: &mut Vec<Problem>) -> BTreeMap<Port, ClientCertificates> {
    let Some(written) = part.annotations.get(CLIENTS) else {
        return BTreeMap::new();
    };
    let served: BTreeMap<Port, Port> = part
        .asked
        .iter()
        .filter(|(_, wire)| **wire == Wire::Https)
        .map(|(port, wire)| match part.ports.contains_key(port) {
            true => (*port, *port),
            false => (*port, standard(*wire)),
        })
        .collect();
    let mut out = BTreeMap::new();
    let mut closed = BTreeSet::new();
    let mut astray = false;
    let mut tell = |why: String| problems.push(part.annotations.invalid(written, why));
    match json::read::<Vec<Value>>(written.value) {
        Err(why) => {
            tell(why);
            astray = true;
        }
        Ok(entries) => {
            for (place, entry) in entries.into_iter().enumerate() {
                let number = entry.get("port").and_then(Value::as_i64);
                let Some(port) = number.and_then(|number| Port::new(number).ok()) else {
                    tell(format!("entry {place} has no port from 1 to 65535"));
                    astray = true;
                    continue;
                };
                let read = read_entry(entry);
                match (served.get(&port), read) {
                    (None, _) => {
                        tell(format!("the Ingress does not listen on port {port} with HTTPS"));
                        // The incumbent passes over it, and so leaves the ports that are there as they are.
                        astray |= part.semantics == Semantics::Kubernetes;
                    }
                    (Some(at), Err(why)) => {
                        tell(format!("port {port}: {why}"));
                        closed.insert(*at);
                    }
                    (Some(at), Ok(asked)) => {
                        if out
                            .insert(*at, asked.clone())
                            .is_some_and(|before| before != asked)
                        {
                            tell(format!("port {port} stands twice, with different settings"));
                            closed.insert(*at);
                        }
                    }
                }
            }
        }
    }
    if astray {
        closed.extend(served.values().filter(|port| !out.contains_key(port)));
    }
    out.retain(|port, _| !closed.contains(port));
    part.closed.extend(closed);
    out
}

/// Source of what goes with what: AWS Load Balancer Controller, `model_build_listener.go`.
fn read_entry(entry: Value) -> Result<ClientCertificates, String> {
    let entry: Entry = serde_path_to_error::deserialize(entry).map_err(|error| error.to_string())?;
    let advertise = match entry.advertisetruststorecanames.as_deref() {
        None => None,
        Some("on") => Some(true),
        Some("off") => Some(false),
        Some(_) => return Err("advertiseTrustStoreCaNames is on or off".to_owned()),
    };
    let mode = match entry.mode.as_deref() {
        Some("off") => ClientCertificates::Off,
        Some("passthrough") => ClientCertificates::PassThrough,
        Some("verify") => {
            let trust_store = entry.truststore.filter(|name| !name.is_empty());
            return Ok(ClientCertificates::Verify {
                trust_store: trust_store.ok_or("mode verify needs a trustStore")?,
                ignore_expiry: entry.ignoreclientcertificateexpiry.unwrap_or(false),
                advertise_authorities: advertise.unwrap_or(false),
            });
        }
        Some(_) | None => return Err("mode is off, passthrough or verify".to_owned()),
    };
    for (name, given) in [
        ("trustStore", entry.truststore.is_some()),
        (
            "ignoreClientCertificateExpiry",
            entry.ignoreclientcertificateexpiry.is_some(),
        ),
        ("advertiseTrustStoreCaNames", advertise.is_some()),
    ] {
        if given {
            return Err(format!("{name} goes with mode verify alone"));
        }
    }
    Ok(mode)
}

const FIREWALL: &str = "wafv2-acl-arn";

/// What a member asks for, with the annotation that says so; the name wins over the ARN, as the incumbent has it. An
/// error where that one is empty.
fn wish<'a>(annotations: &Annotations<'a>) -> Option<Result<(FirewallChoice, Written<'a>), Written<'a>>> {
    let (named, given) = (
        FirewallChoice::Named as fn(String) -> FirewallChoice,
        FirewallChoice::Given as fn(String) -> FirewallChoice,
    );
    let name = "wafv2-acl-name";
    // What a class says, no annotation takes away.
    let (written, choice) = [
        (annotations.class(name), named),
        (annotations.class(FIREWALL), given),
        (annotations.own(name), named),
        (annotations.own(FIREWALL), given),
    ]
    .into_iter()
    .find_map(|(written, choice)| Some((written?, choice)))?;
    Some(match written.value {
        "" => Err(written),
        "none" => Ok((FirewallChoice::Off, written)),
        value => Ok((choice(value.to_owned()), written)),
    })
}

fn firewall(parts: &mut [Part<'_>], problems: &mut Vec<Problem>) -> Option<Firewall> {
    let first = parts.iter().enumerate().find_map(|(index, part)| {
        let (choice, written) = wish(part.whole())?.ok()?;
        let firewall = Firewall {
            choice,
            relied_on_by: BTreeSet::new(),
            origin: part.annotations.origin(written),
        };
        Some((firewall, index))
    });
    let by = first
        .as_ref()
        .map(|(_, index)| parts[*index].ingress.meta.name.clone());
    let mut first = first.map(|(firewall, _)| firewall);
    for part in parts {
        let wished = match wish(&part.annotations) {
            None => continue,
            Some(Err(written)) => {
                problems.push(
                    part.annotations
                        .invalid(written, "it is empty; none stands for none"),
                );
                part.refusal = Some(FIREWALL);
                continue;
            }
            Some(Ok(wished)) => wished,
        };
        let (choice, written) = wished;
        match &mut first {
            Some(firewall) if firewall.choice == choice => {
                if choice != FirewallChoice::Off {
                    firewall.relied_on_by.insert(part.ingress.meta.name.clone());
                }
                continue;
            }
            Some(_) | None => {}
        }
        // Of one that has no say it is told already.
        if let Some(by) = by.as_ref().filter(|_| wish(part.whole()).is_some()) {
            let message = format!(
                "{} differs from what {by} asks for, which comes first in the group",
                value::shown(written.value)
            );
            let at = part.annotations.origin(written);
            problems.push(Problem::new(Code::SettingConflict, at, message));
        }
        if choice != FirewallChoice::Off {
            part.refusal = Some(FIREWALL);
        }
    }
    first
}
