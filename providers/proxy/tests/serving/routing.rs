//! Rules of every kind in, which of them answers and how out.

use std::collections::BTreeMap;

use hyper::Request;
use portcullis_model::redirect::{RedirectScheme, Template};
use portcullis_model::{
    Action, Authenticate, BackendVersion, ClientCertificates, Clients, Code, Condition, FixedResponse,
    Forward, HostMatch, JwtClaim, Method, OnUnauthenticated, Pattern, Port, Protocol, Redirect,
    RedirectStatus, Rewrite, RewritePart, Session, Stickiness, Tls, TrustStore, Weight, WeightedBackend,
};

use crate::balancer::{
    KeyPairs, all_to, backend, empty, id, origin, rule, serve, speaking, to, with_certificates,
};
use crate::client::{Client, Sent, get, get_once, raw};
use crate::echo::Echo;

fn fixed(status: u16, body: &str) -> Action {
    Action::Fixed(FixedResponse::new(status, Some("text/plain".into()), Some(body.into())).unwrap())
}

#[tokio::test]
async fn the_first_rule_that_takes_a_request_answers_it() {
    let mut balancer = empty();
    let mut posts = rule("a.example.com", "/", fixed(200, "posted"));
    posts.conditions = vec![Condition::Method(vec![Method::parse("POST").unwrap()])];
    let mut from_elsewhere = rule("a.example.com", "/", fixed(200, "elsewhere"));
    from_elsewhere.conditions = vec![Condition::Source(vec!["192.0.2.0/24".parse().unwrap()])];
    let mut from_here = rule("a.example.com", "/here", fixed(200, "here"));
    from_here.conditions = vec![Condition::Source(vec!["127.0.0.0/8".parse().unwrap()])];
    *balancer.rules = vec![
        posts,
        from_elsewhere,
        from_here,
        rule("a.example.com", "/cart", fixed(200, "cart")),
        rule("*.example.com", "/", fixed(200, "wildcard")),
    ];
    let proxy = serve(&balancer);
    let mut client = Client::http1(proxy.http).await;
    for (method, host, path, want) in [
        ("POST", "a.example.com", "/cart", (200, "posted")),
        ("GET", "a.example.com", "/cart", (200, "cart")),
        ("GET", "A.Example.com.:8080", "/cart/1?x", (200, "cart")),
        ("GET", "a.example.com", "/here", (200, "here")),
        ("GET", "a.example.com", "/cartoon", (200, "wildcard")),
        ("GET", "b.example.com", "/", (200, "wildcard")),
        ("GET", "c.b.example.com", "/", (404, "")),
        ("GET", "127.0.0.1", "/", (404, "")),
    ] {
        let request = Request::builder().method(method).uri(path).header("host", host);
        let answer = client.send(request.body(Sent::default()).unwrap()).await.unwrap();
        assert_eq!(
            (answer.status(), answer.body.as_str()),
            want,
            "{method} {host} {path}"
        );
    }
    let totals = proxy.handle.totals();
    assert_eq!(
        (totals.requests(), totals.without_backend, totals.by_class),
        (8, 8, [0, 6, 0, 2, 0])
    );
}

