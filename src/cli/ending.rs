//! A running proxy, signals and successors in, its end out.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use portcullis_proxy::{Drained, Handle, Successors};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::Ended;
use super::served::Served;
use crate::cluster::folder::Watch;

/// What ends a command that stays up. Made before it says that it is ready: a signal that came between would kill it.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
    hangup: Signal,
    users: [Signal; 2],
    on_hangup: Hangup,
}

/// What SIGHUP is to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangup {
    /// Asked to read anew what is followed anyway, or a terminal that was closed: no reason to end.
    Told,
    /// The person who waits has gone.
    Ends,
}

impl Signals {
    /// Also for those that ask for nothing here: each would by default kill the process, and cut every connection.
    pub(super) fn listen(on_hangup: Hangup) -> anyhow::Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("failed to listen for {name}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            quit: listen(SignalKind::quit(), "SIGQUIT")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hangup: listen(SignalKind::hangup(), "SIGHUP")?,
            users: [
                listen(SignalKind::user_defined1(), "SIGUSR1")?,
                listen(SignalKind::user_defined2(), "SIGUSR2")?,
            ],
            on_hangup,
        })
    }

    /// Ready at the first that asks for the end; all others are told.
    async fn come(&mut self) -> Signalled {
        let [first, second] = &mut self.users;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Signalled::Terminate,
                _ = self.quit.recv() => return Signalled::Terminate,
                _ = self.interrupt.recv() => return Signalled::Interrupt,
                _ = self.hangup.recv() => match self.on_hangup {
                    Hangup::Ends => return Signalled::Interrupt,
                    Hangup::Told => info!("SIGHUP: the folder is followed anyway; there is nothing to read anew"),
                },
                _ = first.recv() => info!("SIGUSR1: no log is opened anew; nothing is done"),
                _ = second.recv() => info!("SIGUSR2: a newer process takes over with --hand-over; nothing is done"),
            }
        }
    }
}

/// Which signal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signalled {
    /// Of whoever runs the process, and others may go on sending requests.
    Terminate,
    /// Of a person who waits.
    Interrupt,
}

/// How a proxy ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaving {
    /// How long it serves on after SIGTERM, while it says that it is not ready: clients and load balancers learn of that
    /// late.
    pub(super) delay: Duration,
    /// Longest time for what is under way, once no more connections are taken.
    pub(super) grace: Duration,
    /// Whether it is not ready any more.
    pub(super) has_begun: Arc<AtomicBool>,
}

/// Serves the folder and follows it until a signal or a successor comes. What watches answers until the end, or until the
/// successor wants its address.
pub(super) async fn follow(
    mut served: Served,
    mut watch: Watch,
    mut signals: Signals,
    leaving: Leaving,
    mut watching: JoinSet<Infallible>,
    successors: Option<Successors>,
) -> anyhow::Result<Ended> {
    let (successor, is_asked) = {
        let come = async {
            match &successors {
                Some(successors) => successors.come().await,
                None => std::future::pending().await,
            }
        };
        let mut come = pin!(come);
        let mut until = None;
        loop {
            tokio::select! {
                () = watch.changed() => served.refresh()?,
                () = served.handle().tried_again() => {}
                failure = served.handle().failed() => return Err(failure.into()),
                signal = signals.come() => match (signal, until) {
                    (Signalled::Terminate, None) if !leaving.delay.is_zero() => {
                        leaving.has_begun.store(true, Ordering::Relaxed);
                        info!(delay_s = leaving.delay.as_secs(), "not ready any more; connections are taken for a while");
                        until = Some(Instant::now() + leaving.delay);
                    }
                    (_, None) => break (None, true),
                    (_, Some(_)) => {
                        warn!("a second signal came; connections are cut");
                        return Ok(Ended::Done);
                    }
                },
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break (None, true),
                successor = &mut come => break (Some(successor), until.is_some()),
            }
        }
    };
    if let Some(successor) = successor {
        info!("another process has taken this one's place");
        watching.shutdown().await;
        drop(successor);
    }
    // It holds the sockets: nobody would accept, and clients would wait.
    drop(successors);
    leave(served.into_handle(), leaving.grace, &mut signals, is_asked).await
}

/// Drains it. A signal cuts what is under way, but for the first: whoever starts a newer process and ends this one does
/// not know which of the two it does.
pub(super) async fn leave(
    handle: Handle,
    grace: Duration,
    signals: &mut Signals,
    mut is_asked: bool,
) -> anyhow::Result<Ended> {
    let mut drained = pin!(drain(handle, grace));
    loop {
        tokio::select! {
            drained = &mut drained => return drained,
            _ = signals.come() => {
                if is_asked {
                    warn!("a second signal came; connections are cut");
                    return Ok(Ended::Done);
                }
                info!("told to end, which it does; what is under way goes on until a second signal");
                is_asked = true;
            }
        }
    }
}

pub(super) async fn drain(handle: Handle, grace: Duration) -> anyhow::Result<Ended> {
    info!(grace_s = grace.as_secs(), "draining");
    if handle.drain(grace).await? == Drained::CutOff {
        warn!("connections were still open when the time was over; they have been cut");
    }
    Ok(Ended::Done)
}
