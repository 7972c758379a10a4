//! Guards whose paths cannot be read in: what is closed, and what others go on with, out.

use super::*;

const GROUP: &str = "alb.ingress.kubernetes.io/group.name";
const MEANS: &str = "portcullis.dev/path-match";
const REGEX: &str = "alb.ingress.kubernetes.io/use-regex-path-match";
const SPECIFIC: &str = "ImplementationSpecific";

fn annotations(more: &[(&str, &str)]) -> Value {
    let mut all = json!({ GROUP: "g" });
    for (name, value) in more {
        all[*name] = json!(value);
    }
    all
}

fn rules(paths: Value) -> Value {
    json!({ "rules": [rule("foo.com", paths)] })
}

/// An open `/` of an Ingress, and a path of an older one.
fn world(means: Option<(&str, &str)>, kind: &str, text: &str) -> World {
    let guard: Vec<(&str, &str)> = means.into_iter().collect();
    with_services(World::new(), &["shop/open", "shop/guarded"])
        .aged(
            "shop/open",
            2,
            annotations(&[]),
            rules(json!([path("Prefix", "/", "open")])),
        )
        .aged(
            "shop/guard",
            1,
            annotations(&guard),
            rules(json!([path(kind, text, "guarded")])),
        )
}

fn get(served: &Served, path: &str) -> String {
    served.get(&format!("foo.com{path}"))
}

/// What the path means, its type and text, what is told where, and what is closed and goes on.
type Row<'r> = (
    Option<(&'r str, &'r str)>,
    &'r str,
    &'r str,
    (Code, &'r str),
    &'r [&'r str],
    &'r [&'r str],
);

