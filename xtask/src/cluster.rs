//! The versions in tests/cluster/go.mod in, a folder with kube-apiserver and etcd out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::{Cache, variable};
use crate::{files, step};

const PROGRAMS: [&str; 2] = ["etcd", "kube-apiserver"];

/// The folder `KUBEBUILDER_ASSETS` names, if it has both programs. The name is a convention of Kubernetes' envtest.
pub(crate) fn given() -> Option<PathBuf> {
    let folder = PathBuf::from(variable("KUBEBUILDER_ASSETS")?);
    let whole = PROGRAMS.iter().all(|program| folder.join(program).is_file());
    // Tests run elsewhere: a relative path would mean another folder there.
    whole.then(|| std::path::absolute(folder).ok()).flatten()
}

pub(crate) fn ensure(cache: &Cache) -> Result<PathBuf> {
    if let Some(folder) = given() {
        return Ok(folder);
    }
    if let Some(named) = variable("KUBEBUILDER_ASSETS") {
        eprintln!("KUBEBUILDER_ASSETS={named} lacks kube-apiserver or etcd: building them");
    }
    let module = files::root().join("tests/cluster");
    let text = fs::read_to_string(module.join("go.mod")).context("reading tests/cluster/go.mod")?;
    let kubernetes = version_of("k8s.io/kubernetes", &text)?;
    let etcd = version_of("go.etcd.io/etcd/server/v3", &text)?;
    cache.folder(&format!("kubernetes-{kubernetes}-etcd-{etcd}"), |folder| {
        eprintln!("building etcd {etcd} and kube-apiserver {kubernetes}, once: about 5 minutes on two cores");
        build(&module, folder, "etcd", "go.etcd.io/etcd/server/v3", "-s -w")?;
        // Without it the API server calls itself v0.0.0-master and clients refuse it.
        let flags = format!("-s -w -X k8s.io/component-base/version.gitVersion={kubernetes}");
        build(
            &module,
            folder,
            "kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-apiserver",
            &flags,
        )
    })
}

fn build(module: &Path, folder: &Path, program: &str, package: &str, flags: &str) -> Result<()> {
    let mut go = Command::new("go");
    go.current_dir(module)
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-ldflags", flags, "-o"]);
    step::run(go.arg(folder.join(program)).arg(package))
}

/// The version of a direct requirement in the text of a go.mod.
fn version_of<'a>(module: &str, text: &'a str) -> Result<&'a str> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix(module)?.strip_prefix(' '))
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("tests/cluster/go.mod doesn't require {module}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_go_module() {
        let text = fs::read_to_string(files::root().join("tests/cluster/go.mod")).unwrap();
        for (module, start) in [("k8s.io/kubernetes", "v1."), ("go.etcd.io/etcd/server/v3", "v3.")] {
            let version = version_of(module, &text).unwrap();
            assert!(version.starts_with(start), "{module} is {version}");
        }
        assert!(version_of("example.com/none", &text).is_err());
    }
}
