//! A load and a proxy in, what h2load saw out.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::own::many;
use super::peers::{LOAD_CORE, Peer};
use super::scenario::{HOST, IDLE_SECONDS, Load, ROUTES, Rate, route};

/// A connection's requests come every 10 ms, counted from when it was open: opened at once, those of all would come together,
/// the more so the faster a proxy opens them. So they open one group after the other, in steps that put the groups evenly
/// into those 10 ms. Source: `rps_watcher` in h2load.cc of nghttp2.
const GROUPS: u32 = 20;
const APART: &str = "11ms";

/// Load that is under way.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) requests: u64,
    /// Of the times until answers ended, in milliseconds.
    pub(super) p99: f64,
}

/// The load on one peer for so many seconds, to all of the routes or to one path.
pub(super) fn start(load: &Load, routes: bool, folder: &Path, peer: Peer, seconds: u32) -> Result<Running> {
    let log = folder.join("h2load.tsv");
    // It would be appended to.
    let _ = std::fs::remove_file(&log);
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE, "h2load", "-t", "1"]);
    let (tls, path) = arguments(&mut command, load, seconds)?;
    command.arg(format!("--log-file={}", log.display()));
    command.arg(format!("--connect-to={}", peer.address(tls)));
    let scheme = if tls { "https" } else { "http" };
    if routes {
        command.args((0..ROUTES).map(|n| format!("{scheme}://{HOST}{}", route(n))));
    } else {
        command.arg(format!("{scheme}://{HOST}{path}"));
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting h2load")?;
    Ok(Running { child, log })
}

/// Whether it speaks TLS, and to what path.
fn arguments(command: &mut Command, load: &Load, seconds: u32) -> Result<(bool, &'static str)> {
    Ok(match *load {
        Load::Kept {
            tls,
            http2,
            path,
            connections,
            rate,
        } => {
            command.args(["-c", &connections.to_string()]);
            match rate {
                Rate::Of(rate) => {
                    // Rates are multiples of the number of connections.
                    let each = rate / connections;
                    let requests = rate * seconds;
                    command.args(["-n", &requests.to_string(), "--rps", &each.to_string()]);
                    let groups = connections.div_ceil(GROUPS);
                    command.args(["-r", &groups.to_string(), "--rate-period", APART]);
                }
                Rate::HalfOfMost => {
                    command.args(["-D", &seconds.to_string()]);
                }
            }
            if http2 {
                command.args(["-m", "32"]);
            } else {
                command.arg("--h1");
            }
            (tls, path)
        }
        Load::New { rate } => {
            let connections = (rate * seconds).to_string();
            let rate = rate.to_string();
            command.args(["--h1", "-c", &connections, "-n", &connections, "-r", &rate]);
            (true, "/")
        }
        Load::Idle { tls, connections } => {
            let connections = connections.min(many()?);
            let requests = (connections * 2).to_string();
            // Opened one after the other: many requests at once would be measured, too.
            command.args(["--h1", "-c", &connections.to_string(), "-n", &requests]);
            command.args(["-r", "20", "--rate-period", "25ms"]);
            command.args(["--rps", &format!("{:.4}", 1.0 / f64::from(IDLE_SECONDS))]);
            (tls, "/")
        }
        Load::None | Load::Own(_) => bail!("h2load has nothing to do"),
    })
}

/// Half of the requests a second that one peer answers where each connection asks again as soon as it is answered, or, over
/// HTTP/2, has 32 requests under way; a multiple of the connections.
pub(super) fn half_of_most(running: Running, connections: u32, seconds: u32) -> Result<u32> {
    let answered = u32::try_from(running.answered()?.requests)?;
    Ok((answered / seconds / 2 / connections).max(1) * connections)
}

impl Running {
    /// Waits for its end. Every request must have been answered 2xx.
    pub(super) fn answered(self) -> Result<Answered> {
        let said = self.child.wait_with_output().context("waiting for h2load")?;
        let said = String::from_utf8_lossy(&said.stdout);
        let requests = answered(&said).with_context(|| format!("h2load said:\n{said}"))?;
        let log = std::fs::read_to_string(&self.log).context("reading what h2load logged")?;
        let p99 = p99(&log)?;
        Ok(Answered { requests, p99 })
    }
}

/// `requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout`, of which all must succeed.
fn answered(said: &str) -> Result<u64> {
    let line = said.lines().find_map(|line| line.strip_prefix("requests: "));
    let line = line.context("no count of requests")?;
    let count = |name: &str| -> Result<u64> {
        let mut parts = line.split(", ");
        let number = parts.find_map(|part| part.strip_suffix(name));
        number
            .context("a count is missing")?
            .trim()
            .parse()
            .context("a count is no number")
    };
    let (total, succeeded) = (count("total")?, count("succeeded")?);
    if succeeded != total {
        bail!("{succeeded} of {total} requests succeeded");
    }
    let codes = said.lines().find_map(|line| line.strip_prefix("status codes: "));
    if codes.and_then(|line| line.split(" 2xx").next()) != Some(&*total.to_string()) {
        bail!("not all answers were 2xx");
    }
    Ok(total)
}

/// In milliseconds. A line has the time of the start, the status, and the microseconds until the end. Source: h2load(1).
fn p99(log: &str) -> Result<f64> {
    let mut times = log
        .lines()
        .map(|line| line.split('\t').nth(2)?.parse::<u32>().ok())
        .collect::<Option<Vec<u32>>>()
        .context("a line of h2load's log cannot be read")?;
    times.sort_unstable();
    let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
    let time = times.get(at).context("h2load's log is empty")?;
    Ok(f64::from(*time) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_must_succeed() {
        let said = |succeeded: u32, ok: u32| {
            format!(
                "finished in 1s\nrequests: 9 total, 9 started, 9 done, {succeeded} succeeded, 0 failed, 0 errored, 0 timeout\n\
                 status codes: {ok} 2xx, 0 3xx, 0 4xx, 0 5xx\n"
            )
        };
        assert_eq!(answered(&said(9, 9)).unwrap(), 9);
        assert!(answered(&said(8, 8)).is_err());
        assert!(answered(&said(9, 8)).is_err());
        assert!(answered("").is_err());
    }

    #[test]
    fn one_of_a_hundred_is_slower_than_p99() {
        let log: String = (1..=200).rev().map(|n| format!("170\t200\t{n}000\n")).collect();
        assert_eq!(p99(&log).unwrap().to_string(), "198");
        assert_eq!(p99("1\t200\t1500\n").unwrap().to_string(), "1.5");
        assert!(p99("").is_err());
        assert!(p99("1\t200\n").is_err());
    }
}
