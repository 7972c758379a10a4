//! How many files may be open towards targets in, a place for each out: it is given back when it is dropped.
//!
//! Clients make the proxy open connections to targets, and those who watch it, and other clients, need files too. So what
//! leads outward takes its places here, over all workers; nothing waits for one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The places of a proxy.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    taken: AtomicUsize,
    lacked: AtomicU64,
}

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: AtomicUsize::new(0),
            lacked: AtomicU64::new(0),
        })
    }

    /// For a connection.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        self.take_below(self.most)
    }

    /// For what can be done without: connections find half of the places untouched by it.
    pub(crate) fn take_spare(self: &Arc<Self>) -> Option<Place> {
        self.take_below(self.most / 2)
    }

    fn take_below(self: &Arc<Self>, most: usize) -> Option<Place> {
        let taking = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < most).then_some(taken + 1)
            });
        taking.is_ok().then(|| Place(self.clone()))
    }

    /// How many may be one backend's while not many are left; none while there are.
    pub(crate) fn share(&self) -> Option<Share> {
        let half = (self.most / 2).max(1);
        let share = Share {
            waiting: half,
            in_all: (self.most - self.most.div_ceil(16)).max(half),
        };
        (self.taken() >= half).then_some(share)
    }

    /// A connection was not made for want of a place.
    pub(crate) fn lacked_one(&self) {
        self.lacked.fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections were not made.
    pub(crate) fn lacked(&self) -> u64 {
        self.lacked.load(Ordering::Relaxed)
    }

    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// What one backend may have of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Share {
    /// For requests that wait for an answer: one that hangs has nothing else.
    pub(crate) waiting: usize,
    /// With answers that have begun, and tunnels.
    pub(crate) in_all: usize,
}

/// One of them, to be held as long as the file is open.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream with the place of its file, for who takes streams alone.
#[derive(Debug)]
pub(crate) struct Placed<S> {
    // Closed before the place is given back.
    stream: S,
    _place: Place,
}

impl<S> Placed<S> {
    pub(crate) fn new(stream: S, place: Place) -> Self {
        Self {
            stream,
            _place: place,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_taken_than_there_are_and_all_come_back() {
        let places = Places::new(4);
        let spare: Vec<Place> = std::iter::from_fn(|| places.take_spare()).collect();
        assert_eq!(spare.len(), 2);
        let rest: Vec<Place> = std::iter::from_fn(|| places.take()).collect();
        assert_eq!((rest.len(), places.taken()), (2, 4));
        drop(spare);
        assert!(places.take_spare().is_none(), "half are taken");
        assert!(places.take().is_some());
        assert!(places.share().is_some());
        drop(rest);
        assert_eq!((places.taken(), places.share()), (0, None));
    }

    #[test]
    fn a_share_leaves_others_some_where_there_are_more_than_one() {
        for (most, waiting, in_all) in [
            (1, 1, 1),
            (2, 1, 1),
            (4, 2, 3),
            (16, 8, 15),
            (9_940, 4_970, 9_318),
        ] {
            let places = Places::new(most);
            let _half: Vec<_> = (0..waiting).map(|_| places.take()).collect();
            assert_eq!(places.share(), Some(Share { waiting, in_all }), "{most}");
        }
    }
}
