//! Nothing in, a real kube-apiserver with an etcd of its own out, ready to be asked.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::http::{Response, exchange};
use crate::process::{Process, folder, free_port, wait};
use crate::{certificate, program};

/// On two busy cores it takes 5 s; a machine that compiles something else besides takes its time.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Another process may take a port between our looking for it and the program's listening on it.
const ATTEMPTS: u32 = 3;

/// A kube-apiserver over TLS with RBAC; whoever has the token may do everything.
///
/// There is no controller manager: EndpointSlices, default service accounts and garbage collection don't come by
/// themselves. Tests of what a lesser user may do impersonate one (`Impersonate-User`).
#[derive(Debug)]
pub struct ApiServer {
    // Dropped in this order.
    server: Process,
    _etcd: Process,
    port: u16,
    token: String,
    authority: String,
    client: Arc<ClientConfig>,
}

impl ApiServer {
    /// Starts both and waits until the default namespace is there. Panics with the log when that fails.
    pub fn start() -> ApiServer {
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            match ApiServer::attempt() {
                Ok(server) => return server,
                Err(how) => last = how,
            }
        }
        panic!("{last}");
    }

    fn attempt() -> Result<ApiServer, String> {
        let program = program::of_the_cluster("kube-apiserver");
        let (etcd, etcd_url) = start_etcd();
        let folder = folder("kube-apiserver");
        let serving = certificate::for_loopback();
        let token = "a-token-for-tests".to_owned();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            path.display().to_string()
        };
        let certificate = write("serving.crt", &serving.certificate);
        let key = write("serving.key", &serving.key);
        let tokens = write("tokens.csv", &format!("{token},tests,tests,system:masters\n"));
        let (private, public) = certificate::keys();
        let (private, public) = (write("accounts.key", &private), write("accounts.pub", &public));
        let port = free_port();
        write("authority.crt", &serving.authority);
        write("kubeconfig", &kubeconfig(port, &folder, &token));
        let arguments = [
            format!("--etcd-servers={etcd_url}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            // Otherwise it looks for an interface with a default route, which a machine may not have.
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--tls-cert-file={certificate}"),
            format!("--tls-private-key-file={key}"),
            format!("--token-auth-file={tokens}"),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            // Its service accounts are made by the controller manager, which isn't here.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--service-account-key-file={public}"),
            format!("--service-account-signing-key-file={private}"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        ];
        let server = Process::start("kube-apiserver", folder, &program, &arguments);
        let client = client(&serving.authority);
        let started = ApiServer {
            server,
            _etcd: etcd,
            port,
            token,
            authority: serving.authority,
            client,
        };
        wait(&[&started._etcd, &started.server], READY_WITHIN, || {
            started.ready()
        })?;
        Ok(started)
    }

    /// The default namespace is made shortly after `/readyz` says yes.
    fn ready(&self) -> Option<()> {
        let answers = |path| {
            self.try_request("GET", path, None)
                .is_ok_and(|answer| answer.status == 200)
        };
        (answers("/readyz") && answers("/api/v1/namespaces/default")).then_some(())
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A bearer token that may do everything.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The certificate of who signed the server's, in PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path of a kubeconfig with all of the above.
    pub fn kubeconfig(&self) -> PathBuf {
        self.server.folder().join("kubeconfig")
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// One request with the token. Panics when there is no response; a refusal is a response.
    pub fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        self.try_request(method, path, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    fn try_request(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Response> {
        let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
        let tls = ClientConnection::new(self.client.clone(), name).map_err(std::io::Error::other)?;
        let stream = StreamOwned::new(tls, TcpStream::connect(("127.0.0.1", self.port))?);
        let authorization = format!("Bearer {}", self.token);
        // A patch is a merge patch: the only kind that needs no further explanation in a test.
        let kind = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", kind),
            ("accept", "application/json"),
        ];
        let body = body.map(Value::to_string).unwrap_or_default();
        exchange(stream, method, path, &headers, body.as_bytes())
    }
}

fn start_etcd() -> (Process, String) {
    // Looked up first: a folder is removed with its process alone.
    let program = program::of_the_cluster("etcd");
    let folder = folder("etcd");
    let (clients, peers) = (free_port(), free_port());
    let url = format!("http://127.0.0.1:{clients}");
    let arguments = [
        format!("--data-dir={}", folder.join("data").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peers}"),
        // Nothing of it outlives the test.
        "--unsafe-no-fsync=true".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    (Process::start("etcd", folder, &program, &arguments), url)
}

fn client(authority: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(authority.as_bytes()).expect("rcgen writes PEM");
    roots
        .add(certificate)
        .expect("an authority of our own can be trusted");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc has the suites of TLS 1.2 and 1.3");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

fn kubeconfig(port: u16, folder: &Path, token: &str) -> String {
    let authority = folder.join("authority.crt");
    format!(
        "apiVersion: v1
kind: Config
current-context: tests
contexts: [{{name: tests, context: {{cluster: tests, user: tests}}}}]
clusters:
- name: tests
  cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: '{}'}}
users: [{{name: tests, user: {{token: {token}}}}}]
",
        authority.display()
    )
}
