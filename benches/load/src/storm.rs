//! A number in, so many connections at once out, and how long they wait for an answer.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{HOST, connect, get, p99};
use crate::{say, told};

pub(crate) async fn run(address: SocketAddr, count: u32) -> Result<()> {
    say("open", 0)?;
    told().await?;
    let mut under_way = JoinSet::new();
    let start = Instant::now();
    for _ in 0..count {
        under_way.spawn(async move {
            get(&mut connect(address).await?, HOST).await?;
            anyhow::Ok(start.elapsed())
        });
    }
    let mut times = Vec::new();
    while let Some(time) = under_way.join_next().await {
        times.push(time??);
    }
    say("answered", times.len())?;
    say("p99_us", p99(times))
}
