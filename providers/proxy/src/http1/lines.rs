//! A head in, its fields where they lie out. Sans-io.
//!
//! Most fields of an answer go to the client as they came. They are neither copied one by one nor entered in a map:
//! names are made lower case in place, and what lies in a row is copied at once.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr_iter;

use super::decode::{Refused, number};
use super::fields;
use crate::present::{Kind, Present};

/// Where a field lies.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: usize,
    colon: usize,
    value: usize,
    end: usize,
    kind: Kind,
}

/// The fields of a head, in their order.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    head: Bytes,
    lines: Vec<Line>,
    present: Present,
}

/// How many a thread keeps for the next message.
const SPARE: usize = 32;

thread_local! {
    #[expect(clippy::vec_box, reason = "they are handed on in their boxes")]
    static SPARES: RefCell<Vec<Box<Lines>>> = const { RefCell::new(Vec::new()) };
}

impl Lines {
    pub(super) fn empty() -> Box<Self> {
        SPARES.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Takes back what is not needed any more.
    pub(super) fn take_back(mut self: Box<Self>) {
        self.clear();
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARE {
                spares.push(self);
            }
        });
    }

    fn clear(&mut self) {
        self.head = Bytes::new();
        self.lines.clear();
        self.present = Present::default();
    }

    /// Notes where the fields lie that were found in a head.
    pub(super) fn note(&mut self, head: &[u8], fields: &[httparse::Header<'_>]) -> Result<(), Refused> {
        self.clear();
        let base = head.as_ptr().addr();
        for field in fields {
            // What the crate `http` can hold.
            if field.name.len() > LONGEST_NAME {
                return Err(Refused::Malformed);
            }
            let start = field.name.as_ptr().addr() - base;
            let colon = start + field.name.len();
            let trimmed = fields::trim(field.value);
            // An empty value may lie anywhere.
            let value = match trimmed.is_empty() {
                true => colon + 1,
                false => trimmed.as_ptr().addr() - base,
            };
            self.lines.push(Line {
                start,
                colon,
                value,
                end: value + trimmed.len(),
                kind: Kind::Other,
            });
        }
        Ok(())
    }

    /// Keeps the head that they lie in.
    pub(super) fn keep(&mut self, mut head: BytesMut) {
        for line in &mut self.lines {
            let name = &mut head[line.start..line.colon];
            name.make_ascii_lowercase();
            line.kind = Kind::of(name);
            self.present.add(line.kind);
        }
        self.head = head.freeze();
    }

    pub(super) fn head(&self) -> &Bytes {
        &self.head
    }

    pub(super) fn present(&self) -> Present {
        self.present
    }

    /// The values of a field.
    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &[u8]> {
        let lines = if self.present.has(kind) {
            &self.lines[..]
        } else {
            &[]
        };
        let lines = lines.iter().filter(move |line| line.kind == kind);
        lines.map(|line| &self.head[line.value..line.end])
    }

    /// Whether a list has a member.
    pub(super) fn lists(&self, kind: Kind, member: &[u8]) -> bool {
        let mut members = self.all(kind).flat_map(|value| value.split(|b| *b == b','));
        members.any(|one| one.trim_ascii().eq_ignore_ascii_case(member))
    }

    /// Whether `Connection` names fields that are the hop's, too.
    pub(super) fn names_others(&self) -> bool {
        let mut members = self
            .all(Kind::Connection)
            .flat_map(|value| value.split(|b| *b == b','));
        members.any(|one| {
            let one = one.trim_ascii();
            !one.eq_ignore_ascii_case(b"keep-alive") && !one.eq_ignore_ascii_case(b"close")
        })
    }

    /// As a map, whose values share the head's memory.
    pub(super) fn map(&self) -> Result<HeaderMap, Refused> {
        let mut fields = fields::empty();
        fields.reserve(self.lines.len());
        for line in &self.lines {
            let name = HeaderName::from_bytes(&self.head[line.start..line.colon]);
            let value = HeaderValue::from_maybe_shared(self.head.slice(line.value..line.end));
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(Refused::Malformed);
            };
            fields.append(name, value);
        }
        Ok(fields)
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.all(Kind::ContentLength).next().and_then(number)
    }

    /// Writes the fields that are no hop's, and that no field of the proxy's `own` takes the place of. Of the length, which is
    /// written once, only where it `is_said`.
    pub(super) fn write(&self, to: &mut BytesMut, mut is_said: bool, own: &HeaderMap) {
        let is_own = |line: &Line| {
            let name = &self.head[line.start..line.colon];
            own.keys().any(|own| own.as_str().as_bytes() == name)
        };
        // What lies in a row and is not written yet.
        let mut row = 0..0;
        for line in &self.lines {
            let is_passed_on = if line.kind == Kind::ContentLength {
                std::mem::take(&mut is_said)
            } else {
                line.kind != Kind::TransferEncoding && !line.kind.is_of_hop()
            };
            if !is_passed_on || !own.is_empty() && is_own(line) {
                continue;
            }
            let (name, value) = (line.start..line.colon, line.value..line.end);
            // As it is written anyway.
            let is_plain = self.head[name.end..].starts_with(b": ")
                && value.start == name.end + 2
                && self.head[value.end..].starts_with(b"\r\n");
            if is_plain && row.end == name.start {
                row.end = value.end + 2;
                continue;
            }
            to.extend_from_slice(&self.head[std::mem::take(&mut row)]);
            if is_plain {
                row = name.start..value.end + 2;
            } else {
                for part in [&self.head[name], b": ", &self.head[value], b"\r\n"] {
                    to.extend_from_slice(part);
                }
            }
        }
        to.extend_from_slice(&self.head[row]);
    }
}

