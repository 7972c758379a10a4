//! What the proxy answers itself: failures, fixed responses and redirects in, responses out.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use portcullis_model::{BackendId, Redirect, Request};

use crate::body::{ResponseBody, Unfinished};
use crate::lookup::RequestHead;
use crate::table::Page;

/// Why a request gets no answer from a backend.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    why: String,
    /// Whether the connection's next requests are not trusted either.
    closes: bool,
    /// Seconds after which the same may well be answered.
    again: Option<u32>,
    /// How credentials are asked for.
    challenge: Option<HeaderValue>,
    /// The status of gRPC, where it is not the one that goes with the other.
    grpc: Option<&'static str>,
}

/// Seconds after which a client may come again, where it is not known when there will be room.
const SOON: u32 = 1;

/// A body is longer than bodies may be. The rest of it is not read.
pub(crate) fn too_long() -> Failure {
    Failure::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the body of the request is too long",
    )
    .closing()
}

/// The answer of a backend is longer than answers may be.
pub(crate) fn answer_too_long(backend: &BackendId) -> Failure {
    let why = format!("the answer of {backend} is too long");
    Failure {
        grpc: Some(GRPC_RESOURCE_EXHAUSTED),
        ..Failure::new(StatusCode::BAD_GATEWAY, why)
    }
}

impl From<Unfinished> for Failure {
    fn from(unfinished: Unfinished) -> Self {
        match unfinished {
            Unfinished::Stalled => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body of the request did not arrive",
            ),
            Unfinished::TooLong => too_long(),
            Unfinished::Broken => {
                Self::new(StatusCode::BAD_REQUEST, "the body of the request cannot be read").closing()
            }
        }
    }
}

/// A host that cannot stand in a request.
pub(crate) fn no_host() -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "the host cannot be passed on")
}

impl Failure {
    /// There is no room for the request now.
    pub(crate) fn overloaded(why: impl Into<String>) -> Self {
        Self {
            again: Some(SOON),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
        }
    }

    /// The client has had as many answers as it may have for now.
    pub(crate) fn too_many(seconds: u32) -> Self {
        Self {
            again: Some(seconds.max(SOON)),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "come again later")
        }
    }

    pub(crate) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self {
            status,
            why: why.into(),
            closes: false,
            again: None,
            challenge: None,
            grpc: None,
        }
    }

    /// The same, and the last answer on its connection.
    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }

    /// The same, and how credentials are to be given.
    pub(crate) fn challenging(self, challenge: HeaderValue) -> Self {
        Self {
            challenge: Some(challenge),
            ..self
        }
    }

    /// For those who run the proxy.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// For clients: what they did wrong. What is wrong behind the proxy names Services and says how they are, which is
    /// nobody's business out there.
    fn shown(&self) -> Option<&str> {
        (!self.status.is_server_error()).then_some(&*self.why)
    }

    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    /// Its status of gRPC.
    fn grpc(&self) -> &'static str {
        let of_status = match self.status.as_u16() {
            400 | 431 => "13",
            401 => "16",
            403 => "7",
            404 | 405 => "12",
            408 | 504 => GRPC_DEADLINE_EXCEEDED,
            413 => GRPC_RESOURCE_EXHAUSTED,
            429 | 502 | 503 => GRPC_UNAVAILABLE,
            _ => "2",
        };
        self.grpc.unwrap_or(of_status)
    }

    /// One line of text; for a gRPC request, the status gRPC has for it. Source: gRPC "HTTP to gRPC Status Code
    /// Mapping", but for a timeout, which is told as a deadline exceeded, and for what is too long, as gRPC's servers do.
    pub(crate) fn response(&self, is_grpc: bool) -> Response<ResponseBody> {
        if !is_grpc {
            let reason = self.status.canonical_reason().unwrap_or_default();
            let code = self.status.as_u16();
            let text = match self.shown() {
                Some(why) => format!("{code} {reason}: {why}\n"),
                None => format!("{code} {reason}\n"),
            };
            let mut response = page(self.status, Some(&TEXT), Bytes::from(text));
            if let Some(seconds) = self.again {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            if let Some(challenge) = &self.challenge {
                let headers = response.headers_mut();
                headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
            }
            return response;
        }
        let mut response = page(StatusCode::OK, Some(&GRPC), Bytes::new());
        let headers = response.headers_mut();
        headers.insert("grpc-status", HeaderValue::from_static(self.grpc()));
        let reason = self.status.canonical_reason().unwrap_or_default();
        if let Ok(message) = HeaderValue::from_str(self.shown().unwrap_or(reason)) {
            headers.insert("grpc-message", message);
        }
        response
    }
}

