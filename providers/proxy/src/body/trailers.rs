//! What comes of a request's body in, what its backend is told at its end out.

use std::sync::Arc;

use http_body::Frame;

use super::{Frames, RequestBody};
use crate::fields;
use crate::filters::Filters;
use crate::present::Kind;

impl RequestBody {
    /// Its trailers say nothing that these do not let them say.
    pub(crate) fn watch_trailers(&mut self, filters: Arc<Filters>) {
        self.filters = Some(filters);
    }

    /// What is passed on of a frame. Backends may take trailers for fields of the head (RFC 9110 §6.5.1): they say nothing
    /// that those must not.
    pub(super) fn passed(&self, frame: Frames) -> Frames {
        match frame {
            Some(Ok(frame)) if frame.is_trailers() => {
                let mut trailers = frame.into_trailers().ok()?;
                fields::clear_claims(&mut trailers);
                if let Some(filters) = &self.filters {
                    filters.change_trailers(&mut trailers);
                }
                fields::remove_where(&mut trailers, |name| {
                    Kind::of(name.as_str().as_bytes()).is_of_hop()
                });
                (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)))
            }
            other => other,
        }
    }
}
