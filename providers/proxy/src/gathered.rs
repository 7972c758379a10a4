//! What an engine of HTTP/2 writes in, fewer and larger writes out.
//!
//! The engine writes every answer as soon as it has it. Where others are ready in the same moment, one write and one
//! record of TLS do for all of them: so writes are gathered until the connection's task has been polled, and once more after
//! whoever else is ready has run.

use std::cell::RefCell;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// With so much gathered nobody is waited for.
const ENOUGH: usize = 16 * 1024;
/// More is not gathered.
const MOST: usize = 64 * 1024;

/// A stream as the engine has it.
pub(crate) struct Gathered<S>(Rc<RefCell<Inner<S>>>);

/// The same stream as the connection's task has it, which sends what was gathered.
pub(crate) struct Sending<S>(Rc<RefCell<Inner<S>>>);

struct Inner<S> {
    stream: S,
    buffer: BytesMut,
    /// Whether others have had their turn since something was gathered.
    has_waited: bool,
}

pub(crate) fn gathered<S>(stream: S) -> (Gathered<S>, Sending<S>) {
    let inner = Rc::new(RefCell::new(Inner {
        stream,
        buffer: BytesMut::new(),
        has_waited: false,
    }));
    (Gathered(inner.clone()), Sending(inner))
}

impl<S: AsyncWrite + Unpin> Inner<S> {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.buffer))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.advance(sent);
        }
        self.has_waited = false;
        // Gives the memory back while the connection waits.
        self.buffer = BytesMut::new();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// How much more is gathered; some, once it is ready.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.len() >= MOST {
            ready!(self.poll_out(cx))?;
        }
        Poll::Ready(Ok(MOST - self.buffer.len()))
    }
}

impl<S: AsyncWrite + Unpin> Sending<S> {
    /// Drives the engine's connection to its end. `expects` says whether more may be written soon.
    pub(crate) async fn drive<E>(
        &self,
        mut connection: Pin<&mut impl Future<Output = Result<(), E>>>,
        expects: impl Fn() -> bool,
    ) -> Result<(), Box<dyn Error + Send + Sync>>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        poll_fn(|cx| {
            let ended = connection.as_mut().poll(cx).map_err(Into::into);
            let mut inner = self.0.borrow_mut();
            if inner.buffer.is_empty() {
                return ended;
            }
            let waits = !inner.has_waited && inner.buffer.len() < ENOUGH && expects();
            if waits && ended.is_pending() {
                inner.has_waited = true;
                cx.waker().wake_by_ref();
            } else if let (Poll::Ready(Err(error)), Poll::Pending) = (inner.poll_out(cx), &ended) {
                return Poll::Ready(Err(error.into()));
            }
            ended
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        let count = ready!(inner.poll_room(cx))?.min(bytes.len());
        inner.buffer.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        let room = ready!(inner.poll_room(cx))?;
        let mut left = room;
        for slice in slices {
            let count = left.min(slice.len());
            inner.buffer.extend_from_slice(&slice[..count]);
            left -= count;
        }
        Poll::Ready(Ok(room - left))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Whoever drives the connection does it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_out(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn what_is_written_apart_is_sent_together_and_all_of_it() {
        let (one, mut other) = tokio::io::duplex(1 << 20);
        let (mut engine, sending) = gathered(one);
        let large = vec![b'x'; 3 * MOST];
        let connection = async {
            engine.write_all(b"first, ").await?;
            engine.flush().await?;
            engine.write_all(b"second").await?;
            engine.flush().await?;
            let mut asked = [0; 2];
            engine.read_exact(&mut asked).await?;
            engine.write_all(&large).await?;
            engine.write_all(b"end").await?;
            // No flush: the end does it.
            engine.shutdown().await
        };
        let client = async {
            let mut read = [0; 100];
            let count = other.read(&mut read).await?;
            assert_eq!(&read[..count], b"first, second");
            other.write_all(b"go").await?;
            let mut rest = Vec::new();
            other.read_to_end(&mut rest).await?;
            assert_eq!(rest.len(), large.len() + 3);
            assert!(rest.ends_with(b"xend"));
            Ok(())
        };
        let mut connection = std::pin::pin!(connection);
        let driven = sending.drive(connection.as_mut(), || true);
        futures::future::try_join(driven, client).await.unwrap();
    }

    /// Takes everything, and keeps how much it was each time.
    #[derive(Default)]
    struct Taking(Vec<usize>);

    impl AsyncWrite for Taking {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn so_many_writes_do_and_afterwards_nothing_is_held() {
        let (small, large) = (10, ENOUGH);
        // What is written in one go, and in the next one, after others have had their turn.
        for (expects, first, next, want) in [
            (false, &[small, small][..], small, &[2 * small, small][..]),
            // More may come soon: once it is waited for.
            (true, &[small, small], small, &[3 * small]),
            (true, &[large, small], small, &[large + small, small]),
            (true, &[MOST, small], small, &[MOST, 2 * small]),
        ] {
            let (mut engine, sending) = gathered(Taking::default());
            let mut connection = std::pin::pin!(async {
                for count in first {
                    engine.write_all(&vec![b'x'; *count]).await?;
                    engine.flush().await?;
                }
                yield_now().await;
                engine.write_all(&vec![b'x'; next]).await?;
                // It waits for requests from here on.
                pending::<io::Result<()>>().await
            });
            let driven = sending.drive(connection.as_mut(), || expects);
            let sent = |inner: &Inner<Taking>| inner.stream.0.iter().sum::<usize>();
            let all = first.iter().sum::<usize>() + next;
            tokio::select! {
                ended = driven => ended.unwrap(),
                () = async {
                    while sent(&sending.0.borrow()) < all {
                        yield_now().await;
                    }
                } => {}
            }
            let inner = sending.0.borrow();
            assert_eq!(inner.stream.0, want, "{expects} {first:?}");
            assert_eq!(inner.buffer.capacity(), 0, "{expects} {first:?}");
        }
    }
}
