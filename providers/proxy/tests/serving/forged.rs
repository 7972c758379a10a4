//! Answers and sessions that no provider gave to this browser in, nobody who is logged in by them out.

use portcullis_model::{Authenticate, Sealed};
use portcullis_proxy::{ServedPorts, ServingState};
use serde_json::{Value, json};

use crate::browser::{Away, CLIENT, World, back, balancer};
use crate::provider::{Signer, encode, now};

#[tokio::test]
async fn an_answer_that_no_login_asked_for_counts_for_nothing() {
    let world = World::start().await;
    let mut browser = world.browser("http/1.1", "a.com").await;
    let mut victim = world.browser("http/1.1", "a.com").await;
    let mut elsewhere = world.browser("http/1.1", "b.com").await;
    let away = browser.sent_away("/").await;
    let theirs = victim.sent_away("/").await;
    elsewhere.sent_away("/").await;
    world.grant(&away, &json!({}));
    let (state, own) = (&away.params["state"], &theirs.params["state"]);
    let (mark, sealed) = state.split_once('.').unwrap();
    let flipped = |place: usize| {
        let mut text = sealed.as_bytes().to_vec();
        text[place] = if text[place] == b'A' { b'B' } else { b'A' };
        format!("{mark}.{}", String::from_utf8(text).unwrap())
    };
    for (name, path, want) in [
        ("another browser's", back(state, "code=code-1"), 401),
        ("forged", back(&format!("{mark}.AAAA"), "code=code-1"), 401),
        ("nothing", back(&format!("{mark}."), "code=code-1"), 401),
        ("touched", back(&flipped(30), "code=code-1"), 401),
        ("of another day", back(&flipped(3), "code=code-1"), 401),
        ("no code", back(own, "x=1"), 401),
        ("two codes", back(own, "code=a&code=b"), 401),
        ("denied", back(own, "error=access_denied"), 401),
        (
            "another issuer's",
            back(own, "code=a&iss=https%3A%2F%2Fevil.example"),
            401,
        ),
        // Not for us: a request like any other.
        ("two states", format!("{}&state={own}", back(own, "code=a")), 302),
        ("of nobody", back("x.y", "code=code-1"), 302),
    ] {
        let answer = victim.get(&path).await;
        assert_eq!(answer.status(), want, "{name}: {}", answer.body);
        assert!(!victim.has_session(), "{name}");
        assert!(!answer.body.contains(sealed), "{name}");
    }
    let answer = elsewhere.get(&back(state, "code=code-1")).await;
    assert_eq!(answer.status(), 401, "another host's");
    assert_eq!(world.token_requests().len(), 0, "nobody was asked");

    // In the browser that asked it counts, once.
    assert_eq!(browser.come_back(&away).await.status(), 302);
    assert_eq!(world.token_requests().len(), 1);
    let answer = browser.come_back(&away).await;
    assert_eq!(
        (answer.status(), answer.header("location")),
        (302, Some("https://a.com/")),
        "a reload"
    );
    assert_eq!(world.token_requests().len(), 1, "the code is not sent again");
    let answer = victim.come_back(&away).await;
    assert_eq!(answer.status(), 401, "a replay");
}

