//! What is served no more in, its memory given back out, by a thread of its own: to free ten thousand routes takes
//! milliseconds, in which a worker that was the last to hold them would answer nobody.

use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;

/// Takes what is to be freed; the thread ends with the last that holds it.
#[derive(Clone, Debug)]
pub(crate) struct Retired(Option<Sender<Box<dyn Send>>>);

impl Retired {
    pub(crate) fn new() -> Self {
        let (to, gone) = channel();
        let free = move || gone.into_iter().for_each(drop::<Box<dyn Send>>);
        // Where there can be no thread, whoever is the last frees it.
        let thread = Builder::new().name("retired".to_owned()).spawn(free);
        Self(thread.is_ok().then_some(to))
    }

    pub(crate) fn take(&self, gone: impl Send + 'static) {
        if let Some(to) = &self.0 {
            // What comes back as not taken is freed here.
            let _ = to.send(Box::new(gone));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Says which thread freed it.
    struct Gone(Sender<Option<String>>);

    impl Drop for Gone {
        fn drop(&mut self) {
            let thread = std::thread::current();
            let _ = self.0.send(thread.name().map(str::to_owned));
        }
    }

    #[test]
    fn whoever_was_the_last_to_hold_it_frees_nothing() {
        let (to, freed) = channel();
        Retired::new().take(Gone(to));
        // The thread ends only when it has freed all that was given to it.
        let by = freed.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(by.as_deref(), Some("retired"));
    }
}
