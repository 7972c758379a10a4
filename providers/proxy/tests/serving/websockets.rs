//! Frames of WebSockets as a suite for servers sends them in; the same answers through the proxy as without it out.
//!
//! The cases follow the sections of the Autobahn test suite. Each is sent to a server as it is and by each way through
//! the proxy, and what comes back must be the same to the byte.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use portcullis_model::{BackendVersion, Filters};
use portcullis_proxy::Settings;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::balancer::{
    KeyPairs, Proxy, all_to, backend, empty, filtered, rule, serve, serve_with, speaking, to,
    with_certificates,
};
use crate::client::{http2_over, read_until, soon, tls};
use crate::echo::Echo;
use crate::secure::key_pair;
use crate::windows::connect;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const LAST: u8 = 0x80;

/// Sends back what it gets, as autobahn's servers do, with messages of up to 64 MiB.
async fn echoing() -> Echo {
    Echo::running(|stream| {
        Box::pin(async move {
            let config = WebSocketConfig::default();
            let accepted = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await;
            let Ok(mut socket) = accepted else { return };
            while let Some(Ok(message)) = socket.next().await {
                if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                    break;
                }
            }
            // What the client still sends is read: unread, it would take away what was sent last.
            let stream = socket.get_mut();
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(stream, &mut tokio::io::sink()).await;
        })
    })
    .await
}

/// A frame of a client. Source: RFC 6455 §5.2.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

fn close(code: u16, why: &str) -> Vec<u8> {
    frame(LAST | CLOSE, &[&code.to_be_bytes(), why.as_bytes()].concat())
}

/// What a client sends, piece by piece; it ends with a close where the server does not end it by itself.
fn cases() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut cases: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    let mut case = |name: String, mut frames: Vec<Vec<u8>>| {
        frames.push(close(1000, ""));
        cases.push((name, frames));
    };
    for size in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        for (kind, first) in [("text", TEXT), ("binary", BINARY)] {
            let message = frame(LAST | first, &vec![b'*'; size]);
            // Section 1: in one piece, and cut up by the network.
            case(format!("1 {kind} of {size}"), vec![message.clone()]);
            case(
                format!("1 {kind} of {size}, cut"),
                message.chunks(997).map(<[u8]>::to_vec).collect(),
            );
        }
    }
    for size in [0, 1, 125] {
        case(
            format!("2 ping of {size}"),
            vec![frame(LAST | PING, &vec![0xfe; size])],
        );
    }
    case("2 ping of 126".into(), vec![frame(LAST | PING, &[0; 126])]);
    case(
        "2 pong unasked, then ping".into(),
        vec![frame(LAST | PONG, b"x"), frame(LAST | PING, b"y")],
    );
    case(
        "2 ten pings at once".into(),
        vec![(0..10).flat_map(|n| frame(LAST | PING, &[n])).collect()],
    );
    for bits in 1..8 {
        case(
            format!("3 reserved bits {bits}"),
            vec![
                frame(LAST | TEXT, b"before"),
                frame(LAST | bits << 4 | TEXT, b"x"),
                frame(LAST | PING, b"after"),
            ],
        );
    }
    for code in [3, 7, 11, 15] {
        case(
            format!("4 reserved opcode {code}"),
            vec![frame(LAST | code, b"x")],
        );
    }
    case(
        "5 fragments".into(),
        vec![frame(TEXT, b"one "), frame(0, b"two "), frame(LAST, b"three")],
    );
    case(
        "5 fragments at once".into(),
        vec![[frame(TEXT, b"one "), frame(LAST, b"two")].concat()],
    );
    case(
        "5 a ping between fragments".into(),
        vec![
            frame(BINARY, b"one "),
            frame(LAST | PING, b"now"),
            frame(LAST, b"two"),
        ],
    );
    case(
        "5 a ping in fragments".into(),
        vec![frame(PING, b"one"), frame(LAST, b"two")],
    );
    case("5 a rest of nothing".into(), vec![frame(LAST, b"rest")]);
    case(
        "5 a message in another".into(),
        vec![frame(TEXT, b"one"), frame(LAST | TEXT, b"two")],
    );
    case("6 text".into(), vec![frame(LAST | TEXT, "κόσμε 𐀀".as_bytes())]);
    case(
        "6 a character in two fragments".into(),
        vec![frame(TEXT, &[0xce]), frame(LAST, &[0xba])],
    );
    case(
        "6 no text".into(),
        vec![frame(LAST | TEXT, &[0xce, 0xba, 0xed, 0xa0, 0x80])],
    );
    for code in [
        1000, 1001, 1003, 1007, 1011, 3000, 4999, 0, 999, 1005, 1006, 1015, 5000,
    ] {
        case(format!("7 close with {code}"), vec![close(code, "because")]);
    }
    case("7 close without a code".into(), vec![frame(LAST | CLOSE, b"")]);
    case("7 close with half a code".into(), vec![frame(LAST | CLOSE, &[3])]);
    case(
        "7 a message after close".into(),
        vec![close(1000, "end"), frame(LAST | TEXT, b"late")],
    );
    case(
        "7 close with too long a reason".into(),
        vec![close(1000, &"x".repeat(124))],
    );
    for size in [1 << 20, 4 << 20] {
        case(
            format!("9 binary of {size}"),
            vec![frame(LAST | BINARY, &vec![7; size])],
        );
    }
    let piece = vec![7; 64 << 10];
    let mut pieces = vec![frame(BINARY, &piece)];
    pieces.extend((0..30).map(|_| frame(0, &piece)));
    pieces.push(frame(LAST, &piece));
    case("9 2 MiB in 32 fragments".into(), pieces);
    case(
        "10 a thousand messages".into(),
        vec![(0..1000).flat_map(|_| frame(LAST | TEXT, b"ten")).collect()],
    );
    cases
}

