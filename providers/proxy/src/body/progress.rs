//! What happens to a request's body in, how far it has come out, for whoever waits for the answer.

use std::cell::Cell;
use std::rc::Rc;

use tokio::time::Instant;

/// How far a request's body has come; shared between the body and whoever waits for the answer.
#[derive(Debug)]
pub(crate) struct Progress {
    /// When it last moved.
    pub(super) last: Cell<Instant>,
    /// When something of the answer's body last came while not all of it had.
    pub(super) answered: Cell<Option<Instant>>,
    /// Whether it is the client that everybody waits for.
    pub(super) on_client: Cell<bool>,
    /// Why the rest will not come.
    pub(super) failed: Cell<Option<Unfinished>>,
    pub(super) finished: Cell<bool>,
}

/// Why a body has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// The client sent nothing more for the longest time allowed.
    Stalled,
    /// It is longer than bodies may be.
    TooLong,
    /// It broke off, or what it sent is not framed as a body.
    Broken,
}

impl Progress {
    pub(super) fn new(finished: bool) -> Rc<Self> {
        Rc::new(Self {
            last: Cell::new(Instant::now()),
            answered: Cell::new(None),
            on_client: Cell::new(false),
            failed: Cell::new(None),
            finished: Cell::new(finished),
        })
    }

    pub(crate) fn last(&self) -> Instant {
        self.last.get()
    }

    pub(crate) fn waits_on_client(&self) -> bool {
        self.on_client.get()
    }

    pub(crate) fn failed(&self) -> Option<Unfinished> {
        self.failed.get()
    }

    /// Whether all of the body has been taken.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.get()
    }
}
