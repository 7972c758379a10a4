//! Datagrams that came at one of several sockets in, each at the endpoint that has its connection out.
//!
//! The kernel spreads datagrams over sockets by addresses, and a client may change its own in the middle of a connection.
//! So every id that we give a connection names the process and the socket; what comes elsewhere is handed on, to another
//! thread or to the process before, whose connections end in their own time. What names nobody begins a connection where
//! it came. Source: RFC 9000 §5.1, §9; RFC 8999 §5.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::rand;
use futures::ready;
use futures::task::AtomicWaker;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, UdpPoller};

use super::sockets::Group;

/// Bytes of an id: the process, the socket, and what nobody can guess.
const LENGTH: usize = 12;
/// Datagrams that wait for another thread; more are dropped, and sent again.
const WAITING: usize = 1024;

/// Where the datagrams of a connection belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of a process.
    pub(super) mark: u16,
    pub(super) socket: u16,
}

/// Whom a datagram says it is for; none where it is the first of a connection, or too short to be any.
pub(super) fn place(datagram: &[u8]) -> Option<Place> {
    let id = match datagram.first()? & 0x80 {
        // A short header: the id alone, of the length that we give.
        0 => datagram.get(1..)?,
        // A long one: version, length of the id, id.
        _ => {
            let (length, id) = datagram.get(5..)?.split_first()?;
            (usize::from(*length) == LENGTH).then_some(id)?
        }
    };
    let [a, b, c, d] = *id.get(..LENGTH)?.first_chunk()?;
    Some(Place {
        mark: u16::from_be_bytes([a, b]),
        socket: u16::from_be_bytes([c, d]),
    })
}

/// Gives ids that lead here.
pub(super) struct Ids(pub(super) Place);

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; LENGTH];
        // It fails on no system that has started; then ids can be guessed, and connections cannot be taken over all the same.
        let _ = rand::fill(&mut id[4..]);
        id[..2].copy_from_slice(&self.0.mark.to_be_bytes());
        id[2..4].copy_from_slice(&self.0.socket.to_be_bytes());
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// A datagram that came elsewhere.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) bytes: Vec<u8>,
    pub(super) meta: RecvMeta,
}

/// What others have for an endpoint.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<VecDeque<Handed>>,
    /// Whether any wait: mostly none do, and nobody takes the lock to learn it.
    is_any: AtomicBool,
    waker: AtomicWaker,
}

impl Inbox {
    pub(super) fn put(&self, handed: Handed) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING {
            waiting.push_back(handed);
            self.is_any.store(true, Ordering::Release);
        }
        drop(waiting);
        self.waker.wake();
    }

    /// Makes its endpoint look again.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// As many as there is room for.
    fn take(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        if !self.is_any.load(Ordering::Acquire) {
            return 0;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Some(handed) = waiting.pop_front() else { break };
            let Some(room) = buffer.get_mut(..handed.bytes.len()) else {
                continue;
            };
            room.copy_from_slice(&handed.bytes);
            *meta = handed.meta;
            count += 1;
        }
        self.is_any.store(!waiting.is_empty(), Ordering::Release);
        count
    }
}

/// One socket of a group as its endpoint sees it.
pub(super) struct Steered {
    inner: Arc<dyn AsyncUdpSocket>,
    group: Arc<Group>,
    at: Place,
}

impl Steered {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, group: Arc<Group>, at: Place) -> Self {
        Self { inner, group, at }
    }

    /// Hands on what is others'; whether any is left.
    fn keep(&self, buffer: &mut [u8], meta: &mut RecvMeta) -> bool {
        let stride = meta.stride.max(1);
        let is_others = |datagram: &[u8]| {
            let place = place(datagram)?;
            (place != self.at && self.group.knows(place)).then_some(place)
        };
        // The system may have put several of one sender into a buffer. Mostly all are ours.
        let is_mixed = buffer[..meta.len]
            .chunks(stride)
            .any(|datagram| is_others(datagram).is_some());
        if !is_mixed {
            return true;
        }
        let (length, mut kept) = (meta.len, 0);
        for from in (0..length).step_by(stride) {
            let to = length.min(from + stride);
            match is_others(&buffer[from..to]) {
                Some(place) => {
                    let bytes = buffer[from..to].to_vec();
                    let meta = RecvMeta {
                        len: bytes.len(),
                        stride: bytes.len(),
                        ..*meta
                    };
                    self.group.hand(place, Handed { bytes, meta });
                }
                None => {
                    buffer.copy_within(from..to, kept);
                    kept += to - from;
                }
            }
        }
        meta.len = kept;
        kept > 0
    }
}

impl fmt::Debug for Steered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steered")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Steered {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let inbox = self.group.inbox(self.at);
        if let Some(inbox) = inbox {
            inbox.waker.register(cx.waker());
            let count = inbox.take(buffers, metas);
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
        }
        // Of two processes only one reads.
        if !self.group.reads() {
            return Poll::Pending;
        }
        loop {
            let count = ready!(self.inner.poll_recv(cx, buffers, metas))?;
            let mut kept = 0;
            for place in 0..count {
                if self.keep(&mut buffers[place], &mut metas[place]) {
                    buffers.swap(place, kept);
                    metas.swap(place, kept);
                    kept += 1;
                }
            }
            if kept > 0 {
                return Poll::Ready(Ok(kept));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_the_socket_that_gave_it() {
        let at = Place {
            mark: 0xabcd,
            socket: 3,
        };
        let id = Ids(at).generate_cid();
        let long = |id: &[u8]| {
            let length = u8::try_from(id.len()).unwrap();
            [&[0xc0, 0, 0, 0, 1, length][..], id, &[0; 20]].concat()
        };
        for (what, bytes, want) in [
            (
                "a short header",
                [&[0x40][..], &id, &[1, 2, 3]].concat(),
                Some(at),
            ),
            ("a long header", long(&id), Some(at)),
            ("a client's own id", long(&[7; 8]), None),
            ("a longer one", long(&[7; 20]), None),
            ("cut short", [&[0x40][..], &id[..11]].concat(), None),
            ("a long header cut short", long(&id)[..10].to_vec(), None),
            ("nothing", Vec::new(), None),
        ] {
            assert_eq!(place(&bytes), want, "{what}");
        }
    }

    #[test]
    fn no_two_ids_are_the_same() {
        let mut ids = Ids(Place { mark: 1, socket: 2 });
        assert_ne!(ids.generate_cid(), ids.generate_cid());
    }
}
