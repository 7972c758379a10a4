//! A client's socket in, the events of its requests out; shared by the connection and the body of its request.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::buffers;
use super::decode::{Decoder, Event, Length, Refused};
use super::encode::{Out, SLICES};
use super::splice::Pipe;
use crate::resumed::Resumed;

/// How much is read at once of what nobody wants.
const DISCARDED: usize = 4096;
/// How much of a body is read at once: at first, at most, and at most once whoever gets it has taken nothing for a while.
const FIRST_READ: usize = 8 * 1024;
const MOST_READ: usize = 256 * 1024;
const STUCK_READ: usize = 64 * 1024;

/// How much of a body is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ahead {
    next: usize,
    most: usize,
}

impl Ahead {
    pub(super) const FIRST: Self = Self {
        next: FIRST_READ,
        most: MOST_READ,
    };

    /// Where more comes than there was room for, more is read the next time.
    fn came(&mut self, count: usize, room: usize) {
        let next = if count == room {
            self.next * 2
        } else {
            count.next_power_of_two()
        };
        self.next = next.clamp(FIRST_READ, self.most);
    }

    /// Whoever gets the body takes nothing now. It is slower than what comes, so to read much at once gains nothing, and what
    /// was read is held; a large buffer goes with what lies in it.
    pub(super) fn less(&mut self, input: &mut BytesMut) {
        if self.most > STUCK_READ && input.is_empty() {
            *input = BytesMut::new();
        }
        self.most = STUCK_READ;
        self.next = self.next.min(STUCK_READ);
    }
}

/// A socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why a connection cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it ended in the middle of a request")]
    Ended,
    #[error("its connection has gone on without it")]
    Left,
}

pub(crate) struct Wire {
    stream: Stream,
    input: BytesMut,
    decoder: Decoder,
    /// Counts requests, so that the body of an earlier one reads nothing of a later.
    turn: u64,
    /// What is sent before all else: interim answers.
    interims: Option<Box<Out>>,
    /// Whether the client waits to be invited to send a body.
    is_waiting: bool,
    /// How much of a body is read next.
    ahead: Ahead,
    /// Of the connection's task, for when the body is over.
    owner: Option<Waker>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("decoder", &self.decoder)
            .finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(stream: Stream, first: BytesMut, longest: usize) -> Self {
        Self {
            stream,
            input: first,
            decoder: Decoder::new(longest),
            turn: 0,
            interims: None,
            is_waiting: false,
            ahead: Ahead::FIRST,
            owner: None,
        }
    }

