//! The UDP sockets of a worker in, the QUIC connections that come there out.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, Incoming, Runtime, ServerConfig, TokioRuntime, TransportConfig,
    VarInt,
};

use super::connection;
use super::session::Sessions;
use super::sockets::{Group, Ports};
use super::steering::{Ids, Steered};
use crate::listen::Counted;
use crate::settings::Settings;
use crate::trust;
use crate::worker::Worker;

/// Handshakes under way, of each socket, from which on clients first prove that they are where they say (Retry).
const UNPROVEN: usize = 64;
/// Connections that wait to be accepted, of each socket; more are refused.
const INCOMING: usize = 1024;
/// Bytes of what else they have sent by then: of each, and of all.
const INCOMING_BYTES: u64 = 64 * 1024;
const ALL_INCOMING_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes that may come before the backend has taken any: of a stream, and of a connection, where heads count, too; so a
/// few that stand still do not hold up the others.
const STREAM_WINDOW: u32 = 512 * 1024;
const RECEIVE_WINDOW: u32 = 4 * 1024 * 1024;
/// Bytes of answers that a connection holds until the client says that it has them.
const SEND_WINDOW: u64 = 1024 * 1024;
/// Streams that only the client writes to: control, and both halves of QPACK. Source: RFC 9114 §6.2.
const OTHER_STREAMS: u32 = 8;

/// Serves the sockets of this worker, of `workers`, once there are any. An error means that one is dead.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    mut ports: Ports,
    number: usize,
    workers: usize,
) -> io::Result<Infallible> {
    let group = match ports.wait_for(Option::is_some).await {
        Ok(group) => group.clone(),
        // Nobody holds the proxy any more.
        Err(_) => None,
    };
    let Some(group) = group else {
        return std::future::pending().await;
    };
    let accepting = (number..group.sockets().len()).step_by(workers).map(|socket| {
        let endpoint = open(&worker, &group, socket);
        let (worker, group) = (worker.clone(), group.clone());
        async move { accept(&worker, &group, &endpoint?).await }
    });
    let accepting: Vec<_> = accepting.collect();
    worker.speaks_http3.set(true);
    if accepting.is_empty() {
        return std::future::pending().await;
    }
    let (ended, ..) = futures::future::select_all(accepting.into_iter().map(Box::pin)).await;
    ended
}

fn open(worker: &Rc<Worker>, group: &Arc<Group>, socket: usize) -> io::Result<Endpoint> {
    let at = group.place_of(socket);
    let mut config = EndpointConfig::default();
    config.cid_generator(move || Box::new(Ids(at)));
    let sessions = Sessions::new(worker.live.clone(), worker.live.load().provider());
    let sessions = Arc::new(sessions.map_err(io::Error::other)?);
    let mut server = ServerConfig::with_crypto(sessions);
    server
        .transport_config(Arc::new(transport(&worker.settings)))
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(ALL_INCOMING_BYTES);
    let runtime = Arc::new(TokioRuntime);
    let inner = runtime.wrap_udp_socket(group.sockets()[socket].try_clone()?)?;
    let steered = Arc::new(Steered::new(inner, group.clone(), at));
    Endpoint::new_with_abstract_socket(config, Some(server), steered, runtime)
}

fn transport(settings: &Settings) -> TransportConfig {
    let head = settings.timeouts.head;
    let idle = IdleTimeout::try_from(head + settings.timeouts.handshake);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(settings.limits.streams))
        .max_concurrent_uni_streams(VarInt::from_u32(OTHER_STREAMS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        // A client that vanished without a word is noticed, and one that waits for an answer is not taken for it.
        .max_idle_timeout(idle.ok())
        .keep_alive_interval(Some((head / 2).max(Duration::from_millis(1))))
        .datagram_receive_buffer_size(None);
    transport
}

async fn accept(worker: &Rc<Worker>, group: &Group, endpoint: &Endpoint) -> io::Result<Infallible> {
    let unproven = Rc::new(Cell::new(0));
    while let Some(incoming) = endpoint.accept().await {
        if worker.is_ending() && !group.reads() {
            // It came before the process that now reads took the sockets, and comes there when it is sent again.
            incoming.ignore();
            continue;
        }
        if !is_wanted(worker, &incoming) {
            // Said at once, so that the client goes on over TCP.
            incoming.refuse();
            continue;
        }
        if unproven.get() >= UNPROVEN && !incoming.remote_address_validated() {
            // It has not been asked yet, so it may be.
            let _ = incoming.retry();
            continue;
        }
        // An error means that it is no connection.
        let Ok(connecting) = incoming.accept() else {
            continue;
        };
        let counted = Counted::new(worker);
        let shaking = Shaking::new(&unproven);
        worker.clients.spawn(async move {
            connection::serve(counted.worker().clone(), connecting, shaking).await;
            drop(counted);
        });
    }
    Err(io::Error::other("the QUIC endpoint ended"))
}

fn is_wanted(worker: &Worker, incoming: &Incoming) -> bool {
    let address = incoming.remote_address().ip().to_canonical();
    !worker.is_ending()
        && worker.live.load().asks_http3()
        && !worker.room.is_full()
        // They would have to say for whom they speak, and over UDP they cannot.
        && !trust::is_trusted(&worker.proxy_protocol, address)
}

/// A handshake under way, until this is dropped.
pub(super) struct Shaking(Rc<Cell<usize>>);

impl Shaking {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
