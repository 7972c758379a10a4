//! A thread's part of the sockets in, their connections served until the end out; and what connections share.

use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::runtime::LocalOptions;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::access_log::{self, AccessLog, Lines};
use crate::balance::Random;
use crate::body::Ahead;
use crate::checks;
use crate::counters::Counters;
use crate::ending::Ending;
use crate::filters::basic_auth::Verifying;
#[cfg(feature = "http3")]
use crate::http3;
use crate::identity::outside::Outside;
use crate::listen::{self, Room};
use crate::mutual::Shown;
use crate::places::Places;
use crate::pools::Pools;
use crate::server::Drained;
use crate::serving::ServingState;
use crate::settings::{EntryPoint, Settings};
use crate::tasks::Tasks;
use crate::tickets;

/// How often unused connections to targets are looked through, at least.
const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// How long a connection that nothing is under way on waits for another request before it is ended: one that is on its way
/// already would find the connection closed. At most half the time of a drain.
const FAREWELL: Duration = Duration::from_secs(5);

/// One thread's own: nothing here is shared with other workers but what is behind an `Arc`.
pub(crate) struct Worker {
    pub(crate) live: Arc<ArcSwap<ServingState>>,
    pub(crate) settings: Rc<Settings>,
    pub(crate) pools: Rc<Pools>,
    pub(crate) counters: Arc<Counters>,
    /// Connections from clients, upgraded ones included: what a drain waits for.
    pub(crate) clients: Tasks,
    pub(crate) room: Room,
    pub(crate) random: Random,
    pub(crate) verifying: Verifying,
    /// Copies of requests; no drain waits for them.
    pub(crate) mirrors: Tasks,
    /// What several requests wait for, each of which may leave; no drain waits for it either.
    pub(crate) apart: Tasks,
    /// The way to identity providers.
    pub(crate) outside: Arc<Outside>,
    /// Bytes of bodies that are read ahead.
    pub(crate) ahead: Ahead,
    /// Peers whose word about the client is taken.
    pub(crate) trusted: Arc<[IpNet]>,
    /// Peers whose connections begin with whom they speak for.
    pub(crate) proxy_protocol: Arc<[IpNet]>,
    /// Where the proxy runs, if its targets there come first.
    pub(crate) zone: Option<Arc<str>>,
    /// What connections without TLS have shown of their clients.
    pub(crate) nothing_shown: Rc<Shown>,
    /// None where no access log is written.
    pub(crate) log: Option<Rc<Lines>>,
    pub(crate) ending: Rc<Ending>,
    /// Whether HTTP/3 is served beside HTTPS.
    pub(crate) speaks_http3: Cell<bool>,
}

impl Worker {
    /// How long a connection to be ended waits for a request that may be on its way.
    pub(crate) fn patience(&self) -> Duration {
        self.ending.until().map_or(FAREWELL, |until| {
            FAREWELL.min(until.saturating_duration_since(Instant::now()) / 2)
        })
    }

    /// Whether what is still under way is cut off.
    pub(crate) fn is_over(&self) -> bool {
        self.ending.until().is_some_and(|until| until <= Instant::now())
    }

    /// Whether no request is to come any more.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.until().is_some()
    }
}

/// What a worker's thread starts from.
pub(crate) struct Start {
    pub(crate) sockets: Vec<(TcpListener, EntryPoint)>,
    pub(crate) settings: Settings,
    pub(crate) live: Arc<ArcSwap<ServingState>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) outside: Arc<Outside>,
    pub(crate) places: Arc<Places>,
    pub(crate) trusted: Arc<[IpNet]>,
    pub(crate) proxy_protocol: Arc<[IpNet]>,
    pub(crate) zone: Option<Arc<str>>,
    /// How to log, and where lines are handed over.
    pub(crate) log: Option<(AccessLog, SyncSender<Vec<u8>>)>,
    pub(crate) swapped: watch::Receiver<u64>,
    pub(crate) draining: watch::Receiver<Option<Instant>>,
    /// Its place among all workers; the first checks targets and renews keys for all.
    pub(crate) number: usize,
    #[cfg(feature = "http3")]
    pub(crate) workers: usize,
    #[cfg(feature = "http3")]
    pub(crate) ports: http3::Ports,
}

