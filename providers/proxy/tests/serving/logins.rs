//! Browsers and an identity provider in, who is logged in, for how long, and what backends and logs are told out.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hyper::Request;
use portcullis_model::Authenticate;
use portcullis_proxy::{ServedPorts, ServerConfig, ServingState};
use serde_json::json;
use tokio::task::JoinSet;

use crate::browser::{CLIENT, SECRET, World, back, balancer};
use crate::client::{Sent, get_once, http2_over, soon, tls, until};
use crate::provider::encode;
use crate::tokens::{silent, told_to_come_again};

#[tokio::test]
async fn who_logs_in_passes_and_backends_are_told_who_it_is() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::start().await;
        let mut browser = world.browser(protocol, "a.com").await;
        browser.host = "A.com:8443".to_owned();
        let away = browser.sent_away("/cart?item=1&x=%2F").await;
        assert!(
            away.url.starts_with(&world.provider.url("/oauth2/authorize?")),
            "{}",
            away.url
        );
        for (name, want) in [
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("scope", "openid email"),
            ("redirect_uri", "https://a.com:8443/oauth2/idpresponse"),
            ("code_challenge_method", "S256"),
            ("login_hint", "a&b"),
        ] {
            assert_eq!(away.params[name], want, "{name}");
        }
        assert!(
            browser
                .set
                .iter()
                .all(|cookie| cookie.starts_with("__Host-shop-session-login-")
                    && cookie.split("; ").any(|attribute| attribute == "Max-Age=900"))
        );
        world.grant(&away, &json!({}));
        let answer = browser.come_back(&away).await;
        assert_eq!(answer.status(), 302, "{}", answer.body);
        assert_eq!(
            answer.header("location"),
            Some("https://a.com:8443/cart?item=1&x=%2F")
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let kept = browser
            .set
            .iter()
            .find(|cookie| cookie.starts_with("__Host-shop-session-0="))
            .unwrap();
        for attribute in [
            "; Secure",
            "; HttpOnly",
            "; SameSite=Lax",
            "; Path=/",
            "; Max-Age=3600",
        ] {
            assert!(kept.contains(attribute), "{kept}");
        }
        assert!(!kept.contains("access-1") && !kept.contains("Domain"), "{kept}");
        assert!(
            browser.cookies.keys().eq(["__Host-shop-session-0"]),
            "it is used up"
        );

        let asked = world.token_requests();
        let [(headers, body)] = &asked[..] else {
            panic!("{}", asked.len())
        };
        // RFC 6749 §2.3.1: each encoded by itself.
        let basic = "Basic c2hvcCUyMGNsaWVudDphJTIwc2VjcmV0JTNBJTIwb2YlMjAxMjglMjBiaXRzJTIwJTI2JTIwbW9yZQ==";
        assert_eq!(headers["authorization"], basic);
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
        let verifier = body
            .split('&')
            .find_map(|pair| pair.strip_prefix("code_verifier="))
            .unwrap();
        assert_eq!(
            encode(digest(&SHA256, verifier.as_bytes())),
            away.params["code_challenge"]
        );
        for pair in [
            "grant_type=authorization_code",
            "code=code-1",
            "redirect_uri=https%3A%2F%2Fa.com%3A8443%2Foauth2%2Fidpresponse",
        ] {
            assert!(body.split('&').any(|own| own == pair), "{body}");
        }

        browser.cookies.insert("mine".to_owned(), "1".to_owned());
        let forged = [
            ("x-amzn-oidc-identity", "root"),
            ("x_amzn_oidc_identity", "root"),
            ("x-amzn-oidc-data", "e30.e30."),
        ];
        for path in ["/cart", "/deny", "/allow"] {
            let answer = browser.get_with(path, &forged).await;
            assert_eq!(answer.status(), 200, "{path}: {}", answer.body);
            assert_eq!(answer.seen("x-amzn-oidc-identity"), ["ann"], "{path}");
            assert_eq!(answer.seen("x-amzn-oidc-accesstoken"), ["access-1"], "{path}");
            for name in ["x-amzn-oidc-data", "x_amzn_oidc_identity"] {
                assert_eq!(answer.seen(name), [""; 0], "{path} {name}");
            }
            assert_eq!(answer.seen("cookie"), ["mine=1"], "{path}");
            assert!(browser.set.is_empty(), "{path}");
        }
        // Whoever sees a session has it: a rule without a login may lead to somebody else's backend.
        let answer = browser.get("/open").await;
        assert_eq!(answer.seen("cookie"), ["mine=1"]);
        let answer = browser.get("/consulted").await;
        assert_eq!(answer.seen("cookie"), ["mine=1"]);
        assert_eq!(answer.seen("x-cookies"), ["mine=1"], "who is asked sees none");
        assert_eq!(world.token_requests().len(), 1, "a session needs no provider");
        // Another client's session is none.
        let answer = browser.get("/other").await;
        assert_eq!(answer.status(), 302);
    }
}

