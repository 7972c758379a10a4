//! A folder of files in, its manifests as last read and a wake-up when something changed out.
//!
//! Files named `*.yaml`, `*.yml` and `*.json` are read, those of subfolders too. What starts with a dot is passed
//! over, and links to folders are not followed: so a mounted ConfigMap, whose files link into a hidden folder, is
//! read once.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::manifests::Manifests;

/// How long a folder must rest after a change: editors write, rename and delete within a few milliseconds.
const QUIET: Duration = Duration::from_millis(100);

/// Longest wait for rest, so that a folder that never rests is read all the same.
const LONGEST: Duration = Duration::from_secs(1);

/// Time between looks without a notice: network file systems send none, nor do targets of links elsewhere.
const UNASKED: Duration = Duration::from_secs(5);

/// A folder and what was last read of it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    manifests: Manifests,
    /// Hash of what was last read, by name of file.
    seen: BTreeMap<String, Seen>,
}

/// What was last found under a name.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Content(u64),
    Unreadable(String),
}

impl Folder {
    /// Reads a folder for the first time.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let mut folder = Self {
            path: path.into(),
            manifests: Manifests::default(),
            seen: BTreeMap::new(),
        };
        folder.refresh()?;
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Reads what changed since the last time; whether anything did. Where the folder itself cannot be read,
    /// everything stays as it was.
    pub fn refresh(&mut self) -> io::Result<bool> {
        let mut found = Found::default();
        list(&self.path, "", &mut found)?;
        let Found { mut names, closed } = found;
        names.sort();
        let mut changed = false;
        // What lies in a folder that cannot be listed stays as it was.
        let is_gone = |name: &String| {
            names.binary_search(name).is_err()
                && !closed.iter().any(|(folder, _)| name.starts_with(folder.as_str()))
        };
        let gone: Vec<String> = self.seen.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            self.seen.remove(&name);
            self.manifests.remove(&name);
            changed = true;
        }
        for (name, why) in closed {
            let now = Seen::Unreadable(why.clone());
            if self.seen.get(&name) != Some(&now) {
                self.manifests.unreadable(&name, &why);
                self.seen.insert(name, now);
                changed = true;
            }
        }
        for name in names {
            let read = read(&self.path.join(&name));
            let now = match &read {
                Ok(bytes) => {
                    let mut hash = DefaultHasher::new();
                    hash.write(bytes);
                    Seen::Content(hash.finish())
                }
                // Renamed or deleted since it was listed; the next look tells.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Seen::Unreadable(error.to_string()),
            };
            if self.seen.get(&name) != Some(&now) {
                match read {
                    Ok(bytes) => self.manifests.update(&name, &bytes),
                    Err(error) => self.manifests.unreadable(&name, &error.to_string()),
                };
                self.seen.insert(name, now);
                changed = true;
            }
        }
        Ok(changed)
    }
}

/// Reads a file. A pipe would be waited for, for ever, and a device has no end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    fs::read(path)
}

/// Names relative to the folder that is read.
#[derive(Debug, Default)]
struct Found {
    names: Vec<String>,
    /// Folders that cannot be listed, with a slash at the end, and why.
    closed: Vec<(String, String)>,
}

