//! Names with values in, a query or form out; and back. Source: URL Standard, "application/x-www-form-urlencoded".

use std::fmt::Write as _;

/// Writes `a=b&c=d`.
pub(crate) fn write<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        encode(&mut out, name);
        out.push('=');
        encode(&mut out, value);
    }
    out
}

/// Writes one text.
pub(crate) fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            // Writing to a text does not fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

/// The value of a name; none where it is not there once, or is no text.
pub(crate) fn value(form: &str, name: &str) -> Option<String> {
    let mut values = form.split('&').filter_map(|pair| {
        let (own, value) = pair.split_once('=')?;
        (own == name).then_some(value)
    });
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    decode(value)
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_written_and_read() {
        let written = write([("a", "b c"), ("d&", "é=/+"), ("-._~", "")]);
        assert_eq!(written, "a=b%20c&d%26=%C3%A9%3D%2F%2B&-._~=");
        for (form, name, want) in [
            ("a=b%20c&d=1", "a", Some("b c")),
            ("a=b+c", "a", Some("b c")),
            ("a=%C3%a9", "a", Some("é")),
            ("a=", "a", Some("")),
            ("a=1&a=2", "a", None),
            ("a", "a", None),
            ("b=1", "a", None),
            ("a=%C3", "a", None),
            ("a=%4", "a", None),
            ("a=%+1", "a", None),
            ("", "a", None),
        ] {
            assert_eq!(value(form, name).as_deref(), want, "{form}");
        }
    }
}
