//! Addresses of a proxy in, what it answers to real requests out.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    /// Field `backend` of an example backend's answer.
    pub(super) backend: Option<String>,
}

/// Asks a proxy on its two sockets.
pub(super) struct Client {
    http: SocketAddr,
    https: SocketAddr,
    tls: TlsConnector,
}

impl Client {
    /// Trusts this certificate and no other.
    pub(super) fn new(http: SocketAddr, https: SocketAddr, certificate_pem: &str) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .context("read the example's certificate")?;
        roots
            .add(certificate)
            .context("trust the example's certificate")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            http,
            https,
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    pub(super) async fn get(&self, scheme: Scheme, host: &str, path: &str) -> anyhow::Result<Answer> {
        match scheme {
            Scheme::Http => {
                let stream = TcpStream::connect(self.http)
                    .await
                    .context("connect to the proxy")?;
                exchange(stream, &authority(host, self.http, 80), path).await
            }
            Scheme::Https => {
                let stream = TcpStream::connect(self.https)
                    .await
                    .context("connect to the proxy")?;
                let name = ServerName::try_from(host.to_owned()).context("name the server")?;
                let stream = self
                    .tls
                    .connect(name, stream)
                    .await
                    .context("shake hands with the proxy")?;
                exchange(stream, &authority(host, self.https, 443), path).await
            }
        }
    }
}

fn authority(host: &str, served: SocketAddr, standard: u16) -> String {
    if served.port() == standard {
        host.to_owned()
    } else {
        format!("{host}:{}", served.port())
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
) -> anyhow::Result<Answer> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .context("speak HTTP to the proxy")?;
    let request = Request::get(path)
        .header("host", host)
        .body(Empty::<Bytes>::new())
        .context("write the request")?;
    let exchange = async move {
        let response = sender.send_request(request).await.context("send the request")?;
        read(response).await
    };
    // The connection does its work only while it is polled, and ends once the sender is dropped.
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

async fn read(response: Response<hyper::body::Incoming>) -> anyhow::Result<Answer> {
    let status = response.status().as_u16();
    let location = response
        .headers()
        .get("location")
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let body = response
        .into_body()
        .collect()
        .await
        .context("read the answer")?
        .to_bytes();
    let backend = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|value| value.get("backend")?.as_str().map(str::to_owned));
    Ok(Answer {
        status,
        location,
        backend,
    })
}
