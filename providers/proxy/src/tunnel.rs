//! Two connections that changed protocol in, bytes both ways until one ends out.

mod way;

use std::cell::Cell;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use self::way::Way;
use crate::activity::Open;
use crate::http1::Detached;
use crate::interim::Interims;
use crate::listen::Counted;
use crate::load::UnderWay;
use crate::places::Place;

/// The client's end of an exchange.
#[derive(Debug)]
pub(crate) struct ClientSide<'a> {
    pub(crate) end: ClientEnd,
    /// Whether its engine takes fields of answers as they came, beside those in the map.
    pub(crate) takes_lines: bool,
    /// Where its engine takes interim answers from, if it sends any.
    pub(crate) interims: Option<&'a Interims>,
}

/// The client's end of a tunnel, should one come to be.
#[derive(Debug)]
pub(crate) struct ClientEnd {
    pub(crate) upgrade: Upgrade,
    /// Of HTTP/2: what else the connection carries goes on beside it.
    pub(crate) open: Option<Open>,
    /// Of HTTP/1.1 by hyper: its connection. By our own engine it comes with the upgrade.
    pub(crate) counted: Option<Rc<Counted>>,
}

/// A connection that will be lent to a tunnel, should it change protocol.
#[derive(Debug)]
pub(crate) enum Upgrade {
    Hyper(OnUpgrade),
    Own(oneshot::Receiver<(Detached, Counted)>),
    /// It has changed already, and leads to a target.
    Here(Box<Detached>, Place),
    /// Nobody asked for it.
    Never,
}

impl Upgrade {
    async fn taken(self) -> Result<End, Box<dyn Error + Send + Sync>> {
        match self {
            Self::Hyper(upgrade) => Ok(End::Hyper(TokioIo::new(upgrade.await?))),
            Self::Own(detached) => {
                let (detached, counted) = detached.await?;
                Ok(End::Own(detached, Held::Client(counted)))
            }
            Self::Here(detached, place) => Ok(End::Own(*detached, Held::Target(place))),
            Self::Never => Err("nobody asked for another protocol".into()),
        }
    }
}

/// A connection that has changed protocol.
enum End {
    Hyper(TokioIo<Upgraded>),
    Own(
        Detached,
        #[expect(dead_code, reason = "held until the connection is closed")] Held,
    ),
}

/// What is given back when a connection is closed.
#[expect(dead_code, reason = "held until then")]
enum Held {
    Client(Counted),
    Target(Place),
}

/// Carries bytes until either side is done, or neither has sent any for `idle`.
pub(crate) async fn tunnel(client: ClientEnd, backend: Upgrade, idle: Duration, under_way: UnderWay) {
    let ClientEnd {
        upgrade,
        open,
        counted,
    } = client;
    let (upgraded, backend) = match futures::future::try_join(upgrade.taken(), backend.taken()).await {
        Ok(both) => both,
        Err(error) => {
            debug!(error = &*error, "an upgrade did not take place");
            return;
        }
    };
    let moved = Rc::new(Cell::new(Instant::now()));
    let mut from_client = Watched::new(upgraded, &moved);
    let mut backend = Watched::new(backend, &moved);
    let (mut there, mut back) = (Way::default(), Way::default());
    let carried = poll_fn(|cx| {
        let there = there.poll(&mut from_client, &mut backend, cx)?;
        let back = back.poll(&mut backend, &mut from_client, cx)?;
        match there.is_ready() && back.is_ready() {
            true => Poll::Ready(io::Result::Ok(())),
            false => Poll::Pending,
        }
    });
    tokio::select! {
        result = carried => {
            if let Err(error) = result {
                debug!(error = &error as &dyn std::error::Error, "a tunnel broke");
            }
        }
        () = unmoved_for(idle, &moved) => debug!("a tunnel was idle for too long"),
    }
    // Closed before they count no more.
    drop((from_client, backend));
    drop((under_way, open, counted));
}

async fn unmoved_for(idle: Duration, moved: &Cell<Instant>) {
    while moved.get().elapsed() < idle {
        sleep_until(moved.get() + idle).await;
    }
}

/// Notes when something was read last.
struct Watched {
    inner: End,
    moved: Rc<Cell<Instant>>,
}

impl Watched {
    fn new(inner: End, moved: &Rc<Cell<Instant>>) -> Self {
        Self {
            inner,
            moved: moved.clone(),
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = match &mut self.inner {
            End::Hyper(io) => Pin::new(io).poll_read(cx, buffer),
            End::Own(io, _) => Pin::new(io).poll_read(cx, buffer),
        };
        if read.is_ready() {
            self.moved.set(Instant::now());
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            End::Hyper(io) => Pin::new(io).poll_write(cx, bytes),
            End::Own(io, _) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            End::Hyper(io) => Pin::new(io).poll_flush(cx),
            End::Own(io, _) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            End::Hyper(io) => Pin::new(io).poll_shutdown(cx),
            End::Own(io, _) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
