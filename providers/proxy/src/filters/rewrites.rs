//! The fields of a backend's answer in, the same with redirects and cookies that lead where clients are out.

use http::HeaderMap;
use http::header::{Entry, HeaderName, HeaderValue, LOCATION, REFRESH, SET_COOKIE};
use portcullis_model::{CookieRewrites, LocationRewrites, Replacement};

/// Rewrites `Location` and `Refresh`.
pub(super) fn locations(headers: &mut HeaderMap, asked: &LocationRewrites) {
    each(headers, LOCATION, |url| started(url, &asked.rewrites));
    each(headers, REFRESH, |text| {
        // `5; url=http://…`
        let at = text
            .windows(4)
            .position(|part| part.eq_ignore_ascii_case(b"url="))?
            + 4;
        let rewritten = started(&text[at..], &asked.rewrites)?;
        Some([&text[..at], &*rewritten].concat())
    });
}

/// Rewrites `Domain` and `Path` of cookies.
pub(super) fn cookies(headers: &mut HeaderMap, asked: &CookieRewrites) {
    each(headers, SET_COOKIE, |cookie| {
        let mut changed = false;
        let mut out = Vec::with_capacity(cookie.len());
        for (place, part) in cookie.split(|b| *b == b';').enumerate() {
            let rewritten = match place {
                0 => None,
                _ => attribute(part, asked),
            };
            changed |= rewritten.is_some();
            let part = match &rewritten {
                None => part,
                // It has no such attribute any more.
                Some(part) if part.is_empty() => continue,
                Some(part) => part,
            };
            if place > 0 {
                out.push(b';');
            }
            out.extend_from_slice(part);
        }
        changed.then_some(out)
    });
}

/// The attribute as it is to be; empty for none.
fn attribute(part: &[u8], asked: &CookieRewrites) -> Option<Vec<u8>> {
    let equals = part.iter().position(|b| *b == b'=')?;
    let (name, value) = (part[..equals].trim_ascii(), part[equals + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"domain") {
        let bare = value.strip_prefix(b".").unwrap_or(value);
        let same = |known: &&Replacement| bare.eq_ignore_ascii_case(known.from().as_bytes());
        let to = asked.domains.iter().find(same)?.to();
        return Some(match to {
            "" => Vec::new(),
            domain => [&part[..=equals], domain.as_bytes()].concat(),
        });
    }
    if name.eq_ignore_ascii_case(b"path") {
        let path = started(value, &asked.paths)?;
        return Some([&part[..=equals], &*path].concat());
    }
    None
}

/// With the first text that it starts with replaced.
fn started(text: &[u8], asked: &[Replacement]) -> Option<Vec<u8>> {
    asked.iter().find_map(|known| {
        let rest = text.strip_prefix(known.from().as_bytes())?;
        Some([known.to().as_bytes(), rest].concat())
    })
}

fn each(headers: &mut HeaderMap, name: HeaderName, rewrite: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    if let Entry::Occupied(mut values) = headers.entry(name) {
        for value in values.iter_mut() {
            // What stands in a valid value's place was parsed as valid, too.
            let rewritten = rewrite(value.as_bytes()).map(|bytes| HeaderValue::from_bytes(&bytes));
            if let Some(Ok(rewritten)) = rewritten {
                *value = rewritten;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::{ObjectName, Origin};

    use super::*;

    #[test]
    fn redirects_and_cookies_lead_where_clients_are() {
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        let url = |from, to| Replacement::of_url(from, to).unwrap();
        let locations_asked = LocationRewrites {
            rewrites: vec![url("http://inner/", "https://a.com/"), url("/", "/shop/")],
            origin: origin.clone(),
        };
        let cookies_asked = CookieRewrites {
            domains: vec![
                Replacement::of_domain("inner", "a.com").unwrap(),
                Replacement::of_domain("gone", "").unwrap(),
            ],
            paths: vec![Replacement::of_path("/one/", "/").unwrap()],
            origin,
        };
        for (name, given, want) in [
            ("location", "http://inner/x?y", "https://a.com/x?y"),
            ("location", "/x", "/shop/x"),
            ("location", "http://innermost/", "http://innermost/"),
            ("refresh", "5; URL=http://inner/x", "5; URL=https://a.com/x"),
            ("refresh", "5", "5"),
            (
                "set-cookie",
                "a=b; Domain=inner; Secure",
                "a=b; Domain=a.com; Secure",
            ),
            ("set-cookie", "a=b; domain=.INNER", "a=b; domain=a.com"),
            ("set-cookie", "a=b; Domain=gone; Path=/one/two", "a=b; Path=/two"),
            ("set-cookie", "a=b;Path=/one", "a=b;Path=/one"),
            ("set-cookie", "Domain=inner", "Domain=inner"),
            ("set-cookie", "a=b; HttpOnly", "a=b; HttpOnly"),
            ("x-other", "http://inner/", "http://inner/"),
        ] {
            let name = HeaderName::from_static(name);
            let mut headers = HeaderMap::new();
            headers.append(&name, HeaderValue::from_static("c=d; Path=/one/"));
            headers.append(&name, HeaderValue::from_static(given));
            locations(&mut headers, &locations_asked);
            cookies(&mut headers, &cookies_asked);
            let got: Vec<_> = headers.get_all(&name).iter().collect();
            assert_eq!(got[1], want, "{name}: {given}");
            let first = if name == SET_COOKIE {
                "c=d; Path=/"
            } else {
                "c=d; Path=/one/"
            };
            assert_eq!(got[0], first, "{name}: {given}");
        }
    }
}
