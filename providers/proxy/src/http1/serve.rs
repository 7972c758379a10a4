//! A client's connection in, its requests answered one after the other out.
//!
//! One task does all of it: there is no channel between the connection and the request under way. What has come of a
//! next request waits until the answer before it is sent, and a request whose client has gone is given up. A client that
//! ends only its own direction has gone, too: it cannot be told from one that left.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::header::{EXPECT, HeaderMap};
use http::{Response, StatusCode, Version};
use http_body::Body as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, timeout};

use super::decode::{Begun, Event, Length, Refused};
use super::encode::{Asked, Fields, Framed, Out, asked};
use super::sending::{Bounds, Sending};
use super::wire::{Body, Broken, Detached, Stream, Wire};
use crate::alarm::Alarm;
use crate::body::{BodyError, RequestBody, ResponseBody, Untaken};
use crate::ending;
use crate::exchange::{self, Peer, exchange};
use crate::interim::Interims;
use crate::listen::Counted;
use crate::mutual::Shown;
use crate::present::Kind;
use crate::tunnel::{ClientEnd, ClientSide, Upgrade};
use crate::upgrades;
use crate::worker::Worker;

/// For a client to notice that its connection ends before it has sent all: a connection that is closed with bytes unread
/// is reset, and the answer may be lost with it. Source: RFC 9112 §9.6.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that are read over meanwhile.
const LINGER_BYTES: usize = 1 << 20;

/// Serves a connection whose first bytes have been read to its end, which comes when it is aged, too. No `async fn`, which would
/// hold all that it is given twice.
pub(crate) fn serve(
    counted: Counted,
    stream: Stream,
    first: BytesMut,
    peer: Peer,
    shown: Rc<Shown>,
    aged: Option<Instant>,
) -> impl Future<Output = Result<(), BodyError>> {
    let worker = counted.worker().clone();
    let wire = Wire::new(stream, first, worker.settings.limits.head_bytes);
    let served = Served {
        wire: Rc::new(RefCell::new(wire)),
        peer,
        shown,
        waiting: Waiting::new(aged, worker),
        counted,
    };
    Box::new(served).run()
}

/// A connection that is served.
struct Served {
    wire: Rc<RefCell<Wire>>,
    peer: Peer,
    shown: Rc<Shown>,
    waiting: Waiting,
    /// Behind the wire: it counts until that is closed.
    counted: Counted,
}

impl Served {
    async fn run(mut self: Box<Self>) -> Result<(), BodyError> {
        loop {
            let begun = match poll_fn(|cx| self.waiting.poll_next(cx, &mut self.wire.borrow_mut())).await {
                Ok(Some(begun)) => begun,
                Ok(None) => return Ok(()),
                Err(Broken::Refused(refused)) => return Ok(Box::pin(self.refuse(refused)).await?),
                Err(broken) => return Err(broken.into()),
            };
            // Boxed, as all that follows: a connection that waits takes no memory for it.
            match Box::pin(self.answer(begun)).await? {
                After::Next => {}
                After::Switched(tell) => {
                    // Its body was empty, and nobody else holds it.
                    if let Ok(wire) = Rc::try_unwrap(self.wire) {
                        let _ = tell.send((wire.into_inner().detach(), self.counted));
                    }
                    return Ok(());
                }
                After::Close => return Ok(Box::pin(linger(&self.wire)).await?),
                After::Gone => return Ok(()),
            }
            self.waiting.again();
        }
    }

    async fn answer(&self, begun: Begun) -> Result<After, BodyError> {
        let call = Call {
            worker: &self.waiting.worker,
            wire: &self.wire,
            asked: asked(
                &begun.parts.method,
                begun.parts.version,
                &begun.parts.headers,
                begun.present,
            ),
            keeps: begun.keeps,
        };
        call.answer(begun, self.peer, &self.shown, &self.waiting).await
    }

    /// Tells what is wrong with a head, and ends.
    async fn refuse(&self, refused: Refused) -> std::io::Result<()> {
        let status = match refused {
            Refused::Malformed => StatusCode::BAD_REQUEST,
            Refused::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refused::LongTarget => StatusCode::URI_TOO_LONG,
        };
        exchange::refused(&self.waiting.worker, self.peer, status, &refused.to_string());
        let asked = Asked {
            is_head: false,
            version: Version::HTTP_11,
            trailers: false,
        };
        let mut out = Out::head(asked, status, &HeaderMap::new(), Framed::Length(0), true);
        poll_fn(|cx| self.wire.borrow_mut().poll_send(cx, &mut out)).await?;
        linger(&self.wire).await
    }
}

