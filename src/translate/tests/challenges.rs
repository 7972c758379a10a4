//! Paths of ACME challenges beside redirects and logins in, what answers them over plain HTTP out.

use super::groups::grouped;
use super::moved::{nginx, serving};
use super::*;

const TOKEN: &str = "/.well-known/acme-challenge/tOk-en_1";

/// cert-manager's solver: an Ingress of its own for one host, without TLS.
fn solver(world: World, kind: &str, more: &[(&str, &str)]) -> World {
    let mut all = vec![("whitelist-source-range", "0.0.0.0/0,::/0")];
    all.extend(more);
    world.aged(
        "shop/cm-acme-http-solver-x",
        9,
        nginx(&all),
        json!({ "rules": [rule("a.com", json!([path(kind, TOKEN, "solver")]))] }),
    )
}

/// `a.com` over TLS, with these annotations and, beside `/`, these paths.
fn shop(annotations: &[(&str, &str)], more: &[Value]) -> World {
    let mut paths = vec![path("Prefix", "/", "s")];
    paths.extend(more.iter().cloned());
    with_services(World::new(), &["shop/s", "shop/solver"]).ingress(
        "shop/web",
        nginx(annotations),
        json!({ "tls": [{ "hosts": ["a.com"], "secretName": "t" }], "rules": [rule("a.com", json!(paths))] }),
    )
}

const REDIRECTS: [&[(&str, &str)]; 3] = [
    &[("ssl-redirect", "true")],
    &[("force-ssl-redirect", "true")],
    &[("portcullis.dev/ssl-redirect", "443")],
];

#[test]
fn a_solver_s_own_ingress_is_served_where_the_host_is_redirected() {
    for redirect in REDIRECTS {
        for kind in ["Exact", "ImplementationSpecific"] {
            let served = solver(shop(redirect, &[]), kind, &[]).one(&serving());
            assert_eq!(
                served.get(&format!("a.com{TOKEN}")),
                "shop/solver",
                "{redirect:?} {kind}"
            );
            assert_eq!(served.get("a.com/x"), "→ 301", "{redirect:?} {kind}");
            assert_eq!(
                served.get("a.com/.well-known/acme-challenge/another"),
                "→ 301",
                "{kind}"
            );
            assert_eq!(served.get_at(443, "a.com/x"), "shop/s", "{redirect:?} {kind}");
        }
    }
}

