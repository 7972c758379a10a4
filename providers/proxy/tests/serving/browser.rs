//! Rules that ask for a login in; a proxy, its provider, and browsers whose users log in out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use portcullis_model::{
    Authenticate, Client as Credentials, ExternalAuth, Filters, HeaderName, LoadBalancer, ObjectName,
    OnUnauthenticated, Rule, Sealed, Session,
};
use portcullis_proxy::ServerConfig;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::balancer::{
    KeyPairs, Proxy, backend, empty, filtered, id, origin, rule, serve_as, to, with_certificates,
};
use crate::client::{Answer, Client, Sent, tls};
use crate::echo::{Echo, echo};
use crate::provider::{Provider, Signer, now};
use crate::secure::key_pair;

pub(crate) const CLIENT: &str = "shop client";
pub(crate) const SECRET: &str = "a secret: of 128 bits & more";

pub(crate) fn session() -> Session {
    Session {
        cookie: "shop-session".to_owned(),
        timeout_seconds: 3600,
        scope: "openid email".to_owned(),
        on_unauthenticated: OnUnauthenticated::Authenticate,
        extra: BTreeMap::from([("login_hint".to_owned(), "a&b".to_owned())]),
    }
}

pub(crate) fn guarded(rule: Rule, at: impl Fn(&str) -> String, session: Session) -> Rule {
    Rule {
        authenticate: Some(Authenticate::Oidc {
            issuer: at(""),
            authorization_endpoint: at("/oauth2/authorize"),
            token_endpoint: at("/oauth2/token"),
            user_info_endpoint: at("/userinfo"),
            secret: ObjectName::new("shop", "idp"),
            client: Some(Credentials {
                id: Sealed::new(CLIENT),
                secret: Sealed::new(SECRET),
                version: "1".into(),
            }),
            session,
            origin: origin(),
        }),
        ..rule
    }
}

/// Tells what it was asked, its cookies also in `X-Cookies`, and ends the sessions of an ALB at `/logout`.
pub(crate) async fn application(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_logout = request.uri().path() == "/logout";
    let cookies = request.headers().get("cookie").cloned();
    let mut response = echo("one", request).await?;
    if let Some(cookies) = cookies {
        response.headers_mut().insert("x-cookies", cookies);
    }
    if is_logout {
        let gone = "shop-session-0=; Max-Age=-1; Path=/".parse().unwrap();
        response.headers_mut().append("set-cookie", gone);
    }
    Ok(response)
}

/// All of a.com and b.com is for who is logged in, but for `/deny`, `/allow`, `/other`, whose client is another, `/open`, and
/// `/consulted`, for which a backend is asked who may pass.
pub(crate) fn balancer(echo: &Echo, at: impl Fn(&str) -> String) -> LoadBalancer {
    let mut balancer = with_certificates(empty(), &[("web", &["a.com", "b.com"])]);
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    let with = |on_unauthenticated| Session {
        on_unauthenticated,
        ..session()
    };
    let told = BTreeSet::from([HeaderName::parse("x-cookies").unwrap()]);
    let asked = ExternalAuth::new(id("one"), "/", told, origin());
    let consulting = Filters {
        external_auth: Some(asked.unwrap()),
        ..Filters::default()
    };
    let other = Session {
        scope: "openid".to_owned(),
        ..session()
    };
    *balancer.rules = vec![
        rule("a.com", "/open", to("one")),
        filtered(rule("a.com", "/consulted", to("one")), consulting),
        guarded(
            rule("a.com", "/deny", to("one")),
            &at,
            with(OnUnauthenticated::Deny),
        ),
        guarded(
            rule("a.com", "/allow", to("one")),
            &at,
            with(OnUnauthenticated::Allow),
        ),
        guarded(rule("a.com", "/other", to("one")), &at, other),
        guarded(rule("a.com", "/", to("one")), &at, session()),
        guarded(rule("b.com", "/", to("one")), &at, session()),
    ];
    balancer
}

