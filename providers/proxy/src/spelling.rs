//! A request and the rule that its path leads to in; whether the same path, spelled as most backends read it, leads to one
//! that lets fewer pass out.
//!
//! Rules match paths as they were sent, and so do load balancers of clouds. Backends decode them, merge slashes and
//! resolve dots: `//admin`, `/%61dmin` and `/x/../admin` are `/admin` to them. Beside a guarded `/admin` and an open `/`
//! such a request would go past the guard.

use std::iter;
use std::ptr;

use portcullis_model::{
    ExactPath, Glob, PATH_ESCAPED, PathMatch, PathPrefix, Pattern, RedirectScheme, escaped, signs,
};

use crate::listening::Place;
use crate::lookup::RequestHead;
use crate::table::{Action, ListenerTable, Route, RouteTable, RuleIndex};
use crate::versions::Versions;

impl RouteTable {
    /// Whether the request comes past a rule that holds back more than the one that was found.
    pub(crate) fn is_evaded(&self, head: &RequestHead<'_>, place: &Place<'_>) -> bool {
        // Mostly this is all that is looked at.
        if is_plain(head.path) && self.respelled.is_empty() {
            return false;
        }
        // Where nothing goes to a backend, nobody reads the path otherwise.
        let default = &place.listener.default;
        let action = place.route.map_or(default, |route| &route.action);
        if !matches!(action, Action::Forward(_)) {
            return false;
        }
        let spelled = place.route.map_or(&[][..], |route| &route.spelled);
        let evades = |usual: &Usual| self.is_held_back(usual, head, place);
        // Whose texts end as those of C sees no more than what comes before a NUL.
        let cut = head.path.split_once("%00").map(|(seen, _)| seen);
        iter::once(head.path).chain(cut).any(|path| {
            let usual = Usual::of(path, spelled, Reading::ALL[0]);
            if evades(&usual) {
                return true;
            }
            let mut looked_up = vec![usual];
            let others = match looked_up[0].climbs || has_separators(path) {
                true => &Reading::ALL[1..],
                // All read it alike.
                false => &[],
            };
            others.iter().any(|reading| {
                let other = Usual::of(path, spelled, *reading);
                if looked_up.contains(&other) {
                    return false;
                }
                let is_evading = evades(&other);
                looked_up.push(other);
                is_evading
            })
        })
    }

    /// Whether in another spelling the request would be held back more, by the rule that would answer it then.
    fn is_held_back(&self, usual: &Usual, head: &RequestHead<'_>, place: &Place<'_>) -> bool {
        let Place { listener, route, .. } = *place;
        let holds = |other: &Route| {
            !route.is_some_and(|route| ptr::eq(route, other)) && other.holds_back_more_than(route, listener)
        };
        let is_another = usual.path != head.path;
        let other = RequestHead {
            path: &usual.path,
            ..*head
        };
        let ports = &*place.ports;
        let as_written = self.first_at(ports, &other);
        // A redirect to where the client is counts for a request that is answered beside it, where nothing is there.
        let as_written = as_written.or_else(|| self.first_at(&[head.port], &other));
        for (turn, port) in ports.iter().enumerate() {
            let is_beside = turn > 0 && *port != head.port;
            let other = RequestHead {
                port: *port,
                is_beside,
                ..other
            };
            // What stands behind the rule of the same port comes too late; patterns are looked through one by one.
            let below = as_written.filter(|(at, _)| at == port);
            let below = below.map_or(RuleIndex::MAX, |(_, rule)| rule);
            let respelled = self.respelled.first(&self.routes, &other, below);
            let comes_first =
                as_written.is_none_or(|as_written| self.is_before(ports, (*port, respelled), as_written));
            if comes_first && self.route(respelled).is_some_and(holds) {
                return true;
            }
        }
        if let Some(other) = as_written.and_then(|(_, rule)| self.route(rule)) {
            return is_another && holds(other);
        }
        // No decoding leads out of the paths that are served, but `..` does.
        let first = place.ports.first().and_then(|port| self.listeners.get(port));
        let is_closed = |at: &ListenerTable| at.gate.is_some() || usual.climbs && is_closed(&at.default);
        is_another && route.is_some() && first.is_some_and(is_closed)
    }
}

