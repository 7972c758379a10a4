//! The bytes of a stream as they come in, the same without what h3 stumbles over, or what is wrong with them, out.
//!
//! h3 gathers whatever a frame says its length is, and takes the end of a stream within DATA for the end of the body:
//! both are refused before it sees them. It takes DATA of no length for that end, too, and what follows for a fault: such
//! frames say nothing, and are left out. Source: RFC 9114 §4.1, §7.1 and §9.

use super::names::{self, Part};

/// Source: RFC 9114 §7.2 and §8.1.
const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;
pub(super) const NO_ERROR: u64 = 0x100;
pub(super) const INTERNAL_ERROR: u64 = 0x102;
const FRAME_ERROR: u64 = 0x106;
const EXCESSIVE_LOAD: u64 = 0x107;
pub(super) const REQUEST_CANCELLED: u64 = 0x10c;
pub(super) const REQUEST_REJECTED: u64 = 0x10b;
pub(super) const MESSAGE_ERROR: u64 = 0x10e;

/// Follows the frames of one stream.
#[derive(Debug)]
pub(super) struct Frames {
    kind: Kind,
    at: At,
    /// What has come of a frame's type and length.
    begun: Vec<u8>,
    /// Bytes of a frame that is no DATA.
    most: u64,
    /// Frames of fields that have begun.
    heads: u32,
    /// Of the one that is coming.
    fields: Vec<u8>,
}

/// What a stream carries.
#[derive(Debug)]
enum Kind {
    Request,
    /// Says what it is by its first number.
    Unknown(Number),
    /// Of the connection as a whole: frames, none of which is DATA.
    Control,
    /// Something else, which h3 reads no more than the type of.
    Other,
}

#[derive(Debug)]
enum At {
    Type(Number),
    Length(u64, Number),
    Payload { kind: u64, left: u64 },
}

/// A number of variable length, as far as it has come. Source: RFC 9000 §16.
#[derive(Debug, Default)]
struct Number {
    value: u64,
    /// Bytes that are missing, once it has begun.
    missing: Option<u8>,
}

impl Number {
    fn take(&mut self, bytes: &mut &[u8]) -> Option<u64> {
        while self.missing != Some(0) {
            let (first, rest) = bytes.split_first()?;
            *bytes = rest;
            match &mut self.missing {
                None => {
                    self.value = u64::from(first & 0x3f);
                    self.missing = Some((1 << (first >> 6)) - 1);
                }
                Some(missing) => {
                    self.value = self.value << 8 | u64::from(*first);
                    *missing -= 1;
                }
            }
        }
        Some(self.value)
    }

    fn has_begun(&self) -> bool {
        self.missing.is_some()
    }
}

impl Frames {
    /// Of a stream that carries a request. `most` is how many bytes its head may have, and any frame but DATA.
    pub(super) fn of_request(most: usize) -> Self {
        Self::new(Kind::Request, most)
    }

    /// Of one that only its sender writes to.
    pub(super) fn of_other(most: usize) -> Self {
        Self::new(Kind::Unknown(Number::default()), most)
    }

    fn new(kind: Kind, most: usize) -> Self {
        Self {
            kind,
            at: At::Type(Number::default()),
            begun: Vec::new(),
            most: u64::try_from(most).unwrap_or(u64::MAX),
            heads: 0,
            fields: Vec::new(),
        }
    }

