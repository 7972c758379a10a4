//! What is done with requests and their answers beside the action: limits, checks and changes in, one value for a rule out.

mod basic_auth;
mod compression;
mod cors;
mod error_pages;
mod external_auth;
mod headers;
mod rate_limit;

use std::fmt;

use serde::Serialize;

use crate::backend::BackendId;
use crate::origin::Origin;

pub use self::basic_auth::{BasicAuth, NotARealm};
pub use self::compression::{Coding, Compression};
pub use self::cors::{Cors, NotAnOrigin, WebOrigin, WebOrigins};
pub use self::error_pages::{ErrorPage, ErrorPages, NotAPage};
pub use self::external_auth::{ExternalAuth, NotAnAuthority};
pub use self::headers::{Direction, HeaderChanges, HeaderText, NotAChange, is_trust};
pub use self::rate_limit::{NotARateLimit, Period, RateLimit};

/// All of it for one rule. Each comes where the field stands: what turns requests away before what changes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Filters {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<ExternalAuth>,
    /// Of the request, as backends see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderChanges>,
    /// Of every answer, whoever gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<HeaderChanges>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_pages: Option<ErrorPages>,
}

/// What becomes of a rule where one of its filters cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// It must not be served: more would be open than was asked for.
    Closed,
    /// It is served all the same; nobody gets further than was asked for.
    Served,
}

/// One filter of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// What it does, for people: follows "cannot".
    pub what: &'static str,
    pub without: Without,
    pub origin: &'a Origin,
}

impl Filters {
    /// Those that there are, for providers that have not all of them.
    pub fn each(&self) -> impl Iterator<Item = Filter<'_>> {
        let Self {
            rate_limit,
            cors,
            basic_auth,
            external_auth,
            request_headers,
            response_headers,
            compression,
            error_pages,
        } = self;
        let closed = |what, origin| Filter {
            what,
            without: Without::Closed,
            origin,
        };
        let served = |what, origin| Filter {
            what,
            without: Without::Served,
            origin,
        };
        let rate_limit = rate_limit.as_ref().map(|f| closed("limit rates", &f.origin));
        let cors = cors
            .as_ref()
            .map(|f| served("tell browsers whose scripts may read answers", &f.origin));
        let basic_auth = basic_auth
            .as_ref()
            .map(|f| closed("ask for a password", &f.origin));
        let external_auth = external_auth
            .as_ref()
            .map(|f| closed("ask a Service who may pass", &f.origin));
        let request_headers = request_headers
            .as_ref()
            .map(|f| closed("change fields of requests", &f.origin));
        let response_headers = response_headers
            .as_ref()
            .map(|f| closed("change fields of answers by rule", &f.origin));
        let compression = compression
            .as_ref()
            .map(|f| served("compress answers", &f.origin));
        let error_pages = error_pages
            .as_ref()
            .map(|f| served("show pages for errors", &f.origin));
        [
            rate_limit,
            cors,
            basic_auth,
            external_auth,
            request_headers,
            response_headers,
            compression,
            error_pages,
        ]
        .into_iter()
        .flatten()
    }

    /// The backend that is asked who may pass.
    pub fn backend(&self) -> Option<&BackendId> {
        self.external_auth.as_ref().map(|asked| &asked.backend)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rate_limit,
            cors,
            basic_auth,
            external_auth,
            request_headers,
            response_headers,
            compression,
            error_pages,
        } = self;
        let parts = [
            rate_limit.as_ref().map(RateLimit::to_string),
            cors.as_ref().map(Cors::to_string),
            basic_auth.as_ref().map(BasicAuth::to_string),
            external_auth.as_ref().map(ExternalAuth::to_string),
            request_headers
                .as_ref()
                .map(|changes| format!("request {changes}")),
            response_headers
                .as_ref()
                .map(|changes| format!("response {changes}")),
            compression.as_ref().map(Compression::to_string),
            error_pages.as_ref().map(ErrorPages::to_string),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
