//! Bodies as hyper reads them in, bodies that keep time and give their connection back out.

mod ahead;
mod backend;
mod broken;
mod idle;
mod lent;
mod progress;
mod trailers;

use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::ready;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::access::Text;
use crate::access_log::Noted;
use crate::activity::{Answer, Open};
use crate::answer::{self, Failure};
use crate::filters::Filters;
use crate::filters::compression::Packed;
use crate::http1::{self, Pipe};
#[cfg(feature = "http3")]
use crate::http3;
use crate::tasks::Tasks;

pub(crate) use self::ahead::{Ahead, finish};
use self::ahead::{Copying, Held};
pub(crate) use self::backend::BackendBody;
pub(crate) use self::broken::Untaken;
use self::broken::{Astray, Reset, Stalled, TooLong};
pub(crate) use self::idle::Idle;
pub(crate) use self::lent::Lent;
pub(crate) use self::progress::{Progress, Unfinished};

pub(crate) type BodyError = Box<dyn Error + Send + Sync>;
type Frames = Option<Result<Frame<Bytes>, BodyError>>;

/// The body of a request on its way to a backend.
#[derive(Debug)]
pub(crate) struct RequestBody {
    inner: Option<Source>,
    is_http2: bool,
    progress: Rc<Progress>,
    idle: Idle,
    /// Bytes that may still come.
    left: Option<u64>,
    /// Somebody else gets all of it, too.
    copying: Option<Box<Copying>>,
    /// Who changes its trailers.
    filters: Option<Arc<Filters>>,
}

/// Who reads a body.
#[derive(Debug)]
pub(crate) enum Source {
    Hyper(Incoming),
    Own(http1::Body),
    /// Of a backend, by our own engine.
    Answer(http1::AnswerBody),
    #[cfg(feature = "http3")]
    Http3(Box<http3::Body>),
    /// Some of it has been read ahead.
    Held(Box<Held>),
}

impl From<Incoming> for Source {
    fn from(body: Incoming) -> Self {
        Self::Hyper(body)
    }
}

impl From<http1::Body> for Source {
    fn from(body: http1::Body) -> Self {
        Self::Own(body)
    }
}

impl From<http1::AnswerBody> for Source {
    fn from(body: http1::AnswerBody) -> Self {
        Self::Answer(body)
    }
}

#[cfg(feature = "http3")]
impl From<Box<http3::Body>> for Source {
    fn from(body: Box<http3::Body>) -> Self {
        Self::Http3(body)
    }
}

impl Source {
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Frames> {
        match self {
            Self::Hyper(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Own(body) => body.poll_frame(cx).map_err(Into::into),
            Self::Answer(body) => body.poll_frame(cx).map_err(Into::into),
            #[cfg(feature = "http3")]
            Self::Http3(body) => body.poll_frame(cx),
            Self::Held(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
            Self::Answer(body) => body.is_end_stream(),
            #[cfg(feature = "http3")]
            Self::Http3(body) => body.is_end_stream(),
            Self::Held(body) => body.is_end_stream(),
        }
    }

    /// Whether it says that it is longer than it may be.
    pub(crate) fn is_too_long(&self, most: Option<u64>) -> bool {
        most.is_some_and(|most| self.size_hint().lower() > most)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
            Self::Own(body) => body.size_hint(),
            Self::Answer(body) => body.size_hint(),
            #[cfg(feature = "http3")]
            Self::Http3(body) => body.size_hint(),
            Self::Held(body) => body.size_hint(),
        }
    }
}

impl RequestBody {
    /// `most` is how many bytes it may have.
    pub(crate) fn new(inner: Source, version: Version, idle: Duration, most: Option<u64>) -> Self {
        let inner = Some(inner).filter(|body| !body.is_end_stream());
        Self {
            progress: Progress::new(inner.is_none()),
            inner,
            is_http2: version == Version::HTTP_2,
            idle: Idle::new(idle),
            left: most,
            copying: None,
            filters: None,
        }
    }

    /// Whether it is said to be longer than it may be.
    pub(crate) fn is_too_long(&self) -> bool {
        self.left.is_some_and(|left| self.size_hint().lower() > left)
    }

