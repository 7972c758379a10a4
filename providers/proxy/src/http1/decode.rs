//! The bytes of a client's connection in, its requests as events out. Sans-io: no socket, no clock.
//!
//! However the bytes are cut, the events are the same, but for how data is cut into pieces. After a refusal nothing more is read.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri, Version};
use memchr::memchr;

use super::chunks::{Chunks, length_of, take};
use super::fields;

/// What is read of a connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request begins.
    Head(Box<Parts>, Length),
    /// A piece of its body, never empty.
    Data(Bytes),
    /// It is over; with its trailers.
    End(HeaderMap),
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Known(u64),
    Chunked,
}

/// Why no more is read of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is not HTTP/1.1, or can be read in two ways")]
    Malformed,
    #[error("the head is too large")]
    TooLarge,
    #[error("the target is too long")]
    LongTarget,
}

impl From<httparse::Error> for Refused {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLarge,
            httparse::Error::HeaderName
            | httparse::Error::HeaderValue
            | httparse::Error::NewLine
            | httparse::Error::Status
            | httparse::Error::Token
            | httparse::Error::Version => Self::Malformed,
        }
    }
}

/// How far a connection is read.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    /// Longest head, in bytes.
    longest: usize,
}

#[derive(Debug)]
enum State {
    /// Before or in a head, whose lines up to here are looked through.
    Head {
        seen: usize,
    },
    /// So many bytes of a body to come.
    Body(u64),
    Chunks(Chunks),
}

impl Decoder {
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            state: State::Head { seen: 0 },
            longest,
        }
    }

    /// Whether it stands between two requests.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// The next event; `None` where more bytes are needed.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Refused> {
        let event = match &mut self.state {
            State::Head { seen } => {
                if *seen == 0 {
                    fields::skip_empty_lines(input);
                }
                let Some(end) = head_end(input, seen, self.longest)? else {
                    return Ok(None);
                };
                let (parts, length) = head(&input.split_to(end).freeze())?;
                self.state = match length {
                    Length::Known(length) => State::Body(length),
                    Length::Chunked => State::Chunks(Chunks::new(self.longest)),
                };
                return Ok(Some(Event::Head(Box::new(parts), length)));
            }
            State::Body(0) => Some(Event::End(HeaderMap::new())),
            State::Body(left) => {
                let data = take(input, *left);
                *left -= data.as_deref().map_or(0, length_of);
                data.map(Event::Data)
            }
            State::Chunks(chunks) => chunks.next(input)?,
        };
        if matches!(event, Some(Event::End(_))) {
            self.state = State::Head { seen: 0 };
        }
        Ok(event)
    }
}

/// Where the head ends. Lines that have been looked through are not looked through again.
pub(super) fn head_end(input: &[u8], seen: &mut usize, longest: usize) -> Result<Option<usize>, Refused> {
    let mut start = *seen;
    while let Some(length) = fields::line(&input[start..])? {
        let next = start + length + 2;
        if next > longest {
            return Err(Refused::TooLarge);
        }
        if length == 0 {
            return Ok(Some(next));
        }
        // The line after it must not go on with it: known when its first byte is there.
        match input.get(next) {
            Some(b' ' | b'\t') => return Err(Refused::Malformed),
            Some(_) => start = next,
            None => break,
        }
    }
    *seen = start;
    if input.len() > longest {
        return Err(Refused::TooLarge);
    }
    Ok(None)
}

fn head(bytes: &Bytes) -> Result<(Parts, Length), Refused> {
    let mut uninit = fields::uninit();
    let mut parsed = httparse::Request::new(&mut []);
    let status = httparse::ParserConfig::default().parse_request_with_uninit_headers(
        &mut parsed,
        bytes,
        &mut uninit,
    )?;
    if !matches!(status, httparse::Status::Complete(end) if end == bytes.len()) {
        return Err(Refused::Malformed);
    }
    let mut parts = Request::new(()).into_parts().0;
    let method = parsed.method.ok_or(Refused::Malformed)?;
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| Refused::Malformed)?;
    let target = parsed.path.ok_or(Refused::Malformed)?.as_bytes();
    if target.len() > LONGEST_TARGET {
        return Err(Refused::LongTarget);
    }
    // A fragment is for clients alone: some take it for a part of the path, others leave it out. Source: RFC 9112 §3.2.
    if memchr(b'#', target).is_some() {
        return Err(Refused::Malformed);
    }
    parts.uri = Uri::from_maybe_shared(bytes.slice_ref(target)).map_err(|_| Refused::Malformed)?;
    parts.version = match parsed.version {
        Some(0) => Version::HTTP_10,
        Some(1) => Version::HTTP_11,
        Some(_) | None => return Err(Refused::Malformed),
    };
    parts.headers = fields::map(bytes, parsed.headers)?;
    let length = length(&parts)?;
    Ok((parts, length))
}

/// What the crate `http` can hold.
const LONGEST_TARGET: usize = 65_534;

/// How the body is framed, where that can be read in one way alone.
fn length(parts: &Parts) -> Result<Length, Refused> {
    let is_old = parts.version == Version::HTTP_10;
    let hosts = parts.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && !is_old) {
        return Err(Refused::Malformed);
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let (length, coding) = (lengths.next(), codings.next());
    // Even the same twice: somebody may take the list of both for a number.
    if lengths.next().is_some() || codings.next().is_some() {
        return Err(Refused::Malformed);
    }
    match (length, coding) {
        (None, None) => Ok(Length::Known(0)),
        (Some(length), None) => number(length.as_bytes())
            .map(Length::Known)
            .ok_or(Refused::Malformed),
        (None, Some(coding)) if !is_old && coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(Length::Chunked)
        }
        (_, Some(_)) => Err(Refused::Malformed),
    }
}

/// Digits alone: `parse` would take a sign.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests;
