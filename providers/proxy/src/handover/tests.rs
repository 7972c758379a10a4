//! Sockets and successors in, what both ends have of them out.

use std::io::Read;
use std::path::PathBuf;

use tempfile::TempDir;

use super::wire::{GREETING, GREETING_FURTHER, receive};
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

/// One that waits for its successor at a path, which is gone with the folder.
fn waiting() -> (TempDir, PathBuf, Successors) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    let mut successors = Successors::listen(&path, sockets(1, 1)).unwrap();
    successors.open().unwrap();
    (folder, path, successors)
}

/// A worker that waits in one holds up all others.
#[test]
fn sockets_arrive_ready_for_workers_or_not_at_all() {
    let (here, there) = UnixStream::pair().unwrap();
    let sent = sockets(1, 1);
    send(&here, &sent).unwrap();
    let came = receive(&there).unwrap();
    for socket in came.http.iter().chain(&came.https) {
        assert!(SockRef::from(socket).nonblocking().unwrap());
    }
    let bound = |kind| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        TcpListener::from(socket)
    };
    for other in [bound(socket2::Type::STREAM), bound(socket2::Type::DGRAM)] {
        let (here, there) = UnixStream::pair().unwrap();
        let mut sent = sockets(1, 1);
        sent.http.push(other);
        send(&here, &sent).unwrap();
        let told = receive(&there).unwrap_err().to_string();
        assert!(told.contains("not those of a proxy"), "{told}");
    }
    // Of one listener, all are at one address.
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig {
        http: Some(any),
        ..ServerConfig::default()
    };
    assert!(Server::bind_to(&config, sockets(1, 0)).is_ok());
    let error = Server::bind_to(&config, sockets(2, 0)).unwrap_err();
    assert_eq!(error.error.kind(), io::ErrorKind::InvalidData);
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

#[test]
fn why_a_predecessor_does_not_answer_is_told() {
    let (here, there) = UnixStream::pair().unwrap();
    there.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let silent = explained(receive(&there).unwrap_err()).to_string();
    assert!(silent.contains("another successor holds the place"), "{silent}");
    drop(here);
    let gone = explained(receive(&there).unwrap_err()).to_string();
    assert!(gone.contains("another successor has taken the place"), "{gone}");
    let other = explained(io::ErrorKind::PermissionDenied.into());
    assert_eq!(other.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn the_same_user_and_root_alone_are_given_the_sockets() {
    for (user, owner, may) in [
        (1000, 1000, true),
        (0, 1000, true),
        (0, 0, true),
        (1001, 1000, false),
        (1000, 0, false),
        // Nobody, and of another namespace.
        (65534, 1000, false),
    ] {
        assert_eq!(is_trusted(user, owner), may, "user {user}, of {owner}");
    }
}

#[tokio::test]
async fn a_successor_that_ends_before_it_serves_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.sock");
    assert!(take_over(&path).unwrap().is_none(), "nobody is there");
    let mut successors = Successors::listen(&path, sockets(1, 1)).unwrap();
    assert!(take_over(&path).unwrap().is_none(), "nobody is there yet");
    successors.open().unwrap();
    let at = path.clone();
    let taken = tokio::task::spawn_blocking(move || {
        let (_, ended) = take_over(&at).unwrap().unwrap();
        drop(ended);
        let (sockets, predecessor) = take_over(&at).unwrap().unwrap();
        predecessor.release(|| {}).unwrap();
        ports(&sockets.http)
    });
    drop(successors.come().await);
    assert_eq!(taken.await.unwrap(), ports(&successors.sockets.http));
    drop(successors);
    assert!(take_over(&path).unwrap().is_none(), "what is left over is nobody");
    // One that was never opened leaves nothing over.
    drop(Successors::listen(&path, sockets(1, 0)).unwrap());
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "the path and its lock"
    );
}

