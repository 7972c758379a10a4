//! Several that ask for a proxy's place in, one that takes it out.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use portcullis_proxy::take_over;
use tempfile::TempDir;

use super::{ANY, Addresses, FOLDER, PATIENCE, Serving, logged};

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("web.yaml"), FOLDER.replace("PORT", "9")).unwrap();
    folder
}

pub(super) async fn start(folder: &Path, socket: &Path, at: Addresses) -> Serving {
    let (folder, socket) = (folder.to_owned(), socket.to_owned());
    let next = tokio::task::spawn_blocking(move || Serving::start(&folder, &socket, at, "2", "own"));
    next.await.unwrap()
}

#[tokio::test]
async fn who_asks_and_does_not_serve_keeps_no_successor_away() {
    let (folder, beside) = (folder(), tempfile::tempdir().unwrap());
    let socket = beside.path().join("portcullis.sock");
    let mut first = start(folder.path(), &socket, ANY).await;
    let silent: Vec<_> = (0..20).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let (_, slow) = take_over(&socket).unwrap().unwrap();
    let mut second = start(folder.path(), &socket, first.at).await;
    first.ended().await;
    // Too late: it is told, and the one that took the place keeps it.
    let told = slow.release(|| {}).unwrap_err().to_string();
    assert!(told.contains("another successor has taken the place"), "{told}");
    let third = start(folder.path(), &socket, first.at).await;
    second.ended().await;
    drop((silent, third));
    // Each that waited is found at the path, or nowhere.
    let mut left: Vec<_> = fs::read_dir(beside.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["portcullis.sock", "portcullis.sock.lock"]);
}

/// A process that is busy or stopped hears it late.
#[tokio::test]
async fn a_successor_that_gave_up_or_ended_has_taken_no_place() {
    let (folder, beside) = (folder(), tempfile::tempdir().unwrap());
    let socket = beside.path().join("portcullis.sock");
    let mut first = start(folder.path(), &socket, ANY).await;
    for said in [&[1][..], &[1, 4]] {
        let mut gone = UnixStream::connect(&socket).unwrap();
        gone.write_all(said).unwrap();
    }
    let (_, impatient) = take_over(&socket).unwrap().unwrap();
    let pid = first.process.id().to_string();
    signal(&pid, "-STOP");
    let told = tokio::task::spawn_blocking(|| impatient.release(|| {}).unwrap_err().to_string());
    let told = told.await.unwrap();
    assert!(told.contains("it has said nothing for 10 s"), "{told}");
    signal(&pid, "-CONT");
    let mut second = start(folder.path(), &socket, first.at).await;
    first.ended().await;
    second.process.kill().unwrap();
    let told = logged(&mut second.process);
    assert!(told.contains("took the place of the process before"), "{told}");
}

pub(super) fn signal(pid: &str, signal: &str) {
    let sent = Command::new("kill").args([signal, pid]).status().unwrap();
    assert!(sent.success());
}

/// As `/proc` has it: `S` sleeps, `T` is stopped, `Z` has ended.
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
fn until(pid: &str, wanted: char) {
    let start = Instant::now();
    let state = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
    };
    while state() != Some(wanted) {
        assert!(start.elapsed() < PATIENCE, "it is {:?}, not {wanted}", state());
        std::thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_successor_that_is_stopped_while_it_waits_goes_on_waiting() {
    let (folder, beside) = (folder(), tempfile::tempdir().unwrap());
    let socket = beside.path().join("portcullis.sock");
    // It says nothing.
    let predecessor = UnixListener::bind(&socket).unwrap();
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"])
        .arg("--manifests")
        .arg(folder.path())
        .arg("--hand-over")
        .arg(&socket)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = waiting.id().to_string();
    let (stream, _) = predecessor.accept().unwrap();
    until(&pid, 'S');
    signal(&pid, "-STOP");
    until(&pid, 'T');
    signal(&pid, "-CONT");
    until(&pid, 'S');
    assert!(waiting.try_wait().unwrap().is_none());
    // It ends: nobody has the place any more.
    drop((predecessor, stream));
    let mut ready = String::new();
    let mut out = BufReader::new(waiting.stdout.take().unwrap());
    out.read_line(&mut ready).unwrap();
    assert!(ready.starts_with("ready:"), "{ready}");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}
