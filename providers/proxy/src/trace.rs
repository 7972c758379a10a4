//! What a client says a request is called in, the names under which backends and the log know it out.
//!
//! Source: W3C Trace Context, Level 1, §3.2 (`traceparent`) and §3.4 (a proxy may begin a trace where there is none).

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::balance::Random;
use crate::present::{Kind, Present};

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Whether a field says under which name a request is known.
pub(crate) fn is_name(name: &HeaderName) -> bool {
    [&REQUEST_ID, &TRACE_PARENT, &TRACE_STATE].contains(&name)
}

/// Longest request id that is taken from a client.
const LONGEST: usize = 128;

/// The names of one request.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    request_id: Id<32>,
    trace_parent: Id<55>,
}

#[derive(Clone, Debug)]
enum Id<const LENGTH: usize> {
    /// By the client: it stands among the fields, by itself.
    Given(HeaderValue),
    /// Digits and dashes alone.
    New([u8; LENGTH]),
}

impl<const LENGTH: usize> Id<LENGTH> {
    fn given(headers: &HeaderMap, name: &HeaderName, is_one: fn(&str) -> bool) -> Option<Self> {
        let mut values = headers.get_all(name).iter();
        let (first, second) = (values.next()?, values.next());
        let is_one = second.is_none() && first.to_str().is_ok_and(is_one);
        is_one.then(|| Self::Given(first.clone()))
    }

    fn text(&self) -> &str {
        match self {
            Self::Given(value) => value.to_str().unwrap_or_default(),
            Self::New(text) => std::str::from_utf8(text).unwrap_or_default(),
        }
    }

    fn value(self) -> HeaderValue {
        match self {
            Self::Given(value) => value,
            Self::New(text) => {
                HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
            }
        }
    }
}

impl Ids {
    /// Those the client gave, where they are well formed; new ones else.
    pub(crate) fn of(headers: &HeaderMap, present: Present, random: &Random) -> Self {
        let request_id = present
            .has(Kind::RequestId)
            .then(|| Id::given(headers, &REQUEST_ID, is_request_id));
        let trace_parent = present.has(Kind::TraceParent);
        let trace_parent = trace_parent.then(|| Id::given(headers, &TRACE_PARENT, is_trace_parent));
        Self {
            request_id: request_id
                .flatten()
                .unwrap_or_else(|| Id::New(hex(&[random.next(), random.next()]))),
            trace_parent: trace_parent.flatten().unwrap_or_else(|| {
                let (trace, parent) = ([random.next(), random.next()], random.next());
                let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
                text[3..35].copy_from_slice(&hex::<32>(&trace));
                // Its own id is never zero, and nobody asked for it to be recorded.
                text[36..52].copy_from_slice(&hex::<16>(&[parent | 1]));
                Id::New(text)
            }),
        }
    }

    /// Takes away what the client says instead.
    pub(crate) fn clear(&self, headers: &mut HeaderMap, present: Present) {
        if matches!(self.request_id, Id::New(_)) && present.has(Kind::RequestId) {
            headers.remove(&REQUEST_ID);
        }
        if matches!(self.trace_parent, Id::New(_)) {
            if present.has(Kind::TraceParent) {
                headers.remove(&TRACE_PARENT);
            }
            // It belongs to the trace that is not passed on. Source: Trace Context §3.3.
            if present.has(Kind::TraceState) {
                headers.remove(&TRACE_STATE);
            }
        }
    }

    /// Tells the backend, among its other fields.
    pub(crate) fn set(self, headers: &mut HeaderMap) {
        if matches!(self.trace_parent, Id::New(_)) {
            headers.remove(&TRACE_STATE);
        }
        headers.insert(&REQUEST_ID, self.request_id.value());
        headers.insert(&TRACE_PARENT, self.trace_parent.value());
    }

