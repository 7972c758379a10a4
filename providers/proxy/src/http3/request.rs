//! A stream in, its request answered there out: heads, bodies both ways as they come, trailers.

use std::fmt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::future::poll_fn;
use futures::ready;
use h3::error::StreamError;
use h3::server::{RequestResolver, RequestStream};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::time::timeout;
use tracing::debug;

use super::frames::{MESSAGE_ERROR, REQUEST_CANCELLED};
use super::transport::{Given, Receiving, Sending, Transport};
use crate::activity::Open;
use crate::body::{BodyError, RequestBody, ResponseBody, Untaken};
use crate::exchange::{Peer, exchange};
use crate::interim::{Interim, Interims};
use crate::mutual::Shown;
use crate::present::Present;
use crate::tunnel::{ClientEnd, ClientSide, Upgrade};
use crate::worker::Worker;

/// A stream that has begun, and who began it.
pub(super) struct Asking {
    pub(super) worker: Rc<Worker>,
    pub(super) peer: Peer,
    pub(super) shown: Rc<Shown>,
    pub(super) resolver: RequestResolver<Transport, Bytes>,
    pub(super) given: Given,
    /// Its connection is in use until all of the answer has arrived.
    pub(super) open: Open,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Sender = RequestStream<Sending, Bytes>;

/// Answers it, or resets the stream.
pub(super) async fn answer(asking: Asking) {
    if let Err(error) = Box::pin(answer_from(asking)).await {
        debug!(error = &*error, "a client's request ended");
    }
}

async fn answer_from(asking: Asking) -> Result<(), Failure> {
    let Asking {
        worker,
        peer,
        shown,
        resolver,
        given,
        open,
    } = asking;
    let mut outcome = given.outcome;
    let timeouts = worker.settings.timeouts;
    let (request, mut stream) = timeout(timeouts.head, resolver.resolve_request()).await??;
    given.is_ours.set(true);
    let length = match length(&request) {
        Ok(length) => length,
        Err(why) => {
            let code = MESSAGE_ERROR.into();
            stream.stop_stream(code);
            stream.stop_sending(code);
            return Err(why.into());
        }
    };
    let (mut sender, receiver) = stream.split();
    let mut body = Box::new(Body {
        stream: receiver,
        left: length,
        at: At::Data,
        first: None,
    });
    // Where there is none, it is waited for the end: nobody would read what comes in its place.
    let is_none = length == Some(0);
    let looked = poll_fn(|cx| match body.poll_next(cx) {
        Poll::Pending if is_none => Poll::Pending,
        Poll::Pending => Poll::Ready(None),
        Poll::Ready(first) => Poll::Ready(first),
    });
    body.first = timeout(timeouts.body, looked).await?;
    if let Some(Err(error)) = body.first {
        sender.stop_stream(MESSAGE_ERROR.into());
        return Err(error);
    }
    let (parts, ()) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let most = worker.settings.limits.body_bytes;
    let body = RequestBody::new(body.into(), Version::HTTP_3, timeouts.body, most);
    // Nobody but the backend invites it to send its body.
    let interims = Interims::new(false);
    let upgrade = ClientSide {
        end: ClientEnd {
            upgrade: Upgrade::Never,
            open: None,
            counted: None,
        },
        takes_lines: false,
        interims: Some(&interims),
    };
    let tasks = worker.clients.clone();
    let counters = worker.counters.clone();
    let present = Present::of(&parts.headers);
    let answering = async {
        let parts = Box::new(parts);
        let mut exchange = pin!(exchange(worker, peer, shown, parts, present, body, upgrade));
        let mut response = loop {
            let come = poll_fn(|cx| match (exchange.as_mut().poll(cx), interims.take()) {
                (Poll::Pending, none) if none.is_empty() => Poll::Pending,
                (Poll::Pending, some) => Poll::Ready((None, some)),
                (Poll::Ready(response), some) => Poll::Ready((Some(response), some)),
            });
            let (response, come) = come.await;
            for interim in come {
                timeout(timeouts.body, inform(&mut sender, interim)).await??;
            }
            if let Some(response) = response {
                break response;
            }
        };
        response.body_mut().send_apart(&tasks);
        let sent = send(&mut sender, response, is_head, timeouts.body).await;
        if sent.as_ref().is_err_and(|error| error.is::<Untaken>()) {
            counters.untaken();
        }
        sent
    };
    tokio::select! {
        sent = answering => sent?,
        // Whoever answers at the backend is told, too.
        stopped = &mut outcome => {
            let stopped = stopped?;
            sender.stop_stream(REQUEST_CANCELLED.into());
            return Err(format!("the client wants no answer any more ({stopped:?})").into());
        }
    }
    // Closed before, the connection would take along what has not arrived.
    timeout(timeouts.body, outcome).await??;
    drop(open);
    Ok(())
}

/// How long the body is said to be; why the request is malformed. h3 does not look at it.
/// Source: RFC 9114 §4.1.2, §4.2 and §4.3.1.
fn length(request: &Request<()>) -> Result<Option<u64>, &'static str> {
    let headers = request.headers();
    let of_connections = [
        CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ];
    if of_connections.iter().any(|name| headers.contains_key(name)) {
        return Err("a field of connections of HTTP/1.1");
    }
    if headers.get_all(TE).iter().any(|te| te != "trailers") {
        return Err("TE says something else than trailers");
    }
    let path = request.uri().path();
    let is_asterisk = path == "*" && request.method() == Method::OPTIONS;
    if !path.starts_with('/') && !is_asterisk && request.method() != Method::CONNECT {
        return Err("the path does not start with a slash");
    }
    let Some(said) = headers.get(CONTENT_LENGTH) else {
        return Ok(None);
    };
    let digits = said.to_str().unwrap_or_default();
    // `parse` would take a sign.
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits
            .parse()
            .map(Some)
            .map_err(|_| "Content-Length is no length"),
        false => Err("Content-Length is no length"),
    }
}

