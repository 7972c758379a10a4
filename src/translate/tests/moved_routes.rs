//! Ingresses with ingress-nginx's redirects, rewrites and settings of backends in, where requests go out.

use portcullis_model::{AffinityKey, BackendVersion, ClientCertificates, Decision, TrustStore};

use super::moved::{nginx, serving, world};
use super::*;

/// Where `http://a.com/x?y=1` is redirected to, else what answers.
fn redirected(annotations: &[(&str, &str)], url: &str) -> (String, Vec<Code>) {
    let served = world(annotations).one(&serving());
    let request = Request::get(Port::HTTP, "a.com", url);
    let got = match resolve(&served.balancer, &request).action() {
        Some(Action::Redirect(redirect)) => {
            format!(
                "{} {}",
                redirect.status.code(),
                redirect.location(&request, false).unwrap()
            )
        }
        _ => served.ask(&request),
    };
    assert_eq!(served.get("b.com/x"), "shop/t", "{annotations:?}");
    (got, served.codes())
}

#[test]
fn redirects_lead_where_they_led() {
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r str, &'r [Code]);
    let rows: &[Row<'_>] = &[
        (
            &[("permanent-redirect", "https://new.com")],
            "/x?y=1",
            "301 https://new.com/",
            &[],
        ),
        (
            &[
                ("permanent-redirect", "https://new.com$request_uri"),
                ("permanent-redirect-code", "308"),
            ],
            "/x?y=1",
            "308 https://new.com/x?y=1",
            &[],
        ),
        (
            &[
                ("temporal-redirect", "https://t.com"),
                ("permanent-redirect", "https://p.com"),
            ],
            "/x",
            "302 https://t.com/",
            &[],
        ),
        (
            &[("permanent-redirect", "https://$host")],
            "/x",
            "503",
            &[Code::AnnotationInvalid],
        ),
        (
            &[
                ("permanent-redirect", "https://new.com"),
                ("permanent-redirect-code", "300"),
            ],
            "/x",
            "503",
            &[Code::AnnotationInvalid],
        ),
        (&[("app-root", "/app?a=b")], "/", "302 http://a.com/app?a=b", &[]),
        (&[("app-root", "/app?a=b")], "/x", "shop/s", &[]),
        (&[("app-root", "app")], "/", "shop/s", &[Code::AnnotationInvalid]),
        (&[("app-root", "/")], "/", "shop/s", &[Code::AnnotationInvalid]),
    ];
    for (annotations, url, want, codes) in rows {
        let (got, told) = redirected(annotations, url);
        assert_eq!(
            (got.as_str(), told.as_slice()),
            (*want, *codes),
            "{annotations:?} {url}"
        );
    }
}

/// A path that is redirected beside one that is not, and whether clients are led around.
#[test]
fn a_redirect_to_what_it_takes_itself_is_told() {
    for (kind, text, beside, to, told) in [
        ("Prefix", "/", "/x", "http://a.com/new", true),
        ("Prefix", "/", "/x", "http://a.com", true),
        ("Prefix", "/", "/x", "http://A.com/new?a=b", true),
        ("Prefix", "/", "/x", "$scheme://a.com/new#top", true),
        ("Prefix", "/", "/x", "http://a.com/app$request_uri", true),
        ("Prefix", "/", "/x", "http://a.com$request_uri", true),
        ("Prefix", "/old", "/x", "http://a.com/old/new", true),
        (
            "ImplementationSpecific",
            "/old/*",
            "/x",
            "http://a.com/old/new",
            true,
        ),
        // Elsewhere.
        ("Prefix", "/old", "/x", "http://a.com/new", false),
        ("Prefix", "/old", "/x", "http://a.com/new$request_uri", false),
        ("Prefix", "/", "/x", "http://b.com/new", false),
        ("Prefix", "/", "/x", "https://a.com/new", false),
        ("Prefix", "/", "/x", "http://a.com:8080/new", false),
        // To what another rule takes, at once or in the end.
        ("Prefix", "/", "/new", "http://a.com/new", false),
        ("Prefix", "/", "/new", "http://a.com/new$request_uri", false),
    ] {
        let rules =
            |text, kind, service| json!({ "rules": [rule("a.com", json!([path(kind, text, service)]))] });
        let served = with_services(World::new(), &["shop/s", "shop/t"])
            .ingress(
                "shop/web",
                nginx(&[("permanent-redirect", to)]),
                rules(text, kind, "s"),
            )
            .ingress("shop/beside", json!({}), rules(beside, "Prefix", "t"))
            .one(&serving());
        let row = format!("{text} {beside} {to}: {:?}", served.problems);
        assert_eq!(served.codes().contains(&Code::RedirectLoop), told, "{row}");
        if told {
            served.told(Code::RedirectLoop, "ingress shop/web spec.rules[0].http.paths[0]");
        }
    }
}

