//! The address of HTTPS in, UDP sockets at the same port out: opened once HTTP/3 is asked for, and shared by all workers.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use aws_lc_rs::rand;
use quinn::udp::{EcnCodepoint, RecvMeta};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;
use tracing::{error, info};

use super::steering::{self, Handed, Inbox, Place};
use super::ways::{Told, Way, Ways};
use crate::serving::ServingState;

/// Wanted of the system for datagrams that wait; it gives what it allows.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;
/// How often whoever listens to the process after this one looks whether anybody is left to listen for.
const LOOK: Duration = Duration::from_secs(1);
/// Longest datagram, and what is said of it.
const LONGEST: usize = 65_536 + HEAD;
/// Bytes before a datagram that goes from one process to another: congestion, its sender, and the address it was sent to.
const HEAD: usize = 1 + (16 + 2 + 4) + (1 + 16);

/// Where workers get the sockets from.
pub(crate) type Ports = watch::Receiver<Option<Arc<Group>>>;

/// Opens the sockets when they are first asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared {
    group: watch::Sender<Option<Arc<Group>>>,
    /// None where no HTTPS is served.
    address: Option<SocketAddr>,
    workers: usize,
    /// Whether it was told that they cannot be opened.
    is_told: Arc<AtomicBool>,
}

impl Shared {
    /// `given` are the sockets of the process before.
    pub(crate) fn new(address: Option<SocketAddr>, workers: usize, given: Option<Arc<Group>>) -> Self {
        Self {
            group: watch::Sender::new(given),
            address,
            workers,
            is_told: Arc::default(),
        }
    }

    /// Sockets of the process before, the last of which leads to it.
    pub(crate) fn given(mut sockets: Vec<OwnedFd>, marks: Vec<u16>) -> Self {
        let to = sockets.pop().map(UnixDatagram::from);
        let group = to.map(|to| {
            let sockets = sockets.into_iter().map(UdpSocket::from).collect();
            Arc::new(Group::of(sockets, marks, to))
        });
        Self::new(None, 0, group)
    }

    /// What the process after this one is offered; none where nothing is open.
    pub(crate) fn offer(&self) -> io::Result<Option<Offer>> {
        let offer = |group| {
            let (here, there) = UnixDatagram::pair()?;
            // A process that does not come after it is not waited for.
            there.set_nonblocking(true)?;
            Ok(Offer { group, here, there })
        };
        self.group().map(offer).transpose()
    }

    pub(crate) fn ports(&self) -> Ports {
        self.group.subscribe()
    }

    pub(crate) fn group(&self) -> Option<Arc<Group>> {
        self.group.borrow().clone()
    }

    /// Whether the state asks for what is not open.
    pub(crate) fn lacks(&self, state: &ServingState) -> bool {
        self.address.is_some() && state.asks_http3() && self.group.borrow().is_none()
    }

    /// Opens them where the state asks for it and they are not open. They stay so: what is not wanted any more is refused.
    pub(crate) fn open_for(&self, state: &ServingState) {
        let Some(address) = self.address.filter(|_| self.lacks(state)) else {
            return;
        };
        match Group::bind(address, self.workers) {
            Ok(group) => {
                info!(%address, "listening for HTTP/3");
                self.is_told.store(false, Ordering::Relaxed);
                self.group.send_replace(Some(Arc::new(group)));
            }
            // All else is served. It is tried again, but told once.
            Err(error) if !self.is_told.swap(true, Ordering::Relaxed) => {
                error!(%address, error = &error as &dyn std::error::Error, "failed to listen for HTTP/3; it is not served");
            }
            Err(_) => {}
        }
    }
}

/// The sockets, and a way back for what comes there of this process's connections.
pub(crate) struct Offer {
    group: Arc<Group>,
    here: UnixDatagram,
    there: UnixDatagram,
}

impl Offer {
    /// The last is the way back.
    pub(crate) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        let sockets = self.group.sockets.iter().map(AsFd::as_fd);
        sockets.chain([self.there.as_fd()]).collect()
    }

    pub(crate) fn marks(&self) -> Vec<u16> {
        self.group.marks()
    }

    /// The other process reads from here on.
    pub(crate) fn taken(self) -> io::Result<Ways> {
        self.group.leave(self.here)?;
        Ok(Ways(self.group))
    }
}

