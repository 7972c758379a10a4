//! A client's connection in, its requests answered out: TLS, the version of HTTP, and hyper's engines for both.
//!
//! Nothing else drives hyper's server. `http1` is an engine of our own and calls the same `exchange`.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use portcullis_model::host;
use rustls::ProtocolVersion;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::activity::{Activity, Open};
use crate::body::{RequestBody, ResponseBody, Untaken};
use crate::ciphers;
use crate::clients::Entry;
use crate::exchange::{Peer, exchange, refused};
use crate::gathered::gathered;
use crate::guarded::{Guarded, Taking};
use crate::http1::{self, Stream};
use crate::listen::Counted;
use crate::mutual::Shown;
use crate::present::Present;
use crate::proxy_protocol::{self, Head};
use crate::resumed::Resumed;
use crate::serving::ServingState;
use crate::settings::Http1Engine;
use crate::stalled::{Streams, Told};
use crate::tls::ALPN_H2;
use crate::trust;
use crate::tunnel::{ClientEnd, ClientSide, Upgrade};
use crate::upgrades;
use crate::versions::Versions;
use crate::websocket;
use crate::worker::Worker;

/// What every HTTP/2 connection starts with. Source: RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Enough for most heads of the PROXY protocol.
const FIRST_HEAD: usize = 128;

/// Serves a connection to its end. What is large is boxed where it begins, and gone where it ends: a connection's task is as
/// large as the largest thing that it might do, and most of them wait.
pub(crate) async fn serve(counted: Counted, stream: TcpStream, peer: Peer) {
    let ended = match Box::pin(begin(counted, stream, peer)).await {
        Ok(Some(rest)) => rest.await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        debug!(error = &*error, "a client's connection ended");
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;
/// What is left of a connection, once it is known what is spoken on it.
type Rest = Pin<Box<dyn Future<Output = Ended>>>;
type Begun = Result<Option<Rest>, Box<dyn std::error::Error + Send + Sync>>;

/// None where there is nothing to be served.
async fn begin(counted: Counted, mut stream: TcpStream, mut peer: Peer) -> Begun {
    let worker = counted.worker();
    if trust::is_trusted(&worker.proxy_protocol, peer.address) {
        let limit = worker.settings.timeouts.handshake;
        if let Some(client) = timeout(limit, announced(&mut stream)).await?? {
            peer.address = client;
        }
    }
    if peer.is_tls {
        Box::pin(begin_tls(counted, stream, peer)).await.map(Some)
    } else {
        begin_plainly(counted, stream, peer).await
    }
}

/// Reads for whom the peer speaks, and nothing of what follows.
async fn announced(
    stream: &mut TcpStream,
) -> Result<Option<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let mut head = Vec::with_capacity(FIRST_HEAD);
    loop {
        match proxy_protocol::read(&head)? {
            Head::Done(client) => return Ok(client),
            Head::More(count) => {
                let end = head.len();
                head.resize(end + count, 0);
                stream.read_exact(&mut head[end..]).await?;
            }
        }
    }
}

/// The fatal alert `unrecognized_name` as a record. Source: RFC 8446 §5.1, §6; RFC 6066 §3.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

async fn begin_tls(
    counted: Counted,
    stream: TcpStream,
    peer: Peer,
) -> Result<Rest, Box<dyn std::error::Error + Send + Sync>> {
    let worker = counted.worker();
    // The configuration of this moment serves the whole handshake.
    let state = worker.live.load_full();
    let limit = worker.settings.timeouts.handshake;
    let (stream, shown) = timeout(limit, handshake(&state, peer.port, stream)).await??;
    let shown = Rc::new(shown);
    Ok(if stream.get_ref().1.alpn_protocol() == Some(ALPN_H2) {
        Box::pin(http2(counted, stream, peer, shown))
    } else if worker.settings.http1_engine == Http1Engine::Own {
        let stream = Stream::Tls(Box::new((*stream).into()));
        let (first, aged) = (BytesMut::new(), end_of_age(worker));
        Box::pin(http1::serve(counted, stream, first, peer, shown, aged))
    } else {
        Box::pin(http1_by_hyper(counted, stream, peer, shown))
    })
}

/// The stream is large, and is handed on.
type Shaken<IO> = Result<(Box<TlsStream<IO>>, Shown), Box<dyn std::error::Error + Send + Sync>>;

/// The server name says what is asked of the client's certificate, what is offered in which order it is heeded.
async fn handshake<IO: AsyncRead + AsyncWrite + Unpin>(
    state: &ServingState,
    entry: Entry,
    stream: IO,
) -> Shaken<IO> {
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    let written = hello.server_name().unwrap_or_default();
    let name = host::normalize(written);
    let under = state.tls(entry, &name);
    let (config, policy) = under.ok_or("no certificate is served")?;
    let config = ciphers::as_offered(config, hello.cipher_suites());
    if !state.certificates().has(written) {
        // rustls would say that access is denied.
        start.io.write_all(&UNRECOGNIZED_NAME).await?;
        start.io.shutdown().await?;
        return Err("no certificate is for the server name".into());
    }
    let stream = start.into_stream(config).await?;
    let session = stream.get_ref().1;
    let chain = session.peer_certificates().unwrap_or_default();
    let mut shown = Shown::over_tls(name, policy.clone(), chain, Timestamp::now())?;
    if session.protocol_version() == Some(ProtocolVersion::TLSv1_2) {
        shown.versions = Versions::All;
    }
    Ok((Box::new(stream), shown))
}

/// Clear-text HTTP/2 is known by its preface: an upgrade to it is not offered. Source: RFC 9113 §3.3.
async fn begin_plainly(counted: Counted, stream: TcpStream, peer: Peer) -> Begun {
    let worker = counted.worker();
    let first = first_bytes(worker, &stream).await?;
    if first.is_empty() || !speaks_http(&first) {
        return Ok(None);
    }
    // Shared, for each would take memory to say so.
    let shown = worker.nothing_shown.clone();
    let is_http2 = first.starts_with(PREFACE);
    if !is_http2 && worker.settings.http1_engine == Http1Engine::Own {
        let (stream, aged) = (Stream::Plain(stream), end_of_age(worker));
        return Ok(Some(Box::pin(http1::serve(
            counted, stream, first, peer, shown, aged,
        ))));
    }
    let stream = Resumed {
        first: first.freeze(),
        stream,
    };
    Ok(Some(if is_http2 {
        Box::pin(http2(counted, stream, peer, shown))
    } else {
        Box::pin(http1_by_hyper(counted, stream, peer, shown))
    }))
}

/// As many as it takes to know the version of HTTP; none where there is nothing to be served.
async fn first_bytes(worker: &Worker, stream: &TcpStream) -> io::Result<BytesMut> {
    let mut first = BytesMut::new();
    let begin = timeout(worker.settings.timeouts.head, async {
        while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
            // Nobody who says nothing holds memory for it.
            stream.readable().await?;
            if first.capacity() == 0 {
                first = http1::take_buffer();
            }
            match stream.try_read_buf(&mut first) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                // A connection is taken for readable until it has been tried.
                Err(_) if first.is_empty() => http1::give_back_buffer(std::mem::take(&mut first)),
                Err(_) => {}
            }
        }
        Ok(())
    });
    tokio::select! {
        begun = begin => begun??,
        // Nobody has asked anything: a connection opened in advance does not hold up the end.
        () = farewell(worker) => return Ok(BytesMut::new()),
    }
    Ok(first)
}

