//! A load of ours on one peer in, the figures of its row out.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};

use super::load;
use super::measure::{Turn, as_float, per_100_000, wait};
use super::own::{Own as Program, many};
use super::running::Running;
use super::scenario::{CERTIFICATES, Load, Own, Rate};

/// Streams on each connection.
const STREAMS: u32 = 10;
/// How long memory has to settle.
const SETTLES: Duration = Duration::from_millis(500);

pub(super) fn figures(turn: &Turn<'_>, own: Own, running: &mut Running) -> Result<Vec<f64>> {
    match own {
        Own::Resumed { rate } => cost(turn, running, &handshakes(turn, rate, "--resumed=90")),
        Own::Names { rate } => {
            let held = as_float(running.resident_kib()?) / 1_024.0;
            let names = format!("--names={CERTIFICATES}");
            let cost = cost(turn, running, &handshakes(turn, rate, &names))?;
            Ok(vec![held, cost[0]])
        }
        Own::Http3 { connections, rate } => {
            let numbers = [connections, rate / connections, turn.seconds];
            cost(
                turn,
                running,
                &arguments("http3", turn.peer.address(true), &numbers),
            )
        }
        Own::Streams { connections, rate } => {
            let each = rate / connections / STREAMS;
            let numbers = [connections, STREAMS, each, turn.seconds];
            cost(
                turn,
                running,
                &arguments("streams", turn.peer.address(true), &numbers),
            )
        }
        Own::WebSockets { rate } => websockets(turn, running, rate),
        Own::Uploads { count } => uploads(turn, running, count),
        Own::Slow => slow(turn, running),
        Own::Storm { count } => cost(
            turn,
            running,
            &arguments("storm", turn.peer.address(false), &[count]),
        ),
        Own::Changes { count } => changes(turn, running, count),
    }
}

fn arguments(name: &str, address: SocketAddr, numbers: &[u32]) -> Vec<String> {
    let words = [name.to_owned(), address.to_string()];
    words
        .into_iter()
        .chain(numbers.iter().map(u32::to_string))
        .collect()
}

fn handshakes(turn: &Turn<'_>, rate: u32, more: &str) -> Vec<String> {
    let mut arguments = arguments("handshakes", turn.peer.address(true), &[rate, turn.seconds]);
    arguments.push(more.to_owned());
    arguments
}

fn start(turn: &Turn<'_>, arguments: &[String]) -> Result<Program> {
    Program::start(turn.programs.load()?, arguments)
}

/// Of what comes once all is open: processor seconds of 100,000, and the time that one of a hundred exceeds, in milliseconds.
fn cost(turn: &Turn<'_>, running: &mut Running, arguments: &[String]) -> Result<Vec<f64>> {
    let mut load = start(turn, arguments)?;
    load.figure("open")?;
    let before = running.spent()?;
    load.go_on()?;
    let answered = load.figure("answered")?;
    let p99 = as_float(load.figure("p99_us")?) / 1_000.0;
    let spent = running.spent()? - before;
    Ok(vec![per_100_000(spent, answered), p99])
}

/// What each holds, and what messages cost.
fn websockets(turn: &Turn<'_>, running: &mut Running, rate: u32) -> Result<Vec<f64>> {
    let numbers = [many()?, rate, turn.seconds];
    let empty = running.resident_kib()?;
    let mut load = start(turn, &arguments("websockets", turn.peer.address(false), &numbers))?;
    let open = load.figure("open")?;
    wait(SETTLES);
    let grown = running.resident_kib()?.saturating_sub(empty);
    let before = running.spent()?;
    load.go_on()?;
    let answered = load.figure("answered")?;
    let spent = running.spent()? - before;
    load.go_on()?;
    let dropped = load.figure("dropped")?;
    if dropped > 0 {
        bail!("{dropped} WebSockets were dropped");
    }
    Ok(vec![
        as_float(grown) / as_float(open),
        per_100_000(spent, answered),
    ])
}

fn uploads(turn: &Turn<'_>, running: &mut Running, count: u32) -> Result<Vec<f64>> {
    let empty = running.resident_kib()?;
    let mut load = start(turn, &arguments("uploads", turn.peer.address(false), &[count]))?;
    load.figure("open")?;
    wait(Duration::from_secs(u64::from(turn.seconds)));
    let grown = running.resident_kib()?.saturating_sub(empty);
    load.go_on()?;
    load.figure("sent")?;
    Ok(vec![as_float(grown) / f64::from(count)])
}

/// How long others wait, and what each slow one holds.
fn slow(turn: &Turn<'_>, running: &mut Running) -> Result<Vec<f64>> {
    let empty = running.resident_kib()?;
    let mut load = start(turn, &arguments("slow", turn.peer.address(false), &[many()?]))?;
    let open = load.figure("open")?;
    wait(SETTLES);
    let grown = running.resident_kib()?.saturating_sub(empty);
    let healthy = Load::Kept {
        tls: false,
        http2: false,
        path: "/",
        connections: 50,
        rate: Rate::Of(3_000),
    };
    let answered = load::start(&healthy, false, turn.folder, turn.peer, turn.seconds)?.answered()?;
    Ok(vec![answered.p99, as_float(grown) / as_float(open)])
}

/// How much memory has grown by changes, and how many WebSockets they cost. Each change is another host, and is served
/// before the next is made.
fn changes(turn: &Turn<'_>, running: &mut Running, count: u32) -> Result<Vec<f64>> {
    let address = turn.peer.address(false);
    let mut load = start(turn, &arguments("websockets", address, &[many()?, 100, 1]))?;
    load.figure("open")?;
    load.go_on()?;
    load.figure("answered")?;
    let file = turn.folder.join("manifests/change.yaml");
    let mut grown_from = 0;
    for change in 0..=count {
        let ingress = format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: change, namespace: bench}}\nspec:\n  rules:\n    \
             - host: change-{change}.example.com\n      \
             http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: one, port: {{number: 80}}}}}}}}]}}\n"
        );
        fs::write(&file, ingress)?;
        running.serves(address, &format!("change-{change}.example.com"))?;
        if change == 0 {
            grown_from = running.resident_kib()?;
        }
    }
    let grown = running.resident_kib()?.saturating_sub(grown_from);
    load.go_on()?;
    let dropped = load.figure("dropped")?;
    Ok(vec![as_float(grown) / 1_024.0, as_float(dropped)])
}