pub(crate) struct World {
    pub(crate) echo: Echo,
    pub(crate) provider: Provider,
    pub(crate) signer: Signer,
    pub(crate) proxy: Proxy,
    pub(crate) keys: KeyPairs,
    pub(crate) certificate: CertificateDer<'static>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(Provider::reachable).await
    }

    pub(crate) async fn with(config: impl FnOnce(&Provider) -> ServerConfig) -> Self {
        let (echo, provider) = (Echo::answering(application).await, Provider::start().await);
        let signer = Signer::new("one");
        provider.say("/keys", 200, &json!({"keys": [signer.public()]}));
        let document = json!({"issuer": provider.url(""), "jwks_uri": provider.url("/keys")});
        provider.say("/.well-known/openid-configuration", 200, &document);
        let (secret, certificate) = key_pair("web", &["a.com", "b.com"]);
        let keys = KeyPairs::from([secret]);
        let proxy = serve_as(
            &balancer(&echo, |path| provider.url(path)),
            &keys,
            config(&provider),
        );
        assert_eq!(proxy.problems, []);
        Self {
            echo,
            provider,
            signer,
            proxy,
            keys,
            certificate,
        }
    }

    pub(crate) async fn browser(&self, protocol: &'static str, host: &'static str) -> Browser {
        Browser::open(self.proxy.https, &self.certificate, protocol, host).await
    }

    /// What the provider answers to the code of a login.
    pub(crate) fn grant(&self, away: &Away, more: &Value) {
        let claims = self.claims(away, more);
        self.grant_as(&self.signer.token(&claims), &json!({}));
    }

    pub(crate) fn grant_as(&self, id_token: &str, more: &Value) {
        let mut granted = json!({"access_token": "access-1", "token_type": "Bearer", "expires_in": 600, "id_token": id_token});
        granted
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        granted
            .as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        self.provider.say("/oauth2/token", 200, &granted);
    }

    pub(crate) fn claims(&self, away: &Away, more: &Value) -> Value {
        let nonce = &away.params["nonce"];
        let mut claims = json!({
            "iss": self.provider.url(""), "aud": CLIENT, "sub": "ann", "nonce": nonce, "exp": now() + 600,
        });
        let said = claims.as_object_mut().unwrap();
        said.extend(more.as_object().unwrap().clone());
        said.retain(|_, value| !value.is_null());
        claims
    }

    /// The whole way to a session.
    pub(crate) async fn login(&self, browser: &mut Browser, path: &str) {
        let away = browser.sent_away(path).await;
        self.grant(&away, &json!({}));
        let answer = browser.come_back(&away).await;
        assert_eq!(answer.status(), 302, "{}", answer.body);
    }

    pub(crate) fn token_requests(&self) -> Vec<(HeaderMap, String)> {
        let asked = self.provider.asked().into_iter();
        let asked = asked.filter(|(line, ..)| line == "POST /oauth2/token");
        asked.map(|(_, headers, body)| (headers, body)).collect()
    }
}

/// Where a login begins.
pub(crate) struct Away {
    pub(crate) url: String,
    pub(crate) params: HashMap<String, String>,
}

/// One user's browser: it keeps cookies, and follows nothing by itself.
pub(crate) struct Browser {
    pub(crate) client: Client,
    pub(crate) protocol: &'static str,
    pub(crate) host: String,
    pub(crate) cookies: BTreeMap<String, String>,
    /// Of the last answer.
    pub(crate) set: Vec<String>,
}

impl Browser {
    pub(crate) async fn open(
        address: SocketAddr,
        certificate: &CertificateDer<'static>,
        protocol: &'static str,
        host: &str,
    ) -> Self {
        let trusted = std::slice::from_ref(certificate);
        let stream = tls(address, host, trusted, &[protocol]).await.unwrap();
        let client = match protocol {
            "h2" => Client::http2_over(stream).await,
            _ => Client::http1_over(stream).await,
        };
        Self {
            client,
            protocol,
            host: host.to_owned(),
            cookies: BTreeMap::new(),
            set: Vec::new(),
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut request = match self.protocol {
            "h2" => Request::get(format!("https://{}{path}", self.host)),
            _ => Request::get(path).header("host", &self.host),
        };
        let cookies: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = self
            .client
            .send(request.body(Sent::default()).unwrap())
            .await
            .unwrap();
        let set = answer.response.headers().get_all("set-cookie").iter();
        self.set = set.map(|value| value.to_str().unwrap().to_owned()).collect();
        for cookie in &self.set {
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Asks for what needs a login.
    pub(crate) async fn sent_away(&mut self, path: &str) -> Away {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 302, "{path}: {}", answer.body);
        assert_eq!(answer.header("x-backend"), None, "{path}");
        let url = answer.header("location").unwrap().to_owned();
        let query = url.split_once('?').unwrap().1;
        let params = query.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), decoded(value))
        });
        let params: Vec<_> = params.collect();
        let count = params.len();
        let params: HashMap<String, String> = params.into_iter().collect();
        assert_eq!(params.len(), count, "each once: {url}");
        Away { url, params }
    }

    /// As the provider sends it back.
    pub(crate) async fn come_back(&mut self, away: &Away) -> Answer {
        self.get(&back(&away.params["state"], "code=code-1")).await
    }

    pub(crate) fn has_session(&self) -> bool {
        self.cookies
            .keys()
            .any(|name| name.starts_with("__Host-shop-session-0"))
    }
}

pub(crate) fn back(state: &str, rest: &str) -> String {
    format!("/oauth2/idpresponse?{rest}&state={state}")
}

pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
