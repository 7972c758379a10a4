//! A command in, its process out, which ends with the value that holds it and with the process that started it.

use std::fmt;
use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs the command after the folder and ends it when standard input closes, which happens even when the process
/// that holds the other end is killed. Then the folder goes too.
const KEEPER: &str = r#"
folder=$1; shift
exec 3<&0
"$@" 3<&- </dev/null >"$folder/log" 2>&1 & child=$!
( read -r line <&3; kill -KILL "$child" ) 2>/dev/null & watcher=$!
wait "$child"
echo "exit status $?" >"$folder/ended"
kill "$watcher" 2>/dev/null
read -r line <&3
rm -rf -- "$folder"
"#;

pub(crate) struct Process {
    name: &'static str,
    keeper: Child,
    folder: PathBuf,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("folder", &self.folder)
            .finish()
    }
}

/// A folder of its own for a process, removed when the process has ended.
pub(crate) fn folder(name: &str) -> PathBuf {
    let prefix = format!("portcullis-{name}-");
    tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir()
        .expect("a temporary folder can be made")
        .keep()
}

impl Process {
    /// Starts `program` with its standard output and error in the folder's `log`.
    pub(crate) fn start(
        name: &'static str,
        folder: PathBuf,
        program: &Path,
        arguments: &[String],
    ) -> Process {
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEPER, "sh"])
            .arg(&folder)
            .arg(program)
            .args(arguments);
        command
            .current_dir(&folder)
            // Of a group of its own: who ends the group of the tests would else end the keeper, and not what it keeps.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let keeper = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name} didn't start: {error}"));
        Process { name, keeper, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<String> {
        let status = fs::read_to_string(self.folder.join("ended")).ok()?;
        Some(format!(
            "{} ended with {}; its log ends:\n{}",
            self.name,
            status.trim(),
            self.end_of_log()
        ))
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of {} ends:\n{}", self.name, self.end_of_log());
        }
        drop(self.keeper.stdin.take());
        // It ends as soon as it has read the end of its input; there is nobody to tell if it doesn't.
        let _ended = self.keeper.wait();
    }
}

/// Asks again and again until `ready` has an answer or one of the processes ends. Panics after `limit`.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the wait for a condition, with its deadline"
)]
pub(crate) fn wait<T>(
    processes: &[&Process],
    limit: Duration,
    mut ready: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ready() {
            return Ok(answer);
        }
        if let Some(how) = processes.iter().find_map(|process| process.ended()) {
            return Err(how);
        }
        if start.elapsed() > limit {
            let logs = processes
                .iter()
                .map(|one| format!("--- {}:\n{}", one.name, one.end_of_log()));
            panic!(
                "not ready after {} s\n{}",
                limit.as_secs(),
                logs.collect::<Vec<_>>().join("\n")
            );
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// A port nobody listens on now; another process may take it before we do, so starting is tried again.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Process {
        let arguments = ["-c".to_owned(), "echo started $$; sleep 600".to_owned()];
        Process::start("sleeper", folder("sleeper"), Path::new("sh"), &arguments)
    }

    fn pid(process: &Process) -> String {
        let found = wait(&[process], Duration::from_secs(10), || {
            process
                .log()
                .lines()
                .find_map(|line| line.strip_prefix("started ").map(str::to_owned))
        });
        found.unwrap()
    }

    fn lives(pid: &str) -> bool {
        Command::new("kill")
            .args(["-0", pid])
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    #[test]
    fn a_process_ends_with_its_value_and_its_folder_goes() {
        let process = sleeper();
        let (pid, folder) = (pid(&process), process.folder().to_path_buf());
        assert!(lives(&pid), "{pid} runs");
        drop(process);
        assert!(!lives(&pid), "{pid} still runs");
        assert!(!folder.exists(), "{} is still there", folder.display());
    }

    /// Says to another process of this test that it is to hold a process until it is killed, and in which file to say
    /// which.
    const HOLDS: &str = "PORTCULLIS_TEST_HOLDS";

    #[test]
    fn a_process_ends_however_who_holds_it_is_killed() {
        if let Some(told) = std::env::var_os(HOLDS) {
            // As a kube-apiserver does, it does not end at a signal before all that it serves has.
            let stubborn = "trap '' TERM; echo started $$; while :; do sleep 1; done";
            let arguments = ["-c".to_owned(), stubborn.to_owned()];
            let process = Process::start("stubborn", folder("stubborn"), Path::new("sh"), &arguments);
            fs::write(
                &told,
                format!("{} {}\n", pid(&process), process.folder().display()),
            )
            .unwrap();
            loop {
                std::thread::park();
            }
        }
        for (what, signal, group) in [
            ("it is killed", "-KILL", ""),
            ("its group is told to end", "-TERM", "-"),
            ("its group is killed", "-KILL", "-"),
        ] {
            let told = tempfile::NamedTempFile::new().unwrap();
            let mut holder = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "process::tests::a_process_ends_however_who_holds_it_is_killed",
                ])
                .env(HOLDS, told.path())
                .process_group(0)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let within = Duration::from_secs(20);
            let said = wait(&[], within, || {
                let said = fs::read_to_string(told.path()).unwrap();
                said.strip_suffix('\n').map(str::to_owned)
            });
            let said = said.unwrap();
            let (pid, folder) = said.split_once(' ').unwrap();
            assert!(lives(pid), "{pid} runs");
            let whom = format!("{group}{}", holder.id());
            let killed = Command::new("kill").args([signal, "--", &whom]).status();
            assert!(killed.unwrap().success(), "{what}");
            holder.wait().unwrap();
            let gone = wait(&[], within, || {
                (!lives(pid) && !Path::new(folder).exists()).then_some(())
            });
            gone.unwrap_or_else(|how| panic!("{what}: {how}"));
        }
    }

    #[test]
    fn a_process_that_ends_early_is_noticed_with_its_log() {
        let arguments = ["-c".to_owned(), "echo broken; exit 3".to_owned()];
        let process = Process::start("broken", folder("broken"), Path::new("sh"), &arguments);
        let how = wait(&[&process], Duration::from_secs(10), || None::<()>).unwrap_err();
        assert!(how.contains("exit status 3") && how.contains("broken"), "{how}");
    }
}
