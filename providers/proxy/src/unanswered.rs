//! Requests that end before there is an answer in, what is told of them out.

use crate::access_log::Noted;
use crate::worker::Worker;

/// What the log says where a client gave its request up. No server sends it; nginx' logs have it.
const GIVEN_UP: u16 = 499;

/// A request that has no answer yet. Where this is dropped, nobody waits for one any more.
pub(crate) struct Unanswered<'a> {
    /// None once there is one.
    worker: Option<&'a Worker>,
    pub(crate) noted: Option<Box<Noted>>,
}

impl<'a> Unanswered<'a> {
    pub(crate) fn new(worker: &'a Worker, noted: Option<Box<Noted>>) -> Self {
        let worker = Some(worker);
        Self { worker, noted }
    }

    /// There is one.
    pub(crate) fn end(mut self) -> Option<Box<Noted>> {
        self.worker = None;
        self.noted.take()
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(worker) = self.worker else {
            return;
        };
        let is_over = worker.is_over();
        if !is_over {
            worker.counters.given_up();
        }
        if let Some(noted) = &mut self.noted {
            let why = match is_over {
                true => "the proxy ended before the answer",
                false => {
                    noted.entry.status = GIVEN_UP;
                    "the client gave the request up"
                }
            };
            noted.entry.error = Some(why.to_owned());
        }
    }
}
