//! The paths at which ACME servers look for the answers to HTTP-01 challenges (RFC 8555 §8.3).
//!
//! They are asked for over plain HTTP, at times by servers that take no certificate yet. cert-manager leads such a path to
//! its solver, by an Ingress of its own or by a path added to the Ingress that wants the certificate
//! (`acme.cert-manager.io/http01-edit-in-place`). As with ingress-nginx, whose `no-tls-redirect-locations` and
//! `no-auth-locations` name them, neither a redirect to HTTPS nor a login stands before them.

use std::sync::Arc;

use portcullis_model::{Filters, PathMatch, Rule, Semantics};

use super::member::Part;

const PLACE: &str = "/.well-known/acme-challenge";

/// Whether an Ingress leads such a path anywhere. The incumbent's layout knows no such paths.
pub(super) fn has_some(part: &Part<'_>) -> bool {
    part.semantics == Semantics::Kubernetes && texts(part).any(is_under)
}

/// Whether an Ingress does nothing else, as a solver's own.
pub(super) fn has_nothing_else(part: &Part<'_>) -> bool {
    let mut all = texts(part);
    part.semantics == Semantics::Kubernetes
        && part.ingress.default_backend.is_none()
        && all.next().is_some_and(is_under)
        && all.all(is_under)
}

/// Whether nothing but such paths is taken.
pub(super) fn takes(path: &PathMatch) -> bool {
    match path {
        PathMatch::Exact(path) => is_under(path.as_str()),
        PathMatch::Prefix(path) => is_under(path.as_str()),
        PathMatch::Glob(glob) => is_under(glob.literal_prefix()) && glob.literal_prefix() != PLACE,
        PathMatch::Regex(_) => false,
    }
}

/// Whether a rule is served over plain HTTP where others of its Ingress are redirected. One that asks who comes is not,
/// so that nobody shows a password in the clear.
pub(super) fn is_exempt(part: &Part<'_>, rule: &Rule) -> bool {
    let filters = rule.filters.as_deref();
    let asks = rule.authenticate.is_some()
        || filters.is_some_and(|all| all.basic_auth.is_some() || all.external_auth.is_some());
    part.semantics == Semantics::Kubernetes
        && !rule.paths.is_empty()
        && rule.paths.iter().all(takes)
        && !asks
        && (rule.clients.is_off() || has_nothing_else(part))
}

/// The same filters but for those that ask who comes.
pub(super) fn without_logins(filters: &Filters) -> Option<Arc<Filters>> {
    let rest = Filters {
        basic_auth: None,
        external_auth: None,
        ..filters.clone()
    };
    (!rest.is_empty()).then(|| Arc::new(rest))
}

/// Whether a path as written is one of them, with a token to the letter.
pub(super) fn is_literal(text: &str) -> bool {
    let token = text.strip_prefix(PLACE).and_then(|rest| rest.strip_prefix('/'));
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    token.is_some_and(|token| token.bytes().all(known))
}

fn is_under(text: &str) -> bool {
    let rest = text.strip_prefix(PLACE);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn texts<'a>(part: &Part<'a>) -> impl Iterator<Item = &'a str> {
    let paths = part.ingress.rules.iter().flat_map(|rule| &*rule.paths);
    paths.map(|path| path.path.as_deref().unwrap_or_default())
}
