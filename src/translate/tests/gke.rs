//! Ingresses as GKE served them in, what they answer here and what is told out.

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
        let is_of_service = theirs.key.ends_with("/app-protocols") || theirs.key.ends_with("/backend-config");
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
