//! Several processes that take each other's place in, connections of HTTP/3 of the first that go on out.

use std::fs;
use std::net::SocketAddr;

use h3::client::{self, RequestStream};
use hyper::Request;
use hyper::body::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::quic::{self, Client, HOST};
use super::{ANY, Addresses, FOLDER, PATIENCE, Serving};

/// More than a sender sends of before it hears that some has come.
const LENGTH: usize = 1_000_000;

/// Answers once it is told to, and tells of each that asks.
async fn when_told() -> (
    SocketAddr,
    watch::Sender<bool>,
    mpsc::UnboundedReceiver<()>,
    JoinSet<()>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    let (go_on, gate) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (tell, mut gate) = (tell.clone(), gate.clone());
            open.spawn(async move {
                let mut head = [0; 4096];
                if stream.read(&mut head).await.is_ok_and(|count| count > 0) {
                    tell.send(()).unwrap();
                    gate.wait_for(|goes_on| *goes_on).await.unwrap();
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
                    // A process that was killed takes nothing more.
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(&vec![b'x'; LENGTH]).await;
                }
            });
        }
    });
    (address, go_on, told, tasks)
}

/// A request under way, with what keeps its connection.
struct Asked {
    stream: RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>,
    _sender: client::SendRequest<h3_quinn::OpenStreams, Bytes>,
    _driver: JoinSet<()>,
}

impl Asked {
    async fn by(client: &Client, https: SocketAddr) -> Self {
        let quic = client.endpoint().connect(https, HOST).unwrap().await.unwrap();
        let (mut driver, mut sender) = client::new(h3_quinn::Connection::new(quic)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _end = std::future::poll_fn(|cx| driver.poll_close(cx)).await;
        });
        let request = Request::get(format!("https://{HOST}/slow"));
        let mut stream = sender.send_request(request.body(()).unwrap()).await.unwrap();
        stream.finish().await.unwrap();
        Self {
            stream,
            _sender: sender,
            _driver: tasks,
        }
    }

    async fn length(mut self) -> usize {
        assert_eq!(self.stream.recv_response().await.unwrap().status(), 200);
        let mut length = 0;
        while let Some(data) = self.stream.recv_data().await.unwrap() {
            length += data.remaining();
        }
        length
    }
}

/// Whether those in the middle end because nothing is left for them to do, or are killed.
#[tokio::test]
async fn connections_of_the_oldest_of_many_processes_go_on() {
    let (backend, go_on, mut told, _backend) = when_told().await;
    let folder = tempfile::tempdir().unwrap();
    let (ingress, client) = quic::ingress();
    let text = FOLDER.replace("PORT", &backend.port().to_string());
    fs::write(folder.path().join("web.yaml"), text + &ingress).unwrap();
    let beside = tempfile::tempdir().unwrap();
    let socket = beside.path().join("portcullis.sock");
    let start = async |at: Addresses| {
        let (folder, socket) = (folder.path().to_owned(), socket.clone());
        let next = tokio::task::spawn_blocking(move || Serving::start(&folder, &socket, at, "2", "own"));
        next.await.unwrap()
    };
    let mut within = async || {
        let told = tokio::time::timeout(PATIENCE, told.recv());
        told.await.unwrap().unwrap();
    };

    let mut oldest = start(ANY).await;
    let at = oldest.at;
    let first = Asked::by(&client, at.https).await;
    within().await;
    // One that ends of itself, one that is killed while it has a request, and one more that ends.
    let mut idle = start(at).await;
    let mut killed = start(at).await;
    idle.ended().await;
    let lost = Asked::by(&client, at.https).await;
    within().await;
    let mut last_but_one = start(at).await;
    killed.process.kill().unwrap();
    killed.process.wait().unwrap();
    drop(lost);
    let newest = start(at).await;
    last_but_one.ended().await;
    assert!(oldest.process.try_wait().unwrap().is_none(), "it has a request");

    let newer = Asked::by(&client, at.https).await;
    within().await;
    go_on.send_replace(true);
    for (whose, asked) in [("the newest", newer), ("the oldest", first)] {
        let length = tokio::time::timeout(PATIENCE, asked.length()).await;
        assert_eq!(length.ok(), Some(LENGTH), "{whose}");
    }
    oldest.ended().await;
    drop(newest);
}
