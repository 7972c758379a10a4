//! A name in, a real HTTP server on loopback that tells what it was asked out.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A backend. It ends when dropped.
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    /// Connections it has accepted.
    pub(crate) connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

/// What to do with an accepted connection.
pub(crate) trait Serve:
    Fn(TcpStream) -> futures::future::BoxFuture<'static, ()> + Send + Sync + 'static
{
}
impl<F: Fn(TcpStream) -> futures::future::BoxFuture<'static, ()> + Send + Sync + 'static> Serve for F {}

/// Serves one connection, over HTTP/2 or HTTP/1.1.
pub(crate) async fn converse<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    service: S,
) where
    S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error: Into<Box<dyn Error + Send + Sync>>,
            Future: Send + 'static,
        >,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let io = TokioIo::new(stream);
    match is_http2 {
        true => {
            let builder = http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(io, service).await;
        }
        false => {
            let _ = http1::Builder::new().serve_connection(io, service).await;
        }
    }
}

/// Of a certificate that nobody verifies.
pub(crate) fn acceptor(is_http2: bool) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec!["nobody.invalid".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let mut config = config
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![if is_http2 {
        b"h2".to_vec()
    } else {
        b"http/1.1".to_vec()
    }];
    TlsAcceptor::from(Arc::new(config))
}

impl Echo {
    /// Runs any server.
    pub(crate) async fn running(serve: impl Serve) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                open.spawn(serve(stream));
            }
        });
        Self {
            address,
            connections,
            _tasks: tasks,
        }
    }

    /// Speaks HTTP/1.1 and answers so.
    pub(crate) async fn answering<F, B, E>(
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        Self::speaking(false, answer).await
    }

    /// The same, or with prior knowledge of HTTP/2.
    pub(crate) async fn speaking<F, B, E>(
        is_http2: bool,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Response<B>, E>> + Send + 'static,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        Self::running(move |stream| Box::pin(converse(stream, is_http2, service_fn(answer.clone())))).await
    }

    /// Speaks HTTP/1.1 and tells what it was asked.
    pub(crate) async fn http1(name: &'static str) -> Self {
        Self::answering(move |request| echo(name, request)).await
    }

    /// The same with prior knowledge of HTTP/2.
    pub(crate) async fn http2(name: &'static str) -> Self {
        Self::speaking(true, move |request| echo(name, request)).await
    }
}

/// Name, request line, sorted fields, an empty line, and the body, as text. Trailers come after the body.
pub(crate) async fn echo(
    name: &'static str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut fields: Vec<String> = parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    fields.sort();
    let Ok(body) = body.collect().await else {
        return Ok(Response::builder().status(400).body(Full::default()).unwrap());
    };
    let trailers: Vec<String> = body
        .trailers()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("trailer {name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let text = format!(
        "{name}\n{} {} {:?}\n{}\n\n{}{}",
        parts.method,
        parts.uri,
        parts.version,
        fields.join("\n"),
        String::from_utf8_lossy(&body.to_bytes()),
        trailers.concat(),
    );
    let response = Response::builder()
        .header("x-backend", name)
        .header("connection", "x-private")
        .header("x-private", "hop")
        .header("keep-alive", "timeout=5");
    Ok(response.body(Full::from(text)).unwrap())
}