#[test]
fn a_solver_that_is_told_to_redirect_and_to_ask_does_neither() {
    let annotations = [
        ("force-ssl-redirect", "true"),
        ("portcullis.dev/listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
        ("auth-type", "basic"),
        ("auth-secret", "users"),
        (
            "portcullis.dev/external-auth",
            r#"{"serviceName":"s","servicePort":80,"path":"/verify"}"#,
        ),
        ("portcullis.dev/rate-limit", "10/s"),
    ];
    let served = solver(shop(REDIRECTS[0], &[]), "Exact", &annotations).one(&serving());
    for port in [80, 443] {
        assert_eq!(
            served.get_at(port, &format!("a.com{TOKEN}")),
            "shop/solver",
            "{port}"
        );
    }
    let with = served.beside(&format!("a.com{TOKEN}"));
    assert_eq!(with, "at most 10/s of a client, 10 at once → shop/solver");
    assert_eq!(served.get("a.com/x"), "→ 301");
    assert_eq!(served.codes(), []);
}

#[test]
fn a_path_added_to_the_ingress_that_redirects_is_served_by_every_kind_of_load_balancer() {
    let added = [path("ImplementationSpecific", TOKEN, "solver")];
    for redirect in REDIRECTS {
        for settings in [ours(), serving()] {
            let served = shop(redirect, &added).one(&settings);
            assert_eq!(
                served.get(&format!("a.com{TOKEN}")),
                "shop/solver",
                "{redirect:?}"
            );
            assert_eq!(served.get("a.com/x"), "→ 301", "{redirect:?}");
            assert_eq!(served.get("none.com/x"), "→ 301", "{redirect:?}");
            assert_eq!(served.get_at(443, &format!("a.com{TOKEN}")), "shop/solver");
            // One rule over plain HTTP: the listener redirects all else.
            let plain = served.balancer.rules.iter();
            let plain = plain.filter(|rule| rule.ports.contains(&Port::HTTP));
            assert_eq!(plain.count(), 1, "{:?}", served.rules());
        }
    }
}

#[test]
fn a_listener_that_redirects_everything_goes_on_while_a_challenge_is_on() {
    let both = r#"[{"HTTP":80},{"HTTPS":443}]"#;
    let shop = |name: &str| {
        let annotations = grouped(json!({ "listen-ports": both, "ssl-redirect": "443" }));
        (
            annotations,
            json!({ "rules": [rule(&format!("{name}.com"), json!([path("Prefix", "/", name)]))] }),
        )
    };
    let (a, b) = (shop("a"), shop("b"));
    let served = with_services(World::new(), &["shop/a", "shop/b", "shop/solver"])
        .ingress("shop/a", a.0, a.1)
        .ingress("shop/b", b.0, b.1)
        .aged(
            "shop/cm-acme-http-solver-x",
            9,
            grouped(json!({})),
            json!({ "rules": [rule("a.com", json!([path("Exact", TOKEN, "solver")]))] }),
        )
        .one(&ours());
    for (url, want) in [
        (format!("a.com{TOKEN}"), "shop/solver"),
        (format!("b.com{TOKEN}"), "→ 301"),
        ("a.com/x".to_owned(), "→ 301"),
        ("none.com/x".to_owned(), "→ 301"),
    ] {
        assert_eq!(served.get(&url), want, "{url}");
    }
    let on_http = |rule: &&portcullis_model::Rule| rule.ports.contains(&Port::HTTP);
    let plain: Vec<_> = served.balancer.rules.iter().filter(on_http).collect();
    assert_eq!(plain.len(), 1, "{plain:?}");
}

#[test]
fn a_redirect_that_leads_nowhere_closes_no_solver() {
    let redirect = [("portcullis.dev/ssl-redirect", "443")];
    let served = solver(shop(REDIRECTS[0], &[]), "Exact", &redirect).one(&serving());
    assert_eq!(served.get(&format!("a.com{TOKEN}")), "shop/solver");
    assert_eq!(served.get("a.com/x"), "→ 301");
    assert_eq!(served.codes(), []);
}

#[test]
fn what_is_rewritten_leaves_an_added_path_as_it_is() {
    let added = [path("ImplementationSpecific", TOKEN, "solver")];
    for annotations in [
        [("ssl-redirect", "true"), ("rewrite-target", "/api")],
        [("ssl-redirect", "true"), ("use-regex", "true")],
    ] {
        let served = shop(&annotations, &added).one(&serving());
        let request = Request::get(Port::HTTP, "a.com", TOKEN);
        let portcullis_model::Decision::Rule(_, rule) = resolve(&served.balancer, &request) else {
            panic!("{annotations:?}: {:?}", served.rules())
        };
        assert_eq!(served.shown(&rule.action), "shop/solver", "{annotations:?}");
        assert_eq!(rule.rewrites, [], "{annotations:?}");
        assert_eq!(served.get("a.com/x"), "→ 301", "{annotations:?}");
        assert_eq!(served.get_at(443, "a.com/x"), "shop/s", "{annotations:?}");
        assert_eq!(served.codes(), [], "{annotations:?}");
    }
}

#[test]
fn who_is_asked_for_a_password_is_not_asked_in_the_clear() {
    let added = [path("Exact", TOKEN, "solver")];
    let login = [
        ("ssl-redirect", "true"),
        ("auth-type", "basic"),
        ("auth-secret", "users"),
    ];
    let served = shop(&login, &added).one(&serving());
    assert_eq!(served.get(&format!("a.com{TOKEN}")), "→ 301");
}

#[test]
fn only_paths_below_that_place_are_exempt() {
    for (kind, text) in [
        ("Exact", "/.well-known/acme-challenges/t"),
        ("Exact", "/x/.well-known/acme-challenge/t"),
        ("Prefix", "/.well-known"),
        ("Prefix", "/.well-known/acme-challengex"),
    ] {
        let served = shop(REDIRECTS[0], &[path(kind, text, "solver")]).one(&serving());
        assert_eq!(served.get(&format!("a.com{text}")), "→ 301", "{kind} {text}");
    }
    // What a condition adds to such a path is no challenge.
    let condition = r#"[{"field":"path-pattern","pathPatternConfig":{"values":["/admin"]}}]"#;
    let login = [
        ("auth-type", "basic"),
        ("auth-secret", "users"),
        ("portcullis.dev/conditions.solver", condition),
    ];
    let served = solver(shop(REDIRECTS[0], &[]), "Exact", &login).one(&serving());
    for url in ["a.com/admin", &format!("a.com{TOKEN}")] {
        let got = served.beside(url);
        assert!(got.starts_with("users of secret/shop/users"), "{url}: {got}");
    }
}

/// Who may answer a challenge for a host may have a certificate for it: no wider host's Ingress gets it.
#[test]
fn a_host_that_is_redirected_leaves_no_challenge_to_a_wider_one() {
    let both = r#"[{"HTTP":80},{"HTTPS":443}]"#;
    let all = || grouped(json!({ "listen-ports": both, "ssl-redirect": "443" }));
    for wide in ["*.com", ""] {
        let served = with_services(World::new(), &["shop/a", "shop/wide"])
            .ingress(
                "shop/a",
                all(),
                json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "a")]))] }),
            )
            .ingress(
                "shop/wide",
                all(),
                json!({ "rules": [rule(wide, json!([path("Prefix", "/.well-known/acme-challenge", "wide")]))] }),
            )
            .one(&ours());
        assert_eq!(served.get(&format!("a.com{TOKEN}")), "→ 301", "{wide:?}");
        assert_eq!(served.get(&format!("b.com{TOKEN}")), "shop/wide", "{wide:?}");
        assert_eq!(served.get("b.com/x"), "→ 301", "{wide:?}");
    }
}

#[test]
fn under_the_incumbent_s_semantics_its_layout_stays() {
    let both = r#"[{"HTTP":80},{"HTTPS":443}]"#;
    let served = with_services(World::new(), &["shop/s", "shop/solver"])
        .ingress(
            "shop/web",
            alb(&[("listen-ports", both), ("ssl-redirect", "443")]),
            json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s"), path("Exact", TOKEN, "solver")]))] }),
        )
        .one(&theirs());
    assert_eq!(served.get(&format!("a.com{TOKEN}")), "→ 301");
    let on_http = |rule: &&portcullis_model::Rule| rule.ports.contains(&Port::HTTP);
    assert_eq!(served.balancer.rules.iter().filter(on_http).count(), 0);
}
