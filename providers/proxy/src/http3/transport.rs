//! A QUIC connection of quinn in, the streams that h3 reads and writes out.
//!
//! In place of `h3-quinn`: what comes is looked at before h3 sees it (`frames`), a stream that is let go of before its end
//! is reset instead of ended, and whoever answers hears that the client has given up.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures::future::{BoxFuture, FutureExt};
use futures::ready;
use futures::stream::{self, BoxStream, StreamExt};
use h3::error::Code;
use h3::quic::{self, BidiStream, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, StoppedError, VarInt, WriteError};

use super::frames::{Frames, INTERNAL_ERROR, NO_ERROR, REQUEST_REJECTED};

/// Read at once of a stream.
const PIECE: usize = 8 * 1024;
/// Bytes of a frame on the stream of the connection as a whole, such as its settings.
const CONTROL_FRAME: usize = 16 * 1024;

/// What becomes of the sending side of a stream: the client stopped it, or has all of it.
pub(super) type Outcome = BoxFuture<'static, Result<Option<VarInt>, StoppedError>>;

/// A stream, beside what h3 makes of it.
pub(super) struct Given {
    pub(super) outcome: Outcome,
    /// Whether we answer on it; until then h3 does, where a head is too long.
    pub(super) is_ours: Rc<Cell<bool>>,
}

/// What is shared between a connection and those who answer on it.
#[derive(Default)]
pub(super) struct Streams {
    /// Those that h3 has not handed on yet, in their order.
    given: RefCell<VecDeque<(u64, Given)>>,
    /// The number of the first request that is not taken any more, once it is told.
    end: Cell<Option<u64>>,
}

impl Streams {
    /// This one; of those before, which h3 has refused, nobody asks.
    pub(super) fn take(&self, id: u64) -> Option<Given> {
        let mut waiting = self.given.borrow_mut();
        while let Some((of, given)) = waiting.pop_front() {
            if of == id {
                return Some(given);
            }
        }
        None
    }

    /// Takes none from this one on.
    pub(super) fn end_at(&self, id: u64) {
        self.end.set(Some(id));
    }
}

pub(super) struct Transport {
    opener: Opener,
    both: BoxStream<'static, Result<(quinn::SendStream, quinn::RecvStream), ConnectionError>>,
    one: BoxStream<'static, Result<quinn::RecvStream, ConnectionError>>,
    streams: Rc<Streams>,
    head_bytes: usize,
}

impl Transport {
    pub(super) fn new(quinn: &quinn::Connection, streams: Rc<Streams>, head_bytes: usize) -> Self {
        let both = stream::unfold(quinn.clone(), |quinn| async {
            Some((quinn.accept_bi().await, quinn))
        });
        let one = stream::unfold(quinn.clone(), |quinn| async {
            Some((quinn.accept_uni().await, quinn))
        });
        Self {
            opener: Opener::new(quinn.clone()),
            both: both.boxed(),
            one: one.boxed(),
            streams,
            head_bytes,
        }
    }
}

impl quic::Connection<Bytes> for Transport {
    type RecvStream = Receiving;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Receiving, ConnectionErrorIncoming>> {
        let accepted = ready!(self.one.poll_next_unpin(cx));
        let stream = accepted.unwrap_or(Err(ConnectionError::LocallyClosed));
        Poll::Ready(match stream {
            Ok(stream) => Ok(Receiving::new(stream, Frames::of_other(CONTROL_FRAME))),
            Err(error) => Err(of_connection(error)),
        })
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both, ConnectionErrorIncoming>> {
        loop {
            let accepted = ready!(self.both.poll_next_unpin(cx));
            let (send, recv) = match accepted.unwrap_or(Err(ConnectionError::LocallyClosed)) {
                Ok(stream) => stream,
                Err(error) => return Poll::Ready(Err(of_connection(error))),
            };
            let id = u64::from(send.id());
            let mut both = Both {
                send: Sending::new(send),
                recv: Receiving::new(recv, Frames::of_request(self.head_bytes)),
            };
            if self.streams.end.get().is_some_and(|end| id >= end) {
                // The client has been told that it may ask it elsewhere.
                both.refuse(REQUEST_REJECTED);
                continue;
            }
            let given = Given {
                outcome: both.send.stream.stopped().boxed(),
                is_ours: both.send.is_ours.clone(),
            };
            self.streams.given.borrow_mut().push_back((id, given));
            return Poll::Ready(Ok(both));
        }
    }

    fn opener(&self) -> Opener {
        Opener::new(self.opener.quinn.clone())
    }
}

impl quic::OpenStreams<Bytes> for Transport {
    type BidiStream = Both;
    type SendStream = Sending;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sending, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

/// Opens streams of our own.
pub(super) struct Opener {
    quinn: quinn::Connection,
    opening: Option<BoxFuture<'static, Result<quinn::SendStream, ConnectionError>>>,
}

impl Opener {
    fn new(quinn: quinn::Connection) -> Self {
        Self { quinn, opening: None }
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = Both;
    type SendStream = Sending;

    /// A server asks nothing.
    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        let connection_error = ConnectionErrorIncoming::InternalError("a server opens no request".to_owned());
        Poll::Ready(Err(StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error,
        }))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sending, StreamErrorIncoming>> {
        let opening = self.opening.get_or_insert_with(|| {
            let quinn = self.quinn.clone();
            async move { quinn.open_uni().await }.boxed()
        });
        let opened = ready!(opening.poll_unpin(cx));
        self.opening = None;
        Poll::Ready(opened.map(Sending::new).map_err(lost))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quinn.close(number(code.value()), reason);
    }
}

/// A stream of a request and its answer.
pub(super) struct Both {
    send: Sending,
    recv: Receiving,
}

impl Both {
    fn refuse(&mut self, code: u64) {
        quic::SendStream::<Bytes>::reset(&mut self.send, code);
        quic::RecvStream::stop_sending(&mut self.recv, code);
    }
}

impl BidiStream<Bytes> for Both {
    type SendStream = Sending;
    type RecvStream = Receiving;

