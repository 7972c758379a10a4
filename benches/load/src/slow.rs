//! A number in, so many connections whose heads never end out, until a line comes.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{HOST, open, ticks};
use crate::{say, told};

/// How long each waits between two bytes, in seconds.
const BETWEEN: u32 = 5;

pub(crate) async fn run(address: SocketAddr, count: u32) -> Result<()> {
    let streams = open(address, count, begin).await?;
    say("open", streams.len())?;
    let drip = async {
        let mut ticks = ticks(count / BETWEEN);
        for stream in streams.iter().cycle() {
            ticks.tick().await;
            // Whoever is closed for being slow has been dealt with.
            let _ = stream.try_write(b"x");
        }
    };
    tokio::select! {
        told = told() => told,
        () = drip => Ok(()),
    }
}

async fn begin(mut stream: TcpStream) -> Result<TcpStream> {
    let start = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ");
    stream.write_all(start.as_bytes()).await?;
    Ok(stream)
}
