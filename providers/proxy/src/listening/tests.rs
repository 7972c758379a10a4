//! Rules over HTTPS and over HTTP in, the one that answers out.

use std::net::{IpAddr, Ipv4Addr};

use http::HeaderMap;
use portcullis_model::{
    FixedResponse, LoadBalancerId, Method, ObjectName, Options, Origin, PathPrefix, Protocol, Redirect, Tls,
};

use super::*;
use crate::compile::{ServedPorts, compile};

const HTTP: &[Port] = &[Port::HTTP];
const HTTPS: &[Port] = &[Port::HTTPS];
const BOTH: &[Port] = &[Port::HTTP, Port::HTTPS];

fn origin(namespace: &str) -> Origin {
    Origin::new("ingress", ObjectName::new(namespace, "web"), "")
}

/// Ports, host (`*` for all), path, and what of: `r` leads to HTTPS, `m` asks for a method, `n` is of a neighbour.
type Row<'a> = (&'a [Port], &'a str, &'a str, &'a str);

fn rule((ports, host, path, kind): &Row<'_>) -> Rule {
    let found = |text: &str| PathMatch::Prefix(PathPrefix::parse(text).unwrap());
    Rule {
        ports: ports.iter().copied().collect(),
        hosts: match *host {
            "*" => Vec::new(),
            host => vec![HostMatch::parse(host).unwrap()],
        },
        // What ends a host's rules names no path.
        paths: (!path.is_empty()).then(|| found(path)).into_iter().collect(),
        conditions: match kind.contains('m') {
            true => vec![Condition::Method(vec![Method::parse("GET").unwrap()])],
            false => Vec::new(),
        },
        authenticate: None,
        clients: Default::default(),
        tls_policy: None,
        filters: None,
        rewrites: Vec::new(),
        action: match kind.contains('r') {
            true => portcullis_model::Action::Redirect(Redirect::to_https(Port::HTTPS)),
            false => portcullis_model::Action::Fixed(FixedResponse::not_found()),
        },
        origin: origin(if kind.contains('n') { "near" } else { "shop" }),
    }
}

