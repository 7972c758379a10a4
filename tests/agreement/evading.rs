//! A load balancer and a request in; out: whether it gets past a rule that closes, only by how its path is spelled.
//!
//! The generated paths have one such spelling, `%61` for `a`, and no rule asks for logins or certificates: what closes is its
//! action. Source: docs/proxy.md, "Routing", "Paths that evade".

use portcullis_model::{
    Action, Decision, ExactPath, Glob, LoadBalancer, PathMatch, PathPrefix, Pattern, RedirectScheme, Request,
    Rule, resolve,
};

use crate::outcome::Outcome;

/// What the generated paths may hold, and what backends read in its place.
const SPELLED: (&str, &str) = ("%61", "a");

pub(crate) fn is_evading(balancer: &LoadBalancer, request: &Request) -> bool {
    let decision = resolve(balancer, request);
    if !matches!(decision.action(), Some(Action::Forward(_))) {
        return false;
    }
    let kept = match decision {
        Decision::Rule(_, rule) => kept(&rule.paths, &request.path),
        Decision::Default(_) | Decision::NoListener => 0,
    };
    let (begin, rest) = request.path.split_at(kept);
    let path = begin.to_owned() + &rest.replace(SPELLED.0, SPELLED.1);
    let other = Request {
        path,
        ..request.clone()
    };
    let (written, is_closed) = match resolve(balancer, &other) {
        Decision::Rule(index, rule) => (index, closes(&rule.action)),
        Decision::Default(_) | Decision::NoListener => (balancer.rules.len(), false),
    };
    // A rule that is written in this spelling counts in the other, too.
    let mut before = balancer.rules.iter().take(written).filter_map(respelled);
    is_closed
        || before
            .find(|rule| rule.takes(&other))
            .is_some_and(|rule| closes(&rule.action))
}

/// The rule for its paths that are written in this spelling, in the other.
fn respelled(rule: &Rule) -> Option<Rule> {
    let usual = |text: &str| {
        text.contains(SPELLED.0)
            .then(|| text.replace(SPELLED.0, SPELLED.1))
    };
    let paths = rule.paths.iter().filter_map(|path| match path {
        PathMatch::Exact(path) => ExactPath::parse(&usual(path.as_str())?)
            .map(PathMatch::Exact)
            .ok(),
        PathMatch::Prefix(path) => PathPrefix::parse(&usual(path.as_str())?)
            .map(PathMatch::Prefix)
            .ok(),
        PathMatch::Glob(glob) => Glob::parse(&usual(glob.as_str())?).map(PathMatch::Glob).ok(),
        PathMatch::Regex(pattern) => Pattern::parse(&usual(pattern.as_str())?)
            .map(PathMatch::Regex)
            .ok(),
    });
    let paths: Vec<PathMatch> = paths.collect();
    (!paths.is_empty()).then(|| Rule {
        paths,
        ..rule.clone()
    })
}

/// How much of the path is what the rule that takes it names in this spelling, and so means.
fn kept(rule: &[PathMatch], path: &str) -> usize {
    let named = rule.iter().filter_map(|written| match written {
        PathMatch::Exact(written) => Some(written.as_str()),
        PathMatch::Prefix(written) => Some(written.as_str()),
        PathMatch::Glob(_) | PathMatch::Regex(_) => None,
    });
    let begins = |written: &&str| {
        let rest = path.strip_prefix(written);
        written.contains(SPELLED.0) && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    named.filter(begins).map(str::len).max().unwrap_or(0)
}

fn closes(action: &Action) -> bool {
    match action {
        Action::Fixed(fixed) => fixed.status() >= 400,
        Action::Redirect(redirect) => redirect.scheme == Some(RedirectScheme::Https),
        Action::Forward(_) => false,
    }
}

pub(crate) fn refused() -> Outcome {
    Outcome::Fixed {
        status: 400,
        content_type: None,
        body: "400 Bad Request: the path, spelled otherwise, is another rule's to let pass\n".to_owned(),
    }
}
