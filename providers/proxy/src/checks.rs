//! Backends whose targets are to be asked how they are in, targets that are passed over until they are well out.
//!
//! One worker asks for all. What it finds is kept at the target of the backend that has it asked; other backends that lead
//! to the same address do not see it. A request looks at that where it looks whether the target rests; where all targets
//! are ill or rest, they are tried all the same.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, TE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use portcullis_model::{Backend, BackendId, BackendVersion, HealthCheck, HealthPort};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::balance::connects_within;
use crate::body::{RequestBody, Source};
use crate::forward;
use crate::pools::Key;
use crate::proxy_protocol;
use crate::target::{Ill, LiveTarget};
use crate::verified::Security;
use crate::worker::Worker;

/// Most checks at once: they take their turn beside requests.
const AT_ONCE: usize = 256;
/// The first check of a target comes within this time.
const FIRST: Duration = Duration::from_secs(1);

/// What has come of asking a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Well,
    Ill,
    /// The proxy itself could not ask.
    Unasked,
}

/// How the targets of a backend are asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Check {
    asked: HealthCheck,
    version: BackendVersion,
    security: Security,
    target: PathAndQuery,
    codes: Box<[RangeInclusive<u16>]>,
    proxy_protocol: bool,
    connect_seconds: Option<u32>,
}

impl Check {
    /// None where it is not asked for, or no target is spoken to; why not where it cannot be had.
    pub(crate) fn of(backend: &Backend, security: Option<&Security>) -> Result<Option<Self>, String> {
        let Some(security) = security.filter(|_| backend.is_checked) else {
            return Ok(None);
        };
        let asked = backend.health.clone();
        let codes = codes(&asked.success_codes);
        let codes =
            codes.ok_or_else(|| format!("no health checks: {:?} are no codes", asked.success_codes))?;
        let target = asked.path.parse();
        let target = target.map_err(|_| format!("no health checks: {:?} is no path", asked.path))?;
        let security = match (asked.tls, security) {
            (false, _) => Security::Plain,
            (true, Security::Plain | Security::Unverified) => Security::Unverified,
            // Who could not get a request has nothing to say of how it is.
            (true, Security::Verified(_)) => security.clone(),
        };
        Ok(Some(Self {
            version: backend.protocol.version,
            asked,
            security,
            target,
            codes,
            proxy_protocol: backend.proxy_protocol,
            connect_seconds: backend.waits.connect_seconds,
        }))
    }

    fn address(&self, target: &LiveTarget) -> SocketAddr {
        match self.asked.port {
            HealthPort::Traffic => target.address,
            HealthPort::Fixed(port) => SocketAddr::new(target.address.ip(), port.get()),
        }
    }

    fn is_grpc(&self) -> bool {
        self.version == BackendVersion::Grpc
    }

    /// Source of the form of gRPC's: gRPC over HTTP/2, "Requests"; an empty message.
    fn request(&self, address: SocketAddr) -> Option<Request<RequestBody>> {
        let mut request = Request::new(RequestBody::empty());
        *request.uri_mut() = Uri::from(self.target.clone());
        let agent = HeaderValue::from_static("portcullis-health-check");
        request.headers_mut().insert(USER_AGENT, agent);
        if self.is_grpc() {
            *request.method_mut() = Method::POST;
            *request.body_mut() = RequestBody::held(Bytes::from_static(&[0; 5]));
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        }
        let authority = address.to_string();
        if self.version == BackendVersion::Http1 {
            request
                .headers_mut()
                .insert(HOST, HeaderValue::try_from(authority).ok()?);
            return Some(request);
        }
        *request.version_mut() = Version::HTTP_2;
        let mut parts = request.uri().clone().into_parts();
        let scheme = match self.asked.tls {
            true => Scheme::HTTPS,
            false => Scheme::HTTP,
        };
        parts.scheme = Some(scheme);
        parts.authority = Some(authority.parse::<Authority>().ok()?);
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        Some(request)
    }

