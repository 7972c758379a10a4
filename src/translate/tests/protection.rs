//! Client certificates and firewalls that Ingresses ask for in, who is served and behind what out.

use portcullis_model::{Action, ClientCertificates, FirewallChoice, ObjectName, Protocol, TrustStore};

use super::*;

const CLIENTS: &str = "mutual-authentication";
const BOTH: (&str, &str) = ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443},{"HTTPS":8443}]"#);

fn member(world: World, name: &str, more: &[(&str, &str)]) -> World {
    let annotations = [&[("group.name", "g")], more].concat();
    world.service(&format!("shop/{name}")).ingress(
        &format!("shop/{name}"),
        alb(&annotations),
        json!({ "rules": [rule(&format!("{name}.com"), json!([path("Prefix", "/", name)]))] }),
    )
}

/// Members `a` and `b` of a group, in that order, that listen on 80, 443 and 8443.
fn two(a: &[(&str, &str)], b: &[(&str, &str)], settings: &Settings) -> Served {
    let a = [&[BOTH, ("group.order", "1")], a].concat();
    let b = [&[BOTH, ("group.order", "2")], b].concat();
    member(member(World::new(), "a", &a), "b", &b).one(settings)
}

fn clients(served: &Served, port: u16) -> Option<&ClientCertificates> {
    match &served.balancer.listeners[&Port::new(port.into()).unwrap()].protocol {
        Protocol::Http => None,
        Protocol::Https(tls) => tls.clients.as_ref().map(|clients| &clients.certificates),
    }
}

fn verify(trust_store: &str) -> ClientCertificates {
    ClientCertificates::Verify {
        trust_store: match trust_store.strip_prefix("secret/") {
            Some(name) => TrustStore::Stored(ObjectName::new("shop", name)),
            None => TrustStore::Given(trust_store.to_owned()),
        },
        ignore_expiry: false,
        advertise_authorities: false,
    }
}

#[test]
fn clients_are_asked_for_certificates_by_port() {
    for (text, at_443, at_8443) in [
        (
            r#"[{"port":443,"mode":"off"}]"#,
            Some(ClientCertificates::Off),
            None,
        ),
        (
            r#"[{"Port":443,"Mode":"passthrough"},{"port":8443,"mode":"off"}]"#,
            Some(ClientCertificates::PassThrough),
            Some(ClientCertificates::Off),
        ),
        (
            r#"[{"port":443,"mode":"verify","trustStore":"t"},{"port":8443,"mode":"verify","trustStore":"arn:u"}]"#,
            Some(verify("t")),
            Some(verify("arn:u")),
        ),
        (
            r#"[{"port":443,"mode":"verify","trustStore":"secret/clients"},{"port":8443,"mode":"off"}]"#,
            Some(verify("secret/clients")),
            Some(ClientCertificates::Off),
        ),
        (
            r#"[{"port":443,"mode":"verify","TrustStore":"t","ignoreClientCertificateExpiry":true,
                "advertiseTrustStoreCaNames":"on","other":1}]"#,
            Some(ClientCertificates::Verify {
                trust_store: TrustStore::Given("t".into()),
                ignore_expiry: true,
                advertise_authorities: true,
            }),
            None,
        ),
    ] {
        let served = two(&[(CLIENTS, text)], &[], &ours());
        assert_eq!(served.problems, [], "{text}");
        assert_eq!(clients(&served, 443), at_443.as_ref(), "{text}");
        assert_eq!(clients(&served, 8443), at_8443.as_ref(), "{text}");
        for (port, url) in [(80, "a.com/"), (443, "a.com/"), (443, "b.com/"), (8443, "a.com/")] {
            assert_eq!(served.get_at(port, url), format!("shop/{}", &url[..1]), "{text}");
        }
    }
}

