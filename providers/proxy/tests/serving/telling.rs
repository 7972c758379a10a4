//! What a process is told about those before it in; what backends and clients are told out.

use http::Request;
use portcullis_model::{Action, Direction, Filters, Port, Redirect, Rule, Template};
use portcullis_proxy::{ServedPorts, ServerConfig, TrustedField};

use crate::balancer::{KeyPairs, all_to, backend, empty, filtered, rule, serve_as, to, with_certificates};
use crate::client::{Answer, Client, Sent, get_once, tls};
use crate::echo::Echo;
use crate::fields::changes;
use crate::secure::key_pair;

async fn ask(client: &mut Client, fields: &[(&str, &str)], path: &str) -> Answer {
    let mut request = Request::get(path).header("host", "shop.example:8080");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(Sent::default()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn backends_are_told_in_forwarded_where_it_is_asked_for() {
    let echo = Echo::http1("one").await;
    let mut balancer = empty();
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one.into());
    let changing = Filters {
        request_headers: Some(changes(Direction::Request, &[("x-set", "1")], &[], &[])),
        ..Filters::default()
    };
    *balancer.rules = vec![
        filtered(rule("*", "/changed", to("one")), changing),
        rule("*", "/", to("one")),
    ];
    let said = [
        ("forwarded", "for=203.0.113.9"),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-proto", "https"),
    ];
    let alone = r#"for=127.0.0.1;host="shop.example:8080";proto=http"#;
    let through = r#"for=198.51.100.1;host="shop.example:8080";proto=https, for=127.0.0.1"#;
    let by_forwarded = r#"for=203.0.113.9;host="shop.example:8080";proto=http, for=127.0.0.1"#;
    let (x, standard) = (TrustedField::XForwarded, TrustedField::Forwarded);
    for (trusted, field, tells, want) in [
        (&[][..], x, true, &[alone][..]),
        (&["127.0.0.0/8"][..], x, true, &[through]),
        (&["127.0.0.0/8"], standard, true, &[by_forwarded]),
        (&[], x, false, &[]),
        (&["127.0.0.0/8"], x, false, &[]),
        (&["127.0.0.0/8"], standard, false, &[]),
    ] {
        let mut config = ServerConfig {
            trusted: trusted.iter().map(|range| range.parse().unwrap()).collect(),
            ..ServerConfig::default()
        };
        config.settings.tells_forwarded = tells;
        config.settings.trusted_field = field;
        let proxy = serve_as(&balancer, &KeyPairs::new(), config);
        for path in ["/", "/changed"] {
            for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
                let answer = ask(&mut client, &said, path).await;
                assert_eq!(answer.seen("forwarded"), want, "{trusted:?} {field:?} {path}");
            }
        }
    }
}

#[tokio::test]
async fn who_a_user_is_only_a_peer_that_identifies_says() {
    let echo = Echo::http1("one").await;
    let said = [
        ("x-forwarded-for", "198.51.100.1"),
        ("forwarded", "for=203.0.113.9"),
        // CGI takes these for the same, and no load balancer writes them.
        ("x_forwarded_for", "192.0.2.9"),
        ("x-forwarded_proto", "https"),
        ("x_real_ip", "192.0.2.9"),
        ("x-forwarded-user", "ann"),
        ("x-amzn-oidc-identity", "ann"),
        ("x-amzn-mtls-clientcert-subject", "CN=ann"),
    ];
    let (x, standard) = (
        (TrustedField::XForwarded, "198.51.100.1, 127.0.0.1"),
        (TrustedField::Forwarded, "203.0.113.9"),
    );
    for ((field, client), identify, want) in [
        (x, false, &[][..]),
        (x, true, &["ann"][..]),
        (standard, false, &[]),
        (standard, true, &["ann"]),
    ] {
        let mut config = ServerConfig {
            trusted: vec!["127.0.0.0/8".parse().unwrap()],
            ..ServerConfig::default()
        };
        config.settings.trusted_identify = identify;
        config.settings.trusted_field = field;
        let proxy = serve_as(&all_to(backend("one", &[echo.address])), &KeyPairs::new(), config);
        let answer = ask(&mut Client::http1(proxy.http).await, &said, "/").await;
        assert_eq!(answer.seen("x-forwarded-for"), [client]);
        for name in ["x_forwarded_for", "x-forwarded_proto", "x_real_ip"] {
            assert_eq!(answer.seen(name), [""; 0], "{field:?} {name}");
        }
        for name in ["x-forwarded-user", "x-amzn-oidc-identity"] {
            assert_eq!(answer.seen(name), want, "{field:?} {name}");
        }
        let is_shown = !answer.seen("x-amzn-mtls-clientcert-subject").is_empty();
        assert_eq!(is_shown, identify, "{field:?}");
    }
}

