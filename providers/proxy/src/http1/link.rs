//! A connection to a backend and a request in, its answer out. Whoever waits for the answer drives both directions.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::{AbortHandle, abortable};
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{Method, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::answer::{Head, Piece, Reader};
use super::buffers;
use super::chunks::only_trailers;
use super::decode::number;
use super::encode::{Framed, Out};
use super::lines::Lines;
use super::splice::{self, Pipe};
use super::wire::{Ahead, Broken, Detached, Stream, detached, poll_fill, poll_send};
use crate::alarm::Alarm;
use crate::body::{BodyError, Progress, RequestBody};
use crate::interim::Passing;
use crate::places::Place;
use crate::told::Told;

/// A connection to a backend, with at most one request on it.
pub(crate) struct Link {
    stream: Stream,
    /// Of the stream's file.
    place: Place,
    input: BytesMut,
    reader: Reader,
    /// Longest head of an answer, in bytes.
    longest: usize,
    /// Counts requests, so that the body of an earlier answer reads nothing of a later.
    turn: u64,
    /// What is still to be sent, and what more is to come of the body.
    out: Option<Out>,
    body: Option<RequestBody>,
    /// How much of a body is read next.
    ahead: Ahead,
    unsent: Option<Unsent>,
    has_ended: bool,
    /// Whether a task does nothing but send: the wakers of both directions are its own then.
    sends_apart: bool,
    /// When the answer must have begun.
    alarm: Option<Alarm>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

/// Why no more of a request can be sent.
#[derive(Debug)]
enum Unsent {
    /// Its body broke off.
    Body(BodyError),
    /// The backend takes no more. It may have answered before: that can be read, and is told to be, a little later than
    /// the refusal.
    Refused(io::Error),
}

impl From<Unsent> for BodyError {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::Body(error) => error,
            Unsent::Refused(error) => error.into(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    Timeout,
    /// Some of the request, or all, was sent.
    Broken(Broke),
}

#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Broke {
    #[source]
    error: BodyError,
    /// Whether the backend has answered, but with no HTTP, or with interim answers alone.
    pub(crate) has_answered: bool,
}

/// How long an answer is waited for: the time starts anew with every piece of the request's body, and does not pass while the
/// client is the one to wait for.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Once all of the request has been taken.
    pub(crate) limit: Duration,
    /// While some of it has not.
    pub(crate) taking: Duration,
    pub(crate) progress: Rc<Progress>,
}

impl Patience {
    /// After which time it is to be looked at first.
    pub(crate) fn shorter(&self) -> Duration {
        self.limit.min(self.taking)
    }

    /// When it ends or is to be looked at again, if it does not end now; `deadline` is when it was last thought to.
    pub(crate) fn goes_on(&self, deadline: Instant) -> Option<Instant> {
        let limit = match self.progress.is_finished() {
            true => self.limit,
            false => self.taking,
        };
        let since = if self.progress.waits_on_client() {
            deadline
        } else {
            self.progress.last()
        };
        // By then the other of both may count.
        let next = deadline + self.shorter();
        Some(since + limit)
            .filter(|end| *end > deadline)
            .map(|end| end.min(next))
    }
}

impl Link {
    pub(crate) fn new(stream: Stream, place: Place, longest: usize) -> Self {
        Self {
            stream,
            place,
            input: BytesMut::new(),
            reader: Reader::new(longest, false),
            longest,
            turn: 0,
            out: None,
            body: None,
            ahead: Ahead::FIRST,
            unsent: None,
            has_ended: false,
            sends_apart: false,
            alarm: None,
        }
    }

    /// Whether another request may be sent: the answer before is over, all of its request sent, and nothing came behind.
    pub(crate) fn is_free(&self) -> bool {
        self.reader.is_over()
            && self.reader.keeps()
            && self.input.is_empty()
            && self.out.is_none()
            && self.body.is_none()
            && !self.has_ended
    }

    /// Gives memory back while nobody uses it.
    pub(crate) fn rest(&mut self) {
        let input = std::mem::take(&mut self.input);
        // One that large pieces were read into is no spare.
        if self.ahead == Ahead::FIRST {
            buffers::give_back(input);
        }
        self.ahead = Ahead::FIRST;
    }

    /// Whether the backend has ended it meanwhile, or says something unasked.
    pub(crate) fn is_stale(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(futures::task::noop_waker_ref());
        self.has_ended |= Pin::new(&mut self.stream)
            .poll_read(&mut cx, &mut buffer)
            .is_ready();
        self.has_ended
    }

    /// Takes the body along, if there is one.
    fn begin(&mut self, asking: &Asking<'_>, body: &mut RequestBody, limit: Duration) {
        let head = asking.head;
        self.turn += 1;
        self.sends_apart = false;
        let given = head
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| number(value.as_bytes()));
        let framed = if body.is_empty() {
            // Said outright where the client did.
            given.map_or(Framed::Nothing, Framed::Length)
        } else {
            given
                .or(body.size_hint().exact())
                .map_or(Framed::Chunked, Framed::Length)
        };
        self.out = Some(Out::request(head, asking.host, asking.told, framed));
        self.reader = Reader::new(self.longest, head.method == Method::HEAD);
        if !body.is_empty() {
            self.body = Some(std::mem::replace(body, RequestBody::empty()));
        }
        let until = Instant::now() + limit;
        match &mut self.alarm {
            Some(alarm) => alarm.set(until),
            None => self.alarm = Some(Alarm::new(until)),
        }
    }

    /// Sends as much as can be sent now.
    pub(crate) fn poll_sending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(out) = &mut self.out else {
            return Poll::Ready(());
        };
        let sent = loop {
            if let Err(error) = fill(out, &mut self.body, cx) {
                break Err(Unsent::Body(error));
            }
            if out.is_sent() {
                if self.body.is_some() {
                    return Poll::Pending;
                }
                break Ok(());
            }
            match poll_send(&mut self.stream, cx, out) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Err(Unsent::Refused(error)),
                Poll::Pending => {
                    if let Some(body) = &self.body {
                        body.is_stuck();
                    }
                    return Poll::Pending;
                }
            }
        };
        self.out = None;
        if let Err(unsent) = sent {
            self.body = None;
            self.has_ended = true;
            self.unsent = Some(unsent);
        }
        Poll::Ready(())
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        asking: &Asking<'_>,
        patience: &Patience,
    ) -> Poll<Result<Head, NoAnswer>> {
        let _ = self.poll_sending(cx);
        loop {
            let interim = |status, headers| {
                if let Some(passing) = asking.interims {
                    passing.pass(status, headers);
                }
            };
            match self.reader.head(&mut self.input, asking.as_they_came, interim) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(refused) => {
                    return Poll::Ready(Err(NoAnswer::Broken(Broke {
                        error: Broken::Refused(refused).into(),
                        has_answered: true,
                    })));
                }
            }
            let filled = match (self.poll_fill(cx), &self.unsent) {
                (Poll::Ready(filled), _) => filled,
                (Poll::Pending, Some(Unsent::Body(_))) => Ok(0),
                (Poll::Pending, None | Some(Unsent::Refused(_))) => {
                    ready!(self.poll_late(cx, patience));
                    return Poll::Ready(Err(NoAnswer::Timeout));
                }
            };
            let broken = match filled {
                Ok(1..) => continue,
                Ok(0) => Broken::Ended.into(),
                Err(error) => error.into(),
            };
            let error = self.unsent.take().map_or(broken, BodyError::from);
            self.has_ended = true;
            return Poll::Ready(Err(NoAnswer::Broken(Broke {
                error,
                has_answered: self.reader.has_interims(),
            })));
        }
    }

    /// Ready once the answer has been waited for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>, patience: &Patience) -> Poll<()> {
        let Some(alarm) = &mut self.alarm else {
            return Poll::Ready(());
        };
        loop {
            ready!(alarm.poll(cx));
            match patience.goes_on(alarm.until()) {
                Some(until) => alarm.set(until),
                None => return Poll::Ready(()),
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        if !self.sends_apart {
            let _ = self.poll_sending(cx);
        }
        loop {
            if let Some(piece) = self.reader.piece(&mut self.input)? {
                return Poll::Ready(Ok(piece));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                self.has_ended = true;
                if !self.reader.ends_with_connection() {
                    return Poll::Ready(Err(Broken::Ended));
                }
            }
        }
    }

    /// How much may go by a pipe, and from where; none where the rest does not.
    fn for_pipe(&self) -> Option<(&TcpStream, u64)> {
        match (&self.stream, self.reader.left()) {
            (Stream::Plain(stream), Some(left @ 1..)) if self.input.is_empty() => Some((stream, left)),
            (Stream::Plain(_) | Stream::Tls(_), _) => None,
        }
    }

    fn poll_splice(&mut self, pipe: &mut Pipe, cx: &mut Context<'_>) -> Poll<Result<u64, Broken>> {
        if !self.sends_apart {
            let _ = self.poll_sending(cx);
        }
        let Some((stream, left)) = self.for_pipe() else {
            return Poll::Ready(Err(Broken::Left));
        };
        let count = ready!(pipe.poll_fill(stream, left, cx))?;
        if count == 0 {
            self.has_ended = true;
            return Poll::Ready(Err(Broken::Ended));
        }
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.reader.passed(count);
        Poll::Ready(Ok(count))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let ahead = (!self.reader.is_in_head()).then_some(&mut self.ahead);
        poll_fill(&mut self.stream, &mut self.input, ahead, cx)
    }

    /// From here on it is not HTTP.
    pub(crate) fn detach(self) -> (Detached, Place) {
        (detached(self.stream, self.input), self.place)
    }
}

