//! The first bytes of a connection from a load balancer in, whom it speaks for out. Sans-io and pure.
//!
//! Source: "The PROXY protocol", versions 1 and 2 (haproxy.org, `proxy-protocol.txt`). A peer that is listed must send a
//! head, and one that is not must not: nobody guesses ("2. The PROXY protocol header").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// What version 2 begins with (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Up to the length of what follows, in version 2.
const FIXED: usize = 16;
/// What version 1 begins with (§2.1).
const WORD: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end (§2.1).
const LONGEST_LINE: usize = 107;
/// The longest head of version 2 that is read: room for addresses and all the extensions that load balancers send.
const LONGEST: usize = 4096;

/// How far a head has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// So many bytes more belong to it, at least: to read no more of them is to read nothing of what follows.
    More(usize),
    /// It ends here. None where it speaks for nobody but the peer itself, or in terms that are no addresses.
    Done(Option<IpAddr>),
}

/// These bytes begin no head.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the head of the PROXY protocol is malformed")]
pub(crate) struct Malformed;

/// Reads the bytes so far, from the first on.
pub(crate) fn read(bytes: &[u8]) -> Result<Head, Malformed> {
    let start = &bytes[..bytes.len().min(SIGNATURE.len())];
    if SIGNATURE.starts_with(start) {
        return match bytes.len() {
            0..FIXED => Ok(Head::More(match bytes.len() {
                // Both versions are longer than the signature.
                0..12 => 12 - bytes.len(),
                more => FIXED - more,
            })),
            _ => version2(bytes),
        };
    }
    let start = &bytes[..bytes.len().min(WORD.len())];
    if !WORD.starts_with(start) {
        return Err(Malformed);
    }
    match bytes {
        _ if bytes.len() < SIGNATURE.len() => match bytes.contains(&b'\n') {
            true => Err(Malformed),
            false => Ok(Head::More(SIGNATURE.len() - bytes.len())),
        },
        [line @ .., b'\r', b'\n'] if bytes.len() <= LONGEST_LINE => version1(line),
        _ if bytes.len() >= LONGEST_LINE || bytes.contains(&b'\n') => Err(Malformed),
        _ => Ok(Head::More(1)),
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, without the end of the line.
fn version1(line: &[u8]) -> Result<Head, Malformed> {
    let text = std::str::from_utf8(line).map_err(|_| Malformed)?;
    let mut words = text.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        // Whatever follows is to be ignored.
        return Ok(Head::Done(None));
    }
    let words: Vec<&str> = words.collect();
    let [source, destination, ports @ ..] = words.as_slice() else {
        return Err(Malformed);
    };
    let [_, _] = ports else { return Err(Malformed) };
    if !ports.iter().all(|port| is_port(port)) {
        return Err(Malformed);
    }
    let read = |text: &str| -> Result<IpAddr, Malformed> {
        match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().map(IpAddr::from).map_err(|_| Malformed),
            Some("TCP6") => text.parse::<Ipv6Addr>().map(IpAddr::from).map_err(|_| Malformed),
            Some(_) | None => Err(Malformed),
        }
    };
    read(destination)?;
    Ok(Head::Done(Some(read(source)?.to_canonical())))
}

/// A decimal number without leading zeros.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
        && text.parse::<u16>().is_ok()
}

/// The head of version 2 (§2.2) of a connection to a target, for a client; for nobody, it is our own word. The client's
/// port is not told: behind another load balancer nobody knows it.
pub(crate) fn head(client: Option<IpAddr>, target: SocketAddr) -> Vec<u8> {
    let mut head = SIGNATURE.to_vec();
    let Some(client) = client else {
        head.extend([0x20, 0, 0, 0]);
        return head;
    };
    match (client.to_canonical(), target.ip().to_canonical()) {
        (IpAddr::V4(client), IpAddr::V4(target)) => {
            head.extend([0x21, 0x11, 0, 12]);
            head.extend(client.octets());
            head.extend(target.octets());
        }
        (client, target) => {
            let long = |ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            head.extend([0x21, 0x21, 0, 36]);
            head.extend(long(client).octets());
            head.extend(long(target).octets());
        }
    }
    head.extend([0, 0]);
    head.extend(target.port().to_be_bytes());
    head
}

