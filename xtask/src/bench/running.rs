//! A command in, the program running until it is dropped out, with what it spends and holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How often a port is tried until a program listens there, every 50 ms: a minute, for those with much to read.
const TRIES: u32 = 1_200;

/// A program, until this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    name: &'static str,
}

impl Running {
    pub(super) fn start(mut command: Command, name: &'static str, folder: &Path) -> Result<Self> {
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

    /// Fails where another program is at a port already: that one would be measured.
    pub(super) fn is_free(address: SocketAddr) -> Result<()> {
        if TcpStream::connect(address).is_ok() {
            bail!("another program listens at {address}: another run of this benchmark?");
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "nothing but the port says when it listens"
    )]
    pub(super) fn listens(&mut self, address: SocketAddr) -> Result<()> {
        for _ in 0..TRIES {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended, {status}: its log is in target/bench-proxy", self.name);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!(
            "{} does not listen at {address}: its log is in target/bench-proxy",
            self.name
        )
    }

    /// Waits until a host is served: some listen before they know what to answer.
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing but an answer says when it serves"
    )]
    pub(super) fn serves(&mut self, address: SocketAddr, host: &str) -> Result<()> {
        self.listens(address)?;
        for _ in 0..TRIES {
            if is_served(address, host)? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!(
            "{} does not serve {host}: its log is in target/bench-proxy",
            self.name
        )
    }

    /// Processor time so far of the process and its children, user and system, in nanoseconds.
    pub(super) fn spent(&self) -> Result<u64> {
        Ok(self.threads()?.values().sum())
    }

    /// Processor time so far of each thread, in nanoseconds. /proc/PID/stat counts in steps of 10 ms, which is too coarse
    /// for one of several threads.
    pub(super) fn threads(&self) -> Result<BTreeMap<String, u64>> {
        let mut threads = BTreeMap::new();
        for id in self.tree() {
            for entry in fs::read_dir(format!("/proc/{id}/task"))? {
                let entry = entry?;
                // It may have ended since.
                if let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) {
                    threads.insert(
                        entry.file_name().to_string_lossy().into_owned(),
                        on_processor(&text)?,
                    );
                }
            }
        }
        Ok(threads)
    }

    /// Memory in KiB, its part of what is shared with others included.
    pub(super) fn resident_kib(&self) -> Result<u64> {
        self.tree()
            .iter()
            .map(|id| proportional(&fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?))
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

fn is_served(address: SocketAddr, host: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).context("waiting for an answer")?;
    Ok(start == *b"HTTP/1.1 200")
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed, nginx would leave its worker behind.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        for _ in 0..TRIES / 12 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause();
        }
        // One with clients that never end would wait for them.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "std has no way to wait for a child with a bound"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// The first of three numbers. Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/PID/schedstat.
fn on_processor(schedstat: &str) -> Result<u64> {
    let number = schedstat.split_whitespace().next();
    let number = number.context("schedstat is empty")?;
    number.parse().context("a time in schedstat is no number")
}

/// Source: `proc_pid_smaps(5)`, `Pss`.
fn proportional(rollup: &str) -> Result<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .context("no Pss in smaps_rollup")?
        .parse()
        .context("Pss is no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_read_as_the_kernel_writes_them() {
        assert_eq!(on_processor("590230 9639997 3\n").unwrap(), 590_230);
        assert!(on_processor("").is_err());
        let rollup = "00 [rollup]\nRss:  1234 kB\nPss: 7 kB\nPss_Dirty: 5 kB\n";
        assert_eq!(proportional(rollup).unwrap(), 7);
        assert!(proportional("").is_err());
    }
}
