//! Listeners with sockets of their own in; which rules answer at which socket, whatever clients name, out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::slice::from_ref;

use hyper::Request;
use portcullis_model::{
    Action, FixedResponse, Listener, LoadBalancer, Port, Protocol, Redirect, Rule, Template, Tls,
};
use portcullis_proxy::{
    Further, Material, ServedPorts, Server, ServerConfig, ServingState, Settings, UnknownNames,
};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS12;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::balancer::{KeyPairs, Proxy, backend, empty, engine, rule, serve_as, to, with_certificates};
use crate::client::{Answer, Client, get, get_once, raw, tls};
use crate::echo::Echo;
use crate::mutual::{Authority, asking, authorities, verify};
use crate::secure::key_pair;

const HOST: &str = "a.example.com";

fn port(number: i64) -> Port {
    Port::new(number).unwrap()
}

fn saying(text: &str) -> Action {
    Action::Fixed(FixedResponse::new(200, None, Some(text.to_owned())).unwrap())
}

fn at(ports: &[i64], mut rule: Rule) -> Rule {
    rule.ports = ports.iter().map(|number| port(*number)).collect();
    rule
}

/// Listeners for HTTP at 80 and 8081, for HTTPS at 443 and 8443.
fn balancer(rules: Vec<Rule>) -> LoadBalancer {
    let mut balancer = with_certificates(empty(), &[("web", &[HOST])]);
    for (number, like) in [(8081, Port::HTTP), (8443, Port::HTTPS)] {
        let like = balancer.listeners[&like].clone();
        let port = port(number);
        balancer.listeners.insert(port, Listener { port, ..like });
    }
    *balancer.rules = rules;
    balancer
}

/// At free ports of loopback.
fn further(wanted: &[(i64, bool)]) -> BTreeMap<Port, Further> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let wanted = wanted.iter();
    wanted
        .map(|(number, is_tls)| {
            let further = Further {
                address,
                is_tls: *is_tls,
            };
            (port(*number), further)
        })
        .collect()
}

struct World {
    proxy: Proxy,
    trusted: CertificateDer<'static>,
    keys: KeyPairs,
}

impl World {
    fn serve(balancer: &LoadBalancer, config: ServerConfig) -> Self {
        let (pair, trusted) = key_pair("web", &[HOST]);
        let keys = KeyPairs::from([pair]);
        let proxy = serve_as(balancer, &keys, config);
        Self { proxy, trusted, keys }
    }

    fn both(balancer: &LoadBalancer) -> Self {
        let config = ServerConfig {
            further: further(&[(8081, false), (8443, true)]),
            ..ServerConfig::default()
        };
        Self::serve(balancer, config)
    }

    fn address(&self, number: i64) -> SocketAddr {
        match number {
            80 => self.proxy.http,
            443 => self.proxy.https,
            _ => self.proxy.handle.further()[&port(number)].address,
        }
    }

    async fn client(&self, number: i64, http2: bool) -> Client {
        let stream = TcpStream::connect(self.address(number)).await.unwrap();
        let is_tls = number % 1000 == 443;
        match (is_tls, http2) {
            (false, false) => Client::http1_over(stream).await,
            (false, true) => Client::http2_over(stream).await,
            (true, http2) => {
                let offered = if http2 { &["h2"][..] } else { &[] };
                let address = self.address(number);
                let stream = tls(address, HOST, from_ref(&self.trusted), offered)
                    .await
                    .unwrap();
                match http2 {
                    true => Client::http2_over(stream).await,
                    false => Client::http1_over(stream).await,
                }
            }
        }
    }

    async fn ask(&self, number: i64, authority: &str, path: &str) -> Answer {
        let mut client = self.client(number, false).await;
        client.send(get(authority, path)).await.unwrap()
    }

    fn change(&self, balancer: &LoadBalancer, served: ServedPorts) {
        let before = self.proxy.handle.state();
        let built = ServingState::build(balancer.clone(), &self.keys, Some(&before), served);
        self.proxy.handle.swap(built.unwrap().0);
    }

