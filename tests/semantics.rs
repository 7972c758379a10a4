//! Ingresses written for the AWS Load Balancer Controller in, what `plan --semantics` says of them out.
//!
//! `PORTCULLIS_BLESS=1 cargo test --test semantics` writes the golden text anew: read the difference.

#![expect(clippy::unwrap_used, reason = "all of it is a test: a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/semantics")
        .join(name)
}

fn plan(semantics: &str, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args([
            "plan",
            "--provider",
            "aws",
            "--cluster-name",
            "demo",
            "--controller-name",
            "ingress.k8s.aws/alb",
        ])
        .args(["--semantics", semantics, "--manifests"])
        .arg(here("cluster"))
        .args(more)
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_strictness_changes_is_shown_with_requests() {
    let text = plan("Kubernetes", &[]);
    let path = here("kubernetes.txt");
    #[expect(clippy::disallowed_methods, reason = "the way to ask for a new golden text")]
    if std::env::var("PORTCULLIS_BLESS").is_ok_and(|value| value == "1") {
        fs::write(path, text).unwrap();
    } else {
        assert_eq!(text, fs::read_to_string(path).unwrap());
    }
}

#[test]
fn the_same_semantics_change_nothing() {
    let compared: Value = serde_json::from_str(&plan("AwsLoadBalancerController", &["-o", "json"])).unwrap();
    let balancer = &compared["loadBalancers"][0];
    assert_eq!(balancer["requests"], Value::Array(Vec::new()), "{balancer:#}");
    assert_eq!(balancer["problems"], Value::Array(Vec::new()), "{balancer:#}");
    let rules = balancer["rules"].as_array().unwrap();
    assert!(
        !rules.is_empty() && rules.iter().all(|rule| rule["change"] == "kept"),
        "{balancer:#}"
    );
    assert_eq!(compared["plan"]["loadBalancers"][0]["id"], "public");
}
