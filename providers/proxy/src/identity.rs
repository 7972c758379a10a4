//! Who may pass a rule, as it asks for it, in; a gate that its requests go through out.
//!
//! Whoever cannot be asked lets nobody pass. Providers are asked apart from the requests that wait for them, with
//! bounds for each, so that one that hangs holds up nobody but those who need it.

mod bearer;
mod jwk;
mod jwt;
pub(crate) mod keys;
pub(crate) mod outside;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use portcullis_model::{Authenticate, Semantics};

use self::bearer::Bearer;
use self::keys::KeySet;
use self::outside::Endpoint;
use crate::answer::Failure;
use crate::serving::ServingState;
use crate::worker::Worker;

/// What a rule asks of who wants to pass; shared by the rules of an object.
#[derive(Debug)]
pub(crate) struct Gate {
    /// For people.
    shown: String,
    /// The place of its provider's keys among those of the state.
    keys: usize,
    bearer: Bearer,
    /// Whose rules say what becomes of it over plain HTTP.
    semantics: Semantics,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Gate {
    /// `sources` are where keys are published, by number. The error says what cannot be had.
    pub(crate) fn new(
        step: &Authenticate,
        semantics: Semantics,
        sources: &mut HashMap<Endpoint, usize>,
    ) -> Result<Self, String> {
        match step {
            Authenticate::Jwt {
                issuer,
                key_set,
                claims,
                origin: _,
            } => {
                let source = Endpoint::parse(key_set).map_err(|why| format!("jwksEndpoint {why}"))?;
                Ok(Self {
                    shown: step.to_string(),
                    keys: number(sources, source),
                    bearer: Bearer {
                        issuer: issuer.clone(),
                        claims: claims.clone(),
                    },
                    semantics,
                })
            }
            Authenticate::Oidc { .. } => Err("users cannot be sent to a provider here".to_owned()),
            Authenticate::Cognito { .. } => {
                Err("Cognito is AWS's alone; auth-type: oidc asks any provider".to_owned())
            }
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
        worker: &Worker,
        state: &ServingState,
        request: &Parts,
    ) -> Result<(), Failure> {
        let Some(keys) = state.key_set(self.keys) else {
            let why = "the keys of the rule are not known";
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, why));
        };
        self.bearer.admit(worker, keys, &request.headers).await
    }
}

/// The place of what is asked for among all that is.
fn number(all: &mut HashMap<Endpoint, usize>, source: Endpoint) -> usize {
    let next = all.len();
    *all.entry(source).or_insert(next)
}

/// The keys of each source. Those of `previous` go on with what is known.
pub(crate) fn key_sets(sources: &[Endpoint], previous: &[Arc<KeySet>]) -> Box<[Arc<KeySet>]> {
    let before: HashMap<&Endpoint, &Arc<KeySet>> = previous.iter().map(|set| (set.source(), set)).collect();
    let sets = sources.iter().map(|source| match before.get(source) {
        Some(same) => (*same).clone(),
        None => Arc::new(KeySet::new(source.clone())),
    });
    sets.collect()
}
