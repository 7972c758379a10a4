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
