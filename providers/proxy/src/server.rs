//! A configuration and what to serve in, a running proxy and the handle to it out.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use portcullis_model::Port;
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::access_log::{self, AccessLog};
use crate::compile::ServedPorts;
use crate::counters::{Counters, Totals};
use crate::handover::{self, Apart, Sockets};
#[cfg(feature = "http3")]
use crate::http3;
use crate::identity::outside::{Outbound, Outside};
use crate::listen;
use crate::places::Places;
use crate::serving::{ServingState, TlsUnavailable};
use crate::settings::{EntryPoint, Further, ServerConfig, Settings};
use crate::view::View;
use crate::worker::Start;

/// Beyond it a drain has no end, and instants cannot be counted.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 86_400);

/// Pause before a port that somebody has is tried again.
#[cfg(feature = "http3")]
const AGAIN: Duration = Duration::from_millis(250);

/// A proxy that has its sockets and serves nothing yet.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    trusted: Arc<[IpNet]>,
    proxy_protocol: Arc<[IpNet]>,
    zone: Option<Arc<str>>,
    access_log: Option<AccessLog>,
    outbound: Outbound,
    advertised: ServedPorts,
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    /// With the addresses that were taken.
    further: BTreeMap<Port, Further>,
    /// By worker: its sockets, and what is served at each.
    sockets: Vec<Vec<(TcpListener, EntryPoint)>>,
    #[cfg(feature = "http3")]
    udp: http3::Shared,
}

/// Why an address cannot be listened at.
#[derive(Debug, Error)]
#[error("failed to listen at {address}")]
pub struct BindError {
    pub address: SocketAddr,
    #[source]
    pub error: io::Error,
}

/// A worker that ended though nobody asked it to: its share of the connections is no longer served. The process should end.
#[derive(Clone, Debug, Error)]
#[error("worker {worker} of the proxy ended: {why}")]
pub struct WorkerFailure {
    pub worker: usize,
    pub why: String,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every connection came to its end.
    Finished,
    /// The time was over; connections that were still open have been cut.
    CutOff,
}

/// A proxy that serves. Dropped, it stops at once and cuts its connections.
#[derive(Debug)]
pub struct Handle {
    http: Option<SocketAddr>,
    https: Option<SocketAddr>,
    further: BTreeMap<Port, Further>,
    live: Arc<ArcSwap<ServingState>>,
    /// How many states were served; workers look after their pools at each.
    swapped: watch::Sender<u64>,
    draining: watch::Sender<Option<Instant>>,
    failed: watch::Receiver<Option<WorkerFailure>>,
    counters: Arc<[Arc<Counters>]>,
    places: Arc<Places>,
    workers: Vec<(JoinHandle<()>, oneshot::Receiver<Drained>)>,
    #[cfg(feature = "http3")]
    udp: http3::Shared,
    /// Writes the access log; ends after the workers.
    log: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens the sockets, so that the ports are known before what is served is compiled. Connections wait in the
    /// kernel until [`Server::start`].
    pub fn bind(config: &ServerConfig) -> Result<Self, BindError> {
        let mut sockets: Vec<Vec<(TcpListener, EntryPoint)>> = Vec::new();
        sockets.resize_with(config.workers.get(), Vec::new);
        let mut open = |address: SocketAddr, at: EntryPoint| -> Result<SocketAddr, BindError> {
            let failed = |error| BindError { address, error };
            let opened = listen::bind(address, config.workers).map_err(failed)?;
            let bound = opened.first().map_or(Ok(address), TcpListener::local_addr);
            for (worker, socket) in sockets.iter_mut().zip(opened) {
                worker.push((socket, at));
            }
            bound.map_err(failed)
        };
        let http = config.http.map(|at| open(at, EntryPoint::HTTP)).transpose()?;
        let https = config.https.map(|at| open(at, EntryPoint::HTTPS)).transpose()?;
        let mut further = config.further.clone();
        for (port, further) in &mut further {
            further.address = open(further.address, further.at(*port))?;
        }
        Ok(Self {
            settings: config.settings,
            trusted: config.trusted.clone().into(),
            proxy_protocol: config.proxy_protocol.clone().into(),
            zone: config.zone.clone(),
            access_log: config.access_log.clone(),
            outbound: config.outbound.clone(),
            advertised: config.advertised.clone(),
            http,
            https,
            further,
            sockets,
            #[cfg(feature = "http3")]
            udp: http3::Shared::new(https, config.workers.get(), None),
        })
    }

