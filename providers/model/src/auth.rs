//! Who may pass: settings of an identity provider in, a typed step before the action out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::name::ObjectName;
use crate::origin::Origin;
use crate::sealed::Sealed;

/// What happens to a request without a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum OnUnauthenticated {
    /// Refuse it with 401.
    Deny,
    /// Let it through without identity.
    Allow,
    /// Send it to the identity provider.
    Authenticate,
}

/// How long and under which name a session is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Session {
    pub cookie: String,
    /// In seconds. ELBv2 `SessionTimeout`: default 604,800 (7 days).
    pub timeout_seconds: u32,
    pub scope: String,
    pub on_unauthenticated: OnUnauthenticated,
    /// Further query parameters of the authorisation request.
    pub extra: BTreeMap<String, String>,
}

/// Who we are to an identity provider.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Client {
    pub id: Sealed<str>,
    pub secret: Sealed<str>,
    /// A salted digest of both: it differs where they do, and is all that is kept of them.
    pub version: Arc<str>,
}

/// How the values of a claim stand in a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ClaimFormat {
    /// One text.
    Text,
    /// A list of texts.
    List,
    /// One text, with spaces between the values.
    Spaced,
}

/// A claim that a token must carry, with one of these values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct JwtClaim {
    pub name: String,
    pub format: ClaimFormat,
    pub values: Vec<String>,
}

/// A step before the action of a rule: who does not pass it never reaches a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Authenticate {
    Oidc {
        issuer: String,
        authorization_endpoint: String,
        token_endpoint: String,
        user_info_endpoint: String,
        /// Where client id and client secret lie.
        secret: ObjectName,
        /// What lies there. None where nobody could be asked, as in a plan from files: then it is taken for what the
        /// provider has, and nothing can be made of it.
        #[serde(skip)]
        client: Option<Client>,
        session: Session,
        origin: Origin,
    },
    Cognito {
        user_pool: String,
        client: String,
        domain: String,
        session: Session,
        origin: Origin,
    },
    Jwt {
        issuer: String,
        key_set: String,
        claims: Vec<JwtClaim>,
        origin: Origin,
    },
}

impl Authenticate {
    /// Where it was asked for.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Oidc { origin, .. } | Self::Cognito { origin, .. } | Self::Jwt { origin, .. } => origin,
        }
    }
}

impl fmt::Display for Authenticate {
    /// `oidc https://login.example.com`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oidc { issuer, .. } => write!(f, "oidc {issuer}"),
            Self::Cognito { user_pool, .. } => write!(f, "cognito {user_pool}"),
            Self::Jwt { issuer, .. } => write!(f, "jwt {issuer}"),
        }
    }
}
