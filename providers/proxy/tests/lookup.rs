//! Random load balancers and requests in: the compiled table must choose what the reference resolver chooses.
#![expect(clippy::unwrap_used, reason = "a panic in a test is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use portcullis_model::{
    Action, Condition, Decision, FixedResponse, Glob, HeaderName, HostMatch, HostName, Listener,
    LoadBalancer, LoadBalancerId, Method, ObjectName, Options, Origin, PathMatch, PathPrefix, Pattern, Port,
    Protocol, QueryMatch, Request, Rule, Semantics, Tls, resolve,
};
use portcullis_proxy::{Found, RequestHead, ServedPorts, compile};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const HOSTS: [&str; 7] = [
    "example.com",
    "a.example.com",
    "b.example.com",
    "x.a.example.com",
    "com",
    "other.org",
    "a",
];
const ODD_HOSTS: [&str; 8] = [
    "",
    ".",
    ".example.com",
    "..example.com",
    "example.com.",
    "[::1]",
    "192.0.2.1",
    "A.Example.COM:8080",
];
const HOST_GLOBS: [&str; 9] = [
    "*.example.com",
    "*.EXAMPLE.com",
    "A.example.com",
    "*",
    "?.example.com",
    "**.example.com",
    "a*",
    "*.",
    "*.*.com",
];
const HOST_PATTERNS: [&str; 3] = [r"[a-z]+\.example\.com", ".*", r"x\..*"];
const PATHS: [&str; 11] = [
    "/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/a/b/c", "/b", "/b.x", "/A", "/%20",
];
const ODD_PATHS: [&str; 10] = [
    "",
    "*",
    "//",
    "//a",
    "/a//b",
    "/a/./b",
    "/a/../b",
    "/a%2fb",
    "/a/b/c/d/e/f",
    "a/b",
];
const PATH_GLOBS: [&str; 6] = ["/*", "/a*", "/a/*/c", "*", "/?", "*b"];
const PATH_PATTERNS: [&str; 3] = ["/a(/.*)?", "/[ab]", ".*"];
const PORTS: [i64; 3] = [80, 443, 8443];
const METHODS: [&str; 3] = ["GET", "POST", "get"];
const SOURCES: [&str; 4] = ["192.0.2.1", "192.0.2.200", "10.1.2.3", "2001:db8::1"];
const RANGES: [&str; 4] = ["192.0.2.0/25", "10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"];
const QUERIES: [&str; 7] = ["", "a=1", "A=1", "b=2&a=1", "a", "&&a=2", "c=a=1"];

fn port(number: i64) -> Port {
    Port::new(number).unwrap()
}

fn glob(text: &str) -> Glob {
    Glob::parse(text).unwrap()
}

/// Compiled once: a pattern costs more than all else of a case.
fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
}

fn host() -> impl Strategy<Value = HostMatch> {
    let name = |text: &str| HostName::parse(text).unwrap();
    prop_oneof![
        4 => select(&HOSTS[..]).prop_map(move |h| HostMatch::Exact(name(h))),
        3 => select(&HOSTS[..]).prop_map(move |h| HostMatch::Wildcard(name(h))),
        2 => select(&HOST_GLOBS[..]).prop_map(|h| HostMatch::Glob(glob(h))),
        1 => select(patterns(&HOST_PATTERNS)).prop_map(HostMatch::Regex),
    ]
}

fn path() -> impl Strategy<Value = PathMatch> {
    let exact = |p: &str| PathMatch::Exact(portcullis_model::ExactPath::parse(p).unwrap());
    prop_oneof![
        3 => select(&PATHS[..]).prop_map(exact),
        4 => select(&PATHS[..]).prop_map(|p| PathMatch::Prefix(PathPrefix::parse(p).unwrap())),
        1 => select(&PATH_GLOBS[..]).prop_map(|p| PathMatch::Glob(glob(p))),
        1 => select(patterns(&PATH_PATTERNS)).prop_map(PathMatch::Regex),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let name = HeaderName::parse("X-Canary").unwrap();
    let regex_name = name.clone();
    let query = (
        prop::option::of(select(&["a", "b", "?"][..])),
        select(&["1", "*", "a=*", ""][..]),
    );
    prop_oneof![
        select(&METHODS[..]).prop_map(|m| Condition::Method(vec![Method::parse(m).unwrap()])),
        select(&["yes", "Y*", "*"][..]).prop_map(move |v| Condition::Header {
            name: name.clone(),
            values: vec![glob(v)]
        }),
        select(patterns(&["yes", "y.*"])).prop_map(move |v| Condition::HeaderRegex {
            name: regex_name.clone(),
            values: vec![v],
        }),
        query.prop_filter_map("an empty value is no glob", |(key, value)| {
            let value = Glob::parse(value).ok()?;
            Some(Condition::Query(vec![QueryMatch {
                key: key.map(glob),
                value,
            }]))
        }),
        select(&RANGES[..]).prop_map(|r| Condition::Source(vec![r.parse().unwrap()])),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        subsequence(&PORTS[..], 1..=3),
        prop::collection::vec(host(), 0..3),
        prop::collection::vec(path(), 0..3),
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(condition(), 1..3)],
    )
        .prop_map(|(ports, hosts, paths, conditions)| Rule {
            ports: ports.into_iter().map(port).collect(),
            hosts,
            paths,
            conditions,
            authenticate: None,
            clients: Default::default(),
            tls_policy: None,
            filters: None,
            rewrites: Vec::new(),
            action: Action::Fixed(FixedResponse::not_found()),
            origin: origin(),
        })
}

