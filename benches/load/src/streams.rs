//! A number of gRPC streams in, messages that go and come back over them out.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use rustls::pki_types::ServerName;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};
use tokio_rustls::TlsConnector;

use crate::client::{HOST, connect, p99, ticks, tls};
use crate::{say, told};

type Stream = (SendStream<Bytes>, RecvStream);

/// A message of 100 bytes. Source: gRPC over HTTP/2, Length-Prefixed-Message.
const MESSAGE: [u8; 105] = {
    let mut message = [b'x'; 105];
    message[0] = 0;
    message[1] = 0;
    message[2] = 0;
    message[3] = 0;
    message[4] = 100;
    message
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    address: SocketAddr,
    connections: u32,
    /// On each connection
    streams: u32,
    /// Messages a second on each stream
    rate: u32,
    seconds: u32,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let connector = TlsConnector::from(Arc::new(tls(b"h2")?));
    let mut connections = JoinSet::new();
    let mut opened = JoinSet::new();
    for _ in 0..arguments.connections {
        let name = ServerName::try_from(HOST)?;
        let stream = connector.connect(name, connect(arguments.address).await?).await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        connections.spawn(connection);
        for _ in 0..arguments.streams {
            opened.spawn(open(sender.clone()));
        }
    }
    let opened = opened.join_all().await;
    say("open", opened.len())?;
    told().await?;
    let mut streams = JoinSet::new();
    for stream in opened {
        streams.spawn(one(stream?, arguments.rate, arguments.rate * arguments.seconds));
    }
    let mut times = Vec::new();
    while let Some(more) = streams.join_next().await {
        times.extend(more??);
    }
    say("answered", times.len())?;
    say("p99_us", p99(times))
}

/// A stream with one message that has come back.
async fn open(sender: SendRequest<Bytes>) -> Result<Stream> {
    let request = http::Request::post(format!("https://{HOST}/bench.Echo/Stream"))
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (answer, mut outgoing) = sender.ready().await?.send_request(request, false)?;
    // The head of the answer may wait for the first message.
    outgoing.send_data(Bytes::from_static(&MESSAGE), false)?;
    let answer = answer.await?;
    if answer.status() != 200 {
        bail!("a stream was answered {}", answer.status());
    }
    let mut incoming = answer.into_body();
    message(&mut incoming).await?;
    Ok((outgoing, incoming))
}

async fn one((mut outgoing, mut incoming): Stream, rate: u32, count: u32) -> Result<Vec<Duration>> {
    let mut ticks = ticks(rate);
    let mut times = Vec::new();
    for _ in 0..count {
        ticks.tick().await;
        let start = Instant::now();
        outgoing.send_data(Bytes::from_static(&MESSAGE), false)?;
        message(&mut incoming).await?;
        times.push(start.elapsed());
    }
    outgoing.send_data(Bytes::new(), true)?;
    while incoming.data().await.is_some() {}
    Ok(times)
}

async fn message(incoming: &mut RecvStream) -> Result<()> {
    let mut came = 0;
    while came < MESSAGE.len() {
        let data = incoming.data().await.context("a stream ended")??;
        came += data.len();
        incoming.flow_control().release_capacity(data.len())?;
    }
    Ok(())
}
