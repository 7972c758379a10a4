//! A request without a session in, its user sent to a provider out; and back with a session. Source: OpenID Connect
//! Core 1.0 §3.1 (authorization code flow), RFC 7636 (PKCE), RFC 9207, RFC 9700.
//!
//! Nothing is kept here while somebody logs in. A secret lies, sealed, in the browser's cookie; out of it and the name
//! of a login come the `nonce` and the verifier of PKCE; and `state` proves that it was made beside the same secret. So
//! an answer counts in the browser alone that asked, for the host that was asked, and once: then the secret is gone.

use std::rc::Rc;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::SET_COOKIE;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use portcullis_model::{self as model, OnUnauthenticated};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::Admitted;
use super::cookies::Cookies;
use super::form;
use super::jwt::{Claims, Refused};
use super::keys::{KeySet, Known};
use super::outside::Endpoint;
use super::renewal::Renewal;
use super::seal::{Name, Purpose, Sealer};
use super::session::{Session, field};
use super::token::{Denied, Granted, TokenEndpoint, identity};
use crate::answer::{self, Failure};
use crate::body::ResponseBody;
use crate::fields;
use crate::head::Asked;
use crate::worker::Worker;

/// Where providers send users back to. Source: ELBv2 user guide, "Authenticate users".
pub(crate) const CALLBACK: &str = "/oauth2/idpresponse";

/// Longest time for a login, in seconds. Source: ELBv2 user guide, "Client login timeout": 15 minutes.
const LOGIN: i64 = 900;

/// Longest path with query to which a user is brought back, in bytes; from a longer one, to `/`: all of it stands in the
/// URL of the provider.
const LONGEST: usize = 1_024;

/// Logins of one client that may wait for the provider; more are told to come again.
const WAITING: usize = 64;

/// What only the proxy says in a request for a login.
const OURS: [&str; 10] = [
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// Logging in at a provider.
pub(crate) struct Login {
    issuer: String,
    /// The URL that users are sent to, with all that is the same for each.
    authorization: String,
    token: TokenEndpoint,
    session: model::Session,
    cookies: Cookies,
    sealer: Sealer,
    /// What tells its logins from those of all others.
    mark: String,
    /// Whose sessions are renewed.
    renewals: Name,
    waiting: Semaphore,
}

/// What the provider passes on for us.
#[derive(Serialize, Deserialize)]
struct State {
    /// The name of the login.
    #[serde(rename = "n")]
    name: String,
    /// Proves the secret that it was made beside.
    #[serde(rename = "p")]
    proof: String,
    #[serde(rename = "t")]
    target: String,
    #[serde(rename = "b")]
    began: i64,
}

/// Who asks, as far as it was found out.
pub(crate) struct Identity {
    login: Arc<Login>,
    /// For the backend.
    told: Vec<(HeaderName, HeaderValue)>,
    /// For the browser.
    cookies: Vec<HeaderValue>,
    /// What has the browser forget the session.
    forget: Vec<HeaderValue>,
}

impl Identity {
    /// Tells the backend who asks, in place of what anybody else says of it. The session itself it is not told.
    pub(crate) fn introduce(&self, headers: &mut HeaderMap) {
        fields::set_identity(headers, &self.told);
    }

    /// Has the browser keep what changed of the session, or forget it where the backend has ended it.
    pub(crate) fn finish(&self, headers: &mut HeaderMap) {
        let cookies = match self.login.cookies.is_ended(headers) {
            true => &self.forget,
            false => &self.cookies,
        };
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie.clone());
        }
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn refused(why: &str) -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, why)
}

fn impossible() -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "a session cannot be sealed")
}

fn logged_out() -> Failure {
    refused("you are not logged in")
}

fn untold() -> Failure {
    refused("the identity provider says of you what no field of HTTP can hold")
}

/// Nobody went away from here, or not as it is now.
pub(super) fn unknown() -> Failure {
    refused("this login was not begun here")
}

