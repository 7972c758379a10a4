//! The bytes of a backend's connection in, its answer as events out. Sans-io: no socket, no clock.
//!
//! A backend is held to the same as a client: what could be framed in two ways is refused.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, Response, StatusCode, Version};

use super::chunks::{Chunks, length_of, take};
use super::decode::{Length, Refused, Whole, number, take_head, version};
use super::fields;
use super::lines::{Lines, is_strict};
use crate::present::Kind;

/// A part of an answer's body.
#[derive(Debug)]
pub(super) enum Piece {
    /// Never empty.
    Data(Bytes),
    /// It is over; with its trailers.
    End(HeaderMap),
}

/// How far an answer is read.
#[derive(Debug)]
pub(super) struct Reader {
    state: State,
    /// Longest head, in bytes.
    longest: usize,
    /// Whether its request was a HEAD: the answer has no body then, whatever its fields say.
    is_head: bool,
    /// Whether the backend takes another request on the connection.
    keeps: bool,
}

#[derive(Debug)]
enum State {
    /// Before or in a head, whose lines up to here are looked through.
    Head {
        seen: usize,
        /// Bytes of interim heads before it.
        interims: usize,
    },
    /// So many bytes of a body to come.
    Body(u64),
    Chunks(Chunks),
    /// The body ends with the connection.
    Rest,
    Over,
}

impl Reader {
    pub(super) fn new(longest: usize, is_head: bool) -> Self {
        Self {
            state: State::Head { seen: 0, interims: 0 },
            longest,
            is_head,
            keeps: false,
        }
    }

    /// The head of the answer; `None` where more bytes are needed. Its fields are left out of the map where they may go on as
    /// they came. Interim answers that come before it, but for 101, are given to `interim`; together with it they are no
    /// longer than a head may be.
    pub(super) fn head(
        &mut self,
        input: &mut BytesMut,
        as_they_came: bool,
        mut interim: impl FnMut(StatusCode, HeaderMap),
    ) -> Result<Option<Head>, Refused> {
        while let State::Head { seen, interims } = &mut self.state {
            let most = self.longest.saturating_sub(*interims);
            let Some(((status, version), lines)) = take_head(input, seen, most, first_line)? else {
                return Ok(None);
            };
            let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
            if status.is_informational() && !is_switch {
                *seen = 0;
                *interims += lines.head().len();
                interim(status, fields_of(lines)?);
                continue;
            }
            let says = |member| lines.lists(Kind::Connection, member);
            self.keeps = !says(b"close") && (version == Version::HTTP_11 || says(b"keep-alive"));
            // Though an answer to HEAD has no body, its fields go on to the client.
            let length = framing(
                version,
                lines.all(Kind::ContentLength),
                lines.all(Kind::TransferEncoding),
            )?;
            self.state = if is_switch || self.is_head || has_no_body(status) {
                State::Over
            } else {
                match length {
                    Some(Length::Known(0)) => State::Over,
                    Some(Length::Known(length)) => State::Body(length),
                    Some(Length::Chunked) => State::Chunks(Chunks::new(self.longest)),
                    None => {
                        self.keeps = false;
                        State::Rest
                    }
                }
            };
            let mut parts = Response::new(()).into_parts().0;
            (parts.status, parts.version) = (status, version);
            // Of these more goes on than of others.
            let names_protocols = is_switch || status == StatusCode::UPGRADE_REQUIRED;
            if as_they_came && !names_protocols && !lines.names_others() {
                return Ok(Some((parts, Some(lines))));
            }
            parts.headers = lines.map()?;
            lines.take_back();
            say_once(&mut parts.headers);
            return Ok(Some((parts, None)));
        }
        Ok(None)
    }

    /// The next piece of the body; `None` where more bytes are needed.
    pub(super) fn piece(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, Refused> {
        let piece = match &mut self.state {
            State::Head { .. } => None,
            State::Over => Some(Piece::End(HeaderMap::new())),
            State::Body(left) => {
                let data = take(input, *left);
                self.passed(data.as_deref().map_or(0, length_of));
                data.map(Piece::Data)
            }
            State::Rest => take(input, u64::MAX).map(Piece::Data),
            State::Chunks(chunks) => match chunks.next(input)? {
                Some(super::decode::Event::Data(data)) => Some(Piece::Data(data)),
                Some(super::decode::Event::End(trailers)) => Some(Piece::End(trailers)),
                // Chunks hold no head.
                Some(super::decode::Event::Head(..)) | None => None,
            },
        };
        if matches!(piece, Some(Piece::End(_))) {
            self.state = State::Over;
        }
        Ok(piece)
    }

    /// The connection has ended; whether the answer ended with it.
    pub(super) fn ends_with_connection(&mut self) -> bool {
        let is_end = matches!(self.state, State::Rest);
        if is_end {
            self.state = State::Over;
        }
        is_end
    }

    pub(super) fn is_in_head(&self) -> bool {
        matches!(self.state, State::Head { .. })
    }

    /// Whether interim answers have come, and no other.
    pub(super) fn has_interims(&self) -> bool {
        matches!(self.state, State::Head { interims: 1.., .. })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// How much of the body is still to come, where that is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.state {
            State::Over => Some(0),
            State::Body(left) => Some(left),
            State::Head { .. } | State::Chunks(_) | State::Rest => None,
        }
    }