    /// Tells the backend, behind its other fields, where those that the client gave stand.
    pub(crate) fn write(&self, to: &mut BytesMut) {
        if let Id::New(text) = &self.request_id {
            to.put_slice(b"x-request-id: ");
            to.put_slice(text);
            to.put_slice(b"\r\n");
        }
        if let Id::New(text) = &self.trace_parent {
            to.put_slice(b"traceparent: ");
            to.put_slice(text);
            to.put_slice(b"\r\n");
        }
    }

    pub(crate) fn request_id(&self) -> &str {
        self.request_id.text()
    }

    pub(crate) fn trace_id(&self) -> &str {
        self.trace_parent.text().split('-').nth(1).unwrap_or_default()
    }
}

/// Numbers as digits: written for every request, so without the machinery of `format!`.
fn hex<const LENGTH: usize>(numbers: &[u64]) -> [u8; LENGTH] {
    let mut text = [b'0'; LENGTH];
    let halves = numbers
        .iter()
        .flat_map(|number| [number >> 32, number & 0xffff_ffff]);
    for (eight, half) in text.chunks_exact_mut(8).zip(halves) {
        eight.copy_from_slice(&eight_digits(half));
    }
    text
}

/// The lower half of a number: all of its digits at once, each in a byte of its own.
fn eight_digits(half: u64) -> [u8; 8] {
    let spread = (half | half << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 where it is a letter, which stand further behind.
    let letters = ((spread + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (spread + 0x3030_3030_3030_3030 + letters * 0x27).to_be_bytes()
}

/// Nothing in it that a log or a header could take for its own.
fn is_request_id(text: &str) -> bool {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'=' | b'+' | b'/');
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain)
}

/// `00-<32 hex>-<16 hex>-<2 hex>`; a later version may have more behind it.
fn is_trace_parent(text: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let mut parts = text.split('-');
    let mut next = || parts.next().unwrap_or_default();
    let (version, trace, parent, flags) = (next(), next(), next(), next());
    let more = parts.next().is_some();
    hex(version, 2)
        && version != "ff"
        && (!more || version != "00")
        && hex(trace, 32)
        && !zero(trace)
        && hex(parent, 16)
        && !zero(parent)
        && hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_name_is_taken_from_a_client_where_it_is_well_formed() {
        for (name, values, kept) in [
            ("x-request-id", &["abc-1"][..], true),
            ("x-request-id", &[""], false),
            ("x-request-id", &["a b"], false),
            ("x-request-id", &["a", "b"], false),
            ("x-request-id", &["a\"b"], false),
            ("traceparent", &[PARENT], true),
            (
                "traceparent",
                &["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
                true,
            ),
            (
                "traceparent",
                &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"],
                false,
            ),
            (
                "traceparent",
                &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
                false,
            ),
            (
                "traceparent",
                &["00-00000000000000000000000000000000-b7ad6b7169203331-01"],
                false,
            ),
            (
                "traceparent",
                &["00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
                false,
            ),
            ("traceparent", &[PARENT, PARENT], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            headers.insert("tracestate", HeaderValue::from_static("a=1"));
            let ids = Ids::of(&headers, Present::of(&headers), &Random::new());
            assert_eq!(ids.trace_id().len(), 32, "{name} {values:?}");
            ids.set(&mut headers);
            let all: Vec<&str> = headers
                .get_all(name)
                .iter()
                .map(|v| v.to_str().unwrap())
                .collect();
            assert_eq!(all.len(), 1, "{name} {values:?}");
            assert_eq!(all == values, kept, "{name} {values:?}: {all:?}");
            // What belongs to a trace goes with it.
            let state = headers.contains_key("tracestate");
            assert_eq!(state, name == "traceparent" && kept, "{name} {values:?}");
            assert!(is_trace_parent(headers["traceparent"].to_str().unwrap()));
        }
    }

    proptest::proptest! {
        #[test]
        fn numbers_are_written_as_they_always_are(one: u64, other: u64) {
            let text = hex::<32>(&[one, other]);
            proptest::prop_assert_eq!(text.to_vec(), format!("{one:016x}{other:016x}").into_bytes());
        }
    }
}
