//! The working tree in, a table of steps with their time and whether each passed out.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::setup::Tools;
use crate::{files, setup, step};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Runs only the tests whose name holds this text, and no other step than the set-up
    filter: Option<String>,
}

#[derive(Debug)]
enum Outcome {
    Passed,
    Failed(anyhow::Error),
    /// Only where a step needs a network that isn't there; the text says what that leaves open.
    NotChecked(&'static str),
}

#[derive(Debug, Default)]
struct Report {
    steps: Vec<(&'static str, Duration, Outcome)>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut report = Report::default();
    let mut tools = None;
    report.step("set-up", || {
        tools = Some(setup::run()?);
        Ok(Outcome::Passed)
    });
    if let Some(tools) = &tools {
        steps(&mut report, tools, arguments.filter.as_deref());
    }
    report.finish()
}

/// Each step runs whether or not the one before passed: one run shows everything that is wrong.
fn steps(report: &mut Report, tools: &Tools, filter: Option<&str>) {
    if filter.is_none() {
        report.step("format", || {
            passed(&mut step::cargo(&["fmt", "--all", "--check"]))
        });
        report.step("clippy, default features", || passed(&mut clippy(&[])));
        report.step("clippy, full", || passed(&mut clippy(&["--features", "full"])));
        report.step("licences, bans, sources", || {
            let checks = ["--all-features", "check", "bans", "licenses", "sources"];
            passed(Command::new(&tools.deny).current_dir(files::root()).args(checks))
        });
        report.step("advisories", || advisories(tools));
        report.step("corrections of moto", || {
            let discover = ["-m", "unittest", "discover", "--start-directory", "tests/moto"];
            passed(
                Command::new(&tools.python)
                    .current_dir(files::root())
                    .args(discover),
            )
        });
    }
    if filter.is_none() {
        // What a fresh clone builds lacks commands, and says so.
        report.step("commands, default features", || {
            passed(step::cargo(&["test", "--test", "commands"]).envs(tools.environment()))
        });
    }
    report.step("tests", || {
        if let Some(filter) = filter {
            matches_some(filter, tools)?;
        }
        passed(tests().args(filter).envs(tools.environment()))
    });
}

fn tests() -> Command {
    step::cargo(&["test", "--workspace", "--features", "full", "--no-fail-fast"])
}

/// A filter that matches nothing would pass: cargo runs no test then, and none fails.
fn matches_some(filter: &str, tools: &Tools) -> Result<()> {
    let mut list = tests();
    list.args([filter, "--", "--list"]).envs(tools.environment());
    let Some(listed) = step::output(&mut list) else {
        // It does not build; the tests' own run says why.
        return Ok(());
    };
    if !names_a_test(&listed) {
        bail!("no test's name holds {filter:?}");
    }
    Ok(())
}

/// Whether `--list` of libtest or of a program of our own says that there is a test.
fn names_a_test(listed: &str) -> bool {
    listed.lines().any(|line| line.ends_with(": test"))
}

fn clippy(features: &[&str]) -> Command {
    let mut cargo = step::cargo(&["clippy", "--workspace", "--all-targets"]);
    cargo.args(features).args(["--", "--deny", "warnings"]);
    cargo
}

/// RustSec's database is a Git repository: without a network there is nothing to check against.
fn advisories(tools: &Tools) -> Result<Outcome> {
    let mut fetch = Command::new(&tools.deny);
    if step::output(fetch.current_dir(files::root()).args(["fetch", "db"])).is_none() {
        return Ok(Outcome::NotChecked(
            "RustSec's database is out of reach: advisories were not checked",
        ));
    }
    let checks = ["--all-features", "check", "--disable-fetch", "advisories"];
    passed(Command::new(&tools.deny).current_dir(files::root()).args(checks))
}

fn passed(command: &mut Command) -> Result<Outcome> {
    step::run(command).map(|()| Outcome::Passed)
}

impl Report {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a step took is what is reported"
    )]
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<Outcome>) {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let outcome = work().unwrap_or_else(Outcome::Failed);
        if let Outcome::Failed(error) = &outcome {
            eprintln!("error: {error:#}");
        }
        self.steps.push((name, start.elapsed(), outcome));
    }

    fn finish(self) -> Result<()> {
        eprintln!();
        for (name, took, outcome) in &self.steps {
            let seconds = took.as_secs_f32();
            match outcome {
                Outcome::Passed => eprintln!("{name:26} {seconds:7.1} s  passed"),
                Outcome::Failed(error) => eprintln!("{name:26} {seconds:7.1} s  FAILED: {error}"),
                Outcome::NotChecked(why) => eprintln!("{name:26} {seconds:7.1} s  NOT CHECKED: {why}"),
            }
        }
        let failed = self
            .steps
            .iter()
            .filter(|(_, _, outcome)| matches!(outcome, Outcome::Failed(_)))
            .count();
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.steps.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_a_test_is_told_from_one_with() {
        for (listed, want) in [
            ("", false),
            ("0 tests, 0 benchmarks\n\n0 tests, 0 benchmarks\n", false),
            ("fast: benchmark\n\n0 tests, 1 benchmark\n", false),
            (
                "0 tests, 0 benchmarks\na::b: test\n\n1 test, 0 benchmarks\n",
                true,
            ),
        ] {
            assert_eq!(names_a_test(listed), want, "{listed:?}");
        }
    }
}
