//! Annotations that ask who somebody is in, what is served only to those who say so out.

use portcullis_model::{Authenticate, Decision};
use proptest::prelude::*;

use super::*;

const OIDC: &str = r#"{"issuer":"https://i","authorizationEndpoint":"https://i/a","tokenEndpoint":"https://i/t",
    "userInfoEndpoint":"https://i/u","secretName":"idp"}"#;
const COGNITO: &str =
    r#"{"userPoolARN":"arn:aws:cognito-idp:x","userPoolClientID":"c","userPoolDomain":"d"}"#;
const JWT: &str = r#"{"jwksEndpoint":"https://k","issuer":"https://j"}"#;
const BOTH: &str = r#"[{"HTTP":80},{"HTTPS":443}]"#;

fn idp(data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "namespace": "shop", "name": "idp" }, "stringData": data,
    })
}

fn good() -> Value {
    idp(json!({ "clientID": "id", "clientSecret": "s3cret" }))
}

/// `a.com/` to `s`, with both listeners.
fn world(annotations: &[(&str, &str)], service: &[(&str, &str)]) -> World {
    let all = [annotations, &[("listen-ports", BOTH)]].concat();
    World::new().annotated_service("shop/s", alb(service)).ingress(
        "shop/web",
        alb(&all),
        json!({ "defaultBackend": to("s"), "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] }),
    )
}

impl Served {
    /// What is answered, after what: `oidc https://i → shop/s`.
    fn after(&self, port: u16, url: &str) -> String {
        let (host, _) = url.split_once('/').unwrap();
        let request = Request::get(Port::new(port.into()).unwrap(), host, &url[host.len()..]);
        let step = match resolve(&self.balancer, &request) {
            Decision::Rule(_, rule) => rule.authenticate.as_ref(),
            Decision::Default(_) => self.balancer.listeners[&request.port].authenticate.as_ref(),
            Decision::NoListener => None,
        };
        match step {
            Some(step) => format!("{step} → {}", self.ask(&request)),
            None => self.ask(&request),
        }
    }
}

#[test]
fn who_may_pass_is_asked_for_on_https_and_nobody_passes_over_plain_http() {
    for (annotations, want) in [
        (vec![("auth-type", "none")], "shop/s"),
        (vec![("auth-idp-oidc", OIDC)], "shop/s"), // only configured, not asked for
        (
            vec![("auth-type", "oidc"), ("auth-idp-oidc", OIDC)],
            "oidc https://i → shop/s",
        ),
        (
            vec![("auth-type", "cognito"), ("auth-idp-cognito", COGNITO)],
            "cognito arn:aws:cognito-idp:x → shop/s",
        ),
        (vec![("jwt-validation", JWT)], "jwt https://j → shop/s"),
        (
            vec![("jwt-validation", JWT), ("auth-type", "none")],
            "jwt https://j → shop/s",
        ),
    ] {
        let open = want == "shop/s";
        let world = world(&annotations, &[]).with(good());
        let (own, incumbent) = (world.one(&ours()), world.one(&theirs()));
        for url in ["a.com/x", "other.com/"] {
            assert_eq!(own.after(443, url), want, "{annotations:?}");
            assert_eq!(incumbent.after(443, url), want, "{annotations:?}");
            assert_eq!(
                own.after(80, url),
                if open { "shop/s" } else { "503" },
                "{annotations:?}"
            );
            assert_eq!(incumbent.get_at(80, url), "shop/s", "{annotations:?}");
        }
        let told = if open {
            vec![]
        } else {
            vec![Code::AuthenticationNeedsHttps]
        };
        assert_eq!(own.codes(), told, "{annotations:?}");
        assert_eq!(incumbent.codes(), told, "{annotations:?}");
    }
}

#[test]
fn plain_http_may_redirect_to_where_users_are_asked() {
    for settings in [ours(), theirs()] {
        let all = [
            ("auth-type", "oidc"),
            ("auth-idp-oidc", OIDC),
            ("ssl-redirect", "443"),
        ];
        let served = world(&all, &[]).with(good()).one(&settings);
        assert_eq!(served.after(80, "a.com/x"), "→ 301");
        assert_eq!(served.after(443, "a.com/x"), "oidc https://i → shop/s");
        assert_eq!(served.codes(), []);
    }
}

#[test]
fn what_cannot_be_read_closes_the_path() {
    let with = |name: &'static str, value: &'static str| {
        vec![("auth-type", "oidc"), ("auth-idp-oidc", OIDC), (name, value)]
    };
    for (annotations, at) in [
        (vec![("auth-type", "odic")], "auth-type"),
        (vec![("auth-type", "")], "auth-type"),
        (vec![("auth-type", "oidc")], "auth-type"),
        (
            vec![("auth-type", "cognito"), ("auth-idp-oidc", OIDC)],
            "auth-type",
        ),
        (
            vec![("auth-type", "oidc"), ("auth-idp-oidc", "{}")],
            "auth-idp-oidc",
        ),
        (
            vec![
                ("auth-type", "cognito"),
                ("auth-idp-cognito", r#"{"userPoolARN":"a"}"#),
            ],
            "auth-idp-cognito",
        ),
        (with("auth-scope", ""), "auth-scope"),
        (with("auth-session-cookie", "a b"), "auth-session-cookie"),
        (with("auth-session-timeout", "604801"), "auth-session-timeout"),
        (with("auth-session-timeout", "1d"), "auth-session-timeout"),
        (
            with("auth-on-unauthenticated-request", "ask"),
            "auth-on-unauthenticated-request",
        ),
        (with("jwt-validation", JWT), "jwt-validation"),
        (vec![("jwt-validation", "{}")], "jwt-validation"),
        (vec![("jwt-validation", "none")], "jwt-validation"),
    ] {
        for settings in [ours(), theirs()] {
            let served = world(&annotations, &[]).with(good()).one(&settings);
            let key = format!("ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/{at}]");
            served.told(Code::AnnotationInvalid, &key);
            for (port, url) in [(80, "a.com/"), (443, "a.com/"), (443, "other.com/")] {
                assert_eq!(served.after(port, url), "503", "{annotations:?} {url} at {port}");
            }
        }
    }
}

#[test]
fn settings_of_a_session_have_the_incumbent_s_defaults() {
    let session = |annotations: &[(&str, &str)]| {
        let all = [&[("auth-type", "oidc"), ("auth-idp-oidc", OIDC)], annotations].concat();
        let served = world(&all, &[]).with(good()).one(&ours());
        let steps = served
            .balancer
            .rules
            .iter()
            .find_map(|rule| rule.authenticate.clone());
        let Some(Authenticate::Oidc { session, client, .. }) = steps else {
            panic!("{:?}", served.problems)
        };
        let client = client.unwrap();
        assert_eq!((client.id.reveal(), client.secret.reveal()), ("id", "s3cret"));
        format!(
            "{} {} {} {:?}",
            session.cookie, session.timeout_seconds, session.scope, session.on_unauthenticated
        )
    };
    assert_eq!(session(&[]), "AWSELBAuthSessionCookie 604800 openid Authenticate");
    assert_eq!(
        session(&[
            ("auth-session-cookie", "mine"),
            ("auth-session-timeout", "60"),
            ("auth-scope", "openid email"),
            ("auth-on-unauthenticated-request", "deny"),
        ]),
        "mine 60 openid email Deny"
    );
}

#[test]
fn a_secret_that_is_missing_or_cannot_be_read_closes_the_path() {
    let all = [("auth-type", "oidc"), ("auth-idp-oidc", OIDC)];
    let key = "ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/auth-idp-oidc]";
    let name = ObjectName::new("shop", "idp");
    for (answered, code) in [
        (Answered::Missing, Code::SecretNotFound),
        (Answered::Refused("forbidden".into()), Code::AccessDenied),
    ] {
        let mut world = world(&all, &[]);
        world.asked.insert(name.clone(), answered);
        let served = world.one(&ours());
        served.told(code, key);
        assert_eq!(served.after(443, "a.com/"), "503");
    }
    for (data, ok) in [
        (json!({ "clientID": "i", "clientSecret": "s" }), true),
        (json!({ "clientId": "i", "clientSecret": "s" }), true),
        (json!({ "clientID": "i" }), false),
        (json!({ "clientSecret": "s" }), false),
        (json!({ "clientID": "", "clientSecret": "s" }), false),
        (json!({ "ClientID": "i", "clientSecret": "s" }), false),
    ] {
        let served = world(&all, &[]).with(idp(data.clone())).one(&ours());
        let want = if ok { "oidc https://i → shop/s" } else { "503" };
        assert_eq!(served.after(443, "a.com/"), want, "{data}");
        if !ok {
            served.told(Code::SecretInvalid, key);
        }
    }
    // Nobody was asked, as in a plan from files.
    let served = world(&all, &[]).one(&ours());
    assert_eq!(served.after(443, "a.com/"), "oidc https://i → shop/s");
}

#[test]
fn the_service_s_own_word_counts_where_it_is_the_only_one() {
    let oidc = [("auth-type", "oidc"), ("auth-idp-oidc", OIDC)];
    for (ingress, service, want) in [
        (vec![], oidc.to_vec(), "oidc https://i → shop/s"),
        (oidc.to_vec(), vec![("auth-type", "none")], "shop/s"),
        (
            vec![("auth-idp-oidc", OIDC)],
            vec![("auth-type", "oidc")],
            "oidc https://i → shop/s",
        ),
        (vec![], vec![("jwt-validation", JWT)], "jwt https://j → shop/s"),
        (vec![], vec![("auth-type", "odic")], "503"),
        (oidc.to_vec(), vec![("auth-idp-oidc", "{}")], "503"),
    ] {
        let served = world(&ingress, &service).with(good()).one(&ours());
        assert_eq!(served.after(443, "a.com/"), want, "{ingress:?} {service:?}");
    }
    // One that is missing beside it does not make it the only one.
    let action =
        |services: &str| format!(r#"{{"type":"forward","forwardConfig":{{"targetGroups":[{services}]}}}}"#);
    let one = action(r#"{"serviceName":"s","servicePort":80}"#);
    let two = action(
        r#"{"serviceName":"s","servicePort":80,"weight":1},{"serviceName":"gone","servicePort":80,"weight":1}"#,
    );
    for (action, service, own, incumbent) in [
        (&one, ("auth-type", "none"), "shop/s", "shop/s"),
        (
            &two,
            ("auth-type", "none"),
            "oidc https://i → shop/s",
            "oidc https://i → shop/s",
        ),
        (&two, ("jwt-validation", JWT), "503", "oidc https://i → shop/s"),
    ] {
        let all = [&oidc[..], &[("listen-ports", BOTH), ("actions.go", action)]].concat();
        let world = World::new()
            .annotated_service("shop/s", alb(&[service]))
            .with(good())
            .ingress(
                "shop/web",
                alb(&all),
                json!({ "rules": [rule("a.com", json!([
                    { "path": "/", "pathType": "Prefix", "backend": to_action("go") },
                ]))] }),
            );
        assert_eq!(
            world.one(&ours()).after(443, "a.com/"),
            own,
            "{action} {service:?}"
        );
        assert_eq!(
            world.one(&theirs()).after(443, "a.com/"),
            incumbent,
            "{action} {service:?}"
        );
    }
}

#[test]
fn only_secrets_that_are_needed_are_asked_for() {
    let named = |name: &str| OIDC.replace("idp", name);
    let (own, other) = (named("own"), named("other"));
    for (ingress, service, want) in [
        (vec![("auth-idp-oidc", &*own)], vec![], vec![]),
        (
            vec![("auth-type", "cognito"), ("auth-idp-oidc", &*own)],
            vec![],
            vec![],
        ),
        (
            vec![("auth-type", "oidc"), ("auth-idp-oidc", &*own)],
            vec![],
            vec!["shop/own"],
        ),
        (
            vec![],
            vec![("auth-type", "oidc"), ("auth-idp-oidc", &*other)],
            vec!["shop/other"],
        ),
        (
            vec![("auth-type", "oidc"), ("auth-idp-oidc", &*own)],
            vec![("auth-idp-oidc", &*other)],
            vec!["shop/other", "shop/own"],
        ),
        (
            vec![("auth-type", "oidc"), ("auth-idp-oidc", "{")],
            vec![],
            vec![],
        ),
    ] {
        let world = world(&ingress, &service);
        let index = world.index(&ours());
        let synced = index.synced().unwrap();
        let id = synced.ids().pop_first().unwrap();
        let asked: Vec<String> = secrets_of(&synced.snapshot(&id), &ours())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(asked, want, "{ingress:?} {service:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is cut out of the annotations that configure it.
    #[test]
    fn authentication_that_is_asked_for_never_disappears_by_an_error(
        kind in prop::sample::select(vec!["oidc", "cognito", "odic", ""]),
        damaged in 0..4_usize,
        cut in 0..200_usize,
        length in 1..40_usize,
        answer in prop::sample::select(vec!["found", "missing", "refused", "unasked"]),
        on_service in any::<bool>(),
    ) {
        let mut values = [OIDC.to_owned(), COGNITO.to_owned(), "openid".to_owned(), "60".to_owned()];
        let text = &mut values[damaged];
        let chars: Vec<char> = text.chars().collect();
        *text = chars.iter().enumerate().filter(|(i, _)| *i < cut || *i >= cut + length).map(|(_, c)| *c).collect();
        let names = ["auth-idp-oidc", "auth-idp-cognito", "auth-scope", "auth-session-timeout"];
        let mut all: Vec<(&str, &str)> = names.iter().copied().zip(values.iter().map(String::as_str)).collect();
        all.push(("auth-type", kind));
        let mut world = if on_service { world(&[], &all) } else { world(&all, &[]) };
        let name = ObjectName::new("shop", "idp");
        match answer {
            "found" => world = world.with(good()),
            "missing" => drop(world.asked.insert(name, Answered::Missing)),
            "refused" => drop(world.asked.insert(name, Answered::Refused("no".into()))),
            _ => {}
        }
        for settings in [ours(), theirs()] {
            let served = world.one(&settings);
            for url in ["a.com/", "a.com/x", "other.com/"] {
                let secure = served.after(443, url);
                prop_assert!(secure == "503" || secure.ends_with(" → shop/s"), "{secure}: {all:?} {answer}");
            }
            let plain = served.after(80, "a.com/");
            prop_assert!(plain == "503" || settings == theirs(), "{plain}");
        }
    }
}
