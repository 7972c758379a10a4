//! How long somebody has been waited for in, whether that is too long out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A timer that exists only where somebody waits.
#[derive(Debug)]
pub(crate) struct Idle {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Idle {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            sleep: None,
            is_running: false,
        }
    }

    pub(crate) fn stop(&mut self) {
        self.is_running = false;
    }

    /// Ready once the limit has passed since the first call after `stop`.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.is_running {
            sleep.as_mut().reset(Instant::now() + limit);
            self.is_running = true;
        }
        sleep.as_mut().poll(cx)
    }

    /// The same, but not before the limit has passed since `last`, too, which woke nobody.
    pub(crate) fn poll_over_since(&mut self, last: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_over(cx));
        match (&mut self.sleep, last) {
            (Some(sleep), Some(last)) if last.elapsed() < self.limit => {
                sleep.as_mut().reset(last + self.limit);
                sleep.as_mut().poll(cx)
            }
            _ => Poll::Ready(()),
        }
    }
}
