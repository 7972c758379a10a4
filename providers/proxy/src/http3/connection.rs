//! A QUIC connection in, its requests answered out, until it ends as connections of HTTP/2 do.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h3::server;
use jiff::Timestamp;
use quinn::Connecting;
use rustls::pki_types::CertificateDer;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::endpoint::Shaking;
use super::request::{self, Asking};
use super::session::Greeted;
use super::transport::{Streams, Transport};
use crate::activity::{Activity, Open};
use crate::connection::aged;
use crate::exchange::Peer;
use crate::mutual::Shown;
use crate::worker::Worker;

/// How often a connection that is to end is looked at.
const MOMENT: Duration = Duration::from_millis(20);
/// Requests take numbers in steps of four. Source: RFC 9000 §2.1.
const STEP: u64 = 4;
/// How long a client is waited for that has been told to ask no more, beside what it takes to tell it.
const FAREWELL: Duration = Duration::from_millis(100);

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) async fn serve(worker: Rc<Worker>, connecting: Connecting, shaking: Shaking) {
    if let Err(error) = Box::pin(serve_from(worker, connecting, shaking)).await {
        debug!(error = &*error, "a client's connection ended");
    }
}

async fn serve_from(worker: Rc<Worker>, connecting: Connecting, shaking: Shaking) -> Result<(), Failure> {
    let limit = worker.settings.timeouts.handshake;
    let quinn = timeout(limit, connecting).await??;
    drop(shaking);
    let greeted = quinn
        .handshake_data()
        .and_then(|data| data.downcast::<Greeted>().ok());
    let Greeted { name, policy } = *greeted.ok_or("a session without a policy")?;
    let chain = quinn
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let chain = chain.map(|chain| *chain).unwrap_or_default();
    let shown = Shown::over_tls(name, policy, &chain, Timestamp::now())?;
    let peer = Peer {
        // The one that the handshake has proved. A client may write any other on its datagrams later, and is answered there
        // only after it has proved that one, too; but what it asks would have been done by then.
        address: quinn.remote_address().ip().to_canonical(),
        is_tls: true,
        port: None,
    };
    let head_bytes = worker.settings.limits.head_bytes;
    let streams = Rc::new(Streams::default());
    let transport = Transport::new(&quinn, streams.clone(), head_bytes);
    let mut builder = server::builder();
    builder
        .max_field_section_size(u64::try_from(head_bytes).unwrap_or(u64::MAX))
        .send_grease(false);
    let connection = timeout(limit, builder.build(transport)).await??;
    let mut client = Client {
        connection,
        streams,
        worker: worker.clone(),
        peer,
        shown: Rc::new(shown),
        activity: Rc::default(),
        last: None,
    };
    let activity = client.activity.clone();
    let over = async {
        tokio::select! {
            _ = worker.ending.begun() => {}
            () = activity.none_for(worker.settings.timeouts.head) => {}
            () = aged(&worker) => {}
        }
    };
    if !client.answer_until(over).await? {
        return Ok(());
    }
    // First no number is named: what is on its way already is answered.
    if client.last.is_some() {
        client.connection.shutdown(usize::MAX).await?;
        let farewell = (quinn.rtt() * 2 + FAREWELL).min(worker.patience());
        if !client.answer_until(sleep(farewell)).await? {
            return Ok(());
        }
    }
    let (next, more) = client.last.map_or((0, 0), |last| (last + STEP, 1));
    client.streams.end_at(next);
    client.connection.shutdown(more).await?;
    let none = async {
        loop {
            activity.none_for(MOMENT).await;
            if !activity.is_any() {
                return;
            }
        }
    };
    client.answer_until(none).await?;
    // Dropped, it is closed; what was answered has arrived.
    drop(client);
    tokio::task::yield_now().await;
    Ok(())
}

struct Client {
    connection: server::Connection<Transport, Bytes>,
    streams: Rc<Streams>,
    worker: Rc<Worker>,
    peer: Peer,
    shown: Rc<Shown>,
    activity: Rc<Activity>,
    /// The number of the last request.
    last: Option<u64>,
}

impl Client {
    /// Answers what comes until then; false where the client ended the connection before.
    async fn answer_until(&mut self, over: impl Future<Output = ()>) -> Result<bool, Failure> {
        let mut over = pin!(over);
        loop {
            let resolver = tokio::select! {
                accepted = self.connection.accept() => match accepted {
                    Ok(Some(resolver)) => resolver,
                    Ok(None) => return Ok(false),
                    Err(error) if error.is_h3_no_error() => return Ok(false),
                    Err(error) => return Err(error.into()),
                },
                () = &mut over => return Ok(true),
            };
            let id = resolver.frame_stream.id().into_inner();
            let Some(given) = self.streams.take(id) else {
                continue;
            };
            self.last = self.last.max(Some(id));
            let asking = Asking {
                worker: self.worker.clone(),
                peer: self.peer,
                shown: self.shown.clone(),
                resolver,
                given,
                open: Open::new(&self.activity),
            };
            self.worker.clients.spawn(request::answer(asking));
        }
    }
}