/// At least the fixed part is there.
fn version2(bytes: &[u8]) -> Result<Head, Malformed> {
    let [kind, family, high, low] = bytes[SIGNATURE.len()..FIXED] else {
        return Err(Malformed);
    };
    let total = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if total > LONGEST {
        return Err(Malformed);
    }
    let command = match (kind >> 4, kind & 0xf) {
        (2, command @ (0 | 1)) => command,
        _ => return Err(Malformed),
    };
    if bytes.len() < total {
        return Ok(Head::More(total - bytes.len()));
    }
    if bytes.len() > total {
        return Err(Malformed);
    }
    // Its own word, such as a health check.
    if command == 0 {
        return Ok(Head::Done(None));
    }
    let rest = &bytes[FIXED..];
    match family >> 4 {
        0x1 => match rest {
            [a, b, c, d, _, _, _, _, _, _, _, _, ..] => Ok(Head::Done(Some(IpAddr::from([*a, *b, *c, *d])))),
            _ => Err(Malformed),
        },
        0x2 => match rest.get(..16).map(<[u8; 16]>::try_from) {
            Some(Ok(source)) if rest.len() >= 36 => Ok(Head::Done(Some(IpAddr::from(source).to_canonical()))),
            _ => Err(Malformed),
        },
        // Unspecified and Unix: the address is not one that rules know (§2.2: to be ignored).
        0x0 | 0x3 => Ok(Head::Done(None)),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (client, target) in [
            (Some("192.0.2.1"), "10.0.0.1:80"),
            (Some("2001:db8::1"), "[fd00::1]:80"),
            (Some("192.0.2.1"), "[fd00::1]:80"),
            (Some("2001:db8::1"), "10.0.0.1:80"),
            (Some("::ffff:192.0.2.1"), "10.0.0.1:80"),
            (None, "10.0.0.1:80"),
        ] {
            let client: Option<IpAddr> = client.map(|text| text.parse().unwrap());
            let written = super::head(client, target.parse().unwrap());
            let want = client.map(|client| client.to_canonical());
            assert_eq!(read(&written), Ok(Head::Done(want)), "{client:?} {target}");
        }
    }

    fn version2(kind: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[kind, family][..], &length, rest].concat()
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];

    fn ipv6() -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::1".parse().unwrap();
        [&source.octets()[..], &[0; 16], &[0xdc, 4, 1, 0xbb]].concat()
    }

    #[test]
    fn a_head_says_whom_the_peer_speaks_for() {
        let long_line = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        for (bytes, want) in [
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(),
                Some(Some("192.0.2.1")),
            ),
            (
                b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n".to_vec(),
                Some(Some("2001:db8::1")),
            ),
            (
                b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n".to_vec(),
                Some(Some("192.0.2.1")),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Some(None)),
            (b"PROXY UNKNOWN what ever\r\n".to_vec(), Some(None)),
            (long_line.clone().into_bytes(), Some(None)),
            (long_line.replace("fff", "ffff").into_bytes(), None),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n".to_vec(), None),
            (
                b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n".to_vec(),
                None,
            ),
            (b"PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 +1 2\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 x 1 2\r\n".to_vec(), None),
            (b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(), None),
            (b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(), None),
            (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(), None),
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n".to_vec(), None),
            (b"PROXY\r\n\r\n\r\n\r\n".to_vec(), None),
            (b"GET / HTTP/1.1\r\n".to_vec(), None),
            (b"\x16\x03\x01\x02\x00\x01".to_vec(), None),
            (version2(0x21, 0x11, &IPV4), Some(Some("192.0.2.1"))),
            (version2(0x21, 0x21, &ipv6()), Some(Some("2001:db8::1"))),
            // With extensions behind the addresses.
            (
                version2(0x21, 0x11, &[&IPV4[..], &[4, 0, 1, 0]].concat()),
                Some(Some("192.0.2.1")),
            ),
            (version2(0x20, 0x00, &[]), Some(None)),
            (version2(0x20, 0x11, &IPV4), Some(None)),
            (version2(0x21, 0x00, &[]), Some(None)),
            (version2(0x21, 0x31, &[0; 216]), Some(None)),
            (version2(0x21, 0x11, &IPV4[..11]), None),
            (version2(0x21, 0x21, &ipv6()[..35]), None),
            (version2(0x21, 0x41, &IPV4), None),
            (version2(0x22, 0x11, &IPV4), None),
            (version2(0x11, 0x11, &IPV4), None),
            (version2(0x21, 0x11, &[0; LONGEST - FIXED + 1]), None),
        ] {
            let want = want.map(|address| Head::Done(address.map(|text| text.parse().unwrap())));
            assert_eq!(
                whole(&bytes),
                want.ok_or(Malformed),
                "{:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
    }

    /// As a connection reads: what is wanted and no more. A head that never ends counts as malformed.
    fn whole(bytes: &[u8]) -> Result<Head, Malformed> {
        let mut end = 0;
        loop {
            match read(&bytes[..end])? {
                done @ Head::Done(_) => {
                    assert_eq!(end, bytes.len(), "it ends where it ends");
                    return Ok(done);
                }
                Head::More(more) if end + more <= bytes.len() => end += more,
                Head::More(_) => return Err(Malformed),
            }
        }
    }

    fn head() -> impl Strategy<Value = (Vec<u8>, Option<IpAddr>)> {
        let line = (any::<[u8; 4]>(), any::<u16>()).prop_map(|(source, port)| {
            let source = IpAddr::from(source);
            let line = format!("PROXY TCP4 {source} 10.0.0.1 {port} 80\r\n");
            (line.into_bytes(), Some(source))
        });
        let binary = (any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 0..200));
        let binary = binary.prop_map(|(source, more)| {
            let rest = [&source[..], &[10, 0, 0, 1, 0, 1, 0, 80], &more].concat();
            (version2(0x21, 0x11, &rest), Some(IpAddr::from(source)))
        });
        prop_oneof![line, binary]
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_beyond_a_head_or_without_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut end = 0;
            while let Ok(Head::More(more)) = read(&bytes[..end]) {
                prop_assert!(more > 0);
                prop_assert!(end + more <= LONGEST);
                end += more;
                if end > bytes.len() {
                    break;
                }
            }
        }

        #[test]
        fn what_follows_a_head_is_left_alone((head, source) in head(), after in proptest::collection::vec(any::<u8>(), 0..50)) {
            let all = [&head[..], &after].concat();
            let mut end = 0;
            let got = loop {
                match read(&all[..end]).unwrap() {
                    Head::More(more) => end += more,
                    Head::Done(address) => break address,
                }
            };
            prop_assert_eq!(got, source);
            prop_assert_eq!(&all[end..], &after[..]);
        }

        #[test]
        fn a_head_with_a_byte_changed_never_runs_on((head, _) in head(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut head = head;
            let place = place.index(head.len());
            head[place] = byte;
            let mut end = 0;
            while let Ok(Head::More(more)) = read(&head[..end]) {
                end += more;
                if end > head.len() {
                    break;
                }
            }
            prop_assert!(end <= LONGEST + FIXED);
        }
    }
}
