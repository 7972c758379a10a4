//! Random choices in; load balancers whose rules collide, and requests that hit them, out.
//!
//! Alphabets are small on purpose: hosts, paths and values meet, overlap and miss by one letter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use portcullis_model::redirect::RedirectScheme;
use portcullis_model::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

/// Listened on: one port over TLS. Requests also ask at a port where nobody listens.
const PORTS: [i64; 3] = [80, 443, 8080];
const SILENT: i64 = 81;

/// Names that no rule, one rule or several rules ask for; the first are asked for most.
const HOSTS: [&str; 12] = [
    "a.io", "b.io", "a.b.io", "x.io", "b.b.io", "x.a.b.io", "b.io.io", "io", "aa.io", "a-b.io", "a.b1", "",
];

/// What is spoken over sockets that a test opens on loopback, and what only tables see.
const SOURCES: [&str; 6] = [
    "127.0.0.1",
    "127.0.0.2",
    "10.0.0.1",
    "10.0.1.1",
    "2001:db8::1",
    "::1",
];

pub(crate) fn port(number: i64) -> Port {
    Port::new(number).expect("from 1 to 65535")
}

/// A load balancer and what is asked of it.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) balancer: LoadBalancer,
    pub(crate) requests: Vec<Request>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.balancer.semantics)?;
        for (index, rule) in self.balancer.rules.iter().enumerate() {
            writeln!(f, "  {index}: {rule}")?;
        }
        for (port, listener) in &self.balancer.listeners {
            writeln!(f, "  {port} else {}", listener.default_action)?;
        }
        for request in &self.requests {
            let Request {
                port,
                host,
                path,
                query,
                method,
                headers,
                source,
            } = request;
            writeln!(
                f,
                "  {method} {host}:{port} {path}?{query} {headers:?} from {source}"
            )?;
        }
        Ok(())
    }
}

/// Up to eight rules, up to 32 requests.
pub(crate) fn case() -> BoxedStrategy<Case> {
    let rules = vec((rule(), any::<bool>()), 0..8);
    let semantics = prop_oneof![
        3 => Just(Semantics::Kubernetes),
        1 => Just(Semantics::AwsLoadBalancerController),
    ];
    let balancer = (rules, default_action(), semantics).prop_map(|(rules, default, semantics)| {
        let (rules, second_tenant): (Vec<Rule>, Vec<bool>) = rules.into_iter().unzip();
        LoadBalancer {
            semantics,
            ..assemble(rules, &second_tenant, &default)
        }
    });
    let case = (balancer, vec(request(), 1..=32));
    case.prop_map(|(balancer, requests)| Case { balancer, requests })
        .boxed()
}

/// One that answers 404 to everything.
pub(crate) fn without_rules() -> LoadBalancer {
    assemble(Vec::new(), &[], &Action::Fixed(FixedResponse::not_found()))
}

/// One rule for this prefix, which forwards; 404 to everything else.
pub(crate) fn with_prefix(path: &str) -> LoadBalancer {
    let member = ObjectName::new("one", "web");
    let rule = Rule {
        ports: PORTS.map(port).into(),
        hosts: Vec::new(),
        paths: vec![PathMatch::Prefix(PathPrefix::parse(path).expect("a prefix"))],
        conditions: Vec::new(),
        authenticate: None,
        clients: Default::default(),
        tls_policy: None,
        filters: None,
        rewrites: Vec::new(),
        action: Action::Forward(Forward::to(BackendId::new(&member, "one", "80"))),
        origin: origin(&member, ""),
    };
    assemble(vec![rule], &[false], &Action::Fixed(FixedResponse::not_found()))
}

