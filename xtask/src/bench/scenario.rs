//! What a row of the table is about: its load in, the requests that were answered out.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::peers::{LOAD_CORE, Peer};

/// The first is what the others are compared with.
pub(super) const ALL: [Peer; 4] = [Peer::HAProxy, Peer::Nginx, Peer::Portcullis, Peer::PortcullisOwn];
const BODIES: [Peer; 5] = [
    Peer::HAProxyForBodies,
    Peer::HAProxy,
    Peer::Nginx,
    Peer::Portcullis,
    Peer::PortcullisOwn,
];

/// The host of all requests, under which the certificate is found.
pub(super) const HOST: &str = "bench.example.com";
/// From the first request of an idle connection to its second. All are opened in a third of it.
pub(super) const IDLE_SECONDS: u32 = 9;
/// Paths beside `/`, in the scenario that has many.
pub(super) const ROUTES: usize = 5_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    /// Chosen on the command line.
    pub(super) name: &'static str,
    /// In the table.
    pub(super) title: &'static str,
    /// The ratio that is aimed at, if any.
    pub(super) goal: Option<f64>,
    pub(super) peers: &'static [Peer],
    pub(super) has_routes: bool,
    pub(super) load: Load,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// So many requests a second over so many connections.
    Kept {
        tls: bool,
        http2: bool,
        path: &'static str,
        connections: u32,
        rate: u32,
    },
    /// So many connections a second, with one request each.
    New { rate: u32 },
    /// So many connections that had one request and wait.
    Idle { tls: bool, connections: u32 },
}

const fn kept(tls: bool, http2: bool, connections: u32, rate: u32) -> Load {
    Load::Kept {
        tls,
        http2,
        path: "/",
        connections,
        rate,
    }
}

const fn row(name: &'static str, title: &'static str, goal: f64, load: Load) -> Scenario {
    Scenario {
        name,
        title,
        goal: Some(goal),
        peers: &ALL,
        has_routes: false,
        load,
    }
}

/// Rates are at most half of what the slowest of the peers can do on one core.
pub(super) const SCENARIOS: [Scenario; 8] = [
    row("http1", "HTTP/1.1, 1 KiB", 0.75, kept(false, false, 50, 6_000)),
    Scenario {
        has_routes: true,
        ..row("routes", "5,000 routes", 0.75, kept(false, false, 50, 6_000))
    },
    row("tls", "TLS, kept connections", 0.75, kept(true, false, 50, 6_000)),
    row(
        "handshake",
        "TLS, new connection per request",
        0.45,
        Load::New { rate: 300 },
    ),
    Scenario {
        peers: &BODIES,
        load: Load::Kept {
            tls: false,
            http2: false,
            path: "/large",
            connections: 10,
            rate: 200,
        },
        ..row("bodies", "1 MiB bodies", 0.8, kept(false, false, 0, 0))
    },
    row("http2", "HTTP/2 over TLS", 0.95, kept(true, true, 20, 6_000)),
    Scenario {
        goal: None,
        ..row(
            "idle",
            "idle connection, KiB",
            0.0,
            Load::Idle {
                tls: false,
                connections: 1_000,
            },
        )
    },
    Scenario {
        goal: None,
        ..row(
            "idle-tls",
            "idle TLS connection, KiB",
            0.0,
            Load::Idle {
                tls: true,
                connections: 1_000,
            },
        )
    },
];

impl Scenario {
    pub(super) fn is_of_memory(&self) -> bool {
        matches!(self.load, Load::Idle { .. })
    }

    /// The load on one peer for so many seconds.
    pub(super) fn start(&self, peer: Peer, seconds: u32) -> Result<Running> {
        let mut command = Command::new("taskset");
        command.args(["-c", LOAD_CORE, "h2load", "-t", "1"]);
        let (tls, path) = match self.load {
            Load::Kept {
                tls,
                http2,
                path,
                connections,
                rate,
            } => {
                // Rates are multiples of the number of connections.
                let each = rate / connections;
                let requests = rate * seconds;
                command.args(["-c", &connections.to_string(), "-n", &requests.to_string()]);
                command.args(["--rps", &each.to_string()]);
                if http2 {
                    command.args(["-m", "32"]);
                } else {
                    command.arg("--h1");
                }
                (tls, path)
            }
            Load::New { rate } => {
                let connections = (rate * seconds).to_string();
                command.args([
                    "--h1",
                    "-c",
                    &connections,
                    "-n",
                    &connections,
                    "-r",
                    &rate.to_string(),
                ]);
                (true, "/")
            }
            Load::Idle { tls, connections } => {
                let requests = (connections * 2).to_string();
                // Opened one after the other: many requests at once would be measured, too.
                command.args(["--h1", "-c", &connections.to_string(), "-n", &requests]);
                command.args(["-r", "20", "--rate-period", "50ms"]);
                command.args(["--rps", &format!("{:.4}", 1.0 / f64::from(IDLE_SECONDS))]);
                (tls, "/")
            }
        };
        command.arg(format!("--connect-to={}", peer.address(tls)));
        let scheme = if tls { "https" } else { "http" };
        if self.has_routes {
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
        Ok(Running(child))
    }
}

/// The path of a route.
pub(super) fn route(number: usize) -> String {
    format!("/area-{}/service-{number}/", number % 50)
}

/// Load that is under way.
#[derive(Debug)]
pub(super) struct Running(Child);

impl Running {
    /// Waits for its end; how many requests were answered.
    pub(super) fn answered(self) -> Result<u64> {
        let said = self.0.wait_with_output().context("waiting for h2load")?;
        let said = String::from_utf8_lossy(&said.stdout);
        answered(&said).with_context(|| format!("h2load said:\n{said}"))
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
}
