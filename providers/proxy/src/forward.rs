//! A request and the backend chosen for it in, the answer of one of its targets or why there is none out.
//!
//! A target that takes no connection is passed over for another; nothing was sent, so every request may go on. A
//! request that was sent is sent again at most twice, where its connection closed without an answer: if hyper still had
//! all of the request, or if it has no body and may be repeated (RFC 9110 §9.2.2). Where the connection was kept from
//! before, a new one may do; where it was new, another target is asked, if there is one. One that a backend of HTTP/2 says that it has begun nothing with (RFC 9113 §8.7) goes to
//! another target, if there is one, whatever its method, as long as all of its body is still here. Of all that a backend
//! is asked, a fifth may be tried again so, and ten a second always.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::Authority;
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use portcullis_model::BackendVersion;
use tokio::time::{Instant, timeout_at};

use crate::answer::{self, Failure};
use crate::balance::LiveBackend;
use crate::body::{Lent, RequestBody, Source};
use crate::fields::Hop;
use crate::http1::{self, Broke, NoAnswer, Patience};
use crate::interim::Passing;
use crate::load::{Load, UnderWay};
use crate::pools::{ConnectError, Key, Lease, Sender};
use crate::proxy_protocol;
use crate::target::LiveTarget;
use crate::told::Told;
use crate::worker::Worker;

/// Targets that are tried for a connection before the request fails.
const TARGETS_TRIED: usize = 3;

/// Times that a request that was sent is sent again.
const SENT_AGAIN: u32 = 2;

/// What a backend is asked.
pub(crate) struct Ask<'a> {
    /// Without the fields of the client's hop; the target is path and query alone. Boxed, for it is handed on from one to
    /// the next.
    pub(crate) parts: Box<Parts>,
    /// Empty where the client named none.
    pub(crate) authority: HeaderValue,
    /// What the fields do not tell yet.
    pub(crate) told: Option<Told>,
    /// Whether the fields of the answer may stay as they came: nobody looks at them before a client of our own engine.
    pub(crate) as_they_came: bool,
    /// Where interim answers go; they are read over where it is nowhere.
    pub(crate) interims: Option<Passing<'a>>,
    pub(crate) hop: Hop,
    pub(crate) body: &'a mut RequestBody,
    /// Whom it is for.
    pub(crate) client: IpAddr,
}

/// What leads a request to the target of others; by default nothing does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lead {
    /// The mark of the target that the client was at before, by its cookie.
    pub(crate) stuck: Option<u64>,
    /// The hash of what it has in common with them.
    pub(crate) key: Option<u64>,
}

/// What a backend answered, with what is held until its body is over.
pub(crate) struct Answered {
    pub(crate) response: Response<Source>,
    pub(crate) under_way: UnderWay,
    pub(crate) lease: Lease,
}

