//! Annotations of GKE's Ingress that change what is served: what becomes of each here, and what says the same.
//!
//! They are read on Ingresses under Kubernetes semantics, and on the Services they lead to. What GKE writes by itself,
//! and `cloud.google.com/neg`, which asks for what is done anyway, is passed over.
//! Source: kubernetes/ingress-gce, pkg/annotations.

use std::collections::BTreeMap;

use portcullis_model::{BackendProtocol, BackendTls, BackendVersion, Code, Problem};
use serde_json::Value;

use super::nginx::{Fate, Theirs, effect};
use super::{Annotations, Setting, Written, value};
use crate::cluster::object::{Service, ServicePort};

/// Whether plain HTTP is served.
pub(in crate::translate) const ALLOW_HTTP: &str = "kubernetes.io/ingress.allow-http";
/// How the targets of a Service's ports are spoken to.
const PROTOCOLS: &str = "cloud.google.com/app-protocols";
/// The same as it was called first; wins where both are written, as on GKE.
const OLDER_PROTOCOLS: &str = "service.alpha.kubernetes.io/app-protocols";

const fn told(key: &'static str, own: &'static str, says: &'static str) -> Theirs {
    Theirs {
        key,
        fate: Fate::Told,
        own,
        nothing: &[],
        says,
    }
}

const fn read(
    key: &'static str,
    own: &'static str,
    nothing: &'static [&'static str],
    says: &'static str,
) -> Theirs {
    Theirs {
        key,
        fate: Fate::Read,
        own,
        nothing,
        says,
    }
}

/// All of them, in the order of the alphabet.
pub const ALL: &[Theirs] = &[
    told(
        "beta.cloud.google.com/backend-config",
        "",
        "As `cloud.google.com/backend-config`.",
    ),
    read(
        PROTOCOLS,
        "backend-protocol",
        super::nginx::ANY,
        "On a Service: `HTTP`, `HTTPS` or `HTTP2` by the name of a port, as in `{\"web\":\"HTTPS\"}`. `HTTP2` is HTTP/2 over TLS, and no certificate is verified unless `backend-tls-ca-secret` asks for it. What cannot be read closes the port; a name that no port has is told.",
    ),
    told(
        "cloud.google.com/backend-config",
        "",
        "On a Service: BackendConfigs are not read. What they say of health checks, timeouts, draining, cookies and fields is said by annotations; who must log in by `auth-type: oidc`. There is neither a cache nor a firewall.",
    ),
    told(
        "ingress.gcp.kubernetes.io/pre-shared-cert",
        "",
        "Certificates of Google Cloud are known there alone: store one in the Secret that `spec.tls` names.",
    ),
    read(
        ALLOW_HTTP,
        "listen-ports",
        super::nginx::TRUE,
        "`false` leaves out plain HTTP, as does what cannot be read, also where `listen-ports` names it, which is told. Where HTTPS is not served the Ingress's rules answer 503.",
    ),
    told(
        "kubernetes.io/ingress.global-static-ip-name",
        "",
        "Which address clients reach is said where the proxy is run.",
    ),
    told(
        "kubernetes.io/ingress.regional-static-ip-name",
        "",
        "Which address clients reach is said where the proxy is run.",
    ),
    told(
        "networking.gke.io/managed-certificates",
        "",
        "Certificates are not requested of Google Cloud: store one in the Secret that `spec.tls` names, as cert-manager does.",
    ),
    told(
        "networking.gke.io/v1beta1.FrontendConfig",
        "ssl-redirect",
        "FrontendConfigs are not read, and plain HTTP is not redirected: write `443`. Which versions of TLS are spoken, `ssl-policy` says.",
    ),
    read(
        OLDER_PROTOCOLS,
        "backend-protocol",
        super::nginx::ANY,
        "As `cloud.google.com/app-protocols`, and wins over it.",
    ),
];

/// The entry of a name with prefix.
pub fn find(key: &str) -> Option<&'static Theirs> {
    ALL.iter().find(|theirs| theirs.key == key)
}

/// Whether it is read on Services, and not on Ingresses.
pub(super) fn is_of_services(key: &str) -> bool {
    key.ends_with("/app-protocols") || key.ends_with("/backend-config")
}

