//! A number in, so many WebSockets out, and what messages over them take.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{HOST, head, open, p99, ticks};
use crate::{say, told};

/// A binary frame of 26 bytes, masked with zeros.
const FRAME: [u8; 32] = *b"\x82\x9a\0\0\0\0abcdefghijklmnopqrstuvwxyz";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    address: SocketAddr,
    count: u32,
    /// Messages a second
    rate: u32,
    seconds: u32,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let opened = open(arguments.address, arguments.count, upgrade).await?;
    say("open", opened.len())?;
    let sockets: Arc<Vec<Mutex<TcpStream>>> = Arc::new(opened.into_iter().map(Mutex::new).collect());
    told().await?;
    let mut ticks = ticks(arguments.rate);
    let mut under_way = JoinSet::new();
    for number in 0..arguments.rate * arguments.seconds {
        ticks.tick().await;
        let sockets = Arc::clone(&sockets);
        under_way.spawn(async move {
            let at = usize::try_from(number)? % sockets.len();
            let start = Instant::now();
            let mut socket = sockets[at].lock().await;
            socket.write_all(&FRAME).await?;
            let mut came = [0; FRAME.len()];
            socket
                .read_exact(&mut came)
                .await
                .context("waiting for a message")?;
            if came != FRAME {
                bail!("another message came back");
            }
            anyhow::Ok(start.elapsed())
        });
    }
    let mut times = Vec::new();
    while let Some(time) = under_way.join_next().await {
        times.push(time??);
    }
    say("answered", times.len())?;
    say("p99_us", p99(times))?;
    told().await?;
    let mut dropped = 0;
    for socket in sockets.iter() {
        let read = socket.lock().await.try_read(&mut [0; 64]);
        dropped += u32::from(!matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock));
    }
    say("dropped", dropped)
}

async fn upgrade(mut stream: TcpStream) -> Result<TcpStream> {
    // The key and its answer are those of RFC 6455, section 1.3.
    let request = format!(
        "GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (head, _) = head(&mut stream).await?;
    if !head.starts_with("HTTP/1.1 101") {
        bail!("no WebSocket: {}", head.lines().next().unwrap_or_default());
    }
    Ok(stream)
}
