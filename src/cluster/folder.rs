//! A folder of files in, its manifests as last read and a wake-up when something changed out.
//!
//! Files named `*.yaml`, `*.yml` and `*.json` are read, those of subfolders too. What starts with a dot is passed
//! over, and links to folders are not followed: so a mounted ConfigMap, whose files link into a hidden folder, is
//! read once. Of a file larger than 64 MiB nothing is read.

mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

pub use self::watch::Watch;

use super::manifests::Manifests;
use super::manifests::document::FILE_BYTES;
use super::object::{Object, ObjectKey};

/// What is said of a link whose target is missing.
const DANGLING: &str = "it is a link to a file that does not exist";

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

    /// The objects that may be others than when this was last asked, as they are now; none where one is gone.
    pub fn changes(&mut self) -> BTreeMap<ObjectKey, Option<Object>> {
        self.manifests.changes()
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
                && !closed.iter().any(|(closed, _)| {
                    name == closed || (closed.ends_with('/') && name.starts_with(closed.as_str()))
                })
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
            let path = self.path.join(&name);
            let read = match read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(&path) {
                    Ok(found) if found.is_symlink() => Err(DANGLING.to_owned()),
                    // Renamed or deleted since it was listed; the next look tells.
                    Ok(_) | Err(_) => continue,
                },
                read => read.map_err(|error| error.to_string()),
            };
            let now = match &read {
                Ok(bytes) => {
                    let mut hash = DefaultHasher::new();
                    hash.write(bytes);
                    Seen::Content(hash.finish())
                }
                Err(why) => Seen::Unreadable(why.clone()),
            };
            if self.seen.get(&name) != Some(&now) {
                match read {
                    Ok(bytes) => self.manifests.update(&name, &bytes),
                    Err(why) => self.manifests.unreadable(&name, &why),
                };
                self.seen.insert(name, now);
                changed = true;
            }
        }
        Ok(changed)
    }
}

/// Reads a file. A pipe would be waited for, for ever, and a device has no end; nor has a file that somebody writes to
/// as fast as it is read.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    let most = u64::try_from(FILE_BYTES).unwrap_or(u64::MAX);
    let too_large = || {
        let message = format!("it has more than {FILE_BYTES} bytes, the most that are read");
        io::Error::new(io::ErrorKind::FileTooLarge, message)
    };
    if found.len() > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may have grown since. One byte more than is taken shows that there is more.
    let mut file = fs::File::open(path)?.take(most.saturating_add(1));
    file.read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Names relative to the folder that is read.
#[derive(Debug, Default)]
struct Found {
    names: Vec<String>,
    /// What cannot be looked into, and why: folders that cannot be listed, with a slash at the end, and what has no
    /// name in UTF-8.
    closed: Vec<(String, String)>,
}

/// Adds what lies below a folder.
fn list(folder: &Path, prefix: &str, found: &mut Found) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.starts_with(b".") {
            continue;
        }
        let is_folder = entry.file_type()?.is_dir();
        let ours = [".yaml", ".yml", ".json"]
            .iter()
            .any(|ending| bytes.ends_with(ending.as_bytes()));
        if !is_folder && (!ours || entry.path().is_dir()) {
            continue;
        }
        let Some(name) = name.to_str() else {
            let slash = if is_folder { "/" } else { "" };
            let shown = format!("{prefix}{}{slash}", bytes.escape_ascii());
            found.closed.push((shown, "its name is not UTF-8".to_owned()));
            continue;
        };
        if is_folder {
            let prefix = format!("{prefix}{name}/");
            match list(&entry.path(), &prefix, found) {
                // Deleted since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.closed.push((prefix, error.to_string())),
                Ok(()) => {}
            }
        } else {
            found.names.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::watch::UNASKED;
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
    fn a_link_to_nothing_is_told_and_keeps_what_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::write(path.join("target"), SHOP).unwrap();
        for (target, link) in [("target", "a.yaml"), ("nothing", "b.yaml"), ("nothing", "c.txt")] {
            std::os::unix::fs::symlink(target, path.join(link)).unwrap();
        }
        let mut folder = Folder::open(path).unwrap();
        let told = |folder: &Folder| -> Vec<String> {
            let problems = folder.manifests().problems();
            problems.iter().map(ToString::to_string).collect()
        };
        let of = |name| format!("file {name}: it is a link to a file that does not exist [FileUnreadable]");
        assert_eq!(
            (keys(&folder), told(&folder)),
            (vec!["shop".to_owned()], vec![of("b.yaml")])
        );
        assert!(!folder.refresh().unwrap(), "told once");

        fs::remove_file(path.join("target")).unwrap();
        assert!(folder.refresh().unwrap());
        assert_eq!(keys(&folder), ["shop"]);
        assert_eq!(told(&folder), [of("a.yaml"), of("b.yaml")]);

        fs::write(path.join("nothing"), SHOP.replace("shop", "blog")).unwrap();
        fs::remove_file(path.join("a.yaml")).unwrap();
        assert!(folder.refresh().unwrap());
        assert_eq!(
            (keys(&folder), told(&folder)),
            (vec!["blog".to_owned()], Vec::new())
        );
    }

    #[test]
    fn what_is_too_large_is_told_with_the_limit_and_never_read_in_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::write(path.join("a.yaml"), SHOP).unwrap();
        // Holes: takes no room on the disk, and would take all of the memory.
        let huge = fs::File::create(path.join("b.yaml")).unwrap();
        huge.set_len(1 << 40).unwrap();
        let mut folder = Folder::open(path).unwrap();
        assert_eq!(keys(&folder), ["shop"]);
        let problems = folder.manifests().problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(&*problems[0].at.object.name, "b.yaml");
        assert!(problems[0].message.contains("67108864 bytes"), "{problems:?}");
        assert!(!folder.refresh().unwrap(), "told once");
    }

    /// Other systems take no such names.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_has_no_name_in_utf8_is_told() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::write(path.join("a.yaml"), SHOP).unwrap();
        let (file, folder) = (OsStr::from_bytes(b"caf\xe9.yaml"), OsStr::from_bytes(b"caf\xe9"));
        fs::write(path.join(file), SHOP.replace("shop", "lost")).unwrap();
        fs::write(path.join(OsStr::from_bytes(b"caf\xe9.txt")), "").unwrap();
        fs::write(path.join(OsStr::from_bytes(b".\xe9.yaml")), "").unwrap();
        fs::create_dir(path.join(folder)).unwrap();
        let mut read = Folder::open(path).unwrap();
        assert_eq!(keys(&read), ["shop"]);
        let told = |read: &Folder| -> Vec<String> {
            let problems = read.manifests().problems();
            problems.iter().map(ToString::to_string).collect()
        };
        let want = [
            r"file caf\xe9.yaml: its name is not UTF-8 [FileUnreadable]",
            r"file caf\xe9/: its name is not UTF-8 [FileUnreadable]",
        ];
        assert_eq!(told(&read), want);
        assert!(!read.refresh().unwrap(), "told once");
        fs::rename(path.join(file), path.join("c.yaml")).unwrap();
        assert!(read.refresh().unwrap());
        assert_eq!(keys(&read), ["shop", "lost"]);
        assert_eq!(told(&read), want[1..]);
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