/// A way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Http1,
    Http1Tls,
    Http2,
    Http2Tls,
}

pub(crate) const THROUGH: [Way; 4] = [Way::Http1, Way::Http1Tls, Way::Http2, Way::Http2Tls];

pub(crate) struct Site {
    server: SocketAddr,
    pub(crate) proxy: Proxy,
    certificate: CertificateDer<'static>,
    /// Drive the connections of HTTP/2.
    tasks: JoinSet<()>,
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) fn site(server: SocketAddr) -> Site {
    filtered_site(server, Filters::default())
}

pub(crate) fn filtered_site(server: SocketAddr, filters: Filters) -> Site {
    site_with(server, filters, Settings::default())
}

pub(crate) fn site_with(server: SocketAddr, filters: Filters, settings: Settings) -> Site {
    let (secret, certificate) = key_pair("web", &["a.example.com"]);
    let mut balancer = with_certificates(empty(), &[("web", &["a.example.com"])]);
    let backend = backend("b", &[server]);
    let rule = rule("a.example.com", "/chat", to("b"));
    balancer.rules.push(filtered(rule, filters));
    balancer.backends.insert(backend.id.clone(), backend.into());
    Site {
        server,
        proxy: serve_with(&balancer, &KeyPairs::from([secret]), settings, 1),
        certificate,
        tasks: JoinSet::new(),
    }
}

