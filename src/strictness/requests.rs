//! The rules of two load balancers in, requests at the edges of what they match out.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use portcullis_model::{
    Condition, HostMatch, LoadBalancer, PathMatch, Pattern, Port, Request, RewritePart, Rule,
};

use super::samples::sample;

/// A client of no range in particular (RFC 5737).
pub(super) const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A host that no rule names (RFC 2606).
const ELSEWHERE: &str = "elsewhere.invalid";

/// Most requests that are tried. A hundred rules of a hundred hosts have fewer.
const MOST: usize = 200_000;

/// Requests at the edges, in a fixed order: the plainest first.
pub(super) fn candidates<'a>(
    now: &'a LoadBalancer,
    then: &'a LoadBalancer,
) -> impl Iterator<Item = Request> + 'a {
    let rules: Vec<&Rule> = now.rules.iter().chain(&then.rules).collect();
    let ports: BTreeSet<Port> = now
        .listeners
        .keys()
        .chain(then.listeners.keys())
        .copied()
        .collect();
    let mut hosts: BTreeSet<String> = rules
        .iter()
        .flat_map(|rule| &rule.hosts)
        .flat_map(hosts_of)
        .collect();
    hosts.insert(ELSEWHERE.to_owned());
    let mut crafted: Vec<Option<(&Rule, Edge)>> = vec![None];
    let mut seen = BTreeSet::new();
    for rule in &rules {
        if rule.conditions.is_empty() || !seen.insert(rule.to_string()) {
            continue;
        }
        crafted.push(Some((rule, Edge::Inside)));
        let is_expression = |condition: &Condition| matches!(condition, Condition::HeaderRegex { .. });
        if rule.conditions.iter().any(is_expression) {
            crafted.push(Some((rule, Edge::Around)));
        }
    }
    let of_host = move |host: String| {
        let about = rules
            .iter()
            .filter(|rule| rule.hosts.is_empty() || rule.hosts.iter().any(|h| h.matches(&host)));
        let mut paths = BTreeSet::new();
        for rule in about {
            let own: Vec<String> = rule.paths.iter().flat_map(paths_of).collect();
            let urls = rule
                .rewrites
                .iter()
                .filter(|rewrite| rewrite.part == RewritePart::Url);
            for rewritten in urls.flat_map(|rewrite| paths_around(&rewrite.pattern)) {
                let below = own
                    .iter()
                    .map(|path| format!("{}{rewritten}", path.trim_end_matches('/')));
                paths.extend(below.chain([rewritten.clone()]));
            }
            paths.extend(own);
        }
        paths.extend(["/".to_owned(), "/other".to_owned()]);
        paths
            .into_iter()
            .map(move |path| (host.clone(), path))
            .collect::<Vec<_>>()
    };
    let targets = hosts.into_iter().flat_map(of_host);
    let all = targets.flat_map(move |(host, path)| {
        let ports = ports.clone();
        crafted.clone().into_iter().flat_map(move |rule| {
            let (host, path) = (host.clone(), path.clone());
            ports.clone().into_iter().map(move |port| {
                let request = Request::get(port, &host, &path);
                rule.map_or_else(
                    || request.clone(),
                    |(rule, edge)| meeting(&rule.conditions, edge, request.clone()),
                )
            })
        })
    });
    all.take(MOST)
}

/// How what an expression asks for is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Inside,
    /// With more before and after.
    Around,
}

/// A text that an expression matches, else what every such text begins with.
fn text_of(pattern: &Pattern) -> String {
    sample(pattern).unwrap_or_else(|| pattern.literal_prefix().to_owned())
}

/// Hosts at the edges of what it matches.
fn hosts_of(host: &HostMatch) -> Vec<String> {
    match host {
        HostMatch::Exact(name) => vec![name.to_string()],
        HostMatch::Wildcard(name) => vec![format!("any.{name}"), format!("two.labels.{name}")],
        HostMatch::Glob(glob) => ["any", "two.labels"]
            .map(|star| filled(glob.as_str(), star))
            .to_vec(),
        HostMatch::Regex(pattern) => {
            let text = text_of(pattern);
            vec![text.clone(), format!("any.{text}"), format!("{text}.more")]
        }
    }
}

/// Paths at the edges of what it matches.
fn paths_of(path: &PathMatch) -> Vec<String> {
    match path {
        PathMatch::Exact(exact) => vec![exact.to_string(), format!("{exact}/"), format!("{exact}/more")],
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.as_str();
            [
                prefix.to_owned(),
                format!("{prefix}/"),
                format!("{prefix}/more"),
                format!("{prefix}-more"),
            ]
            .into_iter()
            .filter(|path| path.starts_with('/'))
            .collect()
        }
        PathMatch::Glob(glob) => ["", "any", "any/more"]
            .map(|star| filled(glob.as_str(), star))
            .to_vec(),
        PathMatch::Regex(pattern) => paths_around(pattern).to_vec(),
    }
    .into_iter()
    .filter(|path| path.starts_with('/'))
    .collect()
}

/// What it matches, and with more before or after.
fn paths_around(pattern: &Pattern) -> [String; 3] {
    let text = text_of(pattern);
    let text = match text.starts_with('/') {
        true => text,
        false => format!("/{text}"),
    };
    [text.clone(), format!("{text}/more"), format!("/any{text}")]
}

fn filled(glob: &str, star: &str) -> String {
    glob.replace('*', star).replace('?', "x")
}

/// The request, changed so that it meets these conditions as far as it can.
fn meeting(conditions: &[Condition], edge: Edge, mut request: Request) -> Request {
    for condition in conditions {
        match condition {
            Condition::Method(methods) => {
                if let Some(method) = methods.first() {
                    method.as_str().clone_into(&mut request.method);
                }
            }
            Condition::Header { name, values } => {
                let value = values.first().map(|glob| filled(glob.as_str(), "any"));
                request
                    .headers
                    .extend(value.map(|value| (name.as_str().to_owned(), value)));
            }
            Condition::HeaderRegex { name, values } => {
                let value = values.first().map(|pattern| match edge {
                    Edge::Inside => text_of(pattern),
                    Edge::Around => format!("any {} more", text_of(pattern)),
                });
                request
                    .headers
                    .extend(value.map(|value| (name.as_str().to_owned(), value)));
            }
            Condition::Query(wanted) => {
                let parameter = wanted.first().map(|wanted| {
                    let value = filled(wanted.value.as_str(), "any");
                    let key = wanted
                        .key
                        .as_ref()
                        .map_or("any".to_owned(), |key| filled(key.as_str(), "any"));
                    format!("{key}={value}")
                });
                let both = request
                    .query
                    .split('&')
                    .map(str::to_owned)
                    .filter(|part| !part.is_empty());
                request.query = both.chain(parameter).collect::<Vec<_>>().join("&");
            }
            Condition::Source(ranges) => {
                if let Some(range) = ranges.first() {
                    request.source = range.addr();
                }
            }
        }
    }
    request
}
