//! The backends of an Ingress in, by which names its annotations speak of them out.

use std::collections::BTreeSet;

use crate::cluster::object::{IngressBackend, PortRef};
use crate::translate::actions;
use crate::translate::annotations;
use crate::translate::member::Part;
use crate::translate::references::is_action;

fn backends_in_rules<'p>(part: &'p Part<'_>) -> impl Iterator<Item = &'p IngressBackend> {
    let paths = part.ingress.rules.iter().flat_map(|rule| &*rule.paths);
    paths.map(|path| &path.backend)
}

pub(super) fn names_in_rules<'p>(part: &'p Part<'_>) -> BTreeSet<&'p str> {
    backends_in_rules(part).filter_map(name_of).collect()
}

/// Conditions and transforms under the name of a default backend that no rule leads to: it can have neither.
pub(in crate::translate) fn said_of_default<'p, 'a>(
    part: &'p Part<'a>,
) -> impl Iterator<Item = (&'static str, annotations::Written<'a>)> + use<'p, 'a> {
    let default = part.ingress.default_backend.as_ref().and_then(name_of);
    let default = default.filter(|name| !names_in_rules(part).contains(name));
    let said = move |family: &'static str| {
        let written = part.annotations.get(&format!("{family}.{}", default?))?;
        Some((family, written))
    };
    ["conditions", "transforms"].into_iter().filter_map(said)
}

/// Every Service and port that an Ingress leads to, as `service.port`; none where an action cannot be read.
pub(super) fn ports_asked(part: &Part<'_>) -> Option<BTreeSet<String>> {
    let mut out = BTreeSet::new();
    let mut put = |name: &str, port: &PortRef| {
        out.insert(match port {
            PortRef::Number(number) => format!("{name}.{number}"),
            PortRef::Name(port) => format!("{name}.{port}"),
            PortRef::Missing => format!("{name}."),
        })
    };
    for backend in backends_in_rules(part).chain(&part.ingress.default_backend) {
        let IngressBackend::Service { name, port } = backend else {
            continue;
        };
        if !is_action(port) {
            put(name, port);
            continue;
        }
        let Some(written) = part.annotations.get(&format!("actions.{name}")) else {
            continue;
        };
        match actions::parse(written.value).ok()? {
            actions::Wanted::Forward { shares, .. } => {
                for share in shares {
                    if let actions::Destination::Service { name, port } = &share.to {
                        put(name, port);
                    }
                }
            }
            actions::Wanted::Fixed(_) | actions::Wanted::Redirect(_) => {}
        }
    }
    Some(out)
}

/// The name under which annotations speak of a backend: its Service's, or its action's.
pub(super) fn name_of(backend: &IngressBackend) -> Option<&str> {
    match backend {
        IngressBackend::Service { name, .. } => Some(name),
        IngressBackend::Resource { .. } | IngressBackend::Missing => None,
    }
}

/// Whether an annotation says what answers.
pub(super) fn by_annotation(backend: &IngressBackend) -> bool {
    matches!(backend, IngressBackend::Service { port, .. } if is_action(port))
}
