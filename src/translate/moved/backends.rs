//! ingress-nginx's annotations of an Ingress in, how the Services that its paths lead to are spoken to out.

use std::collections::BTreeMap;

use portcullis_model::{
    AffinityKey, BackendProtocol, BackendTls, BackendVersion, Code, HostName, Origin, Problem,
};

use super::clients::name_in;
use crate::cluster::object::IngressBackend;
use crate::translate::annotations::{Annotations, Setting, Written, value};
use crate::translate::member::Part;

/// Whether an Ingress leads to a Service by itself: one that is only asked, or gets copies, is none of these.
pub(in crate::translate) fn leads_to(part: &Part<'_>, service: &str) -> bool {
    let paths = part.ingress.rules.iter().flat_map(|rule| &*rule.paths);
    let backends = paths
        .map(|path| &path.backend)
        .chain(&part.ingress.default_backend);
    let mut services = backends.filter_map(|backend| match backend {
        IngressBackend::Service { name, .. } => Some(&**name),
        IngressBackend::Resource { .. } | IngressBackend::Missing => None,
    });
    services.any(|name| name == service)
}

pub(in crate::translate) fn protocol(
    part: &Part<'_>,
    problems: &mut Vec<Problem>,
) -> Setting<BackendProtocol> {
    let Some(written) = part.nginx_set("backend-protocol") else {
        return Setting::Absent;
    };
    let parse = |text: &str| {
        let (version, tls) = match text.to_ascii_uppercase().as_str() {
            "HTTP" => (BackendVersion::Http1, BackendTls::Off),
            "HTTPS" => (BackendVersion::Http1, BackendTls::Unverified),
            "GRPC" => (BackendVersion::Grpc, BackendTls::Off),
            "GRPCS" => (BackendVersion::Grpc, BackendTls::Unverified),
            _ => return Err("of protocols HTTP, HTTPS, GRPC and GRPCS are spoken".to_owned()),
        };
        Ok(BackendProtocol { version, tls })
    };
    part.annotations.read_written(written, parse, problems)
}

const OURS: &str = "backend-tls-ca-secret";
const VERIFY: &str = "proxy-ssl-verify";
const SECRET: &str = "proxy-ssl-secret";
const NAME: &str = "proxy-ssl-name";
const SENT: &str = "proxy-ssl-server-name";

/// The annotation that asks for certificates of targets to be verified.
fn asks<'a>(part: &Part<'a>) -> Option<Written<'a>> {
    part.nginx_set(VERIFY).filter(|verify| verify.value != "off")
}

/// Whose authorities these are verified by, and where that is asked for.
pub(in crate::translate) fn authorities(
    part: &Part<'_>,
    problems: &mut Vec<Problem>,
) -> Setting<(String, Origin)> {
    let Some(verify) = asks(part) else {
        return Setting::Absent;
    };
    let annotations = &part.annotations;
    let on = |text: &str| match text {
        "on" => Ok(()),
        _ => Err("expected on or off".to_owned()),
    };
    if annotations.read_written(verify, on, problems).is_invalid() {
        return Setting::Invalid;
    }
    let Some(secret) = part.nginx_set(SECRET) else {
        problems.push(annotations.invalid(verify, format!("it needs annotation {SECRET}, which is absent")));
        return Setting::Invalid;
    };
    let namespace = &part.ingress.meta.name.namespace;
    let parse = |text: &str| match name_in(text, namespace) {
        Some(name) => Ok((name, annotations.origin(secret))),
        None => Err(format!(
            "expected a Secret of the Ingress's own namespace, as {namespace}/NAME"
        )),
    };
    annotations.read_written(secret, parse, problems)
}

