//! `basic-auth-secret` and `basic-auth-realm`, or ingress-nginx's in their place, in, who may pass by password out.

use std::sync::Arc;

use portcullis_model::{BasicAuth, Code, ObjectName, Port, Problem};

use super::Setting;
use crate::translate::annotations::{Annotations, Written, value};
use crate::translate::challenges;
use crate::translate::member::Part;
use crate::translate::standing::Standing;

const SECRET: &str = "basic-auth-secret";
const REALM: &str = "basic-auth-realm";

/// Of the annotation's value and the Ingress's namespace.
type ReadName = fn(&str, &str) -> Result<String, String>;

pub(super) fn read(part: &Part<'_>, standing: &Standing, problems: &mut Vec<Problem>) -> Setting<BasicAuth> {
    let annotations = &part.annotations;
    let namespace = &part.ingress.meta.name.namespace;
    let (written, parse): (_, ReadName) = match annotations.get(SECRET) {
        Some(written) => (written, |text, _| value::secret_name(text)),
        None => match moved(part, problems) {
            Setting::Given(written) => (written, name_in),
            Setting::Invalid => return Setting::Invalid,
            Setting::Absent => {
                let Some(realm) = annotations.get(REALM) else {
                    return Setting::Absent;
                };
                let why = "it needs annotation basic-auth-secret, which is absent";
                problems.push(annotations.invalid(realm, why));
                return Setting::Invalid;
            }
        },
    };
    let secret = match annotations.read_written(written, |text| parse(text, namespace), problems) {
        Setting::Given(name) => ObjectName::new(namespace.clone(), name.as_str()),
        Setting::Absent | Setting::Invalid => return Setting::Invalid,
    };
    let origin = annotations.origin(written);
    let asked = |realm: &str| BasicAuth::new(secret.clone(), realm, origin.clone());
    let realm = annotations.get(REALM).or_else(|| part.nginx("auth-realm"));
    let read = match realm.filter(|realm| !realm.value.is_empty()) {
        Some(realm) => {
            annotations.read_written(realm, |text| asked(text).map_err(|why| why.to_string()), problems)
        }
        None => asked("Restricted").map_or(Setting::Invalid, Setting::Given),
    };
    let ports = standing.ports();
    let is_asked = |port: &Port| standing.serves_plainly(part, *port) && !challenges::has_nothing_else(part);
    let plain = ports.iter().filter(|port| is_asked(port));
    let plain: Vec<String> = plain.map(Port::to_string).collect();
    if !plain.is_empty() {
        let message = format!(
            "port {} speaks plain HTTP: whoever listens on the way reads the passwords",
            plain.join(", ")
        );
        problems.push(Problem::new(Code::AuthenticationNeedsHttps, origin, message));
    }
    read
}

/// Which Secret ingress-nginx's annotations name. As there, nobody is asked for a password without `auth-type`.
fn moved<'a>(part: &Part<'a>, problems: &mut Vec<Problem>) -> Setting<Written<'a>> {
    let annotations = &part.annotations;
    let (kind, secret) = (part.nginx_set("auth-type"), part.nginx("auth-secret"));
    let Some(kind) = kind else {
        if let Some(secret) = secret {
            let message = "nobody is asked for a password without auth-type, here as with ingress-nginx";
            problems.push(Problem::new(
                Code::AnnotationInvalid,
                annotations.origin(secret),
                message,
            ));
        }
        return Setting::Absent;
    };
    let mut refuse = |written, why: &str| {
        problems.push(annotations.invalid(written, why));
        Setting::Invalid
    };
    let form = part.nginx("auth-secret-type");
    match (
        kind.value,
        form.filter(|form| !matches!(form.value, "" | "auth-file")),
        secret,
    ) {
        ("basic", None, Some(secret)) => Setting::Given(secret),
        ("basic", None, None) => refuse(kind, "it needs annotation auth-secret, which is absent"),
        ("basic", Some(form), _) => refuse(form, "the Secret must hold lines of htpasswd under its key auth"),
        (_, _, _) => refuse(kind, "passwords are asked for by basic authentication alone"),
    }
}

/// As ingress-nginx has it, with the namespace or without; but of no other namespace.
fn name_in(text: &str, namespace: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((own, rest)) if own == namespace => value::secret_name(rest),
        Some(_) => Err("a Secret of another namespace is not read: copy it into the Ingress's".to_owned()),
        None => value::secret_name(text),
    }
}

/// The Secret that an Ingress names, whether it exists or not.
pub(in crate::translate) fn secret(
    annotations: &Annotations<'_>,
    namespace: &Arc<str>,
) -> Option<ObjectName> {
    let name = match annotations.get(SECRET) {
        Some(written) => value::secret_name(written.value),
        None => name_in(annotations.nginx("auth-secret")?.value, namespace),
    };
    Some(ObjectName::new(namespace.clone(), name.ok()?))
}
