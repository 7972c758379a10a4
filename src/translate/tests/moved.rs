//! Ingresses as ingress-nginx served them in, what they answer here out.

use portcullis_model::Decision;

use super::*;
use crate::translate::annotations::nginx::{ALL, Fate, find};

/// Annotations under ingress-nginx's prefix, unless they have one.
pub(super) fn nginx(pairs: &[(&str, &str)]) -> Value {
    let key = |name: &str| match name.contains('/') {
        true => name.to_owned(),
        false => format!("nginx.ingress.kubernetes.io/{name}"),
    };
    let pairs = pairs.iter().map(|(name, value)| (key(name), json!(value)));
    Value::Object(pairs.collect())
}

/// `a.com/` of `shop/web` leads to `s`, `b.com/` of its neighbour to `t`.
pub(super) fn world(annotations: &[(&str, &str)]) -> World {
    let to =
        |host: &str, service: &str| json!({ "rules": [rule(host, json!([path("Prefix", "/", service)]))] });
    with_services(World::new(), &["shop/s", "shop/t"])
        .ingress("shop/web", nginx(annotations), to("a.com", "s"))
        .ingress("shop/neighbour", json!({}), to("b.com", "t"))
}

/// Both Ingresses as one load balancer.
pub(super) fn serving() -> Settings {
    Settings::for_serving(ControllerName::default())
}

#[test]
fn what_is_closed_answers_503_what_is_told_is_served_and_a_neighbour_sees_neither() {
    for theirs in ALL.iter().filter(|theirs| theirs.fate != Fate::Read) {
        let name = theirs.name();
        let served = world(&[(name, "anything")]).one(&serving());
        let want = match theirs.fate {
            Fate::Closed => "503",
            Fate::Read | Fate::Told => "shop/s",
        };
        assert_eq!(served.get("a.com/x"), want, "{name}");
        assert_eq!(served.get("b.com/x"), "shop/t", "{name}");
        let at = format!("ingress shop/web metadata.annotations[{}]", theirs.key);
        served.told(Code::AnnotationUnsupported, &at);

        let served = world(&[(name, "")]).one(&serving());
        assert_eq!(served.get("a.com/x"), "shop/s", "{name} empty");
        served.told(Code::AnnotationInvalid, &at);
    }
}

#[test]
fn what_asks_for_nothing_is_neither_told_nor_closed() {
    let mut rows = 0;
    for theirs in ALL {
        for value in theirs.nothing {
            let served = world(&[(theirs.name(), value)]).one(&serving());
            assert_eq!(served.get("a.com/x"), "shop/s", "{} {value}", theirs.key);
            assert_eq!(served.codes(), [], "{} {value}", theirs.key);
            rows += 1;
        }
    }
    assert!(rows > 100, "{rows}");
}

#[test]
fn a_name_that_ingress_nginx_does_not_have_is_told() {
    let served = world(&[("auth-uri", "http://a")]).one(&serving());
    assert_eq!(served.get("a.com/x"), "shop/s");
    served.told(
        Code::AnnotationUnknown,
        "ingress shop/web metadata.annotations[nginx.ingress.kubernetes.io/auth-uri]",
    );
}

#[test]
fn ours_in_its_place_win() {
    let served = world(&[("limit-rps", "5"), ("portcullis.dev/rate-limit", "9/s")]).one(&serving());
    assert_eq!(
        (served.get("a.com/x").as_str(), served.codes()),
        ("shop/s", vec![])
    );
    // Another path's action says nothing of this one.
    let served = world(&[
        ("permanent-redirect", "https://$x"),
        ("portcullis.dev/actions.x", "{}"),
    ])
    .one(&serving());
    assert_eq!(served.get("a.com/x"), "503");
}

