//! The bytes of a head in, where it ends and the fields in it out. Sans-io.

use std::cell::RefCell;
use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use super::decode::Refused;

/// Fields in one head or trailer section; more are refused, as hyper does.
pub(super) const MOST: usize = 100;

/// The length of the first line, without its end; `None` where the end has not come.
pub(super) fn line(input: &[u8]) -> Result<Option<usize>, Refused> {
    let Some(feed) = memchr(b'\n', input) else {
        return Ok(None);
    };
    match input[..feed].split_last() {
        Some((b'\r', line)) if memchr(b'\r', line).is_none() => Ok(Some(feed - 1)),
        Some(_) | None => Err(Refused::Malformed),
    }
}

/// Where the empty line that ends a section ends; `from` is where a line begins. Lines that end without a carriage
/// return, hold one, or go on with white space are refused as soon as they are seen.
pub(super) fn end(input: &[u8], from: usize) -> Result<Option<usize>, Refused> {
    let mut start = from;
    while let Some(length) = line(&input[start..])? {
        let next = start + length + 2;
        if length == 0 {
            return Ok(Some(next));
        }
        if matches!(input.get(next), Some(b' ' | b'\t')) {
            return Err(Refused::Malformed);
        }
        start = next;
    }
    Ok(None)
}

/// A section of fields with its last, empty line.
pub(super) fn parse(section: &Bytes) -> Result<HeaderMap, Refused> {
    if section[..] == b"\r\n"[..] {
        return Ok(HeaderMap::new());
    }
    let mut fields = [httparse::EMPTY_HEADER; MOST];
    match httparse::parse_headers(section, &mut fields) {
        Ok(httparse::Status::Complete((_, parsed))) => map(section, parsed),
        Ok(httparse::Status::Partial) => Err(Refused::Malformed),
        Err(error) => Err(Refused::from(error)),
    }
}

/// Parsed fields as values that share the section's memory.
pub(super) fn map(section: &Bytes, parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Refused> {
    let mut fields = empty();
    fields.reserve(parsed.len());
    for field in parsed {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refused::Malformed)?;
        let value = section.slice_ref(trim(field.value));
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Refused::Malformed)?;
        fields.append(name, value);
    }
    Ok(fields)
}

/// Fields that a spare map has room for: more than most messages have, with what the proxy adds.
const ROOM: usize = 24;
/// Maps that a thread keeps for the next message.
const SPARE: usize = 32;

thread_local! {
    /// The memory of a map is asked for in large pieces, and every message has two of them.
    static SPARES: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// A map with room.
pub(super) fn empty() -> HeaderMap {
    let spare = SPARES.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| HeaderMap::with_capacity(ROOM))
}

/// Takes back a map that is not needed any more.
pub(crate) fn take_back(mut fields: HeaderMap) {
    // One that has grown is no spare, nor is one that never had room.
    if !(ROOM..=2 * ROOM).contains(&fields.capacity()) {
        return;
    }
    fields.clear();
    SPARES.with_borrow_mut(|spares| {
        if spares.len() < SPARE {
            spares.push(fields);
        }
    });
}

/// Memory for fields that httparse fills.
pub(super) fn uninit<'a>() -> [MaybeUninit<httparse::Header<'a>>; MOST] {
    [const { MaybeUninit::uninit() }; MOST]
}

/// Without the white space that may surround a value: `trim_ascii` would take away more.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether a list has a member.
pub(super) fn lists(fields: &HeaderMap, name: &HeaderName, member: &[u8]) -> bool {
    let values = fields.get_all(name).iter();
    let mut members = values.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    members.any(|one| one.trim_ascii().eq_ignore_ascii_case(member))
}

/// Takes empty lines before a message away. Source: RFC 9112 §2.2.
pub(super) fn skip_empty_lines(input: &mut BytesMut) {
    while input.starts_with(b"\r\n") {
        let _ = input.split_to(2);
    }
}