pub(crate) const GRPC_DEADLINE_EXCEEDED: &str = "4";
pub(crate) const GRPC_RESOURCE_EXHAUSTED: &str = "8";
pub(crate) const GRPC_UNAVAILABLE: &str = "14";

/// The trailers of a gRPC answer whose rest will not come.
pub(crate) fn cut_off(status: &'static str) -> HeaderMap {
    let why = match status {
        GRPC_RESOURCE_EXHAUSTED => "the answer is too long",
        _ => "the backend broke off its answer",
    };
    trailers(status, HeaderValue::from_static(why))
}

/// The same where it is the request whose rest will not come.
pub(crate) fn cut_off_for(unfinished: Unfinished) -> HeaderMap {
    let failure = Failure::from(unfinished);
    let why = HeaderValue::from_str(&failure.why);
    trailers(
        failure.grpc(),
        why.unwrap_or_else(|_| HeaderValue::from_static("")),
    )
}

fn trailers(status: &'static str, why: HeaderValue) -> HeaderMap {
    HeaderMap::from_iter([
        (
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        ),
        (HeaderName::from_static("grpc-message"), why),
    ])
}

/// What such trailers say.
pub(crate) fn why(trailers: &HeaderMap) -> Option<String> {
    let message = trailers.get("grpc-message")?;
    message.to_str().ok().map(str::to_owned)
}

static TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
static GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Whether the client speaks gRPC. Source: gRPC over HTTP/2, "Content-Type".
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|value| {
        value.starts_with(b"application/grpc") && !value.starts_with(b"application/grpc-web")
    })
}

/// Of the answer to HEAD, all but the body of the proxy's own: over HTTP/2 nobody else leaves it out.
pub(crate) fn leave_out(response: &mut Response<ResponseBody>) {
    let Some(length @ 1..) = response.body().own_length() else {
        return;
    };
    *response.body_mut() = ResponseBody::text(Bytes::new());
    let headers = response.headers_mut();
    headers.entry(header::CONTENT_LENGTH).or_insert(length.into());
}

/// A fixed response.
pub(crate) fn fixed(fixed: &Page) -> Response<ResponseBody> {
    // Source: RFC 9110 §15.3.5, §15.3.6, §15.4.5: these have no content.
    let body = match fixed.status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => Bytes::new(),
        _ => fixed.body.clone(),
    };
    page(fixed.status, fixed.content_type.as_ref(), body)
}

/// A redirect of this request, whose port is the one that clients see.
pub(crate) fn redirect(redirect: &Redirect, head: &RequestHead<'_>, is_tls: bool) -> Response<ResponseBody> {
    let request = Request {
        port: head.port,
        host: head.host.to_owned(),
        path: head.path.to_owned(),
        query: head.query.to_owned(),
        method: head.method.to_owned(),
        headers: Vec::new(),
        source: head.source,
    };
    // HTTP/1.0 need not name a host. Source: RFC 9110 §4.2.1, a URL has one.
    if request.host.is_empty() && redirect.needs_host() {
        let why = "the request names no host, which its redirect needs";
        return Failure::new(StatusCode::BAD_REQUEST, why).response(false);
    }
    let Some(location) = redirect.location(&request, is_tls) else {
        let why = "the request's URL is too long for its redirect";
        return Failure::new(StatusCode::URI_TOO_LONG, why).response(false);
    };
    let location = HeaderValue::try_from(location);
    match (StatusCode::from_u16(redirect.status.code()), location) {
        (Ok(status), Ok(location)) => {
            let mut response = page(status, None, Bytes::new());
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        _ => Failure::new(
            StatusCode::BAD_REQUEST,
            "the request's URL cannot be part of a redirect",
        )
        .response(false),
    }
}

/// To a page where somebody logs in, or back from there.
pub(crate) fn to_log_in(
    location: String,
    cookies: impl IntoIterator<Item = HeaderValue>,
) -> Result<Response<ResponseBody>, Failure> {
    let location = HeaderValue::try_from(location);
    let location =
        location.map_err(|_| Failure::new(StatusCode::BAD_REQUEST, "the URL cannot be passed on"))?;
    let mut response = page(StatusCode::FOUND, None, Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        headers.append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn page(status: StatusCode, content_type: Option<&HeaderValue>, body: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::text(body));
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type.clone());
    }
    response
}
