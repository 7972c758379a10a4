//! Ingresses as ingress-nginx served them in, what they answer here out.

use super::*;
use crate::translate::annotations::nginx::{ALL, Fate, find};

/// Annotations under ingress-nginx's prefix, unless they have one.
fn nginx(pairs: &[(&str, &str)]) -> Value {
    let key = |name: &str| match name.contains('/') {
        true => name.to_owned(),
        false => format!("nginx.ingress.kubernetes.io/{name}"),
    };
    let pairs = pairs.iter().map(|(name, value)| (key(name), json!(value)));
    Value::Object(pairs.collect())
}

/// `a.com/` of `shop/web` leads to `s`, `b.com/` of its neighbour to `t`.
fn world(annotations: &[(&str, &str)]) -> World {
    let to =
        |host: &str, service: &str| json!({ "rules": [rule(host, json!([path("Prefix", "/", service)]))] });
    with_services(World::new(), &["shop/s", "shop/t"])
        .ingress("shop/web", nginx(annotations), to("a.com", "s"))
        .ingress("shop/neighbour", json!({}), to("b.com", "t"))
}

/// Both Ingresses as one load balancer.
fn serving() -> Settings {
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
    let served = world(&[("permanent-redirect", "$x"), ("portcullis.dev/actions.x", "{}")]).one(&serving());
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