/// The sockets of a port.
pub(crate) struct Group {
    sockets: Box<[UdpSocket]>,
    inboxes: Box<[Inbox]>,
    /// Of this process, in the ids of its connections.
    mark: u16,
    /// The process that had the sockets before; it hands on what is for those before it, as long as it lives.
    before: Option<Way>,
    /// Those before it, as it told of them when it left.
    earlier: OnceLock<Vec<Way>>,
    /// Whether this process reads them.
    reads: AtomicBool,
}

impl Group {
    fn bind(address: SocketAddr, workers: usize) -> io::Result<Self> {
        // As with TCP: who shares a port shares it with anybody, so the first does not.
        drop(socket(address, false)?);
        let sockets = (0..workers).map(|_| socket(address, workers > 1));
        let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
        Ok(Self::new(sockets, None, true))
    }

    /// The same sockets, of a process that goes on reading them until [`Group::read`].
    fn of(sockets: Vec<UdpSocket>, marks: Vec<u16>, to: UnixDatagram) -> Self {
        Self::new(sockets, Some(Way::new(marks, to)), false)
    }

    fn new(sockets: Vec<UdpSocket>, before: Option<Way>, reads: bool) -> Self {
        let mut random = [0; 2];
        let mut mark;
        loop {
            // Where it fails, which it does on no system that has started, others may have the same.
            let filled = rand::fill(&mut random);
            mark = u16::from_ne_bytes(random);
            let is_taken = before
                .as_ref()
                .is_some_and(|before| before.marks().contains(&mark));
            if !is_taken || filled.is_err() {
                break;
            }
        }
        Self {
            inboxes: sockets.iter().map(|_| Inbox::default()).collect(),
            sockets: sockets.into(),
            mark,
            before,
            earlier: OnceLock::new(),
            reads: AtomicBool::new(reads),
        }
    }

    pub(crate) fn sockets(&self) -> &[UdpSocket] {
        &self.sockets
    }

    /// In the ids of connections that this process has, or a process before it that has not ended.
    pub(super) fn marks(&self) -> Vec<u16> {
        let before = self.before.iter().flat_map(Way::marks).copied();
        let is_left = |mark: &u16| self.way(*mark).is_some_and(Way::is_open);
        [self.mark].into_iter().chain(before.filter(is_left)).collect()
    }

    /// The straight ones first.
    pub(super) fn ways(&self) -> impl Iterator<Item = &Way> {
        self.earlier.get().into_iter().flatten().chain(&self.before)
    }

    pub(super) fn way(&self, mark: u16) -> Option<&Way> {
        self.ways().find(|way| way.marks().contains(&mark))
    }

    pub(super) fn place_of(&self, socket: usize) -> Place {
        Place {
            mark: self.mark,
            // There are no more than a message between processes counts.
            socket: u16::try_from(socket).unwrap_or(u16::MAX),
        }
    }

    pub(super) fn reads(&self) -> bool {
        self.reads.load(Ordering::Acquire)
    }

    /// Reads from here on: the process before does no more, and has told of those before it.
    pub(crate) fn read(&self, told: Told) {
        // It does so once.
        let _ = self.earlier.set(told.0);
        self.reads.store(true, Ordering::Release);
        self.inboxes.iter().for_each(Inbox::wake);
    }

    /// Reads no more: the process that does hands on what is ours.
    fn leave(self: &Arc<Self>, from: UnixDatagram) -> io::Result<()> {
        from.set_read_timeout(Some(LOOK))?;
        let group = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("proxy-relay".to_owned())
            .spawn(move || listen(&from, &group))?;
        self.reads.store(false, Ordering::Release);
        Ok(())
    }

    pub(super) fn inbox(&self, place: Place) -> Option<&Inbox> {
        self.inboxes.get(usize::from(place.socket))
    }

    /// Whether there is a place of this name, here or in a process before.
    pub(super) fn knows(&self, place: Place) -> bool {
        match place.mark == self.mark {
            true => self.inbox(place).is_some(),
            false => self.way(place.mark).is_some(),
        }
    }

    pub(super) fn hand(&self, place: Place, handed: Handed) {
        if place.mark == self.mark {
            if let Some(inbox) = self.inbox(place) {
                inbox.put(handed);
            }
        } else if let Some(way) = self.way(place.mark) {
            way.send(&written(&handed));
        }
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("sockets", &self.sockets)
            .field("mark", &self.mark)
            .finish_non_exhaustive()
    }
}

