//! `request-headers` and `response-headers` in, what is changed of messages' fields out.

use std::collections::BTreeMap;

use portcullis_model::{Direction, HeaderChanges, HeaderName, Origin, Problem};
use serde::Deserialize;

use super::Setting;
use crate::translate::member::Part;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadersText {
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    add: BTreeMap<String, String>,
    #[serde(default)]
    remove: Vec<String>,
}

pub(super) fn read(
    part: &Part<'_>,
    name: &str,
    direction: Direction,
    problems: &mut Vec<Problem>,
) -> Setting<HeaderChanges> {
    let Some(written) = part.annotations.get(name) else {
        return Setting::Absent;
    };
    let origin = part.annotations.origin(written);
    part.annotations
        .read(name, |text| parse(text, direction, origin), problems)
}

fn parse(text: &str, direction: Direction, origin: Origin) -> Result<HeaderChanges, String> {
    let read: HeadersText = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let name = |text: &str| HeaderName::parse(text).map_err(|why| why.to_string());
    let pairs = |map: BTreeMap<String, String>| -> Result<Vec<(HeaderName, String)>, String> {
        map.into_iter()
            .map(|(key, value)| Ok((name(&key)?, value)))
            .collect()
    };
    let remove: Vec<HeaderName> = read
        .remove
        .iter()
        .map(|text| name(text))
        .collect::<Result<_, _>>()?;
    let (set, add) = (pairs(read.set)?, pairs(read.add)?);
    HeaderChanges::new(direction, &set, &add, &remove, origin).map_err(|why| why.to_string())
}
