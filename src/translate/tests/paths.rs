//! Path types of the Kubernetes Ingress documentation in, which requests they take out.

use super::*;

/// One host with paths to Services named like them.
fn world(paths: &[(&str, &str)]) -> World {
    let mut services: Vec<String> = Vec::new();
    let mut rules = Vec::new();
    for (index, (kind, text)) in paths.iter().enumerate() {
        services.push(format!("shop/s{index}"));
        rules.push(path(kind, text, &format!("s{index}")));
    }
    let names: Vec<&str> = services.iter().map(String::as_str).collect();
    with_services(World::new(), &names).ingress(
        "shop/web",
        json!({}),
        json!({ "rules": [rule("foo.com", json!(rules))] }),
    )
}

#[test]
fn path_types_match_as_the_documentation_says() {
    // Kubernetes docs, Ingress, "Examples": kind, paths, request path, which of the paths answers.
    let rows: &[(&str, &[&str], &str, Option<usize>)] = &[
        ("Prefix", &["/"], "/anything", Some(0)),
        ("Exact", &["/foo"], "/foo", Some(0)),
        ("Exact", &["/foo"], "/bar", None),
        ("Exact", &["/foo"], "/foo/", None),
        ("Exact", &["/foo/"], "/foo", None),
        ("Prefix", &["/foo"], "/foo", Some(0)),
        ("Prefix", &["/foo"], "/foo/", Some(0)),
        ("Prefix", &["/foo/"], "/foo", Some(0)),
        ("Prefix", &["/foo/"], "/foo/", Some(0)),
        ("Prefix", &["/aaa/bb"], "/aaa/bbb", None),
        ("Prefix", &["/aaa/bbb"], "/aaa/bbb", Some(0)),
        ("Prefix", &["/aaa/bbb/"], "/aaa/bbb", Some(0)),
        ("Prefix", &["/aaa/bbb"], "/aaa/bbb/", Some(0)),
        ("Prefix", &["/aaa/bbb"], "/aaa/bbb/ccc", Some(0)),
        ("Prefix", &["/aaa/bbb"], "/aaa/bbbxyz", None),
        ("Prefix", &["/", "/aaa"], "/aaa/ccc", Some(1)),
        ("Prefix", &["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", Some(2)),
        ("Prefix", &["/", "/aaa", "/aaa/bbb"], "/ccc", Some(0)),
        ("Prefix", &["/aaa"], "/ccc", None),
    ];
    for (kind, paths, request, want) in rows {
        let paths: Vec<(&str, &str)> = paths.iter().map(|path| (*kind, *path)).collect();
        let served = world(&paths).one(&ours());
        let want = want.map_or_else(|| "404".to_owned(), |index| format!("shop/s{index}"));
        assert_eq!(
            served.get(&format!("foo.com{request}")),
            want,
            "{paths:?} on {request}"
        );
        assert_eq!(served.codes(), [], "{paths:?}");
    }
}

#[test]
fn exact_comes_before_prefix_whatever_the_order() {
    // Kubernetes docs, Ingress, "Examples": the last row, "Mixed".
    for paths in [
        [("Prefix", "/foo"), ("Exact", "/foo")],
        [("Exact", "/foo"), ("Prefix", "/foo")],
    ] {
        let served = world(&paths).one(&ours());
        let exact = paths.iter().position(|(kind, _)| *kind == "Exact").unwrap();
        assert_eq!(served.get("foo.com/foo"), format!("shop/s{exact}"), "{paths:?}");
        assert_eq!(
            served.get("foo.com/foo/"),
            format!("shop/s{}", 1 - exact),
            "{paths:?}"
        );
    }
}

#[test]
fn implementation_specific_is_a_prefix_unless_an_annotation_says_otherwise() {
    for (annotation, text, request, want) in [
        (None, "/a", "/a/b", "shop/s"),
        (None, "/a", "/ab", "404"),
        (None, "/a/*", "/a/b", "shop/s"),
        (None, "/a/*", "/a", "404"),
        (
            Some(("portcullis.dev/path-match", "prefix")),
            "/a/*",
            "/a/b",
            "404",
        ),
        (
            Some(("portcullis.dev/path-match", "glob")),
            "/a/*",
            "/a/b",
            "shop/s",
        ),
        (Some(("portcullis.dev/path-match", "glob")), "/a", "/a/b", "404"),
        (
            Some(("alb.ingress.kubernetes.io/use-regex-path-match", "true")),
            "//v[0-9]+",
            "/v1",
            "shop/s",
        ),
        (
            Some(("alb.ingress.kubernetes.io/use-regex-path-match", "true")),
            "//v[0-9]+",
            "/v1/x",
            "404",
        ),
        (
            Some(("alb.ingress.kubernetes.io/use-regex-path-match", "false")),
            "/a",
            "/a/b",
            "shop/s",
        ),
    ] {
        let annotations = annotation.map_or_else(|| json!({}), |(key, value)| json!({ key: value }));
        let served = World::new()
            .service("shop/s")
            .ingress(
                "shop/web",
                annotations,
                json!({ "rules": [rule("foo.com", json!([path("ImplementationSpecific", text, "s")]))] }),
            )
            .one(&ours());
        assert_eq!(
            served.get(&format!("foo.com{request}")),
            want,
            "{annotation:?} {text} on {request}: {:?}",
            served.problems
        );
    }
}

#[test]
fn patterns_rank_after_exact_by_their_literal_prefix() {
    let spec = json!({ "rules": [rule("foo.com", json!([
        path("Prefix", "/api", "prefix"),
        path("ImplementationSpecific", "/api/*", "glob"),
        path("ImplementationSpecific", "/api/v*", "longer"),
        path("Prefix", "/api/v1/x", "deep"),
        path("Exact", "/api/v1", "exact"),
    ]))] });
    let names = [
        "shop/prefix",
        "shop/glob",
        "shop/longer",
        "shop/deep",
        "shop/exact",
    ];
    let served = with_services(World::new(), &names)
        .ingress("shop/web", json!({ "portcullis.dev/path-match": "glob" }), spec)
        .one(&ours());
    for (request, want) in [
        ("/api", "shop/prefix"),
        ("/api/x", "shop/glob"),
        ("/api/v1", "shop/exact"),
        ("/api/v2", "shop/longer"),
        ("/api/v1/x/y", "shop/deep"),
        ("/api/v1/y", "shop/longer"),
    ] {
        assert_eq!(
            served.get(&format!("foo.com{request}")),
            want,
            "{request}: {:#?}",
            served.rules()
        );
    }
}

#[test]
fn a_path_is_taken_as_clients_send_it_or_what_they_send_is_told() {
    for (kind, text, request, sent) in [
        // Not ASCII: all clients encode it.
        ("Prefix", "/über", "/%C3%BCber/x", None),
        ("Exact", "/über", "/%C3%BCber", None),
        ("ImplementationSpecific", "/über/*", "/%C3%BCber/x", None),
        ("Prefix", "/%C3%BCber", "/%C3%BCber", None),
        ("Prefix", "/a%20b", "/a%20b", None),
        ("Prefix", "/a b", "/a%20b", None),
        ("Exact", "/users/{id}", "/users/%7Bid%7D", None),
        // Spelled as few do: it means them.
        ("Prefix", "/%61dmin", "/%61dmin", Some("/admin")),
        ("Exact", "/%c3%bcber", "/%c3%bcber", Some("/%C3%BCber")),
        ("ImplementationSpecific", "/a%3Ab", "/a%3Ab", Some("/a:b")),
    ] {
        let served = world(&[(kind, text), ("Prefix", "/")]).one(&ours());
        assert_eq!(
            served.get(&format!("foo.com{request}")),
            "shop/s0",
            "{kind} {text}"
        );
        let told = served
            .problems
            .iter()
            .find(|problem| problem.at.to_string() == "ingress shop/web spec.rules[0].http.paths[0].path");
        let shown = told.map(|problem| {
            problem
                .message
                .contains(&format!("{:?}", sent.unwrap_or_default()))
        });
        assert_eq!(shown, sent.map(|_| true), "{kind} {text}: {:?}", served.problems);
    }
    // What takes nothing that was meant.
    for (meaning, text, sent) in [
        ("", "/admin*", Some("path-match: glob")),
        ("", "/a*/b", Some("path-match: glob")),
        ("prefix", "/admin*", Some("path-match: glob")),
        ("", "/admin/*", None),
        ("glob", "/admin*", None),
        ("regex", "/admin.*", Some("\"//admin.*\"")),
        ("regex", "//admin.*", None),
        ("regex", "/(/a|/b)", None),
    ] {
        let annotations = match meaning {
            "" => json!({}),
            meaning => json!({ "portcullis.dev/path-match": meaning }),
        };
        let served = with_services(World::new(), &["shop/s"])
            .ingress(
                "shop/web",
                annotations,
                json!({ "rules": [rule("foo.com", json!([path("ImplementationSpecific", text, "s")]))] }),
            )
            .one(&ours());
        let told = served
            .problems
            .iter()
            .find(|problem| problem.code == Code::PathInvalid);
        let shown = told.map(|problem| problem.message.contains(sent.unwrap_or("?")));
        assert_eq!(
            shown,
            sent.map(|_| true),
            "{meaning} {text}: {:?}",
            served.problems
        );
    }
    // So is an expression; the incumbent passes all on.
    let regex = json!({ "portcullis.dev/use-regex-path-match": "true" });
    for (settings, annotations, text, want) in [
        (ours(), regex, "//über", "%C3%BCber"),
        (theirs(), json!({}), "/über", "über"),
    ] {
        let served = with_services(World::new(), &["shop/s"])
            .ingress(
                "shop/web",
                annotations,
                json!({ "rules": [rule("foo.com", json!([path("ImplementationSpecific", text, "s")]))] }),
            )
            .one(&settings);
        let rules = format!("{:?}", served.rules());
        assert!(rules.contains(want), "{rules}");
    }
}

#[test]
fn of_two_rules_that_ask_the_same_the_first_answers_and_the_other_is_told() {
    let served = world(&[("Prefix", "/foo"), ("Prefix", "/foo/"), ("Exact", "/foo")]).one(&ours());
    served.told(Code::RuleShadowed, "ingress shop/web spec.rules[0].http.paths[1]");
    assert_eq!(served.get("foo.com/foo/x"), "shop/s0");
    assert_eq!(
        served.balancer.backends.len(),
        2,
        "the shadowed rule's backend is not kept"
    );
}
