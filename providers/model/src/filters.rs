//! What is done with requests and their answers beside the action: limits, checks and changes in, one value for a rule out.

mod answers;
mod basic_auth;
mod bodies;
mod compression;
mod cors;
mod error_pages;
mod external_auth;
mod headers;
mod mirror;
mod rate_limit;
mod sign_in;

use std::fmt;

use serde::Serialize;

use crate::backend::BackendId;
use crate::origin::Origin;

pub use self::answers::{CookieRewrites, LocationRewrites, NotAReplacement, Replacement};
pub use self::basic_auth::{BasicAuth, NotARealm};
pub use self::bodies::{BodyLimit, Buffering};
pub use self::compression::{Coding, Compression};
pub use self::cors::{Cors, NotAnOrigin, WebOrigin, WebOrigins};
pub use self::error_pages::{ErrorPage, ErrorPages, NotAPage};
pub use self::external_auth::{ExternalAuth, NotAnAuthority};
pub use self::headers::{Direction, HeaderChanges, HeaderText, NotAChange, is_trust};
pub use self::mirror::{Mirror, NotAShare};
pub use self::rate_limit::{NotARateLimit, Period, RateLimit};
pub use self::sign_in::{NotASignIn, SignIn};

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location_rewrites: Option<LocationRewrites>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_rewrites: Option<CookieRewrites>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<BodyLimit>,
    /// Of answers of backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_limit: Option<BodyLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffering: Option<Buffering>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
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
            location_rewrites,
            cookie_rewrites,
            body_limit,
            answer_limit,
            buffering,
            mirror,
        } = self;
        let filter = |without| {
            move |origin: Option<_>, what| {
                origin.map(|origin| Filter {
                    what,
                    without,
                    origin,
                })
            }
        };
        let (closed, served) = (filter(Without::Closed), filter(Without::Served));
        [
            closed(rate_limit.as_ref().map(|f| &f.origin), "limit rates"),
            served(
                cors.as_ref().map(|f| &f.origin),
                "tell browsers whose scripts may read answers",
            ),
            closed(basic_auth.as_ref().map(|f| &f.origin), "ask for a password"),
            closed(
                external_auth.as_ref().map(|f| &f.origin),
                "ask a Service who may pass",
            ),
            closed(
                request_headers.as_ref().map(|f| &f.origin),
                "change fields of requests",
            ),
            closed(
                response_headers.as_ref().map(|f| &f.origin),
                "change fields of answers by rule",
            ),
            served(compression.as_ref().map(|f| &f.origin), "compress answers"),
            served(error_pages.as_ref().map(|f| &f.origin), "show pages for errors"),
            served(
                location_rewrites.as_ref().map(|f| &f.origin),
                "rewrite where answers redirect to",
            ),
            // A cookie that was to be narrowed would be sent to others.
            closed(
                cookie_rewrites.as_ref().map(|f| &f.origin),
                "rewrite where cookies are sent to",
            ),
            // It keeps nobody out: whoever may pass may send as much in several requests.
            served(
                body_limit.as_ref().map(|f| &f.origin),
                "limit how long bodies are by rule",
            ),
            served(
                answer_limit.as_ref().map(|f| &f.origin),
                "limit how long answers are by rule",
            ),
            served(buffering.as_ref().map(|f| &f.origin), "read bodies ahead"),
            served(
                mirror.as_ref().map(|f| &f.origin),
                "copy requests to another Service",
            ),
        ]
        .into_iter()
        .flatten()
    }

    /// The backends that are asked who may pass, or get copies.
    pub fn backends(&self) -> impl Iterator<Item = &BackendId> {
        let asked = self.external_auth.as_ref().map(|asked| &asked.backend);
        let copied_to = self.mirror.as_ref().map(|mirror| &mirror.backend);
        asked.into_iter().chain(copied_to)
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
            location_rewrites,
            cookie_rewrites,
            body_limit,
            answer_limit,
            buffering,
            mirror,
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
            location_rewrites.as_ref().map(LocationRewrites::to_string),
            cookie_rewrites.as_ref().map(CookieRewrites::to_string),
            body_limit.as_ref().map(BodyLimit::to_string),
            answer_limit.as_ref().map(|limit| format!("response {limit}")),
            buffering.as_ref().map(Buffering::to_string),
            mirror.as_ref().map(Mirror::to_string),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
