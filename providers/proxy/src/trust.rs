//! The peer of a connection and what it says about the client in, the client of a request out.
//!
//! A peer is believed only where it stands in a trusted range, such as that of a load balancer in front. Of the
//! addresses it names, the last that is not itself trusted is the client's: whatever stands before that one, the
//! client may have written itself. Source: MDN, `X-Forwarded-For`, "Selecting an IP address"; RFC 7239 §8.1.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::exchange::Peer;
use crate::settings::TrustedField;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The client's address, and whether it spoke TLS.
    pub(crate) client: Peer,
    /// What the peer says it in, where one that is trusted stands between.
    pub(crate) told_in: Option<TrustedField>,
}

/// Whether an address lies in any of the ranges.
pub(crate) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|range| range.contains(&address))
}

/// Reads what a trusted peer says; any other peer is the client.
pub(crate) fn asker(trusted: &[IpNet], field: TrustedField, peer: Peer, headers: &HeaderMap) -> Asker {
    if !is_trusted(trusted, peer.address) {
        return Asker {
            client: peer,
            told_in: None,
        };
    }
    match field {
        TrustedField::XForwarded => {}
        TrustedField::Forwarded => {
            return Asker {
                client: forwarded(trusted, peer, headers),
                told_in: Some(field),
            };
        }
    }
    let named = || headers.get_all(&FORWARDED_FOR).iter().rev();
    let mut address = peer.address;
    'values: for value in named() {
        for part in value.as_bytes().rsplit(|b| *b == b',') {
            // Behind what cannot be read nobody knows who wrote what.
            let Some(next) = std::str::from_utf8(part)
                .ok()
                .and_then(|text| text.trim().parse::<IpAddr>().ok())
            else {
                break 'values;
            };
            address = next.to_canonical();
            if !is_trusted(trusted, address) {
                break 'values;
            }
        }
    }
    // Each peer may have added its own; where they differ, the client may have written the first.
    let said = || {
        let values = headers.get_all(&FORWARDED_PROTO).iter();
        values.flat_map(|value| value.as_bytes().split(|b| *b == b','))
    };
    let all = |scheme: &[u8]| {
        said().next().is_some() && said().all(|part| part.trim_ascii().eq_ignore_ascii_case(scheme))
    };
    let is_tls = match (all(b"https"), all(b"http")) {
        (true, _) => true,
        (_, true) => false,
        (false, false) => peer.is_tls,
    };
    Asker {
        client: Peer {
            address,
            is_tls,
            ..peer
        },
        told_in: Some(field),
    }
}

/// The client by `Forwarded`, each of whose elements a proxy has added behind those before. Source: RFC 7239 §4.
fn forwarded(trusted: &[IpNet], peer: Peer, headers: &HeaderMap) -> Peer {
    let mut client = peer;
    for value in headers.get_all(http::header::FORWARDED).iter().rev() {
        // One quote that is not closed, and nobody knows where an element ends.
        let Some(elements) = value.to_str().ok().and_then(|text| split(text, b',')) else {
            return client;
        };
        for element in elements.iter().rev() {
            let Some(pairs) = split(element, b';') else {
                return client;
            };
            let pair = |wanted: &str| {
                let mut pairs = pairs.iter().filter_map(|pair| pair.split_once('='));
                let found = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.trim().trim_matches('"'))
            };
            match pair("proto") {
                Some(proto) if proto.eq_ignore_ascii_case("https") => client.is_tls = true,
                Some(proto) if proto.eq_ignore_ascii_case("http") => client.is_tls = false,
                Some(_) | None => {}
            }
            // Behind what cannot be read (`unknown`, a name of its own) nobody knows who wrote what.
            let Some(address) = pair("for").and_then(node) else {
                return client;
            };
            client.address = address;
            if !is_trusted(trusted, address) {
                return client;
            }
        }
    }
    client
}

