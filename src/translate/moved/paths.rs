//! Paths of an Ingress with ingress-nginx's `use-regex` or `rewrite-target` in, what they match and become out.
//!
//! There such paths are expressions without an end, in any case of letters. Read are those that mean a prefix, to the
//! letter; any other closes what it took.

use portcullis_model::{Glob, PathMatch, PathPrefix, Pattern, Rewrite, RewritePart};

use crate::translate::annotations::{Written, value};
use crate::translate::challenges;
use crate::translate::expressions::{Room, beginning_with, beginnings};
use crate::translate::member::Part;
use crate::translate::spelling;

const TARGET: &str = "rewrite-target";
const REGEX: &str = "use-regex";

/// What a path takes, and what becomes of its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::translate) struct Route {
    pub(in crate::translate) path: PathMatch,
    pub(in crate::translate) rewrite: Option<Rewrite>,
}

/// None where the Ingress has neither annotation, or its paths are written as ours.
pub(in crate::translate) fn route(part: &Part<'_>, path: &str) -> Option<Result<Route, String>> {
    let (target, regex) = (part.nginx_set(TARGET), part.nginx_set(REGEX));
    let said = |name| part.annotations.get(name).is_some();
    if said("path-match") || said("use-regex-path-match") {
        return target.map(|_| Err("beside path-match, write what is rewritten in transforms".to_owned()));
    }
    let regex = match regex.map(|regex| value::boolean(regex.value)) {
        Some(Err(why)) => return Some(Err(why)),
        Some(Ok(regex)) => regex,
        None => false,
    };
    match target {
        // As there, nothing is rewritten, and the path is none of an expression.
        Some(target) if target.value == path && !regex => None,
        None if !regex => None,
        target => Some(read(path, target.map(|target| target.value))),
    }
}

/// Where `route` cannot read it, what it took there, or more: that is closed. None where ours say what paths mean, or where
/// next to everything might be meant.
pub(in crate::translate) fn taken(part: &Part<'_>, path: &str, room: &mut Room) -> Option<PathMatch> {
    let said = |name| part.annotations.get(name).is_some();
    if said("path-match") || said("use-regex-path-match") {
        return None;
    }
    at_most(&spelling::of_expression(path), room)
}

/// An expression without an end; of one that is none of ours, what begins as each of its alternatives does.
fn at_most(path: &str, room: &mut Room) -> Option<PathMatch> {
    // There expressions take letters of any case anyway.
    let path = path
        .strip_prefix("/(?i)")
        .map_or(path.into(), |rest| format!("/{rest}"));
    let endless = match path.contains('|') {
        true => format!("(?:{path}).*"),
        false => format!("{path}.*"),
    };
    if let Some(pattern) = room.instead(&endless) {
        return Some(PathMatch::Regex(pattern));
    }
    beginning_with(&beginnings(&path, room), false, room)
}

/// Which of the two annotations asks for it.
pub(super) fn asked<'a>(part: &Part<'a>) -> Option<Written<'a>> {
    part.nginx_set(TARGET).or_else(|| part.nginx_set(REGEX))
}

/// A path that is the same as an expression, but for dots, which there are any character.
fn is_literal(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"/-_~%".contains(&b);
    text.bytes().all(known)
}

