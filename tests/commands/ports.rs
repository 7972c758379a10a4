//! Ingresses that name ports beside the usual two, and flags that open these; which are served where, and what is told, out.

use std::fs;

use rustls::DEFAULT_VERSIONS;

use crate::certificates::{Pair, https_at, https_over};
use crate::{ANSWERS, Serving, get};

const HOST: &str = "shop.example";

/// An Ingress that answers its name, at these ports.
fn ingress(name: &str, listens: &str, more: &str) -> String {
    let annotations =
        format!("  annotations:\n    alb.ingress.kubernetes.io/listen-ports: '{listens}'\n{more}");
    let text = ANSWERS
        .replace("name: web", &format!("name: {name}"))
        .replace("BODY", name)
        .replace("  annotations:\n", &annotations);
    format!("{text}  tls: [{{hosts: [{HOST}], secretName: tls}}]\n---\n")
}

/// Where a further port is served, by the line that tells of it.
fn address(serving: &Serving, port: &str) -> String {
    let mut words = serving.ready.split_whitespace();
    let at = words.find_map(|word| word.strip_prefix(&format!("{port}=")));
    at.unwrap_or_else(|| panic!("{}", serving.ready)).to_owned()
}

#[test]
fn each_port_is_served_at_its_own_address_and_others_are_told() {
    let pair = Pair::of(&[HOST]);
    let dir = tempfile::tempdir().unwrap();
    let text = [
        ingress("usual", r#"[{"HTTP":80},{"HTTPS":443}]"#, ""),
        ingress("within", r#"[{"HTTPS":8443},{"HTTPS":9443}]"#, ""),
        ingress(
            "plain",
            r#"[{"HTTP":8081},{"HTTPS":8444}]"#,
            "    alb.ingress.kubernetes.io/ssl-redirect: '8444'\n",
        ),
        pair.secret("shop"),
    ];
    fs::write(dir.path().join("all.yaml"), text.concat()).unwrap();
    let mut serving = Serving::start(
        dir.path(),
        &[
            "--also-http",
            "8081=127.0.0.1:0",
            "--also-https",
            "8443=127.0.0.1:0",
            "--also-https",
            "8444=127.0.0.1:0",
            "--advertised-port",
            "8444=8444",
            "--admin",
            "127.0.0.1:0",
        ],
    );
    for word in ["also-http", "also-https"] {
        assert!(serving.ready.contains(word), "{}", serving.ready);
    }
    let named = [HOST.to_owned(), format!("{HOST}:8443"), format!("{HOST}:443")];
    for host in &named {
        let usual = https_over(&serving, &pair, HOST, host, DEFAULT_VERSIONS).unwrap();
        assert!(usual.ends_with("usual"), "{host}: {usual}");
        let within = address(&serving, "8443");
        let within = https_at(&within, &pair, HOST, host, DEFAULT_VERSIONS).unwrap();
        assert!(within.ends_with("within"), "{host}: {within}");
    }
    assert!(get(&serving.http, &format!("{HOST}:8081"), "/").ends_with("usual"));
    let redirect = get(&address(&serving, "8081"), HOST, "/here");
    let location = redirect.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location").then_some(value)
    });
    assert_eq!(location, Some("https://shop.example:8444/here"), "{redirect}");
    let mut words = serving
        .ready
        .split_whitespace()
        .skip_while(|word| *word != "admin");
    let table = get(words.nth(1).unwrap(), "admin", "/table");
    let reached = address(&serving, "8443");
    let (_, reached) = reached.rsplit_once(':').unwrap();
    for want in [
        format!("8443 https, served at {reached} alone"),
        "8444 https, served at 8444 alone".to_owned(),
    ] {
        assert!(table.contains(&want), "{want}: {table}");
    }
    serving.terminate();
    let logged = serving.logged();
    let told: Vec<&str> = logged.lines().filter(|line| line.contains("no effect")).collect();
    let [told] = told[..] else { panic!("{logged}") };
    assert!(
        told.contains("HTTPS at port 9443") && told.contains("it is served at port 8443 in its place"),
        "{told}"
    );
}