impl Start {
    /// Serves until the end; an error means that the worker cannot go on.
    pub(crate) fn run(self) -> io::Result<Drained> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_io().enable_time();
        // Tasks run in its own queue; a `LocalSet` would put a second one, with a lock, before it.
        let runtime = builder.build_local(LocalOptions::default())?;
        // What still runs afterwards is dropped with the runtime.
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> io::Result<Drained> {
        let settings = Rc::new(self.settings);
        let to_backends = Tasks::new(self.counters.clone());
        let pools = Pools::new(self.live.clone(), settings.clone(), self.places, to_backends);
        let pools = pools.map_err(io::Error::other)?;
        let log = self.log;
        let lines = log.map(|(log, to)| Lines::new(&log, to, self.counters.clone()));
        let worker = Rc::new(Worker {
            live: self.live,
            room: Room::new(settings.limits.connections),
            settings,
            pools: pools.clone(),
            clients: Tasks::new(self.counters.clone()),
            mirrors: Tasks::new(self.counters.clone()),
            apart: Tasks::new(self.counters.clone()),
            outside: self.outside,
            ahead: Ahead::default(),
            counters: self.counters,
            random: Random::new(),
            verifying: Verifying::default(),
            trusted: self.trusted,
            proxy_protocol: self.proxy_protocol,
            zone: self.zone,
            nothing_shown: Rc::new(Shown::nothing()),
            log: lines.clone(),
            ending: Rc::default(),
            speaks_http3: Cell::new(false),
        });
        #[cfg(feature = "http3")]
        let over_quic = http3::serve(worker.clone(), self.ports, self.number, self.workers);
        #[cfg(not(feature = "http3"))]
        let over_quic = std::future::pending::<io::Result<std::convert::Infallible>>();
        let accepting = self
            .sockets
            .into_iter()
            .map(|(socket, at)| listen::accept(worker.clone(), socket, at));
        let (is_first, swapped) = (self.number == 0, self.swapped.clone());
        let renew = || worker.live.load().renew_tickets();
        let ticket_key = worker.settings.timeouts.ticket_key;
        let doing_for_all = async {
            if !is_first {
                return std::future::pending().await;
            }
            tokio::select! {
                never = checks::run(worker.clone(), swapped) => never,
                never = tickets::renew_in_time(ticket_key, renew) => never,
            }
        };
        let working = async {
            futures::future::try_join_all(accepting).await?;
            let until = worker.ending.begun().await;
            let ended = tokio::time::timeout_at(until, worker.clients.ended()).await;
            io::Result::Ok(if ended.is_ok() {
                Drained::Finished
            } else {
                Drained::CutOff
            })
        };
        let mut draining = self.draining;
        let begin_to_end = async {
            let until = draining.wait_for(Option::is_some).await;
            // An error means that the handle was dropped: then there is no grace.
            let until = until.map_or(None, |until| *until);
            worker.ending.begin(until.unwrap_or_else(Instant::now));
            std::future::pending().await
        };
        tokio::select! {
            drained = working => drained,
            never = begin_to_end => never,
            never = tend(&pools, self.swapped) => match never {},
            never = hand_over(lines) => match never {},
            never = doing_for_all => match never {},
            failed = over_quic => match failed? {},
        }
    }
}

/// Hands lines of the access log over where few come.
async fn hand_over(lines: Option<Rc<Lines>>) -> std::convert::Infallible {
    let Some(lines) = lines else {
        return std::future::pending().await;
    };
    let mut tick = tokio::time::interval(access_log::FLUSH_EVERY);
    loop {
        tick.tick().await;
        lines.flush();
    }
}

/// Looks after kept connections: at every swap, and every few seconds.
async fn tend(pools: &Pools, mut swapped: watch::Receiver<u64>) -> std::convert::Infallible {
    let mut tick = tokio::time::interval(pools.kept_for().min(EXPIRE_EVERY).max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_held = true;
    loop {
        tokio::select! {
            _ = tick.tick() => pools.expire(),
            changed = swapped.changed(), if is_held => match changed {
                Ok(()) => pools.keep_only_known(),
                Err(_) => is_held = false,
            },
        }
    }
}
