//! Answers and what a client takes in, the same in fewer bytes out.
//!
//! Where the backend makes a pause, what came before it is sent on: nobody waits for more to be compressed together.

use std::fmt;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Body as _, Frame};
use portcullis_model as model;
use portcullis_model::Coding;

use crate::body::{BodyError, ResponseBody};

/// Shorter answers fit into a packet or two as they are.
const LEAST: u64 = 1_024;
/// gzip's, brotli's and zstd's levels: where each gives much for little.
const GZIP: flate2::Compression = flate2::Compression::new(5);
const BROTLI: u32 = 4;
const ZSTD: i32 = 3;
/// Bits of the window of brotli and zstd: 256 KiB, so that many answers at once need little memory.
const WINDOW: u32 = 18;

/// Said of the bytes as they are: they would be wrong of others.
static DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

#[derive(Debug)]
pub(crate) struct Compression {
    codings: Box<[Coding]>,
}

impl Compression {
    pub(crate) fn new(asked: &model::Compression) -> Self {
        Self {
            codings: asked.codings.as_slice().into(),
        }
    }

    /// What of a request its answer depends on.
    pub(crate) fn asked(&self, request: &Parts) -> Box<Asked> {
        Box::new(Asked {
            coding: self.chosen(&request.headers),
            is_head: request.method == Method::HEAD,
            held: request.headers.get_all(IF_NONE_MATCH).iter().cloned().collect(),
        })
    }

    /// What a client takes most gladly; of several the first that the rule names. Source: RFC 9110 §12.5.3.
    fn chosen(&self, headers: &HeaderMap) -> Option<Coding> {
        if forbids_transforming(headers) {
            return None;
        }
        let members = || {
            let values = headers.get_all(ACCEPT_ENCODING).into_iter();
            let members = values
                .filter_map(|value| value.to_str().ok())
                .flat_map(|text| text.split(','));
            members.map(weighted)
        };
        let weight = |name: &str| {
            let named = |wanted: &str| {
                let mut found = members().filter(|(member, _)| member.eq_ignore_ascii_case(wanted));
                found.next().map(|(_, weight)| weight)
            };
            named(name).or_else(|| named("*")).unwrap_or(0)
        };
        let mut best = None;
        for coding in &self.codings {
            let weight = weight(coding.name());
            if weight > best.map_or(0, |(_, best)| best) {
                best = Some((*coding, weight));
            }
        }
        best.map(|(coding, _)| coding)
    }
}

/// What of a request its answer depends on.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What the client takes.
    coding: Option<Coding>,
    is_head: bool,
    /// `If-None-Match`: the tags of what it holds.
    held: Vec<HeaderValue>,
}

impl Asked {
    /// Compresses an answer that can be, for a client that takes it. Where the answer has no body for the sake of its
    /// request, it says what it would say with it. Source: RFC 9110 §9.3.2, §15.4.5.
    pub(crate) fn finish(&self, response: &mut Response<ResponseBody>) {
        if response.status() == StatusCode::NOT_MODIFIED {
            return self.confirm(response.headers_mut());
        }
        if response.status() == StatusCode::PARTIAL_CONTENT {
            return vary(response.headers_mut());
        }
        if !is_eligible(response, self.is_head) {
            return;
        }
        let headers = response.headers_mut();
        headers.append(VARY, ACCEPTED.clone());
        let Some(coding) = self.coding else { return };
        let Ok(coder) = Coder::new(coding) else { return };
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        adapt(headers);
        if self.is_head {
            // One of a known length would be said to have it.
            *response.body_mut() = ResponseBody::text(Bytes::new());
            return;
        }
        let body = std::mem::replace(response.body_mut(), ResponseBody::text(Bytes::new()));
        *response.body_mut() = ResponseBody::packed(Packed::new(body, coder));
    }

    /// Tells a client of what it holds as it was told then: a cache that holds it by a weak tag would not know it by the
    /// strong one. Source: RFC 9111 §4.3.4.
    fn confirm(&self, headers: &mut HeaderMap) {
        // Most do not say of what type it is.
        let is_text = headers
            .get(CONTENT_TYPE)
            .is_none_or(|value| is_text(value.as_bytes()));
        if !is_text || !may_be_coded(headers) || length(headers).is_some_and(|length| length < LEAST) {
            return;
        }
        headers.append(VARY, ACCEPTED.clone());
        let weak = weak_tag(headers);
        let holds = |tag: Option<&HeaderValue>| {
            let mut held = self.held.iter().flat_map(|value| tags(value.as_bytes()));
            tag.is_some_and(|tag| held.any(|held| held == tag.as_bytes()))
        };
        let holds_plain = weak.is_some() && holds(headers.get(ETAG));
        let was_compressed = match (holds(weak.as_ref()), holds_plain) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => self.coding.is_some(),
        };
        if was_compressed {
            adapt(headers);
        }
    }
}

