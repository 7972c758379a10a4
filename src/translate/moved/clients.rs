//! ingress-nginx's `auth-tls-secret` and `auth-tls-verify-client` in, what is asked of clients' certificates out.

use portcullis_model::{ClientCertificates, ObjectName, Problem, TrustStore};

use crate::translate::annotations::{Annotations, Setting, Written};
use crate::translate::member::Part;

/// The annotation that asks for certificates, unless the other says that none are asked for.
pub(in crate::translate) fn asked<'a>(part: &Part<'a>) -> Option<Written<'a>> {
    let secret = part.nginx_set("auth-tls-secret")?;
    let mode = part.nginx("auth-tls-verify-client");
    mode.is_none_or(|mode| mode.value != "off").then_some(secret)
}

/// The same of all HTTPS ports. Without a right certificate nobody gets past the handshake.
pub(in crate::translate) fn certificates(
    part: &Part<'_>,
    problems: &mut Vec<Problem>,
) -> Setting<ClientCertificates> {
    let Some(secret) = asked(part) else {
        return Setting::Absent;
    };
    let annotations = &part.annotations;
    if let Some(mode) = part.nginx_set("auth-tls-verify-client") {
        let parse = |text: &str| match text {
            "on" => Ok(()),
            _ => Err("whether a certificate is right is not left to backends: on alone is read".to_owned()),
        };
        if annotations.read_written(mode, parse, problems).is_invalid() {
            return Setting::Invalid;
        }
    }
    let namespace = &part.ingress.meta.name.namespace;
    let parse = |text: &str| match name_in(text, namespace) {
        Some(name) => Ok(ClientCertificates::Verify {
            trust_store: TrustStore::Stored(ObjectName::new(namespace.clone(), name)),
            ignore_expiry: false,
            advertise_authorities: true,
        }),
        None => Err(format!(
            "expected a Secret of the Ingress's own namespace, as {namespace}/NAME"
        )),
    };
    annotations.read_written(secret, parse, problems)
}

/// The Secret that an Ingress names, whether it exists or not.
pub(in crate::translate) fn secret<'a>(annotations: &Annotations<'a>, namespace: &str) -> Option<&'a str> {
    name_in(annotations.nginx("auth-tls-secret")?.value, namespace)
}

/// It becomes part of a path of the Kubernetes API.
pub(super) fn name_in<'t>(text: &'t str, namespace: &str) -> Option<&'t str> {
    let name = text.strip_prefix(namespace)?.strip_prefix('/')?;
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    (!name.is_empty() && name.bytes().all(known)).then_some(name)
}