fn assemble(mut rules: Vec<Rule>, second_tenant: &[bool], default: &Action) -> LoadBalancer {
    let members = [ObjectName::new("one", "web"), ObjectName::new("two", "web")];
    for (index, rule) in rules.iter_mut().enumerate() {
        let member = &members[usize::from(second_tenant[index])];
        rule.origin = origin(member, &format!("spec.rules[{index}]"));
        rule.action = told_apart(rule.action.clone(), index);
    }
    let mut backends = BTreeMap::new();
    for action in rules.iter().map(|r| &r.action).chain([default]) {
        if let Action::Forward(forward) = action {
            for weighted in &forward.backends {
                let made = backend(&weighted.backend, &members[0]);
                backends.insert(weighted.backend.clone(), made.into());
            }
        }
    }
    let listeners = PORTS.map(|number| {
        let protocol = if number == 443 {
            Protocol::Https(tls(&members[0]))
        } else {
            Protocol::Http
        };
        let listener = Listener {
            port: port(number),
            protocol,
            authenticate: None,
            default_action: default.clone(),
            origin: origin(&members[0], "spec.defaultBackend"),
        };
        (port(number), listener)
    });
    LoadBalancer {
        id: LoadBalancerId::parse("shared"),
        semantics: Semantics::Kubernetes,
        members: members.to_vec(),
        options: Options::new(origin(&members[0], "")),
        listeners: listeners.into_iter().collect(),
        rules: rules.into(),
        backends,
        given: BTreeMap::new(),
        unread: BTreeMap::new(),
        key_pairs: BTreeMap::new(),
    }
}

fn origin(member: &ObjectName, field: &str) -> Origin {
    Origin::new("ingress", member.clone(), field)
}

fn tls(member: &ObjectName) -> Tls {
    let arn = "arn:aws:acm:eu-west-1:111122223333:certificate/0";
    Tls {
        policy: None,
        certificates: vec![Certificate {
            source: CertificateSource::Given(arn.to_owned()),
            hosts: BTreeSet::new(),
            origin: origin(member, "metadata.annotations"),
        }],
        clients: None,
    }
}

/// Half of the rules answer as no other does, so that a wrong choice shows; the others share actions, so that
/// whoever merges rules has something to merge.
fn told_apart(action: Action, index: usize) -> Action {
    if index.is_multiple_of(2) {
        return action;
    }
    match action {
        Action::Forward(mut forward) => {
            for (part, weighted) in forward.backends.iter_mut().enumerate() {
                let service = format!("own{index}x{part}");
                weighted.backend = BackendId::new(&ObjectName::new("one", "web"), &service, "80");
            }
            Action::Forward(forward)
        }
        Action::Redirect(redirect) => Action::Redirect(Redirect {
            query: Template::parse(&format!("rule={index}")).ok(),
            ..redirect
        }),
        Action::Fixed(fixed) => FixedResponse::new(fixed.status(), None, Some(format!("rule {index}")))
            .map_or(Action::Fixed(fixed), Action::Fixed),
    }
}