pub(crate) async fn forward(
    worker: &Worker,
    backend: &LiveBackend,
    ask: &mut Ask<'_>,
    lead: Lead,
) -> Result<Answered, Failure> {
    let Some(security) = &backend.security else {
        let why = format!("what targets of {} are verified by is not known", backend.id);
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, why));
    };
    backend.budget.asked();
    if hoards(worker, backend) {
        worker.counters.overloaded();
        worker.pools.places().lacked_one();
        let why = format!(
            "{} has its share of the connections that the proxy may open",
            backend.id
        );
        return Err(Failure::overloaded(why));
    }
    let of_all = &worker.settings.timeouts;
    let (limit, taking) = (backend.answers_within(of_all), backend.takes_within(of_all));
    let connecting = backend.connects_within(of_all);
    let mut tried: Vec<SocketAddr> = Vec::new();
    let most = worker.settings.limits.under_way;
    let target = lead
        .stuck
        .and_then(|mark| backend.stuck(mark))
        .filter(|t| !t.load.is_full(most));
    let target = target.or_else(|| choose(worker, backend, lead.key, &tried));
    let mut target = target.ok_or_else(|| no_target(worker, backend))?;
    let client = ask.client;
    let named = !ask.authority.is_empty();
    prepare(ask, backend);
    let Ask {
        parts,
        authority,
        told,
        as_they_came,
        interims,
        body,
        ..
    } = ask;
    let mut fresh = false;
    let mut sent_again = 0;
    loop {
        let under_way = UnderWay::to(target.clone());
        let key = Key::new(target.address, backend.protocol.version, security);
        let acquired = match backend.proxy_protocol {
            false => worker.pools.acquire(key, fresh, connecting).await,
            true => {
                let head = proxy_protocol::head(Some(client), target.address);
                Box::pin(worker.pools.acquire_for(key, &head, connecting)).await
            }
        };
        let mut lease = match acquired {
            Ok(lease) => {
                target.connected();
                lease
            }
            Err(error) if error.is_own() => {
                worker.counters.overloaded();
                return Err(Failure::overloaded("the proxy can open no more connections"));
            }
            Err(error) => {
                target.failed();
                worker.counters.unreached();
                tried.push(target.address);
                let next = choose(worker, backend, lead.key, &tried)
                    .filter(|_| tried.len() < TARGETS_TRIED && backend.budget.spends(Instant::now()));
                target = next.ok_or_else(|| unreachable(backend, &error))?;
                fresh = false;
                continue;
            }
        };
        let own;
        let host = match named {
            true => &*authority,
            false => {
                let address = HeaderValue::try_from(target.address.to_string());
                own = address.map_err(|_| answer::no_host())?;
                &own
            }
        };
        if !lease.sender.is_own() {
            address(parts, backend, host)?;
            if let Some(told) = told.take() {
                told.enter(&mut parts.headers);
            }
        }
        let may_repeat = parts.method.is_idempotent() && body.is_empty();
        // hyper takes the head along, and over HTTP/2 any may have to be sent again.
        let copy = (lease.is_http2() || may_repeat && !lease.sender.is_own()).then(|| parts.clone());
        let progress = body.progress();
        lease.progress = Some(progress.clone());
        let patience = Patience {
            limit,
            taking,
            progress,
        };
        let ways = Ways {
            host,
            told: told.as_ref(),
            as_they_came: *as_they_came,
            interims: *interims,
        };
        match send(&mut lease.sender, parts, ways, body, &patience).await {
            Ok(response) => {
                target.answered();
                http1::take_back(std::mem::take(&mut parts.headers));
                return Ok(Answered {
                    response,
                    under_way,
                    lease,
                });
            }
            Err(Unsent::Timeout) => {
                let why = match patience.progress.is_finished() {
                    true => format!("{} did not answer within {limit:?}", backend.id),
                    false => format!("{} took no more of the request within {taking:?}", backend.id),
                };
                return Err(Failure::new(StatusCode::GATEWAY_TIMEOUT, why));
            }
            Err(Unsent::Broken { left, error }) => {
                if let Some(unfinished) = patience.progress.failed() {
                    return Err(unfinished.into());
                }
                let is_silent = left == Left::Nothing && !error.has_answered();
                // Whether it was asked or not: hyper may learn of the end before it writes.
                let broke_off = !lease.is_reused && (is_silent || left == Left::All);
                if broke_off {
                    target.broke();
                }
                let elsewhere = (left == Left::Unbegun || broke_off).then(|| {
                    tried.push(target.address);
                    choose(worker, backend, lead.key, &tried)
                });
                let is_safe = left != Left::Nothing || may_repeat && is_silent;
                // The same target is asked once more at most, and not where a new connection did not help.
                let has_whom = match &elsewhere {
                    Some(Some(_)) => sent_again < SENT_AGAIN,
                    Some(None) => sent_again == 0 && left != Left::Nothing,
                    None => sent_again == 0,
                };
                if !is_safe || !has_whom || !backend.budget.spends(Instant::now()) {
                    return Err(broken(backend, &error));
                }
                if let Some(copy) = copy.filter(|_| left != Left::All) {
                    *parts = copy;
                }
                worker.counters.retried();
                sent_again += 1;
                let elsewhere = elsewhere.flatten();
                fresh = elsewhere.is_none();
                target = elsewhere.unwrap_or(target);
            }
        }
    }
}

fn choose(
    worker: &Worker,
    backend: &LiveBackend,
    key: Option<u64>,
    tried: &[SocketAddr],
) -> Option<Arc<LiveTarget>> {
    let most = worker.settings.limits.under_way;
    match key {
        Some(key) => backend.led(key, tried, most),
        None => backend.choose(&worker.random, worker.zone.as_deref(), tried, most),
    }
}

