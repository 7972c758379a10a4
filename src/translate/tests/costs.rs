//! Ingresses that cost more than others may be made to bear in, what is closed of them, and what neighbours go on with, out.

use super::*;

const GROUP: &str = "alb.ingress.kubernetes.io/group.name";
const MEANS: &str = "portcullis.dev/path-match";
const SPECIFIC: &str = "ImplementationSpecific";

/// An open `/` of an Ingress, and the paths of an older one at the same host and at its own.
fn world(annotations: Value, own: Value) -> World {
    let mut guard = annotations;
    guard[GROUP] = json!("g");
    with_services(World::new(), &["shop/open", "shop/guarded"])
        .aged(
            "shop/open",
            2,
            json!({ GROUP: "g" }),
            json!({ "rules": [rule("foo.com", json!([path("Prefix", "/", "open")]))] }),
        )
        .aged("shop/guard", 1, guard, own)
}

/// As of a folder, where several load balancers are one.
fn files() -> Settings {
    Settings {
        merge: Merge::OneLoadBalancer,
        ..ours()
    }
}

fn get(served: &Served, path: &str) -> String {
    served.get(&format!("foo.com{path}"))
}

#[test]
fn a_glob_beyond_its_bounds_is_closed_with_all_that_begins_as_it_does() {
    let long = format!("/a*{}", "x".repeat(1100));
    let wild = format!("/a{}z", "/*b".repeat(33));
    let usual = format!("/{}/*", "a".repeat(1100));
    let of_elements = "/a".repeat(600) + "/*";
    for (means, text, closed, left) in [
        ("glob", &long, format!("/a{}", "x".repeat(1100)), "/b"),
        ("glob", &wild, format!("/a{}z", "/b".repeat(33)), "/a/b"),
        ("glob", &usual, format!("/{}/b", "a".repeat(1100)), "/a"),
        ("prefix", &"/a".to_owned(), "/a".to_owned(), "/b"),
        ("", &usual, format!("/{}/b", "a".repeat(1100)), "/a"),
        ("", &of_elements, "/a".repeat(600) + "/b", "/a/a"),
        ("misspelt", &wild, format!("/a{}z", "/b".repeat(33)), "/a/b"),
    ] {
        let annotations = match means {
            "" => json!({}),
            means => json!({ MEANS: means }),
        };
        let own = json!({ "rules": [rule("foo.com", json!([path(SPECIFIC, text, "guarded")]))] });
        let served = world(annotations, own).one(&ours());
        let row = format!("{means} {text:.60}: {:?}", served.problems);
        let want = if means == "prefix" { "shop/guarded" } else { "503" };
        assert_eq!(get(&served, &closed), want, "{row}");
        assert_eq!(get(&served, left), "shop/open", "{row}");
        let told =
            |told: &Problem| told.message.contains("answers 503") && told.code != Code::AnnotationUnknown;
        assert_eq!(served.problems.iter().any(told), means != "prefix", "{row}");
    }
}

/// An Ingress whose conditions have so many hosts and paths, each for so many paths of its own.
fn of_lists(hosts: usize, values: usize, own: usize) -> World {
    let hosts: Vec<String> = (0..hosts).map(|at| format!("h{at}.io")).collect();
    let values: Vec<String> = (0..values).map(|at| format!("/{at}")).collect();
    let conditions = json!([
        {"field": "host-header", "hostHeaderConfig": {"values": hosts}},
        {"field": "path-pattern", "pathPatternConfig": {"values": values}},
    ]);
    let act = |at: usize| {
        json!({
            "path": format!("/p{at}"),
            "pathType": "Prefix",
            "backend": {"service": {"name": "act", "port": {"name": "use-annotation"}}},
        })
    };
    let paths: Vec<Value> = (0..own).map(act).collect();
    world(
        json!({
            "portcullis.dev/conditions.act": conditions.to_string(),
            "portcullis.dev/actions.act":
                json!({"type": "fixed-response", "fixedResponseConfig": {"statusCode": "204"}}).to_string(),
        }),
        json!({ "rules": [{"http": {"paths": paths}}, rule("own.io", json!([path("Prefix", "/", "guarded")]))] }),
    )
}

#[test]
fn lists_that_multiply_to_too_many_rules_close_their_hosts() {
    let within = of_lists(10, 10, 10).one(&ours());
    assert_eq!(within.get("h1.io/1"), "204");
    assert_eq!(within.get("own.io/x"), "shop/guarded");
    let served = of_lists(100, 99, 10).one(&ours());
    assert!(
        served.balancer.rules.len() < 300,
        "{}",
        served.balancer.rules.len()
    );
    assert!(served.problems.len() <= 201, "{}", served.problems.len());
    let code = |problem: &&Problem| problem.code == Code::LimitExceeded;
    let told: Vec<&Problem> = served.problems.iter().filter(code).collect();
    let [told] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(told.at.to_string(), "ingress shop/guard spec.rules");
    assert_eq!(
        told.message,
        "it makes more than 10000 rules of one host and one path each; meanwhile all of h0.io, h1.io, h10.io, h11.io, \
         h12.io, 96 more hosts answers 503"
    );
    for closed in ["h1.io/1", "h99.io/", "h99.io/other", "own.io/x"] {
        assert_eq!(served.get(closed), "503", "{closed}");
    }
    assert_eq!(get(&served, "/"), "shop/open");
    assert_eq!(get(&served, "/1"), "shop/open");
}

