//! Processes that had the sockets before in, the ways to those that still have connections out.
//!
//! Each that comes is given the ways to all that are left, not to the last alone: one in the middle ends when it has
//! nothing of its own any more, or is killed, and the ones before it go on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use super::sockets::Group;

/// The way to a process.
#[derive(Debug)]
pub(super) struct Way {
    /// In the ids of connections that it has, or can hand on for.
    marks: Box<[u16]>,
    to: UnixDatagram,
}

impl Way {
    pub(super) fn new(marks: Vec<u16>, to: UnixDatagram) -> Self {
        let marks = marks.into();
        Self { marks, to }
    }

    pub(super) fn marks(&self) -> &[u16] {
        &self.marks
    }

    pub(super) fn send(&self, datagram: &[u8]) {
        // Who does not listen any more has no connections; who is slow is sent it again.
        let _ = self.to.send(datagram);
    }

    /// Whether anybody listens at its end.
    pub(super) fn is_open(&self) -> bool {
        // Whoever gets it does not heed it: it is no datagram of anybody. It does not wait.
        self.to.send(&[]).err().is_none_or(|error| {
            !matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::NotConnected
                    | io::ErrorKind::BrokenPipe
            )
        })
    }
}

/// What a successor is told of the processes before.
#[derive(Debug)]
pub(crate) struct Ways(pub(super) Arc<Group>);

impl Ways {
    /// With the marks that each is for. Who has ended is none of them.
    pub(crate) fn all(&self) -> Vec<(Vec<u16>, BorrowedFd<'_>)> {
        let group = &self.0;
        let open = group.ways().filter(|way| way.is_open());
        let with_marks = open.map(|way| {
            let marks = way.marks.iter().copied();
            let is_straight = |mark: &u16| group.way(*mark).is_some_and(|to| std::ptr::eq(to, way));
            (marks.filter(is_straight).collect(), way.to.as_fd())
        });
        with_marks.collect()
    }
}

/// What a predecessor told of them.
#[derive(Debug, Default)]
pub(crate) struct Told(pub(super) Vec<Way>);

impl Told {
    pub(crate) fn add(&mut self, marks: Vec<u16>, to: OwnedFd) {
        self.0.push(Way::new(marks, to.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sockets::Shared;
    use super::*;

    /// The process after this one; `tells` is whether this one knows of ways.
    fn after(group: &Arc<Group>, tells: bool) -> Arc<Group> {
        let offer = Shared::new(None, 0, Some(group.clone()))
            .offer()
            .unwrap()
            .unwrap();
        let same = |socket: BorrowedFd<'_>| socket.try_clone_to_owned().unwrap();
        let sockets = offer.sockets().into_iter().map(same).collect();
        let next = Shared::given(sockets, offer.marks()).group().unwrap();
        let ways = offer.taken().unwrap();
        let mut told = Told::default();
        for (marks, to) in ways.all().into_iter().filter(|_| tells) {
            told.add(marks, same(to));
        }
        next.read(told);
        next
    }

    #[test]
    fn a_successor_has_a_way_to_each_process_that_is_left() {
        let first = Shared::bound().group().unwrap();
        let mark = |group: &Group| group.place_of(0).mark;
        let second = after(&first, true);
        let third = after(&second, true);
        let (one, two, three) = (mark(&first), mark(&second), mark(&third));
        assert_eq!(third.marks(), [three, two, one]);
        // The one in the middle ends: the first is known as before, and by the next one, too.
        drop(second);
        while third.way(two).unwrap().is_open() {
            std::thread::yield_now();
        }
        let fourth = after(&third, true);
        let four = mark(&fourth);
        assert!(fourth.way(one).unwrap().is_open());
        assert_eq!(fourth.marks(), [four, three, one]);
        // Whoever has ended is forgotten.
        drop(first);
        while fourth.way(one).unwrap().is_open() {
            std::thread::yield_now();
        }
        assert_eq!(fourth.marks(), [four, three]);
        assert_eq!(after(&fourth, true).ways().count(), 2);
    }

    #[test]
    fn a_process_that_tells_of_none_hands_on_itself() {
        let first = Shared::bound().group().unwrap();
        let second = after(&first, false);
        let third = after(&second, false);
        let (one, two) = (first.place_of(0).mark, second.place_of(0).mark);
        assert_eq!(third.way(one).unwrap().marks(), [two, one]);
        // And what is told of it from here on is for both.
        let fourth = after(&third, true);
        assert_eq!(fourth.way(one).unwrap().marks(), [two, one]);
    }
}
