//! `external-auth`, or ingress-nginx's in its place, in, whom the proxy asks about each request out.

use std::collections::BTreeSet;

use portcullis_model::{ExternalAuth, HeaderName, Problem, SignIn};
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
    response_headers: Option<Vec<String>>,
    sign_in: Option<String>,
}

/// What an annotation says, before the Service is looked for. Where ours leaves out the last two, ingress-nginx's count.
struct Asked {
    service: String,
    port: PortRef,
    path: String,
    told: Option<BTreeSet<HeaderName>>,
    sign_in: Option<SignIn>,
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
                let told = read.response_headers.as_ref();
                let told = told
                    .map(|all| names(&mut all.iter().map(String::as_str)))
                    .transpose()?;
                let sign_in = read.sign_in.as_deref().map(SignIn::parse).transpose();
                Ok(Asked {
                    service: read.service_name,
                    port,
                    path: read.path,
                    told,
                    sign_in: sign_in.map_err(|why| format!("signIn: {why}"))?,
                })
            },
            problems,
        ),
        None => {
            let namespace = &part.ingress.meta.name.namespace;
            let parse = |text: &str| {
                let url = url::of_service(text, namespace)?;
                Ok(Asked {
                    service: url.service.to_owned(),
                    port: PortRef::Number(url.port),
                    path: url.path.to_owned(),
                    told: None,
                    sign_in: None,
                })
            };
            annotations.read_written(written, parse, problems)
        }
    };
    let Setting::Given(asked) = asked else {
        return Setting::Invalid;
    };
    let told = match (asked.told, part.nginx("auth-response-headers")) {
        (Some(told), _) => told,
        (None, None) => BTreeSet::new(),
        (None, Some(told)) => {
            let parse = |text: &str| names(&mut value::list(text).into_iter());
            match annotations.read_written(told, parse, problems) {
                Setting::Given(told) => told,
                // Clients could write them by themselves.
                Setting::Absent | Setting::Invalid => return Setting::Invalid,
            }
        }
    };
    // What is wrong with the Service has been told.
    let Ok(backend) = backends.backend(part, &asked.service, &asked.port, &origin, problems) else {
        return Setting::Invalid;
    };
    match ExternalAuth::new(backend, &asked.path, told, origin) {
        Ok(mut read) => {
            read.sign_in = asked.sign_in.or_else(|| their_sign_in(part, problems));
            Setting::Given(read)
        }
        Err(why) => {
            problems.push(annotations.invalid(written, why));
            Setting::Invalid
        }
    }
}

/// ingress-nginx's page. One that cannot be read lets nobody pass: clients get 401.
fn their_sign_in(part: &Part<'_>, problems: &mut Vec<Problem>) -> Option<SignIn> {
    let written = part.nginx_set("auth-signin")?;
    let parameter = part.nginx_set("auth-signin-redirect-param");
    let parameter = parameter.map_or("rd", |parameter| parameter.value.trim());
    let parse = |text: &str| {
        if text.contains("#{") {
            return Err("expected a URL".to_owned());
        }
        let text = with_ours(text.trim());
        if text.contains('$') {
            return Err(
                "of variables $scheme, $host, $http_host and $escaped_request_uri are read".to_owned(),
            );
        }
        // As there, a page that is not told where the client was is told it.
        let query = text.split_once('?').map(|(_, query)| query);
        let is_told = query.is_some_and(|query| {
            let mut names = query.split('&').filter_map(|pair| pair.split_once('='));
            names.any(|(name, value)| name == parameter && !value.is_empty())
        });
        let text = match query {
            _ if is_told => text,
            None => format!("{text}?{parameter}=#{{url}}"),
            Some("") => format!("{text}{parameter}=#{{url}}"),
            Some(_) => format!("{text}&{parameter}=#{{url}}"),
        };
        SignIn::parse(&text).map_err(|why| why.to_string())
    };
    part.annotations.read_written(written, parse, problems).given()
}

/// Longer names before those that they begin or end with. Hosts are named with their ports, which clients need.
const VARIABLES: [(&str, &str); 7] = [
    ("$pass_access_scheme", "#{protocol}"),
    ("$scheme", "#{protocol}"),
    ("$best_http_host", "#{host}"),
    ("$http_host", "#{host}"),
    ("$host", "#{host}"),
    ("$escaped_request_uri", "#{target}"),
    ("$request_uri", "#{target}"),
];

/// A name ends where no letter of one follows; others stay.
fn with_ours(text: &str) -> String {
    let mut parts = text.split('$');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, rest) = part.split_at(end.unwrap_or(part.len()));
        let ours = VARIABLES.iter().find(|(theirs, _)| theirs[1..] == *name);
        match ours {
            Some((_, ours)) => out.extend([*ours, rest]),
            None => out.extend(["$", part]),
        }
    }
    out
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
