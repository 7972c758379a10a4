//! What is asked of targets' certificates and the certificates that they show in; which targets get requests out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_model::{
    Backend, BackendTls, BackendVersion, Code, ExternalAuth, Filters, HealthCheck, HostName, LoadBalancer,
    Mirror, ObjectName, Origin, Problem, Verification,
};
use portcullis_proxy::{Handle, Material, ServedPorts, Server, ServerConfig, ServingState, UnknownNames};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use crate::balancer::{
    KeyPairs, all_to, backend, empty, engine, filtered, id, origin, rule, shown, speaking, to,
};
use crate::client::{Answer, Client, Sent, get, get_once, until};
use crate::echo::{Echo, echo};
use crate::targets::{carrying, pair, with};

const NAME: &str = "web.shop.svc";
const VERSIONS: [BackendVersion; 3] = [BackendVersion::Http1, BackendVersion::Http2, BackendVersion::Grpc];

/// Signs targets' certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: Arc<[u8]>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem: pem.into_bytes().into(),
        }
    }

    /// Valid from 2020 until the end of a year.
    fn signs(&self, name: &str, until: i32) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// Each request that came, with the name that its connection asked for.
type Seen = Arc<Mutex<Vec<(Option<String>, String)>>>;

/// A target that speaks what it is spoken to in.
async fn target(name: &'static str, config: Arc<rustls::ServerConfig>, seen: &Seen) -> Echo {
    let (acceptor, seen) = (TlsAcceptor::from(config), seen.clone());
    Echo::running(move |stream| {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        Box::pin(async move {
            // Who does not trust it goes away.
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let connection = stream.get_ref().1;
            let asked = connection.server_name().map(str::to_owned);
            let is_http2 = connection.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request: Request<Incoming>| {
                let path = request.uri().path().to_owned();
                seen.lock().unwrap().push((asked.clone(), path));
                echo(name, request)
            });
            let io = TokioIo::new(stream);
            if is_http2 {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(io, service).await;
            } else {
                let builder = hyper::server::conn::http1::Builder::new();
                let _ = builder.serve_connection(io, service).await;
            }
        })
    })
    .await
}

fn at() -> Origin {
    origin().at("metadata.annotations[portcullis.dev/backend-tls-ca-secret]")
}

/// The same backend, whose targets must show a certificate of the Secret's authorities for a name.
fn verified(backend: Backend, version: BackendVersion, secret: &str, name: &str) -> Backend {
    let mut backend = speaking(backend, version, true);
    backend.health = HealthCheck::for_protocol(&backend.protocol);
    backend.protocol.tls = BackendTls::Verified(Verification {
        authorities: ObjectName::new("shop", secret),
        server_name: HostName::parse(name).unwrap(),
        origin: at(),
    });
    backend
}

type Authorities = BTreeMap<ObjectName, Arc<[u8]>>;

fn authorities(all: &[(&str, &[u8])]) -> Authorities {
    let all = all.iter();
    all.map(|(name, pem)| (ObjectName::new("shop", *name), Arc::from(*pem)))
        .collect()
}

struct World {
    handle: Handle,
    http: SocketAddr,
    problems: Vec<Problem>,
}

fn build(
    balancer: &LoadBalancer,
    authorities: &Authorities,
    before: Option<&ServingState>,
) -> (ServingState, Vec<Problem>) {
    let material = Material {
        key_pairs: &KeyPairs::new(),
        authorities,
        users: &BTreeMap::new(),
        unknown_names: &UnknownNames::First,
    };
    ServingState::build(balancer.clone(), material, before, ServedPorts::default()).unwrap()
}

impl World {
    fn serve(balancer: &LoadBalancer, authorities: &Authorities) -> Self {
        let mut config = ServerConfig {
            http: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            ..ServerConfig::default()
        };
        config.settings.http1_engine = engine();
        let server = Server::bind(&config).unwrap();
        let http = server.http_addr().unwrap();
        let (state, problems) = build(balancer, authorities, None);
        Self {
            handle: server.start(state).unwrap(),
            http,
            problems,
        }
    }

    fn change(&self, balancer: &LoadBalancer, authorities: &Authorities) -> Vec<Problem> {
        let (state, problems) = build(balancer, authorities, Some(&self.handle.state()));
        self.handle.swap(state);
        problems
    }

    async fn get(&self, path: &str) -> Answer {
        get_once(self.http, "a.com", path).await
    }
}

