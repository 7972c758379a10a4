//! An IP address in, what keeps a request from being sent there on somebody's word out.
//!
//! Whoever writes an Ingress, or an EndpointSlice, names addresses. Some lead to the machine that sends, or to what
//! answers everybody on its network, in whatever form of IPv6 they are written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is that is not simply another machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    Loopback,
    LinkLocal,
    /// A metadata service, or another of a cloud's own that every machine there reaches.
    Metadata,
    /// Unspecified, multicast or broadcast.
    NoMachine,
    /// 240.0.0.0/4, which some clusters give to pods. Source: RFC 1112 §4.
    Reserved,
}

/// Clouds' own addresses that are neither loopback nor link-local.
const METADATA: [IpAddr; 5] = [
    // Azure's platform, Alibaba's and Oracle's metadata, AWS's and Google's by IPv6.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// None where it is another machine's, private ones among them.
pub fn special(address: IpAddr) -> Option<Special> {
    let address = address.to_canonical();
    if METADATA.contains(&address) {
        return Some(Special::Metadata);
    }
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => Some(Special::Loopback),
        IpAddr::V4(v4) if v4.is_link_local() => Some(Special::LinkLocal),
        IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast() => {
            Some(Special::NoMachine)
        }
        IpAddr::V4(v4) => (v4.octets()[0] >= 240).then_some(Special::Reserved),
        IpAddr::V6(v6) if v6.is_loopback() => Some(Special::Loopback),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(Special::LinkLocal),
        IpAddr::V6(v6) if v6.is_unspecified() || v6.is_multicast() => Some(Special::NoMachine),
        IpAddr::V6(v6) => hidden(v6).into_iter().flatten().find_map(|v4| special(v4.into())),
    }
}

/// The addresses of IPv4 that a translator or a tunnel may make of one of IPv6.
fn hidden(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // RFC 6052 §2.1; IPv4-compatible: RFC 4291 §2.5.5.1.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => [v4(high, low), None],
        [0, 0, 0, 0, 0, 0, high, low] if high > 0 => [v4(high, low), None],
        // RFC 8215, by the prefix as it is, or a longer one: RFC 6052 §2.2.
        [0x64, 0xff9b, 1, high, low, rest, last_high, last] => {
            let middle = (low & 0xff) << 8 | rest >> 8;
            // Those that are not written are zeros.
            [v4(high, middle), v4(last_high, last)].map(|v4| v4.filter(|v4| !v4.is_unspecified()))
        }
        // 6to4: RFC 3056 §2.
        [0x2002, high, low, ..] => [v4(high, low), None],
        // Teredo, the client's in another form: RFC 4380 §4.
        [0x2001, 0, high, low, _, _, client_high, client] => [v4(high, low), v4(!client_high, !client)],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_in_whatever_form() {
        let (loopback, link) = (Some(Special::Loopback), Some(Special::LinkLocal));
        let (metadata, none) = (Some(Special::Metadata), Some(Special::NoMachine));
        for (address, want) in [
            ("192.0.2.7", None),
            ("10.96.0.7", None),
            ("100.64.0.7", None),
            ("172.16.0.1", None),
            ("2001:db8::7", None),
            ("fd12::7", None),
            ("127.0.0.1", loopback),
            ("127.9.9.9", loopback),
            ("0.0.0.0", none),
            ("0.1.2.3", none),
            ("169.254.169.254", link),
            ("168.63.129.16", metadata),
            ("100.100.100.200", metadata),
            ("192.0.0.192", metadata),
            ("224.0.0.1", none),
            ("255.255.255.255", none),
            ("240.10.0.1", Some(Special::Reserved)),
            ("::1", loopback),
            ("::", none),
            ("fe80::1", link),
            ("ff02::1", none),
            ("fd00:ec2::254", metadata),
            ("fd20:ce::254", metadata),
            // The same in other clothes.
            ("::ffff:127.0.0.1", loopback),
            ("::ffff:169.254.169.254", link),
            ("::ffff:192.0.2.7", None),
            ("::127.0.0.1", loopback),
            ("64:ff9b::a9fe:a9fe", link),
            ("64:ff9b::6464:64c8", metadata),
            ("64:ff9b::c000:207", None),
            ("64:ff9b:1::a9fe:a9fe", link),
            // The prefix of 48 bits: 169.254, an octet of zeros, 169.254.
            ("64:ff9b:1:a9fe:a9:fe00::", link),
            ("64:ff9b:1:a00:0:100::", None),
            ("64:ff9b:1::c000:207", None),
            ("2002:7f00:1::", loopback),
            ("2002:c000:207::1", None),
            ("2001:0:a9fe:a9fe::5601:5601", link),
            ("2001:0:c000:207::5601:5601", link),
            ("2001:0:c000:207::3fff:fdf8", None),
        ] {
            assert_eq!(special(address.parse().unwrap()), want, "{address}");
        }
    }
}