/// What is waited for between requests.
struct Waiting {
    worker: Rc<Worker>,
    /// The worker's end.
    drained: ending::Begun,
    aged: Option<Instant>,
    is_ending: bool,
    /// When the next head must have come.
    alarm: Alarm,
    age: Option<Pin<Box<Sleep>>>,
}

impl Waiting {
    fn new(aged: Option<Instant>, worker: Rc<Worker>) -> Self {
        Self {
            age: aged.map(|at| Box::pin(tokio::time::sleep_until(at))),
            aged,
            drained: worker.ending.begun(),
            is_ending: false,
            alarm: Alarm::new(Instant::now() + worker.settings.timeouts.head),
            worker,
        }
    }

    /// The last answer is sent.
    fn again(&mut self) {
        self.alarm
            .set(Instant::now() + self.worker.settings.timeouts.head);
    }

    /// The head of the next request; `None` where there is to be none.
    fn poll_next(&mut self, cx: &mut Context<'_>, wire: &mut Wire) -> Poll<Result<Option<Begun>, Broken>> {
        if let Poll::Ready(event) = wire.poll_event(cx) {
            return Poll::Ready(match event? {
                Some(Event::Head(begun)) => Ok(Some(begun)),
                // Between requests nothing else comes.
                Some(Event::Data(_) | Event::End(_)) => Err(Broken::Left),
                None => Ok(None),
            });
        }
        if wire.is_untouched() && !self.is_ending && self.poll_ending(cx).is_ready() {
            // A request may be on its way.
            let until = Instant::now() + self.worker.patience();
            self.alarm.set(self.alarm.until().min(until));
        }
        self.alarm.poll(cx).map(|()| Ok(None))
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_ending {
            return Poll::Ready(());
        }
        let drained = Pin::new(&mut self.drained).poll(cx).is_ready();
        let aged = self
            .age
            .as_mut()
            .is_some_and(|age| age.as_mut().poll(cx).is_ready());
        self.is_ending = drained || aged;
        if self.is_ending {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whether the request under way is the last.
    fn is_over(&self, worker: &Worker) -> bool {
        let aged = self.aged.is_some_and(|at| Instant::now() >= at);
        self.is_ending || aged || worker.is_ending()
    }
}

/// What becomes of the connection.
enum After {
    Next,
    /// Bytes of the client may be unread.
    Close,
    Gone,
    Switched(oneshot::Sender<(Detached, Counted)>),
}

/// A request under way.
struct Call<'a> {
    worker: &'a Rc<Worker>,
    wire: &'a Rc<RefCell<Wire>>,
    asked: Asked,
    /// Whether the client wants to ask more.
    keeps: bool,
}

impl Call<'_> {
    async fn answer(
        &self,
        begun: Begun,
        peer: Peer,
        shown: &Rc<Shown>,
        waiting: &Waiting,
    ) -> Result<After, BodyError> {
        let Begun {
            parts,
            length,
            present,
            keeps: _,
        } = begun;
        let expects = present.has(Kind::Expect)
            && parts.version == Version::HTTP_11
            && parts
                .headers
                .get(EXPECT)
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let (tell, upgrade) = if present.has(Kind::Upgrade) {
            let (tell, told) = oneshot::channel();
            (Some(tell), Upgrade::Own(told))
        } else {
            (None, Upgrade::Never)
        };
        let interims = Interims::new(expects);
        let client = ClientSide {
            end: ClientEnd {
                upgrade,
                open: None,
                counted: None,
            },
            takes_lines: true,
            // Source: RFC 9110 §15.2.
            interims: Some(&interims).filter(|_| parts.version == Version::HTTP_11),
        };
        let body = if length == Length::Known(0) {
            // Its end is no byte.
            self.wire.borrow_mut().event_at_hand()?;
            RequestBody::empty()
        } else {
            let turn = self.wire.borrow_mut().begin(expects);
            let settings = &self.worker.settings;
            let body = Body::new(self.wire, turn, length);
            RequestBody::new(
                body.into(),
                parts.version,
                settings.timeouts.body,
                settings.limits.body_bytes,
            )
        };
        let response = {
            let exchange = exchange(
                self.worker.clone(),
                peer,
                shown.clone(),
                parts,
                present,
                body,
                client,
            );
            self.answered(pin!(exchange), &interims).await
        };
        let Some(response) = response else {
            return Ok(After::Gone);
        };
        let (parts, mut body) = response.into_parts();
        if let (StatusCode::SWITCHING_PROTOCOLS, Some(tell)) = (parts.status, tell) {
            let mut out = Out::head(self.asked, parts.status, &parts.headers, Framed::Nothing, true);
            poll_fn(|cx| self.wire.borrow_mut().poll_send(cx, &mut out)).await?;
            return Ok(After::Switched(tell));
        }
        let asks_close = upgrades::closes(&parts.headers);
        // Who sends the rest all the same is not answered again.
        let is_cut = !self.is_read_in_time() || !self.wire.borrow().is_read() && body.leaves_request();
        let closes = !self.keeps || asks_close || waiting.is_over(self.worker) || is_cut;
        self.send(parts, body, closes).await
    }

