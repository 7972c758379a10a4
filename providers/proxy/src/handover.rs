//! The listening sockets of a running proxy in, the same sockets in the process that takes its place out.
//!
//! A socket that is closed takes along the connections that wait in its queue, and of several that share a port each has
//! a queue of its own. So none is closed: the sockets themselves go to the successor over a Unix socket (`SCM_RIGHTS`), and
//! the predecessor accepts until it is told that the successor does. HAProxy and Envoy do the same. A successor that ends
//! before that changes nothing.
//!
//! The successor says that it serves, the predecessor that it has heard, the successor that it takes the place: from that
//! byte on it has it, and not before. Whoever waits in vain hangs up, so one that is said late comes nowhere, and nobody
//! lets go of what nobody takes.
//!
//! A predecessor may also end before it has heard. Then whoever has its sockets has its place: one of several, for each
//! holds a lock from before it says that it serves until it is found at the path, and looks there who has it.
//!
//! Of UDP sockets one process reads at a time, from then on the successor: the datagrams of connections that it does not
//! have it hands on, each to the process that has, over a socket that it got beside the others or at the end.

#[cfg(not(feature = "http3"))]
mod absent;
mod place;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{BoxFuture, select_all};
use portcullis_model::Port;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::{info, warn};

#[cfg(not(feature = "http3"))]
use self::absent::{Offer, Told, Ways};
use self::place::{Place, ask};
use self::wire::{send, tell, told};
#[cfg(feature = "http3")]
use crate::http3::{self, Offer, Told, Ways};
use crate::server::is_asked;

/// What a successor says when it accepts: over TCP alone, or over UDP, too.
const SERVES: u8 = 1;
const SERVES_UDP: u8 = 2;
/// What its predecessor says to that.
const HEARD: u8 = 3;
/// What a successor says then: it has the place, and does not give up any more.
const TAKES: u8 = 4;
/// Longest wait for a predecessor that runs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for a successor that was heard: it answers at once, and others wait meanwhile, less long than
/// [`PATIENCE`].
const ANSWER: Duration = Duration::from_secs(5);
/// Pause after a connection that could not be taken.
const PAUSE: Duration = Duration::from_millis(50);
/// Successors that are waited for at once: one that hangs keeps no other away. Each has three open files here.
const AT_ONCE: usize = 8;
/// The user who may do everything.
const ROOT: u32 = 0;

/// Listening sockets, in the order of the workers.
#[derive(Debug, Default)]
pub struct Sockets {
    pub(crate) http: Vec<TcpListener>,
    pub(crate) https: Vec<TcpListener>,
    /// Of single listeners.
    pub(crate) further: Vec<Apart>,
    #[cfg(feature = "http3")]
    pub(crate) udp: http3::Shared,
}

/// The sockets of a listener that shares none.
#[derive(Debug)]
pub(crate) struct Apart {
    pub(crate) port: Port,
    pub(crate) sockets: Vec<TcpListener>,
}

impl Apart {
    /// Whether they are where they are asked to be.
    pub(crate) fn is_at(&self, wanted: SocketAddr) -> bool {
        let at = address(&self.sockets);
        at.is_ok_and(|at| at.is_some_and(|at| is_asked(wanted, at)))
    }
}

/// Where all of these listen; none where there are none.
pub(crate) fn address(sockets: &[TcpListener]) -> io::Result<Option<SocketAddr>> {
    let mut all = sockets.iter().map(TcpListener::local_addr);
    let at = all.next().transpose()?;
    for other in all {
        if Some(other?) != at {
            let why = "sockets of one listener listen at several addresses";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    }
    Ok(at)
}

impl Sockets {
    /// Those of the listener at this port that shares none.
    pub(crate) fn of(&mut self, port: Port) -> &mut Vec<TcpListener> {
        let known = self.further.iter().position(|apart| apart.port == port);
        let place = known.unwrap_or_else(|| {
            let sockets = Vec::new();
            self.further.push(Apart { port, sockets });
            self.further.len() - 1
        });
        &mut self.further[place].sockets
    }
}

/// A proxy that serves until it is released. Dropped, it goes on as if nobody had asked.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    place: Place,
    #[cfg(feature = "http3")]
    udp: http3::Shared,
}

/// Asks the proxy that waits for its successor at this path for its sockets; none where nobody does.
pub fn take_over(path: &Path) -> io::Result<Option<(Sockets, Predecessor)>> {
    let Some((stream, sockets)) = ask(path).map_err(explained)? else {
        return Ok(None);
    };
    let predecessor = Predecessor {
        stream,
        place: Place::at(path)?,
        #[cfg(feature = "http3")]
        udp: sockets.udp.clone(),
    };
    Ok(Some((sockets, predecessor)))
}

