//! Certificates and server names in, which handshakes succeed and with what out.

use hyper::service::service_fn;
use portcullis_model::{BackendVersion, CertificateSource, Code, HostMatch, ObjectName, Port, Protocol, Tls};
use portcullis_proxy::{KeyPairPem, ServedPorts, ServingState, Settings};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;

use crate::balancer::{KeyPairs, all_to, backend, empty, serve, serve_with, speaking, with_certificates};
use crate::client::{Client, get, get_once, tls};
use crate::echo::{Echo, acceptor, converse, echo};

/// A Secret of the namespace `shop` with a certificate that signs itself, and that certificate.
pub(crate) fn key_pair(name: &str, hosts: &[&str]) -> ((ObjectName, KeyPairPem), CertificateDer<'static>) {
    let hosts: Vec<String> = hosts.iter().map(|h| (*h).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(hosts).unwrap();
    let pem = KeyPairPem::new(
        made.cert.pem().as_bytes(),
        made.signing_key.serialize_pem().as_bytes(),
    );
    ((ObjectName::new("shop", name), pem), made.cert.der().clone())
}

#[tokio::test]
async fn the_server_name_chooses_the_certificate() {
    let hosts: [(&str, &[&str]); 3] = [
        ("default", &["www.example.com"]),
        ("exact", &["a.example.com"]),
        ("wildcard", &["*.example.com"]),
    ];
    let mut keys = KeyPairs::new();
    let mut certificates = Vec::new();
    for (name, names) in hosts {
        let ((secret, pem), certificate) = key_pair(name, &[names[0], "unknown.org"]);
        keys.insert(secret, pem);
        certificates.push(certificate);
    }
    let proxy = serve_with(&with_certificates(empty(), &hosts), &keys, Settings::default(), 1);
    assert_eq!(proxy.problems, []);
    for (name, want) in [
        ("www.example.com", 0),
        ("a.example.com", 1),
        ("A.Example.Com", 1),
        ("b.example.com", 2),
        ("unknown.org", 0),
    ] {
        let stream = tls(proxy.https, name, &certificates, &[]).await.unwrap();
        let served = &stream.get_ref().1.peer_certificates().unwrap()[0];
        assert_eq!(
            certificates.iter().position(|c| c == served),
            Some(want),
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_client_chooses_the_version_of_http() {
    let echo = Echo::http1("one").await;
    let (secret, certificate) = key_pair("web", &["a.example.com"]);
    let balancer = with_certificates(
        all_to(backend("one", &[echo.address])),
        &[("web", &["a.example.com"])],
    );
    let proxy = serve_with(&balancer, &KeyPairs::from([secret]), Settings::default(), 2);
    let certificates = [certificate];
    for (offered, want) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream = tls(proxy.https, "a.example.com", &certificates, offered)
            .await
            .unwrap();
        let chosen = stream
            .get_ref()
            .1
            .alpn_protocol()
            .map(|p| String::from_utf8(p.to_vec()).unwrap());
        assert_eq!(chosen.as_deref(), want);
        let (mut client, uri) = if want == Some("h2") {
            (Client::http2_over(stream).await, "https://a.example.com/x")
        } else {
            (Client::http1_over(stream).await, "/x")
        };
        let mut request = get("a.example.com", uri);
        if want == Some("h2") {
            request.headers_mut().remove("host");
        }
        let answer = client.send(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{offered:?}");
        assert_eq!(answer.seen("x-forwarded-proto"), ["https"], "{offered:?}");
        assert_eq!(
            answer.seen("x-forwarded-port"),
            [proxy.https.port().to_string()],
            "{offered:?}"
        );
    }
}

#[tokio::test]
async fn http_3_is_told_where_it_is_not_built() {
    let (secret, _) = key_pair("web", &["a.example.com"]);
    let mut balancer = with_certificates(empty(), &[("web", &["a.example.com"])]);
    balancer.options.http3 = true;
    let proxy = serve_with(&balancer, &KeyPairs::from([secret]), Settings::default(), 1);
    let told: Vec<Code> = proxy.problems.iter().map(|problem| problem.code).collect();
    let want = if cfg!(feature = "http3") {
        vec![]
    } else {
        vec![Code::OptionUnsupported]
    };
    assert_eq!(told, want);
}

#[tokio::test]
async fn a_broken_key_pair_is_told_and_its_neighbours_are_served() {
    let ((good, good_pem), certificate) = key_pair("good", &["good.example.com"]);
    let other = KeyPair::generate().unwrap();
    let made = CertificateParams::new(vec!["bad.example.com".to_owned()])
        .unwrap()
        .self_signed(&other)
        .unwrap();
    let chain = made.pem();
    let foreign_key = KeyPair::generate().unwrap().serialize_pem();
    let own_key = other.serialize_pem();
    let not_der = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let bad_base64 = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
    for (name, chain, key, want) in [
        ("nothing", "", "", Code::SecretInvalid),
        ("no PEM", "hello", own_key.as_str(), Code::SecretInvalid),
        ("not base64", bad_base64, &own_key, Code::SecretInvalid),
        ("no certificate in it", not_der, &own_key, Code::SecretInvalid),
        ("no key", &chain, "", Code::SecretInvalid),
        ("no key in it", &chain, bad_key, Code::SecretInvalid),
        ("chain and key swapped", &own_key, &chain, Code::SecretInvalid),
        (
            "another's key",
            &chain,
            &foreign_key,
            Code::CertificateKeyMismatch,
        ),
    ] {
        let keys = KeyPairs::from([
            (good.clone(), good_pem.clone()),
            (
                ObjectName::new("shop", "bad"),
                KeyPairPem::new(chain.as_bytes(), key.as_bytes()),
            ),
        ]);
        let wanted: [(&str, &[&str]); 3] = [
            ("bad", &["bad.example.com"]),
            ("good", &["good.example.com"]),
            ("gone", &["gone.example.com"]),
        ];
        let proxy = serve_with(
            &with_certificates(empty(), &wanted),
            &keys,
            Settings::default(),
            1,
        );
        let codes: Vec<Code> = proxy.problems.iter().map(|p| p.code).collect();
        assert_eq!(
            codes,
            [want, Code::SecretNotFound],
            "{name}: {:?}",
            proxy.problems
        );
        for part in key
            .lines()
            .filter(|line| line.len() > 20 && !line.starts_with('-'))
        {
            assert!(
                !format!("{:?}", proxy.problems).contains(part),
                "{name}: a key is told"
            );
        }
        let trusted = std::slice::from_ref(&certificate);
        assert!(
            tls(proxy.https, "good.example.com", trusted, &[]).await.is_ok(),
            "{name}"
        );
        // The first certificate would serve unknown names; it is broken, so they are refused.
        let refused = tls(proxy.https, "bad.example.com", trusted, &[])
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("alert"), "{name}: {refused}");
    }
    assert_eq!(format!("{good_pem:?}"), "KeyPairPem(redacted)");
}

#[tokio::test]
async fn an_expired_certificate_is_served() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let made = params.self_signed(&key).unwrap();
    let pem = KeyPairPem::new(made.pem().as_bytes(), key.serialize_pem().as_bytes());
    let keys = KeyPairs::from([(ObjectName::new("shop", "old"), pem)]);
    let proxy = serve_with(
        &with_certificates(empty(), &[("old", &["a.example.com"])]),
        &keys,
        Settings::default(),
        1,
    );
    assert_eq!(proxy.problems, []);
    let error = tls(proxy.https, "a.example.com", &[made.der().clone()], &[])
        .await
        .unwrap_err();
    assert!(error.to_string().to_lowercase().contains("expired"), "{error}");
}

#[tokio::test]
async fn without_a_certificate_every_handshake_is_refused() {
    let proxy = serve(&empty());
    assert!(tls(proxy.https, "a.example.com", &[], &[]).await.is_err());
    assert_eq!(get_once(proxy.http, "a.example.com", "/").await.status(), 404);
}

#[tokio::test]
async fn of_two_secrets_for_a_host_the_first_serves() {
    let ((one, one_pem), first) = key_pair("one", &["a.example.com"]);
    let ((two, two_pem), second) = key_pair("two", &["a.example.com"]);
    let keys = KeyPairs::from([(one, one_pem), (two, two_pem)]);
    let wanted: [(&str, &[&str]); 2] = [("two", &["a.example.com"]), ("one", &["a.example.com"])];
    let proxy = serve_with(
        &with_certificates(empty(), &wanted),
        &keys,
        Settings::default(),
        1,
    );
    assert_eq!(
        proxy.problems.iter().map(|p| p.code).collect::<Vec<_>>(),
        [Code::CertificateConflict]
    );
    let stream = tls(proxy.https, "a.example.com", &[first, second.clone()], &[])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], second);
}