fn codes(problems: &[Problem]) -> Vec<(Code, &Origin)> {
    problems
        .iter()
        .map(|problem| (problem.code, &problem.at))
        .collect()
}

#[tokio::test]
async fn a_target_that_proves_nothing_gets_nothing() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let trusted = authorities(&[("ca", &right.pem)]);
    for version in VERSIONS {
        for (shown, name, want) in [
            (right.signs(NAME, 4000), NAME, 200),
            (right.signs("*.shop.svc", 4000), NAME, 200),
            (wrong.signs(NAME, 4000), NAME, 502),
            (right.signs("other.shop.svc", 4000), NAME, 502),
            (right.signs(NAME, 4000), "other.shop.svc", 502),
            (right.signs(NAME, 2021), NAME, 502),
        ] {
            let seen = Seen::default();
            let echo = target("one", shown, &seen).await;
            let backend = verified(backend("one", &[echo.address]), version, "ca", name);
            let world = World::serve(&all_to(backend), &trusted);
            assert_eq!(world.problems, []);
            let answer = world.get("/x").await;
            assert_eq!(answer.status(), want, "{version:?} {name}: {}", answer.body);
            let came = seen.lock().unwrap().clone();
            let wanted = match want {
                200 => vec![(Some(name.to_owned()), "/x".to_owned())],
                _ => vec![],
            };
            assert_eq!(came, wanted, "{version:?} {name}");
            assert_eq!(world.handle.totals().unreached, u64::from(want != 200));
        }
    }
}

#[tokio::test]
async fn a_grpc_client_is_told_in_its_own_words() {
    let seen = Seen::default();
    let echo = target("one", Authority::new().signs(NAME, 4000), &seen).await;
    let one = verified(backend("one", &[echo.address]), BackendVersion::Grpc, "ca", NAME);
    let world = World::serve(&all_to(one), &authorities(&[("ca", &Authority::new().pem)]));
    let request = Request::post("http://a.com/shop.Cart/Get").header("content-type", "application/grpc");
    let request = request.body(Sent::default()).unwrap();
    let answer = Client::http2(world.http).await.send(request).await.unwrap();
    assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some("14")));
    assert_eq!(*seen.lock().unwrap(), []);
}

#[tokio::test]
async fn what_a_connection_was_verified_by_must_count_still() {
    let (old, new) = (Authority::new(), Authority::new());
    for version in VERSIONS {
        let seen = Seen::default();
        let echo = target("one", old.signs(NAME, 4000), &seen).await;
        let asking = |secret, name| all_to(verified(backend("one", &[echo.address]), version, secret, name));
        let by_old = authorities(&[("ca", &old.pem), ("copy", &old.pem)]);
        let world = World::serve(&asking("ca", NAME), &by_old);
        let opened = || echo.connections.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(world.get("/").await.status(), 200);
        assert_eq!(world.get("/").await.status(), 200);
        assert_eq!(opened(), 1, "{version:?}: the connection is kept");
        // The same authorities under another name.
        world.change(&asking("copy", NAME), &by_old);
        assert_eq!(world.get("/").await.status(), 200);
        assert_eq!(opened(), 1, "{version:?}: nothing that counts has changed");

        let by_both = [&old.pem[..], &new.pem].concat();
        let trusted = [
            ("others", NAME, authorities(&[("ca", &new.pem)]), 502),
            ("another name", "other.shop.svc", by_old.clone(), 502),
            ("one more", NAME, authorities(&[("ca", &by_both)]), 200),
            ("as before", NAME, by_old.clone(), 200),
        ];
        for (at, (what, name, authorities, want)) in trusted.into_iter().enumerate() {
            assert_eq!(world.change(&asking("ca", name), &authorities), []);
            assert_eq!(world.get("/").await.status(), want, "{version:?}: {what}");
            assert_eq!(opened(), at + 2, "{version:?}: {what}");
        }
        let came = seen.lock().unwrap().len();
        assert_eq!(came, 5, "{version:?}");
    }
}

#[tokio::test]
async fn a_target_is_verified_though_others_speak_to_it_unverified() {
    let seen = Seen::default();
    for version in VERSIONS {
        let echo = target("one", Authority::new().signs(NAME, 4000), &seen).await;
        let mut balancer = all_to(verified(backend("one", &[echo.address]), version, "ca", NAME));
        let open = speaking(backend("open", &[echo.address]), version, true);
        balancer.backends.insert(open.id.clone(), open.into());
        balancer.rules.insert(0, rule("*", "/open", to("open")));
        let world = World::serve(&balancer, &authorities(&[("ca", &Authority::new().pem)]));
        for (path, want) in [("/open", 200), ("/", 502), ("/open", 200), ("/", 502)] {
            assert_eq!(world.get(path).await.status(), want, "{version:?} {path}");
        }
    }
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|(_, path)| path == "/open"), "{seen:?}");
}

