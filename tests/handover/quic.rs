//! An Ingress that HTTP/3 is asked for at, and clients that speak it while processes take each other's place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h3::client::{self, SendRequest};
use h3::error::{Code, StreamError};
use hyper::Request;
use hyper::body::{Buf, Bytes};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;

use super::Load;

pub(crate) const HOST: &str = "quic.example";

const INGRESS: &str = r#"
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: quic
  namespace: shop
  annotations:
    portcullis.dev/http3: "true"
    alb.ingress.kubernetes.io/actions.first: >
      {"type": "fixed-response", "fixedResponseConfig": {"statusCode": "200", "messageBody": "first"}}
spec:
  tls: [{hosts: [quic.example], secretName: tls}]
  rules:
    - host: quic.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: first, port: {name: use-annotation}}}}
          - {path: /slow, pathType: Prefix, backend: {service: {name: slow, port: {number: 80}}}}
"#;

/// The Ingress with its certificate, and who trusts that.
pub(crate) fn ingress() -> (String, Client) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let secret = format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: tls, namespace: shop}}\ntype: kubernetes.io/tls\ndata:\n  tls.crt: {}\n  tls.key: {}\n",
        STANDARD.encode(certificate.pem()),
        STANDARD.encode(key.serialize_pem())
    );
    let trusted = certificate.der().clone();
    (format!("{INGRESS}{secret}"), Client { trusted })
}

#[derive(Clone)]
pub(crate) struct Client {
    trusted: CertificateDer<'static>,
}

/// Told before it could ask, or in place of an answer: nothing was done of its request. All that had begun before is answered
/// before the connection ends so. Source: RFC 9114 §5.2.
fn may_ask_elsewhere(error: &StreamError) -> bool {
    let is_rejected =
        matches!(error, StreamError::RemoteTerminate { code, .. } if *code == Code::H3_REQUEST_REJECTED);
    is_rejected || matches!(error, StreamError::RemoteClosing { .. }) || error.is_h3_no_error()
}

impl Client {
    pub(crate) fn endpoint(&self) -> Endpoint {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let mut config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h3".to_vec()];
        let config = QuicClientConfig::try_from(config).unwrap();
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(config)));
        endpoint
    }

    /// Keeps its connection until a GOAWAY, or one for each request; none of them fails.
    pub(crate) async fn run(self, load: Load, https: SocketAddr, path: &str, want: usize, keeps: bool) {
        let endpoint = self.endpoint();
        while load.goes_on() {
            let quic = endpoint.connect(https, HOST).unwrap().await.unwrap();
            let (mut driver, mut sender) = client::new(h3_quinn::Connection::new(quic)).await.unwrap();
            let mut tasks = JoinSet::new();
            tasks.spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
            while load.goes_on() {
                match ask(&mut sender, path).await {
                    Some(answer) => assert_eq!(answer, (200, want)),
                    None => break,
                }
                load.answered.fetch_add(1, Ordering::Relaxed);
                if !keeps {
                    break;
                }
            }
        }
    }
}

/// The status, and how long the body is; none where another connection is to be asked.
async fn ask(sender: &mut SendRequest<h3_quinn::OpenStreams, Bytes>, path: &str) -> Option<(u16, usize)> {
    let request = Request::get(format!("https://{HOST}{path}")).body(()).unwrap();
    let asking = async {
        let mut stream = sender.send_request(request).await?;
        stream.finish().await?;
        let head = stream.recv_response().await?;
        Ok((stream, head))
    };
    let (mut stream, head) = match asking.await {
        Ok(begun) => begun,
        Err(error) if may_ask_elsewhere(&error) => return None,
        Err(error) => panic!("a request of HTTP/3 failed: {error:?}"),
    };
    let mut length = 0;
    while let Some(data) = stream.recv_data().await.unwrap() {
        length += data.remaining();
    }
    Some((head.status().as_u16(), length))
}
