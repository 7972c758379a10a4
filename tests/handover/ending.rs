//! A process that ends, or is killed, while others ask for its place in, one that has it out.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Child;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::asking::{signal, start};
use super::{ANY, FOLDER, Load, PATIENCE, Serving, slow};

/// Enough that it takes a successor a while to translate them.
fn folder(backend: u16) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text = FOLDER.replace("PORT", &backend.to_string());
    fs::write(folder.path().join("web.yaml"), &text).unwrap();
    let ingress = text.split("---").next().unwrap();
    let others = (0..150).map(|number| {
        let named = ingress.replace("name: web", &format!("name: other-{number}"));
        named.replace("shop.example", &format!("other-{number}.example"))
    });
    let others: Vec<_> = others.collect();
    fs::write(folder.path().join("others.yaml"), others.join("---")).unwrap();
    folder
}

/// As `/proc` names those that a process has open.
fn sockets(process: u32) -> BTreeSet<String> {
    let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else {
        return BTreeSet::new();
    };
    let names = open.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("socket:")).collect()
}

/// Waits until it has the sockets of the one before; not where it has lost to another by then.
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
async fn until_it_holds(next: &mut Child, listening: &BTreeSet<String>) -> bool {
    let start = Instant::now();
    while sockets(next.id()).is_disjoint(listening) {
        assert!(start.elapsed() < PATIENCE, "it does not ask");
        if next.try_wait().unwrap().is_some() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

async fn ready(process: Child) -> Result<Serving, String> {
    tokio::task::spawn_blocking(|| Serving::ready(process))
        .await
        .unwrap()
}

#[tokio::test]
async fn no_request_fails_where_the_process_before_is_ended_while_the_next_one_starts() {
    let (backend, _backend) = slow().await;
    let (folder, beside) = (folder(backend.port()), tempfile::tempdir().unwrap());
    let socket = beside.path().join("portcullis.sock");
    let mut serving = start(folder.path(), &socket, ANY).await;
    let at = serving.at;
    let load = Load::new(at.http);
    let mut clients = JoinSet::new();
    for keeps in [true, false, false] {
        clients.spawn(load.clone().http1("/", 5, keeps));
        clients.spawn(load.clone().http1("/slow", 200, keeps));
    }
    clients.spawn(load.clone().http2("/", 5));
    for requests in [0, 1, 20, 100, 300] {
        let mut next = Serving::spawn(folder.path(), &socket, at, "2", "own");
        assert!(until_it_holds(&mut next, &sockets(serving.process.id())).await);
        let before = load.answered.load(Ordering::Relaxed);
        while load.answered.load(Ordering::Relaxed) < before + requests {
            assert!(clients.try_join_next().is_none(), "a client failed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        signal(&serving.process.id().to_string(), "-TERM");
        let next = ready(next)
            .await
            .unwrap_or_else(|told| panic!("after {requests}: {told}"));
        assert_eq!(next.at, at);
        serving.ended().await;
        serving = next;
    }
    load.done.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn of_several_that_ask_one_has_the_place_of_one_that_is_killed() {
    let (folder, beside) = (folder(9), tempfile::tempdir().unwrap());
    let socket = beside.path().join("portcullis.sock");
    let lock = File::create(beside.path().join("portcullis.sock.lock")).unwrap();
    let mut serving = start(folder.path(), &socket, ANY).await;
    let at = serving.at;
    for _ in 0..3 {
        // As long as another has this none of them takes the place, so all have asked the same process.
        lock.lock().unwrap();
        let spawn = || Serving::spawn(folder.path(), &socket, at, "2", "own");
        let mut next = [spawn(), spawn(), spawn()];
        let listening = sockets(serving.process.id());
        for next in &mut next {
            assert!(until_it_holds(next, &listening).await);
        }
        serving.process.kill().unwrap();
        serving.process.wait().unwrap();
        lock.unlock().unwrap();
        let mut asked: JoinSet<_> = next.into_iter().map(ready).collect();
        let mut serve = Vec::new();
        while let Some(next) = asked.join_next().await {
            match next.unwrap() {
                Ok(next) => serve.push(next),
                Err(told) => assert!(told.contains("another successor has taken the place"), "{told}"),
            }
        }
        serving = serve.pop().unwrap();
        assert!(serve.is_empty(), "several serve");
        assert!(serving.process.try_wait().unwrap().is_none(), "nobody serves");
    }
    // It is found at the path.
    let last = start(folder.path(), &socket, at).await;
    serving.ended().await;
    assert_eq!(last.at, at);
}

/// As the process before has it until it ends.
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
#[tokio::test]
async fn who_watches_is_answered_once_the_address_is_free() {
    let (folder, beside) = (folder(9), tempfile::tempdir().unwrap());
    let socket = beside.path().join("portcullis.sock");
    let mut serving = start(folder.path(), &socket, ANY).await;
    let had = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = had.local_addr().unwrap();
    let next = Serving::spawn_with(folder.path(), &socket, serving.at, "2", "own", admin);
    let next = ready(next).await.unwrap();
    serving.ended().await;
    drop(had);
    let start = Instant::now();
    while TcpStream::connect(admin).await.is_err() {
        assert!(start.elapsed() < PATIENCE, "nobody listens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(next);
}
