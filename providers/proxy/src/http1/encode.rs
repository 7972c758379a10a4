//! An answer in, the bytes that go to the client out; or a request, and to the backend. Sans-io.
//!
//! How the body is framed is decided here and never taken over: a length where one is known, else chunks, else (for
//! HTTP/1.0) the end of the connection.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Version};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::buffers;
use super::chunks::{length_of, only_trailers};
use super::decode::number;
use super::lines::Lines;
use crate::fields::write_number;
use crate::present::{Kind, Present};
use crate::told::Told;

/// Longest piece that is copied behind what is sent before it; a longer one is sent from where it lies.
const COPIED: usize = 4096;
/// With so much to be sent, no more of a body is asked for.
const ENOUGH: usize = 128 * 1024;
/// Pieces given to the kernel at once.
pub(super) const SLICES: usize = 16;

/// What an answer's framing depends on, of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) is_head: bool,
    pub(crate) version: Version,
    /// Whether the client takes trailers.
    pub(crate) trailers: bool,
}

/// The fields of an answer: those of the proxy, and those of a backend that go on as they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) own: &'a HeaderMap,
    pub(crate) lines: Option<&'a Lines>,
}

impl<'a> From<&'a HeaderMap> for Fields<'a> {
    fn from(own: &'a HeaderMap) -> Self {
        Self { own, lines: None }
    }
}

impl Fields<'_> {
    fn length(self) -> Option<u64> {
        match self.own.get(CONTENT_LENGTH) {
            Some(value) => number(value.as_bytes()),
            None => self.lines.and_then(Lines::length),
        }
    }

    fn has_date(self) -> bool {
        self.lines.is_some_and(|lines| lines.present().has(Kind::Date)) || self.own.contains_key(DATE)
    }
}

/// How an answer's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// There is none, whatever the fields say.
    Nothing,
    Length(u64),
    Chunked,
    /// It ends with the connection.
    Close,
}

impl Framed {
    /// `exact` is the length of the body itself, where it is known.
    pub(crate) fn of<'a>(
        asked: Asked,
        status: StatusCode,
        fields: impl Into<Fields<'a>>,
        exact: Option<u64>,
    ) -> Self {
        if asked.is_head || has_no_body(status) {
            return Self::Nothing;
        }
        match fields.into().length().or(exact) {
            Some(length) => Self::Length(length),
            None if asked.version == Version::HTTP_10 => Self::Close,
            None => Self::Chunked,
        }
    }
}

/// Source: RFC 9110 §15.2, §15.3.5, §15.4.5.
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// What is to be sent, in order.
#[derive(Debug)]
pub(crate) struct Out {
    pieces: VecDeque<Bytes>,
    /// After all pieces.
    tail: BytesMut,
    framed: Framed,
    trailers: bool,
    /// Whether its receiver took no more when it was last sent, be it from here or from what TLS holds.
    pub(super) is_stuck: bool,
}

/// A body is longer or shorter than its answer says.
#[derive(Debug, thiserror::Error)]
#[error("the body is not as long as its head says")]
pub(crate) struct WrongLength;

impl Drop for Out {
    fn drop(&mut self) {
        buffers::give_back(std::mem::take(&mut self.tail));
    }
}