#[tokio::test]
async fn redirects_name_the_ports_that_are_served() {
    let to_https = Redirect::to_https(Port::HTTPS);
    let own_port = Redirect {
        status: RedirectStatus::Found,
        scheme: None,
        host: None,
        port: None,
        path: Some(portcullis_model::Template::parse("/new/#{path}").unwrap()),
        query: Some(portcullis_model::Template::parse("from=#{port}").unwrap()),
    };
    let elsewhere = Redirect {
        status: RedirectStatus::PermanentRedirect,
        scheme: Some(RedirectScheme::Https),
        host: Some(portcullis_model::Template::parse("other.example.com").unwrap()),
        port: Some(Port::new(8443).unwrap()),
        path: None,
        query: None,
    };
    let to_host = |host: &str| Redirect {
        host: Some(portcullis_model::Template::parse(host).unwrap()),
        ..Redirect::to_https(Port::HTTPS)
    };
    let glob = |text: &str| portcullis_model::Rule {
        hosts: vec![HostMatch::Glob(portcullis_model::Glob::parse(text).unwrap())],
        ..rule("*", "/", fixed(200, "glob"))
    };
    let mut balancer = empty();
    *balancer.rules = vec![
        rule("*", "/secure", Action::Redirect(to_https)),
        rule("*", "/old", Action::Redirect(own_port)),
        rule("*", "/away", Action::Redirect(elsewhere)),
        rule("*", "/there", Action::Redirect(to_host("other.example.com"))),
        rule("*", "/here", Action::Redirect(to_host("www.#{host}"))),
        rule("*", "/named", Action::Redirect(to_host("b.example.com"))),
        rule("*", "/below", Action::Redirect(to_host("x.c.example.com"))),
        rule("*", "/deep", Action::Redirect(to_host("x.y.c.example.com"))),
        rule("*", "/suffix", Action::Redirect(to_host("x.y.d.example.com"))),
        rule("*", "/pattern", Action::Redirect(to_host("Shop-1.example.com"))),
        rule("b.example.com", "/", fixed(200, "b")),
        rule("*.c.example.com", "/", fixed(200, "c")),
        glob("*.d.example.com"),
        glob("shop-?.example.com"),
        // As no host: it names none.
        glob("*"),
    ];
    let proxy = serve(&balancer);
    let (http, https) = (proxy.http.port(), proxy.https.port());
    for (path, status, want) in [
        (
            "/secure/x?y=1",
            301,
            format!("https://a.example.com:{https}/secure/x?y=1"),
        ),
        (
            "/old",
            302,
            format!("http://a.example.com:{http}/new/old?from={http}"),
        ),
        ("/away", 308, "https://other.example.com:8443/away".to_owned()),
        ("/there", 301, "https://other.example.com/there".to_owned()),
        ("/here", 301, format!("https://www.a.example.com:{https}/here")),
        ("/named", 301, format!("https://b.example.com:{https}/named")),
        ("/below", 301, format!("https://x.c.example.com:{https}/below")),
        ("/deep", 301, "https://x.y.c.example.com/deep".to_owned()),
        (
            "/suffix",
            301,
            format!("https://x.y.d.example.com:{https}/suffix"),
        ),
        (
            "/pattern",
            301,
            format!("https://Shop-1.example.com:{https}/pattern"),
        ),
    ] {
        let answer = get_once(proxy.http, &format!("a.example.com:{http}"), path).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.header("location"), Some(want.as_str()), "{path}");
    }
}

#[tokio::test]
async fn several_listeners_are_told_apart_by_the_port_that_the_request_names() {
    let mut balancer = empty();
    let other = Port::new(8080).unwrap();
    let mut listener = balancer.listeners[&Port::HTTP].clone();
    listener.port = other;
    listener.default_action = fixed(200, "8080");
    balancer.listeners.insert(other, listener);
    balancer.listeners.get_mut(&Port::HTTP).unwrap().default_action = fixed(200, "80");
    let proxy = serve(&balancer);
    for (host, want) in [
        ("a", "80"),
        ("a:80", "80"),
        ("a:8080", "8080"),
        ("a:9999", "80"),
        ("a:443", "80"),
    ] {
        assert_eq!(get_once(proxy.http, host, "/").await.body, want, "{host}");
    }
}