    /// Asks a target once.
    async fn ask(&self, worker: &Worker, target: &LiveTarget) -> Outcome {
        let address = self.address(target);
        let limit = Duration::from_secs(self.asked.timeout_seconds.into());
        let connecting = connects_within(self.connect_seconds, &worker.settings.timeouts);
        let asking = async {
            let request = self.request(address)?;
            // A new connection, for one that was kept says nothing of whether the target takes others; streams of HTTP/2
            // share one.
            let is_http1 = self.version == BackendVersion::Http1;
            let key = Key::new(address, self.version, &self.security);
            let lease = match self.proxy_protocol {
                false => worker.pools.acquire(key, is_http1, connecting).await,
                true => {
                    let head = proxy_protocol::head(None, address);
                    worker.pools.acquire_for(key, &head, connecting).await
                }
            };
            let mut lease = match lease {
                Ok(lease) => lease,
                Err(error) if error.is_own() => return Some(Outcome::Unasked),
                Err(_) => return None,
            };
            let answer = forward::ask(&mut lease.sender, request, limit).await?;
            let status = answer.status().as_u16();
            let code = match self.is_grpc() {
                false => status,
                true => grpc_status(answer).await?,
            };
            let is_well = self.codes.iter().any(|codes| codes.contains(&code));
            is_well.then_some(Outcome::Well)
        };
        let outcome = timeout(limit, asking).await.ok().flatten();
        outcome.unwrap_or(Outcome::Ill)
    }

    /// Asks a target from time to time, and tells when it falls ill or is well again.
    async fn watch(
        &self,
        worker: &Worker,
        target: &Arc<LiveTarget>,
        turn: &Semaphore,
        first: Duration,
    ) -> Infallible {
        let interval = Duration::from_secs(self.asked.interval_seconds.max(1).into());
        let mut ill: Option<Ill> = None;
        // Of answers that differ from what it is taken for.
        let mut others = 0;
        sleep(first).await;
        loop {
            let outcome = match turn.acquire().await {
                Ok(_turn) => self.ask(worker, target).await,
                // Never closed.
                Err(_) => Outcome::Unasked,
            };
            match (outcome, &ill) {
                (Outcome::Well, None) | (Outcome::Ill, Some(_)) => others = 0,
                (Outcome::Well, Some(_)) | (Outcome::Ill, None) => others += 1,
                (Outcome::Unasked, _) => {}
            }
            let enough = match ill {
                None => self.asked.unhealthy_threshold,
                Some(_) => self.asked.healthy_threshold,
            };
            if others >= enough.max(1) {
                others = 0;
                ill = match ill {
                    None => Some(Ill::of(target.clone())),
                    Some(_) => None,
                };
            }
            sleep(interval).await;
        }
    }
}

/// `200`, `200,202` or `200-299`.
fn codes(text: &str) -> Option<Box<[RangeInclusive<u16>]>> {
    let codes = text.split(',').map(|item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    });
    codes.collect()
}

/// The status among the fields, else in the trailers.
async fn grpc_status(answer: Response<Source>) -> Option<u16> {
    let read = |headers: &HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    if let Some(status) = read(answer.headers()) {
        return Some(status);
    }
    let mut body = answer.into_body();
    loop {
        let frame = poll_fn(|cx| body.poll_frame(cx)).await?;
        if let Some(trailers) = frame.ok()?.trailers_ref() {
            return read(trailers);
        }
    }
}

/// Which target of which backend, and how it is asked.
type Watched = HashMap<(BackendId, SocketAddr), (Arc<Check>, Arc<LiveTarget>, tokio::task::AbortHandle)>;

/// Asks the targets of the backends that are served now, for as long as the worker runs.
pub(crate) async fn run(worker: Rc<Worker>, mut swapped: watch::Receiver<u64>) -> Infallible {
    let turn = Rc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    let mut watched = Watched::new();
    loop {
        look(&worker, &turn, &mut watched, &mut tasks);
        if swapped.changed().await.is_err() {
            // No other configuration comes.
            return std::future::pending().await;
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Begins to ask those that came, and stops where nothing is to be asked any more.
fn look(worker: &Rc<Worker>, turn: &Rc<Semaphore>, watched: &mut Watched, tasks: &mut JoinSet<Infallible>) {
    let state = worker.live.load_full();
    let mut before = std::mem::take(watched);
    let asked = state.checked();
    for (backend, check) in asked {
        for target in backend.targets() {
            let key = (backend.id.clone(), target.address);
            let same = before.remove(&key).filter(|(own, live, handle)| {
                let same = (Arc::ptr_eq(own, check) || own == check) && Arc::ptr_eq(live, target);
                if !same {
                    handle.abort();
                }
                same
            });
            let watching = same.unwrap_or_else(|| {
                let (own, live) = (check.clone(), target.clone());
                let (worker, turn) = (worker.clone(), turn.clone());
                let spread = FIRST.as_millis().try_into().unwrap_or(u32::MAX);
                let first = Duration::from_millis(worker.random.below_u32(spread).into());
                let handle = tasks.spawn_local(async move { own.watch(&worker, &live, &turn, first).await });
                (check.clone(), target.clone(), handle)
            });
            watched.insert(key, watching);
        }
    }
    for (_, _, handle) in before.into_values() {
        handle.abort();
    }
}
