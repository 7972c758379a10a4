//! Signals and successors in; who is still served, and for how long, out.

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{ANSWERS, PATIENCE, Serving, get};

fn start(folder: &Path, more: &[&str]) -> Serving {
    fs::write(folder.join("web.yaml"), ANSWERS.replace("BODY", "web")).unwrap();
    Serving::start(folder, more)
}

fn signal(serving: &Serving, name: &str) {
    let pid = serving.process.id().to_string();
    let mut kill = Command::new("kill");
    assert!(kill.args([name, &pid]).status().unwrap().success(), "{name}");
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

/// Reads what is logged as far as this.
fn tells(log: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(
            log.read_line(&mut line).unwrap() > 0,
            "it ends before it says {text:?}"
        );
    }
}

#[test]
fn signals_that_ask_for_nothing_are_told_and_cut_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let mut serving = start(dir.path(), &[]);
    let mut log = BufReader::new(serving.process.stderr.take().unwrap());
    let mut open = TcpStream::connect(&serving.http).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    for (name, told) in [
        ("-HUP", "SIGHUP: the folder is followed anyway"),
        ("-USR1", "SIGUSR1: no log is opened anew"),
        ("-USR2", "SIGUSR2: a newer process takes over"),
    ] {
        signal(&serving, name);
        tells(&mut log, told);
        write!(open, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
        let mut buffer = [0; 4096];
        let count = open.read(&mut buffer).unwrap();
        let seen = String::from_utf8_lossy(&buffer[..count]).into_owned();
        assert!(seen.starts_with("HTTP/1.1 200"), "{name}: {seen}");
    }
    serving.signal();
    ends(&mut serving);
}

#[test]
fn a_signal_to_quit_drains_as_one_to_terminate() {
    let dir = tempfile::tempdir().unwrap();
    let mut serving = start(dir.path(), &["--admin", "127.0.0.1:0", "--drain-delay", "3600"]);
    signal(&serving, "-QUIT");
    is_not_ready(&serving);
    serving.answers("shop.example", "web");
    signal(&serving, "-QUIT");
    ends(&mut serving);
}

#[test]
fn who_does_not_want_to_wait_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let long = ["--drain-delay", "3600", "--admin", "127.0.0.1:0"];
    let mut serving = start(dir.path(), &long);
    signal(&serving, "-INT");
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