fn read(path: &str, target: Option<&str>) -> Result<Route, String> {
    let expected = "of expressions /name, /name(/|$)(.*), /name/(.*) and /name/?(.*) alone are read, with a name of \
                    letters, digits, - and _";
    let part_of = |end: &str| path.strip_suffix(end).filter(|name| is_literal(name));
    let is_whole = |name: &str| name.is_empty() || (name.starts_with('/') && !name.ends_with('/'));
    let starting = |text: String| {
        Glob::parse(&text)
            .map(PathMatch::Glob)
            .map_err(|why| why.to_string())
    };
    let prefix = |text: &str| {
        PathPrefix::parse(text)
            .map(PathMatch::Prefix)
            .map_err(|why| why.to_string())
    };
    // cert-manager adds it to what is there; rewritten, nobody would find the answer.
    if challenges::is_literal(path) {
        return Ok(Route {
            path: starting(format!("{path}*"))?,
            rewrite: None,
        });
    }
    // What it takes, which group is its rest, and what stands before that.
    let (taken, group, before) = if let Some(name) = part_of("(/|$)(.*)").filter(|name| is_whole(name)) {
        (prefix(&format!("{name}/"))?, Some(2), format!("{name}/?"))
    } else if let Some(name) = part_of("/(.*)").filter(|name| is_whole(name)) {
        let taken = match name.is_empty() {
            true => PathMatch::Prefix(PathPrefix::root()),
            false => starting(format!("{name}/*"))?,
        };
        (taken, Some(1), format!("{name}/"))
    } else if let Some(name) = part_of("/?(.*)").filter(|name| is_whole(name) && !name.is_empty()) {
        (starting(format!("{name}*"))?, Some(1), format!("{name}/?"))
    } else if path == "/" {
        (PathMatch::Prefix(PathPrefix::root()), None, String::new())
    } else if path.starts_with('/') && is_literal(path) {
        (starting(format!("{path}*"))?, None, String::new())
    } else {
        return Err(expected.to_owned());
    };
    let Some(target) = target else {
        return Ok(Route {
            path: taken,
            rewrite: None,
        });
    };
    let (to, rest) = match target.split_once('$') {
        Some((to, number)) => (to, Some(number)),
        None => (target, None),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_~%.".contains(&b);
    if !to.starts_with('/') || !to.bytes().all(plain) {
        return Err(format!(
            "{} is no path, with or without a group at its end",
            value::shown(target)
        ));
    }
    let pattern = match (rest, group) {
        (None, _) => "[^?]*(.*)".to_owned(),
        (Some(rest), Some(group)) if rest == group.to_string() => format!("{before}(.*)"),
        (Some(_), _) => {
            return Err(format!(
                "{} has a group that is not the rest of path {}",
                value::shown(target),
                value::shown(path)
            ));
        }
    };
    let rewrite = Rewrite {
        part: RewritePart::Url,
        pattern: Pattern::parse(&pattern).map_err(|why| why.to_string())?,
        replacement: format!("{to}$1"),
    };
    Ok(Route {
        path: taken,
        rewrite: Some(rewrite),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, target, URLs and what backends see of them; nothing where the path does not take it.
    type Row<'r> = (&'r str, Option<&'r str>, &'r [(&'r str, Option<&'r str>)]);

    #[test]
    fn prefixes_are_cut_off_as_ingress_nginx_cuts_them() {
        let rows: &[Row<'_>] = &[
            (
                "/foo(/|$)(.*)",
                Some("/$2"),
                &[
                    ("/foo", Some("/")),
                    ("/foo/", Some("/")),
                    ("/foo?q=1", Some("/?q=1")),
                    ("/foo/a/b?q=/foo", Some("/a/b?q=/foo")),
                    ("/foobar", None),
                    ("/a/foo", None),
                ],
            ),
            ("/foo(/|$)(.*)", Some("/api/$2"), &[("/foo/a", Some("/api/a"))]),
            ("/foo(/|$)(.*)", Some("/all"), &[("/foo/a?q", Some("/all?q"))]),
            (
                "/foo(/|$)(.*)",
                None,
                &[("/foo/a", Some("/foo/a")), ("/foobar", None)],
            ),
            (
                "/foo/(.*)",
                Some("/$1"),
                &[("/foo/a", Some("/a")), ("/foo/", Some("/")), ("/foo", None)],
            ),
            (
                "/foo/?(.*)",
                Some("/$1"),
                &[
                    ("/foo", Some("/")),
                    ("/foo/a", Some("/a")),
                    ("/foobar", Some("/bar")),
                ],
            ),
            (
                "/(.*)",
                Some("/x/$1"),
                &[("/", Some("/x/")), ("/a?q", Some("/x/a?q"))],
            ),
            ("/", Some("/x"), &[("/a?q", Some("/x?q"))]),
            (
                "/foo",
                Some("/"),
                &[("/foo/a", Some("/")), ("/foobar?q", Some("/?q")), ("/fo", None)],
            ),
            ("/foo", None, &[("/foobar", Some("/foobar")), ("/bar", None)]),
        ];
        for (path, target, urls) in rows {
            let route = read(path, *target).unwrap();
            for (url, want) in *urls {
                let bare = url.split('?').next().unwrap();
                let got = route.path.matches(bare).then(|| match &route.rewrite {
                    Some(rewrite) if rewrite.pattern.matches(url) => {
                        rewrite.pattern.replace(url, &rewrite.replacement).unwrap()
                    }
                    _ => (*url).to_owned(),
                });
                assert_eq!(got.as_deref(), *want, "{path} {target:?} {url}");
            }
        }
    }

    #[test]
    fn what_an_expression_took_is_known() {
        for (path, taken, left) in [
            (
                "/admin[0-9]*",
                &["/admin", "/admin1", "/admin/x"][..],
                &["/", "/a"][..],
            ),
            ("/(admin|boss)", &["/admin", "/boss/x"], &["/", "/bos"]),
            ("/a|/b", &["/a", "/bc"], &["/", "/c"]),
            ("/adm(in)?/.*", &["/adm/", "/admin/x"], &["/admi"]),
            ("/foo(/|$)(.*)", &["/foo", "/foo/x"], &["/foobar"]),
            ("/admin$", &["/admin"], &["/admin/"]),
            ("/admin(?=x)", &["/adminx", "/admin"], &["/adm"]),
            ("/admins?(?=x)", &["/adminx", "/admins"], &["/adm"]),
            ("/über.*", &["/%C3%BCber", "/%C3%BCberall"], &["/uber"]),
            ("/(?i)admin/.*", &["/admin/x"], &["/"]),
            ("/admin/(?!public|assets).*", &["/admin/x"], &["/", "/adm"]),
            ("/admin(?=/x|/y)", &["/admin/x"], &["/"]),
            (r"/x/(a|b)\1", &["/x/aa"], &["/", "/x"]),
            (r"/a\|b(?=x)|/c[|]d(?!e)", &["/a|bx", "/c|d"], &["/", "/b", "/ax"]),
            ("/aa(?=x)|/bb", &["/aax", "/bb"], &["/", "/a", "/b"]),
        ] {
            let path_match = at_most(&spelling::of_expression(path), &mut Room::default()).unwrap();
            for taken in taken {
                assert!(path_match.matches(taken), "{path} {taken}");
            }
            for left in left {
                assert!(!path_match.matches(left), "{path} {left}");
            }
        }
        for path in ["/(?!admin).*", "/aa(?=x)|/", "/?(?=x)", "/("] {
            assert_eq!(at_most(path, &mut Room::default()), None, "{path}");
        }
    }

    #[test]
    fn what_means_no_prefix_is_refused() {
        for (path, target) in [
            ("/v[0-9]+", None),
            ("/v1.0(/|$)(.*)", Some("/$2")),
            ("/(foo|bar)(/|$)(.*)", Some("/$3")),
            ("/foo(/|$)(.*)", Some("/$1")),
            ("/foo(/|$)(.*)", Some("/$2/x")),
            ("/foo(/|$)(.*)", Some("https://a.com/$2")),
            ("/foo(/|$)(.*)", Some("/$2?a=b")),
            ("/foo(/|$)(.*)", Some("$2")),
            ("/foo", Some("/$1")),
            ("/foo/(/|$)(.*)", Some("/$2")),
            ("foo", Some("/")),
            ("", Some("/")),
        ] {
            assert!(read(path, target).is_err(), "{path} {target:?}");
        }
    }
}