    pub(crate) fn empty() -> Self {
        thread_local! {
            /// All that have nothing to come have come as far.
            static COME: Rc<Progress> = Progress::new(true);
        }
        Self {
            inner: None,
            is_http2: false,
            progress: COME.with(Rc::clone),
            idle: Idle::new(Duration::MAX),
            left: None,
            copying: None,
            filters: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.is_none()
    }

    pub(crate) fn progress(&self) -> Rc<Progress> {
        self.progress.clone()
    }

    /// The backend takes nothing now.
    pub(crate) fn is_stuck(&self) {
        if let Some(Source::Own(body)) = &self.inner {
            body.is_stuck();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Frames> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        let frame = match inner.poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                this.progress.on_client.set(true);
                // Who is being answered may have nothing to say for long.
                ready!(this.idle.poll_over_since(this.progress.answered.get(), cx));
                this.progress.failed.set(Some(Unfinished::Stalled));
                return Poll::Ready(Some(Err(Stalled("the client").into())));
            }
        };
        this.idle.stop();
        this.progress.on_client.set(false);
        this.progress.last.set(Instant::now());
        if this.is_http2 && is_cut(inner, &frame) {
            this.progress.failed.set(Some(Unfinished::Broken));
            return Poll::Ready(Some(Err(Reset.into())));
        }
        if let Some(Ok(frame)) = &frame
            && is_too_long(&mut this.left, frame)
        {
            this.progress.failed.set(Some(Unfinished::TooLong));
            return Poll::Ready(Some(Err(TooLong("request").into())));
        }
        let frame = this.passed(frame);
        let is_over = frame.is_none() || this.is_end_stream();
        if is_over {
            this.progress.finished.set(true);
        }
        if let Some(copying) = this.copying.take() {
            this.copying = copying.take(&frame, is_over);
        }
        if matches!(frame, Some(Err(_))) {
            this.progress.failed.set(Some(Unfinished::Broken));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Source::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Source::size_hint)
    }
}

/// Whether the frame has more than may still come, if there is a bound.
fn is_too_long(left: &mut Option<u64>, frame: &Frame<Bytes>) -> bool {
    let (Some(left), Some(data)) = (left, frame.data_ref()) else {
        return false;
    };
    let rest = left.checked_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
    *left = rest.unwrap_or_default();
    rest.is_none()
}

/// Whether the frame says that all has come of a body of HTTP/2, and it has not.
fn is_cut<T>(body: &Source, frame: &Option<T>) -> bool {
    frame.is_none() && !body.is_end_stream()
}

/// The body of a response on its way to a client.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    content: Content,
    open: Option<Open>,
    noted: Option<Box<Noted>>,
}

#[derive(Debug)]
enum Content {
    Text(Bytes),
    Backend(BackendBody),
    Packed(Box<Packed>),
}

impl ResponseBody {
    pub(crate) fn text(text: Bytes) -> Self {
        Self {
            content: Content::Text(text),
            open: None,
            noted: None,
        }
    }

    pub(crate) fn backend(body: BackendBody) -> Self {
        Self {
            content: Content::Backend(body),
            open: None,
            noted: None,
        }
    }

    /// Whether so much of it is to come that it should go by a pipe, and nobody looks at it on its way.
    pub(crate) fn is_for_pipe(&self) -> bool {
        matches!(&self.content, Content::Backend(BackendBody { inner: Source::Answer(answer), .. }) if answer.is_for_pipe())
    }

    /// The same as `poll_frame`, into an empty pipe; how many bytes.
    pub(crate) fn poll_splice(
        &mut self,
        pipe: &mut Pipe,
        cx: &mut Context<'_>,
    ) -> Poll<Result<u64, BodyError>> {
        let Content::Backend(body) = &mut self.content else {
            return Poll::Ready(Err(Astray.into()));
        };
        let moved = ready!(body.poll_splice(pipe, cx));
        if let Some(noted) = &mut self.noted {
            match &moved {
                Ok(count) => noted.entry.bytes += count,
                Err(error) => noted.entry.error = Some(error.to_string()),
            }
        }
        Poll::Ready(moved)
    }

