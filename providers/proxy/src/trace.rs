//! What a client says a request is called in, the names under which backends and the log know it out.
//!
//! Source: W3C Trace Context, Level 1, §3.2 (`traceparent`) and §3.4 (a proxy may begin a trace where there is none).

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::balance::Random;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest request id that is taken from a client.
const LONGEST: usize = 128;

/// The names of one request.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    request_id: HeaderValue,
    trace_parent: HeaderValue,
}

impl Ids {
    /// Those the client gave, where they are well formed; new ones else.
    pub(crate) fn of(headers: &HeaderMap, random: &Random) -> Self {
        let given = |name: &HeaderName, is_one: fn(&str) -> bool| {
            let mut values = headers.get_all(name).iter();
            let (first, second) = (values.next()?, values.next());
            let is_one = second.is_none() && first.to_str().is_ok_and(is_one);
            is_one.then(|| first.clone())
        };
        Self {
            request_id: given(&REQUEST_ID, is_request_id)
                .unwrap_or_else(|| value(&hex::<32>(&[random.next(), random.next()]))),
            trace_parent: given(&TRACE_PARENT, is_trace_parent).unwrap_or_else(|| {
                let (trace, parent) = ([random.next(), random.next()], random.next());
                let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
                text[3..35].copy_from_slice(&hex::<32>(&trace));
                // Its own id is never zero, and nobody asked for it to be recorded.
                text[36..52].copy_from_slice(&hex::<16>(&[parent | 1]));
                value(&text)
            }),
        }
    }

    /// Tells the backend.
    pub(crate) fn set(self, headers: &mut HeaderMap) {
        if headers.get(&TRACE_PARENT) != Some(&self.trace_parent) {
            // It belongs to the trace that is not passed on. Source: Trace Context §3.3.
            headers.remove(&TRACE_STATE);
        }
        headers.insert(&REQUEST_ID, self.request_id);
        headers.insert(&TRACE_PARENT, self.trace_parent);
    }

    pub(crate) fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    pub(crate) fn trace_id(&self) -> &str {
        let whole = self.trace_parent.to_str().unwrap_or_default();
        whole.split('-').nth(1).unwrap_or_default()
    }
}

/// Digits and dashes alone.
fn value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Numbers as digits: written for every request, so without the machinery of `format!`.
fn hex<const LENGTH: usize>(numbers: &[u64]) -> [u8; LENGTH] {
    let mut text = [b'0'; LENGTH];
    let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

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
            let ids = Ids::of(&headers, &Random::new());
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
}
