//! The machine's programs in, each one that is missing with the way to get it out.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{python, step};

/// Fails with the list of everything that is missing, so that one run names it all.
pub(crate) fn check() -> Result<()> {
    let missing: Vec<String> = [
        rust_component("rustfmt"),
        rust_component("clippy"),
        go(),
        git(),
        c_compiler(),
    ]
    .into_iter()
    .chain([python::interpreter().err().map(|error| error.to_string())])
    .flatten()
    .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("missing:\n  - {}", missing.join("\n  - "));
}

fn rust_component(name: &str) -> Option<String> {
    let subcommand = if name == "rustfmt" { "fmt" } else { name };
    let found = step::output(Command::new("cargo").args([subcommand, "--version"]));
    found
        .is_none()
        .then(|| format!("{name}: rustup component add {name}"))
}

/// Kubernetes 1.36 says `go 1.26.0` in its go.mod.
fn go() -> Option<String> {
    let way = "https://go.dev/dl, or name a folder that has kube-apiserver and etcd in KUBEBUILDER_ASSETS";
    if crate::cluster::given().is_some() {
        return None;
    }
    let Some(version) = step::output(Command::new("go").args(["env", "GOVERSION"])) else {
        return Some(format!("Go 1.26 or newer: {way}"));
    };
    (minor(&version, "go1.") < Some(26)).then(|| format!("Go 1.26 or newer, this is {version}: {way}"))
}

fn git() -> Option<String> {
    let found = step::output(Command::new("git").arg("--version"));
    found
        .is_none()
        .then(|| "git: apt-get install git, or https://git-scm.com".to_owned())
}

/// aws-lc and ring, the cryptography below rustls, are compiled from C.
fn c_compiler() -> Option<String> {
    let named = crate::cache::variable("CC").unwrap_or_else(|| "cc".to_owned());
    let found = step::output(Command::new(&named).arg("--version"));
    found
        .is_none()
        .then(|| format!("a C compiler ({named}): apt-get install build-essential"))
}

/// The number after `prefix`: 26 of `go1.26.8` and of `go1.26rc1` after `go1.`.
pub(crate) fn minor(version: &str, prefix: &str) -> Option<u32> {
    let rest = version.strip_prefix(prefix)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_its_minor_number() {
        for (version, prefix, want) in [
            ("go1.26.8", "go1.", Some(26)),
            ("go1.27", "go1.", Some(27)),
            ("go1.26rc1", "go1.", Some(26)),
            ("devel +abc", "go1.", None),
            ("Python 3.11.7", "Python 3.", Some(11)),
            ("Python 2.7.18", "Python 3.", None),
        ] {
            assert_eq!(minor(version, prefix), want, "{version}");
        }
    }
}