/// What it means that a predecessor does not answer.
fn explained(error: io::Error) -> io::Error {
    let why = match (is_silent(&error), has_gone(&error)) {
        (true, _) => format!(
            "it has said nothing for {} s: it hangs, or another successor holds the place",
            PATIENCE.as_secs()
        ),
        (_, true) => "it hung up: another successor has taken the place, or it has ended".to_owned(),
        _ => return error,
    };
    io::Error::new(error.kind(), why)
}

fn has_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
    )
}

fn is_silent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Predecessor {
    /// From here on it accepts nothing more, and ends when what is under way has; `open` opens the path to whoever comes
    /// next. An error means that it goes on, or another successor was faster. Where it has ended and nobody has the place,
    /// this process has it: its sockets are here.
    pub fn release(self, open: impl FnOnce()) -> io::Result<()> {
        // Of several whose predecessor has ended, one alone finds nobody at the path.
        let alone = self.place.alone()?;
        let ends = match self.take() {
            Ok(()) => true,
            Err(error) if has_gone(&error) && self.place.is_vacant() => {
                info!("the process before has ended; its place is taken");
                false
            }
            Err(error) => return Err(explained(error)),
        };
        // The place is ours. Whoever looks for somebody at the path from here on finds this process.
        open();
        drop(alone);
        match ends.then(|| told(&self.stream)) {
            // It hangs up when it has let go of what both cannot have.
            Some(Ok(told)) => self.read(told),
            Some(Err(error)) if is_silent(&error) => self.wait(),
            // It has ended.
            Some(Err(_)) | None => self.read(Told::default()),
        }
        Ok(())
    }

    /// Says that this process serves, until it has the place.
    fn take(&self) -> io::Result<()> {
        let mut stream = &self.stream;
        stream.write_all(&[self.serves()])?;
        let mut heard = [0];
        stream.read_exact(&mut heard)?;
        if heard != [HEARD] {
            let why = "it answers otherwise than a proxy of this version";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        stream.write_all(&[TAKES])
    }

    /// Waits for as long as it takes beside all else: to hang up would say that nobody has taken the place. It is taken
    /// whatever fails here.
    fn wait(self) {
        let wait = move || {
            // Where it cannot wait for ever, it waits again.
            let _ = self.stream.set_read_timeout(None);
            let told = loop {
                match told(&self.stream) {
                    Err(error) if is_silent(&error) => {}
                    told => break told.unwrap_or_default(),
                }
            };
            self.read(told);
        };
        let thread = std::thread::Builder::new().name("proxy-handover".to_owned());
        if let Err(error) = thread.spawn(wait) {
            let error = &error as &dyn std::error::Error;
            warn!(error, "the process before is not waited for; UDP is not read");
        }
    }

    #[cfg(feature = "http3")]
    fn read(&self, told: Told) {
        if let Some(group) = self.udp.group() {
            group.read(told);
        }
    }

    #[cfg(not(feature = "http3"))]
    fn read(&self, told: Told) {
        let Told {} = told;
    }

    #[cfg(feature = "http3")]
    fn serves(&self) -> u8 {
        self.udp.group().map_or(SERVES, |_| SERVES_UDP)
    }

    #[cfg(not(feature = "http3"))]
    fn serves(&self) -> u8 {
        SERVES
    }
}

/// Waits for the process that takes this one's place.
#[derive(Debug)]
pub struct Successors {
    listener: tokio::net::UnixListener,
    path: PathBuf,
    /// Where the socket is until it is opened.
    beside: Option<PathBuf>,
    /// Whose processes may.
    owner: u32,
    sockets: Sockets,
}

/// A successor that says that it accepts.
struct Serving {
    stream: tokio::net::UnixStream,
    /// What it reads of UDP.
    offer: Option<Offer>,
}

/// A successor that accepts; dropped, it knows that it has been heard.
#[derive(Debug)]
pub struct Successor {
    /// Held until this process has let go.
    stream: tokio::net::UnixStream,
    /// To the processes before.
    ways: Option<Ways>,
}

impl Drop for Successor {
    fn drop(&mut self) {
        // What it does not learn of goes through this process as long as it lives.
        let _ = self.ways.as_ref().map(|ways| tell(&self.stream, ways));
    }
}

impl Successors {
    /// Waits beside this path, and at it once opened. Only processes of the same user are heard.
    pub fn listen(path: &Path, sockets: Sockets) -> io::Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        if let Err(error) = fs::remove_file(&beside)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let listener = tokio::net::UnixListener::bind(&beside)?;
        let owner = fs::metadata(&beside)?.uid();
        Ok(Self {
            listener,
            path: path.to_owned(),
            beside: Some(beside),
            owner,
            sockets,
        })
    }

    /// From here on the path is nobody else's. Not before the predecessor is released: of several successors one alone
    /// succeeds, and the others must not be found there.
    pub fn open(&mut self) -> io::Result<()> {
        let beside = self.beside.take();
        beside.map_or(Ok(()), |beside| fs::rename(beside, &self.path))
    }

    /// Ready once another process accepts at our sockets: the first of those that ask that does.
    pub async fn come(&self) -> Successor {
        let mut asking: VecDeque<BoxFuture<'_, io::Result<Option<Serving>>>> = VecDeque::new();
        let failed = |error: io::Error| {
            warn!(
                error = &error as &dyn std::error::Error,
                "a successor did not take over"
            );
        };
        loop {
            let answer = async {
                match asking.is_empty() {
                    true => std::future::pending().await,
                    false => select_all(&mut asking).await,
                }
            };
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        if asking.len() == AT_ONCE {
                            warn!("a successor that has not served for the longest time is turned away: others wait");
                            asking.pop_front();
                        }
                        asking.push_back(Box::pin(self.hear(stream)));
                    }
                    Err(error) => {
                        failed(error);
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                (answer, place, _) = answer => {
                    asking.remove(place);
                    // One at a time is told that it has the place.
                    let settled = match answer {
                        Ok(Some(serving)) => serving.settle().await,
                        Ok(None) => Ok(None),
                        Err(error) => Err(error),
                    };
                    match settled {
                        Ok(Some(successor)) => return successor,
                        Ok(None) => {}
                        Err(error) => failed(error),
                    }
                }
            }
        }
    }

    /// None where it came to nothing.
    async fn hear(&self, mut stream: tokio::net::UnixStream) -> io::Result<Option<Serving>> {
        let user = stream.peer_cred()?.uid();
        if !is_trusted(user, self.owner) {
            warn!(
                user,
                "a process of another user asked for the sockets; it does not get them"
            );
            return Ok(None);
        }
        // Little enough for any socket's buffer: it does not wait.
        let offer = send(&stream, &self.sockets)?;
        match stream.read_u8().await {
            Ok(SERVES) => Ok(Some(Serving { stream, offer: None })),
            Ok(SERVES_UDP) => Ok(Some(Serving { stream, offer })),
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

impl Serving {
    /// None where it does not take the place: it has ended, or does not answer.
    async fn settle(mut self) -> io::Result<Option<Successor>> {
        self.stream.write_u8(HEARD).await?;
        let takes = match timeout(ANSWER, self.stream.read_u8()).await {
            // It may have said so long ago.
            Ok(Ok(TAKES)) => is_there(&self.stream),
            Ok(Ok(_) | Err(_)) => false,
            Err(_) => had_taken(&self.stream)?,
        };
        if !takes {
            warn!(
                "a successor that served does not take this process's place: it has ended, or does not answer"
            );
            return Ok(None);
        }
        // It has the place, whatever fails here.
        let ways = self.offer.map(Offer::taken).transpose().unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            warn!(error, "connections over UDP are not handed on");
            None
        });
        let stream = self.stream;
        Ok(Some(Successor { stream, ways }))
    }
}

