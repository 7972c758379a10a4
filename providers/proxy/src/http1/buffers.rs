//! Buffers that messages are read into and written from, kept for the next ones of the thread. Sans-io.
//!
//! Each message would else ask for several anew, and a connection that waits holds none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Room for most heads, with a small body behind them.
pub(super) const ROOM: usize = 8 * 1024;
/// The largest that is kept.
const MOST: usize = 4 * ROOM;
/// How many a thread keeps.
const SPARE: usize = 32;

thread_local! {
    static SPARES: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(crate) fn take() -> BytesMut {
    let spare = SPARES.with_borrow_mut(|spares| {
        // Somebody may still hold what was split off the last: one before it is looked at, too.
        (0..2).find_map(|_| spares.pop().and_then(whole))
    });
    spare.unwrap_or_else(|| BytesMut::with_capacity(ROOM))
}

/// With all of its room again, if nobody holds a part of it.
fn whole(mut spare: BytesMut) -> Option<BytesMut> {
    (spare.try_reclaim(ROOM) && spare.capacity() <= MOST).then_some(spare)
}

/// Takes back a buffer that is not needed any more, whoever still holds a part of it.
pub(crate) fn give_back(mut buffer: BytesMut) {
    if buffer.capacity() == 0 || buffer.capacity() > MOST {
        return;
    }
    buffer.clear();
    SPARES.with_borrow_mut(|spares| {
        if spares.len() < SPARE {
            spares.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_held_is_never_written_over() {
        let mut buffer = take();
        buffer.extend_from_slice(b"head, body");
        let head = buffer.split_to(4).freeze();
        give_back(buffer);
        let mut next = take();
        next.extend_from_slice(b"HEAD");
        assert_eq!(head, "head");
        assert_ne!(next.as_ptr(), head.as_ptr());
    }

    #[test]
    fn what_nobody_holds_any_more_is_the_next() {
        let mut buffer = take();
        buffer.extend_from_slice(b"head");
        let head = buffer.split_to(4).freeze();
        let place = head.as_ptr();
        give_back(buffer);
        drop(head);
        let next = take();
        assert_eq!((next.as_ptr(), next.len()), (place, 0));
        assert!(next.capacity() >= ROOM);
    }

    #[test]
    fn a_large_one_is_not_kept() {
        give_back(BytesMut::with_capacity(MOST + 1));
        assert!(SPARES.with_borrow(Vec::is_empty));
    }
}
