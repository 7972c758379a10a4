//! `location-rewrites` and `cookie-rewrites`, or ingress-nginx's in their place, in, what is replaced in answers out.

use portcullis_model::{CookieRewrites, LocationRewrites, Problem, Replacement};
use serde::Deserialize;

use super::Setting;
use crate::translate::member::Part;

const LOCATIONS: &str = "location-rewrites";
pub(super) const COOKIES: &str = "cookie-rewrites";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplacementText {
    from: String,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CookiesText {
    #[serde(default)]
    domains: Vec<ReplacementText>,
    #[serde(default)]
    paths: Vec<ReplacementText>,
}

type Of = fn(&str, &str) -> Result<Replacement, portcullis_model::filters::NotAReplacement>;

fn all(texts: &[ReplacementText], of: Of) -> Result<Vec<Replacement>, String> {
    let read = texts.iter().map(|text| of(&text.from, &text.to));
    read.collect::<Result<_, _>>().map_err(|why| why.to_string())
}

pub(super) fn locations(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<LocationRewrites> {
    let annotations = &part.annotations;
    if let Some(written) = annotations.get(LOCATIONS) {
        let parse = |text: &str| {
            let texts: Vec<ReplacementText> =
                serde_json::from_str(text).map_err(|error| error.to_string())?;
            let rewrites = all(&texts, Replacement::of_url)?;
            match rewrites.is_empty() {
                true => Err("it replaces nothing".to_owned()),
                false => Ok(rewrites),
            }
        };
        let rewrites = annotations.read_written(written, parse, problems);
        let origin = annotations.origin(written);
        return rewrites.map(|rewrites| LocationRewrites { rewrites, origin });
    }
    let (from, to) = (part.nginx("proxy-redirect-from"), part.nginx("proxy-redirect-to"));
    let Some(written) = from
        .or(to)
        .filter(|_| from.is_none_or(|from| from.value != "off"))
    else {
        return Setting::Absent;
    };
    let parse = |_: &str| {
        let (Some(from), Some(to)) = (from, to) else {
            return Err("proxy-redirect-from and proxy-redirect-to need each other".to_owned());
        };
        if from.value == "default" {
            return Err("what is replaced by default is not known here: say it".to_owned());
        }
        plain(from.value, to.value, Replacement::of_url)
    };
    let origin = annotations.origin(written);
    let rewrite = annotations.read_written(written, parse, problems);
    rewrite.map(|rewrite| LocationRewrites {
        rewrites: vec![rewrite],
        origin,
    })
}

pub(super) fn cookies(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<CookieRewrites> {
    let annotations = &part.annotations;
    let own = annotations.get(COOKIES);
    let ours = match own {
        Some(written) => annotations.read_written(written, our_cookies, problems),
        None => Setting::Given((Vec::new(), Vec::new())),
    };
    let Setting::Given((mut domains, mut paths)) = ours else {
        return Setting::Invalid;
    };
    // Ours may say one of the two alone.
    let is_on = |name| part.nginx(name).filter(|written| written.value != "off");
    let domain = is_on("proxy-cookie-domain").filter(|_| domains.is_empty());
    let path = is_on("proxy-cookie-path").filter(|_| paths.is_empty());
    let Some(first) = own.or(domain).or(path) else {
        return Setting::Absent;
    };
    let mut read = |written, of| match written {
        None => Setting::Given(None),
        Some(written) => {
            let parse = |text: &str| {
                let (from, to) = text.trim().split_once(' ').ok_or("expected two texts")?;
                plain(from, to.trim(), of).map(Some)
            };
            annotations.read_written(written, parse, problems)
        }
    };
    match (
        read(domain, Replacement::of_domain),
        read(path, Replacement::of_path),
    ) {
        (Setting::Given(domain), Setting::Given(path)) => {
            domains.extend(domain);
            paths.extend(path);
            Setting::Given(CookieRewrites {
                domains,
                paths,
                origin: annotations.origin(first),
            })
        }
        _ => Setting::Invalid,
    }
}

/// Of domains and of paths.
fn our_cookies(text: &str) -> Result<(Vec<Replacement>, Vec<Replacement>), String> {
    let text: CookiesText = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let domains = all(&text.domains, Replacement::of_domain)?;
    let paths = all(&text.paths, Replacement::of_path)?;
    match domains.is_empty() && paths.is_empty() {
        true => Err("it replaces nothing".to_owned()),
        false => Ok((domains, paths)),
    }
}

/// ingress-nginx's texts, unless they have variables, or are an expression. Source: nginx, ngx_http_proxy_module.
fn plain(from: &str, to: &str, of: Of) -> Result<Replacement, String> {
    if from.starts_with('~') || [from, to].iter().any(|text| text.contains('$')) {
        return Err("neither expressions nor variables are read here".to_owned());
    }
    of(from, to).map_err(|why| why.to_string())
}