/// Adds what lies below a folder.
fn list(folder: &Path, prefix: &str, found: &mut Found) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            let prefix = format!("{prefix}{name}/");
            match list(&entry.path(), &prefix, found) {
                // Deleted since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.closed.push((prefix, error.to_string())),
                Ok(()) => {}
            }
        } else if [".yaml", ".yml", ".json"]
            .iter()
            .any(|ending| name.ends_with(ending))
            && !entry.path().is_dir()
        {
            found.names.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

/// Wakes when a folder may have changed.
#[derive(Debug)]
pub struct Watch {
    notices: mpsc::Receiver<()>,
    /// None where the system gives no notices; the folder is looked at all the same, only later.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    pub fn new(folder: &Path) -> Self {
        let (send, notices) = mpsc::channel(1);
        let on_event = move |event: notify::Result<notify::Event>| {
            // Our own reading is an access too.
            if !matches!(
                event,
                Ok(notify::Event {
                    kind: EventKind::Access(_),
                    ..
                })
            ) {
                // A full channel holds a notice already.
                let _ = send.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        Self {
            notices,
            _watcher: watcher.ok(),
        }
    }

    /// Returns once the folder has changed and rests again, and in any case after a few seconds.
    pub async fn changed(&mut self) {
        let asked_at = Instant::now();
        match timeout(UNASKED, self.notices.recv()).await {
            Err(_) => return,
            // No watcher, no notices.
            Ok(None) => return tokio::time::sleep_until(asked_at + UNASKED).await,
            Ok(Some(())) => {}
        }
        let latest = Instant::now() + LONGEST;
        while let Ok(Some(())) = timeout_at(latest.min(Instant::now() + QUIET), self.notices.recv()).await {
            if Instant::now() >= latest {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

    fn keys(folder: &Folder) -> Vec<String> {
        let objects = folder.manifests().objects();
        objects
            .iter()
            .map(|object| object.meta().name.to_string())
            .collect()
    }

    #[test]
    fn a_folder_is_read_with_its_subfolders_and_without_what_is_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        for (name, namespace) in [
            ("b.yml", "b"),
            ("a.yaml", "a"),
            ("sub/deep/c.yaml", "c"),
            (".git/d.yaml", "d"),
            (".e.yaml", "e"),
            ("f.yaml~", "f"),
            ("g.txt", "g"),
        ] {
            fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
            fs::write(path.join(name), SHOP.replace("shop", namespace)).unwrap();
        }
        let mut folder = Folder::open(path).unwrap();
        assert_eq!(keys(&folder), ["a", "b", "c"]);
        assert!(!folder.refresh().unwrap(), "nothing has changed");
        fs::remove_file(path.join("a.yaml")).unwrap();
        fs::write(path.join("b.yml"), "{").unwrap();
        assert!(folder.refresh().unwrap());
        assert_eq!(keys(&folder), ["b", "c"]);
        assert_eq!(folder.manifests().problems().len(), 1);
        fs::remove_dir_all(path).unwrap();
        assert!(folder.refresh().is_err());
        assert_eq!(keys(&folder), ["b", "c"], "a folder that went keeps its content");
    }

    #[test]
    fn what_cannot_be_read_is_told_and_disturbs_nothing_else() {
        use std::os::unix::net::UnixListener;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::write(path.join("a.yaml"), SHOP).unwrap();
        // As a pipe: no regular file, and opening it leads nowhere.
        let _socket = UnixListener::bind(path.join("b.yaml")).unwrap();
        let folder = Folder::open(path).unwrap();
        assert_eq!(keys(&folder), ["shop"]);
        let problems = folder.manifests().problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].message.contains("no regular file"), "{problems:?}");
    }

    #[test]
    fn a_mounted_configmap_is_read_once_and_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        for version in ["..1", "..2"] {
            fs::create_dir(path.join(version)).unwrap();
            fs::write(
                path.join(version).join("a.yaml"),
                SHOP.replace("shop", &format!("v{}", &version[2..])),
            )
            .unwrap();
        }
        std::os::unix::fs::symlink("..1", path.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.yaml", path.join("a.yaml")).unwrap();
        let mut folder = Folder::open(path).unwrap();
        assert_eq!(keys(&folder), ["v1"]);
        std::os::unix::fs::symlink("..2", path.join("..data_tmp")).unwrap();
        fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
        assert!(folder.refresh().unwrap());
        assert_eq!(keys(&folder), ["v2"]);
        assert!(folder.manifests().problems().is_empty());
    }

    #[tokio::test]
    async fn a_change_of_any_kind_wakes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let mut folder = Folder::open(&path).unwrap();
        let mut watch = Watch::new(&path);
        let steps: [(&str, &dyn Fn()); 4] = [
            ("written", &|| fs::write(path.join("a.yaml"), SHOP).unwrap()),
            ("written over", &|| {
                fs::write(path.join("a.yaml"), SHOP.replace("shop", "blog")).unwrap()
            }),
            ("replaced", &|| {
                fs::write(path.join(".a.tmp"), SHOP).unwrap();
                fs::rename(path.join(".a.tmp"), path.join("a.yaml")).unwrap();
            }),
            ("deleted", &|| fs::remove_file(path.join("a.yaml")).unwrap()),
        ];
        for (what, step) in steps {
            step();
            let seen = async {
                watch.changed().await;
                while !folder.refresh().unwrap() {
                    watch.changed().await;
                }
            };
            // Sooner than without a notice.
            timeout(UNASKED - Duration::from_secs(1), seen).await.expect(what);
        }
        assert!(keys(&folder).is_empty());
    }
}
