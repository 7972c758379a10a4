//! `basic-auth-secret` and `basic-auth-realm` in, who may pass by password out.

use std::sync::Arc;

use portcullis_model::{BasicAuth, Code, ObjectName, Port, Problem};

use super::Setting;
use crate::translate::annotations::{Annotations, value};
use crate::translate::member::Part;
use crate::translate::standing::Standing;

const SECRET: &str = "basic-auth-secret";
const REALM: &str = "basic-auth-realm";

pub(super) fn read(part: &Part<'_>, standing: &Standing, problems: &mut Vec<Problem>) -> Setting<BasicAuth> {
    let annotations = &part.annotations;
    let Some(written) = annotations.get(SECRET) else {
        let Some(realm) = annotations.get(REALM) else {
            return Setting::Absent;
        };
        problems.push(annotations.invalid(realm, "it needs annotation basic-auth-secret, which is absent"));
        return Setting::Invalid;
    };
    let secret = match annotations.read(SECRET, |text| name(text).map(str::to_owned), problems) {
        Setting::Given(name) => ObjectName::new(part.ingress.meta.name.namespace.clone(), name.as_str()),
        Setting::Absent | Setting::Invalid => return Setting::Invalid,
    };
    let origin = annotations.origin(written);
    let asked = |realm: &str| BasicAuth::new(secret.clone(), realm, origin.clone());
    let read = match annotations.get(REALM) {
        Some(_) => annotations.read(REALM, |text| asked(text).map_err(|why| why.to_string()), problems),
        None => asked("Restricted").map_or(Setting::Invalid, Setting::Given),
    };
    let ports = standing.ports();
    let plain = ports.iter().filter(|port| standing.serves_plainly(part, **port));
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

/// The Secret that an Ingress names, whether it exists or not.
pub(in crate::translate) fn secret(
    annotations: &Annotations<'_>,
    namespace: &Arc<str>,
) -> Option<ObjectName> {
    let written = annotations.get(SECRET)?;
    let name = name(written.value).ok()?;
    Some(ObjectName::new(namespace.clone(), name))
}

/// It becomes part of a path of the Kubernetes API.
fn name(text: &str) -> Result<&str, String> {
    let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if !text.is_empty() && text.bytes().all(named) {
        Ok(text)
    } else {
        Err(format!("{} is no name of a Secret", value::shown(text)))
    }
}
