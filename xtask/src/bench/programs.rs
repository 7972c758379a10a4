//! The machine as it is in, the programs that are compared out, with what could not be had and why.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::packages;
use super::peers::Peer;
use crate::cache::Cache;
use crate::go::Module;
use crate::{files, python, step};

#[derive(Debug)]
pub(super) struct Programs {
    portcullis: PathBuf,
    /// Those that take part.
    peers: Vec<Peer>,
    envoy: Option<PathBuf>,
    traefik: Option<PathBuf>,
    /// A peer that takes no part, with the reason, each.
    pub(super) left_out: Vec<String>,
    load: Option<PathBuf>,
}

impl Programs {
    /// `own` is whether the loads of ours are needed, too. Installs what is missing; where Envoy or Traefik cannot be, that is told and it is left out.
    pub(super) fn ready(portcullis: Option<&Path>, peers: &[Peer], own: bool) -> Result<Self> {
        prerequisites()?;
        let mut left_out = Vec::new();
        let mut optional = |peer: Peer, ensure: fn(&Cache) -> Result<PathBuf>| {
            if !peers.contains(&peer) {
                return None;
            }
            match Cache::open().and_then(|cache| ensure(&cache)) {
                Ok(program) => Some(program),
                Err(error) => {
                    eprintln!("{} is left out: {error:#}", peer.name());
                    left_out.push(format!("{} ({error:#})", peer.name()));
                    None
                }
            }
        };
        let envoy = optional(Peer::Envoy, python::ensure_envoy);
        let traefik = optional(Peer::Traefik, traefik);
        Ok(Self {
            portcullis: match portcullis {
                Some(program) => std::path::absolute(program)?,
                None => built()?,
            },
            peers: peers.to_vec(),
            envoy,
            traefik,
            left_out,
            load: own.then(load).transpose()?,
        })
    }

    /// The loads of ours.
    pub(super) fn load(&self) -> Result<&Path> {
        self.load.as_deref().context("no row needs the loads of ours")
    }

    /// A program's name or file; `None` where it could not be had, or takes no part.
    pub(super) fn of(&self, peer: Peer) -> Option<&Path> {
        if !self.peers.contains(&peer) {
            return None;
        }
        match peer {
            Peer::HAProxy | Peer::HAProxyForBodies => Some(Path::new("haproxy")),
            Peer::Nginx => Some(Path::new("nginx")),
            Peer::Envoy => self.envoy.as_deref(),
            Peer::Traefik => self.traefik.as_deref(),
            Peer::Portcullis | Peer::PortcullisOwn => Some(&self.portcullis),
        }
    }
}

fn built() -> Result<PathBuf> {
    // As it ships, with HTTP/3.
    let build = [
        "build",
        "--profile",
        "dist",
        "--quiet",
        "--bin",
        "portcullis",
        "--features",
        "http3",
    ];
    step::run(&mut step::cargo(&build))?;
    Ok(files::root().join("target/dist/portcullis"))
}

/// As a first build is: what it costs is nobody's figure.
fn load() -> Result<PathBuf> {
    let build = ["build", "--release", "--quiet", "--package", "portcullis-load"];
    step::run(&mut step::cargo(&build))?;
    Ok(files::root().join("target/release/portcullis-load"))
}

/// The version in benches/proxy/traefik/go.mod.
fn traefik(cache: &Cache) -> Result<PathBuf> {
    let module = Module::at(Path::new("benches/proxy/traefik"))?;
    let version = module.version_of("github.com/traefik/traefik/v3")?;
    let folder = cache.folder(&format!("traefik-{version}"), |folder| {
        eprintln!("building Traefik {version}, once: about ten minutes on two cores");
        let flags = format!("-s -w -X github.com/traefik/traefik/v3/pkg/version.Version={version}");
        let package = "github.com/traefik/traefik/v3/cmd/traefik";
        module.build(&folder.join("traefik"), package, &flags)
    })?;
    Ok(folder.join("traefik"))
}

fn prerequisites() -> Result<()> {
    packages::ensure(&[
        ("haproxy", "-v", "haproxy"),
        ("nginx", "-v", "nginx-light"),
        ("h2load", "--version", "nghttp2-client"),
        ("openssl", "version", "openssl"),
        ("taskset", "--version", "util-linux"),
    ])?;
    let cores = std::thread::available_parallelism()?.get();
    if cores < 2 {
        bail!("the proxy needs a core for itself, and this machine has {cores}");
    }
    Ok(())
}
