//! Ingresses with canaries beside them in, which Service gets which request out.

use portcullis_model::Decision;

use super::*;

const PORTABLE: &str = "portcullis.dev/";
const NGINX: &str = "nginx.ingress.kubernetes.io/";

fn annotations(prefix: &str, pairs: &[(&str, &str)]) -> Value {
    let mut all = json!({ "alb.ingress.kubernetes.io/group.name": "shop" });
    for (name, value) in pairs {
        all[format!("{prefix}{name}")] = json!(value);
    }
    all
}

/// `a.com/` leads to `stable`, beside a canary of these annotations.
fn world(prefix: &str, canary: &[(&str, &str)]) -> World {
    let rules = |service| json!({ "rules": [rule("a.com", json!([path("Prefix", "/", service)]))] });
    with_services(World::new(), &["shop/stable", "shop/next"])
        .aged("shop/web", 2, annotations("", &[]), rules("stable"))
        .aged("shop/canary", 1, annotations(prefix, canary), rules("next"))
}

/// Who is asked, with the shares where there are several.
fn asked(served: &Served, headers: &[(&str, &str)]) -> String {
    let mut request = Request::get(Port::HTTP, "a.com", "/x");
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    request.headers = headers.collect();
    match resolve(&served.balancer, &request).action() {
        Some(Action::Forward(forward)) if forward.backends.len() > 1 => {
            let shares = forward.backends.iter().map(|share| {
                let name = &served.balancer.backends[&share.backend].service.name.name;
                format!("{name} {}", share.weight.get())
            });
            shares.collect::<Vec<_>>().join(", ")
        }
        _ => served.ask(&request),
    }
}

#[test]
fn a_field_decides_before_a_cookie_and_a_cookie_before_the_weight() {
    let (stable, next, shared) = ("shop/stable", "shop/next", "stable 9, next 1");
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r [(&'r str, &'r str)], &'r str);
    let all = [
        ("canary", "true"),
        ("canary-by-header", "X-Canary"),
        ("canary-by-cookie", "can.ary"),
        ("canary-weight", "10"),
    ];
    let by_value = [
        ("canary", "true"),
        ("canary-by-header", "X-Canary"),
        ("canary-by-header-value", "v2.*"),
    ];
    let by_pattern = [
        ("canary", "true"),
        ("canary-by-header", "X-Canary"),
        ("canary-by-header-pattern", "v[23]"),
        ("canary-weight", "1"),
        ("canary-weight-total", "2"),
    ];
    let rows: &[Row<'_>] = &[
        (&all, &[], shared),
        (&all, &[("x-canary", "always")], next),
        (&all, &[("x-canary", "never")], stable),
        (&all, &[("x-canary", "sometimes")], shared),
        (&all, &[("cookie", "can.ary=always")], next),
        (&all, &[("cookie", "a=b; can.ary=never; c=d")], stable),
        (&all, &[("cookie", "canXary=always")], shared),
        (&all, &[("cookie", "can.ary=alwayss")], shared),
        (
            &all,
            &[("x-canary", "never"), ("cookie", "can.ary=always")],
            stable,
        ),
        (&all, &[("x-canary", "always"), ("cookie", "can.ary=never")], next),
        (&by_value, &[], stable),
        (&by_value, &[("x-canary", "v2.*")], next),
        (&by_value, &[("x-canary", "v2.1")], stable),
        (&by_value, &[("x-canary", "always")], stable),
        (&by_pattern, &[("x-canary", "is v3")], next),
        (&by_pattern, &[("x-canary", "v1")], "stable 1, next 1"),
        (
            &[("canary", "true"), ("canary-weight", "100")],
            &[],
            "stable 0, next 1",
        ),
        (&[("canary", "true")], &[("x-canary", "always")], stable),
        (&[("canary", "false")], &[], "shop/next"),
    ];
    for (canary, headers, want) in rows {
        for prefix in [PORTABLE, NGINX] {
            for settings in [ours(), Settings::for_serving(ControllerName::default())] {
                let served = world(prefix, canary).one(&settings);
                assert_eq!(asked(&served, headers), *want, "{prefix} {canary:?} {headers:?}");
                if canary[0].1 == "true" {
                    assert_eq!(served.codes(), [], "{prefix} {canary:?}: {:?}", served.problems);
                }
            }
        }
    }
}

