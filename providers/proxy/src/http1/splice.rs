//! What has come at a backend's socket in, sent at a client's out, through a pipe of the kernel: the bytes of a long body
//! never come into our memory.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::places::{Place, Places};

/// With less of a body to come, in bytes, a pipe is not worth its calls.
pub(super) const LEAST: u64 = 64 * 1024;
/// Most that a pipe holds, in bytes.
const ROOM: usize = 256 * 1024;
/// Pipes that a worker uses at once: what they hold is the kernel's memory, which nobody counts as ours. Bodies beyond are
/// copied.
const MOST: usize = 64;
/// Pipes that a worker keeps for the next bodies.
const SPARE: usize = 16;

thread_local! {
    static SPARES: RefCell<Vec<Rc<Ends>>> = const { RefCell::new(Vec::new()) };
    static USED: Cell<usize> = const { Cell::new(0) };
}

/// A pipe, and how much is in it.
pub(crate) struct Pipe {
    ends: Rc<Ends>,
    held: usize,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    _places: [Place; 2],
}

impl Ends {
    /// `None` where files are scarce, or the system has none of that size left.
    fn new(places: &Arc<Places>) -> Option<Self> {
        let taken = [places.take_spare()?, places.take_spare()?];
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        fcntl_setpipe_size(&write, ROOM).ok()?;
        Some(Self {
            read,
            write,
            _places: taken,
        })
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl Pipe {
    /// An empty one; `None` where enough are in use, or there are no files for it.
    pub(crate) fn take(places: &Arc<Places>) -> Option<Self> {
        if USED.get() >= MOST {
            return None;
        }
        let spare = SPARES.with_borrow_mut(Vec::pop);
        let ends = spare.or_else(|| Ends::new(places).map(Rc::new))?;
        USED.set(USED.get() + 1);
        Some(Self { ends, held: 0 })
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Takes what has come, at most so many bytes; how much: zero where nothing more comes. The pipe must be empty: whether
    /// it is full or nothing has come cannot be told apart.
    pub(super) fn poll_fill(
        &mut self,
        from: &TcpStream,
        most: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        debug_assert_eq!(self.held, 0);
        let most = usize::try_from(most).map_or(ROOM, |most| most.min(ROOM));
        let moved = loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, || moved(from, &self.ends.write, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => break moved?,
            }
        };
        self.held = moved;
        Poll::Ready(Ok(moved))
    }

    /// Sends until nothing is left in it.
    pub(super) fn poll_drain(&mut self, to: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held > 0 {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || moved(&self.ends.read, to, self.held)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                moved => self.held -= moved?,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Closes what this worker keeps for the next bodies; whether there was any.
pub(crate) fn let_go() -> bool {
    SPARES.with_borrow_mut(|spares| !std::mem::take(spares).is_empty())
}

fn moved(from: impl rustix::fd::AsFd, to: impl rustix::fd::AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}

impl Drop for Pipe {
    fn drop(&mut self) {
        USED.set(USED.get() - 1);
        // What is in it is another's: it goes with it.
        if self.held > 0 {
            return;
        }
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARE {
                spares.push(self.ends.clone());
            }
        });
    }
}
