//! Bodies of requests in, what has come of them before somebody asks for it, or beside, out.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Failure, Frames, Idle, Progress, RequestBody, ResponseBody, Source};

/// Most that a worker reads ahead of all bodies together, in bytes. Where that much is held, bodies are passed on as they
/// come.
const ROOM: usize = 64 * 1024 * 1024;
/// Of an answer that nobody wants, so much is read for the connection's sake; with more it is closed.
const MOST_READ: usize = 64 * 1024;

/// What a worker has read ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead(Rc<Cell<usize>>);

/// Some of the room; given back when dropped.
#[derive(Debug)]
struct Reserved(Rc<Cell<usize>>, usize);

impl Ahead {
    fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let all = self.0.get() + bytes;
        (all <= ROOM).then(|| {
            self.0.set(all);
            Reserved(self.0.clone(), bytes)
        })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.0.set(self.0.get() - self.1);
    }
}

/// What has come of a body, and what is to come.
#[derive(Debug)]
pub(crate) struct Held {
    ahead: Bytes,
    trailers: Option<HeaderMap>,
    rest: Option<Source>,
    _room: Option<Reserved>,
}

impl Held {
    /// What has been taken of a body, and the rest; it needs no room of those that are read ahead.
    pub(super) fn again(taken: Vec<u8>, rest: Option<Source>) -> Self {
        Self {
            ahead: taken.into(),
            trailers: None,
            rest: rest.filter(|rest| !rest.is_end_stream()),
            _room: None,
        }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Frames> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ahead)))));
        }
        match &mut self.rest {
            Some(rest) => rest.poll_frame(cx),
            None => Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.ahead.is_empty()
            && self.trailers.is_none()
            && self.rest.as_ref().is_none_or(Source::is_end_stream)
    }

    /// With trailers to come it has no length: they could not be sent behind one.
    pub(super) fn size_hint(&self) -> SizeHint {
        let ahead = u64::try_from(self.ahead.len()).unwrap_or(u64::MAX);
        let mut hint = match (&self.rest, &self.trailers) {
            (Some(rest), _) => rest.size_hint(),
            (None, None) => SizeHint::with_exact(0),
            (None, Some(_)) => SizeHint::default(),
        };
        let upper = hint.upper();
        if let Some(upper) = upper {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint.set_lower(hint.lower().saturating_add(ahead));
        hint
    }
}

impl RequestBody {
    /// All of it.
    pub(crate) fn held(bytes: Bytes) -> Self {
        let held = Held {
            ahead: bytes,
            trailers: None,
            rest: None,
            _room: None,
        };
        let inner = Some(Source::Held(Box::new(held))).filter(|body| !body.is_end_stream());
        Self {
            progress: Progress::new(inner.is_none()),
            inner,
            is_http2: false,
            idle: Idle::new(Duration::MAX),
            left: None,
            copying: None,
            filters: None,
        }
    }

    /// It may have no more than so many bytes.
    pub(crate) fn bound(&mut self, most: u64) {
        self.left = Some(self.left.map_or(most, |left| left.min(most)));
    }

    /// Waits until all of it has come, or so many bytes.
    pub(crate) async fn gather(&mut self, ahead: &Ahead, most: u32) -> Result<(), Failure> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // What is known to be shorter needs less.
        let exact = self
            .size_hint()
            .exact()
            .and_then(|exact| usize::try_from(exact).ok());
        let Some(room) = ahead.reserve(exact.map_or(most, |exact| exact.min(most))) else {
            return Ok(());
        };
        // It is copied, if at all, when it is sent.
        let copying = self.copying.take();
        let left = self.left;
        let mut held = BytesMut::new();
        let mut trailers = None;
        let mut is_over = false;
        while held.len() < most && !is_over {
            let frame = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await;
            match frame {
                None => is_over = true,
                Some(Err(_)) => {
                    let why = self.progress.failed().unwrap_or(super::Unfinished::Broken);
                    return Err(why.into());
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => held.extend_from_slice(&data),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
            }
            is_over |= self.is_end_stream();
        }
        let rest = self.inner.take().filter(|_| !is_over);
        let held = Held {
            ahead: held.freeze(),
            trailers,
            rest,
            _room: Some(room),
        };
        self.inner = Some(Source::Held(Box::new(held))).filter(|body| !body.is_end_stream());
        self.left = left;
        self.copying = copying;
        self.progress.last.set(Instant::now());
        self.progress.finished.set(self.inner.is_none());
        Ok(())
    }

    /// All of it, too, for somebody else, once it has been sent; nothing where it is longer, or never comes to its end.
    pub(crate) fn copied(&mut self, most: usize) -> oneshot::Receiver<Vec<u8>> {
        let (to, copied) = oneshot::channel();
        self.copying = Some(Box::new(Copying {
            bytes: Vec::new(),
            most,
            to,
        }));
        copied
    }
}

/// A body's bytes on their way to somebody else.
#[derive(Debug)]
pub(super) struct Copying {
    bytes: Vec<u8>,
    most: usize,
    to: oneshot::Sender<Vec<u8>>,
}

impl Copying {
    /// All of it comes once more.
    pub(super) fn begin_again(&mut self) {
        self.bytes.clear();
    }

    /// None once there is nothing more to copy. Copied byte by byte, so that no buffer is held for a part of it.
    pub(super) fn take(mut self: Box<Self>, frame: &Frames, is_over: bool) -> Option<Box<Self>> {
        match frame {
            Some(Ok(frame)) => {
                let data = frame.data_ref().map_or(&[][..], |data| data);
                if self.bytes.len() + data.len() > self.most {
                    return None;
                }
                self.bytes.extend_from_slice(data);
            }
            Some(Err(_)) => return None,
            None => {}
        }
        if is_over {
            // Nobody may wait for it any more.
            let _ = self.to.send(self.bytes);
            return None;
        }
        Some(self)
    }
}

/// Reads an answer that nobody wants to its end, so that its connection can be used again.
pub(crate) async fn finish(mut body: ResponseBody) {
    let mut read = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MOST_READ {
            return;
        }
    }
}