#[tokio::test]
async fn who_is_not_logged_in_is_turned_away_or_passes_as_nobody() {
    let world = World::start().await;
    let mut browser = world.browser("http/1.1", "a.com").await;
    let forged = [("x-amzn-oidc-identity", "root"), ("x-amzn-oidc-accesstoken", "x")];
    for (path, want) in [
        ("/deny", 401),
        ("/allow", 200),
        ("/open", 200),
        ("/oauth2/idpresponse", 302),
    ] {
        let answer = browser.get_with(path, &forged).await;
        assert_eq!(answer.status(), want, "{path}");
        assert_eq!(answer.seen("x-amzn-oidc-identity"), [""; 0], "{path}");
        assert_eq!(answer.seen("x-amzn-oidc-accesstoken"), [""; 0], "{path}");
    }
    for path in ["/", "/deny", "/allow"] {
        let answer = get_once(world.proxy.http, "a.com", path).await;
        assert_eq!(answer.status(), 503, "{path}");
    }
    assert!(world.provider.asked().is_empty());
}

#[tokio::test]
async fn users_are_brought_back_to_the_host_that_they_asked() {
    let world = World::start().await;
    let long = format!("/{}", "x".repeat(2_000));
    for (path, want) in [
        ("//evil.example/x", "https://a.com//evil.example/x"),
        ("/\\evil.example", "https://a.com/\\evil.example"),
        ("/@evil.example", "https://a.com/@evil.example"),
        (
            "/?x=https://evil.example",
            "https://a.com/?x=https://evil.example",
        ),
        (&long, "https://a.com/"),
    ] {
        let mut browser = world.browser("http/1.1", "a.com").await;
        let away = browser.sent_away(path).await;
        world.grant(&away, &json!({}));
        let answer = browser.come_back(&away).await;
        assert_eq!(answer.header("location"), Some(want), "{path}");
    }
}

#[tokio::test]
async fn an_expired_access_token_is_renewed_once_for_all_requests() {
    let world = World::start().await;
    let mut browser = world.browser("http/1.1", "a.com").await;
    let away = browser.sent_away("/").await;
    let id_token = world.signer.token(&world.claims(&away, &json!({})));
    world.grant_as(
        &id_token,
        &json!({"expires_in": "0", "refresh_token": "refresh-1"}),
    );
    browser.come_back(&away).await;
    let before = browser.cookies.clone();
    let renewed = json!({"access_token": "access-2", "token_type": "bearer", "expires_in": 600, "refresh_token": "refresh-2"});
    world.provider.say("/oauth2/token", 200, &renewed);
    let mut tabs = Vec::new();
    for _ in 0..4 {
        let mut tab = world.browser("h2", "a.com").await;
        tab.cookies.clone_from(&before);
        tabs.push(tab);
    }
    // However else rules treat who has no session: whoever has one has it at all of them.
    let paths = ["/", "/deny", "/allow", "/"];
    let asking = tabs.iter_mut().zip(paths).map(|(tab, path)| tab.get(path));
    let answers = futures::future::join_all(asking).await;
    for answer in &answers {
        assert_eq!(answer.seen("x-amzn-oidc-accesstoken"), ["access-2"]);
        assert_eq!(answer.seen("x-amzn-oidc-identity"), ["ann"]);
    }
    let asked = world.token_requests();
    assert_eq!(asked.len(), 2, "the code, and the refresh token once");
    assert_eq!(asked[1].1, "grant_type=refresh_token&refresh_token=refresh-1");
    assert_eq!(
        tabs[0].get("/").await.seen("x-amzn-oidc-accesstoken"),
        ["access-2"]
    );
    assert_eq!(world.token_requests().len(), 2, "the new one is kept");

    for (name, status, granted, want) in [
        ("ill", 500, json!({}), 500),
        ("refused", 400, json!({"error": "invalid_grant"}), 302),
        (
            "of another",
            200,
            json!({"id_token": world.signer.token(&world.claims(&away, &json!({"sub": "bob"})))}),
            302,
        ),
        ("of two lines", 200, json!({"access_token": "a\r\nb"}), 302),
        ("as it was", 200, json!({"id_token": id_token}), 200),
    ] {
        let mut browser = world.browser("http/1.1", "a.com").await;
        let away = browser.sent_away("/").await;
        let own = world.signer.token(&world.claims(&away, &json!({})));
        world.grant_as(
            &own,
            &json!({"expires_in": 0, "refresh_token": format!("refresh of {name}")}),
        );
        browser.come_back(&away).await;
        let mut given = json!({"access_token": "access-3", "token_type": "Bearer"});
        given
            .as_object_mut()
            .unwrap()
            .extend(granted.as_object().unwrap().clone());
        world.provider.say("/oauth2/token", status, &given);
        assert_eq!(browser.get("/").await.status(), want, "{name}");
    }
}

