//! `backend-tls-ca-secret` and `backend-tls-server-name`, or ingress-nginx's in their place, in, which certificates of
//! targets are taken out.

use std::sync::Arc;

use portcullis_model::{Code, HostName, ObjectName, Problem, Verification};

use super::target_settings::TargetSettings;
use crate::translate::actions::{self, Destination, Share, Wanted};
use crate::translate::annotations::{Annotations, Setting, value};
use crate::translate::member::Part;
use crate::translate::moved::backends as moved;

const SECRET: &str = "backend-tls-ca-secret";
const NAME: &str = "backend-tls-server-name";

/// Absent where any certificate will do. What cannot be read must not be taken for that.
pub(super) fn read(
    settings: &TargetSettings<'_>,
    part: &Part<'_>,
    service: &ObjectName,
    problems: &mut Vec<Problem>,
) -> Setting<Verification> {
    let source = settings.source(SECRET);
    let secret = match source.get(SECRET) {
        Some(written) => {
            let read = source.read_written(written, value::secret_name, problems);
            read.map(|name| (name, source.origin(written)))
        }
        None if is_forwarded_to(part, &service.name) => moved::authorities(part, problems),
        None => Setting::Absent,
    };
    let named = settings.source(NAME);
    let host = |text: &str| HostName::parse(text).map_err(|why| why.to_string());
    let name = match (named.get(NAME), &secret) {
        (Some(written), Setting::Absent) => {
            // Compared with nothing, it would look as if it protected something.
            let why = format!("it needs annotation {SECRET}, which is absent");
            problems.push(named.invalid(written, why));
            return Setting::Invalid;
        }
        (Some(written), Setting::Given(_) | Setting::Invalid) => named.read_written(written, host, problems),
        (None, Setting::Given(_) | Setting::Invalid) if is_forwarded_to(part, &service.name) => {
            moved::server_name(part, problems)
        }
        (None, _) => Setting::Absent,
    };
    let (secret, origin) = match secret {
        Setting::Given(given) => given,
        Setting::Absent => return Setting::Absent,
        Setting::Invalid => return Setting::Invalid,
    };
    let server_name = match name {
        Setting::Given(name) => name,
        Setting::Invalid => return Setting::Invalid,
        Setting::Absent => match HostName::parse(&format!("{}.{}.svc", service.name, service.namespace)) {
            Ok(name) => name,
            Err(why) => {
                let message = format!("it needs annotation {NAME}, for the Service gives no name: {why}");
                problems.push(Problem::new(Code::AnnotationInvalid, origin, message));
                return Setting::Invalid;
            }
        },
    };
    Setting::Given(Verification {
        authorities: ObjectName::new(service.namespace.clone(), secret.as_str()),
        server_name,
        origin,
    })
}

/// Whether the Ingress forwards to a Service: what ingress-nginx verified does not speak of one that is only asked, or
/// gets copies.
fn is_forwarded_to(part: &Part<'_>, service: &str) -> bool {
    let named = |share: &Share| matches!(&share.to, Destination::Service { name, .. } if **name == *service);
    let mut actions = part.annotations.family("actions.");
    moved::leads_to(part, service)
        || actions.any(|(_, written)| match actions::parse(written.value) {
            Ok(Wanted::Forward { shares, .. }) => shares.iter().any(named),
            Ok(Wanted::Fixed(_) | Wanted::Redirect(_)) | Err(_) => false,
        })
}

/// The Secret that a Service or an Ingress names, whether it exists or not.
pub(in crate::translate) fn secret(
    annotations: &Annotations<'_>,
    namespace: &Arc<str>,
) -> Option<ObjectName> {
    let name = match annotations.get(SECRET) {
        Some(written) => value::secret_name(written.value).ok()?,
        None => moved::secret(annotations, namespace)?,
    };
    Some(ObjectName::new(namespace.clone(), name.as_str()))
}