/// Tells those of an object that are not read.
pub(in crate::translate) fn review(annotations: &Annotations<'_>, problems: &mut Vec<Problem>) {
    for (key, value) in &annotations.meta.annotations {
        let known = find(key).filter(|theirs| theirs.fate != Fate::Read);
        let Some(theirs) = known.filter(|_| is_of_services(key) == (annotations.kind == "service")) else {
            continue;
        };
        if annotations.get(theirs.own).is_some() || value.trim().is_empty() {
            continue;
        }
        let class = None;
        let at = annotations.origin(Written { key, value, class });
        let message = effect("it has no effect here", theirs);
        problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
    }
}

/// Whether plain HTTP is to be left out: also where that cannot be read.
pub(in crate::translate) fn leaves_out_http<'a>(
    annotations: &Annotations<'a>,
    problems: &mut Vec<Problem>,
) -> Option<Written<'a>> {
    let written = annotations.of_others(ALLOW_HTTP)?;
    match annotations.read_written(written, value::boolean, problems) {
        Setting::Absent | Setting::Given(true) => None,
        Setting::Given(false) | Setting::Invalid => Some(written),
    }
}

/// How the targets of a Service port are spoken to; absent where nothing is said of it. What cannot be read of another
/// port is that port's. Source: kubernetes/ingress-gce, pkg/annotations, `ApplicationProtocols`.
pub(in crate::translate) fn protocol(
    annotations: &Annotations<'_>,
    service: &Service,
    port: &ServicePort,
    problems: &mut Vec<Problem>,
) -> Setting<BackendProtocol> {
    let (older, newer) = (
        annotations.of_others(OLDER_PROTOCOLS),
        annotations.of_others(PROTOCOLS),
    );
    let Some(written) = older.or(newer) else {
        return Setting::Absent;
    };
    if let (Some(older), Some(newer)) = (older, newer)
        && older.value != newer.value
    {
        let message = format!("it has no effect here: {OLDER_PROTOCOLS} wins, as on GKE");
        let at = annotations.origin(newer);
        problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
    }
    let map = |text: &str| {
        serde_json::from_str::<Option<BTreeMap<String, Value>>>(text)
            .map_err(|error| format!("expected protocols by the names of ports: {error}"))
    };
    let all = match annotations.read_written(written, map, problems) {
        Setting::Given(all) => all.unwrap_or_default(),
        Setting::Absent => return Setting::Absent,
        Setting::Invalid => return Setting::Invalid,
    };
    let name_of = |port: &ServicePort| port.name.clone().unwrap_or_default();
    for name in all.keys() {
        if !service.ports.iter().any(|port| *name_of(port) == **name) {
            let name = value::shown(name);
            let why = format!("no port of the Service is named {name}: what it says of it has no effect");
            problems.push(annotations.invalid(written, why));
        }
    }
    let name = name_of(port);
    let Some(said) = all.get(&*name) else {
        return Setting::Absent;
    };
    let parse = |_: &str| {
        let (version, tls) = match said.as_str() {
            Some("HTTP") => (BackendVersion::Http1, BackendTls::Off),
            Some("HTTPS") => (BackendVersion::Http1, BackendTls::Unverified),
            Some("HTTP2") => (BackendVersion::Http2, BackendTls::Unverified),
            Some(_) | None => {
                let name = value::shown(&name);
                return Err(format!("expected HTTP, HTTPS or HTTP2 of port {name}"));
            }
        };
        Ok(BackendProtocol { version, tls })
    };
    annotations.read_written(written, parse, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::object::Meta;
    use crate::translate::annotations::catalog;

    #[test]
    fn each_is_known_once_is_kept_and_says_what_to_do() {
        for pair in ALL.windows(2) {
            assert!(
                pair[0].key < pair[1].key,
                "{} stands before {}",
                pair[0].key,
                pair[1].key
            );
        }
        for theirs in ALL {
            assert!(Meta::keeps_annotation(theirs.key), "{}", theirs.key);
            assert!(theirs.says.ends_with('.'), "{}: {}", theirs.key, theirs.says);
            assert!(
                theirs.own.is_empty() || catalog::find(theirs.own).is_some(),
                "{}",
                theirs.key
            );
        }
    }
}
