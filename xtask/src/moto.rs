//! An address in, the AWS API in memory at that address out.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::{files, python};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Port to listen on; 0 takes a free one, which the line on standard output names
    #[arg(long)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let python = python::ensure(&Cache::open()?)?;
    let mut moto = Command::new(python);
    moto.arg(files::root().join("tests/moto/corrected.py"));
    moto.args(["--host", &arguments.host, "--port", &arguments.port.to_string()]);
    // It takes this process's place, so that whoever ends the process that was started ends moto.
    Err(moto.exec()).context("starting moto")
}