#[test]
fn a_canary_that_cannot_be_read_or_is_alone_changes_nothing() {
    for (canary, code) in [
        (&[("canary", "yes")][..], Code::AnnotationInvalid),
        (
            &[("canary", "true"), ("canary-weight", "a")],
            Code::AnnotationInvalid,
        ),
        (
            &[("canary", "true"), ("canary-by-header", "X Y")],
            Code::AnnotationInvalid,
        ),
        (
            &[("canary", "true"), ("canary-by-cookie", "a=b")],
            Code::AnnotationInvalid,
        ),
        // Its own restriction would not hold.
        (
            &[("canary", "true"), ("canary-weight", "10"), ("rate-limit", "1/s")],
            Code::CanaryAlone,
        ),
        (
            &[
                ("canary", "true"),
                ("canary-weight", "10"),
                ("inbound-cidrs", "10.0.0.0/8"),
            ],
            Code::CanaryAlone,
        ),
    ] {
        let settings = Settings::for_serving(ControllerName::default());
        let served = world(PORTABLE, canary).one(&settings);
        assert_eq!(asked(&served, &[]), "shop/stable", "{canary:?}");
        assert!(
            served.codes().contains(&code),
            "{canary:?}: {:?}",
            served.problems
        );
    }
    let rules =
        |host: &str, kind, service| json!({ "rules": [rule(host, json!([path(kind, "/", service)]))] });
    let canary = [("canary", "true"), ("canary-weight", "50")];
    for (name, host, kind) in [
        ("shop/canary", "b.com", "Prefix"),
        ("shop/canary", "a.com", "Exact"),
        ("other/canary", "a.com", "Prefix"),
    ] {
        let served = with_services(World::new(), &["shop/stable", "shop/next", "other/next"])
            .aged(
                "shop/web",
                1,
                annotations("", &[]),
                rules("a.com", "Prefix", "stable"),
            )
            .aged(name, 2, annotations(PORTABLE, &canary), rules(host, kind, "next"))
            .one(&ours());
        assert_eq!(served.get("a.com/"), "shop/stable", "{name} {host} {kind}");
        assert_eq!(served.get("b.com/"), "404", "{name} {host} {kind}");
        assert_eq!(served.balancer.rules.len(), 1, "{:?}", served.rules());
    }
}

#[test]
fn under_the_semantics_of_the_incumbent_names_of_ingress_nginx_say_nothing() {
    let canary = [("canary", "true"), ("canary-weight", "10")];
    let served = world(NGINX, &canary).one(&theirs());
    assert_eq!(asked(&served, &[]), "shop/next");
    let served = world(PORTABLE, &canary).one(&theirs());
    assert_eq!(asked(&served, &[]), "stable 9, next 1");
}

#[test]
fn a_canary_has_no_more_than_the_rule_it_stands_beside() {
    // Of two rules with conditions, those of the canary are asked together with those of its own rule.
    let conditions =
        r#"[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-A","values":["1"]}}]"#;
    let rules = |service| json!({ "rules": [rule("a.com", json!([path("Prefix", "/", service)]))] });
    let mut narrow = annotations("", &[]);
    narrow["alb.ingress.kubernetes.io/conditions.narrow"] = json!(conditions);
    let canary = [("canary", "true"), ("canary-by-header", "X-Canary")];
    let served = with_services(World::new(), &["shop/stable", "shop/narrow", "shop/next"])
        .aged("shop/web", 1, annotations("", &[]), rules("stable"))
        .aged("shop/narrow", 3, narrow, rules("narrow"))
        .aged("shop/canary", 2, annotations(PORTABLE, &canary), rules("next"))
        .one(&ours());
    for (headers, want) in [
        (&[("x-canary", "always")][..], "shop/next"),
        (&[("x-a", "1"), ("x-canary", "always")], "shop/narrow"),
        (&[("x-a", "1")], "shop/narrow"),
        (&[], "shop/stable"),
    ] {
        assert_eq!(
            asked(&served, headers),
            want,
            "{headers:?}: {:#?}",
            served.rules()
        );
    }
}

#[test]
fn what_a_canary_says_of_addresses_closes_no_port() {
    let canary = [
        ("canary", "true"),
        ("canary-weight", "100"),
        ("inbound-cidrs", "10.0.0.0/8"),
    ];
    let served = world(PORTABLE, &canary).one(&ours());
    assert_eq!(served.balancer.options.admitted.get(&Port::HTTP), None);
    assert!(
        served.codes().contains(&Code::CanaryAlone),
        "{:?}",
        served.problems
    );
}

/// By header, by cookie and by weight, with a request that each leads to the canary.
const LEADING: [[&str; 4]; 3] = [
    ["canary-weight", "100", "x-any", "1"],
    ["canary-by-header", "X-Canary", "x-canary", "always"],
    ["canary-by-cookie", "try", "cookie", "try=always"],
];

/// Annotations with their prefixes.
fn prefixed(pairs: &[(&str, &str)]) -> Value {
    Value::Object(
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect(),
    )
}

