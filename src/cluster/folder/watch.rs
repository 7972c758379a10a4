//! Notices of the system that something in a folder changes in, the moment to read it out: never while somebody writes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a folder must rest after a change: editors write, rename and delete within a few milliseconds.
const QUIET: Duration = Duration::from_millis(100);

/// Longest wait for rest, so that a folder that never rests is read all the same.
const LONGEST: Duration = Duration::from_secs(1);

/// Longest wait for whoever writes a file to close it: half of one would take away what stands in the other half.
const WRITTEN: Duration = Duration::from_secs(10);

/// Time between looks without a notice: network file systems send none, nor do targets of links elsewhere.
pub(super) const UNASKED: Duration = Duration::from_secs(5);

/// Wakes when a folder may have changed.
#[derive(Debug)]
pub struct Watch {
    notices: mpsc::Receiver<()>,
    /// Files that somebody has written to and not closed yet.
    open: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// None where the system gives no notices; the folder is looked at all the same, only later.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    pub fn new(folder: &Path) -> Self {
        let (send, notices) = mpsc::channel(1);
        let open = Arc::new(Mutex::new(BTreeSet::new()));
        let noted = open.clone();
        let on_event = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !note(&event, &noted)) {
                return;
            }
            // A full channel holds a notice already.
            let _ = send.try_send(());
        };
        let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        Self {
            notices,
            open,
            _watcher: watcher.ok(),
        }
    }

    /// Returns once the folder has changed and rests again, and in any case after a few seconds.
    pub async fn changed(&mut self) {
        let asked_at = Instant::now();
        if let Ok(None) = timeout(UNASKED, self.notices.recv()).await {
            // No watcher, no notices.
            return tokio::time::sleep_until(asked_at + UNASKED).await;
        }
        let noticed_at = Instant::now();
        loop {
            let now = Instant::now();
            let until = match self.is_written() {
                true => noticed_at + WRITTEN,
                false => (now + QUIET).min(noticed_at + LONGEST),
            };
            if now >= until || !matches!(timeout_at(until, self.notices.recv()).await, Ok(Some(()))) {
                return;
            }
        }
    }

    fn is_written(&self) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        !open.is_empty()
    }
}

/// Notes who writes; whether anything may have changed.
fn note(event: &Event, open: &Mutex<BTreeSet<PathBuf>>) -> bool {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    match event.kind {
        EventKind::Modify(ModifyKind::Data(_)) => open.extend(event.paths.iter().cloned()),
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Name(_)) => {
            for path in &event.paths {
                open.remove(path);
            }
        }
        // Our own reading.
        EventKind::Access(_) => return false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Other => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn a_file_is_not_read_before_whoever_writes_it_closes_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(dir.path());
        let mut file = File::create(dir.path().join("all.yaml")).unwrap();
        file.write_all(b"apiVersion: v1\n").unwrap();
        // Long after a folder that rests would have been read, and one that never does.
        let early = timeout(LONGEST * 2, watch.changed()).await;
        assert!(early.is_err(), "it was to be read while it was written");
        drop(file);
        timeout(UNASKED, watch.changed()).await.unwrap();
    }
}
