//! A backend that is asked about each request in, who may pass by its answer out.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::headers;
use super::sign_in::SignIn;
use crate::backend::BackendId;
use crate::condition::HeaderName;
use crate::origin::Origin;

/// A backend is asked, with the request's head, before anything else is done with it: 2xx lets it pass, 401 and 403 are
/// given to the client, where it is not sent to log in, and with any other answer, or none, nobody passes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ExternalAuth {
    pub backend: BackendId,
    path: String,
    /// Fields of its answer that the request has from then on, in place of what the client says.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    told: BTreeSet<HeaderName>,
    /// Where a client is sent in place of 401.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignIn>,
    pub origin: Origin,
}

/// Why nobody can be asked so.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotAnAuthority {
    #[error("{0:?} is not a path such as /verify, with or without a query")]
    Path(String),
    #[error("{0} frames a message, speaks of its content or says where a client is: it cannot be taken over")]
    Told(HeaderName),
}

/// Longest path, in bytes.
const LONGEST: usize = 1_024;

impl ExternalAuth {
    pub fn new(
        backend: BackendId,
        path: &str,
        told: BTreeSet<HeaderName>,
        origin: Origin,
    ) -> Result<Self, NotAnAuthority> {
        let plain = path
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&b));
        if !path.starts_with('/') || path.len() > LONGEST || !plain {
            return Err(NotAnAuthority::Path(path.to_owned()));
        }
        if let Some(name) = told.iter().find(|name| !headers::may_be_told(name.as_str())) {
            return Err(NotAnAuthority::Told(name.clone()));
        }
        Ok(Self {
            backend,
            path: path.to_owned(),
            told,
            sign_in: None,
            origin,
        })
    }

    /// With its query; starts with `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn told(&self) -> &BTreeSet<HeaderName> {
        &self.told
    }
}

impl fmt::Display for ExternalAuth {
    /// `if shop/web-auth:80 lets it pass, else at /oauth2/start`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "if {} lets it pass", self.backend)?;
        match &self.sign_in {
            Some(page) => write!(f, ", else at {page}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ObjectName;

    #[test]
    fn an_authority_has_a_path_and_tells_who_somebody_is_and_not_where() {
        for (path, told, ok) in [
            ("/", "x-user", true),
            ("/verify?for=shop", "x-user", true),
            ("/verify", "Authorization", true),
            ("/verify", "X-Forwarded-User", true),
            ("/verify", "X-Forwarded-For", false),
            ("/verify", "x_forwarded_host", false),
            ("/verify", "Forwarded", false),
            ("/verify", "X-Real-IP", false),
            ("/verify", "X-Amzn-Mtls-Clientcert", false),
            ("/verify", "ssl-client-verify", false),
            ("/verify", "Host", false),
            ("/verify", "Content-Length", false),
            ("/verify", "Content-Type", false),
            ("/verify", "Connection", false),
            ("verify", "x-user", false),
            ("", "x-user", false),
            ("/a b", "x-user", false),
            ("/a\r\nx: y", "x-user", false),
            ("/a#b", "x-user", false),
            ("http://169.254.169.254/", "x-user", false),
        ] {
            let owner = ObjectName::new("shop", "web");
            let origin = Origin::new("ingress", owner.clone(), "");
            let told = [HeaderName::parse(told).unwrap()].into();
            let got = ExternalAuth::new(BackendId::new(&owner, "auth", "80"), path, told, origin);
            assert_eq!(got.is_ok(), ok, "{path:?}: {got:?}");
        }
    }
}
