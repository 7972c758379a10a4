//! Logins begun at one of many rules, and changes meanwhile, in; the rule that users come back to out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_model::{Authenticate, LoadBalancer, ObjectName, Origin, Rule, Sealed};
use portcullis_proxy::{ServedPorts, ServingState};
use serde_json::json;

use crate::balancer::{rule, serve_as, to};
use crate::browser::{Away, Browser, CLIENT, SECRET, World, back, balancer, decoded, guarded, session};

/// The rule as another object asks for it, with a Secret of its own.
fn of(namespace: &str, secret: &str, timeout_seconds: u32, mut rule: Rule) -> Rule {
    if let Some(Authenticate::Oidc {
        secret: name,
        client: Some(client),
        session,
        origin,
        ..
    }) = &mut rule.authenticate
    {
        *name = ObjectName::new(namespace, "idp");
        client.secret = Sealed::new(secret);
        client.version = secret.into();
        session.timeout_seconds = timeout_seconds;
        *origin = Origin::new("ingress", ObjectName::new(namespace, "web"), "metadata");
    }
    rule
}

impl World {
    fn login_at(&self, host: &str, path: &str) -> Rule {
        guarded(
            rule(host, path, to("one")),
            |path| self.provider.url(path),
            session(),
        )
    }

    /// Beside others that say the same of their logins, but for their secrets and how long sessions last.
    fn crowded(&self) -> LoadBalancer {
        let mut balancer = balancer(&self.echo, |path| self.provider.url(path));
        for number in 0..8 {
            let (host, name) = (format!("{number}.example"), format!("stranger-{number}"));
            let theirs = of(&name, &format!("guess {number}"), 3600, self.login_at(&host, "/"));
            balancer.rules.insert(0, theirs);
        }
        for (path, secret, seconds) in [
            ("/short", SECRET, 600),
            ("/long", SECRET, 7200),
            ("/rotated", "the next secret", 3600),
        ] {
            let own = of("shop", secret, seconds, self.login_at("a.com", path));
            balancer.rules.insert(0, own);
        }
        balancer
    }

    fn swap(&self, balancer: LoadBalancer) {
        let built = ServingState::build(balancer, &self.keys, None, ServedPorts::default());
        self.proxy.handle.swap(built.unwrap().0);
    }

    async fn begun(&self, path: &str) -> (Browser, Away) {
        let mut browser = self.browser("http/1.1", "a.com").await;
        let away = browser.sent_away(path).await;
        self.grant(&away, &json!({}));
        (browser, away)
    }

    /// By which the provider was asked last.
    fn last_secret(&self) -> String {
        let (headers, _) = self.token_requests().pop().unwrap();
        let basic = headers["authorization"].to_str().unwrap().strip_prefix("Basic ");
        let pair = String::from_utf8(STANDARD.decode(basic.unwrap()).unwrap()).unwrap();
        let (client, secret) = pair.split_once(':').unwrap();
        assert_eq!(decoded(client), CLIENT);
        decoded(secret)
    }
}

#[tokio::test]
async fn a_login_comes_back_to_the_rule_that_it_began_at() {
    let world = World::start().await;
    // In each table logins lie in another order, if in any.
    for _ in 0..4 {
        world.swap(world.crowded());
        for (path, secret, seconds) in [
            ("/cart", SECRET, 3600),
            ("/short", SECRET, 600),
            ("/long", SECRET, 7200),
            ("/rotated", "the next secret", 3600),
        ] {
            let (mut browser, away) = world.begun(path).await;
            let answer = browser.come_back(&away).await;
            assert_eq!(answer.status(), 302, "{path}: {}", answer.body);
            assert_eq!(
                answer.header("location"),
                Some(&*format!("https://a.com{path}")),
                "{path}"
            );
            assert_eq!(world.last_secret(), secret, "{path}");
            let lasts = format!("; Max-Age={seconds}");
            let mut kept = browser.set.iter();
            assert!(
                kept.any(|cookie| cookie.starts_with("__Host-shop-session-0=") && cookie.contains(&lasts)),
                "{path}: {:?}",
                browser.set
            );
            assert_eq!(browser.get(path).await.status(), 200, "{path}");
        }
    }
}

