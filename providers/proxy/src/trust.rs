//! The peer of a connection and what it says about the client in, the client of a request out.
//!
//! A peer is believed only where it stands in a trusted range, such as that of a load balancer in front. Of the
//! addresses it names, the last that is not itself trusted is the client's: whatever stands before that one, the
//! client may have written itself. Source: MDN, `X-Forwarded-For`, "Selecting an IP address".

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::exchange::Peer;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The client's address, and whether it spoke TLS.
    pub(crate) client: Peer,
    /// Whether what the peer says about the client is passed on.
    pub(crate) is_told: bool,
}

/// Whether an address lies in any of the ranges.
pub(crate) fn is_trusted(trusted: &[IpNet], address: IpAddr) -> bool {
    trusted.iter().any(|range| range.contains(&address))
}

/// Reads what a trusted peer says; any other peer is the client.
pub(crate) fn asker(trusted: &[IpNet], peer: Peer, headers: &HeaderMap) -> Asker {
    if !is_trusted(trusted, peer.address) {
        return Asker {
            client: peer,
            is_told: false,
        };
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
    let is_tls = match headers.get(&FORWARDED_PROTO).map(|value| value.as_bytes()) {
        Some(b"https") => true,
        Some(b"http") => false,
        _ => peer.is_tls,
    };
    Asker {
        client: Peer { address, is_tls },
        is_told: true,
    }
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
            };
            let asker = asker(&trusted, peer, &headers);
            assert_eq!(asker.client.address.to_string(), want, "{peer:?} {values:?}");
            assert_eq!(asker.is_told, told, "{peer:?} {values:?}");
        }
    }

    #[test]
    fn only_a_trusted_peer_says_whether_the_client_spoke_tls() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        for (peer, is_tls, said, want) in [
            ("10.0.0.1", false, "https", true),
            ("10.0.0.1", true, "http", false),
            ("10.0.0.1", true, "ftp", true),
            ("192.0.2.1", false, "https", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(&FORWARDED_PROTO, HeaderValue::from_str(said).unwrap());
            let peer = Peer {
                address: peer.parse().unwrap(),
                is_tls,
            };
            assert_eq!(
                asker(&trusted, peer, &headers).client.is_tls,
                want,
                "{peer:?} {said}"
            );
        }
    }
}