impl Out {
    /// The head of an answer; `closes` says whether it is the last on its connection.
    pub(crate) fn head<'a>(
        asked: Asked,
        status: StatusCode,
        fields: impl Into<Fields<'a>>,
        framed: Framed,
        closes: bool,
    ) -> Self {
        let fields = fields.into();
        let mut tail = buffers::take();
        let is_old = asked.version == Version::HTTP_10;
        status_line(&mut tail, is_old, status);
        let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
        // An answer that is said to have no body in any case says no length either. Source: RFC 9110 §8.6.
        let no_length =
            framed != Framed::Nothing || status.is_informational() || status == StatusCode::NO_CONTENT;
        if let Some(lines) = fields.lines {
            lines.write(&mut tail, !no_length, fields.own);
        }
        // The protocols that a client is to change to are fields like any other.
        let mut names_protocols = false;
        for (name, value) in fields.own {
            let is_ours = match *name {
                CONTENT_LENGTH => no_length,
                TRANSFER_ENCODING => true,
                CONNECTION => {
                    names_protocols |= value == "upgrade";
                    !is_switch
                }
                _ => false,
            };
            if !is_ours {
                field(&mut tail, name.as_str(), value.as_bytes());
            }
        }
        framing(&mut tail, framed);
        match (names_protocols && !is_switch, closes && !is_switch) {
            (true, true) => field(&mut tail, "connection", b"upgrade, close"),
            (true, false) => field(&mut tail, "connection", b"upgrade"),
            (false, true) => field(&mut tail, "connection", b"close"),
            (false, false) if is_old => field(&mut tail, "connection", b"keep-alive"),
            (false, false) => {}
        }
        if !is_switch && !fields.has_date() {
            let now = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
            field(&mut tail, "date", now.unwrap_or_default().as_bytes());
        }
        tail.extend_from_slice(b"\r\n");
        Self {
            pieces: VecDeque::new(),
            tail,
            framed,
            trailers: asked.trailers,
            is_stuck: false,
        }
    }

    /// The head of a request, to a host that its fields do not say.
    pub(super) fn request(head: &Parts, host: &HeaderValue, told: Option<&Told>, framed: Framed) -> Self {
        let mut tail = buffers::take();
        tail.extend_from_slice(head.method.as_str().as_bytes());
        tail.extend_from_slice(b" ");
        let target = head.uri.path_and_query();
        tail.extend_from_slice(target.map_or("/", PathAndQuery::as_str).as_bytes());
        tail.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        tail.extend_from_slice(host.as_bytes());
        tail.extend_from_slice(b"\r\n");
        for (name, value) in &head.headers {
            if !matches!(*name, CONTENT_LENGTH | HOST | TRANSFER_ENCODING) {
                field(&mut tail, name.as_str(), value.as_bytes());
            }
        }
        if let Some(told) = told {
            told.write(&mut tail);
        }
        framing(&mut tail, framed);
        tail.extend_from_slice(b"\r\n");
        Self {
            pieces: VecDeque::new(),
            tail,
            framed,
            trailers: true,
            is_stuck: false,
        }
    }

    /// Interim answers, none so far.
    pub(super) fn interims() -> Self {
        Self {
            pieces: VecDeque::new(),
            tail: buffers::take(),
            framed: Framed::Nothing,
            trailers: false,
            is_stuck: false,
        }
    }

    /// The head of an interim answer, whose fields all go on. Who speaks HTTP/1.0 knows none.
    pub(super) fn interim(&mut self, status: StatusCode, fields: &HeaderMap) {
        status_line(&mut self.tail, false, status);
        for (name, value) in fields {
            field(&mut self.tail, name.as_str(), value.as_bytes());
        }
        self.tail.extend_from_slice(b"\r\n");
    }

    /// A piece of the body.
    pub(crate) fn data(&mut self, data: Bytes) -> Result<(), WrongLength> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.framed {
            Framed::Nothing => return Ok(()),
            Framed::Length(left) => *left = left.checked_sub(length_of(&data)).ok_or(WrongLength)?,
            Framed::Chunked => {
                use std::fmt::Write as _;
                // Memory is all that could lack.
                let _ = write!(self.tail, "{:x}\r\n", data.len());
            }
            Framed::Close => {}
        }
        if data.len() <= COPIED {
            self.tail.extend_from_slice(&data);
        } else {
            if !self.tail.is_empty() {
                self.pieces.push_back(self.tail.split().freeze());
            }
            self.pieces.push_back(data);
        }
        if self.framed == Framed::Chunked {
            self.tail.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// So many bytes of the body go another way, behind all that is to be sent.
    pub(super) fn passed(&mut self, count: u64) -> Result<(), WrongLength> {
        match &mut self.framed {
            Framed::Length(left) => *left = left.checked_sub(count).ok_or(WrongLength)?,
            Framed::Nothing | Framed::Chunked | Framed::Close => return Err(WrongLength),
        }
        Ok(())
    }

    /// The end of the body.
    pub(crate) fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), WrongLength> {
        match self.framed {
            Framed::Length(1..) => return Err(WrongLength),
            Framed::Nothing | Framed::Length(_) | Framed::Close => {}
            Framed::Chunked => {
                self.tail.extend_from_slice(b"0\r\n");
                for (name, value) in &trailers
                    .filter(|_| self.trailers)
                    .map(only_trailers)
                    .unwrap_or_default()
                {
                    field(&mut self.tail, name.as_str(), value.as_bytes());
                }
                self.tail.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    /// Whether all of it is on its way.
    pub(super) fn is_sent(&self) -> bool {
        self.is_empty() && !self.is_stuck
    }

    /// Whether no more of a body is asked for: who takes nothing has all of the last piece to take first, and holds no other.
    pub(crate) fn is_enough(&self) -> bool {
        self.is_stuck || self.left() >= ENOUGH
    }

    /// Bytes that are still to be sent.
    pub(super) fn left(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum::<usize>() + self.tail.len()
    }

    /// What is sent next, as far as it fits.
    pub(super) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let all = self.pieces.iter().map(|piece| &piece[..]);
        let all = all.chain((!self.tail.is_empty()).then_some(&self.tail[..]));
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(all) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    /// So much is sent.
    pub(super) fn sent(&mut self, mut count: usize) {
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            self.pieces.pop_front();
        }
        if count < self.tail.len() {
            self.tail.advance(count);
        } else {
            self.tail.clear();
        }
    }
}

#[inline]
fn status_line(to: &mut BytesMut, is_old: bool, status: StatusCode) {
    to.extend_from_slice(if is_old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    to.extend_from_slice(status.as_str().as_bytes());
    to.extend_from_slice(b" ");
    to.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    to.extend_from_slice(b"\r\n");
}

fn framing(to: &mut BytesMut, framed: Framed) {
    match framed {
        Framed::Length(length) => {
            to.extend_from_slice(b"content-length: ");
            write_number(to, length);
            to.extend_from_slice(b"\r\n");
        }
        Framed::Chunked => field(to, "transfer-encoding", b"chunked"),
        Framed::Nothing | Framed::Close => {}
    }
}

fn field(to: &mut BytesMut, name: &str, value: &[u8]) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

/// What a request says of its answer.
pub(crate) fn asked(method: &Method, version: Version, fields: &HeaderMap, present: Present) -> Asked {
    Asked {
        is_head: *method == Method::HEAD,
        version,
        trailers: present.has(Kind::Te) && super::fields::lists(fields, &http::header::TE, b"trailers"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// All that is to be sent, with a socket that takes at most so many bytes at once.
    pub(in crate::http1) fn sent(mut out: Out, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = out.slices(&mut slices);
            let taken: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|s| s.iter().copied())
                .take(most)
                .collect();
            out.sent(taken.len());
            bytes.extend(taken);
        }
        bytes
    }

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn asking(method: &str, version: Version) -> Asked {
        let fields = fields(&[("te", "gzip, trailers")]);
        let present = Present::of(&fields);
        asked(&method.parse().unwrap(), version, &fields, present)
    }

    #[test]
    fn an_answer_is_framed_by_what_is_known_of_it() {
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        for (method, version, status, given, exact, want) in [
            ("GET", new, 200, &[][..], Some(5), Framed::Length(5)),
            (
                "GET",
                new,
                200,
                &[("content-length", "7")],
                None,
                Framed::Length(7),
            ),
            ("GET", new, 200, &[], None, Framed::Chunked),
            ("GET", old, 200, &[], None, Framed::Close),
            (
                "HEAD",
                new,
                200,
                &[("content-length", "7")],
                None,
                Framed::Nothing,
            ),
            ("GET", new, 204, &[("content-length", "7")], None, Framed::Nothing),
            ("GET", new, 304, &[], Some(0), Framed::Nothing),
            (
                "GET",
                new,
                200,
                &[("transfer-encoding", "chunked")],
                None,
                Framed::Chunked,
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let got = Framed::of(asking(method, version), status, &fields(given), exact);
            assert_eq!(got, want, "{method} {version:?} {status} {given:?} {exact:?}");
        }
    }

    #[test]
    fn an_answer_is_written_as_it_is_framed() {
        let new = Version::HTTP_11;
        let date = ("date", "x");
        for (method, version, status, given, framed, closes, want) in [
            (
                "GET",
                new,
                200,
                &[date][..],
                Framed::Length(5),
                false,
                "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 5\r\n\r\nhello",
            ),
            (
                "GET",
                new,
                200,
                &[
                    date,
                    ("content-length", "9"),
                    ("transfer-encoding", "gzip"),
                    ("connection", "x"),
                ],
                Framed::Chunked,
                true,
                "HTTP/1.1 200 OK\r\ndate: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
            ),
            (
                "HEAD",
                new,
                200,
                &[date, ("content-length", "9")],
                Framed::Nothing,
                false,
                "HTTP/1.1 200 OK\r\ndate: x\r\ncontent-length: 9\r\n\r\n",
            ),
            (
                "GET",
                new,
                204,
                &[date, ("content-length", "9")],
                Framed::Nothing,
                false,
                "HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n",
            ),
            (
                "GET",
                Version::HTTP_10,
                200,
                &[date],
                Framed::Close,
                true,
                "HTTP/1.0 200 OK\r\ndate: x\r\nconnection: close\r\n\r\nhello",
            ),
            (
                "GET",
                new,
                101,
                &[("connection", "upgrade"), ("upgrade", "x")],
                Framed::Nothing,
                true,
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let mut out = Out::head(asking(method, version), status, &fields(given), framed, closes);
            out.data(Bytes::from_static(b"hello")).unwrap();
            out.end(Some(fields(&[("x-sum", "1"), ("content-length", "3")])))
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&out.tail), want);
        }
    }

    #[test]
    fn a_body_must_be_as_long_as_its_head_says() {
        let out = || {
            Out::head(
                asking("GET", Version::HTTP_11),
                StatusCode::OK,
                &HeaderMap::new(),
                Framed::Length(5),
                false,
            )
        };
        assert!(out().data(Bytes::from_static(b"longer")).is_err());
        let mut short = out();
        short.data(Bytes::from_static(b"x")).unwrap();
        assert!(short.end(None).is_err());
    }

    #[test]
    fn what_is_sent_comes_in_order_however_it_is_taken() {
        for most in [1, 3, 1000, 5000, 100_000] {
            let mut out = Out::head(
                asking("GET", Version::HTTP_11),
                StatusCode::OK,
                &HeaderMap::new(),
                Framed::Close,
                false,
            );
            let head = out.tail.to_vec();
            let pieces = [
                vec![b'a'; 10],
                vec![b'b'; 9_000],
                vec![b'c'; 9_000],
                vec![b'd'; 3],
            ];
            for piece in &pieces {
                out.data(piece.clone().into()).unwrap();
            }
            let got = sent(out, most);
            assert_eq!(got, [&head[..], &pieces.concat()].concat(), "{most}");
        }
    }
}
