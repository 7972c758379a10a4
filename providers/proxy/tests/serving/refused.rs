//! Messages and clients over HTTP/3 that are not served in, how they are refused out.

use std::fs::{self, File};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::poll;
use portcullis_model::{Action, FixedResponse, Port};
use portcullis_proxy::{AccessLog, LogFormat, ServerConfig, Sink};
use quinn::{Connection, ConnectionError, ReadError, SendStream};
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use serde_json::Value;

use crate::balancer::{KeyPairs, all_to, also, backend, empty, rule, serve_as, to};
use crate::client::soon;
use crate::echo::Echo;
use crate::mutual::{Authority, Identity, World, asking, authorities, balancer, told, verify};
use crate::quic::{Client, HOST, connect, get, over_quic, serve};
use crate::secure::key_pair;

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Answered 200.
    Served,
    /// Answered otherwise.
    Refused,
    /// The stream is reset with this code.
    Reset(u64),
    /// The connection is closed with this code.
    Closed(u64),
}

/// `:method` GET, `:scheme` https, `:path` /, by their places in the static table. Source: RFC 9204 appendix A.
const GET: &[u8] = &[0xd1];
const HTTPS: &[u8] = &[0xd7];
const SLASH: &[u8] = &[0xc1];

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap() | 0x8000_0000;
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

fn headers(fields: &[&[u8]]) -> Vec<u8> {
    frame(1, &[&[0, 0], fields.concat().as_slice()].concat())
}

/// A number whose first bits are given. Source: RFC 7541 §5.1.
fn number(first: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if value < most {
        return vec![first | u8::try_from(value).unwrap()];
    }
    let (mut out, mut rest) = (vec![first | u8::try_from(most).unwrap()], value - most);
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
    out
}

/// A field in words.
fn field(name: &str, value: &str) -> Vec<u8> {
    [
        &number(0x20, 3, name.len())[..],
        name.as_bytes(),
        &number(0, 7, value.len()),
        value.as_bytes(),
    ]
    .concat()
}

fn authority(value: &str) -> Vec<u8> {
    [&[0x50][..], &number(0, 7, value.len()), value.as_bytes()].concat()
}

fn path(value: &str) -> Vec<u8> {
    [&[0x51][..], &number(0, 7, value.len()), value.as_bytes()].concat()
}

/// The stream of the connection as a whole, which must stay.
async fn control(connection: &Connection, bytes: &[u8]) -> SendStream {
    let mut stream = connection.open_uni().await.unwrap();
    // It may be refused before all of it is there.
    let _ = stream.write_all(bytes).await;
    stream
}

fn closed(error: ConnectionError) -> Outcome {
    match error {
        ConnectionError::ApplicationClosed(closed) => Outcome::Closed(closed.error_code.into_inner()),
        error @ (ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted) => panic!("{error}"),
    }
}

