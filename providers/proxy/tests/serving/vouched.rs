//! What clients say of certificates of their own in; what backends are told of those that were really verified out.

use std::sync::Arc;

use http::HeaderName;
use portcullis_model::{ClientCertificates, Direction, ExternalAuth, Filters};
use rcgen::SigningKey;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::balancer::{filtered, id, origin, rule, to};
use crate::client::{Client, get, raw, soon};
use crate::echo::Echo;
use crate::fields::changes;
use crate::mutual::{Authority, Identity, World, asking, authorities, balancer, verify};

/// As ingress-nginx says it, in every form that a backend behind CGI takes for that.
const CLAIMS: &str = "Ssl-Client-Verify: SUCCESS\r\nssl_client_verify: SUCCESS\r\n\
                      ssl-client-subject-dn: CN=root\r\nSSL_Client_Subject_DN: CN=root\r\n\
                      ssl-client_issuer-dn: CN=ours\r\nssl-client-cert: forged\r\nssl_client_cert: forged\r\n";

/// What the backend was told in such fields and trailers.
async fn told(world: &World, way: Way<'_>, host: &str, path: &str) -> Vec<String> {
    let answer = match way {
        Way::Plain => raw(world.http, claiming(host, path).as_bytes()).await,
        Way::Tls(identity) => {
            let mut stream = world.connect(&world.client(identity), host).await.unwrap();
            stream.write_all(claiming(host, path).as_bytes()).await.unwrap();
            let mut answer = String::new();
            let read = soon("an answer", stream.read_to_string(&mut answer)).await;
            read.unwrap();
            answer
        }
        Way::Http2(identity) => {
            let mut config = ClientConfig::clone(&world.client(identity));
            config.alpn_protocols = vec![b"h2".to_vec()];
            let stream = world.connect(&config.into(), host).await.unwrap();
            let mut request = get(host, path);
            for (name, value) in claims() {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                request.headers_mut().append(name, value.parse().unwrap());
            }
            let answer = Client::http2_over(stream).await.send(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{}", answer.body);
            answer.body
        }
    };
    if !matches!(way, Way::Http2(_)) {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // External auth has all trailers left out.
        let passes = answer.contains("\ntrailer x-sum: 1");
        assert_eq!(passes, path != "/auth", "{answer}");
    }
    let said = |line: &&str| !line.starts_with("trailer:") && line.replace('_', "-").contains("ssl-client");
    answer.lines().filter(said).map(str::to_owned).collect()
}

fn claims() -> impl Iterator<Item = (&'static str, &'static str)> {
    CLAIMS.lines().filter_map(|claim| claim.split_once(": "))
}

/// With the claims as fields and as trailers.
fn claiming(host: &str, path: &str) -> String {
    let names: Vec<&str> = claims().map(|(name, _)| name).collect();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{CLAIMS}transfer-encoding: chunked\r\n\
         trailer: x-sum, {}\r\n\r\n2\r\nx\n\r\n0\r\nx-sum: 1\r\n{CLAIMS}\r\n",
        names.join(", ")
    )
}

