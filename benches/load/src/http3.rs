//! A number of connections of HTTP/3 in, requests over them in turn out.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use crate::client::{HOST, p99, ticks, tls};
use crate::{say, told};

type Sender = SendRequest<OpenStreams, Bytes>;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    address: SocketAddr,
    connections: u32,
    /// Requests a second on each connection
    rate: u32,
    seconds: u32,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let config = QuicClientConfig::try_from(tls(b"h3")?)?;
    let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(config)));
    let mut connections = JoinSet::new();
    let mut senders = Vec::new();
    for _ in 0..arguments.connections {
        let quic = endpoint
            .connect(arguments.address, HOST)?
            .await
            .context("connecting")?;
        let (mut driver, mut sender) = h3::client::new(h3_quinn::Connection::new(quic)).await?;
        connections.spawn(async move { std::future::poll_fn(|cx| driver.poll_close(cx)).await });
        get(&mut sender).await?;
        senders.push(sender);
    }
    say("open", senders.len())?;
    told().await?;
    let mut under_way = JoinSet::new();
    for sender in senders {
        under_way.spawn(one(sender, arguments.rate, arguments.rate * arguments.seconds));
    }
    let mut times = Vec::new();
    while let Some(more) = under_way.join_next().await {
        times.extend(more??);
    }
    say("answered", times.len())?;
    say("p99_us", p99(times))
}

/// Nobody waits for the answer before.
async fn one(sender: Sender, rate: u32, count: u32) -> Result<Vec<Duration>> {
    let mut ticks = ticks(rate);
    let mut requests = JoinSet::new();
    for _ in 0..count {
        ticks.tick().await;
        let mut sender = sender.clone();
        requests.spawn(async move {
            let start = Instant::now();
            get(&mut sender).await?;
            anyhow::Ok(start.elapsed())
        });
    }
    requests.join_all().await.into_iter().collect()
}

/// Asks for `/` and reads the whole answer, which must be 200.
async fn get(sender: &mut Sender) -> Result<()> {
    let request = http::Request::get(format!("https://{HOST}/")).body(())?;
    let mut stream = sender.send_request(request).await?;
    stream.finish().await?;
    let answer = stream.recv_response().await?;
    if answer.status() != 200 {
        bail!("a request was answered {}", answer.status());
    }
    while stream.recv_data().await?.is_some() {}
    Ok(())
}
