//! What comes of a request's body in, what its backend is told at its end out.

use http_body::Frame;

use super::{Frames, RequestBody};
use crate::fields;
use crate::present::Kind;

impl RequestBody {
    /// What its trailers say is not passed on.
    pub(crate) fn leave_trailers_out(&mut self) {
        self.is_bare = true;
    }

    /// What is passed on of a frame. Backends may take trailers for fields of the head (RFC 9110 §6.5.1): they say nothing
    /// that those must not.
    pub(super) fn passed(&self, frame: Frames) -> Frames {
        match frame {
            Some(Ok(frame)) if frame.is_trailers() => {
                let mut trailers = frame.into_trailers().ok().filter(|_| !self.is_bare)?;
                fields::clear_claims(&mut trailers);
                fields::remove_where(&mut trailers, |name| {
                    Kind::of(name.as_str().as_bytes()).is_of_hop()
                });
                (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)))
            }
            other => other,
        }
    }
}