#[tokio::test]
async fn a_login_counts_only_with_an_id_token_that_was_made_for_it() {
    let world = World::start().await;
    let other = Signer::new("one");
    let plain = |claims: &Value| format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(claims.to_string()));
    type Make<'a> = Box<dyn Fn(&Away) -> (u16, Value) + 'a>;
    let with = |more: Value| -> Make<'_> {
        let world = &world;
        Box::new(move |away: &Away| {
            (
                200,
                json!({"id_token": world.signer.token(&world.claims(away, &more))}),
            )
        })
    };
    let rows: Vec<(&str, Make<'_>, u16)> = vec![
        ("as it should be", with(json!({})), 302),
        (
            "for several, the client named",
            with(json!({"aud": [CLIENT, "x"], "azp": CLIENT})),
            302,
        ),
        ("wrong nonce", with(json!({"nonce": "x"})), 401),
        ("no nonce", with(json!({"nonce": null})), 401),
        ("wrong audience", with(json!({"aud": "other"})), 401),
        ("no audience", with(json!({"aud": null})), 401),
        ("for several", with(json!({"aud": [CLIENT, "x"]})), 401),
        ("given to another", with(json!({"azp": "other"})), 401),
        ("wrong issuer", with(json!({"iss": "https://evil.example"})), 401),
        ("expired", with(json!({"exp": now() - 1})), 401),
        ("never expires", with(json!({"exp": null})), 401),
        ("of nobody", with(json!({"sub": null})), 401),
        ("of an empty name", with(json!({"sub": ""})), 401),
        (
            "alg none",
            Box::new(|away| (200, json!({"id_token": plain(&world.claims(away, &json!({})))}))),
            401,
        ),
        (
            "another's key",
            Box::new(|away| {
                (
                    200,
                    json!({"id_token": other.token(&world.claims(away, &json!({})))}),
                )
            }),
            401,
        ),
        ("no ID token", Box::new(|_| (200, json!({}))), 401),
        (
            "no bearer",
            Box::new(|_| (200, json!({"token_type": "mac"}))),
            401,
        ),
        (
            "no access token",
            Box::new(|_| (200, json!({"access_token": null}))),
            401,
        ),
        (
            "refused",
            Box::new(|_| (400, json!({"error": "invalid_grant"}))),
            401,
        ),
        ("ill", Box::new(|_| (500, json!({}))), 500),
        ("elsewhere", Box::new(|_| (302, json!({}))), 500),
    ];
    for (name, make, want) in rows {
        let mut browser = world.browser("http/1.1", "a.com").await;
        let away = browser.sent_away("/").await;
        let (status, more) = make(&away);
        let mut granted = json!({"access_token": "access-1", "token_type": "Bearer"});
        granted
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        world.provider.say("/oauth2/token", status, &granted);
        let answer = browser.come_back(&away).await;
        assert_eq!(answer.status(), want, "{name}: {}", answer.body);
        assert_eq!(browser.has_session(), want == 302, "{name}");
    }
}