/// Whether a connection begins as HTTP does. Who asks in another protocol would not understand an answer in HTTP/1.1,
/// above all a client of HTTP/2 whose preface is wrong. Source: RFC 9113 §3.4.
fn speaks_http(first: &[u8]) -> bool {
    let Some(end) = first.windows(2).position(|two| two == b"\r\n") else {
        return true;
    };
    let words: Vec<&[u8]> = first[..end].splitn(4, |byte| *byte == b' ').collect();
    // What else is wrong with the line, hyper says.
    !matches!(words[..], [_, _, version] if !version.starts_with(b"HTTP/"))
}

async fn http1_by_hyper<IO>(counted: Counted, io: IO, peer: Peer, shown: Rc<Shown>) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let worker = counted.worker().clone();
    let counted = Rc::new(counted);
    let taking = Taking::new(worker.settings.timeouts.body);
    let io = Guarded::new(io, worker.settings.limits.head_bytes, taking.clone());
    let mut builder = conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(worker.settings.timeouts.head)
        .max_header_size(worker.settings.limits.head_bytes);
    let leaving = Rc::new(Cell::new(false));
    let activity = Rc::new(Activity::default());
    // The request that is being answered.
    let current = Rc::new(RefCell::new(None));
    let service = service_fn(|request| {
        let (worker, shown, leaving) = (worker.clone(), shown.clone(), leaving.clone());
        let counted = counted.clone();
        let (taking, open) = (taking.clone(), Open::new(&activity));
        current.replace(Some(open.clone()));
        async move {
            let mut response = answer(worker, peer, shown, request, (None, Some(counted))).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                taking.is_tunnel.store(true, Ordering::Relaxed);
            } else if leaving.get() {
                upgrades::close(response.headers_mut());
            }
            Ok::<_, Infallible>(response.map(|body| body.holding(open)))
        }
    });
    let mut connection = pin!(
        builder
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades()
    );
    let served = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            _ = worker.ending.begun() => {}
            () = aged(&worker) => {}
        }
        leaving.set(true);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = sleep(worker.patience()) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    let served = served.await;
    if let Err(error) = &served {
        tell_refused(&worker, peer, error);
    }
    // What is left of the answer goes with the connection, and tells.
    if taking.is_over.load(Ordering::Relaxed) {
        worker.counters.untaken();
        if let Some(open) = current.take() {
            open.give_up();
        }
    }
    Ok(served?)
}

/// hyper answers heads that it cannot read by itself, and tells at the end of the connection.
fn tell_refused(worker: &Worker, peer: Peer, error: &hyper::Error) {
    if !error.is_parse() || error.is_parse_version_h2() {
        return;
    }
    let status = match error.is_parse_too_large() {
        true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        false => StatusCode::BAD_REQUEST,
    };
    refused(worker, peer, status, &error.to_string());
}

