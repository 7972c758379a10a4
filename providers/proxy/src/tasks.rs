//! Futures of one worker in, none of them lost out: a panic is counted and told, and the last to end can be waited for.

use std::cell::Cell;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::Notify;
use tracing::error;

use crate::counters::Counters;

/// Tasks on the current thread. All end with the worker's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Tasks(Rc<Running>);

#[derive(Debug)]
struct Running {
    count: Cell<usize>,
    none: Notify,
    counters: Arc<Counters>,
}

impl Tasks {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self(Rc::new(Running {
            count: Cell::new(0),
            none: Notify::new(),
            counters,
        }))
    }

    pub(crate) fn spawn(&self, task: impl Future + 'static) {
        let ended = Ended(self.0.clone());
        self.0.count.set(self.0.count.get() + 1);
        // What a task shares with others are counters and pools, which no panic leaves half-changed.
        let guarded = AssertUnwindSafe(task).catch_unwind();
        // An `async` block would hold the task twice: as what it takes along, and as what it waits for.
        tokio::task::spawn_local(guarded.map(move |result| {
            if result.is_err() {
                ended.0.counters.panicked();
                error!("a connection's task panicked; the connection is closed, the others go on");
            }
        }));
    }

    /// How many run.
    pub(crate) fn count(&self) -> usize {
        self.0.count.get()
    }

    /// Waits until no task runs.
    pub(crate) async fn ended(&self) {
        while self.0.count.get() > 0 {
            self.0.none.notified().await;
        }
    }
}

struct Ended(Rc<Running>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            self.0.none.notify_one();
        }
    }
}

/// hyper's own tasks (the streams of an HTTP/2 connection) run here, too.
impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Totals;

    #[tokio::test]
    async fn a_panic_ends_its_task_alone_and_is_counted() {
        let counters = Arc::new(Counters::default());
        let tasks = Tasks::new(counters.clone());
        let set = tokio::task::LocalSet::new();
        set.run_until(async {
            tasks.spawn(async { panic!("a fault") });
            tasks.spawn(tokio::task::yield_now());
            tasks.ended().await;
        })
        .await;
        let mut totals = Totals::default();
        totals.add(&counters);
        assert_eq!(totals.panics, 1);
    }
}
