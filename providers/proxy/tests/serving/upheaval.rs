//! A thousand changes of everything that can change in, while clients of every kind are at it; nobody the worse for it out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_model::{Listener, LoadBalancer, Port, Protocol};
use portcullis_proxy::{Handle, ServedPorts, ServingState, Settings};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, all_to, backend, rule, serve_with, to, with_certificates};
use crate::client::{Client, get, read_until, soon, tls, until};
use crate::echo::Echo;
use crate::secure::key_pair;

const HOST: &str = "a.example.com";
const CHANGES: usize = 1_000;

/// Longer than anybody takes.
const LENGTH: u64 = 1 << 50;

/// Answers with numbers, one a piece and one after the other, until it is told to end, or for `LENGTH`; or, asked to change
/// protocol, sends every byte back.
async fn endless(done: watch::Receiver<bool>) -> Echo {
    Echo::running(move |mut stream| {
        let done = done.clone();
        Box::pin(async move {
            let mut first = [0; 7];
            stream.peek(&mut first).await.unwrap();
            if first.starts_with(b"GET /ws") {
                read_until(&mut stream, "\r\n\r\n").await;
                let head =
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(head).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                return;
            }
            if first.starts_with(b"GET /lo") {
                read_until(&mut stream, "\r\n\r\n").await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                let mut number = 0_u64;
                while stream.write_all(&number.to_be_bytes().repeat(128)).await.is_ok() {
                    number += 1;
                }
                return;
            }
            let service = service_fn(move |_| {
                let done = done.clone();
                let numbers = futures::stream::unfold((0_u64, done), |(number, done)| async move {
                    if *done.borrow() {
                        return None;
                    }
                    // Now a megabyte at once, now a piece and a pause: both are in the middle of something at any time.
                    if number.is_multiple_of(1000) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    let piece = Frame::data(Bytes::from(number.to_be_bytes().repeat(128)));
                    Some((Ok::<_, Infallible>(piece), (number + 1, done)))
                });
                async move { Ok::<_, Infallible>(Response::new(StreamBody::new(numbers.boxed()))) }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        })
    })
    .await
}

/// Where clients are, what they count, and when they stop.
#[derive(Clone)]
struct Load {
    http: SocketAddr,
    https: SocketAddr,
    certificates: Arc<[CertificateDer<'static>]>,
    answered: Arc<AtomicUsize>,
    done: watch::Receiver<bool>,
}

impl Load {
    fn goes_on(&self) -> bool {
        !*self.done.borrow()
    }

    fn count(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests one after the other on one connection, which must not end.
    async fn ask(self, mut client: Client, scheme: Option<&str>) {
        while self.goes_on() {
            let request = match scheme {
                None => get(HOST, "/x"),
                Some(scheme) => Request::get(format!("{scheme}://{HOST}/x"))
                    .body(Default::default())
                    .unwrap(),
            };
            let answer = client.send(request).await.unwrap();
            assert_eq!(
                (answer.status(), answer.header("connection")),
                (200, None),
                "{}",
                answer.body
            );
            self.count();
        }
    }

    /// A connection for each request.
    async fn come_and_go(self) {
        while self.goes_on() {
            let stream = tls(self.https, HOST, &self.certificates, &["http/1.1"])
                .await
                .unwrap();
            let answer = Client::http1_over(stream)
                .await
                .send(get(HOST, "/x"))
                .await
                .unwrap();
            assert_eq!(answer.status(), 200, "{}", answer.body);
            let answer = Client::http1(self.http)
                .await
                .send(get(HOST, "/x"))
                .await
                .unwrap();
            assert_eq!(answer.status(), 200, "{}", answer.body);
            self.count();
        }
    }

    /// Takes a body without end, and looks at every piece.
    async fn download(self) {
        let stream = TcpStream::connect(self.http).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let request = Request::get(format!("http://{HOST}/endless"))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let mut body = sender.send_request(request).await.unwrap().into_body();
        let (mut at, mut rest) = (0_u64, Vec::new());
        while let Some(frame) = soon("a piece", body.frame()).await {
            rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
            let whole = rest.len() / 1024 * 1024;
            for piece in rest[..whole].chunks_exact(8) {
                assert_eq!(piece, (at / 128).to_be_bytes(), "piece {at}");
                at += 1;
            }
            rest.drain(..whole);
            self.count();
        }
        assert!(
            !self.goes_on() && rest.is_empty() && at > 0,
            "the download ended at {at}"
        );
    }

    /// The same over HTTP/1.1, of a length that is known, which goes from socket to socket.
    async fn take(self) {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        let head = format!("GET /long HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let mut piece = vec![0; 64 * 1024];
        let mut number = 0_u64;
        while self.goes_on() {
            soon("a piece", stream.read_exact(&mut piece)).await.unwrap();
            for part in piece.chunks_exact(1024) {
                assert_eq!(part, number.to_be_bytes().repeat(128), "part {number}");
                number += 1;
            }
            self.count();
        }
    }

    async fn talk(self) {
        let stream = TcpStream::connect(self.http).await.unwrap();
        self.talk_over(stream).await;
    }

    async fn talk_over_tls(self) {
        let stream = tls(self.https, HOST, &self.certificates, &["http/1.1"]);
        let stream = stream.await.unwrap();
        self.talk_over(stream).await;
    }

    /// One tunnel, from the first change to the last.
    async fn talk_over(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let head =
            format!("GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let mut number = 0_u64;
        while self.goes_on() {
            stream.write_all(&number.to_be_bytes()).await.unwrap();
            assert_eq!(soon("an echo", stream.read_u64()).await.unwrap(), number);
            number += 1;
            self.count();
        }
    }
}

/// The load balancer after so many changes: each time other routes, targets, certificates and listeners.
fn changed(number: usize, echoes: &[SocketAddr; 3], endless: SocketAddr, secrets: [&str; 2]) -> LoadBalancer {
    // The targets of the moment; those of before finish what they have.
    let targets = match number % 4 {
        0 => &echoes[..1],
        1 => &echoes[..2],
        2 => &echoes[1..2],
        _ => &echoes[1..],
    };
    let mut balancer = all_to(backend("b", targets));
    // Whoever downloads or talks does so with a target that is no longer there.
    if number == 0 {
        for path in ["/endless", "/long", "/ws"] {
            balancer.rules.insert(0, rule(HOST, path, to("endless")));
        }
        let endless = backend("endless", &[endless]);
        balancer.backends.insert(endless.id.clone(), endless.into());
    }
    for host in 0..number % 50 {
        balancer
            .rules
            .insert(0, rule(&format!("h{host}.example.com"), "/", to("b")));
    }
    balancer = with_certificates(balancer, &[(secrets[number / 2 % 2], &[HOST])]);
    if number % 3 == 1 {
        let port = Port::new(8080).unwrap();
        let like = &balancer.listeners[&Port::HTTP];
        let listener = Listener {
            port,
            protocol: Protocol::Http,
            ..like.clone()
        };
        balancer.listeners.insert(port, listener);
    }
    balancer
}

fn change(handle: &Handle, balancer: &LoadBalancer, keys: &KeyPairs) {
    let before = handle.state();
    let (state, problems) =
        ServingState::build(balancer.clone(), keys, Some(&before), ServedPorts::default()).unwrap();
    assert_eq!(problems, []);
    handle.swap(state);
}

#[tokio::test]
async fn no_client_notices_a_change_of_anything() {
    let (finish, done) = watch::channel(false);
    let echoes = [
        Echo::http1("one").await,
        Echo::http1("two").await,
        Echo::http1("three").await,
    ];
    let addresses = [echoes[0].address, echoes[1].address, echoes[2].address];
    let endless = endless(done.clone()).await;
    let ((old, old_key), old_certificate) = key_pair("old", &[HOST]);
    let ((new, new_key), new_certificate) = key_pair("new", &[HOST]);
    let keys = KeyPairs::from([(old, old_key), (new, new_key)]);
    let balancer = |number| changed(number, &addresses, endless.address, ["old", "new"]);

    let proxy = serve_with(&balancer(0), &keys, Settings::default(), 2);
    let load = Load {
        http: proxy.http,
        https: proxy.https,
        certificates: [old_certificate, new_certificate].into(),
        answered: Arc::default(),
        done,
    };
    let mut clients = JoinSet::new();
    for _ in 0..2 {
        let secure = |alpn| tls(load.https, HOST, &load.certificates, alpn);
        clients.spawn(load.clone().ask(Client::http1(load.http).await, None));
        clients.spawn(load.clone().ask(
            Client::http1_over(secure(&["http/1.1"]).await.unwrap()).await,
            None,
        ));
        clients.spawn(load.clone().ask(Client::http2(load.http).await, Some("http")));
        clients.spawn(load.clone().ask(
            Client::http2_over(secure(&["h2"]).await.unwrap()).await,
            Some("https"),
        ));
        clients.spawn(load.clone().come_and_go());
        clients.spawn(load.clone().download());
        clients.spawn(load.clone().take());
        clients.spawn(load.clone().talk());
        clients.spawn(load.clone().talk_over_tls());
    }
    // All are at it before the first change takes the target of downloads and tunnels away.
    let (all, at_work) = (clients.len(), || load.answered.load(Ordering::Relaxed));
    soon("all clients at work", async {
        while at_work() < all * 50 || endless.connections.load(Ordering::SeqCst) < 8 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    for number in 1..=CHANGES {
        let before = at_work();
        change(&proxy.handle, &balancer(number), &keys);
        tokio::select! {
            () = until("clients go on", || at_work() > before + 20) => {}
            ended = clients.join_next() => panic!("a client failed: {ended:?}"),
        }
    }
    finish.send_replace(true);
    while let Some(ended) = soon("the clients' end", clients.join_next()).await {
        ended.unwrap();
    }
    let totals = proxy.handle.totals();
    assert_eq!((totals.panics, totals.unreached), (0, 0), "{totals:?}");
}