/// Whether a backend has its share of what files are for targets, while they are short: others are reached though it hangs.
/// Over HTTP/2 requests share connections, but where each is introduced by the PROXY protocol.
fn hoards(worker: &Worker, backend: &LiveBackend) -> bool {
    let has_own = backend.protocol.version == BackendVersion::Http1 || backend.proxy_protocol;
    let Some(share) = worker.pools.places().share().filter(|_| has_own) else {
        return false;
    };
    let count = |of: fn(&Load) -> u32| {
        let counts = backend.targets().iter().map(|target| of(&target.load));
        counts.fold(0_usize, |sum, count| {
            sum.saturating_add(usize::try_from(count).unwrap_or(usize::MAX))
        })
    };
    count(Load::waiting) >= share.waiting || count(Load::outstanding) >= share.in_all
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
    let (status, why) = match error {
        ConnectError::Full => (StatusCode::SERVICE_UNAVAILABLE, "cannot be connected to"),
        ConnectError::Timeout => (StatusCode::GATEWAY_TIMEOUT, "takes no connection"),
        ConnectError::Io(_) | ConnectError::Http(_) => (StatusCode::BAD_GATEWAY, "takes no connection"),
        ConnectError::Certificate(_) => (StatusCode::BAD_GATEWAY, "shows no certificate that is trusted"),
    };
    // The cause names addresses of the cluster: it is for the log, not for clients.
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "failed to connect to {}",
        backend.id
    );
    Failure::new(status, format!("{} {why}", backend.id))
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

/// Makes of the request what the backend's version of HTTP wants, but for the authority, which may depend on the target.
fn prepare(ask: &mut Ask<'_>, backend: &LiveBackend) {
    let Ask { parts, hop, body, .. } = ask;
    // Of the client's connection.
    parts.extensions.clear();
    match backend.protocol.version {
        BackendVersion::Http1 => {
            let size_is_unknown = !body.is_empty() && body.size_hint().exact().is_none();
            // hyper would leave a GET's body out; said outright, it is sent.
            if size_is_unknown && !parts.headers.contains_key(CONTENT_LENGTH) {
                parts
                    .headers
                    .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            if let Some(protocol) = hop.upgrade.take() {
                parts
                    .headers
                    .insert(CONNECTION, HeaderValue::from_static("upgrade"));
                parts.headers.insert(UPGRADE, protocol);
            }
            parts.version = Version::HTTP_11;
        }
        BackendVersion::Http2 | BackendVersion::Grpc => {
            if hop.trailers || backend.protocol.version == BackendVersion::Grpc {
                parts.headers.insert(TE, HeaderValue::from_static("trailers"));
            }
            parts.headers.remove(HOST);
            parts.version = Version::HTTP_2;
        }
    }
}

/// Writes the authority where the backend's version of HTTP looks for it.
fn address(parts: &mut Parts, backend: &LiveBackend, authority: &HeaderValue) -> Result<(), Failure> {
    if backend.protocol.version == BackendVersion::Http1 {
        parts.headers.insert(HOST, authority.clone());
        return Ok(());
    }
    let mut uri = parts.uri.clone().into_parts();
    uri.scheme = Some(if backend.protocol.tls.is_on() {
        http::uri::Scheme::HTTPS
    } else {
        http::uri::Scheme::HTTP
    });
    let authority = Authority::try_from(authority.as_bytes());
    uri.authority = Some(authority.map_err(|_| answer::no_host())?);
    parts.uri = Uri::from_parts(uri).map_err(|_| answer::no_host())?;
    Ok(())
}

/// Why a request that was to be sent has no answer.
enum Unsent {
    Timeout,
    Broken { left: Left, error: Lost },
}

/// What is left of a request that has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Nothing was sent, and it is still there.
    All,
    /// Its body, and the backend has begun nothing with it.
    Unbegun,
    Nothing,
}

/// What went wrong on the way.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Hyper(#[source] hyper::Error),
    #[error("{0}")]
    Own(#[source] Broke),
    /// hyper takes what can be framed in two ways.
    #[error("{0}")]
    Refused(#[source] http1::Refused),
}

impl Lost {
    /// Whether the backend has answered, but with no HTTP, or with interim answers alone.
    fn has_answered(&self) -> bool {
        match self {
            Self::Hyper(error) => error.is_parse(),
            Self::Own(error) => error.has_answered,
            Self::Refused(_) => true,
        }
    }
}

/// Asks once on a connection; none where no answer comes in time.
pub(crate) async fn ask(
    sender: &mut Sender,
    request: Request<RequestBody>,
    limit: Duration,
) -> Option<Response<Source>> {
    let (mut parts, mut body) = request.into_parts();
    let progress = body.progress();
    let patience = Patience {
        limit,
        taking: limit,
        progress,
    };
    let host = parts.headers.get(HOST).cloned();
    let ways = Ways {
        host: &host.unwrap_or(HeaderValue::from_static("")),
        told: None,
        as_they_came: false,
        interims: None,
    };
    send(sender, &mut parts, ways, &mut body, &patience).await.ok()
}

/// How a request is sent.
#[derive(Clone, Copy)]
struct Ways<'a> {
    /// Whom our own engine says that it asks.
    host: &'a HeaderValue,
    told: Option<&'a Told>,
    as_they_came: bool,
    interims: Option<Passing<'a>>,
}

