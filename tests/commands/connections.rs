//! More clients than may be connected in; who is served, and who waits, out.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use crate::{ANSWERS, PATIENCE, Serving};

/// So many that each of the workers is given several.
const CLIENTS: usize = 64;
/// Of the process, and of four workers.
const MOST: usize = 4;

fn ask(stream: &mut TcpStream) {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .unwrap();
}

fn connected(serving: &Serving) -> TcpStream {
    let mut stream = TcpStream::connect(&serving.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    ask(&mut stream);
    stream
}

/// Reads an answer.
fn is_answered(stream: &mut TcpStream) {
    let mut answer = [0; 4096];
    let count = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Whether an answer has come.
fn has_come(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let has_come = matches!(stream.peek(&mut [0]), Ok(1));
    stream.set_nonblocking(false).unwrap();
    has_come
}

#[test]
fn the_bound_of_connections_is_that_of_all_workers_together() {
    for engine in ["own", "hyper"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("web.yaml"), ANSWERS.replace("BODY", "web")).unwrap();
        let most = MOST.to_string();
        let more = [
            "--workers",
            "4",
            "--max-connections",
            &most,
            "--http1-engine",
            engine,
        ];
        let serving = Serving::start(dir.path(), &more);
        let mut waiting: Vec<TcpStream> = (0..CLIENTS).map(|_| connected(&serving)).collect();
        for _ in 0..2 {
            let mut served = taken(&mut waiting, engine);
            // Each worker has one, and time to take more, were there room.
            for _ in 0..50 {
                for stream in &mut served {
                    is_answered(stream);
                    ask(stream);
                }
            }
            let more = waiting.iter_mut().map(has_come).filter(|come| *come).count();
            assert_eq!((served.len(), more), (MOST, 0), "{engine}");
            // Those leave, and make room for others.
        }
    }
}

/// As many as may be connected, once they are.
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
fn taken(waiting: &mut Vec<TcpStream>, engine: &str) -> Vec<TcpStream> {
    let start = Instant::now();
    let mut taken = Vec::new();
    while taken.len() < MOST {
        assert!(start.elapsed() < PATIENCE, "{engine}: {} are taken", taken.len());
        taken.extend(waiting.extract_if(.., has_come));
        std::thread::yield_now();
    }
    taken
}