impl Login {
    /// The error says what cannot be had.
    pub(crate) fn new(
        issuer: &str,
        authorization: &str,
        token: &str,
        client: &model::Client,
        session: &model::Session,
    ) -> Result<Self, String> {
        let at = Endpoint::parse(token).map_err(|why| format!("tokenEndpoint {why}"))?;
        Endpoint::parse(authorization).map_err(|why| format!("authorizationEndpoint {why}"))?;
        let extra = &session.extra;
        if let Some(name) = extra.keys().find(|name| OURS.contains(&name.as_str())) {
            return Err(format!(
                "authenticationRequestExtraParams names {name}, which is the proxy's to say"
            ));
        }
        if !session.scope.split(' ').any(|scope| scope == "openid") {
            return Err("without the scope openid a provider does not say who somebody is".to_owned());
        }
        let id = client.id.reveal();
        let mut bound = vec![issuer, authorization, token, id, &session.scope, &session.cookie];
        bound.extend(
            extra
                .iter()
                .flat_map(|(name, value)| [name.as_str(), value.as_str()]),
        );
        let sealer = Sealer::new(client.secret.reveal(), bound);
        // Of all settings, those that a session does not depend on among them: two logins that differ in anything do not end
        // each other's.
        let settings = serde_json::to_string(session).ok();
        let mark = settings.and_then(|settings| sealer.mark(&settings));
        let mark = mark.ok_or("nothing can be sealed")?;
        // Not by the mark: rules that differ in how long sessions last share them.
        let renewals = sealer.name(["renewals"]).ok_or("nothing can be sealed")?;
        let fixed = [
            ("response_type", "code"),
            ("client_id", id),
            ("scope", &session.scope),
            ("code_challenge_method", "S256"),
        ];
        let extra = extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let url = authorization.split('#').next().unwrap_or_default();
        let joint = if url.contains('?') { '&' } else { '?' };
        Ok(Self {
            issuer: issuer.to_owned(),
            authorization: format!("{url}{joint}{}", form::write(fixed.into_iter().chain(extra))),
            token: TokenEndpoint {
                at,
                client: client.clone(),
            },
            cookies: Cookies::new(&session.cookie),
            session: session.clone(),
            sealer,
            mark,
            renewals,
            waiting: Semaphore::new(WAITING),
        })
    }

    /// It is the same in all replicas, and after a restart.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// Whether a session of the other is one of its own.
    pub(crate) fn asks_as(&self, other: &Self) -> bool {
        self.mark == other.mark
    }

