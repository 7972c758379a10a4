//! Requests in; what the access log and backends are told about them out.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_proxy::{AccessLog, Drained, LogFormat, ServerConfig, Sink, TrustedField};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::balancer::{self, KeyPairs, Proxy, all_to, backend};
use crate::client::{Client, Sent, get, get_once, raw, soon, until};
use crate::echo::Echo;
use crate::{bodies, windows};

/// A proxy whose access log lies in a file of its own.
struct Logged {
    proxy: Proxy,
    path: PathBuf,
}

fn log_of(targets: &[SocketAddr], format: LogFormat, one_in: u32, trusted: &[&str]) -> Logged {
    log_behind(targets, format, one_in, (trusted, TrustedField::default()))
}

/// The same behind load balancers that write this field.
fn log_behind(
    targets: &[SocketAddr],
    format: LogFormat,
    one_in: u32,
    (trusted, trusted_field): (&[&str], TrustedField),
) -> Logged {
    let mut config = ServerConfig {
        trusted: trusted.iter().map(|range| range.parse().unwrap()).collect(),
        ..ServerConfig::default()
    };
    config.settings.trusted_field = trusted_field;
    log_with(targets, format, one_in, config)
}

fn log_with(targets: &[SocketAddr], format: LogFormat, one_in: u32, config: ServerConfig) -> Logged {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("portcullis-access-{}-{number}", std::process::id()));
    let config = ServerConfig {
        access_log: Some(AccessLog {
            sink: Sink::File(Arc::new(File::create(&path).unwrap())),
            format,
            one_in: NonZeroU32::new(one_in).unwrap(),
        }),
        ..config
    };
    let proxy = balancer::serve_as(&all_to(backend("web", targets)), &KeyPairs::new(), config);
    Logged { proxy, path }
}

