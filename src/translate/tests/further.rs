//! Members that name ports beside the usual two, and which of these have sockets; where each is served out.

use portcullis_model::ClientCertificates;

use super::*;
use crate::crd::load_balancer::Wire;

fn port(number: i64) -> Port {
    Port::new(number).unwrap()
}

fn settings(controller: &'static str, further: &[(i64, Wire)]) -> Settings {
    Settings {
        further: further
            .iter()
            .map(|(number, wire)| (port(*number), *wire))
            .collect(),
        ..Settings::for_serving(ControllerName::new(controller))
    }
}

/// An Ingress of its name's host, over a Service of its name.
fn member(world: World, name: &str, annotations: &[(&str, &str)]) -> World {
    let spec = json!({ "rules": [rule(&format!("{name}.com"), json!([path("Prefix", "/", name)]))] });
    world
        .service(&format!("shop/{name}"))
        .ingress(&format!("shop/{name}"), alb(annotations), spec)
}

/// The ports of the listeners, and of these the ones at which the host of `a` is answered by its Service.
fn stands(served: &Served) -> (Vec<u16>, Vec<u16>) {
    let ports = served.balancer.listeners.keys().map(|port| port.get());
    let ports: Vec<u16> = ports.collect();
    let here = ports.iter().copied();
    let here = here.filter(|port| served.get_at(*port, "a.com/") == "shop/a");
    (ports.clone(), here.collect())
}

