//! Heads of interim answers in, what of them goes on to a client that takes them out.
//!
//! A proxy passes on every interim answer that it has not asked for itself (RFC 9110 §15.2). The one who waits for the
//! answer finds them, and the client's engine, which drives it, sends them before it waits again.

use std::cell::RefCell;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};

use crate::fields;
use crate::filters::Filters;

/// The head of an interim answer, without the fields of the backend's hop.
pub(crate) type Interim = (StatusCode, HeaderMap);

/// Interim answers on their way to a client, in their order. How many there are is bounded where they are read.
#[derive(Debug)]
pub(crate) struct Interims {
    /// Whether the client is invited by the proxy to send its body: then the backend's invitation is none.
    is_invited: bool,
    waiting: RefCell<Vec<Interim>>,
}

impl Interims {
    pub(crate) fn new(is_invited: bool) -> Self {
        Self {
            is_invited,
            waiting: RefCell::default(),
        }
    }

    /// Those that are to be sent now.
    pub(crate) fn take(&self) -> Vec<Interim> {
        self.waiting.take()
    }
}

/// The way of interim answers to whoever has asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passing<'a> {
    pub(crate) to: &'a Interims,
    /// What the rule does to answers.
    pub(crate) filters: Option<&'a Filters>,
}

impl Passing<'_> {
    pub(crate) fn pass(self, status: StatusCode, mut headers: HeaderMap) {
        if status == StatusCode::CONTINUE && self.to.is_invited {
            return;
        }
        fields::strip_response(&mut headers);
        // There is no body whose length it could be. Source: RFC 9110 §8.6.
        headers.remove(CONTENT_LENGTH);
        if let Some(filters) = self.filters {
            filters.hold_back(&mut headers);
        }
        self.to.waiting.borrow_mut().push((status, headers));
    }
}
