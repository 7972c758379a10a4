//! What is asked of clients' certificates and the certificates that clients have in; who is served, and what backends are told, out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::Request;
use portcullis_model::{
    ClientCertificates, Clients, Code, LoadBalancer, ObjectName, Port, Problem, Protocol, Rule, TrustStore,
};
use portcullis_proxy::{
    Handle, Material, ServedPorts, Server, ServerConfig, ServingState, Settings, UnknownNames,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::balancer::{KeyPairs, backend, empty, engine, origin, rule, to, with_certificates};
use crate::client::{Answer, Client, Sent, get, get_once, soon};
use crate::echo::Echo;
use crate::secure::key_pair;

const HOSTS: [&str; 3] = ["a.example.com", "b.example.com", "*.example.com"];

/// Signs clients' certificates.
pub(crate) struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pem: Arc<[u8]>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Shop, Inc.");
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem: pem.into_bytes().into(),
        }
    }

    /// A client's certificate, valid from 2020 until the end of a year.
    pub(crate) fn signs(&self, name: &str, until: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, "till");
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(vec![0x03, 0xa5, 0xb1].into());
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            pem: certificate.pem(),
            chain: vec![certificate.der().clone()],
            key: Arc::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap()),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Identity {
    pem: String,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<PrivateKeyDer<'static>>,
}

pub(crate) fn verify(ignore_expiry: bool) -> ClientCertificates {
    ClientCertificates::Verify {
        trust_store: TrustStore::Stored(ObjectName::new("shop", "clients")),
        ignore_expiry,
        advertise_authorities: false,
    }
}

pub(crate) fn asking(mut rule: Rule, clients: ClientCertificates) -> Rule {
    rule.clients = clients;
    rule
}

/// A proxy with what is served over TLS, and what clients trust of it.
pub(crate) struct World {
    handle: Handle,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) problems: Vec<Problem>,
    keys: KeyPairs,
    pub(crate) trusted: CertificateDer<'static>,
}

pub(crate) type Authorities = BTreeMap<ObjectName, Arc<[u8]>>;

pub(crate) fn authorities(authority: &Authority) -> Authorities {
    [(ObjectName::new("shop", "clients"), authority.pem.clone())].into()
}

pub(crate) fn balancer(echo: &Echo, rules: Vec<Rule>) -> LoadBalancer {
    let mut balancer = with_certificates(empty(), &[("web", &HOSTS)]);
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    *balancer.rules = rules;
    balancer
}

impl World {
    pub(crate) fn serve(balancer: &LoadBalancer, authorities: &Authorities) -> Self {
        let ((secret, pem), trusted) = key_pair("web", &HOSTS);
        let keys = KeyPairs::from([(secret, pem)]);
        let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let server = Server::bind(&ServerConfig {
            http: any,
            https: any,
            settings: Settings {
                http1_engine: engine(),
                ..Settings::default()
            },
            ..ServerConfig::default()
        })
        .unwrap();
        let (http, https) = (server.http_addr().unwrap(), server.https_addr().unwrap());
        let material = Material {
            key_pairs: &keys,
            authorities,
            users: &Default::default(),
            unknown_names: &UnknownNames::First,
        };
        let (state, problems) =
            ServingState::build(balancer.clone(), material, None, server.served_ports()).unwrap();
        Self {
            handle: server.start(state).unwrap(),
            http,
            https,
            problems,
            keys,
            trusted,
        }
    }

    pub(crate) fn change(&self, balancer: &LoadBalancer, authorities: &Authorities) {
        let material = Material {
            key_pairs: &self.keys,
            authorities,
            users: &Default::default(),
            unknown_names: &UnknownNames::First,
        };
        let before = self.handle.state();
        let built = ServingState::build(balancer.clone(), material, Some(&before), ServedPorts::default());
        self.handle.swap(built.unwrap().0);
    }

