//! A request's body in, for hyper to send over HTTP/2; the same back, where the backend has begun nothing with it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{BodyError, Frames, Held, RequestBody, Source};

/// Most that is kept of a body that is being sent, in bytes: with more of it gone, it is not sent again.
const MOST: usize = 16 * 1024;

/// A body that hyper sends. None where it has none.
#[derive(Clone, Debug)]
pub(crate) struct Lent(Option<Rc<RefCell<Loan>>>);

#[derive(Debug)]
struct Loan {
    /// None once it is taken back.
    body: Option<RequestBody>,
    /// What has gone of it, copied, so that no buffer is held for a part of it; none once that is more than is kept.
    gone: Option<Vec<u8>>,
}

/// Whoever lent it has it again.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request goes elsewhere")]
struct TakenBack;

impl RequestBody {
    /// All of it, for as long as the request is under way.
    pub(crate) fn lend(&mut self) -> Lent {
        if self.is_empty() {
            return Lent(None);
        }
        let loan = Loan {
            body: Some(std::mem::replace(self, Self::empty())),
            gone: Some(Vec::new()),
        };
        Lent(Some(Rc::new(RefCell::new(loan))))
    }

    /// As if this had not been taken of it.
    fn put_back(&mut self, gone: Vec<u8>) {
        if gone.is_empty() {
            return;
        }
        let count = u64::try_from(gone.len()).unwrap_or(u64::MAX);
        let held = Held::again(gone, self.inner.take());
        self.inner = Some(Source::Held(Box::new(held)));
        self.left = self.left.map(|left| left.saturating_add(count));
        if let Some(copying) = &mut self.copying {
            copying.begin_again();
        }
        self.progress.finished.set(false);
    }
}

impl Lent {
    /// The body, where all of it is still there. Whoever has it yet gets nothing more.
    pub(crate) fn take_back(&self) -> Option<RequestBody> {
        let Some(loan) = &self.0 else {
            return Some(RequestBody::empty());
        };
        let mut loan = loan.borrow_mut();
        let gone = loan.gone.take()?;
        let mut body = loan.body.take()?;
        body.put_back(gone);
        Some(body)
    }
}

impl Loan {
    /// Notes what goes.
    fn note(&mut self, frame: &Frames) {
        let Some(Ok(frame)) = frame else { return };
        let Some(gone) = &mut self.gone else { return };
        match frame.data_ref() {
            Some(data) if gone.len() + data.len() <= MOST => gone.extend_from_slice(data),
            // Trailers are not kept, either.
            Some(_) | None => self.gone = None,
        }
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(loan) = &self.0 else {
            return Poll::Ready(None);
        };
        let mut loan = loan.borrow_mut();
        let Some(body) = &mut loan.body else {
            return Poll::Ready(Some(Err(TakenBack.into())));
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        loan.note(&frame);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let Some(loan) = &self.0 else { return true };
        loan.borrow().body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let Some(loan) = &self.0 else {
            return SizeHint::with_exact(0);
        };
        let loan = loan.borrow();
        loan.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
