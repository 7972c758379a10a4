//! A backend and a share in, whom copies of requests go to out.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::backend::BackendId;
use crate::origin::Origin;

/// Of so many of a hundred requests a copy goes to another backend. Nobody waits for it, and its answer is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Mirror {
    pub backend: BackendId,
    percent: u8,
    pub origin: Origin,
}

/// Why nothing is copied so.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("percent is {0}, and not from 1 to 100")]
pub struct NotAShare(i64);

impl Mirror {
    pub fn new(backend: BackendId, percent: i64, origin: Origin) -> Result<Self, NotAShare> {
        let percent = u8::try_from(percent)
            .ok()
            .filter(|percent| (1..=100).contains(percent))
            .ok_or(NotAShare(percent))?;
        Ok(Self {
            backend,
            percent,
            origin,
        })
    }

    pub fn percent(&self) -> u8 {
        self.percent
    }
}

impl fmt::Display for Mirror {
    /// `10% copied to shop/web-next:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}% copied to {}", self.percent, self.backend)
    }
}
