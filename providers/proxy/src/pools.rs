//! The address of a target in, a connection to it out: one that was kept, else a new one. One pool per worker.

mod room;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use futures::FutureExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use portcullis_model::BackendVersion;
use rustix::io::Errno;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tracing::debug;

use crate::body::{Lent, Progress, RequestBody};
use crate::http1::{Link, Stream as Socket};
use crate::places::{Placed, Places};
use crate::serving::ServingState;
use crate::settings::{Http1Engine, Settings};
use crate::tasks::Tasks;
use crate::tls;
use crate::verified::{self, Security};

/// Streams of one HTTP/2 connection before another is opened. Where a target allows fewer, the others wait for their turn.
/// Source of the number: RFC 9113 §6.5.2 recommends that no peer allows fewer than 100.
const STREAMS: usize = 100;

/// What a connection can be used for again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    address: SocketAddr,
    http2: bool,
    security: Security,
}

impl Key {
    pub(crate) fn new(address: SocketAddr, version: BackendVersion, security: &Security) -> Self {
        let http2 = match version {
            BackendVersion::Http1 => false,
            BackendVersion::Http2 | BackendVersion::Grpc => true,
        };
        Self {
            address,
            http2,
            security: security.clone(),
        }
    }
}

/// Why no connection could be made.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// As many files lead to targets as may.
    #[error("the proxy can open no more connections")]
    Full,
    #[error("no connection within the time allowed")]
    Timeout,
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What it shows does not prove that it is who was meant.
    #[error("{0}")]
    Certificate(rustls::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

impl ConnectError {
    /// Whether the proxy itself has no file or port left to connect with; the target has nothing to do with it.
    pub(crate) fn is_own(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Io(error) => {
                let lacks = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS];
                Errno::from_io_error(error).is_some_and(|errno| lacks.contains(&errno))
            }
            Self::Timeout | Self::Certificate(_) | Self::Http(_) => false,
        }
    }

    /// Of a handshake.
    fn of_tls(error: io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(why @ rustls::Error::InvalidCertificate(_)) => Self::Certificate(why.clone()),
            _ => Self::Io(error),
        }
    }
}

pub(crate) struct Pools {
    live: Arc<ArcSwap<ServingState>>,
    settings: Rc<Settings>,
    places: Arc<Places>,
    /// How often one was lacking when connections were looked through last.
    lacked: Cell<u64>,
    /// For targets that are not verified, by whether HTTP/2 is spoken.
    tls: [Arc<ClientConfig>; 2],
    /// Drives the connections; nobody waits for its end.
    tasks: Tasks,
    /// The longest unused first.
    http1: RefCell<HashMap<Key, Vec<Kept>, RandomState>>,
    http2: RefCell<HashMap<Key, Rc<Shared>, RandomState>>,
}

struct Kept {
    sender: Idle,
    since: Instant,
}

/// A connection of HTTP/1.1 without a request.
enum Idle {
    Hyper(http1::SendRequest<RequestBody>),
    Own(Rc<RefCell<Link>>),
}

impl Idle {
    fn is_closed(&self) -> bool {
        match self {
            Self::Hyper(sender) => sender.is_closed(),
            Self::Own(link) => link.borrow_mut().is_stale(),
        }
    }

    /// To send on, if it can be used at once: one whose end is not settled yet is not waited for.
    fn ready(self) -> Option<Sender> {
        match self {
            Self::Hyper(mut sender) => {
                matches!(sender.ready().now_or_never(), Some(Ok(()))).then_some(Sender::Http1(sender))
            }
            Self::Own(link) => {
                let is_stale = link.borrow_mut().is_stale();
                (!is_stale).then_some(Sender::Own(link))
            }
        }
    }
}

