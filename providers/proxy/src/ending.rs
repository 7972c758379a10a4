//! When a worker is to end in, whoever waits for it woken out.
//!
//! All of it is of one thread. A channel that all workers share would lock on each poll, which is one for each request.

use std::cell::{Cell, RefCell};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;
use tokio::time::Instant;

#[derive(Default)]
pub(crate) struct Ending {
    until: Cell<Option<Instant>>,
    waiting: RefCell<Slab<Waker>>,
}

impl Ending {
    /// From here on no request is to come any more; what is under way has until then.
    pub(crate) fn begin(&self, until: Instant) {
        self.until.set(Some(until));
        // Nobody waits any more from here on, so no place is taken again.
        let waiting = mem::take(&mut *self.waiting.borrow_mut());
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// None before it has begun.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until.get()
    }

    pub(crate) fn begun(self: &Rc<Self>) -> Begun {
        Begun {
            ending: self.clone(),
            place: None,
        }
    }
}

/// Ready with the time that is left once the end has begun.
pub(crate) struct Begun {
    ending: Rc<Ending>,
    place: Option<usize>,
}

impl Future for Begun {
    type Output = Instant;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        if let Some(until) = self.ending.until.get() {
            return Poll::Ready(until);
        }
        match self.place {
            // A waker that is dropped may drop others that wait, so not while they are borrowed.
            Some(place) => {
                let known = self.ending.waiting.borrow()[place].will_wake(cx.waker());
                if !known {
                    let waker = cx.waker().clone();
                    let before = mem::replace(&mut self.ending.waiting.borrow_mut()[place], waker);
                    drop(before);
                }
            }
            None => {
                let waker = cx.waker().clone();
                let place = self.ending.waiting.borrow_mut().insert(waker);
                self.place = Some(place);
            }
        }
        Poll::Pending
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let waker = self
            .place
            .and_then(|place| self.ending.waiting.borrow_mut().try_remove(place));
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use futures::FutureExt;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_waits_is_woken_once_and_leaves_no_place_behind() {
        let ending = Rc::new(Ending::default());
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let (mut one, mut other) = (ending.begun(), ending.begun());
        for _ in 0..3 {
            assert!(one.poll_unpin(&mut cx).is_pending());
        }
        assert!(other.poll_unpin(&mut cx).is_pending());
        assert_eq!(ending.waiting.borrow().len(), 2);
        drop(other);
        assert_eq!(ending.waiting.borrow().len(), 1);
        let until = Instant::now();
        ending.begin(until);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert_eq!(one.poll_unpin(&mut cx), Poll::Ready(until));
        assert_eq!(ending.begun().poll_unpin(&mut cx), Poll::Ready(until));
        drop(one);
        assert!(ending.waiting.borrow().is_empty());
    }
}