#[tokio::test]
async fn another_target_is_tried_where_one_proves_nothing() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let (good, bad) = (Seen::default(), Seen::default());
    let one = target("one", right.signs(NAME, 4000), &good).await;
    let two = target("two", wrong.signs(NAME, 4000), &bad).await;
    for version in VERSIONS {
        let both = backend("both", &[one.address, two.address]);
        let both = verified(both, version, "ca", NAME);
        let world = World::serve(&all_to(both), &authorities(&[("ca", &right.pem)]));
        let mut asked = 0;
        // Which is asked first is drawn.
        while world.handle.totals().unreached == 0 {
            let answer = world.get("/").await;
            assert_eq!((answer.status(), answer.header("x-backend")), (200, Some("one")));
            asked += 1;
            assert!(asked < 200, "the other is never drawn");
        }
        assert!(world.handle.view().to_string().contains("rests"), "{version:?}");
    }
    assert_eq!(*bad.lock().unwrap(), []);
}

#[tokio::test]
async fn wrong_authorities_of_one_backend_bring_no_target_of_another_to_rest() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let trusted = authorities(&[("right", &right.pem), ("wrong", &wrong.pem)]);
    for version in VERSIONS {
        let seen = Seen::default();
        let one = target("one", right.signs(NAME, 4000), &seen).await;
        let two = target("two", right.signs(NAME, 4000), &seen).await;
        let both = [one.address, two.address];
        let configured = |timeout_seconds| {
            let mut good = verified(backend("good", &both), version, "right", NAME);
            let mut bad = verified(backend("bad", &both), version, "wrong", NAME);
            for backend in [&mut good, &mut bad] {
                backend.timeout_seconds = timeout_seconds;
            }
            let mut balancer = all_to(with(good, &[("stickiness.enabled", "true")]));
            balancer.backends.insert(bad.id.clone(), bad.into());
            balancer.rules.insert(0, rule("*", "/bad", to("bad")));
            balancer
        };
        let world = World::serve(&configured(None), &trusted);
        let first = world.get("/").await;
        let (at, cookie) = (first.header("x-backend").unwrap(), pair(&first).unwrap());
        // Enough for rests that last until the end.
        for _ in 0..8 {
            assert_eq!(world.get("/bad").await.status(), 502, "{version:?}");
        }
        let mut client = Client::http1(world.http).await;
        for what in ["as it began", "changed"] {
            let rest = |backend| {
                let all = shown(&world.handle, backend);
                assert_eq!(all.len(), 2, "{version:?}, {what}: {all:?}");
                all.iter().filter(|line| line.ends_with(", rests")).count()
            };
            assert_eq!((rest("bad"), rest("good")), (2, 0), "{version:?}, {what}");
            for _ in 0..8 {
                let again = client.send(carrying(cookie)).await.unwrap();
                assert_eq!(again.header("x-backend"), Some(at), "{version:?}, {what}");
                assert_eq!(again.header("set-cookie"), None, "{version:?}, {what}");
            }
            // Both backends are made anew.
            assert_eq!(world.change(&configured(Some(30)), &trusted), []);
        }
    }
}