    /// So many bytes of a body of known length have been taken, here or elsewhere.
    pub(super) fn passed(&mut self, count: u64) {
        if let State::Body(left) = &mut self.state {
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.state = State::Over;
            }
        }
    }

    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }
}

/// The head of an answer, with its fields where the map has none.
pub(super) type Head = (Parts, Option<Box<Lines>>);

/// Apart, for most answers come by themselves.
#[cold]
fn fields_of(lines: Box<Lines>) -> Result<HeaderMap, Refused> {
    let fields = lines.map();
    lines.take_back();
    fields
}

/// Notes the fields in `lines`.
fn first_line(input: &[u8], lines: &mut Lines) -> Whole<(StatusCode, Version)> {
    let mut uninit = fields::uninit();
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut parsed, input, &mut uninit)?;
    let httparse::Status::Complete(end) = status else {
        return Ok(None);
    };
    if !is_strict(&input[..end], parsed.headers.len()) {
        return Ok(None);
    }
    let code = parsed.code.ok_or(Refused::Malformed)?;
    let status = StatusCode::from_u16(code).map_err(|_| Refused::Malformed)?;
    let version = version(parsed.version)?;
    lines.note(input, parsed.headers)?;
    Ok(Some(((status, version), end)))
}

/// Source: RFC 9110 §15.3.5, §15.4.5.
fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// How the body is framed; `None` where it ends with the connection.
pub(crate) fn length(parts: &mut Parts) -> Result<Option<Length>, Refused> {
    let values = |name| parts.headers.get_all(name).iter().map(|value| value.as_bytes());
    let length = framing(parts.version, values(&CONTENT_LENGTH), values(&TRANSFER_ENCODING))?;
    say_once(&mut parts.headers);
    Ok(length)
}

/// The same length twice is one, for it is written once to the client.
fn say_once(fields: &mut HeaderMap) {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    if let (Some(length), Some(_)) = (lengths.next().cloned(), lengths.next()) {
        fields.insert(CONTENT_LENGTH, length);
    }
}

