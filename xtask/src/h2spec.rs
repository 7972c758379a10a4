//! The version in tests/h2spec/go.mod in, the program that tries servers of HTTP/2 out.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cache::{Cache, variable};
use crate::go::Module;

/// The program `PORTCULLIS_H2SPEC` names, if it is there.
pub(crate) fn given() -> Option<PathBuf> {
    let program = std::path::absolute(Path::new(&variable("PORTCULLIS_H2SPEC")?)).ok()?;
    program.is_file().then_some(program)
}

pub(crate) fn ensure(cache: &Cache) -> Result<PathBuf> {
    if let Some(program) = given() {
        return Ok(program);
    }
    let module = Module::of_tests("h2spec")?;
    let version = module.version_of("github.com/summerwind/h2spec")?;
    let folder = cache.folder(&format!("h2spec-{version}"), |folder| {
        eprintln!("building h2spec {version}, once: less than a minute");
        let package = "github.com/summerwind/h2spec/cmd/h2spec";
        module.build(&folder.join("h2spec"), package, "-s -w")
    })?;
    Ok(folder.join("h2spec"))
}
