//! A request and the backend chosen for it in, the answer of one of its targets or why there is none out.
//!
//! A target that takes no connection is passed over for another; nothing was sent, so every request may go on. A
//! request that was sent is sent again at most once, on a new connection, and only where the connection was kept from
//! before and closed without an answer: if hyper still had all of the request, or if it has no body and may be
//! repeated (RFC 9110 §9.2.2).

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use portcullis_model::BackendVersion;
use tokio::time::timeout_at;

use crate::answer::{self, Failure};
use crate::balance::LiveBackend;
use crate::body::{Progress, RequestBody, Source, Unfinished};
use crate::fields::Hop;
use crate::http1::{self, NoAnswer};
use crate::pools::{ConnectError, Key, Lease, Sender};
use crate::target::{LiveTarget, UnderWay};
use crate::worker::Worker;

/// Targets that are tried for a connection before the request fails.
const TARGETS_TRIED: usize = 3;

/// What a backend is asked.
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) target: PathAndQuery,
    /// Empty where the client named none.
    pub(crate) authority: String,
    /// Without the fields of the client's hop.
    pub(crate) headers: HeaderMap,
    pub(crate) hop: Hop,
    pub(crate) body: RequestBody,
}

/// What a backend answered, with what is held until its body is over.
pub(crate) struct Answered {
    pub(crate) response: Response<Source>,
    pub(crate) under_way: UnderWay,
    pub(crate) lease: Lease,
}

/// `stuck` is the mark of the target that the client was at before.
pub(crate) async fn forward(
    worker: &Worker,
    backend: &LiveBackend,
    ask: Ask,
    stuck: Option<u64>,
) -> Result<Answered, Failure> {
    let limit = backend.timeout.unwrap_or(worker.settings.timeouts.answer);
    let mut tried: Vec<SocketAddr> = Vec::new();
    let most = worker.settings.limits.under_way;
    let target = stuck
        .and_then(|mark| backend.stuck(mark))
        .filter(|t| !t.is_full(most));
    let target = target.or_else(|| choose(worker, backend, &tried));
    let mut target = target.ok_or_else(|| no_target(worker, backend))?;
    let named = !ask.authority.is_empty();
    let (mut request, authority) = outgoing(ask, backend);
    let mut fresh = false;
    loop {
        let under_way = UnderWay::to(target.clone());
        let key = Key::new(target.address, &backend.protocol);
        let mut lease = match worker.pools.acquire(key, fresh).await {
            Ok(lease) => {
                target.connected();
                lease
            }
            Err(error) => {
                target.failed();
                worker.counters.unreached();
                tried.push(target.address);
                let next = choose(worker, backend, &tried).filter(|_| tried.len() < TARGETS_TRIED);
                target = next.ok_or_else(|| unreachable(backend, &error))?;
                fresh = false;
                continue;
            }
        };
        if named {
            address(&mut request, backend, &authority)?;
        } else {
            address(&mut request, backend, &target.address.to_string())?;
        }
        let again = if lease.is_reused && !fresh {
            copy(&request)
        } else {
            None
        };
        let progress = request.body().progress();
        lease.progress = Some(progress.clone());
        match send(&mut lease.sender, request, &progress, limit).await {
            Ok(response) => {
                return Ok(Answered {
                    response,
                    under_way,
                    lease,
                });
            }
            Err(Unsent::Timeout) => {
                let why = format!("{} did not answer within {limit:?}", backend.id);
                return Err(Failure::new(StatusCode::GATEWAY_TIMEOUT, why));
            }
            Err(Unsent::Broken {
                request: unsent,
                error,
            }) => {
                match progress.failed() {
                    None => {}
                    Some(Unfinished::Stalled) => {
                        let why = "the body of the request did not arrive";
                        return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, why));
                    }
                    Some(Unfinished::TooLong) => return Err(answer::too_long()),
                    Some(Unfinished::Broken) => {
                        let why = "the body of the request cannot be read";
                        return Err(Failure::new(StatusCode::BAD_REQUEST, why).closing());
                    }
                }
                let again = unsent
                    .map(|request| *request)
                    .or(again.filter(|_| !error.is_parse()));
                match again {
                    Some(again) if !fresh => request = again,
                    _ => return Err(broken(backend, &error)),
                }
                worker.counters.retried();
                fresh = true;
            }
        }
    }
}

fn choose(worker: &Worker, backend: &LiveBackend, tried: &[SocketAddr]) -> Option<Arc<LiveTarget>> {
    backend.choose(&worker.random, tried, worker.settings.limits.under_way)
}

fn no_target(worker: &Worker, backend: &LiveBackend) -> Failure {
    if !backend.targets().is_empty() {
        worker.counters.overloaded();
        let why = format!(
            "all targets of {} have as many requests under way as they may",
            backend.id
        );
        return Failure::overloaded(why);
    }
    Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{} has no ready target", backend.id),
    )
}