#[test]
fn under_the_incumbent_s_semantics_they_mean_nothing() {
    for theirs in ALL {
        let settings = Settings::for_serving(ControllerName::new(ControllerName::INCUMBENT));
        let served = world(&[(theirs.name(), "true")]).one(&settings);
        assert_eq!(served.get("a.com/x"), "shop/s", "{}", theirs.key);
        assert_eq!(served.codes(), [], "{}", theirs.key);
    }
}

#[test]
fn a_snippet_is_known_by_its_name_alone() {
    let long = "deny all;".repeat(10_000);
    let world = world(&[("configuration-snippet", &long)]);
    let kept = world.objects.iter().find_map(|object| {
        let Object::Ingress(ingress) = object else {
            return None;
        };
        ingress.meta.annotations.values().next().cloned()
    });
    assert_eq!(kept.as_deref(), Some("…"));
    assert_eq!(world.one(&serving()).get("a.com/x"), "503");
}

#[test]
fn a_canary_has_all_else_from_the_ingress_it_stands_beside() {
    for name in ["auth-url", "configuration-snippet", "proxy-body-size"] {
        let spec = |service: &str| json!({ "rules": [rule("a.com", json!([path("Prefix", "/", service)]))] });
        let canary = nginx(&[("canary", "true"), ("canary-weight", "100"), (name, "8m")]);
        let served = with_services(World::new(), &["shop/s", "shop/next"])
            .aged("shop/web", 2, json!({}), spec("s"))
            .aged("shop/canary", 1, canary, spec("next"))
            .one(&serving());
        assert_eq!(served.get("a.com/x"), "shop/s + shop/next", "{name}");
        assert_eq!(served.codes(), [], "{name}");
    }
    assert!(find("canary").is_some());
}

#[test]
fn ranges_that_name_nobody_hide_none_that_name_somebody() {
    let theirs = ("whitelist-source-range", "10.0.0.0/8");
    for empty in [
        ("portcullis.dev/inbound-cidrs", ""),
        ("portcullis.dev/inbound-cidrs", ","),
        ("allowlist-source-range", ""),
    ] {
        let served = world(&[empty, theirs]).one(&serving());
        let seen = ["10.1.0.1", "192.0.2.1"].map(|address| from(&served, address));
        assert_eq!(seen, ["shop/s", "403"], "{empty:?}");
    }
}

fn from(served: &Served, address: &str) -> String {
    let mut request = Request::get(Port::HTTP, "a.com", "/x");
    request.source = address.parse().unwrap();
    served.ask(&request)
}

