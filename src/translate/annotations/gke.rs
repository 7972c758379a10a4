//! Annotations of GKE's Ingress that change what is served: what becomes of each here, and what says the same.
//!
//! They are read on Ingresses under Kubernetes semantics, and on the Services they lead to. What GKE writes by itself,
//! and `cloud.google.com/neg`, which asks for what is done anyway, is passed over.
//! Source: kubernetes/ingress-gce, pkg/annotations.

use portcullis_model::{Code, Problem};

use super::nginx::{Fate, Theirs, effect};
use super::{Annotations, Setting, Written, value};

/// Whether plain HTTP is served.
pub(in crate::translate) const ALLOW_HTTP: &str = "kubernetes.io/ingress.allow-http";

const fn told(key: &'static str, own: &'static str, says: &'static str) -> Theirs {
    Theirs {
        key,
        fate: Fate::Told,
        own,
        nothing: &[],
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
    told(
        "cloud.google.com/app-protocols",
        "backend-protocol",
        "On a Service: targets are spoken to in plain HTTP/1.1. HTTP/2 takes `backend-protocol-version`, too.",
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
    Theirs {
        key: ALLOW_HTTP,
        fate: Fate::Read,
        own: "listen-ports",
        nothing: super::nginx::TRUE,
        says: "`false` leaves out plain HTTP, as does what cannot be read, also where `listen-ports` names it, which is told. Where HTTPS is not served the Ingress's rules answer 503.",
    },
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
    told(
        "service.alpha.kubernetes.io/app-protocols",
        "backend-protocol",
        "As `cloud.google.com/app-protocols`.",
    ),
];

/// The entry of a name with prefix.
pub fn find(key: &str) -> Option<&'static Theirs> {
    ALL.iter().find(|theirs| theirs.key == key)
}

/// Whether it is read on Services, and not on Ingresses.
fn is_of_services(key: &str) -> bool {
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