fn table(rows: &[Row<'_>]) -> RouteTable {
    let listener = |(port, protocol)| Listener {
        port,
        protocol,
        authenticate: None,
        default_action: portcullis_model::Action::Fixed(FixedResponse::not_found()),
        origin: origin("shop"),
    };
    let tls = Protocol::Https(Tls {
        policy: None,
        certificates: Vec::new(),
        clients: None,
    });
    let listeners = [(Port::HTTP, Protocol::Http), (Port::HTTPS, tls)].map(listener);
    let balancer = LoadBalancer {
        id: LoadBalancerId::parse("shop/web"),
        semantics: Default::default(),
        members: Vec::new(),
        options: Options::new(origin("shop")),
        listeners: listeners.map(|listener| (listener.port, listener)).into(),
        rules: rows.iter().map(rule).collect::<Vec<_>>().into(),
        backends: Default::default(),
        given: Default::default(),
        unread: Default::default(),
        key_pairs: Default::default(),
    };
    compile(&balancer, &ServedPorts::default()).0
}

fn first(table: &RouteTable, ports: &[Port], host: &str, path: &str) -> Option<(Port, RuleIndex)> {
    let head = RequestHead {
        port: Port::HTTP,
        host,
        path,
        query: "",
        method: "GET",
        headers: &HeaderMap::new(),
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_beside: false,
    };
    table.first_at(ports, &head)
}

#[test]
fn where_tls_ended_in_front_the_first_rule_of_both_listeners_answers() {
    // Rules in their order, path asked for at a.com, the place of the one that answers.
    let rows: &[(&str, &[Row<'_>], &str, Option<RuleIndex>)] = &[
        (
            "a longer path over HTTP",
            &[(HTTP, "a.com", "/admin", ""), (BOTH, "a.com", "/", "")],
            "/admin",
            Some(0),
        ),
        (
            "what it leaves over",
            &[(HTTP, "a.com", "/admin", ""), (BOTH, "a.com", "/", "")],
            "/x",
            Some(1),
        ),
        (
            "beside one that is sent to HTTPS",
            &[
                (HTTP, "a.com", "/admin", ""),
                (HTTP, "a.com", "/", "r"),
                (HTTPS, "a.com", "/", ""),
            ],
            "/admin",
            Some(0),
        ),
        (
            "one that is sent there",
            &[
                (HTTP, "a.com", "/admin", "r"),
                (HTTPS, "a.com", "/admin", ""),
                (HTTP, "a.com", "/", ""),
            ],
            "/admin",
            Some(1),
        ),
        (
            "a longer path over HTTPS",
            &[(HTTPS, "a.com", "/admin", ""), (HTTP, "a.com", "/", "")],
            "/admin",
            Some(0),
        ),
        (
            "a rule for every host",
            &[(HTTP, "a.com", "/", ""), (HTTPS, "*", "/", "")],
            "/admin",
            Some(0),
        ),
        (
            "one with a longer path",
            &[(HTTP, "a.com", "/", ""), (HTTPS, "*", "/admin", "")],
            "/admin",
            Some(0),
        ),
        (
            "what ends the host's rules",
            &[
                (HTTP, "a.com", "/admin", ""),
                (HTTP, "a.com", "", ""),
                (HTTPS, "*", "/", ""),
            ],
            "/x",
            Some(1),
        ),
        (
            "a wildcard over HTTPS",
            &[(HTTP, "a.com", "/admin", ""), (HTTPS, "*.com", "/admin", "")],
            "/admin",
            Some(0),
        ),
        (
            "a wildcard over HTTP",
            &[(HTTPS, "a.com", "/", ""), (HTTP, "*.com", "/admin", "")],
            "/admin",
            Some(0),
        ),
        (
            "the same over both, HTTP first",
            &[(HTTP, "a.com", "/", ""), (HTTPS, "a.com", "/", "")],
            "/x",
            Some(1),
        ),
        (
            "and one of HTTP between them and before",
            &[
                (HTTP, "a.com", "/x", ""),
                (HTTP, "a.com", "/", ""),
                (HTTP, "*", "/", ""),
                (HTTPS, "a.com", "/", ""),
            ],
            "/x",
            Some(0),
        ),
        (
            "and between them alone",
            &[
                (HTTP, "a.com", "/", ""),
                (HTTP, "*", "/", ""),
                (HTTPS, "a.com", "/", ""),
            ],
            "/x",
            Some(2),
        ),
        (
            "more conditions over HTTP",
            &[(HTTP, "a.com", "/", "m"), (HTTPS, "a.com", "/", "")],
            "/x",
            Some(0),
        ),
        (
            "the same conditions",
            &[(HTTP, "a.com", "/", "m"), (HTTPS, "a.com", "/", "m")],
            "/x",
            Some(1),
        ),
        (
            "the same of a neighbour, over HTTPS",
            &[(HTTP, "a.com", "/", ""), (HTTPS, "a.com", "/", "n")],
            "/x",
            Some(0),
        ),
        (
            "behind one that is sent there",
            &[
                (HTTP, "a.com", "/admin", "r"),
                (HTTP, "a.com", "/admin", ""),
                (HTTPS, "a.com", "/", "n"),
            ],
            "/admin",
            Some(1),
        ),
        (
            "and where nothing is over HTTPS",
            &[
                (HTTPS, "b.com", "/", "n"),
                (HTTP, "a.com", "/", "r"),
                (HTTP, "a.com", "/", ""),
            ],
            "/x",
            Some(2),
        ),
        (
            "nothing that answers",
            &[(HTTPS, "b.com", "/", ""), (HTTP, "a.com", "/", "r")],
            "/x",
            None,
        ),
    ];
    for (what, rules, path, want) in rows {
        let table = table(rules);
        let found = first(&table, &[Port::HTTPS, Port::HTTP], "a.com", path);
        assert_eq!(found.map(|(_, rule)| rule), *want, "{what}");
        if let Some((port, rule)) = found {
            assert!(table.route(rule).unwrap().ports.contains(&port), "{what}: {port}");
        }
        // Where nobody ended TLS in front, each listener has its own.
        for port in [Port::HTTP, Port::HTTPS] {
            let own = rules.iter().position(|(ports, host, own, _)| {
                ports.contains(&port) && matches!(*host, "*" | "*.com" | "a.com") && path.starts_with(own)
            });
            let found = first(&table, &[port], "a.com", path);
            let own = own.map(|own| (port, RuleIndex::try_from(own).unwrap()));
            assert_eq!(found, own, "{what}: {port}");
        }
    }
}
