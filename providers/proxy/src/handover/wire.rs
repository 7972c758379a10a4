//! Sockets in, messages of a Unix socket with them out, and back.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use portcullis_model::Port;
use rustix::cmsg_space;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use socket2::{SockRef, Type};

#[cfg(not(feature = "http3"))]
use super::absent::{Offer, Told, Ways};
use super::{Apart, Sockets};
#[cfg(feature = "http3")]
use crate::http3::{self, Offer, Told, Ways};

/// What a predecessor says first; another version of what follows would have another.
pub(super) const GREETING: [u8; 8] = *b"portcul4";
/// What it says that has further sockets, of which a successor must know: it would let them go. One that does not turns
/// away, and nothing has changed.
pub(super) const GREETING_FURTHER: [u8; 8] = *b"portcul5";
/// The greeting, how many sockets of each kind follow, and by how many marks connections over UDP are known.
const HEAD: usize = GREETING.len() + 8;
/// Sockets in one message. The kernel takes 253 (`SCM_MAX_FD`).
const AT_ONCE: usize = 64;
/// Apple's systems know neither.
#[cfg(target_vendor = "apple")]
const FLAGS: (SendFlags, RecvFlags) = (SendFlags::empty(), RecvFlags::empty());
#[cfg(not(target_vendor = "apple"))]
const FLAGS: (SendFlags, RecvFlags) = (SendFlags::NOSIGNAL, RecvFlags::CMSG_CLOEXEC);

/// Tells of the offer that was made of what goes over UDP.
pub(super) fn send(stream: impl AsFd, sockets: &Sockets) -> io::Result<Option<Offer>> {
    #[cfg(feature = "http3")]
    let offer = sockets.udp.offer()?;
    #[cfg(not(feature = "http3"))]
    let offer: Option<Offer> = None;
    let (udp, marks) = offer
        .as_ref()
        .map_or_else(Default::default, |offer| (offer.sockets(), offer.marks()));
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
        put(&stream, text, some)?;
        text = &[0];
    }
    Ok(offer)
}

/// Tells a successor that accepts of the processes before, each in a message. One that knows of none takes it for the
/// end that follows, and what is theirs goes through this one as long as it lives.
pub(super) fn tell(stream: impl AsFd, ways: &Ways) -> io::Result<()> {
    for (marks, to) in ways.all() {
        let count = count(marks.len())?;
        let marks = marks.iter().flat_map(|mark| mark.to_be_bytes());
        let text: Vec<u8> = count.into_iter().chain(marks).collect();
        put(&stream, &text, &[to])?;
    }
    Ok(())
}

fn count(length: usize) -> io::Result<[u8; 2]> {
    let count = u16::try_from(length).map_err(io::Error::other)?;
    Ok(count.to_be_bytes())
}

/// One message. It is little enough for any socket's buffer, so nobody waits.
fn put(stream: impl AsFd, text: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(sockets));
    let sent = sendmsg(stream, &[IoSlice::new(text)], &mut control, FLAGS.0)?;
    if sent < text.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(())
}

pub(super) fn receive(stream: &UnixStream) -> io::Result<Sockets> {
    let bad = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut received = Vec::new();
    let mut head = [0; HEAD];
    let length = part(stream, &mut head, &mut received)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let whole = length == HEAD;
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
    let (tcp, datagrams) = received.split_at(received.len().min(http + https + apart));
    let is_right = tcp.iter().all(accepts) && datagrams.iter().all(is_of_datagrams);
    if !is_right || received.len() > all {
        return Err(bad("its sockets are not those of a proxy"));
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

/// Whether connections can be accepted there, by which nobody is held up from here on.
fn accepts(socket: &OwnedFd) -> bool {
    let socket = SockRef::from(socket);
    // Other systems do not tell.
    #[cfg(target_os = "linux")]
    let listens = socket.is_listener().unwrap_or(false);
    #[cfg(not(target_os = "linux"))]
    let listens = true;
    listens && is_of(&socket, Type::STREAM) && socket.local_addr().is_ok_and(|at| at.as_socket().is_some())
}

fn is_of_datagrams(socket: &OwnedFd) -> bool {
    is_of(&SockRef::from(socket), Type::DGRAM)
}

fn is_of(socket: &SockRef<'_>, kind: Type) -> bool {
    socket.r#type().is_ok_and(|is| is == kind) && socket.set_nonblocking(true).is_ok()
}

/// What a predecessor that has heard says, until it hangs up.
pub(super) fn told(stream: &UnixStream) -> io::Result<Told> {
    let mut told = Told::default();
    let (mut count, mut sockets) = ([0; 2], Vec::new());
    while part(stream, &mut count, &mut sockets)? > 0 {
        let mut marks = vec![0; 2 * usize::from(u16::from_be_bytes(count))];
        (&*stream).read_exact(&mut marks)?;
        let marks = marks.as_chunks().0.iter().map(|mark| u16::from_be_bytes(*mark));
        if let Some(to) = sockets.pop() {
            told.add(marks.collect(), to);
        }
    }
    Ok(told)
}

/// One message: how many bytes it has, and its sockets.
fn part(stream: &UnixStream, text: &mut [u8], sockets: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // Whoever is stopped and goes on while it waits is told so.
    let message = retry_on_intr(|| recvmsg(stream, &mut [IoSliceMut::new(text)], &mut control, FLAGS.1))?;
    for more in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = more {
            sockets.extend(more);
        }
    }
    Ok(message.bytes)
}
