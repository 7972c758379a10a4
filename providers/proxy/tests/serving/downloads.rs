//! Answers too long to be read at once in, every byte in its order out, whichever way they go.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use portcullis_proxy::{Http1Engine, Settings};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::balancer::{KeyPairs, Proxy, all_to, backend, engine, serve_with, with_certificates};
use crate::client::{read_until, soon, tls};
use crate::echo::Echo;
use crate::secure::key_pair;

/// Byte by byte what a body of any length has.
fn content(length: usize) -> Vec<u8> {
    // A prime, so that what is lost or doubled shows at once.
    let piece: Vec<u8> = (0..251).collect();
    let mut content = piece.repeat(length / piece.len() + 1);
    content.truncate(length);
    content
}

/// Answers `/length` with so many bytes, and `/length/sent` with that length and fewer bytes, before it closes.
async fn downloads() -> Echo {
    Echo::running(|mut stream| {
        Box::pin(async move {
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap();
                let mut numbers = path.split('/').skip(1).map(|number| number.parse().unwrap());
                let length: usize = numbers.next().unwrap();
                let sent = numbers.next();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                if stream.write_all(answer.as_bytes()).await.is_err()
                    || stream.write_all(&content(sent.unwrap_or(length))).await.is_err()
                    || sent.is_some()
                {
                    return;
                }
            }
        })
    })
    .await
}

/// With the certificate that it shows.
async fn serving(address: SocketAddr) -> (Proxy, CertificateDer<'static>) {
    let (secret, certificate) = key_pair("web", &["a.example.com"]);
    let balancer = with_certificates(all_to(backend("b", &[address])), &[("web", &["a.example.com"])]);
    let proxy = serve_with(&balancer, &KeyPairs::from([secret]), Settings::default(), 1);
    (proxy, certificate)
}

/// Asks, and checks head and body.
async fn download(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), length: usize) {
    ask(stream, &format!("/{length}")).await;
    let head = read_until(stream, "\r\n\r\n").await;
    assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
    let mut body = vec![0; length];
    soon("the body", stream.read_exact(&mut body)).await.unwrap();
    assert!(body == content(length), "{length}");
}

async fn ask(stream: &mut (impl AsyncWrite + Unpin), path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn answers_of_every_length_arrive_whole_one_after_the_other() {
    let downloads = downloads().await;
    let (proxy, certificate) = serving(downloads.address).await;
    let mut plain = TcpStream::connect(proxy.http).await.unwrap();
    let mut secure = tls(proxy.https, "a.example.com", &[certificate], &["http/1.1"])
        .await
        .unwrap();
    for length in [
        1, 65_535, 65_536, 65_537, 262_144, 1_048_579, 5_000_000, 70_000, 0,
    ] {
        download(&mut plain, length).await;
        download(&mut secure, length).await;
    }
    assert_eq!(downloads.connections.load(Ordering::SeqCst), 1, "one for all");
}

#[tokio::test]
async fn many_at_once_arrive_whole_though_others_leave_halfway() {
    let downloads = downloads().await;
    let (proxy, _) = serving(downloads.address).await;
    let one = async |leaves: bool| {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        if leaves {
            ask(&mut stream, "/8000000").await;
            read_until(&mut stream, "\r\n\r\n").await;
        } else {
            download(&mut stream, 1_000_003).await;
        }
    };
    for _ in 0..2 {
        join_all((0..150).map(|n| one(n % 3 == 0))).await;
    }
}

#[tokio::test]
async fn what_came_of_an_answer_that_breaks_off_arrives_and_no_more() {
    let downloads = downloads().await;
    let (proxy, _) = serving(downloads.address).await;
    for sent in [0, 1, 70_000, 999_999] {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        ask(&mut stream, &format!("/1000000/{sent}")).await;
        let mut answer = Vec::new();
        // Closed or reset: what counts is that no more comes.
        let _ = soon("the end", stream.read_to_end(&mut answer)).await;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let body = end.map_or(&[][..], |end| &answer[end + 4..]);
        assert!(content(sent).starts_with(body), "{} of {sent}", body.len());
        // hyper may throw away what it has not sent by then.
        if engine() == Http1Engine::Own {
            assert_eq!(body.len(), sent);
        }
    }
}

/// Each has a connection, and a pipe's two files while the kernel moves it.
#[tokio::test]
async fn few_answers_go_by_pipes_at_once() {
    const AT_ONCE: usize = 70;
    let begun = Echo::running(|mut stream| {
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1 << 20);
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&content(70_000)).await.unwrap();
            let _ = stream.read(&mut [0]).await;
        })
    })
    .await;
    let (proxy, _) = serving(begun.address).await;
    let mut open = Vec::new();
    for _ in 0..AT_ONCE {
        let mut stream = TcpStream::connect(proxy.http).await.unwrap();
        ask(&mut stream, "/").await;
        read_until(&mut stream, "\r\n\r\n").await;
        let mut body = vec![0; 70_000];
        soon("what has come", stream.read_exact(&mut body)).await.unwrap();
        assert!(body == content(70_000));
        open.push(stream);
    }
    let pipes = match engine() {
        Http1Engine::Own if cfg!(target_os = "linux") => 64,
        Http1Engine::Own | Http1Engine::Hyper => 0,
    };
    assert_eq!(proxy.handle.totals().target_files, AT_ONCE + 2 * pipes);
}
