//! The members in, what stands between clients and their rules out: client certificates and a firewall.
//!
//! A listener asks one thing of clients' certificates, and a load balancer has one firewall. Of members that differ the
//! first in order counts. Another that asked for what it then does not have is not served without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{
    ClientCertificates, Clients, Code, Firewall, FirewallChoice, ObjectName, Port, Problem, Semantics,
    TrustStore,
};
use serde::Deserialize;
use serde_json::Value;

use super::annotations::{Annotations, Setting, Written, json, value};
use super::member::{Part, Refusal, Wire};
use super::moved::clients as clients_moved;
use super::options::{has_no_first, tell_conflict};
use super::ownership::{Age, age};
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
                stand_alone(part, problems);
            }
            Protection::default()
        }
    }
}

/// Who serves all as one asks clients for each member's sake alone, by host, and has no firewall: what asks for what
/// cannot be had is closed.
fn stand_alone(part: &mut Part<'_>, problems: &mut Vec<Problem>) {
    let mut asked = certificates(part, problems);
    if let Some(written) = part.annotations.get(CLIENTS) {
        asked.retain(|port, asked| {
            let ClientCertificates::Verify {
                trust_store: TrustStore::Given(name),
                ..
            } = asked
            else {
                return true;
            };
            let message = format!(
                "trust store {} is known to AWS alone: what relies on it answers 503 here, where secret/NAME names a Secret",
                value::shown(name)
            );
            let at = part.annotations.origin(written);
            problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
            part.closed.insert(*port);
            false
        });
    }
    part.clients = asked.values().max().cloned().unwrap_or_default();
    let secure = part.ports.iter().filter(|(_, wire)| **wire == Wire::Https);
    let secure = secure.map(|(port, _)| (*port, asked.remove(port).unwrap_or_default()));
    part.clients_at = secure.collect();
    match wish(&part.annotations) {
        None => {}
        Some(Ok((FirewallChoice::Off, _))) => {}
        Some(Ok((_, written))) => {
            let message = "there is no firewall here: what relies on it answers 503";
            let at = part.annotations.origin(written);
            problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
            part.refusal = Some(Refusal::Annotation(FIREWALL));
        }
        Some(Err(written)) => {
            problems.push(part.annotations.invalid(written, "it is empty"));
            part.refusal = Some(Refusal::Annotation(FIREWALL));
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
    let mut by_say: Vec<_> = wishes.iter().collect();
    by_say.sort_by_key(|(index, ..)| say(&parts[*index]));
    for (index, port, asked) in by_say {
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
                if let Some(written) = clients_moved::asked(part) {
                    let message = "a listener asks all its clients, which is said in mutual-authentication: \
                                   what relies on it answers 503";
                    let at = part.annotations.origin(written);
                    problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
                }
            }
            continue;
        };
        if !first.certificates.suffices_for(asked) {
            part.closed.insert(*port);
        } else if *asked != ClientCertificates::Off {
            first.relied_on_by.insert(part.ingress.meta.name.clone());
        }
        if first.certificates != *asked && part.of_listener(*port, CLIENTS).is_some() {
            told.insert(*index, *by);
        }
    }
    for (index, by) in told {
        tell_conflict(&parts[index], &parts[by], CLIENTS, problems);
    }
    all.into_iter()
        .map(|(port, (clients, _))| (port, clients))
        .collect()
}