/// Most Ingresses have no certificate where a load balancer in front ends TLS.
#[tokio::test]
async fn behind_a_peer_that_ends_tls_rules_of_http_alone_answer_too() {
    let echo = Echo::http1("one").await;
    let alone = |host: &str, path: &str, action: Action| Rule {
        ports: [Port::HTTP].into(),
        ..rule(host, path, action)
    };
    let mut balancer = with_certificates(empty(), &[("web", &["a.com"])]);
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one.into());
    let elsewhere = Redirect {
        host: Some(Template::parse("new.com").unwrap()),
        ..Redirect::to_https(Port::HTTPS)
    };
    *balancer.rules = vec![
        alone("a.com", "/", Action::Redirect(Redirect::to_https(Port::HTTPS))),
        Rule {
            ports: [Port::HTTPS].into(),
            ..rule("a.com", "/shop", to("one"))
        },
        alone("plain.com", "/", to("one")),
        alone("old.com", "/", Action::Redirect(elsewhere)),
    ];
    let mut plain_only = balancer.clone();
    plain_only.listeners.remove(&Port::HTTPS);
    for (name, balancer, trusted, asked) in [
        (
            "with HTTPS",
            &balancer,
            "127.0.0.0/8",
            [
                ("a.com", "/shop", 200),
                ("a.com", "/", 404),
                ("plain.com", "/", 200),
                ("old.com", "/", 301),
            ],
        ),
        (
            "without",
            &plain_only,
            "127.0.0.0/8",
            [
                ("a.com", "/shop", 301),
                ("b.com", "/", 404),
                ("plain.com", "/", 200),
                ("old.com", "/", 301),
            ],
        ),
        (
            "not trusted",
            &balancer,
            "10.0.0.0/8",
            [
                ("a.com", "/shop", 301),
                ("a.com", "/", 301),
                ("plain.com", "/", 200),
                ("old.com", "/", 301),
            ],
        ),
    ] {
        let (pair, _) = key_pair("web", &["a.com"]);
        let config = ServerConfig {
            trusted: vec![trusted.parse().unwrap()],
            ..ServerConfig::default()
        };
        let proxy = serve_as(balancer, &[pair].into(), config);
        let mut client = Client::http1(proxy.http).await;
        for (host, path, want) in asked {
            let request = Request::get(path)
                .header("host", host)
                .header("x-forwarded-proto", "https")
                .body(Sent::default());
            let answer = client.send(request.unwrap()).await.unwrap();
            assert_eq!(answer.status(), want, "{name}: {host}{path}");
            if want == 200 {
                let told = if trusted == "127.0.0.0/8" { "https" } else { "http" };
                assert_eq!(answer.seen("x-forwarded-proto"), [told], "{name}: {host}{path}");
            }
        }
    }
}

/// As behind a Service that maps 80 and 443 to ports that need no rights.
#[tokio::test]
async fn the_ports_that_clients_reach_are_named() {
    let echo = Echo::http1("one").await;
    let (pair, certificate) = key_pair("web", &["a.com"]);
    let mut balancer = with_certificates(empty(), &[("web", &["a.com"])]);
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one.into());
    let away = Redirect::to_https(Port::HTTPS);
    *balancer.rules = vec![
        rule("a.com", "/moved", Action::Redirect(away)),
        rule("*", "/", to("one")),
    ];
    let config = ServerConfig {
        advertised: ServedPorts {
            http: Some(Port::HTTP),
            https: Some(Port::HTTPS),
            ..ServedPorts::default()
        },
        ..ServerConfig::default()
    };
    let proxy = serve_as(&balancer, &[pair].into(), config);
    let moved = get_once(proxy.http, "a.com", "/moved").await;
    assert_eq!(moved.header("location"), Some("https://a.com/moved"));
    let plain = get_once(proxy.http, "a.com", "/").await;
    assert_eq!(plain.seen("x-forwarded-port"), ["80"]);
    let stream = tls(proxy.https, "a.com", &[certificate], &[]).await.unwrap();
    let mut client = Client::http1_over(stream).await;
    let answer = ask(&mut client, &[], "/").await;
    assert_eq!(answer.seen("x-forwarded-port"), ["443"]);
}
