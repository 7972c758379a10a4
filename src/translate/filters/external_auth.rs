//! `external-auth` in, whom the proxy asks about each request out.

use std::collections::BTreeSet;

use portcullis_model::{ExternalAuth, HeaderName, Problem};
use serde::Deserialize;
use serde_json::Value;

use super::Setting;
use crate::translate::actions;
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
    let Some(written) = annotations.get(NAME) else {
        return Setting::Absent;
    };
    let origin = annotations.origin(written);
    let parse = |text: &str| -> Result<_, String> {
        let read: ExternalAuthText = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let port = actions::port(Some(read.service_port.clone()))?;
        let told = read.response_headers.iter().map(|name| HeaderName::parse(name));
        let told: BTreeSet<HeaderName> = told.collect::<Result<_, _>>().map_err(|why| why.to_string())?;
        Ok((read, port, told))
    };
    let Setting::Given((text, port, told)) = annotations.read(NAME, parse, problems) else {
        return Setting::Invalid;
    };
    // What is wrong with the Service has been told.
    let Ok(backend) = backends.backend(part, &text.service_name, &port, &origin, problems) else {
        return Setting::Invalid;
    };
    match ExternalAuth::new(backend, &text.path, told, origin) {
        Ok(asked) => Setting::Given(asked),
        Err(why) => {
            problems.push(annotations.invalid(written, why));
            Setting::Invalid
        }
    }
}

/// The name of the Service that an annotation asks, whether it exists or not.
pub(in crate::translate) fn service(text: &str) -> Option<String> {
    let read: ExternalAuthText = serde_json::from_str(text).ok()?;
    Some(read.service_name)
}