#[tokio::test]
async fn without_authorities_a_backend_answers_503_and_its_neighbours_serve() {
    let authority = Authority::new();
    let seen = Seen::default();
    let echo = target("one", authority.signs(NAME, 4000), &seen).await;
    let plain = Echo::http1("plain").await;
    let mut one = verified(backend("one", &[echo.address]), BackendVersion::Http1, "ca", NAME);
    one.is_checked = true;
    let mut balancer = all_to(one);
    let neighbour = backend("plain", &[plain.address]);
    balancer.backends.insert(neighbour.id.clone(), neighbour.into());
    balancer.rules.insert(0, rule("*", "/plain", to("plain")));

    let good = authorities(&[("ca", &authority.pem)]);
    let damaged = [
        &authority.pem[..],
        b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
    ];
    let damaged = damaged.concat();
    let world = World::serve(&balancer, &Authorities::new());
    let mut told = world.problems.clone();
    for (what, given, want) in [
        ("no Secret", Authorities::new(), Some(Code::SecretNotFound)),
        (
            "an empty one",
            authorities(&[("ca", b"")]),
            Some(Code::SecretInvalid),
        ),
        (
            "no PEM",
            authorities(&[("ca", b"hello")]),
            Some(Code::SecretInvalid),
        ),
        (
            "one damaged",
            authorities(&[("ca", &damaged)]),
            Some(Code::SecretInvalid),
        ),
        ("a good one", good.clone(), None),
        ("none any more", Authorities::new(), Some(Code::SecretNotFound)),
    ] {
        if what != "no Secret" {
            told = world.change(&balancer, &given);
        }
        let want_told: Vec<(Code, &Origin)> = Vec::new();
        let place = at();
        let want_told = want.map_or(want_told, |code| vec![(code, &place)]);
        assert_eq!(codes(&told), want_told, "{what}: {told:?}");
        let status = world.get("/").await.status();
        assert_eq!(status, if want.is_some() { 503 } else { 200 }, "{what}");
        let neighbour = world.get("/plain").await;
        assert_eq!(neighbour.header("x-backend"), Some("plain"), "{what}");
    }
    let requests = seen.lock().unwrap();
    let requests = requests
        .iter()
        .filter(|(asked, _)| asked.as_deref() != Some(NAME));
    assert_eq!(requests.count(), 0, "nothing came unverified, not even a check");
}

#[tokio::test]
async fn a_check_verifies_as_requests_do() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let seen = Seen::default();
    let echo = target("one", right.signs(NAME, 4000), &seen).await;
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let mut one = verified(backend("one", &[echo.address]), version, "ca", NAME);
        one.is_checked = true;
        one.health = HealthCheck {
            path: "/well".into(),
            interval_seconds: 1,
            timeout_seconds: 1,
            ..one.health
        };
        let balancer = all_to(one);
        let world = World::serve(&balancer, &authorities(&[("ca", &wrong.pem)]));
        let view = world.handle.view();
        let ill = |count| view.to_string().matches(", ill").count() == count;
        until("it is ill", || ill(1)).await;
        assert_eq!(*seen.lock().unwrap(), [], "{version:?}");
        world.change(&balancer, &authorities(&[("ca", &right.pem)]));
        until("it is asked and well", || {
            ill(0) && !seen.lock().unwrap().is_empty()
        })
        .await;
        let mut seen = seen.lock().unwrap();
        let check = (Some(NAME.to_owned()), "/well".to_owned());
        assert!(seen.iter().all(|came| *came == check), "{version:?}: {seen:?}");
        seen.clear();
    }
}

#[tokio::test]
async fn who_is_asked_or_gets_copies_proves_who_it_is_too() {
    let (right, wrong) = (Authority::new(), Authority::new());
    for (signer, want) in [(&right, 200), (&wrong, 500)] {
        let seen = Seen::default();
        let side = target("side", signer.signs("side.shop.svc", 4000), &seen).await;
        let echo = Echo::http1("one").await;
        let mut balancer = empty();
        let side = backend("side", &[side.address]);
        let side = verified(side, BackendVersion::Http1, "ca", "side.shop.svc");
        for backend in [side, backend("one", &[echo.address])] {
            balancer.backends.insert(backend.id.clone(), backend.into());
        }
        let asked = ExternalAuth::new(id("side"), "/asked", [].into(), origin());
        let copied = Mirror::new(id("side"), 100, origin());
        let asking = Filters {
            external_auth: Some(asked.unwrap()),
            ..Filters::default()
        };
        let copying = Filters {
            mirror: Some(copied.unwrap()),
            ..Filters::default()
        };
        *balancer.rules = vec![
            filtered(rule("a.com", "/", to("one")), asking),
            filtered(rule("b.com", "/", to("one")), copying),
        ];
        let world = World::serve(&balancer, &authorities(&[("ca", &right.pem)]));
        let mut client = Client::http1(world.http).await;
        let answer = client.send(get("a.com", "/")).await.unwrap();
        assert_eq!(answer.status(), want, "{}", answer.body);
        let answer = client.send(get("b.com", "/copied")).await.unwrap();
        assert_eq!(answer.status(), 200);
        let totals = || world.handle.totals();
        until("the copy is settled", || {
            totals().mirrored + totals().unmirrored == 1
        })
        .await;
        let paths: Vec<String> = seen
            .lock()
            .unwrap()
            .iter()
            .map(|(_, path)| path.clone())
            .collect();
        let want: &[&str] = if want == 200 { &["/asked", "/copied"] } else { &[] };
        assert_eq!(paths, want);
    }
}