#[test]
fn a_default_backend_redirects_as_the_paths_do() {
    let served = with_services(World::new(), &["shop/s"])
        .ingress(
            "shop/web",
            nginx(&[("permanent-redirect", "https://new.com")]),
            json!({ "defaultBackend": to("s") }),
        )
        .one(&serving());
    assert_eq!(served.get("a.com/x"), "→ 301");
}

#[test]
fn paths_are_rewritten_as_they_were_or_closed() {
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r str, &'r str, &'r [Code]);
    let rest = "/foo(/|$)(.*)";
    let cut = ("rewrite-target", "/$2");
    let rows: &[Row<'_>] = &[
        (&[cut], rest, "/foo/a?q=1", "shop/s /a?q=1", &[]),
        (&[cut, ("use-regex", "true")], rest, "/foo", "shop/s /", &[]),
        (&[cut], rest, "/foobar", "404 /foobar", &[]),
        (
            &[("rewrite-target", "/foo")],
            "/foo",
            "/foo/a",
            "shop/s /foo/a",
            &[],
        ),
        (&[("use-regex", "true")], "/foo", "/foobar", "shop/s /foobar", &[]),
        (&[("use-regex", "false")], "/foo", "/foobar", "404 /foobar", &[]),
        (
            &[("use-regex", "true")],
            "/v[0-9]",
            "/v1/x",
            "503 /v1/x",
            &[Code::AnnotationUnsupported],
        ),
        (&[cut], "/(a|b)", "/bc", "503 /bc", &[Code::AnnotationUnsupported]),
        (
            &[("use-regex", "true"), ("portcullis.dev/path-match", "regex")],
            "//v[0-9]",
            "/v1",
            "shop/s /v1",
            &[],
        ),
        (
            &[cut, ("portcullis.dev/path-match", "regex")],
            "//v1",
            "/v1",
            "503 /v1",
            &[Code::AnnotationUnsupported],
        ),
    ];
    for (annotations, text, url, want, codes) in rows {
        let spec = json!({ "rules": [rule("a.com", json!([path("ImplementationSpecific", text, "s")]))] });
        let served = with_services(World::new(), &["shop/s"])
            .ingress("shop/web", nginx(annotations), spec)
            .one(&serving());
        let request = Request::get(Port::HTTP, "a.com", url);
        let mut seen = (*url).to_owned();
        if let Decision::Rule(_, rule) = resolve(&served.balancer, &request) {
            for rewrite in &rule.rewrites {
                seen = rewrite.pattern.replace(&seen, &rewrite.replacement).unwrap();
            }
        }
        let got = format!("{} {seen}", served.ask(&request));
        assert_eq!(got, *want, "{annotations:?} {text} {url}");
        assert_eq!(
            served.codes(),
            *codes,
            "{annotations:?} {text}: {:?}",
            served.problems
        );
    }
}

#[test]
fn backends_are_spoken_to_as_they_were() {
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r [Code]);
    let rows: &[Row<'_>] = &[
        (&[], "Http1 false None {}", &[]),
        (&[("backend-protocol", "HTTPS")], "Http1 true None {}", &[]),
        (&[("backend-protocol", "GRPC")], "Grpc false None {}", &[]),
        (&[("backend-protocol", "GRPCS")], "Grpc true None {}", &[]),
        (
            &[("backend-protocol", "FCGI")],
            "closed",
            &[Code::AnnotationInvalid],
        ),
        (
            &[
                ("backend-protocol", "HTTPS"),
                ("portcullis.dev/backend-protocol", "HTTP"),
            ],
            "Http1 false None {}",
            &[],
        ),
        (&[("proxy-read-timeout", "120")], "Http1 false Some(120) {}", &[]),
        (
            &[("proxy-read-timeout", "2m")],
            "Http1 false None {}",
            &[Code::AnnotationInvalid],
        ),
        (
            &[("affinity", "cookie"), ("session-cookie-max-age", "600")],
            "Http1 false None {\"stickiness.enabled\": \"true\", \"stickiness.lb_cookie.duration_seconds\": \"600\", \
             \"stickiness.type\": \"lb_cookie\"}",
            &[],
        ),
        (
            &[("affinity", "ip")],
            "Http1 false None {}",
            &[Code::AnnotationInvalid],
        ),
    ];
    for (annotations, want, codes) in rows {
        let served = world(annotations).one(&serving());
        let backend = served
            .balancer
            .backends
            .values()
            .find(|backend| &*backend.service.name.name == "s");
        let got = backend.map_or("closed".to_owned(), |backend| {
            let (protocol, attributes) = (&backend.protocol, &backend.attributes);
            format!(
                "{:?} {} {:?} {attributes:?}",
                protocol.version,
                protocol.tls.is_on(),
                backend.timeout_seconds
            )
        });
        assert_eq!(got, *want, "{annotations:?}");
        assert_eq!(served.codes(), *codes, "{annotations:?}: {:?}", served.problems);
    }
}