#[tokio::test]
async fn nobody_logs_in_whom_backends_cannot_be_told_of() {
    let world = World::start().await;
    for (subject, access, want) in [
        ("ann", "access-1", 302),
        ("ann of \"{shop}\"", "access-1", 302),
        ("ann\r\nx-role: root", "access-1", 401),
        ("ann\n", "access-1", 401),
        ("ann\0", "access-1", 401),
        ("\u{e4}nn", "access-1", 302),
        // Who takes a field in leaves these out, and takes one for another.
        (" ann", "access-1", 401),
        ("ann\t", "access-1", 401),
        ("ann", "access\r\nx-role: root", 401),
        ("ann", "access-1\u{7f}", 401),
        ("ann", "access-1 ", 401),
    ] {
        for protocol in ["http/1.1", "h2"] {
            let mut browser = world.browser(protocol, "a.com").await;
            let away = browser.sent_away("/").await;
            let id_token = world.signer.token(&world.claims(&away, &json!({"sub": subject})));
            world.grant_as(&id_token, &json!({"access_token": access}));
            let answer = browser.come_back(&away).await;
            assert_eq!(answer.status(), want, "{subject:?} {access:?}: {}", answer.body);
            assert_eq!(browser.has_session(), want == 302, "{subject:?} {access:?}");
            if want == 401 {
                let fault = "the identity provider says of you what no field of HTTP can hold";
                assert!(answer.body.contains(fault), "{}", answer.body);
                assert_eq!(answer.header("x-role"), None);
                // The next request begins anew.
                assert_eq!(browser.get("/").await.status(), 302, "{subject:?} {access:?}");
            } else {
                let answer = browser.get("/").await;
                assert_eq!(answer.status(), 200, "{subject:?} {access:?}");
                if subject.is_ascii() {
                    assert_eq!(answer.seen("x-amzn-oidc-identity"), [subject]);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_session_is_worth_nothing_touched_elsewhere_or_later() {
    let world = World::start().await;
    let mut browser = world.browser("http/1.1", "a.com").await;
    world.login(&mut browser, "/").await;
    let name = "__Host-shop-session-0";
    let cookie = browser.cookies[name].clone();
    let touched = |place: usize, byte: char| {
        let mut text: Vec<char> = cookie.chars().collect();
        text[place] = if text[place] == byte { 'Z' } else { byte };
        text.into_iter().collect::<String>()
    };
    for (what, value, want) in [
        ("untouched", cookie.clone(), 200),
        ("the end", touched(cookie.len() - 3, 'A'), 302),
        ("the middle", touched(cookie.len() / 2, 'A'), 302),
        ("the day", touched(5, 'A'), 302),
        ("the number of parts", touched(0, '2'), 302),
        ("no parts", touched(0, '0'), 302),
        ("cut", cookie[..cookie.len() / 2].to_owned(), 302),
        ("nothing", String::new(), 302),
        ("what somebody made", format!("1{}", encode([0; 200])), 302),
        ("untouched again", cookie.clone(), 200),
    ] {
        browser.cookies.insert(name.to_owned(), value);
        assert_eq!(browser.get("/").await.status(), want, "{what}");
    }
    let mut elsewhere = world.browser("http/1.1", "b.com").await;
    elsewhere.cookies.insert(name.to_owned(), cookie.clone());
    assert_eq!(elsewhere.get("/").await.status(), 302, "another host");

    // A changed configuration ends no session, nor does a new process; a shorter time and a new secret do.
    let at = |path: &str| world.provider.url(path);
    let serve = |change: fn(&mut Authenticate)| {
        let mut balancer = balancer(&world.echo, at);
        for rule in &mut balancer.rules {
            rule.authenticate.as_mut().map(change);
        }
        let built = ServingState::build(balancer, &world.keys, None, ServedPorts::default());
        world.proxy.handle.swap(built.unwrap().0);
    };
    serve(|_| {});
    browser.cookies.insert(name.to_owned(), cookie.clone());
    assert_eq!(browser.get("/").await.status(), 200, "a new process");
    serve(|step| {
        if let Authenticate::Oidc {
            client: Some(client), ..
        } = step
        {
            client.secret = Sealed::new("another");
        }
    });
    assert_eq!(browser.get("/").await.status(), 302, "a new secret");
    serve(|step| {
        if let Authenticate::Oidc { session, .. } = step {
            session.timeout_seconds = 1;
        }
    });
    let began = tokio::time::Instant::now();
    loop {
        browser.cookies.insert(name.to_owned(), cookie.clone());
        if browser.get("/").await.status() == 302 {
            break;
        }
        assert!(began.elapsed().as_secs() < 10, "it does not end");
    }
}

#[tokio::test]
async fn a_provider_that_may_not_be_asked_lets_nobody_in() {
    let world = World::with(|provider| {
        let mut config = provider.reachable();
        config.outbound.allowed.clear();
        config
    })
    .await;
    let mut browser = world.browser("http/1.1", "a.com").await;
    let away = browser.sent_away("/").await;
    world.grant(&away, &json!({}));
    assert_eq!(browser.come_back(&away).await.status(), 500);
    assert!(world.provider.asked().is_empty());

    // What an issuer publishes must be its own, and lead nowhere else.
    for (document, want) in [
        (json!({"issuer": "https://evil.example", "jwks_uri": "keys"}), 500),
        (json!({"issuer": "own", "jwks_uri": "http"}), 500),
        (json!({"issuer": "own"}), 500),
        (
            json!({"issuer": "own", "jwks_uri": "keys", "token_endpoint_auth_methods_supported": ["client_secret_post"]}),
            302,
        ),
    ] {
        let world = World::start().await;
        let mut said = document.clone();
        for (name, value) in [
            ("own", world.provider.url("")),
            ("keys", world.provider.url("/keys")),
            ("http", "http://localhost/keys".to_owned()),
        ] {
            for text in said.as_object_mut().unwrap().values_mut() {
                if text == name {
                    *text = json!(value);
                }
            }
        }
        world
            .provider
            .say("/.well-known/openid-configuration", 200, &said);
        let mut browser = world.browser("http/1.1", "a.com").await;
        let away = browser.sent_away("/").await;
        world.grant(&away, &json!({}));
        assert_eq!(browser.come_back(&away).await.status(), want, "{document}");
        if want == 302 {
            let (headers, body) = &world.token_requests()[0];
            assert!(!headers.contains_key("authorization"));
            assert!(
                body.contains("&client_id=shop%20client&client_secret=a%20secret%3A"),
                "{body}"
            );
        }
    }
}
