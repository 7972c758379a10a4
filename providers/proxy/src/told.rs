//! What is known of who asks in, the fields that tell a backend out: written straight behind those of the request, or
//! entered among them where somebody still looks at them.

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderValue};
use portcullis_model::Port;

use crate::fields::{self, Client};
use crate::forwarded;
use crate::trace::Ids;

/// What a backend is told, in place of what the client says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// None where a trusted peer has told already.
    pub(crate) client: Option<ToldClient>,
    pub(crate) ids: Ids,
}

#[derive(Clone, Debug)]
pub(crate) struct ToldClient {
    pub(crate) address: IpAddr,
    pub(crate) is_tls: bool,
    pub(crate) port: Port,
    pub(crate) host: HeaderValue,
    /// Whether it is told in `Forwarded`, too.
    pub(crate) forwarded: bool,
}

impl ToldClient {
    fn client(&self) -> Client<'_> {
        Client {
            address: self.address,
            is_tls: self.is_tls,
            port: self.port,
            host: &self.host,
            between: None,
        }
    }
}

impl Told {
    /// Enters it among the fields of the request, which say nothing else of it.
    pub(crate) fn enter(self, headers: &mut HeaderMap) {
        if let Some(told) = &self.client {
            let client = told.client();
            fields::enter_forwarded(headers, &client);
            if told.forwarded {
                forwarded::enter(headers, &client);
            }
        }
        self.ids.set(headers);
    }

    /// Writes it as lines of a head.
    pub(crate) fn write(&self, to: &mut BytesMut) {
        if let Some(client) = &self.client {
            let scheme = fields::scheme(client.is_tls);
            // Memory is all that could lack.
            to.put_slice(b"x-forwarded-for: ");
            match client.address {
                IpAddr::V4(address) => {
                    let (text, length) = fields::digits(address);
                    to.put_slice(&text[..length]);
                }
                IpAddr::V6(address) => {
                    let _ = write!(to, "{address}");
                }
            }
            for part in [
                &b"\r\nx-forwarded-proto: "[..],
                scheme.as_bytes(),
                b"\r\nx-forwarded-port: ",
            ] {
                to.put_slice(part);
            }
            fields::write_number(to, client.port.get().into());
            if !client.host.is_empty() {
                to.put_slice(b"\r\nx-forwarded-host: ");
                to.put_slice(client.host.as_bytes());
            }
            if client.forwarded {
                to.put_slice(b"\r\nforwarded: ");
                forwarded::write(to, &client.client());
            }
            to.put_slice(b"\r\n");
        }
        self.ids.write(to);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::balance::Random;
    use crate::present::Present;

    /// Whether it is entered or written, a backend is told the same.
    #[test]
    fn what_is_written_is_what_would_be_entered() {
        let host = |text| HeaderValue::from_static(text);
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (address, is_tls, host, given) in [
            ("192.0.2.7", true, host("a.example.com"), &[][..]),
            ("0.0.0.0", false, host(""), &[("x-request-id", "a-1")]),
            (
                "2001:db8::1",
                false,
                host("[2001:db8::2]:80"),
                &[("traceparent", parent)],
            ),
            (
                "10.0.0.1",
                true,
                host("a"),
                &[("x-request-id", "not one"), ("tracestate", "a=1")],
            ),
        ] {
            let mut headers: HeaderMap = given
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let present = Present::of(&headers);
            let told = Told {
                client: Some(ToldClient {
                    address: address.parse().unwrap(),
                    is_tls,
                    port: Port::HTTPS,
                    host,
                    forwarded: is_tls,
                }),
                ids: Ids::of(&headers, present, &Random::new()),
            };
            told.ids.clear(&mut headers, present);
            let mut written = BytesMut::new();
            for (name, value) in &headers {
                written.put_slice(format!("{name}: {}\r\n", value.to_str().unwrap()).as_bytes());
            }
            told.write(&mut written);
            told.enter(&mut headers);
            let mut entered: Vec<String> = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            let written = String::from_utf8(written.to_vec()).unwrap();
            let mut written: Vec<&str> = written.lines().collect();
            entered.sort_unstable();
            written.sort_unstable();
            assert_eq!(written, entered);
        }
    }
}
