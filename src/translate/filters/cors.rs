//! `cors` in, what scripts of other origins may do out.

use std::collections::BTreeSet;

use portcullis_model::{Cors, HeaderName, Method, Origin, Problem, WebOrigin, WebOrigins};
use serde::Deserialize;

use super::Setting;
use crate::translate::member::Part;

/// Longest time a browser is told to remember, in seconds: a day. None remembers longer.
const LONGEST_AGE: u32 = 86_400;
/// Where no methods are named.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CorsText {
    allow_origins: Vec<String>,
    allow_methods: Option<Vec<String>>,
    allow_headers: Option<Vec<String>>,
    #[serde(default)]
    expose_headers: Vec<String>,
    #[serde(default)]
    allow_credentials: bool,
    max_age: Option<u32>,
}

pub(super) fn read(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<Cors> {
    let Some(written) = part.annotations.get("cors") else {
        return Setting::Absent;
    };
    let origin = part.annotations.origin(written);
    part.annotations
        .read("cors", |text| parse(text, origin), problems)
}

fn parse(text: &str, origin: Origin) -> Result<Cors, String> {
    let read: CorsText = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let names = |names: &[String]| -> Result<BTreeSet<HeaderName>, String> {
        let parsed = names
            .iter()
            .map(|name| HeaderName::parse(name).map_err(|why| why.to_string()));
        parsed.collect()
    };
    let methods = match &read.allow_methods {
        None => METHODS.iter().map(|name| Method::parse(name)).collect(),
        Some(named) => named
            .iter()
            .map(|name| Method::parse(name))
            .collect::<Result<_, _>>(),
    };
    if read.max_age.is_some_and(|age| age > LONGEST_AGE) {
        return Err(format!("maxAge is more than {LONGEST_AGE} seconds"));
    }
    Ok(Cors {
        origins: origins(&read)?,
        methods: methods.map_err(|why| why.to_string())?,
        request_headers: match read.allow_headers.as_deref() {
            None => None,
            Some([any]) if any == "*" => None,
            Some(named) => Some(names(named)?),
        },
        exposed: names(&read.expose_headers)?,
        max_age: read.max_age,
        origin,
    })
}

fn origins(read: &CorsText) -> Result<WebOrigins, String> {
    match read.allow_origins.as_slice() {
        [] => Err("allowOrigins names nobody".to_owned()),
        [any] if any == "*" && read.allow_credentials => {
            Err("allowCredentials is for origins that are named, not for *".to_owned())
        }
        [any] if any == "*" => Ok(WebOrigins::Any),
        named => {
            let parsed = named
                .iter()
                .map(|text| WebOrigin::parse(text).map_err(|why| why.to_string()));
            Ok(WebOrigins::Listed {
                origins: parsed.collect::<Result<_, _>>()?,
                credentials: read.allow_credentials,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::ObjectName;

    use super::*;

    #[test]
    fn only_named_origins_have_credentials() {
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        for (text, ok) in [
            (r#"{"allowOrigins":["*"]}"#, true),
            (
                r#"{"allowOrigins":["https://a.com","https://*.b.com"],"allowCredentials":true}"#,
                true,
            ),
            (
                r#"{"allowOrigins":["https://a.com"],"allowMethods":["GET"],"allowHeaders":["*"],"exposeHeaders":["X-A"],"maxAge":600}"#,
                true,
            ),
            (r#"{"allowOrigins":["*"],"allowCredentials":true}"#, false),
            (r#"{"allowOrigins":["https://a.com","*"]}"#, false),
            (
                r#"{"allowOrigins":["https://a.com","*"],"allowCredentials":true}"#,
                false,
            ),
            (r#"{"allowOrigins":["null"]}"#, false),
            (r#"{"allowOrigins":[]}"#, false),
            (r#"{"allowOrigin":["https://a.com"]}"#, false),
            (
                r#"{"allowOrigins":["https://a.com"],"allowMethods":["GET,POST"]}"#,
                false,
            ),
            (
                r#"{"allowOrigins":["https://a.com"],"allowHeaders":["a b"]}"#,
                false,
            ),
            (r#"{"allowOrigins":["https://a.com"],"maxAge":100000}"#, false),
            ("*", false),
        ] {
            assert_eq!(parse(text, origin.clone()).is_ok(), ok, "{text}");
        }
    }
}
