//! The text of an expression in, what was made of it when it was first read out, as long as somebody uses it.
//!
//! All Ingresses are read anew whenever one of them changes, and few expressions are new then.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use super::{Compiled, PatternError};

/// How much is kept that nobody may use any more, in bytes: what is made of one text and dropped in each pass.
const RECENT_BYTES: usize = 16 << 20;
/// How many texts are remembered beside as many as are in use.
const TEXTS: usize = 4096;

static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// As `read` reads it. No request comes here: it is locked while tables are made.
pub(super) fn known(
    text: &str,
    read: impl FnOnce(&str) -> Result<Compiled, PatternError>,
) -> Result<Arc<Compiled>, PatternError> {
    let lock = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = lock().get(text) {
        return found;
    }
    let read = read(text).map(Arc::new);
    lock().put(text, &read);
    read
}

#[derive(Debug, Default)]
struct Known {
    all: HashMap<Arc<str>, Result<Weak<Compiled>, PatternError>>,
    recent: VecDeque<Arc<Compiled>>,
    recent_bytes: usize,
    /// How many were in use when those that are not were last forgotten.
    used: usize,
}

impl Known {
    fn get(&self, text: &str) -> Option<Result<Arc<Compiled>, PatternError>> {
        match self.all.get(text)? {
            Ok(weak) => weak.upgrade().map(Ok),
            Err(why) => Some(Err(why.clone())),
        }
    }

    fn put(&mut self, text: &str, read: &Result<Arc<Compiled>, PatternError>) {
        if self.all.len() >= 2 * self.used + TEXTS {
            self.all
                .retain(|_, read| read.as_ref().is_ok_and(|weak| weak.strong_count() > 0));
            self.used = self.all.len();
        }
        let key = read
            .as_ref()
            .map_or_else(|_| text.into(), |read| read.source.clone());
        let kept = read.as_ref().map(Arc::downgrade).map_err(Clone::clone);
        self.all.insert(key, kept);
        let Ok(read) = read else { return };
        self.recent_bytes += read.bytes;
        self.recent.push_back(read.clone());
        while self.recent_bytes > RECENT_BYTES
            && let Some(old) = self.recent.pop_front()
        {
            self.recent_bytes -= old.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::compile;

    #[test]
    fn what_is_in_use_is_made_once_and_what_is_not_is_forgotten() {
        let mut known = Known::default();
        let mut read = |text: &str| {
            known.get(text).unwrap_or_else(|| {
                let read = compile(text).map(Arc::new);
                known.put(text, &read);
                read
            })
        };
        let used: Vec<_> = (0..100)
            .map(|at| read(&format!("/used/{at}/.{{100}}")).unwrap())
            .collect();
        let refused = read(".*a.{20}").unwrap_err();
        assert_eq!(read(".*a.{20}").unwrap_err(), refused);
        let unused = Arc::downgrade(&read("/unused/.{100}").unwrap());
        for at in 0..2 * TEXTS {
            read(&format!("/{at}")).unwrap();
            read(&format!("a{at}(.*a.{{20}}")).unwrap_err();
        }
        let large = |at: usize| format!("/{at}/.{{200}}");
        for at in 0..RECENT_BYTES / read(&large(0)).unwrap().bytes + 2 {
            read(&large(at)).unwrap();
        }
        for (at, used) in used.iter().enumerate() {
            assert!(Arc::ptr_eq(used, &read(&format!("/used/{at}/.{{100}}")).unwrap()));
        }
        assert_eq!(unused.strong_count(), 0);
        assert!(known.all.len() <= 2 * known.used + TEXTS, "{}", known.all.len());
        assert!(known.recent_bytes <= RECENT_BYTES);
    }
}
