//! Requests in, responses out, over QUIC connections that tests control.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use h3::client::{self, RequestStream, SendRequest};
use http::HeaderMap;
use hyper::{Request, Response};
use portcullis_model::LoadBalancer;
use portcullis_proxy::{ServerConfig, Settings};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rustls::RootCertStore;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, Proxy, serve_as, with_certificates};
use crate::client::{Answer, soon};
use crate::secure::key_pair;

pub(crate) const HOST: &str = "a.example.com";

/// What is served over HTTP/3, too, with a certificate for `HOST` and others below it.
pub(crate) fn over_quic(balancer: LoadBalancer) -> LoadBalancer {
    let mut balancer = with_certificates(balancer, &[("web", &[HOST, "*.example.com"])]);
    balancer.options.http3 = true;
    balancer
}

/// A proxy that speaks it, and the certificate that clients trust.
pub(crate) struct Served {
    pub(crate) proxy: Proxy,
    pub(crate) keys: KeyPairs,
    pub(crate) trusted: CertificateDer<'static>,
}

pub(crate) fn serve(balancer: LoadBalancer, workers: usize) -> Served {
    serve_with(balancer, workers, Settings::default())
}

pub(crate) fn serve_with(balancer: LoadBalancer, workers: usize, settings: Settings) -> Served {
    let ((secret, pem), trusted) = key_pair("web", &[HOST, "*.example.com"]);
    let keys = KeyPairs::from([(secret, pem)]);
    let config = ServerConfig {
        workers: workers.try_into().unwrap(),
        settings,
        ..ServerConfig::default()
    };
    let proxy = serve_as(&over_quic(balancer), &keys, config);
    assert_eq!(proxy.problems, []);
    Served { proxy, keys, trusted }
}

impl Served {
    pub(crate) async fn client(&self) -> Client {
        Client::to(self.proxy.https, HOST, &self.trusted).await.unwrap()
    }
}

/// A connection of QUIC that speaks HTTP/3 as far as its tests do.
pub(crate) async fn connect(
    address: SocketAddr,
    name: &str,
    trusted: &CertificateDer<'static>,
    identity: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<(Endpoint, Connection), ConnectionError> {
    let endpoint = endpoint(trusted, identity);
    let connecting = endpoint.connect(address, name).unwrap();
    let connection = soon("a connection", connecting).await?;
    Ok((endpoint, connection))
}

/// Where clients connect from.
pub(crate) fn endpoint(
    trusted: &CertificateDer<'static>,
    identity: Option<Arc<dyn ResolvesClientCert>>,
) -> Endpoint {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => config.with_client_cert_resolver(identity),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h3".to_vec()];
    config.enable_early_data = true;
    let config = QuicClientConfig::try_from(config).unwrap();
    let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(config)));
    endpoint
}

pub(crate) type Stream = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

pub(crate) struct Client {
    pub(crate) endpoint: Endpoint,
    pub(crate) quic: Connection,
    pub(crate) sender: SendRequest<h3_quinn::OpenStreams, Bytes>,
    tasks: JoinSet<()>,
}

impl Client {
    pub(crate) async fn to(
        address: SocketAddr,
        name: &str,
        trusted: &CertificateDer<'static>,
    ) -> Result<Self, ConnectionError> {
        let (endpoint, quic) = connect(address, name, trusted, None).await?;
        Ok(Self::over(endpoint, quic).await)
    }

    pub(crate) async fn over(endpoint: Endpoint, quic: Connection) -> Self {
        let (mut driver, sender) = client::new(h3_quinn::Connection::new(quic.clone()))
            .await
            .unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = std::future::poll_fn(|cx| driver.poll_close(cx)).await;
        });
        Self {
            endpoint,
            quic,
            sender,
            tasks,
        }
    }

    /// Sends the head alone.
    pub(crate) async fn begin(&mut self, request: Request<()>) -> Stream {
        soon("a stream", self.sender.send_request(request)).await.unwrap()
    }

    pub(crate) async fn send(&mut self, request: Request<()>, body: impl Into<Bytes>) -> Answer {
        let mut stream = self.begin(request).await;
        let body: Bytes = body.into();
        if !body.is_empty() {
            stream.send_data(body).await.unwrap();
        }
        stream.finish().await.unwrap();
        answer(&mut stream).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(get(HOST, path), Bytes::new()).await
    }

    /// Waits for the connection to end.
    pub(crate) async fn closed(mut self) -> ConnectionError {
        drop(self.sender);
        let ended = soon("the end of a connection", self.quic.closed()).await;
        self.tasks.shutdown().await;
        ended
    }
}

pub(crate) fn get(host: &str, path: &str) -> Request<()> {
    Request::get(format!("https://{host}{path}")).body(()).unwrap()
}

pub(crate) fn post(path: &str) -> Request<()> {
    Request::post(format!("https://{HOST}{path}")).body(()).unwrap()
}

/// All of an answer.
pub(crate) async fn answer(stream: &mut Stream) -> Answer {
    whole(stream).await.unwrap().0
}

pub(crate) async fn whole(
    stream: &mut Stream,
) -> Result<(Answer, Option<HeaderMap>), h3::error::StreamError> {
    soon("an answer", async {
        let response: Response<()> = stream.recv_response().await?;
        let mut body = Vec::new();
        while let Some(mut data) = stream.recv_data().await? {
            body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        let trailers = stream.recv_trailers().await?;
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok((Answer { response, body }, trailers))
    })
    .await
}
