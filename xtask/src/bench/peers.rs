//! The name of a proxy in, the proxy running on its own core out, with what it has spent.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The proxy has this core for itself; backend and load have the other.
const PROXY_CORE: &str = "0";
pub(super) const LOAD_CORE: &str = "1";

/// How often a port is tried until a program listens there, every 50 ms.
const TRIES: u32 = 200;

/// A proxy as it is measured: a program with a committed configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    HAProxy,
    /// With what it has for large bodies.
    HAProxyForBodies,
    Nginx,
    Portcullis,
    /// With the HTTP/1.1 engine of its own.
    PortcullisOwn,
}

impl Peer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HAProxy => "HAProxy",
            Self::HAProxyForBodies => "HAProxy, splice and 64 KiB",
            Self::Nginx => "nginx",
            Self::Portcullis => "Portcullis",
            Self::PortcullisOwn => "Portcullis, own engine",
        }
    }

    /// For clear text; the next one is for TLS.
    fn port(self) -> u16 {
        match self {
            Self::Portcullis => 18_010,
            Self::PortcullisOwn => 18_012,
            Self::HAProxy => 18_020,
            Self::HAProxyForBodies => 18_022,
            Self::Nginx => 18_030,
        }
    }

    pub(super) fn address(self, tls: bool) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port() + u16::from(tls)))
    }

    fn command(self, portcullis: &Path, flags: &[String]) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", PROXY_CORE]);
        match self {
            Self::HAProxy => command.args(["haproxy", "-db", "-f", "haproxy.cfg"]),
            Self::HAProxyForBodies => command.args(["haproxy", "-db", "-f", "haproxy-bodies.cfg"]),
            Self::Nginx => command.args(["nginx", "-p", ".", "-c", "nginx.conf"]),
            Self::Portcullis => self.serve(&mut command, portcullis, flags),
            Self::PortcullisOwn => self
                .serve(&mut command, portcullis, flags)
                .args(["--http1-engine", "own"]),
        };
        command
    }

    fn serve<'a>(self, command: &'a mut Command, portcullis: &Path, flags: &[String]) -> &'a mut Command {
        command
            .arg(portcullis)
            .args(["serve", "--manifests", "manifests", "--workers", "1"])
            .args(["--http", &self.address(false).to_string()])
            .args(["--https", &self.address(true).to_string()])
            .args(flags)
    }

    /// Started in the folder, and listening.
    pub(super) fn start(self, folder: &Path, portcullis: &Path, flags: &[String]) -> Result<Running> {
        let running = Running::start(self.command(portcullis, flags), self.name(), folder)?;
        running.listens(self.address(false))?;
        Ok(running)
    }
}

/// The nginx behind all of them, on the core of the load.
pub(super) fn backend(folder: &Path) -> Result<Running> {
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE, "nginx", "-p", ".", "-c", "backend.conf"]);
    let running = Running::start(command, "the backend", folder)?;
    running.listens(SocketAddr::from(([127, 0, 0, 1], 18_001)))?;
    Ok(running)
}

/// A program, until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    name: &'static str,
}

impl Running {
    fn start(mut command: Command, name: &'static str, folder: &Path) -> Result<Self> {
        let said = fs::File::create(folder.join(format!("{name}.log")))?;
        let child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { child, name })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "nothing but the port says when it listens"
    )]
    fn listens(&self, address: SocketAddr) -> Result<()> {
        for _ in 0..TRIES {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!(
            "{} does not listen at {address}: its log is in target/bench-proxy",
            self.name
        )
    }

    /// User and system time so far, in clock ticks, of the process and its children.
    pub(super) fn ticks(&self) -> Result<u64> {
        self.tree()
            .iter()
            .map(|id| ticks(&fs::read_to_string(format!("/proc/{id}/stat"))?))
            .sum()
    }

    /// Memory that is its own or shared with nobody else, in KiB.
    pub(super) fn resident_kib(&self) -> Result<u64> {
        self.tree()
            .iter()
            .map(|id| resident(&fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?))
            .sum()
    }

    fn tree(&self) -> Vec<u32> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        std::iter::once(id)
            .chain(children.split_whitespace().filter_map(|id| id.parse().ok()))
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed, nginx would leave its worker behind.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.child.wait();
    }
}

/// The 14th and 15th field; the 2nd may hold spaces. Source: proc_pid_stat(5).
fn ticks(stat: &str) -> Result<u64> {
    let (_, rest) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| -> Result<u64> {
        let text = fields.get(at).context("/proc/PID/stat is too short")?;
        text.parse().context("a time in /proc/PID/stat is no number")
    };
    Ok(field(11)? + field(12)?)
}

/// Source: proc_pid_smaps(5), `Rss`.
fn resident(rollup: &str) -> Result<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .context("no Rss in smaps_rollup")?
        .parse()
        .context("Rss is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read_as_the_kernel_writes_them() {
        let stat =
            "6033 (a b) c) R 6021 6021 22324 0 -1 4194304 106 0 0 0 17 25 0 0 20 0 1 0 2651596 2998272 413";
        assert_eq!(ticks(stat).unwrap(), 42);
        assert!(ticks("1 (x) R 1").is_err());
        assert_eq!(resident("00 [rollup]\nRss:  1234 kB\nPss: 7 kB\n").unwrap(), 1234);
        assert!(resident("").is_err());
    }
}
