//! What backends ask of their targets' certificates in, how TLS is spoken to them out.
//!
//! All that trust the same authorities share their settings of TLS, from one configuration of the proxy to the next. A
//! connection is known by what its target was verified by: under other authorities, or another name, it is none.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use portcullis_model::{Backend, BackendTls, Code, ObjectName, Problem, Verification};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;

use crate::authorities::{self, AuthorityError};
use crate::tls;

/// How connections to targets are secured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Security {
    Plain,
    /// Over TLS, whatever certificate is shown.
    Unverified,
    Verified(Arc<Verified>),
}

/// Authorities as they are verified with.
pub(crate) struct Trust {
    pem: Arc<[u8]>,
    /// By whether HTTP/2 is spoken.
    tls: [Arc<ClientConfig>; 2],
}

/// Whom a target must prove to be, and to whom it must have proved it.
pub(crate) struct Verified {
    trust: Arc<Trust>,
    name: ServerName<'static>,
}

impl Verified {
    pub(crate) fn config(&self, http2: bool) -> &Arc<ClientConfig> {
        let [over_http1, over_http2] = &self.trust.tls;
        if http2 { over_http2 } else { over_http1 }
    }

    pub(crate) fn name(&self) -> &ServerName<'static> {
        &self.name
    }
}

impl PartialEq for Verified {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.trust, &other.trust) && self.name == other.name
    }
}

impl Eq for Verified {}

impl Hash for Verified {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All trusts of one configuration of the proxy.
pub(crate) type Trusts = Box<[Arc<Trust>]>;

/// Finds the trust of each backend, one for all with the same authorities.
pub(crate) struct Truster<'a> {
    authorities: &'a BTreeMap<ObjectName, Arc<[u8]>>,
    provider: &'a Arc<CryptoProvider>,
    /// Of the configuration before.
    before: &'a [Arc<Trust>],
    by_secret: HashMap<ObjectName, Result<Arc<Trust>, (Code, String)>>,
}

impl<'a> Truster<'a> {
    pub(crate) fn new(
        authorities: &'a BTreeMap<ObjectName, Arc<[u8]>>,
        provider: &'a Arc<CryptoProvider>,
        before: &'a [Arc<Trust>],
    ) -> Self {
        Self {
            authorities,
            provider,
            before,
            by_secret: HashMap::new(),
        }
    }

    /// How the targets of a backend are spoken to; why none may be where that cannot be had.
    pub(crate) fn secure(&mut self, backend: &Backend) -> Result<Security, Problem> {
        let verification = match &backend.protocol.tls {
            BackendTls::Off => return Ok(Security::Plain),
            BackendTls::Unverified => return Ok(Security::Unverified),
            BackendTls::Verified(verification) => verification,
        };
        let verified = self.verified(verification).map_err(|(code, why)| {
            let message = format!("{why}: what leads to {} answers 503", backend.id);
            Problem::new(code, verification.origin.clone(), message)
        })?;
        Ok(Security::Verified(Arc::new(verified)))
    }

    fn verified(&mut self, verification: &Verification) -> Result<Verified, (Code, String)> {
        let secret = &verification.authorities;
        let trust = match self.by_secret.get(secret) {
            Some(found) => found.clone(),
            None => {
                let found = self.find(secret);
                self.by_secret.insert(secret.clone(), found.clone());
                found
            }
        };
        let name = ServerName::try_from(verification.server_name.as_str().to_owned());
        let name = name.map_err(|error| (Code::OptionUnsupported, error.to_string()))?;
        Ok(Verified { trust: trust?, name })
    }

    fn find(&self, secret: &ObjectName) -> Result<Arc<Trust>, (Code, String)> {
        let pem = self.authorities.get(secret);
        let pem = pem.ok_or_else(|| {
            let why = format!("there is no Secret {secret} with ca.crt");
            (Code::SecretNotFound, why)
        })?;
        let made = self.by_secret.values().flatten();
        if let Some(same) = made.chain(self.before).find(|trust| trust.pem == *pem) {
            return Ok(same.clone());
        }
        let invalid = |why: String| (Code::SecretInvalid, format!("Secret {secret}: {why}"));
        let roots = authorities::read(pem).map_err(|why: AuthorityError| invalid(why.to_string()))?;
        let config = |http2| tls::verifying(self.provider, roots.clone(), http2).map(Arc::new);
        let made = config(false).and_then(|http1| Ok([http1, config(true)?]));
        let tls = made.map_err(|error| invalid(error.to_string()))?;
        let pem = pem.clone();
        Ok(Arc::new(Trust { pem, tls }))
    }

    /// Those that are in use now.
    pub(crate) fn trusts(self) -> Trusts {
        let mut all: Vec<Arc<Trust>> = Vec::new();
        for trust in self.by_secret.into_values().flatten() {
            if !all.iter().any(|known| Arc::ptr_eq(known, &trust)) {
                all.push(trust);
            }
        }
        all.into()
    }
}

/// Whether what a connection was verified by still counts.
pub(crate) fn counts(trusts: &[Arc<Trust>], security: &Security) -> bool {
    match security {
        Security::Plain | Security::Unverified => true,
        Security::Verified(verified) => trusts.iter().any(|trust| Arc::ptr_eq(trust, &verified.trust)),
    }
}
