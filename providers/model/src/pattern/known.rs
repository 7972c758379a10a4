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
/// How much is kept of texts that are refused, in bytes: each takes longer than one that is not.
const REFUSED_BYTES: usize = 16 << 20;
/// What one takes beside its text, about.
const REFUSED_ENTRY: usize = 128;

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
    all: HashMap<Arc<str>, Weak<Compiled>>,
    recent: VecDeque<Arc<Compiled>>,
    recent_bytes: usize,
    /// How many were in use when those that are not were last forgotten.
    used: usize,
    refused: Refused,
}

/// Texts that are refused, and why: nobody says how long one is used. When those that were asked for since fill half of the
/// space, the others are forgotten.
#[derive(Debug, Default)]
struct Refused {
    asked: HashMap<Box<str>, PatternError>,
    asked_bytes: usize,
    before: HashMap<Box<str>, PatternError>,
}

impl Refused {
    fn get(&mut self, text: &str) -> Option<PatternError> {
        if let Some(why) = self.asked.get(text) {
            return Some(why.clone());
        }
        let (text, why) = self.before.remove_entry(text)?;
        self.put(text, why.clone());
        Some(why)
    }

    fn put(&mut self, text: Box<str>, why: PatternError) {
        self.asked_bytes += text.len() + REFUSED_ENTRY;
        self.asked.insert(text, why);
        if self.asked_bytes > REFUSED_BYTES / 2 {
            self.before = std::mem::take(&mut self.asked);
            self.asked_bytes = 0;
        }
    }
}

impl Known {
    fn get(&mut self, text: &str) -> Option<Result<Arc<Compiled>, PatternError>> {
        match self.all.get(text) {
            Some(weak) => weak.upgrade().map(Ok),
            None => self.refused.get(text).map(Err),
        }
    }

    fn put(&mut self, text: &str, read: &Result<Arc<Compiled>, PatternError>) {
        let read = match read {
            Ok(read) => read,
            Err(why) => return self.refused.put(text.into(), why.clone()),
        };
        if self.all.len() >= 2 * self.used + TEXTS {
            self.all.retain(|_, weak| weak.strong_count() > 0);
            self.used = self.all.len();
        }
        self.all.insert(read.source.clone(), Arc::downgrade(read));
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

    #[test]
    fn what_is_refused_is_looked_at_once_as_long_as_somebody_asks_for_it() {
        let mut known = Known::default();
        let mut made = 0;
        let mut refuse = |text: &str| {
            known.get(text).unwrap_or_else(|| {
                made += 1;
                let read = compile(text).map(Arc::new);
                known.put(text, &read);
                read
            })
        };
        // 40 Ingresses, and as many others in each of several passes, which nobody asks for again.
        const OWN: usize = 40 * 120;
        const OTHERS: usize = 20_000;
        let mut kept = 0;
        for pass in 0..6 {
            for at in 0..OWN {
                refuse(&format!("/own/{at}(")).unwrap_err();
            }
            for at in 0..OTHERS {
                refuse(&format!("/{pass}/{at}(")).unwrap_err();
            }
            kept += OTHERS;
        }
        assert_eq!(made, OWN + kept);
        let refused = &known.refused;
        let entries = refused.asked.len() + refused.before.len();
        assert!(
            entries <= REFUSED_BYTES / REFUSED_ENTRY && entries < made,
            "{entries}"
        );
    }
}
