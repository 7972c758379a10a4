//! Where a provider publishes its keys in, the keys out: asked for when they are needed, kept, and asked for again.
//!
//! One request at a time asks, apart from the requests that wait for it, so that no client who leaves undoes it. What
//! is known is used while it is asked for anew; what could not be had is not asked for again at once.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Request, StatusCode};
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::time::Instant;
use tracing::warn;

use super::jwk::Keys;
use super::outside::{Endpoint, Outside};
use crate::answer::Failure;
use crate::worker::Worker;

/// Requests that may wait for the keys; more are told to come again.
const WAITING: usize = 256;

/// Where keys are published.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// A set of keys.
    Keys(Endpoint),
    /// What an issuer says of itself, and where its keys are. Source: OpenID Connect Discovery 1.0 §4.
    Issuer { name: String, at: Endpoint },
}

impl Source {
    /// The error ends a sentence that names the issuer.
    pub(crate) fn issuer(name: &str) -> Result<Self, &'static str> {
        let at = Endpoint::parse(&format!(
            "{}/.well-known/openid-configuration",
            name.trim_end_matches('/')
        ))?;
        Ok(Self::Issuer {
            name: name.to_owned(),
            at,
        })
    }

    fn at(&self) -> &Endpoint {
        match self {
            Self::Keys(at) | Self::Issuer { at, .. } => at,
        }
    }
}

/// What an issuer says of itself.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Document {
    fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        let takes = |way: &str| methods.is_some_and(|all| all.iter().any(|one| one == way));
        takes("client_secret_basic") || !takes("client_secret_post")
    }
}

/// The keys of one provider, shared by all workers and kept from state to state.
#[derive(Debug)]
pub(crate) struct KeySet {
    source: Source,
    known: ArcSwapOption<Known>,
    /// When they were last asked for; held by who asks.
    asked: Mutex<Option<Instant>>,
    places: Semaphore,
}

/// Keys as they were at an instant.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) keys: Keys,
    /// Whether clients give their secret in `Authorization`, as all can unless a provider says otherwise, or in a form.
    pub(crate) takes_basic: bool,
    at: Instant,
}

impl KeySet {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            known: ArcSwapOption::empty(),
            asked: Mutex::new(None),
            places: Semaphore::new(WAITING),
        }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The keys, at most so old as they may be.
    pub(crate) async fn keys(self: &Arc<Self>, worker: &Worker) -> Result<Arc<Known>, Failure> {
        let outbound = worker.outside.outbound();
        let usable = |known: &Arc<Known>| known.at.elapsed() < outbound.keys_last;
        match self.known.load_full().filter(usable) {
            Some(known) if known.at.elapsed() < outbound.keys_fresh => return Ok(known),
            Some(known) => {
                if self
                    .asked
                    .try_lock()
                    .is_ok_and(|asked| worker.outside.may_again(*asked))
                {
                    self.begin(worker);
                }
                return Ok(known);
            }
            None => self.wait(worker).await?,
        }
        self.known.load_full().filter(usable).ok_or_else(|| {
            let why = "the keys that tokens are signed by could not be had";
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why)
        })
    }

    /// Others than these, where there may be any.
    pub(crate) async fn newer(
        self: &Arc<Self>,
        worker: &Worker,
        than: &Arc<Known>,
    ) -> Result<Option<Arc<Known>>, Failure> {
        if !worker.outside.may_again(Some(than.at)) {
            return Ok(None);
        }
        self.wait(worker).await?;
        let known = self.known.load_full();
        Ok(known.filter(|known| !Arc::ptr_eq(known, than)))
    }

    async fn wait(self: &Arc<Self>, worker: &Worker) -> Result<(), Failure> {
        let place = self.places.try_acquire();
        let _place = place.map_err(|_| Failure::overloaded("too many wait for the keys of tokens"))?;
        // An error means that it has ended, too.
        let _ = self.begin(worker).await;
        Ok(())
    }

    /// Lets a task ask, and tells its end.
    fn begin(self: &Arc<Self>, worker: &Worker) -> oneshot::Receiver<()> {
        let (ending, ended) = oneshot::channel();
        let (own, outside) = (self.clone(), worker.outside.clone());
        worker.apart.spawn(async move {
            own.ask(&outside).await;
            // Whoever waited may have left.
            let _ = ending.send(());
        });
        ended
    }

    async fn ask(&self, outside: &Outside) {
        let mut asked = self.asked.lock().await;
        // Who waited for another to ask is content with what that one was told.
        if !outside.may_again(*asked) {
            return;
        }
        match self.fetch(outside).await {
            Ok(known) => self.known.store(Some(Arc::new(known))),
            Err(why) => {
                warn!(from = %self.source.at(), "the keys of an identity provider cannot be had: {why}");
            }
        }
        *asked = Some(Instant::now());
    }

    async fn fetch(&self, outside: &Outside) -> Result<Known, String> {
        let (keys, takes_basic) = match &self.source {
            Source::Keys(at) => (read(outside, at).await?, true),
            Source::Issuer { name, at } => {
                let document = read(outside, at).await?;
                let document: Document = serde_json::from_slice(&document)
                    .map_err(|_| "it does not say what an issuer says of itself")?;
                // Source: OpenID Connect Discovery 1.0 §4.3.
                if document.issuer != *name {
                    return Err("it is another issuer".to_owned());
                }
                let keys =
                    Endpoint::parse(&document.jwks_uri).map_err(|why| format!("its jwks_uri {why}"))?;
                (read(outside, &keys).await?, document.takes_basic())
            }
        };
        Ok(Known {
            keys: Keys::parse(&keys)?,
            takes_basic,
            at: Instant::now(),
        })
    }
}

async fn read(outside: &Outside, at: &Endpoint) -> Result<Bytes, String> {
    let answer = outside.ask(at, Request::default()).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status {
        StatusCode::OK => Ok(answer.body),
        status => Err(format!("it answered {}", status.as_u16())),
    }
}