/// The parts between separators that do not stand in quotes; none where a quote is not closed.
fn split(text: &str, separator: u8) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut from, mut is_quoted, mut is_escaped) = (0, false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            byte if byte == separator && !is_quoted => {
                parts.push(text[from..place].trim());
                from = place + 1;
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    (!is_quoted).then_some(parts)
}

/// An address, with or without a port. Source: RFC 7239 §6.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            let fits = port.is_empty() || port.starts_with(':');
            inner
                .parse()
                .ok()
                .filter(|address: &IpAddr| fits && address.is_ipv6())?
        }
        None => text
            .parse()
            .ok()
            .or_else(|| text.split_once(':').and_then(|(address, _)| address.parse().ok()))?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_is_the_last_address_that_is_not_trusted() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8::/32"]
            .iter()
            .map(|range| range.parse().unwrap())
            .collect();
        for (peer, values, want, told) in [
            ("192.0.2.1", &["198.51.100.1"][..], "192.0.2.1", false),
            ("10.0.0.1", &[], "10.0.0.1", true),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1", true),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1", true),
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2"], "198.51.100.1", true),
            ("10.0.0.1", &["198.51.100.1", "10.0.0.2"], "198.51.100.1", true),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3", true),
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1", true),
            ("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2", true),
            ("2001:db8::1", &["2001:dead::1"], "2001:dead::1", true),
            ("10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1", true),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
            }
            let peer = Peer {
                address: peer.parse().unwrap(),
                is_tls: false,
                port: None,
            };
            let asker = asker(&trusted, TrustedField::XForwarded, peer, &headers);
            assert_eq!(asker.client.address.to_string(), want, "{peer:?} {values:?}");
            assert_eq!(asker.told_in.is_some(), told, "{peer:?} {values:?}");
        }
    }

    #[test]
    fn only_a_trusted_peer_says_whether_the_client_spoke_tls() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (peer, is_tls, said, want) in [
            ("10.0.0.1", false, "https", true),
            ("10.0.0.1", true, "http", false),
            ("10.0.0.1", false, "HTTPS", true),
            ("10.0.0.1", false, "https, HTTPS", true),
            ("10.0.0.1", false, "https, http", false),
            // A line for each that has added one.
            ("10.0.0.1", false, "https|http", false),
            ("10.0.0.1", true, "http|https", true),
            ("10.0.0.1", false, "https|https", true),
            ("10.0.0.1", true, "", true),
            ("10.0.0.1", true, "ftp", true),
            ("192.0.2.1", false, "https", false),
        ] {
            let mut headers = HeaderMap::new();
            for line in said.split('|') {
                headers.append(&FORWARDED_PROTO, HeaderValue::from_str(line).unwrap());
            }
            let peer = Peer {
                address: peer.parse().unwrap(),
                is_tls,
                port: None,
            };
            assert_eq!(
                asker(&trusted, TrustedField::XForwarded, peer, &headers)
                    .client
                    .is_tls,
                want,
                "{peer:?} {said}"
            );
        }
    }

    #[test]
    fn by_forwarded_the_client_is_the_last_address_that_is_not_trusted_too() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (peer, values, want, is_tls) in [
            (
                "192.0.2.1",
                &["for=198.51.100.1;proto=https"][..],
                "192.0.2.1",
                false,
            ),
            (
                "10.0.0.1",
                &["for=198.51.100.1;proto=https"],
                "198.51.100.1",
                true,
            ),
            (
                "10.0.0.1",
                &["For=\"198.51.100.1:4711\"; Proto=HTTPS"],
                "198.51.100.1",
                true,
            ),
            ("10.0.0.1", &["for=\"[2001:db8::1]:4711\""], "2001:db8::1", false),
            ("10.0.0.1", &["for=\"[2001:db8::1]\""], "2001:db8::1", false),
            (
                "10.0.0.1",
                &["for=203.0.113.9;proto=https, for=198.51.100.1"],
                "198.51.100.1",
                false,
            ),
            (
                "10.0.0.1",
                &["for=198.51.100.1;proto=https, for=10.0.0.2;proto=http"],
                "198.51.100.1",
                true,
            ),
            (
                "10.0.0.1",
                &["for=198.51.100.1", "for=10.0.0.2"],
                "198.51.100.1",
                false,
            ),
            ("10.0.0.1", &["for=198.51.100.1, for=unknown"], "10.0.0.1", false),
            ("10.0.0.1", &["proto=https"], "10.0.0.1", true),
            ("10.0.0.1", &["for=_hidden;proto=https"], "10.0.0.1", true),
            ("10.0.0.1", &["for=a;proto=https, for=unknown"], "10.0.0.1", false),
            ("10.0.0.1", &["for=198.51.100.1, for=_hidden"], "10.0.0.1", false),
            ("10.0.0.1", &["for=198.51.100.1, by=10.0.0.2"], "10.0.0.1", false),
            // What stands in quotes is no element of its own.
            (
                "10.0.0.1",
                &["for=198.51.100.1;host=\"x, for=203.0.113.9\""],
                "198.51.100.1",
                false,
            ),
            (
                "10.0.0.1",
                &["for=198.51.100.1;host=\"x\\\", for=203.0.113.9\""],
                "198.51.100.1",
                false,
            ),
            (
                "10.0.0.1",
                &["for=203.0.113.9, for=\"198.51.100.1"],
                "10.0.0.1",
                false,
            ),
            ("10.0.0.1", &["for=\"[203.0.113.9]\""], "10.0.0.1", false),
            ("10.0.0.1", &[], "10.0.0.1", false),
        ] {
            let mut headers = HeaderMap::new();
            // Of the other field nothing is taken.
            headers.insert(&FORWARDED_FOR, HeaderValue::from_static("203.0.113.99"));
            for value in values {
                headers.append(http::header::FORWARDED, HeaderValue::from_str(value).unwrap());
            }
            let peer = Peer {
                address: peer.parse().unwrap(),
                is_tls: false,
                port: None,
            };
            let asker = asker(&trusted, TrustedField::Forwarded, peer, &headers);
            assert_eq!(asker.client.address.to_string(), want, "{values:?}");
            assert_eq!(asker.client.is_tls, is_tls, "{values:?}");
            let is_between = asker.told_in == Some(TrustedField::Forwarded);
            assert_eq!(is_between, peer.address.to_string() == "10.0.0.1", "{values:?}");
        }
    }
}
