//! A Go module of this repository in, its programs built, and its versions, out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{files, step};

/// A module that names programs that tests and benchmarks need. Their versions stand in its go.mod alone.
#[derive(Debug)]
pub(crate) struct Module {
    folder: PathBuf,
    text: String,
}

impl Module {
    /// The one in a folder of tests/.
    pub(crate) fn of_tests(name: &str) -> Result<Module> {
        Module::at(&Path::new("tests").join(name))
    }

    /// The one in a folder of the repository.
    pub(crate) fn at(folder: &Path) -> Result<Module> {
        let folder = files::root().join(folder);
        let path = folder.join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Module { folder, text })
    }

    /// The version of a direct requirement.
    pub(crate) fn version_of(&self, module: &str) -> Result<&str> {
        self.text
            .lines()
            .find_map(|line| {
                let line = line.trim();
                let line = line.strip_prefix("require ").unwrap_or(line);
                line.strip_prefix(module)?.strip_prefix(' ')
            })
            .and_then(|rest| rest.split_whitespace().next())
            .with_context(|| format!("{}/go.mod doesn't require {module}", self.folder.display()))
    }

    /// Builds a program into a file.
    pub(crate) fn build(&self, program: &Path, package: &str, flags: &str) -> Result<()> {
        let mut go = Command::new("go");
        go.current_dir(&self.folder).env("CGO_ENABLED", "0").args([
            "build",
            "-trimpath",
            "-ldflags",
            flags,
            "-o",
        ]);
        step::run(go.arg(program).arg(package))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_go_module() {
        for (name, module, start) in [
            ("cluster", "k8s.io/kubernetes", "v1."),
            ("cluster", "go.etcd.io/etcd/server/v3", "v3."),
            ("h2spec", "github.com/summerwind/h2spec", "v0.0.0-"),
        ] {
            let tests = Module::of_tests(name).unwrap();
            let version = tests.version_of(module).unwrap();
            assert!(version.starts_with(start), "{module} is {version}");
            assert!(tests.version_of("example.com/none").is_err());
        }
        let bench = Module::at(Path::new("benches/proxy/traefik")).unwrap();
        let version = bench.version_of("github.com/traefik/traefik/v3").unwrap();
        assert!(version.starts_with("v3.6."), "Traefik is {version}");
    }
}
