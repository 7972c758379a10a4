//! A deadline that moves with every request in, a timer that seldom does out.
//!
//! Requests end long before their deadlines, so a timer for each would be set and taken back for nothing. This one stays
//! where it is as long as it fires before the deadline, and is then set to it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(crate) struct Alarm {
    until: Instant,
    /// Fires at `until` or before.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    pub(crate) fn new(until: Instant) -> Self {
        Self { until, timer: None }
    }

    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn set(&mut self, until: Instant) {
        self.until = until;
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() > until {
            timer.as_mut().reset(until);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_goes_off_at_the_deadline_wherever_that_was_moved() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut alarm = Alarm::new(at(5_000));
        // Where it is moved, and whether it was polled there.
        for until in [60_000, 10, 30] {
            alarm.set(at(until));
            assert_eq!(
                futures::poll!(poll_fn(|cx| alarm.poll(cx))),
                Poll::Pending,
                "{until}"
            );
        }
        poll_fn(|cx| alarm.poll(cx)).await;
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert!(start.elapsed() < Duration::from_millis(5_000));
        // And once more.
        alarm.set(Instant::now() + Duration::from_millis(10));
        poll_fn(|cx| alarm.poll(cx)).await;
        assert!(Instant::now() >= alarm.until());
    }
}
