//! Scenarios in, ratios to HAProxy on standard output and in benches/proxy.md out.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::peers::{self, Peer};
use super::report;
use super::scenario::{HOST, IDLE_SECONDS, ROUTES, SCENARIOS, Scenario, route};
use crate::{files, step};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these: http1, routes, tls, handshake, bodies, http2, idle, idle-tls
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<String>,
    /// How often every proxy has its turn, in alternating order
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of a turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// This program instead of one built from the checkout
    #[arg(long, value_name = "FILE")]
    portcullis: Option<PathBuf>,
    /// Flags of `portcullis serve`
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// What one scenario came to: for each peer, in its order, what each round cost.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) scenario: &'static Scenario,
    pub(super) rounds: Vec<Vec<f64>>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    prerequisites()?;
    let wanted = |scenario: &&Scenario| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == scenario.name)
    };
    if let Some(unknown) = arguments
        .only
        .iter()
        .find(|name| SCENARIOS.iter().all(|s| s.name != **name))
    {
        bail!("no scenario is called {unknown}");
    }
    let program = match &arguments.portcullis {
        Some(program) => std::path::absolute(program)?,
        None => {
            step::run(&mut step::cargo(&[
                "build",
                "--profile",
                "dist",
                "--quiet",
                "--bin",
                "portcullis",
            ]))?;
            files::root().join("target/dist/portcullis")
        }
    };
    let mut table = Vec::new();
    for scenario in SCENARIOS.iter().filter(wanted) {
        let measured = measure(scenario, arguments, &program)?;
        write!(std::io::stdout(), "{}", report::lines(&measured).concat())?;
        table.push(measured);
    }
    let is_whole = arguments.only.is_empty() && arguments.flags.is_empty() && arguments.portcullis.is_none();
    if is_whole {
        let path = files::root().join("benches/proxy.md");
        fs::write(&path, report::page(&table, arguments.rounds, arguments.seconds))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn measure(scenario: &'static Scenario, arguments: &Arguments, program: &Path) -> Result<Measured> {
    let folder = lay_out(scenario)?;
    let _backend = peers::backend(&folder)?;
    let mut rounds = vec![Vec::new(); scenario.peers.len()];
    // Each has its memory to itself, and nothing of an earlier round's.
    let start = |peer: Peer| peer.start(&folder, program, &arguments.flags);
    let mut standing = Vec::new();
    if !scenario.is_of_memory() {
        for peer in scenario.peers {
            let running = start(*peer)?;
            scenario.start(*peer, 1)?.answered()?;
            standing.push(running);
        }
    }
    // Memory hardly differs from turn to turn.
    let most = if scenario.is_of_memory() { 2 } else { u32::MAX };
    for round in 0..arguments.rounds.min(most) {
        let mut order: Vec<usize> = (0..scenario.peers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let peer = scenario.peers[at];
            let cost = match standing.get(at) {
                Some(running) => cpu_seconds(scenario, peer, running, arguments.seconds)?,
                None => idle_kib(scenario, peer, &start(peer)?)?,
            };
            eprintln!("{} {}: {cost:.2}", scenario.name, peer.name());
            rounds[at].push(cost);
        }
    }
    Ok(Measured { scenario, rounds })
}

/// Of 100,000 requests.
fn cpu_seconds(scenario: &Scenario, peer: Peer, running: &peers::Running, seconds: u32) -> Result<f64> {
    let before = running.ticks()?;
    let answered = scenario.start(peer, seconds)?.answered()?;
    let spent = running.ticks()? - before;
    // 100 ticks a second. Source: Linux on x86 and arm, USER_HZ.
    Ok(as_float(spent) / 100.0 / as_float(answered) * 100_000.0)
}

/// Of one connection.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is that nothing happens for a while"
)]
fn idle_kib(scenario: &Scenario, peer: Peer, running: &peers::Running) -> Result<f64> {
    let before = running.resident_kib()?;
    let load = scenario.start(peer, 1)?;
    std::thread::sleep(Duration::from_secs(u64::from(IDLE_SECONDS) / 2));
    let grown = running.resident_kib()?.saturating_sub(before);
    // Each connection has asked twice.
    Ok(as_float(grown) / as_float(load.answered()? / 2))
}