    /// As the server says it of itself.
    fn served(&self) -> ServedPorts {
        let reached = |further: &Further| port(further.address.port().into());
        let further = self.proxy.handle.further().iter();
        ServedPorts {
            http: Some(port(self.proxy.http.port().into())),
            https: Some(port(self.proxy.https.port().into())),
            further: further.map(|(own, further)| (*own, reached(further))).collect(),
        }
    }
}

#[tokio::test]
async fn a_listener_with_a_socket_of_its_own_is_reached_there_alone_whatever_clients_name() {
    let rules = vec![
        at(&[80], rule(HOST, "/", saying("80"))),
        at(&[443], rule(HOST, "/", saying("443"))),
        at(&[8081], rule(HOST, "/", saying("8081"))),
        at(&[8443], rule(HOST, "/", saying("8443"))),
    ];
    let world = World::both(&balancer(rules));
    assert_eq!(world.proxy.problems, []);
    for number in [80, 443, 8081, 8443] {
        let reached = world.address(number).port();
        for named in [
            HOST.to_owned(),
            format!("{HOST}:{reached}"),
            format!("{HOST}:80"),
            format!("{HOST}:443"),
            format!("{HOST}:8081"),
            format!("{HOST}:8443"),
        ] {
            let answer = world.ask(number, &named, "/").await;
            assert_eq!(answer.body, number.to_string(), "{named} at {number}");
            let scheme = if number % 1000 == 443 { "https" } else { "http" };
            let request = Request::get(format!("{scheme}://{named}/"));
            let mut client = world.client(number, true).await;
            let answer = client.send(request.body(Default::default()).unwrap()).await;
            assert_eq!(
                answer.unwrap().body,
                number.to_string(),
                "{named} at {number}, HTTP/2"
            );
        }
    }
    // The same in the other form of a target.
    let line = format!("GET http://{HOST}:8081/ HTTP/1.1\r\nhost: {HOST}:8081\r\nconnection: close\r\n\r\n");
    let answer = raw(world.proxy.http, line.as_bytes()).await;
    assert!(answer.ends_with("\r\n\r\n80"), "{answer}");
}

#[tokio::test]
async fn what_has_no_rule_at_the_usual_sockets_is_not_there() {
    let rules = vec![
        at(&[8443], rule(HOST, "/", saying("8443"))),
        at(&[8081], rule(HOST, "/", saying("8081"))),
    ];
    let mut without = balancer(rules);
    let world = World::both(&without);
    for (number, want) in [(80, 404), (443, 404), (8081, 200), (8443, 200)] {
        let answer = world.ask(number, &format!("{HOST}:8443"), "/").await;
        assert_eq!(answer.status(), want, "{number}");
    }
    // Nor is it where there is no other listener.
    without.listeners.remove(&Port::HTTP);
    without.listeners.remove(&Port::HTTPS);
    world.change(&without, world.served());
    for (number, want) in [(80, 404), (443, 404), (8081, 200), (8443, 200)] {
        let answer = world.ask(number, &format!("{HOST}:8443"), "/").await;
        assert_eq!(answer.status(), want, "{number}");
    }
}

#[tokio::test]
async fn a_listener_comes_and_goes_while_its_socket_stays() {
    let rules = || {
        vec![
            at(&[443], rule(HOST, "/", saying("443"))),
            at(&[8443], rule(HOST, "/", saying("8443"))),
        ]
    };
    let with = balancer(rules());
    let mut without = balancer(vec![rules().remove(0)]);
    without.listeners.remove(&port(8443));
    let world = World::both(&without);
    let mut open = world.client(8443, false).await;
    for (balancer, want) in [(&without, 404), (&with, 200), (&without, 404), (&with, 200)] {
        world.change(balancer, world.served());
        let kept = open.send(get(HOST, "/")).await.unwrap();
        assert_eq!(kept.status(), want, "{}", kept.body);
        assert_eq!(world.ask(8443, HOST, "/").await.status(), want);
        assert_eq!(world.ask(443, &format!("{HOST}:8443"), "/").await.body, "443");
    }
}