impl Route {
    fn holds_back_more_than(&self, route: Option<&Self>, listener: &ListenerTable) -> bool {
        let gate = route.map_or(&listener.gate, |route| &route.gate);
        let filters = route.and_then(|route| route.filters.as_ref());
        is_closed(&self.action)
            || self
                .gate
                .as_ref()
                .is_some_and(|asks| !gate.as_ref().is_some_and(|gate| gate.asks_as(asks)))
            || self.clients > 0 && self.clients != route.map_or(0, |route| route.clients)
            || self.versions > route.map_or(Versions::All, |route| route.versions)
            || self.filters.as_ref().is_some_and(|asking| {
                asking.asks() && !filters.is_some_and(|filters| filters.asks_as(asking))
            })
    }
}

/// Whether nobody reaches a backend here: for want of a right, of encryption, of a rule that can be had, or because it is not
/// published.
fn is_closed(action: &Action) -> bool {
    match action {
        Action::Refused(_) => true,
        Action::Fixed(page) => page.status.is_client_error() || page.status.is_server_error(),
        Action::Redirect(redirect) => redirect.scheme == Some(RedirectScheme::Https),
        Action::Forward(_) => false,
    }
}

/// Whether a path that was rewritten climbs where the one that came does not, to anybody who reads it: `/app/?(.*)` to `/x/$1`
/// makes `/x/../admin` of `/app../admin`.
pub(crate) fn climbs_anew(came: &str, rewritten: &str) -> bool {
    let climbs = |path: &str, reading: Reading| {
        let decoded = decoded(path, reading);
        let elements = decoded.split('/').map(|element| reading.named(element));
        elements.filter(|element| *element == "..").count()
    };
    let mut readings = Reading::ALL.into_iter();
    !is_plain(rewritten) && readings.any(|reading| climbs(rewritten, reading) > climbs(came, reading))
}

/// Whether nothing in the path is encoded, or should be, has a parameter or a backslash, and no element is empty or begins with
/// a dot: then everybody reads it alike.
fn is_plain(path: &str) -> bool {
    let mut before = b'a';
    path.bytes().all(|byte| {
        let is_spelled = matches!(
            byte,
            b'%' | b';' | b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'}' | 0x80..
        ) || before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        !is_spelled
    })
}

/// Whether it holds what separates elements, or ends one, to some alone.
fn has_separators(path: &str) -> bool {
    let is_escaped = |three: &[u8]| {
        let escapes = [b"%2f", b"%5c", b"%3b"];
        escapes.iter().any(|escape| three.eq_ignore_ascii_case(*escape))
    };
    path.contains(['\\', ';']) || path.as_bytes().windows(3).any(is_escaped)
}

/// The paths that a rule names and that backends may read otherwise: it means them so.
pub(crate) fn spelled(paths: &[PathMatch]) -> Box<[Box<str>]> {
    let named = paths.iter().filter_map(|path| match path {
        PathMatch::Exact(path) => Some(path.as_str()),
        PathMatch::Prefix(path) => Some(path.as_str()),
        PathMatch::Glob(_) | PathMatch::Regex(_) => None,
    });
    let spelled = named.filter(|path| !is_plain(path) && Usual::of(path, &[], Reading::ALL[0]).path != *path);
    spelled.map(Box::from).collect()
}

