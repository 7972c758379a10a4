//! Who may pass a rule, as it asks for it, in; a gate that its requests go through out.
//!
//! Whoever cannot be asked lets nobody pass. Providers are asked apart from the requests that wait for them, with
//! bounds for each, so that one that hangs holds up nobody but those who need it.
//!
//! Written on `aws-lc-rs`, hyper and serde, which are here, and not with `openidconnect`: that brings `rsa`
//! (RUSTSEC-2023-0071), chrono and a second library of cryptography, and leaves HTTP to its user.

mod bearer;
mod cookies;
mod form;
mod jwk;
mod jwt;
pub(crate) mod keys;
mod login;
pub(crate) mod logins;
pub(crate) mod outside;
mod renewal;
mod seal;
mod session;
pub(crate) mod sessions;
mod token;

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{Response, StatusCode};
use portcullis_model::{Authenticate, Semantics};

use self::bearer::Bearer;
use self::keys::{KeySet, Source};
use self::login::Login;
pub(crate) use self::login::{CALLBACK, Identity};
use self::outside::Endpoint;
use crate::answer::Failure;
use crate::body::ResponseBody;
use crate::head::Asked;
use crate::serving::ServingState;
use crate::worker::Worker;

/// What a rule asks of who wants to pass; shared by the rules of an object.
pub(crate) struct Gate {
    /// For people.
    shown: String,
    /// The place of its provider's keys among those of the state.
    keys: usize,
    asks: Asks,
    /// Whose rules say what becomes of it over plain HTTP.
    semantics: Semantics,
}

enum Asks {
    /// For a token with each request.
    Token(Bearer),
    /// For a session, which begins with a login.
    Session(Arc<Login>),
}

/// What becomes of a request.
pub(crate) enum Admitted {
    /// With what its gate found out of who asks.
    Passes(Option<Box<Identity>>),
    /// The gate answers it.
    Answered(Box<Response<ResponseBody>>),
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Gate {
    /// Without what it seals with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Gate {
    /// `sources` are where keys are published, by number. The error says what cannot be had.
    pub(crate) fn new(
        step: &Authenticate,
        semantics: Semantics,
        sources: &mut HashMap<Source, usize>,
    ) -> Result<Self, String> {
        let (source, asks) = match step {
            Authenticate::Jwt {
                issuer,
                key_set,
                claims,
                origin: _,
            } => {
                let at = Endpoint::parse(key_set).map_err(|why| format!("jwksEndpoint {why}"))?;
                let bearer = Bearer {
                    issuer: issuer.clone(),
                    claims: claims.clone(),
                };
                (Source::Keys(at), Asks::Token(bearer))
            }
            Authenticate::Oidc {
                issuer,
                authorization_endpoint,
                token_endpoint,
                // Its `sub` is that of the ID token, and nothing else of it is passed on.
                user_info_endpoint: _,
                secret,
                client,
                session,
                origin: _,
            } => {
                let client = client.as_ref();
                let client =
                    client.ok_or_else(|| format!("what lies in Secret {secret} is not known here"))?;
                let source = Source::issuer(issuer).map_err(|why| format!("issuer {why}"))?;
                let login = Login::new(issuer, authorization_endpoint, token_endpoint, client, session)?;
                (source, Asks::Session(Arc::new(login)))
            }
            Authenticate::Cognito { .. } => {
                return Err("Cognito is AWS's alone; auth-type: oidc asks any provider".to_owned());
            }
        };
        Ok(Self {
            shown: step.to_string(),
            keys: number(sources, source),
            asks,
            semantics,
        })
    }

    /// Whether it asks the same of who wants to pass, whatever object says it.
    pub(crate) fn asks_as(&self, other: &Self) -> bool {
        self.keys == other.keys
            && match (&self.asks, &other.asks) {
                (Asks::Token(one), Asks::Token(other)) => one == other,
                (Asks::Session(one), Asks::Session(other)) => one.asks_as(other),
                (Asks::Token(_), Asks::Session(_)) | (Asks::Session(_), Asks::Token(_)) => false,
            }
    }

    /// What users who come back to it say; none where nobody is sent away.
    fn mark(&self) -> Option<&str> {
        match &self.asks {
            Asks::Token(_) => None,
            Asks::Session(login) => Some(login.mark()),
        }
    }

    /// Whether a request over plain HTTP may go on, where nobody can be asked who they are. The incumbent's rules say
    /// that it may, and its users are told.
    pub(crate) fn admit_plainly(&self) -> Result<(), Failure> {
        match self.semantics {
            Semantics::Kubernetes => {
                let why = "who somebody is can be asked over HTTPS alone";
                Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, why))
            }
            Semantics::AwsLoadBalancerController => Ok(()),
        }
    }

    /// Whether the request may go on.
    pub(crate) async fn admit(
        &self,
        worker: &Rc<Worker>,
        state: &ServingState,
        asked: &Asked,
        request: &Parts,
    ) -> Result<Admitted, Failure> {
        let keys = self.keys(state)?;
        match &self.asks {
            Asks::Token(bearer) => {
                bearer.admit(worker, keys, &request.headers).await?;
                Ok(Admitted::Passes(None))
            }
            Asks::Session(login) => login.admit(worker, keys, asked, request).await,
        }
    }

    /// Ends the login of a user whom the provider sends back.
    pub(crate) async fn finish(
        &self,
        worker: &Rc<Worker>,
        state: &ServingState,
        asked: &Asked,
        request: &Parts,
    ) -> Result<Response<ResponseBody>, Failure> {
        let keys = self.keys(state)?;
        match &self.asks {
            Asks::Token(_) => Err(Failure::new(StatusCode::NOT_FOUND, "nobody logs in here")),
            Asks::Session(login) => login.finish(worker, keys, asked, request).await,
        }
    }

    fn keys<'a>(&self, state: &'a ServingState) -> Result<&'a Arc<KeySet>, Failure> {
        state.key_set(self.keys).ok_or_else(|| {
            let why = "the keys of the rule are not known";
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, why)
        })
    }
}

/// The place of what is asked for among all that is.
fn number(all: &mut HashMap<Source, usize>, source: Source) -> usize {
    let next = all.len();
    *all.entry(source).or_insert(next)
}

/// The keys of each source. Those of `previous` go on with what is known.
pub(crate) fn key_sets(sources: &[Source], previous: &[Arc<KeySet>]) -> Box<[Arc<KeySet>]> {
    let before: HashMap<&Source, &Arc<KeySet>> = previous.iter().map(|set| (set.source(), set)).collect();
    let sets = sources.iter().map(|source| match before.get(source) {
        Some(same) => (*same).clone(),
        None => Arc::new(KeySet::new(source.clone())),
    });
    sets.collect()
}
