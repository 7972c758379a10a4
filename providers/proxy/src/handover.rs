//! The listening sockets of a running proxy in, the same sockets in the process that takes its place out.
//!
//! A socket that is closed takes along the connections that wait in its queue, and of several that share a port each has
//! a queue of its own. So none is closed: the sockets themselves go to the successor over a Unix socket (`SCM_RIGHTS`), and
//! the predecessor accepts until it is told that the successor does. HAProxy and Envoy do the same. A successor that ends
//! before that changes nothing.
//!
//! Of UDP sockets one process reads at a time, from then on the successor: the datagrams of connections that it does not
//! have it hands on, over a socket that it got beside the others.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_model::Port;
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::AsyncReadExt;
use tracing::warn;

#[cfg(not(feature = "http3"))]
use self::absent::Offer;
#[cfg(feature = "http3")]
use crate::http3::{self, Offer};
use crate::server::is_asked;

/// What a predecessor says first; another version of what follows would have another.
const GREETING: [u8; 8] = *b"portcul2";
/// What it says that has further sockets, of which a successor must know: it would let them go. One that does not turns
/// away, and nothing has changed.
const GREETING_FURTHER: [u8; 8] = *b"portcul3";
/// The greeting, how many sockets of each kind follow, and by how many marks connections over UDP are known.
const HEAD: usize = GREETING.len() + 8;
/// Sockets in one message. The kernel takes 253 (`SCM_MAX_FD`).
const AT_ONCE: usize = 64;
/// What a successor says when it accepts: over TCP alone, or over UDP, too.
const SERVES: u8 = 1;
const SERVES_UDP: u8 = 2;
/// Longest wait for a predecessor that runs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a successor that could not be heard.
const PAUSE: Duration = Duration::from_millis(50);

/// Apple's systems know neither.
#[cfg(target_vendor = "apple")]
const FLAGS: (SendFlags, RecvFlags) = (SendFlags::empty(), RecvFlags::empty());
#[cfg(not(target_vendor = "apple"))]
const FLAGS: (SendFlags, RecvFlags) = (SendFlags::NOSIGNAL, RecvFlags::CMSG_CLOEXEC);

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
        let at = self.sockets.first().map(TcpListener::local_addr);
        at.is_some_and(|at| at.is_ok_and(|at| is_asked(wanted, at)))
    }
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
    #[cfg(feature = "http3")]
    udp: http3::Shared,
}

/// Asks the proxy that waits for its successor at this path for its sockets; none where nobody does.
pub fn take_over(path: &Path) -> io::Result<Option<(Sockets, Predecessor)>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        // A path that is left over from a process that ended.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let sockets = receive(&stream)?;
    let predecessor = Predecessor {
        stream,
        #[cfg(feature = "http3")]
        udp: sockets.udp.clone(),
    };
    Ok(Some((sockets, predecessor)))
}

impl Predecessor {
    /// From here on it accepts nothing more, and ends when what is under way has.
    pub fn release(mut self) -> io::Result<()> {
        self.stream.write_all(&[self.serves()])?;
        // It has heard when it hangs up, and has let go of what both cannot have.
        let _none = self.stream.read(&mut [0])?;
        #[cfg(feature = "http3")]
        if let Some(group) = self.udp.group() {
            group.read();
        }
        Ok(())
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
    /// Whose processes may.
    owner: u32,
    sockets: Sockets,
}

/// A successor that accepts; dropped, it knows that it has been heard.
#[derive(Debug)]
pub struct Successor(
    #[expect(dead_code, reason = "held until the predecessor has let go")] tokio::net::UnixStream,
);

impl Successors {
    /// Waits at this path, which is nobody's else from here on. Only processes of the same user are heard.
    pub fn listen(path: &Path, sockets: Sockets) -> io::Result<Self> {
        // Made beside it and moved there: whoever connects finds the one before or this one.
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let made = PathBuf::from(name);
        if let Err(error) = fs::remove_file(&made)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let listener = tokio::net::UnixListener::bind(&made)?;
        let owner = fs::metadata(&made)?.uid();
        fs::rename(&made, path)?;
        Ok(Self {
            listener,
            owner,
            sockets,
        })
    }

