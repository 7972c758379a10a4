//! Who asks in, what `Forwarded` says of it out. Source: RFC 7239 §4.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::HeaderValue;
use http::header::FORWARDED;

use crate::fields::{self, Client};

/// Writes the client's element, and that of the trusted peer that stands between.
pub(crate) fn write(to: &mut BytesMut, client: &Client<'_>) {
    node(to, client.address);
    // In quotes, for most have a colon; what has quotes of its own is no host.
    let host = client.host.as_bytes();
    if !host.is_empty() && !host.contains(&b'"') && !host.contains(&b'\\') {
        for part in [b";host=\"", host, b"\""] {
            to.put_slice(part);
        }
    }
    to.put_slice(b";proto=");
    to.put_slice(fields::scheme(client.is_tls).as_bytes());
    if let Some(between) = &client.between {
        to.put_slice(b", ");
        node(to, between.address);
    }
}

/// An address of version 6 has brackets, and then quotes. Source: RFC 7239 §6.
fn node(to: &mut BytesMut, address: IpAddr) {
    // Memory is all that could lack.
    let _ = match address {
        IpAddr::V4(address) => write!(to, "for={address}"),
        IpAddr::V6(address) => write!(to, "for=\"[{address}]\""),
    };
}

/// Says it among the fields of a request, in place of what others say.
pub(crate) fn enter(headers: &mut http::HeaderMap, client: &Client<'_>) {
    let mut text = BytesMut::new();
    write(&mut text, client);
    match HeaderValue::from_maybe_shared(text.freeze()) {
        Ok(value) => headers.insert(FORWARDED, value),
        // Rather nothing than what a client says.
        Err(_) => headers.remove(FORWARDED),
    };
}

#[cfg(test)]
mod tests {
    use portcullis_model::Port;

    use super::*;
    use crate::fields::Between;
    use crate::settings::TrustedField;

    #[test]
    fn forwarded_is_written_as_rfc_7239_has_it() {
        for (address, is_tls, host, between, want) in [
            (
                "192.0.2.7",
                false,
                "shop.example",
                None,
                r#"for=192.0.2.7;host="shop.example";proto=http"#,
            ),
            (
                "2001:db8::1",
                true,
                "shop.example:8443",
                None,
                r#"for="[2001:db8::1]";host="shop.example:8443";proto=https"#,
            ),
            (
                "192.0.2.7",
                true,
                "",
                Some("fd00::2"),
                r#"for=192.0.2.7;proto=https, for="[fd00::2]""#,
            ),
            (
                "192.0.2.7",
                true,
                r#"a";for=b"#,
                None,
                "for=192.0.2.7;proto=https",
            ),
        ] {
            let host = HeaderValue::from_static(host);
            let client = Client {
                address: address.parse().unwrap(),
                is_tls,
                port: Port::HTTPS,
                host: &host,
                between: between.map(|address: &str| Between {
                    address: address.parse().unwrap(),
                    field: TrustedField::Forwarded,
                    identifies: false,
                }),
            };
            let mut text = BytesMut::new();
            write(&mut text, &client);
            assert_eq!(text, want.as_bytes());
        }
    }
}