#[test]
fn a_host_that_is_closed_stands_before_what_neighbours_have_there() {
    let paths: Vec<Value> = (0..=10_000)
        .map(|at| path("Prefix", &format!("/a/{at}"), "guarded"))
        .collect();
    let served = world(json!({}), json!({ "rules": [rule("foo.com", json!(paths))] })).one(&ours());
    for sent in ["/a/10000", "/a/1", "/"] {
        assert_eq!(get(&served, sent), "503", "{sent}");
    }
    assert!(
        served.balancer.rules.len() < 10,
        "{}",
        served.balancer.rules.len()
    );
    let paths = &paths[..10_000];
    let served = world(json!({}), json!({ "rules": [rule("foo.com", json!(paths))] })).one(&ours());
    for sent in ["/a/9999", "/a/1"] {
        assert_eq!(get(&served, sent), "shop/guarded", "{sent}");
    }
    assert_eq!(get(&served, "/"), "shop/open");
}

/// Others go on whoever names their host: closed are the paths of the Ingress that were read, and what nobody else takes.
#[test]
fn a_host_of_another_namespace_is_closed_behind_what_it_has_there() {
    const CONDITIONS: &str = "portcullis.dev/conditions.guarded";
    let of = |count: usize, kind: &str, text: &str| -> Vec<Value> {
        (0..count)
            .map(|at| path(kind, &format!("{text}{at}"), "guarded"))
            .collect()
    };
    let only_named =
        json!([{"field": "host-header", "hostHeaderConfig": {"values": ["foo.com"]}}]).to_string();
    let too_many = of(10_001, "Exact", "/e");
    let with_root = || {
        rule(
            "foo.com",
            json!([vec![path("Prefix", "/", "guarded")], too_many.clone()].concat()),
        )
    };
    for (what, host, annotations, rules, is_read) in [
        (
            "paths",
            "foo.com",
            json!({}),
            vec![rule("foo.com", json!(too_many))],
            true,
        ),
        (
            "elsewhere first",
            "foo.com",
            json!({}),
            vec![
                rule("bar.com", json!(too_many)),
                rule("foo.com", json!(of(1, "Exact", "/e"))),
            ],
            false,
        ),
        (
            "a wildcard",
            "*.foo.com",
            json!({}),
            vec![rule("*.foo.com", json!(too_many))],
            true,
        ),
        (
            "conditions",
            "foo.com",
            json!({ CONDITIONS: only_named }),
            vec![rule("bar.com", json!(too_many))],
            true,
        ),
        (
            "ranges",
            "foo.com",
            json!({"portcullis.dev/inbound-cidrs": "192.0.2.0/24"}),
            vec![rule("foo.com", json!(too_many))],
            true,
        ),
        ("its own /", "foo.com", json!({}), vec![with_root()], true),
        (
            "expressions",
            "foo.com",
            json!({ MEANS: "regex" }),
            vec![rule(
                "foo.com",
                json!(
                    [
                        vec![path("Exact", "/e0", "guarded")],
                        vec![path(SPECIFIC, "//x/.{250}", "guarded"); 150]
                    ]
                    .concat()
                ),
            )],
            true,
        ),
    ] {
        for (day, has_root) in [(1, true), (1, false), (3, true), (3, false)] {
            let name = host.replace('*', "x");
            let mut beside = vec![path("Prefix", "/pub", "open")];
            beside.extend(has_root.then(|| path("Prefix", "/", "open")));
            let served = with_services(World::new(), &["own/open", "shop/guarded"])
                .aged(
                    "own/open",
                    2,
                    json!({}),
                    json!({ "rules": [rule(host, json!(beside))] }),
                )
                .aged("shop/guard", day, annotations.clone(), json!({ "rules": rules }))
                .one(&files());
            let row = format!("{what} {day} {has_root}");
            let get = |path: &str| served.get(&format!("{name}{path}"));
            // An older one's own `/` stands first by right.
            let is_taken = what == "its own /" && day == 1;
            let rest = match has_root && !is_taken {
                true => "own/open",
                false => "503",
            };
            let of_read = if is_read { "503" } else { rest };
            for (sent, want) in [
                ("/pub", "own/open"),
                ("/pub/x", "own/open"),
                ("/", rest),
                ("/e10000", rest),
                ("/e0", of_read),
            ] {
                assert_eq!(get(sent), want, "{row} {sent}");
            }
            let is_told = |problem: &Problem| {
                let end = format!(
                    "what no other rule takes, answer 503 at {host}, where another namespace has rules, too"
                );
                problem.code == Code::LimitExceeded && problem.message.ends_with(&end)
            };
            assert!(served.problems.iter().any(is_told), "{row} {:?}", served.problems);
        }
    }
}