    /// Ready once another process accepts at our sockets.
    pub async fn come(&self) -> Successor {
        loop {
            match self.next().await {
                Ok(Some(successor)) => return successor,
                Ok(None) => {}
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "a successor did not take over"
                    );
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// None where it came to nothing.
    async fn next(&self) -> io::Result<Option<Successor>> {
        let (mut stream, _) = self.listener.accept().await?;
        let user = stream.peer_cred()?.uid();
        if user != self.owner && user != 0 {
            warn!(
                user,
                "a process of another user asked for the sockets; it does not get them"
            );
            return Ok(None);
        }
        // Little enough for any socket's buffer: it does not wait.
        let offer = send(&stream, &self.sockets)?;
        match stream.read_u8().await {
            Ok(SERVES) => Ok(Some(Successor(stream))),
            Ok(SERVES_UDP) => {
                offer.map(Offer::taken).transpose()?;
                Ok(Some(Successor(stream)))
            }
            Ok(_) | Err(_) => Ok(None),
        }
    }
}

/// Tells of the offer that was made of what goes over UDP.
fn send(stream: impl AsFd, sockets: &Sockets) -> io::Result<Option<Offer>> {
    #[cfg(feature = "http3")]
    let offer = sockets.udp.offer()?;
    #[cfg(not(feature = "http3"))]
    let offer: Option<Offer> = None;
    let (udp, marks) = offer
        .as_ref()
        .map_or_else(Default::default, |offer| (offer.sockets(), offer.marks()));
    let count = |length: usize| {
        u16::try_from(length)
            .map(u16::to_be_bytes)
            .map_err(io::Error::other)
    };
    // None where there are none: what is said then is what those know who know of none.
    let mut further = Vec::new();
    if !sockets.further.is_empty() {
        further.extend(count(sockets.further.len())?);
        for apart in &sockets.further {
            further.extend(apart.port.get().to_be_bytes());
            further.extend(count(apart.sockets.len())?);
        }
    }
    let head = [
        match further.is_empty() {
            true => &GREETING[..],
            false => &GREETING_FURTHER,
        },
        &count(sockets.http.len())?,
        &count(sockets.https.len())?,
        &count(udp.len())?,
        &count(marks.len())?,
        &marks
            .iter()
            .flat_map(|mark| mark.to_be_bytes())
            .collect::<Vec<_>>(),
        &further,
    ]
    .concat();
    let apart = sockets.further.iter().flat_map(|apart| &apart.sockets);
    let tcp = sockets.http.iter().chain(&sockets.https).chain(apart);
    let all: Vec<BorrowedFd<'_>> = tcp.map(AsFd::as_fd).chain(udp).collect();
    let mut text = &head[..];
    for some in all.chunks(AT_ONCE) {
        let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(some));
        let sent = sendmsg(&stream, &[IoSlice::new(text)], &mut control, FLAGS.0)?;
        if sent < text.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        text = &[0];
    }
    Ok(offer)
}

fn receive(stream: &UnixStream) -> io::Result<Sockets> {
    let bad = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut received = Vec::new();
    let mut head = [0; HEAD];
    let whole = part(stream, &mut head, &mut received)? == HEAD;
    let has_further = head[..GREETING.len()] == GREETING_FURTHER;
    if !whole || !(has_further || head[..GREETING.len()] == GREETING) {
        return Err(bad("what listens there is no proxy of this kind"));
    }
    let counts = head[GREETING.len()..].as_chunks().0;
    let &[http, https, udp, marks] = counts else {
        return Err(bad("what listens there is no proxy of this kind"));
    };
    let [http, https, udp, marks] =
        [http, https, udp, marks].map(|count| usize::from(u16::from_be_bytes(count)));
    let mut marked = vec![0; 2 * marks];
    (&*stream).read_exact(&mut marked)?;
    let number = || {
        let mut number = [0; 2];
        (&*stream).read_exact(&mut number)?;
        io::Result::Ok(u16::from_be_bytes(number))
    };
    let mut further = Vec::new();
    if has_further {
        for _ in 0..number()? {
            let port = Port::new(number()?.into()).map_err(|_| bad("a listener has port 0"))?;
            further.push((port, usize::from(number()?)));
        }
    }
    let apart: usize = further.iter().map(|(_, count)| count).sum();
    let all = http + https + apart + udp;
    while received.len() < all {
        if part(stream, &mut [0], &mut received)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut received = received.into_iter();
    let http = received.by_ref().take(http).map(TcpListener::from).collect();
    let https = received.by_ref().take(https).map(TcpListener::from).collect();
    let further = further.into_iter().map(|(port, count)| Apart {
        port,
        sockets: received.by_ref().take(count).map(TcpListener::from).collect(),
    });
    let further = further.collect();
    Ok(Sockets {
        http,
        https,
        further,
        #[cfg(feature = "http3")]
        udp: http3::Shared::given(
            received.collect(),
            marked
                .as_chunks()
                .0
                .iter()
                .map(|mark| u16::from_be_bytes(*mark))
                .collect(),
        ),
    })
}

/// One message: how many bytes it has, and its sockets.
fn part(stream: &UnixStream, text: &mut [u8], sockets: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(stream, &mut [IoSliceMut::new(text)], &mut control, FLAGS.1)?;
    for more in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = more {
            sockets.extend(more);
        }
    }
    Ok(message.bytes)
}

/// What a build without HTTP/3 offers.
#[cfg(not(feature = "http3"))]
mod absent {
    use std::io;
    use std::os::fd::BorrowedFd;

    pub(super) enum Offer {}

    impl Offer {
        pub(super) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
            match *self {}
        }

        pub(super) fn marks(&self) -> Vec<u16> {
            match *self {}
        }