#[test]
fn what_a_path_that_cannot_be_read_can_mean_is_closed_and_told() {
    let (path, kind) = (Code::PathInvalid, Code::PathTypeInvalid);
    let pattern = Code::PatternInvalid;
    let field = "spec.rules[0].http.paths[0].path";
    let regex = Some((MEANS, "regex"));
    let rows: &[Row<'_>] = &[
        (
            None,
            "Exact",
            "/a//b",
            (path, field),
            &["/a//b"],
            &["/a/b", "/a//b/c", "/a"],
        ),
        (
            None,
            "Exact",
            "/a%2Fb",
            (path, field),
            &["/a%2Fb"],
            &["/a/b", "/a%2Fb/c"],
        ),
        (
            None,
            "Exact",
            "admin",
            (path, field),
            &["/admin"],
            &["/admin/x", "/"],
        ),
        (None, "Exact", "", (path, field), &["/"], &["/a"]),
        (
            None,
            "Prefix",
            "/a/../b",
            (path, field),
            &["/a/../b", "/a/../b/c"],
            &["/b", "/a"],
        ),
        (None, "Prefix", "//", (path, field), &["//", "//x"], &["/", "/x"]),
        (
            None,
            "Prefix",
            "/./",
            (path, field),
            &["/./", "/./x"],
            &["/", "/x"],
        ),
        (None, "Prefix", "a", (path, field), &["/a", "/a/b"], &["/ab"]),
        (
            None,
            "Prefix",
            "/admin\n",
            (path, field),
            &["/admin/x"],
            &["/admins"],
        ),
        (
            None,
            SPECIFIC,
            "//x",
            (path, field),
            &["//x", "//x/y"],
            &["/x", "//xy"],
        ),
        (None, SPECIFIC, "a/*", (path, field), &["/a/b"], &["/a"]),
        (
            regex,
            SPECIFIC,
            "//(?i:adm)in.*",
            (pattern, field),
            &["/ADMin/x"],
            &["/adm"],
        ),
        (regex, SPECIFIC, "//q(?=x).*", (pattern, field), &["/qx"], &["/x"]),
        (
            regex,
            SPECIFIC,
            "//admin(",
            (pattern, field),
            &["/admin/x"],
            &["/adm"],
        ),
        (
            regex,
            SPECIFIC,
            "/admin.*",
            (path, field),
            &["/admin/x"],
            &["/adm"],
        ),
        (
            regex,
            SPECIFIC,
            "//admin.*\n",
            (pattern, field),
            &["/admin/x"],
            &["/adm"],
        ),
        (
            regex,
            SPECIFIC,
            "//((?:ad|bo).*",
            (pattern, field),
            &["/admin", "/boss/x"],
            &["/a"],
        ),
        (
            regex,
            SPECIFIC,
            "//[aA]dmin(/.*",
            (pattern, field),
            &["/Admin", "/admin/x"],
            &["/dmin"],
        ),
        (
            Some((REGEX, "true")),
            SPECIFIC,
            "//admin(",
            (pattern, field),
            &["/admin/x"],
            &["/adm"],
        ),
        (
            Some((MEANS, "glob")),
            SPECIFIC,
            "/a\t*",
            (pattern, field),
            &["/a"],
            &[],
        ),
        (
            Some((MEANS, "glob")),
            SPECIFIC,
            "/ab\tc*",
            (pattern, field),
            &["/abd"],
            &["/a"],
        ),
        (
            Some((MEANS, "glob")),
            SPECIFIC,
            "admin*",
            (path, field),
            &["/admins"],
            &["/adm"],
        ),
        (
            None,
            "prefix",
            "/a",
            (kind, "spec.rules[0].http.paths[0].pathType"),
            &["/a", "/a/b"],
            &["/ab"],
        ),
        (
            None,
            "",
            "//a",
            (kind, "spec.rules[0].http.paths[0].pathType"),
            &["//a/b"],
            &["/a"],
        ),
        (
            None,
            "implementationSpecific",
            "/admin/*",
            (kind, "spec.rules[0].http.paths[0].pathType"),
            &["/admin/x"],
            &["/admin", "/administrators"],
        ),
        (
            Some((MEANS, "glob")),
            "",
            "/admin*",
            (kind, "spec.rules[0].http.paths[0].pathType"),
            &["/admin", "/admins/x"],
            &["/adm"],
        ),
        // Of no request, or of next to all.
        (
            regex,
            SPECIFIC,
            "//[a-z]+/.*(?=x)",
            (pattern, field),
            &[],
            &["/", "/x/y"],
        ),
        (None, "Exact", "/a?b", (path, field), &[], &["/a", "/ab"]),
        (None, "Prefix", "/a#b", (path, field), &[], &["/a"]),
        (None, SPECIFIC, "/a?b", (path, field), &[], &["/a", "/ab"]),
        (regex, SPECIFIC, "//.*(?=x)", (pattern, field), &[], &["/", "/x"]),
    ];
    for (means, kind, text, (code, field), closed, left) in rows {
        let served = world(*means, kind, text).one(&ours());
        let row = format!("{means:?} {kind} {text:?}: {:?}", served.rules());
        let told = &served.problems;
        assert!(
            told.iter().any(|told| told.code == *code
                && told.at.to_string() == format!("ingress shop/guard {field}")
                && told.message.ends_with(" answers 503") != closed.is_empty()),
            "{row}: {told:?}"
        );
        for sent in *closed {
            assert_eq!(get(&served, sent), "503", "{sent}: {row}");
        }
        for sent in *left {
            assert_eq!(get(&served, sent), "shop/open", "{sent}: {row}");
        }
    }
}