#[tokio::test]
async fn a_certificate_is_discovered_in_the_namespace_that_asks() {
    let ((secret, pem), certificate) = key_pair("wild", &["*.example.com"]);
    for (namespace, want) in [
        ("shop", &[][..]),
        ("other", &[Code::CertificateNotFound, Code::CertificateNotFound]),
    ] {
        let keys = KeyPairs::from([(ObjectName::new(namespace, &*secret.name), pem.clone())]);
        let mut balancer = with_certificates(empty(), &[("-", &["a.example.com", "*.example.com"])]);
        let listener = balancer.listeners.get_mut(&Port::HTTPS).unwrap();
        let Protocol::Https(Tls { certificates, .. }) = &mut listener.protocol else {
            unreachable!()
        };
        certificates[0].source = CertificateSource::Discovered;
        let proxy = serve_with(&balancer, &keys, Settings::default(), 1);
        assert_eq!(
            proxy.problems.iter().map(|p| p.code).collect::<Vec<_>>(),
            want,
            "{namespace}"
        );
        let served = tls(
            proxy.https,
            "a.example.com",
            std::slice::from_ref(&certificate),
            &[],
        )
        .await;
        assert_eq!(served.is_ok(), want.is_empty(), "{namespace}");
    }
}

#[tokio::test]
async fn an_unknown_policy_is_served_strictly() {
    for (policy, problems, tls12) in [
        (None, 0, true),
        (Some("ELBSecurityPolicy-TLS13-1-2-2021-06"), 0, true),
        (Some("ELBSecurityPolicy-TLS13-1-3-2021-06"), 0, false),
        (Some("modern"), 1, false),
    ] {
        let ((secret, pem), certificate) = key_pair("web", &["a.example.com"]);
        let mut balancer = with_certificates(empty(), &[("web", &["a.example.com"])]);
        let listener = balancer.listeners.get_mut(&Port::HTTPS).unwrap();
        let Protocol::Https(tls) = &mut listener.protocol else {
            unreachable!()
        };
        tls.policy = policy.map(str::to_owned);
        let proxy = serve_with(
            &balancer,
            &KeyPairs::from([(secret, pem)]),
            Settings::default(),
            1,
        );
        assert_eq!(proxy.problems.len(), problems, "{policy:?}: {:?}", proxy.problems);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let config = rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(proxy.https).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        let done = connector
            .connect("a.example.com".try_into().unwrap(), stream)
            .await;
        assert_eq!(done.is_ok(), tls12, "{policy:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_serves_the_next_handshake() {
    let ((secret, old_pem), old) = key_pair("web", &["a.example.com"]);
    let ((_, new_pem), new) = key_pair("web", &["a.example.com"]);
    let echo = Echo::http1("one").await;
    let balancer = with_certificates(
        all_to(backend("one", &[echo.address])),
        &[("web", &["a.example.com"])],
    );
    let proxy = serve_with(
        &balancer,
        &KeyPairs::from([(secret.clone(), old_pem)]),
        Settings::default(),
        1,
    );
    let certificates = [old.clone(), new.clone()];
    let mut kept = Client::http1_over(
        tls(proxy.https, "a.example.com", &certificates, &[])
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(kept.send(get("a.example.com", "/")).await.unwrap().status(), 200);

    let keys = KeyPairs::from([(secret, new_pem)]);
    let state = proxy.handle.state();
    let (next, _) = ServingState::build(balancer, &keys, Some(&state), ServedPorts::default()).unwrap();
    proxy.handle.swap(next);
    let stream = tls(proxy.https, "a.example.com", &certificates, &[])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0], new);
    assert_eq!(
        kept.send(get("a.example.com", "/")).await.unwrap().status(),
        200,
        "the open connection goes on"
    );
}

#[tokio::test]
async fn targets_are_reached_over_tls_without_verification() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let h2 = version == BackendVersion::Http2;
        let acceptor = acceptor(h2);
        let target = Echo::running(move |stream| {
            let acceptor = acceptor.clone();
            Box::pin(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                converse(stream, h2, service_fn(|request| echo("secret", request))).await;
            })
        })
        .await;
        let proxy = serve(&all_to(speaking(backend("b", &[target.address]), version, true)));
        let answer = get_once(proxy.http, "a.example.com", "/x").await;
        let want = if h2 {
            "GET https://a.example.com/x HTTP/2.0"
        } else {
            "GET /x HTTP/1.1"
        };
        assert_eq!(answer.body.lines().nth(1), Some(want), "{}", answer.body);
    }
}

/// `HostMatch` of a certificate may be a pattern in the model; nothing is served under it.
#[test]
fn a_host_pattern_names_no_certificate() {
    let ((secret, pem), _) = key_pair("web", &["a.example.com"]);
    let mut balancer = with_certificates(empty(), &[("web", &[])]);
    let listener = balancer.listeners.get_mut(&Port::HTTPS).unwrap();
    let Protocol::Https(Tls { certificates, .. }) = &mut listener.protocol else {
        unreachable!()
    };
    certificates[0].hosts = [HostMatch::Glob(portcullis_model::Glob::parse("a*").unwrap())].into();
    let keys = KeyPairs::from([(secret, pem)]);
    let built = ServingState::build(balancer, &keys, None, ServedPorts::default());
    assert_eq!(built.unwrap().1, []);
}
