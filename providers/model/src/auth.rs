//! Who may pass: settings of an identity provider in, a typed step before the action out.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::name::ObjectName;
use crate::origin::Origin;

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

/// A claim that a token must carry, with one of these values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct JwtClaim {
    pub name: String,
    pub format: String,
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
        /// Where client id and client secret lie; their values are never in the model.
        secret: ObjectName,
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
