//! What comes of clients in, what is read of it and held out.

use std::future::poll_fn;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

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

/// Reads up to the end of a request.
async fn read(wire: &mut Wire) {
    while !matches!(
        poll_fn(|cx| wire.poll_event(cx)).await.unwrap().unwrap(),
        Event::End(_)
    ) {}
}

#[tokio::test]
async fn a_connection_that_waits_holds_no_more_than_has_come() {
    const BODY: usize = 100_000;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut wire = Wire::new(Stream::Plain(stream), BytesMut::new(), 1024);
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n");
    let post = [head.as_bytes(), &[b'x'; BODY]].concat();
    for request in [get.as_bytes(), &post, get.as_bytes()] {
        client.write_all(request).await.unwrap();
        read(&mut wire).await;
        assert!(wire.input.capacity() > 0 && wire.input.is_empty());
        wire.finish();
        assert_eq!((wire.input.capacity(), wire.ahead), (0, Ahead::FIRST));
        assert!(futures::poll!(poll_fn(|cx| wire.poll_event(cx))).is_pending());
        assert_eq!(wire.input.capacity(), 0, "nothing has come");
    }
    // Of a next request what has come is kept, and no room for more.
    client
        .write_all([get, &get[..10]].concat().as_bytes())
        .await
        .unwrap();
    read(&mut wire).await;
    wire.finish();
    while wire.input.len() < 10 {
        assert!(futures::poll!(poll_fn(|cx| wire.poll_event(cx))).is_pending());
        tokio::task::yield_now().await;
    }
    assert!(futures::poll!(poll_fn(|cx| wire.poll_event(cx))).is_pending());
    assert!(wire.input.capacity() < 1024, "{}", wire.input.capacity());
    client.write_all(&get.as_bytes()[10..]).await.unwrap();
    read(&mut wire).await;
}