/// Sends bytes as they are, on a stream that ends behind them.
async fn raw(connection: &Connection, bytes: &[u8]) -> Outcome {
    let (mut send, mut recv) = match connection.open_bi().await {
        Ok(stream) => stream,
        // By what was said on the stream of the connection.
        Err(error) => return closed(error),
    };
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    let mut answer = Vec::new();
    loop {
        match soon("an outcome", recv.read_chunk(usize::MAX, true)).await {
            Ok(Some(chunk)) => answer.extend_from_slice(&chunk.bytes),
            // A frame of fields, of which the first is the status: 200 by its place.
            Ok(None) if answer.iter().skip_while(|byte| **byte != 0).nth(2) == Some(&0xd9) => {
                return Outcome::Served;
            }
            Ok(None) => return Outcome::Refused,
            Err(ReadError::Reset(code)) => return Outcome::Reset(code.into_inner()),
            Err(ReadError::ConnectionLost(error)) => return closed(error),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The same; the end of the connection, where that is wanted and something of the stream comes first.
async fn becomes(connection: &Connection, bytes: &[u8], want: &Outcome) -> Outcome {
    let outcome = raw(connection, bytes).await;
    if !matches!(want, Outcome::Closed(_)) || matches!(outcome, Outcome::Closed(_)) {
        return outcome;
    }
    closed(soon("the end", connection.closed()).await)
}

/// Source: RFC 9114 §8.1.
const CLOSED_CRITICAL_STREAM: u64 = 0x104;
const FRAME_UNEXPECTED: u64 = 0x105;
const FRAME_ERROR: u64 = 0x106;
const EXCESSIVE_LOAD: u64 = 0x107;
const MESSAGE_ERROR: u64 = 0x10e;
const SETTINGS: &[u8] = &[0, 4, 0];

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let echo = Echo::http1("one").await;
    let served = serve(all_to(backend("one", &[echo.address])), 1);
    let a = || authority(HOST);
    let head = |more: &[u8]| headers(&[GET, HTTPS, &a(), SLASH, more]);
    let with = |name: &str, value: &str| head(&field(name, value));
    let malformed = Outcome::Reset(MESSAGE_ERROR);
    let body = |bytes: &[u8]| [headers(&[&[0xd4], HTTPS, &a(), SLASH]), bytes.to_vec()].concat();
    let many: Vec<u8> = (0..4_000).flat_map(|_| [0xdd]).collect();
    for (what, bytes, want) in [
        ("a request", head(b""), Outcome::Served),
        ("a field", with("accept", "*/*"), Outcome::Served),
        ("a body", body(&frame(0, b"abc")), Outcome::Served),
        (
            "a body with an empty frame",
            body(&[frame(0, b"a"), frame(0, b""), frame(0, b"b")].concat()),
            Outcome::Served,
        ),
        (
            "a frame that nobody knows",
            [frame(0x21, b"xx"), head(b"")].concat(),
            Outcome::Served,
        ),
        ("a second path", head(&path("/b")), Outcome::Reset(MESSAGE_ERROR)),
        (
            "a second path in words",
            with(":path", "/b"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        ("a second authority", head(&a()), Outcome::Reset(MESSAGE_ERROR)),
        ("a second method", head(GET), Outcome::Reset(MESSAGE_ERROR)),
        ("a second scheme", head(HTTPS), Outcome::Reset(MESSAGE_ERROR)),
        ("a status", head(&[0xd9]), Outcome::Reset(MESSAGE_ERROR)),
        (
            "a pseudo-header that nobody knows",
            with(":other", "x"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "a field before",
            headers(&[&field("accept", "a"), GET, HTTPS, &a(), SLASH]),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "no method",
            headers(&[HTTPS, &a(), SLASH]),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "no scheme",
            headers(&[GET, &a(), SLASH]),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "no authority",
            headers(&[GET, HTTPS, SLASH]),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "no path",
            headers(&[GET, HTTPS, &a()]),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "a path without a slash",
            headers(&[GET, HTTPS, &a(), &path("x")]),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "a URL for a path",
            headers(&[GET, HTTPS, &a(), &path("http://b/")]),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "a path with a line end",
            headers(&[GET, HTTPS, &a(), &path("/a\r\nx: y")]),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        ("upper case", with("Accept", "*/*"), Outcome::Reset(MESSAGE_ERROR)),
        (
            "a line end in a value",
            with("accept", "a\r\nx: y"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "a line end in a name",
            with("a\r\nb", "x"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "Connection",
            with("connection", "close"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "Keep-Alive",
            with("keep-alive", "timeout=5"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "Upgrade",
            with("upgrade", "websocket"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "Transfer-Encoding",
            with("transfer-encoding", "chunked"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "TE of more than trailers",
            with("te", "gzip"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "a length that is none",
            with("content-length", "+1"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        (
            "a Host that differs",
            with("host", "b.example.com"),
            Outcome::Reset(MESSAGE_ERROR),
        ),
        ("the same Host", with("host", HOST), Outcome::Served),
        (
            "two Hosts",
            head(&[field("host", HOST), field("host", HOST)].concat()),
            Outcome::Refused,
        ),
        (
            "user information",
            headers(&[GET, HTTPS, &authority("u@a.example.com"), SLASH]),
            Outcome::Refused,
        ),
        (
            "another scheme",
            headers(&[GET, &field(":scheme", "ftp"), &a(), SLASH]),
            Outcome::Refused,
        ),
        ("CONNECT", headers(&[&[0xcf], &a()]), Outcome::Refused),
        (
            "a WebSocket, which is not offered",
            headers(&[&[0xcf], HTTPS, &a(), SLASH, &field(":protocol", "websocket")]),
            malformed,
        ),
        (
            "half a head",
            head(b"")[..9].to_vec(),
            Outcome::Reset(FRAME_ERROR),
        ),
        ("nothing", Vec::new(), Outcome::Reset(0x10d)),
        ("fields that grow long", head(&many), Outcome::Refused),
        (
            "a long head",
            with("x-long", &"x".repeat(70_000)),
            Outcome::Reset(EXCESSIVE_LOAD),
        ),
        (
            "a body before the head",
            frame(0, b"abc"),
            Outcome::Closed(FRAME_UNEXPECTED),
        ),
    ] {
        let (_endpoint, connection) = connect(served.proxy.https, HOST, &served.trusted, None)
            .await
            .unwrap();
        let _control = control(&connection, SETTINGS).await;
        assert_eq!(becomes(&connection, &bytes, &want).await, want, "{what}");
        if matches!(want, Outcome::Closed(_)) {
            continue;
        }
        // Others on the connection are none the worse for it.
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(&head(b"")).await.unwrap();
        send.finish().unwrap();
        let answer = soon("an answer", recv.read_to_end(64 * 1024)).await;
        assert!(!answer.unwrap().is_empty(), "{what}");
    }
    // Whether its head has been answered by then is a matter of time.
    for (what, bytes) in [
        ("half a body", body(&frame(0, b"abc")[..7])),
        ("a body that does not begin", body(&frame(0, b"abc")[..5])),
        (
            "trailers with a path",
            body(&[frame(0, b"a"), headers(&[SLASH])].concat()),
        ),
    ] {
        let (_endpoint, connection) = connect(served.proxy.https, HOST, &served.trusted, None)
            .await
            .unwrap();
        let _control = control(&connection, SETTINGS).await;
        let outcome = raw(&connection, &bytes).await;
        assert!(
            matches!(outcome, Outcome::Refused | Outcome::Reset(MESSAGE_ERROR)),
            "{what}: {outcome:?}"
        );
    }
    assert_eq!(served.proxy.handle.totals().panics, 0);
}

/// As over HTTP/2.
#[tokio::test]
async fn of_a_path_what_stands_before_a_fragment_is_all() {
    let echo = Echo::http1("one").await;
    let mut balancer = empty();
    also(&mut balancer, "/open", backend("one", &[echo.address]));
    let served = serve(balancer, 1);
    for (text, want) in [
        ("/open#/../admin", Outcome::Served),
        ("/open?a=1#b?c", Outcome::Served),
        ("/admin#/open", Outcome::Refused),
    ] {
        let (_endpoint, connection) = connect(served.proxy.https, HOST, &served.trusted, None)
            .await
            .unwrap();
        let _control = control(&connection, SETTINGS).await;
        let request = headers(&[GET, HTTPS, &authority(HOST), &path(text)]);
        assert_eq!(raw(&connection, &request).await, want, "{text}");
    }
}

#[tokio::test]
async fn what_concerns_the_connection_is_bounded() {
    let served = serve(empty(), 1);
    for (what, said, want) in [
        ("settings", SETTINGS.to_vec(), Outcome::Refused),
        (
            "long settings",
            [&[0][..], &frame(4, &[0; 20_000])].concat(),
            Outcome::Closed(CLOSED_CRITICAL_STREAM),
        ),
        (
            "a request there",
            [SETTINGS, &frame(1, b"")].concat(),
            Outcome::Closed(FRAME_UNEXPECTED),
        ),
    ] {
        let (_endpoint, connection) = connect(served.proxy.https, HOST, &served.trusted, None)
            .await
            .unwrap();
        let request = headers(&[GET, HTTPS, &authority(HOST), SLASH]);
        let _control = control(&connection, &said).await;
        assert_eq!(becomes(&connection, &request, &want).await, want, "{what}");
    }
    let (_endpoint, connection) = connect(served.proxy.https, HOST, &served.trusted, None)
        .await
        .unwrap();
    let mut of_one_direction = Vec::new();
    for _ in 0..8 {
        of_one_direction.push(soon("a stream", connection.open_uni()).await.unwrap());
    }
    let mut both_ways = Vec::new();
    for _ in 0..200 {
        both_ways.push(soon("a stream", connection.open_bi()).await.unwrap());
    }
    assert!(poll!(pin!(connection.open_uni())).is_pending());
    assert!(poll!(pin!(connection.open_bi())).is_pending());
}

fn shows(identity: &Identity) -> Arc<dyn ResolvesClientCert> {
    let key = any_supported_type(&identity.key).unwrap();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(
        identity.chain.clone(),
        key,
    )))
}

/// As `mutual` shows of TLS over TCP.
#[tokio::test]
async fn clients_certificates_are_asked_for_by_the_server_name() {
    let echo = Echo::http1("one").await;
    let (authority, other) = (Authority::new("Clients"), Authority::new("Clients"));
    let rules = vec![
        asking(rule("a.example.com", "/", to("one")), verify(false)),
        rule("b.example.com", "/in", to("one")),
    ];
    let mut asked = balancer(&echo, rules);
    asked.options.http3 = true;
    let world = World::serve(&asked, &authorities(&authority));
    assert_eq!(world.problems, []);
    let good = authority.signs("till", 2090);
    for (identity, name, host, path, want) in [
        (Some(&good), "a.example.com", "a.example.com", "/", Some(200)),
        (None, "a.example.com", "a.example.com", "/", None),
        (
            Some(&other.signs("till", 2090)),
            "a.example.com",
            "a.example.com",
            "/",
            None,
        ),
        (
            Some(&authority.signs("old", 2021)),
            "a.example.com",
            "a.example.com",
            "/",
            None,
        ),
        (None, "b.example.com", "b.example.com", "/in", Some(200)),
        (None, "b.example.com", "a.example.com", "/", Some(421)),
        (Some(&good), "a.example.com", "b.example.com", "/in", Some(421)),
    ] {
        let what = format!("{name} for {host}{path}, wanted {want:?}");
        let connected = connect(world.https, name, &world.trusted, identity.map(shows)).await;
        let Ok((endpoint, connection)) = connected else {
            assert_eq!(want, None, "{what}");
            continue;
        };
        if want.is_none() {
            // A client learns after its own part of the handshake.
            soon("the end", connection.closed()).await;
            continue;
        }
        let mut client = Client::over(endpoint, connection).await;
        let mut request = get(host, path);
        let headers = request.headers_mut();
        headers.insert("x-amzn-mtls-clientcert-leaf", "forged".parse().unwrap());
        let answer = client.send(request, "").await;
        assert_eq!(Some(answer.status()), want, "{what}");
        // Who is sent away is not told the way back.
        assert_eq!(answer.header("alt-svc").is_some(), want == Some(200), "{what}");
        if let (Some(200), Some(_), "a.example.com") = (want, identity, host) {
            let told = told(&answer);
            assert_eq!(told.len(), 5, "{told:?}");
            assert_eq!(told[2], ("x-amzn-mtls-clientcert-serial-number", "03A5B1"));
        }
    }
}

#[tokio::test]
async fn who_may_not_connect_is_refused_as_over_tcp() {
    let ((secret, pem), trusted) = key_pair("web", &[HOST]);
    let keys = KeyPairs::from([(secret, pem)]);
    let fixed = rule("*", "/", Action::Fixed(FixedResponse::not_found()));
    for (admitted, speaks_for_others, want) in [
        ("127.0.0.0/8", "192.0.2.0/24", Some(404)),
        ("192.0.2.0/24", "192.0.2.0/24", Some(403)),
        // Over UDP it cannot say for whom it speaks.
        ("127.0.0.0/8", "127.0.0.0/8", None),
    ] {
        let mut balancer = over_quic(empty());
        balancer.rules.push(fixed.clone());
        let ranges = [admitted.parse().unwrap()].into();
        balancer.options.admitted.insert(Port::HTTPS, ranges);
        let config = ServerConfig {
            proxy_protocol: vec![speaks_for_others.parse().unwrap()],
            ..ServerConfig::default()
        };
        let proxy = serve_as(&balancer, &keys, config);
        let status = match Client::to(proxy.https, HOST, &trusted).await {
            Ok(mut client) => Some(client.get("/").await.status()),
            Err(_) => None,
        };
        assert_eq!(status, want, "{admitted} {speaks_for_others}");
    }
}

#[tokio::test]
async fn each_answer_is_a_line_of_the_access_log() {
    let echo = Echo::http1("one").await;
    let ((secret, pem), trusted) = key_pair("web", &[HOST]);
    let keys = KeyPairs::from([(secret, pem)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let config = ServerConfig {
        access_log: Some(AccessLog {
            sink: Sink::File(Arc::new(File::create(&path).unwrap())),
            format: LogFormat::Json,
            one_in: NonZeroU32::MIN,
        }),
        ..ServerConfig::default()
    };
    let balancer = over_quic(all_to(backend("one", &[echo.address])));
    let proxy = serve_as(&balancer, &keys, config);
    let mut client = Client::to(proxy.https, HOST, &trusted).await.unwrap();
    assert_eq!(client.get("/a?b=1").await.status(), 200);
    proxy.handle.drain(Duration::from_secs(5)).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    for (field, want) in [
        ("client", Value::from("127.0.0.1")),
        ("scheme", "https".into()),
        ("protocol", "HTTP/3.0".into()),
        ("host", HOST.into()),
        ("status", 200.into()),
    ] {
        assert_eq!(line[field], want, "{field}: {text}");
    }
}