/// The same as ingress-nginx's annotations ask for it.
fn moved(part: &mut Part<'_>, problems: &mut Vec<Problem>) -> BTreeMap<Port, ClientCertificates> {
    let asked = clients_moved::certificates(part, problems);
    let secure = part.ports.iter().filter(|(_, wire)| **wire == Wire::Https);
    let secure: Vec<Port> = secure.map(|(port, _)| *port).collect();
    match asked {
        Setting::Absent => BTreeMap::new(),
        Setting::Given(asked) => secure.into_iter().map(|port| (port, asked.clone())).collect(),
        Setting::Invalid => {
            part.closed.extend(secure);
            BTreeMap::new()
        }
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
        return moved(part, problems);
    };
    let served: BTreeMap<Port, Port> = part
        .asked
        .keys()
        .filter_map(|port| Some((*port, part.secure_at(*port)?)))
        .collect();
    let mut out: BTreeMap<Port, ClientCertificates> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut closed = BTreeSet::new();
    let mut astray = false;
    let namespace = &part.ingress.meta.name.namespace;
    let mut tell = |why: String| problems.push(part.annotations.invalid(written, why));
    match json::read::<Vec<Value>>(written.value) {
        Err(why) => {
            tell(why);
            astray = true;
        }
        // AWS Load Balancer Controller, model_build_listener.go: "empty mutualAuthentication configuration".
        Ok(entries) if entries.is_empty() => {
            tell("it has no entries".to_owned());
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
                let read = read_entry(entry, namespace);
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
                        let here = out.entry(*at).or_insert_with(|| asked.clone());
                        if asked != *here {
                            let why = match seen.contains(&port) {
                                true => Some("stands twice, with different settings"),
                                // Ports that have become one: what asks for more serves for both.
                                false if asked.suffices_for(here) => None,
                                false if here.suffices_for(&asked) => None,
                                false => {
                                    Some("asks for other certificates than a port that is served with it")
                                }
                            };
                            if let Some(why) = why {
                                tell(format!("port {port} {why}"));
                                closed.insert(*at);
                            } else if asked.suffices_for(here) {
                                *here = asked;
                            }
                        }
                        seen.insert(port);
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
fn read_entry(entry: Value, namespace: &Arc<str>) -> Result<ClientCertificates, String> {
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
            let trust_store = trust_store.ok_or("mode verify needs a trustStore")?;
            return Ok(ClientCertificates::Verify {
                trust_store: read_trust_store(trust_store, namespace)?,
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

/// In place of the name of a trust store, which holds no `/` (source: ELBv2 API, TrustStoreName): a Secret follows.
const SECRET: &str = "secret/";

fn read_trust_store(text: String, namespace: &Arc<str>) -> Result<TrustStore, String> {
    match text.strip_prefix(SECRET) {
        None => Ok(TrustStore::Given(text)),
        Some("") => Err("trustStore names no Secret".to_owned()),
        Some(name) if name.contains('/') => {
            Err("trustStore names a Secret of the Ingress's own namespace, without the namespace".to_owned())
        }
        Some(name) => Ok(TrustStore::Stored(ObjectName::new(namespace.clone(), name))),
    }
}

/// The Secrets that an annotation's value names as trust stores, whether the rest of it is right or not.
pub(super) fn secrets(annotations: &Annotations<'_>, namespace: &Arc<str>) -> BTreeSet<ObjectName> {
    let Some(written) = annotations.get(CLIENTS) else {
        let moved = clients_moved::secret(annotations, namespace).into_iter();
        return moved
            .map(|name| ObjectName::new(namespace.clone(), name))
            .collect();
    };
    let entries = json::read::<Vec<Value>>(written.value).unwrap_or_default();
    let named = entries
        .iter()
        .filter_map(|entry| entry.get("truststore")?.as_str());
    named
        .filter_map(|text| text.strip_prefix(SECRET))
        .map(|name| ObjectName::new(namespace.clone(), name))
        .collect()
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

/// Who has the say where what protects one would cut off another: the first in order; the oldest where the order says
/// nothing, so that no newcomer takes it over.
fn say<'a>(part: &Part<'a>) -> Option<Age<'a>> {
    has_no_first(part).then(|| age(part))
}

fn firewall(parts: &mut [Part<'_>], problems: &mut Vec<Problem>) -> Option<Firewall> {
    let mut by_say: Vec<_> = parts.iter().enumerate().collect();
    by_say.sort_by_key(|(_, part)| say(part));
    let first = by_say.into_iter().find_map(|(index, part)| {
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
                part.refusal = Some(Refusal::Annotation(FIREWALL));
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
            part.refusal = Some(Refusal::Annotation(FIREWALL));
        }
    }
    first
}
