//! Ingresses of several namespaces that ask for TLS policies in; which versions each host is served over, and who is
//! told of what, out.

use std::fmt::Write as _;
use std::fs;

use rustls::version::{TLS12, TLS13};

use crate::certificates::{Pair, https_over};
use crate::{ANSWERS, Serving};

/// An Ingress of each namespace `NAME`, for the host `NAME.example`, that answers its name.
fn folder(pair: &Pair, of: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (namespace, annotations) in of {
        let mut text = ANSWERS
            .replace("namespace: shop", &format!("namespace: {namespace}"))
            .replace("shop.example", &format!("{namespace}.example"))
            .replace("BODY", &format!("served by {namespace}"))
            .replace("  annotations:\n", &format!("  annotations:\n{annotations}"));
        let _ = writeln!(
            text,
            "  tls: [{{hosts: [{namespace}.example], secretName: tls}}]\n---\n{}",
            pair.secret(namespace)
        );
        fs::write(dir.path().join(format!("{namespace}.yaml")), text).unwrap();
    }
    dir
}

fn policy(name: &str) -> String {
    format!("    alb.ingress.kubernetes.io/ssl-policy: {name}\n")
}

#[test]
fn a_tls_policy_is_that_of_its_own_hosts_alone() {
    let pair = Pair::of(&["able.example", "misspelt.example", "strict.example"]);
    let dir = folder(
        &pair,
        &[
            ("able", ""),
            ("misspelt", &policy("my-typo")),
            ("strict", &policy("ELBSecurityPolicy-TLS13-1-3-2021-06")),
        ],
    );
    let mut serving = Serving::start(dir.path(), &[]);
    let ask = |name, host: &str, version| https_over(&serving, &pair, name, host, &[version]);
    for (host, old) in [
        ("able.example", true),
        ("misspelt.example", false),
        ("strict.example", false),
    ] {
        let by = host.trim_end_matches(".example");
        let answer = ask(host, host, &TLS13).unwrap();
        assert!(answer.ends_with(&format!("served by {by}")), "{host}: {answer}");
        let over_old = ask(host, host, &TLS12);
        assert_eq!(over_old.is_ok(), old, "{host}: {over_old:?}");
    }
    let able = ask("able.example", "able.example", &TLS12).unwrap();
    assert!(able.ends_with("served by able"), "{able}");
    // Under a name that is spoken to so, another host is not to be had so.
    for host in ["misspelt.example", "strict.example"] {
        let answer = ask("able.example", host, &TLS12).unwrap();
        assert!(answer.starts_with("HTTP/1.1 421"), "{host}: {answer}");
        let answer = ask("able.example", host, &TLS13).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
    serving.terminate();
    let logged = serving.logged();
    let told: Vec<&str> = logged
        .lines()
        .filter(|line| line.contains("TLS policy"))
        .collect();
    let [told] = told[..] else { panic!("{logged}") };
    for want in [
        "my-typo is none that AWS had",
        "ingress misspelt/web metadata.annotations[alb.ingress.kubernetes.io/ssl-policy]",
    ] {
        assert!(told.contains(want), "{want}: {told}");
    }
}

#[test]
fn who_has_no_say_in_a_group_closes_nobodys_hosts_to_tls_1_2() {
    let pair = Pair::of(&["able.example", "typo.example"]);
    let group = "    alb.ingress.kubernetes.io/group.name: g\n";
    let dir = folder(
        &pair,
        &[
            ("able", group),
            ("typo", &(group.to_owned() + &policy("my-typo"))),
        ],
    );
    let mut serving = Serving::start(dir.path(), &[]);
    for host in ["able.example", "typo.example"] {
        let answer = https_over(&serving, &pair, host, host, &[&TLS12]).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
    serving.terminate();
    let logged = serving.logged();
    assert!(logged.contains("SettingNotOwned"), "{logged}");
    assert!(!logged.contains("is none that AWS had"), "{logged}");
}
