//! Two load balancers made of the same Ingresses under different semantics in; the rules that differ and requests that
//! are answered differently out.
//!
//! Requests are not guessed: each comes from the hosts, paths and conditions of the rules themselves, and is told only
//! if the reference resolver answers it differently in the two.

mod expressions;
mod requests;
mod samples;

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    Action, Decision, LoadBalancer, Port, Protocol, Request, RewritePart, Rule, ServiceRef, Target, resolve,
};
use serde::Serialize;

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Rules of both lists in order; those that moved stand twice.
    pub rules: Vec<RuleLine>,
    /// One example for each pair of rules that answer the same request.
    pub requests: Vec<Example>,
}

/// A rule of one list, or of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleLine {
    pub change: LineChange,
    pub rule: String,
    /// Object and field that asks for it.
    pub at: String,
}

/// In which list a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LineChange {
    Kept,
    Removed,
    Added,
}

/// A request and its two answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// As a person would write it, such as `GET http://a.example.com/x`.
    pub request: String,
    pub now: Answered,
    pub then: Answered,
}

/// Who answers, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answered {
    pub action: String,
    /// Host and URL that the backend sees, where the rule rewrites them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// The rule; none where the listener's default action answers, or nobody listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// What differs between now and then.
pub fn compare(now: &LoadBalancer, then: &LoadBalancer) -> Comparison {
    let shown = |balancer: &LoadBalancer| -> Vec<Rule> {
        let rules = balancer.rules.iter();
        rules
            .map(|rule| expressions::as_shown(rule, balancer.semantics))
            .collect()
    };
    // Between the same semantics expressions mean the same, anchored or not.
    if now.semantics == then.semantics {
        return Comparison {
            rules: lines(&now.rules, &then.rules),
            requests: examples(now, then),
        };
    }
    Comparison {
        rules: lines(&shown(now), &shown(then)),
        requests: examples(&expressions::as_meant(now), &expressions::as_meant(then)),
    }
}

impl Comparison {
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.rules.iter().all(|line| line.change == LineChange::Kept)
    }
}

fn lines(now: &[Rule], then: &[Rule]) -> Vec<RuleLine> {
    let texts = |rules: &[Rule]| rules.iter().map(Rule::to_string).collect::<Vec<_>>();
    let (a, b) = (texts(now), texts(then));
    let line = |change, rule: &Rule| RuleLine {
        change,
        rule: rule.to_string(),
        at: rule.origin.to_string(),
    };
    // Longest common run of both lists from each pair of places on.
    let mut longest = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = if a[i] == b[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push(line(LineChange::Kept, &then[j]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || i < a.len() && longest[i + 1][j] >= longest[i][j + 1] {
            out.push(line(LineChange::Removed, &now[i]));
            i += 1;
        } else {
            out.push(line(LineChange::Added, &then[j]));
            j += 1;
        }
    }
    out
}

/// What a client would notice of an answer: not how backends are named, but where requests go.
#[derive(PartialEq, Eq)]
struct Effect<'a> {
    action: Option<Seen<'a>>,
    authenticate: Option<&'a portcullis_model::Authenticate>,
    filters: Option<&'a portcullis_model::Filters>,
    sent: Option<Sent>,
}

/// What backends see of a request: host and URL.
type Sent = (String, String);

#[derive(PartialEq, Eq)]
enum Seen<'a> {
    Forward(BTreeSet<(&'a ServiceRef, &'a [Target], u16)>),
    Other(&'a Action),
}

fn effect<'a>(balancer: &'a LoadBalancer, decision: Decision<'a>, request: &Request) -> Effect<'a> {
    let (authenticate, filters) = match decision {
        Decision::Rule(_, rule) => (rule.authenticate.as_ref(), rule.filters.as_deref()),
        Decision::Default(_) | Decision::NoListener => (None, None),
    };
    let action = decision.action().map(|action| match action {
        Action::Forward(forward) => {
            let parts = forward.backends.iter().filter_map(|part| {
                let backend = balancer.backends.get(&part.backend)?;
                Some((&backend.service, &*backend.targets, part.weight.get()))
            });
            Seen::Forward(parts.collect())
        }
        Action::Redirect(_) | Action::Fixed(_) => Seen::Other(action),
    });
    Effect {
        action,
        authenticate,
        filters,
        sent: sent(decision, request),
    }
}

/// None where no backend is asked.
fn sent(decision: Decision<'_>, request: &Request) -> Option<Sent> {
    let Some(Action::Forward(_)) = decision.action() else {
        return None;
    };
    let url = match request.query.as_str() {
        "" => request.path.clone(),
        query => format!("{}?{query}", request.path),
    };
    let mut sent = (request.host.clone(), url);
    let rewrites = match decision {
        Decision::Rule(_, rule) => rule.rewrites.as_slice(),
        Decision::Default(_) | Decision::NoListener => &[],
    };
    for rewrite in rewrites {
        let part = match rewrite.part {
            RewritePart::Host => &mut sent.0,
            RewritePart::Url => &mut sent.1,
        };
        // What is too long to be rewritten is not sent.
        *part = rewrite.pattern.replace(part, &rewrite.replacement)?;
    }
    Some(sent)
}

fn examples(now: &LoadBalancer, then: &LoadBalancer) -> Vec<Example> {
    let mut found: BTreeMap<(Option<usize>, Option<usize>), Example> = BTreeMap::new();
    let place = |decision: Decision<'_>| match decision {
        Decision::Rule(place, _) => Some(place),
        Decision::Default(_) | Decision::NoListener => None,
    };
    for request in requests::candidates(now, then) {
        let (before, after) = (resolve(now, &request), resolve(then, &request));
        let key = (place(before), place(after));
        if found.contains_key(&key) || effect(now, before, &request) == effect(then, after, &request) {
            continue;
        }
        let example = Example {
            request: shown(&request, now, then),
            now: answered(before, &request),
            then: answered(after, &request),
        };
        found.insert(key, example);
    }
    found.into_values().collect()
}

fn answered(decision: Decision<'_>, request: &Request) -> Answered {
    let rewritten = match decision {
        Decision::Rule(_, rule) if !rule.rewrites.is_empty() => sent(decision, request),
        Decision::Rule(..) | Decision::Default(_) | Decision::NoListener => None,
    };
    Answered {
        sent: rewritten.map(|(host, url)| format!("{host}{url}")),
        action: decision
            .action()
            .map_or_else(|| "nobody listens".to_owned(), Action::to_string),
        rule: match decision {
            Decision::Rule(_, rule) => Some(rule.origin.to_string()),
            Decision::Default(_) | Decision::NoListener => None,
        },
    }
}

fn shown(request: &Request, now: &LoadBalancer, then: &LoadBalancer) -> String {
    let listener = now
        .listeners
        .get(&request.port)
        .or_else(|| then.listeners.get(&request.port));
    let tls = listener.is_some_and(|listener| matches!(listener.protocol, Protocol::Https(_)));
    let (scheme, standard) = if tls {
        ("https", Port::HTTPS)
    } else {
        ("http", Port::HTTP)
    };
    let port = if request.port == standard {
        String::new()
    } else {
        format!(":{}", request.port)
    };
    let query = if request.query.is_empty() {
        String::new()
    } else {
        format!("?{}", request.query)
    };
    let mut text = format!(
        "{} {scheme}://{}{port}{}{query}",
        request.method, request.host, request.path
    );
    for (name, value) in &request.headers {
        text.push_str(&format!(" {name}: {value}"));
    }
    if request.source != requests::ANYBODY {
        text.push_str(&format!(" from {}", request.source));
    }
    text
}