/// Takes of the body what comes, until there is enough to be sent.
fn fill(out: &mut Out, body: &mut Option<RequestBody>, cx: &mut Context<'_>) -> Result<(), BodyError> {
    while !out.is_enough()
        && let Some(coming) = body
    {
        let frame = match Pin::new(coming).poll_frame(cx) {
            Poll::Pending => break,
            Poll::Ready(frame) => frame.transpose()?,
        };
        let ended = match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                out.data(data)?;
                continue;
            }
            Some(Err(frame)) => frame.into_trailers().ok(),
            None => None,
        };
        out.end(ended)?;
        *body = None;
    }
    Ok(())
}

/// A request to be sent.
pub(crate) struct Asking<'a> {
    pub(crate) head: &'a Parts,
    /// In place of what the head says.
    pub(crate) host: &'a HeaderValue,
    /// What its fields do not tell yet.
    pub(crate) told: Option<&'a Told>,
    /// Whether nobody looks at the fields of the answer before the client.
    pub(crate) as_they_came: bool,
    /// Where interim answers go.
    pub(crate) interims: Option<Passing<'a>>,
}

/// Sends a request; the head of its answer.
pub(crate) async fn ask(
    link: &Rc<RefCell<Link>>,
    asking: &Asking<'_>,
    body: &mut RequestBody,
    patience: &Patience,
) -> Result<Response<AnswerBody>, NoAnswer> {
    link.borrow_mut().begin(asking, body, patience.shorter());
    let head = poll_fn(|cx| link.borrow_mut().poll_head(cx, asking, patience));
    let (parts, lines) = head.await?;
    let turn = link.borrow().turn;
    let link = link.clone();
    let body = AnswerBody {
        link,
        turn,
        lines,
        sending: None,
    };
    Ok(Response::from_parts(parts, body))
}