    /// The client takes nothing now: what is left of the request goes on.
    pub(crate) fn poll_stuck(&mut self, cx: &mut Context<'_>) {
        if let Some(answer) = self.answer() {
            answer.poll_stuck(cx);
        }
    }

    /// The same by a task of its own, until it is sent or the answer is over: for an engine that asks for nothing while the
    /// client takes nothing.
    pub(crate) fn send_apart(&mut self, tasks: &Tasks) {
        if let Some(sending) = self.answer().and_then(http1::AnswerBody::send_apart) {
            tasks.spawn(sending);
        }
    }

    /// Whether its backend will not take the rest of the request, if there is any.
    pub(crate) fn leaves_request(&mut self) -> bool {
        self.answer().is_some_and(|answer| answer.leaves_request())
    }

    /// Fields of the head that stay as they came.
    pub(crate) fn take_lines(&mut self) -> Option<Box<http1::Lines>> {
        self.answer().and_then(http1::AnswerBody::take_lines)
    }

    /// Of a backend, by our own engine.
    fn answer(&mut self) -> Option<&mut http1::AnswerBody> {
        match &mut self.content {
            Content::Backend(BackendBody {
                inner: Source::Answer(answer),
                ..
            }) => Some(answer),
            Content::Packed(packed) => packed.inner().answer(),
            Content::Text(_) | Content::Backend(_) => None,
        }
    }

    /// The client takes nothing more of it.
    pub(crate) fn give_up(&mut self) {
        if let Some(noted) = &mut self.noted {
            noted.entry.error = Some(Untaken.to_string());
        }
    }

    /// How long it is where it is the proxy's own.
    pub(crate) fn own_length(&self) -> Option<u64> {
        match &self.content {
            Content::Text(text) => u64::try_from(text.len()).ok(),
            Content::Backend(_) | Content::Packed(_) => None,
        }
    }

    /// Another, on its way through a coder.
    pub(crate) fn packed(body: Box<Packed>) -> Self {
        Self {
            content: Content::Packed(body),
            open: None,
            noted: None,
        }
    }

    /// The same; the client's connection counts as in use until it is over.
    pub(crate) fn holding(mut self, open: Open) -> Self {
        self.open = Some(open);
        self
    }

    /// The same; what was noted of its request is logged when it is over.
    pub(crate) fn noted(mut self, noted: Option<Box<Noted>>) -> Self {
        self.noted = noted;
        self
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.open.as_ref().is_some_and(Open::is_given_up) {
            self.give_up();
        }
        let is_over = self.content.is_over();
        if let Some(noted) = &mut self.noted {
            // The answer to HEAD has no body, whatever its fields say.
            noted.entry.cut = !is_over && noted.entry.texts.get(Text::Method) != Some("HEAD");
        }
    }
}

impl Content {
    fn is_over(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Backend(body) => body.is_over,
            Self::Packed(body) => body.is_over(),
        }
    }

    /// Whether it has been ended with a status of gRPC that is not the backend's.
    fn is_excused(&self) -> bool {
        matches!(self, Self::Backend(body) if body.is_excused)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Frames> {
        let this = self.get_mut();
        let frame = this.content.poll_frame(cx);
        if let Some(open) = &this.open {
            open.set_answer(match frame.is_ready() {
                true => Answer::Come,
                false => Answer::Awaited,
            });
        }
        let frame = ready!(frame);
        if let (Some(noted), Some(came)) = (&mut this.noted, &frame) {
            match came {
                Ok(frame) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    noted.entry.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
                    if this.content.is_excused() {
                        noted.entry.error = frame.trailers_ref().and_then(answer::why);
                    }
                }
                Err(error) => noted.entry.error = Some(error.to_string()),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Text(text) => text.is_empty(),
            Content::Backend(body) => body.is_excused || body.inner.is_end_stream(),
            Content::Packed(body) => body.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(u64::try_from(text.len()).unwrap_or(u64::MAX)),
            Content::Backend(body) => body.inner.size_hint(),
            Content::Packed(_) => SizeHint::default(),
        }
    }
}

impl Content {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Frames> {
        match self {
            Self::Text(text) if text.is_empty() => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Self::Packed(body) => body.poll_frame(cx),
            Self::Backend(body) => body.poll_frame(cx),
        }
    }
}