fn backend(id: &BackendId, owner: &ObjectName) -> Backend {
    let target = Target {
        address: TargetAddress::Ip(IpAddr::from([127, 0, 0, 1])),
        port: port(9),
        zone: None,
        instance: None,
        state: TargetState::Ready,
    };
    let protocol = BackendProtocol::default();
    Backend {
        id: id.clone(),
        owner: owner.clone(),
        service: ServiceRef {
            name: ObjectName::new("one", id.as_str().rsplit(['-', ':']).nth(1).unwrap_or_default()),
            uid: "".into(),
            port: "80".into(),
            number: None,
        },
        target_kind: TargetKind::Pod,
        port: Some(port(9)),
        health: HealthCheck::for_protocol(&protocol),
        protocol,
        control_port: None,
        registrants: Default::default(),
        drain_seconds: None,
        timeout_seconds: None,
        waits: Waits::default(),
        proxy_protocol: false,
        is_checked: false,
        affinity: None,
        ipv6: false,
        attributes: BTreeMap::new(),
        tags: BTreeMap::new(),
        keeps_tags: false,
        targets: Arc::from([target]),
        origin: origin(owner, "spec.rules"),
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let ports = prop_oneof![
        4 => Just(PORTS.to_vec()),
        1 => subsequence(PORTS.to_vec(), 1..=2),
    ];
    let hosts = prop_oneof![
        2 => Just(Vec::new()),
        5 => vec(host_match(), 1),
        1 => vec(host_match(), 2..=4),
    ];
    let paths = prop_oneof![
        2 => Just(Vec::new()),
        5 => vec(path_match(), 1),
        1 => vec(path_match(), 2..=4),
    ];
    let conditions = prop_oneof![
        5 => Just(Vec::new()),
        2 => vec(condition(), 1),
        1 => vec(condition(), 2..=3),
    ];
    (ports, hosts, paths, conditions, action()).prop_map(|(ports, hosts, paths, conditions, action)| Rule {
        ports: ports.into_iter().map(port).collect(),
        hosts,
        paths,
        conditions,
        authenticate: None,
        clients: Default::default(),
        tls_policy: None,
        filters: None,
        rewrites: Vec::new(),
        action,
        origin: origin(&ObjectName::new("one", "web"), ""),
    })
}

fn host_match() -> impl Strategy<Value = HostMatch> {
    const WRITTEN: [&str; 11] = [
        "a.io", "b.io", "a.b.io", "b.b.io", "a-b.io", "io", "a.b1", "*.io", "*.b.io", "*.a.b.io", "*.b1",
    ];
    prop_oneof![
        8 => select(&WRITTEN).prop_map(|t| HostMatch::parse(t).expect("a host")),
        1 => select(&["*.io", "a*.io", "?.io", "*", "*b*.io", "A.*"])
            .prop_map(|t| HostMatch::Glob(Glob::parse(t).expect("a glob"))),
        1 => select(&[r"[ab]\.io", r"a\..*", r"(?:a|b)\.b\.io", r"[^.]+\.io", "a|b", r"^b\.io$"])
            .prop_map(|t| HostMatch::Regex(Pattern::parse(t).expect("an expression"))),
    ]
}

/// Elements of paths; some hold what a provider may not take for itself.
const ELEMENTS: [&str; 12] = [
    "a", "b", "ab", "aa", "A", "*", "a*", "%61", "a=b", "~a", "a.b", "$1",
];

/// A normal path: no empty elements, no dots alone.
pub(crate) fn path() -> impl Strategy<Value = String> {
    let element = prop_oneof![4 => select(&ELEMENTS[..3]), 1 => select(&ELEMENTS)];
    (vec(element, 0..4), any::<bool>()).prop_map(|(elements, slash)| {
        let mut path: String = elements.iter().flat_map(|e| ["/", *e]).collect();
        if slash || path.is_empty() {
            path.push('/');
        }
        path
    })
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        3 => path().prop_map(|p| PathMatch::Exact(ExactPath::parse(&p).expect("a normal path"))),
        4 => path().prop_map(|p| PathMatch::Prefix(PathPrefix::parse(&p).expect("a normal path"))),
        1 => select(&["/a*", "/*", "/a/*", "*", "/?", "/*/b", "*b", "/a?", "/%61*"])
            .prop_map(|t| PathMatch::Glob(Glob::parse(t).expect("a glob"))),
        1 => select(&["/a+", "/[ab]", "/a/.*", "/(?:a|b)/b", "/a|/b", "^/a$", r"/\*"])
            .prop_map(|t| PathMatch::Regex(Pattern::parse(t).expect("an expression"))),
    ]
}

const VALUES: [&str; 8] = ["a", "b", "A", "ab", "a*b", "a?", "*", ""];