/// The body of an answer, read as it is asked for; what is left of the request is sent meanwhile.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    link: Rc<RefCell<Link>>,
    turn: u64,
    /// Fields of its head that stay as they came.
    lines: Option<Box<Lines>>,
    /// Whoever sends apart.
    sending: Option<AbortHandle>,
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Nobody waits for the backend any more.
        if let Some(sending) = &self.sending {
            sending.abort();
        }
    }
}

impl AnswerBody {
    pub(crate) fn take_lines(&mut self) -> Option<Box<Lines>> {
        self.lines.take()
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut link = self.link.borrow_mut();
        if link.turn != self.turn || link.reader.is_over() {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(link.poll_piece(cx)) {
            Ok(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(Piece::End(trailers)) if trailers.is_empty() => None,
            Ok(Piece::End(trailers)) => Some(Ok(Frame::trailers(only_trailers(trailers)))),
            Err(broken) => Some(Err(broken)),
        })
    }

    /// Whether the rest of the request will not be taken, if there is any: the backend's connection ends with its answer, or
    /// all of that has come.
    pub(crate) fn leaves_request(&self) -> bool {
        let link = self.link.borrow();
        let come = u64::try_from(link.input.len()).unwrap_or(u64::MAX);
        let has_come = link.reader.left().is_some_and(|left| left <= come);
        link.turn == self.turn && (has_come || !link.reader.keeps())
    }

    /// Whether so much is still to come, and may go by a pipe, that it should.
    pub(crate) fn is_for_pipe(&self) -> bool {
        let link = self.link.borrow();
        link.turn == self.turn && link.for_pipe().is_some_and(|(_, left)| left >= splice::LEAST)
    }

    /// The same as `poll_frame`, into an empty pipe; how many bytes.
    pub(crate) fn poll_splice(&mut self, pipe: &mut Pipe, cx: &mut Context<'_>) -> Poll<Result<u64, Broken>> {
        let mut link = self.link.borrow_mut();
        if link.turn != self.turn {
            return Poll::Ready(Err(Broken::Left));
        }
        link.poll_splice(pipe, cx)
    }

    /// The client takes nothing now: less of the answer is read at once, and the rest of the request goes on.
    pub(crate) fn poll_stuck(&mut self, cx: &mut Context<'_>) {
        let mut link = self.link.borrow_mut();
        if link.turn != self.turn {
            return;
        }
        let Link { input, ahead, .. } = &mut *link;
        ahead.less(input);
        if !link.sends_apart {
            let _ = link.poll_sending(cx);
        }
    }

    /// What sends the rest of the request from now on, if there is any, as long as this is held.
    pub(crate) fn send_apart(&mut self) -> Option<impl Future + use<>> {
        let (link, turn) = (self.link.clone(), self.turn);
        {
            let mut link = link.borrow_mut();
            if link.turn != turn || link.out.is_none() {
                return None;
            }
            link.sends_apart = true;
        }
        let (sending, handle) = abortable(poll_fn(move |cx| {
            let mut link = link.borrow_mut();
            if link.turn == turn {
                link.poll_sending(cx)
            } else {
                Poll::Ready(())
            }
        }));
        self.sending = Some(handle);
        Some(sending)
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let link = self.link.borrow();
        link.turn != self.turn || link.reader.is_over()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let link = self.link.borrow();
        let left = if link.turn == self.turn {
            link.reader.left()
        } else {
            Some(0)
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests;
