//! The encoded fields of a message in, whether its pseudo-header fields stand as they must out.
//!
//! h3 keeps the last of several and takes them in any place, so that whoever else reads the message may read another. It
//! decodes the fields all the same and refuses what cannot be decoded; here only their names are looked at.
//! Source: RFC 9114 §4.3, RFC 9204 §4.5 and appendix A.

/// What a message says before its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pseudo {
    Authority = 1,
    Method = 2,
    Path = 4,
    Scheme = 8,
    Protocol = 16,
    /// Of answers alone, or of nobody.
    Other = 32,
}

/// Names as they are and in Huffman's code. Source: RFC 7541 appendix B.
const NAMES: [(&[u8], &[u8], Pseudo); 5] = [
    (
        b":authority",
        &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f],
        Pseudo::Authority,
    ),
    (b":method", &[0xb9, 0x49, 0x53, 0x39, 0xe4], Pseudo::Method),
    (b":path", &[0xb9, 0x58, 0xd3, 0x3f], Pseudo::Path),
    (b":scheme", &[0xb8, 0x82, 0x4e, 0x5a, 0x4b], Pseudo::Scheme),
    (
        b":protocol",
        &[0xb9, 0x5d, 0x87, 0x49, 0xc8, 0x7a, 0x3f],
        Pseudo::Protocol,
    ),
];

/// Which part of a message fields belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Head,
    Trailers,
}

