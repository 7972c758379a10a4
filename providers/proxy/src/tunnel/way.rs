//! One end of a tunnel in, its bytes at the other end out.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use crate::http1;

/// One direction. Tunnels are mostly idle: it holds a buffer only while the other end has not taken what came.
#[derive(Debug, Default)]
pub(super) struct Way {
    held: BytesMut,
    /// How much of it is written.
    written: usize,
    at: At,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// All that was written is on its way.
    #[default]
    Flushed,
    Written,
    /// Nothing more comes.
    Ended,
    /// The other end knows.
    Shut,
}

impl Way {
    /// Ready once all has been carried, and the other end knows that no more comes.
    pub(super) fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while self.written < self.held.len() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.held[self.written..]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += written;
                self.at = At::Written;
            }
            if self.at == At::Ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.at = At::Shut;
            }
            if self.at == At::Shut {
                return Poll::Ready(Ok(()));
            }
            if self.poll_read(from, cx)?.is_pending() {
                if self.at == At::Written {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.at = At::Flushed;
                }
                return Poll::Pending;
            }
        }
    }

    fn poll_read(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.written = 0;
        self.held.clear();
        if self.held.capacity() == 0 {
            self.held = http1::take_buffer();
        }
        // Nothing is lost with this future: bytes are in the buffer, or have not been read.
        let read = pin!(from.read_buf(&mut self.held)).poll(cx);
        if self.held.is_empty() {
            http1::give_back_buffer(std::mem::take(&mut self.held));
        }
        if ready!(read)? == 0 {
            self.at = At::Ended;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn all_arrives_in_order_and_nothing_is_held_for_it_afterwards() {
        // The other end takes little at a time.
        let (mut sender, mut from) = duplex(1 << 20);
        let (mut to, mut receiver) = duplex(7);
        let sent: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let mut way = Way::default();
        let mut got = vec![0; sent.len()];
        sender.write_all(&sent).await.unwrap();
        let mut reading = pin!(receiver.read_exact(&mut got));
        poll_fn(|cx| {
            assert!(way.poll(&mut from, &mut to, cx).is_pending(), "it is over");
            assert!(way.held.len() <= 8 * 1024, "{}", way.held.len());
            reading.as_mut().poll(cx)
        })
        .await
        .unwrap();
        assert!(got == sent, "what arrives is something else");
        let is_over = poll_fn(|cx| Poll::Ready(way.poll(&mut from, &mut to, cx).is_ready())).await;
        assert!(!is_over);
        assert_eq!(way.held.capacity(), 0);

        drop(sender);
        poll_fn(|cx| way.poll(&mut from, &mut to, cx)).await.unwrap();
        assert_eq!(receiver.read(&mut [0]).await.unwrap(), 0, "it is told the end");
    }
}
