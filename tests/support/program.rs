//! A program's name in, its path out.

use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// `kube-apiserver` or `etcd`.
pub(crate) fn of_the_cluster(name: &str) -> PathBuf {
    existing(variable("KUBEBUILDER_ASSETS").join(name))
}

/// A Python that has moto.
pub fn python() -> PathBuf {
    existing(variable("PORTCULLIS_MOTO_PYTHON"))
}

/// A Python that has an OpenID provider, and the script that runs it.
pub fn openid_provider() -> (PathBuf, PathBuf) {
    let script = Path::new(ROOT).join("tests/openid/provider.py");
    (existing(variable("PORTCULLIS_OPENID_PYTHON")), existing(script))
}

/// The program that tries servers of HTTP/2.
pub fn h2spec() -> PathBuf {
    existing(variable("PORTCULLIS_H2SPEC"))
}

/// A file of tests/moto.
pub(crate) fn script(name: &str) -> PathBuf {
    existing(Path::new(ROOT).join("tests/moto").join(name))
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "{} doesn't exist: run `cargo xtask setup`",
        path.display()
    );
    path
}

/// The environment first, then what `cargo xtask setup` wrote down for tests started without it.
#[expect(
    clippy::disallowed_methods,
    reason = "tests learn from their environment where the programs are"
)]
fn variable(name: &str) -> PathBuf {
    if let Ok(value) = std::env::var(name) {
        return value.into();
    }
    let file = Path::new(ROOT).join(".cache/test-environment");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value
        .unwrap_or_else(|| panic!("{name} isn't set: run `cargo xtask setup`, or `cargo xtask test`"))
        .into()
}
