//! Nothing in, a cargo-deny that reads our deny.toml out.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::step;

const VERSION: &str = "0.20.2";

pub(crate) fn ensure(cache: &Cache) -> Result<PathBuf> {
    let installed = step::output(Command::new("cargo-deny").arg("--version"));
    if installed.as_deref() == Some(&format!("cargo-deny {VERSION}")) {
        return Ok("cargo-deny".into());
    }
    let name = format!("cargo-deny-{VERSION}");
    let scratch = cache.scratch(&name);
    let folder = cache.folder(&name, |folder| {
        eprintln!("installing cargo-deny {VERSION}, once: a few minutes");
        let mut cargo = Command::new("cargo");
        // Optimising costs more time than it ever saves here.
        cargo.args([
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "--version",
            VERSION,
            "cargo-deny",
            "--root",
        ]);
        cargo
            .arg(folder)
            .env("CARGO_TARGET_DIR", &scratch)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        step::run(&mut cargo)?;
        fs::remove_dir_all(&scratch).with_context(|| format!("removing {}", scratch.display()))
    })?;
    Ok(folder.join("bin/cargo-deny"))
}
