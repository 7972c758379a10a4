//! Bytes that try to mean two things in, refusals out.

use hyper::{Request, Response};
use portcullis_model::{Action, BackendVersion, FixedResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::balancer::{all_to, also, backend, empty, rule, serve, speaking};
use crate::client::{Client, Sent, get_once, raw, read_until, soon};
use crate::echo::Echo;

/// Ends every row: whatever the proxy makes of the first request, this asks it to close.
const LAST: &str = "GET /second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_refused() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-Many: 1\r\n".repeat(200));
    for (name, request, want) in [
        ("no Host", "GET / HTTP/1.1\r\n\r\n", "400"),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        (
            "the same Host twice",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "400",
        ),
        ("a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"),
        ("user information", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"),
        (
            "a host that is none",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "400",
        ),
        ("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "405"),
        ("a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (
            "another scheme",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "400",
        ),
        (
            "length, then chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "chunked, then length",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "two lengths that differ",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            "400",
        ),
        (
            "a list of lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nxx",
            "400",
        ),
        (
            "a signed length",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
            "400",
        ),
        (
            "a coding besides chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "a coding that is not chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
            "400",
        ),
        (
            "a coding that only looks like chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "chunked in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        (
            "a space before the colon",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
            "400",
        ),
        (
            "a folded line",
            "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n  2\r\n\r\n",
            "400",
        ),
        ("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", "400"),
        (
            "one bare line feed",
            "GET / HTTP/1.1\r\nHost: a\nX-A: 1\r\n\r\n",
            "400",
        ),
        (
            "a bare carriage return",
            "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\rX-B: 2\r\n\r\n",
            "400",
        ),
        ("a NUL", "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\0\r\n\r\n", "400"),
        ("no version", "GET /\r\n\r\n", "400"),
        ("another version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", "400"),
        ("no request", "\u{16}\u{3}\u{1}\u{2}\r\n\r\n", "400"),
        ("a long head", &many, "431"),
        ("many fields", &fields, "431"),
    ] {
        let answer = raw(proxy.http, format!("{request}{LAST}").as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(want), "{name}: {answer}");
        let is_whole = want != "400" && want != "431";
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(
            is_whole || answers == 1,
            "{name}: the connection was not closed after the refusal: {answer}"
        );
    }
    assert_eq!(proxy.handle.totals().panics, 0);
}

#[tokio::test]
async fn a_body_that_breaks_its_framing_ends_the_connection() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    for (name, body) in [
        ("no size", "\r\n"),
        ("a size that is no number", "x\r\nhello\r\n0\r\n\r\n"),
        ("a size with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a size too large", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("a chunk longer than its size", "3\r\nhello\r\n0\r\n\r\n"),
        ("a bare line feed after the size", "5\nhello\r\n0\r\n\r\n"),
        ("a bare line feed after the chunk", "5\r\nhello\n0\r\n\r\n"),
        ("a bare line feed in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = raw(proxy.http, format!("{head}{body}{LAST}").as_bytes()).await;
        assert!(!answer.contains(" 200 "), "{name}: {answer}");
        assert!(!answer.contains("/second"), "{name}: {answer}");
    }
}

#[tokio::test]
async fn odd_paths_are_matched_and_passed_on_as_they_came() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    for path in [
        "//",
        "/a//b",
        "/a/./b",
        "/a/../b",
        "/a%2fb",
        "/a%2F..%2Fb",
        "/%00",
        "/a?b?c",
        "/;a=b",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = raw(proxy.http, request.as_bytes()).await;
        let want = format!("\none\nGET {path} HTTP/1.1\n");
        assert!(answer.contains(&want), "{path}: {answer}");
    }
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let post = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    let put = "PUT /middle HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let answer = raw(proxy.http, format!("{post}{put}{LAST}").as_bytes()).await;
    let seen: Vec<&str> = answer
        .lines()
        .filter(|l| l.ends_with(" HTTP/1.1") && l.contains(" /"))
        .collect();
    assert_eq!(
        seen,
        [
            "POST /first HTTP/1.1",
            "PUT /middle HTTP/1.1",
            "GET /second HTTP/1.1"
        ],
        "{answer}"
    );
}

#[tokio::test]
async fn http_2_does_not_smuggle_what_http_1_may_not_hold() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let post = || Request::post("http://a.example.com/");
    for (name, request, want) in [
        ("another Host", post().header("host", "b.example.com"), Some(400)),
        ("the same Host", post().header("host", "A.example.com"), Some(200)),
        (
            "two Hosts",
            post()
                .header("host", "a.example.com")
                .header("host", "a.example.com"),
            Some(400),
        ),
        (
            "two lengths",
            post().header("content-length", "4").header("content-length", "4"),
            Some(400),
        ),
        // Malformed: the stream is reset. Source: RFC 9113 §8.2.2, §8.1.1.
        ("a length too short", post().header("content-length", "3"), None),
        ("a length too long", post().header("content-length", "5"), None),
    ] {
        let mut client = Client::http2(proxy.http).await;
        let answer = client.send(request.body(Sent::from("body")).unwrap()).await;
        match want {
            Some(status) => assert_eq!(answer.unwrap().status(), status, "{name}"),
            None => assert!(
                answer.is_err() || answer.is_ok_and(|a| a.status() >= 400),
                "{name}"
            ),
        }
        // The next request of anybody is whole.
        let after = crate::client::get_once(proxy.http, "a", "/next").await;
        assert_eq!(
            after.body.lines().nth(1),
            Some("GET /next HTTP/1.1"),
            "after {name}"
        );
    }
}

/// Longest head, in bytes, and most fields of one over HTTP/1.1.
const LONGEST: usize = 64 * 1024;
const MOST: usize = 100;

/// A head of so many fields and bytes that begins so.
fn head(begin: &str, fields: usize, bytes: usize) -> String {
    let begun = begin.matches("\r\n").count() - 1;
    let mut head = begin.to_owned();
    head.push_str(&"x: 1\r\n".repeat(fields - begun - 1));
    let left = bytes - head.len() - "y: \r\n\r\n".len();
    head.push_str(&format!("y: {}\r\n\r\n", "z".repeat(left)));
    head
}

#[tokio::test]
async fn a_head_has_its_bounds_to_the_byte_and_the_field() {
    let nobody = serve(&empty());
    for (fields, bytes, want) in [
        (MOST, 4_000, "404"),
        (MOST + 1, 4_000, "431"),
        (3, LONGEST, "404"),
        (3, LONGEST + 1, "431"),
        (MOST, LONGEST, "404"),
    ] {
        let request = head(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n",
            fields,
            bytes,
        );
        assert_eq!(request.len(), bytes);
        let answer = raw(nobody.http, request.as_bytes()).await;
        assert_eq!(answer.get(9..12), Some(want), "{fields} fields, {bytes} bytes");
        let begin = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n";
        let said = head(begin, fields, bytes) + "ok";
        let talkative = Echo::running(move |mut stream| {
            let said = said.clone();
            Box::pin(async move {
                read_until(&mut stream, "\r\n\r\n").await;
                // It may be cut off.
                let _ = stream.write_all(said.as_bytes()).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            })
        })
        .await;
        let proxy = serve(&all_to(backend("b", &[talkative.address])));
        let answer = raw(proxy.http, LAST.as_bytes()).await;
        let want = if want == "404" { "200" } else { "502" };
        assert_eq!(answer.get(9..12), Some(want), "{fields} fields, {bytes} bytes");
    }
    let long = || "x".repeat(LONGEST + 5_000);
    let mut client = Client::http2(nobody.http).await;
    let request = Request::get("http://a/").header("x-long", long());
    let answer = client.send(request.body(Sent::default()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 431);
    let echo = Echo::speaking(true, move |_| async move {
        let response = Response::builder().header("x-long", long());
        response.body(Sent::default())
    })
    .await;
    let talkative = speaking(backend("b", &[echo.address]), BackendVersion::Http2, false);
    let proxy = serve(&all_to(talkative));
    assert_eq!(get_once(proxy.http, "a", "/").await.status(), 502);
}

/// The rest is gone before the proxy sees it: rules and backends see the same.
#[tokio::test]
async fn of_a_path_of_http_2_what_stands_before_a_fragment_is_all() {
    let echo = Echo::http1("one").await;
    let elsewhere = FixedResponse::new(200, None, Some("elsewhere".into())).unwrap();
    let mut balancer = empty();
    balancer.rules.push(rule("*", "/", Action::Fixed(elsewhere)));
    also(&mut balancer, "/open", backend("one", &[echo.address]));
    let proxy = serve(&balancer);
    // In bytes, for no client's library would send it. Source: RFC 9113 §4.1, RFC 7541 appendix A.
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let text =
        |name: u8, value: &str| [&[name, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    for (path, want) in [
        ("/open#/../admin", Some("/open")),
        ("/open?a=1#b?c", Some("/open?a=1")),
        ("/admin#/open", None),
    ] {
        let fields = [&[0x82, 0x86][..], &text(1, "a"), &text(4, path)].concat();
        let request = [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            &frame(4, 0, 0, &[]),
            &frame(1, 5, 1, &fields),
        ]
        .concat();
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut came = Vec::new();
        let has = |came: &[u8], text: &str| came.windows(text.len()).any(|part| part == text.as_bytes());
        soon("an answer", async {
            while !has(&came, "x-forwarded-proto: http\n") && !has(&came, "elsewhere") {
                came.push(stream.read_u8().await.unwrap());
            }
        })
        .await;
        let line = want.map(|seen| format!("one\nGET {seen} HTTP/1.1\n"));
        assert_eq!(
            line.is_some_and(|line| has(&came, &line)),
            want.is_some(),
            "{path}"
        );
        assert_eq!(has(&came, "one\n"), want.is_some(), "{path}");
    }
}
