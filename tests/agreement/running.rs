//! A load balancer and requests in; what a listening proxy, with real backends behind it, answers out.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use portcullis_model::{
    Backend, BackendId, CertificateSource, LoadBalancer, ObjectName, Protocol, Request, Target, TargetAddress,
};
use portcullis_proxy::{Handle, KeyPairPem, ServedPorts, Server, ServerConfig, ServingState};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

/// What came back, as far as it tells who answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A backend did, at this address.
    Backend(IpAddr),
    Proxy {
        status: u16,
        location: Option<String>,
        body: String,
    },
}

/// Clients name this one in every handshake; whom they ask for says the request.
const NAME: &str = "proxy.test";

/// A proxy that listens, and backends that answer with the address they were reached at.
pub(crate) struct Running {
    handle: Handle,
    key_pairs: BTreeMap<ObjectName, KeyPairPem>,
    client: Arc<ClientConfig>,
    /// Of all backends; each has an address of its own in 127.9.0.0/16.
    backends_port: u16,
    runtime: Runtime,
}

impl Running {
    pub(crate) fn start(first: &LoadBalancer) -> Self {
        let backends = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        let backends_port = backends.local_addr().expect("it is bound").port();
        thread::spawn(move || {
            for stream in backends.incoming().flatten() {
                thread::spawn(move || echo(&stream));
            }
        });
        let anywhere = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let config = ServerConfig {
            http: anywhere,
            https: anywhere,
            ..ServerConfig::default()
        };
        let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a key");
        let pair = KeyPairPem::new(
            issued.cert.pem().into_bytes(),
            issued.signing_key.serialize_pem().into_bytes(),
        );
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).expect("a certificate");
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3");
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let server = Server::bind(&config).expect("a free port");
        let key_pairs = BTreeMap::from([(secret(), pair)]);
        let handle = server.start(state(first, &key_pairs, None)).expect("a thread");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        Self {
            handle,
            key_pairs,
            client: Arc::new(client),
            backends_port,
            runtime: runtime.expect("a runtime"),
        }
    }

    /// Serves this load balancer, whose backends get addresses of their own, which are returned.
    pub(crate) fn serve(&self, mut balancer: LoadBalancer) -> BTreeMap<BackendId, IpAddr> {
        let mut addresses = BTreeMap::new();
        for (number, backend) in (1..).zip(balancer.backends.values_mut()) {
            let address = IpAddr::V4(Ipv4Addr::new(127, 9, 0, number));
            backend.targets = target(backend, address, self.backends_port);
            addresses.insert(backend.id.clone(), address);
        }
        for listener in balancer.listeners.values_mut() {
            if let Protocol::Https(tls) = &mut listener.protocol {
                for certificate in &mut tls.certificates {
                    certificate.source = CertificateSource::Stored(secret());
                }
            }
        }
        let previous = self.handle.state();
        self.handle
            .swap(state(&balancer, &self.key_pairs, Some(&previous)));
        addresses
    }

    /// Sends a request from its source, which must be a loopback address, on a connection of its own.
    pub(crate) fn ask(&self, request: &Request, https: bool) -> io::Result<Answer> {
        let to = if https {
            self.handle.https_addr()
        } else {
            self.handle.http_addr()
        };
        let to = to.expect("it listens for both");
        let stream = self.runtime.block_on(async {
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(request.source, 0))?;
            socket.connect(to).await?.into_std()
        })?;
        stream.set_nonblocking(false)?;
        if https {
            let name = ServerName::try_from(NAME).expect("a DNS name");
            let session = ClientConnection::new(self.client.clone(), name).map_err(io::Error::other)?;
            exchange(StreamOwned::new(session, stream), request)
        } else {
            exchange(stream, request)
        }
    }
}

fn exchange(mut stream: impl Read + Write, request: &Request) -> io::Result<Answer> {
    stream.write_all(written(request).as_bytes())?;
    let mut answer = BufReader::new(stream);
    let (status_line, fields) = head(&mut answer)?;
    let field = |name: &str| {
        let found = fields.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.clone())
    };
    let mut body = String::new();
    answer.read_to_string(&mut body)?;
    if let Some(reached) = field("x-reached-at") {
        return Ok(Answer::Backend(reached.parse().map_err(io::Error::other)?));
    }
    let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok());
    Ok(Answer::Proxy {
        status: status.ok_or_else(|| io::Error::other(status_line.clone()))?,
        location: field("location"),
        body,
    })
}

fn secret() -> ObjectName {
    ObjectName::new("one", "tls")
}

fn state(
    balancer: &LoadBalancer,
    key_pairs: &BTreeMap<ObjectName, KeyPairPem>,
    previous: Option<&ServingState>,
) -> ServingState {
    let built = ServingState::build(balancer.clone(), key_pairs, previous, ServedPorts::default());
    built.expect("this machine can do TLS").0
}

fn target(backend: &Backend, address: IpAddr, port: u16) -> Arc<[Target]> {
    let mut targets = backend.targets.to_vec();
    for target in &mut targets {
        target.address = TargetAddress::Ip(address);
        target.port = super::generate::port(i64::from(port));
    }
    targets.into()
}

/// The listener is chosen by the port that the request names beside its host, else it is the lowest.
fn written(request: &Request) -> String {
    let target = match &*request.query {
        "" => request.path.clone(),
        query => format!("{}?{query}", request.path),
    };
    let Request {
        method, host, port, ..
    } = request;
    // Names of hosts ignore case, and a dot at their end says nothing. Sources: RFC 9110 §4.2.3, RFC 1034 §3.1.
    let host = match request.headers.len() {
        1 => host.to_ascii_uppercase(),
        2 if !host.is_empty() => format!("{host}."),
        _ => host.clone(),
    };
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {host}");
    if !host.is_empty() {
        text.push_str(&format!(":{port}"));
    }
    text.push_str("\r\nconnection: close\r\n");
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n"
}

fn head(from: &mut impl BufRead) -> io::Result<(String, Vec<(String, String)>)> {
    let mut first = String::new();
    from.read_line(&mut first)?;
    let mut fields = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => fields.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok((first.trim_end().to_owned(), fields)),
        }
    }
}

/// Answers every request on a connection, until the other side has enough.
fn echo(stream: &TcpStream) {
    let Ok(reached) = stream.local_addr() else { return };
    let mut requests = BufReader::new(stream);
    while let Ok((request, _)) = head(&mut requests)
        && !request.is_empty()
    {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nx-reached-at: {}\r\ncontent-length: 0\r\n\r\n",
            reached.ip()
        );
        if (&*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