#[test]
fn ranges_are_of_the_ingress_s_own_rules() {
    type Row<'r> = (&'r [(&'r str, &'r str)], [&'r str; 4]);
    let (s, no, closed) = ("shop/s", "403", "503");
    let addresses = ["10.1.0.1", "10.2.0.1", "192.0.2.1", "2001:db8::1"];
    let rows: &[Row<'_>] = &[
        (&[("whitelist-source-range", "10.0.0.0/8")], [s, s, no, no]),
        (
            &[("allowlist-source-range", "10.1.0.0/16, 192.0.2.1,2001:db8::/32")],
            [s, no, s, s],
        ),
        (
            &[
                ("allowlist-source-range", "10.1.0.1"),
                ("whitelist-source-range", "0.0.0.0/0"),
            ],
            [s, no, no, no],
        ),
        (
            &[("denylist-source-range", "10.1.0.0/16,2001:db8::1")],
            [no, s, s, no],
        ),
        (
            &[
                ("denylist-source-range", "10.1.0.0/16"),
                ("whitelist-source-range", "10.0.0.0/8"),
            ],
            [no, s, no, no],
        ),
        // Ours win, of who may have it; who may not is said nowhere else.
        (
            &[
                ("portcullis.dev/inbound-cidrs", "192.0.2.0/24"),
                ("whitelist-source-range", "10.0.0.0/8"),
            ],
            [no, no, s, no],
        ),
        (
            &[
                ("portcullis.dev/inbound-cidrs", "10.0.0.0/8"),
                ("denylist-source-range", "10.1.0.0/16"),
            ],
            [no, s, no, no],
        ),
        (&[("whitelist-source-range", "10.0.0.0/8,office")], [closed; 4]),
        (&[("denylist-source-range", "10.0.0.0/33")], [closed; 4]),
    ];
    for (annotations, want) in rows {
        let served = world(annotations).one(&serving());
        for (address, want) in addresses.iter().zip(want) {
            assert_eq!(from(&served, address), *want, "{annotations:?} {address}");
        }
        assert_eq!(served.get("b.com/x"), "shop/t", "{annotations:?}");
        let is_closed = want.contains(&closed);
        let told: &[Code] = if is_closed {
            &[Code::AnnotationInvalid]
        } else {
            &[]
        };
        assert_eq!(served.codes(), told, "{annotations:?}");
    }
}

#[test]
fn ranges_hold_for_default_backends_and_in_a_group_for_nobody_else() {
    let ranges = nginx(&[
        ("denylist-source-range", "10.1.0.0/16"),
        ("whitelist-source-range", "10.0.0.0/8"),
        ("alb.ingress.kubernetes.io/group.name", "g"),
    ]);
    let of_group = nginx(&[("alb.ingress.kubernetes.io/group.name", "g")]);
    let b = json!({ "rules": [rule("b.com", json!([path("Prefix", "/", "t")]))] });
    for settings in [ours(), serving()] {
        let served = with_services(World::new(), &["shop/s", "shop/t"])
            .ingress("shop/web", ranges.clone(), json!({ "defaultBackend": to("s") }))
            .ingress("shop/neighbour", of_group.clone(), b.clone())
            .one(&settings);
        for (address, want) in [("10.1.0.1", "403"), ("10.2.0.1", "shop/s"), ("192.0.2.1", "403")] {
            assert_eq!(from(&served, address), want, "{address}");
        }
        assert_eq!(served.get("b.com/x"), "shop/t");
        assert!(served.balancer.options.admitted.is_empty());
    }
}

#[test]
fn who_is_turned_away_has_what_all_answers_have_but_on_aws() {
    let pages = r#"[{"statuses":["400-499"],"contentType":"text/plain","body":"page"}]"#;
    let shaping = [
        ("portcullis.dev/error-pages", pages),
        ("portcullis.dev/response-headers", r#"{"set":{"x-r":"1"}}"#),
        ("portcullis.dev/cors", r#"{"allowOrigins":["https://a.com"]}"#),
        ("portcullis.dev/rate-limit", "1/s"),
        ("portcullis.dev/request-headers", r#"{"set":{"x-q":"1"}}"#),
    ];
    let ranges = [
        ("inbound-cidrs", "portcullis.dev/inbound-cidrs", "10.0.0.0/8"),
        ("allowed", "whitelist-source-range", "10.0.0.0/8"),
        ("denied", "denylist-source-range", "192.0.2.0/24"),
    ];
    let (b, default) = (
        json!({ "rules": [rule("b.com", json!([path("Prefix", "/", "t")]))] }),
        json!({ "defaultBackend": to("s") }),
    );
    let by_rule = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
    for (name, key, range) in ranges {
        for (spec, settings, is_shaped) in [
            (&by_rule, serving(), true),
            (&default, serving(), true),
            (&by_rule, ours(), false),
        ] {
            let mut annotations = nginx(&[&shaping[..], &[(key, range)]].concat());
            annotations["alb.ingress.kubernetes.io/group.name"] = json!("g");
            let served = with_services(World::new(), &["shop/s", "shop/t"])
                .ingress("shop/web", annotations, spec.clone())
                .ingress("shop/neighbour", alb(&[("group.name", "g")]), b.clone())
                .one(&settings);
            let row = format!("{name} {spec} {is_shaped}: {:?}", served.rules());
            let mut request = Request::get(Port::HTTP, "a.com", "/x");
            request.source = "192.0.2.1".parse().unwrap();
            // At a port that is open to nobody else, nobody need be turned away by a rule.
            if served.ask(&request) != "403" {
                assert!(!is_shaped && name == "inbound-cidrs", "{row}");
                continue;
            }
            let Decision::Rule(_, rule) = resolve(&served.balancer, &request) else {
                panic!("{row}");
            };
            let filters = rule.filters.as_deref().cloned().unwrap_or_default();
            let has = [
                filters.error_pages.is_some(),
                filters.response_headers.is_some(),
                filters.cors.is_some(),
            ];
            assert_eq!(has, [is_shaped; 3], "{row}");
            assert!(
                filters.rate_limit.is_none() && filters.request_headers.is_none(),
                "{row}"
            );
        }
    }
}

#[test]
fn a_canary_has_its_share_of_what_is_guarded() {
    let spec = |service: &str| json!({ "rules": [rule("a.com", json!([path("Prefix", "/", service)]))] });
    let served = with_services(World::new(), &["shop/s", "shop/next"])
        .aged(
            "shop/web",
            2,
            nginx(&[("whitelist-source-range", "10.0.0.0/8")]),
            spec("s"),
        )
        .aged(
            "shop/canary",
            1,
            nginx(&[("canary", "true"), ("canary-weight", "50")]),
            spec("next"),
        )
        .one(&serving());
    assert_eq!(from(&served, "10.0.0.1"), "shop/s + shop/next");
    assert_eq!(from(&served, "192.0.2.1"), "403");
    assert_eq!(served.codes(), []);
}

/// Annotations, what is done beside forwarding to `shop/s` (empty where the answer is 503), and what is told.
pub(super) type Filtered<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r [Code]);

pub(super) fn check(rows: &[Filtered<'_>]) {
    for (annotations, want, codes) in rows {
        let served = world(annotations).service("shop/auth").one(&serving());
        let want = match *want {
            "" => "503".to_owned(),
            "-" => "shop/s".to_owned(),
            filters => format!("{filters} → shop/s"),
        };
        assert_eq!(
            served.beside("a.com/"),
            want,
            "{annotations:?} {:?}",
            served.problems
        );
        assert_eq!(served.beside("b.com/"), "shop/t", "{annotations:?}");
        assert_eq!(served.codes(), *codes, "{annotations:?}: {:?}", served.problems);
    }
}

#[test]
fn who_is_let_in_by_password_is_let_in_so_here() {
    use Code::{AnnotationInvalid, AuthenticationNeedsHttps};
    let asked = "users of secret/shop/users";
    let plain = &[AuthenticationNeedsHttps][..];
    check(&[
        (&[("auth-type", "basic"), ("auth-secret", "users")], asked, plain),
        (
            &[
                ("auth-type", "basic"),
                ("auth-secret", "shop/users"),
                ("auth-realm", "Staff"),
            ],
            asked,
            plain,
        ),
        (
            &[
                ("auth-type", "basic"),
                ("auth-secret", "users"),
                ("auth-secret-type", "auth-file"),
            ],
            asked,
            plain,
        ),
        (
            &[
                ("auth-type", "basic"),
                ("auth-secret", "users"),
                ("auth-secret-type", "auth-map"),
            ],
            "",
            &[AnnotationInvalid],
        ),
        (
            &[("auth-type", "digest"), ("auth-secret", "users")],
            "",
            &[AnnotationInvalid],
        ),
        (
            &[("auth-type", "basic"), ("auth-secret", "other/users")],
            "",
            &[AnnotationInvalid],
        ),
        (
            &[("auth-type", "basic"), ("auth-secret", "shop/a/b")],
            "",
            &[AnnotationInvalid],
        ),
        (
            &[
                ("auth-type", "basic"),
                ("auth-secret", "users"),
                ("auth-realm", "a\"b"),
            ],
            "",
            &[AnnotationInvalid, AuthenticationNeedsHttps],
        ),
        (&[("auth-type", "basic")], "", &[AnnotationInvalid]),
        (&[("auth-secret", "users")], "-", &[AnnotationInvalid]),
        (
            &[
                ("auth-type", "digest"),
                ("portcullis.dev/basic-auth-secret", "users"),
            ],
            asked,
            plain,
        ),
    ]);
}

#[test]
fn rates_are_ingress_nginx_s() {
    use Code::AnnotationInvalid;
    check(&[
        (
            &[("limit-rps", "10")],
            "at most 10/s of a client, 51 at once",
            &[],
        ),
        (
            &[("limit-rpm", "100"), ("limit-burst-multiplier", "2")],
            "at most 100/m of a client, 201 at once",
            &[],
        ),
        (
            &[("limit-rps", "0"), ("limit-rpm", "6")],
            "at most 6/m of a client, 31 at once",
            &[],
        ),
        (&[("limit-rps", "0")], "-", &[]),
        (
            &[("limit-rps", "10"), ("limit-rpm", "100")],
            "",
            &[AnnotationInvalid],
        ),
        (&[("limit-rps", "ten")], "", &[AnnotationInvalid]),
        (&[("limit-rps", "5000")], "", &[AnnotationInvalid]),
        (
            &[("limit-rps", "1"), ("limit-burst-multiplier", "-1")],
            "",
            &[AnnotationInvalid],
        ),
    ]);
}

#[test]
fn scripts_may_do_what_ingress_nginx_let_them() {
    use Code::AnnotationInvalid;
    check(&[
        (&[("enable-cors", "true")], "for scripts of all origins", &[]),
        (
            &[("enable-cors", "false"), ("cors-allow-origin", "https://x.com")],
            "-",
            &[],
        ),
        (&[("cors-allow-origin", "https://x.com")], "-", &[]),
        (
            &[
                ("enable-cors", "true"),
                ("cors-allow-origin", "https://x.com, https://*.y.com:8443"),
            ],
            "for scripts of https://x.com and https://*.y.com:8443 with credentials",
            &[],
        ),
        (
            &[
                ("enable-cors", "true"),
                ("cors-allow-origin", "https://x.com"),
                ("cors-allow-credentials", "false"),
                ("cors-allow-headers", "X-A, X_B"),
                ("cors-expose-headers", "*"),
                ("cors-max-age", "600"),
            ],
            "for scripts of https://x.com",
            &[],
        ),
        (
            &[("enable-cors", "true"), ("cors-allow-origin", "x.com")],
            "-",
            &[AnnotationInvalid],
        ),
        (
            &[("enable-cors", "true"), ("cors-max-age", "long")],
            "-",
            &[AnnotationInvalid],
        ),
    ]);
    let served = world(&[("enable-cors", "true")]).one(&serving());
    let filters = served
        .balancer
        .rules
        .iter()
        .find_map(|rule| rule.filters.clone())
        .unwrap();
    let cors = filters.cors.as_ref().unwrap();
    assert_eq!((cors.methods.len(), cors.max_age), (6, Some(86_400)));
    assert_eq!(cors.request_headers.as_ref().map(BTreeSet::len), Some(9));
}

#[test]
fn copies_go_where_they_went() {
    use Code::AnnotationInvalid;
    let rows: &[Filtered<'_>] = &[
        (
            &[("mirror-target", "http://auth.shop.svc.cluster.local$request_uri")],
            "100% copied to shop/web-auth:80",
            &[],
        ),
        (
            &[("mirror-target", "https://test.example.com$request_uri")],
            "-",
            &[AnnotationInvalid],
        ),
        (
            &[(
                "mirror-target",
                "http://auth.shop.svc.cluster.local/x$request_uri",
            )],
            "-",
            &[AnnotationInvalid],
        ),
        (
            &[("mirror-target", "http://auth.shop.svc.cluster.local")],
            "-",
            &[AnnotationInvalid],
        ),
    ];
    check(rows);
}