    /// What a client with this certificate connects with.
    pub(crate) fn client(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let builder = ClientConfig::builder().with_root_certificates(roots);
        Arc::new(match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .unwrap(),
        })
    }

    pub(crate) async fn connect(
        &self,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.https).await?;
        let name = name.to_owned().try_into().unwrap();
        TlsConnector::from(config.clone()).connect(name, stream).await
    }

    /// Asks on a connection of its own; none where there is none to be had.
    async fn ask(&self, identity: Option<&Identity>, name: &str, request: Request<Sent>) -> Option<Answer> {
        let stream = self.connect(&self.client(identity), name).await.ok()?;
        Client::http1_over(stream).await.send(request).await.ok()
    }

    async fn status(&self, identity: Option<&Identity>, name: &str, host: &str, path: &str) -> Option<u16> {
        let answer = self.ask(identity, name, get(host, path)).await;
        answer.map(|answer| answer.status())
    }
}

fn encoded(pem: &str) -> String {
    pem.replace(' ', "%20")
        .replace("\r\n", "%0A")
        .replace('\n', "%0A")
}

fn claiming() -> Request<Sent> {
    let request = Request::get("/").header("host", "a.example.com");
    let request = request.header("x-amzn-mtls-clientcert", "forged");
    let request = request.header("x-amzn-mtls-clientcert-leaf", "forged");
    let request = request.header("x_amzn_mtls_clientcert_subject", "CN=root");
    request.body(Sent::default()).unwrap()
}

/// The fields of a client's certificate that a backend saw.
pub(crate) fn told(answer: &Answer) -> Vec<(&str, &str)> {
    let lines = answer.body.lines().take_while(|line| !line.is_empty());
    let fields = lines.filter_map(|line| line.split_once(": "));
    let family = |name: &str| name.replace('_', "-").starts_with("x-amzn-mtls");
    fields.filter(|(name, _)| family(name)).collect()
}

#[tokio::test]
async fn a_certificate_is_passed_on_unverified_where_that_is_asked() {
    let echo = Echo::http1("one").await;
    let authority = Authority::new("Clients");
    let rules = vec![asking(
        rule("a.example.com", "/", to("one")),
        ClientCertificates::PassThrough,
    )];
    let world = World::serve(&balancer(&echo, rules), &Authorities::new());
    assert_eq!(world.problems, []);
    let expired = authority.signs("old", 2021);
    let answer = world
        .ask(Some(&expired), "a.example.com", claiming())
        .await
        .unwrap();
    let want = encoded(&expired.pem);
    assert_eq!(told(&answer), [("x-amzn-mtls-clientcert", want.as_str())]);
    // A client without one is served, and nothing is said of it.
    let answer = world.ask(None, "a.example.com", claiming()).await.unwrap();
    assert_eq!((answer.status(), told(&answer)), (200, vec![]));
    // Plain HTTP asks nothing.
    assert_eq!(get_once(world.http, "a.example.com", "/").await.status(), 200);
}

#[tokio::test]
async fn a_certificate_is_verified_and_told_where_that_is_asked() {
    let echo = Echo::http1("one").await;
    let (authority, other) = (Authority::new("Clients"), Authority::new("Clients"));
    for ignore_expiry in [false, true] {
        let rules = vec![asking(
            rule("a.example.com", "/", to("one")),
            verify(ignore_expiry),
        )];
        let world = World::serve(&balancer(&echo, rules), &authorities(&authority));
        assert_eq!(world.problems, []);
        let good = authority.signs("till, 1", 2090);
        let answer = world.ask(Some(&good), "a.example.com", claiming()).await.unwrap();
        let leaf = encoded(&good.pem);
        assert_eq!(
            told(&answer),
            [
                ("x-amzn-mtls-clientcert-issuer", "CN=Clients,O=Shop\\, Inc."),
                ("x-amzn-mtls-clientcert-leaf", leaf.as_str()),
                ("x-amzn-mtls-clientcert-serial-number", "03A5B1"),
                ("x-amzn-mtls-clientcert-subject", "CN=till\\, 1,OU=till"),
                (
                    "x-amzn-mtls-clientcert-validity",
                    "NotBefore=2020-01-01T00:00:00Z;NotAfter=2090-12-31T00:00:00Z"
                ),
            ]
        );
        for (identity, want) in [
            (None, None),
            (Some(other.signs("till", 2090)), None),
            (Some(authority.signs("old", 2021)), ignore_expiry.then_some(200)),
            (Some(other.signs("old", 2021)), None),
        ] {
            let got = world
                .status(identity.as_ref(), "a.example.com", "a.example.com", "/")
                .await;
            assert_eq!(got, want, "{ignore_expiry} {:?}", identity.map(|i| i.pem));
        }
    }
}

