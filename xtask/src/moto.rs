//! An address in, the AWS API in memory at that address out.

use std::process::Command;

use anyhow::Result;

use crate::cache::Cache;
use crate::{files, python, step};

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
    step::run(moto.args(["--host", &arguments.host, "--port", &arguments.port.to_string()]))
}
