//! What comes of clients in, what is read of it and held out.

use super::*;

#[test]
fn much_is_read_of_what_comes_fast_and_little_for_whom_takes_it_slowly() {
    let mut ahead = Ahead::FIRST;
    let mut input = BytesMut::new();
    let full = |ahead: &mut Ahead| {
        let next = ahead.next;
        ahead.came(next, next);
        ahead.next
    };
    let grown: Vec<usize> = (0..6).map(|_| full(&mut ahead)).collect();
    assert_eq!(grown, [16, 32, 64, 128, 256, 256].map(|kib| kib << 10));
    ahead.came(20_000, MOST_READ);
    assert_eq!(ahead.next, 32 << 10);
    full(&mut ahead);
    full(&mut ahead);
    input.reserve(MOST_READ);
    ahead.less(&mut input);
    assert_eq!((ahead.next, input.capacity()), (STUCK_READ, 0));
    assert_eq!(full(&mut ahead), STUCK_READ, "until the end of the body");
    // What has come is not lost.
    input.extend_from_slice(b"x");
    ahead.less(&mut input);
    assert_eq!(input, "x");
}