#[derive(Clone, Copy)]
enum Way<'a> {
    Plain,
    Tls(Option<&'a Identity>),
    Http2(Option<&'a Identity>),
}

#[tokio::test]
async fn only_a_certificate_that_was_verified_is_told_as_such() {
    let echo = Echo::http1("one").await;
    let (authority, other) = (Authority::new("Clients"), Authority::new("Clients"));
    let (known, unknown) = (authority.signs("till", 2090), other.signs("till", 2090));
    let set = changes(Direction::Request, &[("x-tenant", "t1")], &[], &["x-secret"]);
    let with_fields = Filters {
        request_headers: Some(set),
        ..Filters::default()
    };
    let consulted = ExternalAuth::new(id("one"), "/verify", Default::default(), origin());
    let with_auth = Filters {
        external_auth: Some(consulted.unwrap()),
        ..Filters::default()
    };
    let mut rules = Vec::new();
    for (host, clients) in [
        ("verified.example.com", verify(false)),
        ("passed.example.com", ClientCertificates::PassThrough),
        ("open.example.com", ClientCertificates::Off),
    ] {
        let with = |path, filters: &Filters| filtered(rule(host, path, to("one")), filters.clone());
        for rule in [
            with("/fields", &with_fields),
            with("/auth", &with_auth),
            rule(host, "/", to("one")),
        ] {
            rules.push(asking(rule, clients.clone()));
        }
    }
    let world = World::serve(&balancer(&echo, rules), &authorities(&authority));
    assert_eq!(world.problems, []);
    for path in ["/", "/fields", "/auth"] {
        for (case, way, host, want) in [
            ("plain HTTP", Way::Plain, "verified", None),
            ("plain HTTP", Way::Plain, "passed", None),
            ("plain HTTP", Way::Plain, "open", None),
            ("no certificate", Way::Tls(None), "open", None),
            ("no certificate", Way::Tls(None), "passed", None),
            ("not verified", Way::Tls(Some(&unknown)), "passed", None),
            ("not verified", Way::Tls(Some(&known)), "passed", None),
            ("not asked for", Way::Tls(Some(&known)), "open", None),
            ("not verified", Way::Http2(Some(&known)), "passed", None),
            ("not asked for", Way::Http2(Some(&known)), "open", None),
            (
                "verified",
                Way::Tls(Some(&known)),
                "verified",
                Some("ssl-client-verify: SUCCESS"),
            ),
            (
                "verified",
                Way::Http2(Some(&known)),
                "verified",
                Some("ssl-client-verify: SUCCESS"),
            ),
        ] {
            let got = told(&world, way, &format!("{host}.example.com"), path).await;
            assert_eq!(got, Vec::from_iter(want), "{case}: {host}{path}");
        }
    }
}

/// A value of DER with what stands behind it: its tag, its content, the rest. Source: X.690 §8.1.
fn value(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (start, length) = match der[1] {
        0x81 => (3, usize::from(der[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([der[2], der[3]]))),
        short => (2, usize::from(short)),
    };
    (der[0], &der[start..start + length], &der[start + length..])
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match length {
        [0, short] if short < 0x80 => vec![tag, short],
        [0, longer] => vec![tag, 0x81, longer],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [&head, content].concat()
}

/// The certificate signed anew; as one of version 1 it says no version and has no extensions. Source: RFC 5280 §4.1.
fn signed_anew(authority: &Authority, certificate: &[u8], is_version_1: bool) -> Vec<u8> {
    let (_, whole, _) = value(certificate);
    let (_, mut fields, signature) = value(whole);
    let (_, algorithm, _) = value(signature);
    let mut kept = Vec::new();
    while !fields.is_empty() {
        let (tag, content, rest) = value(fields);
        if !is_version_1 || !matches!(tag, 0xa0 | 0xa3) {
            kept.extend(der(tag, content));
        }
        fields = rest;
    }
    let kept = der(0x30, &kept);
    let signature = authority.issuer.key().sign(&kept).unwrap();
    let signature = der(3, &[&[0][..], &signature].concat());
    der(0x30, &[kept, der(0x30, algorithm), signature].concat())
}

#[tokio::test]
async fn a_certificate_of_version_1_is_none() {
    let echo = Echo::http1("one").await;
    let authority = Authority::new("Clients");
    let known = authority.signs("till", 2090);
    let rules = vec![asking(rule("a.example.com", "/", to("one")), verify(false))];
    let world = World::serve(&balancer(&echo, rules), &authorities(&authority));
    let key = any_supported_type(&known.key).unwrap();
    for (is_version_1, want) in [(false, true), (true, false)] {
        let certificate = signed_anew(&authority, &known.chain[0], is_version_1);
        let shown = CertifiedKey::new(vec![certificate.into()], key.clone());
        let mut roots = RootCertStore::empty();
        roots.add(world.trusted.clone()).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        let served = async {
            let stream = world.connect(&Arc::new(config), "a.example.com").await.ok()?;
            let mut client = Client::http1_over(stream).await;
            client.send(get("a.example.com", "/")).await.ok()
        };
        let status = soon("an answer, or the end", served)
            .await
            .map(|answer| answer.status());
        assert_eq!(status, want.then_some(200), "version 1: {is_version_1}");
    }
}
