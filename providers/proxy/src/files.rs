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
