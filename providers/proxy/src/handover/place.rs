//! The path at which a process waits for its successor in, whether one does, and the lock that one successor alone holds out.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::geteuid;
use tracing::warn;

use super::wire::receive;
use super::{PATIENCE, PAUSE, Sockets, has_gone, is_trusted};

/// How often one that hangs up is asked again: of a process that ends, some sockets close before others.
const TRIES: usize = 20;

/// Where a successor takes a place.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    lock: File,
}

/// No other takes the place as long as this is held; the kernel releases it with the process.
#[derive(Debug)]
pub(super) struct Alone<'a>(&'a File);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // It is released with the file, too.
        let _ = self.0.unlock();
    }
}

impl Place {
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        // Of nobody else: whoever could open it could hold it.
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = open(PathBuf::from(beside), flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Self {
            path: path.to_owned(),
            lock: lock.into(),
        })
    }

    /// Waits until no other holds it; not for long where the place is somebody's.
    pub(super) fn alone(&self) -> io::Result<Alone<'_>> {
        loop {
            let mut left = PATIENCE;
            loop {
                match self.lock.try_lock() {
                    Ok(()) => return Ok(Alone(&self.lock)),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error),
                }
                if left.is_zero() {
                    break;
                }
                pause();
                left = left.saturating_sub(PAUSE);
            }
            if !self.is_vacant() {
                let why = format!(
                    "another successor takes the place, and has not ended it in {} s",
                    PATIENCE.as_secs()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            warn!(
                "another successor hangs while it takes the place, and nobody has it: this one waits, and serves"
            );
        }
    }

    /// Whether nobody serves who could be found here. What another user has put there counts for nothing.
    pub(super) fn is_vacant(&self) -> bool {
        match ask(&self.path) {
            Ok(asked) => asked.is_none(),
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

/// Asks whoever waits at this path for its sockets; none where nobody does.
pub(super) fn ask(path: &Path) -> io::Result<Option<(UnixStream, Sockets)>> {
    let mut left = TRIES;
    loop {
        let Some(stream) = connect(path)? else {
            return Ok(None);
        };
        match receive(&stream) {
            Ok(sockets) => return Ok(Some((stream, sockets))),
            // It ends, or has given its place to one that is found here soon.
            Err(error) if has_gone(&error) && left > 0 => {
                left -= 1;
                pause();
            }
            Err(error) => return Err(error),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells of it, and the workers have threads of their own"
)]
fn pause() {
    thread::sleep(PAUSE);
}

fn connect(path: &Path) -> io::Result<Option<UnixStream>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        // A path that is left over from a process that ended.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // What another user listens at would get our clients' requests.
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let user = stream.peer_cred()?.uid();
    if !is_trusted(user, geteuid().as_raw()) {
        let why = format!("a process of another user, {user}, waits there; its sockets are not taken");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Some(stream))
}
