//! Fields of a message as it came in, fields as they are passed on out.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Version};
use portcullis_model::Port;

use crate::present::{Kind, Present};
use crate::settings::TrustedField;
use crate::trace;

/// Of this hop alone, or what a backend behind CGI takes for fields that frame the message. Those that the crate `http` has
/// no number for stand last.
static HOP_BY_HOP: [(Kind, HeaderName); 8] = [
    (Kind::Connection, CONNECTION),
    (Kind::Te, TE),
    (Kind::Upgrade, UPGRADE),
    (Kind::ProxyConnection, HeaderName::from_static("proxy-connection")),
    (Kind::KeepAlive, HeaderName::from_static("keep-alive")),
    (Kind::Http2Settings, HeaderName::from_static("http2-settings")),
    (Kind::FramingByCgi, HeaderName::from_static("content_length")),
    (Kind::FramingByCgi, HeaderName::from_static("transfer_encoding")),
];

/// What a client must not say about itself: proxies before the backend do, or CGI makes a variable of it (`Proxy`:
/// CVE-2016-5385). A trailing `-` stands for all names that start so.
const NOT_FROM_CLIENTS: [&str; 6] = [
    "x-forwarded-",
    "x-real-ip",
    IDENTITY,
    CERTIFICATE,
    CERTIFICATE_BY_NGINX,
    "proxy",
];

/// What an ALB says of a user who is logged in.
const IDENTITY: &str = "x-amzn-oidc-";

/// What an ALB says of a client's certificate.
const CERTIFICATE: &str = "x-amzn-mtls-";

/// What ingress-nginx says of it. Source: its `nginx.tmpl`, `CertificateAuth`.
const CERTIFICATE_BY_NGINX: &str = "ssl-client-";

/// What load balancers say in `X-Forwarded-…` of the way that a client came. Of the user they say more there:
/// `-Client-Cert` (Envoy), `-User`, `-Email`, `-Groups` (oauth2-proxy).
const OF_THE_WAY: [&str; 8] = [
    "for", "host", "port", "prefix", "proto", "scheme", "server", "ssl",
];

/// What the hop-by-hop fields of a request asked for.
#[derive(Debug, Default)]
pub(crate) struct Hop {
    /// The protocol to change to, where the client asks for one that may be tunnelled.
    pub(crate) upgrade: Option<HeaderValue>,
    /// Whether the client takes trailers.
    pub(crate) trailers: bool,
}

/// Removes what concerns the client's connection alone, and tells what it asked for.
pub(crate) fn take_hop(headers: &mut HeaderMap, present: Present) -> Hop {
    let mut hop = Hop::default();
    if present.has(Kind::Upgrade) {
        let asks = tokens(headers, &CONNECTION).any(|t| t.eq_ignore_ascii_case(b"upgrade"));
        // An upgrade to clear-text HTTP/2 would carry requests past the rules.
        let h2c = tokens(headers, &UPGRADE).any(|t| t.to_ascii_lowercase().starts_with(b"h2"));
        hop.upgrade = headers.get(UPGRADE).filter(|_| asks && !h2c).cloned();
    }
    if present.has(Kind::Te) {
        hop.trailers = tokens(headers, &TE).any(|t| t.eq_ignore_ascii_case(b"trailers"));
    }
    strip(headers, present);
    if present.has(Kind::TransferEncoding) {
        headers.remove(TRANSFER_ENCODING);
    }
    if present.has(Kind::Expect) {
        // The proxy answers `100 Continue` itself, as soon as the backend's connection takes the body.
        headers.remove(EXPECT);
    }
    hop
}

/// Whether an answer changes to no protocol but those that were asked for. Source: RFC 9110 §7.8.
pub(crate) fn names_only(answer: &HeaderMap, asked: &HeaderValue) -> bool {
    let mut named = tokens(answer, &UPGRADE);
    named.all(|named| {
        let mut asked = asked.as_bytes().split(|b| *b == b',');
        asked.any(|asked| asked.trim_ascii().eq_ignore_ascii_case(named))
    })
}