    /// What comes next, and where what h3 sees of it goes; an error of HTTP/3 where it may not.
    pub(super) fn take(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), u64> {
        if let Kind::Unknown(number) = &mut self.kind {
            let before = bytes;
            let kind = number.take(&mut bytes);
            out.extend_from_slice(&before[..before.len() - bytes.len()]);
            let Some(kind) = kind else {
                return Ok(());
            };
            // Source: RFC 9114 §6.2.1.
            self.kind = match kind {
                0x00 => Kind::Control,
                _ => Kind::Other,
            };
        }
        if matches!(self.kind, Kind::Other) {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        while !bytes.is_empty() {
            let before = bytes;
            match &mut self.at {
                At::Type(number) => {
                    let kind = number.take(&mut bytes);
                    self.begun
                        .extend_from_slice(&before[..before.len() - bytes.len()]);
                    if let Some(kind) = kind {
                        self.at = At::Length(kind, Number::default());
                    }
                }
                At::Length(kind, number) => {
                    let kind = *kind;
                    let length = number.take(&mut bytes);
                    self.begun
                        .extend_from_slice(&before[..before.len() - bytes.len()]);
                    if let Some(left) = length {
                        if kind != DATA && left > self.most {
                            return Err(EXCESSIVE_LOAD);
                        }
                        if (kind, left) != (DATA, 0) {
                            out.append(&mut self.begun);
                        }
                        self.begun.clear();
                        self.at = At::Payload { kind, left };
                        self.end_frame()?;
                    }
                }
                At::Payload { kind, left } => {
                    let length = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    let (some, rest) = bytes.split_at(length);
                    bytes = rest;
                    *left -= u64::try_from(length).unwrap_or(*left);
                    if *kind == HEADERS {
                        self.fields.extend_from_slice(some);
                    }
                    out.extend_from_slice(some);
                    self.end_frame()?;
                }
            }
        }
        Ok(())
    }

    /// Where all of a frame has come.
    fn end_frame(&mut self) -> Result<(), u64> {
        let At::Payload { kind, left: 0 } = self.at else {
            return Ok(());
        };
        self.at = At::Type(Number::default());
        if kind == HEADERS && self.is_request() {
            let part = match self.heads {
                0 => Part::Head,
                _ => Part::Trailers,
            };
            self.heads = self.heads.saturating_add(1);
            let fields = std::mem::take(&mut self.fields);
            if !names::stand_well(&fields, part) {
                return Err(MESSAGE_ERROR);
            }
        }
        Ok(())
    }

    pub(super) fn is_request(&self) -> bool {
        matches!(self.kind, Kind::Request)
    }

    /// The stream ends here; an error where it may not.
    pub(super) fn end(&self) -> Result<(), u64> {
        match &self.at {
            At::Type(number) if !number.has_begun() => Ok(()),
            At::Type(_) | At::Length(..) | At::Payload { .. } => Err(FRAME_ERROR),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GET https://a/
    const HEAD: &[u8] = &[1, 8, 0, 0, 0xd1, 0xd7, 0x50, 1, b'a', 0xc1];

    fn taken(mut frames: Frames, bytes: &[u8], piece: usize) -> Result<Vec<u8>, u64> {
        let mut out = Vec::new();
        for some in bytes.chunks(piece) {
            frames.take(some, &mut out)?;
        }
        frames.end().map(|()| out)
    }

    #[test]
    fn frames_are_whole_and_bounded() {
        let with = |more: &[u8]| [HEAD, more].concat();
        for (what, bytes, want) in [
            ("a head", with(b""), Ok(())),
            ("a body", with(b"\0\x03abc\0\x02de"), Ok(())),
            ("trailers", with(b"\0\x01a\x01\x06\0\0\x21a\x01x"), Ok(())),
            ("an unknown frame", with(b"\x21\x02xx\0\x01a"), Ok(())),
            ("unknown frames without length", with(b"\x21\0\0\x01a"), Ok(())),
            ("half a head", HEAD[..5].to_vec(), Err(FRAME_ERROR)),
            ("half a body", with(b"\0\x03ab"), Err(FRAME_ERROR)),
            ("a body that does not begin", with(b"\0\x03"), Err(FRAME_ERROR)),
            ("half a length", with(b"\0\x40"), Err(FRAME_ERROR)),
            ("much of a body", with(b"\0\x80\x01\0\0"), Err(FRAME_ERROR)),
            ("a long head", vec![1, 0x44, 0x01], Err(EXCESSIVE_LOAD)),
            (
                "a long unknown frame",
                with(&[0x21, 0xc0, 0, 0, 0, 0, 0, 4, 1]),
                Err(EXCESSIVE_LOAD),
            ),
            (
                "a path in trailers",
                with(b"\x01\x03\0\0\xc1"),
                Err(MESSAGE_ERROR),
            ),
            (
                "a second path",
                [&[1, 9][..], &HEAD[2..], &[0xc1]].concat(),
                Err(MESSAGE_ERROR),
            ),
        ] {
            for piece in [1, 2, 3, 1024] {
                let got = taken(Frames::of_request(1024), &bytes, piece);
                let want = want.map(|()| bytes.clone());
                assert_eq!(got, want, "{what} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn data_of_no_length_is_left_out() {
        for piece in [1, 2, 3, 1024] {
            let want = || Ok([HEAD, b"\0\x01a"].concat());
            for (body, want) in [
                (&b"\0\0\0\x01a\0\0"[..], want()),
                (b"\0\x40\0\0\x01a", want()),
                // Half of one is no end.
                (b"\0", Err(FRAME_ERROR)),
            ] {
                let got = taken(Frames::of_request(1024), &[HEAD, body].concat(), piece);
                assert_eq!(got, want, "{body:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn of_streams_of_one_direction_those_with_frames_are_bounded() {
        for (what, bytes, want) in [
            ("settings", &[0, 4, 2, 1, 0][..], Ok(())),
            ("long settings", &[0, 4, 0x44, 0x01], Err(EXCESSIVE_LOAD)),
            ("an encoder", &[2, 4, 0x44, 0x01], Ok(())),
            ("something else", &[0x21, 4, 0x44, 0x01], Ok(())),
        ] {
            for piece in [1, 1024] {
                let (mut frames, mut out) = (Frames::of_other(1024), Vec::new());
                let got = bytes
                    .chunks(piece)
                    .try_for_each(|some| frames.take(some, &mut out));
                assert_eq!(got, want, "{what} in pieces of {piece}");
                assert!(got.is_err() || out == bytes, "{what} in pieces of {piece}");
            }
        }
    }
}
