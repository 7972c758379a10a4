//! Requests of one HTTP/2 or HTTP/3 connection in, when it has been without any for long out.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What is under way on a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    open: Cell<usize>,
    /// When the last request came or ended.
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

/// A request under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(Rc<Activity>);

impl Open {
    pub(crate) fn new(activity: &Rc<Activity>) -> Self {
        activity.open.set(activity.open.get() + 1);
        Self(activity.clone())
    }
}

impl Clone for Open {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.last.set(Instant::now());
    }
}
