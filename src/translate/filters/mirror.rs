//! `mirror`, or ingress-nginx's in its place, in, whom copies of requests go to out.

use portcullis_model::{Mirror, Problem};
use serde::Deserialize;
use serde_json::Value;

use super::Setting;
use super::url::{self, Url};
use crate::cluster::object::PortRef;
use crate::translate::actions;
use crate::translate::annotations::Annotations;
use crate::translate::backends::Backends;
use crate::translate::member::Part;

const NAME: &str = "mirror";
/// Where no share is said.
const ALL: i64 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MirrorText {
    service_name: String,
    service_port: Value,
    percent: Option<i64>,
}

/// It is a Service of the Ingress's own namespace, as any backend is: copies hold what clients sent in confidence.
pub(super) fn read<'a>(
    part: &Part<'a>,
    backends: &mut Backends<'a>,
    problems: &mut Vec<Problem>,
) -> Setting<Mirror> {
    let annotations = &part.annotations;
    let theirs = || {
        part.nginx("mirror-target")
            .filter(|written| !written.value.trim().is_empty())
    };
    let own = annotations.get(NAME);
    let Some(written) = own.or_else(theirs) else {
        return Setting::Absent;
    };
    let origin = annotations.origin(written);
    let namespace = &part.ingress.meta.name.namespace;
    let parse = |text: &str| -> Result<_, String> {
        if own.is_none() {
            let url = target(text, namespace)?;
            return Ok((url.service.to_owned(), PortRef::Number(url.port), ALL));
        }
        let read: MirrorText = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let port = actions::port(Some(read.service_port.clone()))?;
        Ok((read.service_name, port, read.percent.unwrap_or(ALL)))
    };
    let Setting::Given((service, port, percent)) = annotations.read_written(written, parse, problems) else {
        return Setting::Invalid;
    };
    // What is wrong with the Service has been told.
    let Ok(backend) = backends.backend(part, &service, &port, &origin, problems) else {
        return Setting::Invalid;
    };
    match Mirror::new(backend, percent, origin) {
        Ok(mirror) => Setting::Given(mirror),
        Err(why) => {
            problems.push(annotations.invalid(written, why));
            Setting::Invalid
        }
    }
}

/// ingress-nginx's: a copy has the path and query of its request, and no other.
fn target<'t>(text: &'t str, namespace: &str) -> Result<Url<'t>, String> {
    let whole = text.trim().strip_suffix("$request_uri");
    let whole = whole.ok_or("copies have the path of their request: it must end in $request_uri")?;
    let url = url::of_service(whole, namespace)?;
    match url.path {
        "/" if !whole.ends_with('/') => Ok(url),
        _ => Err("copies have the path of their request: nothing stands before $request_uri".to_owned()),
    }
}

/// The name of the Service that copies go to, whether it exists or not.
pub(in crate::translate) fn service(annotations: &Annotations<'_>, namespace: &str) -> Option<String> {
    let Some(written) = annotations.get(NAME) else {
        let url = annotations.nginx("mirror-target")?.value;
        return Some(target(url, namespace).ok()?.service.to_owned());
    };
    let read: MirrorText = serde_json::from_str(written.value).ok()?;
    Some(read.service_name)
}
