//! Answers of backends and what clients take in, what is compressed and how it arrives out.

use std::convert::Infallible;
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use portcullis_model::{
    Action, BackendVersion, Coding, Compression, Filters, FixedResponse, LoadBalancer, Rule,
};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::balancer::{backend, empty, filtered, origin, rule, serve, to};
use crate::client::{Client, Sent, soon};
use crate::echo::Echo;

fn text() -> String {
    (0..2_000).map(|line| format!("line {line}\n")).collect()
}

/// Answers with the fields that the query names, `content-type=text/plain&etag="a"`, and the text, or less of it.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::builder();
    let mut body = Bytes::from(text());
    for (name, value) in request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|p| p.split_once('='))
    {
        match name {
            "status" => response = response.status(value.parse::<u16>().unwrap()),
            "length" => body.truncate(value.parse().unwrap()),
            name => response = response.header(name, value.replace('+', " ").replace("%22", "\"")),
        }
    }
    Ok(response.body(Full::new(body)).unwrap())
}

async fn running() -> Echo {
    Echo::answering(answer).await
}

fn balancer(echo: &Echo) -> LoadBalancer {
    let mut balancer = empty();
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    let compression = Compression {
        codings: vec![Coding::Brotli, Coding::Zstd, Coding::Gzip],
        origin: origin(),
    };
    let filters = Filters {
        compression: Some(compression),
        ..Filters::default()
    };
    *balancer.rules = vec![
        filtered(rule("a.com", "/", to("one")), filters),
        rule("b.com", "/", to("one")),
    ];
    balancer
}

/// A connection that gives answers as they come.
struct Raw {
    sender: http1::SendRequest<Sent>,
    _tasks: JoinSet<()>,
}

impl Raw {
    async fn to(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self {
            sender,
            _tasks: tasks,
        }
    }

    async fn ask(&mut self, method: &str, host: &str, query: &str, accepted: &str) -> Response<Incoming> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/?{query}"))
            .header("host", host)
            .header("accept-encoding", accepted)
            .body(Sent::default())
            .unwrap();
        soon("an answer", self.sender.send_request(request))
            .await
            .unwrap()
    }
}