/// Whether every pseudo-header field stands before all others, once, and is one of requests. What cannot be decoded is
/// left to h3, which ends the connection for it.
pub(super) fn stand_well(fields: &[u8], part: Part) -> bool {
    let mut seen = 0_u8;
    let mut is_over = part == Part::Trailers;
    let mut reader = Reader(fields);
    // How much of a dynamic table it needs; there is none.
    if reader.integer(8).is_none() || reader.integer(7).is_none() {
        return true;
    }
    while let Some(named) = reader.field() {
        let Some(pseudo) = named else {
            is_over = true;
            continue;
        };
        let bit = pseudo as u8;
        if is_over || seen & bit != 0 || pseudo == Pseudo::Other {
            return false;
        }
        seen |= bit;
    }
    true
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The name of the next field, if it is a pseudo-header field; none where nothing more can be read.
    fn field(&mut self) -> Option<Option<Pseudo>> {
        let first = *self.0.first()?;
        match first {
            // Indexed, with its value.
            0xc0..=0xff => Some(indexed(self.integer(6)?)),
            // Its name indexed.
            0x50..=0x5f | 0x70..=0x7f => {
                let name = indexed(self.integer(4)?);
                self.text(7)?;
                Some(name)
            }
            0x20..=0x3f => {
                let is_coded = first & 0x08 != 0;
                let name = self.text(3)?;
                self.text(7)?;
                Some(literal(name, is_coded))
            }
            // In the dynamic table.
            0x00..=0x1f | 0x40..=0x4f | 0x60..=0x6f | 0x80..=0xbf => None,
        }
    }

    fn text(&mut self, prefix: u32) -> Option<&'a [u8]> {
        let length = usize::try_from(self.integer(prefix)?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    /// An integer in the last so many bits of a byte, and behind them. Source: RFC 7541 §5.1.
    fn integer(&mut self, prefix: u32) -> Option<u64> {
        let most = (1_u64 << prefix) - 1;
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        let mut value = u64::from(*first) & most;
        if value < most {
            return Some(value);
        }
        for shift in (0..56).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// By its place in the static table.
fn indexed(place: u64) -> Option<Pseudo> {
    match place {
        0 => Some(Pseudo::Authority),
        1 => Some(Pseudo::Path),
        15..=21 => Some(Pseudo::Method),
        22 | 23 => Some(Pseudo::Scheme),
        24..=28 | 63..=71 => Some(Pseudo::Other),
        _ => None,
    }
}

fn literal(name: &[u8], is_coded: bool) -> Option<Pseudo> {
    // A colon, in Huffman's code the first seven bits.
    let is_pseudo = match (name.first(), is_coded) {
        (Some(first), true) => first >> 1 == 0x5c,
        (first, false) => first == Some(&b':'),
        (None, true) => false,
    };
    let known = || {
        let mut names = NAMES.iter();
        let found = names.find(|(plain, coded, _)| name == if is_coded { *coded } else { *plain });
        found.map_or(Pseudo::Other, |(.., pseudo)| *pseudo)
    };
    is_pseudo.then(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field whose name is written out.
    fn plain(name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        match u8::try_from(name.len()).unwrap() {
            length @ ..7 => out.push(0x20 | length),
            length => out.extend([0x27, length - 7]),
        }
        out.extend(name.as_bytes());
        out.extend([1, b'x']);
        out
    }

    /// The same in Huffman's code.
    fn coded(name: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match u8::try_from(name.len()).unwrap() {
            length @ ..7 => out.push(0x28 | length),
            length => out.extend([0x2f, length - 7]),
        }
        out.extend(name);
        out.extend([1, b'x']);
        out
    }

    #[test]
    fn pseudo_header_fields_stand_once_and_first() {
        let (method, scheme, path, authority) = (vec![0xd1], vec![0xd7], vec![0xc1], vec![0x50, 1, b'a']);
        let head = || vec![method.clone(), scheme.clone(), authority.clone(), path.clone()];
        let with = |more: Vec<u8>| {
            let mut fields = head();
            fields.push(more);
            fields
        };
        let before = |more: Vec<u8>| {
            let mut fields = head();
            fields.insert(0, more);
            fields
        };
        let status = vec![0xd9];
        for (what, fields, part, want) in [
            ("a head", head(), Part::Head, true),
            ("a field", with(plain("accept")), Part::Head, true),
            ("a field of the table", with(vec![0xdd]), Part::Head, true),
            ("a field before", before(plain("accept")), Part::Head, false),
            (
                "a field of the table before",
                before(vec![0xdd]),
                Part::Head,
                false,
            ),
            ("a second path", with(path.clone()), Part::Head, false),
            (
                "a second path by name",
                with(vec![0x51, 1, b'/']),
                Part::Head,
                false,
            ),
            ("a second path in words", with(plain(":path")), Part::Head, false),
            (
                "a second method in code",
                with(coded(NAMES[1].1)),
                Part::Head,
                false,
            ),
            ("a second authority", with(authority.clone()), Part::Head, false),
            ("a protocol", with(coded(NAMES[4].1)), Part::Head, true),
            ("a status", with(status.clone()), Part::Head, false),
            ("nobody's", with(plain(":other")), Part::Head, false),
            ("trailers", vec![plain("x-sum")], Part::Trailers, true),
            ("a path in trailers", vec![path.clone()], Part::Trailers, false),
            ("a status in trailers", vec![status], Part::Trailers, false),
        ] {
            let bytes = [vec![0, 0], fields.concat()].concat();
            assert_eq!(stand_well(&bytes, part), want, "{what}");
        }
    }

    #[test]
    fn codes_of_names_are_the_names() {
        let codes = [
            (b':', 0x5c, 7),
            (b'a', 0x3, 5),
            (b'c', 0x4, 5),
            (b'd', 0x24, 6),
            (b'e', 0x5, 5),
            (b'h', 0x27, 6),
            (b'i', 0x6, 5),
            (b'l', 0x28, 6),
            (b'm', 0x29, 6),
            (b'o', 0x7, 5),
            (b'p', 0x2b, 6),
            (b'r', 0x2c, 6),
            (b's', 0x8, 5),
            (b't', 0x9, 5),
            (b'u', 0x2d, 6),
            (b'y', 0x7a, 7),
        ];
        for (name, want, _) in NAMES {
            let (mut bits, mut count) = (0_u128, 0);
            for byte in name {
                let (_, code, length) = codes.iter().find(|(of, ..)| of == byte).unwrap();
                bits = bits << length | code;
                count += length;
            }
            let padding = (8 - count % 8) % 8;
            bits = bits << padding | ((1 << padding) - 1);
            let bytes = bits.to_be_bytes();
            let length = usize::try_from((count + padding) / 8).unwrap();
            assert_eq!(&bytes[16 - length..], want, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn whatever_is_read_ends() {
        for bytes in [
            &b""[..],
            b"\0",
            b"\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\x27\xff",
            b"\xff\xff\xff",
        ] {
            assert!(stand_well(bytes, Part::Head), "{bytes:?}");
        }
    }
}
