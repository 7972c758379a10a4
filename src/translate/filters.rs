//! The annotations of an Ingress that change or turn away requests beside its actions in, the filters of its rules out.
//!
//! What cannot be read closes the rules where without it more would be open than was asked for.

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
mod url;

use std::sync::Arc;

use portcullis_model::{Direction, Filters, Problem};

use super::annotations::Setting;
use super::backends::Backends;
use super::member::Part;
use super::settings::{Merge, Settings};
use super::standing::Standing;

pub(super) use self::basic_auth::secret;
pub(super) use self::external_auth::service;
pub(super) use self::mirror::service as mirror_service;

/// The filters of a member's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Filtered {
    By {
        all: Option<Arc<Filters>>,
        /// Of what is answered to those who may not have a rule for where they are.
        turned_away: Option<Arc<Filters>>,
    },
    /// Nobody may pass, for the sake of this annotation.
    Closed(&'static str),
}

impl Filtered {
    pub(super) fn of_turned_away(&self) -> Option<Arc<Filters>> {
        match self {
            Self::By { turned_away, .. } => turned_away.clone(),
            Self::Closed(_) => None,
        }
    }
}

/// Reads them; the same for all rules of a member.
pub(super) fn read<'a>(
    part: &Part<'a>,
    standing: &Standing,
    settings: &Settings,
    backends: &mut Backends<'a>,
    problems: &mut Vec<Problem>,
) -> Filtered {
    let mut closed = None;
    let mut needed = |name: &'static str, invalid: bool| {
        if invalid {
            closed.get_or_insert(part.said_by(name));
        }
    };
    let rate_limit = rate_limit::read(part, problems);
    needed("rate-limit", rate_limit.is_invalid());
    let basic_auth = basic_auth::read(part, standing, problems);
    needed("basic-auth-secret", basic_auth.is_invalid());
    let external_auth = external_auth::read(part, backends, problems);
    needed(external_auth::NAME, external_auth.is_invalid());
    let request_headers = headers::read(part, "request-headers", Direction::Request, problems);
    needed("request-headers", request_headers.is_invalid());
    let response_headers = headers::read(part, "response-headers", Direction::Response, problems);
    needed("response-headers", response_headers.is_invalid());
    let cookie_rewrites = answers::cookies(part, problems);
    needed(answers::COOKIES, cookie_rewrites.is_invalid());
    let body_limit = bodies::limit(part, problems);
    needed("max-request-body", body_limit.is_invalid());
    let answer_limit = bodies::answer_limit(part, problems);
    needed("max-response-body", answer_limit.is_invalid());
    let filters = Filters {
        rate_limit: rate_limit.given(),
        // Unread, it grants nothing to anybody.
        cors: cors::read(part, problems).given(),
        basic_auth: basic_auth.given(),
        external_auth: external_auth.given(),
        request_headers: request_headers.given(),
        response_headers: response_headers.given(),
        compression: compression::read(part, problems).given(),
        error_pages: error_pages::read(part, problems).given(),
        location_rewrites: answers::locations(part, problems).given(),
        cookie_rewrites: cookie_rewrites.given(),
        body_limit: body_limit.given(),
        answer_limit: answer_limit.given(),
        buffering: bodies::buffering(part, problems).given(),
        mirror: mirror::read(part, backends, problems).given(),
    };
    match closed {
        Some(name) => Filtered::Closed(name),
        None => Filtered::By {
            turned_away: shared(of_answers(&filters, settings.merge)),
            all: shared(filters),
        },
    }
}

fn shared(filters: Filters) -> Option<Arc<Filters>> {
    (!filters.is_empty()).then(|| Arc::new(filters))
}

/// Those of every answer: of the proxy alone. AWS has none, and what it answers to whom it turns away stays 403.
fn of_answers(filters: &Filters, merge: Merge) -> Filters {
    match merge {
        Merge::ByGroup => Filters::default(),
        Merge::OneLoadBalancer => Filters {
            cors: filters.cors.clone(),
            response_headers: filters.response_headers.clone(),
            error_pages: filters.error_pages.clone(),
            ..Filters::default()
        },
    }
}