/// Sends an interim answer; one that is longer than heads may be to the client is left out.
async fn inform(sender: &mut Sender, (status, fields): Interim) -> Result<(), StreamError> {
    let mut head = Response::new(());
    (*head.status_mut(), *head.headers_mut()) = (status, fields);
    match sender.send_response(head).await {
        Err(StreamError::HeaderTooBig { .. }) => Ok(()),
        sent => sent,
    }
}

/// Sends an answer, as far as the client takes it. `idle` is the longest wait for it to take a piece.
async fn send(
    sender: &mut Sender,
    response: Response<ResponseBody>,
    is_head: bool,
    idle: Duration,
) -> Result<(), Failure> {
    let (mut parts, mut body) = response.into_parts();
    let status = parts.status;
    let is_bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !parts.headers.contains_key(DATE)
        && let Ok(now) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now())
        && let Ok(now) = HeaderValue::try_from(now)
    {
        parts.headers.insert(DATE, now);
    }
    if let Some(length) = body.size_hint().exact().filter(|_| !is_head && !is_bodiless) {
        parts
            .headers
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = parts.headers;
    timeout(idle, sender.send_response(head)).await??;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame?.into_data() {
            // Source: RFC 9110 §9.3.2, §15.3.5 and §15.4.5.
            Ok(data) if data.is_empty() || is_head || is_bodiless => {}
            Ok(data) => {
                let Ok(sent) = timeout(idle, sender.send_data(data)).await else {
                    body.give_up();
                    return Err(Untaken.into());
                };
                sent?;
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    timeout(idle, sender.send_trailers(trailers)).await??;
                }
            }
        }
    }
    sender.finish().await?;
    Ok(())
}

/// The body of a request on its stream.
pub(crate) struct Body {
    stream: RequestStream<Receiving, Bytes>,
    /// Of what it is said to have: bytes that are to come.
    left: Option<u64>,
    at: At,
    /// What came with the head.
    first: Option<Result<Frame<Bytes>, BodyError>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Data,
    Trailers,
    End,
}

/// It has not the length that it is said to have.
#[derive(Debug, thiserror::Error)]
#[error("the body is not as long as it is said to be")]
struct WrongLength;

impl Body {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.poll_next(cx),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.at == At::Data {
            let data = ready!(self.stream.poll_recv_data(cx));
            match data.map(|data| data.map(|mut data| data.copy_to_bytes(data.remaining()))) {
                Ok(Some(data)) => return Poll::Ready(Some(self.count(&data).map(|()| Frame::data(data)))),
                Ok(None) => self.at = At::Trailers,
                Err(error) => return Poll::Ready(Some(Err(self.broken(error)))),
            }
        }
        if self.at == At::Trailers {
            let trailers = ready!(self.stream.poll_recv_trailers(cx));
            self.at = At::End;
            if self.left.is_some_and(|left| left > 0) {
                return Poll::Ready(Some(Err(WrongLength.into())));
            }
            return Poll::Ready(match trailers {
                Ok(trailers) => trailers.map(|trailers: HeaderMap| Ok(Frame::trailers(trailers))),
                Err(error) => Some(Err(self.broken(error))),
            });
        }
        Poll::Ready(None)
    }

    fn count(&mut self, data: &Bytes) -> Result<(), BodyError> {
        let Some(left) = &mut self.left else { return Ok(()) };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        match left.checked_sub(length) {
            Some(rest) => {
                *left = rest;
                Ok(())
            }
            None => {
                self.at = At::End;
                Err(WrongLength.into())
            }
        }
    }

    fn broken(&mut self, error: StreamError) -> BodyError {
        self.at = At::End;
        error.into()
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.at == At::End && self.first.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let came = match &self.first {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => 0,
        };
        let came = u64::try_from(came).unwrap_or_default();
        match self.left {
            Some(left) => SizeHint::with_exact(left + came),
            None => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("left", &self.left)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_request_is_known() {
        for (method, uri, fields, want) in [
            ("GET", "https://a/", &[][..], Ok(None)),
            ("POST", "https://a/", &[("content-length", "5")], Ok(Some(5))),
            ("POST", "https://a/", &[("te", "trailers")], Ok(None)),
            ("OPTIONS", "https://a/*", &[], Ok(None)),
            ("POST", "https://a/", &[("content-length", "+5")], Err(())),
            ("POST", "https://a/", &[("content-length", "5, 5")], Err(())),
            (
                "POST",
                "https://a/",
                &[("content-length", "99999999999999999999")],
                Err(()),
            ),
            ("POST", "https://a/", &[("transfer-encoding", "chunked")], Err(())),
            ("GET", "https://a/", &[("connection", "close")], Err(())),
            ("GET", "https://a/", &[("keep-alive", "1")], Err(())),
            ("GET", "https://a/", &[("proxy-connection", "close")], Err(())),
            ("GET", "https://a/", &[("upgrade", "websocket")], Err(())),
            ("GET", "https://a/", &[("te", "gzip")], Err(())),
            ("GET", "*", &[], Err(())),
        ] {
            let mut request = Request::builder().method(method).uri(uri);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let got = length(&request.body(()).unwrap()).map_err(|_| ());
            assert_eq!(got, want, "{method} {uri} {fields:?}");
        }
    }
}
