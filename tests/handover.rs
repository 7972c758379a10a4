//! Processes that take each other's place in, clients of all kinds meanwhile; none of them the worse for it out.

#![expect(clippy::unwrap_used, reason = "all of it is a test: a panic is the report")]

use std::error::Error as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

#[path = "handover/asking.rs"]
mod asking;
#[cfg(feature = "http3")]
#[path = "handover/chain.rs"]
mod chain;
#[cfg(target_os = "linux")]
#[path = "handover/ending.rs"]
mod ending;
#[cfg(feature = "http3")]
#[path = "handover/quic.rs"]
mod quic;

const PATIENCE: Duration = Duration::from_secs(60);

/// An Ingress that answers by itself, and one with a backend on this machine.
const FOLDER: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations:
    alb.ingress.kubernetes.io/actions.first: >
      {"type": "fixed-response", "fixedResponseConfig": {"statusCode": "200", "messageBody": "first"}}
spec:
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: first, port: {name: use-annotation}}}}
          - {path: /slow, pathType: Prefix, backend: {service: {name: slow, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: slow, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: slow, namespace: shop, labels: {kubernetes.io/service-name: slow}}
addressType: IPv4
ports: [{port: PORT}]
endpoints: [{addresses: ["127.0.0.1"], conditions: {ready: true}}]
"#;

/// `portcullis serve` that waits for a successor; killed when dropped.
struct Serving {
    process: Child,
    at: Addresses,
}

/// Where clients reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Addresses {
    http: SocketAddr,
    https: SocketAddr,
    /// Of the listener at 8081 alone, if it has a socket.
    further: Option<SocketAddr>,
}

/// Of whichever are free.
const ANY: Addresses = {
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    Addresses {
        http: any,
        https: any,
        further: None,
    }
};

impl Serving {
    fn start(folder: &Path, socket: &Path, at: Addresses, workers: &str, engine: &str) -> Self {
        let process = Self::spawn(folder, socket, at, workers, engine);
        Self::ready(process).unwrap_or_else(|told| panic!("{told}"))
    }

    fn spawn(folder: &Path, socket: &Path, at: Addresses, workers: &str, engine: &str) -> Child {
        Self::spawn_with(folder, socket, at, workers, engine, ANY.http)
    }

    fn spawn_with(
        folder: &Path,
        socket: &Path,
        at: Addresses,
        workers: &str,
        engine: &str,
        admin: SocketAddr,
    ) -> Child {
        Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["serve", "--admin", &admin.to_string()])
            .args(["--workers", workers, "--http1-engine", engine])
            .args(["--http", &at.http.to_string(), "--https", &at.https.to_string()])
            .args(at.further.map(|at| format!("--also-http=8081={at}")))
            .arg("--manifests")
            .arg(folder)
            .arg("--hand-over")
            .arg(socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// What it says where it does not come to serve.
    fn ready(mut process: Child) -> Result<Self, String> {
        let mut ready = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut ready).unwrap();
        let mut words = ready.split_whitespace();
        let mut address = |place| words.nth(place).and_then(|at| at.parse().ok());
        let at = address(2).zip(address(1));
        let Some((http, https)) = at else {
            let told = logged(&mut process);
            // It has ended; nobody waits for it else.
            process.wait().unwrap();
            return Err(format!("{ready:?}: {told}"));
        };
        let further = words.find_map(|word| word.strip_prefix("8081=")?.parse().ok());
        let at = Addresses { http, https, further };
        Ok(Self { process, at })
    }

    #[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
    async fn ended(&mut self) {
        let start = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "the process before does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = self.process.wait().unwrap();
        let logged = logged(&mut self.process);
        assert_eq!(status.code(), Some(0), "{logged}");
        assert!(!logged.contains("they have been cut"), "{logged}");
    }
}

fn logged(process: &mut Child) -> String {
    let mut text = String::new();
    process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers with two hundred bytes, ten at a time and with pauses.
async fn slow() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            open.spawn(async move {
                let mut head = [0; 4096];
                while stream.read(&mut head).await.is_ok_and(|count| count > 0) {
                    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n";
                    stream.write_all(head).await.unwrap();
                    for _ in 0..20 {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        stream.write_all(b"0123456789").await.unwrap();
                    }
                }
            });
        }
    });
    (address, tasks)
}

#[derive(Clone)]
struct Load {
    http: SocketAddr,
    answered: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://shop.example{path}")).header("host", "shop.example");
    request.body(Empty::new()).unwrap()
}

/// Whether a GOAWAY says that nothing was done of a request: what was done of others is answered before. Source: RFC 9113 §6.8.
fn is_left_alone(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|error| error.downcast_ref::<h2::Error>());
    error.is_some_and(|error| error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR))
}

impl Load {
    fn new(http: SocketAddr) -> Self {
        Self {
            http,
            answered: Arc::default(),
            done: Arc::default(),
        }
    }

    fn goes_on(&self) -> bool {
        !self.done.load(Ordering::Relaxed)
    }