/// Sends, and waits for the head of the answer. Of a request without a body, what our own engine sends stays there.
async fn send(
    sender: &mut Sender,
    parts: &mut Parts,
    ways: Ways<'_>,
    body: &mut RequestBody,
    patience: &Patience,
) -> Result<Response<Source>, Unsent> {
    match sender {
        Sender::Own(link) => {
            let asking = http1::Asking {
                head: parts,
                host: ways.host,
                told: ways.told,
                as_they_came: ways.as_they_came,
                interims: ways.interims,
            };
            match http1::ask(link, &asking, body, patience).await {
                Ok(answer) => Ok(answer.map(Source::from)),
                Err(NoAnswer::Timeout) => Err(Unsent::Timeout),
                Err(NoAnswer::Broken(error)) => Err(Unsent::Broken {
                    left: Left::Nothing,
                    error: Lost::Own(error),
                }),
            }
        }
        // Apart, so that requests by our own engine carry nothing of it along.
        Sender::Http1(sender) => {
            let content = std::mem::replace(body, RequestBody::empty());
            let answer = sender.try_send_request(Request::from_parts(taken(parts), content));
            let answer = match Box::pin(by_hyper(answer, patience)).await {
                Ok(answer) => answer,
                Err(None) => return Err(Unsent::Timeout),
                Err(Some(mut error)) => {
                    let mut left = Left::Nothing;
                    if let Some(unsent) = error.take_message() {
                        left = Left::All;
                        (*parts, *body) = unsent.into_parts();
                    }
                    let error = Lost::Hyper(error.into_error());
                    return Err(Unsent::Broken { left, error });
                }
            };
            let (mut head, body) = answer.map(Source::from).into_parts();
            match http1::length(&mut head) {
                Ok(_) => Ok(Response::from_parts(head, body)),
                Err(refused) => Err(Unsent::Broken {
                    left: Left::Nothing,
                    error: Lost::Refused(refused),
                }),
            }
        }
        Sender::Http2(sender) => {
            let lent = body.lend();
            let answer = sender.try_send_request(Request::from_parts(taken(parts), lent.clone()));
            match Box::pin(by_hyper(answer, patience)).await {
                Ok(answer) => Ok(answer.map(Source::from)),
                Err(None) => Err(Unsent::Timeout),
                Err(Some(error)) => Err(unsent(error, &lent, parts, body)),
            }
        }
    }
}

fn taken(parts: &mut Parts) -> Parts {
    let empty = Request::new(()).into_parts().0;
    std::mem::replace(parts, empty)
}

/// Takes back what is left of a request over HTTP/2.
fn unsent(
    mut error: TrySendError<Request<Lent>>,
    lent: &Lent,
    parts: &mut Parts,
    body: &mut RequestBody,
) -> Unsent {
    let whole = error.take_message();
    let mut left = Left::Nothing;
    if (whole.is_some() || is_unbegun(error.error()))
        && let Some(back) = lent.take_back()
    {
        *body = back;
        left = Left::Unbegun;
        if let Some(whole) = whole {
            *parts = whole.into_parts().0;
            left = Left::All;
        }
    }
    let error = Lost::Hyper(error.into_error());
    Unsent::Broken { left, error }
}

/// Whether a backend says that it has begun nothing with the request: of streams above the last that its GOAWAY names, h2
/// tells as of a GOAWAY; of those below that break off with their connection, as of that. Source: RFC 9113 §8.7.
fn is_unbegun(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let is_refused = cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        cause.is_remote() && (is_refused || cause.is_go_away())
    })
}

/// The head of the answer; no error where the time is over.
async fn by_hyper<B>(
    answer: impl Future<Output = Result<Response<Incoming>, TrySendError<Request<B>>>>,
    patience: &Patience,
) -> Result<Response<Incoming>, Option<TrySendError<Request<B>>>> {
    let mut answer = pin!(answer);
    let mut deadline = Instant::now() + patience.shorter();
    let answered = loop {
        if let Ok(answered) = timeout_at(deadline, answer.as_mut()).await {
            break answered;
        }
        deadline = patience.goes_on(deadline).ok_or(None)?;
    };
    answered.map_err(Some)
}