fn unreachable(backend: &LiveBackend, error: &ConnectError) -> Failure {
    let status = match error {
        ConnectError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ConnectError::Io(_) | ConnectError::Http(_) => StatusCode::BAD_GATEWAY,
    };
    // The cause names addresses of the cluster: it is for the log, not for clients.
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "failed to connect to {}",
        backend.id
    );
    Failure::new(status, format!("{} takes no connection", backend.id))
}

fn broken(backend: &LiveBackend, error: &Lost) -> Failure {
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "failed to get an answer of {}",
        backend.id
    );
    Failure::new(
        StatusCode::BAD_GATEWAY,
        format!("{} gave no valid answer", backend.id),
    )
}

/// The request as the backend's version of HTTP wants it, but for the authority, which may depend on the target.
fn outgoing(ask: Ask, backend: &LiveBackend) -> (Request<RequestBody>, String) {
    let mut request = Request::new(ask.body);
    *request.method_mut() = ask.method;
    *request.headers_mut() = ask.headers;
    *request.uri_mut() = Uri::from(ask.target);
    let size_is_unknown = !request.body().is_empty() && request.body().size_hint().exact().is_none();
    let headers = request.headers_mut();
    match backend.protocol.version {
        BackendVersion::Http1 => {
            // hyper would leave a GET's body out; said outright, it is sent.
            if size_is_unknown && !headers.contains_key(CONTENT_LENGTH) {
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if let Some(protocol) = ask.hop.upgrade {
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(UPGRADE, protocol);
            }
            *request.version_mut() = Version::HTTP_11;
        }
        BackendVersion::Http2 | BackendVersion::Grpc => {
            if ask.hop.trailers || backend.protocol.version == BackendVersion::Grpc {
                headers.insert(TE, HeaderValue::from_static("trailers"));
            }
            headers.remove(HOST);
            *request.version_mut() = Version::HTTP_2;
        }
    }
    (request, ask.authority)
}

/// Writes the authority where the backend's version of HTTP looks for it.
fn address(
    request: &mut Request<RequestBody>,
    backend: &LiveBackend,
    authority: &str,
) -> Result<(), Failure> {
    let bad = || Failure::new(StatusCode::BAD_REQUEST, "the host cannot be passed on");
    if backend.protocol.version == BackendVersion::Http1 {
        let value = HeaderValue::from_str(authority).map_err(|_| bad())?;
        request.headers_mut().insert(HOST, value);
        return Ok(());
    }
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(if backend.protocol.tls {
        http::uri::Scheme::HTTPS
    } else {
        http::uri::Scheme::HTTP
    });
    parts.authority = Some(authority.parse().map_err(|_| bad())?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| bad())?;
    Ok(())
}

/// The same request once more, if it has no body and may be repeated.
fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.method().is_idempotent() || !request.body().is_empty() {
        return None;
    }
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// Why a request that was to be sent has no answer.
enum Unsent {
    Timeout,
    /// With the request, where nothing of it was sent.
    Broken {
        request: Option<Box<Request<RequestBody>>>,
        error: Lost,
    },
}

/// What went wrong on the way.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Hyper(#[source] hyper::Error),
    #[error("{0}")]
    Own(#[source] NoAnswer),
}

impl Lost {
    /// Whether the backend has answered, but with no HTTP.
    fn is_parse(&self) -> bool {
        match self {
            Self::Hyper(error) => error.is_parse(),
            Self::Own(error) => error.is_parse(),
        }
    }
}

/// Sends, and waits for the head of the answer. The time starts anew with every piece of the request's body, and does
/// not pass while the client is the one to wait for: that is the body's own timeout.
async fn send(
    sender: &mut Sender,
    request: Request<RequestBody>,
    progress: &Rc<Progress>,
    limit: Duration,
) -> Result<Response<Source>, Unsent> {
    let answer = async {
        let lost = |mut error: hyper::client::conn::TrySendError<Request<RequestBody>>| Unsent::Broken {
            request: error.take_message().map(Box::new),
            error: Lost::Hyper(error.into_error()),
        };
        match sender {
            Sender::Http1(sender) => {
                let answered = sender.try_send_request(request).await;
                answered.map(|answer| answer.map(Source::from)).map_err(lost)
            }
            Sender::Http2(sender) => {
                let answered = sender.try_send_request(request).await;
                answered.map(|answer| answer.map(Source::from)).map_err(lost)
            }
            Sender::Own(link) => match http1::ask(link, request).await {
                Ok(answer) => Ok(answer.map(Source::from)),
                Err(error) => Err(Unsent::Broken {
                    request: None,
                    error: Lost::Own(error),
                }),
            },
        }
    };
    let mut answer = pin!(answer);
    let mut deadline = tokio::time::Instant::now() + limit;
    loop {
        if let Ok(answered) = timeout_at(deadline, answer.as_mut()).await {
            return answered;
        }
        let since = if progress.waits_on_client() {
            deadline
        } else {
            progress.last()
        };
        if since + limit <= deadline {
            return Err(Unsent::Timeout);
        }
        deadline = since + limit;
    }
}
