//! Ports in, a backend at them out: an echo of WebSockets and gRPC streams, slow with bodies, quick with all else.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::client::head;

/// Source: RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

pub(crate) async fn run(ports: &[u16]) -> Result<()> {
    let mut listeners = JoinSet::new();
    for port in ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await?;
        listeners.spawn(listen(listener));
    }
    listeners.join_next().await.context("no port was given")??
}

async fn listen(listener: TcpListener) -> Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks off is the proxy's matter.
        connections.spawn(async move { drop(serve(stream).await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream) -> Result<()> {
    let mut start = [0; PREFACE.len()];
    let seen = stream.peek(&mut start).await?;
    if start[..seen] == PREFACE[..seen] {
        return streams(stream).await;
    }
    requests(stream).await
}

/// Without bodies, but for one that never ends.
async fn requests(mut stream: TcpStream) -> Result<()> {
    loop {
        let (head, _) = head(&mut stream).await?;
        if head.starts_with("GET /socket ") {
            return socket(stream).await;
        }
        if head.starts_with("POST /slow ") {
            return slow(stream).await;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n{}",
            "x".repeat(1_024)
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Sends back what comes, masked as it is: whoever tunnels does not look into it.
async fn socket(mut stream: TcpStream) -> Result<()> {
    // The answer to the one key that is sent: RFC 6455, section 1.3.
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(answer.as_bytes()).await?;
    let mut buffer = [0; 256];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

/// Reads 640 KiB a second.
async fn slow(mut stream: TcpStream) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    while stream.read(&mut buffer).await? > 0 {
        ticks.tick().await;
    }
    Ok(())
}

async fn streams(stream: TcpStream) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    let mut streams = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        let (request, mut answer) = accepted?;
        streams.spawn(async move {
            let head = Response::builder().header("content-type", "application/grpc");
            let mut outgoing = answer.send_response(head.body(())?, false)?;
            let mut incoming = request.into_body();
            while let Some(data) = incoming.data().await {
                let data: Bytes = data?;
                incoming.flow_control().release_capacity(data.len())?;
                // Envoy takes several frames of nothing for an attack.
                if !data.is_empty() {
                    outgoing.send_data(data, false)?;
                }
            }
            let status = HeaderMap::from_iter([("grpc-status".parse()?, HeaderValue::from_static("0"))]);
            outgoing.send_trailers(status)?;
            anyhow::Ok(())
        });
    }
    Ok(())
}
