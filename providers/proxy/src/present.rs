//! Names of fields in, which of those that the proxy cares about there are out: looked for once, not one by one.

use http::HeaderMap;

/// A field that something is done about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Passed on as it is.
    Other,
    Connection,
    ContentLength,
    ContentType,
    Date,
    Expect,
    /// CGI takes it for one that frames the message.
    FramingByCgi,
    Host,
    Http2Settings,
    KeepAlive,
    ProxyConnection,
    RequestId,
    Te,
    TraceParent,
    TraceState,
    TransferEncoding,
    Upgrade,
    /// It may be something that clients must not say about themselves.
    Claim,
}

impl Kind {
    /// Of a name in lower case.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            b"connection" => Self::Connection,
            b"content-length" => Self::ContentLength,
            b"content-type" => Self::ContentType,
            b"date" => Self::Date,
            b"expect" => Self::Expect,
            b"content_length" | b"transfer_encoding" => Self::FramingByCgi,
            b"host" => Self::Host,
            b"http2-settings" => Self::Http2Settings,
            b"keep-alive" => Self::KeepAlive,
            b"proxy-connection" => Self::ProxyConnection,
            b"x-request-id" => Self::RequestId,
            b"te" => Self::Te,
            b"traceparent" => Self::TraceParent,
            b"tracestate" => Self::TraceState,
            b"transfer-encoding" => Self::TransferEncoding,
            b"upgrade" => Self::Upgrade,
            b"forwarded" => Self::Claim,
            [b'x' | b'p', ..] | [b's', b's', b'l', ..] => Self::Claim,
            _ => Self::Other,
        }
    }

    /// Whether it is of one connection alone, whether named by `Connection` or not, or only seems to frame the message.
    /// Source: RFC 9110 §7.6.1; RFC 7540 §3.2.1 (HTTP2-Settings).
    pub(crate) fn is_of_hop(self) -> bool {
        Present::HOP.has(self)
    }
}

/// Which fields there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present(u32);

impl Present {
    const HOP: Self = Self(
        1 << Kind::Connection as u8
            | 1 << Kind::Te as u8
            | 1 << Kind::Upgrade as u8
            | 1 << Kind::ProxyConnection as u8
            | 1 << Kind::KeepAlive as u8
            | 1 << Kind::Http2Settings as u8
            | 1 << Kind::FramingByCgi as u8,
    );

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            present.add(Kind::of(name.as_str().as_bytes()));
        }
        present
    }

    pub(crate) fn add(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether any field is not passed on.
    pub(crate) fn is_hop(self) -> bool {
        self.0 & Self::HOP.0 != 0
    }
}
