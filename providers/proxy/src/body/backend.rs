//! The body of a backend's answer in, pieces of it in time out, and its connection back to the pool.

use std::fmt;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::HeaderMap;
use http_body::Frame;
use tokio::time::Instant;

use super::broken::{Astray, Reset, Stalled, TooLong};
use super::idle::Idle;
use super::progress::Progress;
use super::{BodyError, Frames, Source, is_cut, is_too_long};
use crate::answer;
use crate::http1::Pipe;
use crate::load::UnderWay;
use crate::pools::Lease;

/// The body of a backend's response. When it ends, its connection goes back to the pool.
pub(crate) struct BackendBody {
    pub(super) inner: Source,
    is_http2: bool,
    /// Whether the client takes a status of gRPC for an end.
    to_grpc: bool,
    /// Whether it has been ended with such a status.
    pub(super) is_excused: bool,
    idle: Idle,
    held: Option<(UnderWay, Lease)>,
    /// Bytes that may still come.
    left: Option<u64>,
    /// Whether its end has come.
    pub(super) is_over: bool,
}

impl BackendBody {
    pub(crate) fn new(
        inner: Source,
        idle: Duration,
        most: Option<u64>,
        under_way: UnderWay,
        lease: Lease,
        to_grpc: bool,
    ) -> Self {
        let mut body = Self {
            is_http2: lease.is_http2(),
            // Where a length is announced, nothing but the rest of it is an end.
            to_grpc: to_grpc && inner.size_hint().exact().is_none(),
            is_excused: false,
            inner,
            idle: Idle::new(idle),
            held: Some((under_way, lease)),
            left: most,
            is_over: false,
        };
        body.release_at_end();
        if let Some((under_way, _)) = &mut body.held {
            under_way.answers();
        }
        body
    }

    pub(super) fn poll_splice(
        &mut self,
        pipe: &mut Pipe,
        cx: &mut Context<'_>,
    ) -> Poll<Result<u64, BodyError>> {
        let Source::Answer(answer) = &mut self.inner else {
            return Poll::Ready(Err(Astray.into()));
        };
        let Poll::Ready(moved) = answer.poll_splice(pipe, cx) else {
            ready!(self.poll_idle(cx));
            return Poll::Ready(Err(Stalled("the backend").into()));
        };
        self.came();
        let count = moved?;
        self.release_at_end();
        Poll::Ready(Ok(count))
    }

    /// Ready once nothing has come for too long, while nothing was sent either.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let last = self.asking().map(Progress::last);
        self.idle.poll_over_since(last, cx)
    }

    fn came(&mut self) {
        self.idle.stop();
        if let Some(asking) = self.asking() {
            asking.answered.set(Some(Instant::now()));
        }
    }

    /// Of the request's body, while some of it is to come.
    fn asking(&self) -> Option<&Progress> {
        let (_, lease) = self.held.as_ref()?;
        lease.progress.as_deref().filter(|asking| !asking.is_finished())
    }

    fn release_at_end(&mut self) {
        if self.inner.is_end_stream() {
            self.release();
        }
    }

    /// Tells that the rest will not come: to gRPC as a status, as its clients see the loss of a connection.
    fn fail(&mut self, error: BodyError, status: HeaderMap) -> Frames {
        if !self.to_grpc {
            return Some(Err(error));
        }
        self.is_excused = true;
        self.held = None;
        Some(Ok(Frame::trailers(status)))
    }

    /// Where the proxy broke off the request, the backend only follows.
    fn broke_off(&mut self, error: BodyError) -> Frames {
        let held = self.held.as_ref();
        let unfinished = held.and_then(|(_, lease)| lease.progress.as_ref()?.failed());
        let status = match unfinished {
            Some(unfinished) => answer::cut_off_for(unfinished),
            None => answer::cut_off(answer::GRPC_UNAVAILABLE),
        };
        self.fail(error, status)
    }

    fn release(&mut self) {
        self.is_over = true;
        if let Some((_, lease)) = self.held.take() {
            lease.give_back();
        }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Frames> {
        if self.is_excused {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = self.inner.poll_frame(cx) else {
            ready!(self.poll_idle(cx));
            let status = answer::cut_off(answer::GRPC_DEADLINE_EXCEEDED);
            return Poll::Ready(self.fail(Stalled("the backend").into(), status));
        };
        self.came();
        if self.is_http2 && is_cut(&self.inner, &frame) {
            return Poll::Ready(self.broke_off(Reset.into()));
        }
        Poll::Ready(match frame {
            None => {
                self.release();
                None
            }
            Some(Ok(frame)) if is_too_long(&mut self.left, &frame) => {
                let status = answer::cut_off(answer::GRPC_RESOURCE_EXHAUSTED);
                self.fail(TooLong("answer").into(), status)
            }
            Some(Ok(frame)) => {
                self.release_at_end();
                Some(Ok(frame))
            }
            // The connection is broken: it is dropped with the body.
            Some(Err(error)) => self.broke_off(error),
        })
    }
}

impl fmt::Debug for BackendBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendBody").finish_non_exhaustive()
    }
}