/// Removes what concerns the backend's connection alone.
pub(crate) fn strip_response(headers: &mut HeaderMap) {
    let present = Present::of(headers);
    strip(headers, present);
    // The body is framed anew; beside a transfer coding, a length is not the body's. Source: RFC 9112 §6.3.
    if present.has(Kind::TransferEncoding) {
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
    }
}

/// Removes what is of the hop alone: mostly one field or none.
fn strip(headers: &mut HeaderMap, present: Present) {
    if present.has(Kind::Connection) {
        let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
            // Mostly there is nothing else, and these name no field but one that is removed anyway.
            .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive") && *token != b"close")
            .filter_map(|token| HeaderName::from_bytes(token).ok())
            // What frames, addresses and names the message is not the client's to take away.
            .filter(|name| {
                !matches!(*name, HOST | CONTENT_LENGTH | TRANSFER_ENCODING) && !trace::is_name(name)
            })
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    if present.is_hop() {
        for (_, name) in HOP_BY_HOP.iter().filter(|(kind, _)| present.has(*kind)) {
            headers.remove(name);
        }
    }
}

/// The members of a list; bytes, so that one that is no text hides no other.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    let members = values.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    members.map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// What the backend is told about the client.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    pub(crate) address: IpAddr,
    pub(crate) is_tls: bool,
    /// The port it reached.
    pub(crate) port: Port,
    /// As it wrote it.
    pub(crate) host: &'a HeaderValue,
    /// The trusted peer through which it came.
    pub(crate) between: Option<Between>,
}

/// A trusted peer, whose own address follows the client's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    pub(crate) address: IpAddr,
    /// What it says of the client in.
    pub(crate) field: TrustedField,
    /// Whether it also says who users are.
    pub(crate) identifies: bool,
}

impl Client<'_> {
    fn scheme(&self) -> HeaderValue {
        HeaderValue::from_static(scheme(self.is_tls))
    }
}

pub(crate) fn scheme(is_tls: bool) -> &'static str {
    if is_tls { "https" } else { "http" }
}

/// Replaces whatever the client says about itself by what the proxy knows. What a trusted peer says in `X-Forwarded-…` is
/// kept, and its address is added behind the client's. Source: design of the ELBv2 `X-Forwarded-*` fields.
pub(crate) fn set_forwarded(headers: &mut HeaderMap, client: &Client<'_>) {
    match client.between {
        Some(between) if between.field == TrustedField::XForwarded => {
            return add_forwarded(headers, client, between);
        }
        Some(Between { identifies: true, .. }) => remove_where(headers, |name| {
            let text = name.as_str();
            *name == FORWARDED || is_claim(text) && (text.contains('_') || !is_of_user(text))
        }),
        Some(_) | None => clear_claims(headers),
    }
    enter_forwarded(headers, client);
}

/// Tells what the proxy knows of a client, where nothing else says it.
pub(crate) fn enter_forwarded(headers: &mut HeaderMap, client: &Client<'_>) {
    headers.insert(&FORWARDED_FOR, text(client.address));
    headers.insert(&FORWARDED_PROTO, client.scheme());
    headers.insert(&FORWARDED_PORT, client.port.get().into());
    if !client.host.is_empty() {
        headers.insert(&FORWARDED_HOST, client.host.clone());
    }
}

/// Takes away what a client must not say about itself.
pub(crate) fn clear_claims(headers: &mut HeaderMap) {
    remove_where(headers, |name| *name == FORWARDED || is_claim(name.as_str()));
}

pub(crate) fn remove_where(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let going: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in going {
        headers.remove(name);
    }
}

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// An address as a value.
fn text(address: IpAddr) -> HeaderValue {
    // Written for every request, so without the machinery of `format!` for nearly all of them.
    let IpAddr::V4(address) = address else {
        return HeaderValue::try_from(address.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""));
    };
    let (text, length) = digits(address);
    HeaderValue::from_bytes(&text[..length]).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// An address as text of so many bytes.
