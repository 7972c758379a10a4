//! The machine's programs in, each one that is missing with the way to get it out.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{files, python, step};

/// What a first build and run of all tests takes, measured at 6 GiB, with the caches of Go and of `setup`.
const FIRST_BUILD_GIB: u64 = 10;
/// What is taken anew where it was built before: test programs are linked again.
const LATER_BUILD_GIB: u64 = 3;

/// Fails with the list of everything that is missing, so that one run names it all.
pub(crate) fn check() -> Result<()> {
    let missing: Vec<String> = [
        rust_component("rustfmt"),
        rust_component("clippy"),
        go(),
        git(),
        c_compiler(),
        disk(),
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
    let way = "https://go.dev/dl, or name a folder that has kube-apiserver and etcd in KUBEBUILDER_ASSETS, \
               and h2spec in PORTCULLIS_H2SPEC";
    if crate::cluster::given().is_some() && crate::h2spec::given().is_some() {
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

/// aws-lc, the cryptography below rustls, is compiled from C.
fn c_compiler() -> Option<String> {
    let named = crate::cache::variable("CC").unwrap_or_else(|| "cc".to_owned());
    let found = step::output(Command::new(&named).arg("--version"));
    found
        .is_none()
        .then(|| format!("a C compiler ({named}): apt-get install build-essential"))
}

/// A linker that meets a full disk dies of SIGBUS and blames itself, so the disk is looked at first.
fn disk() -> Option<String> {
    let root = files::root();
    let free = free_kib(&step::output(Command::new("df").arg("-Pk").arg(&root))?)?;
    let built = root.join("target/debug/deps").exists();
    too_little(free, built).map(|needed| {
        let free = free / (1 << 20);
        format!(
            "disk space below {}: {needed} GiB are needed, {free} GiB are free",
            root.display()
        )
    })
}

/// The fourth column of the last line. Source: POSIX, `df -P`.
fn free_kib(df: &str) -> Option<u64> {
    df.lines().last()?.split_whitespace().nth(3)?.parse().ok()
}

/// How many GiB are needed, if that much is not free.
fn too_little(free_kib: u64, built: bool) -> Option<u64> {
    let needed = if built { LATER_BUILD_GIB } else { FIRST_BUILD_GIB };
    (free_kib < needed << 20).then_some(needed)
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
    fn a_disk_with_too_little_room_is_named_before_the_build() {
        let df = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 263186432 24117248 4194304 26% /";
        assert_eq!(free_kib(df), Some(4 << 20));
        assert_eq!(free_kib("df: no such file"), None);
        for (free, built, want) in [
            (4 << 20, false, Some(FIRST_BUILD_GIB)),
            (4 << 20, true, None),
            (2 << 20, true, Some(LATER_BUILD_GIB)),
            (20 << 20, false, None),
        ] {
            assert_eq!(too_little(free, built), want, "{free} KiB, built: {built}");
        }
    }

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
