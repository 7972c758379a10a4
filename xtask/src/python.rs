//! A `requirements.txt` of tests or benchmarks in, the Python of a virtual environment that has them out.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::prerequisites::minor;
use crate::{files, step};

/// moto 5.2 takes Python from 3.10 on; `tomllib` and exact error positions make 3.11 the oldest worth having.
const OLDEST: u32 = 11;

/// The first Python on the path that is new enough and can make a virtual environment.
pub(crate) fn interpreter() -> Result<&'static str> {
    for name in ["python3", "python3.14", "python3.13", "python3.12", "python3.11"] {
        let version = step::output(Command::new(name).arg("--version")).unwrap_or_default();
        if minor(&version, "Python 3.") < Some(OLDEST) {
            continue;
        }
        if step::output(Command::new(name).args(["-c", "import venv, ensurepip"])).is_none() {
            bail!("venv for {version}: apt-get install python3-venv");
        }
        return Ok(name);
    }
    bail!(
        "Python 3.{OLDEST} or newer: apt-get install python3 python3-venv, or https://www.python.org/downloads"
    )
}

/// One that has moto.
pub(crate) fn ensure(cache: &Cache) -> Result<PathBuf> {
    environment(cache, "python", "tests/moto")
}

/// One that has an OpenID provider.
pub(crate) fn ensure_openid(cache: &Cache) -> Result<PathBuf> {
    environment(cache, "openid", "tests/openid")
}

/// Where a virtual environment has Envoy beside its Python.
pub(crate) fn ensure_envoy(cache: &Cache) -> Result<PathBuf> {
    let python = environment(cache, "envoy", "benches/proxy/envoy")?;
    Ok(python.with_file_name("envoy"))
}

/// `of` names the folder with the requirements.
fn environment(cache: &Cache, name: &str, of: &str) -> Result<PathBuf> {
    let requirements = files::root().join(of).join("requirements.txt");
    let text = fs::read_to_string(&requirements);
    let text = text.with_context(|| format!("reading {}", requirements.display()))?;
    let interpreter = interpreter()?;
    let version = step::output(Command::new(interpreter).arg("--version"));
    let mut hasher = DefaultHasher::new();
    (&text, version).hash(&mut hasher);
    let folder = cache.folder(&format!("{name}-{:016x}", hasher.finish()), |folder| {
        eprintln!("installing what {of} needs, once: about a minute");
        step::run(Command::new(interpreter).args(["-m", "venv"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ]);
        step::run(pip.arg(&requirements))
    })?;
    Ok(folder.join("bin/python"))
}
