//! Ingresses with annotations of ingress-nginx's beside ours of the same kind in, what counts of both out: ours for what
//! they say, theirs for all else.

use portcullis_model::{BackendVersion, CookieRewrites, Decision, Filters, Replacement, RewritePart, Rule};

use super::moved::{check, nginx, serving, world};
use super::*;

/// The rule of `a.com/`.
fn rule_of(served: &Served) -> &Rule {
    match resolve(&served.balancer, &Request::get(Port::HTTP, "a.com", "/svc/a")) {
        Decision::Rule(_, rule) => rule,
        Decision::Default(_) | Decision::NoListener => panic!("no rule"),
    }
}

fn filters_of(served: &Served) -> Filters {
    rule_of(served).filters.as_deref().cloned().unwrap_or_default()
}

#[test]
fn a_cookie_keeps_clients_beside_attributes_that_say_nothing_of_it() {
    const ATTRIBUTES: &str = "alb.ingress.kubernetes.io/target-group-attributes";
    let delay = "deregistration_delay.timeout_seconds=10";
    let (on, off) = ("stickiness.enabled=true", "stickiness.enabled=false");
    for (of_ingress, of_service, want) in [
        (Some(delay), None, Some("true")),
        (None, Some(delay), Some("true")),
        (Some(on), None, Some("true")),
        (Some(off), None, Some("false")),
        (None, Some(off), Some("false")),
        // The Service's list stands for the Ingress's as a whole.
        (Some(off), Some(delay), Some("true")),
    ] {
        let mut annotations = nginx(&[("affinity", "cookie"), ("session-cookie-max-age", "600")]);
        if let Some(text) = of_ingress {
            annotations[ATTRIBUTES] = json!(text);
        }
        let said = of_service.map_or(json!({}), |text| json!({ ATTRIBUTES: text }));
        let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
        let served = World::new()
            .annotated_service("shop/s", said)
            .ingress("shop/web", annotations, spec)
            .one(&ours());
        let backend = served.balancer.backends.values().next().unwrap();
        let row = format!("{of_ingress:?} {of_service:?}: {:?}", backend.attributes);
        let enabled = backend.attributes.get("stickiness.enabled");
        assert_eq!(enabled.map(String::as_str), want, "{row}");
        let is_delayed = of_service.or(of_ingress) == Some(delay);
        assert_eq!(backend.drain_seconds, is_delayed.then_some(10), "{row}");
        // Whose cookie it is, its time says.
        let seconds = backend.attributes.get("stickiness.lb_cookie.duration_seconds");
        assert_eq!(seconds.is_some(), is_delayed, "{row}");
        assert_eq!(served.codes(), [], "{row}");
    }
}

#[test]
fn each_part_of_a_url_is_rewritten_by_whom_speaks_of_it() {
    let host = r#"[{"type":"host-header-rewrite","hostHeaderRewriteConfig":{"rewrites":[{"regex":".*","replace":"ours.example"}]}}]"#;
    let url = r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[{"regex":"^/svc(.*)$","replace":"/ours$1"}]}}]"#;
    for (ours, want) in [
        (None, ["/a", "theirs.example"]),
        (Some(host), ["/a", "ours.example"]),
        (Some(url), ["/ours/a", "theirs.example"]),
        (Some("[]"), ["/a", "theirs.example"]),
    ] {
        let mut annotations = nginx(&[("rewrite-target", "/$2"), ("upstream-vhost", "theirs.example")]);
        if let Some(text) = ours {
            annotations["portcullis.dev/transforms.s"] = json!(text);
        }
        let paths = json!([path("ImplementationSpecific", "/svc(/|$)(.*)", "s")]);
        let served = with_services(World::new(), &["shop/s"])
            .ingress(
                "shop/web",
                annotations,
                json!({ "rules": [rule("a.com", paths)] }),
            )
            .one(&serving());
        assert_eq!(served.codes(), [], "{ours:?}: {:?}", served.problems);
        let seen = |of: RewritePart, text: &str| {
            let all = rule_of(&served)
                .rewrites
                .iter()
                .filter(|rewrite| rewrite.part == of);
            all.fold(text.to_owned(), |text, rewrite| {
                rewrite.pattern.replace(&text, &rewrite.replacement).unwrap()
            })
        };
        let got = [seen(RewritePart::Url, "/svc/a"), seen(RewritePart::Host, "a.com")];
        assert_eq!(got, want, "{ours:?}");
    }
}

