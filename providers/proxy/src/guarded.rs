//! A client's HTTP/1.1 connection in, the same connection cut short at the first byte that is not safe to read out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::framing::{Framing, Refused};

/// No head, no chunk and no trailer holds a NUL: whatever hyper is reading, it answers 400 where it can, and closes.
const POISON: &[u8] = b"\0\r\n\r\n";

pub(crate) struct Guarded<IO> {
    io: IO,
    framing: Framing,
    /// What is still to be read in place of what was refused.
    poison: Option<&'static [u8]>,
}

impl<IO> Guarded<IO> {
    pub(crate) fn new(io: IO, longest_line: usize) -> Self {
        Self {
            io,
            framing: Framing::new(longest_line),
            poison: None,
        }
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
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