#[tokio::test]
async fn a_refresh_token_renews_no_session_of_another_login_or_user() {
    let world = World::start().await;
    for (number, path, subject) in [
        (1, "/", "ann"),
        (2, "/other", "ann"), // another login, which may be at another issuer
        (3, "/", "bob"),
    ] {
        let mut browser = world.browser("http/1.1", "a.com").await;
        let away = browser.sent_away(path).await;
        let id_token = world.signer.token(&world.claims(&away, &json!({"sub": subject})));
        world.grant_as(&id_token, &json!({"expires_in": 0, "refresh_token": "the same"}));
        browser.come_back(&away).await;
        let own = format!("renewed-{number}");
        let renewed = json!({"access_token": own, "token_type": "Bearer", "expires_in": 600});
        world.provider.say("/oauth2/token", 200, &renewed);
        let answer = browser.get(path).await;
        assert_eq!(answer.seen("x-amzn-oidc-accesstoken"), [own], "{number}");
        assert_eq!(answer.seen("x-amzn-oidc-identity"), [subject], "{number}");
    }
}

/// Who writes an Ingress seals sessions with her own client's secret, and has them renewed by whom she likes.
#[tokio::test]
async fn a_login_with_many_sessions_to_renew_holds_up_no_other() {
    let world = World::start().await;
    let mut sessions = Vec::new();
    for number in 0..260 {
        let path = if number == 0 { "/other" } else { "/" };
        let mut browser = world.browser("http/1.1", "a.com").await;
        let away = browser.sent_away(path).await;
        let id_token = world.signer.token(&world.claims(&away, &json!({})));
        let refresh = json!({"expires_in": 0, "refresh_token": format!("refresh-{number}")});
        world.grant_as(&id_token, &refresh);
        browser.come_back(&away).await;
        sessions.push(browser);
    }
    let mut other = sessions.remove(0);
    world.provider.hang("/oauth2/token");
    let mut asking: FuturesUnordered<_> = sessions.iter_mut().map(|browser| browser.get("/")).collect();
    for _ in 256..259 {
        let answer = soon("an answer", asking.next()).await.unwrap();
        assert_eq!(answer.status(), 503, "{}", answer.body);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let renewed = json!({"access_token": "access-2", "token_type": "Bearer", "expires_in": 600});
    world.provider.say("/oauth2/token", 200, &renewed);
    let answer = other.get("/other").await;
    assert_eq!(answer.seen("x-amzn-oidc-accesstoken"), ["access-2"]);
}

#[tokio::test]
async fn a_call_of_grpc_is_told_that_nobody_is_logged_in() {
    let world = World::start().await;
    for protocol in ["http/1.1", "h2"] {
        let mut browser = world.browser(protocol, "a.com").await;
        for (path, kind, status, grpc) in [
            ("/", "application/grpc", 200, Some("16")),
            ("/", "application/grpc+proto", 200, Some("16")),
            ("/deny", "application/grpc", 200, Some("16")),
            ("/allow", "application/grpc", 200, None),
            // It comes from pages.
            ("/", "application/grpc-web+proto", 302, None),
            ("/", "application/json", 302, None),
        ] {
            browser.cookies.clear();
            let answer = browser.get_with(path, &[("content-type", kind)]).await;
            assert_eq!(answer.status(), status, "{protocol} {path} {kind}");
            assert_eq!(answer.header("grpc-status"), grpc, "{protocol} {path} {kind}");
            assert_eq!(answer.header("location").is_some(), status == 302, "{kind}");
            assert_eq!(browser.set.is_empty(), status != 302, "{protocol} {path} {kind}");
        }
        browser.cookies.clear();
        world.login(&mut browser, "/").await;
        let answer = browser
            .get_with("/", &[("content-type", "application/grpc")])
            .await;
        assert_eq!(answer.seen("x-amzn-oidc-identity"), ["ann"], "{protocol}");
    }
}

#[tokio::test]
async fn a_backend_ends_a_session_as_it_would_on_an_alb() {
    let world = World::start().await;
    let mut browser = world.browser("http/1.1", "a.com").await;
    world.login(&mut browser, "/").await;
    assert_eq!(browser.get("/").await.status(), 200);
    assert_eq!(browser.get("/logout").await.status(), 200);
    assert!(!browser.has_session());
    assert_eq!(
        browser.set.len(),
        1,
        "what it says itself is taken out: {:?}",
        browser.set
    );
    assert_eq!(browser.get("/").await.status(), 302);
}

#[tokio::test]
async fn long_tokens_are_kept_in_several_cookies_and_longer_ones_are_not() {
    let world = World::start().await;
    for (length, parts) in [(6_000, Some(3)), (30_000, None)] {
        let mut browser = world.browser("http/1.1", "a.com").await;
        let away = browser.sent_away("/").await;
        let id_token = world.signer.token(&world.claims(&away, &json!({})));
        let access = "x".repeat(length);
        world.grant_as(&id_token, &json!({"access_token": access}));
        let answer = browser.come_back(&away).await;
        match parts {
            Some(parts) => {
                assert_eq!(browser.cookies.len(), parts, "{length}");
                assert_eq!(browser.get("/").await.seen("x-amzn-oidc-accesstoken"), [access]);
                // One part lost is all lost.
                browser.cookies.remove("__Host-shop-session-1");
                assert_eq!(browser.get("/").await.status(), 302);
            }
            None => assert_eq!((answer.status(), browser.has_session()), (500, false), "{length}"),
        }
    }
}

#[tokio::test]
async fn nothing_of_a_login_is_logged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let file = Arc::new(std::fs::File::create(&path).unwrap());
    let world = World::with(|provider| ServerConfig {
        access_log: Some(portcullis_proxy::AccessLog {
            sink: portcullis_proxy::Sink::File(file),
            format: portcullis_proxy::LogFormat::Json,
            one_in: std::num::NonZeroU32::MIN,
        }),
        ..provider.reachable()
    })
    .await;
    let mut browser = world.browser("http/1.1", "a.com").await;
    world.login(&mut browser, "/cart").await;
    let away = world.browser("http/1.1", "a.com").await.sent_away("/").await;
    browser
        .get(&back(
            &away.params["state"],
            "error=denied&error_description=code-1",
        ))
        .await;
    browser.get("/last").await;
    let read = || std::fs::read_to_string(&path).unwrap();
    until("the log is written", || read().contains("/last")).await;
    let log = read();
    assert!(log.contains("\"target\":\"/oauth2/idpresponse\""), "{log}");
    for secret in ["code-1", "state=", "access-1", SECRET, "__Host-"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn few_wait_for_a_provider_that_takes_its_time_with_logins() {
    let (world, silent) = (World::start().await, silent().await);
    let token = format!("https://localhost:{}/oauth2/token", silent.address.port());
    let at = |path: &str| match path {
        "/oauth2/token" => token.clone(),
        path => world.provider.url(path),
    };
    let built = ServingState::build(
        balancer(&world.echo, at),
        &world.keys,
        None,
        ServedPorts::default(),
    );
    world.proxy.handle.swap(built.unwrap().0);
    let mut browser = world.browser("http/1.1", "a.com").await;
    let mut logins = Vec::new();
    for _ in 0..70 {
        logins.push(browser.sent_away("/").await);
    }
    let cookies = browser
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let cookies = cookies.collect::<Vec<_>>().join("; ");
    let mut tasks = JoinSet::new();
    let stream = tls(
        world.proxy.https,
        "a.com",
        std::slice::from_ref(&world.certificate),
        &["h2"],
    )
    .await;
    let mut sender = http2_over::<Sent>(stream.unwrap(), &mut tasks).await;
    let mut asking = Vec::new();
    for away in &logins {
        let url = format!("https://a.com{}", back(&away.params["state"], "code=code-1"));
        let request = Request::get(url).header("cookie", &cookies).body(Sent::default());
        asking.push(sender.send_request(request.unwrap()));
    }
    assert_eq!(told_to_come_again(asking).await, 70 - 64);
}

#[tokio::test]
async fn what_the_proxy_says_itself_of_a_login_no_annotation_says() {
    let world = World::start().await;
    for (name, want) in [("state", 503), ("redirect_uri", 503), ("prompt", 302)] {
        let mut asked = balancer(&world.echo, |path| world.provider.url(path));
        for rule in &mut asked.rules {
            if let Some(Authenticate::Oidc { session, .. }) = &mut rule.authenticate {
                session.extra.insert(name.to_owned(), "x".to_owned());
            }
        }
        let built = ServingState::build(asked, &world.keys, None, ServedPorts::default());
        let (state, problems) = built.unwrap();
        assert_eq!(problems.is_empty(), want == 302, "{name}: {problems:?}");
        world.proxy.handle.swap(state);
        let mut browser = world.browser("http/1.1", "a.com").await;
        assert_eq!(browser.get("/").await.status(), want, "{name}");
        assert_eq!(browser.get("/open").await.status(), 200, "{name}");
    }
}
