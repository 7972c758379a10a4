//! How typed text is read, shown and compared: one macro for newtypes over shared strings.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Implements `Display`, `Debug`-free access and `Serialize` as text for a newtype over `Arc<str>`.
macro_rules! shared_text {
    ($name:ident) => {
        impl $name {
            /// The text as it was normalised by the constructor.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The same text, to be kept.
            pub fn shared(&self) -> std::sync::Arc<str> {
                self.0.clone()
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

/// What browsers escape in a path, beside spaces and what is not ASCII. Source: URL Standard, "path percent-encode set".
pub const PATH_ESCAPED: &str = "\"<>^`{}";

/// With escapes for all bytes but those of ASCII that are kept. Source: RFC 3986 §2.1.
pub fn escaped(text: &str, is_kept: impl Fn(u8) -> bool) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii() && is_kept(byte) {
            out.push(char::from(byte));
        } else {
            // A string takes all that is written.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// With escapes for what no URL has as it is. Source: RFC 3987 §3.1.
pub fn in_ascii(text: String) -> String {
    match text.is_ascii() {
        true => text,
        false => escaped(&text, |_| true),
    }
}

/// Longest text that placeholders make, in bytes: as long as the head of a request may be.
pub(crate) const LONGEST: usize = 64 << 10;

/// With what stands for each `#{name}` in its place; where nothing does, it stays as it is written. None where that would be
/// longer than [`LONGEST`].
pub(crate) fn filled<'v>(text: &str, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> Option<String> {
    let (mut out, mut rest) = (String::new(), text);
    let mut add = |text: &str| (out.len() + text.len() <= LONGEST).then(|| out.push_str(text));
    while let Some((plain, after)) = rest.split_once("#{")
        && let Some((name, tail)) = after.split_once('}')
    {
        add(plain)?;
        match value(name) {
            Some(value) => add(&value)?,
            None => ["#{", name, "}"].into_iter().try_for_each(&mut add)?,
        }
        rest = tail;
    }
    add(rest)?;
    Some(out)
}

/// Implements `Serialize` through `Display`, for types whose text form is what people read.
macro_rules! serialize_as_display {
    ($($name:ty),+) => {
        $(impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        })+
    };
}

pub(crate) use {serialize_as_display, shared_text};
