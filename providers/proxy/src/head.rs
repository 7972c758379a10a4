//! The head of a request as hyper parsed it in, the authority it asks or why it is refused out.
//!
//! The path stays as it was sent. `//`, dot segments and encoded slashes are matched and passed on raw, as the model
//! does: who decodes or merges them decides alone what they mean.

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use portcullis_model::host;

use crate::answer::Failure;

/// Whom a request asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As written; empty where HTTP/1.0 or an empty `Host` says nothing.
    pub(crate) authority: HeaderValue,
    host: Host,
    pub(crate) port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    /// The first so many bytes of the authority.
    Within(usize),
    Apart(String),
}

impl Asked {
    /// In the form that rules see.
    pub(crate) fn host(&self) -> &str {
        match &self.host {
            Host::Within(length) => self.authority().get(..*length).unwrap_or_default(),
            Host::Apart(host) => host,
        }
    }

    pub(crate) fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or_default()
    }
}

/// Gives a target that has none a path, such as `http://a?b`: what begins with `?` is no target by itself.
/// Source: RFC 9110 §4.2.3.
pub(crate) fn give_path(parts: &mut Parts) {
    let is_query = parts
        .uri
        .path_and_query()
        .is_some_and(|target| target.as_str().starts_with('?'));
    if is_query {
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        let target = uri
            .path_and_query
            .take()
            .map(|target| format!("/{}", target.as_str()));
        // A valid target stays one behind a slash, and so does a URI with it.
        uri.path_and_query = target.and_then(|target| target.parse().ok());
        parts.uri = Uri::from_parts(uri).unwrap_or_default();
    }
}

/// Reads whom the request asks. A target in absolute form and `:authority` must agree with `Host`: others look at one
/// alone, and not all at the same. Source: RFC 9112 §3.2, RFC 9113 §8.3.1.
pub(crate) fn read(parts: &Parts) -> Result<Asked, Failure> {
    if parts.method == Method::CONNECT {
        return Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "CONNECT is not served",
        ));
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host_field = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host"));
    }
    if parts
        .headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .nth(1)
        .is_some()
    {
        return Err(bad("more than one Content-Length"));
    }
    let text = host_field.map(text).transpose()?;
    let named = parts.uri.authority().map(Authority::as_str);
    if parts.version == Version::HTTP_11 && text.is_none() {
        return Err(bad("no Host"));
    }
    if named.is_some() && parts.version <= Version::HTTP_11 && parts.uri.scheme().is_none() {
        return Err(bad("the target is an authority, which CONNECT alone asks for"));
    }
    if parts
        .uri
        .scheme_str()
        .is_some_and(|s| s != "http" && s != "https")
    {
        return Err(bad("the scheme is neither http nor https"));
    }
    if let (Some(host), Some(named)) = (text, named)
        && !host.eq_ignore_ascii_case(named)
    {
        return Err(bad("Host and the authority of the target differ"));
    }
    let authority = text.or(named).unwrap_or_default();
    let (host, port) = match plain(authority) {
        Some((length, port)) => (Host::Within(length), port),
        None => {
            let (host, port) = careful(authority)?;
            (Host::Apart(host), port)
        }
    };
    let authority = match host_field {
        Some(field) => field.clone(),
        None => HeaderValue::from_str(authority).map_err(|_| bad(NO_HOST))?,
    };
    Ok(Asked {
        authority,
        host,
        port,
    })
}

/// How long the host is, and the port, of what nearly every client sends: a name in lower case, or an address of IPv4.
fn plain(authority: &str) -> Option<(usize, Option<u16>)> {
    let is_plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let end = authority.bytes().position(|b| !is_plain(b));
    let (host, port) = match end {
        None => (authority, None),
        Some(end) => {
            let (host, port) = authority.split_at(end);
            let digits = port.strip_prefix(':')?;
            // `parse` would take a sign.
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (host, Some(digits.parse().ok()?))
        }
    };
    let length = host.strip_suffix('.').unwrap_or(host).len();
    (length > 0).then_some((length, port))
}

/// The same of whatever an authority may be.
fn careful(authority: &str) -> Result<(String, Option<u16>), Failure> {
    if authority.is_empty() {
        return Ok((String::new(), None));
    }
    let parsed: Authority = authority.parse().map_err(|_| bad(NO_HOST))?;
    if authority.contains('@') {
        return Err(bad("Host holds user information"));
    }
    let port = authority.get(parsed.host().len()..).unwrap_or_default();
    let digits = port.strip_prefix(':').unwrap_or(port);
    // `parse` would take a sign.
    let is_number = digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    if !digits.is_empty() && (digits.len() == port.len() || !is_number) {
        return Err(bad("Host holds a port that is none"));
    }
    let host = host::normalize(authority);
    if host.is_empty() {
        return Err(bad(NO_HOST));
    }
    Ok((host, parsed.port_u16()))
}