fn origin() -> Origin {
    Origin::new("ingress", ObjectName::new("shop", "web"), "")
}

fn balancer() -> impl Strategy<Value = LoadBalancer> {
    let ports = subsequence(&PORTS[..], 0..=3);
    (ports, prop::collection::vec(rule(), 0..12)).prop_map(|(ports, rules)| LoadBalancer {
        rules: rules.into(),
        ..empty(ports.into_iter().map(port).collect())
    })
}

fn empty(ports: Vec<Port>) -> LoadBalancer {
    LoadBalancer {
        id: LoadBalancerId::parse("shop/web"),
        semantics: Semantics::Kubernetes,
        members: Vec::new(),
        options: Options::new(origin()),
        listeners: ports.into_iter().map(|port| (port, listener(port))).collect(),
        rules: Vec::new().into(),
        backends: BTreeMap::new(),
        given: BTreeMap::new(),
        unread: Default::default(),
        key_pairs: Default::default(),
    }
}

fn listener(port: Port) -> Listener {
    let http = port == Port::HTTP;
    Listener {
        port,
        protocol: if http {
            Protocol::Http
        } else {
            Protocol::Https(Tls::default())
        },
        authenticate: None,
        default_action: Action::Fixed(FixedResponse::not_found()),
        origin: origin(),
    }
}

fn request() -> impl Strategy<Value = Request> {
    (
        select(&PORTS[..]),
        prop_oneof![5 => select(&HOSTS[..]), 1 => select(&ODD_HOSTS[..])],
        prop_oneof![5 => select(&PATHS[..]), 1 => select(&ODD_PATHS[..])],
        select(&QUERIES[..]),
        select(&METHODS[..]),
        prop::collection::vec(select(&["yes", "Yes", "no", ""][..]), 0..3),
        select(&SOURCES[..]),
    )
        .prop_map(|(at, host, path, query, method, canary, source)| Request {
            path: path.to_owned(),
            query: query.to_owned(),
            method: method.to_owned(),
            headers: canary
                .into_iter()
                .map(|v| ("x-canary".to_owned(), v.to_owned()))
                .collect(),
            source: source.parse::<IpAddr>().unwrap(),
            ..Request::get(port(at), host, "/")
        })
}

/// The place of the rule, or why there is none, in words that both sides share.
fn told(decision: Decision<'_>) -> String {
    match decision {
        Decision::Rule(index, _) => format!("rule {index}"),
        Decision::Default(_) => "default".to_owned(),
        Decision::NoListener => "no listener".to_owned(),
    }
}

fn told_by_table(found: Found<'_>) -> String {
    match found {
        Found::Rule(index, ..) => format!("rule {index}"),
        Found::Default(_) => "default".to_owned(),
        Found::NoListener => "no listener".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_table_chooses_what_the_reference_chooses(
        balancer in balancer(),
        requests in prop::collection::vec(request(), 16),
    ) {
        let (table, problems) = compile(&balancer, &ServedPorts::default());
        prop_assert!(problems.is_empty(), "{problems:?}");
        for request in &requests {
            let found = told_by_table(table.lookup(&RequestHead::from(request)));
            prop_assert_eq!(found, told(resolve(&balancer, request)), "{:?}", request);
        }
    }
}

/// The generators reach every kind of answer; a property over defaults alone would prove little.
#[test]
fn random_requests_are_answered_by_rules_and_by_defaults() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    let (balancers, requests) = (balancer(), request());
    for _ in 0..2000 {
        let balancer = balancers.new_tree(&mut runner).unwrap().current();
        let request = requests.new_tree(&mut runner).unwrap().current();
        *answers.entry(told(resolve(&balancer, &request))).or_default() += 1;
    }
    let kinds: BTreeSet<&str> = answers.keys().map(String::as_str).collect();
    for want in ["rule 0", "rule 5", "rule 9", "default", "no listener"] {
        assert!(kinds.contains(want), "{want} never answers: {answers:?}");
    }
}
