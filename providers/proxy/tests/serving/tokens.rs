//! Requests with and without tokens in, who passes out.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::hmac;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::HeaderValue;
use hyper::body::Incoming;
use hyper::{Request, Response};
use portcullis_model::{Authenticate, ClaimFormat, Code, JwtClaim, LoadBalancer, Rule, Semantics};
use portcullis_proxy::{Outbound, ServedPorts, ServerConfig, ServingState};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, Proxy, backend, empty, origin, rule, serve_as, to, with_certificates};
use crate::client::{Answer, Client, Sent, get_once, http2_over, soon, tls};
use crate::echo::Echo;
use crate::provider::{Provider, Signer, encode, now};
use crate::secure::key_pair;

fn guarded(rule: Rule, issuer: &str, key_set: String, claims: Vec<JwtClaim>) -> Rule {
    Rule {
        authenticate: Some(Authenticate::Jwt {
            issuer: issuer.to_owned(),
            key_set,
            claims,
            origin: origin(),
        }),
        ..rule
    }
}

fn claim(name: &str, format: ClaimFormat, values: &[&str]) -> JwtClaim {
    JwtClaim {
        name: name.to_owned(),
        format,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

const ISSUER: &str = "https://id.example.com";

/// `/` asks for a token, `/claims` for more of it, `/open` for none.
fn balancer(echo: &Echo, provider: &Provider) -> LoadBalancer {
    let mut balancer = with_certificates(empty(), &[("web", &["a.com"])]);
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    let claims = vec![
        claim("aud", ClaimFormat::Text, &["shop", "store"]),
        claim("groups", ClaimFormat::List, &["staff"]),
        claim("scope", ClaimFormat::Spaced, &["read"]),
    ];
    let keys = || provider.url("/keys");
    *balancer.rules = vec![
        rule("a.com", "/open", to("one")),
        guarded(rule("a.com", "/claims", to("one")), ISSUER, keys(), claims),
        guarded(rule("a.com", "/", to("one")), ISSUER, keys(), Vec::new()),
    ];
    balancer
}

struct World {
    echo: Echo,
    provider: Provider,
    signer: Signer,
    proxy: Proxy,
    balancer: LoadBalancer,
    keys: KeyPairs,
    certificate: CertificateDer<'static>,
}

impl World {
    async fn start(config: impl FnOnce(&Provider) -> ServerConfig) -> Self {
        let (echo, provider, signer) = (
            Echo::http1("one").await,
            Provider::start().await,
            Signer::new("one"),
        );
        provider.say("/keys", 200, &json!({"keys": [signer.public()]}));
        let (secret, certificate) = key_pair("web", &["a.com"]);
        let keys = KeyPairs::from([secret]);
        let balancer = balancer(&echo, &provider);
        let proxy = serve_as(&balancer, &keys, config(&provider));
        assert_eq!(proxy.problems, []);
        Self {
            echo,
            provider,
            signer,
            proxy,
            balancer,
            keys,
            certificate,
        }
    }

    async fn client(&self, protocol: &str) -> Client {
        let trusted = std::slice::from_ref(&self.certificate);
        let stream = tls(self.proxy.https, "a.com", trusted, &[protocol])
            .await
            .unwrap();
        match protocol {
            "h2" => Client::http2_over(stream).await,
            _ => Client::http1_over(stream).await,
        }
    }

    async fn ask(&self, path: &str, credentials: &[&str]) -> Answer {
        ask(&mut self.client("http/1.1").await, "http/1.1", path, credentials).await
    }
}

async fn ask(client: &mut Client, protocol: &str, path: &str, credentials: &[&str]) -> Answer {
    let mut request = match protocol {
        "h2" => Request::get(format!("https://a.com{path}")),
        _ => Request::get(path).header("host", "a.com"),
    };
    for value in credentials {
        request = request.header("authorization", HeaderValue::from_str(value).unwrap());
    }
    client.send(request.body(Sent::default()).unwrap()).await.unwrap()
}

/// What every token says, with and without more.
fn claims(more: &Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "sub": "ann", "exp": now() + 600});
    let said = claims.as_object_mut().unwrap();
    said.extend(more.as_object().unwrap().clone());
    said.retain(|_, value| !value.is_null());
    claims
}