fn socket(address: SocketAddr, shares: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if shares {
        socket.set_reuse_port(true)?;
    }
    // What the system does not allow is less, and no reason not to serve.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Takes what the process after this one hands on, as long as anybody here wants it.
fn listen(from: &UnixDatagram, group: &Weak<Group>) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let received = from.recv(&mut buffer);
        let Some(group) = group.upgrade() else { return };
        let Ok(count) = received else { continue };
        let Some(handed) = read(&buffer[..count]) else {
            continue;
        };
        if let Some(place) = steering::place(&handed.bytes) {
            group.hand(place, handed);
        }
    }
}

/// As one process hands a datagram to another.
fn written(handed: &Handed) -> Vec<u8> {
    let Handed { bytes, meta } = handed;
    let ecn = meta.ecn.map_or(0, |ecn| ecn as u8);
    let (address, scope) = match meta.addr {
        SocketAddr::V4(address) => (address.ip().to_ipv6_mapped(), 0),
        SocketAddr::V6(address) => (*address.ip(), address.scope_id()),
    };
    let is_v4 = u8::from(meta.addr.is_ipv4());
    let reached = meta.dst_ip.map_or(Ipv6Addr::UNSPECIFIED, |ip| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    });
    [
        &[ecn][..],
        &address.octets(),
        &meta.addr.port().to_be_bytes(),
        &scope.to_be_bytes(),
        &[is_v4],
        &reached.octets(),
        bytes,
    ]
    .concat()
}

/// The same back; none where it is nothing of the kind.
fn read(bytes: &[u8]) -> Option<Handed> {
    let (&[ecn], rest) = bytes.split_first_chunk()?;
    let (address, rest) = rest.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk()?;
    let (scope, rest) = rest.split_first_chunk()?;
    let (&[is_v4], rest) = rest.split_first_chunk()?;
    let (reached, rest) = rest.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(*port);
    let address = Ipv6Addr::from(*address);
    let reached = Ipv6Addr::from(*reached);
    let plain = |ip: Ipv6Addr| match is_v4 {
        1 => ip.to_canonical(),
        _ => IpAddr::V6(ip),
    };
    let addr = match plain(address) {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, u32::from_be_bytes(*scope)).into(),
    };
    let meta = RecvMeta {
        addr,
        len: rest.len(),
        stride: rest.len(),
        ecn: EcnCodepoint::from_bits(ecn),
        dst_ip: (!reached.is_unspecified()).then(|| plain(reached)),
    };
    Some(Handed {
        bytes: rest.to_vec(),
        meta,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Shared {
        /// With a socket at any port.
        pub(in super::super) fn bound() -> Self {
            let group = Group::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
            Self::new(None, 1, Some(Arc::new(group)))
        }
    }

    #[test]
    fn a_datagram_passes_between_processes_as_it_came() {
        for (sender, reached, ecn) in [
            ("192.0.2.1:5000", Some("198.51.100.1"), None),
            ("[2001:db8::1]:5000", Some("2001:db8::2"), Some(EcnCodepoint::Ce)),
            // Of a socket for both families.
            (
                "[::ffff:192.0.2.1]:1",
                Some("::ffff:198.51.100.1"),
                Some(EcnCodepoint::Ect0),
            ),
            ("192.0.2.1:65535", None, None),
        ] {
            let meta = RecvMeta {
                addr: sender.parse().unwrap(),
                len: 3,
                stride: 3,
                ecn,
                dst_ip: reached.map(|ip| ip.parse().unwrap()),
            };
            let handed = Handed {
                bytes: b"abc".to_vec(),
                meta,
            };
            let written = written(&handed);
            assert_eq!(written.len(), HEAD + 3, "{sender}");
            let came = read(&written).unwrap();
            assert_eq!(came.bytes, handed.bytes, "{sender}");
            let facts = |meta: RecvMeta| (meta.addr, meta.len, meta.stride, meta.ecn, meta.dst_ip);
            assert_eq!(facts(came.meta), facts(meta), "{sender}");
        }
        assert!(read(&[0; HEAD - 1]).is_none());
    }

    #[test]
    fn a_port_that_somebody_has_is_not_shared() {
        for workers in [1, 2] {
            let group = Group::bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
            let taken = group.sockets[0].local_addr().unwrap();
            let error = Group::bind(taken, workers).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{workers}");
        }
    }
}