/// A cache must not give what is compressed to clients that take another coding.
static ACCEPTED: HeaderValue = HeaderValue::from_static("accept-encoding");

/// Takes out what is said of the bytes as they were.
fn adapt(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    if let Some(weak) = weak_tag(headers) {
        headers.insert(ETAG, weak);
    }
}

/// The weak form of a strong tag: other bytes, the same meaning. Source: RFC 9110 §8.8.1.
fn weak_tag(headers: &HeaderMap) -> Option<HeaderValue> {
    let strong = headers
        .get(ETAG)
        .filter(|tag| !tag.as_bytes().starts_with(b"W/"))?;
    HeaderValue::from_bytes(&[b"W/", strong.as_bytes()].concat()).ok()
}

/// The entity tags of a list, in which they may hold commas. Source: RFC 9110 §8.8.3, §13.1.2.
fn tags(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let start = list.iter().position(|b| matches!(b, b'W' | b'"'))?;
        let rest = &list[start..];
        let opened = rest.iter().position(|b| *b == b'"')? + 1;
        let length = rest[opened..].iter().position(|b| *b == b'"')? + 1;
        let (tag, rest) = rest.split_at(opened + length);
        list = rest;
        Some(tag)
    })
}

/// A member of `Accept-Encoding` with its weight in thousandths.
fn weighted(member: &str) -> (&str, u32) {
    let mut parts = member.split(';');
    let name = parts.next().unwrap_or_default().trim();
    let weight = parts.find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let Some(text) = weight else { return (name, 1_000) };
    // `0`, `1`, `0.5` or `1.000`; anything else says that it is not wanted.
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let is_weight = matches!(whole, "0" | "1") && rest.len() <= 3 && rest.bytes().all(|b| b.is_ascii_digit());
    let thousandths = format!("{rest:0<3}").parse::<u32>().ok().filter(|_| is_weight);
    let weight = thousandths.map_or(0, |part| if whole == "1" { 1_000 } else { part });
    (name, weight)
}

/// A part is of the answer that is not compressed, and depends on what that depends on. Source: RFC 9110 §15.3.7.
fn vary(headers: &mut HeaderMap) {
    if says_text(headers) && !headers.contains_key(CONTENT_ENCODING) && !forbids_transforming(headers) {
        headers.append(VARY, ACCEPTED.clone());
    }
}

fn forbids_transforming(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).into_iter();
    let mut members = values.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Whether an answer is text of some length that nobody has compressed or forbids to.
/// An answer to HEAD is, where the one to GET would be.
fn is_eligible(response: &Response<ResponseBody>, is_head: bool) -> bool {
    let headers = response.headers();
    let has_content = match response.status() {
        StatusCode::NO_CONTENT
        | StatusCode::RESET_CONTENT
        | StatusCode::PARTIAL_CONTENT
        | StatusCode::NOT_MODIFIED => false,
        status => !status.is_informational(),
    };
    let of_body = match is_head {
        true => response.body().own_length(),
        false => response.body().size_hint().exact(),
    };
    has_content
        && length(headers).or(of_body).is_none_or(|length| length >= LEAST)
        && may_be_coded(headers)
        && says_text(headers)
}

fn says_text(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| is_text(value.as_bytes()))
}

/// As it is said.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).map(|value| {
        let text = value.to_str().ok();
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    })
}

fn may_be_coded(headers: &HeaderMap) -> bool {
    !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && !DIGESTS.iter().any(|name| headers.contains_key(name))
        && !forbids_transforming(headers)
}

/// Whether a media type is text. Events are sent as they come, and are short.
fn is_text(value: &[u8]) -> bool {
    let kind = value
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let kind = kind.to_ascii_lowercase();
    if kind == b"text/event-stream" {
        return false;
    }
    let known: [&[u8]; 9] = [
        b"application/javascript",
        b"application/json",
        b"application/manifest+json",
        b"application/wasm",
        b"application/x-javascript",
        b"application/xml",
        b"font/otf",
        b"font/ttf",
        b"image/svg+xml",
    ];
    kind.starts_with(b"text/")
        || kind.ends_with(b"+json")
        || kind.ends_with(b"+xml")
        || known.contains(&&*kind)
}

enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Coder {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), GZIP)),
            Coding::Brotli => {
                let coder = brotli::CompressorWriter::new(Vec::new(), 4_096, BROTLI, WINDOW);
                Self::Brotli(Box::new(coder))
            }
            Coding::Zstd => {
                let mut coder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD)?;
                coder.window_log(WINDOW)?;
                Self::Zstd(coder)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(coder) => coder.write_all(bytes),
            Self::Brotli(coder) => coder.write_all(bytes),
            Self::Zstd(coder) => coder.write_all(bytes),
        }
    }

    /// Brings out all that was written.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(coder) => coder.flush(),
            Self::Brotli(coder) => coder.flush(),
            Self::Zstd(coder) => coder.flush(),
        }
    }

    /// What has come out since the last time.
    fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Gzip(coder) => coder.get_mut(),
            Self::Brotli(coder) => coder.get_mut(),
            Self::Zstd(coder) => coder.get_mut(),
        };
        std::mem::take(out).into()
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Gzip(coder) => coder.finish()?,
            Self::Brotli(coder) => coder.into_inner(),
            Self::Zstd(coder) => coder.finish()?,
        }
        .into())
    }
}

/// A body on its way through a coder.
pub(crate) struct Packed {
    inner: ResponseBody,
    /// None once all has been written.
    coder: Option<Coder>,
    /// Whether something was written that has not come out.
    holds: bool,
    trailers: Option<HeaderMap>,
    is_over: bool,
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packed")
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

impl Packed {
    fn new(inner: ResponseBody, coder: Coder) -> Box<Self> {
        Box::new(Self {
            inner,
            coder: Some(coder),
            holds: false,
            trailers: None,
            is_over: false,
        })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// As the backend gives it.
    pub(crate) fn inner(&mut self) -> &mut ResponseBody {
        &mut self.inner
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let Some(coder) = &mut self.coder else {
                self.is_over = true;
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            let out = match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending if self.holds => {
                    self.holds = false;
                    coder.flush().map(|()| coder.take())
                }
                Poll::Pending => return Poll::Pending,
                // Cut: without its end nobody takes it for the whole.
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        self.holds = true;
                        coder.write(&data).map(|()| coder.take())
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        continue;
                    }
                },
                Poll::Ready(None) => match self.coder.take() {
                    Some(coder) => coder.finish(),
                    None => Ok(Bytes::new()),
                },
            };
            match out {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Poll::Ready(Some(Ok(Frame::data(out)))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{ObjectName, Origin};

    use super::*;

    #[test]
    fn a_client_has_what_it_takes_most_gladly() {
        use Coding::{Brotli, Gzip, Zstd};
        let compression = Compression::new(&model::Compression {
            codings: vec![Brotli, Zstd, Gzip],
            origin: Origin::new("ingress", ObjectName::new("shop", "web"), ""),
        });
        for (accepted, cached, want) in [
            ("gzip, deflate, br, zstd", "", Some(Brotli)),
            ("gzip, zstd", "", Some(Zstd)),
            ("GZIP", "", Some(Gzip)),
            ("br;q=0.5, gzip;q=0.8", "", Some(Gzip)),
            ("br;q=0, gzip", "", Some(Gzip)),
            ("br; q=0.000 , *;q=0.1", "", Some(Zstd)),
            ("*", "", Some(Brotli)),
            ("*;q=0", "", None),
            ("identity", "", None),
            ("deflate", "", None),
            ("br;q=2", "", None),
            ("br;q=0.5000", "", None),
            ("", "", None),
            ("br", "max-age=0, no-transform", None),
            ("br", "no-cache", Some(Brotli)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accepted.parse().unwrap());
            headers.insert(CACHE_CONTROL, cached.parse().unwrap());
            assert_eq!(compression.chosen(&headers), want, "{accepted} {cached}");
        }
        assert_eq!(compression.chosen(&HeaderMap::new()), None);
    }

    #[test]
    fn tags_of_a_list_are_told_apart() {
        for (list, want) in [
            ("\"a\"", &["\"a\""][..]),
            (
                "W/\"a\",\"b,c\" , \"\",, W/\"\"",
                &["W/\"a\"", "\"b,c\"", "\"\"", "W/\"\""],
            ),
            ("*", &[]),
            ("", &[]),
            ("a, \"b\", \"c", &["\"b\""]),
            ("W/", &[]),
        ] {
            let got: Vec<_> = tags(list.as_bytes()).collect();
            let want: Vec<_> = want.iter().map(|tag| tag.as_bytes()).collect();
            assert_eq!(got, want, "{list}");
        }
    }

    #[test]
    fn text_is_compressed_and_nothing_else() {
        for (kind, want) in [
            ("text/html; charset=utf-8", true),
            ("Text/HTML", true),
            ("application/json", true),
            ("application/problem+json", true),
            ("image/svg+xml", true),
            ("text/event-stream", false),
            ("text/event-stream; charset=utf-8", false),
            ("application/grpc", false),
            ("application/octet-stream", false),
            ("image/png", false),
            ("application/zip", false),
            ("", false),
        ] {
            assert_eq!(is_text(kind.as_bytes()), want, "{kind}");
        }
    }
}
