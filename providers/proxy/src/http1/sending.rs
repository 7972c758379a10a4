//! An answer on its way to a client: its head, and its body as it comes.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::time::Sleep;

use super::encode::{Framed, Out};
use super::splice::Pipe;
use super::wire::{Broken, Wire};
use crate::body::{BodyError, ResponseBody, Untaken};
use crate::places::Places;

pub(super) struct Sending<'a> {
    wire: &'a RefCell<Wire>,
    /// Where a pipe takes its files.
    places: &'a Arc<Places>,
    out: Out,
    body: ResponseBody,
    /// Holds what comes behind `out`, once a long body goes that way.
    pipe: Option<Pipe>,
    /// Whether it may yet.
    asks_pipe: bool,
    /// Whether all of the body has come.
    is_whole: bool,
    /// Why no more of it comes.
    broken: Option<BodyError>,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// How long and how much is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long a client may take nothing.
    pub(super) stall: Duration,
    /// Bytes that are kept of what it sends meanwhile.
    pub(super) ahead: usize,
}

impl<'a> Sending<'a> {
    pub(super) fn new(
        wire: &'a RefCell<Wire>,
        places: &'a Arc<Places>,
        out: Out,
        body: ResponseBody,
        framed: Framed,
    ) -> Self {
        Self {
            places,
            out,
            body,
            pipe: None,
            asks_pipe: matches!(framed, Framed::Length(_)) && wire.borrow().takes_pipe(),
            is_whole: framed == Framed::Nothing,
            broken: None,
            stalled: None,
            wire,
        }
    }

    /// Ready once all is sent.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, bounds: Bounds) -> Poll<Result<(), BodyError>> {
        loop {
            self.fill(cx)?;
            let left = self.left();
            if left == 0 && self.out.is_sent() {
                if self.is_whole {
                    return Poll::Ready(Ok(()));
                }
                if let Some(error) = self.broken.take() {
                    return Poll::Ready(Err(error));
                }
                let mut wire = self.wire.borrow_mut();
                if wire.is_read() {
                    return wire
                        .poll_gone(cx, bounds.ahead)
                        .map(|()| Err(BodyError::from(Broken::Ended)));
                }
                wire.wakes(cx.waker());
                return Poll::Pending;
            }
            let is_sent = self.poll_send(cx)?.is_ready();
            if is_sent || self.left() < left {
                self.stalled = None;
            }
            if is_sent {
                continue;
            }
            self.body.poll_stuck(cx);
            let timer = self
                .stalled
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(bounds.stall)));
            ready!(timer.as_mut().poll(cx));
            self.body.give_up();
            return Poll::Ready(Err(Untaken.into()));
        }
    }

    /// Bytes that have come and are not sent.
    fn left(&self) -> usize {
        self.out.left() + self.pipe.as_ref().map_or(0, Pipe::held)
    }

    /// Takes of the body what has come, until there is enough to be sent.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while !self.is_whole && self.broken.is_none() && !self.out.is_enough() {
            if self.asks_pipe && self.body.is_for_pipe() {
                self.asks_pipe = false;
                self.pipe = Pipe::take(self.places);
            }
            let came = match &mut self.pipe {
                Some(pipe) if pipe.held() > 0 => break,
                Some(pipe) if !self.body.is_end_stream() => self
                    .body
                    .poll_splice(pipe, cx)
                    .map(|count| Some(count.map(Came::Apart))),
                Some(_) | None => Pin::new(&mut self.body)
                    .poll_frame(cx)
                    .map(|frame| frame.map(|frame| frame.map(Came::Frame))),
            };
            let Poll::Ready(came) = came else {
                break;
            };
            match came {
                Some(Ok(Came::Apart(count))) => self.out.passed(count)?,
                Some(Ok(Came::Frame(frame))) => self.take(frame)?,
                None => {
                    self.is_whole = true;
                    self.out.end(None)?;
                }
                // What came before it breaks off is sent all the same.
                Some(Err(error)) => self.broken = Some(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), BodyError> {
        match frame.into_data() {
            Ok(data) => self.out.data(data)?,
            Err(frame) => {
                self.is_whole = true;
                self.out.end(frame.into_trailers().ok())?;
            }
        }
        Ok(())
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut wire = self.wire.borrow_mut();
        match (wire.poll_send(cx, &mut self.out)?, &mut self.pipe) {
            (Poll::Ready(()), Some(pipe)) => wire.poll_drain(cx, pipe),
            (sent, _) => sent.map(Ok),
        }
    }
}

/// What came of a body.
enum Came {
    Frame(Frame<Bytes>),
    /// So many bytes, into the pipe.
    Apart(u64),
}
