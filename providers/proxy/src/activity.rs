//! Requests of one HTTP/2 or HTTP/3 connection in, when it has been without any for long out.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What is under way on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    open: Cell<usize>,
    /// When the last request came or ended, or some of an answer was sent.
    last: Cell<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            open: Cell::new(0),
            last: Cell::new(Instant::now()),
        }
    }
}

impl Activity {
    /// Whether a request is under way.
    pub(crate) fn is_any(&self) -> bool {
        self.open.get() > 0
    }

    /// Ready once nothing has been under way for so long.
    pub(crate) async fn none_for(&self, limit: Duration) {
        loop {
            let since = if self.open.get() > 0 {
                Instant::now()
            } else {
                self.last.get()
            };
            if since.elapsed() >= limit {
                return;
            }
            sleep_until(since + limit).await;
        }
    }
}

/// A request under way, until this and all copies of it are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Open(Rc<Request>);

#[derive(Debug)]
struct Request {
    activity: Rc<Activity>,
    answer: Cell<Answer>,
    /// When some of its answer was last sent.
    sent: Cell<Option<Instant>>,
    is_given_up: Cell<bool>,
}

/// How far the body of an answer is, as who sends it has asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nobody has asked for it yet.
    Unasked,
    /// Its backend is waited for.
    Awaited,
    /// A piece has come.
    Come,
    /// It is there still.
    There,
}

impl Open {
    pub(crate) fn new(activity: &Rc<Activity>) -> Self {
        activity.open.set(activity.open.get() + 1);
        Self(Rc::new(Request {
            activity: activity.clone(),
            answer: Cell::new(Answer::Unasked),
            sent: Cell::new(None),
            is_given_up: Cell::new(false),
        }))
    }

    pub(crate) fn set_answer(&self, answer: Answer) {
        self.0.answer.set(answer);
    }

    pub(crate) fn answer(&self) -> Answer {
        self.0.answer.get()
    }

    /// When some of the answer was last sent, where it tells.
    pub(crate) fn sent(&self) -> Option<Instant> {
        self.0.sent.get()
    }

    pub(crate) fn telling(&self) -> Telling {
        Telling {
            activity: self.0.activity.clone(),
            request: Rc::downgrade(&self.0),
        }
    }

    /// The client takes nothing more of the answer: the rest is not sent.
    pub(crate) fn give_up(&self) {
        self.0.is_given_up.set(true);
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.0.is_given_up.get()
    }
}

/// Who tells what is sent of an answer. It does not keep the request under way: the engine may hold the end of an answer for as
/// long as its client takes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Telling {
    activity: Rc<Activity>,
    request: Weak<Request>,
}

impl Telling {
    pub(crate) fn sent(&self) {
        let now = Instant::now();
        self.activity.last.set(now);
        if let Some(request) = self.request.upgrade() {
            request.sent.set(Some(now));
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.activity.open.set(self.activity.open.get() - 1);
        self.activity.last.set(Instant::now());
    }
}
