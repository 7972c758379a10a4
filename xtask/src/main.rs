//! A task's name in, the work done or what is missing out.

mod bench;
mod cache;
mod chaos;
mod cluster;
mod corpus;
mod deny;
mod files;
mod fuzz;
mod go;
mod h2spec;
mod moto;
mod prerequisites;
mod python;
mod setup;
mod step;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything that is done to this repository by a machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100, after_long_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Builds and installs what the tests need: kube-apiserver, etcd, moto, an OpenID provider, h2spec, cargo-deny
    Setup,
    /// Sets up, formats, lints and runs every test: what CI does
    Test(test::Arguments),
    /// Runs the controller under changes, faults of AWS and kills; then all must be as asked for
    Chaos(chaos::Arguments),
    /// Records what nginx and HAProxy, which must be installed, make of providers/proxy/tests/corpus: two minutes
    Corpus,
    /// Tries messages that nobody wrote on the proxy's codec of HTTP/1.1; shows the smallest that breaks it
    Fuzz(fuzz::Arguments),
    /// Measures, and fails where a goal is missed
    Bench(bench::Arguments),
    /// Runs moto (the AWS API in memory) with our corrections, until it is interrupted
    Moto(moto::Arguments),
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                     everything, as CI does it
  cargo xtask test prefix_matches      set-up and only the tests whose name holds `prefix_matches`
  cargo xtask setup                    afterwards a plain `cargo test` finds what it needs
  cargo xtask chaos --seed 7           the same faults each time; prints how to have them again
  cargo xtask corpus                   after a case of the corpus is added; then read the difference
  cargo xtask fuzz --seconds 60        messages nobody wrote; prints the seed of one that fails
  cargo xtask bench aws-calls          calls of the AWS API, against goals
  cargo xtask bench proxy              processor time of the proxy, against HAProxy and others
  cargo xtask moto --port 5000         then: export AWS_ENDPOINT_URL=http://127.0.0.1:5000

What is built is kept in $XDG_CACHE_HOME/portcullis (or ~/.cache/portcullis) and used again.
Environment:
  KUBEBUILDER_ASSETS   a folder with kube-apiserver and etcd: nothing is built
  PORTCULLIS_H2SPEC    the program h2spec: it is not built
  PORTCULLIS_CACHE     keeps what is built there instead";

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => setup::run().map(|_| ()),
        Task::Test(arguments) => test::run(&arguments),
        Task::Chaos(arguments) => chaos::run(&arguments),
        Task::Corpus => corpus::run(),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Moto(arguments) => moto::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