#[test]
fn where_it_is_not_known_what_paths_mean_all_that_they_can_is_closed() {
    for (name, value) in [(MEANS, "regexp"), (REGEX, "yes")] {
        for (text, closed, left) in [
            ("/admin", &["/admin", "/admin/x"][..], &["/admins"][..]),
            ("/admin*", &["/admin", "/admins"], &["/adm"]),
            ("//admin.*", &["/admin", "/admins"], &["/adm"]),
            ("//(v[0-9]+/)?admin(/.*)?", &["/admin/x", "/v1/admin"], &["/v1/x"]),
            ("/^/admin(/.*)?$", &["/admin", "/admin/x"], &["/admins"]),
            ("/(/admin|/boss)(/.*)?", &["/admin/x", "/boss"], &["/bosses"]),
            ("/(?:/admin).*", &["/admin"], &["/adm"]),
            ("/[/]admin.*", &["/admin/x"], &["/adm"]),
            (r"/\/admin.*", &["/admin/x"], &["/adm"]),
            ("/.*/admin", &["/x/admin", "/.x/admin"], &["/x"]),
            ("//.*", &["/x"], &[]),
            ("//.*(?=x)", &[], &["/x"]),
        ] {
            let served = world(Some((name, value)), SPECIFIC, text).one(&ours());
            served.told(
                Code::AnnotationInvalid,
                &format!("ingress shop/guard metadata.annotations[{name}]"),
            );
            let message = &served.problems[0].message;
            assert!(message.ends_with("answers 503"), "{message}");
            for sent in closed {
                assert_eq!(get(&served, sent), "503", "{value} {text} {sent}");
            }
            for sent in left {
                assert_eq!(get(&served, sent), "shop/open", "{value} {text} {sent}");
            }
        }
    }
    // So where the type is none, and might be that of an expression.
    for text in ["//(v[0-9]+/)?admin(/.*)?", "/^/v1/admin(/.*)?$", "/.*/admin"] {
        let served = world(Some((MEANS, "regex")), "implementationSpecific", text).one(&ours());
        assert_eq!(get(&served, "/v1/admin"), "503", "{text}");
        assert_eq!(get(&served, "/x"), "shop/open", "{text}");
    }
    // Paths of other types are what they are.
    let served = world(Some((MEANS, "regexp")), "Prefix", "/admin").one(&ours());
    assert_eq!(get(&served, "/admin/x"), "shop/guarded");
}

/// A path of type and text that cannot be read, beside one that can, with what that means.
#[test]
fn what_is_closed_comes_after_what_can_be_read_and_asks_the_same() {
    for (kind, closed, means, readable, sent) in [
        ("Exact", "/a%2Fb", "regex", "//a%2Fb", "/a%2Fb"),
        ("Exact", "/a%2Fb", "glob", "/a%2Fb", "/a%2Fb"),
        ("Prefix", "/a%2Fb", "regex", "//a%2Fb(/.*)?", "/a%2Fb/c"),
        ("Prefix", "/a%2Fb", "regex", "//a%2Fb/.*", "/a%2Fb/c"),
        ("Prefix", "a", "prefix", "/a", "/a/b"),
        ("Prefix", "a", "prefix", "/a/b", "/a/b"),
        ("Exact", "a", "glob", "/a", "/a"),
        ("Prefix", "", "prefix", "/", "/x"),
    ] {
        for days in [[1, 2], [2, 1]] {
            let served = with_services(World::new(), &["shop/s"])
                .aged(
                    "shop/closed",
                    days[0],
                    annotations(&[]),
                    rules(json!([path(kind, closed, "s")])),
                )
                .aged(
                    "shop/right",
                    days[1],
                    annotations(&[(MEANS, means)]),
                    rules(json!([path(SPECIFIC, readable, "s")])),
                )
                .one(&ours());
            let row = format!("{closed} beside {readable}: {:?}", served.rules());
            assert_eq!(get(&served, sent), "shop/s", "{row}");
            let told = |problem: &Problem| &*problem.at.object.name == "closed";
            assert!(served.problems.iter().all(told), "{row}: {:?}", served.problems);
        }
    }
}

#[test]
fn a_path_that_cannot_be_read_closes_what_its_conditions_name_and_only_for_whom_they_say() {
    let conditions = |text: &str| annotations(&[("alb.ingress.kubernetes.io/conditions.s", text)]);
    let by_path = r#"[{"field":"path-pattern","pathPatternConfig":{"values":["/admin/*"]}}]"#;
    let by_host = r#"[{"field":"host-header","hostHeaderConfig":{"values":["bar.com"]}}]"#;
    let by_field = r#"[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-A","values":["a"]}}]"#;
    for (text, conditions, host, sent, want) in [
        ("/a?b", conditions(by_path), "foo.com", "/admin/x", "503"),
        ("/a//b", conditions(by_path), "foo.com", "/admin/x", "503"),
        ("/a//b", conditions(by_path), "foo.com", "/a//b", "503"),
        ("/a//b", conditions(by_host), "bar.com", "/a//b", "503"),
        ("/a//b", conditions(by_field), "foo.com", "/a//b", "shop/open"),
        ("/a//b", conditions("["), "foo.com", "/a//b", "shop/open"),
    ] {
        let open = ["foo.com", "bar.com"].map(|host| rule(host, json!([path("Prefix", "/", "open")])));
        let served = with_services(World::new(), &["shop/open", "shop/s"])
            .ingress("shop/open", annotations(&[]), json!({ "rules": open }))
            .ingress(
                "shop/guard",
                conditions,
                rules(json!([path("Prefix", text, "s")])),
            )
            .one(&ours());
        assert_eq!(
            served.get(&format!("{host}{sent}")),
            want,
            "{text} {sent}: {:?}",
            served.rules()
        );
    }
}

