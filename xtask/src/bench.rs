//! A benchmark's name in, what it measured on standard output, and a failure where a goal is missed, out.

mod layout;
mod load;
mod measure;
mod ours;
mod own;
mod packages;
mod peers;
mod programs;
mod proxy;
mod report;
mod rows;
mod running;
mod scenario;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

use crate::{setup, step};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Counts the calls of the AWS API that 20 load balancers, and a group of 50 Ingresses, cost: about five minutes
    AwsCalls {
        /// How figures are printed
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        /// Only this workload: own-20 or group-50
        #[arg(long, value_name = "WORKLOAD")]
        only: Option<String>,
        /// Flags of `portcullis run`, such as --aws-api-throttle
        #[arg(last = true, value_name = "FLAGS")]
        flags: Vec<String>,
    },
    /// Compares what requests cost the proxy, HAProxy, nginx, Envoy and Traefik: about 25 minutes; writes benches/proxy.md
    Proxy(proxy::Arguments),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::AwsCalls { output, only, flags } => aws_calls(*output, only.as_deref(), flags),
        What::Proxy(arguments) => proxy::run(arguments),
    }
}

fn aws_calls(output: Output, only: Option<&str>, flags: &[String]) -> Result<()> {
    let tools = setup::run()?;
    // As tests are built: the calls are the same, and the SDKs are built already.
    let mut cargo = step::cargo(&[
        "test",
        "--quiet",
        "--features",
        "full",
        "--bench",
        "aws_calls",
        "--",
    ]);
    if output == Output::Json {
        cargo.args(["-o", "json"]);
    }
    if let Some(only) = only {
        cargo.args(["--only", only]);
    }
    if !flags.is_empty() {
        cargo.arg("--").args(flags);
    }
    step::run(cargo.envs(tools.environment()))
}