/// Source: RFC 9112 §6.3.
fn framing<'a>(
    version: Version,
    mut lengths: impl Iterator<Item = &'a [u8]>,
    mut codings: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<Length>, Refused> {
    let length = lengths.next();
    if lengths.any(|other| Some(other) != length) {
        return Err(Refused::Malformed);
    }
    let coding = codings.next();
    if codings.next().is_some() {
        return Err(Refused::Malformed);
    }
    match (length, coding) {
        (None, None) => Ok(None),
        (Some(length), None) => {
            let length = number(length).ok_or(Refused::Malformed)?;
            Ok(Some(Length::Known(length)))
        }
        (None, Some(coding)) if version == Version::HTTP_11 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Some(Length::Chunked))
        }
        (_, Some(_)) => Err(Refused::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer as text, in pieces of so many bytes, and whether the connection can be used again.
    fn read(bytes: &[u8], is_head: bool, piece: usize) -> Result<(String, bool), Refused> {
        let (mut reader, mut input, mut text) = (Reader::new(1024, is_head), BytesMut::new(), String::new());
        for piece in bytes.chunks(piece) {
            input.extend_from_slice(piece);
            if let Some((parts, _)) = reader.head(&mut input, false, |_, _| {})? {
                text.push_str(&format!("{} ", parts.status.as_u16()));
            }
            while !reader.is_over()
                && let Some(piece) = reader.piece(&mut input)?
            {
                match piece {
                    Piece::Data(data) => text.push_str(&String::from_utf8_lossy(&data)),
                    Piece::End(trailers) => text.push_str(&format!("|{}", trailers.len())),
                }
            }
        }
        if !reader.is_over() {
            text.push_str(if reader.ends_with_connection() {
                " end"
            } else {
                " cut"
            });
        }
        // What comes behind an answer is nobody's.
        Ok((text, reader.keeps() && input.is_empty()))
    }

    #[test]
    fn interim_answers_come_in_order_and_count_as_one_head_with_the_answer() {
        let interim = "HTTP/1.1 103 E\r\nLink: x\r\n\r\n";
        let bytes = format!("HTTP/1.1 102 P\r\n\r\n{interim}HTTP/1.1 204 N\r\n\r\n");
        for (longest, want) in [
            (bytes.len(), Ok(true)),
            (bytes.len() - 1, Err(Refused::TooLarge)),
            (interim.len(), Err(Refused::TooLarge)),
        ] {
            for piece in 1..=bytes.len() {
                let (mut reader, mut input, mut got) =
                    (Reader::new(longest, false), BytesMut::new(), Vec::new());
                let mut end = Ok(false);
                for piece in bytes.as_bytes().chunks(piece) {
                    input.extend_from_slice(piece);
                    let head = reader.head(&mut input, false, |status, fields| {
                        got.push((status.as_u16(), fields.len()));
                    });
                    end = head.map(|head| head.is_some());
                    if end != Ok(false) {
                        break;
                    }
                    assert_eq!(reader.has_interims(), !got.is_empty());
                }
                assert_eq!(end, want, "{longest} in pieces of {piece}");
                assert!([(102, 0), (103, 1)].starts_with(&got), "{got:?}");
                assert!(got.len() == 2 || want.is_err(), "{got:?}");
            }
        }
    }

    #[test]
    fn the_same_length_twice_goes_on_once() {
        let mut input = BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n");
        let (parts, _) = Reader::new(1024, true)
            .head(&mut input, false, |_, _| {})
            .unwrap()
            .unwrap();
        assert_eq!(parts.headers.get_all(CONTENT_LENGTH).iter().count(), 1);
    }

    #[test]
    fn an_answer_means_one_thing_or_is_refused() {
        let ok = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}");
        for (bytes, is_head, want) in [
            (
                ok("Content-Length: 5\r\n\r\nhello"),
                false,
                Ok(("200 hello", true)),
            ),
            (
                ok("Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
                false,
                Ok(("200 hello", true)),
            ),
            (
                ok("Content-Length: 5\r\n\r\nhell"),
                false,
                Ok(("200 hell cut", true)),
            ),
            (
                ok("Content-Length: 5\r\n\r\nhello!"),
                false,
                Ok(("200 hello", false)),
            ),
            (
                ok("Content-Length: 5\r\nConnection: x, close\r\n\r\nhello"),
                false,
                Ok(("200 hello", false)),
            ),
            (ok("Content-Length: 5\r\n\r\n"), true, Ok(("200 ", true))),
            (
                ok("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: 1\r\n\r\n"),
                false,
                Ok(("200 hello|1", true)),
            ),
            (ok("\r\nhello"), false, Ok(("200 hello end", false))),
            (
                "HTTP/1.0 200\r\nContent-Length: 1\r\n\r\nx".to_owned(),
                false,
                Ok(("200 x", false)),
            ),
            (
                "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx".to_owned(),
                false,
                Ok(("200 x", true)),
            ),
            (
                "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n".to_owned(),
                false,
                Ok(("204 ", true)),
            ),
            (
                "HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                false,
                Ok(("304 ", true)),
            ),
            (
                format!(
                    "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n{}",
                    ok("Content-Length: 0\r\n\r\n")
                ),
                false,
                Ok(("200 ", true)),
            ),
            (
                "HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n\0\n".to_owned(),
                false,
                Ok(("101 ", false)),
            ),
            (
                ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
                false,
                Err(()),
            ),
            (
                ok("Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
                false,
                Err(()),
            ),
            (
                ok("Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
                true,
                Err(()),
            ),
            (
                ok("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
                true,
                Err(()),
            ),
            (
                "HTTP/1.1 304 No\r\nContent-Length: 5, 6\r\n\r\n".to_owned(),
                false,
                Err(()),
            ),
            (ok("Content-Length: +5\r\n\r\n"), false, Err(())),
            (ok("Transfer-Encoding: gzip\r\n\r\n"), false, Err(())),
            (ok("Transfer-Encoding: gzip, chunked\r\n\r\n"), false, Err(())),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                false,
                Err(()),
            ),
            (ok("A: 1\r\n 2\r\n\r\n"), false, Err(())),
            (ok("A: 1\n\r\n"), false, Err(())),
            ("HTTP/1.1 99 OK\r\n\r\n".to_owned(), false, Err(())),
            ("HTTP/2.0 200 OK\r\n\r\n".to_owned(), false, Err(())),
            ("SSH-2.0-x\r\n\r\n".to_owned(), false, Err(())),
            (ok("Transfer-Encoding: chunked\r\n\r\n5\nhello"), false, Err(())),
        ] {
            for piece in 1..=bytes.len() {
                let got = read(bytes.as_bytes(), is_head, piece);
                let got = got
                    .as_ref()
                    .map(|(text, keeps)| (&**text, *keeps))
                    .map_err(|_| ());
                assert_eq!(got, want, "in pieces of {piece}: {bytes:?}");
            }
        }
    }
}