impl Logged {
    /// Ends the proxy, which writes what is left.
    async fn lines(self) -> Vec<String> {
        self.proxy.handle.drain(Duration::from_secs(5)).await.unwrap();
        let text = fs::read_to_string(&self.path).unwrap();
        fs::remove_file(&self.path).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn each_answer_is_a_line_that_says_who_asked_what_and_who_answered() {
    let echo = Echo::http1("web").await;
    let logged = log_of(&[echo.address], LogFormat::Json, 1, &[]);
    let mut request = get("shop.example.com", "/a?b=1");
    request
        .headers_mut()
        .insert("user-agent", "test \"1\"".parse().unwrap());
    let answer = Client::http1(logged.proxy.http)
        .await
        .send(request)
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let lines = logged.lines().await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    for (field, want) in [
        ("client", Value::from("127.0.0.1")),
        ("scheme", "http".into()),
        ("method", "GET".into()),
        ("host", "shop.example.com".into()),
        ("target", "/a?b=1".into()),
        ("protocol", "HTTP/1.1".into()),
        ("status", 200.into()),
        ("bytes", answer.body.len().into()),
        ("backend", "shop/web-web:80".into()),
        ("upstream", echo.address.to_string().into()),
        ("user_agent", "test \"1\"".into()),
        // What the backend was told.
        ("request_id", answer.seen("x-request-id")[0].into()),
        ("cut", Value::Null),
        ("error", Value::Null),
    ] {
        assert_eq!(line[field], want, "{field} of {line}");
    }
    let trace = line["trace_id"].as_str().unwrap();
    assert_eq!(answer.seen("traceparent")[0].split('-').nth(1), Some(trace));
    assert!(line["took_ms"].as_f64().unwrap() >= line["head_ms"].as_f64().unwrap());
}

#[tokio::test]
async fn a_failure_says_why_and_is_logged_whatever_is_drawn() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let logged = log_of(&[address], LogFormat::Json, u32::MAX, &[]);
    let answer = get_once(logged.proxy.http, "shop.example.com", "/").await;
    assert_eq!(answer.status(), 502);
    let lines = logged.lines().await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&line["status"], &line["bytes"]),
        (&502.into(), &answer.body.len().into())
    );
    assert_eq!(line["error"], "shop/web-web:80 takes no connection");
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_logged_and_counted() {
    let good = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let far = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(70_000));
    for (bad, status) in [
        ("GET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
        (&long, 431),
        (&far, 431),
    ] {
        let echo = Echo::http1("web").await;
        let logged = log_of(&[echo.address], LogFormat::Json, 1, &[]);
        let answers = raw(logged.proxy.http, format!("{good}{bad}").as_bytes()).await;
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{bad}: {answers}");
        let (_, last) = answers.rsplit_once("HTTP/1.1 ").unwrap();
        assert_eq!(last.get(..3), Some(&*status.to_string()), "{bad}: {answers}");
        let view = logged.proxy.handle.view();
        let lines = logged.lines().await;
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2, "{bad}: {lines:?}");
        for (field, want) in [
            ("client", Value::from("127.0.0.1")),
            ("scheme", "http".into()),
            ("method", "-".into()),
            ("host", "".into()),
            ("target", "-".into()),
            ("protocol", "-".into()),
            ("status", status.into()),
            ("bytes", 0.into()),
        ] {
            assert_eq!(lines[1][field], want, "{field} of {}", lines[1]);
        }
        assert!(lines[1]["error"].is_string(), "{}", lines[1]);
        let totals = view.totals();
        assert_eq!(
            (totals.by_class, totals.without_backend),
            ([0, 1, 0, 1, 0], 1),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn lines_that_cannot_be_written_are_counted() {
    let echo = Echo::http1("web").await;
    let full = File::options().append(true).open("/dev/full").unwrap();
    let config = ServerConfig {
        access_log: Some(AccessLog {
            sink: Sink::File(Arc::new(full)),
            format: LogFormat::Json,
            one_in: NonZeroU32::MIN,
        }),
        ..ServerConfig::default()
    };
    let balancer = all_to(backend("web", &[echo.address]));
    let proxy = balancer::serve_as(&balancer, &KeyPairs::new(), config);
    let mut client = Client::http1(proxy.http).await;
    for _ in 0..3 {
        assert_eq!(client.send(get("a", "/")).await.unwrap().status(), 200);
    }
    let view = proxy.handle.view();
    drop(client);
    proxy.handle.drain(Duration::from_secs(5)).await.unwrap();
    assert_eq!(view.totals().lines_lost, 3);
}

#[tokio::test]
async fn a_line_of_the_common_log_format_is_whole() {
    let echo = Echo::http1("web").await;
    let logged = log_of(&[echo.address], LogFormat::Common, 1, &[]);
    let mut request = get("shop.example.com", "/a?b=1");
    for (name, value) in [("user-agent", "test \"1\""), ("referer", "https://a.example/")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let mut client = Client::http1(logged.proxy.http).await;
    let answer = client.send(request).await.unwrap();
    let lines = logged.lines().await;
    let [line] = &lines[..] else {
        panic!("{lines:?}");
    };
    let (before, rest) = line.split_once('[').unwrap();
    let (time, after) = rest.split_once(']').unwrap();
    assert_eq!(before, "127.0.0.1 - - ");
    let shape = |letter: char| match letter {
        '0'..='9' => '0',
        'A'..='Z' | 'a'..='z' => 'a',
        other => other,
    };
    let shape: String = time.chars().map(shape).collect();
    assert_eq!(shape, "00/aaa/0000:00:00:00 +0000", "{time}");
    let bytes = answer.body.len();
    let want = format!(r#" "GET /a?b=1 HTTP/1.1" 200 {bytes} "https://a.example/" "test \"1\"""#);
    assert_eq!(after, want);
}

#[tokio::test]
async fn of_good_answers_a_share_is_drawn() {
    let echo = Echo::http1("web").await;
    let logged = log_of(&[echo.address], LogFormat::Common, 4, &[]);
    let mut client = Client::http1(logged.proxy.http).await;
    for _ in 0..400 {
        client.send(get("shop.example.com", "/")).await.unwrap();
    }
    let count = logged.lines().await.len();
    // Binomial, n = 400, p = 1/4: outside these bounds once in ten million runs.
    assert!((55..=150).contains(&count), "{count} of 400");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_told() {
    let halfway = Echo::running(|mut stream| {
        Box::pin(async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                .await;
        })
    })
    .await;
    let logged = log_of(&[halfway.address], LogFormat::Json, 1, &[]);
    let broken = Client::http1(logged.proxy.http).await.send(get("a", "/")).await;
    assert!(broken.is_err());
    let line: Value = serde_json::from_str(&logged.lines().await[0]).unwrap();
    assert_eq!(
        (&line["cut"], &line["bytes"]),
        (&true.into(), &4.into()),
        "{line}"
    );
    assert!(line["error"].is_string(), "{line}");
}

#[tokio::test]
async fn a_request_that_is_given_up_is_told_and_counted() {
    for is_http2 in [false, true] {
        let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
        let never = Echo::answering(move |_| {
            tell.send(()).unwrap();
            std::future::pending::<hyper::Result<hyper::Response<Sent>>>()
        })
        .await;
        let logged = log_of(&[never.address], LogFormat::Json, 1, &[]);
        let mut client = match is_http2 {
            true => Client::http2(logged.proxy.http).await,
            false => Client::http1(logged.proxy.http).await,
        };
        tokio::select! {
            answer = client.send(get("a", "/")) => panic!("an answer: {}", answer.is_ok()),
            asked = asked.recv() => asked.unwrap(),
        }
        drop(client);
        let view = logged.proxy.handle.view();
        until("it is given up", || view.totals().given_up == 1).await;
        assert_eq!(view.totals().requests(), 0, "nothing was answered");
        let line: Value = serde_json::from_str(&logged.lines().await[0]).unwrap();
        assert_eq!(
            (&line["status"], &line["error"], &line["backend"]),
            (
                &499.into(),
                &"the client gave the request up".into(),
                &"shop/web-web:80".into()
            ),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_request_that_the_end_of_the_proxy_cuts_off_is_told() {
    let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let never = Echo::answering(move |_| {
        tell.send(()).unwrap();
        std::future::pending::<hyper::Result<hyper::Response<Sent>>>()
    })
    .await;
    let logged = log_of(&[never.address], LogFormat::Json, 1, &[]);
    let mut client = TcpStream::connect(logged.proxy.http).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(request).await.unwrap();
    soon("the request", asked.recv()).await.unwrap();
    let view = logged.proxy.handle.view();
    let drained = logged.proxy.handle.drain(Duration::from_millis(20)).await;
    assert_eq!(drained.unwrap(), Drained::CutOff);
    let text = fs::read_to_string(&logged.path).unwrap();
    fs::remove_file(&logged.path).unwrap();
    let line: Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(
        (&line["status"], &line["error"]),
        (&0.into(), &"the proxy ended before the answer".into()),
        "{line}"
    );
    let totals = view.totals();
    assert_eq!((totals.given_up, totals.requests()), (0, 0));
    drop(client);
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_told() {
    let long = Echo::answering(bodies::of_length).await;
    for is_http2 in [false, true] {
        let mut config = ServerConfig::default();
        config.settings.timeouts.body = Duration::from_millis(200);
        let logged = log_with(&[long.address], LogFormat::Json, 1, config);
        let http = logged.proxy.http;
        let mut tasks = tokio::task::JoinSet::new();
        let (mut http1, mut http2) = (None, None);
        if is_http2 {
            let mut sender = windows::connect(http, 0, &mut tasks).await;
            http2 = Some((windows::ask(&mut sender, "/known?1000000").await, sender));
        } else {
            let stream = http1.insert(TcpStream::connect(http).await.unwrap());
            let request = b"GET /known?64000000 HTTP/1.1\r\nhost: a\r\n\r\n";
            stream.write_all(request).await.unwrap();
        }
        let view = logged.proxy.handle.view();
        until("it is cut off", || view.totals().untaken == 1).await;
        drop((http1, http2));
        let line: Value = serde_json::from_str(&logged.lines().await[0]).unwrap();
        assert_eq!(
            (&line["status"], &line["cut"], &line["error"]),
            (&200.into(), &true.into(), &"the client took nothing more".into()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_longer_than_it_may_be_is_told() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let rest = "HTTP/1.1 200 OK\r\n\r\n0123456789";
    for (text, status, cut, error) in [
        (
            length,
            502,
            Value::Null,
            "the answer of shop/web-web:80 is too long",
        ),
        (rest, 200, true.into(), "the body of the answer is too long"),
    ] {
        let long = Echo::running(move |mut stream| {
            Box::pin(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(text.as_bytes()).await;
            })
        })
        .await;
        let mut config = ServerConfig::default();
        config.settings.limits.answer_bytes = Some(9);
        let logged = log_with(&[long.address], LogFormat::Json, 1, config);
        let _ = Client::http1(logged.proxy.http).await.send(get("a", "/")).await;
        let line: Value = serde_json::from_str(&logged.lines().await[0]).unwrap();
        assert_eq!(
            (&line["status"], &line["cut"], &line["error"]),
            (&status.into(), &cut, &error.into()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_peer_is_believed_only_in_a_trusted_range() {
    for (trusted, client, seen) in [
        (
            &["127.0.0.0/8"][..],
            "198.51.100.1",
            "203.0.113.9, 198.51.100.1, 127.0.0.1",
        ),
        (&["10.0.0.0/8"], "127.0.0.1", "127.0.0.1"),
        (&[], "127.0.0.1", "127.0.0.1"),
    ] {
        let echo = Echo::http1("web").await;
        let logged = log_of(&[echo.address], LogFormat::Json, 1, trusted);
        let mut request = get("shop.example.com", "/");
        request
            .headers_mut()
            .insert("x-forwarded-for", "203.0.113.9, 198.51.100.1".parse().unwrap());
        let answer = Client::http1(logged.proxy.http)
            .await
            .send(request)
            .await
            .unwrap();
        assert_eq!(answer.seen("x-forwarded-for"), [seen], "{trusted:?}");
        let line: Value = serde_json::from_str(&logged.lines().await[0]).unwrap();
        assert_eq!(line["client"], client, "{trusted:?}");
    }
}

/// A load balancer that writes one of the fields may pass the others on as the client wrote them.
#[tokio::test]
async fn of_a_trusted_peer_the_one_field_that_it_writes_is_read() {
    let (ours, others) = (&["127.0.0.0/8"][..], &["10.0.0.0/8"][..]);
    let standard = (
        "forwarded",
        "for=192.0.2.1, for=\"[2001:db8::1]:443\";proto=https",
    );
    let scheme = ("x-forwarded-proto", "https");
    let list = ("x-forwarded-for", "198.51.100.1");
    for (trusted, field, given, client, spoken, seen) in [
        (
            ours,
            TrustedField::Forwarded,
            &[standard][..],
            "2001:db8::1",
            "https",
            "2001:db8::1",
        ),
        (
            ours,
            TrustedField::Forwarded,
            &[standard, list],
            "2001:db8::1",
            "https",
            "2001:db8::1",
        ),
        (
            ours,
            TrustedField::Forwarded,
            &[list, scheme],
            "127.0.0.1",
            "http",
            "127.0.0.1",
        ),
        (
            others,
            TrustedField::Forwarded,
            &[standard],
            "127.0.0.1",
            "http",
            "127.0.0.1",
        ),
        (
            ours,
            TrustedField::XForwarded,
            &[standard],
            "127.0.0.1",
            "http",
            "127.0.0.1",
        ),
        (
            ours,
            TrustedField::XForwarded,
            &[standard, list, scheme],
            "198.51.100.1",
            "https",
            "198.51.100.1, 127.0.0.1",
        ),
        (
            others,
            TrustedField::XForwarded,
            &[list, scheme],
            "127.0.0.1",
            "http",
            "127.0.0.1",
        ),
    ] {
        let echo = Echo::http1("web").await;
        let logged = log_behind(&[echo.address], LogFormat::Json, 1, (trusted, field));
        let mut request = get("shop.example.com", "/");
        for (name, value) in given {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let mut asking = Client::http1(logged.proxy.http).await;
        let answer = asking.send(request).await.unwrap();
        assert_eq!(answer.seen("x-forwarded-for"), [seen], "{field:?} {given:?}");
        assert_eq!(answer.seen("x-forwarded-proto"), [spoken], "{field:?} {given:?}");
        assert_eq!(answer.seen("forwarded"), [""; 0], "{field:?} {given:?}");
        let line: Value = serde_json::from_str(&logged.lines().await[0]).unwrap();
        assert_eq!(
            (&line["client"], &line["scheme"]),
            (&client.into(), &spoken.into()),
            "{field:?} {given:?}"
        );
    }
}

#[tokio::test]
async fn ids_of_a_request_are_kept_where_they_are_well_formed() {
    let echo = Echo::http1("web").await;
    let proxy = balancer::serve(&all_to(backend("web", &[echo.address])));
    let mut client = Client::http1(proxy.http).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let long = "x".repeat(500);
    for (name, value, is_kept) in [
        ("x-request-id", "a-1", true),
        ("x-request-id", "two words", false),
        ("x-request-id", long.as_str(), false),
        ("traceparent", trace, true),
        (
            "traceparent",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            false,
        ),
        ("traceparent", "nonsense", false),
    ] {
        let mut request = get("a", "/");
        request.headers_mut().insert(name, value.parse().unwrap());
        request.headers_mut().insert("tracestate", "a=1".parse().unwrap());
        let answer = client.send(request).await.unwrap();
        let ids = answer.seen("x-request-id");
        assert_eq!(ids.len(), 1, "{name}: {value}");
        let traces = answer.seen("traceparent");
        assert_eq!(
            (traces.len(), traces[0].len()),
            (1, trace.len()),
            "{name}: {value}"
        );
        let seen = answer.seen(name)[0];
        assert_eq!(seen == value, is_kept, "{name}: {value} became {seen}");
        // It belongs to the trace.
        let is_continued = name == "traceparent" && is_kept;
        assert_eq!(
            answer.seen("tracestate") == ["a=1"],
            is_continued,
            "{name}: {value}"
        );
    }
}