#[tokio::test]
async fn who_is_not_admitted_gets_no_answer_from_a_rule() {
    for (range, want) in [("192.0.2.0/24", 403), ("127.0.0.0/8", 200)] {
        let mut balancer = empty();
        balancer.rules.push(rule("*", "/", fixed(200, "in")));
        balancer.options.admitted = BTreeMap::from([(Port::HTTP, [range.parse().unwrap()].into())]);
        let proxy = serve(&balancer);
        assert_eq!(get_once(proxy.http, "a", "/").await.status(), want, "{range}");
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_at_its_own_rule() {
    let echo = Echo::http1("one").await;
    let mut sticky = backend("one", &[echo.address]);
    sticky.attributes.extend(
        [("stickiness.enabled", "true"), ("stickiness.type", "source_ip")].map(|(k, v)| (k.into(), v.into())),
    );
    let mut balancer = all_to(sticky);
    let mut guarded = rule("*", "/admin", to("one"));
    guarded.authenticate = Some(Authenticate::Jwt {
        issuer: "https://id.example.com".into(),
        key_set: "http://id.example.com/keys".into(),
        claims: Vec::<JwtClaim>::new(),
        origin: origin(),
    });
    balancer.rules.insert(0, guarded);
    balancer.rules.insert(1, rule("*", "/gone", to("missing")));
    let proxy = serve(&balancer);
    let codes: Vec<Code> = proxy.problems.iter().map(|p| p.code).collect();
    assert_eq!(
        codes,
        [
            Code::ActionUnsupported,
            Code::BackendUnsupported,
            Code::OptionUnsupported
        ],
        "{:?}",
        proxy.problems
    );
    for (path, want) in [
        ("/admin", 503),
        ("/admin/x", 503),
        ("/gone", 503),
        ("/administrator", 200),
        ("/", 200),
    ] {
        assert_eq!(get_once(proxy.http, "a", path).await.status(), want, "{path}");
    }
}

#[tokio::test]
async fn a_default_action_behind_authentication_is_refused() {
    let echo = Echo::http1("one").await;
    let mut balancer = all_to(backend("one", &[echo.address]));
    *balancer.rules = vec![rule("*", "/open", to("one"))];
    let listener = balancer.listeners.get_mut(&Port::HTTP).unwrap();
    listener.default_action = to("one");
    listener.authenticate = Some(Authenticate::Cognito {
        user_pool: "arn:aws:cognito-idp:x".into(),
        client: "client".into(),
        domain: "domain".into(),
        session: Session {
            cookie: "session".into(),
            timeout_seconds: 60,
            scope: "openid".into(),
            on_unauthenticated: OnUnauthenticated::Allow,
            extra: BTreeMap::new(),
        },
        origin: origin(),
    });
    let proxy = serve(&balancer);
    assert_eq!(proxy.problems.len(), 1, "{:?}", proxy.problems);
    for (path, want) in [("/", 503), ("/opened", 503), ("/open/x", 200)] {
        assert_eq!(get_once(proxy.http, "a", path).await.status(), want, "{path}");
    }
}

#[tokio::test]
async fn a_listener_whose_trust_store_is_not_known_serves_nobody() {
    let clients = Clients {
        certificates: ClientCertificates::Verify {
            trust_store: TrustStore::Given("store".into()),
            ignore_expiry: false,
            advertise_authorities: false,
        },
        relied_on_by: Default::default(),
        origin: empty().options.origin,
    };
    let (keys, trusted) = crate::secure::key_pair("web", &["a.example.com"]);
    let mut balancer = with_certificates(empty(), &[("web", &["a.example.com"])]);
    balancer.rules.push(rule("*", "/", fixed(200, "in")));
    let listener = balancer.listeners.get_mut(&Port::HTTPS).unwrap();
    let Protocol::Https(Tls { certificates, .. }) = listener.protocol.clone() else {
        unreachable!()
    };
    listener.protocol = Protocol::Https(Tls {
        policy: None,
        certificates,
        clients: Some(clients),
    });
    let proxy = crate::balancer::serve_with(&balancer, &KeyPairs::from([keys]), Default::default(), 1);
    assert_eq!(
        proxy.problems.iter().map(|p| p.code).collect::<Vec<_>>(),
        [Code::OptionUnsupported]
    );
    let stream = crate::client::tls(proxy.https, "a.example.com", &[trusted], &[])
        .await
        .unwrap();
    let answer = Client::http1_over(stream)
        .await
        .send(get("a.example.com", "/"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(get_once(proxy.http, "a.example.com", "/").await.status(), 200);
}

#[tokio::test]
async fn a_rewrite_changes_what_the_backend_sees() {
    let echo = Echo::http1("one").await;
    let http2 = Echo::http2("two").await;
    let rewrites = |url: (&str, &str), host: (&str, &str)| {
        let rewrite = |part, (pattern, replacement): (&str, &str)| Rewrite {
            part,
            pattern: Pattern::parse(pattern).unwrap(),
            replacement: replacement.to_owned(),
        };
        vec![rewrite(RewritePart::Url, url), rewrite(RewritePart::Host, host)]
    };
    let mut balancer = all_to(backend("one", &[echo.address]));
    let two = speaking(backend("two", &[http2.address]), BackendVersion::Http2, false);
    balancer.backends.insert(two.id.clone(), two.into());
    let mut first = rule("*", "/api", to("one"));
    first.rewrites = rewrites(("/api(/.*)", "$1"), (r"(.*)\.example\.com", "$1.internal"));
    let mut second = rule("*", "/two", to("two"));
    second.rewrites = first.rewrites.clone();
    let mut broken = rule("*", "/broken", to("one"));
    broken.rewrites = rewrites((".*", "no slash"), ("x", "y"));
    balancer.rules.splice(0..0, [first, second, broken]);
    let proxy = serve(&balancer);
    for (path, want, host) in [
        ("/api/v1?x=1", "GET /v1?x=1 HTTP/1.1", Some("a.internal")),
        ("/api", "GET /api HTTP/1.1", Some("a.internal")),
        ("/two?q", "GET http://a.internal/two?q HTTP/2.0", None),
        ("/other", "GET /other HTTP/1.1", Some("a.example.com:81")),
    ] {
        let answer = get_once(proxy.http, "a.example.com:81", path).await;
        assert_eq!(answer.body.lines().nth(1), Some(want), "{path}: {}", answer.body);
        assert_eq!(
            answer.seen("host"),
            host.into_iter().collect::<Vec<_>>(),
            "{path}"
        );
        assert_eq!(answer.seen("x-forwarded-host"), ["a.example.com:81"], "{path}");
    }
    assert_eq!(
        get_once(proxy.http, "a.example.com", "/broken").await.status(),
        500
    );
}

#[tokio::test]
async fn what_is_too_long_to_be_rewritten_or_redirected_is_refused() {
    let echo = Echo::http1("one").await;
    let mut balancer = all_to(backend("one", &[echo.address]));
    let twice = |part, pattern: &str, replacement: &str| Rewrite {
        part,
        pattern: Pattern::parse(pattern).unwrap(),
        replacement: replacement.to_owned(),
    };
    let mut grows = rule("*", "/grows", to("one"));
    grows.rewrites = vec![twice(RewritePart::Url, "/grows(.*)", "/grows$1$1"); 30];
    let mut host = rule("*", "/host", to("one"));
    host.rewrites = vec![twice(RewritePart::Host, "(.*)", "$1$1"); 30];
    let path = format!("/{}", "#{path}".repeat(100));
    let away = Action::Redirect(Redirect {
        path: Some(Template::parse(&path).unwrap()),
        ..Redirect::to_https(Port::HTTPS)
    });
    let away = rule("*", "/away", away);
    balancer.rules.splice(0..0, [grows, host, away]);
    let proxy = serve(&balancer);
    let long = |path: &str, length: usize| format!("{path}/{}", "a".repeat(length));
    for (path, want) in [
        ("/grows/a".to_owned(), 414),
        ("/grows".to_owned(), 200),
        ("/host".to_owned(), 414),
        (long("/away", 100), 301),
        (long("/away", 1_000), 414),
        // Where nothing is rewritten it may be as long as a head.
        (long("/other", 20_000), 200),
    ] {
        let answer = get_once(proxy.http, "a.example.com", &path).await;
        assert_eq!(answer.status(), want, "{path:.20}");
    }
}

#[tokio::test]
async fn weights_are_shares_and_zero_is_none() {
    let (one, two, three) = (
        Echo::http1("one").await,
        Echo::http1("two").await,
        Echo::http1("three").await,
    );
    let mut balancer = all_to(backend("one", &[one.address]));
    for (name, echo) in [("two", &two), ("three", &three)] {
        let backend = backend(name, &[echo.address]);
        balancer.backends.insert(backend.id.clone(), backend.into());
    }
    let weighted = |shares: &[(&str, i64)], stickiness| {
        Action::Forward(Forward {
            backends: shares
                .iter()
                .map(|(name, weight)| WeightedBackend {
                    backend: id(name),
                    weight: Weight::new(*weight).unwrap(),
                })
                .collect(),
            stickiness,
        })
    };
    let shares = [("one", 3), ("two", 1), ("three", 0)];
    balancer.rules.splice(
        0..0,
        [
            rule("*", "/shared", weighted(&shares, None)),
            rule(
                "*",
                "/sticky",
                weighted(&shares, Some(Stickiness { seconds: 60 })),
            ),
            rule("*", "/none", weighted(&[("one", 0), ("two", 0)], None)),
        ],
    );
    let proxy = serve(&balancer);
    let mut client = Client::http1(proxy.http).await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..1000 {
        let answer = client.send(get("a", "/shared")).await.unwrap();
        *counts
            .entry(answer.header("x-backend").unwrap().to_owned())
            .or_default() += 1;
    }
    // 750 is expected; 6 standard deviations are 82.
    assert!(
        (668..=832).contains(&counts["one"]) && !counts.contains_key("three"),
        "{counts:?}"
    );
    assert_eq!(client.send(get("a", "/none")).await.unwrap().status(), 503);

    let mut seen = BTreeMap::new();
    for _ in 0..50 {
        let first = client.send(get("a", "/sticky")).await.unwrap();
        let cookie = first.header("set-cookie").unwrap();
        assert!(
            cookie.ends_with("; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        let pair = cookie.split(';').next().unwrap().to_owned();
        let backend = first.header("x-backend").unwrap().to_owned();
        seen.insert(backend.clone(), pair.clone());
        for _ in 0..5 {
            let request = Request::get("/sticky")
                .header("host", "a")
                .header("cookie", format!("x=1; {pair}"));
            let again = client.send(request.body(Sent::default()).unwrap()).await.unwrap();
            assert_eq!(again.header("x-backend"), Some(backend.as_str()));
            assert_eq!(again.header("set-cookie"), None);
        }
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["one", "two"]);
    // What a client made up leads nowhere special.
    let made_up = Request::get("/sticky")
        .header("host", "a")
        .header("cookie", "portcullis-0=zz");
    assert_eq!(
        client
            .send(made_up.body(Sent::default()).unwrap())
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn a_redirect_to_the_host_of_a_request_that_names_none_is_refused() {
    let mut balancer = empty();
    let to = |host: Option<&str>, query: Option<&str>| {
        Action::Redirect(Redirect {
            host: host.map(|text| Template::parse(text).unwrap()),
            query: query.map(|text| Template::parse(text).unwrap()),
            ..Redirect::to_https(Port::HTTPS)
        })
    };
    *balancer.rules = vec![
        rule("*", "/same", to(None, None)),
        rule("*", "/www", to(Some("www.#{host}"), None)),
        rule("*", "/told", to(Some("b.com"), Some("from=#{host}"))),
        rule("*", "/other", to(Some("b.com"), None)),
        rule("*", "/", fixed(200, "in")),
    ];
    let proxy = serve(&balancer);
    for (path, unnamed, named) in [
        ("/same", "400", "301"),
        ("/www", "400", "301"),
        ("/told", "400", "301"),
        ("/other", "301", "301"),
        ("/", "200", "200"),
    ] {
        for (fields, want) in [
            ("HTTP/1.0", unnamed),
            ("HTTP/1.1\r\nHost:\r\nConnection: close", unnamed),
            ("HTTP/1.0\r\nHost: a.com", named),
        ] {
            let request = format!("GET {path} {fields}\r\n\r\n");
            let answer = raw(proxy.http, request.as_bytes()).await;
            assert_eq!(answer.get(9..12), Some(want), "{request}{answer}");
        }
    }
}

#[tokio::test]
async fn a_fixed_response_without_content_has_none() {
    let mut balancer = empty();
    *balancer.rules = vec![
        rule("*", "/204", fixed(204, "ignored")),
        rule("*", "/503", fixed(503, "down for now")),
    ];
    let proxy = serve(&balancer);
    let answer = raw(
        proxy.http,
        b"GET /204 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 204 No Content\r\n") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    let answer = get_once(proxy.http, "a", "/503").await;
    assert_eq!((answer.status(), answer.body.as_str()), (503, "down for now"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
}

#[tokio::test]
async fn what_the_proxy_says_itself_has_no_body_for_head() {
    let mut balancer = empty();
    *balancer.rules = vec![
        rule("*", "/200", fixed(200, "here")),
        rule("*", "/gone", to("gone")),
    ];
    let proxy = serve(&balancer);
    for (path, status) in [("/200", 200), ("/gone", 503), ("/", 404)] {
        for mut client in [Client::http1(proxy.http).await, Client::http2(proxy.http).await] {
            let mut ask = async |method: &str| {
                let request = Request::builder().method(method).header("host", "a");
                let request = request.uri(format!("http://a{path}")).body(Sent::default());
                client.send(request.unwrap()).await.unwrap()
            };
            let (get, head) = (ask("GET").await, ask("HEAD").await);
            assert_eq!((head.status(), head.body.as_str()), (status, ""), "{path}");
            let length = get.body.len().to_string();
            let said = head.header("content-length");
            assert!(said.is_none_or(|said| said == length), "{path}: {said:?}");
            // The connection is where it was.
            assert_eq!(ask("GET").await.body, get.body, "{path}");
        }
    }
}
