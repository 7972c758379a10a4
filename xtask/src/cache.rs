//! A name and how to make it in, a folder made once, whole, and by one process at a time out.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder that outlives a checkout. Every folder in it carries its versions in its name, so that
/// a change of version makes a new one and other checkouts keep theirs.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Held until the cache is dropped, or until the process dies.
    _lock: File,
}

impl Cache {
    /// Waits for any other set-up to end.
    pub(crate) fn open() -> Result<Cache> {
        Cache::at(folder()?)
    }

    fn at(folder: PathBuf) -> Result<Cache> {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let path = folder.join("lock");
        let lock = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
        if lock.try_lock().is_err() {
            eprintln!("waiting for another set-up to end ({})", path.display());
            lock.lock()
                .with_context(|| format!("locking {}", path.display()))?;
        }
        Ok(Cache { folder, _lock: lock })
    }

    /// The folder `name`, filled by `make` if it isn't there. `make` gets the final path; a marker written
    /// last tells a whole folder from what an interrupted run left.
    pub(crate) fn folder(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        let whole = folder.join(".whole");
        if whole.exists() {
            return Ok(folder);
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        make(&folder)?;
        fs::write(&whole, "").with_context(|| format!("writing {}", whole.display()))?;
        Ok(folder)
    }

    /// A folder for a build's leftovers, kept after an interruption so that the next run goes on from there.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.scratch"))
    }
}

fn folder() -> Result<PathBuf> {
    if let Some(given) = variable("PORTCULLIS_CACHE") {
        return Ok(given.into());
    }
    if let Some(caches) = variable("XDG_CACHE_HOME") {
        return Ok(Path::new(&caches).join("portcullis"));
    }
    let home = variable("HOME").context("neither PORTCULLIS_CACHE, XDG_CACHE_HOME nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/portcullis"))
}

/// An environment variable that is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where xtask reads its environment"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_whole_and_once() {
        let base = std::env::temp_dir().join(format!("portcullis-cache-{}", std::process::id()));
        let cache = Cache::at(base.clone()).unwrap();
        let interrupted = cache.folder("tool-1", |folder| {
            fs::write(folder.join("half"), "")?;
            anyhow::bail!("interrupted")
        });
        assert_eq!(interrupted.unwrap_err().to_string(), "interrupted");
        let made = cache
            .folder("tool-1", |folder| Ok(fs::write(folder.join("tool"), "")?))
            .unwrap();
        assert!(
            made.join("tool").exists() && !made.join("half").exists(),
            "made anew, without leftovers"
        );
        let again = cache.folder("tool-1", |_| anyhow::bail!("made again"));
        assert_eq!(again.unwrap(), made);
        fs::remove_dir_all(base).unwrap();
    }
}
