//! A request and the rule that its path leads to in; whether the same path, spelled as most backends read it, leads to one
//! that lets fewer pass out.
//!
//! Rules match paths as they were sent, and so do load balancers of clouds. Backends decode them, merge slashes and
//! resolve dots: `//admin`, `/%61dmin` and `/x/../admin` are `/admin` to them. Beside a guarded `/admin` and an open `/`
//! such a request would go past the guard.

use std::ptr;
use std::sync::Arc;

use http::StatusCode;
use portcullis_model::RedirectScheme;

use crate::filters::Filters;
use crate::lookup::{Found, RequestHead};
use crate::table::{Action, ListenerTable, Route, RouteTable};
use crate::versions::Versions;

impl RouteTable {
    /// Whether the request comes past a rule that holds back more than the one that was found.
    pub(crate) fn is_evaded(
        &self,
        head: &RequestHead<'_>,
        listener: &ListenerTable,
        route: Option<&Route>,
    ) -> bool {
        // Mostly this is all that is looked at.
        if is_normal(head.path) {
            return false;
        }
        let action = route.map_or(&listener.default, |route| &route.action);
        // What names a path in such a spelling means it so; and where nothing goes to a backend, nobody reads it otherwise.
        if !matches!(action, Action::Forward(_)) || route.is_some_and(|route| route.is_spelled) {
            return false;
        }
        let path = normal(head.path);
        match self.lookup(&RequestHead { path: &path, ..*head }) {
            Found::Rule(_, other, _) => {
                !route.is_some_and(|route| ptr::eq(route, other))
                    && other.holds_back_more_than(route, listener)
            }
            Found::Default(_) => route.is_some() && (listener.gate.is_some() || is_closed(&listener.default)),
            Found::NoListener => false,
        }
    }
}

impl Route {
    fn holds_back_more_than(&self, route: Option<&Self>, listener: &ListenerTable) -> bool {
        let gate = route.map_or(&listener.gate, |route| &route.gate);
        let filters = route.and_then(|route| route.filters.as_ref());
        is_closed(&self.action)
            || self.gate.is_some() && !are_same(self.gate.as_ref(), gate.as_ref())
            || self.clients > 0 && self.clients != route.map_or(0, |route| route.clients)
            || self.versions > route.map_or(Versions::All, |route| route.versions)
            || self.filters.as_deref().is_some_and(Filters::asks) && !are_same(self.filters.as_ref(), filters)
    }
}

fn are_same<T>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether nobody reaches a backend here for want of a right: no address that is let in, no encryption, no rule that can be
/// had.
fn is_closed(action: &Action) -> bool {
    match action {
        Action::Refused(_) => true,
        Action::Fixed(page) => matches!(page.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
        Action::Redirect(redirect) => redirect.scheme == Some(RedirectScheme::Https),
        Action::Forward(_) => false,
    }
}

/// Whether everybody reads the path alike: nothing in it is encoded, and no element is empty or begins with a dot.
pub(crate) fn is_normal(path: &str) -> bool {
    let mut before = b'a';
    path.bytes().all(|byte| {
        let is_plain = byte != b'%' && !(before == b'/' && matches!(byte, b'/' | b'.'));
        before = byte;
        is_plain
    })
}

/// The path decoded once, its slashes merged, its dot segments resolved: as nginx matches it, and as frameworks read it.
/// Source: RFC 3986 §5.2.4, §6.2.2; nginx, ngx_http_core_module, `location` and `merge_slashes`.
fn normal(path: &str) -> String {
    let decoded = decoded(path);
    let mut elements: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for element in decoded.split('/').skip(1) {
        is_folder = matches!(element, "" | "." | "..");
        match element {
            "" | "." => {}
            ".." => {
                elements.pop();
            }
            element => elements.push(element),
        }
    }
    let mut normal = String::with_capacity(decoded.len() + 1);
    for element in &elements {
        normal.push('/');
        normal.push_str(element);
    }
    if is_folder || elements.is_empty() {
        normal.push('/');
    }
    normal
}

/// What is no escape stays; what is no text becomes something that no rule names.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| digit.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_backends_do() {
        for (path, want) in [
            ("/admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("//admin", "/admin"),
            ("/x/../admin", "/admin"),
            ("/x/%2e%2E/admin", "/admin"),
            ("/x%2f..%2Fadmin/", "/admin/"),
            ("/./admin", "/admin"),
            ("/../admin", "/admin"),
            ("/admin/.", "/admin/"),
            ("/admin/x/..", "/admin/"),
            ("/..", "/"),
            ("//", "/"),
            // Once.
            ("/%2561dmin", "/%61dmin"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
            ("/%c3%bc", "/ü"),
            ("/%ff", "/\u{fffd}"),
            ("/.well-known/x", "/.well-known/x"),
        ] {
            assert_eq!(normal(path), want, "{path}");
            assert!(is_normal(path) <= (normal(path) == path), "{path}");
        }
        for path in ["/", "/a/b.c/d..", "/a;b=..", ""] {
            assert!(is_normal(path), "{path}");
        }
    }
}