#[tokio::test]
async fn a_listener_of_the_other_protocol_is_not_served() {
    let rules = vec![
        at(&[8081], rule(HOST, "/", saying("8081"))),
        at(&[8443], rule(HOST, "/", saying("8443"))),
    ];
    let config = ServerConfig {
        further: further(&[(8081, true), (8443, false)]),
        ..ServerConfig::default()
    };
    let world = World::serve(&balancer(rules), config);
    let plain = get_once(world.address(8443), HOST, "/").await;
    assert_eq!(plain.status(), 404, "{}", plain.body);
    let stream = tls(world.address(8081), HOST, from_ref(&world.trusted), &[]).await;
    let mut client = Client::http1_over(stream.unwrap()).await;
    let answer = client.send(get(HOST, "/")).await.unwrap();
    assert_eq!(answer.status(), 404, "{}", answer.body);
}

#[tokio::test]
async fn redirects_and_backends_are_told_the_port_that_clients_reach() {
    let echo = Echo::http1("one").await;
    let here = Redirect {
        path: Some(Template::parse("/there").unwrap()),
        port: None,
        ..Redirect::to_https(Port::HTTPS)
    };
    let rules = vec![
        at(
            &[80, 8081],
            rule(HOST, "/secure", Action::Redirect(Redirect::to_https(port(8443)))),
        ),
        at(
            &[8443],
            rule(HOST, "/usual", Action::Redirect(Redirect::to_https(Port::HTTPS))),
        ),
        at(&[8081, 8443], rule(HOST, "/here", Action::Redirect(here))),
        at(&[80, 443, 8081, 8443], rule("*", "/", to("one"))),
    ];
    let mut balancer = balancer(rules);
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one.into());
    for advertised in [
        ServedPorts::default(),
        ServedPorts {
            https: Some(Port::HTTPS),
            further: [(port(8443), port(8443))].into(),
            ..ServedPorts::default()
        },
    ] {
        let config = ServerConfig {
            advertised: advertised.clone(),
            further: further(&[(8081, false), (8443, true)]),
            ..ServerConfig::default()
        };
        let world = World::serve(&balancer, config);
        let own = advertised.further.get(&port(8443)).map(|port| port.get());
        let own = own.unwrap_or_else(|| world.address(8443).port());
        let usual = advertised.https.map(|port| port.get());
        let usual = match usual.unwrap_or_else(|| world.proxy.https.port()) {
            443 => String::new(),
            usual => format!(":{usual}"),
        };
        for (number, path, want) in [
            (80, "/secure", format!("https://{HOST}:{own}/secure")),
            (8081, "/secure", format!("https://{HOST}:{own}/secure")),
            (8443, "/usual", format!("https://{HOST}{usual}/usual")),
            (8443, "/here", format!("https://{HOST}:{own}/there")),
        ] {
            let answer = world.ask(number, HOST, path).await;
            assert_eq!(answer.header("location"), Some(&*want), "{number}{path}");
        }
        let told = world.ask(8443, HOST, "/").await;
        assert_eq!(told.seen("x-forwarded-port"), [own.to_string()]);
        let told = world.ask(8081, HOST, "/").await;
        assert_eq!(
            told.seen("x-forwarded-port"),
            [world.address(8081).port().to_string()]
        );
    }
}