/// A connection as its key wants it.
enum Secured {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The HTTP/2 connections to one target.
#[derive(Default)]
struct Shared {
    connections: RefCell<Vec<Multiplexed>>,
    /// Held while one connects, so that a burst of requests opens one connection and not one each.
    connecting: tokio::sync::Mutex<()>,
}

struct Multiplexed {
    sender: http2::SendRequest<Lent>,
    streams: Rc<Streams>,
}

struct Streams {
    count: Cell<usize>,
    unused_since: Cell<Instant>,
}

/// A connection lent to one request.
pub(crate) struct Lease {
    pools: Rc<Pools>,
    key: Key,
    pub(crate) sender: Sender,
    /// Counts on an HTTP/2 connection until the lease ends.
    _stream: Option<Stream>,
    /// Whether it is for one client, and nobody after it.
    is_personal: bool,
    /// Whether it served another request before.
    pub(crate) is_reused: bool,
    /// Of the request; without one the connection is not kept.
    pub(crate) progress: Option<Rc<Progress>>,
}

pub(crate) enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    /// HTTP/1.1 by our own engine.
    Own(Rc<RefCell<Link>>),
    Http2(http2::SendRequest<Lent>),
}

impl Sender {
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }
}

/// A stream under way on an HTTP/2 connection.
struct Stream(Rc<Streams>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.unused_since.set(Instant::now());
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Lease {
    pub(crate) fn is_http2(&self) -> bool {
        self.key.http2
    }

    /// Keeps the connection for the next request, if this one's body and answer are over.
    pub(crate) fn give_back(self) {
        if self.is_personal || !self.progress.is_some_and(|progress| progress.is_finished()) {
            return;
        }
        match self.sender {
            Sender::Http1(sender) if !sender.is_closed() => self.pools.keep(self.key, Idle::Hyper(sender)),
            Sender::Own(link) if link.borrow().is_free() => {
                link.borrow_mut().rest();
                self.pools.keep(self.key, Idle::Own(link));
            }
            Sender::Http1(_) | Sender::Own(_) | Sender::Http2(_) => {}
        }
    }
}

impl Pools {
    pub(crate) fn new(
        live: Arc<ArcSwap<ServingState>>,
        settings: Rc<Settings>,
        places: Arc<Places>,
        tasks: Tasks,
    ) -> Result<Rc<Self>, rustls::Error> {
        let provider = live.load().provider().clone();
        let config = |http2: bool| tls::client(&provider, http2).map(Arc::new);
        Ok(Rc::new(Self {
            live,
            settings,
            lacked: Cell::new(places.lacked()),
            places,
            tls: [config(false)?, config(true)?],
            tasks,
            http1: RefCell::default(),
            http2: RefCell::default(),
        }))
    }

    /// A connection to the target; a new one where `fresh` says that kept ones are not trusted. `limit` is how long a new
    /// one may take.
    pub(crate) async fn acquire(
        self: &Rc<Self>,
        key: Key,
        fresh: bool,
        limit: Duration,
    ) -> Result<Lease, ConnectError> {
        let lease = |key, sender, stream, is_reused| Lease {
            pools: self.clone(),
            key,
            sender,
            _stream: stream,
            is_personal: false,
            is_reused,
            progress: None,
        };
        if key.http2 {
            let (sender, stream, is_reused) = Box::pin(self.multiplexed(&key, fresh, limit)).await?;
            return Ok(lease(key, sender, Some(stream), is_reused));
        }
        if !fresh && let Some(sender) = self.kept(&key) {
            return Ok(lease(key, sender, None, true));
        }
        let sender = Box::pin(within(limit, self.open_http1(&key, &[]))).await?;
        Ok(lease(key, sender, None, false))
    }

    /// A connection to the target that begins with a head of its own, and that nobody else uses.
    pub(crate) async fn acquire_for(
        self: &Rc<Self>,
        key: Key,
        head: &[u8],
        limit: Duration,
    ) -> Result<Lease, ConnectError> {
        let opening = async {
            match key.http2 {
                false => Ok((self.open_http1(&key, head).await?, None)),
                true => {
                    let (sender, stream) = self.open_http2(&key, head).await?.stream();
                    Ok((sender, Some(stream)))
                }
            }
        };
        let (sender, stream) = within(limit, opening).await?;
        Ok(Lease {
            pools: self.clone(),
            key,
            sender,
            _stream: stream,
            is_personal: true,
            is_reused: false,
            progress: None,
        })
    }

    /// The connection used last, because it is the least likely to have been closed meanwhile.
    fn kept(&self, key: &Key) -> Option<Sender> {
        let mut http1 = self.http1.borrow_mut();
        let kept = http1.get_mut(key)?;
        while let Some(last) = kept.pop() {
            if let Some(sender) = last.sender.ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, key: Key, sender: Idle) {
        // A target that left the configuration while it answered gets no further request.
        if !is_known(&self.live.load(), &key) {
            return;
        }
        let mut http1 = self.http1.borrow_mut();
        let kept = http1.entry(key).or_default();
        if kept.len() < self.settings.limits.kept_per_target {
            kept.push(Kept {
                sender,
                since: Instant::now(),
            });
        }
    }

    async fn multiplexed(
        &self,
        key: &Key,
        fresh: bool,
        limit: Duration,
    ) -> Result<(Sender, Stream, bool), ConnectError> {
        let shared = self.shared(key);
        if !fresh && let Some((sender, stream)) = shared.stream() {
            return Ok((sender, stream, true));
        }
        within(limit, async {
            let _connecting = shared.connecting.lock().await;
            if !fresh && let Some((sender, stream)) = shared.stream() {
                return Ok((sender, stream, true));
            }
            let connection = self.open_http2(key, &[]).await?;
            let (sender, stream) = connection.stream();
            shared.connections.borrow_mut().push(connection);
            Ok((sender, stream, false))
        })
        .await
    }

    fn shared(&self, key: &Key) -> Rc<Shared> {
        let mut http2 = self.http2.borrow_mut();
        if let Some(shared) = http2.get(key) {
            return shared.clone();
        }
        http2.entry(key.clone()).or_default().clone()
    }

    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    async fn open_http1(&self, key: &Key, head: &[u8]) -> Result<Sender, ConnectError> {
        let place = self.place().await?;
        let stream = connect(key.address, head).await?;
        if self.settings.http1_engine == Http1Engine::Own {
            let stream = match self.secure(stream, key).await? {
                Secured::Plain(stream) => Socket::Plain(stream),
                Secured::Tls(stream) => Socket::Tls(Box::new((*stream).into())),
            };
            let link = Link::new(stream, place, self.settings.limits.head_bytes);
            return Ok(Sender::Own(Rc::new(RefCell::new(link))));
        }
        let sender = match self.secure(stream, key).await? {
            Secured::Plain(stream) => self.http1_over(Placed::new(stream, place)).await?,
            Secured::Tls(stream) => self.http1_over(Placed::new(*stream, place)).await?,
        };
        Ok(Sender::Http1(sender))
    }

    async fn http1_over<IO>(&self, io: IO) -> Result<http1::SendRequest<RequestBody>, ConnectError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_header_size(self.settings.limits.head_bytes)
            .handshake(TokioIo::new(io))
            .await?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "connection to a backend ended"
                );
            }
        });
        Ok(sender)
    }

    async fn open_http2(&self, key: &Key, head: &[u8]) -> Result<Multiplexed, ConnectError> {
        let place = self.place().await?;
        let stream = connect(key.address, head).await?;
        match self.secure(stream, key).await? {
            Secured::Plain(stream) => self.http2_over(Placed::new(stream, place)).await,
            Secured::Tls(stream) => self.http2_over(Placed::new(*stream, place)).await,
        }
    }

    async fn http2_over<IO>(&self, io: IO) -> Result<Multiplexed, ConnectError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let head_bytes = u32::try_from(self.settings.limits.head_bytes).unwrap_or(u32::MAX);
        let (sender, connection) = http2::Builder::new(self.tasks.clone())
            .timer(TokioTimer::new())
            .max_header_list_size(head_bytes)
            // A target that vanished without a word is noticed though requests wait for it.
            .keep_alive_interval(self.settings.timeouts.ping)
            .keep_alive_timeout(self.settings.timeouts.pong)
            .handshake(TokioIo::new(io))
            .await?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                debug!(
                    error = &error as &dyn std::error::Error,
                    "connection to a backend ended"
                );
            }
        });
        Ok(Multiplexed {
            sender,
            streams: Rc::new(Streams {
                count: Cell::new(0),
                unused_since: Cell::new(Instant::now()),
            }),
        })
    }

    async fn secure(&self, stream: TcpStream, key: &Key) -> Result<Secured, ConnectError> {
        let [http1, http2] = &self.tls;
        let (config, name) = match &key.security {
            Security::Plain => return Ok(Secured::Plain(stream)),
            Security::Unverified => (
                if key.http2 { http2 } else { http1 },
                ServerName::from(key.address.ip()),
            ),
            Security::Verified(verified) => (verified.config(key.http2), verified.name().clone()),
        };
        let secured = TlsConnector::from(config.clone()).connect(name, stream).await;
        let secured = secured.map_err(ConnectError::of_tls)?;
        Ok(Secured::Tls(Box::new(secured)))
    }

    /// How long an unused connection is kept.
    pub(crate) fn kept_for(&self) -> Duration {
        self.settings.limits.kept_for
    }

    /// Closes what has not been used for long; all that is not used, where a connection found no place meanwhile: it may
    /// have been another worker's.
    pub(crate) fn expire(&self) {
        let lacked = self.places.lacked();
        let limit = match self.lacked.replace(lacked) == lacked {
            true => self.kept_for(),
            false => Duration::ZERO,
        };
        self.http1.borrow_mut().retain(|_, kept| {
            kept.retain(|k| k.since.elapsed() < limit && !k.sender.is_closed());
            !kept.is_empty()
        });
        self.http2.borrow_mut().retain(|_, shared| {
            shared.connections.borrow_mut().retain(|c| {
                let unused = c.streams.count.get() == 0 && c.streams.unused_since.get().elapsed() >= limit;
                !unused && !c.sender.is_closed()
            });
            // Somebody who is connecting holds it, too.
            Rc::strong_count(shared) > 1 || !shared.connections.borrow().is_empty()
        });
    }

    /// Closes what leads to targets that left, or was verified by what counts no more. Requests under way keep their
    /// connections until they are done.
    pub(crate) fn keep_only_known(&self) {
        let state = self.live.load();
        self.http1.borrow_mut().retain(|key, _| is_known(&state, key));
        self.http2.borrow_mut().retain(|key, _| is_known(&state, key));
    }
}

