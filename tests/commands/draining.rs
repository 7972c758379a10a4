//! Signals and successors in; who is still served, and for how long, out.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{ANSWERS, PATIENCE, Serving, get};

fn start(folder: &Path, more: &[&str]) -> Serving {
    fs::write(folder.join("web.yaml"), ANSWERS.replace("BODY", "web")).unwrap();
    Serving::start(folder, more)
}

fn interrupt(serving: &Serving) {
    let pid = serving.process.id().to_string();
    let mut kill = Command::new("kill");
    assert!(kill.args(["-INT", &pid]).status().unwrap().success());
}

/// Waits for the end, which must be an orderly one.
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
fn ends(serving: &mut Serving) {
    let start = Instant::now();
    while serving.process.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = serving.process.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", serving.logged());
}

/// Waits until it says so.
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
fn is_not_ready(serving: &Serving) {
    let (_, admin) = serving.ready.trim().rsplit_once(" admin ").unwrap();
    let start = Instant::now();
    while !get(admin, "admin", "/readyz").starts_with("HTTP/1.1 503") {
        assert!(start.elapsed() < PATIENCE, "it is ready for ever");
        std::thread::yield_now();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
fn connections_are_taken_while_others_learn_that_it_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let mut serving = start(dir.path(), &["--admin", "127.0.0.1:0", "--drain-delay", "3"]);
    let start = Instant::now();
    serving.signal();
    is_not_ready(&serving);
    // What changes meanwhile is served, too.
    fs::write(dir.path().join("web.yaml"), ANSWERS.replace("BODY", "later")).unwrap();
    serving.answers("shop.example", "later");
    assert!(start.elapsed() < Duration::from_secs(3), "too late to tell");
    ends(&mut serving);
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
    assert!(TcpStream::connect(&serving.http).is_err());
}

#[test]
fn who_does_not_want_to_wait_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let long = ["--drain-delay", "3600", "--admin", "127.0.0.1:0"];
    let mut serving = start(dir.path(), &long);
    interrupt(&serving);
    ends(&mut serving);

    let mut serving = start(dir.path(), &long);
    serving.signal();
    is_not_ready(&serving);
    serving.signal();
    ends(&mut serving);

    let beside = tempfile::tempdir().unwrap();
    let socket = beside.path().join("portcullis.sock");
    let hand_over = ["--hand-over", socket.to_str().unwrap()];
    let long_and: Vec<&str> = long.into_iter().chain(hand_over).collect();
    let mut before = start(dir.path(), &long_and);
    let mut after = start(dir.path(), &hand_over);
    ends(&mut before);
    assert_eq!(after.http, before.http);
    // Also where the signal has come first.
    let mut before = start(dir.path(), &long_and);
    ends(&mut after);
    before.signal();
    is_not_ready(&before);
    let after = start(dir.path(), &hand_over);
    ends(&mut before);
    assert_eq!(after.http, before.http);
}
