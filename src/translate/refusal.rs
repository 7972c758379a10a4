//! Why a member is not served in, what its rules answer in its place out.

use portcullis_model::{Action, FixedResponse};

/// Why nothing of a member may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What this annotation asks for cannot be had.
    Annotation(&'static str),
    /// Kubernetes would not take its manifest.
    Manifest,
}

impl Refusal {
    pub(super) fn answer(self) -> Action {
        Action::Fixed(match self {
            Self::Annotation(name) => FixedResponse::refused_by(name),
            Self::Manifest => FixedResponse::unavailable(
                "Not served because a field of its manifest is not as Kubernetes has it",
            ),
        })
    }
}
