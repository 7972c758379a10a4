//! `cors`, or ingress-nginx's in its place, in, what scripts of other origins may do out.

use std::collections::BTreeSet;

use portcullis_model::{Code, Cors, HeaderName, Method, Origin, Problem, WebOrigin, WebOrigins};
use serde::Deserialize;

use super::Setting;
use crate::translate::annotations::value;
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
        return moved(part, problems);
    };
    let origin = part.annotations.origin(written);
    part.annotations
        .read("cors", |text| parse(text, origin), problems)
}

/// Where ingress-nginx is told no more. Source: ingress-nginx, Annotations, "Enable CORS".
const THEIR_METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const THEIR_HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,\
                             Range,Authorization";

/// ingress-nginx's. Beside `*` it would let credentials in, which no browser then sends.
fn moved(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<Cors> {
    let annotations = &part.annotations;
    let Some(written) = part.nginx("enable-cors") else {
        return Setting::Absent;
    };
    match annotations.read_written(written, value::boolean, problems) {
        Setting::Given(true) => {}
        Setting::Absent | Setting::Given(false) => return Setting::Absent,
        Setting::Invalid => return Setting::Invalid,
    }
    let named = |name| {
        let written = part
            .nginx(name)
            .filter(|written| !written.value.trim().is_empty());
        written.map(|written| value::list(written.value))
    };
    let all = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let origins = all(named("cors-allow-origin").unwrap_or_else(|| vec!["*"]));
    let any = origins.iter().any(|origin| origin == "*");
    let credentials = match part.nginx("cors-allow-credentials") {
        Some(written) => annotations.read_written(written, value::boolean, problems),
        None => Setting::Given(true),
    };
    let age = match part.nginx("cors-max-age") {
        Some(written) => annotations.read_written(
            written,
            |text| value::integer(text, 0, i64::from(u32::MAX)),
            problems,
        ),
        None => Setting::Given(i64::from(LONGEST_AGE)),
    };
    let (Setting::Given(credentials), Setting::Given(age)) = (credentials, age) else {
        return Setting::Invalid;
    };
    let read = CorsText {
        allow_origins: if any { vec!["*".to_owned()] } else { origins },
        allow_methods: Some(all(
            named("cors-allow-methods").unwrap_or_else(|| value::list(THEIR_METHODS))
        )),
        allow_headers: Some(all(
            named("cors-allow-headers").unwrap_or_else(|| value::list(THEIR_HEADERS))
        )),
        expose_headers: all(named("cors-expose-headers").unwrap_or_default()),
        allow_credentials: credentials && !any,
        // No browser remembers longer.
        max_age: u32::try_from(age).ok().map(|age| age.min(LONGEST_AGE)),
    };
    let origin = annotations.origin(written);
    match compiled(&read, origin.clone()) {
        Ok(cors) => Setting::Given(cors),
        Err(why) => {
            problems.push(Problem::new(Code::AnnotationInvalid, origin, why));
            Setting::Invalid
        }
    }
}

fn parse(text: &str, origin: Origin) -> Result<Cors, String> {
    let read: CorsText = serde_json::from_str(text).map_err(|error| error.to_string())?;
    compiled(&read, origin)
}

fn compiled(read: &CorsText, origin: Origin) -> Result<Cors, String> {
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
        origins: origins(read)?,
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