#[test]
fn requests_are_led_by_the_key_that_led_them() {
    let header = |name| AffinityKey::header(name).unwrap();
    let cookie = |name| AffinityKey::cookie(name).unwrap();
    for (text, want) in [
        ("$remote_addr", Some(AffinityKey::Client)),
        ("$binary_remote_addr", Some(AffinityKey::Client)),
        ("$request_uri", Some(AffinityKey::Uri)),
        ("${request_uri}", Some(AffinityKey::Uri)),
        ("$http_x_user_id", Some(header("x-user-id"))),
        ("$cookie_JSESSIONID", Some(cookie("JSESSIONID"))),
        ("$request_uri$host", None),
        ("${request_uri}-a", None),
        ("$http_host", None),
        ("$http_", None),
        ("$cookie_", None),
        ("$uri", None),
        ("request_uri", None),
    ] {
        let served = world(&[("upstream-hash-by", text)]).one(&serving());
        let mut backends = served.balancer.backends.values();
        let backend = backends
            .find(|backend| &*backend.service.name.name == "s")
            .unwrap();
        assert_eq!(backend.affinity, want, "{text}");
        let codes = match want {
            Some(_) => &[][..],
            None => &[Code::AnnotationInvalid],
        };
        assert_eq!(served.codes(), codes, "{text}: {:?}", served.problems);
    }
    let both = [
        ("upstream-hash-by", "$request_uri"),
        ("portcullis.dev/affinity-hash", "client-ip"),
    ];
    let served = world(&both).one(&serving());
    let mut keys = served.balancer.backends.values().map(|backend| &backend.affinity);
    assert!(keys.any(|key| *key == Some(AffinityKey::Client)), "ours win");
    assert_eq!(served.codes(), &[]);
}

#[test]
fn who_is_asked_is_not_spoken_to_as_backends_are() {
    let url = "http://auth.shop.svc.cluster.local/";
    let served = world(&[("auth-url", url), ("backend-protocol", "GRPCS")])
        .service("shop/auth")
        .one(&serving());
    let backends = served.balancer.backends.values();
    let spoken: BTreeMap<_, _> = backends
        .map(|backend| (backend.service.name.name.to_string(), backend.protocol.clone()))
        .collect();
    assert!(spoken["s"].tls.is_on() && spoken["s"].version == BackendVersion::Grpc);
    assert!(!spoken["auth"].tls.is_on() && spoken["auth"].version == BackendVersion::Http1);
}

#[test]
fn a_host_of_its_own_is_what_backends_see() {
    let served = world(&[("upstream-vhost", "inner.example")]).one(&serving());
    let request = Request::get(Port::HTTP, "a.com", "/x");
    let Decision::Rule(_, rule) = resolve(&served.balancer, &request) else {
        panic!("no rule")
    };
    let [rewrite] = rule.rewrites.as_slice() else {
        panic!("{:?}", rule.rewrites)
    };
    assert_eq!(
        rewrite.pattern.replace("a.com", &rewrite.replacement).unwrap(),
        "inner.example"
    );
    let served = world(&[("upstream-vhost", "$service_name")]).one(&serving());
    assert_eq!(served.get("a.com/x"), "503");
    assert_eq!(served.codes(), [Code::AnnotationInvalid]);
}

