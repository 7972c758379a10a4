//! The bytes of an HTTP/1.1 connection in, where they stop being safe to read out. Sans-io: no socket, no clock.
//!
//! hyper forgives what RFC 9112 §6.1 lets a server forgive: a length beside `chunked`, bare line feeds, folded lines.
//! What stands before or behind the proxy may read the same bytes in another way, and then see other requests. So
//! they are refused before hyper sees them. This reads no more than it takes to know where each request ends.

/// What is read of a connection so far.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// Longest line, in bytes; a longer one is left to hyper, which refuses it as too large.
    longest: usize,
}

#[derive(Debug)]
enum State {
    /// Before or in the head of a request.
    Head(Head),
    /// So many bytes of a body to come.
    Length(u64),
    /// Before the line with a chunk's size.
    Size,
    /// So many bytes of a chunk to come.
    Chunk(u64),
    /// Before the line feed or the carriage return after a chunk.
    ChunkEnd,
    /// In the lines after the last chunk.
    Trailers,
    /// No longer HTTP/1.1, or about to be refused: nothing is looked at.
    Beyond,
}

#[derive(Debug, Default)]
struct Head {
    /// Whether the request line has come.
    is_begun: bool,
    is_old: bool,
    is_chunked: bool,
    length: Option<u64>,
    /// Whether the connection may change protocol after this request.
    changes: bool,
}

/// The bytes from here on must not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Counted from the beginning of the piece.
    pub(crate) at: usize,
}

impl Framing {
    pub(crate) fn new(longest: usize) -> Self {
        Self {
            state: State::Head(Head::default()),
            partial: Vec::new(),
            longest,
        }
    }

    /// Reads on. After a refusal nothing more may be read.
    pub(crate) fn read(&mut self, piece: &[u8]) -> Result<(), Refused> {
        let mut at = 0;
        while at < piece.len() {
            let rest = &piece[at..];
            at += match &mut self.state {
                State::Beyond => return Ok(()),
                State::Length(left) => {
                    let count = skip(left, rest);
                    if *left == 0 {
                        self.state = State::Head(Head::default());
                    }
                    count
                }
                State::Chunk(left) => {
                    let count = skip(left, rest);
                    if *left == 0 {
                        self.state = State::ChunkEnd;
                    }
                    count
                }
                State::Head(_) | State::Size | State::ChunkEnd | State::Trailers => {
                    self.line(rest).ok_or(Refused { at })?
                }
            };
        }
        Ok(())
    }

    /// Reads up to the end of a line; returns how far that is.
    fn line(&mut self, rest: &[u8]) -> Option<usize> {
        let Some(end) = rest.iter().position(|b| *b == b'\n') else {
            self.partial.extend_from_slice(rest);
            if self.partial.len() > self.longest {
                self.state = State::Beyond;
                self.partial = Vec::new();
            }
            return Some(rest.len());
        };
        let count = end + 1;
        let next = if self.partial.is_empty() {
            self.state.after(text(&rest[..count])?)
        } else {
            self.partial.extend_from_slice(&rest[..count]);
            let next = self.state.after(text(&self.partial)?);
            // Lines are seldom cut in two: the memory is not kept for the next.
            self.partial = Vec::new();
            next
        };
        self.state = next?;
        Some(count)
    }
}

/// A line without its end, which is a carriage return and a line feed, neither of which stands anywhere else.
fn text(line: &[u8]) -> Option<&[u8]> {
    line.strip_suffix(b"\r\n").filter(|text| !text.contains(&b'\r'))
}

fn skip(left: &mut u64, rest: &[u8]) -> usize {
    let available = u64::try_from(rest.len()).unwrap_or(u64::MAX);
    let count = (*left).min(available);
    *left -= count;
    usize::try_from(count).unwrap_or(rest.len())
}

impl State {
    /// The state after a line; `None` for a line that is refused.
    fn after(&mut self, line: &[u8]) -> Option<Self> {
        match self {
            Self::Head(head) => {
                let head = std::mem::take(head);
                if line.is_empty() {
                    head.end()
                } else {
                    head.line(line).map(Self::Head)
                }
            }
            Self::Size => match size(line)? {
                0 => Some(Self::Trailers),
                size => Some(Self::Chunk(size)),
            },
            Self::ChunkEnd if line.is_empty() => Some(Self::Size),
            Self::ChunkEnd => None,
            Self::Trailers if line.is_empty() => Some(Self::Head(Head::default())),
            Self::Trailers => (!is_folded(line)).then_some(Self::Trailers),
            Self::Length(_) | Self::Chunk(_) | Self::Beyond => Some(Self::Beyond),
        }
    }
}

impl Head {
    fn line(mut self, line: &[u8]) -> Option<Self> {
        if !self.is_begun {
            // hyper would leave a fragment out, and `#` is a valid character of methods.
            let target = line.splitn(2, |b| *b == b' ').nth(1).unwrap_or_default();
            if target.contains(&b'#') {
                return None;
            }
            self.is_begun = true;
            self.is_old = line.ends_with(b" HTTP/1.0");
            self.changes = line.starts_with(b"CONNECT ");
            return Some(self);
        }
        if is_folded(line) {
            return None;
        }
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = line.split_at(colon);
        let value = trim(value.get(1..)?);
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value, 10)?;
            // Even the same twice: somebody may take the list of both for a number.
            if self.length.replace(length).is_some() {
                return None;
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.is_old || self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return None;
            }
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.changes = true;
        }
        Some(self)
    }

    /// What follows the head's empty line.
    fn end(self) -> Option<State> {
        match self {
            // Empty lines before a request. Source: RFC 9112 §2.2.
            Self { is_begun: false, .. } => Some(State::Head(self)),
            Self {
                is_chunked: true,
                length: Some(_),
                ..
            } => None,
            Self { changes: true, .. } => Some(State::Beyond),
            Self { is_chunked: true, .. } => Some(State::Size),
            Self {
                length: Some(length @ 1..),
                ..
            } => Some(State::Length(length)),
            Self { .. } => Some(State::Head(Self::default())),
        }
    }
}