/// A path of a rule in its usual spelling, where that is another: then it is evaded by that, too. An escaped slash is left, as it
/// may be another resource.
pub(crate) fn respelled(path: &PathMatch) -> Option<PathMatch> {
    let usual = |path: &str| {
        let usual = (!is_plain(path)).then(|| decoded(path, Reading::PLAINEST));
        usual.filter(|usual| usual != path)
    };
    match path {
        PathMatch::Exact(path) => ExactPath::parse(&usual(path.as_str())?)
            .map(PathMatch::Exact)
            .ok(),
        PathMatch::Prefix(path) => PathPrefix::parse(&usual(path.as_str())?)
            .map(PathMatch::Prefix)
            .ok(),
        PathMatch::Glob(glob) => {
            // Decoded, it would stand for any text.
            let is_sign = glob.as_str().to_ascii_uppercase().contains("%2A");
            let usual = usual(glob.as_str()).filter(|_| !is_sign)?;
            Glob::parse(&usual).map(PathMatch::Glob).ok()
        }
        PathMatch::Regex(pattern) => {
            let has_escapes = pattern.as_str().contains('%');
            let usual = has_escapes.then(|| decoded_expression(pattern.as_str()))?;
            if usual == pattern.as_str() {
                return None;
            }
            Pattern::parse(&usual).map(PathMatch::Regex).ok()
        }
    }
}

/// Without the escapes of URLs that nobody needs, but between brackets.
fn decoded_expression(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut rest = signs(expression);
    while let Some(sign) = rest.next() {
        let escape = expression.get(sign.at..sign.at + 3).filter(|escape| {
            let is_repeated = expression[sign.at + 3..].starts_with(['*', '+', '?', '{']);
            let digits = escape.bytes().skip(1).all(|digit| digit.is_ascii_hexdigit());
            sign.is_plain() && sign.char == '%' && digits && !is_repeated
        });
        let Some(escape) = escape else {
            out.push(sign.char);
            continue;
        };
        // Its digits.
        rest.nth(1);
        let char = decoded(escape, Reading::PLAINEST);
        let is_sign = char.starts_with(|char| r".+*?()|[]{}^$\".contains(char));
        out.extend(is_sign.then_some("\\").into_iter().chain([&*char]));
    }
    out
}

/// In what those differ who read paths.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// An encoded slash is one: nginx and those that decode first; not to RFC 3986.
    slashes: bool,
    /// A backslash is a slash: IIS, and the URL Standard (`new URL()`).
    backslashes: bool,
    /// Slashes are merged before dots are resolved: nginx; not to RFC 3986.
    merges: bool,
    /// Elements have no parameters: Tomcat, Jetty and Spring.
    cuts: bool,
}

impl Reading {
    const ALL: [Self; 16] = {
        let mut all = [Self::of(0); 16];
        let mut number = 1;
        while number < all.len() {
            all[number] = Self::of(number);
            number += 1;
        }
        all
    };
    /// Of escapes alone.
    const PLAINEST: Self = Self::of(15);

    /// The first has all of it.
    const fn of(number: usize) -> Self {
        Self {
            slashes: number & 1 == 0,
            backslashes: number & 2 == 0,
            merges: number & 4 == 0,
            cuts: number & 8 == 0,
        }
    }

    /// An element without its parameters, where it has some.
    fn named(self, element: &str) -> &str {
        match self.cuts {
            true => element.split(';').next().unwrap_or_default(),
            false => element,
        }
    }
}

/// A path in its usual spelling, as backends read it: what needs no escape has none, slashes are merged, dot segments are
/// resolved, parameters of elements left out. Source: RFC 3986 §3.3, §5.2.4, §6.2.2;
/// nginx, ngx_http_core_module, `location` and `merge_slashes`; Jakarta Servlet 6.0 §3.5.2.
#[derive(Debug, PartialEq, Eq)]
struct Usual {
    path: String,
    /// Whether any element of it was `..`.
    climbs: bool,
}

