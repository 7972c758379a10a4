//! A rule's rewrites and a request's host and target in, what the backend is asked out.

use std::borrow::Cow;

use http::StatusCode;
use http::uri::PathAndQuery;
use portcullis_model::{Rewrite, RewritePart, in_ascii};

use crate::answer::Failure;
use crate::spelling;

/// What the backend sees.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rewritten<'a> {
    /// Path and query.
    pub(crate) target: Cow<'a, str>,
    /// `None` where no rewrite changes it: the authority is passed on as the client wrote it.
    pub(crate) host: Option<String>,
}

impl Rewritten<'_> {
    /// Path and query, where they differ from what came.
    pub(crate) fn changed(&self, came: &str) -> Result<Option<PathAndQuery>, Failure> {
        let Cow::Owned(target) = &self.target else {
            return Ok(None);
        };
        if spelling::climbs_anew(path(came), path(target)) {
            let why = "the rewritten path would lead out of where it is to lead";
            return Err(Failure::new(StatusCode::BAD_REQUEST, why));
        }
        let invalid = |_| {
            let why = "the rewritten URL is not valid";
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why)
        };
        target.parse().map(Some).map_err(invalid)
    }
}

fn path(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// Applies the rewrites in order; one whose pattern does not match changes nothing. What is too long for one is not passed on
/// without it.
pub(crate) fn rewrite<'a>(
    rewrites: &[Rewrite],
    host: &str,
    target: &'a str,
) -> Result<Rewritten<'a>, Failure> {
    let too_long = || Failure::new(StatusCode::URI_TOO_LONG, "the URL is too long to be rewritten");
    let mut rewritten = Rewritten {
        target: Cow::Borrowed(target),
        host: None,
    };
    for Rewrite {
        part,
        pattern,
        replacement,
    } in rewrites
    {
        match part {
            RewritePart::Url if pattern.matches(&rewritten.target) => {
                let made = pattern.replace(&rewritten.target, replacement);
                rewritten.target = in_ascii(made.ok_or_else(too_long)?).into();
            }
            RewritePart::Host if pattern.matches(rewritten.host.as_deref().unwrap_or(host)) => {
                let host = rewritten.host.as_deref().unwrap_or(host);
                rewritten.host = Some(pattern.replace(host, replacement).ok_or_else(too_long)?);
            }
            RewritePart::Url | RewritePart::Host => {}
        }
    }
    Ok(rewritten)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::{LONGEST_REPLACED, Pattern};

    #[test]
    fn what_is_too_long_to_be_rewritten_is_refused() {
        let twice = Rewrite {
            part: RewritePart::Url,
            pattern: Pattern::parse("/(.*)").unwrap(),
            replacement: "/$1$1".into(),
        };
        let target = format!("/{}", "a".repeat(LONGEST_REPLACED / 4));
        let made = |times: usize| rewrite(&vec![twice.clone(); times], "a.com", &target);
        assert_eq!(made(1).unwrap().target.len(), LONGEST_REPLACED / 2 + 1);
        for times in [2, 3, 30] {
            let failure = made(times).unwrap_err();
            assert_eq!(failure.status, StatusCode::URI_TOO_LONG);
        }
        // Groups are not looked for in what is long, however short it becomes.
        let shortened = Rewrite {
            replacement: "/".into(),
            ..twice
        };
        let target = format!("/{}", "a".repeat(LONGEST_REPLACED));
        assert!(rewrite(&[shortened], "a.com", &target).is_err());
    }

    #[test]
    fn rewrites_apply_in_order_and_only_where_they_match() {
        let url =
            |pattern: &str, replacement: &str| (RewritePart::Url, pattern.to_owned(), replacement.to_owned());
        let host = |pattern: &str, replacement: &str| {
            (RewritePart::Host, pattern.to_owned(), replacement.to_owned())
        };
        for (rewrites, given, want) in [
            (vec![], ("a.com", "/x?q=1"), ("/x?q=1", None)),
            (
                vec![url("/api/(.*)", "/$1")],
                ("a.com", "/api/v1?q=1"),
                ("/v1?q=1", None),
            ),
            (vec![url("/api/(.*)", "/$1")], ("a.com", "/web"), ("/web", None)),
            (vec![url("/(.*)", "/ü/$1")], ("a.com", "/a"), ("/%C3%BC/a", None)),
            (
                vec![url("/(.*)", "/one/$1"), url("/one/(.*)", "/two/$1x")],
                ("a.com", "/p"),
                ("/two/px", None),
            ),
            (
                vec![host(r"(.*)\.com", "$1.internal")],
                ("a.com", "/"),
                ("/", Some("a.internal")),
            ),
            (vec![host("b", "c")], ("a.com", "/"), ("/", None)),
        ] {
            let rewrites: Vec<Rewrite> = rewrites
                .into_iter()
                .map(|(part, pattern, replacement)| Rewrite {
                    part,
                    pattern: Pattern::parse(&pattern).unwrap(),
                    replacement,
                })
                .collect();
            let got = rewrite(&rewrites, given.0, given.1).unwrap();
            assert_eq!(
                (got.target.as_ref(), got.host.as_deref()),
                want,
                "{rewrites:?} on {given:?}"
            );
        }
    }
}
