//! Who is logged in, in; what a browser keeps of it, and what backends are told, out.

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

/// A session, as it lies sealed in a browser. Never shown: it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Session {
    #[serde(rename = "s")]
    pub(super) subject: String,
    #[serde(rename = "a")]
    pub(super) access: String,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub(super) refresh: Option<String>,
    /// When the access token expires, in seconds since 1970.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<i64>,
    /// When the user logged in.
    #[serde(rename = "b")]
    pub(super) began: i64,
}

impl Session {
    /// For the backend; none where it cannot be told.
    pub(super) fn told(&self) -> Option<[(HeaderName, HeaderValue); 2]> {
        let name = HeaderName::from_static;
        Some([
            (name("x-amzn-oidc-identity"), field(&self.subject)?),
            (name("x-amzn-oidc-accesstoken"), field(&self.access)?),
        ])
    }
}

/// A text as the whole of a field: who takes one in leaves out spaces around it, and would take one user for another.
pub(super) fn field(text: &str) -> Option<HeaderValue> {
    let whole = text.trim_matches([' ', '\t']).len() == text.len();
    let mut value = HeaderValue::from_str(text).ok().filter(|_| whole)?;
    value.set_sensitive(true);
    Some(value)
}