#[test]
fn an_ingress_that_is_refused_closes_no_host_of_another_namespace() {
    let paths: Vec<Value> = (0..=10_000)
        .map(|at| path("Exact", &format!("/e{at}"), "guarded"))
        .collect();
    for (namespace, open, root) in [("own", "own/open", "own/open"), ("shop", "503", "503")] {
        let value = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "refused", "namespace": "shop", "annotations": {"note": 1}},
            "spec": {"rules": [rule("foo.com", json!(paths))]},
        });
        let name = format!("{namespace}/open");
        let served = with_services(World::new(), &[name.as_str()])
            .aged(
                &name,
                2,
                json!({}),
                json!({ "rules": [rule("foo.com", json!([path("Prefix", "/", "open")]))] }),
            )
            .closed(&value)
            .one(&files());
        assert_eq!(get(&served, "/"), root, "{namespace}");
        assert_eq!(get(&served, "/pub"), open, "{namespace}");
        assert_eq!(get(&served, "/e0"), "503", "{namespace}");
        assert_eq!(get(&served, "/e10000"), open, "{namespace}");
        let is_told = |problem: &Problem| {
            problem
                .message
                .starts_with("it has more than 10000 paths, those of each")
        };
        assert!(served.problems.iter().any(is_told), "{:?}", served.problems);
    }
}

#[test]
fn expressions_that_are_too_large_together_close_their_hosts() {
    // Also where all are the same.
    let expressions = |count: usize, text: &str| {
        let all = vec![path(SPECIFIC, &format!("//x/{text}"), "guarded"); count];
        let own = json!({ "rules": [rule("foo.com", json!(all))] });
        world(json!({ MEANS: "regex" }), own).one(&ours())
    };
    let honest = expressions(200, "[a-z]+/.*");
    assert_eq!(get(&honest, "/x/a/b"), "shop/guarded");
    assert_eq!(get(&honest, "/"), "shop/open");
    for text in [".{250}", ".*a.{20}"] {
        let served = expressions(150, text);
        let is_told = |problem: &Problem| {
            problem.code == Code::LimitExceeded
                && problem
                    .message
                    .starts_with("its expressions are too large together")
        };
        assert!(served.problems.iter().any(is_told), "{:?}", served.problems);
        for sent in ["/x/aaaaaaaaaaaaaaaaaaaaaaaa", "/"] {
            assert_eq!(get(&served, sent), "503", "{text} {sent}");
        }
        assert!(served.balancer.rules.len() < 10);
    }
}

/// Each that was looked at is told.
#[test]
fn refused_expressions_are_looked_at_as_far_as_their_room_goes() {
    let closed = |count: usize, text: &str| {
        let all: Vec<Value> = (0..count)
            .map(|at| path(SPECIFIC, &text.replace('N', &at.to_string()), "guarded"))
            .collect();
        let own = json!({ "rules": [rule("foo.com", json!(all))] });
        world(json!({ MEANS: "regex" }), own).one(&ours())
    };
    for text in ["//(?i)xN.{999}", "//xN++.{999}", "//xN.{999}"] {
        let served = closed(3000, text);
        let count = |code: Code| {
            served
                .problems
                .iter()
                .filter(|problem| problem.code == code)
                .count()
        };
        assert_eq!(count(Code::LimitExceeded), 1, "{text}");
        assert!(
            count(Code::PatternInvalid) <= 128,
            "{text} {}",
            count(Code::PatternInvalid)
        );
        for sent in ["/", "/x0", "/x2999"] {
            assert_eq!(get(&served, sent), "503", "{text} {sent}");
        }
    }
    let few = closed(200, "//(?i)xN/[a-z]+/.*");
    assert_eq!(get(&few, "/X7/y/z"), "503");
    assert_eq!(get(&few, "/"), "shop/open");
}

#[test]
fn an_ingress_that_is_refused_closes_its_hosts_without_their_product() {
    let hosts: Vec<String> = (0..1000).map(|at| format!("h{at}.io")).collect();
    let paths: Vec<Value> = (0..1000)
        .map(|at| path("Prefix", &format!("/{at}"), "guarded"))
        .collect();
    let value = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "refused", "namespace": "shop", "annotations": {GROUP: "g", "note": 1}},
        "spec": {"rules": [{"hosts": hosts, "http": {"paths": paths}}]},
    });
    let open = world(
        json!({}),
        json!({ "rules": [rule("bar.com", json!([path("Prefix", "/", "guarded")]))] }),
    );
    let served = open.closed(&value).one(&ours());
    assert!(
        served.balancer.rules.len() < 12_000,
        "{}",
        served.balancer.rules.len()
    );
    for sent in ["h0.io/0", "h9.io/999/x", "h10.io/0", "h999.io/x"] {
        assert_eq!(served.get(sent), "503", "{sent}");
    }
    assert_eq!(served.get("h0.io/"), "404");
    assert_eq!(get(&served, "/"), "shop/open");
    assert_eq!(served.get("bar.com/"), "shop/guarded");
}