impl Shared {
    /// A stream on the connection with the fewest, if one has room.
    fn stream(&self) -> Option<(Sender, Stream)> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|c| !c.sender.is_closed());
        let room = |c: &&Multiplexed| c.streams.count.get() < STREAMS;
        let least = connections
            .iter()
            .filter(room)
            .min_by_key(|c| c.streams.count.get())?;
        Some(least.stream())
    }
}

impl Multiplexed {
    fn stream(&self) -> (Sender, Stream) {
        self.streams.count.set(self.streams.count.get() + 1);
        (Sender::Http2(self.sender.clone()), Stream(self.streams.clone()))
    }
}

async fn within<T>(
    limit: Duration,
    connecting: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    timeout(limit, connecting)
        .await
        .unwrap_or(Err(ConnectError::Timeout))
}

/// Whether a connection may have another request.
fn is_known(state: &ServingState, key: &Key) -> bool {
    state.targets().contains(key.address) && verified::counts(state.trusts(), &key.security)
}

/// What is sent first, before TLS, is mostly nothing.
async fn connect(address: SocketAddr, head: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    if !head.is_empty() {
        stream.write_all(head).await?;
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_proxy_itself_lacks_is_not_the_target_s() {
        for (errno, want) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::CONNREFUSED, false),
            (Errno::HOSTUNREACH, false),
        ] {
            let error = ConnectError::Io(errno.into());
            assert_eq!(error.is_own(), want, "{errno}");
        }
        assert!(!ConnectError::Timeout.is_own());
        assert!(ConnectError::Full.is_own());
    }
}