/// Whom certificates must be for, beside the authorities.
pub(in crate::translate) fn server_name(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<HostName> {
    match part.nginx_set(NAME) {
        Some(written) => {
            let parse = |text: &str| HostName::parse(text).map_err(|why| why.to_string());
            part.annotations.read_written(written, parse, problems)
        }
        None => Setting::Absent,
    }
}

/// The Secret that an Ingress names, whether it exists or not.
pub(in crate::translate) fn secret(annotations: &Annotations<'_>, namespace: &str) -> Option<String> {
    name_in(annotations.nginx(SECRET)?.value, namespace)
}

/// Tells what has no effect of what is said of TLS towards targets.
pub(super) fn tell_unread(part: &Part<'_>, problems: &mut Vec<Problem>) {
    if part.annotations.get(OURS).is_some() {
        return; // it wins
    }
    let mut tell = |written, message: &str| {
        let at = part.annotations.origin(written);
        problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
    };
    let verifies = asks(part).is_some();
    if let Some(secret) = part.nginx_set(SECRET) {
        tell(
            secret,
            match verifies {
                true => "no certificate is shown to backends: ca.crt alone is read of the Secret",
                false => {
                    "it has no effect here: no certificate is shown to backends, and without proxy-ssl-verify none of theirs is verified"
                }
            },
        );
    }
    let sent = part.nginx_set(SENT).filter(|sent| sent.value != "off");
    for named in part.nginx_set(NAME).into_iter().chain(sent).filter(|_| !verifies) {
        tell(
            named,
            "it has no effect here: without proxy-ssl-verify targets are asked for under no name",
        );
    }
}

/// How long is waited: a day at most.
pub(in crate::translate) fn seconds(text: &str) -> Result<u32, String> {
    let seconds = value::integer(text, 1, 86_400)?;
    u32::try_from(seconds).map_err(|error| error.to_string())
}

/// How long is waited by one of ingress-nginx's names.
pub(in crate::translate) fn wait(part: &Part<'_>, name: &str, problems: &mut Vec<Problem>) -> Setting<u32> {
    match part.nginx_set(name) {
        Some(written) => part.annotations.read_written(written, seconds, problems),
        None => Setting::Absent,
    }
}

/// What leads requests to the same target.
pub(in crate::translate) fn affinity(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<AffinityKey> {
    let Some(written) = part.nginx_set("upstream-hash-by") else {
        return Setting::Absent;
    };
    let parse = |text: &str| {
        let none = || {
            "it is read where it is one of $remote_addr, $request_uri, $http_NAME and $cookie_NAME".to_owned()
        };
        let name = text.strip_prefix('$').ok_or_else(none)?;
        // In braces, a name may stand beside other text.
        let name = name
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
            .unwrap_or(name);
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let key = match name {
            _ if !is_name => return Err(none()),
            "remote_addr" | "binary_remote_addr" => return Ok(AffinityKey::Client),
            "request_uri" => return Ok(AffinityKey::Uri),
            _ => match (name.strip_prefix("http_"), name.strip_prefix("cookie_")) {
                (Some(name), _) => AffinityKey::header(&name.replace('_', "-")),
                (None, Some(name)) => AffinityKey::cookie(name),
                (None, None) => return Err(none()),
            },
        };
        key.map_err(|_| none())
    };
    part.annotations.read_written(written, parse, problems)
}

/// Attributes that keep a client at its target.
pub(in crate::translate) fn stickiness(
    part: &Part<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let Some(written) = part.nginx_set("affinity") else {
        return BTreeMap::new();
    };
    let parse = |text: &str| match text {
        "cookie" => Ok(()),
        _ => Err("clients are kept by cookie alone".to_owned()),
    };
    if part
        .annotations
        .read_written(written, parse, problems)
        .is_invalid()
    {
        return BTreeMap::new();
    }
    let mut all = BTreeMap::from([
        ("stickiness.enabled".to_owned(), "true".to_owned()),
        ("stickiness.type".to_owned(), "lb_cookie".to_owned()),
    ]);
    if let Some(age) = part
        .nginx_set("session-cookie-max-age")
        .or_else(|| part.nginx_set("session-cookie-expires"))
    {
        // Longest of all: ELBv2 API, TargetGroupAttribute.
        let parse = |text: &str| value::integer(text, 1, 604_800);
        if let Setting::Given(seconds) = part.annotations.read_written(age, parse, problems) {
            let key = "stickiness.lb_cookie.duration_seconds";
            all.insert(key.to_owned(), seconds.to_string());
        }
    }
    all
}
