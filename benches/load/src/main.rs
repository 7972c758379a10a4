//! A load's name and an address in, what came of it, a line for each figure, out on standard output.
//!
//! Loads of several phases print `open N` and go on when a line comes on standard input.

mod backend;
mod certificates;
mod client;
mod handshakes;
mod http3;
mod slow;
mod storm;
mod streams;
mod uploads;
mod websockets;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;

/// The loads of `cargo xtask bench proxy`.
#[derive(Debug, Parser)]
enum Load {
    /// Answers at these ports: WebSockets and gRPC streams with what they send, all else with 1 KiB; reads bodies slowly
    Backend { ports: Vec<u16> },
    /// Writes so many certificates, each for hN.example.com and with its key, to N.pem
    Certificates { folder: PathBuf, count: u32 },
    /// Opens so many TLS connections a second, with one request each
    Handshakes(handshakes::Arguments),
    /// Sends requests over connections of HTTP/3
    Http3(http3::Arguments),
    /// Opens WebSockets, then sends over all in turn
    Websockets(websockets::Arguments),
    /// Sends bodies of 1 GiB as fast as they are taken
    Uploads { address: SocketAddr, count: u32 },
    /// Sends heads, a byte every five seconds
    Slow { address: SocketAddr, count: u32 },
    /// Opens all connections at once, with one request each
    Storm { address: SocketAddr, count: u32 },
    /// Sends messages over gRPC streams and waits for each to come back
    Streams(streams::Arguments),
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match Load::parse() {
            Load::Backend { ports } => backend::run(&ports).await,
            Load::Certificates { folder, count } => certificates::write(&folder, count),
            Load::Handshakes(arguments) => handshakes::run(&arguments).await,
            Load::Http3(arguments) => http3::run(&arguments).await,
            Load::Websockets(arguments) => websockets::run(&arguments).await,
            Load::Uploads { address, count } => uploads::run(address, count).await,
            Load::Slow { address, count } => slow::run(address, count).await,
            Load::Storm { address, count } => storm::run(address, count).await,
            Load::Streams(arguments) => streams::run(&arguments).await,
        }
    })
}

/// A figure, to whoever started this.
fn say(name: &str, figure: impl std::fmt::Display) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{name} {figure}")?;
    Ok(out.flush()?)
}

/// Waits for a line on standard input, while all else goes on.
async fn told() -> Result<()> {
    let line = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    line.await?.context("reading standard input")?;
    Ok(())
}