/// Source: the crate `http`.
const LONGEST_NAME: usize = 65_535;

/// Whether every line of a head ends with a carriage return and a line feed, and neither stands anywhere else; `fields`
/// is how many fields httparse found in it. It lets a line end with a line feed alone, and empty lines stand before the
/// first, but no carriage return stand without one, and no line feed elsewhere; it reads no field that goes on in a second line.
/// So where no empty line stands before the first, and there are as many carriage returns as lines, each ends with both.
pub(super) fn is_strict(head: &[u8], fields: usize) -> bool {
    // The first line, and the empty one.
    let lines = fields + 2;
    !matches!(head.first(), Some(b'\r' | b'\n')) && memchr_iter(b'\r', head).count() == lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(head: &str) -> Box<Lines> {
        let mut lines = Lines::empty();
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Response::new(&mut fields);
        parsed.parse(head.as_bytes()).unwrap();
        lines.note(head.as_bytes(), parsed.headers).unwrap();
        lines.keep(BytesMut::from(head));
        lines
    }

    #[test]
    fn fields_go_on_as_they_came_but_for_those_of_the_hop() {
        for (fields, is_said, want) in [
            ("A: 1\r\nB-C: x y\r\n", false, "a: 1\r\nb-c: x y\r\n"),
            ("A:1 \r\nB:\r\nC: \t2\r\n", false, "a: 1\r\nb: \r\nc: 2\r\n"),
            (
                "A: 1\r\nConnection: close\r\nB: 2\r\nKeep-Alive: 5\r\nTE: x\r\nProxy-Connection: x\r\nHTTP2-Settings: x\r\nUpgrade: x\r\n",
                false,
                "a: 1\r\nb: 2\r\n",
            ),
            (
                "Transfer-Encoding: chunked\r\nTrailer: x\r\n",
                false,
                "trailer: x\r\n",
            ),
            ("Content-Length: 1\r\nA: 1\r\n", false, "a: 1\r\n"),
            (
                "Content-Length: 1\r\nA: 1\r\ncontent-length: 1\r\n",
                true,
                "content-length: 1\r\na: 1\r\n",
            ),
            (
                "Set-Cookie: a\r\nSet-Cookie: b\r\n",
                false,
                "set-cookie: a\r\nset-cookie: b\r\n",
            ),
            ("", false, ""),
        ] {
            let lines = lines(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            let mut written = BytesMut::new();
            lines.write(&mut written, is_said, &HeaderMap::new());
            assert_eq!(written, want, "{fields:?}");
        }
    }

    #[test]
    fn what_the_proxy_says_itself_takes_the_place_of_what_the_backend_says() {
        let lines = lines("HTTP/1.1 200 OK\r\nA: 1\r\nAlt-Svc: theirs\r\nB: 2\r\n\r\n");
        let own = [(http::header::ALT_SVC, HeaderValue::from_static("ours"))];
        let mut written = BytesMut::new();
        lines.write(&mut written, false, &own.into_iter().collect());
        assert_eq!(written, "a: 1\r\nb: 2\r\n");
    }

    #[test]
    fn what_connection_names_beside_itself_is_seen() {
        for (connection, want) in [
            ("", false),
            ("Connection: close\r\n", false),
            ("Connection: Keep-Alive, Close\r\n", false),
            ("Connection: close\r\nConnection: x-a\r\n", true),
            ("Connection: close, X-A\r\n", true),
        ] {
            let lines = lines(&format!("HTTP/1.1 200 OK\r\n{connection}X-A: 1\r\n\r\n"));
            assert_eq!(lines.names_others(), want, "{connection:?}");
        }
    }

    #[test]
    fn a_head_is_strict_where_every_line_ends_in_both() {
        for (head, fields, want) in [
            (&b"HTTP/1.1 200 OK\r\nA: 1\r\n\r\n"[..], 1, true),
            (b"HTTP/1.1 200 OK\r\n\r\n", 0, true),
            (b"HTTP/1.1 200 OK\nA: 1\r\n\r\n", 1, false),
            (b"HTTP/1.1 200 OK\r\nA: 1\n\r\n", 1, false),
            (b"HTTP/1.1 200 OK\r\nA: 1\r\n\n", 1, false),
            (b"\r\nHTTP/1.1 200 OK\r\nA: 1\r\n\r\n", 1, false),
            (b"\r\nHTTP/1.1 200 OK\nA: 1\r\n\r\n", 1, false),
            (b"\nHTTP/1.1 200 OK\r\nA: 1\r\n\r\n", 1, false),
            (b"\r\n\nHTTP/1.1 200 OK\r\nA: 1\r\n\r\n", 1, false),
        ] {
            assert_eq!(is_strict(head, fields), want, "{}", head.escape_ascii());
        }
    }
}
