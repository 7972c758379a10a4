//! An Ingress of more rules than one may have in, what it closes and whom it leaves alone out.

use std::fs;
use std::ops::Range;

use crate::{ANSWERS, Serving};

/// Each answers by itself, at shop.example.
fn of_paths(paths: Range<usize>) -> String {
    let last = ANSWERS.lines().last().unwrap();
    let head = ANSWERS.strip_suffix(&format!("{last}\n")).unwrap();
    let all = paths.map(|at| last.replace("path: /", &format!("path: /a/{at}")) + "\n");
    all.fold(head.replace("BODY", "many"), |text, path| text + &path)
}

#[test]
fn an_ingress_of_too_many_rules_closes_its_hosts_until_it_has_fewer() {
    let dir = tempfile::tempdir().unwrap();
    let named = |name: &str| ANSWERS.replace("name: web", &format!("name: {name}"));
    // One of the namespace has all of the same host, the other is elsewhere.
    let neighbours = [
        named("beside").replace("BODY", "beside"),
        named("other")
            .replace("shop.example", "other.example")
            .replace("BODY", "other"),
    ];
    fs::write(dir.path().join("neighbours.yaml"), neighbours.join("---\n")).unwrap();
    let many = dir.path().join("many.yaml");
    fs::write(&many, of_paths(0..10_001)).unwrap();
    let mut serving = Serving::start(dir.path(), &[]);
    for path in ["/a/0", "/a/10000", "/"] {
        let seen = serving.get("shop.example", path);
        assert!(seen.starts_with("HTTP/1.1 503"), "{path}: {seen}");
    }
    serving.answers("other.example", "other");
    fs::write(&many, of_paths(1..10_001)).unwrap();
    serving.answers("shop.example", "beside");
    for (path, answer) in [("/a/1", "many"), ("/a/10000", "many"), ("/a/0", "beside")] {
        let seen = serving.get("shop.example", path);
        assert!(seen.ends_with(answer), "{path}: {seen}");
    }
    serving.terminate();
    let logged = serving.logged();
    let told = "it makes more than 10000 rules of one host and one path each; meanwhile all of shop.example answers 503";
    assert!(
        logged.contains(told) && logged.contains("ingress shop/web spec.rules"),
        "{logged}"
    );
}

#[test]
fn an_ingress_of_too_many_rules_leaves_other_namespaces_alone() {
    let dir = tempfile::tempdir().unwrap();
    let owner = ANSWERS
        .replace("name: web", "name: owner")
        .replace("namespace: shop", "namespace: own")
        .replace("path: /", "path: /pub")
        .replace("BODY", "owner");
    fs::write(dir.path().join("owner.yaml"), &owner).unwrap();
    fs::write(dir.path().join("many.yaml"), of_paths(0..10_001)).unwrap();
    let mut serving = Serving::start(dir.path(), &[]);
    for (path, answer) in [("/pub", "owner"), ("/pub/x", "owner")] {
        let seen = serving.get("shop.example", path);
        assert!(seen.ends_with(answer), "{path}: {seen}");
    }
    for path in ["/a/0", "/a/10000", "/"] {
        let seen = serving.get("shop.example", path);
        assert!(seen.starts_with("HTTP/1.1 503"), "{path}: {seen}");
    }
    serving.terminate();
    let logged = serving.logged();
    let told = "what no other rule takes, answer 503 at shop.example, where another namespace has rules, too";
    assert!(logged.contains(told), "{logged}");
}
