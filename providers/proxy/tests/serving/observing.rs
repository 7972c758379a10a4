//! Requests in; what the access log and backends are told about them out.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portcullis_proxy::{AccessLog, LogFormat, ServerConfig, Sink};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::balancer::{self, KeyPairs, Proxy, all_to, backend};
use crate::client::{Client, get, get_once};
use crate::echo::Echo;

/// A proxy whose access log lies in a file of its own.
struct Logged {
    proxy: Proxy,
    path: PathBuf,
}

fn log_of(targets: &[SocketAddr], format: LogFormat, one_in: u32, trusted: &[&str]) -> Logged {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("portcullis-access-{}-{number}", std::process::id()));
    let config = ServerConfig {
        trusted: trusted.iter().map(|range| range.parse().unwrap()).collect(),
        access_log: Some(AccessLog {
            sink: Sink::File(Arc::new(File::create(&path).unwrap())),
            format,
            one_in: NonZeroU32::new(one_in).unwrap(),
        }),
        ..ServerConfig::default()
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
