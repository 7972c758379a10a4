//! How typed text is read, shown and compared: one macro for newtypes over shared strings.

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

/// With escapes for what no URL has as it is. Source: RFC 3986 §2.1; RFC 3987 §3.1.
pub fn in_ascii(text: String) -> String {
    if text.is_ascii() {
        return text;
    }
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii() {
            out.push(char::from(byte));
        } else {
            // A string takes all that is written.
            let _ = std::fmt::Write::write_fmt(&mut out, format_args!("%{byte:02X}"));
        }
        out
    })
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