#[test]
fn a_canary_whose_path_cannot_be_read_closes_nothing() {
    for (means, text, sent) in [
        (None, "/a//b", "/a//b"),
        (None, "admin", "/admin"),
        (Some((MEANS, "regexp")), "/", "/x"),
        (Some((MEANS, "regex")), "//admin(", "/admin/x"),
    ] {
        for is_beside in [false, true] {
            let canary = [
                ("portcullis.dev/canary", "true"),
                ("portcullis.dev/canary-weight", "50"),
            ];
            let canary: Vec<(&str, &str)> = canary.into_iter().chain(means).collect();
            let main: Vec<(&str, &str)> = means.into_iter().collect();
            let paths = |service| rules(json!([path(SPECIFIC, text, service)]));
            let mut world = with_services(World::new(), &["shop/open", "shop/s", "shop/next"])
                .aged(
                    "shop/open",
                    1,
                    annotations(&[]),
                    rules(json!([path("Prefix", "/", "open")])),
                )
                .aged("shop/canary", 3, annotations(&canary), paths("next"));
            if is_beside {
                world = world.aged("shop/main", 2, annotations(&main), paths("s"));
            }
            let served = world.one(&ours());
            // The Ingress that it stands beside closes it, unless another can be read and asks the same.
            let want = match is_beside && text != "/" {
                true => "503",
                false => "shop/open",
            };
            assert_eq!(
                get(&served, sent),
                want,
                "{means:?} {text} {is_beside}: {:?}",
                served.rules()
            );
            let of_canary = served
                .problems
                .iter()
                .filter(|told| &*told.at.object.name == "canary");
            let of_canary: Vec<&Problem> = of_canary.collect();
            assert!(
                of_canary.iter().all(|told| !told.message.contains("503")),
                "{text}: {of_canary:?}"
            );
            let is_told = !of_canary.is_empty();
            assert!(is_told || is_beside, "{means:?} {text}: {:?}", served.problems);
        }
    }
}

#[test]
fn of_many_alternatives_that_cannot_be_matched_what_they_begin_with_is_closed() {
    let names: Vec<String> = (0..130)
        .map(|at| format!("{}dmin{at:03}", char::from(b'a' + at % 26)))
        .collect();
    let all = names.join("|");
    let nginx = Some(("nginx.ingress.kubernetes.io/use-regex", "true"));
    for (means, text) in [
        (Some((MEANS, "regex")), format!("//({all})(/.*)?")),
        (Some((MEANS, "regex")), format!("//({all})(?=/|$).*")),
        (Some((MEANS, "regex")), format!("//(?i)({all})(/.*)?")),
        (Some((MEANS, "regexp")), format!("//({all})(/.*)?")),
        (nginx, format!("/({all})(/|$)")),
    ] {
        let served = world(means, SPECIFIC, &text).one(&ours());
        for name in &names {
            assert_eq!(get(&served, &format!("/{name}/x")), "503", "{name}: {text}");
        }
        assert_eq!(get(&served, "/0"), "shop/open", "{text}");
    }
}

#[test]
fn the_incumbent_s_layout_closes_such_a_path_in_its_place() {
    let served = with_services(World::new(), &["shop/open", "shop/guarded"])
        .ingress(
            "shop/web",
            json!({}),
            rules(json!([
                path("Prefix", "/", "open"),
                path("Exact", "/a%2Fb", "guarded")
            ])),
        )
        .one(&theirs());
    assert_eq!(get(&served, "/a%2Fb"), "503");
    assert_eq!(get(&served, "/a/b"), "shop/open");
    served.told(
        Code::PathInvalid,
        "ingress shop/web spec.rules[0].http.paths[1].path",
    );
}
