//! The bytes of a chunked body in, its data and trailers out. Sans-io.
//!
//! Source: RFC 9112 §7.1. Every line ends with a carriage return and a line feed, and extensions are read over.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::decode::{Event, Refused};
use super::fields;

/// Longest line with a chunk's size, in bytes, with its end. Extensions are of no use to anybody, and a body is not to hide in them.
const LONGEST_SIZE_LINE: usize = 4096;

/// How far a chunked body is read.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    /// Longest trailer section, in bytes.
    longest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the line with a size.
    Size,
    /// So many bytes of a chunk to come.
    Data(u64),
    /// Before the line end after a chunk.
    DataEnd,
    Trailers,
}

impl Chunks {
    pub(super) fn new(longest: usize) -> Self {
        Self {
            state: State::Size,
            longest,
        }
    }

    /// The next event; `None` where more bytes are needed. After `Event::End`, what is left is not the body's.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Event>, Refused> {
        loop {
            match self.state {
                State::Size => {
                    let line = fields::line(input)?;
                    // Too long is too long, whether or not its end has come with it.
                    if line.map_or(input.len(), |length| length + 2) > LONGEST_SIZE_LINE {
                        return Err(Refused::TooLarge);
                    }
                    let Some(length) = line else {
                        return Ok(None);
                    };
                    let size = size(&input[..length]).ok_or(Refused::Malformed)?;
                    input.advance(length + 2);
                    self.state = if size == 0 {
                        State::Trailers
                    } else {
                        State::Data(size)
                    };
                }
                State::Data(left) => {
                    let Some(data) = take(input, left) else {
                        return Ok(None);
                    };
                    let left = left - length_of(&data);
                    self.state = if left == 0 {
                        State::DataEnd
                    } else {
                        State::Data(left)
                    };
                    return Ok(Some(Event::Data(data)));
                }
                State::DataEnd => match &input[..] {
                    [b'\r', b'\n', ..] => {
                        input.advance(2);
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    [..] => return Err(Refused::Malformed),
                },
                State::Trailers => {
                    let end = fields::end(input, 0)?;
                    if end.unwrap_or(input.len()) > self.longest {
                        return Err(Refused::TooLarge);
                    }
                    let Some(end) = end else {
                        return Ok(None);
                    };
                    let section = input.split_to(end).freeze();
                    let trailers = fields::parse(&section)?;
                    return Ok(Some(Event::End(trailers)));
                }
            }
        }
    }
}

/// As much as there is, up to so many bytes; `None` of nothing.
pub(super) fn take(input: &mut BytesMut, most: u64) -> Option<Bytes> {
    let count = usize::try_from(most).map_or(input.len(), |most| most.min(input.len()));
    (count > 0).then(|| input.split_to(count).freeze())
}

pub(super) fn length_of(data: &[u8]) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

/// The size of a chunk, before any extension.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| *b == b';').next()?;
    // White space is bad, and read over where an extension may follow it. Source: RFC 9112 §7.1.1.
    let end = digits.iter().rposition(|b| !matches!(b, b' ' | b'\t'))?;
    let digits = &digits[..=end];
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0_u64, |size, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        size.checked_mul(16)?.checked_add(u64::from(digit))
    })
}

/// Trailers as they are sent on; what frames or routes a message is none. Source: RFC 9110 §6.5.1.
pub(super) fn only_trailers(mut trailers: HeaderMap) -> HeaderMap {
    use http::header;
    for name in [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::HOST,
        header::CONNECTION,
        header::TRAILER,
        header::TE,
        header::UPGRADE,
    ] {
        trailers.remove(name);
    }
    trailers
}
