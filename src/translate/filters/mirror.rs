//! `mirror` in, whom copies of requests go to out.

use portcullis_model::{Mirror, Problem};
use serde::Deserialize;
use serde_json::Value;

use super::Setting;
use crate::translate::actions;
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
    let Some(written) = annotations.get(NAME) else {
        return Setting::Absent;
    };
    let origin = annotations.origin(written);
    let parse = |text: &str| -> Result<_, String> {
        let read: MirrorText = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let port = actions::port(Some(read.service_port.clone()))?;
        Ok((read, port))
    };
    let Setting::Given((text, port)) = annotations.read(NAME, parse, problems) else {
        return Setting::Invalid;
    };
    // What is wrong with the Service has been told.
    let Ok(backend) = backends.backend(part, &text.service_name, &port, &origin, problems) else {
        return Setting::Invalid;
    };
    match Mirror::new(backend, text.percent.unwrap_or(ALL), origin) {
        Ok(mirror) => Setting::Given(mirror),
        Err(why) => {
            problems.push(annotations.invalid(written, why));
            Setting::Invalid
        }
    }
}

/// The name of the Service that copies go to, whether it exists or not.
pub(in crate::translate) fn service(text: &str) -> Option<String> {
    let read: MirrorText = serde_json::from_str(text).ok()?;
    Some(read.service_name)
}