#[tokio::test]
async fn a_valid_token_of_the_issuer_passes_and_nothing_else() {
    let world = World::start(Provider::reachable).await;
    let (signer, other) = (&world.signer, Signer::new("one"));
    let good = signer.token(&claims(&json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    let with = |more: Value| signer.token(&claims(&more));
    let head = |header: Value| signer.sign(&header, &claims(&json!({})));
    let unsigned = |header: Value| format!("{}.{}.", encode(header.to_string()), parts[1]);
    // What is public as the secret of a shared one.
    let confused = {
        let message = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"one"}"#), parts[1]);
        let key = hmac::Key::new(
            hmac::HMAC_SHA256,
            signer.public()["n"].as_str().unwrap().as_bytes(),
        );
        format!("{message}.{}", encode(hmac::sign(&key, message.as_bytes())))
    };
    let invalid = "401 invalid_token";
    let rows: Vec<(&str, String, &str)> = vec![
        ("good", good.clone(), "200"),
        ("no key is named", head(json!({"alg": "RS256"})), "200"),
        ("not before now", with(json!({"nbf": now(), "iat": now()})), "200"),
        ("a clock that is ahead", with(json!({"iat": now() + 5})), "200"),
        ("parts of seconds", with(json!({"exp": 4_102_444_800.5})), "200"),
        ("expired", with(json!({"exp": now()})), invalid),
        ("never expires", with(json!({"exp": null})), invalid),
        ("expires in words", with(json!({"exp": "4102444800"})), invalid),
        ("not yet", with(json!({"nbf": now() + 600})), invalid),
        ("issued tomorrow", with(json!({"iat": now() + 86_400})), invalid),
        (
            "of another issuer",
            with(json!({"iss": "https://id.example.com/"})),
            invalid,
        ),
        ("of nobody", with(json!({"iss": null})), invalid),
        ("none", unsigned(json!({"alg": "none"})), invalid),
        ("None", unsigned(json!({"alg": "None", "kid": "one"})), invalid),
        (
            "no signature",
            unsigned(json!({"alg": "RS256", "kid": "one"})),
            invalid,
        ),
        ("a shared secret", confused, invalid),
        (
            "another way",
            head(json!({"alg": "RS384", "kid": "one"})),
            invalid,
        ),
        (
            "a key that nobody knows",
            head(json!({"alg": "RS256", "kid": "two"})),
            invalid,
        ),
        (
            "something critical",
            head(json!({"alg": "RS256", "crit": ["x"], "x": 1})),
            invalid,
        ),
        (
            "a key of its own",
            head(json!({"alg": "RS256", "kid": "none", "jwk": other.public()})),
            invalid,
        ),
        ("another's signature", other.token(&claims(&json!({}))), invalid),
        (
            "another's claims",
            format!(
                "{}.{}.{}",
                parts[0],
                encode(claims(&json!({"sub": "bob"})).to_string()),
                parts[2]
            ),
            invalid,
        ),
        (
            "no claims",
            signer.sign(&json!({"alg": "RS256"}), &json!(["iss"])),
            invalid,
        ),
        ("cut", format!("{}.{}", parts[0], parts[1]), invalid),
        ("more", format!("{good}.x"), invalid),
        ("padded", format!("{good}="), invalid),
        (
            "long",
            format!("{}.{}.{}", parts[0], "a".repeat(20_000), parts[2]),
            invalid,
        ),
        ("words", "not a token".to_owned(), invalid),
    ];
    for protocol in ["http/1.1", "h2"] {
        let mut client = world.client(protocol).await;
        for (name, token, want) in &rows {
            let answer = ask(&mut client, protocol, "/", &[&format!("Bearer {token}")]).await;
            let told = answer.header("www-authenticate").unwrap_or_default();
            let told = match told
                .strip_prefix("Bearer error=\"")
                .and_then(|rest| rest.split('"').next())
            {
                Some(error) => format!("{} {error}", answer.status()),
                None => answer.status().to_string(),
            };
            assert_eq!(told, *want, "{protocol} {name}: {}", answer.body);
            assert_eq!(
                answer.header("x-backend").is_some(),
                *want == "200",
                "{protocol} {name}"
            );
            assert!(!answer.body.contains(token.as_str()) || *want == "200", "{name}");
        }
        let bearer = format!("bearer  {good}");
        for (name, credentials, want) in [
            ("nothing", &[][..], 401),
            ("a password", &["Basic YTpi"], 401),
            ("no token", &["Bearer"], 401),
            ("a space", &["Bearer "], 401),
            ("two", &[&*bearer, "Bearer x"], 401),
            ("as it is", &[&*bearer], 200),
        ] {
            let answer = ask(&mut client, protocol, "/", credentials).await;
            assert_eq!(answer.status(), want, "{protocol} {name}");
            let challenge = (want == 401).then_some("Bearer");
            assert_eq!(answer.header("www-authenticate"), challenge, "{protocol} {name}");
            if want == 200 {
                assert_eq!(answer.seen("authorization"), credentials, "{protocol} {name}");
            }
        }
    }
    // A known key was asked for once; the one that nobody knows had the keys looked for again.
    let asked = world.provider.asked();
    assert!(asked.iter().all(|(line, ..)| line == "GET /keys"), "{asked:?}");
}

#[tokio::test]
async fn a_token_carries_every_claim_that_is_asked_for() {
    let world = World::start(Provider::reachable).await;
    let full = json!({"aud": "store", "groups": ["users", "staff"], "scope": "write read"});
    for (more, want) in [
        (json!({}), 200),
        (json!({"aud": null}), 401),
        (json!({"aud": "stor"}), 401),
        (json!({"aud": ["store"]}), 401),
        (json!({"groups": "staff"}), 401),
        (json!({"groups": ["users"]}), 401),
        (json!({"groups": [["staff"]]}), 401),
        (json!({"scope": "reader"}), 401),
        (json!({"scope": ["read"]}), 401),
        (json!({"scope": 7}), 401),
        (json!({"scope": "read"}), 200),
    ] {
        let mut said = full.as_object().unwrap().clone();
        said.extend(more.as_object().unwrap().clone());
        let token = world.signer.token(&claims(&said.into()));
        let answer = world.ask("/claims", &[&format!("Bearer {token}")]).await;
        assert_eq!(answer.status(), want, "{more}");
    }
}

#[tokio::test]
async fn keys_are_asked_for_once_and_again_when_they_change() {
    let world = World::start(|provider| {
        let mut config = provider.reachable();
        config.outbound.pause = Duration::from_secs(3600);
        config
    })
    .await;
    let count = || world.provider.asked().len();
    assert_eq!(count(), 0, "nobody has needed them");
    let token = format!("Bearer {}", world.signer.token(&claims(&json!({}))));
    let unknown = format!("Bearer {}", Signer::new("two").token(&claims(&json!({}))));
    for _ in 0..3 {
        assert_eq!(world.ask("/", &[&token]).await.status(), 200);
        assert_eq!(world.ask("/claims", &[&token]).await.status(), 401);
        // Nobody has the provider asked as often as he likes.
        assert_eq!(world.ask("/", &[&unknown]).await.status(), 401);
        assert_eq!(count(), 1);
        // A changed configuration loses nothing of it.
        let before = world.proxy.handle.state();
        let built = ServingState::build(
            world.balancer.clone(),
            &world.keys,
            Some(&before),
            ServedPorts::default(),
        );
        world.proxy.handle.swap(built.unwrap().0);
    }

    let world = World::start(Provider::reachable).await;
    let old = format!("Bearer {}", world.signer.token(&claims(&json!({}))));
    assert_eq!(world.ask("/", &[&old]).await.status(), 200);
    let second = Signer::new("two");
    world
        .provider
        .say("/keys", 200, &json!({"keys": [second.public()]}));
    let new = format!("Bearer {}", second.token(&claims(&json!({}))));
    assert_eq!(world.ask("/", &[&new]).await.status(), 200);
    assert_eq!(world.ask("/", &[&old]).await.status(), 401, "its key is gone");
}

#[tokio::test]
async fn keys_are_asked_for_anew_while_they_are_used_and_count_no_longer_than_they_may() {
    let started = async |last: Duration| {
        World::start(|provider| {
            let mut config = provider.reachable();
            config.outbound.keys_fresh = Duration::ZERO;
            config.outbound.keys_last = last;
            config
        })
        .await
    };
    let world = started(Duration::from_secs(3600)).await;
    let token = format!("Bearer {}", world.signer.token(&claims(&json!({}))));
    let status = async |world: &World, token: &str| world.ask("/", &[token]).await.status();
    assert_eq!(status(&world, &token).await, 200);
    // Who cannot be asked takes nothing away, but what is taken out of the set counts no more.
    world.provider.say("/keys", 500, &"");
    for _ in 0..5 {
        assert_eq!(status(&world, &token).await, 200);
    }
    let other = json!({"keys": [Signer::new("two").public()]});
    world.provider.say("/keys", 200, &other);
    soon("the key that was taken out counts no more", async {
        while status(&world, &token).await != 401 {}
    })
    .await;

    let world = started(Duration::from_secs(1)).await;
    let token = format!("Bearer {}", world.signer.token(&claims(&json!({}))));
    assert_eq!(status(&world, &token).await, 200);
    world.provider.say("/keys", 500, &"");
    soon("old keys count no more", async {
        while status(&world, &token).await != 500 {}
    })
    .await;
}

#[tokio::test]
async fn without_keys_nobody_passes_and_neighbours_are_served() {
    let world = World::start(Provider::reachable).await;
    let token = format!("Bearer {}", world.signer.token(&claims(&json!({}))));
    let keys = json!({"keys": [world.signer.public()]}).to_string();
    let long = json!({"keys": [world.signer.public()], "x": "x".repeat(200_000)}).to_string();
    world.provider.say("/moved", 200, &keys);
    for (status, body, want) in [
        (404, String::new(), 500),
        (500, keys.clone(), 500),
        (302, "/moved".to_owned(), 500),
        (200, "{}".to_owned(), 500),
        (200, long, 500),
        (200, keys, 200),
    ] {
        world.provider.say("/keys", status, &body);
        let answer = world.ask("/", &[&token]).await;
        assert_eq!(answer.status(), want, "{status} {body:.80}");
        assert_eq!(world.ask("/open", &[]).await.status(), 200);
    }
    let asked = world.provider.asked();
    assert!(
        asked.iter().all(|(line, ..)| line == "GET /keys"),
        "redirects are not followed"
    );
}

#[tokio::test]
async fn rules_have_nobody_asked_whom_they_may_not_ask() {
    type Change = fn(&mut Outbound);
    let changes: [(&str, Change); 3] = [
        ("loopback", |outbound| outbound.allowed.clear()),
        ("an unknown authority", |outbound| {
            let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            outbound.authorities = vec![other.cert.der().clone()];
        }),
        ("nothing that is an authority", |outbound| {
            outbound.authorities = vec![CertificateDer::from(vec![0])];
        }),
    ];
    for (name, change) in changes {
        let world = World::start(|provider| {
            let mut config = provider.reachable();
            change(&mut config.outbound);
            config
        })
        .await;
        let token = format!("Bearer {}", world.signer.token(&claims(&json!({}))));
        assert_eq!(world.ask("/", &[&token]).await.status(), 500, "{name}");
        assert!(world.provider.asked().is_empty(), "{name}");
        assert_eq!(world.echo.connections.load(Ordering::SeqCst), 0, "{name}");
    }
}

/// Takes connections, and says nothing.
pub(crate) async fn silent() -> Echo {
    Echo::running(|stream| {
        Box::pin(async move {
            let _held = stream;
            std::future::pending().await
        })
    })
    .await
}

/// How many of these requests, made at once, are refused before the first that waits is given up.
pub(crate) async fn told_to_come_again(
    asking: Vec<impl Future<Output = hyper::Result<Response<Incoming>>>>,
) -> usize {
    let mut answers: FuturesUnordered<_> = asking.into_iter().collect();
    let mut refused = 0;
    loop {
        let answer = soon("an answer", answers.next()).await.unwrap().unwrap();
        if answer.status() != 503 {
            assert_eq!(answer.status(), 500);
            return refused;
        }
        assert_eq!(answer.headers()["retry-after"], "1");
        refused += 1;
    }
}

/// Whose keys `/claims` needs.
async fn with_a_silent_provider() -> (World, Echo) {
    let silent = silent().await;
    let mut world = World::start(Provider::reachable).await;
    let url = format!("https://localhost:{}/keys", silent.address.port());
    world.balancer.rules[1] = guarded(rule("a.com", "/claims", to("one")), ISSUER, url, Vec::new());
    let built = ServingState::build(world.balancer.clone(), &world.keys, None, ServedPorts::default());
    world.proxy.handle.swap(built.unwrap().0);
    (world, silent)
}

#[tokio::test]
async fn a_provider_that_hangs_holds_nobody_else_up() {
    let (world, silent) = with_a_silent_provider().await;

    let token = format!("Bearer {}", world.signer.token(&claims(&json!({}))));
    let credentials = [&*token];
    let (hung, meanwhile) = tokio::join!(world.ask("/claims", &credentials), async {
        crate::client::until("the provider is asked", || {
            silent.connections.load(Ordering::SeqCst) > 0
        })
        .await;
        let asked = tokio::time::Instant::now();
        let mut answers = Vec::new();
        for (path, credentials) in [("/", &credentials[..]), ("/open", &[]), ("/", &[])] {
            answers.push(world.ask(path, credentials).await.status());
        }
        (answers, asked.elapsed())
    });
    assert_eq!(meanwhile.0, [200, 200, 401]);
    assert!(meanwhile.1.as_secs() < 5, "{:?}", meanwhile.1);
    assert_eq!(hung.status(), 500);
}

#[tokio::test]
async fn few_wait_for_the_keys_of_a_provider_that_hangs() {
    let (world, _silent) = with_a_silent_provider().await;
    let token = format!("Bearer {}", world.signer.token(&claims(&json!({}))));
    let mut tasks = JoinSet::new();
    let mut asking = Vec::new();
    for _ in 0..2 {
        let trusted = std::slice::from_ref(&world.certificate);
        let stream = tls(world.proxy.https, "a.com", trusted, &["h2"]).await;
        let mut sender = http2_over::<Sent>(stream.unwrap(), &mut tasks).await;
        for _ in 0..133 {
            let request = Request::get("https://a.com/claims").header("authorization", &token);
            asking.push(sender.send_request(request.body(Sent::default()).unwrap()));
        }
    }
    assert_eq!(asking.len(), 256 + 10);
    assert_eq!(told_to_come_again(asking).await, 10);
}

#[tokio::test]
async fn tokens_are_read_over_https_alone_and_from_providers_by_https() {
    let world = World::start(Provider::reachable).await;
    for (path, want) in [("/", 503), ("/claims", 503), ("/open", 200)] {
        let answer = get_once(world.proxy.http, "a.com", path).await;
        assert_eq!(answer.status(), want, "{path}");
    }
    let mut balancer = balancer(&world.echo, &world.provider);
    balancer.semantics = Semantics::AwsLoadBalancerController;
    let before = world.proxy.handle.state();
    let built = ServingState::build(
        balancer.clone(),
        &world.keys,
        Some(&before),
        ServedPorts::default(),
    );
    world.proxy.handle.swap(built.unwrap().0);
    // As an ALB, whose listeners of HTTP have no such rules.
    let answer = get_once(world.proxy.http, "a.com", "/").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(world.ask("/", &[]).await.status(), 401);
    let plain = world.provider.url("/keys").replace("https:", "http:");
    balancer.rules[1] = guarded(rule("a.com", "/claims", to("one")), ISSUER, plain, Vec::new());
    let built = ServingState::build(balancer, &world.keys, None, ServedPorts::default());
    let (state, problems) = built.unwrap();
    let codes: Vec<Code> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::ActionUnsupported]);
    world.proxy.handle.swap(state);
    let token = format!("Bearer {}", world.signer.token(&claims(&json!({}))));
    assert_eq!(world.ask("/claims", &[&token]).await.status(), 503);
    assert_eq!(world.ask("/", &[&token]).await.status(), 200);
}