async fn http2<IO>(counted: Counted, io: IO, peer: Peer, shown: Rc<Shown>) -> Ended
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let worker = counted.worker();
    let head_bytes = u32::try_from(worker.settings.limits.head_bytes).unwrap_or(u32::MAX);
    let timeouts = worker.settings.timeouts;
    let streams = Streams::new(worker.clients.clone(), worker.counters.clone(), timeouts.body);
    let mut builder = conn::http2::Builder::new(streams.clone());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(head_bytes)
        .max_concurrent_streams(worker.settings.limits.streams)
        // For WebSockets; whatever else is asked for so is refused as CONNECT is. Source: RFC 8441 §3.
        .enable_connect_protocol()
        // A client that vanished without a word is noticed.
        .keep_alive_interval(timeouts.head)
        .keep_alive_timeout(timeouts.handshake);
    let activity = Rc::new(Activity::default());
    let service = service_fn(|request| {
        let (worker, shown) = (worker.clone(), shown.clone());
        let open = Open::new(&activity);
        streams.begins(open.clone());
        // Boxed: hyper moves it about before it runs.
        Box::pin(async move {
            let response = answer(worker, peer, shown, request, (Some(open.clone()), None)).await;
            Ok::<_, Infallible>(response.map(|body| Told::new(body, open)))
        })
    });
    let (io, sending) = gathered(io);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let expects = || activity.is_any();
    tokio::select! {
        ended = sending.drive(connection.as_mut(), expects) => return ended,
        _ = worker.ending.begun() => {}
        () = activity.none_for(timeouts.head) => {}
        () = aged(worker) => {}
    }
    // GOAWAY, and the streams under way go on.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = sending.drive(connection.as_mut(), expects) => ended,
        // What is left are ends of answers that the client does not take.
        () = activity.none_for(timeouts.body) => Err(Untaken.into()),
    }
}

async fn answer(
    worker: Rc<Worker>,
    peer: Peer,
    shown: Rc<Shown>,
    mut request: Request<Incoming>,
    (open, counted): (Option<Open>, Option<Rc<Counted>>),
) -> Response<ResponseBody> {
    let is_websocket = websocket::translate(&mut request, &worker.random);
    let upgrade = ClientSide {
        end: ClientEnd {
            upgrade: Upgrade::Hyper(hyper::upgrade::on(&mut request)),
            open,
            counted,
        },
        takes_lines: false,
        // hyper has no way to send them.
        interims: None,
    };
    let idle = worker.settings.timeouts.body;
    let most = worker.settings.limits.body_bytes;
    let (parts, body) = request.into_parts();
    let body = RequestBody::new(body.into(), parts.version, idle, most);
    let is_http2 = parts.version == Version::HTTP_2;
    let tasks = worker.clients.clone();
    let present = Present::of(&parts.headers);
    let mut response = exchange(worker, peer, shown, Box::new(parts), present, body, upgrade).await;
    if is_http2 {
        response.body_mut().send_apart(&tasks);
    }
    match is_websocket {
        true => websocket::translate_back(response),
        false => response,
    }
}

/// When a connection that begins now is to end for its age.
fn end_of_age(worker: &Worker) -> Option<Instant> {
    let age = worker.settings.timeouts.age?;
    Some(Instant::now() + shortened(age, worker.random.below_u32(1_000)))
}

/// Up to a tenth less, by so many ten-thousandths: those opened together do not all come back together.
fn shortened(age: Duration, by: u32) -> Duration {
    age - age / 10_000 * by
}

/// Ready once a connection is to end on which nobody has asked anything.
async fn farewell(worker: &Worker) {
    tokio::select! {
        _ = worker.ending.begun() => {}
        () = aged(worker) => {}
    }
    sleep(worker.patience()).await;
}

/// Ready once a connection that begins now is to end for its age.
pub(crate) fn aged(worker: &Worker) -> impl Future<Output = ()> + 'static {
    let end = end_of_age(worker);
    async move {
        match end {
            Some(end) => tokio::time::sleep_until(end).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_opened_together_grow_old_up_to_a_tenth_apart() {
        let age = Duration::from_secs(600);
        assert_eq!(shortened(age, 0), age);
        assert_eq!(shortened(age, 500), Duration::from_secs(570));
        assert!(shortened(age, 999) > Duration::from_secs(540));
    }

    #[test]
    fn a_first_line_without_a_version_is_not_answered() {
        for (first, want) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], true),
            (PREFACE, true),
            // What is wrong with these is told.
            (b"GET / HTTP/9\r\n", true),
            (b"GET /\r\nHost: a b HTTPS\r\n", true),
            (b"GET / FTP", true),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", true),
            (b"INVALID CONNECTION PREFACE\r\n\r\n", false),
            (b"GET / FTP/1.1\r\nHost: a HTTP/1.1\r\n", false),
        ] {
            assert_eq!(speaks_http(first), want, "{}", String::from_utf8_lossy(first));
        }
    }
}
