//! What a browser carries of sessions in, requests without it for backends out: whoever holds a session's cookies is its
//! user, and rules without a login may lead to somebody else's backend.

use http::HeaderMap;
use http::header::COOKIE;
use portcullis_model::{Authenticate, HostMatch, LoadBalancer};

use super::cookies::Cookies;

/// What cookies of sessions are called, where nobody says otherwise. Source: ELBv2 API, AuthenticateOidcActionConfig,
/// `SessionCookieName`.
const USUAL: &str = "AWSELBAuthSessionCookie";

/// The sessions that are kept at some hosts, by the names of their cookies.
#[derive(Debug)]
pub(crate) struct Sessions(Vec<Kept>);

impl Default for Sessions {
    /// Those of the usual name go everywhere: a rule whose login cannot be had any more has no host that could be known, and its
    /// sessions are good again once it is mended.
    fn default() -> Self {
        let mut sessions = Self(Vec::new());
        sessions.add(USUAL, &[]);
        sessions
    }
}

#[derive(Debug)]
struct Kept {
    name: String,
    cookies: Cookies,
    /// Where: elsewhere the name may be an application's own.
    at: Hosts,
}

#[derive(Debug)]
enum Hosts {
    All,
    Some(Vec<HostMatch>),
}

impl Sessions {
    pub(crate) fn of(balancer: &LoadBalancer) -> Self {
        let mut sessions = Self::default();
        for rule in &balancer.rules {
            if let Some(Authenticate::Oidc { session, .. }) = &rule.authenticate {
                sessions.add(&session.cookie, &rule.hosts);
            }
        }
        for listener in balancer.listeners.values() {
            if let Some(Authenticate::Oidc { session, .. }) = &listener.authenticate {
                sessions.add(&session.cookie, &[]);
            }
        }
        sessions
    }

    /// No host stands for all.
    fn add(&mut self, name: &str, hosts: &[HostMatch]) {
        let place = self.0.iter().position(|kept| kept.name == name);
        let place = place.unwrap_or_else(|| {
            self.0.push(Kept {
                name: name.to_owned(),
                cookies: Cookies::new(name),
                at: Hosts::Some(Vec::new()),
            });
            self.0.len() - 1
        });
        let Some(Kept { at, .. }) = self.0.get_mut(place) else {
            return;
        };
        match at {
            _ if hosts.is_empty() => *at = Hosts::All,
            Hosts::All => {}
            Hosts::Some(all) => {
                for host in hosts {
                    // The rules of an object stand together, mostly with one host.
                    if all.last() != Some(host) {
                        all.push(host.clone());
                    }
                }
            }
        }
    }

    /// Takes them out of what a backend is to see of a request to the host.
    pub(crate) fn strip(&self, host: &str, headers: &mut HeaderMap) {
        if !headers.contains_key(COOKIE) {
            return;
        }
        for kept in &self.0 {
            if kept.cookies.are_in(headers) && kept.at.have(host) {
                kept.cookies.strip(headers);
            }
        }
    }
}

impl Hosts {
    fn have(&self, host: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(all) => all.iter().any(|known| known.matches(host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn cookies_go_where_their_sessions_are_kept() {
        let host = |text| HostMatch::parse(text).unwrap();
        let mut sessions = Sessions::default();
        sessions.add("shop", &[host("a.com"), host("*.b.com")]);
        sessions.add("shop", &[host("c.com")]);
        sessions.add("all", &[]);
        sessions.add("all", &[host("a.com")]);
        for (at, given, want) in [
            ("a.com", "x=1; __Host-shop-0=s; y=2", Some("x=1; y=2")),
            ("one.b.com", "__Host-shop-0=s; __Host-shop-1=t", None),
            ("c.com", "__Host-shop-login-0123456789abcdef=s", None),
            ("d.com", "__Host-shop-0=s", Some("__Host-shop-0=s")),
            ("d.com", "__Host-AWSELBAuthSessionCookie-0=s; x=1", Some("x=1")),
            (
                "d.com",
                "__Host-all-0=s; __Host-shop-0=t",
                Some("__Host-shop-0=t"),
            ),
            (
                "a.com",
                "shop-0=1; __Host-shop-cart=2",
                Some("shop-0=1; __Host-shop-cart=2"),
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_static(given));
            sessions.strip(at, &mut headers);
            let got = headers.get(COOKIE).map(|value| value.to_str().unwrap());
            assert_eq!(got, want, "{at} {given}");
        }
    }
}