    /// The answer; `None` where the client goes before.
    async fn answered(
        &self,
        mut exchange: Pin<&mut impl Future<Output = Response<ResponseBody>>>,
        interims: &Interims,
    ) -> Option<Response<ResponseBody>> {
        let most = self.worker.settings.limits.head_bytes;
        poll_fn(|cx| {
            let response = exchange.as_mut().poll(cx);
            let mut wire = self.wire.borrow_mut();
            for (status, fields) in interims.take() {
                wire.inform(status, &fields);
            }
            if let Poll::Ready(response) = response {
                return Poll::Ready(Some(response));
            }
            if let Poll::Ready(Err(_)) = wire.poll_interims(cx) {
                return Poll::Ready(None);
            }
            if wire.is_read() {
                return wire.poll_gone(cx, most).map(|()| None);
            }
            // Its body may be read by another task: that wakes this one at its end.
            wire.wakes(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Whether all of the request is read, or is being read. Where nobody reads it any more, only what has come is read over.
    fn is_read_in_time(&self) -> bool {
        let is_being_read = Rc::strong_count(self.wire) > 1;
        let mut wire = self.wire.borrow_mut();
        if wire.is_read() || is_being_read {
            return true;
        }
        // Who waits to be invited may send the body or not.
        if wire.stop_inviting() {
            return false;
        }
        loop {
            match wire.event_at_hand() {
                Ok(Some(Event::End(_))) => return true,
                Ok(Some(Event::Data(_))) => {}
                Ok(Some(Event::Head(..)) | None) | Err(_) => return false,
            }
        }
    }

    async fn send(
        &self,
        parts: http::response::Parts,
        mut body: ResponseBody,
        mut closes: bool,
    ) -> Result<After, BodyError> {
        let exact = body.size_hint().exact();
        let lines = body.take_lines();
        let fields = Fields {
            own: &parts.headers,
            lines: lines.as_deref(),
        };
        let framed = Framed::of(self.asked, parts.status, fields, exact);
        closes |= framed == Framed::Close;
        let out = Out::head(self.asked, parts.status, fields, framed, closes);
        super::fields::take_back(parts.headers);
        if let Some(lines) = lines {
            lines.take_back();
        }
        let bounds = Bounds {
            stall: self.worker.settings.timeouts.body,
            ahead: self.worker.settings.limits.head_bytes,
        };
        let mut sending = Sending::new(self.wire, self.worker.pools.places(), out, body, framed);
        let sent = poll_fn(|cx| sending.poll(cx, bounds)).await;
        if sent.as_ref().is_err_and(|error| error.is::<Untaken>()) {
            self.worker.counters.untaken();
        }
        sent?;
        // Gives the backend's connection back, and logs.
        drop(sending);
        let is_read = self.is_read_in_time() && self.wire.borrow().is_read();
        self.wire.borrow_mut().finish();
        Ok(if closes || !is_read {
            After::Close
        } else {
            After::Next
        })
    }
}

/// Ends our direction, and reads over what the client still sends for a while.
async fn linger(wire: &RefCell<Wire>) -> std::io::Result<()> {
    poll_fn(|cx| wire.borrow_mut().poll_shutdown(cx)).await?;
    let mut left = LINGER_BYTES;
    let reading = async {
        while left > 0 {
            match poll_fn(|cx| wire.borrow_mut().poll_discard(cx)).await {
                Ok(count @ 1..) => left = left.saturating_sub(count),
                Ok(0) | Err(_) => break,
            }
        }
    };
    // What has not come by then is not waited for.
    let _ = timeout(LINGER, reading).await;
    Ok(())
}
