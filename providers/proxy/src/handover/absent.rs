//! What a build without HTTP/3 offers: nothing.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

pub(super) enum Offer {}

impl Offer {
    pub(super) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        match *self {}
    }

    pub(super) fn marks(&self) -> Vec<u16> {
        match *self {}
    }

    pub(super) fn taken(self) -> io::Result<Ways> {
        match self {}
    }
}

#[derive(Debug)]
pub(super) enum Ways {}

impl Ways {
    pub(super) fn all(&self) -> Vec<(Vec<u16>, BorrowedFd<'_>)> {
        match *self {}
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {}

impl Told {
    pub(super) fn add(&mut self, _marks: Vec<u16>, _to: OwnedFd) {}
}