/// Counts are far below 2^52.
fn as_float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// The committed configurations, with what is made for them, in a folder of their own.
fn lay_out(scenario: &Scenario) -> Result<PathBuf> {
    let folder = files::root().join("target/bench-proxy");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("manifests"))?;
    fs::create_dir_all(folder.join("files"))?;
    let committed = files::root().join("benches/proxy");
    for name in ["backend.conf", "nginx.conf", "haproxy.cfg", "haproxy-bodies.cfg"] {
        fs::copy(committed.join(name), folder.join(name)).with_context(|| format!("copying {name}"))?;
    }
    fs::write(folder.join("files/small"), "x".repeat(1 << 10))?;
    fs::write(folder.join("files/large"), "x".repeat(1 << 20))?;

    let routes = if scenario.has_routes { ROUTES } else { 0 };
    let (mut nginx, mut haproxy, mut paths) = (String::new(), String::new(), String::new());
    for path in (0..routes).map(route) {
        writeln!(nginx, "location {path} {{ proxy_pass http://one; }}")?;
        writeln!(haproxy, "{path} one")?;
        writeln!(
            paths,
            "          - {{path: {path}, pathType: Prefix, backend: {{service: {{name: one, port: {{number: 80}}}}}}}}"
        )?;
    }
    fs::write(folder.join("nginx-routes.conf"), nginx)?;
    fs::write(folder.join("haproxy-routes.map"), haproxy)?;
    let (certificate, key) = certificate(&folder)?;
    fs::write(folder.join("both.pem"), format!("{certificate}{key}"))?;
    let manifest = fs::read_to_string(committed.join("portcullis.yaml"))?;
    // The committed file ends with the paths of its Ingress.
    let manifest = format!("{manifest}{paths}---\n{}", secret(&certificate, &key));
    fs::write(folder.join("manifests/bench.yaml"), manifest)?;
    Ok(folder)
}

/// An elliptic curve's, as certificate authorities advise.
fn certificate(folder: &Path) -> Result<(String, String)> {
    let mut openssl = Command::new("openssl");
    openssl
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "ec"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args([
        "-subj",
        "/CN=bench",
        "-addext",
        &format!("subjectAltName=DNS:{HOST}"),
    ]);
    openssl.args(["-keyout", "key.pem", "-out", "certificate.pem"]);
    step::output(&mut openssl).context("openssl could not make a certificate")?;
    let read = |name: &str| fs::read_to_string(folder.join(name));
    Ok((read("certificate.pem")?, read("key.pem")?))
}

fn secret(certificate: &str, key: &str) -> String {
    let indented = |pem: &str| -> String { pem.lines().map(|line| format!("    {line}\n")).collect() };
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: web-tls, namespace: bench}}\ntype: kubernetes.io/tls\n\
         stringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indented(certificate),
        indented(key)
    )
}

fn prerequisites() -> Result<()> {
    let missing: Vec<&str> = [
        ("haproxy", "-v", "haproxy: apt-get install haproxy"),
        ("nginx", "-v", "nginx: apt-get install nginx-light"),
        ("h2load", "--version", "h2load: apt-get install nghttp2-client"),
        ("openssl", "version", "openssl: apt-get install openssl"),
        ("taskset", "--version", "taskset: apt-get install util-linux"),
    ]
    .into_iter()
    .filter(|(program, flag, _)| step::output(Command::new(program).arg(flag)).is_none())
    .map(|(_, _, way)| way)
    .collect();
    if !missing.is_empty() {
        bail!(
            "missing (the folder /usr/sbin must be on the path):\n  - {}",
            missing.join("\n  - ")
        );
    }
    let cores = std::thread::available_parallelism()?.get();
    if cores < 2 {
        bail!("the proxy needs a core for itself, and this machine has {cores}");
    }
    Ok(())
}
