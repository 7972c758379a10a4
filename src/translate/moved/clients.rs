//! ingress-nginx's `auth-tls-secret` and `auth-tls-verify-client` in, what is asked of clients' certificates out.

use portcullis_model::{ClientCertificates, ObjectName, Problem, TrustStore};

use crate::translate::annotations::{Annotations, Setting, Written, value};
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
pub(in crate::translate) fn secret(annotations: &Annotations<'_>, namespace: &str) -> Option<String> {
    name_in(annotations.nginx("auth-tls-secret")?.value, namespace)
}

/// A Secret of this namespace, as ingress-nginx writes it.
pub(super) fn name_in(text: &str, namespace: &str) -> Option<String> {
    let name = text.strip_prefix(namespace)?.strip_prefix('/')?;
    value::secret_name(name).ok()
}