    fn split(self) -> (Sending, Receiving) {
        (self.send, self.recv)
    }
}

impl quic::RecvStream for Both {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let taken = ready!(self.recv.poll_data(cx));
        if let (Err(_), Some(code)) = (&taken, self.recv.refused) {
            // There is no answer to what is no request.
            self.refuse(code);
        }
        Poll::Ready(taken)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl quic::SendStream<Bytes> for Both {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// What comes of a client.
pub(super) struct Receiving {
    stream: quinn::RecvStream,
    frames: Frames,
    /// Whether nothing more is to come.
    is_over: bool,
    /// Why no more is taken.
    refused: Option<u64>,
}

impl Receiving {
    fn new(stream: quinn::RecvStream, frames: Frames) -> Self {
        Self {
            stream,
            frames,
            is_over: false,
            refused: None,
        }
    }

    fn refuse(&mut self, code: u64) -> StreamErrorIncoming {
        self.refused = Some(code);
        quic::RecvStream::stop_sending(self, code);
        StreamErrorIncoming::StreamTerminated { error_code: code }
    }
}

impl quic::RecvStream for Receiving {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        if let Some(code) = self.refused {
            return Poll::Ready(Err(StreamErrorIncoming::StreamTerminated { error_code: code }));
        }
        let mut piece = [0; PIECE];
        loop {
            let count = match ready!(self.stream.poll_read(cx, &mut piece)) {
                Ok(count) => count,
                Err(error) => {
                    self.is_over = true;
                    return Poll::Ready(Err(unread(error)));
                }
            };
            let mut out = Vec::with_capacity(count);
            let checked = match count {
                0 => self.frames.end(),
                _ => self.frames.take(&piece[..count], &mut out),
            };
            if let Err(code) = checked {
                let refused = self.refuse(code);
                // Which stream it is, h3 must learn first: one that is reset before it says so is none to it.
                let says = !out.is_empty() && !self.frames.is_request();
                return Poll::Ready(if says { Ok(Some(out.into())) } else { Err(refused) });
            }
            if count == 0 {
                self.is_over = true;
                return Poll::Ready(Ok(None));
            }
            // Perhaps only a part of a frame's head has come.
            if !out.is_empty() {
                return Poll::Ready(Ok(Some(out.into())));
            }
        }
    }

    fn stop_sending(&mut self, code: u64) {
        self.is_over = true;
        // An error means that all has come, or that the connection is gone.
        let _ = self.stream.stop(number(code));
    }

    fn recv_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

impl Drop for Receiving {
    /// Nobody wants the rest; that is no fault of the client's.
    fn drop(&mut self) {
        if !self.is_over {
            quic::RecvStream::stop_sending(self, NO_ERROR);
        }
    }
}

/// What goes to a client.
pub(super) struct Sending {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    /// Whether it has come to an end, one way or the other.
    is_over: bool,
    /// Whether anything was sent.
    has_begun: bool,
    is_ours: Rc<Cell<bool>>,
}

impl Sending {
    fn new(stream: quinn::SendStream) -> Self {
        Self {
            stream,
            writing: None,
            is_over: false,
            has_begun: false,
            is_ours: Rc::default(),
        }
    }
}

impl quic::SendStream<Bytes> for Sending {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(data) = self.writing.as_mut().filter(|data| data.has_remaining()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk()));
            data.advance(written.map_err(unwritten)?);
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        // h3 waits until it is ready, before and after.
        self.writing = Some(data.into());
        self.has_begun = true;
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.is_over = true;
        let finished = self.stream.finish();
        Poll::Ready(finished.map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, code: u64) {
        self.is_over = true;
        // An error means that it is over already.
        let _ = self.stream.reset(number(code));
    }

    fn send_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

impl Drop for Sending {
    /// quinn would end it, and half an answer would pass for all of it. What h3 answers by itself is all of it.
    fn drop(&mut self) {
        let is_whole = self.has_begun && !self.is_ours.get();
        if !self.is_over && !is_whole {
            quic::SendStream::<Bytes>::reset(self, INTERNAL_ERROR);
        }
    }
}

pub(super) fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn id(id: quinn::StreamId) -> StreamId {
    // Both are below 2^62.
    StreamId::try_from(u64::from(id)).expect("a number of QUIC is one of HTTP/3")
}

fn of_connection(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(closed) => ConnectionErrorIncoming::ApplicationClose {
            error_code: closed.error_code.into_inner(),
        },
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error @ (ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted) => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn lost(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming {
        connection_error: of_connection(error),
    }
}

fn unread(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        ReadError::ConnectionLost(error) => lost(error),
        error @ (ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected) => {
            StreamErrorIncoming::Unknown(Box::new(error))
        }
    }
}

fn unwritten(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(error) => lost(error),
        error @ (WriteError::ClosedStream | WriteError::ZeroRttRejected) => {
            StreamErrorIncoming::Unknown(Box::new(error))
        }
    }
}
