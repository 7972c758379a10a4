//! Requests in, responses out, over connections that tests control.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("{what}: nothing happened in {PATIENCE:?}"))
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

pub(crate) struct Answer {
    pub(crate) response: Response<()>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).map(|v| v.to_str().unwrap())
    }

    /// What the echoing backend saw of a field.
    pub(crate) fn seen(&self, name: &str) -> Vec<&str> {
        let head = self.body.split("\n\n").next().unwrap_or_default();
        let prefix = format!("{name}: ");
        head.lines()
            .filter_map(|line| line.strip_prefix(prefix.as_str()))
            .collect()
    }
}

pub(crate) type Sent = Full<Bytes>;

/// A connection of HTTP/2 for requests with bodies of any kind; one of the tasks drives it.
pub(crate) async fn http2_over<B>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    tasks: &mut JoinSet<()>,
) -> http2::SendRequest<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .unwrap();
    tasks.spawn(async move {
        let _ = connection.await;
    });
    sender
}

/// A connection that speaks HTTP/1.1 or HTTP/2.
pub(crate) struct Client {
    sender: Sender,
    tasks: JoinSet<()>,
}

enum Sender {
    Http1(http1::SendRequest<Sent>),
    Http2(http2::SendRequest<Sent>),
}

impl Client {
    pub(crate) async fn http1(address: SocketAddr) -> Self {
        Self::http1_over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn http1_over(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self {
            sender: Sender::Http1(sender),
            tasks,
        }
    }

    pub(crate) async fn http2(address: SocketAddr) -> Self {
        Self::http2_over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn http2_over(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let mut tasks = JoinSet::new();
        Self {
            sender: Sender::Http2(http2_over(io, &mut tasks).await),
            tasks,
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Sent>) -> hyper::Result<Answer> {
        soon("an answer", async {
            let response = match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => sender.send_request(request).await?,
            };
            let (parts, body) = response.into_parts();
            let body = body.collect().await?;
            Ok(Answer {
                response: Response::from_parts(parts, ()),
                body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            })
        })
        .await
    }

    /// Waits for the other side to close the connection.
    pub(crate) async fn closed(mut self) {
        soon("the end of a connection", self.tasks.join_next()).await;
    }
}

pub(crate) fn get(host: &str, path: &str) -> Request<Sent> {
    Request::get(path)
        .header("host", host)
        .body(Sent::default())
        .unwrap()
}

/// One GET over HTTP/1.1 on a connection of its own.
pub(crate) async fn get_once(address: SocketAddr, host: &str, path: &str) -> Answer {
    Client::http1(address).await.send(get(host, path)).await.unwrap()
}

/// Sends bytes as they are and reads all until the other side closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A refusal may close the connection before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    soon("the end of a connection", async {
        let mut piece = [0; 4096];
        while let Ok(count) = stream.read(&mut piece).await
            && count > 0
        {
            answer.extend_from_slice(&piece[..count]);
        }
    })
    .await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A TLS connection that trusts the given certificates.
pub(crate) async fn tls(
    address: SocketAddr,
    name: &str,
    trusted: &[CertificateDer<'static>],
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    tls_over(TcpStream::connect(address).await?, name, trusted, alpn).await
}

/// The same over a connection that is open.
pub(crate) async fn tls_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
    trusted: &[CertificateDer<'static>],
    alpn: &[&str],
) -> std::io::Result<TlsStream<S>> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).unwrap();
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let name = name.to_owned().try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Reads until a text has come, and returns all up to its end.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut read = Vec::new();
    soon(text, async {
        while !read.ends_with(text.as_bytes()) {
            let byte = stream.read_u8().await;
            let byte = byte.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&read)));
            read.push(byte);
        }
    })
    .await;
    String::from_utf8(read).unwrap()
}