/// Whether the other end is open: it says nothing more.
fn is_there(stream: &tokio::net::UnixStream) -> bool {
    next(stream).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether the other end had taken the place when it could say nothing more, and is still there.
fn had_taken(stream: &tokio::net::UnixStream) -> io::Result<bool> {
    if had_said(stream)? != Some(TAKES) {
        return Ok(false);
    }
    // What it can say is closed by now; the rest it closes itself.
    let mut other = [PollFd::new(stream, PollFlags::empty())];
    retry_on_intr(|| poll(&mut other, Some(&Timespec::default())))?;
    Ok(!other[0].revents().contains(PollFlags::HUP))
}

/// What the other end had said before it could say nothing more.
fn had_said(stream: &tokio::net::UnixStream) -> io::Result<Option<u8>> {
    SockRef::from(stream).shutdown(Shutdown::Read)?;
    next(stream)
}

/// What has come, without waiting; none at the end.
fn next(stream: &tokio::net::UnixStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let count = (&*SockRef::from(stream)).read(&mut byte)?;
    Ok((count > 0).then_some(byte[0]))
}

impl Drop for Successors {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // Nobody was to find it.
            let _ = fs::remove_file(beside);
        }
    }
}

/// Whether a process of this user is given the sockets of one of the other's, and whether one takes its.
fn is_trusted(user: u32, by: u32) -> bool {
    user == by || user == ROOT
}