fn is_folded(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

/// Without the white space that may surround a value: `trim_ascii` would take away more.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Digits alone: `from_str_radix` would take a sign.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let are_digits = text.chars().all(|c| c.is_digit(radix));
    u64::from_str_radix(text, radix).ok().filter(|_| are_digits)
}

/// The size of a chunk, before any extension.
fn size(line: &[u8]) -> Option<u64> {
    let size = line.split(|b| *b == b';').next()?;
    number(trim(size), 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether all of it may be read, in pieces of so many bytes.
    fn is_read(bytes: &[u8], piece: usize) -> bool {
        let mut framing = Framing::new(1024);
        bytes.chunks(piece).all(|piece| framing.read(piece).is_ok())
    }

    #[test]
    fn a_message_is_refused_where_others_may_read_another() {
        let chunked = |body: &str| format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let head = |fields: &str| format!("POST / HTTP/1.1\r\n{fields}\r\n");
        for (bytes, want) in [
            (
                "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned(),
                true,
            ),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned(), true),
            (head("Content-Length: 3\r\n") + "a\nb" + &head(""), true),
            (
                head("Content-Length:0\r\n") + &head("content-length: \t1 \r\n") + "x",
                true,
            ),
            (chunked("5\r\na\nb\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), true),
            (
                chunked("A;name=\"v\"\r\n0123456789\r\n00\r\nX-Sum: 1\r\n\r\n") + &head(""),
                true,
            ),
            (head("Upgrade: websocket\r\n") + "anything\n\0at all\n", true),
            ("CONNECT a:1 HTTP/1.1\r\n\r\nanything\n".to_owned(), true),
            (head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), false),
            (head("transfer-encoding: chunked\r\ncontent-length: 0\r\n"), false),
            (head("Content-Length: 3\r\nContent-Length: 3\r\n"), false),
            (head("Content-Length: 3, 3\r\n"), false),
            (head("Content-Length: +3\r\n"), false),
            (head("Content-Length: 0x3\r\n"), false),
            (head("Content-Length:\r\n"), false),
            (head("Content-Length: 99999999999999999999\r\n"), false),
            (head("Transfer-Encoding: gzip, chunked\r\n"), false),
            (head("Transfer-Encoding: \u{b}chunked\r\n"), false),
            (
                head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
                false,
            ),
            (
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
                false,
            ),
            (head("X-A: 1\r\n 2\r\n"), false),
            (head("X-A: 1\r\n\t: 2\r\n"), false),
            (head("X-A: 1\n"), false),
            (head("X-A: 1\rX-B: 2\r\n"), false),
            (head("no colon\r\n"), false),
            ("GET / HTTP/1.1\n\n".to_owned(), false),
            ("GET /a#b HTTP/1.1\r\n\r\n".to_owned(), false),
            (chunked("5\nhello\r\n"), false),
            (chunked("5\r\nhello\n0\r\n\r\n"), false),
            (chunked("5\r\nhello!\r\n"), false),
            (chunked("\r\nhello\r\n"), false),
            (chunked("-1\r\n"), false),
            (chunked("fffffffffffffffff\r\n"), false),
            (chunked("0\r\nX-A: 1\n\r\n"), false),
        ] {
            // However the network cuts them.
            for piece in 1..=bytes.len() {
                assert_eq!(
                    is_read(bytes.as_bytes(), piece),
                    want,
                    "in pieces of {piece}: {bytes:?}"
                );
            }
        }
    }

    /// Pieces of messages, good and bad, from which proptest makes streams.
    const PIECES: [&str; 24] = [
        "GET / HTTP/1.1\r\n",
        "POST /x HTTP/1.0\r\n",
        "Host: a\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        "Content-Length: 5\r\n",
        "content-length:0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "TRANSFER-ENCODING:chunked\r\n",
        "Upgrade: x\r\n",
        "5\r\nhello\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "5;a=b\r\n",
        "hello",
        "\0",
        "X-A: 1\r\n",
        ";",
        "ff",
    ];

    proptest::proptest! {
        #[test]
        fn it_does_not_matter_how_the_network_cuts(
            parts in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 1..30),
            cut in 1..40_usize,
        ) {
            let bytes = parts.concat();
            let whole = is_read(bytes.as_bytes(), bytes.len());
            proptest::prop_assert_eq!(is_read(bytes.as_bytes(), cut), whole);
            proptest::prop_assert_eq!(is_read(bytes.as_bytes(), 1), whole);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 1..10_usize) {
            is_read(&bytes, cut);
        }
    }

    #[test]
    fn what_came_before_the_refusal_may_be_read() {
        let mut framing = Framing::new(1024);
        let good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let bad = b"GET / HTTP/1.1\r\n";
        let piece = [&good[..], bad, b"\n"].concat();
        assert_eq!(
            framing.read(&piece),
            Err(Refused {
                at: good.len() + bad.len()
            })
        );
    }

    #[test]
    fn an_endless_line_is_not_kept() {
        let mut framing = Framing::new(1024);
        for _ in 0..100 {
            assert_eq!(framing.read(&[b'x'; 100]), Ok(()));
        }
        assert!(framing.partial.capacity() < 4096);
    }
}
