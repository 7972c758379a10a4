//! Folders that cannot be read in full at the start in; what is closed, and what does not start out.

use std::fs;
use std::path::Path;

use crate::{ANSWERS, Serving, portcullis};

/// Of the host `shop.example`, beside one that answers all of it.
const GUARD: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: guard
  namespace: shop
  annotations:
    portcullis.dev/basic-auth-secret: nobody
    x.example/note: NOTE
spec:
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /admin, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
";

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: tls, namespace: shop}
stringData: {tls.crt: broken, tls.key: broken}
";

const BROKEN: &str = "kind: [Ingress\n";

/// An Ingress that answers so at a host of its name.
fn answering(name: &str, body: &str) -> String {
    let named = ANSWERS.replace("name: web", &format!("name: {name}"));
    let host = format!("{name}.example");
    named.replace("shop.example", &host).replace("BODY", body)
}

/// Why it does not start.
pub(crate) fn fails(folder: &Path, more: &[&str]) -> String {
    let mut command = portcullis(&["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]);
    let output = command
        .arg("--manifests")
        .arg(folder)
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "{said}");
    said
}

#[test]
fn what_guards_and_cannot_be_read_is_closed_from_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let guard = |note: &str| fs::write(dir.path().join("guard.yaml"), GUARD.replace("NOTE", note)).unwrap();
    fs::write(dir.path().join("web.yaml"), ANSWERS.replace("BODY", "open")).unwrap();
    for note in ["'5'", "5"] {
        guard(note);
        let mut serving = Serving::start(dir.path(), &[]);
        let seen = serving.get("shop.example", "/admin/users");
        assert!(seen.starts_with("HTTP/1.1 503"), "{note}: {seen}");
        serving.answers("shop.example", "open");
        serving.terminate();
        let logged = serving.logged();
        let at = "metadata.annotations[x.example/note]";
        assert_eq!(logged.contains(at), note == "5", "{note}: {logged}");
    }
}

#[test]
fn a_file_that_cannot_be_read_at_the_start_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("web.yaml"), ANSWERS.replace("BODY", "web")).unwrap();
    fs::write(dir.path().join("bad.yaml"), BROKEN).unwrap();
    let said = fails(dir.path(), &[]);
    assert!(
        said.contains("bad.yaml line ") && said.contains("--start-anyway"),
        "{said}"
    );
    let mut serving = Serving::start(dir.path(), &["--start-anyway"]);
    serving.answers("shop.example", "web");
    // While it runs, such a file takes nothing from the others.
    fs::write(dir.path().join("worse.yaml"), BROKEN).unwrap();
    fs::write(dir.path().join("web.yaml"), ANSWERS.replace("BODY", "later")).unwrap();
    serving.answers("shop.example", "later");
    serving.terminate();
    let logged = serving.logged();
    assert!(
        logged.contains("bad.yaml") && logged.contains("worse.yaml"),
        "{logged}"
    );
}

#[test]
fn a_successor_that_cannot_read_what_is_served_does_not_take_over() {
    let (dir, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let socket = beside.path().join("portcullis.sock");
    let hand_over = ["--hand-over", socket.to_str().unwrap()];
    let web = dir.path().join("web.yaml");
    fs::write(&web, answering("web", "right")).unwrap();
    let mut before = Serving::start(dir.path(), &hand_over);
    before.answers("web.example", "right");
    let labelled = "  namespace: shop\n  labels: {a: 1}\n";
    let object = answering("web", "wrong").replace("  namespace: shop\n", labelled);
    for (what, text, told) in [
        ("a file", BROKEN, "web.yaml line "),
        ("an object", &*object, "ingress shop/web metadata.labels.a: "),
    ] {
        // Together with one that is right: once that is served, the broken one has been read.
        fs::write(&web, text).unwrap();
        fs::write(dir.path().join("next.yaml"), answering("next", what)).unwrap();
        before.answers("next.example", what);
        let said = fails(dir.path(), &hand_over);
        assert!(said.contains(told), "{what}: {said}");
        before.answers("web.example", "right");
    }
    fs::write(&web, answering("web", "right")).unwrap();
    let secret = dir.path().join("secret.yaml");
    for kind in ["", "type: Opaque\n", "type: kubernetes.io/tls\n"] {
        let text = format!("{SECRET}{kind}");
        fs::write(&secret, text).unwrap();
        let said = fails(dir.path(), &hand_over);
        let told = "secret shop/tls: has a tls.crt that holds no PEM certificate";
        assert!(said.contains(told), "{kind:?}: {said}");
        before.answers("web.example", "right");
    }
    fs::remove_file(&secret).unwrap();
    fs::write(&web, &object).unwrap();
    let anyway = [&hand_over[..], &["--start-anyway"]].concat();
    let after = Serving::start(dir.path(), &anyway);
    assert_eq!(after.http, before.http);
    // Its workers answer what they accepted until they learn that another does.
    before.ended();
    let seen = after.get("web.example", "/");
    assert!(seen.starts_with("HTTP/1.1 503"), "{seen}");
    after.answers("next.example", "an object");
}