        pub(super) fn taken(self) -> io::Result<()> {
            match self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Server;
    use crate::settings::{Further, ServerConfig};

    fn sockets(http: usize, https: usize) -> Sockets {
        let open = |count| {
            let bound = (0..count).map(|_| TcpListener::bind("127.0.0.1:0"));
            bound.collect::<Result<_, _>>().unwrap()
        };
        Sockets {
            http: open(http),
            https: open(https),
            further: Vec::new(),
            #[cfg(feature = "http3")]
            udp: http3::Shared::default(),
        }
    }

    fn ports(sockets: &[TcpListener]) -> Vec<u16> {
        let port = |socket: &TcpListener| socket.local_addr().unwrap().port();
        sockets.iter().map(port).collect()
    }

    #[test]
    fn sockets_arrive_in_their_order_however_many() {
        for (http, https) in [(1, 1), (1, 0), (0, 2), (64, 64), (65, 70), (200, 1)] {
            let (here, there) = UnixStream::pair().unwrap();
            let sent = sockets(http, https);
            send(&here, &sent).unwrap();
            let came = receive(&there).unwrap();
            assert_eq!(ports(&came.http), ports(&sent.http));
            assert_eq!(ports(&came.https), ports(&sent.https));
        }
    }

    #[test]
    fn further_sockets_arrive_with_the_ports_of_their_listeners() {
        let of_port = |number: i64| Port::new(number).unwrap();
        for counts in [vec![], vec![1], vec![2, 3], vec![65, 1, 70]] {
            let (here, there) = UnixStream::pair().unwrap();
            let mut sent = sockets(2, 1);
            for (number, count) in (8443..).zip(&counts) {
                sent.of(of_port(number)).extend(sockets(*count, 0).http);
            }
            send(&here, &sent).unwrap();
            let came = receive(&there).unwrap();
            assert_eq!(ports(&came.http), ports(&sent.http));
            assert_eq!(ports(&came.https), ports(&sent.https));
            let shown = |all: &Sockets| -> Vec<(Port, Vec<u16>)> {
                let further = all.further.iter();
                further.map(|apart| (apart.port, ports(&apart.sockets))).collect()
            };
            assert_eq!(shown(&came), shown(&sent));
            // Without any it is what it was before there were any: who knows of none takes over, too.
            let (here, mut there) = UnixStream::pair().unwrap();
            send(&here, &sent).unwrap();
            let mut said = [0; GREETING.len()];
            there.read_exact(&mut said).unwrap();
            let want = if counts.is_empty() {
                GREETING
            } else {
                GREETING_FURTHER
            };
            assert_eq!(said, want);
        }
    }

    #[test]
    fn a_successor_has_the_further_sockets_that_it_asks_for() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = |further: &[(i64, SocketAddr)]| ServerConfig {
            http: Some(any),
            further: further
                .iter()
                .map(|(number, address)| {
                    let further = Further {
                        address: *address,
                        is_tls: true,
                    };
                    (Port::new(*number).unwrap(), further)
                })
                .collect(),
            workers: 2.try_into().unwrap(),
            ..ServerConfig::default()
        };
        let before = Server::bind(&config(&[(8443, any), (9443, any), (9444, any)])).unwrap();
        let at = |server: &Server, number: i64| server.further()[&Port::new(number).unwrap()].address;
        let (first, second, third) = (at(&before, 8443), at(&before, 9443), at(&before, 9444));
        // The same, the same by its address, one for another listener, a new one, and one less.
        let wanted = config(&[(8443, any), (9443, second), (9445, third), (9446, any)]);
        let after = Server::bind_to(&wanted, before.sockets().unwrap()).unwrap();
        assert_eq!(at(&after, 8443), first);
        assert_eq!(at(&after, 9443), second);
        assert_eq!(at(&after, 9445), third);
        assert!(![first, second, third].contains(&at(&after, 9446)));
        assert_eq!(after.http_addr(), before.http_addr());
        let less = Server::bind_to(&config(&[]), before.sockets().unwrap()).unwrap();
        assert!(less.further().is_empty());
        // What somebody else has is not to be had.
        let taken = TcpListener::bind(any).unwrap();
        let wanted = config(&[(8443, taken.local_addr().unwrap())]);
        let error = Server::bind_to(&wanted, before.sockets().unwrap()).unwrap_err();
        assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn what_is_no_proxy_is_told() {
        for said in [&b""[..], b"portcul", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let (mut here, there) = UnixStream::pair().unwrap();
            here.write_all(said).unwrap();
            drop(here);
            assert!(receive(&there).is_err(), "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_successor_that_ends_before_it_serves_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sock");
        assert!(take_over(&path).unwrap().is_none(), "nobody is there");
        let successors = Successors::listen(&path, sockets(1, 1)).unwrap();
        let take = |releases: bool| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || {
                let (sockets, predecessor) = take_over(&path).unwrap().unwrap();
                if releases {
                    predecessor.release().unwrap();
                }
                ports(&sockets.http)
            })
        };
        for (releases, want) in [(false, false), (true, true)] {
            let taken = take(releases);
            let come = successors.next().await.unwrap();
            assert_eq!(come.is_some(), want);
            drop(come);
            assert_eq!(taken.await.unwrap(), ports(&successors.sockets.http));
        }
        drop(successors);
        assert!(take_over(&path).unwrap().is_none(), "what is left over is nobody");
    }
}