#[test]
fn what_cannot_be_read_of_client_certificates_opens_nothing() {
    // The answers of `a` at 443 and 8443.
    for (text, want) in [
        (r#"[{"port":443,"mode":"verify"}]"#, ["503", "shop/a"]),
        (
            r#"[{"port":443,"mode":"verify","trustStore":""}]"#,
            ["503", "shop/a"],
        ),
        (
            r#"[{"port":443,"mode":"Verify","trustStore":"t"}]"#,
            ["503", "shop/a"],
        ),
        (r#"[{"port":443}]"#, ["503", "shop/a"]),
        (
            r#"[{"port":443,"mode":"off","trustStore":"t"}]"#,
            ["503", "shop/a"],
        ),
        (
            r#"[{"port":443,"mode":"passthrough","ignoreClientCertificateExpiry":true}]"#,
            ["503", "shop/a"],
        ),
        (
            r#"[{"port":443,"mode":"off","advertiseTrustStoreCaNames":"on"}]"#,
            ["503", "shop/a"],
        ),
        (
            r#"[{"port":443,"mode":"verify","trustStore":"t","advertiseTrustStoreCaNames":"yes"}]"#,
            ["503", "shop/a"],
        ),
        (
            r#"[{"port":443,"mode":"verify","trustStore":"t","ignoreClientCertificateExpiry":"true"}]"#,
            ["503", "shop/a"],
        ),
        (
            r#"[{"port":443,"mode":"off"},{"port":443,"mode":"passthrough"}]"#,
            ["503", "shop/a"],
        ),
        (
            r#"[{"port":443,"mode":"off"},{"port":"8443","mode":"passthrough"}]"#,
            ["shop/a", "503"],
        ),
        (r#"[{"port":0,"mode":"off"}]"#, ["503", "503"]),
        (r#"[{"port":65536,"mode":"off"}]"#, ["503", "503"]),
        (r#"[{"mode":"off"}]"#, ["503", "503"]),
        (r#"{"port":443,"mode":"off"}"#, ["503", "503"]),
        ("[]", ["503", "503"]),
        ("verify", ["503", "503"]),
        ("", ["503", "503"]),
        // A port that is not there may have been meant for one that is.
        (
            r#"[{"port":444,"mode":"verify","trustStore":"t"}]"#,
            ["503", "503"],
        ),
        (
            r#"[{"port":443,"mode":"off"},{"port":80,"mode":"verify","trustStore":"t"}]"#,
            ["shop/a", "503"],
        ),
    ] {
        let served = two(&[(CLIENTS, text)], &[], &ours());
        let got = [443, 8443].map(|port| served.get_at(port, "a.com/"));
        assert_eq!(got, want, "{text}");
        served.told(
            Code::AnnotationInvalid,
            "ingress shop/a metadata.annotations[alb.ingress.kubernetes.io/mutual-authentication]",
        );
        // Neither plain HTTP nor a neighbour is concerned.
        for (port, url) in [(80, "a.com/"), (443, "b.com/"), (8443, "b.com/")] {
            assert_eq!(served.get_at(port, url), format!("shop/{}", &url[..1]), "{text}");
        }
    }
}

#[test]
fn the_incumbent_passes_over_ports_that_are_not_there() {
    let text = r#"[{"port":444,"mode":"verify","trustStore":"t"}]"#;
    let served = two(&[(CLIENTS, text)], &[], &theirs());
    assert_eq!(served.get_at(443, "a.com/"), "shop/a");
    assert_eq!(served.codes(), [Code::AnnotationInvalid]);
}

#[test]
fn a_member_that_asks_for_more_than_it_gets_is_not_served() {
    let off = r#"[{"port":443,"mode":"off"}]"#;
    let pass = r#"[{"port":443,"mode":"passthrough"}]"#;
    let one = r#"[{"port":443,"mode":"verify","trustStore":"one"}]"#;
    let other = r#"[{"port":443,"mode":"verify","trustStore":"other"}]"#;
    // Of a, b: what is asked of clients, and what b answers.
    for (a, b, asked, want) in [
        (off, one, ClientCertificates::Off, "503"),
        (off, pass, ClientCertificates::Off, "503"),
        (pass, one, ClientCertificates::PassThrough, "503"),
        (one, other, verify("one"), "503"),
        (one, one, verify("one"), "shop/b"),
        (one, pass, verify("one"), "shop/b"),
        (one, off, verify("one"), "shop/b"),
    ] {
        let served = two(&[(CLIENTS, a)], &[(CLIENTS, b)], &ours());
        assert_eq!(clients(&served, 443), Some(&asked), "{a} {b}");
        assert_eq!(served.get_at(443, "a.com/"), "shop/a", "{a} {b}");
        assert_eq!(served.get_at(443, "b.com/"), want, "{a} {b}");
        let codes = if a == b {
            vec![]
        } else {
            vec![Code::SettingConflict]
        };
        assert_eq!(served.codes(), codes, "{a} {b}");
    }
    let served = two(&[], &[(CLIENTS, one)], &ours());
    assert_eq!(
        clients(&served, 443),
        Some(&verify("one")),
        "who says nothing takes what another asks for"
    );
    assert_eq!(served.get_at(443, "a.com/"), "shop/a");
}

fn firewall(served: &Served) -> Option<(&FirewallChoice, Vec<String>)> {
    let firewall = served.balancer.options.firewall.as_ref()?;
    let whose = firewall.relied_on_by.iter().map(ToString::to_string).collect();
    Some((&firewall.choice, whose))
}

#[test]
fn a_firewall_is_given_or_named_or_none() {
    let named = |name: &str| FirewallChoice::Named(name.to_owned());
    let given = |arn: &str| FirewallChoice::Given(arn.to_owned());
    for (annotations, want) in [
        (vec![], None),
        (
            vec![("wafv2-acl-arn", "arn:1")],
            Some((given("arn:1"), vec!["shop/a"])),
        ),
        (
            vec![("wafv2-acl-name", "edge")],
            Some((named("edge"), vec!["shop/a"])),
        ),
        (
            vec![("wafv2-acl-arn", "arn:1"), ("wafv2-acl-name", "edge")],
            Some((named("edge"), vec!["shop/a"])),
        ),
        (
            vec![("wafv2-acl-arn", "none")],
            Some((FirewallChoice::Off, vec![])),
        ),
        (
            vec![("wafv2-acl-arn", "arn:1"), ("wafv2-acl-name", "none")],
            Some((FirewallChoice::Off, vec![])),
        ),
    ] {
        let served = two(&annotations, &[], &ours());
        let want =
            want.map(|(choice, whose)| (choice, whose.into_iter().map(str::to_owned).collect::<Vec<_>>()));
        assert_eq!(
            firewall(&served),
            want.as_ref().map(|(c, w)| (c, w.clone())),
            "{annotations:?}"
        );
        assert_eq!(served.problems, [], "{annotations:?}");
        assert_eq!(served.get("a.com/"), "shop/a", "{annotations:?}");
    }
    for name in ["wafv2-acl-arn", "wafv2-acl-name"] {
        let served = two(&[(name, "")], &[], &ours());
        assert_eq!(firewall(&served), None, "{name}");
        assert_eq!(
            (served.get("a.com/").as_str(), served.get("b.com/").as_str()),
            ("503", "shop/b"),
            "{name}"
        );
        served.told(
            Code::AnnotationInvalid,
            &format!("ingress shop/a metadata.annotations[alb.ingress.kubernetes.io/{name}]"),
        );
    }
}

#[test]
fn a_member_that_asks_for_another_firewall_is_not_served() {
    for (a, b, want, whose) in [
        ("arn:1", "arn:2", "503", vec!["shop/a"]),
        ("arn:1", "arn:1", "shop/b", vec!["shop/a", "shop/b"]),
        ("none", "arn:1", "503", vec![]),
        // It is served behind more than it asks for.
        ("arn:1", "none", "shop/b", vec!["shop/a"]),
    ] {
        let served = two(&[("wafv2-acl-arn", a)], &[("wafv2-acl-arn", b)], &ours());
        assert_eq!(served.get("a.com/"), "shop/a", "{a} {b}");
        assert_eq!(served.get("b.com/"), want, "{a} {b}");
        assert_eq!(firewall(&served).unwrap().1, whose, "{a} {b}");
        let codes = if a == b {
            vec![]
        } else {
            vec![Code::SettingConflict]
        };
        assert_eq!(served.codes(), codes, "{a} {b}");
    }
}

#[test]
fn protection_against_attacks_is_a_boolean() {
    for (text, want) in [("true", Some(true)), ("0", Some(false)), ("yes", None)] {
        let served = two(&[("shield-advanced-protection", text)], &[], &ours());
        assert_eq!(served.balancer.options.attack_protection, want, "{text}");
        assert_eq!(served.problems.is_empty(), want.is_some(), "{text}");
        assert_eq!(served.get("a.com/"), "shop/a", "{text}");
    }
}

#[test]
fn who_serves_all_as_one_serves_nobody_past_what_it_lacks() {
    for (name, value, code) in [
        ("wafv2-acl-arn", "arn:1", Some(Code::AnnotationUnsupported)),
        ("wafv2-acl-name", "edge", Some(Code::AnnotationUnsupported)),
        ("wafv2-acl-name", "", Some(Code::AnnotationInvalid)),
        ("wafv2-acl-arn", "none", None),
        (CLIENTS, r#"[{"port":443,"mode":"passthrough"}]"#, None),
        (
            CLIENTS,
            r#"[{"port":443,"mode":"verify","trustStore":"t"}]"#,
            Some(Code::AnnotationUnsupported),
        ),
        (
            CLIENTS,
            r#"[{"port":443,"mode":"verify","trustStore":"secret/x"},{"port":8443,"mode":"verify","trustStore":"secret/y"}]"#,
            Some(Code::AnnotationInvalid),
        ),
        (
            CLIENTS,
            r#"[{"port":443,"mode":"verify","trustStore":"secret/"}]"#,
            Some(Code::AnnotationInvalid),
        ),
        (
            CLIENTS,
            r#"[{"port":443,"mode":"verify","trustStore":"secret/a/b"}]"#,
            Some(Code::AnnotationInvalid),
        ),
        (CLIENTS, "[", Some(Code::AnnotationInvalid)),
        (CLIENTS, r#"[{"port":443,"mode":"off"}]"#, None),
    ] {
        let a = [BOTH, (name, value)];
        let served = member(member(World::new(), "a", &a), "b", &[BOTH])
            .one(&Settings::for_serving(ControllerName::default()));
        // That 8443 has no listener of its own is told of both members.
        let told: Vec<Code> = served
            .problems
            .iter()
            .filter(|problem| !problem.at.to_string().contains("listen-ports"))
            .map(|problem| problem.code)
            .filter(|code| *code != Code::CertificateNotFound)
            .collect();
        assert_eq!(told, Vec::from_iter(code), "{name}: {value}");
        let want = if code.is_some() { "503" } else { "shop/a" };
        assert_eq!(served.get_at(443, "a.com/"), want, "{name}: {value}");
        assert_eq!(served.get_at(443, "b.com/"), "shop/b", "{name}: {value}");
    }
}

/// What the rules of `a` and `b` for HTTPS ask of clients by themselves.
fn asked(served: &Served, host: &str) -> Vec<ClientCertificates> {
    let rules = served.balancer.rules.iter();
    let rules = rules.filter(|rule| rule.ports.contains(&Port::HTTPS));
    let of_host = rules.filter(|rule| rule.hosts.iter().any(|named| named.to_string() == host));
    of_host.map(|rule| rule.clients.clone()).collect()
}

#[test]
fn who_serves_all_as_one_asks_for_each_member_by_itself() {
    for (text, want) in [
        (
            r#"[{"port":443,"mode":"passthrough"}]"#,
            ClientCertificates::PassThrough,
        ),
        (
            r#"[{"port":443,"mode":"verify","trustStore":"secret/x"}]"#,
            verify("secret/x"),
        ),
        // Its ports have become one: the most that is asked at any of them counts.
        (
            r#"[{"port":443,"mode":"off"},{"port":8443,"mode":"verify","trustStore":"secret/x"}]"#,
            verify("secret/x"),
        ),
        (r#"[{"port":443,"mode":"off"}]"#, ClientCertificates::Off),
    ] {
        let a = [BOTH, (CLIENTS, text)];
        let served = member(member(World::new(), "a", &a), "b", &[BOTH])
            .one(&Settings::for_serving(ControllerName::default()));
        assert_eq!(asked(&served, "a.com"), [want], "{text}");
        assert_eq!(asked(&served, "b.com"), [ClientCertificates::Off], "{text}");
        assert_eq!(clients(&served, 443), None, "{text}");
        assert_eq!(served.get_at(443, "a.com/"), "shop/a", "{text}");
    }
}

#[test]
fn a_default_backend_that_asks_for_certificates_answers_by_a_rule() {
    let annotations = [BOTH, (CLIENTS, r#"[{"port":443,"mode":"passthrough"}]"#)];
    let served = World::new()
        .service("shop/a")
        .ingress(
            "shop/a",
            alb(&annotations),
            json!({ "defaultBackend": { "service": { "name": "a", "port": { "number": 80 } } } }),
        )
        .one(&Settings::for_serving(ControllerName::default()));
    for (port, want) in [(80, "shop/a"), (443, "shop/a")] {
        assert_eq!(served.get_at(port, "x.com/"), want, "{port}");
    }
    // What a listener answers by itself asks for nothing, so it is not the backend.
    let rules = served.balancer.rules.iter();
    let asked: Vec<_> = rules
        .map(|rule| (rule.ports.clone(), rule.clients.clone()))
        .collect();
    assert_eq!(asked, [([Port::HTTPS].into(), ClientCertificates::PassThrough)]);
    let listener = &served.balancer.listeners[&Port::HTTPS];
    assert!(matches!(&listener.default_action, Action::Fixed(page) if page.status() == 503));
}
