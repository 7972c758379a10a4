//! Connections of HTTP/3 whose client or whose process changes in, requests none the worse for it out; and their bounds.

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use portcullis_model::LoadBalancer;
use portcullis_proxy::{
    Drained, Handle, Limits, Server, ServerConfig, ServingState, Settings, Successors, Timeouts, take_over,
};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, all_to, backend};
use crate::client::{soon, until};
use crate::echo::Echo;
use crate::quic::{Client, HOST, answer, get, over_quic, serve, serve_with};
use crate::secure::key_pair;

/// Answers when it is told to.
async fn when_told() -> (Echo, Arc<Notify>, mpsc::UnboundedReceiver<()>) {
    let (tell, told) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    let echo = Echo::answering(move |request: Request<Incoming>| {
        let (tell, gate) = (tell.clone(), gate.clone());
        async move {
            if request.uri().path() == "/slow" {
                tell.send(()).unwrap();
                gate.notified().await;
            }
            let told = request.headers()["x-forwarded-for"].clone();
            let response = Response::builder().header("x-told", told);
            let body = Full::new(Bytes::from(vec![b'x'; 300_000]));
            Ok::<_, std::convert::Infallible>(response.body(body).unwrap())
        }
    })
    .await;
    (echo, go_on, told)
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way() {
    let (echo, go_on, mut told) = when_told().await;
    let served = serve(all_to(backend("one", &[echo.address])), 1);
    let mut client = served.client().await;
    let mut idle = served.client().await;
    assert_eq!(idle.get("/").await.status(), 200);
    let mut stream = client.begin(get(HOST, "/slow")).await;
    stream.finish().await.unwrap();
    soon("the request", told.recv()).await;
    let (address, trusted) = (served.proxy.https, served.trusted);
    let mut draining = JoinSet::new();
    draining.spawn(served.proxy.handle.drain(Duration::from_secs(30)));
    // Those without requests end, and no new ones begin.
    idle.closed().await;
    assert!(Client::to(address, HOST, &trusted).await.is_err());
    go_on.notify_one();
    assert_eq!(answer(&mut stream).await.body.len(), 300_000);
    let drained = soon("the drain", draining.join_next()).await.unwrap().unwrap();
    assert_eq!(drained.unwrap(), Drained::Finished);
    client.closed().await;
}

#[tokio::test]
async fn a_client_may_move_in_the_middle_of_a_connection() {
    let (echo, go_on, mut told) = when_told().await;
    for workers in [1, 4] {
        let served = serve(all_to(backend("one", &[echo.address])), workers);
        let mut client = served.client().await;
        // Enough for every socket of the group to be met.
        for number in 0..12 {
            let mut stream = client.begin(get(HOST, "/slow")).await;
            stream.finish().await.unwrap();
            soon("the request", told.recv()).await;
            // The first that it has, another's, and so on.
            let address = format!("127.0.0.{}:0", 2 - number % 2);
            let socket = std::net::UdpSocket::bind(address).unwrap();
            client.endpoint.rebind(socket).unwrap();
            go_on.notify_one();
            assert_eq!(answer(&mut stream).await.body.len(), 300_000, "{workers} workers");
            let told = client.get("/").await;
            assert_eq!((told.status(), told.header("x-told")), (200, Some("127.0.0.1")));
        }
        assert_eq!(
            served.proxy.handle.totals().connections_opened,
            1,
            "{workers} workers"
        );
    }
}

#[tokio::test]
async fn all_workers_serve() {
    let echo = Echo::http1("one").await;
    let served = serve(all_to(backend("one", &[echo.address])), 4);
    let mut clients = JoinSet::new();
    for _ in 0..24 {
        let mut client = served.client().await;
        clients.spawn(async move {
            for _ in 0..5 {
                assert_eq!(client.get("/").await.status(), 200);
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!(served.proxy.handle.totals().connections_opened, 24);
}

#[tokio::test]
async fn streams_and_connections_are_bounded() {
    let (echo, go_on, mut told) = when_told().await;
    let settings = Settings {
        limits: Limits {
            connections: 1,
            streams: 2,
            ..Limits::default()
        },
        ..Settings::default()
    };
    let served = serve_with(all_to(backend("one", &[echo.address])), 1, settings);
    let mut client = served.client().await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = client.begin(get(HOST, "/slow")).await;
        stream.finish().await.unwrap();
        soon("the request", told.recv()).await;
        streams.push(stream);
    }
    let third = tokio::time::timeout(
        Duration::from_millis(200),
        client.sender.send_request(get(HOST, "/")),
    );
    assert!(third.await.is_err(), "a third stream was opened");
    assert!(
        Client::to(served.proxy.https, HOST, &served.trusted)
            .await
            .is_err()
    );
    for stream in &mut streams {
        go_on.notify_one();
        assert_eq!(answer(stream).await.status(), 200);
    }
    assert_eq!(client.get("/").await.status(), 200);
    client.quic.close(0_u32.into(), b"");
    until("the end of the connection", || {
        served.proxy.handle.totals().connections_open == 0
    })
    .await;
    assert!(
        Client::to(served.proxy.https, HOST, &served.trusted)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_connection_without_requests_is_ended() {
    let echo = Echo::http1("one").await;
    let settings = Settings {
        timeouts: Timeouts {
            head: Duration::from_millis(200),
            ..Timeouts::default()
        },
        ..Settings::default()
    };
    let served = serve_with(all_to(backend("one", &[echo.address])), 1, settings);
    let mut client = served.client().await;
    assert_eq!(client.get("/").await.status(), 200);
    client.closed().await;
    // Nor does it last that a stream begins and says nothing.
    let client = served.client().await;
    let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
    send.write_all(&[1]).await.unwrap();
    assert!(soon("the end of the stream", recv.read(&mut [0])).await.is_err());
}

/// One of the processes that take each other's place.
struct Process {
    handle: Handle,
    successors: Successors,
}

/// What all of them serve, and how they find each other.
#[derive(Clone)]
struct World {
    balancer: LoadBalancer,
    keys: KeyPairs,
    path: PathBuf,
}

impl World {
    fn start(&self, workers: usize, at: Option<SocketAddr>) -> Process {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = ServerConfig {
            https: Some(at.unwrap_or(any)),
            workers: workers.try_into().unwrap(),
            ..ServerConfig::default()
        };
        let (server, before) = match take_over(&self.path).unwrap() {
            Some((sockets, before)) => (Server::bind_to(&config, sockets).unwrap(), Some(before)),
            None => (Server::bind(&config).unwrap(), None),
        };
        let sockets = server.sockets().unwrap();
        let (state, _) =
            ServingState::build(self.balancer.clone(), &self.keys, None, server.served_ports()).unwrap();
        let handle = server.start(state).unwrap();
        let mut successors = Successors::listen(&self.path, sockets).unwrap();
        if let Some(before) = before {
            before.release(|| {}).unwrap();
        }
        successors.open().unwrap();
        Process { handle, successors }
    }
}

/// Sockets in one message.
const AT_ONCE: usize = 64;

fn message(from: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut text = vec![0; 4096];
    let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(&mut text)];
    let count = recvmsg(from, slices, &mut control, RecvFlags::empty())
        .unwrap()
        .bytes;
    let mut sockets = Vec::new();
    for more in control.drain() {
        if let RecvAncillaryMessage::ScmRights(more) = more {
            sockets.extend(more);
        }
    }
    text.truncate(count);
    (text, sockets)
}

fn pass_on(to: &UnixStream, text: &[u8], sockets: &[OwnedFd]) {
    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [const { MaybeUninit::uninit() }; cmsg_space!(ScmRights(AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&sockets));
    }
    let sent = sendmsg(to, &[IoSlice::new(text)], &mut control, SendFlags::empty());
    assert_eq!(sent.unwrap(), text.len());
}

impl World {
    /// From here on whoever is to take a place asks the process that has it by a way that leaves out what it tells of those
    /// before it, as versions did that knew of none.
    fn leave_out_the_others(&mut self) -> std::thread::JoinHandle<()> {
        let older = self.path.clone();
        self.path.set_extension("next");
        let listener = UnixListener::bind(&self.path).unwrap();
        std::thread::spawn(move || {
            let (newer, _) = listener.accept().unwrap();
            let older = UnixStream::connect(older).unwrap();
            let has_accepted = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // That it serves, and that it takes the place.
                    for _ in 0..2 {
                        let mut said = [0];
                        (&newer).read_exact(&mut said).unwrap();
                        has_accepted.store(true, Ordering::SeqCst);
                        (&older).write_all(&said).unwrap();
                    }
                });
                loop {
                    let (text, sockets) = message(&older);
                    match text.is_empty() {
                        true => break,
                        false if has_accepted.load(Ordering::SeqCst) && !sockets.is_empty() => {}
                        false => pass_on(&newer, &text, &sockets),
                    }
                }
            });
        })
    }
}

/// One process after the other, each with connections of its own, of which the second may be older.
async fn take_places(workers: [usize; 3], has_older: bool) {
    let (echo, go_on, mut told) = when_told().await;
    let ((secret, pem), trusted) = key_pair("web", &[HOST]);
    let folder = tempfile::tempdir().unwrap();
    let mut world = World {
        balancer: over_quic(all_to(backend("one", &[echo.address]))),
        keys: [(secret, pem)].into(),
        path: folder.path().join("proxy.sock"),
    };
    let mut process = world.start(2, None);
    let address = process.handle.https_addr().unwrap();
    let mut drains = JoinSet::new();
    let mut clients = Vec::new();
    for (number, workers) in workers.into_iter().enumerate() {
        for _ in 0..3 {
            let mut client = Client::to(address, HOST, &trusted).await.unwrap();
            let mut stream = client.begin(get(HOST, "/slow")).await;
            stream.finish().await.unwrap();
            soon("the request", told.recv()).await;
            clients.push((client, stream));
        }
        assert_eq!(process.handle.totals().connections_opened, 3);
        let between = (has_older && number == 1).then(|| world.leave_out_the_others());
        let newer = world.clone();
        let newer = tokio::task::spawn_blocking(move || newer.start(workers, Some(address)));
        drop(soon("a successor", process.successors.come()).await);
        let newer = newer.await.unwrap();
        if let Some(between) = between {
            between.join().unwrap();
        }
        drains.spawn(
            std::mem::replace(&mut process, newer)
                .handle
                .drain(Duration::from_secs(60)),
        );
    }
    // Those of all processes go on, wherever their datagrams come from.
    for (client, stream) in &mut clients {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.endpoint.rebind(socket).unwrap();
        go_on.notify_one();
        assert_eq!(answer(stream).await.body.len(), 300_000);
    }
    for _ in 0..3 {
        let drained = soon("the drain", drains.join_next()).await.unwrap().unwrap();
        assert_eq!(drained.unwrap(), Drained::Finished);
    }
}

#[tokio::test]
async fn a_process_whose_place_is_taken_finishes_its_connections() {
    // With more workers than sockets, and with fewer.
    take_places([3, 1, 2], false).await;
}

/// What is for those before it goes through it, as long as it lives.
#[tokio::test]
async fn a_process_of_an_older_version_in_between_loses_no_connection() {
    take_places([1, 2, 1], true).await;
}
