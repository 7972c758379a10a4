//! Addresses in, listening sockets and the loop that accepts from them out.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tracing::warn;

use crate::connection;
use crate::exchange::Peer;
use crate::settings::EntryPoint;
use crate::worker::Worker;

/// Connections that wait to be accepted, per socket. The kernel caps it at `net.core.somaxconn`, 4096 by default.
const BACKLOG: i32 = 4096;
/// Pause after an `accept` that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One socket per worker on the same address, among which the kernel spreads connections.
pub(crate) fn bind(address: SocketAddr, workers: NonZeroUsize) -> io::Result<Vec<TcpListener>> {
    // Sockets that share a port would share it with another proxy of the same user, too, and each would get a part
    // of the requests. A first one that does not share finds that out.
    let alone = socket(address, Sharing::Alone)?;
    let address = alone.local_addr()?.as_socket().unwrap_or(address);
    if workers.get() == 1 {
        alone.listen(BACKLOG)?;
        return Ok(vec![alone.into()]);
    }
    drop(alone);
    (0..workers.get())
        .map(|_| {
            let socket = socket(address, Sharing::Workers)?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}

#[derive(Clone, Copy)]
enum Sharing {
    Alone,
    Workers,
}

fn socket(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart does not wait for connections of the process before it.
    socket.set_reuse_address(true)?;
    match sharing {
        Sharing::Alone => {}
        Sharing::Workers => socket.set_reuse_port(true)?,
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Accepts until the worker is to end, then what waits already, and closes the socket. An error
/// means that the socket is dead.
pub(crate) async fn accept(worker: Rc<Worker>, listener: TcpListener, at: EntryPoint) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut ending = worker.ending.begun();
    loop {
        tokio::select! {
            biased;
            _ = &mut ending => break,
            accepted = next(&worker, &listener) => match accepted {
                Ok((stream, address)) => open(&worker, stream, address, at),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) if is_of_the_socket(&error) => return Err(error),
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // The kernel has answered these for us: closed unaccepted, they would be reset.
    while let Some(Ok((stream, address))) = listener.accept().now_or_never() {
        open(&worker, stream, address, at);
    }
    Ok(())
}

/// Where there is room for a connection, the next one.
async fn next(worker: &Worker, listener: &tokio::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    worker.room.free().await;
    listener.accept().await
}

/// How many connections a worker has open, and how many it may.
#[derive(Debug)]
pub(crate) struct Room {
    open: Cell<usize>,
    most: usize,
    left: Notify,
}

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            open: Cell::new(0),
            most,
            left: Notify::new(),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open.get() >= self.most
    }

    /// Ready where another may come. Each socket lets in one more at most that it waited for already.
    async fn free(&self) {
        while self.is_full() {
            self.left.notified().await;
        }
    }

    fn enter(&self) {
        self.open.set(self.open.get() + 1);
    }

    fn leave(&self) {
        self.open.set(self.open.get().saturating_sub(1));
        self.left.notify_waiters();
    }
}

/// The client was gone before we came; nothing is wrong with the socket. Source: accept(2), "Error handling".
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// The socket will never accept again: EBADF, EINVAL, ENOTSOCK (of Linux, of macOS). To go on would be to seem alive.
fn is_of_the_socket(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(9 | 22 | 88 | 38))
}

fn open(worker: &Rc<Worker>, stream: TcpStream, address: SocketAddr, at: EntryPoint) {
    // These fail only on a connection that has ended already, which reading will tell.
    let _ = stream.set_nodelay(true);
    // A client that takes nothing of its answer does not hold it for ever. Elsewhere only TCP's own patience ends.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(worker.settings.timeouts.body));
    let peer = Peer {
        // Rules name IPv4 ranges as such, whatever the socket calls their addresses.
        address: address.ip().to_canonical(),
        is_tls: at.is_tls,
        port: at.port,
    };
    worker
        .clients
        .spawn(connection::serve(Counted::new(worker), stream, peer));
}

/// A client's connection that counts until this is dropped, so it goes with the socket: to a tunnel, too.
pub(crate) struct Counted(Rc<Worker>);

impl Counted {
    pub(crate) fn new(worker: &Rc<Worker>) -> Self {
        worker.counters.opened();
        worker.room.enter();
        Self(worker.clone())
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.0
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.counters.closed();
        self.0.room.leave();
    }
}