impl Site {
    /// A WebSocket that is open, and the fields of the answer that opened it.
    pub(crate) async fn open(
        &mut self,
        way: Way,
        fields: &[(&'static str, &str)],
    ) -> (Box<dyn Io>, HeaderMap) {
        let certificates = [self.certificate.clone()];
        let secure = |alpn| tls(self.proxy.https, "a.example.com", &certificates, alpn);
        match way {
            Way::Direct => over_http1(TcpStream::connect(self.server).await.unwrap(), fields).await,
            Way::Http1 => over_http1(TcpStream::connect(self.proxy.http).await.unwrap(), fields).await,
            Way::Http1Tls => over_http1(secure(&["http/1.1"]).await.unwrap(), fields).await,
            Way::Http2 => {
                let stream = TcpStream::connect(self.proxy.http).await.unwrap();
                over_http2(stream, fields, &mut self.tasks).await
            }
            Way::Http2Tls => {
                let stream = secure(&["h2"]).await.unwrap();
                over_http2(stream, fields, &mut self.tasks).await
            }
        }
    }
}

async fn over_http1(mut io: impl Io + 'static, fields: &[(&str, &str)]) -> (Box<dyn Io>, HeaderMap) {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "GET /chat?x=1 HTTP/1.1\r\nHost: a.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    );
    io.write_all(head.as_bytes()).await.unwrap();
    let answer = read_until(&mut io, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    let fields = answer.lines().filter_map(|line| line.split_once(": "));
    let fields: HeaderMap = fields
        .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
    assert_eq!(fields["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    (Box::new(io), fields)
}

fn extended_connect(fields: &[(&'static str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::connect("http://a.example.com/chat?x=1")
        .extension(Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

/// Whether the proxy takes requests for WebSockets comes with its settings, which are there before any answer is.
async fn settled(sender: &mut http2::SendRequest<Empty<Bytes>>) {
    let request = Request::get("http://nobody/").body(Empty::new()).unwrap();
    let answer = soon("the settings", sender.send_request(request)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

async fn over_http2(
    io: impl Io + 'static,
    fields: &[(&'static str, &str)],
    tasks: &mut JoinSet<()>,
) -> (Box<dyn Io>, HeaderMap) {
    let mut sender = http2_over(io, tasks).await;
    settled(&mut sender).await;
    let mut response = soon("an answer", sender.send_request(extended_connect(fields)))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let upgraded = soon("the stream", hyper::upgrade::on(&mut response))
        .await
        .unwrap();
    (Box::new(TokioIo::new(upgraded)), response.headers().clone())
}

/// Sends a case, and returns all that comes until the server ends it.
async fn transcript(io: Box<dyn Io>, frames: &[Vec<u8>]) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(io);
    let sending = async {
        for frame in frames {
            // A server that has seen enough may close before all is sent.
            if write.write_all(frame).await.is_err() || write.flush().await.is_err() {
                return;
            }
        }
    };
    let mut came = Vec::new();
    let receiving = async {
        let mut piece = vec![0; 64 << 10];
        while let Ok(count) = read.read(&mut piece).await
            && count > 0
        {
            came.extend_from_slice(&piece[..count]);
        }
    };
    soon(
        "the end of a WebSocket",
        futures::future::join(sending, receiving),
    )
    .await;
    came
}

#[tokio::test]
async fn every_case_of_a_suite_ends_as_it_does_without_the_proxy() {
    let server = echoing().await;
    let mut site = site(server.address);
    for (name, frames) in cases() {
        let (io, _) = site.open(Way::Direct, &[]).await;
        let want = transcript(io, &frames).await;
        for way in THROUGH {
            let (io, _) = site.open(way, &[]).await;
            let came = transcript(io, &frames).await;
            assert!(
                came == want,
                "{name}, {way:?}: {} bytes for {}",
                came.len(),
                want.len()
            );
        }
    }
    assert_eq!(site.proxy.handle.totals().panics, 0);
}

/// Takes any WebSocket, compressed if the client likes, tells the head that it got, and sends every byte back. At the end
/// of what the client sends, it says so, and is done.
pub(crate) async fn parroting() -> Echo {
    Echo::running(|mut stream| {
        Box::pin(async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
                          Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.write_all(b"the end").await;
        })
    })
    .await
}

#[tokio::test]
async fn what_is_agreed_on_at_the_opening_passes_and_so_do_compressed_messages() {
    let server = parroting().await;
    let mut site = site(server.address);
    let fields = [
        ("sec-websocket-protocol", "chat, superchat"),
        (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits",
        ),
        ("origin", "http://a.example.com"),
    ];
    for way in THROUGH {
        let (mut io, agreed) = site.open(way, &fields).await;
        assert_eq!(agreed["sec-websocket-protocol"], "chat", "{way:?}");
        assert_eq!(
            agreed["sec-websocket-extensions"],
            "permessage-deflate; client_no_context_takeover"
        );
        let head = read_until(&mut io, "\r\n\r\n").await;
        assert!(head.starts_with("GET /chat?x=1 HTTP/1.1\r\n"), "{way:?}: {head}");
        let seen = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines
                .find(|(field, _)| *field == name)
                .map(|(_, value)| value.to_owned())
        };
        for (name, want) in fields {
            assert_eq!(seen(name).as_deref(), Some(want), "{way:?} {name}");
        }
        for (name, want) in [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
        ] {
            assert_eq!(seen(name).as_deref(), Some(want), "{way:?} {name}");
        }
        // Sixteen bytes in base64. Source: RFC 6455 §4.1.
        assert_eq!(
            seen("sec-websocket-key").map(|key| key.len()),
            Some(24),
            "{way:?}"
        );
        // "Hello" compressed, and the first bit reserved that says so. Source: RFC 7692 §7.2.3.1.
        let message = frame(LAST | 0x40 | TEXT, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        io.write_all(&message).await.unwrap();
        io.flush().await.unwrap();
        let mut came = vec![0; message.len()];
        soon("the message", io.read_exact(&mut came)).await.unwrap();
        assert_eq!(came, message, "{way:?}");
        // Who is done sending may still be sent to.
        io.shutdown().await.unwrap();
        let mut rest = Vec::new();
        soon("the end", io.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "the end", "{way:?}");
    }
}

#[tokio::test]
async fn a_websocket_over_http2_is_opened_by_nothing_but_a_change_of_protocol() {
    let ordinary = Echo::http1("one").await;
    let ordinary2 = Echo::http2("two").await;
    let refusing = Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
            stream.write_all(answer).await.unwrap();
        })
    })
    .await;
    for (name, backend, want) in [
        ("an ordinary answer", backend("b", &[ordinary.address]), 502),
        (
            "HTTP/2",
            speaking(backend("b", &[ordinary2.address]), BackendVersion::Http2, false),
            502,
        ),
        ("a refusal", backend("b", &[refusing.address]), 403),
        ("nobody", backend("b", &[]), 503),
    ] {
        let proxy = serve(&all_to(backend));
        let mut tasks = JoinSet::new();
        let stream = TcpStream::connect(proxy.http).await.unwrap();
        let mut sender = http2_over(stream, &mut tasks).await;
        let plain = Request::get("http://a.example.com/").body(Empty::new()).unwrap();
        soon("the settings", sender.send_request(plain)).await.unwrap();
        let answer = soon("an answer", sender.send_request(extended_connect(&[])))
            .await
            .unwrap();
        assert_eq!(answer.status(), want, "{name}");
        let body = soon("the body", answer.into_body().collect())
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(body == "no", name == "a refusal", "{name}");
        // Other protocols, and none, are not served.
        for protocol in [Some("connect-udp"), None] {
            let mut request = extended_connect(&[]);
            request.extensions_mut().clear();
            match protocol {
                Some(protocol) => drop(request.extensions_mut().insert(Protocol::from_static(protocol))),
                None => *request.uri_mut() = "a.example.com:443".parse().unwrap(),
            }
            let answer = soon("an answer", sender.send_request(request)).await.unwrap();
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_of_http2_carries_requests_beside_websockets() {
    let server = parroting().await;
    let mut site = site(server.address);
    let stream = TcpStream::connect(site.proxy.http).await.unwrap();
    let mut sender = http2_over(stream, &mut site.tasks).await;
    settled(&mut sender).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut response = soon("an answer", sender.send_request(extended_connect(&[])))
            .await
            .unwrap();
        let upgraded = soon("the stream", hyper::upgrade::on(&mut response))
            .await
            .unwrap();
        let mut io = TokioIo::new(upgraded);
        read_until(&mut io, "\r\n\r\n").await;
        open.push(io);
    }
    settled(&mut sender).await;
    // The second ends; the others go on.
    let mut ended = open.remove(1);
    ended.shutdown().await.unwrap();
    read_until(&mut ended, "the end").await;
    for io in &mut open {
        io.write_all(b"still here").await.unwrap();
        io.flush().await.unwrap();
        read_until(io, "still here").await;
    }
    settled(&mut sender).await;
}

/// hyper does this before the proxy sees the request.
#[tokio::test]
async fn a_connect_that_says_a_length_ends_its_connection() {
    let server = parroting().await;
    let mut site = site(server.address);
    let nobody = || Request::get("http://nobody/").body(()).unwrap();
    for (length, is_opened) in [("0", true), ("5", false)] {
        // hyper's client would not send it.
        let mut sender = connect(site.proxy.http, 65_535, &mut site.tasks).await;
        let (settings, _) = sender.send_request(nobody(), true).unwrap();
        let settled = soon("the settings", settings).await.unwrap();
        assert_eq!(settled.status(), StatusCode::NOT_FOUND);
        let request = Request::connect("http://a.example.com/chat?x=1")
            .extension(h2::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header("content-length", length);
        let (answer, _open) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        let opened = soon("an answer", answer).await;
        let opened = opened.is_ok_and(|answer| answer.status() == StatusCode::OK);
        assert_eq!(opened, is_opened, "{length}");
        let next = match sender.send_request(nobody(), true) {
            Ok((answer, _)) => soon("the next answer, or the end", answer).await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(next, is_opened, "{length}");
    }
}