impl Usual {
    /// What the path begins with stays, where it is one of the `spelled`, and nothing behind it leads out of it.
    fn of(path: &str, spelled: &[Box<str>], reading: Reading) -> Self {
        let rest = |begin: &str| {
            let rest = path.strip_prefix(begin)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(rest)
        };
        let longest = spelled.iter().filter(|begin| rest(begin).is_some());
        let begin = longest
            .max_by_key(|begin| begin.len())
            .map_or("", |begin| &**begin);
        let rest = rest(begin).unwrap_or(path);
        Self::resolved(begin, rest, reading).unwrap_or_else(|| Self::of(path, &[], reading))
    }

    /// None where the rest leads out of what begins it.
    fn resolved(begin: &str, rest: &str, reading: Reading) -> Option<Self> {
        let decoded = decoded(rest, reading);
        let mut elements: Vec<&str> = Vec::new();
        let (mut is_folder, mut climbs) = (false, false);
        for element in decoded.split('/').skip(1) {
            let element = reading.named(element);
            is_folder = matches!(element, "" | "." | "..");
            climbs |= element == "..";
            match element {
                "." => {}
                "" if reading.merges => {}
                // Above the root there is nothing.
                ".." if elements.pop().is_none() && !begin.is_empty() => return None,
                ".." => {}
                element => elements.push(element),
            }
        }
        let mut path = begin.to_owned();
        for element in &elements {
            path.push('/');
            path.push_str(element);
        }
        if is_folder || path.is_empty() {
            path.push('/');
        }
        Some(Self { path, climbs })
    }
}

/// Without the escapes that nobody needs; others stay, with upper-case digits, and what needs one gets it.
fn decoded(path: &str, reading: Reading) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(next) = rest.chars().next() {
        let escape = rest.strip_prefix('%').and_then(|rest| rest.get(..2));
        match escape.and_then(|digits| Some((digits, u8::from_str_radix(digits, 16).ok()?))) {
            Some((digits, byte)) if !digits.starts_with('+') => {
                match char::from(byte) {
                    '/' if reading.slashes => text.push('/'),
                    '\\' if reading.slashes && reading.backslashes => text.push('/'),
                    '\\' => text.push('\\'),
                    plain if is_unescaped(plain) => text.push(plain),
                    _ => text.extend(['%'].into_iter().chain(digits.to_ascii_uppercase().chars())),
                }
                rest = &rest[3..];
            }
            Some(_) | None => {
                let (char, after) = rest.split_at(next.len_utf8());
                match next {
                    '\\' if reading.backslashes => text.push('/'),
                    _ if next.is_ascii() && !PATH_ESCAPED.contains(next) => text.push(next),
                    _ => text.push_str(&escaped(char, |_| false)),
                }
                rest = after;
            }
        }
    }
    text
}