    /// The same with the sockets of a proxy that is to be taken the place of. Where it listens elsewhere, its sockets are
    /// no use; but further sockets may come and go.
    pub fn bind_to(config: &ServerConfig, sockets: Sockets) -> Result<Self, BindError> {
        let mut given = sockets.further;
        let mut kept = Vec::new();
        let mut new = config.further.clone();
        // Those of the same listener first: of several that are to be anywhere, each is another's.
        for same in [true, false] {
            new.retain(|port, further| {
                let is_it = |apart: &Apart| {
                    let is_its = apart.port == *port;
                    // Anywhere is where it was, not where another was.
                    let is_meant = is_its || further.address.port() != 0;
                    is_its == same && is_meant && apart.is_at(further.address)
                };
                let Some(place) = given.iter().position(is_it) else {
                    return true;
                };
                kept.push((*port, *further, given.swap_remove(place).sockets));
                false
            });
        }
        // What is left is closed here, and by the predecessor once it has accepted what waits there.
        drop(given);
        let mut server = Self::bind(&ServerConfig {
            http: None,
            https: None,
            further: new,
            ..config.clone()
        })?;
        for (port, mut further, sockets) in kept {
            let address = further.address;
            let failed = |error| BindError { address, error };
            let at = sockets.first().map_or(Ok(address), TcpListener::local_addr);
            further.address = at.map_err(failed)?;
            server.spread(sockets, further.at(port)).map_err(failed)?;
            server.further.insert(port, further);
        }
        for (wanted, given, at_all) in [
            (config.http, sockets.http, EntryPoint::HTTP),
            (config.https, sockets.https, EntryPoint::HTTPS),
        ] {
            let Some(address) = wanted else { continue };
            let failed = |error| BindError { address, error };
            let at = handover::address(&given).map_err(failed)?;
            let Some(at) = at.filter(|at| is_asked(address, *at)) else {
                let why = at.map_or("nowhere".to_owned(), |at| at.to_string());
                let why = format!("the proxy that is to hand over listens at {why}");
                return Err(failed(io::Error::new(io::ErrorKind::AddrInUse, why)));
            };
            server.spread(given, at_all).map_err(failed)?;
            *if at_all.is_tls {
                &mut server.https
            } else {
                &mut server.http
            } = Some(at);
        }
        #[cfg(feature = "http3")]
        {
            server.udp = http3::Shared::new(server.https, config.workers.get(), sockets.udp.group());
        }
        Ok(server)
    }

    /// Shares sockets out among the workers. None is left out: connections wait in each.
    fn spread(&mut self, sockets: Vec<TcpListener>, at: EntryPoint) -> io::Result<()> {
        for worker in sockets.len()..self.sockets.len() {
            let shared = sockets[worker % sockets.len()].try_clone()?;
            self.sockets[worker].push((shared, at));
        }
        let workers = self.sockets.len();
        for (number, socket) in sockets.into_iter().enumerate() {
            self.sockets[number % workers].push((socket, at));
        }
        Ok(())
    }

    /// The sockets once more, for whoever is to take this proxy's place. As long as they are held, the ports stay open.
    pub fn sockets(&self) -> io::Result<Sockets> {
        let mut sockets = Sockets {
            #[cfg(feature = "http3")]
            udp: self.udp.clone(),
            ..Sockets::default()
        };
        for (socket, at) in self.sockets.iter().flatten() {
            let kind = match (at.port, at.is_tls) {
                (Some(port), _) => sockets.of(port),
                (None, true) => &mut sockets.https,
                (None, false) => &mut sockets.http,
            };
            kind.push(socket.try_clone()?);
        }
        Ok(sockets)
    }

