//! The same bytes to both engines of HTTP/1.1 in, the same requests and answers, or refusals by both, out.

use portcullis_proxy::{Http1Engine, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::balancer::{KeyPairs, Proxy, all_to, backend, engine, serve, serve_by};
use crate::client::{raw, read_until, soon};
use crate::echo::Echo;

fn serve_each(echo: &Echo) -> [Proxy; 2] {
    let balancer = all_to(backend("one", &[echo.address]));
    [Http1Engine::Hyper, Http1Engine::Own]
        .map(|engine| serve_by(engine, &balancer, &KeyPairs::new(), ServerConfig::default()))
}

/// The statuses of all answers, and what the backend saw of each request.
fn told(answers: &str) -> (Vec<&str>, Vec<String>) {
    let statuses = answers.match_indices("HTTP/1.").filter_map(|(at, _)| {
        let line = answers[at..].lines().next()?;
        let (version, rest) = line.split_once(' ')?;
        // A status line, and no request line that the backend tells of.
        (version.len() == 8).then(|| rest.get(..3))?
    });
    let statuses = statuses.filter(|status| status.bytes().all(|b| b.is_ascii_digit()));
    // Who has sent the body already may be told to continue or not. Source: RFC 9110 §10.1.1.
    let statuses = statuses.filter(|status| *status != "100");
    let mut lines = answers.lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next() {
        if line.ends_with("one") && !line.contains(": ") {
            // Request line and fields, but for the ids that differ from request to request.
            let request = lines.by_ref().take_while(|line| !line.is_empty());
            let request =
                request.filter(|line| !line.starts_with("traceparent") && !line.starts_with("x-request-id"));
            let request: Vec<&str> = request
                .filter(|line| !line.starts_with("x-forwarded-port"))
                .collect();
            seen.push(request.join("\n"));
        }
    }
    (statuses.collect(), seen)
}

/// Ends each stream that is not refused before.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn both_engines_see_the_same_requests_or_refuse() {
    let echo = Echo::http1("one").await;
    let proxies = serve_each(&echo);
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    for (bytes, want) in [
        ("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5), &["200"; 6][..]),
        (
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            &["200"; 2],
        ),
        (
            "GET / HTTP/1.1\r\nhOST:a\r\nX-A:\t1 \r\nX-A: 2\r\n\r\n".to_owned(),
            &["200"; 2],
        ),
        (
            "GET http://a:81/x?y HTTP/1.1\r\nHost: a:81\r\n\r\n".to_owned(),
            &["200"; 2],
        ),
        (
            "GET http://a?y HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            &["200"; 2],
        ),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &["400"]),
        (
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            &["404", "200"],
        ),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &["200"; 2]),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &["200"; 2]),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), &["200"]),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned(),
            &["200"; 2],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n".to_owned(),
            &["200"],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n".to_owned(),
            &["200"],
        ),
        (post("Content-Length: 5\r\n", "he\nlo"), &["200"; 2]),
        (post("Content-Length: 0\r\n", ""), &["200"; 2]),
        (post("", ""), &["200"; 2]),
        (
            chunked("5;x=\"y\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n"),
            &["200"; 2],
        ),
        (chunked("0\r\n\r\n"), &["200"; 2]),
        (chunked("0\r\nX-Sum: 1\r\n\r\n"), &["200"; 2]),
        (
            post("Content-Length: 5\r\nExpect: 100-continue\r\n", "hello"),
            &["200"; 2],
        ),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_owned(), &["405"]),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), &["400"]),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &["400"]),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), &["400"]),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
            &["400"],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n".to_owned(),
            &["400"],
        ),
        ("GET / HTTP/1.1\r\nHost: a\nX-A: 1\r\n\r\n".to_owned(), &["400"]),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX-A: \0\r\n\r\n".to_owned(),
            &["400"],
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nX A: 1\r\n\r\n".to_owned(), &["400"]),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), &["400"]),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000)),
            &["431"],
        ),
        (
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
            &["400"],
        ),
        (
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            &["400"],
        ),
        (post("Transfer-Encoding: x\r\n", "0\r\n\r\n"), &["400"]),
        // Refused in the middle of a body: whatever the backend says of it, nothing after it is a request.
        (chunked("5\r\nhello!\r\n0\r\n\r\n"), &["400"]),
        (chunked("5\nhello\r\n0\r\n\r\n"), &["400"]),
        (chunked("x\r\n"), &["400"]),
        (chunked("0\r\nX-A: 1\r\n 2\r\n\r\n"), &["400"]),
    ] {
        let mut each = Vec::new();
        for proxy in &proxies {
            let answers = raw(proxy.http, format!("{bytes}{LAST}").as_bytes()).await;
            let (statuses, seen) = told(&answers);
            assert_eq!(statuses, want, "{bytes:?}: {answers}");
            each.push(seen);
        }
        let [hyper, own] = &each[..] else { unreachable!() };
        assert_eq!(own, hyper, "{bytes:?}");
        assert!(bytes.starts_with("HEAD") || own.len() == want.iter().filter(|s| **s == "200").count());
    }
}

