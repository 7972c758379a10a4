//! ingress-nginx's redirects and `upstream-vhost` in, the redirect or the rewrite that they mean out.

use portcullis_model::redirect::RedirectScheme;
use portcullis_model::{Pattern, Port, Problem, Redirect, RedirectStatus, Rewrite, RewritePart, Template};

use crate::translate::annotations::{Setting, Written, value};
use crate::translate::member::Part;

/// Where all paths of an Ingress lead. As there, a temporary one counts before a permanent one.
pub(in crate::translate) fn redirect(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<Redirect> {
    let said = |name| {
        part.nginx(name)
            .filter(|written| !written.value.trim().is_empty())
    };
    let (written, code, usual) = match (said("temporal-redirect"), said("permanent-redirect")) {
        (Some(written), _) => (written, said("temporal-redirect-code"), RedirectStatus::Found),
        (None, Some(written)) => {
            let code = said("permanent-redirect-code");
            (written, code, RedirectStatus::MovedPermanently)
        }
        (None, None) => return Setting::Absent,
    };
    let status = match code {
        Some(code) => part
            .annotations
            .read_written(code, |text| status(text, usual), problems),
        None => Setting::Given(usual),
    };
    let Setting::Given(status) = status else {
        return Setting::Invalid;
    };
    part.annotations
        .read_written(written, |text| location(text, status), problems)
}

/// As there, what is out of range is the usual one.
fn status(text: &str, usual: RedirectStatus) -> Result<RedirectStatus, String> {
    match value::integer(text, i64::MIN, i64::MAX)? {
        301 => Ok(RedirectStatus::MovedPermanently),
        302 => Ok(RedirectStatus::Found),
        303 => Ok(RedirectStatus::SeeOther),
        307 => Ok(RedirectStatus::TemporaryRedirect),
        308 => Ok(RedirectStatus::PermanentRedirect),
        300 | 304..=306 => Err("expected 301, 302, 303, 307 or 308".to_owned()),
        _ => Ok(usual),
    }
}

/// A URL, at whose end `$request_uri` may stand for the path and query of the request.
fn location(text: &str, status: RedirectStatus) -> Result<Redirect, String> {
    let text = text.trim();
    let schemes = [
        ("https://", Some(RedirectScheme::Https), Some(Port::HTTPS)),
        ("http://", Some(RedirectScheme::Http), Some(Port::HTTP)),
        ("$scheme://", None, None),
    ];
    let read = schemes.into_iter().find_map(|(start, scheme, port)| {
        let rest = text.strip_prefix(start)?;
        Some((rest, scheme, port))
    });
    let (rest, scheme, usual) = read.ok_or("expected a URL of http or https")?;
    let (rest, keeps) = match rest.strip_suffix("$request_uri") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    if rest.contains('$') {
        return Err("of variables $request_uri at the end alone is read".to_owned());
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => {
            let number = value::integer(port, 1, 65_535)?;
            (host, Some(Port::new(number).map_err(|error| error.to_string())?))
        }
        None => (authority, usual),
    };
    if host.is_empty() || host.contains(['@', '[', '{']) {
        return Err("it names no host".to_owned());
    }
    let template = |text: &str| Template::parse(text).map_err(|why| why.to_string()).map(Some);
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (path, query) = match keeps {
        true if query.is_empty() && !path.contains('#') => (template(&format!("{path}/#{{path}}"))?, None),
        true => return Err("nothing but a path stands before $request_uri".to_owned()),
        false if path.is_empty() => (template("/")?, template(query)?),
        false if path.starts_with('/') => (template(path)?, template(query)?),
        false => return Err("its path starts with no /".to_owned()),
    };
    Ok(Redirect {
        status,
        scheme,
        host: template(host)?,
        port,
        path,
        query,
    })
}

/// Where `/` alone leads, and which annotation says so. As there, a value that cannot be read leaves it as it is.
pub(in crate::translate) fn root<'a>(
    part: &Part<'a>,
    problems: &mut Vec<Problem>,
) -> Option<(Redirect, Written<'a>)> {
    let written = part.nginx_set("app-root")?;
    let parse = |text: &str| {
        if !text.starts_with('/') || text.starts_with("//") || text.contains('$') {
            return Err("expected a path, without variables".to_owned());
        }
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        if path == "/" {
            return Err("it leads to itself".to_owned());
        }
        let template = |text: &str| Template::parse(text).map_err(|why| why.to_string()).map(Some);
        Ok(Redirect {
            status: RedirectStatus::Found,
            scheme: None,
            host: None,
            port: None,
            path: template(path)?,
            query: template(query)?,
        })
    };
    let redirect = part.annotations.read_written(written, parse, problems).given()?;
    Some((redirect, written))
}

/// The host that backends see.
pub(in crate::translate) fn host(part: &Part<'_>, problems: &mut Vec<Problem>) -> Setting<Rewrite> {
    let Some(written) = part.nginx_set("upstream-vhost") else {
        return Setting::Absent;
    };
    let parse = |text: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if !text.bytes().all(known) {
            return Err("expected a host, without variables".to_owned());
        }
        Ok(Rewrite {
            part: RewritePart::Host,
            pattern: Pattern::parse(".+").map_err(|why| why.to_string())?,
            replacement: text.to_owned(),
        })
    };
    part.annotations.read_written(written, parse, problems)
}

#[cfg(test)]
mod tests {
    use portcullis_model::Request;

    use super::*;

    #[test]
    fn a_url_is_redirected_to_as_ingress_nginx_does() {
        for (text, want) in [
            ("https://new.com", Some("https://new.com/")),
            ("https://new.com/a?b=c", Some("https://new.com/a?b=c")),
            ("http://new.com:8080/a", Some("http://new.com:8080/a")),
            ("https://new.com:443", Some("https://new.com/")),
            ("https://new.com/a#b", Some("https://new.com/a#b")),
            ("https://new.com$request_uri", Some("https://new.com/x?y=1")),
            (
                "https://new.com/old$request_uri",
                Some("https://new.com/old/x?y=1"),
            ),
            ("$scheme://new.com$request_uri", Some("http://new.com:8000/x?y=1")),
            ("https://$host$request_uri", None),
            ("https://new.com$uri", None),
            ("https://new.com/?to=$request_uri", None),
            ("https:///a", None),
            ("https://a@new.com", None),
            ("https://new.com:99999", None),
            ("//new.com", None),
            ("/a", None),
        ] {
            let request = Request::get(Port::new(8000).unwrap(), "a.com", "/x?y=1");
            let got = location(text, RedirectStatus::Found).ok();
            let got = got.and_then(|redirect| redirect.location(&request, false));
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_status_out_of_range_is_the_usual_one() {
        for (text, want) in [
            ("308", Some(308)),
            ("307", Some(307)),
            ("200", Some(301)),
            ("404", Some(301)),
            ("304", None),
            ("x", None),
        ] {
            let got = status(text, RedirectStatus::MovedPermanently).ok();
            assert_eq!(got.map(RedirectStatus::code), want, "{text}");
        }
    }
}
