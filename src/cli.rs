//! Arguments in, an exit code out: one file per command.

#[cfg(all(feature = "cluster", feature = "aws"))]
mod adopt;
mod aws;
mod demo;
#[cfg(all(feature = "cluster", feature = "aws"))]
mod doctor;
mod ending;
mod folder;
mod further;
#[cfg(not(all(feature = "cluster", feature = "aws")))]
mod lacking;
mod log;
mod plan;
#[cfg(all(feature = "cluster", feature = "aws"))]
mod run;
mod serve;
mod served;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use portcullis_model::ObjectName;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; problems of single objects are reported and do not change it
  1  failed
  2  wrong usage, or a command this build was not given the features for";

/// An argument that names an object of a namespace.
fn object_name(text: &str) -> Result<ObjectName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ObjectName::new(namespace, name))
        }
        _ => Err(format!("{text:?} is not NAMESPACE/NAME")),
    }
}

/// Turns Ingress objects into layer 7 load balancers, in the cloud and without one.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = EXIT_CODES, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    log: log::LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what would be created or changed, from a folder of manifests
    Plan(plan::PlanArgs),
    /// Serve a folder of manifests through the proxy, with no cluster
    Serve(serve::ServeArgs),
    /// Show the whole way on an example: serve it, ask it, plan it
    Demo(demo::DemoArgs),
    /// Take over from the AWS Load Balancer Controller, or give back
    #[cfg(all(feature = "cluster", feature = "aws"))]
    Adopt(Box<adopt::AdoptArgs>),
    /// Take over from the AWS Load Balancer Controller, or give back
    #[cfg(not(all(feature = "cluster", feature = "aws")))]
    #[command(hide = true, disable_help_flag = true)]
    Adopt(lacking::Lacking),
    /// Find what nobody asks for any more
    #[cfg(all(feature = "cluster", feature = "aws"))]
    Doctor(Box<doctor::DoctorArgs>),
    /// Find what nobody asks for any more
    #[cfg(not(all(feature = "cluster", feature = "aws")))]
    #[command(hide = true, disable_help_flag = true)]
    Doctor(lacking::Lacking),
    /// Run the controller
    #[cfg(all(feature = "cluster", feature = "aws"))]
    Run(run::RunArgs),
    /// Run the controller
    #[cfg(not(all(feature = "cluster", feature = "aws")))]
    #[command(hide = true, disable_help_flag = true)]
    Run(lacking::Lacking),
}

impl Cli {
    /// The same, where its flags go together.
    fn checked(self) -> Result<Self, clap::Error> {
        if let Command::Serve(args) = &self.command {
            args.check()?;
        }
        Ok(self)
    }
}

/// How a command ended, short of failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Done,
    /// Said already; the code is all that is left.
    Failed,
    /// Not built.
    #[cfg(not(all(feature = "cluster", feature = "aws")))]
    Usage,
}

/// Reads the arguments of the process and does what they say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse().and_then(Cli::checked) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell if even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    cli.log.start();
    let ended = match cli.command {
        Command::Plan(args) => plan::plan(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Demo(args) => demo::demo(&args),
        #[cfg(all(feature = "cluster", feature = "aws"))]
        Command::Adopt(args) => adopt::adopt(&args),
        #[cfg(not(all(feature = "cluster", feature = "aws")))]
        Command::Adopt(_) => Ok(lacking::explain("adopt", "full")),
        #[cfg(all(feature = "cluster", feature = "aws"))]
        Command::Doctor(args) => doctor::doctor(&args),
        #[cfg(not(all(feature = "cluster", feature = "aws")))]
        Command::Doctor(_) => Ok(lacking::explain("doctor", "full")),
        #[cfg(all(feature = "cluster", feature = "aws"))]
        Command::Run(args) => run::run(&args),
        #[cfg(not(all(feature = "cluster", feature = "aws")))]
        Command::Run(_) => Ok(lacking::explain("run", "full")),
    };
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Failed) => ExitCode::from(1),
        #[cfg(not(all(feature = "cluster", feature = "aws")))]
        Ok(Ended::Usage) => ExitCode::from(2),
        Err(error) => {
            say_error(&error);
            ExitCode::from(1)
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a command that failed, also where logs are off"
)]
fn say_error(error: &anyhow::Error) {
    eprintln!("portcullis: {}", words(error));
}

/// An error and what caused it, each once: some libraries write the cause into the text of its effect.
fn words(error: &anyhow::Error) -> String {
    let mut words = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::words;

    #[test]
    fn a_cause_is_told_once() {
        for (effect, cause, told) in [
            (
                "cannot read a.yaml",
                "no such file",
                "cannot read a.yaml: no such file",
            ),
            (
                "cannot read: no such file",
                "no such file",
                "cannot read: no such file",
            ),
        ] {
            assert_eq!(words(&anyhow!(cause).context(effect)), told);
        }
    }
}
