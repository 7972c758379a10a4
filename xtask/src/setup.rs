//! The machine as it is in, where the tests find what they need out.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::{cluster, deny, files, h2spec, prerequisites, python};

/// What the tests need beyond the toolchain.
#[derive(Debug)]
pub(crate) struct Tools {
    /// A folder with `kube-apiserver` and `etcd`.
    pub(crate) cluster: PathBuf,
    /// A Python that has moto.
    pub(crate) python: PathBuf,
    /// A Python that has an OpenID provider.
    pub(crate) openid: PathBuf,
    /// The program that tries servers of HTTP/2.
    pub(crate) h2spec: PathBuf,
    pub(crate) deny: PathBuf,
}

impl Tools {
    /// The variables `tests/support` reads.
    pub(crate) fn environment(&self) -> [(&'static str, &PathBuf); 4] {
        [
            ("KUBEBUILDER_ASSETS", &self.cluster),
            ("PORTCULLIS_MOTO_PYTHON", &self.python),
            ("PORTCULLIS_OPENID_PYTHON", &self.openid),
            ("PORTCULLIS_H2SPEC", &self.h2spec),
        ]
    }
}

/// Makes what is missing. Safe to run twice at once, and after an interruption.
pub(crate) fn run() -> Result<Tools> {
    prerequisites::check()?;
    let cache = Cache::open()?;
    let tools = Tools {
        python: python::ensure(&cache)?,
        openid: python::ensure_openid(&cache)?,
        cluster: cluster::ensure(&cache)?,
        h2spec: h2spec::ensure(&cache)?,
        deny: deny::ensure(&cache)?,
    };
    remember(&tools)?;
    eprintln!("kube-apiserver and etcd: {}", tools.cluster.display());
    eprintln!("moto: {}", tools.python.display());
    eprintln!("OpenID provider: {}", tools.openid.display());
    eprintln!("h2spec: {}", tools.h2spec.display());
    eprintln!("cargo-deny: {}", tools.deny.display());
    Ok(tools)
}

/// Written so that a plain `cargo test` finds the tools too.
fn remember(tools: &Tools) -> Result<()> {
    let path = files::environment();
    let lines = tools
        .environment()
        .map(|(name, value)| format!("{name}={}\n", value.display()));
    let folder = path
        .parent()
        .context("the file of the environment has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(&path, lines.concat()).with_context(|| format!("writing {}", path.display()))
}
