//! The name of a load of ours and what it is told in, the figures it says out.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

use super::peers::LOAD_CORE;

/// A load of benches/load that is under way; ended when this is dropped.
#[derive(Debug)]
pub(super) struct Own {
    child: Child,
    told: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Own {
    pub(super) fn start(program: &Path, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", LOAD_CORE]).arg(program).args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the load")?;
        let told = child.stdin.take().context("the load has no standard input")?;
        let said = child.stdout.take().context("the load has no standard output")?;
        let said = BufReader::new(said);
        Ok(Self { child, told, said })
    }

    /// Waits for a figure; those before it are passed over.
    pub(super) fn figure(&mut self, name: &str) -> Result<u64> {
        loop {
            let mut line = String::new();
            if self.said.read_line(&mut line)? == 0 {
                let status = self.child.wait()?;
                anyhow::bail!("the load ended before it said {name}: {status}");
            }
            if let Some(figure) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')) {
                return figure.trim().parse().context("a figure is no number");
            }
        }
    }

    /// To its next phase.
    pub(super) fn go_on(&mut self) -> Result<()> {
        self.told.write_all(b"\n").context("telling the load to go on")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many connections a proxy can have: 10,000, or what the machine's bound leaves. Each needs two files, and of those towards
/// targets a proxy of ours leaves others a sixteenth.
pub(super) fn many() -> Result<u32> {
    let limits = std::fs::read_to_string("/proc/self/limits").context("reading the limit of open files")?;
    most(&limits).context("no limit of open files in /proc/self/limits")
}

/// Source: `proc_pid_limits(5)`; the soft limit is the first.
fn most(limits: &str) -> Option<u32> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    let files = soft.parse().unwrap_or(u64::from(u32::MAX));
    let many = (files.saturating_sub(1_000) * 15 / 32).min(10_000);
    u32::try_from(many).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_kept() {
        let said = |soft: &str| {
            format!("Limit   Soft\nMax open files            {soft}                20000   files\n")
        };
        for (soft, want) in [
            ("20000", 8_906),
            ("unlimited", 10_000),
            ("1000000", 10_000),
            ("1024", 11),
        ] {
            assert_eq!(most(&said(soft)), Some(want), "{soft}");
        }
        assert_eq!(most(""), None);
    }
}