    /// The next event; `None` where the client ended the connection between two requests.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Broken>> {
        loop {
            if let Some(event) = self.decoder.next(&mut self.input)? {
                return Poll::Ready(Ok(Some(event)));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                let is_between = self.decoder.is_between() && self.input.is_empty();
                return Poll::Ready(if is_between { Ok(None) } else { Err(Broken::Ended) });
            }
        }
    }

    /// An event that needs no more bytes, if there is one.
    pub(super) fn event_at_hand(&mut self) -> Result<Option<Event>, Refused> {
        self.decoder.next(&mut self.input)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let ahead = (!self.decoder.is_between()).then_some(&mut self.ahead);
        poll_fill(&mut self.stream, &mut self.input, ahead, cx)
    }

    /// Ready once the client has gone. What it sends meanwhile is kept, up to `most`.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<()> {
        while self.input.len() < most {
            match ready!(self.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// Sends until nothing is left to be sent.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut Out) -> Poll<io::Result<()>> {
        ready!(self.poll_interims(cx))?;
        poll_send(&mut self.stream, cx, out)
    }

    /// Whether a pipe can be sent from.
    pub(super) fn takes_pipe(&self) -> bool {
        matches!(self.stream, Stream::Plain(_))
    }

    /// Sends until nothing is left in the pipe.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<()>> {
        match &self.stream {
            Stream::Plain(stream) => pipe.poll_drain(stream, cx),
            Stream::Tls(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// An interim answer is to be sent.
    pub(super) fn inform(&mut self, status: StatusCode, fields: &HeaderMap) {
        self.interims
            .get_or_insert_with(|| Box::new(Out::interims()))
            .interim(status, fields);
    }

    /// Sends interim answers until none is left.
    pub(super) fn poll_interims(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(out) = &mut self.interims {
            ready!(poll_send(&mut self.stream, cx, out))?;
            self.interims = None;
        }
        Poll::Ready(Ok(()))
    }

    /// A request begins; with the number of its turn.
    pub(super) fn begin(&mut self, expects: bool) -> u64 {
        self.is_waiting = expects;
        self.turn
    }

    /// The request is over, and so is whatever still reads it.
    pub(super) fn finish(&mut self) {
        self.turn += 1;
        self.owner = None;
        self.ahead = Ahead::FIRST;
        if self.input.is_empty() {
            buffers::give_back(std::mem::take(&mut self.input));
        }
    }

    /// Whether all of the request has been read.
    pub(super) fn is_read(&self) -> bool {
        self.decoder.is_between()
    }

    /// Whether the client waits to be asked for the body; afterwards it is not asked any more.
    pub(super) fn stop_inviting(&mut self) -> bool {
        std::mem::take(&mut self.is_waiting)
    }

    /// Whether nothing of a next request has come.
    pub(super) fn is_untouched(&self) -> bool {
        self.input.is_empty()
    }

    pub(super) fn wakes(&mut self, owner: &Waker) {
        if !self.owner.as_ref().is_some_and(|before| before.will_wake(owner)) {
            self.owner = Some(owner.clone());
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Reads something to throw it away; how much.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.clear();
        let mut bytes = [const { std::mem::MaybeUninit::uninit() }; DISCARDED];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// From here on it is not HTTP.
    pub(super) fn detach(self) -> Detached {
        detached(self.stream, self.input)
    }
}

/// A stream whose protocol changes, behind the bytes that were read too far. Tunnels are long: none of the room stays.
pub(super) fn detached(stream: Stream, input: BytesMut) -> Detached {
    let first = Bytes::copy_from_slice(&input);
    buffers::give_back(input);
    Detached { first, stream }
}

/// Reads what comes: of a body as much as is read ahead, and of anything else little, for most heads are small.
pub(super) fn poll_fill(
    stream: &mut Stream,
    input: &mut BytesMut,
    ahead: Option<&mut Ahead>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let Some(ahead) = ahead else {
        // A connection that waits holds no memory for what may come.
        let filled = if stream.poll_ready(cx).is_pending() {
            Poll::Pending
        } else {
            let mut buffer = buffers::take();
            let filled = pin!(stream.read_buf(&mut buffer)).poll(cx);
            if input.is_empty() && !buffer.is_empty() {
                std::mem::swap(input, &mut buffer);
            } else {
                input.extend_from_slice(&buffer);
            }
            buffers::give_back(buffer);
            filled
        };
        if filled.is_pending() && !input.is_empty() && input.capacity() >= buffers::ROOM / 2 {
            // Nor more than has come of a head.
            let come = BytesMut::from(&input[..]);
            buffers::give_back(std::mem::replace(input, come));
        }
        return filled;
    };
    if !input.try_reclaim(ahead.next) {
        // Grown, it would be larger by what has been taken out of it.
        let mut larger = BytesMut::with_capacity(input.len() + ahead.next);
        larger.extend_from_slice(input);
        *input = larger;
    }
    let room = input.capacity() - input.len();
    let count = ready!(pin!(stream.read_buf(input)).poll(cx))?;
    ahead.came(count, room);
    Poll::Ready(Ok(count))
}

/// Sends until nothing is left to be sent.
pub(super) fn poll_send(stream: &mut Stream, cx: &mut Context<'_>, out: &mut Out) -> Poll<io::Result<()>> {
    while !out.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = out.slices(&mut slices);
        let writing = Pin::new(&mut *stream);
        let sending = match &slices[..count] {
            [one] => writing.poll_write(cx, one),
            several => writing.poll_write_vectored(cx, several),
        };
        out.is_stuck = sending.is_pending();
        let sent = ready!(sending)?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        out.sent(sent);
    }
    let flushing = match stream {
        Stream::Plain(_) => Poll::Ready(Ok(())),
        Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
    };
    out.is_stuck = flushing.is_pending();
    flushing
}

/// The body of a request, read as it is asked for.
pub(crate) struct Body {
    wire: Rc<RefCell<Wire>>,
    turn: u64,
    /// What is still to come of it.
    left: Length,
    is_over: bool,
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn new(wire: &Rc<RefCell<Wire>>, turn: u64, length: Length) -> Self {
        Self {
            wire: wire.clone(),
            turn,
            left: length,
            is_over: false,
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let mut wire = self.wire.borrow_mut();
        if wire.turn != self.turn {
            self.is_over = true;
            return Poll::Ready(Some(Err(Broken::Left)));
        }
        if wire.stop_inviting() && wire.input.is_empty() {
            wire.inform(StatusCode::CONTINUE, &HeaderMap::new());
        }
        // Who takes none of it may send all the same.
        if let Poll::Ready(Err(error)) = wire.poll_interims(cx) {
            self.is_over = true;
            return Poll::Ready(Some(Err(error.into())));
        }
        let frame = match ready!(wire.poll_event(cx)) {
            Ok(Some(Event::Data(data))) => {
                if let Length::Known(left) = &mut self.left {
                    *left = left.saturating_sub(super::chunks::length_of(&data));
                    if *left == 0 {
                        // Only its end is left, which is no byte.
                        self.is_over = matches!(wire.event_at_hand(), Ok(Some(Event::End(_))));
                    }
                }
                Some(Ok(Frame::data(data)))
            }
            Ok(Some(Event::End(trailers))) => {
                self.is_over = true;
                (!trailers.is_empty()).then(|| Ok(Frame::trailers(super::chunks::only_trailers(trailers))))
            }
            Ok(Some(Event::Head(..)) | None) => {
                self.is_over = true;
                Some(Err(Broken::Ended))
            }
            Err(error) => {
                self.is_over = true;
                Some(Err(error))
            }
        };
        if self.is_over
            && let Some(owner) = wire.owner.take()
        {
            owner.wake();
        }
        Poll::Ready(frame)
    }

    /// Whoever gets it takes nothing now.
    pub(crate) fn is_stuck(&self) {
        let mut wire = self.wire.borrow_mut();
        if wire.turn == self.turn {
            let Wire { input, ahead, .. } = &mut *wire;
            ahead.less(input);
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.is_over
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.left {
            Length::Known(left) => SizeHint::with_exact(left),
            Length::Chunked => SizeHint::default(),
        }
    }
}

/// A connection that changed protocol, with what came of the new one already.
pub(crate) type Detached = Resumed<Stream>;

impl Stream {
    /// Pending where nothing can have come.
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => stream.poll_read_ready(cx),
            // What has come may be in its own buffers.
            Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