/// What may stand in an element of a path as it is, or does, for some clients escape it and others do not. Source: RFC 3986
/// §3.3, `pchar`; URL Standard.
fn is_unescaped(char: char) -> bool {
    char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@|[]".contains(char)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portcullis_model::PathPrefix;

    use super::*;

    /// All that a path may be to somebody.
    #[test]
    fn a_path_that_climbs_has_several_readings() {
        for (path, want) in [
            ("/x%2fy/../admin", &["/x/admin", "/admin"][..]),
            ("/./admin//../x", &["/x", "/admin/x"]),
            ("/x/..\\admin", &["/admin", "/x/..\\admin"]),
            ("/x/..%5cadmin", &["/admin", "/x/..\\admin"]),
        ] {
            let read: BTreeSet<String> = Reading::ALL
                .iter()
                .map(|reading| Usual::of(path, &[], *reading).path)
                .collect();
            assert_eq!(read, want.iter().map(ToString::to_string).collect(), "{path}");
        }
    }

    #[test]
    fn rules_have_a_usual_spelling_too() {
        let exact = |path: &str| PathMatch::Exact(ExactPath::parse(path).unwrap());
        let prefix = |path: &str| PathMatch::Prefix(PathPrefix::parse(path).unwrap());
        let glob = |path: &str| PathMatch::Glob(Glob::parse(path).unwrap());
        let regex = |path: &str| PathMatch::Regex(Pattern::parse(path).unwrap());
        for (path, want) in [
            (exact("/x%5B1%5D"), Some(exact("/x[1]"))),
            (prefix("/%c3%bc/"), Some(prefix("/%C3%BC"))),
            (prefix("/a%20b"), None),
            (prefix("/admin"), None),
            // Its elements stay its elements.
            (glob("/a%2fb*"), Some(glob("/a%2Fb*"))),
            (exact("/a%5cb;c"), Some(exact("/a\\b;c"))),
            (glob("/%61*"), Some(glob("/a*"))),
            (glob("/%61%2a*"), None),
            (
                regex("/%61(%5B1%5D|%c3%bc).*"),
                Some(regex(r"/a(\[1\]|%C3%BC).*")),
            ),
            (regex("/[%61]%62"), Some(regex("/[%61]b"))),
            (regex(r"/\%61"), None),
            (regex("/%61+"), None),
            (regex("/a.*%"), None),
        ] {
            assert_eq!(respelled(&path), want, "{path}");
        }
    }

    #[test]
    fn a_path_is_read_as_backends_do() {
        for (path, want, climbs) in [
            ("/admin", "/admin", false),
            ("/%61dmin", "/admin", false),
            ("//admin", "/admin", false),
            ("/x/../admin", "/admin", true),
            ("/x/%2e%2E/admin", "/admin", true),
            ("/x%2f..%2Fadmin/", "/admin/", true),
            ("/./admin", "/admin", false),
            ("/../admin", "/admin", true),
            ("/admin/.", "/admin/", false),
            ("/admin/x/..", "/admin/", true),
            ("/..", "/", true),
            ("//", "/", false),
            // Once.
            ("/%2561dmin", "/%2561dmin", false),
            ("/100%", "/100%", false),
            ("/%zz%4%+1%é", "/%zz%4%+1%%C3%A9", false),
            ("/€", "/%E2%82%AC", false),
            ("/%c3%bc%20%62", "/%C3%BC%20b", false),
            ("/a%3Ab%2Bc", "/a:b+c", false),
            ("/a\"b/{id}^", "/a%22b/%7Bid%7D%5E", false),
            ("/a%7cb%5B1%5D", "/a|b[1]", false),
            // To Tomcat, Jetty and Spring; to IIS.
            ("/admin;x=1/y;z", "/admin/y", false),
            ("/x/..;/admin", "/admin", true),
            ("/x/..%3b/admin", "/admin", true),
            ("/x\\..%5cadmin", "/admin", true),
            ("/.well-known/x..", "/.well-known/x..", false),
            // What a rule names stays, and nothing leads out of it.
            ("/%41", "/%41", false),
            ("/%41//%63", "/%41/c", false),
            ("/%41/x/../c", "/%41/c", true),
            ("/%41/../c", "/c", true),
            ("/%41/%42/%43", "/%41/%42/C", false),
            ("/%41c", "/Ac", false),
        ] {
            let spelled = ["/%41".into(), "/%41/%42".into()];
            let usual = Usual::of(path, &spelled, Reading::ALL[0]);
            assert_eq!((&*usual.path, usual.climbs), (want, climbs), "{path}");
            assert!(!is_plain(path) || usual.path == path, "{path}");
        }
        for char in PATH_ESCAPED.chars() {
            assert!(!is_plain(&format!("/{char}")), "{char}");
        }
        for path in ["/", "/a/b.c/d..", "/a=..", ""] {
            assert!(is_plain(path), "{path}");
        }
        let named = |path: &str| PathMatch::Prefix(PathPrefix::parse(path).unwrap());
        let paths = ["/.well-known", "/a%20b", "/%61", "/a/", "/a;b"].map(named);
        assert_eq!(*spelled(&paths), ["/%61".into(), "/a;b".into()]);
    }
}
