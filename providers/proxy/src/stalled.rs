//! Streams of one HTTP/2 connection in, an end for those whose client grants no window out.
//!
//! hyper asks for nothing of an answer while the client takes nothing, so no body knows of it; and whoever may send a reset is
//! hyper's own future. So that one is dropped, which makes h2 send one, and gives back what the request holds.
//!
//! Nor does h2 wake anybody when it sends a part of a piece. But it advances the piece as it writes, which tells.

use std::cell::Cell;
use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tracing::debug;

use crate::activity::{Answer, Open, Telling};
use crate::body::{BodyError, Idle, ResponseBody};
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
        ready!(this.idle.poll_over_since(this.open.sent(), cx));
        this.open.give_up();
        this.streams.0.counters.untaken();
        debug!("a client of HTTP/2 took nothing more of an answer");
        Poll::Ready(())
    }
}

/// The body of an answer that tells what is sent of it.
pub(crate) struct Told {
    body: ResponseBody,
    telling: Telling,
}

impl Told {
    pub(crate) fn new(body: ResponseBody, open: Open) -> Self {
        Self {
            telling: open.telling(),
            body: body.holding(open),
        }
    }
}

impl Body for Told {
    type Data = Piece;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|bytes| Piece {
                    bytes,
                    telling: self.telling.clone(),
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of such a body.
pub(crate) struct Piece {
    bytes: Bytes,
    telling: Telling,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.bytes.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if count > 0 {
            self.telling.sent();
        }
    }
}
