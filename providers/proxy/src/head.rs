//! The head of a request as hyper parsed it in, the authority it asks or why it is refused out.
//!
//! The path stays as it was sent. `//`, dot segments and encoded slashes are matched and passed on raw, as the model
//! does: who decodes or merges them decides alone what they mean.

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode, Version, header};
use portcullis_model::host;

use crate::answer::Failure;

/// Whom a request asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As written; empty where HTTP/1.0 or an empty `Host` says nothing.
    pub(crate) authority: String,
    /// In the form that rules see.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// Reads whom the request asks. A target in absolute form goes before `Host`, and `:authority` must agree with it.
/// Source: RFC 9112 §3.2, RFC 9113 §8.3.1.
pub(crate) fn read(parts: &Parts) -> Result<Asked, Failure> {
    if parts.method == Method::CONNECT {
        return Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "CONNECT is not served",
        ));
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
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
    let host = host.map(text).transpose()?;
    let named = parts.uri.authority().map(Authority::as_str);
    if parts.version == Version::HTTP_11 && host.is_none() {
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
    if parts.version == Version::HTTP_2
        && let (Some(host), Some(named)) = (host, named)
        && !host.eq_ignore_ascii_case(named)
    {
        return Err(bad("Host and :authority differ"));
    }
    let authority = named.or(host).unwrap_or_default();
    if authority.is_empty() {
        return Ok(Asked {
            authority: String::new(),
            host: String::new(),
            port: None,
        });
    }
    let parsed: Authority = authority
        .parse()
        .map_err(|_| bad("Host is not a host with an optional port"))?;
    if authority.contains('@') {
        return Err(bad("Host holds user information"));
    }
    let port = authority.get(parsed.host().len()..).unwrap_or_default();
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !digits.is_empty() && (digits.len() == port.len() || digits.parse::<u16>().is_err()) {
        return Err(bad("Host holds a port that is none"));
    }
    Ok(Asked {
        host: host::normalize(authority),
        port: parsed.port_u16(),
        authority: authority.to_owned(),
    })
}

fn text(value: &HeaderValue) -> Result<&str, Failure> {
    value
        .to_str()
        .map_err(|_| bad("Host is not a host with an optional port"))
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
            (
                v11,
                "http://b.example.com/x",
                &["a.example.com"],
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
                .map(|a| (a.host.as_str(), a.port))
                .map_err(|f| f.status.as_u16());
            assert_eq!(got, want, "{version:?} {uri} {hosts:?}");
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
