//! What a build without HTTP/3 offers: nothing.

use std::io;
use std::os::fd::BorrowedFd;

pub(super) enum Offer {}

impl Offer {
    pub(super) fn sockets(&self) -> Vec<BorrowedFd<'_>> {
        match *self {}
    }

    pub(super) fn marks(&self) -> Vec<u16> {
        match *self {}
    }

    pub(super) fn taken(self) -> io::Result<()> {
        match self {}
    }
}
