//! Sizes in, what is asked of the bodies of requests and answers out.

use std::fmt;

use serde::Serialize;

use crate::origin::Origin;

/// Longest body, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct BodyLimit {
    pub bytes: u64,
    pub origin: Origin,
}

/// How much of a body is to have come before a backend is asked, in bytes: what is longer is passed on from there as it
/// comes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Buffering {
    pub bytes: u32,
    pub origin: Origin,
}

impl Buffering {
    /// Most for one body: memory is held for each.
    pub const MOST: u32 = 16 * 1024 * 1024;
}

impl fmt::Display for BodyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bodies up to {} bytes", self.bytes)
    }
}

impl fmt::Display for Buffering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of bodies ahead", self.bytes)
    }
}