fn glob() -> impl Strategy<Value = Glob> {
    select(&["a", "A", "a*", "*b", "?", "*", "a?", r"a\*b", r"a\"])
        .prop_map(|t| Glob::parse(t).expect("a glob"))
}

fn condition() -> impl Strategy<Value = Condition> {
    let name = || select(&["x-a", "X-B"]).prop_map(|n| HeaderName::parse(n).expect("a name"));
    let expression =
        select(&["a+", "[ab]*", "a|b", "A"]).prop_map(|t| Pattern::parse(t).expect("an expression"));
    const RANGES: [&str; 8] = [
        "127.0.0.0/8",
        "127.0.0.2/32",
        "10.0.0.0/24",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "2001:db8::/32",
        "::/0",
        "10.0.0.1/24",
    ];
    let pair = (proptest::option::of(glob()), glob()).prop_map(|(key, value)| QueryMatch { key, value });
    prop_oneof![
        vec(
            select(&["GET", "POST", "get", "X-a"]).prop_map(|m| Method::parse(m).expect("a token")),
            1..4
        )
        .prop_map(Condition::Method),
        (name(), vec(glob(), 1..4)).prop_map(|(name, values)| Condition::Header { name, values }),
        (name(), vec(expression, 1..3)).prop_map(|(name, values)| Condition::HeaderRegex { name, values }),
        vec(pair, 1..4).prop_map(Condition::Query),
        vec(select(&RANGES).prop_map(|r| r.parse().expect("a range")), 1..4).prop_map(Condition::Source),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![4 => forward(), 1 => redirect().prop_map(Action::Redirect), 1 => fixed()]
}

fn default_action() -> impl Strategy<Value = Action> {
    prop_oneof![3 => Just(Action::Fixed(FixedResponse::not_found())), 1 => forward(), 1 => fixed()]
}

fn forward() -> impl Strategy<Value = Action> {
    let weights = select(&[0, 1, 7, 999]).prop_map(|w| Weight::new(w).expect("from 0 to 999"));
    (
        subsequence(vec!["one", "two", "three"], 1..=2),
        vec(weights, 2),
        any::<bool>(),
    )
        .prop_map(|(names, weights, sticky)| {
            let alone = names.len() == 1;
            let backends = names.iter().zip(weights).map(|(name, weight)| WeightedBackend {
                backend: BackendId::new(&ObjectName::new("one", "web"), name, "80"),
                weight: if alone { Weight::ONE } else { weight },
            });
            Action::Forward(Forward {
                backends: backends.collect(),
                stickiness: (sticky && !alone).then_some(Stickiness { seconds: 60 }),
            })
        })
}

fn redirect() -> impl Strategy<Value = Redirect> {
    let template = |texts: &'static [&'static str]| {
        proptest::option::of(select(texts).prop_map(|t| Template::parse(t).expect("a template")))
    };
    let status = prop_oneof![
        5 => select(&[RedirectStatus::MovedPermanently, RedirectStatus::Found]),
        1 => Just(RedirectStatus::PermanentRedirect),
    ];
    let scheme = proptest::option::of(select(&[RedirectScheme::Https, RedirectScheme::Http]));
    (
        status,
        scheme,
        template(&["x.#{host}", "b.io"]),
        proptest::option::of(select(&[80, 443, 8443]).prop_map(port)),
        template(&["/x/#{path}", "/#{host}/#{port}", "/"]),
        template(&["", "p=#{protocol}", "#{query}&x=1"]),
    )
        .prop_map(|(status, scheme, host, port, path, query)| Redirect {
            status,
            scheme,
            host,
            port,
            path,
            query,
        })
}

fn fixed() -> impl Strategy<Value = Action> {
    (
        select(&[200, 204, 302, 404, 503]),
        proptest::option::of(Just("gone".to_owned())),
    )
        .prop_map(|(status, body)| {
            let kind = body.is_some().then(|| "text/plain".to_owned());
            Action::Fixed(FixedResponse::new(status, kind, body).expect("from 200 to 599"))
        })
}

/// A request; `methods` and headers repeat what conditions ask for.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    let port_asked = prop_oneof![20 => select(&PORTS), 1 => Just(SILENT)].prop_map(port);
    let parameter = (
        select(&["a", "A", "ab", "x"]),
        proptest::option::of(select(&VALUES)),
    );
    let query = vec(parameter, 0..3).prop_map(|pairs| {
        let pairs = pairs
            .iter()
            .map(|(k, v)| v.map_or_else(|| (*k).to_owned(), |v| format!("{k}={v}")));
        pairs.collect::<Vec<_>>().join("&")
    });
    let header = (select(&["x-a", "x-b", "x-c"]), select(&VALUES))
        .prop_map(|(name, value)| (name.to_owned(), value.to_owned()));
    (
        port_asked,
        prop_oneof![2 => select(&HOSTS[..3]), 1 => select(&HOSTS)],
        path(),
        query,
        select(&["GET", "POST", "get", "X-a", "PUT"]),
        vec(header, 0..3),
        select(&SOURCES),
    )
        .prop_map(|(port, host, path, query, method, headers, source)| Request {
            port,
            host: host.to_owned(),
            path,
            query,
            method: method.to_owned(),
            headers,
            source: source.parse().expect("an address"),
        })
}
