//! Annotations of filters in, the filters of rules out, or rules that nobody passes.

use portcullis_model::{AffinityKey, Decision};

use super::*;

/// Annotations under our prefix.
fn dev(pairs: &[(&str, &str)]) -> Value {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (format!("portcullis.dev/{name}"), json!(value)));
    Value::Object(pairs.collect())
}

/// `a.com/` and all that no rule takes to `s`.
fn world(annotations: &[(&str, &str)]) -> World {
    let spec =
        json!({ "defaultBackend": to("s"), "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
    World::new()
        .service("shop/s")
        .ingress("shop/web", dev(annotations), spec)
}

impl Served {
    /// What is done beside what is answered, before it: `at most 1/s of a client, 1 at once → shop/s`.
    pub(super) fn beside(&self, url: &str) -> String {
        let (host, _) = url.split_once('/').unwrap();
        let request = Request::get(Port::HTTP, host, &url[host.len()..]);
        match resolve(&self.balancer, &request) {
            Decision::Rule(_, rule) => match &rule.filters {
                Some(filters) => format!("{filters} → {}", self.ask(&request)),
                None => self.ask(&request),
            },
            Decision::Default(_) | Decision::NoListener => self.ask(&request),
        }
    }
}

/// Annotations, what is done beside forwarding to `shop/s` (`-` for nothing; where it is empty, the answer is 503; `301` for a redirect), and what
/// is told.
type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r [Code]);

fn check(rows: &[Row<'_>]) {
    for settings in [ours(), Settings::for_serving(ControllerName::default())] {
        for (annotations, want, codes) in rows {
            let served = world(annotations).one(&settings);
            let want = match *want {
                "" => "503".to_owned(),
                "-" => "shop/s".to_owned(),
                "301" => "→ 301".to_owned(),
                filters => format!("{filters} → shop/s"),
            };
            for url in ["a.com/", "b.com/"] {
                assert_eq!(served.beside(url), want, "{annotations:?} {url}");
            }
            assert_eq!(served.codes(), *codes, "{annotations:?}: {:?}", served.problems);
        }
    }
}

#[test]
fn rates_are_limited_as_asked_or_nobody_passes() {
    check(&[
        (&[], "-", &[]),
        (
            &[("rate-limit", "10/s")],
            "at most 10/s of a client, 10 at once",
            &[],
        ),
        (
            &[("rate-limit", "100/m"), ("rate-limit-burst", "20")],
            "at most 100/m of a client, 20 at once",
            &[],
        ),
        (&[("rate-limit", "10")], "", &[Code::AnnotationInvalid]),
        (&[("rate-limit", "0/s")], "", &[Code::AnnotationInvalid]),
        (
            &[("rate-limit", "1/h"), ("rate-limit-burst", "100")],
            "",
            &[Code::AnnotationInvalid],
        ),
        (
            &[("rate-limit", "1/s"), ("rate-limit-burst", "x")],
            "",
            &[Code::AnnotationInvalid],
        ),
        (&[("rate-limit-burst", "10")], "", &[Code::AnnotationInvalid]),
    ]);
}

#[test]
fn scripts_of_other_origins_are_let_in_as_asked_or_not_at_all() {
    check(&[
        (
            &[("cors", r#"{"allowOrigins":["*"]}"#)],
            "for scripts of all origins",
            &[],
        ),
        (
            &[(
                "cors",
                r#"{"allowOrigins":["https://a.com"],"allowCredentials":true}"#,
            )],
            "for scripts of https://a.com with credentials",
            &[],
        ),
        (
            &[("cors", r#"{"allowOrigins":["*"],"allowCredentials":true}"#)],
            "-",
            &[Code::AnnotationInvalid],
        ),
        (&[("cors", "*")], "-", &[Code::AnnotationInvalid]),
    ]);
}

#[test]
fn passwords_are_asked_for_as_written_or_nobody_passes() {
    use Code::{AnnotationInvalid, AuthenticationNeedsHttps};
    check(&[
        (
            &[("basic-auth-secret", "users"), ("basic-auth-realm", "Shop")],
            "users of secret/shop/users",
            // Over plain HTTP others read them, too.
            &[AuthenticationNeedsHttps],
        ),
        (
            &[
                ("basic-auth-secret", "users"),
                ("listen-ports", r#"[{"HTTPS":443},{"HTTP":80}]"#),
                ("ssl-redirect", "443"),
            ],
            "301",
            &[],
        ),
        (&[("basic-auth-secret", "")], "", &[AnnotationInvalid]),
        (&[("basic-auth-secret", "other/users")], "", &[AnnotationInvalid]),
        (
            &[("basic-auth-secret", "users"), ("basic-auth-realm", "a\"b")],
            "",
            &[AnnotationInvalid, AuthenticationNeedsHttps],
        ),
        (&[("basic-auth-realm", "Shop")], "", &[AnnotationInvalid]),
    ]);
}

#[test]
fn a_service_is_asked_as_written_or_nobody_passes() {
    let asks = |text: &str| text.replace('\'', "\"");
    let good = asks("{'serviceName':'s','servicePort':80,'path':'/verify','responseHeaders':['X-User']}");
    check(&[(&[("external-auth", &good)], "if shop/web-s:80 lets it pass", &[])]);
    for (text, code) in [
        (
            "{'serviceName':'gone','servicePort':80,'path':'/verify'}",
            Code::ServiceNotFound,
        ),
        (
            "{'serviceName':'s','servicePort':81,'path':'/verify'}",
            Code::ServicePortNotFound,
        ),
        (
            "{'serviceName':'s','servicePort':80,'path':'verify'}",
            Code::AnnotationInvalid,
        ),
        ("{'serviceName':'s','servicePort':80}", Code::AnnotationInvalid),
        (
            "{'serviceName':'s','servicePort':80,'path':'/','responseHeaders':['Host']}",
            Code::AnnotationInvalid,
        ),
        (
            "{'serviceName':'s','servicePort':80,'path':'/','headers':['X-User']}",
            Code::AnnotationInvalid,
        ),
        ("http://169.254.169.254/", Code::AnnotationInvalid),
    ] {
        check(&[(&[("external-auth", &asks(text))], "", &[code])]);
    }
}

#[test]
fn answers_are_compressed_as_asked_or_left_as_they_are() {
    check(&[
        (&[("compression", "br, gzip")], "compressed by br or gzip", &[]),
        (&[("compression", "lzma")], "-", &[Code::AnnotationInvalid]),
        (&[("compression", "true")], "-", &[Code::AnnotationInvalid]),
    ]);
}

#[test]
fn bodies_are_as_long_as_asked_or_nobody_passes() {
    check(&[
        (&[("max-request-body", "8m")], "bodies up to 8388608 bytes", &[]),
        (
            &[("max-response-body", "64k")],
            "response bodies up to 65536 bytes",
            &[],
        ),
        (
            &[("max-request-body", "1"), ("max-response-body", "2")],
            "bodies up to 1 bytes, response bodies up to 2 bytes",
            &[],
        ),
        (&[("max-response-body", "0")], "-", &[]),
        (&[("max-response-body", "64kb")], "", &[Code::AnnotationInvalid]),
        (&[("max-request-body", "8mb")], "", &[Code::AnnotationInvalid]),
        (&[("max-response-body", "-1")], "", &[Code::AnnotationInvalid]),
    ]);
}

#[test]
fn errors_are_shown_as_asked_or_as_they_are() {
    let page = r#"[{"statuses":["404","500-599"],"contentType":"text/html","body":"<h1>Sorry</h1>"}]"#;
    check(&[
        (&[("error-pages", page)], "pages for 404 and 500-599", &[]),
        (&[("error-pages", "/sorry.html")], "-", &[Code::AnnotationInvalid]),
    ]);
}

#[test]
fn redirects_and_cookies_are_rewritten_as_asked() {
    let locations = r#"[{"from":"http://inner/","to":"https://a.com/"}]"#;
    let cookies = r#"{"domains":[{"from":"inner","to":"a.com"}],"paths":[{"from":"/one/","to":"/"}]}"#;
    check(&[
        (
            &[("location-rewrites", locations), ("cookie-rewrites", cookies)],
            "redirects http://inner/→https://a.com/, cookies domain inner→a.com path /one/→/",
            &[],
        ),
        (&[("location-rewrites", "[]")], "-", &[Code::AnnotationInvalid]),
        (&[("cookie-rewrites", "{}")], "", &[Code::AnnotationInvalid]),
        (
            &[("cookie-rewrites", r#"{"paths":[{"from":"one","to":"/"}]}"#)],
            "",
            &[Code::AnnotationInvalid],
        ),
    ]);
    let rows: &[Row<'_>] = &[
        (
            &[
                ("proxy-redirect-from", "http://inner/"),
                ("proxy-redirect-to", "https://a.com/"),
            ],
            "redirects http://inner/→https://a.com/ → shop/s",
            &[],
        ),
        (&[("proxy-redirect-from", "off")], "shop/s", &[]),
        (
            &[("proxy-redirect-from", "default"), ("proxy-redirect-to", "x")],
            "shop/s",
            &[Code::AnnotationInvalid],
        ),
        (
            &[
                ("proxy-redirect-from", "http://inner/"),
                ("proxy-redirect-to", "$scheme://a.com/"),
            ],
            "shop/s",
            &[Code::AnnotationInvalid],
        ),
        (
            &[
                ("proxy-cookie-domain", "inner a.com"),
                ("proxy-cookie-path", "/one/ /"),
            ],
            "cookies domain inner→a.com path /one/→/ → shop/s",
            &[],
        ),
        (
            &[("proxy-cookie-path", "~*^/one/ /")],
            "503",
            &[Code::AnnotationInvalid],
        ),
        (&[("proxy-cookie-domain", "off")], "shop/s", &[]),
    ];
    for (annotations, want, codes) in rows {
        let pairs = annotations
            .iter()
            .map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), json!(value)));
        let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
        let world = World::new()
            .service("shop/s")
            .ingress("shop/web", Value::Object(pairs.collect()), spec);
        let served = world.one(&ours());
        assert_eq!(served.beside("a.com/"), *want, "{annotations:?}");
        assert_eq!(served.codes(), *codes, "{annotations:?}: {:?}", served.problems);
        assert_eq!(world.one(&theirs()).beside("a.com/"), "shop/s", "{annotations:?}");
    }
}

#[test]
fn fields_are_changed_as_asked_or_nobody_passes() {
    check(&[
        (
            &[(
                "request-headers",
                r#"{"set":{"X-A":"1"},"remove":["Authorization"]}"#,
            )],
            "request =x-a -authorization",
            &[],
        ),
        (
            &[("response-headers", r#"{"add":{"Set-Cookie":"a=b"}}"#)],
            "response +set-cookie",
            &[],
        ),
        (
            &[("request-headers", r#"{"set":{"Host":"a.com"}}"#)],
            "",
            &[Code::AnnotationInvalid],
        ),
        (
            &[("request-headers", r#"{"remove":["X-Forwarded-For"]}"#)],
            "",
            &[Code::AnnotationInvalid],
        ),
        (
            &[("request-headers", r#"{"set":{"Content_Length":"1"}}"#)],
            "",
            &[Code::AnnotationInvalid],
        ),
        (
            &[("response-headers", r#"{"set":{"X-A":"1\r\nX-B: 2"}}"#)],
            "",
            &[Code::AnnotationInvalid],
        ),
        (
            &[("response-headers", r#"{"sets":{"X-A":"1"}}"#)],
            "",
            &[Code::AnnotationInvalid],
        ),
        (&[("response-headers", "{}")], "", &[Code::AnnotationInvalid]),
        (
            &[("response-headers", r#"{"set":{"a b":"1"}}"#)],
            "",
            &[Code::AnnotationInvalid],
        ),
    ]);
}

#[test]
fn filters_are_read_under_our_prefix_and_on_an_ingress_alone() {
    let spec = || json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
    let theirs = World::new()
        .service("shop/s")
        .ingress("shop/web", alb(&[("rate-limit", "10/s")]), spec())
        .one(&ours());
    assert_eq!(theirs.beside("a.com/"), "shop/s");
    theirs.told(
        Code::AnnotationUnknown,
        "ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/rate-limit]",
    );

    // Whoever writes one on a Service relies on it.
    let on_service = World::new()
        .annotated_service("shop/s", dev(&[("rate-limit", "10/s")]))
        .ingress("shop/web", json!({}), spec())
        .one(&ours());
    assert_eq!(on_service.beside("a.com/"), "503");
    on_service.told(
        Code::AnnotationUnsupported,
        "service shop/s metadata.annotations[portcullis.dev/rate-limit]",
    );
}

#[test]
fn filters_stand_where_requests_are_served_and_not_where_they_are_redirected() {
    let annotations = [
        ("rate-limit", "10/s"),
        ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
        ("ssl-redirect", "443"),
    ];
    let served = world(&annotations).one(&ours());
    assert_eq!(served.beside("a.com/"), "→ 301");
    let secure = resolve(&served.balancer, &Request::get(Port::HTTPS, "a.com", "/"));
    assert!(matches!(secure, Decision::Rule(_, rule) if rule.filters.is_some()));
}

/// What our own annotations of an Ingress and of its Service make of one backend.
pub(super) fn said(ingress: &[(&str, &str)], service: &[(&str, &str)]) -> Served {
    let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
    World::new()
        .annotated_service("shop/s", dev(service))
        .ingress("shop/web", dev(ingress), spec)
        .one(&ours())
}

#[test]
fn a_service_may_say_how_long_it_takes() {
    for (ingress, service, want, codes) in [
        (&[][..], &[][..], None, &[][..]),
        (&[("response-timeout-seconds", "5")], &[], Some(5), &[]),
        (
            &[("response-timeout-seconds", "5")],
            &[("response-timeout-seconds", "7")],
            Some(7),
            &[],
        ),
        (
            &[("response-timeout-seconds", "0")],
            &[],
            None,
            &[Code::AnnotationInvalid],
        ),
        (
            &[],
            &[("response-timeout-seconds", "1m")],
            None,
            &[Code::AnnotationInvalid],
        ),
    ] {
        let served = said(ingress, service);
        let got = served.balancer.backends.values().next().unwrap().timeout_seconds;
        assert_eq!(got, want, "{ingress:?} {service:?}");
        assert_eq!(served.codes(), codes, "{ingress:?} {service:?}");
    }
}

#[test]
fn what_leads_to_a_target_is_said_by_the_service_or_the_ingress() {
    for (ingress, service, want, codes) in [
        (&[][..], &[][..], None, &[][..]),
        (&[("affinity-hash", "path")], &[], Some(AffinityKey::Path), &[]),
        (
            &[("affinity-hash", "path")],
            &[("affinity-hash", "client-ip")],
            Some(AffinityKey::Client),
            &[],
        ),
        // Any target will do: it is served, and told.
        (
            &[("affinity-hash", "header:Host")],
            &[],
            None,
            &[Code::AnnotationInvalid],
        ),
    ] {
        let served = said(ingress, service);
        let got = &served.balancer.backends.values().next().unwrap().affinity;
        assert_eq!(*got, want, "{ingress:?} {service:?}");
        assert_eq!(served.codes(), codes, "{ingress:?} {service:?}");
    }
}

#[test]
fn a_service_may_ask_for_checks_and_for_the_proxy_protocol() {
    for (annotations, want, codes) in [
        (&[][..], Some((false, false)), &[][..]),
        (&[("active-health-checks", "true")], Some((true, false)), &[]),
        (&[("send-proxy-protocol", "v2")], Some((false, true)), &[]),
        (&[("send-proxy-protocol", "none")], Some((false, false)), &[]),
        (
            &[("active-health-checks", "often")],
            Some((false, false)),
            &[Code::AnnotationInvalid],
        ),
        // Targets that wait for it would take the first bytes of a request for it.
        (&[("send-proxy-protocol", "v1")], None, &[Code::AnnotationInvalid]),
    ] {
        let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
        let served = World::new()
            .annotated_service("shop/s", dev(annotations))
            .ingress("shop/web", json!({}), spec)
            .one(&ours());
        let backend = served.balancer.backends.values().next();
        let got = backend.map(|backend| (backend.is_checked, backend.proxy_protocol));
        assert_eq!(got, want, "{annotations:?}");
        assert_eq!(served.codes(), codes, "{annotations:?}: {:?}", served.problems);
    }
}
