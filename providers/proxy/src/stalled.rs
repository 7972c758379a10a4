//! Streams of one HTTP/2 connection in, an end for those whose client grants no window out.
//!
//! hyper asks for nothing of an answer while the client takes nothing, so no body knows of it; and whoever may send a reset is
//! hyper's own future. So that one is dropped, which makes h2 send one, and gives back what the request holds.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tracing::debug;

use crate::activity::{Answer, Open};
use crate::body::Idle;
use crate::counters::Counters;
use crate::tasks::Tasks;

/// Where hyper's streams run.
#[derive(Clone)]
pub(crate) struct Streams(Rc<Inner>);

struct Inner {
    tasks: Tasks,
    counters: Arc<Counters>,
    /// How long a client may take nothing.
    limit: Duration,
    /// The request whose stream is to run next.
    next: Cell<Option<Open>>,
}

impl Streams {
    pub(crate) fn new(tasks: Tasks, counters: Arc<Counters>, limit: Duration) -> Self {
        Self(Rc::new(Inner {
            tasks,
            counters,
            limit,
            next: Cell::new(None),
        }))
    }

    /// hyper calls its service, and hands on what sends the answer right after.
    pub(crate) fn begins(&self, open: Open) {
        self.0.next.set(Some(open));
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Unpin + 'static,
{
    fn execute(&self, stream: F) {
        let Some(open) = self.0.next.take() else {
            // Of a tunnel, which has a bound of its own.
            self.0.tasks.spawn(stream);
            return;
        };
        self.0.tasks.spawn(Bounded {
            stream,
            idle: Idle::new(self.0.limit),
            open,
            streams: self.clone(),
        });
    }
}

struct Bounded<F> {
    stream: F,
    open: Open,
    /// Runs while the client takes nothing.
    idle: Idle,
    streams: Streams,
}

impl<F: Future<Output = ()> + Unpin> Future for Bounded<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if Pin::new(&mut this.stream).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match this.open.answer() {
            // Who is waited for is not the client, and has bounds of its own.
            Answer::Unasked | Answer::Awaited => {
                this.idle.stop();
                return Poll::Pending;
            }
            Answer::Come => {
                this.idle.stop();
                this.open.set_answer(Answer::There);
            }
            Answer::There => {}
        }
        ready!(this.idle.poll_over(cx));
        this.open.give_up();
        this.streams.0.counters.untaken();
        debug!("a client of HTTP/2 took nothing more of an answer");
        Poll::Ready(())
    }
}