    /// The address for HTTP, with the port that was taken.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http
    }

    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https
    }

    /// Sockets of single listeners, with the addresses that were taken.
    pub fn further(&self) -> &BTreeMap<Port, Further> {
        &self.further
    }

    /// The ports clients reach, for [`ServingState::build`].
    pub fn served_ports(&self) -> ServedPorts {
        let port = |address: SocketAddr| Port::new(address.port().into()).ok();
        let further = self.further.iter().map(|(own, further)| {
            let advertised = self.advertised.further.get(own).copied();
            let reached = advertised.or_else(|| port(further.address));
            (*own, reached.unwrap_or(*own))
        });
        ServedPorts {
            http: self.advertised.http.or_else(|| self.http.and_then(port)),
            https: self.advertised.https.or_else(|| self.https.and_then(port)),
            further: further.collect(),
        }
    }

    /// Starts the workers.
    pub fn start(self, initial: ServingState) -> io::Result<Handle> {
        let places = Places::new(self.settings.limits.target_files);
        let outside = Outside::new(self.outbound, initial.provider().clone(), places.clone());
        let outside = Arc::new(outside);
        #[cfg(feature = "http3")]
        self.udp.open_for(&initial);
        let live = Arc::new(ArcSwap::from_pointee(initial));
        let (swapped, _) = watch::channel(0);
        let (draining, _) = watch::channel(None);
        let (failing, failed) = watch::channel(None);
        let mut counters = Vec::new();
        let log = self.access_log.map(|log| {
            let counted = Arc::new(Counters::default());
            counters.push(counted.clone());
            let (to, thread) = access_log::start(log.sink.clone(), counted)?;
            io::Result::Ok(((log, to), thread))
        });
        let (log, log_thread) = log.transpose()?.unzip();
        let mut workers = Vec::new();
        #[cfg(feature = "http3")]
        let count = self.sockets.len();
        for (number, sockets) in self.sockets.into_iter().enumerate() {
            let counted = Arc::new(Counters::default());
            counters.push(counted.clone());
            let start = Start {
                sockets,
                settings: self.settings,
                live: live.clone(),
                counters: counted,
                outside: outside.clone(),
                places: places.clone(),
                trusted: self.trusted.clone(),
                proxy_protocol: self.proxy_protocol.clone(),
                zone: self.zone.clone(),
                log: log.clone(),
                swapped: swapped.subscribe(),
                draining: draining.subscribe(),
                number,
                #[cfg(feature = "http3")]
                workers: count,
                #[cfg(feature = "http3")]
                ports: self.udp.ports(),
            };
            let failing = failing.clone();
            let (ending, ended) = oneshot::channel();
            let thread = std::thread::Builder::new()
                .name(format!("proxy-{number}"))
                .spawn(move || {
                    // Nothing is used after a panic but the message.
                    let why = match catch_unwind(AssertUnwindSafe(|| start.run())) {
                        Ok(Ok(drained)) => {
                            // Nobody waits where the handle was dropped.
                            let _ = ending.send(drained);
                            return;
                        }
                        Ok(Err(error)) => error.to_string(),
                        Err(panic) => message(&*panic),
                    };
                    failing.send_replace(Some(WorkerFailure { worker: number, why }));
                })?;
            workers.push((thread, ended));
        }
        Ok(Handle {
            http: self.http,
            https: self.https,
            further: self.further,
            live,
            swapped,
            draining,
            failed,
            counters: counters.into(),
            places,
            workers,
            #[cfg(feature = "http3")]
            udp: self.udp,
            log: log_thread,
        })
    }
}

impl Handle {
    /// Serves this from the next request on. Requests under way end with the state they began with.
    pub fn swap(&self, state: ServingState) {
        #[cfg(feature = "http3")]
        self.udp.open_for(&state);
        self.live.store(Arc::new(state));
        self.swapped.send_modify(|count| *count += 1);
    }

