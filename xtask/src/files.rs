//! Nothing in, where the repository's own files are out.

use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Where tests started without `cargo xtask` read what `setup` made; `tests/support` reads it too.
pub(crate) fn environment() -> PathBuf {
    root().join(".cache/test-environment")
}