    async fn whole(&self, response: Response<hyper::body::Incoming>, want: usize) {
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), want);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps its connection until it is told that it ends, or one for each request.
    async fn http1(self, path: &'static str, want: usize, keeps: bool) {
        while self.goes_on() {
            let stream = TcpStream::connect(self.http).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            let mut tasks = JoinSet::new();
            tasks.spawn(connection);
            while self.goes_on() {
                sender.ready().await.unwrap();
                let response = sender.send_request(get(path)).await.unwrap();
                let closes = response
                    .headers()
                    .get("connection")
                    .is_some_and(|value| value == "close");
                self.whole(response, want).await;
                if closes || !keeps {
                    break;
                }
            }
        }
    }

    /// Keeps its connection until a GOAWAY; what was not done for it is asked for on the next one.
    async fn http2(self, path: &'static str, want: usize) {
        while self.goes_on() {
            let stream = TcpStream::connect(self.http).await.unwrap();
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.unwrap();
            let mut tasks = JoinSet::new();
            tasks.spawn(connection);
            while self.goes_on() && sender.ready().await.is_ok() {
                match sender.try_send_request(get(path)).await {
                    Ok(response) => self.whole(response, want).await,
                    Err(mut error) => {
                        let was_sent = error.take_message().is_none();
                        let error = error.into_error();
                        assert!(!was_sent || is_left_alone(&error), "a request failed: {error:?}");
                        break;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn no_request_fails_while_processes_take_each_other_s_place() {
    let (backend, _backend) = slow().await;
    let folder = tempfile::tempdir().unwrap();
    #[cfg_attr(not(feature = "http3"), expect(unused_mut, reason = "others add to it"))]
    let mut text = FOLDER.replace("PORT", &backend.port().to_string());
    #[cfg(feature = "http3")]
    let (ingress, over_quic) = quic::ingress();
    #[cfg(feature = "http3")]
    text.push_str(&ingress);
    fs::write(folder.path().join("web.yaml"), text).unwrap();
    let named = FOLDER
        .split("---")
        .next()
        .unwrap()
        .replace("name: web", "name: apart")
        .replace(
            "  annotations:\n",
            "  annotations:\n    alb.ingress.kubernetes.io/listen-ports: '[{\"HTTP\": 8081}]'\n",
        );
    fs::write(folder.path().join("apart.yaml"), named).unwrap();
    let beside = tempfile::tempdir().unwrap();
    let socket = beside.path().join("portcullis.sock");

    let any = Addresses {
        further: Some(ANY.http),
        ..ANY
    };
    let mut serving = Serving::start(folder.path(), &socket, any, "2", "own");
    let at = serving.at;
    let load = Load::new(at.http);
    let mut clients = JoinSet::new();
    for keeps in [true, true, false, false] {
        clients.spawn(load.clone().http1("/", 5, keeps));
        clients.spawn(load.clone().http1("/slow", 200, keeps));
    }
    for _ in 0..2 {
        clients.spawn(load.clone().http2("/", 5));
        clients.spawn(load.clone().http2("/slow", 200));
    }
    let apart = Load {
        http: at.further.unwrap(),
        ..load.clone()
    };
    for keeps in [true, false] {
        clients.spawn(apart.clone().http1("/", 5, keeps));
    }
    clients.spawn(apart.http2("/", 5));
    #[cfg(feature = "http3")]
    for keeps in [true, false] {
        for (path, want) in [("/", 5), ("/slow", 200)] {
            clients.spawn(over_quic.clone().run(load.clone(), at.https, path, want, keeps));
        }
    }
    // Fewer workers, and more, take all sockets over just as well.
    for (workers, engine) in [("2", "own"), ("1", "hyper"), ("3", "hyper"), ("2", "own")] {
        let before = load.answered.load(Ordering::Relaxed);
        while load.answered.load(Ordering::Relaxed) < before + 200 {
            assert!(clients.try_join_next().is_none(), "a client failed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let folder = folder.path().to_owned();
        let socket = socket.clone();
        let next = tokio::task::spawn_blocking(move || Serving::start(&folder, &socket, at, workers, engine));
        let next = next.await.unwrap();
        assert_eq!(next.at, at);
        serving.ended().await;
        serving = next;
    }
    load.done.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    // The last one is the only one, and closes the port when it ends.
    let pid = serving.process.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    serving.ended().await;
    assert!(TcpStream::connect(at.http).await.is_err());
}

/// A listener's own socket comes and goes with the flag, from one process to the next.
#[tokio::test]
async fn a_successor_may_have_further_sockets_that_the_process_before_has_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.yaml"), FOLDER.replace("PORT", "9")).unwrap();
    let beside = tempfile::tempdir().unwrap();
    let socket = beside.path().join("portcullis.sock");
    let mut at = ANY;
    let mut before: Option<Serving> = None;
    for further in [None, Some(ANY.http), None] {
        at.further = further;
        let (folder, socket) = (folder.path().to_owned(), socket.clone());
        let next = tokio::task::spawn_blocking(move || Serving::start(&folder, &socket, at, "2", "own"));
        let next = next.await.unwrap();
        assert_eq!(next.at.further.is_some(), further.is_some());
        let gone = before.as_ref().and_then(|before| before.at.further);
        if let Some(mut before) = before {
            assert_eq!((next.at.http, next.at.https), (at.http, at.https));
            before.ended().await;
        }
        if let Some(gone) = gone {
            assert!(
                TcpStream::connect(gone).await.is_err(),
                "nobody asks for it any more"
            );
        }
        for there in [Some(next.at.http), next.at.further].into_iter().flatten() {
            let stream = TcpStream::connect(there).await.unwrap();
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
            let mut tasks = JoinSet::new();
            tasks.spawn(connection);
            let response = sender.send_request(get("/")).await.unwrap();
            // Of the Ingress nothing stands at 8081 where that is a listener's own.
            let want = if there == next.at.http { 200 } else { 404 };
            assert_eq!(response.status(), want, "{there}");
        }
        (at.http, at.https) = (next.at.http, next.at.https);
        before = Some(next);
    }
}
