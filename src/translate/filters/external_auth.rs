//! `external-auth`, or ingress-nginx's in its place, in, whom the proxy asks about each request out.

use std::collections::BTreeSet;

use portcullis_model::{ExternalAuth, HeaderName, Problem};
use serde::Deserialize;
use serde_json::Value;

use super::{Setting, url};
use crate::cluster::object::PortRef;
use crate::translate::actions;
use crate::translate::annotations::{Annotations, value};
use crate::translate::backends::Backends;
use crate::translate::member::Part;

pub(super) const NAME: &str = "external-auth";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExternalAuthText {
    service_name: String,
    service_port: Value,
    path: String,
    #[serde(default)]
    response_headers: Vec<String>,
}

/// It is a Service of the Ingress's own namespace, reached as any backend is: an address of somebody's choice would be
/// asked from within the cluster.
pub(super) fn read<'a>(
    part: &Part<'a>,
    backends: &mut Backends<'a>,
    problems: &mut Vec<Problem>,
) -> Setting<ExternalAuth> {
    let annotations = &part.annotations;
    let theirs = || {
        part.nginx("auth-url")
            .filter(|written| !written.value.trim().is_empty())
    };
    let own = annotations.get(NAME);
    let Some(written) = own.or_else(theirs) else {
        return Setting::Absent;
    };
    let origin = annotations.origin(written);
    let names = |names: &mut dyn Iterator<Item = &str>| {
        let told = names.map(HeaderName::parse);
        let told: Result<BTreeSet<HeaderName>, _> = told.collect();
        told.map_err(|why| why.to_string())
    };
    let asked = match own {
        Some(_) => annotations.read(
            NAME,
            |text| {
                let read: ExternalAuthText = serde_json::from_str(text).map_err(|error| error.to_string())?;
                let port = actions::port(Some(read.service_port.clone()))?;
                let told = names(&mut read.response_headers.iter().map(String::as_str))?;
                Ok((read.service_name, port, read.path, told))
            },
            problems,
        ),
        None => {
            let told = match part.nginx("auth-response-headers") {
                Some(told) => {
                    annotations.read_written(told, |text| names(&mut value::list(text).into_iter()), problems)
                }
                None => Setting::Given(BTreeSet::new()),
            };
            let namespace = &part.ingress.meta.name.namespace;
            let parse = |text: &str| {
                let url = url::of_service(text, namespace)?;
                Ok((
                    url.service.to_owned(),
                    PortRef::Number(url.port),
                    url.path.to_owned(),
                ))
            };
            match (annotations.read_written(written, parse, problems), told) {
                (Setting::Given((service, port, path)), Setting::Given(told)) => {
                    Setting::Given((service, port, path, told))
                }
                (_, _) => Setting::Invalid,
            }
        }
    };
    let Setting::Given((service, port, path, told)) = asked else {
        return Setting::Invalid;
    };
    // What is wrong with the Service has been told.
    let Ok(backend) = backends.backend(part, &service, &port, &origin, problems) else {
        return Setting::Invalid;
    };
    match ExternalAuth::new(backend, &path, told, origin) {
        Ok(asked) => Setting::Given(asked),
        Err(why) => {
            problems.push(annotations.invalid(written, why));
            Setting::Invalid
        }
    }
}

/// The name of the Service that an Ingress asks, whether it exists or not.
pub(in crate::translate) fn service(annotations: &Annotations<'_>, namespace: &str) -> Option<String> {
    let Some(written) = annotations.get(NAME) else {
        let url = annotations.nginx("auth-url")?.value;
        return Some(url::of_service(url, namespace).ok()?.service.to_owned());
    };
    let read: ExternalAuthText = serde_json::from_str(written.value).ok()?;
    Some(read.service_name)
}
