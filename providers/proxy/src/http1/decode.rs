//! The bytes of a client's connection in, its requests as events out. Sans-io: no socket, no clock.
//!
//! However the bytes are cut, the events are the same, but for how data is cut into pieces. After a refusal nothing more is read.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri, Version};
use memchr::memchr;

use super::chunks::{Chunks, length_of, take};
use super::fields;
use super::lines::{Lines, is_strict};
use crate::present::{Kind, Present};

/// What is read of a connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// A request begins.
    Head(Begun),
    /// A piece of its body, never empty.
    Data(Bytes),
    /// It is over; with its trailers.
    End(HeaderMap),
}

/// The head of a request, and what is known of it at a glance.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) parts: Box<Parts>,
    pub(crate) length: Length,
    pub(crate) present: Present,
    /// Whether the client wants to ask more on the connection.
    pub(crate) keeps: bool,
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
                let Some(begun) = head(input, seen, self.longest)? else {
                    return Ok(None);
                };
                self.state = match begun.length {
                    Length::Known(length) => State::Body(length),
                    Length::Chunked => State::Chunks(Chunks::new(self.longest)),
                };
                return Ok(Some(Event::Head(begun)));
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
fn head_end(input: &[u8], seen: &mut usize, longest: usize) -> Result<Option<usize>, Refused> {
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

/// What was read of a head that is there as a whole, and where it ends; nothing where it is not, or not every line ends
/// as it should.
pub(super) type Whole<T> = Result<Option<(T, usize)>, Refused>;

/// Takes a head away, as its fields and what `first_line` reads besides; `None` where more bytes are needed.
pub(super) fn take_head<T>(
    input: &mut BytesMut,
    seen: &mut usize,
    longest: usize,
    first_line: impl Fn(&[u8], &mut Lines) -> Whole<T>,
) -> Result<Option<(T, Box<Lines>)>, Refused> {
    if input.is_empty() {
        return Ok(None);
    }
    let mut lines = Lines::empty();
    // Mostly all of it is there, and well formed: then it is looked through once.
    let whole = match *seen {
        0 => first_line(input, &mut lines).ok().flatten(),
        _ => None,
    };
    let (first, end) = match whole.filter(|(_, end)| *end <= longest) {
        Some(first) => first,
        None => {
            let Some(end) = head_end(input, seen, longest)? else {
                lines.take_back();
                return Ok(None);
            };
            first_line(&input[..end], &mut lines)?
                .filter(|(_, ends)| *ends == end)
                .ok_or(Refused::Malformed)?
        }
    };
    lines.keep(input.split_to(end));
    Ok(Some((first, lines)))
}

/// As `httparse` read it: 0 or 1, behind HTTP/1.
pub(super) fn version(minor: Option<u8>) -> Result<Version, Refused> {
    match minor {
        Some(0) => Ok(Version::HTTP_10),
        Some(1) => Ok(Version::HTTP_11),
        Some(_) | None => Err(Refused::Malformed),
    }
}

/// Takes the head of a request away; `None` where more bytes are needed.
fn head(input: &mut BytesMut, seen: &mut usize, longest: usize) -> Result<Option<Begun>, Refused> {
    let Some((first, lines)) = take_head(input, seen, longest, first_line)? else {
        return Ok(None);
    };
    if first.target.len() > LONGEST_TARGET {
        return Err(Refused::LongTarget);
    }
    let target = lines.head().slice(first.target);
    // A fragment is for clients alone: some take it for a part of the path, others leave it out. Source: RFC 9112 §3.2.
    if memchr(b'#', &target).is_some() {
        return Err(Refused::Malformed);
    }
    let length = length(first.version, &lines)?;
    let mut parts = Box::new(Request::new(()).into_parts().0);
    parts.method = first.method;
    parts.uri = Uri::from_maybe_shared(target).map_err(|_| Refused::Malformed)?;
    parts.version = first.version;
    parts.headers = lines.map()?;
    let says = |member| lines.lists(Kind::Connection, member);
    let begun = Begun {
        parts,
        length,
        present: lines.present(),
        // Source: RFC 9112 §9.3.
        keeps: !says(b"close") && (first.version == Version::HTTP_11 || says(b"keep-alive")),
    };
    lines.take_back();
    Ok(Some(begun))
}

/// The first line of a request.
struct First {
    method: Method,
    target: Range<usize>,
    version: Version,
}

/// Notes the fields in `lines`.
fn first_line(input: &[u8], lines: &mut Lines) -> Whole<First> {
    let mut uninit = fields::uninit();
    let mut parsed = httparse::Request::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_request_with_uninit_headers(&mut parsed, input, &mut uninit)?;
    let httparse::Status::Complete(end) = status else {
        return Ok(None);
    };
    if !is_strict(&input[..end], parsed.headers.len()) {
        return Ok(None);
    }
    let method = parsed.method.ok_or(Refused::Malformed)?;
    let target = parsed.path.ok_or(Refused::Malformed)?;
    let start = target.as_ptr().addr() - input.as_ptr().addr();
    let target = start..start + target.len();
    lines.note(input, parsed.headers)?;
    let first = First {
        method: Method::from_bytes(method.as_bytes()).map_err(|_| Refused::Malformed)?,
        target,
        version: version(parsed.version)?,
    };
    Ok(Some((first, end)))
}

/// What the crate `http` can hold.
const LONGEST_TARGET: usize = 65_534;

/// How the body is framed, where that can be read in one way alone.
fn length(version: Version, lines: &Lines) -> Result<Length, Refused> {
    let is_old = version == Version::HTTP_10;
    let hosts = lines.all(Kind::Host).count();
    if hosts > 1 || (hosts == 0 && !is_old) {
        return Err(Refused::Malformed);
    }
    let mut lengths = lines.all(Kind::ContentLength);
    let mut codings = lines.all(Kind::TransferEncoding);
    let (length, coding) = (lengths.next(), codings.next());
    // Even the same twice: somebody may take the list of both for a number.
    if lengths.next().is_some() || codings.next().is_some() {
        return Err(Refused::Malformed);
    }
    match (length, coding) {
        (None, None) => Ok(Length::Known(0)),
        (Some(length), None) => number(length).map(Length::Known).ok_or(Refused::Malformed),
        (None, Some(coding)) if !is_old && coding.eq_ignore_ascii_case(b"chunked") => Ok(Length::Chunked),
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
