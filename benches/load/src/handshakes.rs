//! A rate in, TLS connections with one request each out, of which a share resumes a session.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, bail};
use rustls::HandshakeKind;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::client::{HOST, connect, get, p99, ticks, tls};
use crate::{say, told};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    address: SocketAddr,
    rate: u32,
    seconds: u32,
    /// Of a hundred connections
    #[arg(long, default_value_t = 0)]
    resumed: u32,
    /// Server names in turn, hN.example.com; else one for all
    #[arg(long)]
    names: Option<u32>,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let mut whole = tls(b"http/1.1")?;
    whole.resumption = Resumption::disabled();
    let whole = TlsConnector::from(Arc::new(whole));
    let address = arguments.address;
    let mut clients = Vec::new();
    // Each comes once a second, and has done with a session before it comes with the next.
    for _ in 0..arguments.rate {
        let client = TlsConnector::from(Arc::new(tls(b"http/1.1")?));
        // It leaves a ticket; each that resumes gets one for the next.
        if arguments.resumed > 0 {
            one(&client, address, HOST.to_owned()).await?;
        }
        clients.push(client);
    }
    say("open", clients.len())?;
    told().await?;
    let mut clients = clients.iter().cycle();
    let mut ticks = ticks(1);
    let mut under_way = JoinSet::new();
    for number in 0..arguments.rate * arguments.seconds {
        // Those of a second at once, as h2load opens them: one by one, most of the cost would be of waking up.
        if number % arguments.rate == 0 {
            ticks.tick().await;
        }
        // Spread evenly.
        let resumes = number * arguments.resumed % 100 < arguments.resumed;
        let client = clients.next().filter(|_| resumes);
        let connector = client.unwrap_or(&whole).clone();
        let name = match arguments.names {
            // Neighbours in the list are not asked for one after the other.
            Some(names) => format!("h{}.example.com", number.wrapping_mul(7_919) % names),
            None => HOST.to_owned(),
        };
        under_way.spawn(async move {
            let start = Instant::now();
            let resumed = one(&connector, address, name).await?;
            anyhow::Ok((start.elapsed(), resumed))
        });
    }
    let (mut times, mut resumed) = (Vec::new(), 0_usize);
    while let Some(done) = under_way.join_next().await {
        let (time, was_resumed) = done??;
        times.push(time);
        resumed += usize::from(was_resumed);
    }
    // A few may come before the ticket of the one before them.
    let least = f64::from(arguments.resumed) / 100.0 * 0.95;
    let count = u32::try_from(times.len())?;
    if f64::from(u32::try_from(resumed)?) < least * f64::from(count) {
        bail!("{resumed} of {count} connections resumed a session");
    }
    say("resumed", resumed)?;
    say("answered", count)?;
    say("p99_us", p99(times))
}

/// Whether it resumed a session.
async fn one(connector: &TlsConnector, address: SocketAddr, name: String) -> Result<bool> {
    let stream = connect(address).await?;
    let mut stream = connector
        .connect(ServerName::try_from(name.clone())?, stream)
        .await?;
    get(&mut stream, &name).await?;
    let kind = stream.get_ref().1.handshake_kind();
    Ok(kind == Some(HandshakeKind::Resumed))
}