    /// What is served now: the `previous` of the next [`ServingState::build`].
    pub fn state(&self) -> Arc<ServingState> {
        self.live.load_full()
    }

    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http
    }

    pub fn https_addr(&self) -> Option<SocketAddr> {
        self.https
    }

    /// Sockets of single listeners, with the addresses that were taken.
    pub fn further(&self) -> &BTreeMap<Port, Further> {
        &self.further
    }

    /// Makes the keys of TLS sessions anew, as is done every six hours: tickets under the ones before are taken until it is
    /// done once more.
    pub fn renew_tickets(&self) -> Result<(), TlsUnavailable> {
        Ok(self.live.load().renew_tickets()?)
    }

    /// For who watches it and does not hold it.
    pub fn view(&self) -> View {
        View {
            live: self.live.clone(),
            counters: self.counters.clone(),
            places: self.places.clone(),
            swapped: self.swapped.subscribe(),
            draining: self.draining.subscribe(),
        }
    }

    /// Sums over all workers since the start.
    pub fn totals(&self) -> Totals {
        self.view().totals()
    }

    /// Waits until a worker fails; for ever, while all is well. Whoever holds the handle must await this beside
    /// whatever else it waits for, and end the process: a dead worker's connections would wait unanswered.
    pub async fn failed(&self) -> WorkerFailure {
        let mut failed = self.failed.clone();
        loop {
            if let Some(failure) = failed.borrow_and_update().clone() {
                return failure;
            }
            if failed.changed().await.is_err() {
                // All workers ended as they were asked to.
                return std::future::pending().await;
            }
        }
    }

    /// Ready when it has tried again to listen for HTTP/3, which is asked for and could not be opened; for ever, where
    /// nothing is lacking. The process whose place this one took may have the port until it ends.
    #[cfg(feature = "http3")]
    pub async fn tried_again(&self) {
        if !self.udp.lacks(&self.live.load()) {
            return std::future::pending().await;
        }
        tokio::time::sleep(AGAIN).await;
        self.udp.open_for(&self.live.load());
    }

    /// Never: nothing is opened late.
    #[cfg(not(feature = "http3"))]
    pub async fn tried_again(&self) {
        std::future::pending().await
    }

    /// Accepts no more, lets what is under way finish for at most `grace` and ends the workers. Clients are told with
    /// `Connection: close` and GOAWAY. Upgraded connections have the same grace.
    pub async fn drain(self, grace: Duration) -> Result<Drained, WorkerFailure> {
        self.draining
            .send_replace(Some(Instant::now() + grace.min(LONGEST_GRACE)));
        let mut drained = Drained::Finished;
        for (thread, ended) in self.workers {
            if let Ok(Drained::CutOff) = ended.await {
                drained = Drained::CutOff;
            }
            // It has said its last word, or died: either way this does not wait.
            if thread.join().is_err() {
                drained = Drained::CutOff;
            }
        }
        // Every worker's lines have been handed over: what is left is written.
        if let Some(log) = self.log
            && log.join().is_err()
        {
            drained = Drained::CutOff;
        }
        self.failed.borrow().clone().map_or(Ok(drained), Err)
    }
}

/// Whether a socket is where it is asked to be; port 0 is any.
pub(crate) fn is_asked(wanted: SocketAddr, at: SocketAddr) -> bool {
    wanted.ip() == at.ip() && [0, at.port()].contains(&wanted.port())
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portcullis_model::{LoadBalancer, LoadBalancerId, ObjectName, Options, Origin};
    use socket2::{Domain, Socket, Type};

    use super::*;

    fn state() -> ServingState {
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        let balancer = LoadBalancer {
            id: LoadBalancerId::parse("shop/web"),
            semantics: Default::default(),
            members: Vec::new(),
            options: Options::new(origin),
            listeners: BTreeMap::new(),
            rules: Vec::new().into(),
            backends: BTreeMap::new(),
            given: BTreeMap::new(),
            unread: Default::default(),
            key_pairs: Default::default(),
        };
        ServingState::build(balancer, &BTreeMap::new(), None, ServedPorts::default())
            .unwrap()
            .0
    }

    #[tokio::test]
    async fn a_worker_whose_socket_is_dead_is_reported() {
        let dead = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        dead.set_nonblocking(true).unwrap();
        // Never listening: accept(2) answers EINVAL.
        let sockets = vec![Vec::new(), vec![(TcpListener::from(dead), EntryPoint::HTTP)]];
        let server = Server {
            settings: Settings::default(),
            trusted: Arc::default(),
            proxy_protocol: Arc::default(),
            zone: None,
            access_log: None,
            outbound: Outbound::default(),
            advertised: ServedPorts::default(),
            http: None,
            https: None,
            further: BTreeMap::new(),
            sockets,
            #[cfg(feature = "http3")]
            udp: http3::Shared::new(None, 2, None),
        };
        let handle = server.start(state()).unwrap();
        let failure = tokio::time::timeout(Duration::from_secs(10), handle.failed())
            .await
            .unwrap();
        assert_eq!(failure.worker, 1, "{failure}");
        assert_eq!(handle.drain(Duration::ZERO).await.unwrap_err().worker, 1);
    }

    #[test]
    fn a_port_that_another_proxy_has_is_refused() {
        for workers in [1, 2] {
            let workers = workers.try_into().unwrap();
            let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
            let first = Server::bind(&ServerConfig {
                http: any,
                workers,
                ..ServerConfig::default()
            })
            .unwrap();
            let second = ServerConfig {
                https: first.http_addr(),
                workers,
                ..ServerConfig::default()
            };
            let error = Server::bind(&second).unwrap_err();
            assert_eq!(
                error.error.kind(),
                io::ErrorKind::AddrInUse,
                "{workers} workers: {error}"
            );
        }
    }
}