#[tokio::test]
async fn the_engine_is_the_one_asked_for() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&all_to(backend("one", &[echo.address])));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    // The order in which fields are framed is each engine's own.
    let framed_last = head
        .trim_end()
        .lines()
        .last()
        .unwrap()
        .starts_with("content-length");
    assert_eq!(framed_last, engine() == Http1Engine::Own, "{head}");
}

#[tokio::test]
async fn a_request_waits_for_the_answer_before_it() {
    let (tell, mut come) = tokio::sync::mpsc::unbounded_channel();
    let held = Echo::running(move |mut stream| {
        let tell = tell.clone();
        Box::pin(async move {
            loop {
                let head = read_until(&mut stream, "\r\n\r\n").await;
                let (answer, answered) = tokio::sync::oneshot::channel::<()>();
                tell.send((head, answer)).unwrap();
                answered.await.unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await
                    .unwrap();
            }
        })
    })
    .await;
    let proxy = serve(&all_to(backend("b", &[held.address])));
    let mut stream = TcpStream::connect(proxy.http).await.unwrap();
    stream
        .write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT")
        .await
        .unwrap();
    let (head, answer) = soon("the first", come.recv()).await.unwrap();
    assert!(head.starts_with("GET /1 "), "{head}");
    assert!(
        come.try_recv().is_err(),
        "the second came before the first was answered"
    );
    answer.send(()).unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let (head, answer) = soon("the second", come.recv()).await.unwrap();
    assert!(head.starts_with("GET /2 "), "{head}");
    answer.send(()).unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    stream.write_all(b"TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let (head, answer) = soon("the third", come.recv()).await.unwrap();
    assert!(head.starts_with("GET /3 "), "{head}");
    answer.send(()).unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_reaches_the_client_and_ends_the_connection() {
    let early = Echo::running(|mut stream| {
        Box::pin(async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let said = match head.starts_with("POST /last ") {
                true => "Connection: close",
                false => "Content-Length: 2",
            };
            let answer = format!("HTTP/1.1 403 Forbidden\r\n{said}\r\n\r\nno");
            stream.write_all(answer.as_bytes()).await.unwrap();
            if said.starts_with("Content") {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        })
    })
    .await;
    let proxy = serve(&all_to(backend("b", &[early.address])));
    for (path, framing) in [
        ("/", "Content-Length: 1000"),
        ("/", "Transfer-Encoding: chunked"),
        ("/last", "Content-Length: 1000"),
        ("/last", "Transfer-Encoding: chunked"),
    ] {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = match path {
            "/" => read_until(&mut stream, "no").await,
            _ => read_until(&mut stream, "2\r\nno\r\n0\r\n\r\n").await,
        };
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        // hyper does not say it.
        let says = answer.contains("\r\nconnection: close\r\n");
        assert!(says || engine() == Http1Engine::Hyper, "{answer}");
        // Never taken for a request, whether the rest of the body comes or not.
        let _ = stream.write_all(LAST.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = soon("the end", stream.read_to_end(&mut rest)).await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

#[tokio::test]
async fn a_client_that_ends_its_direction_is_given_up() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let silent = Echo::running(move |mut stream| {
        let tell = tell.clone();
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            tell.send("come").unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
            tell.send("gone").unwrap();
        })
    })
    .await;
    let proxy = serve(&all_to(backend("b", &[silent.address])));
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
    ] {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(soon("the request", told.recv()).await, Some("come"));
        stream.shutdown().await.unwrap();
        assert_eq!(soon("the backend is let go", told.recv()).await, Some("gone"));
    }
}

#[tokio::test]
async fn what_comes_before_an_answer_breaks_off_reaches_the_client() {
    let breaking = Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
                .await
                .unwrap();
        })
    })
    .await;
    let proxy = serve(&all_to(backend("b", &[breaking.address])));
    let answer = raw(proxy.http, LAST.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhel"), "{answer}");
}