#[tokio::test]
async fn who_may_connect_is_a_matter_of_each_listener() {
    let rules = vec![at(&[80, 8081], rule(HOST, "/", saying("here")))];
    let mut balancer = balancer(rules);
    let others = "192.0.2.0/24".parse().unwrap();
    balancer.options.admitted.insert(port(8081), [others].into());
    let config = ServerConfig {
        further: further(&[(8081, false)]),
        proxy_protocol: vec!["127.0.0.2/32".parse().unwrap()],
        ..ServerConfig::default()
    };
    let world = World::serve(&balancer, config);
    assert_eq!(world.ask(80, &format!("{HOST}:8081"), "/").await.status(), 200);
    assert_eq!(world.ask(8081, &format!("{HOST}:80"), "/").await.status(), 403);
    // Whoever is in front says at this socket, too, for whom it speaks.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(world.address(8081)).await.unwrap();
    stream
        .write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n")
        .await
        .unwrap();
    let mut client = Client::http1_over(stream).await;
    assert_eq!(client.send(get(HOST, "/")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn clients_are_asked_for_certificates_and_versions_by_socket_and_host() {
    let authority = Authority::new("clients");
    let strict = |listener: &mut Listener| {
        let Protocol::Https(tls) = &mut listener.protocol else {
            panic!("it speaks HTTPS");
        };
        *tls = Tls {
            policy: Some("ELBSecurityPolicy-TLS13-1-3-2021-06".to_owned()),
            ..tls.clone()
        };
    };
    for (asks, is_strict) in [(8443, 443), (443, 8443)] {
        let other = if asks == 443 { 8443 } else { 443 };
        let rules = vec![
            asking(at(&[asks], rule(HOST, "/", saying("asks"))), verify(false)),
            at(&[other], rule(HOST, "/", saying("asks nothing"))),
        ];
        let mut balancer = balancer(rules);
        strict(balancer.listeners.get_mut(&port(is_strict)).unwrap());
        let (pair, trusted) = key_pair("web", &[HOST]);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(&ServerConfig {
            https: Some(any),
            further: further(&[(8443, true)]),
            settings: Settings {
                http1_engine: engine(),
                ..Settings::default()
            },
            ..ServerConfig::default()
        })
        .unwrap();
        let addresses = BTreeMap::from([
            (443, server.https_addr().unwrap()),
            (8443, server.further()[&port(8443)].address),
        ]);
        let keys = KeyPairs::from([pair]);
        let material = Material {
            key_pairs: &keys,
            authorities: &authorities(&authority),
            users: &Default::default(),
            unknown_names: &UnknownNames::First,
        };
        let built = ServingState::build(balancer, material, None, server.served_ports());
        let (state, problems) = built.unwrap();
        assert_eq!(problems, []);
        let _handle = server.start(state).unwrap();

        let roots = || {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(trusted.clone()).unwrap();
            roots
        };
        let with = |identity: bool| {
            let config = ClientConfig::builder().with_root_certificates(roots());
            match identity {
                false => config.with_no_client_auth(),
                true => {
                    let known = authority.signs("till-7", 2040);
                    let key = known.key.clone_key();
                    config.with_client_auth_cert(known.chain, key).unwrap()
                }
            }
        };
        let old = ClientConfig::builder_with_protocol_versions(&[&TLS12]);
        let old = old.with_root_certificates(roots()).with_no_client_auth();
        for (number, config, want) in [
            (asks, with(true), Some("asks")),
            (asks, with(false), None),
            (other, with(false), Some("asks nothing")),
            (is_strict, old.clone(), None),
            (other, old, (is_strict != other).then_some("asks nothing")),
        ] {
            let answer = answered(addresses[&number], config).await;
            assert_eq!(answer.as_deref(), want, "at {number}, where {asks} asks");
        }
    }
}

/// What a client gets, if anything.
async fn answered(address: SocketAddr, config: ClientConfig) -> Option<String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = HOST.try_into().unwrap();
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector.connect(name, stream).await.ok()?;
    let answer = Client::http1_over(stream).await.send(get(HOST, "/")).await;
    Some(answer.ok()?.body)
}

#[cfg(feature = "http3")]
#[tokio::test]
async fn http3_is_told_to_be_missing_at_a_further_socket() {
    let rules = vec![at(&[443, 8443], rule(HOST, "/", saying("here")))];
    let mut balancer = balancer(rules);
    balancer.options.http3 = true;
    // Who has the port learns of it; who wished for HTTP/3 may be another.
    let port = portcullis_model::ObjectName::new("shop", "ports");
    let of_port = portcullis_model::Origin::new("ingress", port, "");
    let further = balancer.listeners.values_mut().find(|l| l.port.get() == 8443);
    further.unwrap().origin = of_port.clone();
    let world = World::both(&balancer);
    let told: Vec<_> = world.proxy.problems.iter().map(|p| (p.code, &p.at)).collect();
    assert_eq!(told, [(portcullis_model::Code::OptionUnsupported, &of_port)]);
    let offered = |answer: &Answer| answer.header("alt-svc").map(str::to_owned);
    assert_eq!(offered(&world.ask(8443, HOST, "/").await), None);
    assert!(offered(&world.ask(443, HOST, "/").await).is_some());
}