/// Of whatever Ingresses: the usual name of their cookies is one.
#[tokio::test]
async fn several_logins_of_a_browser_at_one_host_come_back_each() {
    let world = World::start().await;
    world.swap(world.crowded());
    let paths = ["/cart", "/other", "/rotated", "/short"];
    for first in 0..paths.len() {
        let mut browser = world.browser("http/1.1", "a.com").await;
        let mut aways = Vec::new();
        for path in paths {
            aways.push((path, browser.sent_away(path).await));
        }
        assert_eq!(browser.cookies.len(), paths.len());
        aways.rotate_left(first);
        for (path, away) in aways {
            world.grant(&away, &json!({}));
            let answer = browser.come_back(&away).await;
            assert_eq!(answer.status(), 302, "{path}: {}", answer.body);
            assert_eq!(browser.get(path).await.status(), 200, "{path}");
            // Once.
            browser.cookies.remove("__Host-shop-session-0");
            assert_eq!(browser.come_back(&away).await.status(), 401, "{path}");
        }
        assert_eq!(browser.cookies.len(), 0);
    }
}

#[tokio::test]
async fn a_login_comes_back_to_another_replica() {
    let world = World::start().await;
    let (mut browser, away) = world.begun("/cart").await;
    let replica = serve_as(&world.crowded(), &world.keys, world.provider.reachable());
    let mut there = Browser::open(replica.https, &world.certificate, "h2", "a.com").await;
    there.cookies.clone_from(&browser.cookies);
    let answer = there.come_back(&away).await;
    assert_eq!(
        answer.header("location"),
        Some("https://a.com/cart"),
        "{}",
        answer.body
    );
    browser.cookies.clone_from(&there.cookies);
    assert_eq!(browser.get("/cart").await.status(), 200);
}

#[tokio::test]
async fn a_login_that_began_before_a_change_begins_anew() {
    let world = World::start().await;
    let asks = |change: fn(&mut Authenticate)| {
        let mut balancer = world.crowded();
        for rule in &mut balancer.rules {
            rule.authenticate.as_mut().map(change);
        }
        balancer
    };
    let renamed = |step: &mut Authenticate| {
        if let Authenticate::Oidc {
            client: Some(client), ..
        } = step
        {
            client.secret = Sealed::new("rotated for all");
        }
    };
    let shorter = |step: &mut Authenticate| {
        if let Authenticate::Oidc { session, .. } = step {
            session.timeout_seconds = 60;
        }
    };
    let narrower = |step: &mut Authenticate| {
        if let Authenticate::Oidc { session, .. } = step {
            session.scope = "openid profile".to_owned();
        }
    };
    // Where nobody logs in at `/`, what provider and user say is for nobody else either.
    let mut open = world.crowded();
    *open.rules = vec![
        of("shop", "rotated", 3600, world.login_at("a.com", "/cart")),
        rule("a.com", "/", to("one")),
    ];
    for (name, changed, want) in [
        ("a new secret", asks(renamed), 401),
        ("a new secret, and open at /", open, 401),
        ("sessions that last shorter", asks(shorter), 401),
        ("another scope: a login of its own", asks(narrower), 302),
    ] {
        world.swap(world.crowded());
        let (mut browser, away) = world.begun("/cart").await;
        let before = world.token_requests().len();
        world.swap(changed);
        let answer = browser.come_back(&away).await;
        assert_eq!(answer.status(), want, "{name}: {}", answer.body);
        assert_eq!(answer.header("x-backend"), None, "{name}");
        assert_eq!(world.token_requests().len(), before, "{name}");
        assert!(!browser.has_session(), "{name}");
        world.login(&mut browser, "/cart").await;
        assert_eq!(browser.get("/cart").await.status(), 200, "{name}");
    }
    // Whose login begins anew where it should have ended is not brought back there.
    world.swap(world.crowded());
    let mut browser = world.browser("http/1.1", "a.com").await;
    let away = browser.sent_away(&back("x.y", "code=code-1")).await;
    world.grant(&away, &json!({}));
    assert_eq!(
        browser.come_back(&away).await.header("location"),
        Some("https://a.com/")
    );
}
