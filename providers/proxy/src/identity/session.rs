//! Who is logged in, in; what a browser keeps of it, and what backends are told, out.

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