#[test]
fn a_port_with_a_socket_is_a_listener_and_others_stand_with_it() {
    let further = [
        (8081, Wire::Http),
        (8443, Wire::Https),
        (9443, Wire::Https),
        (7443, Wire::Http),
    ];
    for (listens, want, told) in [
        (r#"[{"HTTP":80},{"HTTPS":443}]"#, &[80, 443][..], None),
        (r#"[{"HTTPS":8443}]"#, &[8443], None),
        (r#"[{"HTTP":8081}]"#, &[8081], None),
        (
            r#"[{"HTTP":80},{"HTTPS":443},{"HTTPS":8443}]"#,
            &[80, 443, 8443],
            None,
        ),
        (r#"[{"HTTPS":9443},{"HTTPS":8443}]"#, &[8443, 9443], None),
        // A port without a socket: where no other has one, at the usual socket of its protocol.
        (r#"[{"HTTPS":5443}]"#, &[443], Some("HTTPS at port 5443")),
        (
            r#"[{"HTTPS":5443},{"HTTP":8081}]"#,
            &[443, 8081],
            Some("HTTPS at port 5443"),
        ),
        // Who asks for sockets of their own alone is not served to all for another port's sake.
        (
            r#"[{"HTTPS":5443},{"HTTPS":8443}]"#,
            &[8443],
            Some("HTTPS at port 5443"),
        ),
        (
            r#"[{"HTTPS":443},{"HTTPS":5443}]"#,
            &[443],
            Some("HTTPS at port 5443"),
        ),
        // A socket of the other protocol is none.
        (r#"[{"HTTPS":8081}]"#, &[443], Some("HTTPS at port 8081")),
        (r#"[{"HTTP":8443}]"#, &[80], Some("HTTP at port 8443")),
        (
            r#"[{"HTTPS":7443},{"HTTPS":8443}]"#,
            &[8443],
            Some("HTTPS at port 7443"),
        ),
    ] {
        for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
            let world = member(World::new(), "a", &[("listen-ports", listens)]);
            let served = world.one(&settings(controller, &further));
            let (listeners, here) = stands(&served);
            assert_eq!(here, want, "{controller}: {listens}");
            assert_eq!(listeners, want, "{controller}: {listens}");
            for (number, listener) in &served.balancer.listeners {
                let https = [port(443), port(8443), port(9443)].contains(number);
                assert_eq!(listener.is_https(), https, "{listens}: {number}");
            }
            let unheeded = served.problems.iter();
            let unheeded: Vec<&str> = unheeded
                .filter(|problem| problem.code == Code::AnnotationUnsupported)
                .map(|problem| problem.message.split(" has no effect").next().unwrap())
                .collect();
            assert_eq!(unheeded, Vec::from_iter(told), "{controller}: {listens}");
        }
    }
}

#[test]
fn neighbours_stand_at_their_own_ports_alone() {
    let further = [(8443, Wire::Https)];
    let two = |controller| {
        let world = member(World::new(), "a", &[("listen-ports", r#"[{"HTTPS":8443}]"#)]);
        let world = member(world, "b", &[("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#)]);
        world.one(&settings(controller, &further))
    };
    for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
        let served = two(controller);
        for (number, url, want) in [
            (8443, "a.com/", "shop/a"),
            (443, "a.com/", "404"),
            (80, "a.com/", "404"),
            (8443, "b.com/", "404"),
            (443, "b.com/", "shop/b"),
            (80, "b.com/", "shop/b"),
        ] {
            assert_eq!(
                served.get_at(number, url),
                want,
                "{controller}: {url} at {number}"
            );
        }
    }
}

#[test]
fn redirects_lead_to_the_listener_that_they_name() {
    let further = [(8081, Wire::Http), (8443, Wire::Https)];
    let to = |port: &str| {
        format!(
            r#"{{"type":"redirect","redirectConfig":{{"statusCode":"HTTP_302","protocol":"HTTPS","port":"{port}","path":"/x"}}}}"#
        )
    };
    for (listens, ssl, named, from, want) in [
        (r#"[{"HTTP":80},{"HTTPS":8443}]"#, "8443", "8443", 80, 8443),
        (r#"[{"HTTP":8081},{"HTTPS":443}]"#, "443", "443", 8081, 443),
        (
            r#"[{"HTTP":80},{"HTTPS":443},{"HTTPS":8443}]"#,
            "8443",
            "8443",
            80,
            8443,
        ),
        (
            r#"[{"HTTP":80},{"HTTPS":5443},{"HTTPS":8443}]"#,
            "5443",
            "5443",
            80,
            8443,
        ),
        (r#"[{"HTTP":80},{"HTTPS":5443}]"#, "5443", "5443", 80, 443),
    ] {
        for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
            let annotations = [("listen-ports", listens), ("ssl-redirect", ssl)];
            let world = member(World::new(), "a", &annotations);
            let by_action = [("listen-ports", listens), ("actions.go", &*to(named))];
            let world = world.ingress(
                "shop/b",
                alb(&by_action),
                json!({ "rules": [rule("b.com", json!([
                    { "path": "/", "pathType": "Prefix", "backend": to_action("go") },
                ]))] }),
            );
            let served = world.one(&settings(controller, &further));
            for host in ["a.com", "b.com"] {
                let request = Request::get(port(from), host, "/");
                let Some(Action::Redirect(redirect)) = resolve(&served.balancer, &request).action() else {
                    panic!("{host} is not redirected: {listens}, {:?}", served.problems)
                };
                assert_eq!(
                    redirect.port,
                    Some(port(want)),
                    "{controller}: {host} of {listens}"
                );
            }
        }
    }
}

#[test]
fn certificates_are_asked_for_and_tls_is_spoken_as_said_of_each_port() {
    let further = [(8443, Wire::Https)];
    let listens = r#"[{"HTTP":80},{"HTTPS":443},{"HTTPS":8443}]"#;
    let asked = r#"[{"port":443,"mode":"off"},{"port":8443,"mode":"passthrough"}]"#;
    for with_default in [false, true] {
        let annotations = [("listen-ports", listens), ("mutual-authentication", asked)];
        let world = match with_default {
            false => member(World::new(), "a", &annotations),
            true => World::new().service("shop/a").ingress(
                "shop/a",
                alb(&annotations),
                json!({ "defaultBackend": to("a") }),
            ),
        };
        let served = world.one(&settings(ControllerName::OURS, &further));
        for (number, want) in [
            (80, ClientCertificates::Off),
            (443, ClientCertificates::Off),
            (8443, ClientCertificates::PassThrough),
        ] {
            let request = Request::get(port(number), "a.com", "/");
            assert_eq!(served.ask(&request), "shop/a", "{number}: {:?}", served.problems);
            let rules = served.balancer.rules.iter();
            let mut taking = rules.filter(|rule| rule.takes(&request));
            let clients = taking
                .next()
                .map_or(ClientCertificates::Off, |rule| rule.clients.clone());
            assert_eq!(clients, want, "{number}, default: {with_default}");
        }
    }
    // What cannot be read closes its own port.
    let broken = r#"[{"port":443,"mode":"off"},{"port":8443,"mode":"perhaps"}]"#;
    let annotations = [("listen-ports", listens), ("mutual-authentication", broken)];
    let served = member(World::new(), "a", &annotations).one(&settings(ControllerName::OURS, &further));
    for (number, want) in [(80, "shop/a"), (443, "shop/a"), (8443, "503")] {
        assert_eq!(served.get_at(number, "a.com/"), want, "{number}");
    }
    // Members of a group share the policy of a listener, and each of theirs has its own.
    let group = |listens| [("group.name", "g"), ("listen-ports", listens)];
    let strict = ("ssl-policy", "ELBSecurityPolicy-TLS13-1-3-2021-06");
    let mut b = group(r#"[{"HTTPS":8443}]"#).to_vec();
    b.push(strict);
    let world = member(World::new(), "a", &group(listens));
    let served = member(world, "b", &b).one(&settings(ControllerName::OURS, &further));
    for (number, host, want) in [
        (443, "a.com", None),
        (8443, "a.com", Some(strict.1)),
        (8443, "b.com", Some(strict.1)),
    ] {
        let request = Request::get(port(number), host, "/");
        let rule = served.balancer.rules.iter().find(|rule| rule.takes(&request));
        let policy = rule.unwrap().tls_policy.as_ref();
        assert_eq!(policy.map(|policy| &*policy.name), want, "{host} at {number}");
    }
}

#[test]
fn who_may_connect_is_checked_at_each_port() {
    let further = [(8443, Wire::Https)];
    let annotations = [
        ("listen-ports", r#"[{"HTTPS":443},{"HTTPS":8443}]"#),
        ("inbound-cidrs", "10.0.0.0/8"),
    ];
    let served = member(World::new(), "a", &annotations).one(&settings(ControllerName::OURS, &further));
    for number in [443, 8443] {
        assert_eq!(served.get_at(number, "a.com/"), "403", "{number}");
        let mut request = Request::get(port(number.into()), "a.com", "/");
        request.source = "10.1.1.1".parse().unwrap();
        assert_eq!(served.ask(&request), "shop/a", "{number}");
    }
}

#[test]
fn who_says_nothing_takes_at_each_port_what_its_group_says_there() {
    let further = [(8081, Wire::Http)];
    let in_group = |ports: &'static str, cidrs: Option<&'static str>| {
        let all = [("group.name", "g"), ("listen-ports", ports)].into_iter();
        all.chain(cidrs.map(|cidrs| ("inbound-cidrs", cidrs)))
            .collect::<Vec<_>>()
    };
    let one = in_group(r#"[{"HTTP":80}]"#, Some("10.0.0.0/8"));
    let two = in_group(r#"[{"HTTP":8081}]"#, Some("192.0.2.0/24"));
    let none = in_group(r#"[{"HTTP":80},{"HTTP":8081}]"#, None);
    let world = member(member(member(World::new(), "a", &one), "c", &two), "d", &none);
    let served = world.one(&settings(ControllerName::OURS, &further));
    for (number, source, want) in [
        (80, "10.1.1.1", "shop/d"),
        (80, "192.0.2.1", "403"),
        (8081, "10.1.1.1", "403"),
        (8081, "192.0.2.1", "shop/d"),
    ] {
        let mut request = Request::get(port(number), "d.com", "/");
        request.source = source.parse().unwrap();
        assert_eq!(served.ask(&request), want, "{number} from {source}");
    }
}