#[test]
fn a_path_means_what_the_ingress_says_that_the_canary_stands_beside() {
    const REWRITE: &str = "nginx.ingress.kubernetes.io/rewrite-target";
    const REGEX: &str = "nginx.ingress.kubernetes.io/use-regex";
    const MATCH: &str = "portcullis.dev/path-match";
    type Said<'r> = &'r [(&'r str, &'r str)];
    // What the main Ingress says; canaries, one by one; type and path; a URL that it takes and what Services see of it, and
    // one that it leaves.
    type Row<'r> = (Said<'r>, &'r [Said<'r>], [&'r str; 2], [&'r str; 3]);
    let specific = "ImplementationSpecific";
    let rows: &[Row<'_>] = &[
        (
            &[(REWRITE, "/app")],
            &[&[], &[(REWRITE, "/app")], &[(REWRITE, "/other")]],
            ["Prefix", "/old"],
            ["/old/x", "/app", "/x"],
        ),
        (
            &[(REWRITE, "/$2")],
            &[
                &[],
                &[(REGEX, "true")],
                &[(REWRITE, "/$2")],
                &[(REGEX, "true"), (REWRITE, "/$2")],
                // Read by itself, nothing.
                &[(MATCH, "regex")],
            ],
            [specific, "/svc(/|$)(.*)"],
            ["/svc/a?q", "/a?q", "/svca"],
        ),
        (
            &[(REGEX, "true")],
            &[&[], &[(REGEX, "true")], &[(REGEX, "false")]],
            [specific, "/api/(.*)"],
            ["/api/x", "/api/x", "/api"],
        ),
        (
            &[(MATCH, "glob")],
            &[&[], &[(MATCH, "glob")], &[(MATCH, "prefix")]],
            [specific, "/v*"],
            ["/v2", "/v2", "/w"],
        ),
        (
            &[(MATCH, "regex")],
            &[&[], &[(MATCH, "regex")]],
            [specific, "//v[0-9]+"],
            ["/v22", "/v22", "/vv"],
        ),
        (
            &[("alb.ingress.kubernetes.io/use-regex-path-match", "true")],
            &[&[]],
            [specific, "//v[0-9]+"],
            ["/v22", "/v22", "/vv"],
        ),
        // Only the canary has it: the other takes the path to the letter.
        (
            &[],
            &[&[(REWRITE, "/app")], &[(REGEX, "true")], &[(MATCH, "glob")]],
            ["Prefix", "/old"],
            ["/old/x", "/old/x", "/older"],
        ),
        // The same requests, written in another way.
        (&[], &[&[]], [specific, "/"], ["/x", "/x", ""]),
    ];
    for (main, canaries, [kind, text], [url, seen, left]) in rows {
        for canary in *canaries {
            for [sign, says, name, value] in LEADING {
                let key = format!("{NGINX}{sign}");
                let on = format!("{NGINX}canary");
                let canary = [&[(&*on, "true"), (&*key, says)], *canary].concat();
                let row = format!("{main:?} {canary:?} {text}");
                let kinds = if *text == "/" {
                    ["Prefix", kind]
                } else {
                    [*kind; 2]
                };
                let rules = |kind: &str, service| json!({ "rules": [rule("a.com", json!([path(kind, text, service)]))] });
                let served = with_services(World::new(), &["shop/stable", "shop/next"])
                    .aged("shop/web", 2, prefixed(main), rules(kinds[0], "stable"))
                    .aged("shop/canary", 1, prefixed(&canary), rules(kinds[1], "next"))
                    .one(&Settings::for_serving(ControllerName::default()));
                assert_eq!(served.codes(), [], "{row}: {:?}", served.problems);
                let asking = |url: &str| {
                    let mut request = Request::get(Port::HTTP, "a.com", url);
                    request.headers.push((name.to_owned(), value.to_owned()));
                    request
                };
                let Decision::Rule(_, rule) = resolve(&served.balancer, &asking(url)) else {
                    panic!("{row}: {:?}", served.rules());
                };
                let Action::Forward(forward) = &rule.action else {
                    panic!("{row}: {:?}", served.rules());
                };
                let led = forward.backends.iter().filter(|share| share.weight.get() > 0);
                let led: Vec<_> = led
                    .map(|share| &*served.balancer.backends[&share.backend].service.name.name)
                    .collect();
                assert_eq!(led, ["next"], "{row}");
                let rewritten = rule.rewrites.iter().fold((*url).to_owned(), |url, rewrite| {
                    rewrite.pattern.replace(&url, &rewrite.replacement).unwrap()
                });
                assert_eq!(rewritten, *seen, "{row}");
                if !left.is_empty() {
                    assert_eq!(served.ask(&asking(left)), "404", "{row}");
                }
            }
        }
    }
}

#[test]
fn of_a_canary_s_path_is_told_that_it_stands_alone_or_cannot_be_read() {
    let canary = |more: &[(&str, &str)]| {
        let mut all = annotations(PORTABLE, &[("canary", "true"), ("canary-weight", "50")]);
        for (name, value) in more {
            all[*name] = json!(value);
        }
        all
    };
    let specific = "ImplementationSpecific";
    for (text, more, codes) in [
        ("/v*", &[][..], &[Code::CanaryAlone][..]),
        ("v", &[], &[Code::PathInvalid]),
        (
            "/svc(/|$)(.*)",
            &[(&*format!("{NGINX}rewrite-target"), "/$2")],
            &[Code::CanaryAlone],
        ),
    ] {
        let rules =
            |text, service| json!({ "rules": [rule("a.com", json!([path(specific, text, service)]))] });
        let served = with_services(World::new(), &["shop/stable", "shop/next"])
            .aged("shop/web", 2, annotations("", &[]), rules("/", "stable"))
            .aged("shop/canary", 1, canary(more), rules(text, "next"))
            .one(&ours());
        assert_eq!(served.codes(), codes, "{text}: {:?}", served.problems);
        assert_eq!(served.get("a.com/v"), "shop/stable", "{text}");
    }
}