/// Whoever is stopped before it serves, or asks for nothing, keeps nobody away; of several the first that serves has
/// the place.
#[tokio::test]
async fn one_of_several_successors_takes_the_place() {
    let (_folder, path, successors) = waiting();
    let silent: Vec<_> = (0..2 * AT_ONCE)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let taken = tokio::task::spawn_blocking(move || {
        let (_, slow) = take_over(&path).unwrap().unwrap();
        let (_, fast) = take_over(&path).unwrap().unwrap();
        fast.release(|| {}).unwrap();
        slow.release(|| {}).unwrap_err().to_string()
    });
    drop(successors.come().await);
    // As the one that has the place it would be asked, too.
    let told = tokio::select! {
        told = taken => told.unwrap(),
        _ = successors.come() => panic!("it takes the place of one that has it"),
    };
    assert!(told.contains("another successor has taken the place"), "{told}");
    drop(silent);
}

/// Whatever it has said: nobody serves in this one's place.
#[tokio::test]
async fn a_successor_that_has_gone_takes_no_place() {
    let (_folder, path, successors) = waiting();
    for said in [
        &[SERVES][..],
        &[SERVES, TAKES],
        &[SERVES, HEARD],
        &[SERVES_UDP, TAKES],
    ] {
        let mut gone = UnixStream::connect(&path).unwrap();
        gone.write_all(said).unwrap();
    }
    // It is there to be answered, and says nothing more.
    let mut half = UnixStream::connect(&path).unwrap();
    half.write_all(&[SERVES, TAKES]).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let taken = tokio::task::spawn_blocking(move || {
        let (_, predecessor) = take_over(&path).unwrap().unwrap();
        predecessor.release(|| {})
    });
    drop(successors.come().await);
    taken.await.unwrap().unwrap();
}

/// Told to end, or killed: nobody would serve.
#[tokio::test]
async fn one_of_several_has_the_place_of_a_process_that_ends() {
    let (_folder, path, successors) = waiting();
    let (asking, at) = (path.clone(), path.clone());
    let mut three = Vec::new();
    for _ in 0..3 {
        let path = asking.clone();
        let taken = tokio::task::spawn_blocking(move || take_over(&path).unwrap().unwrap());
        let taken = tokio::select! {
            taken = taken => taken.unwrap(),
            _ = successors.come() => panic!("none has said that it serves"),
        };
        three.push(taken);
    }
    // One that asks of a path that somebody else opens finds that one.
    drop(successors);
    let (sockets, first) = three.remove(0);
    let mut next = Successors::listen(&at, sockets).unwrap();
    let mut opened = None;
    first.release(|| opened = Some(next.open())).unwrap();
    opened.unwrap().unwrap();
    for (_, late) in three {
        let late = tokio::task::spawn_blocking(move || late.release(|| panic!("it opens the path")));
        let told = tokio::select! {
            told = late => told.unwrap().unwrap_err().to_string(),
            _ = next.come() => panic!("it takes the place of one that has it"),
        };
        assert!(told.contains("another successor has taken the place"), "{told}");
    }
}

/// What it says too late does not arrive, so it knows.
#[tokio::test]
async fn a_successor_that_is_not_waited_for_any_more_can_say_nothing() {
    for (says, want) in [(&[][..], None), (&[TAKES], Some(TAKES))] {
        let (here, mut there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(here).unwrap();
        there.write_all(says).unwrap();
        assert_eq!(had_said(&stream).unwrap(), want);
        assert!(there.write_all(&[TAKES]).is_err());
    }
}

/// It may have ended since it said so.
#[tokio::test]
async fn a_successor_that_took_the_place_late_must_be_there() {
    for (says, stays, want) in [(TAKES, true, true), (TAKES, false, false), (SERVES, true, false)] {
        let (here, mut there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(here).unwrap();
        there.write_all(&[says]).unwrap();
        let stays = stays.then_some(there);
        assert_eq!(had_taken(&stream).unwrap(), want, "{says}, {stays:?}");
    }
}
