//! Requests and the ends of their answers in, lines of the access log on their way to a file out.
//!
//! No request waits for the disk: a worker gathers lines and hands them to one thread that writes. Where that thread
//! falls behind, or cannot write, lines are dropped and counted.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, StatusCode, Version, header};
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use crate::access::{Clock, Entry, LogFormat, Text, Texts};
use crate::balance::Random;
use crate::counters::Counters;
use crate::exchange::Peer;
use crate::present::Present;
use crate::trace::Ids;

/// A worker hands its lines over when it has this many bytes of them, or at the next tick.
const BATCH: usize = 16 * 1024;
/// How long a line waits at most before it is handed over.
pub(crate) const FLUSH_EVERY: Duration = Duration::from_millis(250);
/// Batches that may wait for the disk: 4 MiB.
const QUEUE: usize = 256;

/// Where lines go.
#[derive(Clone, Debug)]
pub enum Sink {
    Stdout,
    /// Opened for appending.
    File(Arc<File>),
}

/// Which requests are logged, how and where.
#[derive(Clone, Debug)]
pub struct AccessLog {
    pub sink: Sink,
    pub format: LogFormat,
    /// One of so many requests, drawn at random; those answered 500 or more are logged all.
    pub one_in: NonZeroU32,
}

/// Starts the thread that writes. It ends when every sender is gone.
pub(crate) fn start(
    sink: Sink,
    counters: Arc<Counters>,
) -> io::Result<(SyncSender<Vec<u8>>, JoinHandle<()>)> {
    let file = match sink {
        // By itself: what is written must not wait in a buffer, where nobody notices that it is lost.
        Sink::Stdout => Arc::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        Sink::File(file) => file,
    };
    let (to, from) = sync_channel(QUEUE);
    let thread = std::thread::Builder::new()
        .name("access-log".into())
        .spawn(move || write(&from, &*file, &counters))?;
    Ok((to, thread))
}

fn write(from: &Receiver<Vec<u8>>, mut to: impl Write, counters: &Counters) {
    let mut is_failing = false;
    // Whether the last line lacks its end: the next must not be taken for it.
    let mut is_torn = false;
    while let Ok(lines) = from.recv() {
        let mut left = &lines[..];
        let written = match is_torn {
            true => to.write_all(b"\n"),
            false => Ok(()),
        };
        let written = written.and_then(|()| {
            is_torn = false;
            put(&mut to, &mut left)
        });
        let Err(error) = written else {
            is_failing = false;
            continue;
        };
        is_torn |= lines.len() > left.len() && !lines[..lines.len() - left.len()].ends_with(b"\n");
        counters.lines_lost(count(left));
        // Told once: a full disk fails at every batch.
        if !is_failing {
            is_failing = true;
            warn!(
                error = &error as &dyn std::error::Error,
                "the access log is not written"
            );
        }
    }
}

