//! The process's bound of open files in, raised as far as it may be out.
//!
//! Most machines start processes with a bound of 1,024, for programs that wait by `select`, and let each raise it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many files the process may have open from now on; none where nothing bounds it.
pub fn raise_open_files() -> Option<u64> {
    let bound = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: bound.maximum,
        ..bound
    };
    // Some systems take no more than another bound of theirs: then it stays.
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => bound.current,
    }
}

/// For the process itself: standard streams and the access log, the runtime and signals, the sockets of whoever watches and of
/// a successor, the watch of the folder and what is read of it.
const FOR_PROCESS: usize = 32;
/// For those who watch; as many as the admin port serves at once.
const FOR_ADMIN: usize = 64;
/// For each worker: its runtime, its listening sockets and those for a successor, those of HTTP/3; and clients beyond their
/// share, as it is rounded up, and as each listening socket may let in one more.
const FOR_WORKER: usize = 16;
/// For each further listener, of each worker: its socket, the one for a successor, and a client that it lets in beyond.
const FOR_LISTENER: usize = 3;

/// Who may have how many of the files that the process may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// For [`crate::Limits::connections`], over all workers.
    pub clients: usize,
    /// For [`crate::Limits::target_files`].
    pub targets: usize,
}

impl Shares {
    /// Of so many files, where so many clients are wanted, and so many listeners have sockets of their own. First comes a reserve for what must work though clients and targets
    /// take all they may, half of the files at most; of the rest clients get no more than half.
    pub fn of(files: Option<u64>, clients: usize, workers: usize, listeners: usize) -> Self {
        let Some(files) = files else {
            return Self {
                clients,
                targets: usize::MAX,
            };
        };
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let for_worker = FOR_LISTENER.saturating_mul(listeners).saturating_add(FOR_WORKER);
        let for_workers = for_worker.saturating_mul(workers);
        let reserve = (FOR_PROCESS + FOR_ADMIN).saturating_add(for_workers);
        let rest = files - reserve.min(files / 2);
        let clients = clients.min(rest / 2).max(1);
        Self {
            clients,
            targets: rest.saturating_sub(clients).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_shared_out_behind_a_reserve() {
        for (files, clients, workers, want) in [
            (Some(1024), 32_768, 2, (448, 448)),
            (Some(1024), 100, 2, (100, 796)),
            (Some(256), 32_768, 2, (64, 64)),
            (Some(64), 32_768, 2, (16, 16)),
            (Some(64), 32_768, 1_000, (16, 16)),
            (Some(1_048_576), 32_768, 2, (32_768, 1_015_680)),
            (Some(1), 32_768, 1, (1, 1)),
            (Some(0), 32_768, 1, (1, 1)),
            (Some(u64::MAX), 5, usize::MAX, (5, usize::MAX / 2 - 4)),
            (None, 5, 1, (5, usize::MAX)),
        ] {
            let seen = Shares::of(files, clients, workers, 0);
            assert_eq!(
                (seen.clients, seen.targets),
                want,
                "{files:?} for {clients} and {workers}"
            );
        }
        let seen = Shares::of(Some(1024), 32_768, 2, 8);
        assert_eq!((seen.clients, seen.targets), (424, 424));
    }
}
