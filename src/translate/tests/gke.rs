//! Ingresses as GKE served them in, what they answer here and what is told out.

use std::collections::BTreeSet;

use portcullis_model::{BackendTls, KeptTargets};

use super::moved::serving;
use super::*;
use crate::translate::annotations::gke::ALL;
use crate::translate::annotations::nginx::Fate;

fn web(annotations: Value, tls: bool) -> World {
    let mut spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
    if tls {
        spec["tls"] = json!([{ "hosts": ["a.com"], "secretName": "t" }]);
    }
    let other = json!({ "rules": [rule("b.com", json!([path("Prefix", "/", "t")]))] });
    with_services(World::new(), &["shop/s", "shop/t"])
        .ingress("shop/web", annotations, spec)
        .ingress("shop/neighbour", json!({}), other)
}

#[test]
fn plain_http_is_left_out_where_allow_http_does_not_say_that_it_may_be_had() {
    let allow = "kubernetes.io/ingress.allow-http";
    let at = format!("ingress shop/web metadata.annotations[{allow}]");
    for (value, tls, plain, secure, told) in [
        ("true", true, "shop/s", "shop/s", false),
        ("1", false, "shop/s", "404", false),
        ("false", true, "404", "shop/s", false),
        ("F", true, "404", "shop/s", false),
        ("no", true, "404", "shop/s", true),
        ("", true, "404", "shop/s", true),
        ("false", false, "503", "404", true),
        ("no", false, "503", "404", true),
    ] {
        let served = web(json!({ (allow): value }), tls).one(&serving());
        let row = format!("{value:?}, TLS {tls}");
        assert_eq!(served.get("a.com/x"), plain, "{row}");
        if tls {
            assert_eq!(served.get_at(443, "a.com/x"), secure, "{row}");
        }
        assert_eq!(served.get("b.com/x"), "shop/t", "{row}");
        let found = served
            .problems
            .iter()
            .filter(|p| p.code == Code::AnnotationInvalid);
        let found: Vec<_> = found.map(|problem| problem.at.to_string()).collect();
        assert_eq!(!found.is_empty(), told, "{row}: {:?}", served.problems);
        assert!(found.iter().all(|found| *found == at), "{row}: {found:?}");
    }
    // Also where our own annotation names plain HTTP.
    for (ports, plain, secure, told) in [
        (r#"[{"HTTPS":443}]"#, "404", "shop/s", false),
        (r#"[{"HTTP":80},{"HTTPS":443}]"#, "404", "shop/s", true),
        (r#"[{"HTTP":80}]"#, "503", "nobody", true),
    ] {
        let served = web(
            json!({ (allow): "false", "portcullis.dev/listen-ports": ports }),
            true,
        )
        .one(&serving());
        let seen = (served.get("a.com/x"), served.get_at(443, "a.com/x"));
        assert_eq!(seen, (plain.to_owned(), secure.to_owned()), "{ports}");
        let found = served.problems.iter().any(|problem| problem.at.to_string() == at);
        assert_eq!(found, told, "{ports}: {:?}", served.problems);
        assert_eq!(served.get("b.com/x"), "shop/t", "{ports}");
    }
    // The incumbent does not know it.
    let incumbent = Settings::for_serving(ControllerName::new(ControllerName::INCUMBENT));
    let served = web(json!({ (allow): "false" }), false).one(&incumbent);
    assert_eq!(served.get("a.com/x"), "shop/s");
    assert_eq!(served.codes(), []);
}

#[test]
fn what_is_not_read_is_told_at_its_annotation_and_served() {
    for theirs in ALL.iter().filter(|theirs| theirs.fate == Fate::Told) {
        let is_of_service = theirs.key.ends_with("/backend-config");
        let annotations = json!({ (theirs.key): "anything" });
        let (of_ingress, of_service, at) = match is_of_service {
            false => (annotations, json!({}), "ingress shop/web"),
            true => (json!({}), annotations, "service shop/s"),
        };
        let spec = json!({ "rules": [
            rule("a.com", json!([path("Prefix", "/", "s"), path("Prefix", "/x", "s")])),
        ] });
        let world = || {
            World::new()
                .annotated_service("shop/s", of_service.clone())
                .ingress("shop/web", of_ingress.clone(), spec.clone())
        };
        let served = world().one(&serving());
        assert_eq!(served.get("a.com/x"), "shop/s", "{}", theirs.key);
        let at = format!("{at} metadata.annotations[{}]", theirs.key);
        served.told(Code::AnnotationUnsupported, &at);
        assert_eq!(served.codes().len(), 1, "{:?}", served.problems);
        let incumbent = Settings::for_serving(ControllerName::new(ControllerName::INCUMBENT));
        assert_eq!(world().one(&incumbent).codes(), [], "{}", theirs.key);
    }
}

/// How the targets of a Service's ports are spoken to, each as `Http1`, `Http1 TLS`, or `closed`.
fn spoken(served: &Served) -> String {
    let of = |number: &str| {
        let mut backends = served.balancer.backends.values();
        let Some(backend) = backends.find(|backend| *backend.service.port == *number) else {
            return "closed".to_owned();
        };
        let protocol = &backend.protocol;
        assert_eq!(backend.health.tls, protocol.tls.is_on(), "checks follow");
        let tls = match protocol.tls.is_on() {
            true => " TLS",
            false => "",
        };
        format!("{:?}{tls}", protocol.version)
    };
    format!("{}, {}", of("80"), of("8080"))
}

const NEWER: &str = "cloud.google.com/app-protocols";
const OLDER: &str = "service.alpha.kubernetes.io/app-protocols";

/// A Service of two ports, 80 (`http`) and 8080 (`admin`), each at a path.
fn of_two_ports(of_service: &Value, of_ingress: &Value) -> World {
    let admin = json!({ "service": { "name": "s", "port": { "number": 8080 } } });
    let spec = json!({ "rules": [rule("a.com", json!([
        path("Prefix", "/", "s"),
        { "path": "/admin", "pathType": "Prefix", "backend": admin },
    ]))] });
    World::new()
        .annotated_service("shop/s", of_service.clone())
        .ingress("shop/web", of_ingress.clone(), spec)
}

#[test]
fn targets_are_spoken_to_as_the_service_says_of_their_port() {
    type Row = (Value, Value, &'static str, &'static [Code]);
    let mixed = json!({ NEWER: r#"{"http":"HTTPS","admin":"HTTP2"}"# });
    let rows: &[Row] = &[
        (mixed.clone(), json!({}), "Http1 TLS, Http2 TLS", &[]),
        (
            json!({ OLDER: r#"{"http":"HTTP","admin":"HTTPS"}"# }),
            json!({}),
            "Http1, Http1 TLS",
            &[],
        ),
        (
            json!({ NEWER: r#"{"http":"HTTP2"}"# }),
            json!({}),
            "Http2 TLS, Http1",
            &[],
        ),
        (json!({ NEWER: "{}" }), json!({}), "Http1, Http1", &[]),
        (json!({ NEWER: "null" }), json!({}), "Http1, Http1", &[]),
        // The older wins as a whole.
        (
            json!({ OLDER: r#"{"http":"HTTPS"}"#, NEWER: r#"{"admin":"HTTPS"}"# }),
            json!({}),
            "Http1 TLS, Http1",
            &[Code::AnnotationUnsupported],
        ),
        (
            json!({ OLDER: r#"{"http":"HTTPS"}"#, NEWER: r#"{"http":"HTTPS"}"# }),
            json!({}),
            "Http1 TLS, Http1",
            &[],
        ),
        // What cannot be read closes what it is said of.
        (
            json!({ NEWER: r#"{"http":"https","admin":"HTTPS"}"# }),
            json!({}),
            "closed, Http1 TLS",
            &[Code::AnnotationInvalid],
        ),
        (
            json!({ NEWER: r#"{"http":"HTTP","admin":"H2C"}"# }),
            json!({}),
            "Http1, closed",
            &[Code::AnnotationInvalid],
        ),
        (
            json!({ NEWER: r#"{"http":null,"admin":["HTTPS"]}"# }),
            json!({}),
            "closed, closed",
            // One of each port.
            &[Code::AnnotationInvalid, Code::AnnotationInvalid],
        ),
        (
            json!({ NEWER: r#"{"http":"HTTPS""# }),
            json!({}),
            "closed, closed",
            &[Code::AnnotationInvalid],
        ),
        (
            json!({ NEWER: "HTTPS" }),
            json!({}),
            "closed, closed",
            &[Code::AnnotationInvalid],
        ),
        (
            json!({ NEWER: "" }),
            json!({}),
            "closed, closed",
            &[Code::AnnotationInvalid],
        ),
        // What no port is named.
        (
            json!({ NEWER: r#"{"http":"HTTPS","Admin":"HTTPS","8080":"HTTPS"}"# }),
            json!({}),
            "Http1 TLS, Http1",
            &[Code::AnnotationInvalid, Code::AnnotationInvalid],
        ),
        // Ours win, for what they say.
        (
            mixed.clone(),
            json!({ "portcullis.dev/backend-protocol": "HTTP" }),
            "Http1, Http2",
            &[],
        ),
        (
            mixed.clone(),
            json!({ "alb.ingress.kubernetes.io/backend-protocol-version": "GRPC" }),
            "Grpc TLS, Grpc TLS",
            &[],
        ),
        (
            json!({ NEWER: "{", "portcullis.dev/backend-protocol": "HTTPS" }),
            json!({}),
            "Http1 TLS, Http1 TLS",
            &[],
        ),
        (
            json!({ NEWER: "{" }),
            json!({ "portcullis.dev/backend-protocol-version": "HTTP2" }),
            "closed, closed",
            &[Code::AnnotationInvalid],
        ),
        // A Service speaks of its port, an Ingress of all.
        (
            json!({ NEWER: r#"{"admin":"HTTP2"}"# }),
            json!({ "nginx.ingress.kubernetes.io/backend-protocol": "GRPCS" }),
            "Grpc TLS, Http2 TLS",
            &[],
        ),
        (
            json!({ NEWER: "{" }),
            json!({ "nginx.ingress.kubernetes.io/backend-protocol": "HTTPS" }),
            "closed, closed",
            &[Code::AnnotationInvalid],
        ),
        // On an Ingress it says nothing.
        (json!({}), mixed, "Http1, Http1", &[]),
    ];
    for (of_service, of_ingress, want, codes) in rows {
        let served = of_two_ports(of_service, of_ingress).one(&serving());
        let row = format!("{of_service} {of_ingress}: {:?}", served.problems);
        assert_eq!(spoken(&served), *want, "{row}");
        assert_eq!(served.codes(), *codes, "{row}");
        for (url, of) in want
            .split(", ")
            .zip(["a.com/x", "a.com/admin"])
            .map(|(of, url)| (url, of))
        {
            let want = match of {
                "closed" => "503",
                _ => "shop/s",
            };
            assert_eq!(served.get(url), want, "{row}");
        }
        // The incumbent of the other semantics knows none of them.
        let incumbent = Settings::for_serving(ControllerName::new(ControllerName::INCUMBENT));
        let served = of_two_ports(of_service, &json!({})).one(&incumbent);
        assert_eq!(served.codes(), [], "{row}");
    }
}

#[test]
fn a_port_without_a_name_is_said_by_none() {
    for (text, want) in [
        (r#"{"":"HTTPS"}"#, "Http1 TLS, closed"),
        (r#"{"":"TCP"}"#, "closed, closed"),
        (r#"{"http":"HTTPS"}"#, "Http1, closed"),
    ] {
        let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
        let served = World::new()
            .with(json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": { "namespace": "shop", "name": "s", "annotations": { NEWER: text } },
                "spec": { "ports": [{ "port": 80, "targetPort": 3000 }] },
            }))
            .ingress("shop/web", json!({}), spec)
            .one(&serving());
        assert_eq!(spoken(&served), want, "{text}: {:?}", served.problems);
    }
}

#[test]
fn certificates_of_targets_are_verified_where_ours_ask_for_it() {
    let ours = json!({ "portcullis.dev/backend-tls-ca-secret": "ca" });
    for (protocol, want) in [
        ("HTTPS", "Http1 TLS, closed"),
        ("HTTP2", "Http2 TLS, closed"),
        ("HTTP", "closed, closed"),
        ("https", "closed, closed"),
    ] {
        let of_service = json!({ NEWER: format!(r#"{{"http":"{protocol}"}}"#) });
        let served = of_two_ports(&of_service, &ours).one(&serving());
        assert_eq!(spoken(&served), want, "{protocol}: {:?}", served.problems);
        for backend in served.balancer.backends.values() {
            let verified = matches!(backend.protocol.tls, BackendTls::Verified(_));
            assert!(verified, "{protocol}");
        }
    }
}

#[test]
fn what_cannot_be_read_takes_no_target_that_exists() {
    let served = of_two_ports(&json!({ NEWER: "{" }), &json!({})).one(&serving());
    let kept: Vec<_> = served
        .balancer
        .unread
        .values()
        .map(|unread| unread.kept.clone())
        .collect();
    let both = BTreeSet::from([KeptTargets::Tls, KeptTargets::Version]);
    assert_eq!(kept, [both.clone(), both]);
}

#[test]
fn what_ours_say_in_its_place_is_not_told() {
    let annotations = json!({
        "networking.gke.io/v1beta1.FrontendConfig": "fc",
        "portcullis.dev/ssl-redirect": "443",
    });
    let served = web(annotations, true).one(&serving());
    assert!(
        !served.codes().contains(&Code::AnnotationUnsupported),
        "{:?}",
        served.problems
    );
}

#[test]
fn a_path_that_ends_in_a_star_takes_all_below() {
    let specific = |text: &str, service: &str| path("ImplementationSpecific", text, service);
    let paths = json!([
        specific("/*", "s"),
        specific("/foo/*", "t"),
        specific("/a*b/*", "u"),
        path("Prefix", "/foo/bar", "u"),
    ]);
    for (annotations, rows) in [
        (
            json!({}),
            [
                ("/", "shop/s"),
                ("/x/y", "shop/s"),
                ("/foo", "shop/s"),
                ("/foo/", "shop/t"),
                ("/foo/x", "shop/t"),
                ("/foo/bar", "shop/u"),
                ("/foo/*", "shop/t"),
                ("/axb/c", "shop/s"),
                ("/a*b/*", "shop/u"),
            ],
        ),
        // Who says that paths are prefixes means the letters.
        (
            json!({ "portcullis.dev/path-match": "prefix" }),
            [
                ("/", "404"),
                ("/x/y", "404"),
                ("/foo", "404"),
                ("/foo/", "404"),
                ("/*", "shop/s"),
                ("/foo/bar", "shop/u"),
                ("/foo/*", "shop/t"),
                ("/axb/c", "404"),
                ("/a*b/*", "shop/u"),
            ],
        ),
    ] {
        let served = with_services(World::new(), &["shop/s", "shop/t", "shop/u"])
            .ingress(
                "shop/web",
                annotations.clone(),
                json!({ "rules": [rule("a.com", paths.clone())] }),
            )
            .one(&serving());
        for (asked, want) in rows {
            let got = served.get(&format!("a.com{asked}"));
            assert_eq!(got, want, "{annotations} {asked}: {:#?}", served.rules());
        }
    }
}
