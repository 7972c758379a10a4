//! Programs of Debian's in, all of them installed out; or what to install, where that is not ours to do.

use std::process::Command;

use anyhow::{Result, bail};

use crate::step;

/// A program, what it is asked for its version with, and the package that has it.
pub(super) type Wanted = (&'static str, &'static str, &'static str);

/// Installs what is missing where apt does so without asking: for root, or by a `sudo` that wants no password.
pub(super) fn ensure(wanted: &[Wanted]) -> Result<()> {
    let packages = missing(wanted);
    if packages.is_empty() {
        return Ok(());
    }
    let before: &[&str] = match is_root() {
        true => &[],
        false => &["sudo", "--non-interactive"],
    };
    let by_hand = format!("apt-get install {}", packages.join(" "));
    let apt = |rest: &[&str]| {
        let words = [before, &["apt-get"], rest].concat();
        step::run(
            Command::new(words[0])
                .args(&words[1..])
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    let install = ["install", "--yes", "--no-install-recommends"];
    // Lists of packages may be old, or none.
    let installed = apt(&["update"]).and_then(|()| apt(&[&install[..], &packages].concat()));
    if let Err(error) = installed {
        bail!("programs are missing, and could not be installed ({error:#}): {by_hand}");
    }
    match missing(wanted).is_empty() {
        true => Ok(()),
        false => bail!("programs are missing (the folder /usr/sbin must be on the path): {by_hand}"),
    }
}

fn missing(wanted: &[Wanted]) -> Vec<&'static str> {
    let is_missing = |(program, flag, _): &&Wanted| step::output(Command::new(program).arg(flag)).is_none();
    wanted
        .iter()
        .filter(is_missing)
        .map(|(_, _, package)| *package)
        .collect()
}

fn is_root() -> bool {
    step::output(Command::new("id").arg("-u")).as_deref() == Some("0")
}
