//! A client's HTTP/1.1 connection in, the same connection cut short at the first byte that is not safe to read, or where the
//! client takes nothing more of an answer, out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::body::Untaken;
use crate::framing::{Framing, Refused};

/// No head, no chunk and no trailer holds a NUL: whatever hyper is reading, it answers 400 where it can, and closes.
const POISON: &[u8] = b"\0\r\n\r\n";

pub(crate) struct Guarded<IO> {
    io: IO,
    framing: Framing,
    /// What is still to be read in place of what was refused.
    poison: Option<&'static [u8]>,
    taking: Arc<Taking>,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// How an answer is taken, for hyper asks no body for more meanwhile.
#[derive(Debug)]
pub(crate) struct Taking {
    /// How long a client may take nothing.
    limit: Duration,
    /// A tunnel has a bound of its own.
    pub(crate) is_tunnel: AtomicBool,
    /// The client took nothing for so long.
    pub(crate) is_over: AtomicBool,
}

impl Taking {
    pub(crate) fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            limit,
            is_tunnel: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        })
    }
}

impl<IO> Guarded<IO> {
    pub(crate) fn new(io: IO, longest_line: usize, taking: Arc<Taking>) -> Self {
        Self {
            io,
            framing: Framing::new(longest_line),
            poison: None,
            taking,
            stalled: None,
        }
    }

    /// The same, as long as the client takes something in time.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() || self.taking.is_tunnel.load(Ordering::Relaxed) {
            self.stalled = None;
            return sent;
        }
        let limit = self.taking.limit;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        self.taking.is_over.store(true, Ordering::Relaxed);
        Poll::Ready(Err(io::Error::other(Untaken)))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.poison.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
            let Err(Refused { at }) = this.framing.read(&buffer.filled()[before..]) else {
                return Poll::Ready(Ok(()));
            };
            buffer.set_filled(before + at);
            this.poison = Some(POISON);
        }
        if let Some(poison) = &mut this.poison {
            let count = poison.len().min(buffer.remaining());
            buffer.put_slice(&poison[..count]);
            *poison = &poison[count..];
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.in_time(cx, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.in_time(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.io).poll_flush(cx);
        self.in_time(cx, sent)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
