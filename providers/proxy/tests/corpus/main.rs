//! A corpus of valid and hostile HTTP/1.1 in, what our engines, nginx and HAProxy make of it out, and where we may differ.
//!
//! Both of our engines are asked each time. What nginx and HAProxy say is recorded by `cargo xtask corpus`. The rule: a
//! message means the same to us as to them, or we refuse it; each exception stands beside its case, with the reason.
//! `PORTCULLIS_BLESS=1` writes what our engines say anew.
#![expect(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod asking;
#[path = "../serving/balancer.rs"]
#[expect(dead_code, reason = "shared with the tests of serving")]
mod balancer;
mod cases;
mod message;
mod peers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use asking::{Backend, SEEN};
use balancer::{KeyPairs, all_to, backend, serve_by};
use cases::{Case, Recording};
use message::TRAILER;
use portcullis_proxy::{Http1Engine, ServerConfig};

/// Ours, and that of hyper where it differs; the others as they are recorded.
const OURS: &str = "ours";
const HYPER: &str = "hyper";
const PEERS: [&str; 2] = ["nginx", "HAProxy"];

type Ask = fn(&Case, SocketAddr, &Backend) -> String;

#[test]
fn requests_mean_the_same_to_others_or_are_refused() {
    corpus(
        "requests.txt",
        "requests.recorded.txt",
        asking::requests,
        |ours, theirs| {
            let (seen, seen_by_them) = (seen(ours), seen(theirs));
            // Who refuses has seen what came before, at most.
            let is_refused = seen.len() < seen_by_them.len() && seen_by_them.starts_with(&seen);
            seen == seen_by_them || is_refused
        },
    );
}

#[test]
fn answers_mean_the_same_to_others_or_are_refused() {
    corpus(
        "answers.txt",
        "answers.recorded.txt",
        asking::answers,
        |ours, theirs| {
            let is_refused = ours.starts_with("502") || ours == asking::CUT;
            is_refused || without_trailers(ours) == without_trailers(theirs)
        },
    );
}

/// The requests of a verdict.
fn seen(verdict: &str) -> Vec<&str> {
    verdict.split(SEEN).skip(1).map(without_trailers).collect()
}

/// They may be dropped. Source: RFC 9110 §6.5.1.
fn without_trailers(text: &str) -> &str {
    text.split(TRAILER).next().unwrap_or_default()
}

fn corpus(file: &str, recorded: &str, ask: Ask, agree: impl Fn(&str, &str) -> bool) {
    let cases = cases::read(file);
    let mut now = ask_all(&cases, ask);
    let before = Recording::read(recorded);
    let is_set = |name| std::env::var_os(name).is_some();
    if is_set("PORTCULLIS_PEERS") {
        record_peers(&cases, &mut now, ask);
        now.write(recorded);
    } else {
        now.versions.clone_from(&before.versions);
        for (name, verdicts) in &mut now.cases {
            let theirs = PEERS
                .iter()
                .filter_map(|peer| Some((peer, before.of(name, peer)?)));
            verdicts.extend(theirs.map(|(peer, verdict)| ((*peer).to_owned(), verdict.to_owned())));
        }
        if is_set("PORTCULLIS_BLESS") {
            now.write(recorded);
        } else {
            let pairs = now.cases.iter().zip(&before.cases);
            let other: Vec<_> = pairs.filter(|(now, before)| now != before).collect();
            assert!(other.is_empty(), "not as in {recorded}: {other:#?}");
            // More on one side than on the other, or another order.
            assert_eq!(
                now, before,
                "{file} has other cases than {recorded}: cargo xtask corpus"
            );
        }
    }
    let complaints: Vec<String> = cases.iter().flat_map(|case| judged(case, &now, &agree)).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What is wrong with the verdicts on a case.
fn judged(case: &Case, recording: &Recording, agree: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let name = &case.name;
    let Some(ours) = recording.of(name, OURS) else {
        return vec![format!("[{name}] is not recorded")];
    };
    let mut complaints = Vec::new();
    // Written only where it differs.
    let hyper = recording.of(name, HYPER).unwrap_or(ours);
    for verdict in [ours, hyper] {
        if verdict.contains("unclear") || verdict.contains(asking::THEN) {
            complaints.push(format!("[{name}] passes on what is unclear: {verdict}"));
        }
    }
    let mut judge = |whose: &str, agrees: bool, theirs: &str| match (agrees, case.allowed.contains_key(whose))
    {
        (true, false) | (false, true) => {}
        (false, false) => complaints.push(format!(
            "[{name}] differs without a reason:\n  {OURS} {ours}\n  {whose} {theirs}"
        )),
        (true, true) => complaints.push(format!(
            "[{name}] has a reason to differ from {whose}, and does not: {ours}"
        )),
    };
    let mut hyper_agrees = agree(ours, hyper);
    for peer in PEERS {
        let Some(theirs) = recording.of(name, peer) else {
            judge(peer, false, "is not recorded: cargo xtask corpus");
            continue;
        };
        judge(peer, agree(ours, theirs), theirs);
        hyper_agrees &= agree(hyper, theirs) || case.allowed.contains_key(peer);
    }
    judge(HYPER, hyper_agrees, hyper);
    complaints
}

/// Asks both of our engines.
fn ask_all(cases: &[Case], ask: Ask) -> Recording {
    let (ours, hyper) = std::thread::scope(|scope| {
        let hyper = scope.spawn(|| ask_by(Http1Engine::Hyper, cases, ask));
        (ask_by(Http1Engine::Own, cases, ask), hyper.join().unwrap())
    });
    let cases = cases
        .iter()
        .zip(ours.into_iter().zip(hyper))
        .map(|(case, (ours, hyper))| {
            let mut verdicts = BTreeMap::new();
            if hyper != ours {
                verdicts.insert(HYPER.to_owned(), hyper);
            }
            verdicts.insert(OURS.to_owned(), ours);
            (case.name.clone(), verdicts)
        });
    Recording {
        versions: Vec::new(),
        cases: cases.collect(),
    }
}

fn ask_by(engine: Http1Engine, cases: &[Case], ask: Ask) -> Vec<String> {
    let recorder = Backend::start();
    let mut config = ServerConfig::default();
    // Whoever waits for the rest of a message is not to be waited for long.
    config.settings.timeouts.head = Duration::from_secs(1);
    config.settings.timeouts.body = Duration::from_secs(1);
    let balancer = all_to(backend("one", &[recorder.address]));
    let proxy = serve_by(engine, &balancer, &KeyPairs::new(), config);
    let verdicts = cases.iter().map(|case| ask(case, proxy.http, &recorder));
    let verdicts = verdicts.collect();
    assert_eq!(proxy.handle.totals().panics, 0);
    verdicts
}

/// Asks nginx and HAProxy, which must be installed.
fn record_peers(cases: &[Case], recording: &mut Recording, ask: Ask) {
    let recorder = Backend::start();
    for peer in peers::start(recorder.address) {
        recording.versions.push(peer.version.clone());
        for (case, (_, verdicts)) in cases.iter().zip(&mut recording.cases) {
            verdicts.insert(peer.name.to_owned(), ask(case, peer.address, &recorder));
        }
    }
}
