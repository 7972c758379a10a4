//! The name of a proxy in, the proxy running on its own core out.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::programs::Programs;
use super::running::Running;
use super::scenario::{HOST, Scenario, Setting};

/// The proxy has this core for itself; backend and load have the other.
const PROXY_CORE: &str = "0";
pub(super) const LOAD_CORE: &str = "1";

/// A proxy as it is measured: a program with a committed configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    HAProxy,
    /// With what it has for large bodies.
    HAProxyForBodies,
    Nginx,
    Envoy,
    Traefik,
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
            Self::Envoy => "Envoy",
            Self::Traefik => "Traefik",
            Self::Portcullis => "Portcullis, hyper",
            Self::PortcullisOwn => "Portcullis",
        }
    }

    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Portcullis | Self::PortcullisOwn)
    }

    /// For clear text; the next one is for TLS.
    fn port(self) -> u16 {
        match self {
            Self::Portcullis => 18_010,
            Self::PortcullisOwn => 18_012,
            Self::HAProxy => 18_020,
            Self::HAProxyForBodies => 18_022,
            Self::Nginx => 18_030,
            Self::Envoy => 18_040,
            Self::Traefik => 18_050,
        }
    }

    pub(super) fn address(self, tls: bool) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port() + u16::from(tls)))
    }

    fn command(self, program: &Path, setting: Setting, flags: &[String]) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", PROXY_CORE]).arg(program);
        match self {
            Self::HAProxy => command.args(["-db", "-f", "haproxy.cfg"]),
            Self::HAProxyForBodies => command.args(["-db", "-f", "haproxy-bodies.cfg"]),
            Self::Nginx => command.args(["-p", ".", "-c", "nginx.conf"]),
            Self::Envoy => command.args([
                "-c",
                "envoy.yaml",
                "--concurrency",
                "1",
                "--log-level",
                "error",
                "--disable-hot-restart",
            ]),
            Self::Traefik => command.arg("--configFile=traefik.yaml").env("GOMAXPROCS", "1"),
            Self::Portcullis => self
                .serve(&mut command, setting, flags)
                .args(["--http1-engine", "hyper"]),
            Self::PortcullisOwn => self
                .serve(&mut command, setting, flags)
                .args(["--http1-engine", "own"]),
        };
        command
    }

    fn serve<'a>(self, command: &'a mut Command, setting: Setting, flags: &[String]) -> &'a mut Command {
        let workers = if setting == Setting::Workers { "4" } else { "1" };
        command
            .args(["serve", "--manifests", "manifests", "--workers", workers])
            .args(["--http", &self.address(false).to_string()])
            .args(["--https", &self.address(true).to_string()])
            .args(flags);
        if setting == Setting::Log {
            let file = format!("access-{}.log", self.port());
            command.args(["--access-log", &file, "--access-log-format", "common"]);
        }
        command
    }

    /// Started in the folder, and listening.
    pub(super) fn start(
        self,
        folder: &Path,
        scenario: &Scenario,
        programs: &Programs,
        flags: &[String],
    ) -> Result<Running> {
        let program = programs.of(self).context("a peer that could not be had")?;
        let command = self.command(program, scenario.setting, flags);
        Running::is_free(self.address(false))?;
        let mut running = Running::start(command, self.name(), folder)?;
        running.serves(self.address(false), HOST)?;
        Ok(running)
    }
}

/// What is behind all of them, on the core of the load: nginx, or for what it cannot answer, a program of ours.
pub(super) fn backend(folder: &Path, scenario: &Scenario, programs: &Programs) -> Result<Running> {
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE]);
    if scenario.needs_own_backend() {
        command
            .arg(programs.load()?)
            .args(["backend", "18001", "18002", "18003"]);
    } else {
        command.args(["nginx", "-p", ".", "-c", "backend.conf"]);
    }
    let address = SocketAddr::from(([127, 0, 0, 1], 18_001));
    Running::is_free(address)?;
    let mut running = Running::start(command, "the backend", folder)?;
    running.listens(address)?;
    Ok(running)
}