#[test]
fn cookies_are_rewritten_by_whom_speaks_of_their_domain_or_path() {
    let theirs = [
        ("proxy-cookie-domain", "in.com out.com"),
        ("proxy-cookie-path", "/in /out"),
    ];
    let pair = |of: fn(&str, &str) -> Result<Replacement, _>, from, to| vec![of(from, to).unwrap()];
    let (domain, path) = (Replacement::of_domain, Replacement::of_path);
    for (ours, domains, paths) in [
        (
            r#"{"paths":[{"from":"/a","to":"/b"}]}"#,
            pair(domain, "in.com", "out.com"),
            pair(path, "/a", "/b"),
        ),
        (
            r#"{"domains":[{"from":"a.com","to":"b.com"}]}"#,
            pair(domain, "a.com", "b.com"),
            pair(path, "/in", "/out"),
        ),
        (
            r#"{"domains":[{"from":"a.com","to":"b.com"}],"paths":[{"from":"/a","to":"/b"}]}"#,
            pair(domain, "a.com", "b.com"),
            pair(path, "/a", "/b"),
        ),
    ] {
        let all = [&theirs[..], &[("portcullis.dev/cookie-rewrites", ours)]].concat();
        let served = world(&all).one(&serving());
        assert_eq!(served.codes(), [], "{ours}: {:?}", served.problems);
        let Some(CookieRewrites {
            domains: d, paths: p, ..
        }) = filters_of(&served).cookie_rewrites
        else {
            panic!("{ours}");
        };
        assert_eq!((d, p), (domains, paths), "{ours}");
    }
    check(&[(
        &[
            ("proxy-cookie-domain", "~in.com out.com"),
            (
                "portcullis.dev/cookie-rewrites",
                r#"{"paths":[{"from":"/a","to":"/b"}]}"#,
            ),
        ],
        "",
        &[Code::AnnotationInvalid],
    )]);
}

#[test]
fn what_ours_leave_out_of_who_may_pass_and_how_often_is_theirs() {
    use Code::{AnnotationInvalid, AuthenticationNeedsHttps};
    const OURS: &str = "portcullis.dev/external-auth";
    let bare = r#"{"serviceName":"auth","servicePort":80,"path":"/"}"#;
    let page = r#"{"serviceName":"auth","servicePort":80,"path":"/","signIn":"/ours"}"#;
    check(&[
        (
            &[(OURS, bare), ("auth-signin", "/in?rd=/")],
            "if shop/web-auth:80 lets it pass, else at /in?rd=/",
            &[],
        ),
        (
            &[(OURS, page), ("auth-signin", "https://$arg_to/")],
            "if shop/web-auth:80 lets it pass, else at /ours",
            &[],
        ),
        (
            &[(OURS, bare), ("auth-response-headers", "Host")],
            "",
            &[AnnotationInvalid],
        ),
        (
            &[("limit-rps", "10"), ("portcullis.dev/rate-limit-burst", "20")],
            "at most 10/s of a client, 20 at once",
            &[],
        ),
        (
            &[
                ("limit-rps", "10"),
                ("limit-burst-multiplier", "-1"),
                ("portcullis.dev/rate-limit-burst", "20"),
            ],
            "at most 10/s of a client, 20 at once",
            &[],
        ),
        (
            &[("limit-rps", "10"), ("portcullis.dev/rate-limit-burst", "0")],
            "",
            &[AnnotationInvalid],
        ),
    ]);
    for (ours, told) in [
        (bare, &["x-mail", "x-user"][..]),
        (
            r#"{"serviceName":"auth","servicePort":80,"path":"/","responseHeaders":["X-Id"]}"#,
            &["x-id"],
        ),
        (
            r#"{"serviceName":"auth","servicePort":80,"path":"/","responseHeaders":[]}"#,
            &[],
        ),
    ] {
        let served = world(&[(OURS, ours), ("auth-response-headers", "X-User, X-Mail")])
            .service("shop/auth")
            .one(&serving());
        let asked = filters_of(&served).external_auth.unwrap();
        let got: Vec<&str> = asked.told().iter().map(|name| name.as_str()).collect();
        assert_eq!(got, told, "{ours}");
    }
    for (more, realm) in [
        (&[][..], "Staff"),
        (&[("portcullis.dev/basic-auth-realm", "Ours")], "Ours"),
    ] {
        let own = [
            ("portcullis.dev/basic-auth-secret", "users"),
            ("auth-realm", "Staff"),
        ];
        let served = world(&[&own, more].concat()).one(&serving());
        assert_eq!(filters_of(&served).basic_auth.unwrap().realm(), realm);
        assert_eq!(served.codes(), [AuthenticationNeedsHttps]);
    }
}

#[test]
fn how_targets_are_spoken_to_is_said_by_both() {
    use BackendVersion::{Grpc, Http1, Http2};
    let (scheme, version) = (
        "portcullis.dev/backend-protocol",
        "portcullis.dev/backend-protocol-version",
    );
    for (theirs, ours, want, codes) in [
        // In the clear would go what was to be encrypted.
        ("HTTPS", (version, "HTTP2"), Some((Http2, true)), &[][..]),
        ("GRPCS", (version, "HTTP1"), Some((Http1, true)), &[]),
        ("GRPC", (scheme, "HTTPS"), Some((Grpc, true)), &[]),
        ("HTTPS", (scheme, "HTTP"), Some((Http1, false)), &[]),
        ("FCGI", (scheme, "HTTPS"), Some((Http1, true)), &[]),
        ("FCGI", (version, "HTTP2"), None, &[Code::AnnotationInvalid]),
    ] {
        let served = world(&[("backend-protocol", theirs), ours]).one(&serving());
        let mut backends = served.balancer.backends.values();
        let backend = backends.find(|backend| &*backend.service.name.name == "s");
        let got = backend.map(|backend| (backend.protocol.version, backend.protocol.tls.is_on()));
        assert_eq!(got, want, "{theirs} {ours:?}");
        assert_eq!(served.codes(), codes, "{theirs} {ours:?}: {:?}", served.problems);
    }
}
