//! TLS sessions in, tickets that this process alone can read out, under a key that is made anew every few hours.
//!
//! rustls makes its keys anew when a client comes; a key that nobody asks for would stay in memory, and with it what was
//! recorded of the sessions that it has sealed.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::Error;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::error;

/// How long tickets are sealed under one key where nobody says otherwise, and half of how long clients are told that they last.
pub(crate) const RENEWED_EVERY: Duration = Duration::from_secs(6 * 3600);

/// The tickets of one policy.
pub(crate) struct Tickets(ArcSwap<Keys>);

struct Keys {
    current: Arc<dyn ProducesTickets>,
    /// Seals nothing any more.
    previous: Option<Arc<dyn ProducesTickets>>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    pub(crate) fn new() -> Result<Self, Error> {
        let (current, previous) = (Ticketer::new()?, None);
        Ok(Self(ArcSwap::from_pointee(Keys { current, previous })))
    }

    /// Seals under a new key from now on, and reads what was sealed under the last one.
    pub(crate) fn renew(&self) -> Result<(), Error> {
        let current = Ticketer::new()?;
        let previous = Some(self.0.load().current.clone());
        self.0.store(Arc::new(Keys { current, previous }));
        Ok(())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(2 * RENEWED_EVERY.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.load().current.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let keys = self.0.load();
        let previous = || keys.previous.as_ref()?.decrypt(cipher);
        keys.current.decrypt(cipher).or_else(previous)
    }
}

/// Makes keys anew each time, for as long as it is polled.
pub(crate) async fn renew_in_time(every: Duration, renew: impl Fn() -> Result<(), Error>) -> Infallible {
    let mut tick = interval_at(Instant::now() + every, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = renew() {
            error!(
                error = &error as &dyn std::error::Error,
                "failed to make keys of TLS sessions; those before go on"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sealed now can be read for as long as clients are told.
    #[test]
    fn a_ticket_is_read_under_two_keys() {
        let tickets = Tickets::new().unwrap();
        let sealed = tickets.encrypt(b"a session").unwrap();
        for want in [Some(&b"a session"[..]), Some(b"a session"), None] {
            assert_eq!(tickets.decrypt(&sealed).as_deref(), want);
            tickets.renew().unwrap();
        }
    }

    #[tokio::test]
    async fn keys_are_made_anew_by_themselves() {
        let tickets = Tickets::new().unwrap();
        let sealed = tickets.encrypt(b"a session").unwrap();
        let gone = async {
            while tickets.decrypt(&sealed).is_some() {
                tokio::task::yield_now().await;
            }
        };
        let renewing = renew_in_time(Duration::from_millis(1), || tickets.renew());
        let waiting = tokio::time::timeout(Duration::from_secs(10), gone);
        tokio::select! {
            never = renewing => match never {},
            gone = waiting => gone.unwrap(),
        }
    }
}
