//! Ways to write an answer in fewer bytes in, those that are asked for out.

use std::fmt;

use serde::Serialize;

use crate::origin::Origin;

/// A content coding. Source: IANA, HTTP Content Coding Registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

impl Coding {
    /// As `Accept-Encoding` and `Content-Encoding` name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Gzip, Self::Brotli, Self::Zstd]
            .into_iter()
            .find(|coding| coding.name() == text)
    }
}

/// Answers are compressed for clients that take it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Compression {
    /// The first counts where a client takes several as gladly. Never empty.
    pub codings: Vec<Coding>,
    pub origin: Origin,
}

impl fmt::Display for Compression {
    /// `compressed by br or gzip`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.codings.iter().map(|coding| coding.name()).collect();
        write!(f, "compressed by {}", names.join(" or "))
    }
}
