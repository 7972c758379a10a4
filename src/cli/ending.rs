//! A running proxy, signals and successors in, its end out.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use portcullis_proxy::{Drained, Handle, Successors};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Ended;
use super::served::Served;
use crate::cluster::folder::Watch;

/// What ends a command that stays up. Made before it says that it is ready: a signal that came between would kill it.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?,
        })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Serves the folder and follows it until a signal or a successor comes. What watches answers until the end, or until the
/// successor wants its address.
pub(super) async fn follow(
    mut served: Served,
    mut watch: Watch,
    mut signals: Signals,
    grace: Duration,
    mut watching: JoinSet<Infallible>,
    successors: Option<Successors>,
) -> anyhow::Result<Ended> {
    let successor = {
        let come = async {
            match &successors {
                Some(successors) => successors.come().await,
                None => std::future::pending().await,
            }
        };
        let mut come = pin!(come);
        loop {
            tokio::select! {
                () = watch.changed() => served.refresh()?,
                failure = served.handle().failed() => return Err(failure.into()),
                () = signals.come() => break None,
                successor = &mut come => break Some(successor),
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
    tokio::select! {
        drained = drain(served.into_handle(), grace) => drained,
        () = signals.come() => {
            warn!("a second signal came; connections are cut");
            Ok(Ended::Done)
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