/// Keeps what a server says of the authorities it takes.
#[derive(Debug, Default)]
struct Hints(std::sync::Mutex<Vec<usize>>);

impl ResolvesClientCert for Hints {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap().push(hints.len());
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn authorities_are_named_to_clients_where_that_is_asked() {
    let echo = Echo::http1("one").await;
    let authority = Authority::new("Clients");
    for (advertise_authorities, want) in [(false, 0), (true, 1)] {
        let clients = ClientCertificates::Verify {
            trust_store: TrustStore::Stored(ObjectName::new("shop", "clients")),
            ignore_expiry: false,
            advertise_authorities,
        };
        let rules = vec![asking(rule("a.example.com", "/", to("one")), clients)];
        let world = World::serve(&balancer(&echo, rules), &authorities(&authority));
        let hints = Arc::new(Hints::default());
        let mut config = (*world.client(None)).clone();
        config.client_auth_cert_resolver = hints.clone();
        // Whether it succeeds the client learns later.
        let _ = world.connect(&Arc::new(config), "a.example.com").await;
        assert_eq!(*hints.0.lock().unwrap(), [want], "{advertise_authorities}");
    }
}

#[tokio::test]
async fn a_host_under_another_policy_than_the_server_name_is_misdirected() {
    let echo = Echo::http1("one").await;
    let authority = Authority::new("Clients");
    let rules = vec![
        asking(rule("a.example.com", "/", to("one")), verify(false)),
        rule("b.example.com", "/in", to("one")),
        asking(rule("*.example.com", "/", to("one")), verify(false)),
    ];
    let world = World::serve(&balancer(&echo, rules), &authorities(&authority));
    let client = authority.signs("till", 2090);
    for (identity, name, host, path, want) in [
        (Some(&client), "a.example.com", "a.example.com", "/", Some(200)),
        (Some(&client), "a.example.com", "c.example.com", "/", Some(200)),
        (None, "c.example.com", "c.example.com", "/", None),
        (None, "b.example.com", "b.example.com", "/in", Some(200)),
        (None, "b.example.com", "a.example.com", "/", Some(421)),
        (None, "b.example.com", "A.Example.Com.:443", "/", Some(421)),
        (Some(&client), "a.example.com", "b.example.com", "/in", Some(421)),
        // A name nobody knows is asked nothing, and reaches nobody who asks.
        (None, "b.example.com", "elsewhere.org", "/", Some(404)),
        // The host asks nothing, so it does not reach a rule for more hosts that does.
        (None, "b.example.com", "b.example.com", "/", Some(503)),
        (Some(&client), "b.example.com", "b.example.com", "/", Some(503)),
    ] {
        let got = world.status(identity, name, host, path).await;
        assert_eq!(got, want, "{name} {host}{path} {}", identity.is_some());
    }
}

#[tokio::test]
async fn what_relies_on_authorities_that_are_not_there_is_closed_alone() {
    let echo = Echo::http1("one").await;
    let authority = Authority::new("Clients");
    let client = authority.signs("till", 2090);
    let given = ClientCertificates::Verify {
        trust_store: TrustStore::Given("roots".into()),
        ignore_expiry: false,
        advertise_authorities: false,
    };
    let with = |pem: &[u8]| Authorities::from([(ObjectName::new("shop", "clients"), pem.into())]);
    for (clients, authorities, code) in [
        (verify(false), Authorities::new(), Code::SecretNotFound),
        (verify(false), with(b""), Code::SecretInvalid),
        (
            verify(false),
            with(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            Code::SecretInvalid,
        ),
        (given, authorities(&authority), Code::OptionUnsupported),
    ] {
        let rules = vec![
            asking(rule("a.example.com", "/in", to("one")), clients.clone()),
            rule("a.example.com", "/", to("one")),
            rule("b.example.com", "/", to("one")),
        ];
        let balancer = balancer(&echo, rules);
        let world = World::serve(&balancer, &authorities);
        let codes: Vec<Code> = world.problems.iter().map(|p| p.code).collect();
        assert_eq!(codes, [code]);
        for (name, path, want) in [
            ("a.example.com", "/in", 503),
            ("a.example.com", "/", 200),
            ("b.example.com", "/", 200),
        ] {
            let got = world.status(Some(&client), name, name, path).await;
            assert_eq!(got, Some(want), "{code} {name}{path}");
        }
        // Once they are there, it is served.
        world.change(&balancer, &self::authorities(&authority));
        let want = if code == Code::OptionUnsupported { 503 } else { 200 };
        let got = world
            .status(Some(&client), "a.example.com", "a.example.com", "/in")
            .await;
        assert_eq!(got, Some(want), "{code}");
    }
}

#[tokio::test]
async fn of_two_that_ask_for_different_things_of_a_host_the_first_is_served() {
    let echo = Echo::http1("one").await;
    let authority = Authority::new("Clients");
    let rules = vec![
        asking(rule("a.example.com", "/one", to("one")), verify(false)),
        asking(rule("a.example.com", "/two", to("one")), verify(true)),
        asking(
            rule("a.example.com", "/pass", to("one")),
            ClientCertificates::PassThrough,
        ),
    ];
    let world = World::serve(&balancer(&echo, rules), &authorities(&authority));
    let codes: Vec<Code> = world.problems.iter().map(|p| p.code).collect();
    assert_eq!(codes, [Code::SettingConflict]);
    let client = authority.signs("till", 2090);
    for (path, want) in [("/one", 200), ("/two", 503), ("/pass", 200)] {
        let got = world
            .status(Some(&client), "a.example.com", "a.example.com", path)
            .await;
        assert_eq!(got, Some(want), "{path}");
    }
}

#[tokio::test]
async fn what_a_listener_asks_it_asks_of_all() {
    let echo = Echo::http1("one").await;
    let authority = Authority::new("Clients");
    let mut balancer = balancer(&echo, vec![rule("a.example.com", "/", to("one"))]);
    let mut second = balancer.listeners[&Port::HTTPS].clone();
    second.port = Port::new(8443).unwrap();
    balancer.listeners.insert(second.port, second);
    balancer.rules[0].ports.insert(Port::new(8443).unwrap());
    let ask = |balancer: &mut LoadBalancer, port: u16, certificates: ClientCertificates| {
        let listener = balancer
            .listeners
            .get_mut(&Port::new(port.into()).unwrap())
            .unwrap();
        if let Protocol::Https(tls) = &mut listener.protocol {
            tls.clients = Some(Clients {
                certificates,
                relied_on_by: Default::default(),
                origin: origin(),
            });
        }
    };
    ask(&mut balancer, 443, verify(false));
    let world = World::serve(&balancer, &authorities(&authority));
    let client = authority.signs("till", 2090);
    for (identity, name, want) in [
        (Some(&client), "a.example.com", Some(200)),
        (Some(&client), "z.example.com", Some(404)),
        (None, "a.example.com", None),
        (None, "z.example.com", None),
    ] {
        assert_eq!(world.status(identity, name, name, "/").await, want, "{name}");
    }
    // Not even its own answer goes to those who could not be asked.
    let without = World::serve(&balancer, &Authorities::new());
    assert_eq!(
        without.status(None, "z.example.com", "z.example.com", "/").await,
        Some(503)
    );
    // One handshake serves all ports: another that asks for more cannot be told from the first.
    ask(&mut balancer, 8443, verify(true));
    let world = World::serve(&balancer, &authorities(&authority));
    let codes: Vec<Code> = world.problems.iter().map(|p| p.code).collect();
    assert_eq!(codes, [Code::OptionUnsupported]);
    for (host, want) in [("a.example.com", 200), ("a.example.com:8443", 503)] {
        let got = world.status(Some(&client), "a.example.com", host, "/").await;
        assert_eq!(got, Some(want), "{host}");
    }
}

/// Asks once and says how the session began, or none where the server would have none of it.
async fn session(world: &World, config: &Arc<ClientConfig>) -> Option<(HandshakeKind, String)> {
    let mut stream = world.connect(config, "a.example.com").await.ok()?;
    let request = b"GET / HTTP/1.1\r\nhost: a.example.com\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.ok()?;
    let kind = stream.get_ref().1.handshake_kind()?;
    Some((kind, answer))
}

#[tokio::test]
async fn a_session_is_taken_up_only_under_the_policy_it_began_with() {
    let echo = Echo::http1("one").await;
    let (authority, other) = (Authority::new("Clients"), Authority::new("Clients"));
    let with = |clients| {
        balancer(
            &echo,
            vec![asking(rule("a.example.com", "/", to("one")), clients)],
        )
    };
    let (open, closed) = (with(ClientCertificates::Off), with(verify(false)));
    let world = World::serve(&open, &authorities(&authority));
    let stranger = world.client(None);
    assert_eq!(session(&world, &stranger).await.unwrap().0, HandshakeKind::Full);
    assert_eq!(
        session(&world, &stranger).await.unwrap().0,
        HandshakeKind::Resumed
    );
    world.change(&closed, &authorities(&authority));
    assert_eq!(session(&world, &stranger).await, None);
    // Another change elsewhere ends no session, and what was shown at its beginning is still told.
    let friend = world.client(Some(&authority.signs("till", 2090)));
    assert_eq!(session(&world, &friend).await.unwrap().0, HandshakeKind::Full);
    world.change(&closed, &authorities(&authority));
    let (kind, answer) = session(&world, &friend).await.unwrap();
    assert_eq!(kind, HandshakeKind::Resumed);
    assert!(
        answer.contains("x-amzn-mtls-clientcert-subject: CN=till,OU=till"),
        "{answer}"
    );
    // Other authorities are another policy.
    world.change(&closed, &authorities(&other));
    assert_eq!(session(&world, &friend).await, None);
}

#[tokio::test]
async fn an_open_connection_is_held_to_what_is_asked_now() {
    let echo = Echo::http1("one").await;
    let authority = Authority::new("Clients");
    let with = |clients| {
        balancer(
            &echo,
            vec![asking(rule("a.example.com", "/", to("one")), clients)],
        )
    };
    let (open, closed) = (with(ClientCertificates::Off), with(verify(false)));
    let world = World::serve(&open, &authorities(&authority));
    let config = world.client(Some(&authority.signs("till", 2090)));
    let connected =
        || async { Client::http1_over(world.connect(&config, "a.example.com").await.unwrap()).await };
    let mut before = connected().await;
    assert_eq!(
        before.send(get("a.example.com", "/")).await.unwrap().status(),
        200
    );
    world.change(&closed, &authorities(&authority));
    assert_eq!(
        before.send(get("a.example.com", "/")).await.unwrap().status(),
        421
    );
    let mut verified = connected().await;
    assert_eq!(
        verified.send(get("a.example.com", "/")).await.unwrap().status(),
        200
    );
    // What is asked no longer disturbs nobody who has shown it.
    world.change(&open, &authorities(&authority));
    assert_eq!(
        verified.send(get("a.example.com", "/")).await.unwrap().status(),
        200
    );
}