pub(crate) fn digits(address: Ipv4Addr) -> ([u8; 15], usize) {
    let (mut text, mut end) = ([b'.'; 15], 0);
    for (place, byte) in address.octets().into_iter().enumerate() {
        end += usize::from(place > 0);
        for (digit, from) in [(byte / 100, 100), (byte / 10 % 10, 10), (byte % 10, 0)] {
            if byte >= from {
                text[end] = b'0' + digit;
                end += 1;
            }
        }
    }
    (text, end)
}

/// Writes a number without the machinery of `format!`.
pub(crate) fn write_number(to: &mut BytesMut, mut number: u64) {
    let (mut text, mut start) = ([b'0'; 20], 20);
    loop {
        start -= 1;
        text[start] = DIGITS[usize::try_from(number % 10).unwrap_or(0)];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    to.extend_from_slice(&text[start..]);
}

const DIGITS: &[u8; 10] = b"0123456789";

/// Adds what the trusted peer left out.
fn add_forwarded(headers: &mut HeaderMap, client: &Client<'_>, between: Between) {
    let said = headers.get_all(&FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
    let peer = text(between.address);
    let all: Vec<&[u8]> = said.chain([peer.as_bytes()]).collect();
    if let Ok(all) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(&FORWARDED_FOR, all);
    }
    let mut add = |name, value| {
        headers.entry(name).or_insert(value);
    };
    add(&FORWARDED_PROTO, client.scheme());
    add(&FORWARDED_PORT, client.port.get().into());
    if !client.host.is_empty() {
        add(&FORWARDED_HOST, client.host.clone());
    }
    // Who writes `X-Forwarded-For` passes on as the client wrote it what it knows nothing of: `X_Forwarded_For`, which
    // CGI takes for the same, and, unless it identifies users itself, who the user is.
    remove_where(headers, |name| {
        let name = name.as_str();
        is_claim(name) && (name.contains('_') || !between.identifies && is_of_user(name))
    });
    // Who writes `X-Forwarded-…` may pass these on as the client wrote them. Of `Proxy` CGI would make a variable
    // (CVE-2016-5385).
    for name in ["forwarded", "x-real-ip", "proxy"] {
        headers.remove(name);
    }
}

/// Tells of the client's certificate what the connection has shown, and nothing that others say of it.
pub(crate) fn set_certificate(headers: &mut HeaderMap, fields: &[(HeaderName, HeaderValue)]) {
    set_families(headers, &[CERTIFICATE, CERTIFICATE_BY_NGINX], fields);
}

/// Tells of the user what a login has shown, and nothing that others say of it.
pub(crate) fn set_identity(headers: &mut HeaderMap, fields: &[(HeaderName, HeaderValue)]) {
    set_families(headers, &[IDENTITY], fields);
}

fn set_families(headers: &mut HeaderMap, families: &[&str], fields: &[(HeaderName, HeaderValue)]) {
    remove_where(headers, |name| {
        families.iter().any(|family| is_of_family(name.as_str(), family))
    });
    for (name, value) in fields {
        headers.insert(name, value.clone());
    }
}

/// Whether a claim says who the user is: all that does not say how the client came here.
fn is_of_user(claim: &str) -> bool {
    match claim.strip_prefix("x-forwarded-") {
        Some(what) => !OF_THE_WAY.contains(&what),
        None => [IDENTITY, CERTIFICATE, CERTIFICATE_BY_NGINX]
            .iter()
            .any(|family| claim.starts_with(family)),
    }
}

fn is_claim(name: &str) -> bool {
    // Mostly this is all that is looked at.
    (name.starts_with(['x', 'p']) || name.starts_with("ssl"))
        && NOT_FROM_CLIENTS.iter().any(|claim| is_of_family(name, claim))
}

fn is_of_family(name: &str, claim: &str) -> bool {
    let fits = if claim.ends_with('-') {
        name.len() > claim.len()
    } else {
        name.len() == claim.len()
    };
    fits && are_one(&name[..claim.len()], claim)
}

/// Backends behind CGI cannot tell `_` from `-` in a name, so neither do we.
fn are_one(name: &str, other: &str) -> bool {
    let form = |byte| if byte == b'_' { b'-' } else { byte };
    name.len() == other.len() && name.bytes().map(form).eq(other.bytes().map(form))
}

/// Takes away a field in all forms of its name.
pub(crate) fn forget(headers: &mut HeaderMap, name: &str) {
    remove_where(headers, |other| are_one(other.as_str(), name));
}

/// One `Cookie` field from several: HTTP/2 and 3 may split it, HTTP/1.1 may not. Source: RFC 9113 §8.2.3, RFC 9114 §4.2.1.
pub(crate) fn join_cookies(headers: &mut HeaderMap, from: Version) {
    if from < Version::HTTP_2 || headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let parts: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&parts.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = values
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(n, v)| {
                (
                    HeaderName::from_bytes(n.as_bytes()).unwrap(),
                    HeaderValue::from_str(v).unwrap(),
                )
            })
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
        let all = headers.get_all(name).iter();
        all.map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn fields_of_the_hop_are_not_passed_on() {
        // RFC 9110 §7.6.1
        for (given, want) in [
            (
                &[
                    ("connection", "close, X-Mine"),
                    ("x-mine", "1"),
                    ("accept", "*/*"),
                ][..],
                &["accept"][..],
            ),
            (&[("connection", "keep-alive"), ("keep-alive", "5")], &[]),
            (
                &[("connection", "x-request-id"), ("x-request-id", "1")],
                &["x-request-id"],
            ),
            (
                &[("connection", "traceparent"), ("traceparent", "1")],
                &["traceparent"],
            ),
            (&[("proxy-connection", "close"), ("te", "gzip")], &[]),
            (&[("connection", "upgrade"), ("upgrade", "websocket")], &[]),
            (
                &[("transfer-encoding", "chunked"), ("trailer", "x-sum")],
                &["trailer"],
            ),
            (
                &[("connection", "content-length, host"), ("content-length", "1")],
                &["content-length"],
            ),
            (&[("connection", "é, ,x-a"), ("x-a", "1")], &[]),
        ] {
            let mut headers: HeaderMap = given
                .iter()
                .filter_map(|(n, v)| {
                    Some((
                        HeaderName::from_bytes(n.as_bytes()).ok()?,
                        HeaderValue::from_bytes(v.as_bytes()).ok()?,
                    ))
                })
                .collect();
            let present = Present::of(&headers);
            take_hop(&mut headers, present);
            assert_eq!(names(&headers), want, "{given:?}");
        }
    }

    #[test]
    fn only_an_upgrade_that_is_asked_for_and_may_be_tunnelled_counts() {
        for (connection, upgrade, want) in [
            ("Upgrade", "websocket", true),
            ("keep-alive, upgrade", "websocket", true),
            ("keep-alive", "websocket", false),
            ("Upgrade, HTTP2-Settings", "h2c", false),
            ("Upgrade", "websocket, h2c", false),
        ] {
            let mut headers = fields(&[("connection", connection), ("upgrade", upgrade)]);
            let present = Present::of(&headers);
            assert_eq!(
                take_hop(&mut headers, present).upgrade.is_some(),
                want,
                "{connection} {upgrade}"
            );
        }
    }

    #[test]
    fn what_a_client_claims_about_itself_is_overwritten() {
        let mut headers = fields(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x_forwarded_for", "10.0.0.3"),
            ("x-forwarded-client-cert", "Hash=1"),
            ("x-amzn-oidc-identity", "root"),
            ("ssl-client-verify", "SUCCESS"),
            ("ssl_client_subject-dn", "CN=root"),
            ("ssl-client-", "kept"),
            ("x-real-ip", "10.0.0.4"),
            ("forwarded", "for=10.0.0.5"),
            ("proxy", "http://evil"),
            ("proxy-authorization", "Basic x"),
            ("x-forwarder", "kept"),
        ]);
        let client = Client {
            address: "192.0.2.7".parse().unwrap(),
            is_tls: true,
            port: Port::HTTPS,
            host: &HeaderValue::from_static("Shop.example.com:8443"),
            between: None,
        };
        set_forwarded(&mut headers, &client);
        for (name, want) in [
            ("x-forwarded-for", Some("192.0.2.7")),
            ("x-forwarded-proto", Some("https")),
            ("x-forwarded-port", Some("443")),
            ("x-forwarded-host", Some("Shop.example.com:8443")),
            ("x_forwarded_for", None),
            ("x-forwarded-client-cert", None),
            ("x-amzn-oidc-identity", None),
            ("ssl-client-verify", None),
            ("ssl_client_subject-dn", None),
            ("ssl-client-", Some("kept")),
            ("x-real-ip", None),
            ("forwarded", None),
            ("proxy", None),
            ("proxy-authorization", Some("Basic x")),
            ("x-forwarder", Some("kept")),
        ] {
            assert_eq!(values(&headers, name), Vec::from_iter(want), "{name}");
        }
    }

    #[test]
    fn what_a_trusted_peer_says_about_the_client_is_kept() {
        for identifies in [false, true] {
            let mut headers = fields(&[
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-for", "10.0.0.2"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-prefix", "/shop"),
                ("x-forwarded-user", "ann"),
                ("x-forwarded-client-cert", "Hash=1"),
                ("x-amzn-oidc-identity", "ann"),
                ("x-amzn-mtls-clientcert-subject", "CN=ann"),
                ("ssl-client-verify", "SUCCESS"),
                ("ssl_client_subject_dn", "CN=root"),
                ("forwarded", "for=198.51.100.1"),
                ("x-real-ip", "198.51.100.1"),
                ("x_forwarded_for", "203.0.113.9"),
                ("x-amzn-oidc_identity", "root"),
                ("x_mine", "1"),
                ("proxy", "http://evil"),
            ]);
            let client = Client {
                address: "198.51.100.1".parse().unwrap(),
                is_tls: true,
                port: Port::HTTP,
                host: &HeaderValue::from_static("shop.example.com"),
                between: Some(Between {
                    address: "10.0.0.1".parse().unwrap(),
                    field: TrustedField::XForwarded,
                    identifies,
                }),
            };
            set_forwarded(&mut headers, &client);
            let of_users = |value| Some(value).filter(|_| identifies);
            for (name, want) in [
                ("x-forwarded-for", Some("198.51.100.1, 10.0.0.2, 10.0.0.1")),
                ("x-forwarded-proto", Some("https")),
                ("x-forwarded-port", Some("80")),
                ("x-forwarded-host", Some("shop.example.com")),
                ("x-forwarded-prefix", Some("/shop")),
                ("x-forwarded-user", of_users("ann")),
                ("x-forwarded-client-cert", of_users("Hash=1")),
                ("x-amzn-oidc-identity", of_users("ann")),
                ("x-amzn-mtls-clientcert-subject", of_users("CN=ann")),
                ("ssl-client-verify", of_users("SUCCESS")),
                ("ssl_client_subject_dn", None),
                // An ALB passes these on as the client wrote them.
                ("x-real-ip", None),
                ("x_forwarded_for", None),
                ("x-amzn-oidc_identity", None),
                ("x_mine", Some("1")),
                ("forwarded", None),
                ("proxy", None),
            ] {
                assert_eq!(values(&headers, name), Vec::from_iter(want), "{name}");
            }
        }
    }

    #[test]
    fn an_address_is_written_as_it_always_is() {
        for address in [
            "0.0.0.0",
            "255.255.255.255",
            "1.10.100.9",
            "99.101.200.110",
            "fd00::1",
        ] {
            assert_eq!(text(address.parse().unwrap()), address);
        }
    }

    /// A claim that begins otherwise would be looked for in vain.
    #[test]
    fn every_claim_is_looked_for() {
        for claim in NOT_FROM_CLIENTS {
            let name = format!("{claim}{}", if claim.ends_with('-') { "x" } else { "" });
            for name in [name.replace('-', "_"), name] {
                assert!(is_claim(&name), "{name}");
                assert_eq!(Kind::of(name.as_bytes()), Kind::Claim, "{name}");
            }
        }
    }

    #[test]
    fn a_split_cookie_is_joined_for_http_1() {
        let mut headers = fields(&[("cookie", "a=1"), ("cookie", "b=2")]);
        join_cookies(&mut headers, Version::HTTP_2);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "c"), None);
    }
}