#[test]
fn clients_show_certificates_as_they_did_or_nobody_passes() {
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r str, &'r [Code]);
    let asks = "certificates of secret/shop/ca: shop/s";
    let rows: &[Row<'_>] = &[
        (&[("auth-tls-secret", "shop/ca")], "→ 301", asks, &[]),
        (
            &[("auth-tls-secret", "shop/ca"), ("auth-tls-verify-client", "on")],
            "→ 301",
            asks,
            &[],
        ),
        (
            &[("auth-tls-secret", "shop/ca"), ("auth-tls-verify-client", "off")],
            "shop/s",
            "shop/s",
            &[],
        ),
        (
            &[("auth-tls-secret", "shop/ca"), ("ssl-redirect", "false")],
            "shop/s",
            asks,
            &[],
        ),
        (
            &[
                ("auth-tls-secret", "shop/ca"),
                ("auth-tls-verify-client", "optional"),
            ],
            "→ 301",
            "503",
            &[Code::AnnotationInvalid],
        ),
        (
            &[("auth-tls-secret", "other/ca")],
            "→ 301",
            "503",
            &[Code::AnnotationInvalid],
        ),
        (
            &[("auth-tls-secret", "ca")],
            "→ 301",
            "503",
            &[Code::AnnotationInvalid],
        ),
        (
            &[("auth-tls-secret", "shop/ca"), ("auth-tls-match-cn", "CN=ann")],
            "→ 301",
            "503",
            &[Code::AnnotationUnsupported],
        ),
    ];
    for (annotations, plain, secure, codes) in rows {
        let spec = json!({
            "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))],
            "tls": [{ "hosts": ["a.com"], "secretName": "cert" }],
        });
        let served = with_services(World::new(), &["shop/s"])
            .ingress("shop/web", nginx(annotations), spec)
            .one(&serving());
        assert_eq!(served.get("a.com/x"), *plain, "{annotations:?}");
        let request = Request::get(Port::HTTPS, "a.com", "/x");
        let mut got = served.get_at(443, "a.com/x");
        if let Decision::Rule(_, rule) = resolve(&served.balancer, &request)
            && !rule.clients.is_off()
            && got == "shop/s"
        {
            got = format!("certificates of {}: {got}", store(&rule.clients));
        }
        assert_eq!(got, *secure, "{annotations:?} {:?}", served.problems);
        let codes_of_moved = served
            .problems
            .iter()
            .filter(|problem| problem.at.to_string().contains("auth-tls"));
        let told: Vec<Code> = codes_of_moved.map(|problem| problem.code).collect();
        assert_eq!(told, *codes, "{annotations:?}: {:?}", served.problems);
    }
}

/// What is told of a certificate follows from the handshake, so no rule says it by itself, at whatever port.
#[test]
fn no_rule_says_who_has_shown_a_certificate() {
    let passed = r#"[{"port":443,"mode":"passthrough"}]"#;
    let fields = r#"{"set":{"x-tenant":"t1"}}"#;
    let claims = r#"{"set":{"ssl-client-verify":"SUCCESS"}}"#;
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r str, &'r [Code]);
    let rows: &[Row<'_>] = &[
        (&[], "shop/s", "", &[]),
        (
            &[("portcullis.dev/mutual-authentication", passed)],
            "shop/s",
            "",
            &[],
        ),
        (
            &[("portcullis.dev/request-headers", fields)],
            "shop/s",
            "request =x-tenant",
            &[],
        ),
        (
            &[("portcullis.dev/request-headers", claims)],
            "503",
            "",
            &[Code::AnnotationInvalid],
        ),
    ];
    for (annotations, want, changes, codes) in rows {
        let moved = [("auth-tls-secret", "shop/ca"), ("ssl-redirect", "false")];
        let spec = json!({
            "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))],
            "tls": [{ "hosts": ["a.com"], "secretName": "cert" }],
        });
        let served = with_services(World::new(), &["shop/s"])
            .ingress("shop/web", nginx(&[&moved[..], annotations].concat()), spec)
            .one(&serving());
        for port in [80, 443] {
            assert_eq!(served.get_at(port, "a.com/x"), *want, "{annotations:?} {port}");
            let request = Request::get(Port::new(port.into()).unwrap(), "a.com", "/x");
            let Decision::Rule(_, rule) = resolve(&served.balancer, &request) else {
                panic!("{annotations:?} {port}")
            };
            let filters = rule.filters.as_ref().map(|filters| filters.to_string());
            assert_eq!(filters.unwrap_or_default(), *changes, "{annotations:?} {port}");
        }
        let told: Vec<Code> = served.codes();
        assert!(
            codes.iter().all(|code| told.contains(code)),
            "{annotations:?} {told:?}"
        );
    }
}

fn store(clients: &ClientCertificates) -> String {
    let ClientCertificates::Verify {
        trust_store: TrustStore::Stored(name),
        ..
    } = clients
    else {
        panic!("{clients:?}")
    };
    format!("secret/{name}")
}