    /// Whether the request may go on, and who asks.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        worker: &Rc<Worker>,
        keys: &Arc<KeySet>,
        asked: &Asked,
        request: &Parts,
    ) -> Result<Admitted, Failure> {
        let headers = &request.headers;
        if let Some(session) = self.session_of(headers, asked.host()) {
            let is_stale = session.expires.is_some_and(|at| at <= now());
            let renewed = match (&session.refresh, is_stale) {
                (Some(refresh), true) => self.renew(worker, keys, &session, refresh).await?,
                // Without a refresh token, the session lasts as long as it may. Source: ELBv2 user guide, "Session timeout".
                (_, _) => Some((session, false)),
            };
            if let Some((session, is_new)) = renewed {
                let cookies = match is_new {
                    true => self.keep(&session, asked.host(), headers)?,
                    false => Vec::new(),
                };
                return self.identified(Some(&session), headers, cookies);
            }
        }
        match self.session.on_unauthenticated {
            OnUnauthenticated::Deny => Err(logged_out()),
            OnUnauthenticated::Allow => self.identified(None, headers, Vec::new()),
            // It reads no page, and does not follow.
            OnUnauthenticated::Authenticate if answer::is_grpc(headers) => Err(logged_out()),
            OnUnauthenticated::Authenticate => {
                let redirect = self.send_away(asked, request, now())?;
                Ok(Admitted::Answered(Box::new(redirect)))
            }
        }
    }

    fn identified(
        self: &Arc<Self>,
        session: Option<&Session>,
        headers: &HeaderMap,
        cookies: Vec<HeaderValue>,
    ) -> Result<Admitted, Failure> {
        let told = match session {
            Some(session) => session.told().ok_or_else(untold)?.into(),
            None => Vec::new(),
        };
        Ok(Admitted::Passes(Some(Box::new(Identity {
            login: self.clone(),
            told,
            cookies,
            forget: self.cookies.forget(headers),
        }))))
    }

    /// The session that the request carries, as long as it lasts.
    fn session_of(&self, headers: &HeaderMap, host: &str) -> Option<Session> {
        let sealed = self.cookies.session(headers)?;
        let text = self.sealer.open(Purpose::Session, host, now(), &sealed)?;
        let session: Session = serde_json::from_slice(&text).ok()?;
        (self.ends(&session) > now()).then_some(session)
    }

    fn ends(&self, session: &Session) -> i64 {
        session.began.saturating_add(self.session.timeout_seconds.into())
    }

    /// What has the browser keep the session in place of the one that it sends.
    fn keep(&self, session: &Session, host: &str, headers: &HeaderMap) -> Result<Vec<HeaderValue>, Failure> {
        let text = serde_json::to_vec(session).map_err(|_| impossible())?;
        let sealed = self
            .sealer
            .seal(Purpose::Session, host, now(), &text)
            .ok_or_else(impossible)?;
        let kept = self
            .cookies
            .keep(&sealed, self.ends(session) - now())
            .ok_or_else(|| {
                let why = "the provider's tokens are longer than cookies may be";
                Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why)
            })?;
        let mut cookies = self.cookies.forget(headers);
        cookies.drain(..kept.len().min(cookies.len()));
        cookies.extend(kept);
        Ok(cookies)
    }

    /// The session with new tokens; none where the provider has ended it.
    async fn renew(
        self: &Arc<Self>,
        worker: &Rc<Worker>,
        keys: &Arc<KeySet>,
        session: &Session,
        refresh: &str,
    ) -> Result<Option<(Session, bool)>, Failure> {
        let asking = {
            let (login, worker, keys) = (self.clone(), worker.clone(), keys.clone());
            let (refresh, subject) = (refresh.to_owned(), session.subject.clone());
            async move { login.refresh(&worker, &keys, &refresh, &subject).await }
        };
        let token = self.sealer.name(["renewal", &session.subject, refresh]);
        let names = (self.renewals, token.ok_or_else(impossible)?);
        match worker.outside.renewals.once(worker, names, asking).await? {
            Renewal::Given(granted) => {
                let granted = (*granted).clone();
                let renewed = Session {
                    expires: granted.expires_in.map(|seconds| now().saturating_add(seconds)),
                    access: granted.access_token,
                    refresh: granted.refresh_token.or_else(|| session.refresh.clone()),
                    ..session.clone()
                };
                Ok(Some((renewed, true)))
            }
            Renewal::Ended => Ok(None),
            Renewal::Failed => {
                let why = "the identity provider could not be asked";
                Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why))
            }
        }
    }

    async fn refresh(&self, worker: &Worker, keys: &Arc<KeySet>, refresh: &str, subject: &str) -> Renewal {
        let Ok(known) = keys.keys(worker).await else {
            return Renewal::Failed;
        };
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        let granted = match self.token.ask(&worker.outside, &known, &pairs).await {
            Ok(granted) => granted,
            Err(Denied::Unreached | Denied::Full) => return Renewal::Failed,
            Err(Denied::Refused(_) | Denied::Unusable) => return Renewal::Ended,
        };
        if field(&granted.access_token).is_none() {
            return Renewal::Ended;
        }
        // Source: OpenID Connect Core 1.0 §12.2.
        if let Some(token) = &granted.id_token {
            match self.verify(worker, keys, known, token).await {
                Ok(claims) if claims.text("sub") == Some(subject) => {}
                Ok(_) | Err(_) => return Renewal::Ended,
            }
        }
        Renewal::Given(Arc::new(granted))
    }

    /// Reads an ID token; with newer keys, should it name one that is not known.
    async fn verify(
        &self,
        worker: &Worker,
        keys: &Arc<KeySet>,
        known: Arc<Known>,
        token: &str,
    ) -> Result<Claims, Failure> {
        let client = self.token.client.id.reveal();
        let mut judged = identity(token, &known, &self.issuer, client);
        if let Err(Refused::UnknownKey) = judged
            && let Some(newer) = keys.newer(worker, &known).await?
        {
            judged = identity(token, &newer, &self.issuer, client);
        }
        judged.map_err(|why| refused(why.why()))
    }

    /// Sends the user to the provider.
    fn send_away(&self, asked: &Asked, request: &Parts, now: i64) -> Result<Response<ResponseBody>, Failure> {
        let host = asked.host();
        if host.is_empty() {
            return Err(answer::no_host());
        }
        // Those of this login that begin beside each other share a secret, so that each can end.
        let known = self.secret(&request.headers, host, now);
        let secret = match known {
            Some(secret) => secret,
            None => random()?.to_vec(),
        };
        let name = URL_SAFE_NO_PAD.encode(&random()?[..16]);
        let target = match request.uri.path() {
            // What stands behind it is of a login that will not end any more.
            CALLBACK => "/",
            _ => request.uri.path_and_query().map_or("/", PathAndQuery::as_str),
        };
        let state = State {
            proof: derived(&secret, "state", &name),
            target: if target.len() > LONGEST { "/" } else { target }.to_owned(),
            began: now,
            name,
        };
        let text = serde_json::to_vec(&state).map_err(|_| impossible())?;
        let seal = |purpose, text: &[u8]| self.sealer.seal(purpose, host, now, text).ok_or_else(impossible);
        let sealed = format!("{}.{}", self.mark, seal(Purpose::State, &text)?);
        let verifier = derived(&secret, "verifier", &state.name);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let own = form::write([
            ("redirect_uri", &*back(asked)),
            ("state", &sealed),
            ("nonce", &derived(&secret, "nonce", &state.name)),
            ("code_challenge", &challenge),
        ]);
        let mut cookies = self.cookies.forget_logins(&request.headers, &self.mark);
        let sealed = seal(Purpose::Login, &secret)?;
        cookies.extend(self.cookies.keep_login(&self.mark, &sealed, LOGIN));
        answer::to_log_in(format!("{}&{own}", self.authorization), cookies)
    }

    /// The secret of its logins under way in a browser.
    fn secret(&self, headers: &HeaderMap, host: &str, now: i64) -> Option<Vec<u8>> {
        let sealed = self.cookies.login(headers, &self.mark)?;
        self.sealer.open(Purpose::Login, host, now, sealed)
    }

    /// The login that a user comes back from, and its secret; no secret where it has ended before in this browser.
    fn come_back(
        &self,
        said: &str,
        host: &str,
        headers: &HeaderMap,
        now: i64,
    ) -> Result<(State, Option<Vec<u8>>), Failure> {
        let sealed = form::value(said, "state").ok_or_else(unknown)?;
        let sealed = sealed.split_once('.').ok_or_else(unknown)?.1;
        let state = self
            .sealer
            .open(Purpose::State, host, now, sealed)
            .ok_or_else(unknown)?;
        let state: State = serde_json::from_slice(&state).map_err(|_| unknown())?;
        let is_proved = |secret: &Vec<u8>| {
            let proof = derived(secret, "state", &state.name);
            constant_time::verify_slices_are_equal(proof.as_bytes(), state.proof.as_bytes()).is_ok()
        };
        let secret = self.secret(headers, host, now).filter(is_proved);
        if secret.is_some() && now - state.began > LOGIN {
            return Err(refused("the login took too long"));
        }
        Ok((state, secret))
    }

    /// Ends the login of a user whom the provider sends back.
    pub(crate) async fn finish(
        &self,
        worker: &Rc<Worker>,
        keys: &Arc<KeySet>,
        asked: &Asked,
        request: &Parts,
    ) -> Result<Response<ResponseBody>, Failure> {
        let (host, headers) = (asked.host(), &request.headers);
        let said = request.uri.query().unwrap_or_default();
        let (state, secret) = self.come_back(said, host, headers, now())?;
        let Some(secret) = secret else {
            // Of several logins beside each other, another may have ended before; a reload comes here, too.
            return match self.session_of(headers, host) {
                Some(_) => answer::to_log_in(url(asked, &state.target), None),
                None => Err(unknown()),
            };
        };
        // Source: RFC 9207 §2.4.
        if form::value(said, "iss").is_some_and(|issuer| issuer != self.issuer) {
            return Err(refused("another provider answered"));
        }
        let Some(code) = form::value(said, "code") else {
            return Err(refused("the identity provider did not let you in"));
        };
        let place = self.waiting.try_acquire();
        let _place = place.map_err(|_| Failure::overloaded("too many users log in"))?;
        let known = keys.keys(worker).await?;
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", &*back(asked)),
            ("code_verifier", &derived(&secret, "verifier", &state.name)),
        ];
        let granted = self.token.ask(&worker.outside, &known, &pairs).await;
        let granted = granted.map_err(|denied| match denied {
            Denied::Refused(status) => {
                let why = format!("the identity provider answered {} to your login", status.as_u16());
                refused(&why)
            }
            Denied::Unreached => {
                let why = "the identity provider could not be asked";
                Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why)
            }
            Denied::Full => Failure::overloaded("the proxy can open no more connections"),
            Denied::Unusable => refused("the identity provider gave no tokens that can be used"),
        })?;
        let session = self
            .begun(
                worker,
                keys,
                known,
                granted,
                &derived(&secret, "nonce", &state.name),
            )
            .await?;
        let mut cookies = self.keep(&session, host, headers)?;
        cookies.extend(self.cookies.keep_login(&self.mark, "", 0));
        answer::to_log_in(url(asked, &state.target), cookies)
    }

    /// The session that begins with these tokens.
    async fn begun(
        &self,
        worker: &Worker,
        keys: &Arc<KeySet>,
        known: Arc<Known>,
        granted: Granted,
        nonce: &str,
    ) -> Result<Session, Failure> {
        let token = granted
            .id_token
            .ok_or_else(|| refused("the identity provider does not say who you are"))?;
        let claims = self.verify(worker, keys, known, &token).await?;
        if claims.text("nonce") != Some(nonce) {
            return Err(refused(Refused::Nonce.why()));
        }
        let subject = claims.text("sub").filter(|subject| !subject.is_empty());
        let subject = subject.ok_or_else(|| refused(Refused::Subject.why()))?;
        let began = now();
        let session = Session {
            subject: subject.to_owned(),
            access: granted.access_token,
            refresh: granted.refresh_token,
            expires: granted.expires_in.map(|seconds| began.saturating_add(seconds)),
            began,
        };
        match session.told() {
            Some(_) => Ok(session),
            None => {
                tracing::warn!(from = %self.token.at, "an identity provider says of a user what no field of HTTP can hold");
                Err(untold())
            }
        }
    }
}

fn random() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| impossible())?;
    Ok(bytes)
}

/// A value for one login that only who has the secret can tell.
fn derived(secret: &[u8], what: &str, login: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    URL_SAFE_NO_PAD.encode(hmac::sign(&key, format!("{what}.{login}").as_bytes()))
}

/// A URL of the host that was asked: never one that begins with what a client has written, which may be `//elsewhere`.
fn url(asked: &Asked, target: &str) -> String {
    format!("https://{}{target}", asked.authority().to_ascii_lowercase())
}

fn back(asked: &Asked) -> String {
    url(asked, CALLBACK)
}

#[cfg(test)]
mod tests;
