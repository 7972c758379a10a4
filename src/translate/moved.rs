//! Members that say what they want by ingress-nginx's annotations, or GKE's, in, the same with what these say of whole members out.
//!
//! What is said of single rules, filters and backends is read where ours of the same meaning are.

pub(super) mod backends;
pub(super) mod clients;
pub(super) mod paths;
pub(super) mod redirects;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use portcullis_model::{Code, Port, Problem, Semantics};

use super::annotations::{Annotations, Setting, Written, gke, nginx, value};
use super::member::{Part, Refusal, Wire};

/// Reads them; what is not read is told, and closes what would be more open than it was there.
pub(super) fn read(parts: &mut [Part<'_>], problems: &mut Vec<Problem>) {
    for part in parts {
        if part.semantics != Semantics::Kubernetes || part.is_canary {
            continue;
        }
        gke::review(&part.annotations, problems);
        let closed = nginx::review(&part.annotations, problems);
        part.refusal = part.refusal.or(closed.map(Refusal::Annotation));
        own_ranges(part, problems);
        backends::tell_unread(part, problems);
        if part.refusal.is_none() {
            part.refusal = unknown_path(part, problems).map(Refusal::Annotation);
        }
        if part.redirect == Setting::Absent {
            part.redirect = redirect(part, problems);
        }
    }
}

/// Of one Ingress's rules alone, where `inbound-cidrs` is of the port that others share. As there, what cannot be read
/// closes them.
fn own_ranges(part: &mut Part<'_>, problems: &mut Vec<Problem>) {
    let allowed = ["allowlist-source-range", "whitelist-source-range"];
    let ours = part.annotations.own("inbound-cidrs");
    let ours = ours.filter(|written| !written.lists_nothing());
    let allowed = allowed.into_iter().filter_map(|name| part.nginx(name));
    // What names nobody counts as not set, and hides nothing that names somebody.
    let allowed = allowed
        .min_by_key(Written::lists_nothing)
        .filter(|_| ours.is_none());
    if let Some(written) = allowed {
        part.own_ranges.allowed = ranges(part, written, problems);
    }
    if let Some(written) = part.nginx("denylist-source-range") {
        part.own_ranges.denied = ranges(part, written, problems).unwrap_or_default();
    }
}

fn ranges(part: &mut Part<'_>, written: Written<'_>, problems: &mut Vec<Problem>) -> Option<BTreeSet<IpNet>> {
    let range = |text: &str| match text.parse::<IpAddr>() {
        Ok(address) => Ok(IpNet::from(address)),
        Err(_) => value::range(text),
    };
    let parse = |text: &str| match value::list(text).as_slice() {
        [] => Err("it names nobody, and counts as not set".to_owned()),
        named => named
            .iter()
            .map(|text| range(text))
            .collect::<Result<BTreeSet<_>, _>>(),
    };
    let is_empty = written.lists_nothing();
    match part.annotations.read_written(written, parse, problems) {
        Setting::Given(nets) => Some(nets),
        Setting::Absent => None,
        Setting::Invalid => {
            if !is_empty {
                part.refusal
                    .get_or_insert(Refusal::Annotation(nginx::key(written.name())));
            }
            None
        }
    }
}

/// The annotation that asks for paths of which one cannot be read.
fn unknown_path(part: &Part<'_>, problems: &mut Vec<Problem>) -> Option<&'static str> {
    let written = paths::asked(part)?;
    let paths = part.ingress.rules.iter().flat_map(|rule| &*rule.paths);
    let texts = paths.map(|path| path.path.as_deref().unwrap_or_default());
    let wrong = texts.filter_map(|text| Some((text, paths::route(part, text)?.err()?)));
    let mut refusal = None;
    for (text, why) in wrong {
        let message = format!("path {}: {why}", value::shown(text));
        problems.push(Problem::new(
            Code::AnnotationUnsupported,
            part.annotations.origin(written),
            message,
        ));
        refusal = Some(nginx::key(written.name()));
    }
    refusal
}

/// Whether an Ingress is served over HTTPS without a certificate of its own. As there, `force-ssl-redirect` is for those whose
/// TLS somebody in front ends.
pub(super) fn is_sent_to_https(annotations: &Annotations<'_>) -> bool {
    let written = annotations.nginx("force-ssl-redirect");
    written.is_some_and(|written| value::boolean(written.value) == Ok(true))
}

/// To HTTPS at 443, or at the first port that speaks it. As there, `ssl-redirect` is for Ingresses with TLS alone.
fn redirect(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<Port> {
    let mut asks = |name| match part.nginx(name) {
        Some(written) => part.annotations.read_written(written, value::boolean, problems),
        None => Setting::Absent,
    };
    let (forced, asked) = (asks("force-ssl-redirect"), asks("ssl-redirect"));
    let is_asked = match (forced, asked) {
        (Setting::Invalid, _) | (_, Setting::Invalid) => return Setting::Invalid,
        // There an Ingress with TLS is redirected unless it says no: in the clear nobody shows a certificate.
        (_, Setting::Absent) if clients::asked(part).is_some() => true,
        (Setting::Given(true), _) => true,
        (_, Setting::Given(true)) => !part.ingress.tls.is_empty(),
        (_, _) => false,
    };
    if !is_asked {
        return Setting::Absent;
    }
    let mut secure = part.asked.iter().filter(|(_, wire)| **wire == Wire::Https);
    let first = secure.next().map(|(port, _)| *port);
    let is_standard = part.asked.get(&Port::HTTPS) == Some(&Wire::Https);
    Setting::Given(first.filter(|_| !is_standard).unwrap_or(Port::HTTPS))
}
