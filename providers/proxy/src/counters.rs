//! Events of the workers in, totals for metrics out.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// Totals of one thread; each writes its own, so none waits for another.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// By the first digit of the status, 1–5.
    by_class: [AtomicU64; 5],
    without_backend: AtomicU64,
    retried: AtomicU64,
    unreached: AtomicU64,
    overloaded: AtomicU64,
    limited: AtomicU64,
    given_up: AtomicU64,
    untaken: AtomicU64,
    mirrored: AtomicU64,
    unmirrored: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    panics: AtomicU64,
    lines_lost: AtomicU64,
}

impl Counters {
    pub(crate) fn answered(&self, status: StatusCode, by_backend: bool) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(total) = class.checked_sub(1).and_then(|c| self.by_class.get(c)) {
            total.fetch_add(1, Ordering::Relaxed);
        }
        if !by_backend {
            self.without_backend.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn retried(&self) {
        self.retried.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unreached(&self) {
        self.unreached.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn overloaded(&self) {
        self.overloaded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn limited(&self) {
        self.limited.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn given_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn untaken(&self) {
        self.untaken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn mirrored(&self) {
        self.mirrored.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unmirrored(&self) {
        self.unmirrored.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lines_lost(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.lines_lost.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the workers did since the start, in numbers of requests and connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Answers by the first digit of their status: 1xx first, 5xx last.
    pub by_class: [u64; 5],
    /// Answers that the proxy gave itself: redirects, fixed responses and failures.
    pub without_backend: u64,
    /// Requests sent again, because a kept connection had closed or a target had begun nothing with them.
    pub retried: u64,
    /// Connections that targets did not take.
    pub unreached: u64,
    /// Requests that found all targets of their backend with as many under way as they may have, or no file left for another.
    pub overloaded: u64,
    /// Files that are open towards targets and identity providers.
    pub target_files: usize,
    /// Connections to these that were not made, because all such files were open.
    pub target_files_lacked: u64,
    /// Requests of clients that had as many answers as they may.
    pub limited: u64,
    /// Requests that their clients gave up before there was an answer.
    pub given_up: u64,
    /// Answers cut off because their clients took nothing more of them.
    pub untaken: u64,
    /// Copies of requests that another backend has answered.
    pub mirrored: u64,
    /// Requests that were to be copied, and could not be.
    pub unmirrored: u64,
    pub connections_opened: u64,
    pub connections_open: u64,
    /// Connections that ended in a fault of the proxy.
    pub panics: u64,
    /// Lines of the access log that were dropped, because what it is written to is too slow, or takes no more.
    pub lines_lost: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, counters: &Counters) {
        let get = |total: &AtomicU64| total.load(Ordering::Relaxed);
        for (sum, total) in self.by_class.iter_mut().zip(&counters.by_class) {
            *sum += get(total);
        }
        self.without_backend += get(&counters.without_backend);
        self.retried += get(&counters.retried);
        self.unreached += get(&counters.unreached);
        self.overloaded += get(&counters.overloaded);
        self.limited += get(&counters.limited);
        self.given_up += get(&counters.given_up);
        self.untaken += get(&counters.untaken);
        self.mirrored += get(&counters.mirrored);
        self.unmirrored += get(&counters.unmirrored);
        self.panics += get(&counters.panics);
        self.lines_lost += get(&counters.lines_lost);
        // Closed is read first: an open connection may be missed, none is counted below zero.
        let closed = get(&counters.closed);
        let opened = get(&counters.opened);
        self.connections_opened += opened;
        self.connections_open += opened.saturating_sub(closed);
    }

    /// All answers.
    pub fn requests(&self) -> u64 {
        self.by_class.iter().sum()
    }
}
