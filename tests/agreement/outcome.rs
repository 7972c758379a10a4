//! An action and a request in, what the client gets of it out.

use std::collections::BTreeMap;

use portcullis_model::{Action, Listener, Request};

/// What comes of a request, in a form that all who serve it have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Forward {
        /// By backend, with their weights; a lone backend has no weight.
        backends: BTreeMap<String, u64>,
        sticky_seconds: Option<u64>,
    },
    Redirect {
        status: u64,
        location: String,
    },
    Fixed {
        status: u64,
        content_type: Option<String>,
        body: String,
    },
}

impl Outcome {
    pub(crate) fn of_model(action: &Action, request: &Request, listener: &Listener) -> Self {
        match action {
            Action::Forward(forward) => {
                let alone = forward.backends.len() == 1;
                let backends = forward.backends.iter().map(|b| {
                    let weight = if alone { 1 } else { u64::from(b.weight.get()) };
                    (b.backend.to_string(), weight)
                });
                Self::Forward {
                    backends: backends.collect(),
                    sticky_seconds: forward.stickiness.map(|s| u64::from(s.seconds)),
                }
            }
            Action::Redirect(redirect) => Self::Redirect {
                status: u64::from(redirect.status.code()),
                location: redirect.location(request, listener.is_https()),
            },
            Action::Fixed(fixed) => Self::Fixed {
                status: u64::from(fixed.status()),
                content_type: fixed.content_type.clone(),
                body: fixed.body.clone().unwrap_or_default(),
            },
        }
    }
}