const NO_HOST: &str = "Host is not a host with an optional port";

fn text(value: &HeaderValue) -> Result<&str, Failure> {
    value.to_str().map_err(|_| bad(NO_HOST))
}

fn bad(why: &'static str) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn a_request_asks_one_authority() {
        let v11 = Version::HTTP_11;
        for (version, uri, hosts, want) in [
            (
                v11,
                "/",
                &["Shop.example.com:8080"][..],
                Ok(("shop.example.com", Some(8080))),
            ),
            (v11, "/", &[""], Ok(("", None))),
            (v11, "/", &["[::1]:80"], Ok(("[::1]", Some(80)))),
            (v11, "/", &[], Err(400)),
            (v11, "/", &["a", "a"], Err(400)),
            (v11, "/", &["a b"], Err(400)),
            (v11, "/", &["a/b"], Err(400)),
            (v11, "/", &["user@a"], Err(400)),
            (v11, "/", &["a:b"], Err(400)),
            (v11, "/", &["."], Err(400)),
            (v11, "/", &[":80"], Err(400)),
            (v11, "/", &["a:+80"], Err(400)),
            (v11, "/", &["A:+80"], Err(400)),
            (v11, "/", &["a:99999"], Err(400)),
            (v11, "/", &["a:"], Ok(("a", None))),
            (v11, "http://b.example.com/x", &["a.example.com"], Err(400)),
            (v11, "http://b.example.com:81/x", &["b.example.com"], Err(400)),
            (v11, "http://b.example.com/x", &[""], Err(400)),
            (
                v11,
                "http://B.example.com/x",
                &["b.example.com"],
                Ok(("b.example.com", None)),
            ),
            (
                Version::HTTP_10,
                "http://b.example.com/x",
                &[],
                Ok(("b.example.com", None)),
            ),
            (v11, "ftp://b.example.com/x", &["b.example.com"], Err(400)),
            // RFC 9112 §3.2.3
            (v11, "b.example.com", &["b.example.com"], Err(400)),
            (Version::HTTP_10, "/", &[], Ok(("", None))),
            (
                Version::HTTP_2,
                "https://a.example.com/",
                &[],
                Ok(("a.example.com", None)),
            ),
            (
                Version::HTTP_2,
                "https://a.example.com/",
                &["A.example.com"],
                Ok(("a.example.com", None)),
            ),
            (
                Version::HTTP_2,
                "https://a.example.com/",
                &["b.example.com"],
                Err(400),
            ),
        ] {
            let mut request = Request::builder().version(version).uri(uri);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            let got = read(&request.body(()).unwrap().into_parts().0);
            let got = got
                .as_ref()
                .map(|a| (a.host(), a.port))
                .map_err(|f| f.status.as_u16());
            assert_eq!(got, want, "{version:?} {uri} {hosts:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_plain_host_is_read_as_any_other(
            authority in "[a-z0-9.:-]{0,12}|[a-zA-Z0-9.:@%+_-]{0,8}|[a-z]{1,3}:[0-9+-]{0,7}|[0-9.]{1,9}",
        ) {
            if let Some((length, port)) = plain(&authority) {
                let careful = careful(&authority).ok();
                proptest::prop_assert_eq!(careful, Some((authority[..length].to_owned(), port)));
            }
        }
    }

    #[test]
    fn a_target_has_a_path() {
        for (uri, want) in [
            ("http://a?b=c", "http://a/?b=c"),
            ("http://a:80?", "http://a:80/?"),
            ("http://a", "http://a/"),
            ("http://a/?b", "http://a/?b"),
            ("/?b", "/?b"),
            ("*", "*"),
            ("a:80", "a:80"),
        ] {
            let mut parts = Request::builder().uri(uri).body(()).unwrap().into_parts().0;
            give_path(&mut parts);
            assert_eq!(parts.uri.to_string(), want, "{uri}");
        }
    }

    #[test]
    fn a_request_has_one_length() {
        let request = Request::get("https://a.example.com/").version(Version::HTTP_2);
        let request = request
            .header("content-length", "1")
            .header("content-length", "1")
            .body(());
        assert_eq!(read(&request.unwrap().into_parts().0).unwrap_err().status, 400);
    }

    #[test]
    fn connect_is_refused() {
        let request = Request::connect("a.example.com:443")
            .header("host", "a.example.com:443")
            .body(())
            .unwrap();
        assert_eq!(read(&request.into_parts().0).unwrap_err().status, 405);
    }
}