/// Writes all, or as much as goes; what does not is left.
fn put(to: &mut impl Write, left: &mut &[u8]) -> io::Result<()> {
    while !left.is_empty() {
        match to.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => *left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn count(lines: &[u8]) -> usize {
    lines.iter().filter(|byte| **byte == b'\n').count()
}

/// One worker's part.
pub(crate) struct Lines {
    one_in: NonZeroU32,
    clock: RefCell<Clock>,
    buffer: RefCell<Vec<u8>>,
    to: SyncSender<Vec<u8>>,
    counters: Arc<Counters>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    pub(crate) fn new(log: &AccessLog, to: SyncSender<Vec<u8>>, counters: Arc<Counters>) -> Rc<Self> {
        Rc::new(Self {
            one_in: log.one_in,
            clock: RefCell::new(Clock::new(log.format)),
            buffer: RefCell::default(),
            to,
            counters,
        })
    }

    fn push(&self, entry: &Entry) {
        let mut buffer = self.buffer.borrow_mut();
        entry.write(&mut self.clock.borrow_mut(), &mut buffer);
        if buffer.len() >= BATCH {
            self.hand_over(&mut buffer);
        }
    }

    /// Hands over what was gathered.
    pub(crate) fn flush(&self) {
        self.hand_over(&mut self.buffer.borrow_mut());
    }

    fn hand_over(&self, buffer: &mut Vec<u8>) {
        if buffer.is_empty() {
            return;
        }
        let lines = std::mem::take(buffer);
        if let Err(error) = self.to.try_send(lines) {
            let (std::sync::mpsc::TrySendError::Full(lines)
            | std::sync::mpsc::TrySendError::Disconnected(lines)) = error;
            self.counters.lines_lost(count(&lines));
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A request that is to be logged, until its answer has ended: then this is dropped and its line is written.
pub(crate) struct Noted {
    lines: Rc<Lines>,
    begun: Instant,
    is_drawn: bool,
    pub(crate) entry: Entry,
}

impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(f)
    }
}

impl Noted {
    pub(crate) fn of(
        lines: &Rc<Lines>,
        random: &Random,
        peer: Peer,
        ids: &Ids,
        request: &Parts,
    ) -> Box<Self> {
        let headers = &request.headers;
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        let named = request.uri.authority().map(|authority| authority.as_str());
        let host = named
            .map(Cow::Borrowed)
            .or_else(|| text(headers, &header::HOST))
            .unwrap_or_default();
        let known = [
            (Text::Method, Some(Cow::Borrowed(request.method.as_str()))),
            (Text::Host, Some(host)),
            (Text::Target, Some(Cow::Borrowed(target))),
            (Text::RequestId, Some(Cow::Borrowed(ids.request_id()))),
            (Text::TraceId, Some(Cow::Borrowed(ids.trace_id()))),
            (Text::Referer, text(headers, &header::REFERER)),
            (Text::UserAgent, text(headers, &header::USER_AGENT)),
        ];
        let known = known
            .iter()
            .filter_map(|(which, text)| Some((*which, &**text.as_ref()?)));
        let mut texts = Texts::with_capacity(known.clone().map(|(_, text)| text.len()).sum());
        for (which, text) in known {
            texts.set(which, text);
        }
        Box::new(Self {
            lines: lines.clone(),
            begun: Instant::now(),
            is_drawn: random.below_u32(lines.one_in.get()) == 0,
            entry: Entry {
                time: now(),
                client: peer.address,
                scheme: if peer.is_tls { "https" } else { "http" },
                protocol: protocol(request.version),
                texts,
                status: 0,
                bytes: 0,
                cut: false,
                head: Duration::ZERO,
                took: Duration::ZERO,
                backend: None,
                upstream: None,
                error: None,
            },
        })
    }

    /// A request whose head cannot be read.
    pub(crate) fn unread(lines: &Rc<Lines>, random: &Random, peer: Peer, why: &str) -> Box<Self> {
        let nothing = Request::new(()).into_parts().0;
        let ids = Ids::of(&nothing.headers, Present::default(), random);
        let mut noted = Self::of(lines, random, peer, &ids, &nothing);
        let entry = &mut noted.entry;
        for unknown in [Text::Method, Text::Target] {
            entry.texts.set(unknown, "-");
        }
        entry.protocol = "-";
        entry.error = Some(why.to_owned());
        noted
    }

    /// Shows this in place of what was sent, which holds a secret.
    pub(crate) fn show_target(&mut self, target: &str) {
        self.entry.texts.set(Text::Target, target);
    }

    /// The head of the answer is known.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.entry.status = status.as_u16();
        self.entry.head = self.begun.elapsed();
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.entry.took = self.begun.elapsed();
        if self.is_drawn || self.entry.status >= 500 {
            self.lines.push(&self.entry);
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        // Nobody speaks 0.9 here.
        _ => "HTTP/1.1",
    }
}

#[expect(clippy::disallowed_methods, reason = "when a request came is what is logged")]
fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes more, then none until it is emptied.
    struct Disk {
        room: usize,
        kept: Vec<u8>,
    }

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                // As much room again as is asked for next.
                self.room = 64;
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.kept.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_and_tears_no_other_line() {
        for (room, kept, lost) in [
            (64, "one\ntwo\nthree\n", 0),
            (0, "three\n", 2),
            (4, "one\nthree\n", 1),
            (6, "one\ntw\nthree\n", 1),
            (8, "one\ntwo\n", 1),
        ] {
            let mut disk = Disk {
                room,
                kept: Vec::new(),
            };
            let (to, from) = sync_channel(2);
            to.send(b"one\ntwo\n".to_vec()).unwrap();
            to.send(b"three\n".to_vec()).unwrap();
            drop(to);
            let counters = Counters::default();
            write(&from, &mut disk, &counters);
            let mut totals = crate::Totals::default();
            totals.add(&counters);
            assert_eq!(String::from_utf8(disk.kept).unwrap(), kept, "{room}");
            assert_eq!(totals.lines_lost, lost, "{room}");
        }
    }
}
