//! An OpenID provider that somebody else wrote, and browsers, in; users who log in at it out.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use http_body_util::Full;
use hyper::Request;
use portcullis_model::{Authenticate, JwtClaim};
use portcullis_proxy::{Outbound, ServerConfig};
use rustls::pki_types::CertificateDer;

use crate::balancer::{KeyPairs, Proxy, backend, empty, origin, rule, serve_as, to, with_certificates};
use crate::browser::{Away, Browser, guarded, session};
use crate::client::{Client, soon, tls};
use crate::echo::Echo;
use crate::secure::key_pair;

/// `oidc-provider-mock`, which is Authlib's provider, over TLS. It ends with its standard input.
struct OpenId {
    process: Child,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

impl Drop for OpenId {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl OpenId {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let (python, script) = portcullis_test_support::openid_provider();
        let starting = tokio::task::spawn_blocking(move || {
            let mut process = Command::new(python)
                .arg(script)
                .args([certificate, key])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            let output = process.stdout.take().unwrap();
            BufReader::new(output).read_line(&mut line).unwrap();
            (process, line)
        });
        let (process, line) = soon("the provider", starting).await.unwrap();
        let port: u16 = line.trim().parse().unwrap();
        Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            certificate: made.cert.der().clone(),
            _folder: folder,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// What its page does when a user gives a name: where the browser is sent then.
    async fn consent(&self, away: &Away, form: &str) -> String {
        let trusted = std::slice::from_ref(&self.certificate);
        let stream = tls(self.address, "localhost", trusted, &[]).await.unwrap();
        let target = away.url.strip_prefix(&self.url("")).unwrap();
        let request = Request::post(target)
            .header("host", format!("localhost:{}", self.address.port()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::from(form.to_owned()))
            .unwrap();
        let answer = Client::http1_over(stream).await.send(request).await.unwrap();
        assert_eq!(answer.status(), 302, "{}", answer.body);
        answer.header("location").unwrap().to_owned()
    }
}

struct World {
    _echo: Echo,
    provider: OpenId,
    proxy: Proxy,
    certificate: CertificateDer<'static>,
}

async fn world() -> World {
    let (echo, provider) = (Echo::http1("one").await, OpenId::start().await);
    let (secret, certificate) = key_pair("web", &["a.com"]);
    let mut balancer = with_certificates(empty(), &[("web", &["a.com"])]);
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    let mut tokens = rule("a.com", "/tokens", to("one"));
    tokens.authenticate = Some(Authenticate::Jwt {
        issuer: provider.url(""),
        key_set: provider.url("/jwks"),
        claims: Vec::<JwtClaim>::new(),
        origin: origin(),
    });
    *balancer.rules = vec![
        tokens,
        guarded(
            rule("a.com", "/", to("one")),
            |path| provider.url(path),
            session(),
        ),
    ];
    let config = ServerConfig {
        outbound: Outbound {
            allowed: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            authorities: vec![provider.certificate.clone()],
            ..Outbound::default()
        },
        ..ServerConfig::default()
    };
    let proxy = serve_as(&balancer, &KeyPairs::from([secret]), config);
    assert_eq!(proxy.problems, []);
    World {
        _echo: echo,
        provider,
        proxy,
        certificate,
    }
}

/// The path with query of a URL of the host.
fn at(url: &str) -> &str {
    url.strip_prefix("https://a.com")
        .unwrap_or_else(|| panic!("{url}"))
}

#[tokio::test]
async fn a_user_logs_in_at_a_provider_and_stays_so() {
    let World {
        provider,
        proxy,
        certificate,
        ..
    } = &world().await;
    for protocol in ["http/1.1", "h2"] {
        let mut browser = Browser::open(proxy.https, certificate, protocol, "a.com").await;
        let away = browser.sent_away("/cart?item=1").await;
        let location = provider.consent(&away, "sub=ann").await;
        let answer = browser.get(at(&location)).await;
        assert_eq!(
            answer.header("location"),
            Some("https://a.com/cart?item=1"),
            "{}",
            answer.body
        );
        let answer = browser.get("/cart?item=1").await;
        assert_eq!(answer.status(), 200, "{protocol}");
        assert_eq!(answer.seen("x-amzn-oidc-identity"), ["ann"], "{protocol}");
        let first = answer.seen("x-amzn-oidc-accesstoken")[0].to_owned();

        // Its access tokens expire within seconds: the session goes on with another.
        let renewed = soon("a renewed token", async {
            loop {
                let answer = browser.get("/").await;
                assert_eq!(answer.status(), 200, "{protocol}");
                assert_eq!(answer.seen("x-amzn-oidc-identity"), ["ann"], "{protocol}");
                let token = answer.seen("x-amzn-oidc-accesstoken")[0].to_owned();
                if token != first {
                    return token;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
        assert_eq!(
            browser.get("/").await.seen("x-amzn-oidc-accesstoken"),
            [renewed],
            "it is kept"
        );
        // The same code again, in another browser.
        let mut other = Browser::open(proxy.https, certificate, protocol, "a.com").await;
        other.sent_away("/").await;
        assert_eq!(
            other.get(at(&location)).await.status(),
            401,
            "{protocol}: a replay"
        );
    }
}
