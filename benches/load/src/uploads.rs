//! A number in, so many bodies of 1 GiB on their way out, until a line comes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::{HOST, open};
use crate::{say, told};

pub(crate) async fn run(address: SocketAddr, count: u32) -> Result<()> {
    let streams = open(address, count, begin).await?;
    let sent = Arc::new(AtomicU64::new(0));
    let mut under_way = JoinSet::new();
    for mut stream in streams {
        let sent = Arc::clone(&sent);
        under_way.spawn(async move {
            let part = vec![b'x'; 1 << 16];
            for _ in 0..1 << 14 {
                stream.write_all(&part).await?;
                sent.fetch_add(1 << 16, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    say("open", count)?;
    tokio::select! {
        told = told() => told?,
        // None ends by itself so soon: its backend is too slow.
        Some(ended) = under_way.join_next() => ended??,
    }
    say("sent", sent.load(Ordering::Relaxed))
}

async fn begin(mut stream: TcpStream) -> Result<TcpStream> {
    let head = format!(
        "POST /slow HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n",
        1 << 30
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}