fn unpacked(coding: Option<&str>, bytes: &[u8]) -> String {
    let mut out = Vec::new();
    match coding {
        Some("gzip") => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap(),
        Some("br") => brotli::Decompressor::new(bytes, 4_096)
            .read_to_end(&mut out)
            .unwrap(),
        Some("zstd") => zstd::stream::read::Decoder::new(bytes)
            .unwrap()
            .read_to_end(&mut out)
            .unwrap(),
        Some(other) => panic!("{other}"),
        None => {
            out.extend_from_slice(bytes);
            bytes.len()
        }
    };
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn text_arrives_as_it_was_in_fewer_bytes() {
    let echo = running().await;
    let proxy = serve(&balancer(&echo));
    let mut client = Raw::to(proxy.http).await;
    let plain = "content-type=text/plain";
    for (host, query, accepted, want) in [
        ("a.com", plain, "gzip, deflate, br, zstd", Some("br")),
        ("a.com", plain, "zstd", Some("zstd")),
        ("a.com", plain, "gzip", Some("gzip")),
        ("a.com", plain, "deflate", None),
        (
            "a.com",
            "content-type=application/json&status=500",
            "gzip",
            Some("gzip"),
        ),
        ("a.com", "content-type=image/png", "gzip", None),
        ("a.com", "content-type=text/event-stream", "gzip", None),
        ("a.com", "content-type=text/plain&length=1000", "gzip", None),
        (
            "a.com",
            "content-type=text/plain&content-encoding=identity",
            "gzip",
            None,
        ),
        (
            "a.com",
            "content-type=text/plain&cache-control=public,no-transform",
            "gzip",
            None,
        ),
        (
            "a.com",
            "content-type=text/plain&status=206&content-range=bytes+0-1/2",
            "gzip",
            None,
        ),
        ("a.com", "content-type=text/plain&repr-digest=a", "gzip", None),
        ("b.com", plain, "gzip", None),
    ] {
        let case = format!("{host} {query} {accepted}");
        let response = client.ask("GET", host, query, accepted).await;
        let head = response.headers().clone();
        let field = |name: &str| head.get(name).map(|value| value.to_str().unwrap());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let coded = field("content-encoding").filter(|coding| *coding != "identity");
        assert_eq!(coded, want, "{case}");
        let text = text();
        let whole = if query.contains("length=1000") {
            &text[..1_000]
        } else {
            &text
        };
        assert_eq!(unpacked(want, &body), whole, "{case}");
        if want.is_some() {
            assert!(body.len() * 3 < text.len(), "{case}: {}", body.len());
            assert_eq!(field("content-length"), None, "{case}");
        }
        let varies = want.is_some() || accepted == "deflate" || query.contains("status=206");
        assert_eq!(field("vary"), varies.then_some("accept-encoding"), "{case}");
    }
}

#[tokio::test]
async fn what_is_said_of_the_bytes_is_said_of_the_others() {
    let echo = running().await;
    let proxy = serve(&balancer(&echo));
    let mut client = Raw::to(proxy.http).await;
    for (tag, accepted, want) in [
        ("\"a\"", "gzip", "W/\"a\""),
        ("W/\"a\"", "gzip", "W/\"a\""),
        ("\"a\"", "identity", "\"a\""),
    ] {
        let query = format!(
            "content-type=text/plain&accept-ranges=bytes&etag={}",
            tag.replace('"', "%22")
        );
        let query = query.replace("%22", "'");
        let response = client.ask("GET", "a.com", &query, accepted).await;
        let got = response.headers()["etag"].to_str().unwrap().replace('\'', "\"");
        assert_eq!(got, want, "{tag} {accepted}");
        let ranges = response.headers().get("accept-ranges").is_some();
        assert_eq!(ranges, accepted == "identity", "{tag} {accepted}");
        response.into_body().collect().await.unwrap();
    }
}

#[tokio::test]
async fn the_answer_to_head_says_what_the_one_to_get_says() {
    let http1 = running().await;
    // hyper sends whatever it is given.
    async fn without_body(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let is_head = request.method() == hyper::Method::HEAD;
        let mut response = answer(request).await?;
        if is_head {
            let length = std::mem::take(response.body_mut()).size_hint().exact();
            let headers = response.headers_mut();
            headers.insert("content-length", length.unwrap().into());
        }
        Ok(response)
    }
    let http2 =
        Echo::running(|stream| Box::pin(crate::echo::converse(stream, true, service_fn(without_body)))).await;
    for (echo, version) in [(&http1, BackendVersion::Http1), (&http2, BackendVersion::Http2)] {
        let mut balancer = balancer(echo);
        for backend in balancer.backends.values_mut() {
            backend.protocol.version = version;
        }
        let page = FixedResponse::new(200, Some("text/plain".to_owned()), Some(text())).unwrap();
        let fixed = rule("a.com", "/fixed", Action::Fixed(page));
        let filters = balancer.rules[0].filters.clone();
        balancer.rules.insert(0, Rule { filters, ..fixed });
        let proxy = serve(&balancer);
        for (path, accepted, coded) in [
            (
                "/?content-type=text/plain&etag='a'&accept-ranges=bytes",
                "gzip",
                true,
            ),
            ("/?content-type=text/plain&etag=W/'a'&vary=origin", "br", true),
            ("/?content-type=text/plain&etag='a'", "identity", false),
            ("/?content-type=text/plain&length=1000", "gzip", false),
            ("/?content-type=image/png&etag='a'", "gzip", false),
            (
                "/?content-type=text/plain&cache-control=no-transform",
                "gzip",
                false,
            ),
            ("/fixed", "gzip", true),
            ("/fixed", "identity", false),
        ] {
            for speaks2 in [false, true] {
                let mut heads = Vec::new();
                for method in ["GET", "HEAD"] {
                    let mut client = match speaks2 {
                        false => Client::http1(proxy.http).await,
                        true => Client::http2(proxy.http).await,
                    };
                    let request = Request::builder()
                        .method(method)
                        .uri(format!("http://a.com{path}"))
                        .header("host", "a.com")
                        .header("accept-encoding", accepted)
                        .body(Sent::default());
                    let answer = client.send(request.unwrap()).await;
                    let answer = answer.unwrap_or_else(|error| panic!("{method} {path} {accepted}: {error}"));
                    assert_eq!(answer.body.is_empty(), method == "HEAD");
                    let mut head = answer.response.headers().clone();
                    for of_message in ["date", "transfer-encoding"] {
                        head.remove(of_message);
                    }
                    heads.push(head);
                }
                let case = format!("{version:?} {path} {accepted}, client of HTTP/2: {speaks2}");
                let [get, head] = &mut heads[..] else { panic!() };
                assert_eq!(get.contains_key("content-encoding"), coded, "{case}");
                // The length may be left out, and must not be another one.
                if !head.contains_key("content-length") {
                    get.remove("content-length");
                }
                assert_eq!(get, head, "{case}");
            }
        }
    }
}

/// Confirms what the query says that there is, whoever asks, and tells what was held.
async fn confirm(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let held = request.headers().get("if-none-match").cloned();
    let mut response = answer(request).await?;
    *response.status_mut() = hyper::StatusCode::NOT_MODIFIED;
    *response.body_mut() = Full::default();
    if let Some(held) = held {
        response.headers_mut().insert("x-held", held);
    }
    Ok(response)
}

#[tokio::test]
async fn what_a_client_holds_is_confirmed_by_the_tag_that_it_has() {
    let echo = Echo::answering(confirm).await;
    let proxy = serve(&balancer(&echo));
    let tag = "etag=%22a%22";
    let (strong, weak) = ("\"a\"", "W/\"a\"");
    for (query, held, accepted, want) in [
        // Backends compare weakly, so the weak tag is theirs. Source: RFC 9110 §13.1.2.
        (tag, weak, "gzip", weak),
        (tag, "W/\"b\", W/\"a\"", "gzip", weak),
        (tag, weak, "identity", weak),
        (tag, strong, "gzip", strong),
        (tag, strong, "identity", strong),
        // Of both, the one that is for this client.
        (tag, "W/\"a\", \"a\"", "gzip", weak),
        (tag, "W/\"a\", \"a\"", "identity", strong),
        (tag, "*", "gzip", weak),
        (tag, "*", "identity", strong),
        ("etag=W/%22a%22", weak, "gzip", weak),
    ] {
        for speaks2 in [false, true] {
            let mut client = match speaks2 {
                false => Client::http1(proxy.http).await,
                true => Client::http2(proxy.http).await,
            };
            let request = Request::get(format!("http://a.com/?{query}"))
                .header("host", "a.com")
                .header("accept-encoding", accepted)
                .header("if-none-match", held)
                .body(Sent::default());
            let answer = client.send(request.unwrap()).await.unwrap();
            let case = format!("{query} {held} {accepted}");
            assert_eq!(answer.status(), 304, "{case}");
            assert_eq!(answer.header("etag"), Some(want), "{case}");
            assert_eq!(answer.header("vary"), Some("accept-encoding"), "{case}");
            assert_eq!(answer.header("x-held"), Some(held), "{case}");
        }
    }
    // What is known to have been no text, or to be left alone, is confirmed as it is.
    for said in [
        "content-type=image/png",
        "content-encoding=gzip",
        "cache-control=no-transform",
    ] {
        let mut client = Raw::to(proxy.http).await;
        let response = client.ask("GET", "a.com", &format!("{tag}&{said}"), "gzip").await;
        assert_eq!(response.headers()["etag"], strong, "{said}");
        assert_eq!(response.headers().get("vary"), None, "{said}");
    }
}

/// Sends pieces of plain text as it is given them, to one client.
async fn hesitating() -> (Echo, mpsc::UnboundedSender<Bytes>) {
    let (pieces, from) = mpsc::unbounded_channel::<Bytes>();
    let from = Arc::new(Mutex::new(from));
    let echo = Echo::running(move |stream| {
        let from = from.clone();
        Box::pin(async move {
            let service = service_fn(move |_| {
                let from = from.clone();
                async move {
                    let stream = futures::stream::unfold(from, |from| async move {
                        let piece = from.lock().await.recv().await?;
                        Some((Ok::<_, Infallible>(Frame::data(piece)), from))
                    });
                    let response = Response::builder().header("content-type", "text/plain");
                    response.body(StreamBody::new(stream))
                }
            });
            let builder = hyper::server::conn::http1::Builder::new();
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        })
    })
    .await;
    (echo, pieces)
}

#[tokio::test]
async fn what_came_before_a_pause_is_not_held_back() {
    for coding in ["gzip", "br", "zstd"] {
        let (slow, pieces) = hesitating().await;
        let proxy = serve(&balancer(&slow));
        let mut client = Raw::to(proxy.http).await;
        let response = client.ask("GET", "a.com", "", coding).await;
        assert_eq!(response.headers()["content-encoding"], coding);
        let mut body = response.into_body();
        let mut all = Vec::new();
        for (piece, want) in [("first ", "first "), ("second", "first second")] {
            pieces.send(Bytes::from_static(piece.as_bytes())).unwrap();
            // A coder writes its head by itself; the text comes in what is flushed.
            while begun(coding, &all) != want {
                let frame = soon(want, body.frame()).await.unwrap().unwrap();
                all.extend_from_slice(frame.data_ref().unwrap());
            }
        }
        drop(pieces);
        while let Some(frame) = soon("the end", body.frame()).await {
            all.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        assert_eq!(unpacked(Some(coding), &all), "first second", "{coding}");
    }
}

/// What can be read of a text that has not ended.
fn begun(coding: &str, bytes: &[u8]) -> String {
    let mut out = Vec::new();
    let mut reader: Box<dyn std::io::Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 1)),
        _ => Box::new(zstd::stream::read::Decoder::new(bytes).unwrap()),
    };
    let mut byte = [0];
    while let Ok(1) = reader.read(&mut byte) {
        out.push(byte[0]);
    }
    String::from_utf8(out).unwrap()
}
